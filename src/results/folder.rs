//! A results folder: where everything in it is.

use std::fs;
use std::path::{Path, PathBuf};

use super::names::{CACHE, ENCODERS, MODELS, ModelId, Name, PARTIAL, PREFERENCES, SHARDS};

/// A results folder. Paths below it come from here alone, and only from checked names: nothing
/// that a file says can lead out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The folder at a path, which may not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file of [`names`](super::names) that stands in the folder itself.
    pub fn file(&self, name: &'static str) -> PathBuf {
        self.0.join(name)
    }

    /// `models/`.
    pub fn models(&self) -> PathBuf {
        self.0.join(MODELS)
    }

    /// `models/SUBJECT/`.
    pub fn subject(&self, subject: &Name) -> PathBuf {
        self.models().join(subject.as_str())
    }

    /// `models/SUBJECT/SPACE[-lagged]/`.
    pub fn model(&self, id: &ModelId) -> PathBuf {
        self.models().join(id.path())
    }

    /// `preferred/SUBJECT/SPACE[-lagged]/`.
    pub fn preferred(&self, id: &ModelId) -> PathBuf {
        self.0.join(PREFERENCES).join(id.path())
    }

    /// `encoders/`.
    pub fn encoders(&self) -> PathBuf {
        self.0.join(ENCODERS)
    }

    /// `encoders/SPACE/`.
    pub fn encoder(&self, space: &Name) -> PathBuf {
        self.encoders().join(space.as_str())
    }

    /// What later runs may use again.
    pub fn cache(&self) -> PathBuf {
        self.0.join(CACHE)
    }

    /// Unfinished work.
    pub fn partial(&self) -> PathBuf {
        self.0.join(PARTIAL)
    }

    /// Unfinished work of one subject.
    pub fn partial_subject(&self, subject: &Name) -> PathBuf {
        self.partial().join(subject.as_str())
    }

    /// All shards of a study.
    pub fn shards(&self) -> PathBuf {
        self.0.join(SHARDS)
    }

    /// Shard `i` of `n`: a results folder of its own, with some voxels of some subjects.
    pub fn shard(&self, i: usize, n: usize) -> Self {
        Self(self.shards().join(format!("{i}-of-{n}")))
    }
}

/// Removes what killed runs left under temporary names. Only the holder of the lock may.
pub fn remove_leftovers(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(PARTIAL) && name.len() > PARTIAL.len() {
            let _ = fs::remove_file(entry.path());
        }
    }
}
