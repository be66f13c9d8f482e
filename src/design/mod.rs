//! Word rows to TR rows: Lanczos, trim, z-score, delays.
//!
//! A story's features arrive as one row per word (`features`) and leave as one row per TR of its
//! BOLD:
//!
//! ```text
//! word rows ──lanczos──→ TR rows ──trim──→ the BOLD's TRs ──zscore──→ StoryDesign ──delays──→ X
//! ```
//!
//! `story_design` chains all but the delays, one story at a time: nothing here sees two stories at
//! once, except `delays::delay_groups` under the preset that asks for it and `zscore::ColumnStats`,
//! whose sums over the training stories are merged. Sparse rows stay sparse through every step.
//! `clean` is what happens to the other side, a story's BOLD, before the two meet.
//! `tr_times` says when the TRs were, and whether features and BOLD have equally many.

pub mod clean;
pub mod delays;
pub mod lanczos;
pub mod story_design;
pub mod tr_rows;
pub mod tr_times;
pub mod trim;
pub mod zscore;
