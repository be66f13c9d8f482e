//! Files that are whole or absent: written under a temporary name, synced, renamed at the end.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;

use crate::error::{Error, Result};

/// A file being written beside its final name; dropped unfinished, it is removed.
///
/// The data are on the disk before the rename, which is atomic: a file that has its name is whole,
/// after a power cut too.
#[derive(Debug)]
pub struct PartialFile {
    file: File,
    path: PathBuf,
    final_path: PathBuf,
    keep_on_drop: bool,
    finished: bool,
    /// Written to since it was last synced.
    is_dirty: AtomicBool,
    /// Held while the file is synced: who finds it clean knows that its data have arrived.
    syncing: Mutex<()>,
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
            is_dirty: AtomicBool::new(true),
            syncing: Mutex::new(()),
        })
    }

    /// Goes on with a file left by an earlier run; it is kept when dropped. Whoever writes to it
    /// calls [`mark_written`](Self::mark_written) afterwards.
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
            is_dirty: AtomicBool::new(false),
            syncing: Mutex::new(()),
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

    /// Something was written, which [`sync`](Self::sync) has to bring to the disk.
    pub fn mark_written(&self) {
        self.is_dirty.store(true, Ordering::Release);
    }

    /// Returns when everything that was written before is on the disk.
    /// # Errors
    /// `Error::Write` if the disk refuses.
    pub fn sync(&self) -> Result<()> {
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        sync_data(&self.file).map_err(|source| {
            self.mark_written();
            self.write_error(source)
        })
    }

    /// Hands `n` pieces of `n_bytes` to `take`, the first from `start`, each `stride` bytes after
    /// the one before.
    /// # Errors
    /// `Error::Read` if the file ends before.
    pub fn read_pieces(
        &self,
        start: u64,
        (n, stride): (usize, u64),
        n_bytes: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let mut bytes = vec![0; n_bytes];
        for piece in 0..n as u64 {
            self.file
                .read_exact_at(&mut bytes, start + piece * stride)
                .map_err(|source| Error::Read { path: self.path.clone(), source })?;
            take(&bytes);
        }
        Ok(())
    }

    /// Syncs the file and gives it its final name, replacing what was there.
    /// # Errors
    /// `Error::Write` if either fails; the temporary file is then removed or kept as on drop.
    pub fn finish(mut self) -> Result<()> {
        self.sync()?;
        std::fs::rename(&self.path, &self.final_path).map_err(|e| self.write_error(e))?;
        self.finished = true;
        Ok(())
    }

    /// As [`finish`](Self::finish), but a file that has the name by now is left alone.
    /// # Errors
    /// `Error::Write`, of kind `AlreadyExists` where there is such a file.
    pub fn finish_new(mut self) -> Result<()> {
        self.sync()?;
        // A second name for the file: unlike a rename it never replaces another file.
        let linked = match std::fs::hard_link(&self.path, &self.final_path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                // A file system without links, or none across these names.
                match self.final_path.symlink_metadata() {
                    Ok(_) => Err(ErrorKind::AlreadyExists.into()),
                    Err(_) => {
                        let renamed = std::fs::rename(&self.path, &self.final_path);
                        self.finished = renamed.is_ok();
                        renamed
                    }
                }
            }
            other => other,
        };
        linked.map_err(|source| self.write_error(source))
    }
}

/// Syncs several files, as many at once as there are threads: a file system that has to write its
/// own journal for each does so once for all that are waiting.
/// # Errors
/// As [`PartialFile::sync`].
pub fn sync_all(files: &[&PartialFile]) -> Result<()> {
    files.par_iter().try_for_each(|file| file.sync())
}

/// Brings a file's data to the disk, as far as the file system can.
/// # Errors
/// The system's.
pub fn sync_data(file: &File) -> io::Result<()> {
    able_to(file.sync_data())
}

/// Brings the names in a folder to the disk: a rename in it is durable then.
/// # Errors
/// `Error::Write`.
pub fn sync_folder(folder: &Path) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)
        .and_then(|file| able_to(file.sync_all()))
        .map_err(|source| Error::Write { path: folder.to_owned(), source })
}

/// Some network file systems know no sync of folders; there is nothing better to do on them.
fn able_to(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
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
    fn a_new_file_never_replaces_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        let write = |text: &str| {
            let partial = PartialFile::create(&path).unwrap();
            partial.file().write_all(text.as_bytes()).unwrap();
            partial.finish_new()
        };
        write("first").unwrap();
        assert_eq!(names(dir.path()), ["a.toml"], "no second name is left");
        let Err(Error::Write { source, .. }) = write("second") else { panic!("it was replaced") };
        assert_eq!(source.kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["a.toml"]);
    }

    #[test]
    fn files_are_synced_when_they_were_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..9).map(|i| dir.path().join(format!("{i}"))).collect();
        let files: Vec<PartialFile> =
            paths.iter().map(|path| PartialFile::create(path).unwrap()).collect();
        let is_dirty = |file: &PartialFile| file.is_dirty.load(Ordering::Acquire);
        assert!(files.iter().all(is_dirty));
        sync_all(&files.iter().collect::<Vec<_>>()).unwrap();
        assert!(!files.iter().any(is_dirty));
        files[3].file().write_all_at(b"abcdefgh", 0).unwrap();
        files[3].mark_written();
        assert!(is_dirty(&files[3]));
        let mut read = Vec::new();
        files[3].read_pieces(1, (2, 4), 3, &mut |bytes| read.push(bytes.to_vec())).unwrap();
        assert_eq!(read, [b"bcd", b"fgh"]);
        let beyond = files[3].read_pieces(1, (2, 4), 4, &mut |_| ()).unwrap_err();
        assert_eq!(beyond.exit_code(), 3);
        files.into_iter().for_each(|file| file.finish().unwrap());
        sync_folder(dir.path()).unwrap();
        assert_eq!(names(dir.path()).len(), 9);
        assert_eq!(sync_folder(&dir.path().join("none")).unwrap_err().exit_code(), 1);
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
