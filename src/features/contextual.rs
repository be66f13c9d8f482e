//! Vectors of words in their context: hidden states of a language model, read in windows.

use std::ops::Range;
use std::path::Path;

use candle_core::DType;
use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::windows::{Pool, Window, Windows};
use crate::error::Result;
use crate::nn::pretrained::HiddenStates;
use crate::nn::{Batch, Pieces, TextPieces, WordPieces};

/// Pieces of a batch by default: on two cores no quicker above.
pub const BATCH_TOKENS: usize = 1024;

/// What cuts words into a model's pieces.
#[derive(Debug, Clone)]
pub enum Cutter {
    /// Of a model that reads both ways: each word by itself.
    Words(Box<WordPieces>),
    /// Of a causal model: the words as one text, with a space between them.
    Text(Box<TextPieces>),
}

impl Cutter {
    /// The tokenizer of a model.
    /// # Errors
    /// As [`WordPieces::read`] and [`TextPieces::read`].
    pub fn read(model: &Path, is_causal: bool) -> Result<Self> {
        Ok(match is_causal {
            true => Self::Text(Box::new(TextPieces::read(model)?)),
            false => Self::Words(Box::new(WordPieces::read(model)?)),
        })
    }

    /// Special pieces before and behind those of a window.
    fn around(&self, windows: &Windows) -> (Vec<u32>, Vec<u32>) {
        match (self, windows) {
            (Self::Words(cutter), _) => (vec![cutter.cls()], vec![cutter.sep()]),
            (Self::Text(cutter), Windows::Alone { .. }) => {
                (cutter.beginning().to_vec(), Vec::new())
            }
            (Self::Text(cutter), _) => (cutter.prefix().to_vec(), Vec::new()),
        }
    }

    /// Special pieces that a causal model wants before a window; a window is so much shorter.
    pub fn prefix(&self) -> usize {
        match self {
            Self::Words(_) => 0,
            Self::Text(cutter) => cutter.prefix().len(),
        }
    }

    fn pad(&self) -> u32 {
        match self {
            Self::Words(cutter) => cutter.pad(),
            Self::Text(cutter) => cutter.pad(),
        }
    }

    fn unk(&self) -> Option<u32> {
        match self {
            Self::Words(cutter) => Some(cutter.unk()),
            Self::Text(cutter) => cutter.unk(),
        }
    }

    fn pieces(&self, words: &[String]) -> Result<Pieces> {
        match self {
            Self::Words(cutter) => cutter.pieces(words),
            Self::Text(cutter) => cutter.story(words),
        }
    }

    /// Pieces of words that stand alone, each as it would be cut inside a text.
    fn alone(&self, words: &[String]) -> Result<Pieces> {
        // The first word of a text has no space before it, and may be cut in another way.
        let text: Vec<String> =
            std::iter::once("a".to_owned()).chain(words.iter().cloned()).collect();
        let all = self.pieces(&text)?;
        let first = all.word.partition_point(|&word| word == 0);
        Ok(Pieces {
            ids: all.ids[first..].to_vec(),
            word: all.word[first..].iter().map(|word| word - 1).collect(),
        })
    }

    /// Pieces of words as `windows` reads them.
    fn cut(&self, words: &[String], windows: &Windows) -> Result<Pieces> {
        match windows {
            Windows::Alone { .. } => self.alone(words),
            _ => self.pieces(words),
        }
    }
}

/// Where each word's pieces stand: from and to.
fn spans(pieces: &Pieces, n_words: usize) -> Vec<Range<usize>> {
    let mut at = 0;
    let span = |word: usize| {
        let first = at;
        at += pieces.word[at..].iter().take_while(|&&w| w as usize == word).count();
        first..at
    };
    (0..n_words).map(span).collect()
}

/// A row per word for each of `layers`, `(n_words, width)`, f32: hidden states of the word's pieces
/// in the window that `windows` gives it, pooled as it says.
///
/// Words without a piece are rows of zeros. Windows are batched by length, at most `batch_tokens`
/// pieces a batch and one batch a thread at a time, which bounds the memory; results do not depend
/// on it beyond rounding. `done` is told how many words and pieces more are done; its error ends the
/// reading.
/// # Errors
/// Those of the model.
pub fn word_vectors(
    model: &dyn HiddenStates,
    cutter: &Cutter,
    words: &[String],
    (windows, layers): (&Windows, &[usize]),
    batch_tokens: usize,
    done: &(dyn Fn(usize, usize) -> Result<()> + Sync),
) -> Result<Vec<Array2<f32>>> {
    let pieces = cutter.cut(words, windows)?;
    let spans = spans(&pieces, words.len());
    let (before, behind) = cutter.around(windows);
    let story = Story { cutter, pieces: &pieces, spans: &spans, before, behind };
    let mut rows = windows.of(&spans);
    rows.sort_by_key(|window| std::cmp::Reverse(window.pieces.len()));
    let mut batches: Vec<&[Window]> = Vec::new();
    let mut rest = &rows[..];
    while let Some(longest) = rest.first() {
        let length = longest.pieces.len() + story.before.len() + story.behind.len();
        let (batch, more) = rest.split_at((batch_tokens / length).clamp(1, rest.len()));
        batches.push(batch);
        rest = more;
    }
    let read = |batch: &&[Window]| -> Result<Vec<(usize, Vec<f32>)>> {
        let vectors = story.batch_vectors(model, batch, layers, windows.pool())?;
        done(vectors.len(), batch.iter().map(|window| window.pieces.len()).sum())?;
        Ok(vectors)
    };
    let found: Vec<Vec<(usize, Vec<f32>)>> = batches.par_iter().map(read).collect::<Result<_>>()?;
    let width = model.width();
    let mut of_layers = vec![Array2::zeros((words.len(), width)); layers.len()];
    for (word, vectors) in found.into_iter().flatten() {
        for (rows, vector) in of_layers.iter_mut().zip(vectors.chunks_exact(width)) {
            rows.row_mut(word).assign(&ArrayView1::from(vector));
        }
    }
    Ok(of_layers)
}

/// A story cut into pieces.
struct Story<'a> {
    cutter: &'a Cutter,
    pieces: &'a Pieces,
    spans: &'a [Range<usize>],
    before: Vec<u32>,
    behind: Vec<u32>,
}

impl Story<'_> {
    /// The words of some windows with their vectors, one layer behind the other.
    fn batch_vectors(
        &self,
        model: &dyn HiddenStates,
        batch: &[Window],
        layers: &[usize],
        pool: Pool,
    ) -> Result<Vec<(usize, Vec<f32>)>> {
        let row = |window: &Window| {
            [&self.before, &self.pieces.ids[window.pieces.clone()], &self.behind].concat()
        };
        let rows: Vec<Vec<u32>> = batch.iter().map(row).collect();
        let rows = Batch::padded(&rows, self.cutter.pad());
        let (length, width) = (rows.length, model.width());
        let states = model
            .states(&rows, layers)?
            .into_iter()
            .map(|state| Ok(state.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?));
        let states: Vec<Vec<f32>> = states.collect::<Result<_>>()?;
        let mut found = Vec::new();
        for (row, window) in batch.iter().enumerate() {
            let heard = window.words.clone().filter(|&word| !self.spans[word].is_empty());
            for word in heard {
                let span = &self.spans[word];
                let to = span.end.min(window.pieces.end);
                let from = match pool {
                    Pool::Last => to - 1,
                    // A causal window may begin inside of a long word.
                    Pool::Mean => span.start.max(window.pieces.start),
                };
                let mut vectors = vec![0f32; layers.len() * width];
                for (sums, state) in vectors.chunks_exact_mut(width).zip(&states) {
                    for piece in from..to {
                        let column = self.before.len() + piece - window.pieces.start;
                        let state = &state[(row * length + column) * width..][..width];
                        sums.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
                    }
                    sums.iter_mut().for_each(|sum| *sum /= (to - from) as f32);
                }
                found.push((word, vectors));
            }
        }
        Ok(found)
    }
}

/// Words of a story that the tokenizer does not know: without a piece, or with an unknown one.
///
/// # Errors
/// Those of the tokenizer.
pub fn unknown_words<'a>(cutter: &Cutter, words: &'a [String]) -> Result<Vec<&'a String>> {
    let pieces = cutter.pieces(words)?;
    let spans = spans(&pieces, words.len());
    let unk = cutter.unk();
    let is_known = |span: &Range<usize>| {
        !span.is_empty() && !unk.is_some_and(|unk| pieces.ids[span.clone()].contains(&unk))
    };
    Ok(words.iter().zip(&spans).filter(|(_, span)| !is_known(span)).map(|(word, _)| word).collect())
}

#[cfg(test)]
#[path = "contextual_tests.rs"]
mod tests;
