//! `voxelcast show`: what a finished run was and what came out, in ten lines.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::report::ScoreRow;
use crate::report::data::{Results, Significance};
use crate::report::figures::scale::{count, short};
use crate::report::record::RunInfo;
use crate::report::rows::ScoreLine;
use crate::results::names::{SIGNIFICANCE, STUDY, SUMMARY, model_folder};
use crate::results::{RunFolder, record, tables};

/// A finished run.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// Its folder.
    pub folder: PathBuf,
    /// run.json.
    pub run: RunInfo,
    /// summary.csv.
    pub summary: Vec<ScoreRow>,
    /// The study to run again, where the folder has it.
    pub study: Option<PathBuf>,
    #[serde(skip)]
    significance: Vec<Significance>,
}

/// Reads what is shown of a run.
/// # Errors
/// `Error::Values` where no run was finished; those of the files.
pub fn show(folder: &Path) -> Result<Shown> {
    let folder = RunFolder::at(folder);
    let run = record::read(&folder)?;
    let summary: Vec<ScoreLine> = tables::read(&folder.file(SUMMARY))?;
    let significance = tables::read_if_there(&folder.file(SIGNIFICANCE))?;
    let study = Some(folder.file(STUDY)).filter(|path| path.is_file());
    let summary = summary.into_iter().map(ScoreRow::from).collect();
    Ok(Shown { folder: folder.path().to_owned(), run, summary, study, significance })
}

impl Shown {
    /// A name and a sentence per line.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let run = &self.run;
        let seconds = run.timings_s.get("total").copied().unwrap_or(0.0);
        let program = format!(
            "voxelcast {} ({}) on {}, {} threads, {seconds:.1} s, {} MiB",
            run.version,
            run.commit,
            run.device,
            run.threads,
            run.peak_memory_bytes >> 20
        );
        let subjects = run.subjects.0.iter();
        let subjects = listed(subjects.map(|(name, n)| format!("{name} ({} voxels)", count(*n))));
        let own = match run.subject_splits.is_empty() {
            true => "",
            false => " over all subjects, each with its own",
        };
        let stories = format!(
            "{} to train on in {} folds ({} TRs), {} to test ({} TRs): {}{own}; seed {}",
            run.split.train.len(),
            run.folds.len(),
            count(run.n_train_trs),
            run.split.test.len(),
            count(run.n_test_trs),
            listed(run.split.test.iter().cloned()),
            run.seed
        );
        let again = match &self.study {
            Some(study) => format!("voxelcast run {}", study.display()),
            None => format!("the folder has no {STUDY}"),
        };
        vec![
            ("run", program),
            ("subjects", subjects),
            ("stories", stories),
            ("design", pairs(&run.study["design"], &["variants", "alignment_check"])),
            ("spaces", self.spaces()),
            ("ridge", self.ridge()),
            ("best", self.best()),
            ("warnings", counted(&run.warnings)),
            ("notes", counted(&run.notes)),
            ("again", again),
        ]
    }

    fn spaces(&self) -> String {
        let settings = |name: &str| {
            let all = self.run.study["space"].as_array();
            let own = all.into_iter().flatten().find(|space| space["name"] == *name);
            own.map_or(String::new(), |own| pairs(own, &["name", "kind", "fit"]))
        };
        listed(self.run.spaces.iter().map(|space| {
            let kind = if space.kind == space.name { "" } else { space.kind.as_str() };
            let own = settings(&space.name);
            let parts = [kind, &format!("{} columns", count(space.n_features)), &own];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("{} ({})", space.name, parts.join(", "))
        }))
    }

    fn ridge(&self) -> String {
        let alphas = match (self.run.alphas.first(), self.run.alphas.last()) {
            (Some(first), Some(last)) => {
                format!("{} alphas from {first:e} to {last:e}, ", self.run.alphas.len())
            }
            _ => String::new(),
        };
        let mut taken: Vec<String> =
            self.run.models.iter().flat_map(|m| m.route).map(|route| route.to_string()).collect();
        taken.sort_unstable();
        taken.dedup();
        let settings = pairs(&self.run.study["ridge"], &["alphas"]);
        format!("{alphas}{settings}; taken: {}", taken.join(", "))
    }

    /// The best model of each subject.
    fn best(&self) -> String {
        let results = Results {
            summary: self.summary.clone(),
            significance: self.significance.clone(),
            ..Results::default()
        };
        listed(results.subjects().into_iter().map(|subject| {
            let Some(best) = results.best(subject) else { return format!("{subject}: no score") };
            let above = results.significance_of(best).map_or(String::new(), |found| {
                format!(", {} voxels above chance", count(found.n_significant))
            });
            format!(
                "{subject}: {}, mean r {}, top 1 % from {}{above}",
                model_folder(&best.space, best.lagged),
                short(best.scores.mean),
                short(best.scores.top1)
            )
        }))
    }
}

/// `key value` of a table, without some of its keys and without those that are null.
fn pairs(table: &Value, without: &[&str]) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let shown = table.as_object().into_iter().flatten();
    let shown = shown.filter(|(key, value)| !without.contains(&key.as_str()) && !value.is_null());
    shown.map(|(key, value)| format!("{key} {}", text(value))).collect::<Vec<_>>().join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The first few, with semicolons.
fn listed(all: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let n = all.len();
    let mut shown: Vec<String> = all.take(SHOWN).collect();
    if n > SHOWN {
        shown.push(format!("{} more", n - SHOWN));
    }
    shown.join("; ")
}

/// How many sentences, and the first.
fn counted(sentences: &[String]) -> String {
    match sentences {
        [] => "none".into(),
        [one] => one.clone(),
        [first, ..] => format!("{}: {first}; …", sentences.len()),
    }
}
