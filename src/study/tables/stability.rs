//! Tables of the other fits: stability over random splits, learning curve.

use std::path::Path;

use super::analysis::{Rows, named};
use crate::error::Result;
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::csv::table;
use crate::scoring::Summary;
use crate::scoring::overlap::{jaccard, top5};
use crate::study::inputs::Inputs;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study::sink::{LEARNING, STABILITY, read_scores};
use crate::study::split::Split;
use crate::study::stability::ExtraSplits;
use crate::study_file::Study;

/// Columns of a summary without the count of all voxels.
const SCORES: &str = "n_voxels_used,mean,median,top1,top5,top1_mean,top5_mean";

/// Rows of the tables.
#[derive(Default)]
struct Tables {
    stability: Rows,
    stories: Rows,
    learning: Rows,
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
) -> Result<Rows> {
    let (mut tables, mut overlap) = (Tables::default(), Rows::new());
    for subject in &inputs.subjects {
        let n_trs = subject.n_trs();
        for model in &plan.models {
            let folder = out.join("models").join(&subject.name).join(model.folder());
            let name = &subject.name;
            if others.n_random > 0 {
                let scores = read_rows(&folder.join(STABILITY))?;
                let tops = tables.add_splits(study, inputs, name, model, others, &scores);
                overlap.extend(overlap_of_splits(name, model, &tops));
            }
            if others.splits.len() > others.n_random {
                let mut scores = read_rows(&folder.join(LEARNING))?;
                scores.push(read_scores(&folder)?.0);
                tables.add_curve(name, model, (others, own), &n_trs, &scores);
            }
        }
    }
    let write = |name: &str, header: &str, rows: &Rows| {
        let text = (!rows.is_empty()).then(|| table(&format!("{header}{SCORES}"), rows));
        write_or_remove(&out.join(name), text.as_deref())
    };
    // Columns that came later stand at the end.
    let seeds = ",seed,n_train_stories,n_test_stories";
    let text = (!tables.stability.is_empty())
        .then(|| table(&format!("subject,space,lagged,split,{SCORES}{seeds}"), &tables.stability));
    write_or_remove(&out.join("stability.csv"), text.as_deref())?;
    write("stability_stories.csv", "subject,space,lagged,split,story,", &tables.stories)?;
    write("learning_curve.csv", "subject,space,lagged,n_stories,n_trs,", &tables.learning)?;
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
            let start = || {
                let mut row = named(subject, model);
                row.push((i + 1).to_string());
                row
            };
            let mut row = start();
            row.extend(cells(&Summary::of(all)));
            row.push(study.seed.wrapping_add(i as u64 + 1).to_string());
            row.extend([split.train.len(), split.test.len()].map(|n| n.to_string()));
            self.stability.push(row);
            tops.push(top5(all));
            for (&story, r) in split.test.iter().zip(&mut rows) {
                let mut row = start();
                row.push(inputs.stories[story].name.clone());
                row.extend(cells(&Summary::of(r)));
                self.stories.push(row);
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
            let mut row = named(subject, model);
            row.extend([split.train.len(), trs].map(|n| n.to_string()));
            row.extend(cells(&Summary::of(r)));
            self.learning.push(row);
        }
    }
}

fn cells(s: &Summary) -> Vec<String> {
    let mut cells = vec![s.n_voxels_used.to_string()];
    cells.extend(
        [s.mean, s.median, s.top1, s.top5, s.top1_mean, s.top5_mean].map(|x| x.to_string()),
    );
    cells
}

fn overlap_of_splits(subject: &str, model: &ModelPlan, tops: &[Vec<bool>]) -> Rows {
    let mut rows = Rows::new();
    for (i, a) in tops.iter().enumerate() {
        for (j, b) in tops.iter().enumerate().skip(i + 1) {
            let names = ["splits".to_owned(), (i + 1).to_string(), (j + 1).to_string()];
            let found = [jaccard(a, b).to_string(), model.folder()];
            rows.push([subject.to_owned()].into_iter().chain(names).chain(found).collect());
        }
    }
    rows
}
