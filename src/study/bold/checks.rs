//! What a subject's files say of themselves, against what the study says: repetition time, and which
//! of their sides are TRs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::file_kind::{has_extension, open_regular};
use crate::io::matrix_file::MatrixFile;
use crate::stimuli::Story;

/// Largest difference between two repetition times, in seconds, that is rounding.
const SAME_TR_S: f64 = 1e-3;
/// JSON files beside images are some kilobytes.
const MAX_JSON: u64 = 1 << 20;

/// The files' repetition time is the study's.
///
/// `tr_s`: of the design, or the spacing of the story's own TR times. The JSON beside an image speaks
/// where its header is silent.
/// # Errors
/// `Error::Values` with both numbers.
pub fn check_tr(file: &MatrixFile, tr_s: f64, story: &str) -> Result<()> {
    let header = file.tr_s().map(|tr| (tr, "its header".to_owned()));
    let Some((found, from)) = header.or_else(|| tr_beside(file.path())) else { return Ok(()) };
    if (found - tr_s).abs() <= SAME_TR_S * (1.0 + 1e-6) {
        return Ok(());
    }
    let found = (found * 1e6).round() / 1e6;
    Err(Error::Values {
        place: format!("story {story:?}"),
        problem: format!(
            "expected a TR of {tr_s} s (tr_s) of {}, {from} says {found} s",
            file.path().display()
        ),
        hint: format!("write tr_s = {found} in [design], or correct the file"),
    })
}

/// `RepetitionTime` of the JSON that belongs to an image or a surface.
fn tr_beside(path: &Path) -> Option<(f64, String)> {
    if !has_extension(path, &["nii", "gii"]) {
        return None;
    }
    let mut stem = path.file_name()?.to_str()?;
    while let Some((shorter, _)) = stem.rsplit_once('.') {
        stem = shorter;
        let beside: PathBuf = path.with_file_name(format!("{stem}.json"));
        if let Some(tr_s) = repetition_time(&beside) {
            let name = beside.file_name()?.to_string_lossy().into_owned();
            return Some((tr_s, name));
        }
    }
    None
}

fn repetition_time(path: &Path) -> Option<f64> {
    use std::io::Read;
    let mut text = String::new();
    open_regular(path).ok()?.take(MAX_JSON).read_to_string(&mut text).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json.get("RepetitionTime")?.as_f64().filter(|tr| tr.is_finite() && *tr > 0.0)
}

/// What a story is known to last, without its BOLD.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// Rows its BOLD must have, where TR times or counts say it.
    pub n_rows: Option<usize>,
    /// From the first TR to the last word, in TRs.
    pub word_trs: Option<f64>,
    /// TRs of the features that the BOLD has no rows for.
    pub n_cut: usize,
}

impl Expected {
    /// `timing`: TR and middle of the first TR, in seconds; `n_rows`: where something but the BOLD
    /// says it.
    pub fn of(story: &Story, n_rows: Option<usize>, timing: (f64, f64), n_cut: usize) -> Expected {
        let last = story.mid_s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let word_trs = Some((last - timing.1) / timing.0).filter(|n| n.is_finite());
        Expected { n_rows, word_trs, n_cut }
    }

    /// Whether a side of a matrix may be this story's TRs.
    fn fits(&self, n: usize) -> bool {
        match (self.n_rows, self.word_trs) {
            (Some(n_rows), _) => n == n_rows,
            // Words fill a story, but for silence at its ends and TRs that were cut.
            (None, Some(trs)) => {
                let n_trs = n.saturating_add(self.n_cut).max(1);
                (0.4..=1.2).contains(&(trs / n_trs as f64))
            }
            (None, None) => true,
        }
    }
}

/// Which way round a subject's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    AsRead,
    Turned,
}

/// The direction in which all stories have the same columns, and their rows are TRs; as they are read
/// where both would do.
fn direction(sides: &[(usize, usize)], expected: &[Expected]) -> Direction {
    let equal = |side: fn(&(usize, usize)) -> usize| {
        sides.iter().all(|sizes| side(sizes) == side(&sides[0]))
    };
    let (rows_equal, cols_equal) = (equal(|sizes| sizes.0), equal(|sizes| sizes.1));
    let most_fit = |side: fn(&(usize, usize)) -> usize| {
        let fit = sides.iter().zip(expected).filter(|(sizes, story)| story.fits(side(sizes)));
        2 * fit.count() > sides.len()
    };
    let is_turned = sides.len() > 1
        && rows_equal
        && (!cols_equal || (!most_fit(|sizes| sizes.0) && most_fit(|sizes| sizes.1)));
    if is_turned { Direction::Turned } else { Direction::AsRead }
}

/// Turns files that do not say which of their sides are TRs, and refuses others that are the other
/// way round. A note says what was guessed.
/// # Errors
/// `Error::Values` that names `transpose`.
pub fn check_direction(
    subject: &str,
    files: &mut [MatrixFile],
    expected: &[Expected],
    transpose: bool,
) -> Result<Option<String>> {
    let sides: Vec<_> = files.iter().map(|file| (file.n_rows(), file.n_cols())).collect();
    let Some(first) = files.first() else { return Ok(None) };
    let is_turned = direction(&sides, expected) == Direction::Turned;
    if files.iter().all(MatrixFile::is_undirected) {
        if is_turned {
            files.iter_mut().for_each(MatrixFile::turn);
        }
        let (n_rows, n_cols) = (files[0].n_rows(), files[0].n_cols());
        return Ok(Some(format!(
            "{subject}: {} is one array of two axes; {n_rows} are taken for TRs and {n_cols} for \
             vertices",
            files[0].path().display()
        )));
    }
    if !is_turned {
        return Ok(None);
    }
    let (n_rows, n_cols) = sides[0];
    let (said, way) = match transpose {
        false => ("transpose = true", "(voxels, TRs)"),
        true => ("transpose = false", "(TRs, voxels)"),
    };
    Err(Error::Values {
        place: format!("[bold.{subject}]"),
        problem: format!(
            "expected (TRs, voxels), got {n_rows} rows in each of {} stories and {n_cols} columns in \
             {}, which fits no story's words: the files are {way}",
            sides.len(),
            first.path().display()
        ),
        hint: format!("write {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_turned_where_only_their_columns_can_be_trs() {
        let story =
            |n_rows: Option<usize>, word_trs: Option<f64>| Expected { n_rows, word_trs, n_cut: 0 };
        let words = [story(None, Some(95.0)), story(None, Some(97.0))];
        for (sides, expected, wanted) in [
            ([(100, 30), (110, 30)], words, Direction::AsRead),
            ([(30, 100), (30, 110)], words, Direction::Turned),
            ([(30, 100), (30, 100)], words, Direction::Turned),
            ([(100, 30), (100, 30)], words, Direction::AsRead),
            // Both could be TRs.
            ([(110, 100), (110, 100)], words, Direction::AsRead),
            ([(500, 100), (500, 100)], [story(None, None); 2], Direction::AsRead),
            ([(500, 100), (500, 100)], [story(Some(100), None); 2], Direction::Turned),
            ([(100, 100), (100, 100)], [story(Some(90), None); 2], Direction::AsRead),
        ] {
            assert_eq!(direction(&sides, &expected), wanted, "{sides:?} {expected:?}");
        }
        assert_eq!(direction(&[(30, 100)], &words[..1]), Direction::AsRead);
    }
}
