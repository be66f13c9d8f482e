//! The output folder: whose it is, and what an earlier run left in it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::fingerprint::{InputHash, difference};
use super::run::StudyResults;
use crate::error::{Error, Result};
use crate::pipeline::output::write_bytes;

/// The results of the same run, if it was finished before.
///
/// # Errors
/// `Error::Values` (exit 3) if the folder holds results of another run and `--force` is not given.
pub fn finished(
    out: &Path,
    force: bool,
    fingerprint: &str,
    hashes: &[InputHash],
) -> Result<Option<StudyResults>> {
    let path = out.join("run.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    if document["fingerprint"] == *fingerprint {
        let summary = fs::read_to_string(out.join("summary.json")).unwrap_or_default();
        if let Ok(summary) = serde_json::from_str(&summary) {
            let run = Box::new(document);
            return Ok(Some(StudyResults::Finished { summary, run, was_done: true }));
        }
        return Ok(None);
    }
    if force {
        let _ = fs::remove_file(&path);
        return Ok(None);
    }
    let old: Vec<InputHash> =
        serde_json::from_value(document["inputs"].clone()).unwrap_or_default();
    Err(Error::Values {
        place: out.display().to_string(),
        problem: format!("holds results of another run ({})", difference(&old, hashes)),
        hint: "give another --out, or --force to replace them".into(),
    })
}

/// Unfinished tiles of other settings or inputs are thrown away; those of this run are kept.
pub fn start_partial(out: &Path, fingerprint: &str) -> Result<()> {
    let folder = out.join(".partial");
    let path = folder.join("fingerprint");
    if fs::read_to_string(&path).is_ok_and(|old| old == fingerprint) {
        return Ok(());
    }
    let fail = |source| Error::Write { path: folder.clone(), source };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(fail)?;
    }
    fs::create_dir_all(&folder).map_err(fail)?;
    write_bytes(&path, fingerprint.as_bytes())
}

/// Takes the folder for this process; it is free again when the file is dropped.
pub fn lock_folder(out: &Path) -> Result<fs::File> {
    use std::io::{Seek, Write};
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    let path = out.join(".lock");
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
