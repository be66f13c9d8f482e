//! Bag of words: one column for every word of the training stories.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::features::coverage::CoverageCounts;
use crate::matrix::SparseRows;
use crate::stimuli::spelling::{Form, Punctuation, plain};

/// Which words of the training stories become columns.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `min_count` | 1 | words that occur less often are left out | ≥ 1 |
/// | `max_words` | none | only the most frequent ones are kept | ≥ 1 |
/// | `lowercase` | true | `The` and `the` are the same word | |
/// | `punctuation` | strip | `end.` and `end` are the same word, `?` is none | |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BowSettings {
    /// Least number of occurrences over all training stories.
    pub min_count: usize,
    /// Largest number of columns.
    pub max_words: Option<usize>,
    /// Whether words are compared in lower case.
    pub lowercase: bool,
    /// What becomes of punctuation at the ends of words.
    pub punctuation: Punctuation,
}

impl Default for BowSettings {
    fn default() -> Self {
        BowSettings {
            min_count: 1,
            max_words: None,
            lowercase: true,
            punctuation: Punctuation::Strip,
        }
    }
}

/// The words that have a column, most frequent first.
#[derive(Debug, Clone)]
pub struct Vocabulary {
    names: Vec<String>,
    index: HashMap<String, u32>,
    lowercase: bool,
    punctuation: Punctuation,
}

impl Vocabulary {
    /// The vocabulary of the training stories: by count, ties in alphabetical (byte) order.
    ///
    /// `stories`: the words of each *training* story; test stories must not be among them.
    /// # Errors
    /// `Error::Usage` for a `min_count` or `max_words` of 0; `Error::Values` if no word is left.
    pub fn build<'a>(
        stories: impl IntoIterator<Item = &'a [String]>,
        settings: &BowSettings,
    ) -> Result<Self> {
        check(settings)?;
        let mut counts: HashMap<Cow<'a, str>, usize> = HashMap::new();
        for word in stories.into_iter().flatten() {
            if let Some(word) = settings.punctuation.counted(word) {
                *counts.entry(fold_case(word, settings.lowercase)).or_default() += 1;
            }
        }
        let n_different = counts.len();
        let mut ranked: Vec<(Cow<'a, str>, usize)> =
            counts.into_iter().filter(|&(_, count)| count >= settings.min_count).collect();
        if ranked.is_empty() {
            return Err(Error::Values {
                place: "bag of words".to_owned(),
                problem: format!(
                    "expected words that occur at least {} times, got none: the training stories \
                     have {n_different} different words",
                    settings.min_count
                ),
                hint: "lower min_count, or check the stories' words".to_owned(),
            });
        }
        ranked.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ranked.truncate(settings.max_words.unwrap_or(usize::MAX));
        let names: Vec<String> = ranked.into_iter().map(|(word, _)| word.into_owned()).collect();
        Ok(Vocabulary::of(names, settings.lowercase, settings.punctuation))
    }

    /// These words, in this order.
    pub fn of(names: Vec<String>, lowercase: bool, punctuation: Punctuation) -> Self {
        let index = (0u32..).zip(&names).map(|(i, word)| (word.clone(), i)).collect();
        Vocabulary { names, index, lowercase, punctuation }
    }

    /// The columns' words, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of columns.
    pub fn n_features(&self) -> usize {
        self.names.len()
    }

    /// The column of `word`, if it has one.
    pub fn index(&self, word: &str) -> Option<usize> {
        self.column(word).map(|col| col as usize)
    }

    /// One-hot rows `(n_words, n_features)`; a word without a column is an empty row.
    pub fn words_to_rows(&self, words: &[String]) -> SparseRows {
        let mut rows = SparseRows::empty(self.names.len());
        for word in words {
            rows.push_row(self.column(word).map(|col| (col, 1.0)));
        }
        rows
    }

    /// Counts words with a column by their form, and those without; punctuation alone, where it is
    /// no word, in neither.
    pub fn count(&self, words: &[String], counts: &mut CoverageCounts) {
        let (mut n_words, mut oov) = (0, Vec::new());
        for word in words {
            let Some(counted) = self.punctuation.counted(word) else { continue };
            n_words += 1;
            let form = match () {
                () if counted == *word => Form::Written,
                () if counted == plain(word) => Form::Plain,
                () => Form::Bare,
            };
            match self.index.contains_key(fold_case(counted, self.lowercase).as_ref()) {
                true => counts.add_found(form),
                false => oov.push(word),
            }
        }
        counts.add_story(n_words, &oov);
    }

    fn column(&self, word: &str) -> Option<u32> {
        let word = self.punctuation.counted(word)?;
        self.index.get(fold_case(word, self.lowercase).as_ref()).copied()
    }
}

fn check(settings: &BowSettings) -> Result<()> {
    for (place, value) in
        [("min_count", Some(settings.min_count)), ("max_words", settings.max_words)]
    {
        if value == Some(0) {
            return Err(Error::Usage {
                place: place.to_owned(),
                problem: "expected at least 1, got 0".to_owned(),
                hint: "leave it out to keep every word".to_owned(),
            });
        }
    }
    Ok(())
}

fn fold_case(word: Cow<'_, str>, lowercase: bool) -> Cow<'_, str> {
    if lowercase && word.chars().any(char::is_uppercase) {
        Cow::Owned(word.to_lowercase())
    } else {
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn build(texts: &[&str], settings: &BowSettings) -> Result<Vocabulary> {
        let stories: Vec<Vec<String>> = texts.iter().map(|text| words(text)).collect();
        Vocabulary::build(stories.iter().map(Vec::as_slice), settings)
    }

    const TEXTS: [&str; 2] = ["the dog saw The cat", "a cat saw b"];

    #[test]
    fn words_are_ranked_by_count_then_alphabetically() {
        let vocabulary = build(&TEXTS, &BowSettings::default()).unwrap();
        assert_eq!(vocabulary.names(), ["cat", "saw", "the", "a", "b", "dog"]);
        for (i, word) in vocabulary.names().iter().enumerate() {
            assert_eq!(vocabulary.index(word), Some(i));
        }
    }

    #[test]
    fn every_setting_changes_the_vocabulary() {
        let by_default = BowSettings::default();
        let names = |settings| build(&TEXTS, &settings).unwrap().names().to_vec();
        assert_eq!(
            names(BowSettings { min_count: 2, ..by_default.clone() }),
            ["cat", "saw", "the"]
        );
        assert_eq!(names(BowSettings { max_words: Some(1), ..by_default.clone() }), ["cat"]);
        assert_eq!(
            names(BowSettings { lowercase: false, ..by_default }),
            ["cat", "saw", "The", "a", "b", "dog", "the"]
        );
    }

    #[test]
    fn rows_are_one_hot_and_unknown_words_are_empty() {
        let vocabulary = build(&TEXTS, &BowSettings::default()).unwrap();
        let story = words("THE fox saw The Hen fox");
        let rows = vocabulary.words_to_rows(&story);
        assert_eq!((rows.n_rows(), rows.n_cols), (6, 6));
        let columns: Vec<Option<usize>> = story.iter().map(|word| vocabulary.index(word)).collect();
        assert_eq!(columns, [Some(2), None, Some(1), Some(2), None, None]);
        for (i, &column) in columns.iter().enumerate() {
            let entries: Vec<_> = rows.entries(i).collect();
            assert_eq!(entries, column.map(|c| (c as u32, 1.0)).into_iter().collect::<Vec<_>>());
        }
        let mut counts = CoverageCounts::default();
        vocabulary.count(&story, &mut counts);
        let coverage = counts.coverage();
        assert_eq!((coverage.n_words, coverage.n_oov), (6, 3));
        assert_eq!(coverage.oov_words, [("fox".to_owned(), 2), ("Hen".to_owned(), 1)]);
        assert_eq!(coverage.found.map(|found| found.as_written), Some(3));
    }

    #[test]
    fn punctuation_at_the_ends_of_words_is_not_counted_unless_kept() {
        let texts = ["The dog, “dog” -- don’t", "don't dog. …"];
        let by_default = BowSettings::default();
        let vocabulary = build(&texts, &by_default).unwrap();
        assert_eq!(vocabulary.names(), ["dog", "don't", "the"]);
        let story = words("Dog! -- don’t cat?");
        assert_eq!(vocabulary.words_to_rows(&story).entries(1).count(), 0);
        let mut counts = CoverageCounts::default();
        vocabulary.count(&story, &mut counts);
        let coverage = counts.coverage();
        assert_eq!((coverage.n_words, coverage.n_oov), (3, 1));
        let found = coverage.found.unwrap();
        assert_eq!((found.as_written, found.plain_quotes, found.without_punctuation), (0, 1, 1));
        let kept = BowSettings { punctuation: Punctuation::Keep, ..by_default };
        let vocabulary = build(&texts, &kept).unwrap();
        assert_eq!(vocabulary.names(), ["don't", "\"dog\"", "--", "dog,", "dog.", "the", "…"]);
    }

    #[test]
    fn without_lower_casing_case_decides() {
        let settings = BowSettings { lowercase: false, ..BowSettings::default() };
        let vocabulary = build(&["the dog"], &settings).unwrap();
        assert_eq!(vocabulary.index("The"), None);
        assert_eq!(vocabulary.index("the"), Some(1));
    }

    #[test]
    fn a_setting_of_zero_is_a_usage_error() {
        let zero_count = BowSettings { min_count: 0, ..BowSettings::default() };
        let zero_words = BowSettings { max_words: Some(0), ..BowSettings::default() };
        for (settings, name) in [(zero_count, "min_count"), (zero_words, "max_words")] {
            let error = build(&TEXTS, &settings).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn no_word_left_is_a_data_error_with_the_numbers() {
        let settings = BowSettings { min_count: 9, ..BowSettings::default() };
        let error = build(&TEXTS, &settings).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let message = error.to_string();
        assert!(message.contains("9 times") && message.contains("6 different"), "{message}");
    }
}
