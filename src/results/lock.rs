//! The lock of a folder: one process writes to it at a time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, io};

use rustix::io::Errno;

use super::names::LOCK;
use crate::error::{Error, Result};
use crate::reporter::Reporter;

/// Whether folders are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locking {
    /// By the operating system's file locks.
    #[default]
    On,
    /// `--no-lock`: whoever runs the program sees to it that no other process uses the folder.
    Off,
}

/// A folder that is locked for this process, until this is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: Option<fs::File>,
}

/// Takes the folder for this process.
/// # Errors
/// `Error::Locked`, `Error::Write`; `Error::Usage` where the file system has no locks.
pub fn lock_folder(out: &Path, locking: Locking) -> Result<FolderLock> {
    lock_file(out, LOCK, locking)
}

/// Waits for a lock that other processes give back by themselves, such as shards of one study.
/// # Errors
/// `Error::Write`, `Error::Interrupted`; `Error::Usage` where the file system has no locks.
pub fn wait_for_turn(
    folder: &Path,
    name: &str,
    locking: Locking,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<FolderLock> {
    let mut is_told = false;
    loop {
        match lock_file(folder, name, locking) {
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

fn lock_file(out: &Path, name: &str, locking: Locking) -> Result<FolderLock> {
    use std::io::{Seek, Write};
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    if locking == Locking::Off {
        return Ok(FolderLock { _file: None });
    }
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
        Err(fs::TryLockError::Error(source)) => return Err(no_lock(path, source)),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("process {} on {}\n", std::process::id(), host.trim());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(fail)?;
    Ok(FolderLock { _file: Some(file) })
}

/// Why a file could not be locked. Lustre without the mount option flock says ENOSYS, other network
/// file systems ENOLCK or EOPNOTSUPP.
fn no_lock(path: PathBuf, source: io::Error) -> Error {
    let of_file_system = [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOTSUP];
    let is_unable =
        of_file_system.iter().any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
    match is_unable {
        false => Error::Write { path, source },
        true => Error::Usage {
            place: path.display().to_string(),
            problem: format!("the file system has no file locks ({source})"),
            hint:
                "write to another file system, have it mounted with locks (Lustre: -o flock), or \
                   give --no-lock and let no other voxelcast use the folder meanwhile"
                    .into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_free_again_when_its_lock_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let lock = lock_folder(folder.path(), Locking::On).unwrap();
        let error = lock_folder(folder.path(), Locking::On).unwrap_err();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        // Without locks nobody is asked and nobody is kept out.
        drop(lock_folder(folder.path(), Locking::Off).unwrap());
        drop(lock);
        lock_folder(folder.path(), Locking::On).unwrap();
    }

    #[test]
    fn a_file_system_without_locks_is_told_from_one_that_refuses() {
        for errno in [Errno::NOSYS, Errno::NOLCK, Errno::OPNOTSUPP] {
            let error = no_lock("out/.lock".into(), errno.into());
            assert_eq!(error.exit_code(), 2);
            let text = error.to_string();
            assert!(text.contains("out/.lock") && text.contains("--no-lock"), "{text}");
        }
        let error = no_lock("out/.lock".into(), Errno::IO.into());
        assert!(error.exit_code() == 1 && !error.to_string().contains("--no-lock"), "{error}");
    }
}
