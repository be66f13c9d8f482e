//! How many words of the stories a feature space knows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::stimuli::spelling::Form;

/// Words that are listed by name in a [`Coverage`].
pub const N_OOV_WORDS_LISTED: usize = 50;

/// Which share of the words a feature space has no row for (out of vocabulary, oov).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// Words of all stories, repetitions included.
    pub n_words: usize,
    /// Those without a row.
    pub n_oov: usize,
    /// `n_oov / n_words`; 0 where there are no words.
    pub oov_share: f64,
    /// The most frequent of them with their counts, ties in alphabetical (byte) order; at most
    /// [`N_OOV_WORDS_LISTED`].
    pub oov_words: Vec<(String, usize)>,
    /// In which form the others were found; none where words have one form only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundForms>,
}

/// In which of its forms a word was found, counted over all words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundForms {
    /// As it was written (in any case).
    pub as_written: usize,
    /// With typographic quotes made plain, in NFC.
    pub plain_quotes: usize,
    /// Without punctuation at its ends.
    pub without_punctuation: usize,
}

impl FoundForms {
    /// Counts a word that was found in this form.
    pub fn add(&mut self, form: Form) {
        *match form {
            Form::Written => &mut self.as_written,
            Form::Plain => &mut self.plain_quotes,
            Form::Bare => &mut self.without_punctuation,
        } += 1;
    }
}

/// Counts over stories, to be summed up by [`CoverageCounts::coverage`].
#[derive(Debug, Clone, Default)]
pub struct CoverageCounts {
    n_words: usize,
    oov: HashMap<String, usize>,
    found: Option<FoundForms>,
}

impl CoverageCounts {
    /// Adds one story: its number of words and those without a row, one entry per occurrence.
    pub fn add_story<W: AsRef<str>>(&mut self, n_words: usize, oov: &[W]) {
        self.n_words += n_words;
        for word in oov {
            *self.oov.entry(word.as_ref().to_owned()).or_default() += 1;
        }
    }

    /// Adds words that were found, by their form.
    pub fn add_found(&mut self, form: Form) {
        self.found.get_or_insert_default().add(form);
    }

    /// The totals over all stories added so far.
    pub fn coverage(&self) -> Coverage {
        let n_oov: usize = self.oov.values().sum();
        let mut oov_words: Vec<(String, usize)> =
            self.oov.iter().map(|(word, &count)| (word.clone(), count)).collect();
        oov_words.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        oov_words.truncate(N_OOV_WORDS_LISTED);
        let oov_share = if self.n_words == 0 { 0.0 } else { n_oov as f64 / self.n_words as f64 };
        Coverage { n_words: self.n_words, n_oov, oov_share, oov_words, found: self.found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_words_come_first_and_ties_are_alphabetical() {
        let mut counts = CoverageCounts::default();
        counts.add_story(10, &["zebra", "apple", "apple", "kiwi"]);
        counts.add_story(6, &["kiwi", "Zoo"]);
        let coverage = counts.coverage();
        assert_eq!((coverage.n_words, coverage.n_oov, coverage.oov_share), (16, 6, 0.375));
        let listed: Vec<_> = coverage.oov_words.iter().map(|(w, n)| (w.as_str(), *n)).collect();
        assert_eq!(listed, [("apple", 2), ("kiwi", 2), ("Zoo", 1), ("zebra", 1)]);
    }

    #[test]
    fn only_the_most_frequent_words_are_listed_but_all_are_counted() {
        let words: Vec<String> = (0..77).map(|i| format!("w{i:02}")).collect();
        let mut counts = CoverageCounts::default();
        counts.add_story(100, &words);
        counts.add_story(1, &["w76"]);
        let coverage = counts.coverage();
        assert_eq!(coverage.n_oov, 78);
        assert_eq!(coverage.oov_words.len(), N_OOV_WORDS_LISTED);
        assert_eq!(coverage.oov_words[0], ("w76".to_owned(), 2));
        assert_eq!(coverage.oov_words[1], ("w00".to_owned(), 1));
    }

    #[test]
    fn no_words_at_all_is_full_coverage() {
        let coverage = CoverageCounts::default().coverage();
        assert_eq!((coverage.n_words, coverage.n_oov, coverage.oov_share), (0, 0, 0.0));
    }
}
