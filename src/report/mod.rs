//! Results as tables, figures and a page: formats, computes nothing.

pub mod answer;
pub mod data;
pub mod figures;
pub mod page;
pub mod record;
pub mod rows;
pub mod sections;
pub mod table;
pub mod tables;

use serde::{Deserialize, Serialize};

use crate::scoring::Summary;

/// One model's scores over one set of test rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScoreRow {
    /// Subject.
    pub subject: String,
    /// Feature space.
    pub space: String,
    /// With the study's delays, or delay 0 alone.
    pub lagged: bool,
    /// The story, in stories.csv; all test stories together in summary.csv.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub story: Option<String>,
    /// The scores.
    #[serde(flatten)]
    pub scores: Summary,
    /// Those without the edges of the test stories, where there are such.
    #[serde(flatten, default)]
    pub inner: Option<InnerScores>,
}

/// A score without the TRs at the edges of the test stories, over the voxels that have one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InnerScores {
    /// Arithmetic mean.
    pub inner_mean: f64,
    /// 50th percentile.
    pub inner_median: f64,
}

impl InnerScores {
    /// Of one score a voxel.
    pub fn of(scores: &[f32]) -> Self {
        let Summary { mean, median, .. } = Summary::of(scores);
        Self { inner_mean: mean, inner_median: median }
    }
}
