//! What things in a results folder are called: every file name once, and names of subjects and
//! models that cannot lead out of the folder.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::report::data::LAGGED;
pub use crate::report::data::folder as model_folder;
use crate::stimuli::check_story_name;

macro_rules! files {
    ($($(#[doc = $doc:literal])+ $name:ident = $file:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &str = $file;)*

        /// Everything below a results folder, or a folder of predictions, that has a name of its own.
        pub const FILES: &[&str] = &[$($file),*];
    };
}

files! {
    /// What was run and what came out; the mark of a finished run.
    RUN = "run.json";
    /// The study, with paths that resolve from the folder.
    STUDY = "STUDY.toml";
    /// The page.
    REPORT = "report.html";
    /// Scores over all test TRs, one line per model.
    SUMMARY = "summary.csv";
    /// The same as JSON.
    SUMMARY_JSON = "summary.json";
    /// Scores of each test story.
    STORIES = "stories.csv";
    /// Voxels above chance.
    SIGNIFICANCE = "significance.csv";
    /// Differences between models.
    COMPARISONS = "comparisons.csv";
    /// Best voxels that models, or splits, share.
    OVERLAP = "overlap.csv";
    /// Scores over the noise ceiling.
    CEILINGS = "noise_ceiling.csv";
    /// CV scores over the alpha grid.
    CV_CURVE = "cv_curve.csv";
    /// Length and word rate of the stories.
    STORY_PROPERTIES = "story_properties.csv";
    /// Curves of the alignment check.
    ALIGNMENT = "alignment.csv";
    /// Scores of the repeated splits.
    STABILITY = "stability.csv";
    /// The same, of each test story.
    STABILITY_STORIES = "stability_stories.csv";
    /// Scores of models fitted on fewer stories.
    LEARNING_CURVE = "learning_curve.csv";
    /// Parts that the bands of banded models have in r and R².
    BANDS = "bands.csv";
    /// Unique and shared variance.
    PARTITION = "partition.csv";
    /// What CIFTI files call their columns.
    COLUMNS = "columns.csv";
    /// r of every parcel, where BOLD is parcels.
    PARCELS = "parcels.csv";
    /// What each space explains beyond the one of `[partition] beyond`.
    BEYOND = "beyond.csv";
    /// r of single delays, over the voxels that have the best ones.
    DELAYS = "delays.csv";
    /// Scores of the layers and the pasts of a language model, and how many voxels prefer each.
    PREFERRED = "preferred.csv";
    /// What the demo knows of the truth.
    RECOVERY = "recovery.json";
    /// What a folder of predictions holds.
    PREDICTIONS = "predictions.json";

    /// The folder of all models: `models/SUBJECT/SPACE[-lagged]/`.
    MODELS = "models";
    /// The folder of what voxels prefer: `preferred/SUBJECT/SPACE[-lagged]/`.
    PREFERENCES = "preferred";
    /// The folder of the encoders behind `encoder` spaces: `encoders/SPACE/`.
    ENCODERS = "encoders";
    /// The folder of a study's shards.
    SHARDS = "shards";
    /// Word vectors and encoders that later runs may use again.
    CACHE = ".cache";
    /// Unfinished work.
    PARTIAL = ".partial";
    /// The lock of a folder.
    LOCK = ".lock";
    /// The lock of the cache.
    TURN = ".turn";

    /// r over all test TRs, `(n_voxels)`.
    TEST_CORRELATION = "test_correlation.npy";
    /// r within each test story, `(n_test_stories, n_voxels)`.
    STORY_CORRELATION = "story_correlation.npy";
    /// As `TEST_CORRELATION`, without the TRs at the edges of the test stories.
    INNER_CORRELATION = "inner_correlation.npy";
    /// As `STORY_CORRELATION`, without the TRs at the edges of the test stories.
    STORY_INNER_CORRELATION = "story_inner_correlation.npy";
    /// CV scores, `(n_alphas, n_voxels)`.
    CV_SCORES = "cv_scores.npy";
    /// The alpha of each voxel.
    BEST_ALPHA = "best_alpha.npy";
    /// p of each voxel.
    P_VALUES = "p_values.npy";
    /// Whether a voxel is above chance.
    SIGNIFICANT = "significant.npy";
    /// r over the noise ceiling.
    NORMALISED = "normalised_correlation.npy";
    /// As `NORMALISED`, without the TRs at the edges of the test stories.
    INNER_NORMALISED = "inner_normalised_correlation.npy";
    /// r of every repeated split: over all its test TRs, then within each of its test stories.
    STABILITY_CORRELATION = "stability_correlation.npy";
    /// As `STABILITY_CORRELATION`, without the TRs at the edges of the test stories.
    STABILITY_INNER_CORRELATION = "stability_inner_correlation.npy";
    /// r at every point of the learning curve.
    LEARNING_CORRELATION = "learning_correlation.npy";
    /// As `LEARNING_CORRELATION`, without the TRs at the edges of the test stories.
    LEARNING_INNER_CORRELATION = "learning_inner_correlation.npy";
    /// `(n_bands, n_voxels)` weight of each band's ‖w‖².
    BAND_ALPHAS = "band_alphas.npy";
    /// `(n_bands, n_voxels)` parts of the test correlation.
    BAND_CORRELATION = "band_correlation.npy";
    /// `(n_bands, n_voxels)` parts of the centred test R².
    BAND_R2 = "band_r2.npy";
    /// `(1, n_voxels)` test R².
    TEST_R2 = "test_r2.npy";
    /// `(2^k − 1, n_voxels)` parts of R², in the order of partition.csv.
    PARTITION_R2 = "partition_r2.npy";
    /// The same of r·|r|.
    PARTITION_SIGNED_R2 = "partition_signed_r2.npy";
    /// `(n_voxels)` r·|r| of a space and a base together, less that of the base.
    BEYOND_SIGNED_R2 = "beyond_signed_r2.npy";
    /// The same without the TRs at the edges of the test stories.
    BEYOND_INNER_SIGNED_R2 = "beyond_inner_signed_r2.npy";
    /// `(9, n_voxels)` r of the delays 0 to 8 TRs, each alone.
    DELAY_PROFILE = "delay_profile.npy";
    /// `(n_voxels)` the delay of the largest of them.
    BEST_DELAY = "best_delay.npy";
    /// `(n_voxels)` delays around it whose r is above half of its r.
    RESPONSE_WIDTH = "response_width.npy";
    /// `(n_voxels)` the layer whose model has the highest CV score.
    PREFERRED_LAYER = "preferred_layer.npy";
    /// `(n_voxels)` the past whose model has the highest CV score, in pieces.
    PREFERRED_PAST = "preferred_past.npy";
    /// Best alpha, test correlation and p-value of a shard's voxels, three rows.
    SCALARS = "scalars.npy";
    /// Tensors `weights` `(n_coefs, n_voxels)` and `intercept` `(1, n_voxels)`, f32.
    WEIGHTS = "weights.safetensors";
    /// What a model needs beside its weights to predict.
    MODEL = "model.json";
    /// The mark of a finished model.
    DONE = ".done.json";

    /// The noise ceiling of a subject's voxels.
    NOISE_CEILING = "noise_ceiling.npy";
    /// The same without the TRs at the edges of the test stories.
    INNER_NOISE_CEILING = "inner_noise_ceiling.npy";
    /// A copy of a subject's mask.
    MASK = "mask.nii";
    /// The same where it is packed.
    MASK_GZ = "mask.nii.gz";
    /// A copy of a subject's flat map.
    PIXELS = "pixels.npy";

    /// Losses of every epoch, beside an encoder.
    TRAIN_LOG = "train_log.csv";
    /// The loss of words guessed by their frequency alone.
    BASELINE = "baseline.json";
    /// What a training was asked for, and how it ended.
    TRAIN = "train.json";
    /// Losses of all points of a sweep.
    SWEEP = "sweep.csv";

    /// The tiles that are done, of a subject that is not.
    JOURNAL = "tiles.jsonl";
    /// Whose tiles these are.
    TILES_OF = "models.json";
    /// The inputs of a run that is not finished.
    INPUTS = "inputs.json";
    /// What the shards of a study agree on.
    SHARD_PLAN = "plan.json";
    /// What a finished shard says of itself.
    MANIFEST = "manifest.json";
}

/// What the model of a single delay, in TRs, is called: its folder below models/SUBJECT/.
pub fn single_delay_name(delay: i64, space: &str) -> String {
    format!("delay.{delay}.{space}")
}

/// Whether a subject or a space can have this name without taking a file's place.
pub fn is_free_name(name: &str) -> bool {
    FILES.iter().all(|file| !file.eq_ignore_ascii_case(name))
}

/// Longest name of a folder in bytes; file systems end at 255, and `-lagged` is added.
const MAX_BYTES: usize = 240;

/// The name of a subject or a space, safe as the name of a folder: letters, digits, `-`, `_`, `.`
/// and `+`, not beginning with a dot, at most 240 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A text that cannot be a [`Name`].
#[derive(Debug, thiserror::Error)]
#[error("expected a name of letters, digits, - _ + and ., not beginning with a dot, got {0:?}")]
pub struct BadName(String);

impl Name {
    /// Checks a name.
    /// # Errors
    /// [`BadName`].
    pub fn new(text: &str) -> Result<Self, BadName> {
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
        let is_name = !text.is_empty()
            && text.len() <= MAX_BYTES
            && text.chars().all(fine)
            && !text.starts_with('.');
        match is_name {
            true => Ok(Self(text.to_owned())),
            false => Err(BadName(text.chars().take(60).collect())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<BadName> for Error {
    fn from(bad: BadName) -> Self {
        Error::Values {
            place: "a name".into(),
            problem: bad.to_string(),
            hint: "names of subjects and spaces are names of folders".into(),
        }
    }
}

/// One model of a results folder: whose BOLD, which space, with the study's delays or without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId {
    subject: Name,
    space: Name,
    lagged: bool,
}

impl ModelId {
    /// Checks the names.
    /// # Errors
    /// [`BadName`].
    pub fn new(subject: &str, space: &str, lagged: bool) -> Result<Self, BadName> {
        Ok(Self { subject: Name::new(subject)?, space: Name::new(space)?, lagged })
    }

    /// The model in a folder of this name.
    /// # Errors
    /// [`BadName`].
    pub fn of_folder(subject: &str, folder: &str) -> Result<Self, BadName> {
        match folder.strip_suffix(LAGGED) {
            Some(space) => Self::new(subject, space, true),
            None => Self::new(subject, folder, false),
        }
    }

    /// The subject.
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The space.
    pub fn space(&self) -> &Name {
        &self.space
    }

    /// Whether it has the study's delays.
    pub fn is_lagged(&self) -> bool {
        self.lagged
    }

    /// `SPACE` or `SPACE-lagged`.
    pub fn folder(&self) -> String {
        model_folder(self.space.as_str(), self.lagged)
    }

    /// `SUBJECT/SPACE[-lagged]`: two plain names.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.subject.as_str()).join(self.folder())
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.subject, self.folder())
    }
}

/// Checks the name of a story that a result file gives, as the stories' own reader does.
/// # Errors
/// What is wrong with it.
pub fn check_story(name: &str) -> Result<(), String> {
    let problem = check_story_name(name);
    problem.map_err(|why| format!("story {:?} {why}", name.chars().take(60).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_out_of_a_folder_are_refused() {
        let long = "x".repeat(241);
        for bad in ["", ".", "..", ".done.json", "a/b", "/a", "a\\b", "../x", "a\0", "a b", &long] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Name>(bad.into()).is_err(), "{bad:?}");
            assert!(
                ModelId::new("s", bad, true).is_err() && ModelId::new(bad, "s", false).is_err()
            );
            assert!(ModelId::of_folder("s", &format!("{bad}-lagged")).is_err(), "{bad:?}");
        }
        for fine in ["s1", "sub-01", "Zürich", "partition.a+b", "a..b", &long[1..]] {
            assert_eq!(Name::new(fine).unwrap().as_str(), fine);
        }
    }

    #[test]
    fn a_model_is_known_by_its_folder() {
        for (space, lagged) in [("glove", true), ("glove", false), ("partition.a+b", true)] {
            let id = ModelId::new("s1", space, lagged).unwrap();
            assert_eq!(ModelId::of_folder("s1", &id.folder()).unwrap(), id);
            assert_eq!(id.path(), std::path::Path::new("s1").join(id.folder()));
        }
    }

    #[test]
    fn no_subject_or_space_takes_the_place_of_a_file() {
        for taken in ["run.json", "models", "encoders", "noise_ceiling.npy", "Mask.nii.gz"] {
            assert!(!is_free_name(taken), "{taken}");
        }
        assert!(is_free_name("encoder") && is_free_name("glove"));
    }
}
