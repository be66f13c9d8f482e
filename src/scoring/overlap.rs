//! Whether two models predict the same voxels best.

use crate::stats::quantile;

/// Voxels at or above the 95th percentile of the scores (`top5` of a summary).
pub fn top5(scores: &[f32]) -> Vec<bool> {
    let mut sorted: Vec<f64> =
        scores.iter().filter(|s| !s.is_nan()).map(|&s| f64::from(s)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let threshold = quantile(&sorted, 0.95);
    scores.iter().map(|&s| f64::from(s) >= threshold).collect()
}

/// Jaccard index of two sets of voxels: |a ∩ b| / |a ∪ b|; NaN for two empty sets.
pub fn jaccard(a: &[bool], b: &[bool]) -> f64 {
    let count =
        |f: &dyn Fn(bool, bool) -> bool| a.iter().zip(b).filter(|&(&a, &b)| f(a, b)).count() as f64;
    count(&|a, b| a && b) / count(&|a, b| a || b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_overlap_by_one_and_others_by_their_share() {
        let scores: Vec<f32> = (0..100).map(|i| i as f32).chain([f32::NAN; 5]).collect();
        let top = top5(&scores);
        // The 95th percentile of 0…99 is 94.05.
        assert_eq!(top.iter().filter(|&&t| t).count(), 5);
        assert!(top[95] && !top[94] && !top[104]);
        assert_eq!(jaccard(&top, &top), 1.0);
        let turned: Vec<f32> = scores.iter().map(|s| -s).collect();
        assert_eq!(jaccard(&top, &top5(&turned)), 0.0);
        let mut other = top.clone();
        (other[95], other[0]) = (false, true);
        assert_eq!(jaccard(&top, &other), 4.0 / 6.0);
        assert!(jaccard(&[false], &[false]).is_nan());
        assert!(top5(&[f32::NAN]).iter().all(|&t| !t));
    }
}
