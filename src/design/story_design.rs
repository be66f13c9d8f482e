//! One story's features as the solver takes them: standardised, not yet delayed.

use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::tr_rows;
use crate::design::trim::Trim;
use crate::design::zscore::{ZScore, zscore};
use crate::error::Result;
use crate::matrix::{Rows, StoryDesign};

/// One story's word rows to its design: Lanczos, trim, z-score, `(n_trs - head - tail, n_features)`.
///
/// `rows`: one per word; `mid_s`: `(n_words)`, the words' times in seconds, in any order;
/// `tr_times`: `(n_trs)` in seconds, before the trim.
/// # Errors
/// Those of `tr_rows` and `zscore`. None names the story: wrap them with `Error::in_story`.
pub fn story_design(
    rows: &Rows,
    mid_s: &[f64],
    tr_times: &[f64],
    lanczos: &Lanczos,
    trim: Trim,
    how: &ZScore,
) -> Result<StoryDesign> {
    let at_trs = tr_rows(rows, mid_s, tr_times, lanczos, trim)?; // (n_trs - head - tail, n_features)
    zscore(&at_trs, how)
}

#[cfg(test)]
#[path = "story_design_tests.rs"]
mod tests;
