//! Every way in which a file of word vectors can be wrong.

use super::MAX_DIM;
use crate::io::kinds::FileKind;

/// Why a file of word vectors is refused; `Error::Vectors` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorsError {
    /// Nothing in it.
    #[error("the file is empty, expected word vectors")]
    Empty,
    /// fastText's binary.
    #[error(
        "this is fastText's own .bin, which is not read; give its .vec (text), or write one with \
         `fasttext dump FILE.bin input > FILE.vec` or gensim's \
         load_facebook_vectors(FILE).save_word2vec_format(\"FILE.w2v.bin\", binary=True)"
    )]
    FastText,
    /// What gensim's `save` writes.
    #[error(
        "this is a pickle of gensim (.kv or .model), which is not read; in Python: \
         KeyedVectors.load(FILE).save_word2vec_format(\"FILE.w2v.bin\", binary=True) (of a model: \
         Word2Vec.load(FILE).wv…), and give FILE.w2v.bin"
    )]
    Gensim,
    /// Another kind of file.
    #[error(
        "this is {}, not a file of word vectors; {}", kind.what(),
        match kind {
            FileKind::AnnexPointer | FileKind::LfsPointer | FileKind::Html => kind.for_words(),
            _ => "expected word2vec's binary or text, GloVe's or fastText's text",
        }
    )]
    Foreign {
        /// The kind.
        kind: FileKind,
    },
    /// The first line of a word2vec file is no header.
    #[error("the first line is {found:?}, expected the header \"n_words dim\" of word2vec")]
    Header {
        /// The line, at most 60 characters.
        found: String,
    },
    /// A dimension of zero or past the limit.
    #[error("dimension {dim}, expected 1 to {MAX_DIM}; the header is damaged")]
    Dim {
        /// As declared.
        dim: u64,
    },
    /// No line of the first ones is a word and numbers.
    #[error(
        "line 1 is {found:?}, expected a word and its numbers, separated by spaces; \
         is this a file of word vectors?"
    )]
    NotVectors {
        /// The line, at most 60 characters.
        found: String,
    },
    /// The header promises more than there is.
    #[error(
        "truncated: the header says {declared} vectors, the file holds {found}; download it again"
    )]
    Truncated {
        /// By the header.
        declared: usize,
        /// Whole vectors.
        found: usize,
    },
    /// The header promises less than there is.
    #[error(
        "the header says {declared} vectors of dimension {dim}, but data follow the last one; \
         the header is wrong or the file damaged"
    )]
    Trailing {
        /// By the header.
        declared: usize,
        /// By the header.
        dim: usize,
    },
    /// The last line of a GloVe file ends early.
    #[error(
        "truncated: line {line}, the last, has {got} values, expected {dim}; download it again"
    )]
    TruncatedLine {
        /// From 1.
        line: usize,
        /// Values in it.
        got: usize,
        /// As in the other lines.
        dim: usize,
    },
    /// A word or a line longer than any is.
    #[error("vector {index}: no end of the word or line within {limit} bytes; the file is damaged")]
    TooLong {
        /// From 1, in the file's order.
        index: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A number of a wanted word that is none.
    #[error("line {line}: {got:?} in the vector of \"{word}\" is no number; mend the line")]
    Number {
        /// From 1.
        line: usize,
        /// The word.
        word: String,
        /// As written.
        got: String,
    },
    /// NaN or infinity in the vector of a wanted word.
    #[error("value {index} of the vector of \"{word}\" is {value}; the file is damaged")]
    NotFinite {
        /// The word.
        word: String,
        /// Place in the vector, from 0.
        index: usize,
        /// NaN or infinity.
        value: f32,
    },
    /// Most of the file is damaged: it is another kind of file.
    #[error(
        "{n_damaged} of {n_lines} lines have no word and {dim} values; \
         is this a file of word vectors?"
    )]
    MostlyDamaged {
        /// Lines that could not be used.
        n_damaged: usize,
        /// Lines of the file.
        n_lines: usize,
        /// As in the first lines.
        dim: usize,
    },
}
