//! word2vec binary: GoogleNews and what gensim writes.

use std::io::BufRead;

use super::{Found, MAX_WORD_BYTES, ScanError, VectorFormat, VectorsError, WordVectors};

/// Scans all vectors; the bytes of unwanted ones are skipped.
pub(super) fn scan(
    input: &mut impl BufRead,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<WordVectors, ScanError> {
    let (declared, dim) = super::read_header(input)?;
    let mut found = Found::new(VectorFormat::Word2VecBinary, dim);
    let mut word = Vec::new();
    let mut values = vec![0u8; 4 * dim];
    for n_whole in 0..declared {
        let truncated = VectorsError::Truncated { declared, found: n_whole };
        word.clear();
        super::read_until(input, b' ', MAX_WORD_BYTES, &mut word)?;
        if word.pop() != Some(b' ') {
            return Err(if word.len() + 1 >= MAX_WORD_BYTES {
                VectorsError::TooLong { index: n_whole + 1, limit: MAX_WORD_BYTES }.into()
            } else {
                truncated.into()
            });
        }
        // Some writers end each vector with a newline, which is then in front of the next word.
        let n_newlines = word.iter().take_while(|&&b| b == b'\n').count();
        let needed = match std::str::from_utf8(&word[n_newlines..]) {
            Ok(word) if found.needs(word, wanted) => Some(word),
            Ok(_) => None,
            Err(_) => {
                found.result.n_damaged += 1;
                None
            }
        };
        match needed {
            Some(word) => {
                if !read_exact(input, &mut values)? {
                    return Err(truncated.into());
                }
                let vector = values.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                found.insert(word, vector.collect())?;
            }
            None => {
                if !skip(input, values.len())? {
                    return Err(truncated.into());
                }
            }
        }
        found.result.n_in_file += 1;
    }
    loop {
        let rest = input.fill_buf()?;
        if rest.is_empty() {
            return Ok(found.result);
        }
        if !rest.trim_ascii().is_empty() {
            return Err(VectorsError::Trailing { declared, dim }.into());
        }
        let n = rest.len();
        input.consume(n);
    }
}

/// Fills `out`; false at the end of the file. Not `read_exact` of std: its error there could not
/// be told from that of gzip data cut short.
fn read_exact(input: &mut impl BufRead, out: &mut [u8]) -> std::io::Result<bool> {
    let mut n_filled = 0;
    while n_filled < out.len() {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(false);
        }
        let n = available.len().min(out.len() - n_filled);
        out[n_filled..n_filled + n].copy_from_slice(&available[..n]);
        input.consume(n);
        n_filled += n;
    }
    Ok(true)
}

/// Skips `n` bytes; false at the end of the file.
fn skip(input: &mut impl BufRead, mut n: usize) -> std::io::Result<bool> {
    while n > 0 {
        let n_available = input.fill_buf()?.len().min(n);
        if n_available == 0 {
            return Ok(false);
        }
        input.consume(n_available);
        n -= n_available;
    }
    Ok(true)
}
