//! The alignment check of a study: which features, which voxels, what is said.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use rayon::prelude::*;

use super::features::Timing;
use super::inputs::{Inputs, Subject};
use super::split::{Split, Splits};
use super::units::stories_of;
use super::word_space::WordSpace;
use crate::backend::device::Device;
use crate::design::zscore::{ZScore, zscore};
use crate::error::Result;
use crate::matrix::{Rows, SparseRows, StoryDesign};
use crate::ridge::alignment::{
    Alignment, HrfCurve, SHIFTS, hrf_curve, hrf_problem, judge, shifted,
};
use crate::solve::tiles::{BoldSource, SolvedTile, TileRun, TileSink, run_tiles, tiles};
use crate::study_file::{SpaceKind, Study};
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
/// Uses the static vectors if there are any, else those of a language model, else rows from files,
/// else the most frequent words, else the word rate or what other control there is; positions never.
/// # Errors
/// Those of reading BOLD and of the eigenproblems.
pub fn check(
    study: &Study,
    inputs: &Inputs,
    splits: &Splits,
    spaces: &[Option<WordSpace>],
    n_workers: usize,
    cancel: &AtomicBool,
) -> Result<Option<Checked>> {
    if (0..inputs.subjects.len()).any(|index| splits.of(index).train.len() < N_FOLDS) {
        return Ok(None);
    }
    let preference = |kind: &SpaceKind| match kind {
        SpaceKind::Glove(_) | SpaceKind::Word2Vec(_) | SpaceKind::Eng1000(_) => 0,
        SpaceKind::Bert(_) | SpaceKind::Encoder(_) | SpaceKind::Lm(_) => 1,
        SpaceKind::File(_) => 2,
        SpaceKind::Bow(_) => 3,
        SpaceKind::WordRate => 4,
        SpaceKind::Phones(_) => 5,
        SpaceKind::Column(_) | SpaceKind::WordLength => 6,
        SpaceKind::Combine(_) | SpaceKind::Position => 7,
    };
    let best = study
        .spaces
        .iter()
        .zip(spaces)
        .filter_map(|(space, words)| words.as_ref().map(|words| (space, words)))
        // It does not know when words were.
        .filter(|(_, words)| !words.is_position())
        .min_by_key(|(space, words)| (preference(&space.kind), words.n_features));
    let Some((space, words)) = best else { return Ok(None) };
    let mut curves = Vec::new();
    for (index, subject) in inputs.subjects.iter().enumerate() {
        let split = splits.of(index);
        let fold_of_unit: Vec<usize> = (0..split.train.len()).map(|i| i % N_FOLDS).collect();
        let design = |&index: &usize| -> Result<Vec<(usize, StoryDesign)>> {
            let (story, timing) = (&inputs.stories[index], Timing::of(study));
            let rows = || match words.is_at_words() {
                true => {
                    let rows = frequent(words.story_rows(index, story)?.into_owned());
                    timing.story_rows(story, &rows, subject.feature_trs[index])
                }
                false => timing.space_rows(words, &inputs.stories, index, &subject.feature_trs),
            };
            rows()
                .and_then(|rows| zscore(&rows, &ZScore::Story))
                .map(|design| {
                    let own = split.train.iter().filter(|&&unit| inputs.units[unit].story == index);
                    own.map(|&unit| (unit, design.rows(&subject.used(unit)))).collect()
                })
                .map_err(|error| error.in_story(&story.name))
        };
        let stories = stories_of(&inputs.units, &split.train);
        let designs = stories.par_iter().map(design).collect::<Result<Vec<_>>>()?;
        let mut designs: HashMap<usize, StoryDesign> = designs.into_iter().flatten().collect();
        let designs = split.train.iter().filter_map(|unit| designs.remove(unit)).collect();
        let problem = hrf_problem(designs, &fold_of_unit, N_FOLDS)?;
        let source = ShiftedSample::new(subject, split);
        let found = CvScores::default();
        // A few hundred voxels: not worth a card.
        let run = TileRun {
            device: &Device::Cpu,
            n_threads: n_workers,
            cancel,
            progress: &|_| {},
            note: &|_| {},
            other: None,
        };
        run_tiles(&problem, &source, &found, &source.tiles, &run)?;
        let found = found.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        let scores: Vec<Vec<f32>> = found.into_values().collect();
        curves.push(hrf_curve(&scores, problem.settings.alphas.len()));
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

/// A sample of a subject's voxels at every shift, as if they were so many voxels. A tile is one run
/// of neighbours at all shifts, read once; nothing grows with the number of stories.
struct ShiftedSample<'a> {
    subject: &'a Subject,
    split: &'a Split,
    runs: Vec<Range<usize>>,
    tiles: Vec<Range<usize>>,
}

impl<'a> ShiftedSample<'a> {
    fn new(subject: &'a Subject, split: &'a Split) -> Self {
        let runs = sample_runs(subject.n_voxels);
        let mut end = 0;
        let tile = |run: &Range<usize>| {
            let start = end;
            end += run.len() * SHIFTS.count();
            start..end
        };
        let tiles = runs.iter().map(tile).collect();
        Self { subject, split, runs, tiles }
    }

    /// The voxels of a tile.
    fn run(&self, tile: &Range<usize>) -> &Range<usize> {
        &self.runs[self.tiles.partition_point(|other| other.start < tile.start)]
    }
}

impl BoldSource for ShiftedSample<'_> {
    fn n_voxels(&self) -> usize {
        self.tiles.last().map_or(0, |tile| tile.end)
    }

    fn read_train(&self, block: usize, tile: Range<usize>, out: &mut [f32]) -> Result<()> {
        let unit = self.split.train[block];
        let n_rows: usize = self.subject.used(unit).iter().map(Range::len).sum();
        let run = self.run(&tile);
        let mut bold = vec![0f32; n_rows * run.len()];
        self.subject.read(unit, run.clone(), &mut bold)?;
        shifted(&bold, run.len(), out);
        Ok(())
    }

    fn expect_train(&self, block: usize, tile: Range<usize>) {
        self.subject.expect(self.split.train[block], self.run(&tile).clone());
    }

    fn read_test(&self, _: usize, _: Range<usize>, _: &mut [f32]) -> Result<()> {
        Ok(()) // the check has no test stories
    }
}

/// CV scores by the tile's first column: an order that does not depend on the threads.
#[derive(Default)]
struct CvScores(Mutex<BTreeMap<usize, Vec<f32>>>);

impl TileSink for CvScores {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let scores = tile.models[0].cv_scores.clone();
        let mut found = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.insert(tile.voxels.start, scores);
        Ok(())
    }
}

/// Runs of neighbouring voxels, evenly spread.
fn sample_runs(n_voxels: usize) -> Vec<Range<usize>> {
    if n_voxels <= SAMPLE_VOXELS {
        return tiles(n_voxels, RUN_VOXELS, RUN_VOXELS, 1);
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
        assert_eq!(sample_runs(50), [0..32, 32..50]);
        let runs = sample_runs(95_556);
        assert_eq!(runs.len(), 8);
        assert_eq!((runs[0].start, runs[7].end), (0, 95_556));
        assert!(runs.windows(2).all(|w| w[0].end < w[1].start));
        let near = sample_runs(257);
        assert!(near.iter().all(|run| run.end <= 257));
    }
}
