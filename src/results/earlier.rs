//! What an earlier run left in the output folder.

use std::fs;
use std::path::Path;

use super::folder::RunFolder;
use super::hash::{InputHash, changed_files, difference};
use super::names::{INPUTS, RUN, SUMMARY};
use super::{read_json, record, tables};
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::report::ScoreRow;
use crate::report::record::RunInfo;
use crate::report::rows::ScoreLine;
use crate::reporter::Reporter;

/// What a finished run left.
pub struct Earlier {
    /// One row per model.
    pub summary: Vec<ScoreRow>,
    /// run.json.
    pub run: RunInfo,
}

/// The results of the same run, if it was finished before. With `force` a run of other settings or
/// inputs is not finished any more; its models that are still right stay.
///
/// # Errors
/// `Error::Values` (exit 3) if the folder holds results of another run and `--force` is not given.
pub fn finished(
    out: &RunFolder,
    force: bool,
    fingerprint: &str,
    hashes: &[InputHash],
    reporter: &dyn Reporter,
) -> Result<Option<Earlier>> {
    let path = out.file(RUN);
    if !path.exists() {
        return Ok(None);
    }
    // A run.json that cannot be read is another run's.
    let run = record::read(out).unwrap_or_default();
    if run.fingerprint == fingerprint {
        let summary = tables::read::<ScoreLine>(&out.file(SUMMARY)).ok();
        let summary = summary.map(|lines| lines.into_iter().map(ScoreRow::from).collect());
        return Ok(summary.map(|summary| Earlier { summary, run }));
    }
    let out = out.path().display().to_string();
    let why = difference(&run.inputs, hashes);
    if force {
        reporter.note(&format!("replacing {out} ({why})"));
        fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        return Ok(None);
    }
    Err(Error::Values {
        place: out,
        problem: format!("holds results of another run ({why})"),
        hint: "give another --out, or --force to replace them".into(),
    })
}

/// Makes the folder of unfinished work, and says which files are not what they were when an earlier
/// run stopped. What was made from them is fitted again: each model knows what it depends on.
/// # Errors
/// `Error::Write`.
pub fn start_partial(out: &RunFolder, hashes: &[InputHash], reporter: &dyn Reporter) -> Result<()> {
    let folder = out.partial();
    let path = folder.join(INPUTS);
    let old: Option<Vec<InputHash>> = read_json(&path, record::MAX_BYTES).ok();
    if let Some(changed) = old.and_then(|old| changed_files(&old, hashes)) {
        reporter.note(&format!("{changed} since the last run: what depends on it is fitted again"));
    }
    fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder, source })?;
    write_json(&path, &hashes)
}

/// Results must not lie among the stories' tables: the next run would read them as stories.
/// # Errors
/// `Error::Usage`.
pub fn check_place(out: &Path, stories: &Path) -> Result<()> {
    let is_same = stories.is_dir()
        && out.canonicalize().is_ok_and(|out| stories.canonicalize().is_ok_and(|s| s == out));
    match is_same {
        false => Ok(()),
        true => Err(Error::Usage {
            place: "--out".into(),
            problem: format!("{} is the folder that the stories are read from", out.display()),
            hint: "give another folder; one inside of it will do".into(),
        }),
    }
}
