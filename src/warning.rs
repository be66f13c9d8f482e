//! Doubtful but legal: counted, printed once, kept in the report.

use serde::Serialize;

/// Something a user should know that does not stop a run.
///
/// `Display` is the sentence on stderr (after `warning: `) and in run.json.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Words of a story were not in the order of their times; they were sorted.
    #[error("story \"{story}\": {n_out_of_order} words are out of order in time; sorted by onset")]
    UnsortedWords {
        /// The story.
        story: String,
        /// Words whose onset lies before that of the word in front of them.
        n_out_of_order: usize,
    },
}
