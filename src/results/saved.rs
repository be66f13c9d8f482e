//! A saved model: weights.safetensors, and model.json with everything else that a prediction needs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hash::{Extent, hash};
use super::names::{MODEL, ModelId, Name, WEIGHTS, check_story};
use super::{broken, read_json};
use crate::design::delays::check_delays;
use crate::design::tr_times::{MAX_STORY_TRS, timing_fault};
use crate::design::trim::Trim;
use crate::design::zscore::{Scaling, ZScoreMode};
use crate::error::{Error, Result};

/// The `schema` of model.json.
pub const SCHEMA: &str = "voxelcast.model/1";
/// Largest model.json that is read: a vocabulary and statistics of every column.
const MAX_BYTES: u64 = 1 << 30;

/// model.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedModel {
    /// [`SCHEMA`].
    pub schema: String,
    /// Of the program that wrote it.
    pub version: String,
    /// Whose BOLD.
    pub subject: Name,
    /// Name of the space.
    pub space: Name,
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
    /// Middle of the first TR of each of them; `first_tr_s` holds for all others.
    #[serde(default)]
    pub story_first_tr_s: BTreeMap<String, f64>,
    /// Spaces side by side: one, or those of a combination.
    pub parts: Vec<SavedPart>,
}

/// One space of a saved model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPart {
    /// Its name in the study.
    pub name: Name,
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
        /// Whether punctuation at the ends of words is taken off; models of before did not.
        #[serde(default)]
        strips_punctuation: bool,
        /// The word of each column.
        vocabulary: Vec<String>,
    },
    /// word2vec vectors.
    Word2vec(SavedVectors),
    /// GloVe vectors.
    Glove(SavedVectors),
    /// HuthLab's english1000 vectors.
    Eng1000(SavedVectors),
    /// Words per TR.
    WordRate,
    /// Letters of the word.
    WordLength,
    /// Where in the story a TR lies.
    Position,
    /// Numeric columns of the word table.
    Column {
        /// Their headers.
        columns: Vec<String>,
    },
    /// Phones of TextGrids.
    Phones {
        /// Which phone it is, not only that there is one.
        identity: bool,
        /// Their tier; by its name if none.
        tier: Option<String>,
        /// The phone of each column of an identity.
        vocabulary: Vec<String>,
    },
    /// Rows from files, which new stories have under the same pattern.
    File {
        /// From the model's folder, `{story}` here or in `dataset`.
        path: PathBuf,
        /// Array of a file that holds several.
        dataset: Option<String>,
        /// `words`, `trs` or `times`.
        rows: String,
        /// Files of seconds.
        times: Option<PathBuf>,
        /// Names of the columns, if there are any.
        #[serde(default)]
        names: Vec<String>,
    },
    /// Hidden states of a pretrained language model.
    Bert(SavedLanguage),
    /// Those of an encoder that was trained here.
    Encoder(SavedLanguage),
    /// Those of a causal language model.
    Lm(SavedLanguage),
    /// A combination, which has no rows of its own; and what older versions could not predict with.
    NotYet {
        /// As in STUDY.toml.
        name: String,
    },
}

/// A language model: not copied, but known again; and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedLanguage {
    /// Its checkpoint, from the model's folder.
    pub path: PathBuf,
    /// blake3, hexadecimal, of the files that word vectors depend on.
    pub blake3: String,
    /// Hidden state.
    pub layer: usize,
    /// Windows.
    #[serde(flatten)]
    pub windows: SavedWindows,
    /// Whether punctuation at the ends of words is taken off; none: words are read as the model's
    /// tokenizer does.
    pub strips_punctuation: Option<bool>,
}

/// How a language model's windows lie.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SavedWindows {
    /// Of a model that reads both ways.
    BothWays {
        /// Whether a word is read with what comes after it.
        sees_ahead: bool,
        /// Pieces of a window.
        window: usize,
        /// Pieces between the beginnings of windows, where words see ahead.
        stride: Option<usize>,
    },
    /// Of a causal model.
    Causal {
        /// Pieces before a word, at least; 0: it is read alone.
        past: usize,
        /// Pieces of a window; none where words are read alone.
        window: Option<usize>,
        /// Whether a word's vector is the mean over its pieces, and not its last piece's.
        is_mean: bool,
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
    /// mebibyte above. Unlike the hashes of run.json it does not count the time of change: a copy is the same file.
    pub blake3: String,
}

/// Limits of what a model may say; those of STUDY.toml where it has one.
const MAX_DELAY_TRS: u64 = 1000;

impl SavedModel {
    /// Which model it is.
    /// # Errors
    /// Never for names that were checked.
    pub fn id(&self) -> Result<ModelId> {
        Ok(ModelId::new(self.subject.as_str(), self.space.as_str(), self.lagged)?)
    }

    /// Columns, before delays, that are never delayed while others are: their weights stand last,
    /// once.
    pub fn undelayed(&self) -> Vec<Range<usize>> {
        let is_position = |part: &SavedPart| part.features == SavedFeatures::Position;
        if self.parts.iter().all(is_position) {
            return Vec::new();
        }
        let mut end = 0usize;
        let mut columns = |part: &SavedPart| {
            let start = end;
            end = end.saturating_add(part.n_features);
            is_position(part).then_some(start..end)
        };
        self.parts.iter().filter_map(&mut columns).collect()
    }

    /// Whether delayed columns are written out: where delays cross stories, and where only some
    /// columns are delayed.
    pub fn is_written(&self) -> bool {
        self.delays_cross_stories || !self.undelayed().is_empty()
    }

    /// What cannot be about it.
    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("expected {SCHEMA}, got {:?}", self.schema));
        }
        let n_features: usize =
            self.parts.iter().map(|part| part.n_features).fold(0, usize::saturating_add);
        let n_once: usize =
            self.undelayed().iter().map(ExactSizeIterator::len).fold(0, usize::saturating_add);
        let n_delayed = n_features.saturating_sub(n_once).saturating_mul(self.delays.len());
        let n_coefs = n_delayed.saturating_add(n_once);
        if n_coefs != self.n_coefs || n_coefs == 0 {
            return Err(format!("expected {n_coefs} weights per voxel, got {}", self.n_coefs));
        }
        check_delays(&self.delays).map_err(|error| error.to_string())?;
        if let Some(far) = self.delays.iter().find(|delay| delay.unsigned_abs() > MAX_DELAY_TRS) {
            return Err(format!("expected delays of at most {MAX_DELAY_TRS} TRs, got {far}"));
        }
        let within = |name: &str, x: f64, is_right: bool, range: &str| match is_right {
            true => Ok(()),
            false => Err(format!("{name}: expected {range}, got {x}")),
        };
        timing_fault(self.first_tr_s, self.tr_s).map_or(Ok(()), Err)?;
        let cutoff = self.cutoff_mult;
        within("cutoff_mult", cutoff, cutoff > 0.0 && cutoff.is_finite(), "a number > 0")?;
        if !(1..=100).contains(&self.lanczos_window) {
            return Err(format!("lanczos_window: expected 1 to 100, got {}", self.lanczos_window));
        }
        if !matches!(self.time.as_str(), "mid" | "onset") {
            return Err(format!("time: expected mid or onset, got {:?}", self.time));
        }
        let trim = self.trim.parse::<Trim>().map_err(|error| error.to_string())?;
        if trim.n_cut() > MAX_STORY_TRS {
            return Err(format!("trim: expected at most {MAX_STORY_TRS} TRs, got {trim}"));
        }
        self.zscore.parse::<ZScoreMode>().map_err(|error| error.to_string())?;
        for (story, &n_trs) in &self.story_trs {
            check_story(story)?;
            if n_trs > MAX_STORY_TRS {
                return Err(format!(
                    "story {story:?}: expected at most {MAX_STORY_TRS} TRs, got {n_trs}"
                ));
            }
        }
        Ok(())
    }
}

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

/// Length and hash of a file of vectors, or of the archive that it is in.
fn hash_vectors(path: &Path) -> Result<(u64, String)> {
    let on_disk = path.ancestors().find(|file| file.is_file()).unwrap_or(path);
    let (n_bytes, hash) = hash(on_disk, Extent::Ends)?;
    Ok((n_bytes, hash.to_hex().to_string()))
}

/// The way from a folder to a file, both made absolute; the file's own path where there is none.
pub fn relative(path: &Path, folder: &Path) -> PathBuf {
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
    let saved: SavedModel = read_json(&path, MAX_BYTES)?;
    saved.check().map_err(|problem| broken(&path, problem))?;
    Ok(saved)
}
#[cfg(test)]
mod tests {
    use std::fs::{self, File};

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
        let big = vec![7u8; (32 << 20) + 3];
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
