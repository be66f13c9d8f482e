//! A story, and where its words come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::spelling::Punctuation;
use super::units::TimeUnit;

/// One row of a table, one interval of a grid or one word of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedWord {
    /// Index of the story within the file.
    pub story: usize,
    /// Start in seconds, finite; `None` where the file has none.
    pub onset_s: Option<f64>,
    /// End in seconds, finite, not before the start; of no meaning without one.
    pub offset_s: f64,
    /// Without white space at its ends, not empty.
    pub word: String,
    /// Line in the file, from 1; number of the word in a transcript.
    pub line: u64,
}

/// One narrated stimulus.
///
/// `words`, `mid_s` and `onset_s` have one entry per word, in the order of their times. Every story
/// has at least one word; all times are finite.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Story {
    /// Its name, fit to be a file's name.
    pub name: String,
    /// In the order of their onsets (of their middles without onsets); case as written.
    pub words: Vec<String>,
    /// Start of each word; lab pickles have none.
    pub onset_s: Option<Vec<f64>>,
    /// Middle of each word.
    pub mid_s: Vec<f64>,
    /// Middle of each TR, strictly increasing; tables have none.
    pub tr_times_s: Option<Vec<f64>>,
    /// What of its file became words.
    pub source: Source,
}

/// What of a story's file became words, and what did not.
///
/// An entry is a row, interval or item with a text that is neither empty nor `n/a`: words, marks and
/// words without times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// All entries of the story.
    pub n_entries: usize,
    /// For each word, its place among the entries, from 0.
    pub entries: Vec<usize>,
    /// For each word, its line in the file, from 1; number of the entry in files without lines.
    pub lines: Vec<u64>,
    /// Marks that were dropped, with their counts.
    pub marks: BTreeMap<String, usize>,
    /// Words without times; they were skipped, or interpolated.
    pub n_untimed: usize,
    /// Tier of a TextGrid.
    pub tier: Option<String>,
    /// Whether the file is a table, of which other columns can be read.
    pub is_table: bool,
    /// Unit of the file's times, where it was set.
    pub unit: Option<TimeUnit>,
}

impl Source {
    /// Marks that were dropped.
    pub fn n_marks(&self) -> usize {
        self.marks.values().sum()
    }
}

impl Story {
    /// The same story with its words as a tokenizer reads them.
    pub fn read_as(&self, punctuation: Punctuation) -> Story {
        let words = self.words.iter().map(|word| punctuation.read(word).into_owned()).collect();
        Story { words, ..self.clone() }
    }

    /// From the start of the first word to the end of the last one, in seconds.
    pub fn words_s(&self) -> (f64, f64) {
        let first = self.onset_s.as_ref().unwrap_or(&self.mid_s).iter().copied();
        let end = |word: usize| match &self.onset_s {
            Some(onset_s) => 2.0 * self.mid_s[word] - onset_s[word],
            None => self.mid_s[word],
        };
        let last = (0..self.mid_s.len()).map(end);
        (first.fold(f64::INFINITY, f64::min), last.fold(f64::NEG_INFINITY, f64::max))
    }
}
