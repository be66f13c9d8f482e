//! PNG files: 8-bit pixels, with or without transparency.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::error::{Error, Result};

/// The bytes of a PNG file; `pixels` has `width` × `height` × 3 (RGB) or 4 (RGBA) bytes, row by row.
/// # Errors
/// `Error::Numerical` for no pixels, or bytes that are not `width` × `height` pixels.
pub fn png(width: usize, height: usize, pixels: &[u8]) -> Result<Vec<u8>> {
    let n = width.checked_mul(height).unwrap_or(0);
    let sizes = (u32::try_from(width), u32::try_from(height));
    let ((Ok(columns), Ok(rows)), channels @ (3 | 4)) =
        (sizes, pixels.len().checked_div(n).unwrap_or(0))
    else {
        return Err(Error::Numerical {
            what: "writing a PNG".into(),
            problem: format!("{width} × {height} pixels of {} bytes", pixels.len()),
        });
    };
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [columns.to_be_bytes(), rows.to_be_bytes()].concat();
    // 8 bits, RGB or RGBA; deflate, the usual filters, no interlacing.
    header.extend([8, if channels == 3 { 2 } else { 6 }, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    // Filter 0: flat colours repeat as they are.
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = pixels.chunks_exact(width * channels).try_for_each(|row| {
        packed.write_all(&[0])?;
        packed.write_all(row)
    });
    let data = written.and_then(|()| packed.finish()).map_err(|error| Error::Numerical {
        what: "writing a PNG".into(),
        problem: error.to_string(),
    })?;
    chunk(&mut file, b"IDAT", &data);
    chunk(&mut file, b"IEND", &[]);
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    file.extend((data.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(data);
    file.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_header_its_rows_and_its_sums() {
        let file = png(2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        // The header's sum by zlib.crc32 of Python.
        let header =
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x01\x08\x02\0\0\0\x7b\x40\xe8\xdd";
        assert_eq!(&file[..33], header);
        assert_eq!(&file[file.len() - 12..], b"\0\0\0\0IEND\xae\x42\x60\x82");
        let n = u32::from_be_bytes(file[33..37].try_into().unwrap()) as usize;
        let mut rows = Vec::new();
        let mut reader = flate2::read::ZlibDecoder::new(&file[41..41 + n]);
        std::io::Read::read_to_end(&mut reader, &mut rows).unwrap();
        assert_eq!(rows, [0, 1, 2, 3, 4, 5, 6]);
        for (width, height, n) in [(0, 0, 0), (2, 1, 5), (1, 1, 2), (usize::MAX, 2, 8)] {
            assert_eq!(png(width, height, &vec![0; n]).unwrap_err().exit_code(), 1);
        }
    }
}
