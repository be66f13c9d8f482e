//! Settings of glibc's allocator: a run gives back what it freed, a training keeps it.

/// Blocks of this size and more go back to the system as soon as they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const THRESHOLD_BYTES: libc::c_int = 128 << 10;

/// Holds malloc's mmap threshold where glibc starts it. Called once, before any thread is started.
///
/// Left alone, glibc raises it to the largest block freed so far, up to 32 MiB: the matrices of the
/// preparation then stay in the process, in pieces, one heap a thread, while the tiles take memory
/// of their own. `scripts/study-memory` shows what that costs. No result depends on it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_back_large_blocks() {
    // SAFETY: mallopt takes two integers and changes one number inside malloc; `main` calls this
    // while there is one thread. A value it refuses (result 0) leaves things as they were.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, THRESHOLD_BYTES) };
}

/// Makes malloc keep what was freed, for trainings: called before any thread is started where a
/// command does nothing else, and where a training begins in one that does more.
///
/// A training step frees every tensor that it made and makes the same ones again in the next step:
/// blocks that go back to the system each time cost a page fault for every 4 KiB, which is about
/// half of a step. No result depends on it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn keep_freed_blocks() {
    // SAFETY: as above where the command line calls this before it builds the thread pool; later as
    // in `give_back_freed_blocks`.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_MAX, 0) };
    // SAFETY: the same.
    let _ = unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX) };
}

/// Ends what [`keep_freed_blocks`] began, while a command goes on: glibc's own values again, and what
/// was kept goes back to the system.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_back_freed_blocks() {
    /// As glibc starts.
    const MOST_MMAPS: libc::c_int = 65_536;
    // SAFETY: as above, but for the moment: threads of the pool are there. Each call holds the lock
    // of the main arena and stores aligned integers that other threads only read: whichever value
    // such a thread sees, old or new, malloc is right with it.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_MAX, MOST_MMAPS) };
    // SAFETY: the same.
    let _ = unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, THRESHOLD_BYTES) };
    // SAFETY: takes the lock of one arena after the other and returns pages that no block uses.
    let _ = unsafe { libc::malloc_trim(0) };
    give_back_large_blocks();
}

/// Other allocators have no such threshold.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_large_blocks() {}

/// As above.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_freed_blocks() {}

/// As above.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_freed_blocks() {}
