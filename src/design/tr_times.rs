//! When the TRs were, and whether features and BOLD have equally many.

use std::path::Path;

use crate::design::trim::Trim;
use crate::error::{Error, Result};

/// The most TRs of one story: 23 days at 2 s per TR. More is a wrong unit or a damaged file.
pub const MAX_STORY_TRS: usize = 1_000_000;
/// Repetition times that can be meant, in seconds.
const TR_S: std::ops::RangeInclusive<f64> = 1e-3..=3600.0;
/// The middle of the first TR is at most this far from the start of the story, in seconds.
const MAX_FIRST_TR_S: f64 = 1e6;

/// A story's TRs before the features' trim, where the story does not bring times of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureTrs {
    /// Their number.
    pub n: usize,
    /// Middle of the first.
    pub first_s: f64,
}

/// The middle of every TR in seconds: `first_tr_s + i * tr_s`, `(n_trs)` f64.
/// # Errors
/// `Error::Values` for more than [`MAX_STORY_TRS`].
pub fn tr_times(first_tr_s: f64, tr_s: f64, n_trs: usize) -> Result<Vec<f64>> {
    check_n_trs(n_trs)?;
    Ok((0..n_trs).map(|i| first_tr_s + i as f64 * tr_s).collect())
}

/// TRs of a story whose last word is at `last_s`: the last TR is the first one not before it, and
/// there are at least two.
/// # Errors
/// `Error::Values` for more than [`MAX_STORY_TRS`].
pub fn trs_until(last_s: f64, first_tr_s: f64, tr_s: f64) -> Result<usize> {
    // A float beyond usize becomes the largest usize, which is refused.
    let n_trs = (((last_s - first_tr_s) / tr_s).ceil() as usize).saturating_add(1).max(2);
    check_n_trs(n_trs)?;
    Ok(n_trs)
}

/// Refuses a number of TRs that no story has, before anything of that length is made.
/// # Errors
/// `Error::Values` for more than [`MAX_STORY_TRS`].
pub fn check_n_trs(n_trs: usize) -> Result<()> {
    if n_trs <= MAX_STORY_TRS {
        return Ok(());
    }
    Err(Error::Values {
        place: "number of TRs".into(),
        problem: format!("expected at most {MAX_STORY_TRS} per story, got {n_trs}"),
        hint: "check that times are in seconds from the start of the story, and tr_s and the \
               number of TRs"
            .into(),
    })
}

/// What is wrong with a repetition time and the middle of the first TR that a file gives, if
/// anything is.
pub fn timing_fault(first_tr_s: f64, tr_s: f64) -> Option<String> {
    if !TR_S.contains(&tr_s) {
        return Some(format!(
            "expected tr_s from {} to {} s, got {tr_s}",
            TR_S.start(),
            TR_S.end()
        ));
    }
    // NaN is refused too.
    let is_near = first_tr_s.abs() <= MAX_FIRST_TR_S;
    (!is_near).then(|| {
        format!(
            "expected first_tr_s within ±{MAX_FIRST_TR_S} s of the story's start, got {first_tr_s}"
        )
    })
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
        let tr_times = |first, tr_s, n| tr_times(first, tr_s, n).unwrap();
        assert_eq!(tr_times(-9.0, 2.0, 4), [-9.0, -7.0, -5.0, -3.0]);
        assert_eq!(tr_times(0.75, 1.5, 2), [0.75, 2.25]);
        assert!(tr_times(0.0, 2.0, 0).is_empty());
        assert_eq!(tr_times(0.0, 0.1, 1001)[1000], 100.0, "no sum of steps, so no drift");
    }

    #[test]
    fn more_trs_than_any_story_has_are_refused_before_they_are_made() {
        assert_eq!(tr_times(0.0, 2.0, MAX_STORY_TRS).unwrap().len(), MAX_STORY_TRS);
        for n_trs in [MAX_STORY_TRS + 1, usize::MAX] {
            let error = tr_times(0.0, 2.0, n_trs).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("at most 1000000 per story"), "{error}");
        }
    }

    #[test]
    fn the_last_tr_is_not_before_the_last_word() {
        assert_eq!(trs_until(10.0, -9.0, 2.0).unwrap(), 11);
        assert_eq!(trs_until(11.0, -9.0, 2.0).unwrap(), 11);
        assert_eq!(trs_until(-20.0, -9.0, 2.0).unwrap(), 2, "no word in the scan");
        assert_eq!(trs_until(4.0 * 3600.0, -9.0, 2.0).unwrap(), 7206, "a story of four hours");
        for (last_s, first_tr_s, tr_s) in
            [(1e15, 0.0, 2.0), (1.7e9, 0.0, 2.0), (60.0, -1e15, 2.0), (60.0, 0.0, 1e-12)]
        {
            assert_eq!(trs_until(last_s, first_tr_s, tr_s).unwrap_err().exit_code(), 3);
        }
    }

    #[test]
    fn timing_that_no_scanner_has_is_a_fault() {
        for (first_tr_s, tr_s) in [(-9.0, 2.0), (0.0, 0.5), (3e5, 1.0)] {
            assert_eq!(timing_fault(first_tr_s, tr_s), None);
        }
        for (first_tr_s, tr_s) in [
            (0.0, -2.0),
            (0.0, 0.0),
            (0.0, 1e-12),
            (0.0, f64::NAN),
            (0.0, 1e5),
            (-1e15, 2.0),
            (f64::NAN, 2.0),
            (f64::INFINITY, 2.0),
        ] {
            assert!(timing_fault(first_tr_s, tr_s).is_some(), "{first_tr_s} {tr_s}");
        }
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
