//! The start of a `.npy` file: magic bytes, version and header, held against the file's length.

use std::io::Read;
use std::path::Path;

use super::error::NpyError;
use super::header::{Header, MAGIC, MAX_HEADER_BYTES, parse};
use crate::error::{Error, Result};

/// The header of a file of `n_file` bytes, checked against that length, and where its data start.
pub fn read_header(path: &Path, n_file: u64, stream: &mut dyn Read) -> Result<(Header, u64)> {
    let npy_error = |source| Error::Npy { path: path.to_owned(), source };
    let (text, data_start) = read_header_text(path, n_file, stream)?;
    let header = parse(&text).map_err(npy_error)?;
    let expected = header.n_data_bytes().map_err(npy_error)?;
    let got = n_file - data_start;
    if got != expected {
        let (shape, dtype) = (header.shape, header.dtype.to_string());
        return Err(npy_error(if got < expected {
            NpyError::Truncated { shape, dtype, expected, got }
        } else {
            NpyError::TrailingBytes { shape, dtype, expected, got }
        }));
    }
    Ok((header, data_start))
}

/// The dictionary of a header, unparsed, and where the data start.
pub fn read_header_text(path: &Path, n_file: u64, stream: &mut dyn Read) -> Result<(Vec<u8>, u64)> {
    let npy_error = |source| Error::Npy { path: path.to_owned(), source };
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut prefix = Vec::with_capacity(12);
    stream.take(12).read_to_end(&mut prefix).map_err(read_error)?;
    let (n_prefix, n_header) = header_length(&prefix, n_file).map_err(npy_error)?;
    let data_start = (n_prefix + n_header) as u64;
    if n_file < data_start {
        let (n_bytes, expected) = (n_file, data_start);
        return Err(npy_error(NpyError::TruncatedHeader { n_bytes, expected }));
    }
    // Version 1.0 has two bytes of its text among the twelve.
    let mut text = prefix.split_off(n_prefix);
    text.truncate(n_header);
    let n_rest = (n_header - text.len()) as u64;
    stream.take(n_rest).read_to_end(&mut text).map_err(read_error)?;
    if text.len() < n_header {
        let (n_bytes, expected) = ((n_prefix + text.len()) as u64, data_start);
        return Err(npy_error(NpyError::TruncatedHeader { n_bytes, expected }));
    }
    Ok((text, data_start))
}

/// Lengths of magic bytes with version and size field, and of the header's text.
fn header_length(prefix: &[u8], n_file: u64) -> Result<(usize, usize), NpyError> {
    let n_magic = prefix.len().min(MAGIC.len());
    if prefix[..n_magic] != MAGIC[..n_magic] || prefix.is_empty() {
        let hex: Vec<String> = prefix[..n_magic].iter().map(|b| format!("{b:02X}")).collect();
        let found = if hex.is_empty() { "nothing".to_owned() } else { hex.join(" ") };
        return Err(NpyError::NotNpy { found });
    }
    let cut = |expected| NpyError::TruncatedHeader { n_bytes: n_file, expected };
    let &[major, minor, ..] = &prefix[n_magic..] else {
        return Err(cut(10));
    };
    let (n_prefix, n_header) = match (major, minor, &prefix[8..]) {
        (1, 0, &[a, b, ..]) => (10, usize::from(u16::from_le_bytes([a, b]))),
        (2 | 3, 0, &[a, b, c, d]) => (12, u32::from_le_bytes([a, b, c, d]) as usize),
        (1, 0, _) => return Err(cut(10)),
        (2 | 3, 0, _) => return Err(cut(12)),
        _ => return Err(NpyError::Version { major, minor }),
    };
    if n_header > MAX_HEADER_BYTES {
        return Err(NpyError::HeaderTooLong { n_bytes: n_header, limit: MAX_HEADER_BYTES });
    }
    Ok((n_prefix, n_header))
}

/// dtype and the first bytes of the data of a `.npy` that comes as a stream, whatever the dtype.
pub(in crate::io) fn start_of_stream(
    path: &Path,
    stream: &mut dyn Read,
    most: u64,
) -> Result<(String, Vec<u8>)> {
    let (text, _) = read_header_text(path, u64::MAX, stream)?;
    let text = String::from_utf8_lossy(&text);
    let descr = text.split("'descr':").nth(1).and_then(|rest| rest.split('\'').nth(1));
    let mut bytes = Vec::new();
    stream
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok((descr.unwrap_or_default().to_owned(), bytes))
}
