//! What a finished run's folder says, as the page needs it. Read by `results`, changed by nobody.

use super::ScoreRow;
pub use super::record::{
    AlignmentCurve, AlignmentInfo, AlignmentVerdict, ModelInfo, RunInfo, SpaceInfo, SplitNames,
    SubjectVoxels,
};
pub use super::rows::{
    BeyondScores, Comparison, CvPoint, DelayScores, Learning, NoiseCeiling, Overlap,
    PreferredScores, Significance, SplitScores, StoryProperties, SweepEpoch, TrainStep,
};
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
    /// beyond.csv.
    pub beyond: Vec<BeyondScores>,
    /// story_properties.csv.
    pub properties: Vec<StoryProperties>,
    /// delays.csv.
    pub delays: Vec<DelayScores>,
    /// preferred.csv.
    pub preferred: Vec<PreferredScores>,
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

/// Ending of the folders of models with the study's delays.
pub const LAGGED: &str = "-lagged";

/// The folder of a model below models/SUBJECT/, which is also what tables call it.
pub fn folder(space: &str, lagged: bool) -> String {
    format!("{space}{}", if lagged { LAGGED } else { "" })
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
        self.run.voxels.get(subject)?.edges.get(index).copied()
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
