//! Windows against their definition; vectors of a model that can be seen through.

use candle_core::{Device, Tensor};

use super::*;

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
fn story(n: usize) -> (WordPieces, Vec<String>) {
    let letters = "abcdefghij";
    let words: Vec<String> = (0..n)
        .map(|i| match i % 13 {
            7 => "\u{0}".to_owned(),
            k => (0..1 + (i * 7 + k) % 5).map(|j| &letters[(i + j) % 10..][..1]).collect(),
        })
        .collect();
    // No pair is joined: as many pieces as characters alone need.
    let tokenizer = WordPieces::train(words.iter().map(String::as_str), 25).unwrap();
    (tokenizer, words)
}

fn reading(context: Context, capacity: usize, stride: usize) -> Reading {
    Reading { layer: 2, context, capacity, stride }
}

#[test]
fn windows_with_both_sides_take_every_word_where_it_is_most_central() {
    let (tokenizer, words) = story(90);
    let pieces = tokenizer.pieces(&words).unwrap();
    let spans = spans(&pieces, words.len());
    assert_eq!(spans.last().unwrap().end, pieces.ids.len());
    for (capacity, stride) in [(5, 1), (5, 5), (12, 6), (40, 20), (40, 7), (600, 300), (3, 3)] {
        let found = windows(&spans, &reading(Context::Both, capacity, stride));
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
        let found = windows(&spans, &reading(Context::Past, capacity, 1));
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
    for reading in [reading(Context::Both, 12, 6), reading(Context::Past, 9, 1)] {
        let windows = windows(&spans, &reading);
        let count = std::sync::atomic::AtomicUsize::new(0);
        let done = |n| {
            count.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        };
        let rows = word_vectors(&Glass, &tokenizer, &words, &reading, 64, &done).unwrap();
        assert_eq!(rows.dim(), (words.len(), 4));
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
        let stop = |_| Err(Error::Interrupted);
        assert!(word_vectors(&Glass, &tokenizer, &words, &reading, 64, &stop).is_err());
        for batch_tokens in [1, 30, 100_000] {
            let again =
                word_vectors(&Glass, &tokenizer, &words, &reading, batch_tokens, &|_| Ok(()));
            assert_eq!(again.unwrap(), rows, "batches of {batch_tokens}");
        }
    }
}

#[test]
fn words_longer_than_a_window_are_cut_and_no_story_is_too_short() {
    let words: Vec<String> = ["ab", "abcdefgh", "a"].map(str::to_owned).to_vec();
    let tokenizer = WordPieces::train(words.iter().map(String::as_str), 21).unwrap();
    for context in [Context::Both, Context::Past] {
        let reading = reading(context, 3, 2);
        let rows = word_vectors(&Glass, &tokenizer, &words, &reading, 64, &|_| Ok(())).unwrap();
        // Of the long word the first three letters: columns 1, 2, 3.
        assert_eq!(rows.row(1)[1], 2.0, "{context:?}");
        assert!(rows.rows().into_iter().all(|row| row[2] > 0.0));
        let none = word_vectors(&Glass, &tokenizer, &[], &reading, 64, &|_| Ok(())).unwrap();
        assert_eq!(none.dim(), (0, 4));
        let silent = ["\u{0}".to_owned()];
        let rows = word_vectors(&Glass, &tokenizer, &silent, &reading, 64, &|_| Ok(())).unwrap();
        assert_eq!(rows.sum(), 0.0);
        let unknown = ["xyz", "ab", "\u{0}"].map(str::to_owned);
        assert_eq!(unknown_words(&tokenizer, &unknown).unwrap(), ["xyz", "\u{0}"]);
    }
}

#[test]
fn settings_are_filled_in_and_checked_by_the_model() {
    let plain = ContextSettings::default();
    let found = plain.for_model(6, 512).unwrap();
    assert_eq!(found, Reading { layer: 6, context: Context::Both, capacity: 510, stride: 255 });
    let past = ContextSettings { context: Context::Past, layer: Some(0), ..plain.clone() };
    let found = past.for_model(6, 512).unwrap();
    assert_eq!(found, Reading { layer: 0, context: Context::Past, capacity: 62, stride: 31 });
    assert_eq!(past.for_model(6, 16).unwrap().capacity, 14);
    for (wrong, says) in [
        (ContextSettings { layer: Some(7), ..plain.clone() }, "0 (embeddings) to 6, got 7"),
        (ContextSettings { window: Some(2), ..plain.clone() }, "3 to 512 pieces, got 2"),
        (ContextSettings { window: Some(513), ..plain.clone() }, "got 513"),
        (ContextSettings { window: Some(10), stride: Some(9), ..plain.clone() }, "1 to 8 pieces"),
        (ContextSettings { stride: Some(0), ..plain }, "got 0"),
    ] {
        let error = wrong.for_model(6, 512).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(says), "{error}");
    }
}
