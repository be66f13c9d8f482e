//! The output folder: whose it is, and what an earlier run left in it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::hash::{InputHash, changed_files, difference};
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::report::ScoreRow;
use crate::reporter::Reporter;

/// What a finished run left.
pub struct Earlier {
    /// One row per model.
    pub summary: Vec<ScoreRow>,
    /// run.json.
    pub run: Value,
}

/// The results of the same run, if it was finished before. With `force` a run of other settings or
/// inputs is not finished any more; its models that are still right stay.
///
/// # Errors
/// `Error::Values` (exit 3) if the folder holds results of another run and `--force` is not given.
pub fn finished(
    out: &Path,
    force: bool,
    fingerprint: &str,
    hashes: &[InputHash],
    reporter: &dyn Reporter,
) -> Result<Option<Earlier>> {
    let path = out.join("run.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    if document["fingerprint"] == *fingerprint {
        let summary = fs::read_to_string(out.join("summary.json")).unwrap_or_default();
        if let Ok(summary) = serde_json::from_str(&summary) {
            return Ok(Some(Earlier { summary, run: document }));
        }
        return Ok(None);
    }
    let old: Vec<InputHash> =
        serde_json::from_value(document["inputs"].clone()).unwrap_or_default();
    if force {
        reporter.note(&format!("replacing {} ({})", out.display(), difference(&old, hashes)));
        fs::remove_file(&path).map_err(|source| Error::Write { path, source })?;
        return Ok(None);
    }
    Err(Error::Values {
        place: out.display().to_string(),
        problem: format!("holds results of another run ({})", difference(&old, hashes)),
        hint: "give another --out, or --force to replace them".into(),
    })
}

/// Makes the folder of unfinished work, and says which files are not what they were when an earlier
/// run stopped. What was made from them is fitted again: each model knows what it depends on.
/// # Errors
/// `Error::Write`.
pub fn start_partial(out: &Path, hashes: &[InputHash], reporter: &dyn Reporter) -> Result<()> {
    let folder = out.join(".partial");
    let path = folder.join("inputs.json");
    let earlier = fs::read_to_string(&path).ok();
    let old: Option<Vec<InputHash>> = earlier.and_then(|text| serde_json::from_str(&text).ok());
    if let Some(changed) = old.and_then(|old| changed_files(&old, hashes)) {
        reporter.note(&format!("{changed} since the last run: what depends on it is fitted again"));
    }
    fs::create_dir_all(&folder).map_err(|source| Error::Write { path: folder, source })?;
    write_json(&path, &hashes)
}

/// Removes what killed runs left under temporary names. Only the holder of the lock may.
pub fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(".partial") && name.len() > ".partial".len() {
            let _ = fs::remove_file(entry.path());
        }
    }
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

/// Takes the folder for this process; it is free again when the file is dropped.
pub fn lock_folder(out: &Path) -> Result<fs::File> {
    lock_file(out, ".lock")
}

/// Waits for a lock that other processes give back by themselves, such as shards of one study.
/// # Errors
/// `Error::Write`, `Error::Interrupted`.
pub fn wait_for_turn(
    folder: &Path,
    name: &str,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<fs::File> {
    let mut is_told = false;
    loop {
        match lock_file(folder, name) {
            Err(Error::Locked { holder, .. }) => {
                if !is_told {
                    reporter
                        .note(&format!("waiting for {holder}, which uses {}", folder.display()));
                }
                is_told = true;
            }
            other => return other,
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn lock_file(out: &Path, name: &str) -> Result<fs::File> {
    use std::io::{Seek, Write};
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    let path = out.join(name);
    let fail = |source| Error::Write { path: path.clone(), source };
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                named => named.to_owned(),
            };
            return Err(Error::Locked { path: out.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => return Err(fail(source)),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("process {} on {}\n", std::process::id(), host.trim());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(fail)?;
    Ok(file)
}
