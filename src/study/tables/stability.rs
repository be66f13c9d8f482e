//! Tables of the other fits: stability over random splits, learning curve.

use std::path::Path;

use super::scores::read_r;
use crate::error::Result;
use crate::io::npy;
use crate::report::InnerScores;
use crate::report::rows::{Learning, Overlap, SplitScores};
use crate::results::RunFolder;
use crate::results::names::{
    INNER_CORRELATION, LEARNING_CORRELATION, LEARNING_CURVE, LEARNING_INNER_CORRELATION, STABILITY,
    STABILITY_CORRELATION, STABILITY_INNER_CORRELATION, STABILITY_STORIES, TEST_CORRELATION,
};
use crate::results::tables::write;
use crate::scoring::Summary;
use crate::scoring::overlap::{jaccard, top5};
use crate::study::inputs::Inputs;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study::split::Split;
use crate::study::stability::ExtraSplits;
use crate::study_file::Study;

/// Rows of one model's file, and those without the edges of the test stories where they are wanted.
type Scores<'a> = (&'a [Vec<f32>], Option<&'a [Vec<f32>]>);

/// Rows of the tables.
#[derive(Default)]
struct Tables {
    stability: Vec<SplitScores>,
    stories: Vec<SplitScores>,
    learning: Vec<Learning>,
}

/// Writes stability.csv, stability_stories.csv and learning_curve.csv from the files of every
/// model, each if there is anything in it; hands back rows of overlap.csv over the random splits.
///
/// # Errors
/// Those of the files.
pub fn write_other_tables(
    out: &Path,
    study: &Study,
    inputs: &Inputs,
    own: &Split,
    plan: &StudyPlan,
    others: &ExtraSplits,
) -> Result<Vec<Overlap>> {
    let (mut tables, mut overlap) = (Tables::default(), Vec::new());
    let run = RunFolder::at(out);
    for subject in &inputs.subjects {
        let n_trs = subject.n_trs();
        for model in &plan.models {
            let folder = run.model(&model.id(&subject.name)?);
            let name = &subject.name;
            let inner_rows = |name| plan.inner.map(|_| read_rows(&folder.join(name))).transpose();
            if others.n_random > 0 {
                let scores = read_rows(&folder.join(STABILITY_CORRELATION))?;
                let inner = inner_rows(STABILITY_INNER_CORRELATION)?;
                let scores = (scores.as_slice(), inner.as_deref());
                let tops = tables.add_splits(study, inputs, name, model, others, scores);
                overlap.extend(overlap_of_splits(name, model, &tops));
            }
            if others.splits.len() > others.n_random {
                let mut scores = read_rows(&folder.join(LEARNING_CORRELATION))?;
                scores.push(read_r(&folder.join(TEST_CORRELATION))?);
                let mut inner = inner_rows(LEARNING_INNER_CORRELATION)?;
                if let Some(rows) = &mut inner {
                    rows.push(read_r(&folder.join(INNER_CORRELATION))?);
                }
                let scores = (scores.as_slice(), inner.as_deref());
                tables.add_curve(name, model, (others, own), &n_trs, scores);
            }
        }
    }
    write(&run.file(STABILITY), &tables.stability)?;
    write(&run.file(STABILITY_STORIES), &tables.stories)?;
    write(&run.file(LEARNING_CURVE), &tables.learning)?;
    Ok(overlap)
}

fn read_rows(path: &Path) -> Result<Vec<Vec<f32>>> {
    let rows = npy::read_matrix_f32(path)?;
    Ok(rows.rows().into_iter().map(|row| row.to_vec()).collect())
}

impl Tables {
    /// Rows of one model's random splits; hands back the best voxels of each.
    fn add_splits(
        &mut self,
        study: &Study,
        inputs: &Inputs,
        subject: &str,
        model: &ModelPlan,
        others: &ExtraSplits,
        (scores, inner): Scores<'_>,
    ) -> Vec<Vec<bool>> {
        let mut rows = scores.iter().enumerate();
        let mut tops = Vec::new();
        for (i, split) in others.splits[..others.n_random].iter().enumerate() {
            let Some((at, all)) = rows.next() else { break };
            let row = |at: usize, r: &[f32]| {
                let scores = Summary::of(r);
                let inner = inner.and_then(|inner| inner.get(at)).map(|r| InnerScores::of(r));
                SplitScores {
                    inner_mean: inner.map(|inner| inner.inner_mean),
                    inner_median: inner.map(|inner| inner.inner_median),
                    subject: subject.to_owned(),
                    space: model.name.clone(),
                    lagged: model.is_lagged(),
                    split: i as u64 + 1,
                    n_voxels_used: scores.n_voxels_used,
                    mean: scores.mean,
                    median: scores.median,
                    top1: scores.top1,
                    top5: scores.top5,
                    top1_mean: scores.top1_mean,
                    top5_mean: scores.top5_mean,
                    ..SplitScores::default()
                }
            };
            self.stability.push(SplitScores {
                seed: Some(study.seed.wrapping_add(i as u64 + 1)),
                n_train_stories: Some(split.train.len()),
                n_test_stories: Some(split.test.len()),
                ..row(at, all)
            });
            tops.push(top5(all));
            for (&story, (at, r)) in split.test.iter().zip(&mut rows) {
                let story = Some(inputs.units[story].name.clone());
                self.stories.push(SplitScores { story, ..row(at, r) });
            }
        }
        tops
    }

    /// Rows of one model's learning curve; the last point is the study's own fit.
    fn add_curve(
        &mut self,
        subject: &str,
        model: &ModelPlan,
        (others, own): (&ExtraSplits, &Split),
        n_trs: &[usize],
        (scores, inner): Scores<'_>,
    ) {
        let points = others.splits[others.n_random..].iter().chain([own]);
        for (at, (split, r)) in points.zip(scores).enumerate() {
            let trs: usize = split.train.iter().map(|&story| n_trs[story]).sum();
            let scores = Summary::of(r);
            let inner = inner.and_then(|inner| inner.get(at)).map(|r| InnerScores::of(r));
            self.learning.push(Learning {
                subject: subject.to_owned(),
                space: model.name.clone(),
                lagged: model.is_lagged(),
                n_stories: split.train.len(),
                n_trs: trs as u64,
                n_voxels_used: scores.n_voxels_used,
                mean: scores.mean,
                median: scores.median,
                top1: scores.top1,
                top5: scores.top5,
                top1_mean: scores.top1_mean,
                top5_mean: scores.top5_mean,
                inner_mean: inner.map(|inner| inner.inner_mean),
                inner_median: inner.map(|inner| inner.inner_median),
            });
        }
    }
}

fn overlap_of_splits(subject: &str, model: &ModelPlan, tops: &[Vec<bool>]) -> Vec<Overlap> {
    let mut rows = Vec::new();
    for (i, a) in tops.iter().enumerate() {
        for (j, b) in tops.iter().enumerate().skip(i + 1) {
            rows.push(Overlap {
                subject: subject.to_owned(),
                kind: "splits".into(),
                a: (i + 1).to_string(),
                b: (j + 1).to_string(),
                jaccard: jaccard(a, b),
                model: model.folder(),
            });
        }
    }
    rows
}
