//! preferred.csv: layers and pasts of language models, and which of them each voxel prefers.

use std::fs;
use std::path::Path;

use ndarray::ArrayView1;

use crate::error::{Error, Result};
use crate::io::npy;
use crate::report::ScoreRow;
use crate::report::rows::PreferredScores;
use crate::results::names::{CV_SCORES, PREFERENCES, PREFERRED, PREFERRED_LAYER, PREFERRED_PAST};
use crate::results::{ModelId, RunFolder, tables};
use crate::scoring::Summary;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study_file::{Member, Study};

/// Writes the table, if a space's `layer` or `past` is a list, and of every voxel the layer and the
/// past of the model with the highest CV score (the first of equals; NaN where there is no score).
/// Test scores choose nothing; their means are those of `summary`.
/// # Errors
/// Those of the files.
pub fn write_preferred(
    out: &Path,
    study: &Study,
    plan: &StudyPlan,
    summary: &[ScoreRow],
) -> Result<()> {
    let run = RunFolder::at(out);
    let folder = run.path().join(PREFERENCES);
    match fs::remove_dir_all(&folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::Write { path: folder, source });
        }
        _ => {}
    }
    let mut rows = Vec::new();
    for (subject, _) in &plan.subjects {
        for family in families(study, plan) {
            let first = family[0].0;
            let read = |(model, _): &(&ModelPlan, &Member)| -> Result<Vec<f32>> {
                best_cv_scores(&run.model(&model.id(subject)?))
            };
            let cv: Vec<Vec<f32>> = family.iter().map(read).collect::<Result<_>>()?;
            let preferred = highest(&cv);
            let name = &family[0].1.family;
            let id = ModelId::new(subject, name, first.is_lagged())?;
            let write = |file: &str, of: &dyn Fn(&Member) -> Option<usize>| -> Result<()> {
                if family.iter().all(|(_, member)| of(member).is_none()) {
                    return Ok(());
                }
                let number = |best: &Option<usize>| {
                    best.and_then(|best| of(family[best].1)).map_or(f32::NAN, |n| n as f32)
                };
                let values: Vec<f32> = preferred.iter().map(number).collect();
                let folder = run.preferred(&id);
                fs::create_dir_all(&folder)
                    .map_err(|source| Error::Write { path: folder.clone(), source })?;
                npy::write(&folder.join(file), &[values.len()], &values)
            };
            write(PREFERRED_LAYER, &|member| member.layer)?;
            write(PREFERRED_PAST, &|member| member.past)?;
            for (at, ((model, member), cv)) in family.iter().zip(&cv).enumerate() {
                let is_own = |row: &&ScoreRow| {
                    let own = (subject.as_str(), model.name.as_str(), model.is_lagged());
                    (row.subject.as_str(), row.space.as_str(), row.lagged) == own
                };
                let Some(scores) = summary.iter().find(is_own) else { continue };
                rows.push(PreferredScores {
                    subject: subject.clone(),
                    space: name.clone(),
                    lagged: model.is_lagged(),
                    model: model.name.clone(),
                    layer: member.layer,
                    past: member.past,
                    mean_r: scores.scores.mean,
                    inner_mean_r: scores.inner.map(|inner| inner.inner_mean),
                    mean_cv_score: Summary::of(cv).mean,
                    n_preferring: preferred.iter().filter(|best| **best == Some(at)).count(),
                    n_voxels: preferred.iter().flatten().count(),
                });
            }
        }
    }
    tables::write(&run.file(PREFERRED), &rows)
}

/// The models of each list, once with the study's delays and once without.
fn families<'a>(study: &'a Study, plan: &'a StudyPlan) -> Vec<Vec<(&'a ModelPlan, &'a Member)>> {
    let mut families: Vec<Vec<(&ModelPlan, &Member)>> = Vec::new();
    for model in plan.models.iter().filter(|model| model.is_reported()) {
        let Some(member) = &study.spaces[model.space].member else { continue };
        let is_own = |family: &&mut Vec<(&ModelPlan, &Member)>| {
            let (other, of) = family[0];
            of.family == member.family && other.is_lagged() == model.is_lagged()
        };
        match families.iter_mut().find(is_own) {
            Some(family) => family.push((model, member)),
            None => families.push(vec![(model, member)]),
        }
    }
    families
}

/// The best alpha's CV score of every voxel; NaN where there is none.
fn best_cv_scores(folder: &Path) -> Result<Vec<f32>> {
    let all = npy::read_matrix_f32(&folder.join(CV_SCORES))?;
    let best = |scores: ArrayView1<'_, f32>| scores.fold(f32::NAN, |a, b| a.max(*b));
    Ok(all.columns().into_iter().map(best).collect())
}

/// Which of several lists is highest at each place; the first of equals, none where all are NaN.
fn highest(lists: &[Vec<f32>]) -> Vec<Option<usize>> {
    let at = |v: usize| {
        let numbers = (0..lists.len()).filter(|&list| !lists[list][v].is_nan());
        numbers.reduce(|best, list| if lists[list][v] > lists[best][v] { list } else { best })
    };
    (0..lists.first().map_or(0, |list| list.len())).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_is_preferred_and_the_first_of_equals() {
        let lists = [vec![0.1, 0.2, f32::NAN, f32::NAN], vec![0.3, 0.2, -0.5, f32::NAN]];
        assert_eq!(highest(&lists), [Some(1), Some(0), Some(1), None]);
    }
}
