//! One space's rows: what does not depend on TR times.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use ndarray::{Array2, Axis, s};

use super::named_files::NamedFiles;
use crate::design::tr_rows::TrRows;
use crate::error::{Error, Result};
use crate::features::coverage::Coverage;
use crate::features::file::rows_of_trs;
use crate::features::position::position;
use crate::features::static_vectors::{VectorFormat, embed};
use crate::features::windows::Reading;
use crate::io::npy;
use crate::matrix::Rows;
use crate::stimuli::Story;
use crate::study_file::WordTime;
use crate::warning::Warning;

/// One space's rows.
pub struct WordSpace {
    /// Number of columns.
    pub n_features: usize,
    /// Where a story's rows come from.
    pub(super) rows: RowSource,
    /// When each row was.
    pub(super) at: RowsAt,
    /// Words that have no row of their own.
    pub coverage: Option<Coverage>,
    /// Column names, where there are any.
    pub names: Option<Vec<String>>,
    /// Folder of the encoder that was made for the training stories.
    pub encoder: Option<PathBuf>,
    /// How a language model read the stories.
    pub reading: Option<Reading>,
    /// blake3, hexadecimal, of that model.
    pub model: Option<String>,
    /// About its files.
    pub warnings: Vec<Warning>,
    /// What was counted, in sentences.
    pub notes: Vec<String>,
}

/// A row a word heard, for every story, can be larger than everything else: static vectors are
/// looked up when a story is resampled, not before.
pub(super) enum RowSource {
    /// One matrix a story.
    Stored(Vec<Rows>),
    /// Word vectors by the file's spelling.
    Vectors(HashMap<String, Vec<f32>>, VectorFormat),
    /// One .npy a story.
    Files(Vec<PathBuf>),
    /// Files that were made elsewhere.
    Named(NamedFiles),
    /// What follows from the number of TRs.
    Position,
}

/// When the rows of a space were.
pub(super) enum RowsAt {
    /// When the words were.
    Words,
    /// At times of their own, story by story.
    Times(Vec<Moments>),
    /// There is a row for each TR.
    Trs,
}

/// Times of the rows of one story.
pub(super) struct Moments {
    /// Where a row has a beginning.
    pub onset_s: Option<Vec<f64>>,
    /// Its middle, or the moment it is.
    pub mid_s: Vec<f64>,
}

impl Moments {
    /// Those that count.
    pub fn of(&self, time: WordTime) -> &[f64] {
        match (time, &self.onset_s) {
            (WordTime::Onset, Some(onset_s)) => onset_s,
            _ => &self.mid_s,
        }
    }
}

impl WordSpace {
    /// A space with a row for each word and nothing to be said about it.
    pub(super) fn new(n_features: usize, rows: RowSource) -> Self {
        Self {
            n_features,
            rows,
            at: RowsAt::Words,
            coverage: None,
            names: None,
            encoder: None,
            reading: None,
            model: None,
            warnings: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether it has a row for each word; other rows have times of their own, or are the TRs'.
    pub fn is_at_words(&self) -> bool {
        matches!(self.at, RowsAt::Words)
    }

    /// Whether its rows are those of TRs, so that nothing is resampled.
    pub fn is_at_trs(&self) -> bool {
        matches!(self.at, RowsAt::Trs)
    }

    /// Whether its rows follow from the number of kept TRs alone.
    pub fn is_position(&self) -> bool {
        matches!(self.rows, RowSource::Position)
    }

    /// Bytes of the rows that it holds.
    pub fn bytes(&self) -> usize {
        // A key, its text and its vector's allocation.
        const ENTRY_BYTES: usize = 128;
        match &self.rows {
            RowSource::Stored(rows) => rows.iter().map(Rows::bytes).sum(),
            RowSource::Vectors(vectors, _) => {
                vectors.len() * (self.n_features * size_of::<f32>() + ENTRY_BYTES)
            }
            RowSource::Files(_) | RowSource::Named(_) | RowSource::Position => 0,
        }
    }

    /// Rows of the story that has most of them, where they are not one per word.
    pub fn most_rows(&self) -> usize {
        match &self.rows {
            RowSource::Named(files) => files.most_rows(),
            _ => 0,
        }
    }

    /// Asks that rows of TRs are as many as a story's TRs, `n_trs` before the trim, of which some
    /// are `kept`.
    /// # Errors
    /// `Error::Shape` with all numbers.
    pub fn check_trs(&self, index: usize, n_trs: usize, kept: &Range<usize>) -> Result<()> {
        match &self.rows {
            RowSource::Named(files) if self.is_at_trs() => {
                trs_of(files, index, n_trs, kept).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Rows of the TRs that are `kept` of a story's `n_trs`, of a space that has
    /// [rows of TRs](WordSpace::is_at_trs).
    /// # Errors
    /// As [`WordSpace::check_trs`]; those of the file.
    pub(super) fn rows_at_trs(
        &self,
        index: usize,
        n_trs: usize,
        kept: &Range<usize>,
    ) -> Result<TrRows> {
        let RowSource::Named(files) = &self.rows else {
            return Ok(TrRows::Dense(position(kept.len())));
        };
        let own = trs_of(files, index, n_trs, kept)?;
        Ok(TrRows::Dense(files.read(index)?.slice_move(s![own, ..])))
    }

    /// The rows of one story, `(n_words, n_features)`, or as many as it has times.
    /// # Errors
    /// As `static_vectors::embed`; those of reading stored rows.
    pub fn story_rows(&self, index: usize, story: &Story) -> Result<Cow<'_, Rows>> {
        match &self.rows {
            RowSource::Stored(rows) => Ok(Cow::Borrowed(&rows[index])),
            RowSource::Vectors(vectors, format) => {
                let (rows, _) = embed(&story.words, vectors, self.n_features, *format)?;
                Ok(Cow::Owned(Rows::Dense(rows)))
            }
            RowSource::Files(files) => {
                let rows = npy::read_matrix_f32(&files[index])?;
                if rows.dim() != (story.words.len(), self.n_features) {
                    return Err(Error::Shape {
                        what: format!(
                            "word vectors of {:?} ({})",
                            story.name,
                            files[index].display()
                        ),
                        expected: format!("({}, {})", story.words.len(), self.n_features),
                        got: format!("{:?}", rows.dim()),
                        hint: "remove the folder .cache and start again".into(),
                    });
                }
                Ok(Cow::Owned(Rows::Dense(rows)))
            }
            RowSource::Named(files) => {
                let all = files.read(index)?.mapv(|x| x as f32);
                let rows = match files.rows_of_words(index) {
                    Some(own) => all.select(Axis(0), own),
                    None => all,
                };
                Ok(Cow::Owned(Rows::Dense(rows)))
            }
            RowSource::Position => Ok(Cow::Owned(Rows::Dense(Array2::zeros((0, self.n_features))))),
        }
    }
}

fn trs_of(
    files: &NamedFiles,
    index: usize,
    n_trs: usize,
    kept: &Range<usize>,
) -> Result<Range<usize>> {
    let n_rows = files.n_rows(index);
    rows_of_trs(n_rows, n_trs, kept).ok_or_else(|| Error::Shape {
        what: format!("rows of {}", files.path(index).display()),
        expected: format!("{} (the BOLD's rows) or {n_trs} (TRs before the trim)", kept.len()),
        got: n_rows.to_string(),
        hint: "give a row per TR, or say what rows are: rows = \"words\", rows = \"times\"".into(),
    })
}
