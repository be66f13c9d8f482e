//! Hashes of files: the one place that reads files for them.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::error::{Error, Result};
use crate::io::input::open_file;
pub use crate::report::record::InputHash;

/// What of a file is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// All of it up to 32 MiB; above, its length, its first and its last mebibyte.
    Ends,
    /// The same, and above 32 MiB its time of change: BOLD of a study can be 26 GB, which is read
    /// once only.
    EndsAndTime,
}

const WHOLE_BYTES: u64 = 32 << 20;
const SAMPLE_BYTES: usize = 1 << 20;

/// Length and blake3 of a file.
/// # Errors
/// `Error::Read`.
pub fn hash(path: &Path, extent: Extent) -> Result<(u64, blake3::Hash)> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let file = open_file(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    let n_bytes = about.len();
    let mut hasher = blake3::Hasher::new();
    if extent == Extent::Whole || n_bytes <= WHOLE_BYTES {
        hasher.update_reader(&file).map_err(fail)?;
        return Ok((hasher.count(), hasher.finalize()));
    }
    hasher.update(&n_bytes.to_le_bytes());
    if extent == Extent::EndsAndTime {
        let changed = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hasher.update(&changed.map_or(0, |time| time.as_nanos()).to_le_bytes());
    }
    let mut bytes = vec![0; SAMPLE_BYTES];
    for start in [0, n_bytes - SAMPLE_BYTES as u64] {
        file.read_exact_at(&mut bytes, start).map_err(fail)?;
        hasher.update(&bytes);
    }
    Ok((n_bytes, hasher.finalize()))
}

/// Hashes one input of a study; `label` is what it is called.
/// # Errors
/// `Error::Read`.
pub fn hash_file(path: &Path, label: &str) -> Result<InputHash> {
    let (n_bytes, hash) = hash(path, Extent::EndsAndTime)?;
    Ok(InputHash { path: label.to_owned(), n_bytes, blake3: hash.to_hex().to_string() })
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

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn large_files_are_known_by_their_ends_and_their_time_where_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let file = File::create(&path).unwrap();
        file.set_len(WHOLE_BYTES + 5).unwrap();
        let at = |extent| hash(&path, extent).unwrap();
        let set_time = |s| {
            file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(s)).unwrap();
            [Extent::Whole, Extent::Ends, Extent::EndsAndTime].map(at)
        };
        let (early, late) = (set_time(1), set_time(2));
        assert_eq!(early[..2], late[..2]);
        assert_ne!(early[2], late[2]);
        file.write_all_at(&[1], WHOLE_BYTES / 2).unwrap();
        assert_ne!(at(Extent::Whole), late[0]);
        assert_eq!(at(Extent::Ends), late[1]);
        file.write_all_at(&[1], WHOLE_BYTES + 4).unwrap();
        assert_ne!(at(Extent::Ends), late[1]);
    }
}
