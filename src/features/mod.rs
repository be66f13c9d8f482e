//! Words to one row of numbers a word.
//!
//! Every feature space takes the words of a story in the order of their times and gives back one
//! row for each, so that `design` can place the rows in time. Words a space does not know are rows
//! of zeros, and are counted. Nothing here opens a file: readers of word vectors get the set of
//! `static_vectors::wanted_words` and give back a map.
//!
//! | module | rows | kind |
//! |---|---|---|
//! | `bow` | one-hot over the training stories' vocabulary | sparse |
//! | `static_vectors` | word2vec and GloVe vectors | dense |
//! | `contextual` | hidden states of a language model, read in windows | dense |
//! | `windows` | of those windows: where they begin, and which words they give | |
//! | `word_rate` | a single 1 | dense |
//! | `word_length` | letters of the word | dense |
//! | `column` | numbers from the word table | dense |
//! | `file` | rows that were made elsewhere: which is which word's or TR's | dense |
//! | `phones` | one row a phone: a single 1, or one-hot | dense, sparse |
//! | `position` | one row a TR: where in the story it lies | dense |
//!
//! `coverage` counts what was not found.

pub mod bow;
pub mod column;
#[cfg(feature = "language")]
pub mod contextual;
pub mod coverage;
pub mod file;
pub mod phones;
pub mod position;
pub mod static_vectors;
pub mod windows;
pub mod word_length;
pub mod word_rate;
