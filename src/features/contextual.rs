//! Vectors of words in their context: hidden states of a language model, read in windows.

#![cfg_attr(not(feature = "language"), allow(dead_code))]

#[cfg(feature = "language")]
use candle_core::DType;
#[cfg(feature = "language")]
use ndarray::Array2;
#[cfg(feature = "language")]
use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};
#[cfg(feature = "language")]
use crate::nn::pretrained::HiddenStates;
#[cfg(feature = "language")]
use crate::nn::{Batch, Pieces, WordPieces};

/// Which words a word's vector may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Context {
    /// Words before and after it.
    Both,
    /// The word itself and words before it, which is all that a listener has heard.
    Past,
}

impl Context {
    /// As written in settings.
    pub fn label(self) -> &'static str {
        match self {
            Context::Both => "both",
            Context::Past => "past",
        }
    }
}

/// How a story is read.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `layer` | the last | index into hidden states, 0 the embeddings | 0 to the model's layers |
/// | `context` | both | what a word's vector comes from | both, past |
/// | `window` | both: the model's longest, at most 512; past: 64 | pieces of a window, special tokens included | 3 to the model's longest |
/// | `stride` | half of what a window holds | pieces between the beginnings of windows; both only | 1 to what a window holds |
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ContextSettings {
    /// Hidden state.
    pub layer: Option<usize>,
    /// Context.
    pub context: Context,
    /// Pieces of a window.
    pub window: Option<usize>,
    /// Pieces from window to window.
    pub stride: Option<usize>,
}

impl Default for ContextSettings {
    fn default() -> Self {
        Self { layer: None, context: Context::Both, window: None, stride: None }
    }
}

/// Longest window without one asked for: with both sides, and with the past alone, where each word
/// costs a window of its own.
const WINDOW_BOTH: usize = 512;
const WINDOW_PAST: usize = 64;
/// Pieces of a batch by default: on two cores no quicker above.
pub const BATCH_TOKENS: usize = 1024;
/// `[CLS]` and `[SEP]`.
const AROUND: usize = 2;

/// Settings that fit a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Hidden state.
    pub layer: usize,
    /// Context.
    pub context: Context,
    /// Pieces of words in a window.
    pub capacity: usize,
    /// Pieces from window to window.
    pub stride: usize,
}

impl ContextSettings {
    /// The reading for a model of so many layers and pieces in a row.
    /// # Errors
    /// `Error::Usage` for what the model does not have.
    pub fn for_model(&self, n_layers: usize, max_length: usize) -> Result<Reading> {
        let wrong = |place: &str, expected: String, got: usize| Error::Usage {
            place: place.into(),
            problem: format!("expected {expected}, got {got}"),
            hint: "as the model's config.json says".into(),
        };
        let layer = self.layer.unwrap_or(n_layers);
        if layer > n_layers {
            return Err(wrong("layer", format!("0 (embeddings) to {n_layers}"), layer));
        }
        let most = match self.context {
            Context::Both => WINDOW_BOTH,
            Context::Past => WINDOW_PAST,
        };
        let window = self.window.unwrap_or(most.min(max_length));
        if !(AROUND + 1..=max_length).contains(&window) {
            return Err(wrong("window", format!("3 to {max_length} pieces"), window));
        }
        let capacity = window - AROUND;
        let stride = self.stride.unwrap_or(capacity.div_ceil(2));
        if !(1..=capacity).contains(&stride) {
            let expected = format!("1 to {capacity} pieces, what a window of {window} holds");
            return Err(wrong("stride", expected, stride));
        }
        Ok(Reading { layer, context: self.context, capacity, stride })
    }
}

impl Reading {
    /// The settings that ask for this reading, none of them left to the model.
    pub fn settings(&self) -> ContextSettings {
        let Self { layer, context, capacity, stride } = *self;
        ContextSettings {
            layer: Some(layer),
            context,
            window: Some(capacity + AROUND),
            stride: (context == Context::Both).then_some(stride),
        }
    }
}

/// One row for the model, and the words that are taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// Pieces of the story, from and to.
    pieces: std::ops::Range<usize>,
    /// Words that this window gives.
    words: std::ops::Range<usize>,
}

/// Where each word's pieces stand: from and to.
#[cfg(feature = "language")]
fn spans(pieces: &Pieces, n_words: usize) -> Vec<std::ops::Range<usize>> {
    let mut at = 0;
    let span = |word: usize| {
        let first = at;
        at += pieces.word[at..].iter().take_while(|&&w| w as usize == word).count();
        first..at
    };
    (0..n_words).map(span).collect()
}

/// Windows over a story.
///
/// `Both`: windows of whole words begin `stride` pieces apart, the last one as early as it can
/// while it reaches the end; a word is taken from the window in which the shorter of its two
/// sides, in pieces, is longest (the earlier window of equals). A side that ends with the story
/// counts as far as it goes.
/// `Past`: for each word the window that ends with it and begins as early as it can.
/// A word of more pieces than a window holds is cut.
fn windows(spans: &[std::ops::Range<usize>], reading: &Reading) -> Vec<Window> {
    let capacity = reading.capacity;
    // The earliest word from which on everything up to the end of `last` fits.
    let earliest = |last: usize| {
        let end = spans[last].end;
        spans[..last].partition_point(|span| span.start + capacity < end)
    };
    let pieces = |words: std::ops::Range<usize>| {
        let first = spans[words.start].start;
        first..spans[words.end - 1].end.min(first + capacity)
    };
    if reading.context == Context::Past {
        let of_word = |word: usize| Window {
            pieces: pieces(earliest(word)..word + 1),
            words: word..word + 1,
        };
        return (0..spans.len()).filter(|&w| !spans[w].is_empty()).map(of_word).collect();
    }
    let mut all: Vec<std::ops::Range<usize>> = Vec::new();
    let mut first = 0;
    while first < spans.len() {
        let start = spans[first].start;
        let end = spans.partition_point(|span| span.end <= start + capacity).max(first + 1);
        if end == spans.len() {
            all.push(earliest(end - 1)..end);
            break;
        }
        all.push(first..end);
        let next = spans.partition_point(|span| span.start < start + reading.stride);
        first = next.clamp(first + 1, end);
    }
    let mut windows: Vec<Window> =
        all.iter().map(|words| Window { pieces: pieces(words.clone()), words: 0..0 }).collect();
    let mut candidates = 0..0;
    for (word, span) in spans.iter().enumerate() {
        while candidates.end < all.len() && all[candidates.end].start <= word {
            candidates.end += 1;
        }
        while all[candidates.start].end <= word {
            candidates.start += 1;
        }
        let side = |&at: &usize| {
            let window = &windows[at].pieces;
            (span.start - window.start).min(window.end.saturating_sub(span.end))
        };
        let best = candidates.clone().rev().max_by_key(side).unwrap_or(candidates.start);
        let words = &mut windows[best].words;
        *words = if words.start == words.end { word..word + 1 } else { words.start..word + 1 };
    }
    windows.retain(|window| !window.words.is_empty());
    windows
}

/// A row per word, `(n_words, width)`, f32: the mean of its pieces' hidden states in the window
/// that [`Context`] gives it.
///
/// Words without a piece are rows of zeros. Windows are batched by length, at most `batch_tokens`
/// pieces a batch and one batch a thread at a time, which bounds the memory; results do not depend
/// on it beyond rounding. `done` is told how many words more are done; its error ends the reading.
/// # Errors
/// Those of the model.
#[cfg(feature = "language")]
pub fn word_vectors(
    model: &dyn HiddenStates,
    tokenizer: &WordPieces,
    words: &[String],
    reading: &Reading,
    batch_tokens: usize,
    done: &(dyn Fn(usize) -> Result<()> + Sync),
) -> Result<Array2<f32>> {
    let pieces = tokenizer.pieces(words)?;
    let spans = spans(&pieces, words.len());
    let mut windows = windows(&spans, reading);
    windows.sort_by_key(|window| std::cmp::Reverse(window.pieces.len()));
    let mut batches: Vec<&[Window]> = Vec::new();
    let mut rest = &windows[..];
    while let Some(longest) = rest.first() {
        let rows = (batch_tokens / (longest.pieces.len() + AROUND)).clamp(1, rest.len());
        let (batch, more) = rest.split_at(rows);
        batches.push(batch);
        rest = more;
    }
    let read = |batch: &&[Window]| -> Result<Vec<(usize, Vec<f32>)>> {
        let vectors = batch_vectors(model, tokenizer, (&pieces, &spans), batch, reading.layer)?;
        done(vectors.len())?;
        Ok(vectors)
    };
    let found: Vec<Vec<(usize, Vec<f32>)>> = batches.par_iter().map(read).collect::<Result<_>>()?;
    let mut rows = Array2::zeros((words.len(), model.width()));
    for (word, vector) in found.into_iter().flatten() {
        rows.row_mut(word).assign(&ndarray::ArrayView1::from(&vector));
    }
    Ok(rows)
}

/// The words of some windows with their vectors.
#[cfg(feature = "language")]
fn batch_vectors(
    model: &dyn HiddenStates,
    tokenizer: &WordPieces,
    (pieces, spans): (&Pieces, &[std::ops::Range<usize>]),
    batch: &[Window],
    layer: usize,
) -> Result<Vec<(usize, Vec<f32>)>> {
    let (cls, sep) = ([tokenizer.cls()], [tokenizer.sep()]);
    let row = |w: &Window| [&cls, &pieces.ids[w.pieces.clone()], &sep].concat();
    let rows: Vec<Vec<u32>> = batch.iter().map(row).collect();
    let rows = Batch::padded(&rows, tokenizer.pad());
    let (length, width) = (rows.length, model.width());
    let state = model.states(&rows, &[layer])?.swap_remove(0).to_dtype(DType::F32)?;
    let state: Vec<f32> = state.flatten_all()?.to_vec1()?;
    let mut found = Vec::new();
    for (row, window) in batch.iter().enumerate() {
        for word in window.words.clone().filter(|&word| !spans[word].is_empty()) {
            let (from, to) = (spans[word].start, spans[word].end.min(window.pieces.end));
            let mut mean = vec![0f32; width];
            for piece in from..to {
                let at = (row * length + 1 + piece - window.pieces.start) * width;
                mean.iter_mut().zip(&state[at..at + width]).for_each(|(sum, x)| *sum += x);
            }
            mean.iter_mut().for_each(|sum| *sum /= (to - from) as f32);
            found.push((word, mean));
        }
    }
    Ok(found)
}

/// Words of a story that the tokenizer does not know: without a piece, or with an unknown one.
///
/// # Errors
/// Those of the tokenizer.
#[cfg(feature = "language")]
pub fn unknown_words<'a>(tokenizer: &WordPieces, words: &'a [String]) -> Result<Vec<&'a String>> {
    let pieces = tokenizer.pieces(words)?;
    let spans = spans(&pieces, words.len());
    let is_known = |span: &std::ops::Range<usize>| {
        !span.is_empty() && !pieces.ids[span.clone()].contains(&tokenizer.unk())
    };
    Ok(words.iter().zip(&spans).filter(|(_, span)| !is_known(span)).map(|(word, _)| word).collect())
}

#[cfg(feature = "language")]
#[cfg(test)]
#[path = "contextual_tests.rs"]
mod tests;
