//! How much memory there is, and how much was used.

/// Bytes that a process may still take: what the system says is available, or what the control
/// group leaves, whichever is less. A quarter of 4 GiB where neither can be read.
pub fn available_bytes() -> u64 {
    let system = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .and_then(|limit| Some(limit.saturating_sub(number("/sys/fs/cgroup/memory.current")?)));
    [system, group].into_iter().flatten().min().unwrap_or(1 << 30)
}

/// What a thread takes of the address space beside its data: its stack and glibc's arena.
const THREAD_BYTES: u64 = (2 + 64) << 20;
/// The same of a study beside `--memory`: words, designs, files' buffers.
const BESIDE_BYTES: u64 = 64 << 20;

/// Bytes of address space that a limit of the process (`ulimit -v`, RLIMIT_AS) leaves for
/// matrices and tiles once `n_threads` have started; `None` without a limit.
pub fn address_space_left(n_threads: usize) -> Option<u64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current?;
    let used = status_bytes("VmSize:").unwrap_or(0);
    let beside = (n_threads as u64).saturating_mul(THREAD_BYTES).saturating_add(BESIDE_BYTES);
    Some(limit.saturating_sub(used).saturating_sub(beside))
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
