//! Rows of the CSV tables in a results folder: one struct per table, for who writes it and who
//! reads it. The order of the fields is the order of the columns, which other programs rely on:
//! new columns go to the end.

use serde::{Deserialize, Serialize};

use super::{InnerScores, ScoreRow};
use crate::scoring::Summary;

/// Floats in tables have the shortest digits that give the number back, without an exponent and
/// without `.0`: what `{}` prints.
mod digits {
    use std::fmt::Display;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        T::deserialize(from)
    }
}

/// As `digits`, of a column that a table may lack: together with `skip_serializing_if`.
mod optional_digits {
    use std::fmt::Display;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.collect_str(value),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Option::<T>::deserialize(from)
    }
}

/// A row of summary.csv: one per model; with its story, of stories.csv. The inner columns are those
/// of all rows or of none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ScoreLine {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
    pub n_voxels: usize,
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean: f64,
    #[serde(with = "digits")]
    pub median: f64,
    #[serde(with = "digits")]
    pub top1: f64,
    #[serde(with = "digits")]
    pub top5: f64,
    #[serde(with = "digits")]
    pub top1_mean: f64,
    #[serde(with = "digits")]
    pub top5_mean: f64,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_median: Option<f64>,
}

impl From<&ScoreRow> for ScoreLine {
    fn from(row: &ScoreRow) -> Self {
        let ScoreRow { subject, space, lagged, story, scores, inner } = row.clone();
        let Summary { n_voxels, n_voxels_used, mean, median, top1, top5, top1_mean, top5_mean } =
            scores;
        Self {
            subject,
            space,
            lagged,
            story,
            n_voxels,
            n_voxels_used,
            mean,
            median,
            top1,
            top5,
            top1_mean,
            top5_mean,
            inner_mean: inner.map(|inner| inner.inner_mean),
            inner_median: inner.map(|inner| inner.inner_median),
        }
    }
}

impl From<ScoreLine> for ScoreRow {
    fn from(line: ScoreLine) -> Self {
        let scores = Summary {
            n_voxels: line.n_voxels,
            n_voxels_used: line.n_voxels_used,
            mean: line.mean,
            median: line.median,
            top1: line.top1,
            top5: line.top5,
            top1_mean: line.top1_mean,
            top5_mean: line.top5_mean,
        };
        let inner = line.inner_mean.zip(line.inner_median);
        let inner =
            inner.map(|(inner_mean, inner_median)| InnerScores { inner_mean, inner_median });
        let ScoreLine { subject, space, lagged, story, .. } = line;
        Self { subject, space, lagged, story, scores, inner }
    }
}

/// A row of significance.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Significance {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_significant: usize,
    #[serde(with = "digits")]
    pub q: f64,
    pub permutations: u64,
    #[serde(default)]
    pub n_voxels_used: usize,
    /// NaN where no voxel is significant.
    #[serde(with = "digits", default)]
    pub p_threshold: f64,
    #[serde(default)]
    pub block_trs: usize,
}

/// A row of comparisons.csv: a − b, both named by their folders.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Comparison {
    pub subject: String,
    pub space_a: String,
    pub space_b: String,
    #[serde(with = "digits")]
    pub diff_mean: f64,
    #[serde(with = "digits")]
    pub ci_low: f64,
    #[serde(with = "digits")]
    pub ci_high: f64,
    #[serde(default)]
    pub n_stories: usize,
    #[serde(default)]
    pub resamples: usize,
    /// As `diff_mean`, without the edges of the test stories.
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_diff_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_ci_low: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_ci_high: Option<f64>,
}

/// A row of stability.csv: one per model and repeated split; with its story, of
/// stability_stories.csv, which has no seed and no numbers of stories.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SplitScores {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub split: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
    #[serde(default)]
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean: f64,
    #[serde(with = "digits")]
    pub median: f64,
    #[serde(with = "digits")]
    pub top1: f64,
    #[serde(with = "digits")]
    pub top5: f64,
    #[serde(with = "digits")]
    pub top1_mean: f64,
    #[serde(with = "digits")]
    pub top5_mean: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_train_stories: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_test_stories: Option<usize>,
    /// As `mean`, without the edges of the test stories.
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_median: Option<f64>,
}

/// A row of overlap.csv. `kind` is `spaces`, and a and b are folders, or `splits`, and a and b are
/// repeated splits of `model`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Overlap {
    pub subject: String,
    pub kind: String,
    pub a: String,
    pub b: String,
    #[serde(with = "digits")]
    pub jaccard: f64,
    #[serde(default)]
    pub model: String,
}

/// A row of learning_curve.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Learning {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_stories: usize,
    pub n_trs: u64,
    #[serde(default)]
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean: f64,
    #[serde(with = "digits", default)]
    pub median: f64,
    #[serde(with = "digits", default)]
    pub top1: f64,
    #[serde(with = "digits", default)]
    pub top5: f64,
    #[serde(with = "digits", default)]
    pub top1_mean: f64,
    #[serde(with = "digits", default)]
    pub top5_mean: f64,
    /// As `mean`, without the edges of the test stories.
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_median: Option<f64>,
}

/// A row of noise_ceiling.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NoiseCeiling {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_stories: u64,
    /// Mean over the stories.
    #[serde(with = "digits")]
    pub n_repeats: f64,
    pub n_voxels_used: u64,
    #[serde(with = "digits")]
    pub ceiling_mean: f64,
    #[serde(with = "digits", default)]
    pub ceiling_median: f64,
    #[serde(with = "digits")]
    pub r_mean: f64,
    #[serde(with = "digits")]
    pub normalised_mean: f64,
    #[serde(with = "digits")]
    pub normalised_median: f64,
    #[serde(with = "digits", default)]
    pub min_ceiling: f64,
    /// As `n_voxels_used`, and below as the others, without the edges of the test stories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_n_voxels_used: Option<u64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_ceiling_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_r_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_normalised_mean: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_normalised_median: Option<f64>,
}

/// A row of story_properties.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct StoryProperties {
    pub story: String,
    pub n_trs: u64,
    #[serde(with = "digits")]
    pub seconds: f64,
    pub n_words: u64,
    #[serde(with = "digits")]
    pub words_per_s: f64,
    pub role: String,
}

/// A row of cv_curve.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct CvPoint {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    #[serde(with = "digits")]
    pub alpha: f64,
    #[serde(with = "digits")]
    pub mean_cv_score: f64,
    pub n_best: usize,
}

/// A row of alignment.csv.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct AlignmentPoint {
    pub subject: String,
    pub shift: i64,
    #[serde(with = "digits")]
    pub mean_r: f64,
}

/// A row of bands.csv: one per banded model and band.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BandScores {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub band: String,
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean_r: f64,
    #[serde(with = "digits")]
    pub mean_r2: f64,
}

/// A row of partition.csv: one per subset of the partition's spaces, joined by `+`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PartitionScores {
    pub subject: String,
    pub lagged: bool,
    pub spaces: String,
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean_model_r2: f64,
    #[serde(with = "digits")]
    pub mean_part_r2: f64,
    #[serde(with = "digits")]
    pub mean_model_signed_r2: f64,
    #[serde(with = "digits")]
    pub mean_part_signed_r2: f64,
}

/// A row of beyond.csv: one per space that goes beyond the base. Means over voxels of r·|r|, r over
/// all test TRs: of the space alone, of the base alone, of both together; and of what the last is
/// more than the base.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BeyondScores {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub base: String,
    pub n_voxels_used: usize,
    #[serde(with = "digits")]
    pub mean_signed_r2: f64,
    #[serde(with = "digits")]
    pub mean_base_signed_r2: f64,
    #[serde(with = "digits")]
    pub mean_union_signed_r2: f64,
    #[serde(with = "digits")]
    pub mean_beyond_signed_r2: f64,
    /// As the ones above, without the edges of the test stories.
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean_signed_r2: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean_base_signed_r2: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean_union_signed_r2: Option<f64>,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean_beyond_signed_r2: Option<f64>,
}

/// A row of delays.csv: one per space and single delay, over the voxels of `scoring::delays`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DelayScores {
    pub subject: String,
    pub space: String,
    /// In TRs.
    pub delay: i64,
    #[serde(with = "digits")]
    pub mean_r: f64,
    /// Voxels whose best delay it is.
    pub n_best: usize,
    /// All voxels of the mean.
    pub n_voxels: usize,
}

/// A row of preferred.csv: one of the models that a list of layers or of pasts asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct PreferredScores {
    pub subject: String,
    /// The `[[space]]` with the list.
    pub space: String,
    pub lagged: bool,
    /// The space of this one of its models.
    pub model: String,
    pub layer: Option<usize>,
    /// In pieces.
    pub past: Option<usize>,
    #[serde(with = "digits")]
    pub mean_r: f64,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_mean_r: Option<f64>,
    /// Mean over voxels of the best alpha's CV score.
    #[serde(with = "digits")]
    pub mean_cv_score: f64,
    /// Voxels whose CV score is highest with it.
    pub n_preferring: usize,
    /// Voxels with a CV score.
    pub n_voxels: usize,
}

/// A row of train_log.csv; a loss that was not taken at this step is missing.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct TrainStep {
    pub epoch: f64,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
}

/// A row of sweep.csv: one per point and epoch.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[allow(missing_docs)]
pub struct SweepEpoch {
    pub point: String,
    pub heads: u64,
    pub layers: u64,
    pub hidden: u64,
    pub intermediate: u64,
    pub p_mlm: f64,
    pub epoch: f64,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
    pub best_val_loss: Option<f64>,
}

/// A row of columns.csv: what a CIFTI file calls a column of its BOLD.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ColumnName {
    pub subject: String,
    /// From 0: the index into arrays per voxel.
    pub column: usize,
    pub name: String,
}

/// A row of parcels.csv: one per parcel and model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ParcelScore {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub parcel: String,
    #[serde(with = "digits")]
    pub r: f32,
    #[serde(with = "optional_digits", default, skip_serializing_if = "Option::is_none")]
    pub inner_r: Option<f32>,
}
