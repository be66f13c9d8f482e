//! Tables of the other fits: stability over random splits, learning curve.

use std::path::Path;

use super::scores::TestScores;
use crate::error::Result;
use crate::io::npy;
use crate::report::rows::{Learning, Overlap, SplitScores};
use crate::results::RunFolder;
use crate::results::names::{
    LEARNING_CORRELATION, LEARNING_CURVE, STABILITY, STABILITY_CORRELATION, STABILITY_STORIES,
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
            if others.n_random > 0 {
                let scores = read_rows(&folder.join(STABILITY_CORRELATION))?;
                let tops = tables.add_splits(study, inputs, name, model, others, &scores);
                overlap.extend(overlap_of_splits(name, model, &tops));
            }
            if others.splits.len() > others.n_random {
                let mut scores = read_rows(&folder.join(LEARNING_CORRELATION))?;
                scores.push(TestScores::read(&folder)?.r);
                tables.add_curve(name, model, (others, own), &n_trs, &scores);
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
        scores: &[Vec<f32>],
    ) -> Vec<Vec<bool>> {
        let mut rows = scores.iter();
        let mut tops = Vec::new();
        for (i, split) in others.splits[..others.n_random].iter().enumerate() {
            let Some(all) = rows.next() else { break };
            let row = |r: &[f32]| {
                let scores = Summary::of(r);
                SplitScores {
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
                ..row(all)
            });
            tops.push(top5(all));
            for (&story, r) in split.test.iter().zip(&mut rows) {
                let story = Some(inputs.units[story].name.clone());
                self.stories.push(SplitScores { story, ..row(r) });
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
        scores: &[Vec<f32>],
    ) {
        let points = others.splits[others.n_random..].iter().chain([own]);
        for (split, r) in points.zip(scores) {
            let trs: usize = split.train.iter().map(|&story| n_trs[story]).sum();
            let scores = Summary::of(r);
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
