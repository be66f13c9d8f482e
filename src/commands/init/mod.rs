//! `voxelcast init`: a ready STUDY.toml from what lies in a folder.
//!
//! `files` walks the folder, `find` says what is there (`bids` in a BIDS derivative), `compose`
//! writes the text.

mod bids;
mod compose;
mod files;
mod find;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::io::output::PartialFile;
use crate::stimuli::{has_phones, read_stories};
use crate::study_file;
use files::{Files, Words};
use find::find_files;

/// Whose layout the folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// OpenNeuro's ds003020: TextGrids, respdict.json, a folder of HDF5 a subject.
    Ds003020,
    /// The lab's: raw_text.pkl (or a table of words), a folder of `.npy` a subject.
    Lab,
    /// A BIDS derivative of volumes, with words in stimuli/ or in events.
    Bids,
}

/// What was found, and what was written.
#[derive(Debug, Clone, Serialize)]
pub struct InitSummary {
    /// The new file.
    pub study: PathBuf,
    /// One sentence a thing.
    pub found: Vec<String>,
    /// What is usually there and is not, with what that means.
    pub not_found: Vec<String>,
    /// Stories with words and BOLD: of every subject, or of some where subjects heard different ones.
    pub n_stories: usize,
}

/// Looks through `folder` and writes a commented STUDY.toml to `out`, which must not exist.
///
/// `subjects`: folders that are subjects, whatever they are called; those that are called so if none.
/// # Errors
/// `Error::Usage` if `out` exists; `Error::Values` (exit 3) if there are no words, no BOLD, or no
/// three stories with both; those of the words' files.
pub fn init(
    dataset: Dataset,
    folder: &Path,
    out: &Path,
    subjects: &[String],
) -> Result<InitSummary> {
    if out.exists() {
        return Err(already_there(out));
    }
    let files = find_files(dataset, folder, subjects)?;
    match &files.words {
        Words::There(words) => compose_study(dataset, words.clone(), files, out),
        Words::Made(text) => {
            let words = out.with_extension("words.tsv");
            write_new(&words, text)?;
            let made = compose_study(dataset, words.clone(), files, out);
            if made.is_err() {
                // Nothing is left of what failed; it did not exist before.
                let _ = std::fs::remove_file(&words);
            }
            made
        }
    }
}

fn compose_study(
    dataset: Dataset,
    words: PathBuf,
    files: Files,
    out: &Path,
) -> Result<InitSummary> {
    let (stories, _) = read_stories(&words)?;
    let mut names: Vec<String> = stories.iter().map(|story| story.name.clone()).collect();
    names.sort();
    let has_tr_times = stories.iter().all(|story| story.tr_times_s.is_some());
    let has_phones = stories.iter().all(has_phones);
    let plan = compose::plan(dataset, files, words, names, (has_tr_times, has_phones))?;
    let first_trs = plan.first_trs(out);
    if let Some((path, table)) = &first_trs {
        write_new(path, table)?;
    }
    let table = first_trs.as_ref().map(|(path, _)| path.as_path());
    if let Err(error) = write_study(dataset, &plan, table, out) {
        // Nothing is left of what failed; it did not exist before.
        let _ = table.map(std::fs::remove_file);
        return Err(error);
    }
    Ok(InitSummary {
        study: out.to_owned(),
        n_stories: plan.n_paired,
        found: plan.found,
        not_found: plan.not_found,
    })
}

fn write_study(
    dataset: Dataset,
    plan: &compose::Plan,
    first_trs: Option<&Path>,
    out: &Path,
) -> Result<()> {
    let base = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let text = compose::text(dataset, plan, first_trs, base)?;
    // What is written must be a study: a fault here is ours.
    study_file::from_text(&text, base, &out.display().to_string())?;
    write_new(out, &text)
}

/// Writes a file that is not there yet, whole or not at all; never replaces one that comes in
/// between.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let partial = PartialFile::create(path)?;
    partial.file().write_all(text.as_bytes()).map_err(|source| partial.write_error(source))?;
    partial.finish_new().map_err(|error| match error {
        Error::Write { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            already_there(path)
        }
        other => other,
    })
}

fn already_there(path: &Path) -> Error {
    Error::Usage {
        place: "--out".into(),
        problem: format!("{} is there already and is not overwritten", path.display()),
        hint: "give another --out, or move it away".into(),
    }
}
