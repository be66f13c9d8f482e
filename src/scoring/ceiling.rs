//! The largest correlation that a model can have with BOLD that was measured several times.

/// Signal power and power of the mean, per voxel, of one story's repeats.
///
/// For N repeats y₁…y_N of n rows (variances with n in the denominator):
/// ```text
/// SP = ( Var(Σ y_i) − Σ Var(y_i) ) / ( N (N − 1) )        Var(ȳ), ȳ the mean of the repeats
/// ```
/// SP is what the repeats share (Sahani & Linden 2003, equations 1 to 3); it may come out below 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    /// `(n_voxels)` SP.
    pub signal: Vec<f64>,
    /// `(n_voxels)` Var(ȳ).
    pub of_mean: Vec<f64>,
    /// Rows.
    pub n_rows: usize,
}

impl Power {
    /// Of at least two repeats, `(n_rows, n_voxels)` row-major each; sums in f64. A voxel with a NaN
    /// or an infinity in any repeat is NaN.
    pub fn of(repeats: &[Vec<f32>], n_voxels: usize) -> Self {
        let n_rows = repeats.first().map_or(0, |rows| rows.len() / n_voxels.max(1));
        let n = n_rows as f64;
        let variances = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
            let (mut sums, mut squares) = (vec![0.0; n_voxels], vec![0.0; n_voxels]);
            // Shifted by the first row: BOLD's mean may be far from zero.
            for t in 0..n_rows {
                for v in 0..n_voxels {
                    let x = value(t * n_voxels + v) - value(v);
                    sums[v] += x;
                    squares[v] += x * x;
                }
            }
            sums.iter().zip(&squares).map(|(s, ss)| ss / n - (s / n) * (s / n)).collect()
        };
        let total = |i: usize| repeats.iter().map(|rows| f64::from(rows[i])).sum::<f64>();
        let of_sum = variances(&total);
        let mut own = vec![0.0; n_voxels];
        for rows in repeats {
            let of_one = variances(&|i| f64::from(rows[i]));
            own.iter_mut().zip(of_one).for_each(|(sum, x)| *sum += x);
        }
        let n_repeats = repeats.len() as f64;
        let signal =
            of_sum.iter().zip(&own).map(|(all, own)| (all - own) / n_repeats / (n_repeats - 1.0));
        let of_mean = of_sum.iter().map(|all| all / n_repeats / n_repeats);
        Self { signal: signal.collect(), of_mean: of_mean.collect(), n_rows }
    }
}

/// √(SP / Var(ȳ)) over stories, weighted by their rows: the correlation of the mean of the repeats
/// with what they share, CC_max of Schoppe et al. (2016), equation 7.
///
/// NaN for a voxel whose repeats share nothing (SP ≤ 0), at most 1.
pub fn noise_ceiling(stories: &[Power]) -> Vec<f32> {
    let n_voxels = stories.first().map_or(0, |story| story.signal.len());
    let sum = |of: &dyn Fn(&Power) -> f64| -> f64 {
        stories.iter().map(|story| story.n_rows as f64 * of(story)).sum()
    };
    (0..n_voxels)
        .map(|v| {
            let signal = sum(&|story| story.signal[v]);
            let of_mean = sum(&|story| story.of_mean[v]);
            match signal > 0.0 && of_mean > 0.0 {
                true => (signal / of_mean).sqrt().min(1.0) as f32,
                false => f32::NAN,
            }
        })
        .collect()
}

/// Ceilings below this are mostly noise themselves: no score is divided by them.
pub const MIN_CEILING: f32 = 0.2;

/// r over ceiling, CC_norm of Schoppe et al. (2016), equation 6; NaN below [`MIN_CEILING`].
pub fn normalised(r: &[f32], ceiling: &[f32]) -> Vec<f32> {
    let one = |(&r, &c): (&f32, &f32)| if c >= MIN_CEILING { r / c } else { f32::NAN };
    r.iter().zip(ceiling).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_distr::StandardNormal;

    /// Repeats of a signal of variance 1 under noise of a given sd, voxel by voxel.
    fn repeats(n: usize, n_repeats: usize, sd: &[f64], seed: u64) -> (Vec<f64>, Vec<Vec<f32>>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let signal: Vec<f64> = (0..n * sd.len()).map(|_| rng.sample(StandardNormal)).collect();
        let mut one = || {
            let noisy = |(i, s): (usize, &f64)| {
                let noise: f64 = rng.sample(StandardNormal);
                (500.0 + s + sd[i % sd.len()] * noise) as f32
            };
            signal.iter().enumerate().map(noisy).collect()
        };
        let made = (0..n_repeats).map(|_| one()).collect();
        (signal, made)
    }

    #[test]
    fn the_ceiling_is_the_correlation_of_signal_and_mean() {
        let (n, sd) = (20_000, [0.0, 0.5, 1.0, 3.0]);
        for n_repeats in [2, 5, 10] {
            let (_, made) = repeats(n, n_repeats, &sd, n_repeats as u64);
            let ceiling = noise_ceiling(&[Power::of(&made, sd.len())]);
            for (ceiling, sd) in ceiling.iter().zip(sd) {
                let expected = (1.0 / (1.0 + sd * sd / n_repeats as f64)).sqrt();
                // The standard error of SP is below (1 + sd²)·√(2/n); halved by the root.
                let bound = 4.0 * (1.0 + sd * sd) * (2.0 / n as f64).sqrt();
                assert!(
                    (f64::from(*ceiling) - expected).abs() < bound,
                    "{n_repeats} {sd} {ceiling}"
                );
            }
        }
    }

    #[test]
    fn stories_are_weighted_by_their_rows_and_noise_has_no_ceiling() {
        let story = |signal: f64, of_mean: f64, n_rows: usize| Power {
            signal: vec![signal, -0.1, f64::NAN],
            of_mean: vec![of_mean, 1.0, f64::NAN],
            n_rows,
        };
        let found = noise_ceiling(&[story(0.5, 1.0, 100), story(0.2, 0.8, 300)]);
        assert!((f64::from(found[0]) - (110.0f64 / 340.0).sqrt()).abs() < 1e-7);
        assert!(found[1].is_nan() && found[2].is_nan());
        assert_eq!(noise_ceiling(&[story(1.0, 0.9, 10)])[0], 1.0);
        let r = normalised(&[0.3, 0.3, 0.3], &[0.6, 0.1, f32::NAN]);
        assert_eq!(r[0], 0.5);
        assert!(r[1].is_nan() && r[2].is_nan());
    }

    #[test]
    fn powers_of_small_integers_are_exact_and_nan_stays() {
        let repeats = [vec![1.0, 1.0, 2.0, 1.0, 3.0, f32::NAN], vec![3.0, 1.0, 2.0, 1.0, 1.0, 1.0]];
        let power = Power::of(&repeats, 2);
        // Voxel 0: 1 2 3 and 3 2 1 cancel; their variances are 2/3.
        assert!((power.signal[0] + 2.0 / 3.0).abs() < 1e-15 && power.of_mean[0].abs() < 1e-15);
        assert!(power.signal[1].is_nan());
        assert_eq!(power.n_rows, 3);
    }
}
