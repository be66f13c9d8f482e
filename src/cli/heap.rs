//! One setting of the system's allocator, without which a run keeps memory that it freed.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// glibc's variable, read when a program starts and never again.
const VARIABLE: &str = "MALLOC_MMAP_THRESHOLD_";
/// Where glibc starts: blocks of this size and more go back to the system when they are freed.
const THRESHOLD_BYTES: &str = "131072";

/// Starts this program once more, in the same process, with the threshold held at its start.
///
/// Left alone, glibc raises the threshold to the largest block freed so far, up to 32 MiB: the
/// matrices of the preparation then stay in the process, in pieces, one heap a thread, while the
/// tiles take theirs. `scripts/study-memory` (20,000 voxels, 30 stories): 381 MiB without this, 376
/// to 398 with twice the stories; 276 to 282 and 290 to 295 with it, in equal CPU time. Where the variable is set
/// already, or the program cannot be started again, nothing happens: results do not depend on it.
pub fn fix_threshold() {
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut args = std::env::args_os();
    let Some(name) = args.next() else { return };
    let mut again = Command::new("/proc/self/exe");
    again.arg0(name).args(args).env(VARIABLE, THRESHOLD_BYTES);
    let _not_started = again.exec();
}
