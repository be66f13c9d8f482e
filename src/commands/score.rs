//! `voxelcast score`: predicted against measured BOLD.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ndarray::Array2;
use serde::Serialize;

use crate::design::clean::Detrend;
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyFile};
use crate::io::output::write_json;
use crate::report::ScoreRow;
use crate::report::rows::ScoreLine;
use crate::reporter::Reporter;
use crate::results::names::{
    PREDICTIONS, STORIES, STORY_CORRELATION, SUMMARY, SUMMARY_JSON, TEST_CORRELATION,
};
use crate::results::predictions::{self, PredictedModel, Predictions, story_file};
use crate::results::tables;
use crate::scoring::Summary;
use crate::solve::matrix_tiles::MatrixTiles;
use crate::stats::pearson_from_sums;
use crate::study::{BoldFlags, CleaningRules, StoryBold};
use crate::study_file::BoldCleaning;

/// What was asked for.
#[derive(Debug, Clone)]
pub struct ScoreJob {
    /// What `voxelcast predict` wrote.
    pub predictions: PathBuf,
    /// Measured BOLD.
    pub bold: BoldFlags,
    /// What is cut and taken off it.
    pub cleaning: BoldCleaning,
    /// Stories that are scored, in this order; all of them if empty.
    pub wanted: Vec<String>,
    /// Where arrays and tables go, if anywhere.
    pub out: Option<PathBuf>,
}

/// Rows of the tables.
#[derive(Debug, Clone, Serialize)]
pub struct Scores {
    /// One a model: over all TRs of all stories.
    pub summary: Vec<ScoreRow>,
    /// One a model and story.
    pub stories: Vec<ScoreRow>,
}

/// Voxels that are read at a time.
const TILE_VOXELS: usize = 4096;

/// Scores every model: r per voxel over all stories together and within each.
///
/// With an output folder: `SUBJECT/MODEL/test_correlation.npy` `(n_voxels)` and
/// `story_correlation.npy` `(n_stories, n_voxels)`, f32, summary.csv, stories.csv, summary.json. A
/// voxel that is constant, or NaN or infinite anywhere, has no r: NaN.
/// # Errors
/// `Error::Values` if there are no predictions; `Error::Shape` if rows or voxels differ; those of
/// the files.
pub fn run(job: &ScoreJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<Scores> {
    let found = predictions::read(&job.predictions)?;
    if found.stories.is_empty() {
        return Err(Error::Values {
            place: job.predictions.display().to_string(),
            problem: format!("{PREDICTIONS} lists no story"),
            hint: "predict some stories first".into(),
        });
    }
    let n_subjects = {
        let mut names: Vec<&str> = found.models.iter().map(|m| m.subject.as_str()).collect();
        names.dedup();
        names.len()
    };
    if n_subjects > 1 && !job.bold.path.contains("{subject}") {
        return Err(Error::Usage {
            place: "--bold".into(),
            problem: format!("expected {{subject}} in the path, there are {n_subjects} subjects"),
            hint: "such as 'bold/{subject}/{story}.npy', or predict one --subject alone".into(),
        });
    }
    let stories = chosen(&found, &job.wanted)?;
    let (mut summary, mut by_story) = (Vec::new(), Vec::new());
    let mut measured: Option<(&str, Vec<Measured>)> = None;
    reporter.start("models", found.models.len() as u64);
    for model in &found.models {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        // Models of one subject follow each other.
        let subject = model.subject.as_str();
        if measured.as_ref().is_none_or(|(known, _)| *known != subject) {
            measured = Some((subject, open_bold(job, &found, subject, &stories)?));
        }
        let bold = measured.as_ref().map_or(&[][..], |(_, files)| files);
        let predicted = open_predicted(job, model, &stories, bold)?;
        let pairs = predicted.iter().zip(bold);
        let tiles = pairs.map(|(predicted, bold)| -> Pair<'_> { (predicted, bold) });
        let (total, within) = correlations(&tiles.collect::<Vec<_>>(), model.n_voxels)?;
        let row = |story: Option<&str>, scores: &[f32]| ScoreRow {
            subject: model.subject.to_string(),
            space: model.space.to_string(),
            lagged: model.lagged,
            story: story.map(str::to_owned),
            scores: Summary::of(scores),
            inner: None,
        };
        summary.push(row(None, &total));
        let of_story = within.chunks_exact(model.n_voxels.max(1));
        by_story.extend(stories.iter().zip(of_story).map(|(name, r)| row(Some(name), r)));
        if let Some(out) = &job.out {
            let folder = out.join(model.id()?.path());
            fs::create_dir_all(&folder)
                .map_err(|source| Error::Write { path: folder.clone(), source })?;
            npy::write(&folder.join(TEST_CORRELATION), &[total.len()], &total)?;
            let shape = [stories.len(), model.n_voxels];
            npy::write(&folder.join(STORY_CORRELATION), &shape, &within)?;
        }
        reporter.advance(1);
    }
    reporter.finish();
    if let Some(out) = &job.out {
        let lines = |rows: &[ScoreRow]| rows.iter().map(ScoreLine::from).collect::<Vec<_>>();
        tables::write(&out.join(SUMMARY), &lines(&summary))?;
        tables::write(&out.join(STORIES), &lines(&by_story))?;
        write_json(&out.join(SUMMARY_JSON), &summary)?;
    }
    Ok(Scores { summary, stories: by_story })
}

fn chosen<'a>(found: &'a Predictions, wanted: &[String]) -> Result<Vec<&'a str>> {
    if wanted.is_empty() {
        return Ok(found.stories.iter().map(|(name, _)| name.as_str()).collect());
    }
    let find = |name: &String| {
        let hit = found.stories.iter().find(|(story, _)| story == name);
        hit.map(|(name, _)| name.as_str()).ok_or_else(|| Error::Usage {
            place: "--story".into(),
            problem: format!("{name:?} was not predicted"),
            hint: format!("{PREDICTIONS} lists {} stories", found.stories.len()),
        })
    };
    wanted.iter().map(find).collect()
}

/// A subject's measured BOLD of every story; what is packed is unpacked, where results go or else
/// where the system keeps temporary files.
fn open_bold(
    job: &ScoreJob,
    found: &Predictions,
    subject: &str,
    stories: &[&str],
) -> Result<Vec<Measured>> {
    let tr_s = match (&job.cleaning.detrend, found.tr_s) {
        (Some(Detrend::Cosine(_)), None) => {
            return Err(Error::Usage {
                place: "--detrend".into(),
                problem: "predictions.json does not say the repetition time".into(),
                hint: "it is of an older version: run voxelcast predict again".into(),
            });
        }
        (_, tr_s) => tr_s.unwrap_or(1.0),
    };
    let names = stories.iter().map(|&story| story.to_owned()).collect();
    let finder = job.bold.finder("--bold", subject, names)?;
    let (cleaning, folder) = (&job.cleaning, Path::new(""));
    let rules = CleaningRules { cleaning, folder, tr_s, finder: Some(&finder) };
    let scratch = job.out.clone().unwrap_or_else(std::env::temp_dir);
    let open = |story: &&str| {
        let mut file = finder.open(story)?;
        if file.is_packed() {
            fs::create_dir_all(&scratch)
                .map_err(|source| Error::Write { path: scratch.clone(), source })?;
            file.unpack(&scratch, false)?;
        }
        StoryBold::open(file, (subject, story), rules).map(Measured)
    };
    stories.iter().map(open).collect()
}

/// A model's predictions, of the shapes of the measured BOLD.
fn open_predicted(
    job: &ScoreJob,
    model: &PredictedModel,
    stories: &[&str],
    bold: &[Measured],
) -> Result<Vec<UsedRows>> {
    let open = |(story, Measured(bold)): (&&str, &Measured)| {
        let path = story_file(&job.predictions, &model.id()?, story);
        let predicted = NpyFile::open(&path)?;
        predicted.check_matrix()?;
        let (wanted, got) =
            ((predicted.n_rows(), predicted.n_cols()), (bold.n_trs(), bold.n_cols()));
        if wanted != got || got.1 != model.n_voxels {
            let is_turned = (got.1, got.0) == wanted;
            return Err(Error::Shape {
                what: format!(
                    "BOLD of {}, story {story:?} ({})",
                    model.subject,
                    bold.path().display()
                ),
                expected: format!("{wanted:?} as predicted"),
                got: format!("{got:?}"),
                hint: match is_turned {
                    true => "the file is (voxels, TRs): give --transpose".into(),
                    false => "predict with --n-trs and the path of the BOLD, or check the model's \
                              trim"
                        .into(),
                },
            });
        }
        Ok(UsedRows { file: predicted, rows: bold.used().to_vec() })
    };
    stories.iter().zip(bold).map(open).collect()
}

/// Predicted BOLD at the TRs of the measured BOLD that are used.
struct UsedRows {
    file: NpyFile,
    rows: Vec<Range<usize>>,
}

impl MatrixTiles for UsedRows {
    fn place(&self) -> String {
        self.file.path().display().to_string()
    }

    fn n_rows(&self) -> usize {
        self.rows.iter().map(Range::len).sum()
    }

    fn n_cols(&self) -> usize {
        self.file.n_cols()
    }

    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()> {
        let mut first = 0;
        let mut rest = out;
        for used in &self.rows {
            let start = rows.start.clamp(first, first + used.len()) - first + used.start;
            let end = rows.end.clamp(first, first + used.len()) - first + used.start;
            let (now, later) = rest.split_at_mut((end - start) * cols.len());
            self.file.read_columns(start..end, cols.clone(), now)?;
            (first, rest) = (first + used.len(), later);
        }
        Ok(())
    }

    fn read_f64(&self) -> Result<Option<Array2<f64>>> {
        Ok(None)
    }
}

/// Measured BOLD, which is cleaned a story at a time.
struct Measured(StoryBold);

impl MatrixTiles for Measured {
    fn place(&self) -> String {
        self.0.path().display().to_string()
    }

    fn n_rows(&self) -> usize {
        self.0.n_rows()
    }

    fn n_cols(&self) -> usize {
        self.0.n_cols()
    }

    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()> {
        debug_assert_eq!(rows, 0..self.0.n_rows(), "scores read whole stories");
        self.0.read(cols, out)
    }

    fn read_f64(&self) -> Result<Option<Array2<f64>>> {
        Ok(None)
    }
}

/// Sums of a voxel: n, Σp, Σp², Σy, Σy², Σpy, both sides shifted by their first value.
#[derive(Debug, Clone, Copy, Default)]
struct Sums([f64; 6]);

impl Sums {
    fn add(&mut self, p: f64, y: f64) {
        let more = [1.0, p, p * p, y, y * y, p * y];
        self.0.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, x)| *sum += x);
    }

    fn r(&self) -> f32 {
        let [n, p, pp, y, yy, py] = self.0;
        pearson_from_sums(n, p, pp, y, yy, py) as f32
    }
}

/// Predicted and measured BOLD, of one shape.
pub type Pair<'a> = (&'a dyn MatrixTiles, &'a dyn MatrixTiles);

/// r of every voxel over all pairs, `(n_voxels)`, and within each, `(n_pairs, n_voxels)`. A voxel
/// that is constant, or NaN or infinite anywhere, has no r: NaN.
/// # Errors
/// Those of reading.
pub fn correlations(pairs: &[Pair<'_>], n_voxels: usize) -> Result<(Vec<f32>, Vec<f32>)> {
    let mut total = vec![f32::NAN; n_voxels];
    let mut within = vec![f32::NAN; pairs.len() * n_voxels];
    let (mut p, mut y) = (Vec::new(), Vec::new());
    for start in (0..n_voxels).step_by(TILE_VOXELS) {
        let cols = start..(start + TILE_VOXELS).min(n_voxels);
        let width = cols.len();
        let mut all = vec![Sums::default(); width];
        let mut shift: Option<Vec<(f64, f64)>> = None;
        for (index, (predicted, bold)) in pairs.iter().enumerate() {
            for (matrix, values) in [(predicted, &mut p), (bold, &mut y)] {
                values.resize(matrix.n_rows() * width, 0f32);
                matrix.read_columns(0..matrix.n_rows(), cols.clone(), values)?;
            }
            let both = || p.iter().zip(&y).map(|(&p, &y)| (f64::from(p), f64::from(y)));
            let shift = shift.get_or_insert_with(|| both().take(width).collect());
            let mut own = vec![Sums::default(); width];
            for (v, (p, y)) in both().enumerate() {
                let (p0, y0) = shift[v % width];
                own[v % width].add(p - p0, y - y0);
            }
            let within = &mut within[index * n_voxels..][cols.clone()];
            for ((own, all), r) in own.iter().zip(&mut all).zip(within) {
                *r = own.r();
                all.merge(own);
            }
        }
        total[cols].iter_mut().zip(&all).for_each(|(r, sums)| *r = sums.r());
    }
    Ok((total, within))
}
