//! What a result depends on: settings and inputs, hashed, so that a resumed or repeated run knows
//! whether it is the same.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inputs::Inputs;
use crate::error::{Error, Result};
use crate::pipeline::language::MODEL_FILES;
use crate::study::{SpaceKind, Study};

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

/// Hashes of everything the study reads, in the order of its file.
/// # Errors
/// `Error::Read`.
pub fn hash_inputs(study: &Study, inputs: &Inputs) -> Result<Vec<InputHash>> {
    let mut hashes = Vec::new();
    let mut add = |relative: &Path| -> Result<()> {
        let path = study.path(relative);
        let label = relative.display().to_string();
        if path.is_dir() {
            let mut files: Vec<PathBuf> = fs::read_dir(&path)
                .map_err(|source| Error::Read { path: path.clone(), source })?
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_file())
                .collect();
            files.sort();
            for file in files {
                let name = file.file_name().map_or(String::new(), |n| n.to_string_lossy().into());
                hashes.push(hash_file(&file, &format!("{label}/{name}"))?);
            }
        } else if path.is_file() {
            hashes.push(hash_file(&path, &label)?);
        }
        Ok(())
    };
    add(&study.stories)?;
    if let Some(respdict) = &study.respdict {
        add(respdict)?;
    }
    for space in &study.spaces {
        if let SpaceKind::Word2Vec(path) | SpaceKind::Glove(path) = &space.kind {
            add(path)?;
        }
        for name in MODEL_FILES {
            space.kind.model_folder().map_or(Ok(()), |folder| add(&folder.join(name)))?;
        }
    }
    if let Some(tokenizer) = &study.encoder.tokenizer {
        add(tokenizer)?;
    }
    for (subject, (_, pattern)) in inputs.subjects.iter().zip(&study.bold) {
        for (story, file) in inputs.stories.iter().zip(&subject.files) {
            hashes.push(hash_file(file.path(), &pattern.replace("{story}", &story.name))?);
        }
        for file in subject.repeats.iter().flatten() {
            let path = file.path();
            let label = path.strip_prefix(&study.folder).unwrap_or(path).display().to_string();
            hashes.push(hash_file(path, &label)?);
        }
    }
    Ok(hashes)
}

/// The settings as text, without the folder they were read from.
pub fn settings_text(study: &Study) -> String {
    let plain = Study { folder: PathBuf::new(), ..study.clone() };
    format!("{} {plain:?}", env!("CARGO_PKG_VERSION"))
}

/// One hash over settings and inputs.
pub fn combined(settings: &str, inputs: &[InputHash]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(settings.as_bytes());
    for input in inputs {
        hasher.update(input.path.as_bytes());
        hasher.update(input.blake3.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Why two runs are not the same, in words.
pub fn difference(old: &[InputHash], new: &[InputHash]) -> String {
    let changed: Vec<&str> = new
        .iter()
        .filter(|now| old.iter().all(|before| before != *now))
        .map(|now| now.path.as_str())
        .collect();
    match changed.len() {
        0 => "the settings differ".into(),
        n if n <= 3 => format!("changed: {}", changed.join(", ")),
        n => format!("changed: {} and {} more files", changed[..3].join(", "), n - 3),
    }
}
