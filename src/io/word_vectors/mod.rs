//! Static word vectors: word2vec binary and text, GloVe text.
//!
//! One sequential scan keeps the wanted words only, so memory grows with the stories' vocabulary
//! and never with the file. `binary` and `text` hold one scan each, `detect` tells the formats
//! apart by their first bytes.

mod binary;
mod detect;
pub mod eng1000;
mod error;
mod text;

use std::collections::HashMap;
use std::io::{BufRead, Cursor, Read};
use std::path::Path;

pub use error::VectorsError;

use crate::error::{Error, Result};
use crate::io::input;

/// The most values a vector may have.
pub const MAX_DIM: usize = 65_536;
/// The longest word that is read, in bytes.
const MAX_WORD_BYTES: usize = 65_536;
/// What is looked at to tell the formats apart: one line of the widest vectors, and some.
const PREFIX_BYTES: u64 = 1 << 20;

/// A layout of word vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorFormat {
    /// Header line `n d`, then a word, a space, d little-endian f32, and perhaps a newline.
    Word2VecBinary,
    /// Header line `n d`, then lines `word v1 … vd`.
    Word2VecText,
    /// Lines `word v1 … vd`; the word may hold spaces.
    Glove,
    /// HDF5 with `data` (d, n) and `vocab` (n): [`eng1000`], which is never guessed.
    Eng1000,
}

impl std::fmt::Display for VectorFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            VectorFormat::Word2VecBinary => "word2vec binary",
            VectorFormat::Word2VecText => "word2vec text",
            VectorFormat::Glove => "GloVe text",
            VectorFormat::Eng1000 => "english1000",
        })
    }
}

/// The wanted part of a file of word vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct WordVectors {
    /// As given or detected.
    pub format: VectorFormat,
    /// Values of each vector.
    pub dim: usize,
    /// Vectors in the whole file, damaged ones included.
    pub n_in_file: usize,
    /// Lines with too few values or a word that is not UTF-8: never a match, counted here.
    pub n_damaged: usize,
    /// The first line with too few values, from 1, and how many it has.
    pub first_short: Option<(usize, usize)>,
    /// Vectors that the header of a text file promises, where they are more than there are.
    pub n_declared: Option<usize>,
    /// Lines for a wanted word that was there before; the first one counts, as in gensim.
    pub n_duplicates: usize,
    /// The wanted words that are there, spelled as in the file.
    pub vectors: HashMap<String, Vec<f32>>,
}

/// Reads the vectors of the wanted words from a plain, gzip or zip file.
///
/// `wanted` is asked once for each word of the file. With `format` `None` the layout is told from
/// the content. Cost: one pass at the speed of the disk or of gzip; values of other words are
/// skipped unread.
/// # Errors
/// `Error::Vectors` for damage (a header that lies names both counts), `Error::Input` for archives
/// and `Error::Read` for the file itself.
pub fn read(
    path: &Path,
    format: Option<VectorFormat>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<WordVectors> {
    let mut reader = input::open(path)?;
    let mut scan = || -> Result<WordVectors, ScanError> {
        let mut prefix = Vec::new();
        reader.by_ref().take(PREFIX_BYTES).read_to_end(&mut prefix)?;
        let is_whole = (prefix.len() as u64) < PREFIX_BYTES;
        if let Some(error) = detect::foreign(&prefix) {
            return Err(error.into());
        }
        // The first word of a GloVe file is "the", with a byte order mark it is none.
        let has_mark = prefix.starts_with(b"\xef\xbb\xbf");
        prefix.drain(..if has_mark { 3 } else { 0 });
        let format = match format {
            Some(format) => format,
            None => detect::format(&prefix, is_whole)?,
        };
        let mut input = Cursor::new(prefix.as_slice()).chain(&mut reader);
        match format {
            VectorFormat::Word2VecBinary => binary::scan(&mut input, wanted),
            VectorFormat::Word2VecText => text::scan_word2vec(&mut input, wanted),
            VectorFormat::Glove | VectorFormat::Eng1000 => {
                let dim = detect::glove_dim(&prefix, is_whole)?;
                text::scan_glove(&mut input, dim, wanted)
            }
        }
    };
    scan().map_err(|error| match error {
        ScanError::Read(source) => Error::Read { path: path.to_owned(), source },
        ScanError::Vectors(source) => Error::Vectors { path: path.to_owned(), source },
    })
}

/// Why a scan ended: the file cannot be read, or what it holds is wrong.
#[derive(Debug)]
enum ScanError {
    Read(std::io::Error),
    Vectors(VectorsError),
}

impl From<std::io::Error> for ScanError {
    fn from(source: std::io::Error) -> Self {
        ScanError::Read(source)
    }
}

impl From<VectorsError> for ScanError {
    fn from(source: VectorsError) -> Self {
        ScanError::Vectors(source)
    }
}

/// What a scan collects.
struct Found {
    result: WordVectors,
}

impl Found {
    fn new(format: VectorFormat, dim: usize) -> Found {
        let result = WordVectors {
            format,
            dim,
            n_in_file: 0,
            n_damaged: 0,
            first_short: None,
            n_declared: None,
            n_duplicates: 0,
            vectors: HashMap::new(),
        };
        Found { result }
    }

    /// Whether the values of this word are to be read; counts duplicates.
    fn needs(&mut self, word: &str, wanted: &dyn Fn(&str) -> bool) -> bool {
        if !wanted(word) {
            return false;
        }
        let is_new = !self.result.vectors.contains_key(word);
        self.result.n_duplicates += usize::from(!is_new);
        is_new
    }

    fn insert(&mut self, word: &str, vector: Vec<f32>) -> Result<(), VectorsError> {
        if let Some(index) = vector.iter().position(|value| !value.is_finite()) {
            let (word, value) = (word.to_owned(), vector[index]);
            return Err(VectorsError::NotFinite { word, index, value });
        }
        self.result.vectors.insert(word.to_owned(), vector);
        Ok(())
    }
}

/// Appends bytes up to and with `end`; at most `limit`, fewer at the end of the file.
fn read_until(
    input: &mut impl BufRead,
    end: u8,
    limit: usize,
    out: &mut Vec<u8>,
) -> std::io::Result<usize> {
    input.take(limit as u64).read_until(end, out)
}

/// The header line `n d` of the word2vec formats.
fn read_header(input: &mut impl BufRead) -> Result<(usize, usize), ScanError> {
    let mut line = Vec::new();
    read_until(input, b'\n', 100, &mut line)?;
    detect::parse_header(&line).map_err(ScanError::from)
}

#[cfg(test)]
mod tests;
