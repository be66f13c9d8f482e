//! Test scores of finished models, and the rows of summary.csv and stories.csv.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::npy::{self, NpyFile};
use crate::report::ScoreRow;
use crate::results::RunFolder;
use crate::results::names::{STORY_CORRELATION, TEST_CORRELATION};
use crate::scoring::Summary;
use crate::study::inputs::Inputs;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study::split::Splits;

/// A finished model's test scores: over all test TRs, and story by story.
/// # Errors
/// Those of the files.
pub fn read_scores(folder: &Path) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    let total = NpyFile::open(&folder.join(TEST_CORRELATION))?;
    let mut all = vec![0f32; total.n_elements()];
    let n = all.len();
    total.read_columns(0..n, 0..1, &mut all)?;
    let stories = npy::read_matrix_f32(&folder.join(STORY_CORRELATION))?;
    Ok((all, stories.rows().into_iter().map(|row| row.to_vec()).collect()))
}

/// One model of one subject.
pub struct ScoredModel<'a> {
    /// Which.
    pub plan: &'a ModelPlan,
    /// Where its files are.
    pub folder: PathBuf,
    /// Over all test TRs.
    pub r: Vec<f32>,
    /// Within each test story.
    pub story_r: Vec<Vec<f32>>,
}

/// Every model of one subject, from its files.
pub fn read_models<'a>(
    out: &Path,
    subject: &str,
    plan: &'a StudyPlan,
) -> Result<Vec<ScoredModel<'a>>> {
    let read = |plan: &'a ModelPlan| -> Result<ScoredModel<'a>> {
        let folder = RunFolder::at(out).model(&plan.id(subject)?);
        let (r, story_r) = read_scores(&folder)?;
        Ok(ScoredModel { plan, folder, r, story_r })
    };
    plan.models.iter().map(read).collect()
}

/// Rows of both tables, from the files of every model.
/// # Errors
/// Those of the files.
pub fn read_tables(
    out: &Path,
    inputs: &Inputs,
    splits: &Splits,
    plan: &StudyPlan,
) -> Result<(Vec<ScoreRow>, Vec<ScoreRow>)> {
    let out = RunFolder::at(out);
    let (mut summary, mut stories) = (Vec::new(), Vec::new());
    for (index, subject) in inputs.subjects.iter().enumerate() {
        let test = &splits.of(index).test;
        for model in &plan.models {
            let (all, by_story) = read_scores(&out.model(&model.id(&subject.name)?))?;
            if all.iter().all(|r| r.is_nan()) {
                return Err(no_score(&subject.name, model));
            }
            let row = |story: Option<usize>, scores: &[f32]| ScoreRow {
                subject: subject.name.clone(),
                space: model.name.clone(),
                lagged: model.is_lagged(),
                story: story.map(|s| inputs.units[s].name.clone()),
                scores: Summary::of(scores),
            };
            summary.push(row(None, &all));
            stories.extend(test.iter().zip(&by_story).map(|(&s, r)| row(Some(s), r)));
        }
    }
    Ok((summary, stories))
}

/// A study that cannot be right: no voxel of a model has a score.
fn no_score(subject: &str, model: &ModelPlan) -> Error {
    Error::Values {
        place: format!("{subject}, {}", model.folder()),
        problem: "every score is NaN: no voxel could be fitted and scored".into(),
        hint:
            "look for NaN or constant BOLD in each story, and for features that are constant over \
               the test stories"
                .into(),
    }
}
