//! From permutations to significant voxels.

/// One-sided p-value of a permutation test: (1 + n_at_least) / (1 + n), never zero.
///
/// `n_at_least`: permutations whose score is at least the observed one (Phipson & Smyth 2010,
/// equation 2). NaN for a voxel without a score.
pub fn p_value(score: f32, n_at_least: u32, n: usize) -> f64 {
    if score.is_nan() {
        return f64::NAN;
    }
    (1.0 + f64::from(n_at_least)) / (1.0 + n as f64)
}

/// Largest p-value that is significant at false discovery rate `q`; `None` if none is.
///
/// Benjamini & Hochberg (1995): the largest of the sorted p(i) with p(i) ≤ i·q/m, where m counts
/// the voxels that have a p-value. A voxel is significant if its p is at most this.
pub fn fdr_threshold(p_values: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = p_values.iter().copied().filter(|p| !p.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let m = sorted.len() as f64;
    let is_below = |&(i, &p): &(usize, &f64)| p <= (i + 1) as f64 / m * q;
    sorted.iter().enumerate().rev().find(is_below).map(|(_, &p)| p)
}

/// Which voxels are significant, given [`fdr_threshold`]; those without a p-value are not.
pub fn significant(p_values: &[f64], threshold: Option<f64>) -> Vec<bool> {
    p_values.iter().map(|&p| threshold.is_some_and(|most| p <= most)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_count_the_observed_arrangement_too() {
        assert_eq!(p_value(0.3, 0, 999), 0.001);
        assert_eq!(p_value(0.3, 999, 999), 1.0);
        assert!(p_value(f32::NAN, 0, 999).is_nan());
    }

    #[test]
    fn the_papers_own_example_rejects_four_of_fifteen() {
        // Benjamini & Hochberg (1995), section 4: the thrombolysis study at q = 0.05.
        let p = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
            0.5719, 0.6528, 0.7590, 1.0,
        ];
        let threshold = fdr_threshold(&p, 0.05);
        assert_eq!(threshold, Some(0.0095));
        assert_eq!(significant(&p, threshold).iter().filter(|&&s| s).count(), 4);
    }

    #[test]
    fn voxels_without_a_p_value_count_for_nothing() {
        let p = [f64::NAN, 0.02, f64::NAN, 0.04, f64::NAN];
        let threshold = fdr_threshold(&p, 0.05);
        assert_eq!(significant(&p, threshold), [false, true, false, true, false]);
        assert_eq!(fdr_threshold(&[0.9, 0.8], 0.05), None);
        assert_eq!(fdr_threshold(&[f64::NAN], 0.05), None);
        assert_eq!(significant(&[0.9, f64::NAN], None), [false, false]);
    }
}
