//! Test scores of finished models, and the rows of summary.csv and stories.csv.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::npy::{self, NpyFile};
use crate::report::{InnerScores, ScoreRow};
use crate::results::RunFolder;
use crate::results::names::{
    INNER_CORRELATION, STORY_CORRELATION, STORY_INNER_CORRELATION, TEST_CORRELATION,
};
use crate::scoring::Summary;
use crate::study::inputs::Inputs;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study::split::Splits;

/// A finished model's test scores, or those without the edges of the test stories.
pub struct TestScores {
    /// Over all test TRs.
    pub r: Vec<f32>,
    /// Within each test story.
    pub story_r: Vec<Vec<f32>>,
}

impl TestScores {
    /// # Errors
    /// Those of the files.
    pub fn read(folder: &Path) -> Result<Self> {
        Self::of_files(folder, TEST_CORRELATION, STORY_CORRELATION)
    }

    /// Nothing where such scores were not asked for.
    /// # Errors
    /// Those of the files.
    pub fn read_inner(folder: &Path, plan: &StudyPlan) -> Result<Option<Self>> {
        let read = |_| Self::of_files(folder, INNER_CORRELATION, STORY_INNER_CORRELATION);
        plan.inner.map(read).transpose()
    }

    fn of_files(folder: &Path, all: &str, by_story: &str) -> Result<Self> {
        let stories = npy::read_matrix_f32(&folder.join(by_story))?;
        let story_r = stories.rows().into_iter().map(|row| row.to_vec()).collect();
        Ok(Self { r: read_r(&folder.join(all))?, story_r })
    }
}

/// r of every voxel: `TEST_CORRELATION`, or `INNER_CORRELATION`.
/// # Errors
/// Those of the file.
pub fn read_r(path: &Path) -> Result<Vec<f32>> {
    let file = NpyFile::open(path)?;
    let mut r = vec![0f32; file.n_elements()];
    let n = r.len();
    file.read_columns(0..n, 0..1, &mut r)?;
    Ok(r)
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
    /// Both without the edges of the test stories.
    pub inner: Option<TestScores>,
}

/// Every model of one subject, from its files.
pub fn read_models<'a>(
    out: &Path,
    subject: &str,
    plan: &'a StudyPlan,
) -> Result<Vec<ScoredModel<'a>>> {
    let whole = plan;
    let read = |plan: &'a ModelPlan| -> Result<ScoredModel<'a>> {
        let folder = RunFolder::at(out).model(&plan.id(subject)?);
        let TestScores { r, story_r } = TestScores::read(&folder)?;
        let inner = TestScores::read_inner(&folder, whole)?;
        Ok(ScoredModel { plan, folder, r, story_r, inner })
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
            let folder = out.model(&model.id(&subject.name)?);
            let TestScores { r: all, story_r: by_story } = TestScores::read(&folder)?;
            let inner = TestScores::read_inner(&folder, plan)?;
            if all.iter().all(|r| r.is_nan()) {
                return Err(no_score(&subject.name, model));
            }
            let row = |story: Option<usize>, scores: &[f32], inner: Option<&[f32]>| ScoreRow {
                subject: subject.name.clone(),
                space: model.name.clone(),
                lagged: model.is_lagged(),
                story: story.map(|s| inputs.units[s].name.clone()),
                scores: Summary::of(scores),
                inner: inner.map(InnerScores::of),
            };
            summary.push(row(None, &all, inner.as_ref().map(|inner| inner.r.as_slice())));
            stories.extend(test.iter().zip(&by_story).enumerate().map(|(slot, (&s, r))| {
                row(Some(s), r, inner.as_ref().map(|inner| inner.story_r[slot].as_slice()))
            }));
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
