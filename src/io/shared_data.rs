//! Real files for tests, where this machine has them.

use std::path::PathBuf;

/// The path of a file under `../shared/data`, or `None` after a loud line on stderr.
pub(crate) fn path(relative: &str) -> Option<PathBuf> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join("shared/data").join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {relative} is not under ../shared/data");
    None
}
