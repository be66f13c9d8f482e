//! From stories' pieces to training examples: windows, the held-out share, the order of an epoch,
//! the unigram baseline.

use std::ops::Range;

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::masking::MaskRules;
use super::seeds::{Purpose, generator};
use crate::error::{Error, Result};

/// Which windows of a story are examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Windows {
    /// Windows over the whole story.
    All,
    /// The first one.
    First,
}

/// Windows of at most `room` pieces over `n_pieces`, one every `stride` (1 to `room`).
///
/// A window that would reach past the end is moved back to end there, so every window of a story
/// longer than `room` is full and every piece lies in one. A shorter story is one window.
pub fn windows(n_pieces: usize, room: usize, stride: usize, which: Windows) -> Vec<Range<usize>> {
    if n_pieces == 0 {
        return Vec::new();
    }
    if n_pieces <= room || which == Windows::First {
        return std::iter::once(0..n_pieces.min(room)).collect();
    }
    let last = n_pieces - room;
    let starts = (0..last).step_by(stride).chain([last]);
    starts.map(|start| start..start + room).collect()
}

/// Indices of the texts that are held out, in order: a share of them, at least one and never all,
/// drawn by `seed`. None of a single text, which is cut instead.
pub fn held_out(n_texts: usize, share: f64, seed: u64) -> Vec<usize> {
    if n_texts < 2 {
        return Vec::new();
    }
    let n = ((share * n_texts as f64).round() as usize).clamp(1, n_texts - 1);
    let mut order: Vec<usize> = (0..n_texts).collect();
    order.shuffle(&mut generator(seed, Purpose::HoldOut, 0, 0));
    order.truncate(n);
    order.sort_unstable();
    order
}

/// Words of a single text that are trained on; the rest, its end, is held out. At least one word on
/// either side of a text of two words or more.
pub fn cut(n_words: usize, share: f64) -> usize {
    let n = ((share * n_words as f64).round() as usize).max(1);
    n_words.saturating_sub(n).max(1)
}

/// Windows of pieces between the special pieces that every row has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examples {
    /// `[CLS]` pieces… `[SEP]`, each.
    pub rows: Vec<Vec<u32>>,
}

/// How stories become rows.
#[derive(Debug, Clone, Copy)]
pub struct Cutting {
    /// Pieces of a row, the two special ones included.
    pub max_length: usize,
    /// Pieces from one window's start to the next one's.
    pub stride: usize,
    /// All windows or the first.
    pub which: Windows,
    /// First piece of a row.
    pub cls: u32,
    /// Last piece of a row.
    pub sep: u32,
}

impl Cutting {
    /// The windows of all texts; those without an ordinary piece are left out.
    pub fn examples(&self, texts: &[Vec<u32>], rules: &MaskRules) -> Examples {
        let mut rows = Vec::new();
        for pieces in texts {
            for range in self.windows(pieces.len()) {
                let window = &pieces[range];
                if window.iter().any(|&id| rules.is_ordinary(id)) {
                    let row = [&[self.cls][..], window, &[self.sep]].concat();
                    rows.push(row);
                }
            }
        }
        Examples { rows }
    }

    fn windows(&self, n_pieces: usize) -> Vec<Range<usize>> {
        windows(n_pieces, self.max_length - 2, self.stride, self.which)
    }

    /// How often each of `vocab_size` pieces stands in the parts of the texts that windows show.
    pub fn counts(&self, texts: &[Vec<u32>], vocab_size: usize) -> Vec<u64> {
        let mut counts = vec![0; vocab_size];
        for pieces in texts {
            let shown = self.windows(pieces.len()).last().map_or(0, |range| range.end);
            for &id in &pieces[..shown] {
                counts[id as usize] += 1;
            }
        }
        counts
    }
}

/// The windows of an epoch in their order.
pub fn order(n_rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n_rows).collect();
    order.shuffle(&mut generator(seed, Purpose::Order, epoch, 0));
    order
}

/// Mean of −ln p over `labels`, where p is the share of a piece among the ordinary ones counted in
/// training, each counted once more: what a model scores that knows frequencies and no context.
///
/// # Errors
/// `Error::Values` without labels.
pub fn unigram_loss(counts: &[u64], rules: &MaskRules, labels: &[u32]) -> Result<f64> {
    if labels.is_empty() {
        return Err(Error::Values {
            place: "validation".into(),
            problem: "no piece of the held-out text can be masked".into(),
            hint: "give more text, or a tokenizer that knows its words".into(),
        });
    }
    let ordinary = (0..counts.len()).filter(|&id| rules.is_ordinary(id as u32));
    let total: u64 = ordinary.map(|id| counts[id]).sum::<u64>() + rules.n_ordinary() as u64;
    let surprise = |&label: &u32| ((total as f64) / (counts[label as usize] + 1) as f64).ln();
    Ok(labels.iter().map(surprise).sum::<f64>() / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(range: Range<usize>) -> Vec<Range<usize>> {
        std::iter::once(range).collect()
    }

    #[test]
    fn windows_are_full_cover_every_piece_and_end_at_the_end() {
        for (n, room, stride) in [(1000, 254, 128), (255, 254, 128), (509, 254, 254), (40, 7, 3)] {
            let all = windows(n, room, stride, Windows::All);
            assert!(all.iter().all(|w| w.len() == room));
            assert_eq!((all[0].start, all.last().unwrap().end), (0, n));
            for pair in all.windows(2) {
                let step = pair[1].start - pair[0].start;
                assert!(step >= 1 && step <= stride && pair[1].start <= pair[0].end, "{pair:?}");
            }
            assert_eq!(windows(n, room, stride, Windows::First), one(0..room));
        }
        assert_eq!(windows(1000, 254, 128, Windows::All).len(), 7);
        assert_eq!(windows(9, 254, 128, Windows::All), one(0..9));
        assert_eq!(windows(254, 254, 128, Windows::All), one(0..254));
        assert!(windows(0, 254, 128, Windows::All).is_empty());
    }

    #[test]
    fn at_least_one_text_is_held_out_and_one_is_left() {
        for (n, share, wanted) in [(2, 0.01, 1), (2, 0.99, 1), (20, 0.1, 2), (82, 0.1, 8)] {
            let held = held_out(n, share, 3);
            assert_eq!(held.len(), wanted);
            assert!(held.windows(2).all(|pair| pair[0] < pair[1]) && held[wanted - 1] < n);
            assert_eq!(held, held_out(n, share, 3));
        }
        assert_ne!(held_out(82, 0.1, 3), held_out(82, 0.1, 4));
        assert!(held_out(1, 0.5, 0).is_empty());
        assert_eq!([cut(2, 0.1), cut(100, 0.1), cut(2, 0.9), cut(1, 0.1)], [1, 90, 1, 1]);
    }

    #[test]
    fn every_epoch_has_every_window_in_another_order() {
        let mut first = order(100, 1, 1);
        assert_ne!(first, order(100, 1, 2));
        assert_ne!(first, order(100, 2, 1));
        assert_eq!(first, order(100, 1, 1));
        first.sort_unstable();
        assert!(first.iter().copied().eq(0..100));
    }

    #[test]
    fn rows_have_their_special_pieces_and_windows_of_unknown_words_are_no_examples() {
        let rules = MaskRules::new(20, 4, |id| id < 5).unwrap();
        let cutting = Cutting { max_length: 5, stride: 2, which: Windows::All, cls: 2, sep: 3 };
        let texts = [vec![5, 6, 7, 8], vec![1, 1], vec![]];
        let examples = cutting.examples(&texts, &rules);
        assert_eq!(examples.rows, [vec![2, 5, 6, 7, 3], vec![2, 6, 7, 8, 3]]);
        let counts = cutting.counts(&texts, 20);
        assert_eq!((counts[1], counts[5], counts[6], counts[8]), (2, 1, 1, 1));
        let first = Cutting { which: Windows::First, ..cutting };
        assert_eq!(first.counts(&texts, 20)[8], 0);
    }

    #[test]
    fn the_unigram_loss_is_that_of_add_one_frequencies() {
        let rules = MaskRules::new(8, 4, |id| id < 5).unwrap();
        // Ordinary: 5, 6, 7 with 3, 1, 0 counts; 1, which is special, does not count.
        let counts = [0, 9, 0, 0, 0, 3, 1, 0];
        let loss = unigram_loss(&counts, &rules, &[5, 5, 6, 7]).unwrap();
        let by_hand =
            -(2.0 * (4.0f64 / 7.0).ln() + (2.0f64 / 7.0).ln() + (1.0f64 / 7.0).ln()) / 4.0;
        assert!((loss - by_hand).abs() < 1e-12);
        assert_eq!(unigram_loss(&counts, &rules, &[]).unwrap_err().exit_code(), 3);
    }
}
