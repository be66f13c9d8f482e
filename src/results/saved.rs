//! A saved model: weights.safetensors, and model.json with everything else that a prediction needs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::design::zscore::Scaling;
use crate::error::{Error, Result};

/// What a saved model needs beside its weights to predict.
pub const MODEL: &str = "model.json";
/// The weights: tensors `weights` `(n_coefs, n_voxels)` and `intercept` `(1, n_voxels)`, f32.
pub const WEIGHTS: &str = "weights.safetensors";
/// The `schema` of model.json.
pub const SCHEMA: &str = "voxelcast.model/1";

/// model.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedModel {
    /// [`SCHEMA`].
    pub schema: String,
    /// Of the program that wrote it.
    pub version: String,
    /// Whose BOLD.
    pub subject: String,
    /// Name of the space.
    pub space: String,
    /// With the study's delays, or with delay 0 alone.
    pub lagged: bool,
    /// In TRs; rows of the weights are delay-major.
    pub delays: Vec<i64>,
    /// Whether features run on from one story into the next, as under `huth-stacked`.
    pub delays_cross_stories: bool,
    /// Columns of the weights.
    pub n_voxels: usize,
    /// Rows of the weights.
    pub n_coefs: usize,
    /// Repetition time.
    pub tr_s: f64,
    /// Middle of the first TR.
    pub first_tr_s: f64,
    /// TRs cut, `HEAD:TAIL`.
    pub trim: String,
    /// `story`, `train` or `none`.
    pub zscore: String,
    /// Lobes of the Lanczos window.
    pub lanczos_window: usize,
    /// Lanczos cutoff over the TR rate.
    pub cutoff_mult: f64,
    /// `mid` or `onset`.
    pub time: String,
    /// TRs before the trim of the study's stories.
    pub story_trs: BTreeMap<String, usize>,
    /// Spaces side by side: one, or those of a combination.
    pub parts: Vec<SavedPart>,
}

/// One space of a saved model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPart {
    /// Its name in the study.
    pub name: String,
    /// Columns before delays.
    pub n_features: usize,
    /// What makes a word's row.
    pub features: SavedFeatures,
    /// With `zscore = "train"`: what the training stories say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
}

/// What makes a word's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SavedFeatures {
    /// A bag of words.
    Bow {
        /// Whether words are compared in lower case.
        lowercase: bool,
        /// The word of each column.
        vocabulary: Vec<String>,
    },
    /// word2vec vectors.
    Word2vec(SavedVectors),
    /// GloVe vectors.
    Glove(SavedVectors),
    /// Words per TR.
    WordRate,
    /// A kind that cannot predict on new stories yet.
    NotYet {
        /// As in STUDY.toml.
        name: String,
    },
}

/// A file of word vectors: not copied, but known again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedVectors {
    /// From the model's folder.
    pub path: PathBuf,
    /// Its bytes.
    pub n_bytes: u64,
    /// blake3, hexadecimal: of the whole file up to 32 MiB; of its length, its first and its last
    /// mebibyte above.
    pub blake3: String,
}

const WHOLE_BYTES: u64 = 32 << 20;
const SAMPLE_BYTES: usize = 1 << 20;

impl SavedVectors {
    /// Of a file as it is now; `folder` is that of the model.
    /// # Errors
    /// `Error::Read`.
    pub fn of(path: &Path, folder: &Path) -> Result<Self> {
        let (n_bytes, blake3) = hash_vectors(path)?;
        Ok(Self { path: relative(path, folder), n_bytes, blake3 })
    }

    /// Whether a file is the one that was used.
    /// # Errors
    /// `Error::Read`; `Error::Values` if it is another one.
    pub fn check(&self, path: &Path) -> Result<()> {
        let (n_bytes, blake3) = hash_vectors(path)?;
        if (n_bytes, &blake3) == (self.n_bytes, &self.blake3) {
            return Ok(());
        }
        let short = |hash: &str| hash.chars().take(12).collect::<String>();
        Err(Error::Values {
            place: path.display().to_string(),
            problem: format!(
                "expected the word vectors of the model, {} bytes with blake3 {}…, got {n_bytes} \
                 bytes with {}…",
                self.n_bytes,
                short(&self.blake3),
                short(&blake3)
            ),
            hint: "give the file that the study used, with --vectors".into(),
        })
    }
}

/// Length and hash of a file of vectors, or of the archive that it is in. Unlike the hashes of
/// run.json it does not look at the time of change: a copy is the same file.
fn hash_vectors(path: &Path) -> Result<(u64, String)> {
    let on_disk = path.ancestors().find(|file| file.is_file()).unwrap_or(path);
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(on_disk).map_err(fail)?;
    let n_bytes = file.metadata().map_err(fail)?.len();
    let mut hasher = blake3::Hasher::new();
    if n_bytes <= WHOLE_BYTES {
        hasher.update_reader(&file).map_err(fail)?;
    } else {
        hasher.update(&n_bytes.to_le_bytes());
        let mut bytes = vec![0; SAMPLE_BYTES];
        for start in [0, n_bytes - SAMPLE_BYTES as u64] {
            file.read_exact_at(&mut bytes, start).map_err(fail)?;
            hasher.update(&bytes);
        }
    }
    Ok((n_bytes, hasher.finalize().to_hex().to_string()))
}

/// The way from a folder to a file, both made absolute; the file's own path where there is none.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let (Ok(to), Ok(from)) = (absolute(path), absolute(folder)) else { return path.to_owned() };
    let n_same = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(n_same).map(|_| Component::ParentDir);
    up.chain(to.components().skip(n_same)).collect()
}

/// Absolute and without links, as far as the path is there.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let there = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    Ok(match there {
        Some((part, real)) => real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
        None => path,
    })
}

/// Reads model.json of a model's folder.
/// # Errors
/// `Error::Values` for a model without weights, with how to get them, and for a damaged file.
pub fn read(folder: &Path) -> Result<SavedModel> {
    let path = folder.join(MODEL);
    if !path.is_file() || !folder.join(WEIGHTS).is_file() {
        return Err(Error::Values {
            place: folder.display().to_string(),
            problem: format!("holds no saved weights ({MODEL} and {WEIGHTS})"),
            hint:
                "set weights = true in [output] of the study and run it again, with --force if it \
                   was finished"
                    .into(),
        });
    }
    let text =
        fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let broken = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "the file is damaged or of another version: run the study again".into(),
    };
    let saved: SavedModel =
        serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let n_features: usize =
        saved.parts.iter().map(|part| part.n_features).fold(0, usize::saturating_add);
    let n_coefs = n_features.saturating_mul(saved.delays.len());
    if saved.schema != SCHEMA || n_coefs != saved.n_coefs {
        let (schema, n) = (&saved.schema, saved.n_coefs);
        return Err(broken(format!("expected {SCHEMA} and {n_coefs} weights, got {schema}, {n}")));
    }
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_vectors_moves_with_the_tree() {
        let folder = tempfile::tempdir().unwrap();
        let (file, model) = (folder.path().join("v.txt"), folder.path().join("out/models/s/m"));
        fs::write(&file, "a 1").unwrap();
        assert_eq!(relative(&file, &model), Path::new("../../../../v.txt"));
        fs::create_dir_all(&model).unwrap();
        assert!(model.join(relative(&file, &model)).is_file());
    }

    #[test]
    fn vectors_are_known_by_what_they_hold_and_not_by_their_age() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let big = vec![7u8; (WHOLE_BYTES + 3) as usize];
        for bytes in [&b"the 1 2"[..], &big] {
            fs::write(&a, bytes).unwrap();
            let saved = SavedVectors::of(&a, folder.path()).unwrap();
            fs::write(&b, bytes).unwrap();
            let old = std::time::SystemTime::UNIX_EPOCH;
            File::options().write(true).open(&b).unwrap().set_modified(old).unwrap();
            saved.check(&b).unwrap();
            let mut other = bytes.to_vec();
            *other.last_mut().unwrap() ^= 1;
            fs::write(&b, other).unwrap();
            let error = saved.check(&b).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("--vectors"), "{error}");
        }
    }
}
