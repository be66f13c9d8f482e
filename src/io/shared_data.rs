//! Real files for tests, where this machine has them.

use std::path::PathBuf;

/// The path of a file in the folder of real data, which `VOXELCAST_DATA` names (`../shared/data`
/// beside the checkout without it), or `None` after a loud line on stderr.
pub(crate) fn path(relative: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let path = std::env::var_os("VOXELCAST_DATA").map_or_else(beside, PathBuf::from).join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: no real data at {}; VOXELCAST_DATA names their folder", path.display());
    None
}
