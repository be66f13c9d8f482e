//! Files that are whole or absent: written under a temporary name, renamed at the end.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};

/// A file being written beside its final name; dropped unfinished, it is removed.
///
/// The rename is atomic, so a reader sees the whole file or none. No `fsync`: after a power cut
/// the file may be short, which its reader reports.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    path: PathBuf,
    final_path: PathBuf,
    keep_on_drop: bool,
    finished: bool,
}

impl PartialFile {
    /// Starts an empty file with a unique temporary name in the final file's folder.
    /// # Errors
    /// `Error::Write` if the folder is missing or cannot be written.
    pub fn create(final_path: &Path) -> Result<PartialFile> {
        let name = final_path.file_name().unwrap_or_default().to_string_lossy();
        let folder = match final_path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o666)) // less the umask, as File::create does
            .tempfile_in(folder)
            .map_err(|source| Error::Write { path: final_path.to_owned(), source })?;
        let (file, path) = temporary
            .keep()
            .map_err(|e| Error::Write { path: final_path.to_owned(), source: e.error })?;
        Ok(PartialFile {
            file,
            path,
            final_path: final_path.to_owned(),
            keep_on_drop: false,
            finished: false,
        })
    }

    /// Goes on with a file left by an earlier run; it is kept when dropped.
    /// # Errors
    /// `Error::Write` if `partial_path` cannot be opened for reading and writing.
    pub fn reopen(partial_path: &Path, final_path: &Path) -> Result<PartialFile> {
        let file = File::options()
            .read(true)
            .write(true)
            .open(partial_path)
            .map_err(|source| Error::Write { path: partial_path.to_owned(), source })?;
        Ok(PartialFile {
            file,
            path: partial_path.to_owned(),
            final_path: final_path.to_owned(),
            keep_on_drop: true,
            finished: false,
        })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name the file will have.
    pub fn final_path(&self) -> &Path {
        &self.final_path
    }

    /// Whether the unfinished file stays when this is dropped (for a later run to go on with).
    pub fn set_keep_on_drop(&mut self, keep: bool) {
        self.keep_on_drop = keep;
    }

    /// Wraps a failed write with the final path.
    pub fn write_error(&self, source: std::io::Error) -> Error {
        Error::Write { path: self.final_path.clone(), source }
    }

    /// Gives the file its final name, replacing what was there.
    /// # Errors
    /// `Error::Write` if the rename fails; the temporary file is then removed or kept as on drop.
    pub fn finish(mut self) -> Result<()> {
        std::fs::rename(&self.path, &self.final_path).map_err(|e| self.write_error(e))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.finished && !self.keep_on_drop {
            // Nothing to tell anyone: the run is already failing.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Pretty JSON with a newline at the end.
/// # Errors
/// `Error::Write`.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    write_bytes(path, text.as_bytes())
}

/// The whole content of a file.
/// # Errors
/// `Error::Write`.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = PartialFile::create(path)?;
    partial.file().write_all(bytes).map_err(|source| partial.write_error(source))?;
    partial.finish()
}

/// The whole content of a text file; without a text the file is removed, if it is there.
/// # Errors
/// `Error::Write`.
pub fn write_or_remove(path: &Path, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) => write_bytes(path, text.as_bytes()),
        None => match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Write { path: path.to_owned(), source })
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_finished_file_has_its_name_and_the_usual_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "old").unwrap();
        let partial = PartialFile::create(&path).unwrap();
        partial.file().write_all(b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert!(partial.path().to_string_lossy().ends_with(".partial"));
        partial.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["a.csv"]);
        let usual = dir.path().join("usual");
        File::create(&usual).unwrap();
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&usual));
    }

    #[test]
    fn a_dropped_file_leaves_nothing_unless_it_is_to_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        drop(PartialFile::create(&path).unwrap());
        assert!(names(dir.path()).is_empty());
        let mut partial = PartialFile::create(&path).unwrap();
        partial.set_keep_on_drop(true);
        partial.file().write_all(b"half").unwrap();
        let left = partial.path().to_owned();
        drop(partial);
        let partial = PartialFile::reopen(&left, &path).unwrap();
        drop(partial);
        PartialFile::reopen(&left, &path).unwrap().finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"half");
        assert_eq!(names(dir.path()), ["a.csv"]);
    }

    #[test]
    fn a_missing_folder_is_a_write_error_with_the_final_path() {
        let dir = tempfile::tempdir().unwrap();
        let error = PartialFile::create(&dir.path().join("no/a.npy")).unwrap_err();
        assert!(error.to_string().contains("no/a.npy") && error.exit_code() == 1);
        let error = PartialFile::reopen(&dir.path().join("b"), &dir.path().join("a")).unwrap_err();
        assert_eq!(error.exit_code(), 1);
    }
}
