//! What a study or a command line says about its words.

use super::units::TimeUnit;

/// How words are read.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `time_unit` | none: seconds | unit of times that do not name theirs | > 0 s |
/// | `story_column` | `story` | column of a table that tells stories apart | a header |
/// | `not_words` | none | texts that are no words, beside the known marks | any |
/// | `keep_marks` | false | keep all marks but those of `not_words` | |
/// | `untimed` | skip | what becomes of words without an onset | |
/// | `tier` | by its name | tier of TextGrids with the words | a tier's name |
#[derive(Debug, Clone, PartialEq, Default)]
#[expect(missing_docs, reason = "the table above is the documentation of the fields")]
pub struct WordRules {
    pub time_unit: Option<TimeUnit>,
    pub story_column: Option<String>,
    pub not_words: Vec<String>,
    pub keep_marks: bool,
    pub untimed: Untimed,
    pub tier: Option<String>,
}

/// What becomes of words without an onset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Untimed {
    /// Left out and counted.
    #[default]
    Skip,
    /// Spread evenly over the gap between the timed words around them.
    Interpolate,
    /// Refused.
    Error,
}

impl Untimed {
    /// As written in a study.
    pub const WORDS: [(&str, Untimed); 3] =
        [("skip", Untimed::Skip), ("interpolate", Untimed::Interpolate), ("error", Untimed::Error)];
}
