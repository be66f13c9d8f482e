//! Hashes of input files, and what changed between two runs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One input and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHash {
    /// As the study names it.
    pub path: String,
    /// Bytes.
    pub n_bytes: u64,
    /// blake3, hexadecimal: of the whole file up to `WHOLE_BYTES`, of its length, time of change,
    /// first and last mebibyte above.
    pub blake3: String,
}

/// Files up to this size are hashed whole; BOLD of a study can be 26 GB, which is read once only.
const WHOLE_BYTES: u64 = 32 << 20;
const SAMPLE_BYTES: usize = 1 << 20;

/// Hashes one file; `label` is what it is called.
/// # Errors
/// `Error::Read`.
pub fn hash_file(path: &Path, label: &str) -> Result<InputHash> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    let n_bytes = about.len();
    let mut hasher = blake3::Hasher::new();
    if n_bytes <= WHOLE_BYTES {
        hasher.update_reader(&file).map_err(fail)?;
    } else {
        let changed =
            about.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        hasher.update(&n_bytes.to_le_bytes());
        hasher.update(&changed.map_or(0, |t| t.as_nanos()).to_le_bytes());
        let mut bytes = vec![0; SAMPLE_BYTES];
        for start in [0, n_bytes - SAMPLE_BYTES as u64] {
            file.read_exact_at(&mut bytes, start).map_err(fail)?;
            hasher.update(&bytes);
        }
    }
    let blake3 = hasher.finalize().to_hex().to_string();
    Ok(InputHash { path: label.to_owned(), n_bytes, blake3 })
}

/// Why two runs are not the same, in words.
pub fn difference(old: &[InputHash], new: &[InputHash]) -> String {
    changed_files(old, new).unwrap_or_else(|| "the settings differ".into())
}

/// The files that are not what they were, in words.
pub fn changed_files(old: &[InputHash], new: &[InputHash]) -> Option<String> {
    let is_other = |hash: &&InputHash, all: &[InputHash]| all.iter().all(|other| other != *hash);
    let changed = new.iter().filter(|now| is_other(now, old));
    let gone = old.iter().filter(|before| new.iter().all(|now| now.path != before.path));
    let names: Vec<&str> = changed.chain(gone).map(|hash| hash.path.as_str()).collect();
    match names.len() {
        0 => None,
        n if n <= 3 => Some(format!("changed: {}", names.join(", "))),
        n => Some(format!("changed: {} and {} more files", names[..3].join(", "), n - 3)),
    }
}
