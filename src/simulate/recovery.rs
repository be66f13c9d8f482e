//! How much of the simulated truth a fitted model found.

use super::bold::Truth;
use crate::error::{Error, Result};

/// Estimated test correlations against the truth. Voxels whose estimate is NaN are left out of
/// everything but `n_voxels`; a mean or share over no voxel is NaN.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Recovery {
    /// Voxels of the simulation.
    pub n_voxels: usize,
    /// Voxels with an estimate.
    pub n_voxels_used: usize,
    /// Those of them that hold a signal.
    pub n_signal_voxels: usize,
    /// Pearson r between true and estimated r over the signal voxels.
    pub correlation: f64,
    /// Mean true r of the signal voxels.
    pub mean_true_r: f64,
    /// Mean estimated r of the signal voxels.
    pub mean_estimated_r: f64,
    /// Share of the noise voxels whose estimate is above the threshold (false alarms).
    pub noise_above: f64,
    /// Share of the signal voxels whose estimate is above the threshold (hits).
    pub signal_above: f64,
    /// The threshold, as given.
    pub threshold: f64,
}

/// Best single delays against the planted peaks, over the signal voxels whose largest single-delay r
/// is above the threshold; a mean or share over no voxel is NaN.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct DelayRecovery {
    /// Those voxels.
    pub n_voxels: usize,
    /// Share of them whose best delay is within one TR of the planted peak.
    pub within_one: f64,
    /// Voxels among them with a later response.
    pub n_late: usize,
    /// Share of these within one TR.
    pub late_within_one: f64,
    /// Mean best delay of the voxels without a later response, in TRs.
    pub mean_delay: f64,
    /// The same of those with one.
    pub late_mean_delay: f64,
    /// The threshold, as given.
    pub threshold: f64,
}

/// How well best delays were found.
///
/// `best`: `(n_voxels)` in TRs, NaN where there is none; `largest`: `(n_voxels)` r at that delay.
/// # Errors
/// `Error::Shape` if the voxel counts differ.
pub fn delay_recovery(
    truth: &Truth,
    best: &[f64],
    largest: &[f64],
    threshold: f64,
) -> Result<DelayRecovery> {
    check_voxels(truth, best)?;
    check_voxels(truth, largest)?;
    let is_used = |v: &usize| !truth.is_noise[*v] && !best[*v].is_nan() && largest[*v] > threshold;
    let (late, other): (Vec<usize>, Vec<usize>) =
        (0..best.len()).filter(is_used).partition(|&v| truth.is_late[v]);
    let n_near = |voxels: &[usize]| {
        voxels.iter().filter(|&&v| (best[v] - truth.peak_trs[v] as f64).abs() <= 1.0).count()
    };
    let mean_of = |voxels: &[usize]| mean(&voxels.iter().map(|&v| best[v]).collect::<Vec<_>>());
    let n_voxels = late.len() + other.len();
    Ok(DelayRecovery {
        n_voxels,
        within_one: (n_near(&late) + n_near(&other)) as f64 / n_voxels as f64,
        n_late: late.len(),
        late_within_one: n_near(&late) as f64 / late.len() as f64,
        mean_delay: mean_of(&other),
        late_mean_delay: mean_of(&late),
        threshold,
    })
}

fn check_voxels(truth: &Truth, estimated: &[f64]) -> Result<()> {
    let n_voxels = truth.true_r.len();
    if estimated.len() == n_voxels {
        return Ok(());
    }
    Err(Error::Shape {
        what: "recovery: estimates".into(),
        expected: format!("{n_voxels} voxels as simulated"),
        got: estimated.len().to_string(),
        hint: "score the simulated voxels".into(),
    })
}

/// The recovery of `truth.true_r` (see `Truth::scored_on`) by a model's `estimated_r`.
///
/// `estimated_r`: `(n_voxels)` f64, NaN where a voxel has no score. `threshold`: an r, usually
/// `chance_threshold`'s.
/// # Errors
/// `Error::Shape` if the voxel counts differ.
pub fn recovery(truth: &Truth, estimated_r: &[f64], threshold: f64) -> Result<Recovery> {
    let n_voxels = truth.true_r.len();
    check_voxels(truth, estimated_r)?;
    let used = |v: &usize| !estimated_r[*v].is_nan();
    let (noise, signal): (Vec<usize>, Vec<usize>) =
        (0..n_voxels).filter(used).partition(|&v| truth.is_noise[v]);
    let true_of: Vec<f64> = signal.iter().map(|&v| truth.true_r[v]).collect();
    let estimated_of: Vec<f64> = signal.iter().map(|&v| estimated_r[v]).collect();
    let share_above = |voxels: &[usize]| {
        let n_above = voxels.iter().filter(|&&v| estimated_r[v] > threshold).count();
        n_above as f64 / voxels.len() as f64
    };
    Ok(Recovery {
        n_voxels,
        n_voxels_used: noise.len() + signal.len(),
        n_signal_voxels: signal.len(),
        correlation: correlation(&true_of, &estimated_of),
        mean_true_r: mean(&true_of),
        mean_estimated_r: mean(&estimated_of),
        noise_above: share_above(&noise),
        signal_above: share_above(&signal),
        threshold,
    })
}

/// The r that chance alone exceeds rarely: z / sqrt(n_eff), the normal approximation.
///
/// n_eff = n_trs · (1 − a b)/(1 + a b), a and b the lag-1 autocorrelations of prediction and BOLD
/// (Bartlett 1935: the variance of r between two independent AR(1) series). `z` is the two-sided
/// normal quantile: at 1.96, |r| of a voxel without signal is above in 5 % and r itself, which is
/// what `recovery` counts, in 2.5 %. NaN if `n_trs` is 0 or a · b is not inside (−1, 1).
pub fn chance_threshold(n_trs: usize, z: f64, ar1_prediction: f64, ar1_bold: f64) -> f64 {
    let product = ar1_prediction * ar1_bold;
    if n_trs == 0 || product.is_nan() || product.abs() >= 1.0 {
        return f64::NAN;
    }
    z / (n_trs as f64 * (1.0 - product) / (1.0 + product)).sqrt()
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Pearson r, two passes in f64; NaN under two values or if one side is constant.
fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        xy += (x - mean_x) * (y - mean_y);
        xx += (x - mean_x).powi(2);
        yy += (y - mean_y).powi(2);
    }
    xy / (xx * yy).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::settings::SimulateSettings;
    use crate::simulate::{demo_assets, simulate, speech};
    use ndarray::{Array2, s};
    use std::collections::HashMap;

    fn truth(n_voxels: usize) -> Truth {
        let x = Array2::from_shape_fn((40, 2), |(t, f)| ((t * (f + 3)) % 7) as f32);
        let settings = SimulateSettings { n_voxels, ..SimulateSettings::default() };
        simulate(&[x], (0, 0), &settings.check().unwrap(), |_, _| Ok(())).unwrap()
    }

    #[test]
    fn a_perfect_model_recovers_everything() {
        let truth = truth(50);
        let found = recovery(&truth, &truth.true_r, 0.0).unwrap();
        assert_eq!((found.n_voxels, found.n_voxels_used), (50, 50));
        assert!((found.correlation - 1.0).abs() < 1e-12);
        assert_eq!(found.mean_true_r, found.mean_estimated_r);
        assert_eq!(found.noise_above, 0.0);
        assert_eq!(recovery(&truth, &[1.0; 50], 0.5).unwrap().noise_above, 1.0);
    }

    #[test]
    fn voxels_without_a_score_are_left_out_and_counted() {
        let truth = truth(50);
        let mut estimated = truth.true_r.clone();
        let signal = truth.is_noise.iter().position(|&is| !is).unwrap();
        estimated[signal] = f64::NAN;
        let found = recovery(&truth, &estimated, 0.0).unwrap();
        assert_eq!((found.n_voxels, found.n_voxels_used), (50, 49));
        assert!(found.mean_estimated_r.is_finite() && found.correlation > 0.999);
        let none = recovery(&truth, &[f64::NAN; 50], 0.0).unwrap();
        assert!(none.correlation.is_nan() && none.signal_above.is_nan());
        assert_eq!(recovery(&truth, &estimated[..9], 0.0).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn best_delays_count_where_a_signal_was_found() {
        let mut truth = truth(50);
        let signal: Vec<usize> = (0..50).filter(|&v| !truth.is_noise[v]).collect();
        let late = &signal[..4];
        late.iter().for_each(|&v| (truth.is_late[v], truth.peak_trs[v]) = (true, 6));
        let mut best: Vec<f64> = truth.peak_trs.iter().map(|&peak| peak as f64 + 1.0).collect();
        best[late[0]] = 4.0; // two TRs off
        best[late[1]] = f64::NAN;
        let mut largest = vec![0.5; 50];
        largest[late[2]] = 0.1; // not found
        let found = delay_recovery(&truth, &best, &largest, 0.2).unwrap();
        let n = signal.len() - 2;
        assert_eq!((found.n_voxels, found.n_late), (n, 2));
        assert_eq!((found.within_one, found.late_within_one), ((n - 1) as f64 / n as f64, 0.5));
        assert_eq!(found.late_mean_delay, (4.0 + 7.0) / 2.0);
        assert!((found.mean_delay - (truth.peak_trs[signal[9]] as f64 + 1.0)).abs() < 1e-12);
        assert_eq!(delay_recovery(&truth, &best[1..], &largest, 0.2).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn the_chance_threshold_grows_with_autocorrelation() {
        assert!((chance_threshold(400, 1.96, 0.0, 0.5) - 0.098).abs() < 1e-12);
        let corrected = chance_threshold(400, 1.96, 0.8, 0.5);
        assert!((corrected - 0.098 * (1.4f64 / 0.6).sqrt()).abs() < 1e-12);
        assert!(chance_threshold(0, 1.96, 0.0, 0.0).is_nan());
        assert!(chance_threshold(9, 1.96, 1.0, 1.0).is_nan());
    }

    /// A story's summed word vectors per TR: a plain stand-in for the Lanczos filter.
    fn per_tr(words: &[speech::TimedWord], vectors: &HashMap<String, Vec<f32>>) -> Array2<f32> {
        let n_trs = (words.last().unwrap().offset_s + 9.0) as usize / 2 + 6;
        let mut x = Array2::zeros((n_trs, 32));
        for word in words {
            let tr = ((word.onset_s + word.offset_s) / 4.0 + 5.0) as usize;
            if let Some(vector) = vectors.get(&word.word) {
                x.row_mut(tr).iter_mut().zip(vector).for_each(|(x, v)| *x += v);
            }
        }
        x
    }

    /// z-scored within the trimmed story, at delays of 1 to 4 TRs, and as f64.
    fn design(x: &Array2<f32>) -> Array2<f64> {
        let mut z = x.slice(s![10..x.nrows() - 5, ..]).mapv(f64::from);
        for mut column in z.columns_mut() {
            let mean = column.mean().unwrap();
            let sd = column.std(0.0);
            column.mapv_inplace(|x| (x - mean) / sd);
        }
        let mut out = Array2::zeros((z.nrows(), 4 * 32));
        for delay in 1..=4 {
            let from = z.slice(s![..z.nrows() - delay, ..]);
            out.slice_mut(s![delay.., (delay - 1) * 32..delay * 32]).assign(&from);
        }
        out
    }

    /// (G + alpha I)⁻¹ C by Gaussian elimination without pivoting: G is positive definite.
    fn solve(mut gram: Array2<f64>, mut xty: Array2<f64>, alpha: f64) -> Array2<f64> {
        let p = gram.nrows();
        (0..p).for_each(|i| gram[[i, i]] += alpha);
        for i in 0..p {
            let (pivot, right) = (gram.row(i).to_owned(), xty.row(i).to_owned());
            for j in (0..p).filter(|&j| j != i) {
                let factor = gram[[j, i]] / pivot[i];
                gram.row_mut(j).scaled_add(-factor, &pivot);
                xty.row_mut(j).scaled_add(-factor, &right);
            }
        }
        for i in 0..p {
            let pivot = gram[[i, i]];
            xty.row_mut(i).mapv_inplace(|x| x / pivot);
        }
        xty
    }

    #[test]
    fn a_plain_ridge_on_the_demo_finds_the_truth_in_stories_it_has_not_seen() {
        let vectors = demo_assets::tests::parse_glove();
        let speech = speech::SpeechSettings::default().check().unwrap();
        let x: Vec<Array2<f32>> = demo_assets::stories()
            .iter()
            .map(|(_, text)| per_tr(&speech::speak(text, &speech, 1), &vectors))
            .collect();
        let settings = SimulateSettings { n_voxels: 300, ..SimulateSettings::default() };
        let mut bold = Vec::new();
        let truth = simulate(&x, (10, 5), &settings.check().unwrap(), |_, story| {
            bold.push(story.mapv(f64::from));
            Ok(())
        });
        let test = [2, 7, 12];
        let truth = truth.unwrap().scored_on(&test).unwrap();
        let (mut gram, mut xty) = (Array2::zeros((128, 128)), Array2::zeros((128, 300)));
        for i in (0..x.len()).filter(|i| !test.contains(i)) {
            let x = design(&x[i]);
            gram += &x.t().dot(&x);
            xty += &x.t().dot(&bold[i]);
        }
        // Means over 300 voxels hardly change for alpha from 300 to 3000.
        let weights = solve(gram, xty, 1000.0);
        let (mut predicted, mut measured) = (vec![Vec::new(); 300], vec![Vec::new(); 300]);
        for i in test {
            let y = design(&x[i]).dot(&weights);
            for v in 0..300 {
                predicted[v].extend(y.column(v));
                measured[v].extend(bold[i].column(v));
            }
        }
        let estimated: Vec<f64> =
            predicted.iter().zip(&measured).map(|(p, m)| correlation(p, m)).collect();
        let n_test = measured[0].len();
        let threshold = chance_threshold(n_test, 1.96, 0.8, 0.3);
        let found = recovery(&truth, &estimated, threshold).unwrap();
        // Least squares with p columns on n rows reaches r sqrt(n s / (n s + p)), s = r²/(1 − r²)
        // the signal's share; ridge does better. A tenth is left for what delays of 1 to 4 TRs and
        // z-scoring by story cannot follow.
        let n_train = bold.iter().map(Array2::nrows).sum::<usize>() - n_test;
        let least_squares: f64 = (0..300)
            .filter(|&v| !truth.is_noise[v])
            .map(|v| {
                let information =
                    n_train as f64 * truth.asked_r[v].powi(2) / (1.0 - truth.asked_r[v].powi(2));
                truth.true_r[v] * (information / (information + 128.0)).sqrt()
            })
            .sum();
        let expected = least_squares / found.n_signal_voxels as f64;
        assert!(found.mean_estimated_r > 0.9 * expected, "{expected}: {found:?}");
        // Estimates scatter with threshold / 1.96 around true values whose sd is 0.55 / 5
        // (Beta(2, 3)): that bounds their correlation; four standard errors below it.
        let reliability = 1.0 / (1.0 + (threshold / 1.96 / 0.11).powi(2));
        let error = (1.0 - reliability) / (found.n_signal_voxels as f64).sqrt();
        assert!(found.correlation > reliability.sqrt() - 4.0 * error, "{found:?}");
        // A share of 2.5 % of the noise voxels, and four standard errors of a binomial share.
        let n_noise = (300 - found.n_signal_voxels) as f64;
        let false_alarms = 0.025 + 4.0 * (0.025 * 0.975 / n_noise).sqrt();
        assert!(found.noise_above < false_alarms, "{found:?}");
        assert!(found.signal_above > 3.0 * false_alarms, "{found:?}");
    }
}
