//! How much memory there is, and how much was used.

mod cgroup;

use std::collections::HashMap;
use std::path::Path;

use cgroup::group_left_bytes;

use serde::{Deserialize, Serialize};

/// What a command may use; routes are chosen by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Threads.
    pub n_threads: usize,
    /// Memory for matrices and tiles, in bytes.
    pub memory_bytes: u64,
}

/// Bytes that a process may still take: what the system says is available, or what the control
/// groups leave, whichever is less. A quarter of 4 GiB where neither can be read.
pub fn available_bytes() -> u64 {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    });
    [system, group_left_bytes(Path::new("/"))].into_iter().flatten().min().unwrap_or(1 << 30)
}

/// What a thread takes of the address space beside its data: its stack and glibc's arena.
const THREAD_BYTES: u64 = (2 + 64) << 20;
/// The same of a study beside `--memory`: words, designs, files' buffers.
const BESIDE_BYTES: u64 = 64 << 20;
/// Outermost caches of this size where the system does not say.
const CACHE_BYTES: u64 = 64 << 20;

/// A limit of the process on its address space (`ulimit -v`, RLIMIT_AS).
#[derive(Debug, Clone, Copy)]
pub struct AddressSpace {
    /// The limit.
    pub limit_bytes: u64,
    /// What of it the program and its threads take beside matrices and tiles, at most.
    pub beside_bytes: u64,
}

impl AddressSpace {
    /// The limit under which a command with `n_threads` runs; `None` without one.
    ///
    /// Threads are the first one, the pool's and as many that fit tiles. Each reserves for faer's
    /// products twice the outermost caches (private-gemm-x86 0.1.22: `src/lib.rs`), most of which
    /// it never touches; without it the process would abort.
    pub fn limited(n_threads: usize) -> Option<Self> {
        let limit_bytes = rustix::process::getrlimit(rustix::process::Resource::As).current?;
        let used = status_bytes("VmSize:").unwrap_or(0);
        let each = THREAD_BYTES.saturating_add(cache_bytes().saturating_mul(2));
        let threads = (n_threads as u64).saturating_mul(2).saturating_add(1).saturating_mul(each);
        let beside_bytes = used.saturating_add(BESIDE_BYTES).saturating_add(threads);
        Some(Self { limit_bytes, beside_bytes })
    }

    /// What is left for matrices and tiles.
    pub fn left_bytes(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.beside_bytes)
    }
}

/// Bytes of all outermost caches (level 3) of the machine, as faer's products count them.
fn cache_bytes() -> u64 {
    let Ok(cpus) = std::fs::read_dir("/sys/devices/system/cpu") else {
        return CACHE_BYTES;
    };
    // A cache is listed at each core that shares it, with the same list of cores.
    let caches: HashMap<String, u64> = cpus
        .filter_map(|cpu| {
            let cache = cpu.ok()?.path().join("cache/index3");
            let size = std::fs::read_to_string(cache.join("size")).ok()?;
            let kib: u64 = size.trim().strip_suffix('K')?.parse().ok()?;
            let shared = std::fs::read_to_string(cache.join("shared_cpu_list")).ok()?;
            Some((shared, kib.saturating_mul(1024)))
        })
        .collect();
    caches.into_values().reduce(u64::saturating_add).unwrap_or(CACHE_BYTES)
}

/// The largest resident size of this process so far, in bytes; 0 where it cannot be read.
pub fn peak_bytes() -> u64 {
    status_bytes("VmHWM:").unwrap_or(0)
}

/// A size that the system tells of this process.
fn status_bytes(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
}
