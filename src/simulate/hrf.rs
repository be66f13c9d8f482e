//! The haemodynamic response: a double gamma, sampled at the TR.

use ndarray::{Array2, ArrayView2};

/// Shape of the response and of its undershoot, and how much smaller the undershoot is.
///
/// SPM's canonical response (spm_hrf.m): gamma densities of shape 6 and 16, ratio 6, peak at 5 s.
const RESPONSE_SHAPE: i32 = 6;
const UNDERSHOOT_SHAPE: i32 = 16;
const UNDERSHOOT_RATIO: f64 = 6.0;
/// Seconds after which the response is over.
const LENGTH_S: f64 = 32.0;

/// The response to a word at 0, 1, 2, … TRs after it, as f64 with a largest value of 1.
///
/// h(t) = g(t; 6) − g(t; 16)/6 with g(t; a) = u^(a−1) e^(−u) / (a−1)!, u = 5 t / peak_s: the first
/// gamma peaks at `peak_s` exactly, the undershoot three times later.
pub fn hrf(tr_s: f64, peak_s: f64) -> Vec<f64> {
    let n_lags = (LENGTH_S / tr_s).ceil() as usize + 1;
    let mut response: Vec<f64> = (0..n_lags)
        .map(|lag| {
            let u = lag as f64 * tr_s * f64::from(RESPONSE_SHAPE - 1) / peak_s;
            gamma(u, RESPONSE_SHAPE) - gamma(u, UNDERSHOOT_SHAPE) / UNDERSHOOT_RATIO
        })
        .collect();
    let largest = response.iter().copied().fold(0.0, f64::max);
    response.iter_mut().for_each(|h| *h /= largest);
    response
}

/// Gamma density of integer shape and scale 1.
fn gamma(u: f64, shape: i32) -> f64 {
    let factorial: f64 = (1..shape).map(f64::from).product();
    u.powi(shape - 1) * (-u).exp() / factorial
}

/// Each column convolved with the response, in f64: row t is Σ_k `response[k] · x[t − k]`.
///
/// `x`: `(n_trs, n_features)`, one story; before its first row there is silence (zeros).
pub fn convolve(x: ArrayView2<f64>, response: &[f64]) -> Array2<f64> {
    let mut out = Array2::zeros(x.raw_dim());
    for t in 0..x.nrows() {
        for (lag, &h) in response.iter().enumerate().take(t + 1) {
            out.row_mut(t).scaled_add(h, &x.row(t - lag));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_response_peaks_where_it_is_told_and_undershoots_later() {
        for peak_s in [3.0, 4.5, 5.0, 6.25, 8.0] {
            let fine = hrf(0.01, peak_s);
            let peak = (0..fine.len()).max_by(|&i, &j| fine[i].total_cmp(&fine[j])).unwrap();
            // The undershoot pulls the sum's peak forward by less than 2 %.
            assert!((peak as f64 * 0.01 - peak_s).abs() < 0.02 * peak_s, "{peak_s}: {peak}");
            let low = (0..fine.len()).min_by(|&i, &j| fine[i].total_cmp(&fine[j])).unwrap();
            assert!(low > 2 * peak && fine[low] < 0.0);
        }
    }

    #[test]
    fn delays_of_one_to_four_trs_hold_nearly_all_of_the_response() {
        let response = hrf(2.0, 5.0);
        assert_eq!(response[0], 0.0);
        let energy = |from: usize, to: usize| response[from..to].iter().map(|h| h * h).sum::<f64>();
        assert!(energy(1, 5) > 0.95 * energy(0, response.len()));
    }

    #[test]
    fn an_impulse_gives_back_the_response_and_never_looks_ahead() {
        let mut x = Array2::<f64>::zeros((40, 1));
        x[[7, 0]] = 2.0;
        let response = hrf(2.0, 5.0);
        let out = convolve(x.view(), &response);
        for t in 0..40usize {
            let expected =
                t.checked_sub(7).and_then(|lag| response.get(lag)).map_or(0.0, |h| 2.0 * h);
            assert_eq!(out[[t, 0]], expected);
        }
        let short = convolve(array![[1.0, 3.0]].view(), &response);
        assert_eq!(short, array![[0.0, 0.0]], "a story shorter than the response");
    }
}
