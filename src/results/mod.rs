//! A results folder: what its files are called, what they hold, and who may write to it.
//!
//! - `names`: every file name once; names of subjects and models that cannot lead out of the folder.
//! - `folder`: where everything is. `lock`: one process at a time. `earlier`: what a run before left.
//! - `mark`: the mark of a finished model. `hash`: hashes of files.
//! - `record`: run.json. `saved`: model.json. `predictions`: predictions.json. `tables`: CSV files.
//! - `brain`: masks and flat maps beside results; NIfTI files.
//! - `load`: a finished run for its report. `page`: the page and figures.
//!
//! Whatever one of these files says, nothing is written, replaced or removed outside the folder that
//! the user gave: paths are made by [`RunFolder`] and [`ModelId`], of checked names alone. The files
//! are as hostile as any input: regular files of limited size, whose numbers have limits.

pub mod brain;
pub mod earlier;
mod folder;
pub mod hash;
mod load;
pub mod lock;
pub mod mark;
pub mod names;
mod page;
pub mod predictions;
pub mod record;
pub mod saved;
pub mod tables;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use folder::{RunFolder, remove_leftovers};
pub use load::load;
pub use names::{ModelId, Name, is_free_name};
pub use page::{Written, write_figures, write_page};

use crate::error::{Error, Result};
use crate::io::input::read_small_text;

/// A file of a results folder that is not what voxelcast writes.
fn broken(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: problem.to_string(),
        hint: "the file is damaged or of another version: run the study again".into(),
    }
}

/// One JSON document.
/// # Errors
/// `Error::Read`; `Error::Values` for a file over the limit, or one that is something else.
pub fn read_json<T: DeserializeOwned>(path: &Path, max_bytes: u64) -> Result<T> {
    let text = read_small_text(path, max_bytes)?;
    serde_json::from_str(&text).map_err(|error| broken(path, error))
}
