//! Words per TR: the field's low-level control.

use ndarray::Array2;

use crate::matrix::Rows;

/// A single feature that is 1 at every word, `(n_words, 1)`; Lanczos turns it into words per TR.
pub fn word_rate(n_words: usize) -> Rows {
    Rows::Dense(Array2::ones((n_words, 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_counts_once() {
        for n_words in [0, 1, 31] {
            let Rows::Dense(rows) = word_rate(n_words) else { panic!("word rate is dense") };
            assert_eq!(rows.dim(), (n_words, 1));
            assert_eq!(rows.sum(), n_words as f32);
        }
    }
}
