//! How a language model reads a story: which pieces stand in a window, and which words are taken
//! from it. A word is a range of pieces; nothing here knows a model or a tokenizer.

use std::ops::Range;

use serde::Serialize;

use crate::error::{Error, Result};

/// Which words a word's vector may come from, in a model that reads both ways.
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
    pub const WORDS: [(&str, Context); 2] = [("both", Context::Both), ("past", Context::Past)];
}

/// Which of a word's pieces give its vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The last one, which has seen the whole word.
    Last,
    /// Their mean.
    Mean,
}

impl Pool {
    /// As written in settings.
    pub const WORDS: [(&str, Pool); 2] = [("last", Pool::Last), ("mean", Pool::Mean)];

    /// As written in settings.
    pub fn label(self) -> &'static str {
        match self {
            Pool::Last => "last",
            Pool::Mean => "mean",
        }
    }
}

/// What is asked of a model's reading of a story.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `layer` | the last | index into hidden states, 0 the embeddings | 0 to the model's layers |
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ContextSettings {
    /// Hidden state.
    pub layer: Option<usize>,
    /// Windows.
    #[serde(flatten)]
    pub windows: WindowSettings,
}

/// Windows as they are asked for, by the kind of the model.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `context` | both | what a word's vector comes from | both, past |
/// | `window` | both: the model's longest, at most 512; past: 64 | pieces of a window, special tokens included | 3 to the model's longest |
/// | `stride` | half of what a window holds | pieces between the beginnings of windows; both only | 1 to what a window holds |
///
/// and of a causal model
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `past` | 64 | pieces before a word, at least; 0: each word is read alone | 0 and up |
/// | `window` | the model's longest, at most 512 | pieces of a window | `past` + 1 to the model's longest |
/// | `pool` | last | which of a word's pieces give its vector | last, mean |
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum WindowSettings {
    /// Of a model that reads both ways.
    BothWays {
        /// Context.
        context: Context,
        /// Pieces of a window.
        window: Option<usize>,
        /// Pieces from window to window.
        stride: Option<usize>,
    },
    /// Of a model in which a piece sees what stands before it.
    Causal {
        /// Pieces before a word.
        past: usize,
        /// Pieces of a window.
        window: Option<usize>,
        /// Pieces that give a word's vector.
        pool: Pool,
    },
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self::BothWays { context: Context::Both, window: None, stride: None }
    }
}

impl WindowSettings {
    /// Pieces before a word by default.
    pub const PAST: usize = 64;

    /// Whether the model they are for is causal.
    pub fn is_causal(&self) -> bool {
        matches!(self, Self::Causal { .. })
    }
}

/// Longest window without one asked for: with both sides and in a causal model, and with the past
/// alone, where each word costs a window of its own.
const LONG_WINDOW: usize = 512;
const PAST_WINDOW: usize = 64;
/// `[CLS]` and `[SEP]`.
const AROUND: usize = 2;

/// Settings that fit a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Hidden state.
    pub layer: usize,
    /// Windows.
    pub windows: Windows,
}

/// How a story is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// Windows of whole words begin `stride` pieces apart, the last one as early as it can while it
    /// reaches the end; a word is taken from the window in which the shorter of its two sides, in
    /// pieces, is longest (the earlier window of equals). A side that ends with the story counts as
    /// far as it goes. A word of more pieces than a window holds is cut.
    Both {
        /// Pieces of words in a window.
        capacity: usize,
        /// Pieces from window to window.
        stride: usize,
    },
    /// For each word the window that ends with it and begins as early as it can.
    Past {
        /// Pieces of words in a window.
        capacity: usize,
    },
    /// Windows of `window` pieces begin `window` − `past` pieces apart, in the middle of a word
    /// where they must; a word is taken from the first one that holds its last piece and, unless it
    /// begins with the story, at least `past` pieces before that.
    Causal {
        /// Pieces before a word's last one, at least; under `window`.
        past: usize,
        /// Pieces of a window.
        window: usize,
        /// Pieces that give a word's vector.
        pool: Pool,
    },
    /// Each word by itself, behind what the model knows as the beginning of a text.
    Alone {
        /// Pieces that give a word's vector.
        pool: Pool,
    },
}

impl ContextSettings {
    /// The reading for a model of so many layers and pieces in a row (those of words and, of a
    /// model that reads both ways, the two special ones around them).
    /// # Errors
    /// `Error::Usage` for what the model does not have.
    pub fn for_model(&self, n_layers: usize, max_length: usize) -> Result<Reading> {
        let wrong = |place: &str, expected: String, got: usize| Error::Usage {
            place: place.into(),
            problem: format!("expected {expected}, got {got}"),
            hint: "as the model's config says".into(),
        };
        let layer = self.layer.unwrap_or(n_layers);
        if layer > n_layers {
            return Err(wrong("layer", format!("0 (embeddings) to {n_layers}"), layer));
        }
        let asked = |window: Option<usize>, least: usize, most: usize| {
            let window = window.unwrap_or(most.min(max_length));
            match (least..=max_length).contains(&window) {
                true => Ok(window),
                false => Err(wrong("window", format!("{least} to {max_length} pieces"), window)),
            }
        };
        let windows = match self.windows {
            WindowSettings::BothWays { context: Context::Past, window, .. } => {
                Windows::Past { capacity: asked(window, AROUND + 1, PAST_WINDOW)? - AROUND }
            }
            WindowSettings::BothWays { context: Context::Both, window, stride } => {
                let window = asked(window, AROUND + 1, LONG_WINDOW)?;
                let capacity = window - AROUND;
                let stride = stride.unwrap_or(capacity.div_ceil(2));
                if !(1..=capacity).contains(&stride) {
                    let expected =
                        format!("1 to {capacity} pieces, what a window of {window} holds");
                    return Err(wrong("stride", expected, stride));
                }
                Windows::Both { capacity, stride }
            }
            WindowSettings::Causal { past: 0, pool, .. } => Windows::Alone { pool },
            WindowSettings::Causal { past, .. } if past >= max_length => {
                let expected = format!("0 to {} pieces", max_length.saturating_sub(1));
                return Err(wrong("past", expected, past));
            }
            WindowSettings::Causal { past, window, pool } => {
                // Half of a window's words have seen more than `past`, unless the model is too short for it.
                let most = LONG_WINDOW.max(2 * past);
                Windows::Causal { past, window: asked(window, past + 1, most)?, pool }
            }
        };
        Ok(Reading { layer, windows })
    }
}

impl Reading {
    /// The settings that ask for this reading, none of them left to the model.
    pub fn settings(&self) -> ContextSettings {
        let both_ways = |context, capacity: usize, stride| WindowSettings::BothWays {
            context,
            window: Some(capacity + AROUND),
            stride,
        };
        let windows = match self.windows {
            Windows::Both { capacity, stride } => both_ways(Context::Both, capacity, Some(stride)),
            Windows::Past { capacity } => both_ways(Context::Past, capacity, None),
            Windows::Causal { past, window, pool } => {
                WindowSettings::Causal { past, window: Some(window), pool }
            }
            Windows::Alone { pool } => WindowSettings::Causal { past: 0, window: None, pool },
        };
        ContextSettings { layer: Some(self.layer), windows }
    }
}

impl Windows {
    /// In words, for progress and for names of files.
    pub fn describe(&self) -> String {
        match self {
            Self::Both { capacity, stride } => format!(
                "context both, {} pieces a window, {stride} from window to window",
                capacity + AROUND
            ),
            Self::Past { capacity } => {
                format!("context past, {} pieces a window", capacity + AROUND)
            }
            Self::Causal { past, window, pool } => {
                format!("past {past}, {window} pieces a window, pool {}", pool.label())
            }
            Self::Alone { pool } => format!(
                "past 0, each word alone behind the beginning of a text, pool {}",
                pool.label()
            ),
        }
    }

    /// Which of a word's pieces give its vector.
    pub fn pool(&self) -> Pool {
        match self {
            Self::Both { .. } | Self::Past { .. } => Pool::Mean,
            Self::Causal { pool, .. } | Self::Alone { pool } => *pool,
        }
    }

    /// The windows of a story whose words are `spans` of its pieces, in order and without gaps.
    /// Words without a piece may stand among those that a window gives, or in none.
    pub fn of(&self, spans: &[Range<usize>]) -> Vec<Window> {
        match *self {
            Self::Both { capacity, stride } => both(spans, capacity, stride),
            Self::Past { capacity } => past(spans, capacity),
            Self::Causal { past, window, .. } => causal(spans, past, window),
            Self::Alone { .. } => heard(spans)
                .map(|word| Window { pieces: spans[word].clone(), words: word..word + 1 })
                .collect(),
        }
    }
}

/// One row for the model, and the words that are taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Pieces of the story, from and to.
    pub pieces: Range<usize>,
    /// Words that this window gives.
    pub words: Range<usize>,
}

/// Words that have pieces.
fn heard(spans: &[Range<usize>]) -> impl Iterator<Item = usize> {
    (0..spans.len()).filter(|&word| !spans[word].is_empty())
}

/// The earliest word from which on everything up to the end of `last` fits into a window.
fn earliest(spans: &[Range<usize>], capacity: usize, last: usize) -> usize {
    let end = spans[last].end;
    spans[..last].partition_point(|span| span.start + capacity < end)
}

/// Pieces of a window of whole words; a word of more than it holds is cut.
fn pieces(spans: &[Range<usize>], capacity: usize, words: Range<usize>) -> Range<usize> {
    let first = spans[words.start].start;
    first..spans[words.end - 1].end.min(first + capacity)
}

fn past(spans: &[Range<usize>], capacity: usize) -> Vec<Window> {
    let of_word = |word: usize| Window {
        pieces: pieces(spans, capacity, earliest(spans, capacity, word)..word + 1),
        words: word..word + 1,
    };
    heard(spans).map(of_word).collect()
}

fn both(spans: &[Range<usize>], capacity: usize, stride: usize) -> Vec<Window> {
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut first = 0;
    while first < spans.len() {
        let start = spans[first].start;
        let end = spans.partition_point(|span| span.end <= start + capacity).max(first + 1);
        if end == spans.len() {
            all.push(earliest(spans, capacity, end - 1)..end);
            break;
        }
        all.push(first..end);
        let next = spans.partition_point(|span| span.start < start + stride);
        first = next.clamp(first + 1, end);
    }
    let window = |words: &Range<usize>| Window {
        pieces: pieces(spans, capacity, words.clone()),
        words: 0..0,
    };
    let mut windows: Vec<Window> = all.iter().map(window).collect();
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

fn causal(spans: &[Range<usize>], past: usize, window: usize) -> Vec<Window> {
    let stride = window - past;
    let mut windows: Vec<Window> = Vec::new();
    for word in heard(spans) {
        let end = spans[word].end;
        // The first window that reaches so far; its predecessor ended `stride` pieces before.
        let start = end.saturating_sub(window).div_ceil(stride) * stride;
        match windows.last_mut().filter(|last| last.pieces.start == start) {
            // Pieces behind a window's last word change nothing and are left out.
            Some(last) => (last.pieces.end, last.words.end) = (end, word + 1),
            None => windows.push(Window { pieces: start..end, words: word..word + 1 }),
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of 0 to 4 pieces.
    fn story(n: usize) -> Vec<Range<usize>> {
        let mut at = 0;
        let span = |i: usize| {
            let first = at;
            at += [1, 2, 0, 1, 4, 1, 1, 3][(i * 5) % 8];
            first..at
        };
        (0..n).map(span).collect()
    }

    #[test]
    fn a_causal_window_serves_many_words_and_each_has_its_past() {
        let spans = story(400);
        let total = spans[399].end;
        for (past, window) in [(1, 2), (3, 8), (16, 32), (64, 512), (7, 9), (64, 10_000)] {
            let windows = Windows::Causal { past, window, pool: Pool::Last }.of(&spans);
            let stride = window - past;
            let mut taken = Vec::new();
            for (i, own) in windows.iter().enumerate() {
                assert!(own.pieces.len() <= window && own.pieces.start % stride == 0);
                assert!(i == 0 || own.pieces.start > windows[i - 1].pieces.start);
                for word in own.words.clone().filter(|&word| !spans[word].is_empty()) {
                    let last = spans[word].end - 1;
                    assert!(own.pieces.contains(&last));
                    let before = last - own.pieces.start;
                    assert!(before >= past || own.pieces.start == 0, "word {word}: {before}");
                    // No earlier window has it.
                    assert!(own.pieces.start == 0 || last >= own.pieces.start - stride + window);
                    taken.push(word);
                }
            }
            assert_eq!(taken, heard(&spans).collect::<Vec<_>>(), "every word once, in order");
            // As many pieces are read as there are, and `past` once more a window.
            let read: usize = windows.iter().map(|window| window.pieces.len()).sum();
            assert!(read <= total + windows.len() * past, "{read} of {total}");
        }
    }

    #[test]
    fn settings_are_filled_in_and_checked_by_the_model() {
        let both_ways = |layer, context, window, stride| ContextSettings {
            layer,
            windows: WindowSettings::BothWays { context, window, stride },
        };
        let causal = |past, window| ContextSettings {
            layer: Some(3),
            windows: WindowSettings::Causal { past, window, pool: Pool::Last },
        };
        let plain = both_ways(None, Context::Both, None, None);
        for (settings, max_length, layer, windows) in [
            (plain.clone(), 512, 6, Windows::Both { capacity: 510, stride: 255 }),
            (plain.clone(), 600, 6, Windows::Both { capacity: 510, stride: 255 }),
            (both_ways(Some(0), Context::Past, None, None), 512, 0, Windows::Past { capacity: 62 }),
            (both_ways(Some(0), Context::Past, None, None), 16, 0, Windows::Past { capacity: 14 }),
            (
                causal(64, None),
                2048,
                3,
                Windows::Causal { past: 64, window: 512, pool: Pool::Last },
            ),
            (causal(64, None), 100, 3, Windows::Causal { past: 64, window: 100, pool: Pool::Last }),
            (
                causal(600, None),
                2048,
                3,
                Windows::Causal { past: 600, window: 1200, pool: Pool::Last },
            ),
            (causal(0, None), 2048, 3, Windows::Alone { pool: Pool::Last }),
        ] {
            let found = settings.for_model(6, max_length).unwrap();
            assert_eq!(found, Reading { layer, windows });
            // What was filled in asks for the same again.
            assert_eq!(found.settings().for_model(6, max_length).unwrap(), found);
        }
        let window = |window, stride| both_ways(None, Context::Both, window, stride);
        for (wrong, says) in [
            (both_ways(Some(7), Context::Both, None, None), "0 (embeddings) to 6, got 7"),
            (window(Some(2), None), "3 to 512 pieces, got 2"),
            (window(Some(513), None), "got 513"),
            (window(Some(10), Some(9)), "1 to 8 pieces"),
            (window(None, Some(0)), "got 0"),
            (causal(64, Some(64)), "65 to 512 pieces, got 64"),
            (causal(512, None), "past: expected 0 to 511 pieces, got 512"),
        ] {
            let error = wrong.for_model(6, 512).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(says), "{error}");
        }
    }
}
