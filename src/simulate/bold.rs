//! Features to BOLD, story by story, with the truth behind it.

use super::drive::{drives, kept_rows};
use super::hrf::hrf;
use super::settings::{Checked, SimulateSettings};
use super::tuning::{self, Purpose, scaled_weights, stream, subject_peak_s};
use crate::error::{Error, Result};
use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, s};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// What the simulated voxels really do; the yardstick for a fitted model.
#[derive(Debug, Clone)]
pub struct Truth {
    /// `(n_voxels)` correlation of the noise-free signal with the BOLD, on the realised data, over
    /// all stories or those of `scored_on`; the largest test r a perfect model can expect. 0 in
    /// pure-noise voxels.
    pub true_r: Vec<f64>,
    /// `(n_voxels)` the correlation that was asked for, of which `true_r` is one sample.
    pub asked_r: Vec<f64>,
    /// `(n_voxels)` true where the voxel holds noise only.
    pub is_noise: Vec<bool>,
    /// `(n_features, n_voxels)` weights of the features z-scored over all stories, before the
    /// haemodynamic response; scaled so that a signal has variance 1.
    pub weights: Array2<f32>,
    /// The response at 0, 1, 2, … TRs, largest value 1; voxels of a later one have it `late_trs`
    /// later.
    pub hrf: Vec<f64>,
    /// `(n_voxels)` TRs from a word to the largest response.
    pub peak_trs: Vec<usize>,
    /// `(n_voxels)` true where the response comes later than elsewhere.
    pub is_late: Vec<bool>,
    /// `(n_voxels)` true where every story begins with a transient.
    pub has_edge: Vec<bool>,
    /// `(n_stories, n_voxels)` Σ signal · BOLD and Σ signal², of rows centred within the story.
    signal_bold: Array2<f64>,
    signal_squared: Array2<f64>,
    /// Rows of each story, which is also Σ BOLD²: BOLD is z-scored.
    n_rows: Vec<usize>,
}

impl Truth {
    /// The same truth with `true_r` over the rows of these stories only (indices into `features`),
    /// as a model's test score is. It can be called again with other stories.
    ///
    /// # Errors
    /// `Error::Usage` if there is no story or one that was not simulated.
    pub fn scored_on(mut self, stories: &[usize]) -> Result<Self> {
        let n_stories = self.n_rows.len();
        if stories.is_empty() || stories.iter().any(|&s| s >= n_stories) {
            return Err(Error::Usage {
                place: "simulate: stories to score on".into(),
                problem: format!("{stories:?} of {n_stories} simulated stories"),
                hint: format!("give at least one index from 0 to {}", n_stories - 1),
            });
        }
        let n_rows: usize = stories.iter().map(|&s| self.n_rows[s]).sum();
        for v in 0..self.true_r.len() {
            let bold: f64 = stories.iter().map(|&s| self.signal_bold[[s, v]]).sum();
            let squared: f64 = stories.iter().map(|&s| self.signal_squared[[s, v]]).sum();
            self.true_r[v] =
                if squared > 0.0 { bold / (squared * n_rows as f64).sqrt() } else { 0.0 };
        }
        Ok(self)
    }
}

/// Simulates one subject's BOLD for every story, and gives back the truth.
///
/// `features`: one `(n_trs, n_features)` f32 per story, at the TRs *before* the trim; z-scored here
/// with mean and population sd over the kept rows of all stories. `trim`: TRs cut off (head, tail).
/// `each_story(i, bold)` takes story i's BOLD, `(n_trs − head − tail, n_voxels)` f32, each voxel
/// z-scored over those rows; stories come in order and none is kept here.
///
/// signal_v = hrf ∗ (features · w_v), convolved within the story from its first row (rows that the
/// head trim drops still echo in those kept, as in a scanner), variance 1 over all kept rows after
/// centring within stories. BOLD = signal + noise, noise AR(1) Gaussian from its stationary
/// distribution with variance 1/r² − 1, so that corr(signal, BOLD) = r is expected; variance 1 and
/// no signal in pure-noise voxels.
///
/// In a share of the voxels the response comes `late_trs` later; in a share of them BOLD has
/// `edge_size` · sd · exp(−t/`edge_trs`) on top, t the rows of a story from 0, sd that of signal and
/// noise together. `true_r` is that of the signal alone.
///
/// Every random number belongs to its (seed, subject, story, voxel): blocks and threads change no
/// bit, and more voxels leave the first ones as they were. Cost: n_trs · n_features · n_voxels
/// multiply-adds and n_trs · n_voxels normal numbers; memory: one story's BOLD, the weights and two
/// f64 per story and voxel.
///
/// # Errors
/// `Error::Shape` without stories or features, if stories differ in width, or if the trim leaves
/// fewer than 2 rows; `Error::Values` if a feature is not finite or no feature varies; whatever
/// `each_story` returns.
pub fn simulate(
    features: &[Array2<f32>],
    trim: (usize, usize),
    settings: &Checked<SimulateSettings>,
    mut each_story: impl FnMut(usize, Array2<f32>) -> Result<()>,
) -> Result<Truth> {
    let n_rows = kept_rows(features, trim)?;
    let response = hrf(settings.tr_s, subject_peak_s(settings));
    let late = match settings.late_share > 0.0 {
        true => {
            let silence = std::iter::repeat_n(0.0, settings.late_trs);
            let later: Vec<f64> = silence.chain(response.iter().copied()).collect();
            Some(drives(features, trim, &later)?)
        }
        false => None,
    };
    let drives = drives(features, trim, &response)?;
    let (weights, asked_r) = scaled_weights((&drives, late.as_deref()), settings)?;

    let n_voxels = settings.n_voxels;
    let block = settings.block_voxels.min(n_voxels);
    let is_late: Vec<bool> = (0..n_voxels).map(|v| tuning::is_late(settings, v)).collect();
    let has_edge: Vec<bool> = (0..n_voxels).map(|v| tuning::has_edge(settings, v)).collect();
    let mut signal_bold = Array2::zeros((drives.len(), n_voxels));
    let mut signal_squared = Array2::zeros((drives.len(), n_voxels));
    for (story, drive) in drives.iter().enumerate() {
        let mut bold = Array2::<f32>::zeros((drive.nrows(), n_voxels));
        let mut sb_row = signal_bold.row_mut(story);
        let mut ss_row = signal_squared.row_mut(story);
        let blocks: Vec<_> = bold
            .axis_chunks_iter_mut(Axis(1), block)
            .zip(sb_row.axis_chunks_iter_mut(Axis(0), block))
            .zip(ss_row.axis_chunks_iter_mut(Axis(0), block))
            .collect();
        blocks.into_par_iter().enumerate().for_each(|(b, ((mut out, mut sb), mut ss))| {
            let voxels = b * block..b * block + out.ncols();
            // One tile in one piece: columns of `out` lie n_voxels apart, a page for each row.
            let mut tile = Array2::zeros(out.raw_dim());
            put_signal(&mut tile, drive, weights.slice(s![.., voxels.clone()]));
            if let Some(late) = late.as_ref().filter(|_| voxels.clone().any(|v| is_late[v])) {
                let mut other = Array2::zeros(out.raw_dim());
                put_signal(&mut other, &late[story], weights.slice(s![.., voxels.clone()]));
                for (i, _) in voxels.clone().enumerate().filter(|(_, v)| is_late[*v]) {
                    tile.column_mut(i).assign(&other.column(i));
                }
            }
            for (i, v) in voxels.enumerate() {
                let rng = stream(settings, Purpose::Noise, story, v);
                let edge = has_edge[v].then_some((settings.edge_size, settings.edge_trs));
                let noise = (settings.noise_ar1, rng);
                (sb[i], ss[i]) = add_noise(tile.column_mut(i), asked_r[v], noise, edge);
            }
            out.assign(&tile);
        });
        each_story(story, bold)?;
    }

    let is_noise = asked_r.iter().map(|&r| r == 0.0).collect();
    let all: Vec<usize> = (0..drives.len()).collect();
    let true_r = vec![0.0; n_voxels];
    let largest = |&a: &usize, &b: &usize| response[a].total_cmp(&response[b]);
    let peak = (0..response.len()).max_by(largest).unwrap_or(0);
    let peak_of = |&is_late: &bool| peak + if is_late { settings.late_trs } else { 0 };
    Truth {
        true_r,
        asked_r,
        is_noise,
        weights,
        peak_trs: is_late.iter().map(peak_of).collect(),
        hrf: response,
        is_late,
        has_edge,
        signal_bold,
        signal_squared,
        n_rows,
    }
    .scored_on(&all)
}

/// signal = drive · weights into `out`, `(n_rows, block)`. Sums run over features in order in every
/// element, so that the block's width changes no bit (a GEMM would not promise that).
fn put_signal(out: &mut Array2<f32>, drive: &Array2<f32>, weights: ArrayView2<f32>) {
    for (mut row, drive_row) in out.rows_mut().into_iter().zip(drive.rows()) {
        for (&x, weight_row) in drive_row.iter().zip(weights.rows()) {
            row.scaled_add(x, &weight_row);
        }
    }
}

/// Turns a signal into z-scored BOLD in place; gives back Σ signal · BOLD and Σ signal².
/// `edge`: height, in sd of signal and noise, and decay in rows of a transient.
fn add_noise(
    mut column: ArrayViewMut1<f32>,
    r: f64,
    (ar1, mut rng): (f64, ChaCha8Rng),
    edge: Option<(f64, f64)>,
) -> (f64, f64) {
    let noise_sd = if r > 0.0 { (1.0 / (r * r) - 1.0).sqrt() } else { 1.0 };
    let innovation_sd = (1.0 - ar1 * ar1).sqrt();
    // The first value comes from the stationary distribution: variance 1 from the start.
    let mut noise: f64 = StandardNormal.sample(&mut rng);
    let signal: Vec<f64> = column.iter().map(|&x| f64::from(x)).collect();
    let mut bold = Vec::with_capacity(signal.len());
    for signal in &signal {
        bold.push(signal + noise_sd * noise);
        let innovation: f64 = StandardNormal.sample(&mut rng);
        noise = ar1 * noise + innovation_sd * innovation;
    }
    if let Some((size, trs)) = edge {
        let height = size * if r > 0.0 { 1.0 / r } else { 1.0 };
        for (t, bold) in bold.iter_mut().enumerate() {
            *bold += height * (-(t as f64) / trs).exp();
        }
    }
    let n = bold.len() as f64;
    let mean = bold.iter().sum::<f64>() / n;
    let sd = (bold.iter().map(|b| (b - mean).powi(2)).sum::<f64>() / n).sqrt();
    let mut sums = (0.0, 0.0);
    for ((out, bold), signal) in column.iter_mut().zip(&bold).zip(&signal) {
        let z = (bold - mean) / sd;
        *out = z as f32;
        sums.0 += signal * z;
        sums.1 += signal * signal;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIM: (usize, usize) = (10, 5);

    fn settings(change: impl Fn(&mut SimulateSettings)) -> Checked<SimulateSettings> {
        let mut settings = SimulateSettings { n_voxels: 200, ..SimulateSettings::default() };
        change(&mut settings);
        settings.check().unwrap()
    }

    /// White Gaussian features with an offset and a scale of their own in each column.
    fn features(n_stories: usize, n_trs: usize, n_features: usize) -> Vec<Array2<f32>> {
        let base = SimulateSettings::default();
        (0..n_stories)
            .map(|story| {
                let mut rng = stream(&base, Purpose::Topics, 1000 + story, 0);
                Array2::from_shape_fn((n_trs, n_features), |(_, f)| {
                    let z: f32 = StandardNormal.sample(&mut rng);
                    7.0 + (f + 1) as f32 * z
                })
            })
            .collect()
    }

    fn run(x: &[Array2<f32>], given: &Checked<SimulateSettings>) -> (Vec<Array2<f32>>, Truth) {
        let mut stories = Vec::new();
        let truth = simulate(x, TRIM, given, |story, bold| {
            assert_eq!(story, stories.len());
            stories.push(bold);
            Ok(())
        });
        (stories, truth.unwrap())
    }

    #[test]
    fn bold_has_the_trimmed_rows_and_is_z_scored_in_every_story() {
        let (bold, truth) = run(&features(3, 61, 4), &settings(|_| {}));
        for story in &bold {
            assert_eq!(story.dim(), (61 - 15, 200));
            for column in story.columns() {
                let n = column.len() as f64;
                let mean = column.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
                let square = column.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
                // Only the rounding to f32 of numbers below 8 is left.
                assert!(mean.abs() < 8.0 * f64::from(f32::EPSILON));
                assert!((square - 1.0).abs() < 64.0 * f64::from(f32::EPSILON));
            }
        }
        assert_eq!(truth.weights.dim(), (4, 200));
        assert_eq!(truth.true_r.len(), 200);
        for v in 0..200 {
            assert_eq!(truth.is_noise[v], truth.true_r[v] == 0.0 && truth.asked_r[v] == 0.0);
        }
    }

    #[test]
    fn blocks_and_further_voxels_change_no_bit_and_seeds_change_all() {
        let x = features(2, 40, 3);
        let (bold, truth) = run(&x, &settings(|_| {}));
        for block_voxels in [1, 7, 64, 1000] {
            let (other, other_truth) = run(&x, &settings(|s| s.block_voxels = block_voxels));
            assert_eq!(bold, other, "block {block_voxels}");
            assert_eq!(truth.true_r, other_truth.true_r);
        }
        let (more, _) = run(&x, &settings(|s| s.n_voxels = 301));
        assert_eq!(bold[1], more[1].slice(s![.., ..200]));
        let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(bold, one_thread.install(|| run(&x, &settings(|_| {})).0));
        assert_ne!(bold, run(&x, &settings(|s| s.seed = 1)).0);
        assert_ne!(bold, run(&x, &settings(|s| s.subject = 2)).0);
    }

    #[test]
    fn noise_voxels_have_the_autocorrelation_asked_for() {
        for ar1 in [0.0, 0.3, 0.7] {
            let given = settings(|s| (s.noise_ar1, s.noise_share) = (ar1, 1.0));
            let (bold, truth) = run(&features(4, 165, 2), &given);
            assert!(truth.is_noise.iter().all(|&is| is));
            let (mut lagged, mut n) = (0.0, 0.0);
            for column in bold.iter().flat_map(|story| story.columns()) {
                lagged +=
                    (1..150).map(|t| f64::from(column[t - 1] * column[t])).sum::<f64>() / 150.0;
                n += 150.0;
            }
            let estimate = lagged / (n / 150.0);
            // Centring and the missing last product bias a lag-1 estimate by −(1 + 4 phi)/n_trs
            // (Kendall 1954); what is left is of order 1/n_trs². Four standard errors on top.
            let expected = ar1 - (1.0 + 4.0 * ar1) / 150.0;
            let tolerance = 4.0 * ((1.0 - ar1 * ar1) / n).sqrt() + 10.0 / (150.0 * 150.0);
            assert!((estimate - expected).abs() < tolerance, "{ar1}: {estimate}, {expected}");
        }
    }

    #[test]
    fn true_r_is_the_one_asked_for_within_sampling_error() {
        let (bold, truth) = run(&features(5, 215, 3), &settings(|s| s.noise_share = 0.2));
        let n = bold.iter().map(|b| b.nrows() as f64).sum::<f64>();
        // se(r) = (1 − r²)/sqrt(n_eff), n_eff = n (1 − ab)/(1 + ab) for lag-1 autocorrelations a of
        // the signal (below 0.9 for this response) and b of the noise. Six errors for the worst
        // voxel of 200; z-scoring each story by its own sd adds a relative 1/sqrt(n per story).
        let n_eff = n * (1.0 - 0.9 * 0.3) / (1.0 + 0.9 * 0.3);
        let mut sum = 0.0;
        for v in 0..200 {
            let (asked, got) = (truth.asked_r[v], truth.true_r[v]);
            if truth.is_noise[v] {
                assert_eq!((asked, got), (0.0, 0.0));
                continue;
            }
            let error = (1.0 - asked * asked) / n_eff.sqrt();
            assert!(
                (got - asked).abs() < 6.0 * error + asked / 200f64.sqrt(),
                "{v}: {asked} {got}"
            );
            sum += (got - asked) / error;
        }
        let n_signal = truth.is_noise.iter().filter(|&&is| !is).count() as f64;
        // Errors of different voxels are independent: their mean shrinks with sqrt(n_signal).
        assert!((sum / n_signal).abs() < 4.0 / n_signal.sqrt() + 0.2, "{}", sum / n_signal);
    }

    #[test]
    fn true_r_is_what_a_naive_correlation_finds_and_can_be_limited_to_stories() {
        let x = features(3, 90, 3);
        let (bold, truth) = run(&x, &settings(|_| {}));
        // The signal again, from the truth alone: z-score by kept rows, weigh, convolve, trim.
        let kept = |i: usize, f: usize| (10..85).map(move |t| (i, t, f));
        let mut z: Vec<Array2<f64>> = x.iter().map(|x| x.mapv(f64::from)).collect();
        for f in 0..3 {
            let cells: Vec<f64> =
                (0..3).flat_map(|i| kept(i, f)).map(|(i, t, f)| f64::from(x[i][[t, f]])).collect();
            let mean = cells.iter().sum::<f64>() / cells.len() as f64;
            let var = cells.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / cells.len() as f64;
            z.iter_mut().for_each(|z| z.column_mut(f).mapv_inplace(|c| (c - mean) / var.sqrt()));
        }
        let signal = |i: usize, v: usize| -> Vec<f64> {
            let raw: Vec<f64> = (0..90)
                .map(|t| (0..3).map(|f| z[i][[t, f]] * f64::from(truth.weights[[f, v]])).sum())
                .collect();
            let mut kept: Vec<f64> = (10..85)
                .map(|t| {
                    (0..=t)
                        .filter(|k| *k < truth.hrf.len())
                        .map(|k| truth.hrf[k] * raw[t - k])
                        .sum()
                })
                .collect();
            let mean = kept.iter().sum::<f64>() / 75.0;
            kept.iter_mut().for_each(|s| *s -= mean);
            kept
        };
        let naive = |stories: &[usize], v: usize| -> f64 {
            let (mut sb, mut ss, mut bb) = (0.0, 0.0, 0.0);
            for &i in stories {
                for (t, s) in signal(i, v).into_iter().enumerate() {
                    let b = f64::from(bold[i][[t, v]]);
                    (sb, ss, bb) = (sb + s * b, ss + s * s, bb + b * b);
                }
            }
            sb / (ss * bb).sqrt()
        };
        // Signals are made from f32 drives and weights: relative 2^-24 in each of few terms.
        let tolerance = 64.0 * f64::from(f32::EPSILON);
        for v in (0..200).filter(|&v| !truth.is_noise[v]) {
            assert!((truth.true_r[v] - naive(&[0, 1, 2], v)).abs() < tolerance);
        }
        let all = truth.true_r.clone();
        let last = truth.clone().scored_on(&[2]).unwrap();
        assert!(
            (last.true_r[3] - if truth.is_noise[3] { 0.0 } else { naive(&[2], 3) }).abs()
                < tolerance
        );
        assert_ne!(all, last.true_r);
        assert_eq!(all, last.scored_on(&[0, 1, 2]).unwrap().true_r);
        assert_eq!(truth.clone().scored_on(&[3]).unwrap_err().exit_code(), 2);
        assert_eq!(truth.scored_on(&[]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_single_word_is_followed_by_the_response_at_its_peak() {
        // One impulse, hardly any noise: BOLD is largest where the response is.
        for (tr_s, peak_s, peak_trs) in [(2.0, 6.0, 3), (1.0, 5.0, 5), (2.0, 4.0, 2)] {
            let mut x = Array2::<f32>::zeros((60, 1));
            x[[20, 0]] = 1.0;
            let given = settings(|s| {
                (s.tr_s, s.hrf_peak_s, s.hrf_jitter_s) = (tr_s, peak_s, 0.0);
                (s.noise_share, s.r_low, s.r_high) = (0.0, 0.99, 0.995);
            });
            let (bold, truth) = run(&[x], &given);
            let sign = truth.weights[[0, 0]].signum();
            let column = bold[0].column(0);
            let peak = (0..45).max_by(|&i, &j| (sign * column[i]).total_cmp(&(sign * column[j])));
            assert_eq!(peak, Some(20 - 10 + peak_trs), "tr {tr_s}, peak {peak_s}");
        }
    }

    #[test]
    fn later_voxels_follow_a_word_later_and_all_others_are_as_they_were() {
        let mut x = Array2::<f32>::zeros((60, 1));
        x[[20, 0]] = 1.0;
        let given = |late_share: f64| {
            settings(|s| {
                (s.hrf_peak_s, s.hrf_jitter_s, s.late_share) = (6.0, 0.0, late_share);
                (s.noise_share, s.r_low, s.r_high) = (0.0, 0.99, 0.995);
                s.n_voxels = 400;
            })
        };
        let (none, _) = run(std::slice::from_ref(&x), &given(0.0));
        let (bold, truth) = run(&[x], &given(0.3));
        assert_eq!(truth.is_late.iter().filter(|&&is| is).count(), 120, "0.3 of a stripe of 400");
        for v in 0..400 {
            let sign = truth.weights[[0, v]].signum();
            let column = bold[0].column(v);
            let peak = (0..45).max_by(|&i, &j| (sign * column[i]).total_cmp(&(sign * column[j])));
            assert_eq!(peak, Some(20 - 10 + truth.peak_trs[v]), "voxel {v}");
            assert_eq!(truth.peak_trs[v], if truth.is_late[v] { 5 } else { 3 });
            assert_eq!(column == none[0].column(v), !truth.is_late[v], "voxel {v}");
        }
    }

    #[test]
    fn transients_stand_at_the_beginning_of_every_story() {
        let x = features(40, 75, 2);
        let given = |share: f64| settings(|s| (s.edge_share, s.edge_size) = (share, 1.5));
        let ((none, before), (bold, truth)) = (run(&x, &given(0.0)), run(&x, &given(0.4)));
        assert_eq!(before.weights, truth.weights);
        // Before the z-score a transient of 1.5 exp(−t/5); over 60 rows it adds 1.5² · 2.5 / 60 less
        // the square of its mean, 1.5 · 5.5 / 60, to a variance of 1.
        let shape = |t: usize| 1.5 * (-(t as f64) / 5.0).exp();
        let mean = (0..60).map(shape).sum::<f64>() / 60.0;
        let variance = (0..60).map(|t| (shape(t) - mean).powi(2)).sum::<f64>() / 60.0;
        let sd = (1.0 + variance).sqrt();
        let with: Vec<usize> = (0..200).filter(|&v| truth.has_edge[v]).collect();
        assert!((with.len() as f64 - 80.0).abs() < 4.0 * (200.0f64 * 0.4 * 0.6).sqrt());
        for v in (0..200).filter(|v| !truth.has_edge[*v]) {
            assert!(none.iter().zip(&bold).all(|(a, b)| a.column(v) == b.column(v)));
        }
        for t in [0, 3, 10, 40] {
            let n = (40 * with.len()) as f64;
            let cells = bold.iter().flat_map(|b| with.iter().map(move |&v| f64::from(b[[t, v]])));
            let (found, wanted) = (cells.sum::<f64>() / n, (shape(t) - mean) / sd);
            // Signals of a story's voxels are alike: a standard error of 40 stories of 2 features.
            assert!((found - wanted).abs() < 4.0 / 80f64.sqrt() * 0.4, "{t}: {found} {wanted}");
        }
    }

    #[test]
    fn an_error_of_the_callback_stops_the_simulation() {
        let mut n_stories = 0;
        let result = simulate(&features(3, 40, 2), TRIM, &settings(|_| {}), |_, _| {
            n_stories += 1;
            Err(Error::Interrupted)
        });
        assert!(matches!(result, Err(Error::Interrupted)));
        assert_eq!(n_stories, 1);
    }
}
