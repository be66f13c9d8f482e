//! Vectors as lines of text: GloVe's without a header, word2vec's with one.

use std::io::BufRead;

use super::{Found, MAX_WORD_BYTES, ScanError, VectorFormat, VectorsError, WordVectors};

/// The most bytes of one number with its separator, for the limit of a line.
const MAX_NUMBER_BYTES: usize = 48;

pub(super) fn is_separator(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A line without its end and the space that the C tools leave there. Its start stays: the word
/// may be empty.
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

pub(super) fn parse_number(field: &[u8]) -> Option<f32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Scans lines `word v1 … vd`.
pub(super) fn scan_glove(
    input: &mut impl BufRead,
    dim: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<WordVectors, ScanError> {
    let mut lines = Lines::new(VectorFormat::Glove, dim);
    while lines.next(input, wanted)? {}
    let found = lines.found.result;
    if found.n_damaged > found.n_in_file / 2 {
        let (n_damaged, n_lines) = (found.n_damaged, found.n_in_file);
        return Err(VectorsError::MostlyDamaged { n_damaged, n_lines, dim }.into());
    }
    Ok(found)
}

/// Scans a header line `n d`, then n such lines.
pub(super) fn scan_word2vec(
    input: &mut impl BufRead,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<WordVectors, ScanError> {
    let (declared, dim) = super::read_header(input)?;
    let mut lines = Lines::new(VectorFormat::Word2VecText, dim);
    lines.line_number = 1;
    while lines.next(input, wanted)? {
        if lines.found.result.n_in_file > declared {
            return Err(VectorsError::Trailing { declared, dim }.into());
        }
    }
    let mut found = lines.found.result;
    // Lines are whole: a list that somebody shortened, and not the end of a download.
    found.n_declared = (found.n_in_file < declared).then_some(declared);
    if found.n_in_file == 0 && declared > 0 {
        return Err(VectorsError::Truncated { declared, found: 0 }.into());
    }
    if found.n_damaged > found.n_in_file / 2 {
        let (n_damaged, n_lines) = (found.n_damaged, found.n_in_file);
        return Err(VectorsError::MostlyDamaged { n_damaged, n_lines, dim }.into());
    }
    Ok(found)
}

struct Lines {
    found: Found,
    line: Vec<u8>,
    line_number: usize,
}

impl Lines {
    fn new(format: VectorFormat, dim: usize) -> Lines {
        Lines { found: Found::new(format, dim), line: Vec::new(), line_number: 0 }
    }

    /// Takes in one line; false at the end of the file.
    fn next(
        &mut self,
        input: &mut impl BufRead,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<bool, ScanError> {
        let dim = self.found.result.dim;
        let limit = MAX_WORD_BYTES + dim * MAX_NUMBER_BYTES;
        self.line.clear();
        super::read_until(input, b'\n', limit, &mut self.line)?;
        self.line_number += 1;
        let line_number = self.line_number;
        if self.line.len() == limit && !self.line.ends_with(b"\n") {
            return Err(VectorsError::TooLong { index: line_number, limit }.into());
        }
        let is_last = !self.line.ends_with(b"\n");
        let line = trim_end(&self.line);
        if line.is_empty() {
            return Ok(!is_last); // an empty line is no vector, at the end above all
        }
        // Split from the right: the last `dim` fields are numbers, all in front of them the word.
        let n_separators = count_separators(line);
        if n_separators < dim {
            if is_last {
                let got = n_separators;
                return Err(VectorsError::TruncatedLine { line: line_number, got, dim }.into());
            }
            self.found.result.n_in_file += 1;
            self.found.result.n_damaged += 1;
            self.found.result.first_short.get_or_insert((line_number, n_separators));
            return Ok(true);
        }
        self.found.result.n_in_file += 1;
        let mut n_in_word = n_separators - dim;
        let end_of_word = line
            .iter()
            .position(|&byte| {
                let is_end = is_separator(byte) && n_in_word == 0;
                n_in_word -= usize::from(is_separator(byte) && !is_end);
                is_end
            })
            .expect("the line has more separators than its word");
        let Ok(word) = std::str::from_utf8(&line[..end_of_word]) else {
            self.found.result.n_damaged += 1;
            return Ok(!is_last);
        };
        if self.found.needs(word, wanted) {
            let mut vector = Vec::with_capacity(dim);
            for field in line[end_of_word + 1..].split(|&byte| is_separator(byte)) {
                let value = parse_number(field).ok_or_else(|| VectorsError::Number {
                    line: line_number,
                    word: word.to_owned(),
                    got: String::from_utf8_lossy(field).chars().take(40).collect(),
                })?;
                vector.push(value);
            }
            self.found.insert(word, vector)?;
        }
        Ok(!is_last)
    }
}

/// Separators of a line, 255 bytes at a time so that the sum is done in bytes (vectorised).
fn count_separators(line: &[u8]) -> usize {
    line.chunks(255)
        .map(|chunk| {
            usize::from(chunk.iter().map(|&byte| u8::from(is_separator(byte))).sum::<u8>())
        })
        .sum()
}
