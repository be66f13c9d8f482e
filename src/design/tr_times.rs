//! When the TRs were, and whether features and BOLD have equally many.

use std::path::Path;

use crate::design::trim::Trim;
use crate::error::{Error, Result};

/// The middle of every TR in seconds: `first_tr_s + i * tr_s`, `(n_trs)` f64.
pub fn tr_times(first_tr_s: f64, tr_s: f64, n_trs: usize) -> Vec<f64> {
    (0..n_trs).map(|i| first_tr_s + i as f64 * tr_s).collect()
}

/// Checks that a story's trimmed features have exactly the rows of its BOLD.
///
/// `n_trs`: the story's TRs before the trim. `bold_file`: as the user wrote it, for the message.
/// # Errors
/// `Error::Pairing` with every number if they differ; `Error::NothingLeft` for the story if the
/// trim is as long as the story.
pub fn check_pairing(
    story: &str,
    n_trs: usize,
    trim: Trim,
    bold_file: &Path,
    n_bold_trs: usize,
) -> Result<()> {
    let n_feature_trs = trim.kept(n_trs).map_err(|error| error.in_story(story))?.len();
    if n_feature_trs == n_bold_trs {
        return Ok(());
    }
    Err(Error::Pairing {
        story: story.to_owned(),
        n_feature_trs,
        bold_file: bold_file.to_owned(),
        n_bold_trs,
        n_trs,
        trim: trim.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tr_times_start_at_the_first_and_step_by_the_repetition_time() {
        assert_eq!(tr_times(-9.0, 2.0, 4), [-9.0, -7.0, -5.0, -3.0]);
        assert_eq!(tr_times(0.75, 1.5, 2), [0.75, 2.25]);
        assert!(tr_times(0.0, 2.0, 0).is_empty());
        assert_eq!(tr_times(0.0, 0.1, 1001)[1000], 100.0, "no sum of steps, so no drift");
    }

    #[test]
    fn equal_counts_pass() {
        let bold = Path::new("subject2/adollshouse.npy");
        assert!(check_pairing("adollshouse", 256, Trim::HUTH, bold, 241).is_ok());
        assert!(check_pairing("adollshouse", 256, Trim::LAB, bold, 241).is_ok());
    }

    #[test]
    fn unequal_counts_are_told_with_every_number() {
        let bold = Path::new("subject2/adollshouse.npy");
        let error = check_pairing("adollshouse", 256, Trim::HUTH, bold, 236).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert_eq!(
            error.to_string(),
            "story \"adollshouse\": features have 241 TRs, BOLD (subject2/adollshouse.npy) has \
             236; 256 TRs were trimmed 10:5, check trim"
        );
    }

    #[test]
    fn a_story_shorter_than_its_trim_is_named() {
        let error = check_pairing("short", 12, Trim::HUTH, Path::new("b.npy"), 3).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let message = error.to_string();
        assert!(message.starts_with("story \"short\": trim 10:5 leaves nothing of 12 TRs"));
    }
}
