//! The lock of a folder: one process writes to it at a time.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::names::LOCK;
use crate::error::{Error, Result};
use crate::reporter::Reporter;

/// Takes the folder for this process; it is free again when the file is dropped.
pub fn lock_folder(out: &Path) -> Result<fs::File> {
    lock_file(out, LOCK)
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
