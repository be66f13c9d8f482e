//! The alignment check of a study: which features, which voxels, what is said.

use super::inputs::Inputs;
use super::spaces::WordSpace;
use super::split::Split;
use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::tr_rows;
use crate::design::tr_times::tr_times;
use crate::design::zscore::{ZScore, zscore};
use crate::error::Result;
use crate::matrix::{Rows, SparseRows, StoryDesign};
use crate::ridge::alignment::{Alignment, HrfCurve, hrf_curve, judge};
use crate::study::{SpaceKind, Study};
use crate::warning::Warning;

/// Voxels in a subject's sample, and the runs of neighbours they are read in: a run is one read.
const SAMPLE_VOXELS: usize = 256;
const RUN_VOXELS: usize = 32;
/// Columns of a bag of words that the check uses: the most frequent words.
const BOW_WORDS: usize = 200;
/// Folds of the check; a scan needs no more.
const N_FOLDS: usize = 3;

/// What the check found: each subject's curve, and the verdict over them.
pub struct Checked {
    /// One a subject, in order.
    pub curves: Vec<HrfCurve>,
    /// Over all of them.
    pub verdict: Option<Alignment>,
    /// The space whose features were used.
    pub space: String,
}

/// Scans un-lagged correlations of every subject.
///
/// Uses the static vectors if there are any, else the most frequent words, else the word rate.
/// # Errors
/// Those of reading BOLD and of the eigenproblems.
pub fn check(
    study: &Study,
    inputs: &Inputs,
    split: &Split,
    spaces: &[Option<WordSpace>],
) -> Result<Option<Checked>> {
    if split.train.len() < N_FOLDS {
        return Ok(None);
    }
    let preference = |kind: &SpaceKind| match kind {
        SpaceKind::Glove(_) | SpaceKind::Word2Vec(_) => 0,
        SpaceKind::Bow(_) => 1,
        SpaceKind::WordRate => 2,
        SpaceKind::Combine(_) => 3,
    };
    let best = study
        .spaces
        .iter()
        .zip(spaces)
        .filter_map(|(space, words)| words.as_ref().map(|words| (space, words)))
        .min_by_key(|(space, words)| (preference(&space.kind), words.n_features));
    let Some((space, words)) = best else { return Ok(None) };
    let lanczos = Lanczos { window: study.lanczos_window, cutoff_mult: study.cutoff_mult };
    let fold_of_story: Vec<usize> = (0..split.train.len()).map(|i| i % N_FOLDS).collect();
    let mut curves = Vec::new();
    for subject in &inputs.subjects {
        let mut designs: Vec<StoryDesign> = Vec::new();
        let mut bold: Vec<Vec<f32>> = Vec::new();
        let sample = sample_runs(subject.n_voxels);
        let n_voxels: usize = sample.iter().map(std::ops::Range::len).sum();
        for &index in &split.train {
            let story = &inputs.stories[index];
            let times = match &story.tr_times_s {
                Some(times) => times.clone(),
                None => tr_times(study.first_tr_s, study.tr_s, subject.n_feature_trs[index]),
            };
            let rows = frequent(words.story_rows(index, story)?.into_owned());
            let at_trs = tr_rows(&rows, &story.mid_s, &times, &lanczos, study.trim)
                .and_then(|rows| zscore(&rows, &ZScore::Story))
                .map_err(|error| error.in_story(&story.name))?;
            designs.push(at_trs);
            let file = &subject.files[index];
            let mut rows = vec![0f32; file.n_rows() * n_voxels];
            let mut first = 0;
            for run in &sample {
                let mut part = vec![0f32; file.n_rows() * run.len()];
                file.read_columns(0..file.n_rows(), run.clone(), &mut part)?;
                for (to, from) in rows.chunks_exact_mut(n_voxels).zip(part.chunks_exact(run.len()))
                {
                    to[first..first + run.len()].copy_from_slice(from);
                }
                first += run.len();
            }
            bold.push(rows);
        }
        curves.push(hrf_curve(designs, &bold, &fold_of_story, N_FOLDS, n_voxels)?);
    }
    let verdict = judge(&curves, &study.delays, study.trim);
    Ok(Some(Checked { curves, verdict, space: space.name.clone() }))
}

/// The warning, where the peak lies outside the delays.
pub fn warning(study: &Study, verdict: &Alignment) -> Option<Warning> {
    let (low, high) = (study.delays.iter().min()?, study.delays.iter().max()?);
    if !verdict.stands_out || (low..=high).contains(&&verdict.peak) {
        return None;
    }
    let (peak, trim) = (verdict.peak, study.trim.to_string());
    let delays = if low == high { low.to_string() } else { format!("{low} to {high}") };
    Some(match verdict.better_trim.clone() {
        Some(better_trim) => Warning::Alignment { peak, delays, trim, better_trim },
        None => Warning::AlignmentUnmendable { peak, delays, trim },
    })
}

/// Runs of neighbouring voxels, evenly spread.
fn sample_runs(n_voxels: usize) -> Vec<std::ops::Range<usize>> {
    if n_voxels <= SAMPLE_VOXELS {
        return std::iter::once(0..n_voxels).collect();
    }
    let n_runs = SAMPLE_VOXELS / RUN_VOXELS;
    (0..n_runs)
        .map(|i| {
            let start = i * (n_voxels - RUN_VOXELS) / (n_runs - 1);
            start..start + RUN_VOXELS
        })
        .collect()
}

/// The first columns of a bag of words: its most frequent words.
fn frequent(rows: Rows) -> Rows {
    match &rows {
        Rows::Sparse(sparse) if sparse.n_cols > BOW_WORDS => {
            let mut kept = SparseRows::empty(BOW_WORDS);
            for i in 0..sparse.n_rows() {
                kept.push_row(
                    sparse.entries(i).filter(|(column, _)| (*column as usize) < BOW_WORDS),
                );
            }
            Rows::Sparse(kept)
        }
        _ => rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_spread_over_the_brain_and_reads_runs() {
        assert_eq!(sample_runs(50), vec![std::ops::Range { start: 0, end: 50 }]);
        let runs = sample_runs(95_556);
        assert_eq!(runs.len(), 8);
        assert_eq!((runs[0].start, runs[7].end), (0, 95_556));
        assert!(runs.windows(2).all(|w| w[0].end < w[1].start));
        let near = sample_runs(257);
        assert!(near.iter().all(|run| run.end <= 257));
    }
}
