//! How far a mean over test stories can be trusted.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::{mean, quantile};

/// A mean over stories and its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Over the stories.
    pub mean: f64,
    /// 2.5th percentile of the resampled means.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Percentile bootstrap of the mean of one number a story (Efron 1979): stories are drawn with
/// replacement, `resamples` times, by ChaCha8 seeded with `seed`.
///
/// Stories without a number (NaN) are left out. The interval is NaN for fewer than 2 stories or
/// without resamples. Equal seeds and numbers of stories draw the same stories.
pub fn story_bootstrap(of_stories: &[f64], resamples: usize, seed: u64) -> Interval {
    let values: Vec<f64> = of_stories.iter().copied().filter(|x| !x.is_nan()).collect();
    let observed = mean(&values);
    if values.len() < 2 || resamples == 0 {
        return Interval { mean: observed, low: f64::NAN, high: f64::NAN };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || {
        let drawn = (0..values.len()).map(|_| values[rng.random_range(0..values.len())]);
        drawn.sum::<f64>() / values.len() as f64
    };
    let mut means: Vec<f64> = (0..resamples).map(|_| draw()).collect();
    means.sort_unstable_by(f64::total_cmp);
    Interval { mean: observed, low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// Per story, the mean over voxels of a − b, where both have a score; NaN if no voxel has.
///
/// `a`, `b`: one row a story, one score a voxel.
pub fn story_differences(a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<f64> {
    let difference = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        let both = a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b));
        mean(&both.filter(|d| !d.is_nan()).collect::<Vec<_>>())
    };
    a.iter().zip(b).map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::StandardNormal;

    #[test]
    fn the_interval_covers_the_truth_about_as_often_as_it_says() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (n_stories, n_studies) = (20, 400);
        let covered = (0..n_studies).filter(|&study| {
            let stories: Vec<f64> =
                (0..n_stories).map(|_| 0.3 + rng.sample::<f64, _>(StandardNormal)).collect();
            let found = story_bootstrap(&stories, 500, study);
            found.low <= 0.3 && 0.3 <= found.high
        });
        let share = covered.count() as f64 / n_studies as f64;
        // With 20 stories the percentile bootstrap covers t₁₉(1.96·√(19/20)) = 0.93 of the time;
        // 4 binomial standard deviations are 0.05.
        assert!((share - 0.93).abs() < 0.05, "{share}");
    }

    #[test]
    fn the_interval_has_the_width_of_the_standard_error() {
        // Numbers of known spread: the resampled means have sd σ/√n with σ² = Σ(x − x̄)²/n.
        let stories: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let found = story_bootstrap(&stories, 20_000, 1);
        let se = ((20.0f64 * 20.0 - 1.0) / 12.0 / 400.0).sqrt();
        assert_eq!(found.mean, 9.5);
        // The percentile's own error over 20,000 resamples is about 2 % of the standard error.
        let bound = 0.08 * se;
        assert!((found.low - (9.5 - 1.96 * se)).abs() < bound, "{found:?}");
        assert!((found.high - (9.5 + 1.96 * se)).abs() < bound, "{found:?}");
        assert_eq!(found, story_bootstrap(&stories, 20_000, 1));
        assert_ne!(found, story_bootstrap(&stories, 20_000, 2));
    }

    #[test]
    fn stories_and_voxels_without_a_score_are_left_out() {
        let nan = f32::NAN;
        let a = [vec![0.5, nan, 0.25], vec![nan, nan, nan], vec![0.5, 0.5, 0.5]];
        let b = [vec![0.25, 0.5, nan], vec![0.5, 0.5, 0.5], vec![0.25, 0.25, 0.5]];
        let differences = story_differences(&a, &b);
        assert_eq!(differences[0], 0.25);
        assert!(differences[1].is_nan());
        let found = story_bootstrap(&differences, 100, 1);
        assert!((found.mean - (0.25 + 0.5 / 3.0) / 2.0).abs() < 1e-15);
        assert!(found.low <= found.mean && found.mean <= found.high);
        assert!(story_bootstrap(&differences[..2], 100, 1).low.is_nan());
        assert!(story_bootstrap(&differences, 0, 1).high.is_nan());
    }
}
