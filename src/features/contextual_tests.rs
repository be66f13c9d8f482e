//! Windows against their definition; vectors of a model that can be seen through.

use candle_core::{Device, Tensor};
use ndarray::s;

use super::*;
use crate::error::Error;

/// A model whose hidden state of a piece is (its id, its column, the row's length): it tells from
/// which row and place a vector was taken.
struct Glass;

impl HiddenStates for Glass {
    fn n_layers(&self) -> usize {
        3
    }
    fn width(&self) -> usize {
        4
    }
    fn max_length(&self) -> usize {
        600
    }
    fn vocab_size(&self) -> usize {
        1000
    }
    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        layers.iter().map(|&layer| self.state(batch, layer)).collect()
    }
}

impl Glass {
    fn state(&self, batch: &Batch, layer: usize) -> Result<Tensor> {
        let mut values = Vec::new();
        for (at, &id) in batch.ids.iter().enumerate() {
            let row = at / batch.length * batch.length;
            let there = batch.attended[row..row + batch.length].iter().filter(|&&a| a).count();
            values.extend([id as f32, (at - row) as f32, there as f32, layer as f32]);
        }
        Ok(Tensor::from_vec(values, (batch.rows, batch.length, 4), &Device::Cpu)?)
    }
}

/// Words of 1 to 5 known letters, every letter a piece, and some words without a piece.
fn story(n: usize) -> (Cutter, Vec<String>) {
    let letters = "abcdefghij";
    let words: Vec<String> = (0..n)
        .map(|i| match i % 13 {
            7 => "\u{0}".to_owned(),
            k => (0..1 + (i * 7 + k) % 5).map(|j| &letters[(i + j) % 10..][..1]).collect(),
        })
        .collect();
    // No pair is joined: as many pieces as characters alone need.
    let tokenizer = WordPieces::train(words.iter().map(String::as_str), 25).unwrap();
    (Cutter::Words(Box::new(tokenizer)), words)
}

fn one_layer(cutter: &Cutter, words: &[String], windows: &Windows, n: usize) -> Array2<f32> {
    let rows = word_vectors(&Glass, cutter, words, (windows, &[2]), n, &|_, _| Ok(()));
    rows.unwrap().swap_remove(0)
}

#[test]
fn windows_with_both_sides_take_every_word_where_it_is_most_central() {
    let (tokenizer, words) = story(90);
    let pieces = tokenizer.pieces(&words).unwrap();
    let spans = spans(&pieces, words.len());
    assert_eq!(spans.last().unwrap().end, pieces.ids.len());
    for (capacity, stride) in [(5, 1), (5, 5), (12, 6), (40, 20), (40, 7), (600, 300), (3, 3)] {
        let found = Windows::Both { capacity, stride }.of(&spans);
        let mut taken: Vec<usize> = found.iter().flat_map(|w| w.words.clone()).collect();
        taken.sort_unstable();
        assert_eq!(taken, (0..words.len()).collect::<Vec<_>>(), "every word once");
        for window in &found {
            assert!(window.pieces.len() <= capacity);
            for word in window.words.clone().filter(|&w| spans[w].len() <= capacity) {
                let span = &spans[word];
                assert!(window.pieces.start <= span.start && span.end <= window.pieces.end);
                let side = |w: &Window| (span.start - w.pieces.start).min(w.pieces.end - span.end);
                let holds = |w: &&Window| w.pieces.start <= span.start && span.end <= w.pieces.end;
                let best = found.iter().filter(holds).map(side).max().unwrap();
                assert_eq!(side(window), best, "word {word}, {capacity} by {stride}");
            }
        }
        let total = pieces.ids.len();
        if capacity >= total {
            assert_eq!(found, [Window { pieces: 0..total, words: 0..words.len() }]);
        }
        // Enough on both sides: half of what two neighbouring windows share, less a word.
        let inner = spans.iter().enumerate().filter(|(_, span)| {
            span.start >= capacity && span.end + capacity <= total && !span.is_empty()
        });
        for (word, span) in inner.filter(|_| capacity >= 12) {
            let window = found.iter().find(|w| w.words.contains(&word)).unwrap();
            let side = (span.start - window.pieces.start).min(window.pieces.end - span.end);
            let least = ((capacity - stride) / 2).saturating_sub(10);
            assert!(side >= least, "word {word}: {side} of {capacity} by {stride}");
        }
    }
}

#[test]
fn windows_of_the_past_end_with_their_word_and_are_as_long_as_they_can_be() {
    let (tokenizer, words) = story(60);
    let pieces = tokenizer.pieces(&words).unwrap();
    let spans = spans(&pieces, words.len());
    for capacity in [3, 7, 30, 600] {
        let found = Windows::Past { capacity }.of(&spans);
        assert_eq!(found.len(), spans.iter().filter(|span| !span.is_empty()).count());
        for window in &found {
            let word = window.words.start;
            let span = &spans[word];
            assert_eq!(window.words, word..word + 1);
            if span.len() > capacity {
                assert_eq!(window.pieces, span.start..span.start + capacity);
                continue;
            }
            assert_eq!(window.pieces.end, span.end, "nothing behind the word");
            assert!(window.pieces.len() <= capacity);
            let before =
                spans[..word].iter().rfind(|s| !s.is_empty() && s.start < window.pieces.start);
            assert!(before.is_none_or(|s| span.end - s.start > capacity), "one more would not fit");
            assert!(spans.iter().any(|s| s.start == window.pieces.start), "begins with a word");
        }
    }
}

#[test]
fn a_words_vector_is_the_mean_of_its_pieces_in_its_window() {
    let (tokenizer, words) = story(50);
    let pieces = tokenizer.pieces(&words).unwrap();
    let spans = spans(&pieces, words.len());
    for how in [
        Windows::Both { capacity: 12, stride: 6 },
        Windows::Past { capacity: 9 },
        Windows::Causal { past: 7, window: 20, pool: Pool::Mean },
        Windows::Alone { pool: Pool::Mean },
    ] {
        let windows = how.of(&spans);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let done = |n, _| {
            count.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        };
        let both = word_vectors(&Glass, &tokenizer, &words, (&how, &[2, 0]), 64, &done).unwrap();
        let rows = &both[0];
        assert_eq!(rows.dim(), (words.len(), 4));
        assert_eq!(both[1].slice(s![.., ..3]), rows.slice(s![.., ..3]), "the same pieces");
        assert_eq!(both[1].column(3).sum(), 0.0, "of layer 0");
        for (word, span) in spans.iter().enumerate() {
            let row = rows.row(word);
            if span.is_empty() {
                assert_eq!(row.sum(), 0.0);
                continue;
            }
            let window = windows.iter().find(|w| w.words.contains(&word)).unwrap();
            let mean =
                |of: &dyn Fn(usize) -> f64| span.clone().map(of).sum::<f64>() / span.len() as f64;
            let wanted = [
                mean(&|p| f64::from(pieces.ids[p])),
                mean(&|p| (p - window.pieces.start + 1) as f64),
                (window.pieces.len() + 2) as f64,
                2.0,
            ];
            for (got, wanted) in row.iter().zip(wanted) {
                assert!((f64::from(*got) - wanted).abs() < 1e-4, "word {word}: {got} {wanted}");
            }
        }
        let with_pieces = spans.iter().filter(|span| !span.is_empty()).count();
        assert_eq!(count.into_inner(), with_pieces);
        let stop = |_, _| Err(Error::Interrupted);
        assert!(word_vectors(&Glass, &tokenizer, &words, (&how, &[2]), 64, &stop).is_err());
        for batch_tokens in [1, 30, 100_000] {
            let again = one_layer(&tokenizer, &words, &how, batch_tokens);
            assert_eq!(again, rows, "batches of {batch_tokens}");
        }
    }
}

#[test]
fn words_longer_than_a_window_are_cut_and_no_story_is_too_short() {
    let words: Vec<String> = ["ab", "abcdefgh", "a"].map(str::to_owned).to_vec();
    let tokenizer = WordPieces::train(words.iter().map(String::as_str), 21).unwrap();
    let tokenizer = Cutter::Words(Box::new(tokenizer));
    for how in [Windows::Both { capacity: 3, stride: 2 }, Windows::Past { capacity: 3 }] {
        let rows = one_layer(&tokenizer, &words, &how, 64);
        // Of the long word the first three letters: columns 1, 2, 3.
        assert_eq!(rows.row(1)[1], 2.0, "{how:?}");
        assert!(rows.rows().into_iter().all(|row| row[2] > 0.0));
        assert_eq!(one_layer(&tokenizer, &[], &how, 64).dim(), (0, 4));
        assert_eq!(one_layer(&tokenizer, &["\u{0}".to_owned()], &how, 64).sum(), 0.0);
        let unknown = ["xyz", "ab", "\u{0}"].map(str::to_owned);
        assert_eq!(unknown_words(&tokenizer, &unknown).unwrap(), ["xyz", "\u{0}"]);
    }
}
