//! Letters of each word: a low-level control beside the word rate.

use ndarray::Array2;

use crate::matrix::Rows;
use crate::stimuli::spelling::Punctuation;

/// One feature: the characters of each word, `(n_words, 1)`.
///
/// Counted are the characters (Unicode scalar values after NFC) of the form that `bow` counts: quotes,
/// apostrophes, brackets and `. , ; : ? ! …` at the word's ends are taken off; apostrophes and hyphens
/// inside count. A word of punctuation alone has none.
pub fn word_length(words: &[String]) -> Rows {
    let length = |word: &String| {
        Punctuation::Strip.counted(word).map_or(0.0, |bare| bare.chars().count() as f32)
    };
    let lengths: Vec<f32> = words.iter().map(length).collect();
    Rows::Dense(Array2::from_shape_fn((words.len(), 1), |(word, _)| lengths[word]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_without_punctuation_at_the_ends_are_counted() {
        let words =
            ["a", "house,", "“don’t”", "ak-47", "cafe\u{301}.", "--", "學校"].map(str::to_owned);
        let Rows::Dense(rows) = word_length(&words) else { panic!("lengths are dense") };
        assert_eq!(rows.column(0).to_vec(), [1.0, 5.0, 5.0, 5.0, 4.0, 0.0, 2.0]);
    }
}
