//! The few statistics that every stage shares; one definition each.

/// Pearson r from sums over n rows: n, Σp, Σp², Σy, Σy², Σpy.
///
/// Sums in f64. NaN where either side does not vary (no correlation is defined), or n < 2.
/// Shift both sides by a constant near their mean before summing where means are large.
pub fn pearson_from_sums(n: f64, p: f64, pp: f64, y: f64, yy: f64, py: f64) -> f64 {
    if n < 2.0 {
        return f64::NAN;
    }
    let var_p = pp - p * p / n;
    let var_y = yy - y * y / n;
    // What is left of a constant after rounding: n roundings of the squared mean.
    let floor = |square: f64| n * f64::EPSILON * square;
    if var_p <= floor(pp) || var_y <= floor(yy) {
        return f64::NAN;
    }
    ((py - p * y / n) / (var_p * var_y).sqrt()).clamp(-1.0, 1.0)
}

/// The value below which a share `q` (0…1) of the values lies: linear interpolation between
/// order statistics, as NumPy's default and the lab's scripts. NaN without values.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let low = at.floor() as usize;
    let high = (low + 1).min(last);
    let (share, step) = (at - low as f64, sorted[high] - sorted[low]);
    // From the nearer end, as NumPy's `_lerp`, so that the last bits agree too.
    if share < 0.5 { sorted[low] + step * share } else { sorted[high] - step * (1.0 - share) }
}

/// Arithmetic mean; NaN without values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Index of the best score; equal scores go to the larger index (the larger alpha).
///
/// With `tolerance` > 0 the smallest index whose score is within that share of the best.
/// `None` if no score is a number.
pub fn best_index(scores: impl Iterator<Item = f32> + Clone, tolerance: f64) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (a, score) in scores.clone().enumerate() {
        if !score.is_nan() && best.is_none_or(|(_, top)| score >= top) {
            best = Some((a, score));
        }
    }
    let (index, top) = best?;
    if tolerance <= 0.0 {
        return Some(index);
    }
    let enough = f64::from(top) - tolerance * f64::from(top).abs();
    scores.enumerate().find(|(_, score)| f64::from(*score) >= enough).map(|(a, _)| a)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pearson_is_one_for_a_line_and_nan_for_a_constant() {
        let line = |n: usize| (0..n).map(|i| 3.0 + 2.0 * i as f64).collect::<Vec<_>>();
        for n in [2, 3, 31, 33] {
            let (x, y) = (line(n), line(n).iter().map(|v| -0.5 * v).collect::<Vec<_>>());
            let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
            let r = pearson_from_sums(
                n as f64,
                sum(&|i| x[i]),
                sum(&|i| x[i] * x[i]),
                sum(&|i| y[i]),
                sum(&|i| y[i] * y[i]),
                sum(&|i| x[i] * y[i]),
            );
            assert!((r + 1.0).abs() < 1e-12, "{r}");
        }
        assert!(pearson_from_sums(3.0, 3.0, 3.0, 1.0, 5.0, 1.0).is_nan());
        assert!(pearson_from_sums(1.0, 1.0, 2.0, 1.0, 5.0, 1.0).is_nan());
    }

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert!((quantile(&values, 0.99) - 7.88).abs() <= 8.0 * f64::EPSILON);
        assert_eq!(quantile(&values, 1.0), 8.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn equal_scores_take_the_larger_alpha() {
        assert_eq!(best_index([0.1, 0.3, 0.3, 0.2].into_iter(), 0.0), Some(2));
        assert_eq!(best_index([0.1, 0.3, 0.3, 0.2].into_iter(), 0.5), Some(1));
        assert_eq!(best_index([-0.3, -0.1, -0.2].into_iter(), 0.0), Some(1));
        assert_eq!(best_index([-0.105, -0.1, -0.2].into_iter(), 0.1), Some(0));
        assert_eq!(best_index([f32::NAN, 0.0, f32::NAN].into_iter(), 0.0), Some(1));
        assert_eq!(best_index([f32::NAN; 2].into_iter(), 0.0), None);
    }
}
