//! run.json: one struct for who writes it and who reads it. Other programs read it too: fields are
//! added, and keep their places.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::features::coverage::Coverage;
use crate::ridge::Route;
use crate::ridge::alignment::{Alignment, HrfCurve};
use crate::ridge::edges::AlphaEdges;

/// The `schema` of run.json.
pub const SCHEMA: &str = "voxelcast.run/1";

/// A finished run. A field that an earlier version did not write is empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the program.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// Where the tiles were solved.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// Seed of the split.
    pub seed: u64,
    /// Stories, or blocks of them; those of all subjects together.
    pub split: SplitNames,
    /// Training stories of each fold, as dealt over all subjects' stories.
    pub folds: Vec<Vec<String>>,
    /// Subject → what it was fitted with, where subjects may have stories of their own.
    #[serde(skip_serializing_if = "ByName::is_empty")]
    pub subject_splits: ByName<SubjectSplit>,
    /// Repeated splits.
    pub stability: Vec<RepeatedSplit>,
    /// Model folder → the solver that was taken, and why.
    pub solver: ByName<String>,
    /// Doubts, one sentence each.
    pub warnings: Vec<String>,
    /// What was assumed because nothing said it, one sentence each.
    pub notes: Vec<String>,
    /// Words, dropped marks and words without times: `n_words`, `n_marks`, `marks`, `n_untimed`, and
    /// `stories` with the spans of words and scan.
    pub words: Value,
    /// The alignment check.
    pub alignment: Option<AlignmentInfo>,
    /// The main settings of the study in one list; [`study`](Self::study) has all of them.
    pub settings: Map<String, Value>,
    /// Every key of STUDY.toml under its table, with the value that was taken: defaults and what
    /// follows from a model's files filled in.
    pub study: Value,
    /// The grid, as weights of ‖w‖².
    pub alphas: Vec<f64>,
    /// TRs trained on; of the subject with most, where subjects have stories of their own.
    pub n_train_trs: usize,
    /// TRs tested on; as above.
    pub n_test_trs: usize,
    /// Subject → voxels.
    pub subjects: ByName<usize>,
    /// Feature spaces.
    pub spaces: Vec<SpaceInfo>,
    /// Models.
    pub models: Vec<ModelInfo>,
    /// Subject → what became of its voxels.
    pub voxels: ByName<SubjectVoxels>,
    /// One hash over settings and inputs.
    pub fingerprint: String,
    /// Everything that was read.
    pub inputs: Vec<InputHash>,
    /// Seconds of each step.
    pub timings_s: ByName<f64>,
    /// Seconds of each stage of the tiles, summed over threads.
    pub tile_stages_s: ByName<f64>,
    /// Bytes of BOLD that this run read, as f32: of one pass the training and test TRs times voxels
    /// times four, for each subject. What an earlier run or a shard did is not in it.
    pub bold_bytes_read: u64,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
    /// Where each shard ran, of a study in shards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardInfo>,
}

/// Training and test stories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SplitNames {
    /// In the seeded order.
    pub train: Vec<String>,
    /// Held out.
    pub test: Vec<String>,
}

impl RunInfo {
    /// Training and test stories of a subject.
    pub fn stories_of(&self, subject: &str) -> (&[String], &[String]) {
        match self.subject_splits.get(subject) {
            Some(own) => (&own.train, &own.test),
            None => (&self.split.train, &self.split.test),
        }
    }
}

/// One subject's stories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectSplit {
    /// In the seeded order.
    pub train: Vec<String>,
    /// Held out.
    pub test: Vec<String>,
    /// Training stories of each fold.
    pub folds: Vec<Vec<String>>,
    /// TRs trained on.
    pub n_train_trs: usize,
    /// TRs tested on.
    pub n_test_trs: usize,
}

/// A repeated split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RepeatedSplit {
    /// From 1.
    pub split: u64,
    /// Its seed.
    pub seed: u64,
    /// In the seeded order.
    pub train: Vec<String>,
    /// Held out.
    pub test: Vec<String>,
}

/// A feature space.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpaceInfo {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Columns without delays.
    pub n_features: usize,
    /// Words found and not found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
}

/// A model's design.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelInfo {
    /// Below models/SUBJECT/.
    pub folder: String,
    /// In TRs.
    pub delays: Vec<i64>,
    /// Columns without delays.
    pub n_features: usize,
    /// Columns with delays.
    pub n_coefs: usize,
    /// Condition number of the training design.
    pub condition: Option<f64>,
    /// Largest error of a CV score that may come of it.
    pub score_error: Option<f64>,
    /// The solver that was taken.
    pub route: Option<Route>,
}

/// The alignment check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlignmentInfo {
    /// Space whose features were used.
    pub space: String,
    /// Subject → curve.
    pub subjects: ByName<AlignmentCurve>,
    /// Peak and trim.
    pub verdict: Option<AlignmentVerdict>,
}

/// The verdict over all subjects.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlignmentVerdict {
    /// Mean of the subjects' curves.
    pub curve: AlignmentCurve,
    /// Shift of the highest mean, TRs.
    pub peak: i64,
    /// Whether it stands out.
    pub stands_out: bool,
    /// The trim that brings the peak into the delays.
    pub better_trim: Option<String>,
}

/// One subject's alignment curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlignmentCurve {
    /// TRs by which BOLD follows the features.
    pub shifts: Vec<i64>,
    /// Mean un-lagged CV correlation; null where there is none.
    pub mean_r: Vec<Option<f64>>,
}

impl From<&HrfCurve> for AlignmentCurve {
    fn from(curve: &HrfCurve) -> Self {
        let mean_r = curve.mean_r.iter().map(|&r| finite(r)).collect();
        Self { shifts: curve.shifts.clone(), mean_r }
    }
}

impl From<&Alignment> for AlignmentVerdict {
    fn from(found: &Alignment) -> Self {
        let Alignment { curve, peak, stands_out, better_trim } = found;
        let (peak, stands_out) = (*peak, *stands_out);
        Self { curve: curve.into(), peak, stands_out, better_trim: better_trim.clone() }
    }
}

/// A number that JSON can hold.
pub fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

/// What became of a subject's voxels.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SubjectVoxels {
    /// Voxels that never change.
    pub n_constant: usize,
    /// Voxels with NaN or infinities.
    pub n_not_finite: usize,
    /// Voxels at the ends of the alpha grid, in the order of `models`.
    pub edges: Vec<AlphaEdges>,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest share of a path outside the alpha basis.
    pub basis_error: f64,
}

/// One input and its hash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHash {
    /// As the study names it.
    pub path: String,
    /// Bytes.
    pub n_bytes: u64,
    /// blake3, hexadecimal: of the whole file up to 32 MiB; above, of its length, time of change,
    /// first and last mebibyte.
    pub blake3: String,
}

/// Where and how long a shard ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardInfo {
    /// From 1.
    pub shard: usize,
    /// The machine.
    pub host: String,
    /// Instructions that f32 products took there.
    pub cpu: String,
    /// Where its tiles were solved.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// Commit of the program.
    pub commit: String,
    /// Of the run that finished it.
    pub seconds: f64,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
}

/// A JSON object that keeps its order, such as subjects in the order of the study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByName<T>(pub Vec<(String, T)>);

impl<T> ByName<T> {
    /// The first entry of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<S: Into<String>, T> FromIterator<(S, T)> for ByName<T> {
    fn from_iter<I: IntoIterator<Item = (S, T)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl<T: Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = ByName<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ByName<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(ByName(pairs))
            }
        }
        from.deserialize_map(Pairs(PhantomData))
    }
}
