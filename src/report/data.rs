//! What a finished run's folder says, as the page needs it. Read by `results`, changed by nobody.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::ScoreRow;
use crate::ridge::edges::AlphaEdges;

/// A finished run.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// run.json.
    pub run: RunInfo,
    /// summary.csv.
    pub summary: Vec<ScoreRow>,
    /// stories.csv.
    pub stories: Vec<ScoreRow>,
    /// test_correlation.npy of every model, in the order of `summary`.
    pub voxels: Vec<VoxelScores>,
    /// Best and worst test story of each subject's best model, voxel by voxel.
    pub extremes: Vec<Extremes>,
    /// significance.csv.
    pub significance: Vec<Significance>,
    /// comparisons.csv.
    pub comparisons: Vec<Comparison>,
    /// stability.csv and stability_stories.csv.
    pub stability: Vec<SplitScores>,
    /// stability_stories.csv.
    pub stability_stories: Vec<SplitScores>,
    /// overlap.csv.
    pub overlap: Vec<Overlap>,
    /// learning_curve.csv.
    pub learning: Vec<Learning>,
    /// noise_ceiling.csv.
    pub noise_ceiling: Vec<NoiseCeiling>,
    /// story_properties.csv.
    pub properties: Vec<StoryProperties>,
    /// cv_curve.csv.
    pub cv_curve: Vec<CvPoint>,
    /// Where the voxels of a subject are, for those that have a mask or a flat map.
    pub brains: Vec<Brain>,
    /// train_log.csv, of each encoder trained.
    pub train_logs: Vec<(String, Vec<TrainStep>)>,
    /// sweep.csv: header and cells.
    pub sweep: Option<Cells>,
    /// The same, as losses.
    pub sweep_points: Vec<SweepEpoch>,
    /// Loss of words guessed by their frequency alone, from baseline.json beside sweep.csv.
    pub unigram_loss: Option<f64>,
}

/// A table of text, as in its file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cells {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Rows, as long as the header.
    pub rows: Vec<Vec<String>>,
}

/// Where a subject's voxels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brain {
    /// Subject.
    pub subject: String,
    /// Voxels in space.
    pub place: Place,
}

/// Voxels in space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a volume.
    Volume {
        /// x, y and z of each voxel.
        positions: Vec<[u32; 3]>,
        /// x grows to the subject's right.
        x_is_right: bool,
    },
    /// On a flat map.
    Flat {
        /// Row, column and voxel of each pixel.
        pixels: Vec<[u32; 3]>,
    },
}

/// One model's score in each voxel.
#[derive(Debug, Clone, Default)]
pub struct VoxelScores {
    /// Subject.
    pub subject: String,
    /// Feature space.
    pub space: String,
    /// With delays.
    pub lagged: bool,
    /// (n_voxels), NaN for dead voxels.
    pub r: Vec<f32>,
}

/// The two ends of a subject's test stories, for the subject's best model.
#[derive(Debug, Clone, Default)]
pub struct Extremes {
    /// Subject.
    pub subject: String,
    /// The model's label.
    pub model: String,
    /// The best story and its score in each voxel.
    pub best: (String, Vec<f32>),
    /// The worst.
    pub worst: (String, Vec<f32>),
}

/// The parts of run.json that are shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from.
    pub commit: String,
    /// Device.
    pub device: String,
    /// Threads.
    pub threads: u64,
    /// Seed of the split.
    pub seed: u64,
    /// Stories.
    pub split: SplitNames,
    /// Training stories of each fold.
    pub folds: Vec<Vec<String>>,
    /// Model folder → solver and why.
    pub solver: Map<String, Value>,
    /// Sentences.
    pub warnings: Vec<String>,
    /// The alignment check.
    pub alignment: Option<AlignmentInfo>,
    /// Settings of the study.
    pub settings: Map<String, Value>,
    /// The grid.
    pub alphas: Vec<f64>,
    /// TRs trained on.
    pub n_train_trs: u64,
    /// TRs tested on.
    pub n_test_trs: u64,
    /// Subject → voxels.
    pub subjects: Map<String, Value>,
    /// Feature spaces.
    pub spaces: Vec<SpaceInfo>,
    /// Models.
    pub models: Vec<ModelInfo>,
    /// Subject → what became of its voxels.
    pub voxels: Map<String, Value>,
    /// Seconds of each step.
    pub timings_s: Map<String, Value>,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
}

/// Training and test stories.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SplitNames {
    /// In the seeded order.
    pub train: Vec<String>,
    /// Held out.
    pub test: Vec<String>,
}

/// A feature space.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SpaceInfo {
    /// Name.
    pub name: String,
    /// Kind.
    pub kind: String,
    /// Columns without delays.
    pub n_features: u64,
    /// Words found and not found.
    pub coverage: Option<Map<String, Value>>,
}

/// A model's design.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModelInfo {
    /// Under models/SUBJECT/.
    pub folder: String,
    /// In TRs.
    pub delays: Vec<i64>,
    /// Columns with delays.
    pub n_coefs: u64,
    /// Condition number of the training design.
    pub condition: Option<f64>,
}

/// The alignment check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AlignmentInfo {
    /// Space whose features were used.
    pub space: String,
    /// Subject → curve.
    pub subjects: Map<String, Value>,
    /// Peak and trim.
    pub verdict: Option<AlignmentVerdict>,
}

/// The verdict over all subjects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AlignmentVerdict {
    /// Shift of the highest mean, TRs.
    pub peak: i64,
    /// Whether it stands out.
    pub stands_out: bool,
    /// The trim that mends it.
    pub better_trim: Option<String>,
}

/// One subject's alignment curve.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AlignmentCurve {
    /// TRs by which BOLD follows the features.
    pub shifts: Vec<i64>,
    /// Mean un-lagged CV correlation; null where there is none.
    pub mean_r: Vec<Option<f64>>,
}

/// A subject's entry under `voxels` in run.json.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SubjectVoxels {
    /// Voxels that never change.
    pub n_constant: u64,
    /// Voxels with NaN or infinities.
    pub n_not_finite: u64,
    /// In the order of `models`.
    pub edges: Vec<AlphaEdges>,
}

/// A row of significance.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Significance {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_significant: usize,
    pub q: f64,
    pub permutations: u64,
}

/// A row of comparisons.csv: a − b.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Comparison {
    pub subject: String,
    pub space_a: String,
    pub space_b: String,
    pub diff_mean: f64,
    pub ci_low: f64,
    pub ci_high: f64,
}

/// A row of stability.csv, or with its story of stability_stories.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct SplitScores {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub split: u64,
    #[serde(default)]
    pub story: String,
    pub mean: f64,
    pub median: f64,
    pub top1: f64,
    pub top5: f64,
    pub top1_mean: f64,
    pub top5_mean: f64,
}

/// A row of overlap.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Overlap {
    pub subject: String,
    pub kind: String,
    pub a: String,
    pub b: String,
    pub jaccard: f64,
    #[serde(default)]
    pub model: String,
}

/// A row of learning_curve.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct Learning {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_stories: usize,
    pub n_trs: u64,
    pub mean: f64,
}

/// A row of noise_ceiling.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct NoiseCeiling {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub n_stories: u64,
    pub n_repeats: u64,
    pub n_voxels_used: u64,
    pub ceiling_mean: f64,
    pub r_mean: f64,
    pub normalised_mean: f64,
    pub normalised_median: f64,
}

/// A row of story_properties.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct StoryProperties {
    pub story: String,
    pub n_trs: u64,
    pub seconds: f64,
    pub n_words: u64,
    pub words_per_s: f64,
    pub role: String,
}

/// A row of cv_curve.csv.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct CvPoint {
    pub subject: String,
    pub space: String,
    pub lagged: bool,
    pub alpha: f64,
    pub mean_cv_score: f64,
    pub n_best: usize,
}

/// A row of train_log.csv; a loss that was not taken at this step is missing.
#[derive(Debug, Clone, Default, Deserialize)]
#[allow(missing_docs)]
pub struct TrainStep {
    pub epoch: f64,
    pub train_loss: Option<f64>,
    pub val_loss: Option<f64>,
}

/// A row of sweep.csv: one epoch of one point.
#[derive(Debug, Clone, Default, Deserialize)]
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

/// The folder of a model under models/SUBJECT/.
pub fn folder(space: &str, lagged: bool) -> String {
    format!("{space}{}", if lagged { "-lagged" } else { "" })
}

/// Higher mean first, no score last.
fn best_first(a: &&ScoreRow, b: &&ScoreRow) -> std::cmp::Ordering {
    let key = |row: &ScoreRow| if row.scores.mean.is_nan() { f64::MIN } else { row.scores.mean };
    key(b).total_cmp(&key(a))
}

impl Results {
    /// Subjects in the study's order.
    pub fn subjects(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in &self.summary {
            if !names.contains(&row.subject.as_str()) {
                names.push(&row.subject);
            }
        }
        names
    }

    /// Whether any model has delays: then those are shown first.
    pub fn has_lagged(&self) -> bool {
        self.summary.iter().any(|row| row.lagged)
    }

    /// A subject's models of one variant, best mean first; models without a score last.
    pub fn ranked(&self, subject: &str, lagged: bool) -> Vec<&ScoreRow> {
        let mut rows: Vec<&ScoreRow> = self
            .summary
            .iter()
            .filter(|row| row.subject == subject && row.lagged == lagged)
            .collect();
        rows.sort_by(best_first);
        rows
    }

    /// A subject's models of both variants, best mean first.
    pub fn ranked_all(&self, subject: &str) -> Vec<&ScoreRow> {
        let mut rows: Vec<&ScoreRow> = self.ranked(subject, true);
        rows.extend(self.ranked(subject, false));
        rows.sort_by(best_first);
        rows
    }

    /// A subject's best model; `None` where no model has a score.
    pub fn best(&self, subject: &str) -> Option<&ScoreRow> {
        self.ranked_all(subject).into_iter().next().filter(|row| !row.scores.mean.is_nan())
    }

    /// Test stories of one model, best mean first.
    pub fn stories_of(&self, subject: &str, space: &str, lagged: bool) -> Vec<&ScoreRow> {
        let mut rows: Vec<&ScoreRow> = self
            .stories
            .iter()
            .filter(|row| row.subject == subject && row.space == space && row.lagged == lagged)
            .collect();
        rows.sort_by(best_first);
        rows
    }

    /// One model's score in each voxel.
    pub fn voxels_of(&self, subject: &str, space: &str, lagged: bool) -> Option<&VoxelScores> {
        self.voxels.iter().find(|m| m.subject == subject && m.space == space && m.lagged == lagged)
    }

    /// How many voxels of a model are significant.
    pub fn significance_of(&self, row: &ScoreRow) -> Option<&Significance> {
        self.significance
            .iter()
            .find(|s| s.subject == row.subject && s.space == row.space && s.lagged == row.lagged)
    }

    /// What became of a subject's alphas in a model.
    pub fn edges_of(&self, subject: &str, model: &str) -> Option<AlphaEdges> {
        let index = self.run.models.iter().position(|m| m.folder == model)?;
        self.subject_voxels(subject).edges.get(index).copied()
    }

    /// What became of a subject's voxels.
    pub fn subject_voxels(&self, subject: &str) -> SubjectVoxels {
        let value = self.run.voxels.get(subject).cloned().unwrap_or_default();
        serde_json::from_value(value).unwrap_or_default()
    }

    /// A row's model as people call it.
    pub fn model_label(&self, space: &str, lagged: bool) -> String {
        let has_both = self.has_lagged() && self.summary.iter().any(|row| !row.lagged);
        match (lagged, has_both) {
            (true, true) => format!("{space} (lagged)"),
            (false, true) => format!("{space} (plain)"),
            _ => space.to_owned(),
        }
    }
}
