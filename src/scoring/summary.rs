//! One row of a table: a score over all voxels.

use serde::{Deserialize, Serialize};

use crate::stats::{mean, quantile};

/// A score summed up over voxels. Voxels without a score (NaN: constant, NaN or infinite BOLD)
/// are left out of everything and counted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// All voxels.
    pub n_voxels: usize,
    /// Voxels with a score.
    pub n_voxels_used: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// 50th percentile.
    pub median: f64,
    /// 99th percentile, linear interpolation: the lab's "top 1 %" is this threshold.
    pub top1: f64,
    /// 95th percentile.
    pub top5: f64,
    /// Mean of the scores at or above `top1`.
    pub top1_mean: f64,
    /// Mean of the scores at or above `top5`.
    pub top5_mean: f64,
}

impl Summary {
    /// Of one score a voxel; NaN in every field if no voxel has one.
    pub fn of(scores: &[f32]) -> Self {
        let mut sorted: Vec<f64> =
            scores.iter().filter(|s| !s.is_nan()).map(|&s| f64::from(s)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (top1, top5) = (quantile(&sorted, 0.99), quantile(&sorted, 0.95));
        let above = |threshold: f64| mean(&sorted[sorted.partition_point(|&s| s < threshold)..]);
        Self {
            n_voxels: scores.len(),
            n_voxels_used: sorted.len(),
            mean: mean(&sorted),
            median: quantile(&sorted, 0.5),
            top1,
            top5,
            top1_mean: above(top1),
            top5_mean: above(top5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voxels_without_a_score_are_left_out_and_counted() {
        let mut scores: Vec<f32> = (0..101).map(|i| i as f32 / 100.0).rev().collect();
        scores.extend([f32::NAN; 7]);
        let summary = Summary::of(&scores);
        assert_eq!((summary.n_voxels, summary.n_voxels_used), (108, 101));
        // The scores are f32 decimals.
        let near = |a: f64, b: f64| (a - b).abs() < 2.0 * f64::from(f32::EPSILON);
        assert!(near(summary.mean, 0.5) && near(summary.median, 0.5));
        assert!(near(summary.top1, 0.99) && near(summary.top5, 0.95));
        assert!(near(summary.top1_mean, 0.995) && near(summary.top5_mean, 0.975));
    }

    #[test]
    fn one_voxel_and_none_have_summaries_too() {
        let one = Summary::of(&[0.25]);
        assert_eq!((one.mean, one.top1, one.top5_mean), (0.25, 0.25, 0.25));
        let none = Summary::of(&[f32::NAN]);
        assert_eq!(none.n_voxels_used, 0);
        assert!(none.mean.is_nan() && none.top1_mean.is_nan());
    }
}
