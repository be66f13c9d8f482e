//! A finished run's folder, read for the report.

use std::path::{Path, PathBuf};

use super::folder::RunFolder;
use super::names::{
    BASELINE, BEYOND, CEILINGS, COMPARISONS, CV_CURVE, DELAYS, LEARNING_CURVE, ModelId, OVERLAP,
    PREFERRED, SIGNIFICANCE, STABILITY, STABILITY_STORIES, STORIES, STORY_CORRELATION,
    STORY_PROPERTIES, SUMMARY, SWEEP, TEST_CORRELATION, TRAIN_LOG,
};
use super::tables::{read as rows, read_cells, read_if_there as optional};
use super::{brain, broken, read_json, record};
use crate::error::{Error, Result};
use crate::io::npy::NpyFile;
use crate::report::ScoreRow;
use crate::report::data::{Extremes, Results, VoxelScores};
use crate::report::rows::ScoreLine;

/// Reads everything that the report shows.
///
/// # Errors
/// `Error::Values` if there is no finished run or a file does not fit; `Error::Read` and
/// `Error::Npy` for files that are missing or damaged: all exit 3.
pub fn load(out: &Path) -> Result<Results> {
    let out = &RunFolder::at(out);
    let run = record::read(out)?;
    let summary = read_scores(&out.file(SUMMARY))?;
    if summary.is_empty() {
        return Err(broken(&out.file(SUMMARY), "holds no model"));
    }
    let stories = read_scores(&out.file(STORIES))?;
    let mut results = Results {
        run,
        summary,
        stories,
        significance: optional(&out.file(SIGNIFICANCE))?,
        comparisons: optional(&out.file(COMPARISONS))?,
        stability: optional(&out.file(STABILITY))?,
        stability_stories: optional(&out.file(STABILITY_STORIES))?,
        overlap: optional(&out.file(OVERLAP))?,
        learning: optional(&out.file(LEARNING_CURVE))?,
        noise_ceiling: optional(&out.file(CEILINGS))?,
        beyond: optional(&out.file(BEYOND))?,
        properties: optional(&out.file(STORY_PROPERTIES))?,
        delays: optional(&out.file(DELAYS))?,
        preferred: optional(&out.file(PREFERRED))?,
        cv_curve: optional(&out.file(CV_CURVE))?,
        ..Results::default()
    };
    let folders = encoder_folders(out);
    if let Some(folder) = folders.iter().find(|folder| folder.join(SWEEP).is_file()) {
        results.sweep = Some(read_cells(&folder.join(SWEEP))?);
        results.sweep_points = rows(&folder.join(SWEEP))?;
        results.unigram_loss = read_baseline(&folder.join(BASELINE))?;
    }
    for folder in folders.iter().filter(|folder| folder.join(TRAIN_LOG).is_file()) {
        let name = match folder == out.path() {
            true => "encoder".to_owned(),
            false => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        results.train_logs.push((name, rows(&folder.join(TRAIN_LOG))?));
    }
    results.voxels =
        results.summary.iter().map(|row| read_voxels(out, row)).collect::<Result<_>>()?;
    results.extremes = extremes(out, &results)?;
    results.brains = brain::read(out, &results)?;
    Ok(results)
}

/// Rows of summary.csv or stories.csv, of models whose names can name a folder.
fn read_scores(path: &Path) -> Result<Vec<ScoreRow>> {
    let row = |line: ScoreLine| {
        let id = ModelId::new(&line.subject, &line.space, line.lagged);
        id.map(|_| ScoreRow::from(line)).map_err(|bad| broken(path, bad))
    };
    rows::<ScoreLine>(path)?.into_iter().map(row).collect()
}

/// Where encoders may have left their logs: the folder, those in it, and those of a run's encoders;
/// in the order of their names.
fn encoder_folders(out: &RunFolder) -> Vec<PathBuf> {
    let mut found = vec![out.path().to_owned()];
    for parent in [out.path().to_owned(), out.encoders()] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

/// `unigram_loss` of baseline.json; nothing where there is no such file.
fn read_baseline(path: &Path) -> Result<Option<f64>> {
    if !path.exists() {
        return Ok(None);
    }
    let value: serde_json::Value = read_json(path, record::MAX_BYTES)?;
    let loss = value["unigram_loss"].as_f64();
    loss.map(Some).ok_or_else(|| broken(path, "has no number unigram_loss"))
}

fn model_file(out: &RunFolder, row: &ScoreRow, name: &str) -> Result<PathBuf> {
    Ok(out.model(&ModelId::new(&row.subject, &row.space, row.lagged)?).join(name))
}

fn read_voxels(out: &RunFolder, row: &ScoreRow) -> Result<VoxelScores> {
    let path = model_file(out, row, TEST_CORRELATION)?;
    let file = NpyFile::open(&path)?;
    let n = file.n_elements();
    if n != row.scores.n_voxels {
        return Err(Error::Shape {
            what: path.display().to_string(),
            expected: format!("{} voxels, as in summary.csv", row.scores.n_voxels),
            got: n.to_string(),
            hint: "the folder holds files of different runs: run the study again".into(),
        });
    }
    let r = file.read_f64()?.iter().map(|&r| r as f32).collect();
    Ok(VoxelScores {
        subject: row.subject.clone(),
        space: row.space.clone(),
        lagged: row.lagged,
        r,
    })
}

/// The best and the worst story of each subject's best model.
fn extremes(out: &RunFolder, results: &Results) -> Result<Vec<Extremes>> {
    let mut found = Vec::new();
    for subject in results.subjects() {
        let Some(best) = results.best(subject) else { continue };
        let stories = results.stories_of(subject, &best.space, best.lagged);
        let scored: Vec<&str> = stories
            .iter()
            .filter(|row| !row.scores.mean.is_nan())
            .filter_map(|row| row.story.as_deref())
            .collect();
        let [first, .., last] = scored[..] else { continue };
        let path = model_file(out, best, STORY_CORRELATION)?;
        let file = NpyFile::open(&path)?;
        let (_, test) = results.run.stories_of(subject);
        if file.n_rows() != test.len() || file.n_cols() != best.scores.n_voxels {
            return Err(Error::Shape {
                what: path.display().to_string(),
                expected: format!("{} test stories × {} voxels", test.len(), best.scores.n_voxels),
                got: format!("{:?}", file.shape()),
                hint: "the folder holds files of different runs: run the study again".into(),
            });
        }
        let row = |story: &str| -> Result<(String, Vec<f32>)> {
            let unknown = || broken(&path, format!("story \"{story}\" is not in run.json's split"));
            let at = test.iter().position(|name| name == story).ok_or_else(unknown)?;
            let mut r = vec![0f32; file.n_cols()];
            file.read_columns(at..at + 1, 0..file.n_cols(), &mut r)?;
            Ok((story.to_owned(), r))
        };
        found.push(Extremes {
            subject: subject.to_owned(),
            model: results.model_label(&best.space, best.lagged),
            best: row(first)?,
            worst: row(last)?,
        });
    }
    Ok(found)
}
