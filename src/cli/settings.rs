//! The flags of every command, and from what was typed to what was meant, checked once.

use clap::Args;

use super::console::Volume;
use crate::backend::Scorer;
use crate::backend::device::{self, Device, Precision};
use crate::error::{Error, Result};
use crate::resources::{AddressSpace, available_bytes};
use crate::ridge::folds::Dealt;

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// One JSON document with the results on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Name each step with its shapes and seconds
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Where to compute: auto, cpu, cuda, cuda:N or cuda:N,M
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Products that only denominators of CV scores need, on cuda: f32 or tf32
    #[arg(long, global = true, default_value = "f32", value_name = "PRECISION")]
    pub precision: String,
    /// Threads [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory that matrices and tiles may take, such as 2G or 800M [default: half of what is free]
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
}

/// Flags of every command, checked.
#[derive(Debug, Clone)]
pub struct CommonSettings {
    /// One JSON document on stdout.
    pub json: bool,
    /// How much is said on stderr.
    pub volume: Volume,
    /// The device taken.
    pub device: Device,
    /// The choice was left to the program.
    pub device_is_auto: bool,
    /// The sentence about it.
    pub device_reason: String,
    /// Threads.
    pub n_threads: usize,
    /// Bytes that matrices and tiles may take.
    pub memory_bytes: u64,
}

impl CommonSettings {
    /// Checks the common flags and starts the thread pool.
    /// # Errors
    /// Usage errors for numbers and words, `Error::Device` for a card that is not there.
    pub fn new(args: &Common) -> Result<Self> {
        let precision: Precision = args.precision.parse()?;
        let (device, device_reason) = device::choose(&args.device, precision)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = match args.threads {
            None => cores,
            Some(n @ 1..=1024) => n,
            Some(n) => return Err(usage("--threads", format!("expected 1 to 1024, got {n}"), "")),
        };
        let memory_bytes = memory(args.memory.as_deref(), AddressSpace::limited(n_threads))?;
        // Already built when several commands run in one process: the first size stays.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build_global();
        let volume = match (args.quiet, args.verbose) {
            (true, _) => Volume::Quiet,
            (_, true) => Volume::Verbose,
            _ => Volume::Normal,
        };
        let device_is_auto = args.device == "auto";
        Ok(Self {
            json: args.json,
            volume,
            device,
            device_is_auto,
            device_reason,
            n_threads,
            memory_bytes,
        })
    }
}

/// A usage error.
pub fn usage(place: &str, problem: String, hint: &str) -> Error {
    let hint = if hint.is_empty() { "see --help" } else { hint };
    Error::Usage { place: place.into(), problem, hint: hint.into() }
}

/// Half of what is available, or what was asked for, below a limit of the process.
/// Memory that cannot be had ends the process in the middle of its work, so it is refused here.
fn memory(asked: Option<&str>, space: Option<AddressSpace>) -> Result<u64> {
    let left = space.map_or(u64::MAX, |space| space.left_bytes());
    let wanted = match asked {
        None => available_bytes().min(left) / 2,
        Some(text) => parse_bytes(text)?,
    };
    match space {
        Some(space) if wanted.max(LEAST_BYTES) > left => {
            let wanted = wanted.max(LEAST_BYTES);
            let problem = format!(
                "the limit on the address space (ulimit -v) leaves {} MiB beside threads and \
                 program, expected {} MiB",
                left >> 20,
                wanted >> 20
            );
            let enough = space.beside_bytes.saturating_add(wanted).div_ceil(1024);
            let hint = format!("ulimit -v {enough} is enough, fewer --threads need less of it");
            Err(usage("--memory", problem, &hint))
        }
        _ => Ok(wanted),
    }
}

/// The least that `--memory` takes.
const LEAST_BYTES: u64 = 64 << 20;

/// Bytes from `2G`, `800M`, `64k` or a plain number; powers of 1024.
pub fn parse_bytes(text: &str) -> Result<u64> {
    let fail = || {
        let problem = format!("expected a size such as 2G or 800M, got {text:?}");
        usage("--memory", problem, "at least 64M")
    };
    let trimmed = text.trim().trim_end_matches(['B', 'b']).trim_end_matches('i');
    let (number, unit) = match trimmed.char_indices().last() {
        Some((at, letter)) if letter.is_ascii_alphabetic() => (&trimmed[..at], Some(letter)),
        _ => (trimmed, None),
    };
    let factor: u64 = match unit.map(|letter| letter.to_ascii_lowercase()) {
        None => 1,
        Some('k') => 1 << 10,
        Some('m') => 1 << 20,
        Some('g') => 1 << 30,
        Some('t') => 1 << 40,
        Some(_) => return Err(fail()),
    };
    let number: f64 = number.trim().parse().map_err(|_| fail())?;
    let bytes = number * factor as f64;
    if !bytes.is_finite() || bytes < LEAST_BYTES as f64 || bytes > u64::MAX as f64 / 2.0 {
        return Err(fail());
    }
    Ok(bytes as u64)
}

/// `correlation` or `r2`.
pub fn parse_scorer(place: &str, text: &str) -> Result<Scorer> {
    match text {
        "correlation" => Ok(Scorer::Correlation),
        "r2" => Ok(Scorer::R2),
        _ => Err(usage(place, format!("expected correlation or r2, got {text:?}"), "")),
    }
}

/// `loso`, or a number of folds.
pub fn parse_folds(text: &str) -> Result<Dealt> {
    match (text, text.parse()) {
        ("loso", _) => Ok(Dealt::OneEach),
        (_, Ok(k @ 2..)) => Ok(Dealt::RoundRobin(k)),
        _ => Err(usage("--folds", format!("expected a number ≥ 2 or loso, got {text:?}"), "")),
    }
}

/// True for ridge_utils' convention (√α), false for himalaya's.
pub fn parse_convention(place: &str, text: &str) -> Result<bool> {
    match text {
        "himalaya" => Ok(false),
        "huth" => Ok(true),
        _ => Err(usage(
            place,
            format!("expected himalaya or huth, got {text:?}"),
            "huth squares the grid: ridge_utils' alphas are roots of ours",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_a_number_or_loso() {
        assert_eq!(parse_folds("loso").unwrap(), Dealt::OneEach);
        assert_eq!(parse_folds("2").unwrap(), Dealt::RoundRobin(2));
        for bad in ["", "1", "0", "-3", "2.5", "LOSO", "two"] {
            let error = parse_folds(bad).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
            assert!(error.to_string().contains("--folds: expected a number ≥ 2"));
        }
    }

    #[test]
    fn memory_that_a_limit_does_not_leave_is_refused() {
        let left = |mib: u64| {
            Some(AddressSpace { limit_bytes: (900 + mib) << 20, beside_bytes: 900 << 20 })
        };
        assert_eq!(memory(Some("300M"), left(500)).unwrap(), 300 << 20);
        assert!(memory(None, left(500)).unwrap() <= 250 << 20);
        assert_eq!(memory(Some("8G"), None).unwrap(), 8 << 30);
        for (asked, left, parts) in [
            // 1,401 MiB and 964 MiB, in KiB.
            (Some("501M"), left(500), ["leaves 500 MiB", "expected 501 MiB", "-v 1434624 is"]),
            (None, left(63), ["leaves 63 MiB", "expected 64 MiB", "-v 987136 is enough"]),
        ] {
            let error = memory(asked, left).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            for part in parts {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }

    #[test]
    fn sizes_are_read_in_powers_of_1024() {
        assert_eq!(parse_bytes("2G").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(parse_bytes("800m").unwrap(), 800 << 20);
        assert_eq!(parse_bytes("134217728").unwrap(), 1 << 27);
        for bad in ["", "G", "2X", "-2G", "nanG", "1k", "1e30G"] {
            assert_eq!(parse_bytes(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
