//! Tells the formats apart, and a GloVe file's dimension, by the first bytes.

use std::collections::BTreeMap;

use super::{MAX_DIM, VectorFormat, VectorsError};
use crate::io::kinds::{self, FileKind};

/// Lines that vote on the dimension of a GloVe file.
const N_LINES: usize = 100;

/// fastText's own binary: the magic number of its FastText::signModel.
///
/// Source: facebookresearch/fastText: src/fasttext.h: FASTTEXT_FILEFORMAT_MAGIC_INT32.
const FASTTEXT: [u8; 4] = 793_712_314u32.to_le_bytes();

/// Why a file that starts so holds no vectors that are read, if its first bytes say it.
pub(super) fn foreign(prefix: &[u8]) -> Option<VectorsError> {
    if prefix.starts_with(&FASTTEXT) {
        return Some(VectorsError::FastText);
    }
    let kind = kinds::of_content(&prefix[..prefix.len().min(4096)])?;
    let is_gensim = prefix.windows(6).take(4096).any(|part| part == b"gensim");
    match kind {
        FileKind::Pickle if is_gensim => Some(VectorsError::Gensim),
        FileKind::AnnexPointer
        | FileKind::LfsPointer
        | FileKind::Html
        | FileKind::Pickle
        | FileKind::Npy
        | FileKind::Hdf5
        | FileKind::Matlab
        | FileKind::Archive
        | FileKind::Columns => Some(VectorsError::Foreign { kind }),
        _ => None,
    }
}

/// `n d` of a word2vec file.
pub(super) fn parse_header(line: &[u8]) -> Result<(usize, usize), VectorsError> {
    if line.is_empty() {
        return Err(VectorsError::Empty);
    }
    let (n, dim) =
        header_numbers(line).ok_or_else(|| VectorsError::Header { found: start(line) })?;
    match usize::try_from(dim) {
        Ok(dim @ 1..=MAX_DIM) => Ok((n, dim)),
        _ => Err(VectorsError::Dim { dim }),
    }
}

/// Two whole numbers on one whole line.
fn header_numbers(line: &[u8]) -> Option<(usize, u64)> {
    let line = line.strip_suffix(b"\n")?;
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let numbers = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    fields.next().is_none().then_some(numbers)
}

fn start(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().chars().take(60).collect()
}

/// The format of a file that starts with `prefix`; `is_whole` if that is all of it.
///
/// A first line of two whole numbers is a word2vec header. It is text if what follows, up to the
/// end of that line or of the prefix, are a word and numbers.
pub(super) fn format(prefix: &[u8], is_whole: bool) -> Result<VectorFormat, VectorsError> {
    if prefix.is_empty() {
        return Err(VectorsError::Empty);
    }
    let first = prefix.split_inclusive(|&b| b == b'\n').next().unwrap_or_default();
    if header_numbers(first).is_none() {
        return Ok(VectorFormat::Glove);
    }
    let (_, dim) = parse_header(first)?;
    let rest = &prefix[first.len()..];
    let line = rest.split_inclusive(|&b| b == b'\n').next().unwrap_or_default();
    let is_complete = line.ends_with(b"\n") || is_whole;
    let Ok(text) = std::str::from_utf8(line) else {
        return Ok(VectorFormat::Word2VecBinary);
    };
    let mut fields: Vec<&str> = text.trim_end().split([' ', '\t']).collect();
    if !is_complete {
        fields.pop(); // may be half a number
    }
    let n_numbers = fields.iter().skip(1).filter(|field| field.parse::<f32>().is_ok()).count();
    let is_text = if is_complete { n_numbers == dim } else { n_numbers + 1 >= fields.len() };
    Ok(if is_text { VectorFormat::Word2VecText } else { VectorFormat::Word2VecBinary })
}

/// The dimension that most of the first lines have; of equals the smallest, as a word with spaces
/// makes a line longer.
pub(super) fn glove_dim(prefix: &[u8], is_whole: bool) -> Result<usize, VectorsError> {
    if prefix.is_empty() {
        return Err(VectorsError::Empty);
    }
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    for line in prefix.split_inclusive(|&b| b == b'\n').take(N_LINES) {
        if !line.ends_with(b"\n") && !is_whole {
            break; // may be half a line
        }
        let line = super::text::trim_end(line);
        let n_numbers = line
            .rsplit(|&b| super::text::is_separator(b))
            .take_while(|field| super::text::parse_number(field).is_some())
            .count();
        // Numbers all the way: the first of them is the word.
        let n_fields = line.split(|&b| super::text::is_separator(b)).count();
        *votes.entry(n_numbers.min(n_fields - 1)).or_default() += 1;
    }
    let most = votes.values().max().copied().unwrap_or(0);
    let dim = votes.iter().find(|&(_, &n)| n == most).map_or(0, |(&dim, _)| dim);
    if dim == 0 {
        let first = prefix.split(|&b| b == b'\n').next().unwrap_or_default();
        return Err(VectorsError::NotVectors { found: start(first) });
    }
    if dim > MAX_DIM {
        return Err(VectorsError::Dim { dim: dim as u64 });
    }
    Ok(dim)
}
