//! What every voxel responds to, and how strongly: a function of the settings and its index only.

use super::settings::{Checked, SimulateSettings};
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, StandardNormal};
use rayon::prelude::*;

/// What a stream of random numbers is for; part of its key, so that no two uses share numbers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    /// Cluster centres of the tuning, the same for every subject.
    Topics,
    /// The map from voxel index to mixture of topics.
    Map,
    /// A voxel's own tuning and strength.
    Voxel,
    /// A voxel's noise in one story.
    Noise,
    /// The subject's haemodynamic response.
    Hrf,
    /// Whether a voxel has a transient at the beginning of every story.
    Edge,
}

/// The stream of one (seed, purpose, subject, story, voxel): no order, block or thread enters.
pub(super) fn stream(
    settings: &SimulateSettings,
    purpose: Purpose,
    story: usize,
    voxel: usize,
) -> ChaCha8Rng {
    let subject = if matches!(purpose, Purpose::Topics) { 0 } else { settings.subject };
    let words = [settings.seed, subject, purpose as u64, story as u64];
    let mut key = [0u8; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(voxel as u64);
    rng
}

/// The subject's time to peak: `hrf_peak_s` and a normal jitter, cut at two standard deviations.
pub fn subject_peak_s(settings: &Checked<SimulateSettings>) -> f64 {
    let z: f64 = StandardNormal.sample(&mut stream(settings, Purpose::Hrf, 0, 0));
    settings.hrf_peak_s + settings.hrf_jitter_s * z.clamp(-2.0, 2.0)
}

/// Voxels after which stripes of a later response repeat.
const STRIPE: usize = 400;

/// Whether a voxel lies in a stripe of a later response: the last `late_share` of every 400.
pub(super) fn is_late(settings: &Checked<SimulateSettings>, voxel: usize) -> bool {
    let from_end = (STRIPE - voxel % STRIPE) as f64;
    from_end - 0.5 < settings.late_share * STRIPE as f64
}

/// Whether a voxel has a transient at the beginning of every story.
pub(super) fn has_edge(settings: &Checked<SimulateSettings>, voxel: usize) -> bool {
    stream(settings, Purpose::Edge, 0, voxel).random::<f64>() < settings.edge_share
}

/// Waves that make up one smooth random function over the voxel index.
const N_WAVES: usize = 24;
/// How clearly one topic leads in a voxel's mixture: the factor inside the softmax.
const SHARPNESS: f64 = 3.0;

/// The tuning of a whole brain, from which any voxel's can be asked for.
#[derive(Debug)]
pub(super) struct Tuning<'a> {
    settings: &'a Checked<SimulateSettings>,
    strength: Beta<f64>,
    /// `(n_topics, n_features)`, rows of length 1.
    topics: Array2<f64>,
    /// Frequency (radians a voxel) and phase, `(n_topics, N_WAVES)`.
    waves: Array2<(f64, f64)>,
}

/// One voxel of a `Tuning`.
#[derive(Debug)]
pub(super) struct VoxelTuning {
    /// Weights of the z-scored features, length 1; zeros in a pure-noise voxel.
    pub direction: Array1<f64>,
    /// The correlation of signal and BOLD it is to have; 0 in a pure-noise voxel.
    pub asked_r: f64,
}

impl<'a> Tuning<'a> {
    /// Draws the topics and the map.
    ///
    /// # Errors
    /// `Error::Usage` if `r_shape` has no Beta distribution (the check makes that impossible).
    pub fn new(settings: &'a Checked<SimulateSettings>, n_features: usize) -> Result<Self> {
        let (a, b) = settings.r_shape;
        let strength = Beta::new(a, b).map_err(|e| Error::Usage {
            place: "simulate: r_shape".into(),
            problem: e.to_string(),
            hint: "leave it out for the default".into(),
        })?;
        let mut rng = stream(settings, Purpose::Topics, 0, 0);
        let mut topics = Array2::zeros((settings.n_topics, n_features));
        for mut topic in topics.rows_mut() {
            topic.assign(&unit(&mut rng, n_features));
        }
        // A sum of cosines whose frequencies are N(0, 1/smooth_voxels) is close to a Gaussian
        // process with correlation exp(−distance² / (2 smooth_voxels²)) (random Fourier features,
        // Rahimi and Recht 2007).
        let mut rng = stream(settings, Purpose::Map, 0, 0);
        let waves = Array2::from_shape_simple_fn((settings.n_topics, N_WAVES), || {
            let z: f64 = StandardNormal.sample(&mut rng);
            (z / settings.smooth_voxels, rng.random::<f64>() * std::f64::consts::TAU)
        });
        Ok(Tuning { settings, strength, topics, waves })
    }

    /// Tuning and strength of voxel `v`. About `n_topics · (24 cosines + n_features)` operations.
    pub fn voxel(&self, v: usize) -> VoxelTuning {
        let n_features = self.topics.ncols();
        let mut rng = stream(self.settings, Purpose::Voxel, 0, v);
        if rng.random::<f64>() < self.settings.noise_share {
            return VoxelTuning { direction: Array1::zeros(n_features), asked_r: 0.0 };
        }
        let (low, high) = (self.settings.r_low, self.settings.r_high);
        let asked_r = low + (high - low) * self.strength.sample(&mut rng);
        let own = unit(&mut rng, n_features);
        let mut mixture = self.mixture(v).dot(&self.topics);
        let length = mixture.dot(&mixture).sqrt();
        if length > 0.0 {
            mixture /= length;
        }
        let mut direction =
            mixture * (1.0 - self.settings.own_share).sqrt() + own * self.settings.own_share.sqrt();
        direction /= direction.dot(&direction).sqrt().max(f64::MIN_POSITIVE);
        VoxelTuning { direction, asked_r }
    }

    /// Shares of the topics in voxel `v`: softmax of one smooth random function a topic.
    fn mixture(&self, v: usize) -> Array1<f64> {
        let scale = SHARPNESS * (2.0 / N_WAVES as f64).sqrt();
        let mut shares: Array1<f64> = self
            .waves
            .rows()
            .into_iter()
            .map(|row| {
                scale * row.iter().map(|(f, phase)| (f * v as f64 + phase).cos()).sum::<f64>()
            })
            .collect();
        shares.mapv_inplace(f64::exp);
        let sum = shares.sum();
        shares / sum
    }
}

fn covariance(drives: &[Array2<f32>]) -> Array2<f64> {
    let n_features = drives[0].ncols();
    let n: f64 = drives.iter().map(|d| d.nrows() as f64).sum();
    let mut covariance = Array2::<f64>::zeros((n_features, n_features));
    for drive in drives {
        let drive = drive.mapv(f64::from);
        covariance += &(drive.t().dot(&drive) / n);
    }
    covariance
}

/// `(n_features, n_voxels)` weights that give every signal variance 1, and the asked r.
///
/// `late`: the drives of voxels with a later response.
pub(super) fn scaled_weights(
    (drives, late): (&[Array2<f32>], Option<&[Array2<f32>]>),
    settings: &Checked<SimulateSettings>,
) -> Result<(Array2<f32>, Vec<f64>)> {
    let n_features = drives[0].ncols();
    let (own, late) = (covariance(drives), late.map(covariance));
    let tuning = Tuning::new(settings, n_features)?;
    let n_voxels = settings.n_voxels;
    let block = settings.block_voxels.min(n_voxels);
    let mut weights = Array2::zeros((n_features, n_voxels));
    let mut asked_r = vec![0.0; n_voxels];
    let blocks: Vec<_> =
        weights.axis_chunks_iter_mut(Axis(1), block).zip(asked_r.chunks_mut(block)).collect();
    blocks.into_par_iter().enumerate().for_each(|(b, (mut weights, asked_r))| {
        for (i, mut column) in weights.columns_mut().into_iter().enumerate() {
            let covariance = match &late {
                Some(late) if is_late(settings, b * block + i) => late,
                _ => &own,
            };
            let voxel = tuning.voxel(b * block + i);
            let variance = voxel.direction.dot(&covariance.dot(&voxel.direction));
            // Pure noise, or tuned to constant features only: nothing to respond to.
            if variance > 0.0 {
                column.zip_mut_with(&voxel.direction, |w, d| *w = (d / variance.sqrt()) as f32);
                asked_r[i] = voxel.asked_r;
            }
        }
    });
    Ok((weights, asked_r))
}

/// A random direction: a vector of length 1.
fn unit(rng: &mut ChaCha8Rng, n: usize) -> Array1<f64> {
    let x: Array1<f64> = (0..n).map(|_| StandardNormal.sample(rng)).collect();
    let length = x.dot(&x).sqrt().max(f64::MIN_POSITIVE);
    x / length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(change: impl Fn(&mut SimulateSettings)) -> Checked<SimulateSettings> {
        let mut settings = SimulateSettings::default();
        change(&mut settings);
        settings.check().unwrap()
    }

    /// Mean cosine between voxels `distance` apart, over 400 pairs.
    fn likeness(settings: &Checked<SimulateSettings>, distance: usize) -> f64 {
        let tuning = Tuning::new(settings, 32).unwrap();
        let cosine = |v| tuning.voxel(v).direction.dot(&tuning.voxel(v + distance).direction);
        (0..400).map(|i| cosine(10 * i)).sum::<f64>() / 400.0
    }

    #[test]
    fn neighbours_resemble_each_other_and_far_voxels_do_not() {
        let smooth = settings(|s| s.noise_share = 0.0);
        // At distance 1 only the voxels' own fifth differs.
        assert!((likeness(&smooth, 1) - 0.8).abs() < 0.05, "{}", likeness(&smooth, 1));
        assert!(likeness(&smooth, 2000) < 0.5, "{}", likeness(&smooth, 2000));
        let rough = settings(|s| (s.noise_share, s.smooth_voxels) = (0.0, 1.0));
        assert!(likeness(&rough, 5) < 0.5);
        let own = settings(|s| (s.noise_share, s.own_share) = (0.0, 1.0));
        // Random directions in 32 dimensions: mean 0, standard error 1 / sqrt(32 · 400).
        assert!(likeness(&own, 1).abs() < 4.0 / (32.0f64 * 400.0).sqrt());
    }

    #[test]
    fn strengths_and_noise_voxels_follow_their_settings() {
        let given = settings(|s| (s.noise_share, s.r_low, s.r_high) = (0.25, 0.1, 0.5));
        let tuning = Tuning::new(&given, 8).unwrap();
        let n = 4000;
        let r: Vec<f64> = (0..n).map(|v| tuning.voxel(v).asked_r).filter(|&r| r > 0.0).collect();
        let noise_share = 1.0 - r.len() as f64 / n as f64;
        // Four standard errors of a binomial share.
        assert!((noise_share - 0.25).abs() < 4.0 * (0.25 * 0.75 / n as f64).sqrt());
        assert!(r.iter().all(|r| (0.1..=0.5).contains(r)));
        // Beta(2, 3): mean 2/5, variance 2·3 / (5² · 6) = 1/25.
        let mean = r.iter().sum::<f64>() / r.len() as f64;
        assert!((mean - 0.26).abs() < 4.0 * 0.4 * 0.2 / (r.len() as f64).sqrt(), "{mean}");
        let shaped = settings(|s| (s.noise_share, s.r_shape) = (0.0, (20.0, 1.0)));
        assert!(Tuning::new(&shaped, 8).unwrap().voxel(3).asked_r > 0.4);
    }

    #[test]
    fn subjects_share_topics_but_not_maps_or_responses() {
        let one = settings(|s| s.noise_share = 0.0);
        let two = settings(|s| (s.noise_share, s.subject) = (0.0, 2));
        let (first, second) = (Tuning::new(&one, 16).unwrap(), Tuning::new(&two, 16).unwrap());
        assert_eq!(first.topics, second.topics);
        assert_ne!(first.voxel(5).direction, second.voxel(5).direction);
        assert_ne!(subject_peak_s(&one), subject_peak_s(&two));
        for subject in 0..200 {
            let jittered = settings(|s| (s.subject, s.hrf_jitter_s) = (subject, 0.4));
            assert!((subject_peak_s(&jittered) - 5.0).abs() <= 0.8);
        }
        let fewer = settings(|s| s.n_topics = 2);
        assert_eq!(Tuning::new(&fewer, 16).unwrap().topics.nrows(), 2);
    }

    #[test]
    fn every_part_of_the_key_gives_another_stream() {
        let base = settings(|_| {});
        let first = |s: &SimulateSettings, purpose, story, voxel| -> u64 {
            stream(s, purpose, story, voxel).random()
        };
        let all = [
            first(&base, Purpose::Noise, 0, 0),
            first(&base, Purpose::Noise, 0, 1),
            first(&base, Purpose::Noise, 1, 0),
            first(&base, Purpose::Voxel, 0, 0),
            first(&settings(|s| s.subject = 2), Purpose::Noise, 0, 0),
            first(&settings(|s| s.seed = 1), Purpose::Noise, 0, 0),
        ];
        let distinct: std::collections::HashSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
