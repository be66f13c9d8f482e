//! Why stories are refused.

use super::tiers::TierError;
use crate::io::kinds::FileKind;

/// Why stories are refused; `Error::Stories` adds the file or folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoriesError {
    /// A folder without anything that is read.
    #[error(
        "the folder holds no .tsv, .csv or .txt tables, no TextGrids, no .json transcripts (plain \
         or .gz) and no STORY/align.csv{}; expected one per story",
        holds(found)
    )]
    NoTables {
        /// Files of other kinds, in words.
        found: Vec<String>,
    },
    /// A file with a header and nothing else.
    #[error("the file holds no stories, expected at least one; check the path")]
    NoStories,
    /// A file of another kind.
    #[error("this is {}, not a table of timed words; {}", kind.what(), kind.for_words())]
    Foreign {
        /// The kind.
        kind: FileKind,
    },
    /// Two files or keys of one name.
    #[error("story \"{story}\" is there twice ({first} and {second}); remove or rename one")]
    DuplicateStory {
        /// The story.
        story: String,
        /// File or key.
        first: String,
        /// File or key.
        second: String,
    },
    /// Nothing but marks and empty words.
    #[error(
        "story \"{story}\" has no words ({n_dropped} entries that are no words); \
         give its words, or leave it out"
    )]
    EmptyStory {
        /// The story.
        story: String,
        /// Entries that were dropped.
        n_dropped: usize,
    },
    /// A name that cannot be part of a file's name.
    #[error(
        "story name \"{story}\" (line or entry {index}) cannot name files: it {problem}; rename it"
    )]
    BadName {
        /// As written.
        story: String,
        /// From 1.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Several stories in one file of a folder.
    #[error(
        "{file} has a column story with {n_stories} stories, in a folder each file is one story; \
         give the file's own path, set story_column = \"story\", or split it"
    )]
    SeveralStories {
        /// The file's name.
        file: String,
        /// Distinct values in the column.
        n_stories: usize,
    },
    /// Sections of a story, each with times from 0.
    #[error(
        "story \"{story}\": times restart {n_restarts} times (line {line}: {onset_s} s after \
         {before_s} s), so its sections would lie on top of each other; {}",
        restart_hint(columns)
    )]
    Restarts {
        /// The story.
        story: String,
        /// How often.
        n_restarts: usize,
        /// Where the first restart is, from 1.
        line: u64,
        /// The latest onset in front of it.
        before_s: f64,
        /// The onset there.
        onset_s: f64,
        /// Columns that may tell the sections apart.
        columns: Vec<String>,
    },
    /// Words without times, where the study wants none.
    #[error(
        "story \"{story}\": {n_untimed} of {n_words} words have no onset (the first: \"{word}\", \
         line or entry {line}); complete them, or set untimed = \"skip\" or \"interpolate\""
    )]
    Untimed {
        /// The story.
        story: String,
        /// Words without an onset.
        n_untimed: usize,
        /// All words of the story.
        n_words: usize,
        /// The first of them.
        word: String,
        /// Where it is, from 1.
        line: u64,
    },
    /// A word that ends before it starts.
    #[error(
        "word {index} (\"{word}\") ends at {end_s} s, before its start at {onset_s} s; fix the file"
    )]
    EndBeforeStart {
        /// From 1.
        index: u64,
        /// The word.
        word: String,
        /// Its start.
        onset_s: f64,
        /// Its end.
        end_s: f64,
    },
    /// No tier of a TextGrid can be taken.
    #[error(transparent)]
    Tier(#[from] TierError),
    /// Words and their times differ in number.
    #[error("story \"{story}\": {n_words} words but {n_times} data_times; save the story again")]
    Lengths {
        /// The story.
        story: String,
        /// Entries of `data`.
        n_words: usize,
        /// Entries of `data_times`.
        n_times: usize,
    },
    /// A time that is NaN or infinite.
    #[error("story \"{story}\": {field}[{index}] is {value}, expected a finite number of seconds")]
    NotFinite {
        /// The story.
        story: String,
        /// `data_times` or `tr_times`.
        field: &'static str,
        /// From 0.
        index: usize,
        /// NaN or infinity.
        value: f64,
    },
    /// TR times that do not go forward.
    #[error(
        "story \"{story}\": tr_times[{index}] is {value} s after {before} s, expected strictly \
         increasing times; save the story again"
    )]
    TrTimes {
        /// The story.
        story: String,
        /// From 0.
        index: usize,
        /// The time in front.
        before: f64,
        /// This time.
        value: f64,
    },
}

fn holds(found: &[String]) -> String {
    match found.is_empty() {
        true => String::new(),
        false => format!(" (it holds {})", found.join(", ")),
    }
}

fn restart_hint(columns: &[String]) -> String {
    match columns {
        [] => "name the column that tells them apart in [stories] story_column (--story-column), \
               or make their times go on"
            .to_owned(),
        _ => {
            let named: Vec<String> = columns.iter().map(|name| format!("{name:?}")).collect();
            format!(
                "set [stories] story_column (--story-column) to {}, or make their times go on",
                named.join(" or ")
            )
        }
    }
}
