//! A finished run's folder, read for the report.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::io::npy::NpyFile;
use crate::report::ScoreRow;
use crate::report::data::{Cells, Extremes, Results, RunInfo, VoxelScores, folder};
use crate::results::brain;
use crate::scoring::Summary;

/// Reads everything that the report shows.
///
/// # Errors
/// `Error::Values` if there is no finished run or a file does not fit; `Error::Read` and
/// `Error::Npy` for files that are missing or damaged: all exit 3.
pub fn load(out: &Path) -> Result<Results> {
    let run = read_run(out)?;
    let summary = read_scores(&out.join("summary.csv"))?;
    if summary.is_empty() {
        return Err(broken(&out.join("summary.csv"), "holds no model".into()));
    }
    let stories = read_scores(&out.join("stories.csv"))?;
    let mut results = Results {
        run,
        summary,
        stories,
        significance: optional(&out.join("significance.csv"))?,
        comparisons: optional(&out.join("comparisons.csv"))?,
        stability: optional(&out.join("stability.csv"))?,
        stability_stories: optional(&out.join("stability_stories.csv"))?,
        overlap: optional(&out.join("overlap.csv"))?,
        learning: optional(&out.join("learning_curve.csv"))?,
        noise_ceiling: optional(&out.join("noise_ceiling.csv"))?,
        properties: optional(&out.join("story_properties.csv"))?,
        cv_curve: optional(&out.join("cv_curve.csv"))?,
        ..Results::default()
    };
    if let Some(folder) = encoder_folders(out).into_iter().find(|f| f.join("sweep.csv").is_file()) {
        results.sweep = optional_cells(&folder.join("sweep.csv"))?;
        results.sweep_points = optional(&folder.join("sweep.csv"))?;
        results.unigram_loss = read_baseline(&folder.join("baseline.json"))?;
    }
    for path in train_logs(out) {
        let name = match path.parent() {
            Some(parent) if parent != out => {
                parent.file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            _ => "encoder".to_owned(),
        };
        results.train_logs.push((name, optional(&path)?));
    }
    results.voxels =
        results.summary.iter().map(|row| read_voxels(out, row)).collect::<Result<_>>()?;
    results.extremes = extremes(out, &results)?;
    results.brains = brain::read(out, &results)?;
    Ok(results)
}

fn read_run(out: &Path) -> Result<RunInfo> {
    let path = out.join("run.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Values {
                place: out.display().to_string(),
                problem: "holds no finished run (no run.json)".into(),
                hint: "give the output folder of voxelcast run, after the run has finished".into(),
            });
        }
        Err(source) => return Err(Error::Read { path, source }),
    };
    serde_json::from_str(&text).map_err(|error| broken(&path, error.to_string()))
}

fn broken(path: &Path, problem: String) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "the file is damaged or of another version: run the study again".into(),
    }
}

/// A row of summary.csv or stories.csv.
#[derive(Deserialize)]
struct ScoreLine {
    subject: String,
    space: String,
    lagged: bool,
    story: Option<String>,
    n_voxels: usize,
    n_voxels_used: usize,
    mean: f64,
    median: f64,
    top1: f64,
    top5: f64,
    top1_mean: f64,
    top5_mean: f64,
}

fn read_scores(path: &Path) -> Result<Vec<ScoreRow>> {
    let lines: Vec<ScoreLine> = rows(path)?;
    let row = |line: ScoreLine| ScoreRow {
        subject: line.subject,
        space: line.space,
        lagged: line.lagged,
        story: line.story,
        scores: Summary {
            n_voxels: line.n_voxels,
            n_voxels_used: line.n_voxels_used,
            mean: line.mean,
            median: line.median,
            top1: line.top1,
            top5: line.top5,
            top1_mean: line.top1_mean,
            top5_mean: line.top5_mean,
        },
    };
    Ok(lines.into_iter().map(row).collect())
}

/// The rows of a CSV file, by the names in its header; other columns are left.
fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let file = std::fs::File::open(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    csv::Reader::from_reader(file)
        .deserialize()
        .collect::<Result<Vec<T>, csv::Error>>()
        .map_err(|error| broken(path, error.to_string()))
}

/// The same; nothing where there is no such file.
fn optional<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if path.exists() { rows(path) } else { Ok(Vec::new()) }
}

fn optional_cells(path: &Path) -> Result<Option<Cells>> {
    if !path.exists() {
        return Ok(None);
    }
    let fail = |error: csv::Error| broken(path, error.to_string());
    let mut reader = csv::Reader::from_path(path).map_err(fail)?;
    let header = reader.headers().map_err(fail)?.iter().map(str::to_owned).collect();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        record.map(|record| record.iter().map(str::to_owned).collect())
    };
    let rows = reader.records().map(row).collect::<Result<_, _>>().map_err(fail)?;
    Ok(Some(Cells { header, rows }))
}

/// Where encoders may have left their logs: the folder, those in it, and those of a run's encoders
/// under models/encoder/; in the order of their names.
fn encoder_folders(out: &Path) -> Vec<PathBuf> {
    let mut found = vec![out.to_owned()];
    for parent in [out.to_owned(), out.join("models").join("encoder")] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    found.sort();
    found
}

fn train_logs(out: &Path) -> Vec<PathBuf> {
    let logs = encoder_folders(out).into_iter().map(|folder| folder.join("train_log.csv"));
    logs.filter(|path| path.is_file()).collect()
}

/// `unigram_loss` of baseline.json; nothing where there is no such file.
fn read_baseline(path: &Path) -> Result<Option<f64>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| broken(path, error.to_string()))?;
    let loss = value["unigram_loss"].as_f64();
    loss.map(Some).ok_or_else(|| broken(path, "has no number unigram_loss".into()))
}

fn model_folder(out: &Path, row: &ScoreRow) -> PathBuf {
    out.join("models").join(&row.subject).join(folder(&row.space, row.lagged))
}

fn read_voxels(out: &Path, row: &ScoreRow) -> Result<VoxelScores> {
    let path = model_folder(out, row).join("test_correlation.npy");
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
fn extremes(out: &Path, results: &Results) -> Result<Vec<Extremes>> {
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
        let path = model_folder(out, best).join("story_correlation.npy");
        let file = NpyFile::open(&path)?;
        let test = &results.run.split.test;
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
