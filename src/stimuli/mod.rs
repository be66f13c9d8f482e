//! Stories: timed words, from the tables, grids, transcripts and pickles that people bring.
//!
//! `read` finds the files and puts a story together, `entries` reads one file, by rules of which each
//! has its file: `columns` (which column of a table means what), `units` (of its times), `tiers` (which tier of a
//! TextGrid holds the words), `marks` (what is no word), `untimed` (words without times), `restarts`
//! (sections on top of each other), `numbers` (further columns of tables), `phones` (of TextGrids),
//! `spelling` (the forms under which a word is looked up), `span`
//! (words against the scan). `rules` is what a study or a command line sets of them.

mod columns;
mod entries;
mod error;
mod marks;
mod numbers;
mod phones;
mod read;
mod restarts;
mod rules;
mod span;
pub mod spelling;
mod story;
mod tiers;
mod units;
mod untimed;

pub use entries::is_table_of_stories;
pub use error::StoriesError;
pub use marks::is_mark;
pub use numbers::read_numbers;
pub use phones::{Phones, has_phones, read_phones};
pub use read::{StoriesRead, check_story_name, read, read_stories};
pub use rules::{Untimed, WordRules};
pub use span::{StorySpan, check_spans, warn_of_spans};
pub use story::{Source, Story};
pub use tiers::TierError;
pub use units::TimeUnit;

#[cfg(test)]
mod tests;
