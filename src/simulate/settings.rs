//! Settings of the simulated brain, and the type that says they were checked.

use crate::error::{Error, Result};
use std::ops::Deref;

/// Settings that have passed their `check()`: nobody checks them again downstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked<T>(T);

impl<T> Checked<T> {
    /// Only the `check()` functions of this module's settings may say so.
    pub(super) fn new(settings: T) -> Self {
        Checked(settings)
    }
}

impl<T> Deref for Checked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// What the simulated brain is like.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `n_voxels` | 3000 | columns of BOLD | 1 … 10^8 |
/// | `subject` | 1 | which brain: subjects share topics, differ in everything else | any |
/// | `tr_s` | 2.0 | repetition time in seconds | 0.1 … 10 |
/// | `noise_share` | 0.4 | share of voxels that hold noise only | 0 … 1 |
/// | `noise_ar1` | 0.3 | lag-1 autocorrelation of the noise | −0.95 … 0.95 |
/// | `r_low`, `r_high` | 0.05, 0.6 | true r of the signal voxels lies between these | 0 < low < high < 1 |
/// | `r_shape` | (2, 3) | Beta shape of true r between them: mean at 2/(2 + 3) | 0.1 … 100 each |
/// | `n_topics` | 6 | cluster centres that tuning is a mixture of | 1 … 1000 |
/// | `smooth_voxels` | 40 | voxels over which the mixture changes along the index | 1 … 10^6 |
/// | `own_share` | 0.2 | share of a voxel's squared tuning that is its own | 0 … 1 |
/// | `hrf_peak_s` | 5.0 | seconds from a word to the peak of the response | 3 … 8 |
/// | `hrf_jitter_s` | 0.3 | sd over subjects of that peak, cut at 2 sd | 0 … 0.5 |
/// | `late_share` | 0 | share of the voxels whose response comes later: stripes of neighbours | 0 … 1 |
/// | `late_trs` | 2 | TRs by which it comes later | 1 … 10 |
/// | `edge_share` | 0 | share of the voxels with a transient at the beginning of every story | 0 … 1 |
/// | `edge_size` | 1.0 | its height at the first TR kept, in sd of signal and noise together | 0 … 100 |
/// | `edge_trs` | 5.0 | TRs in which it falls to 1/e | 0.1 … 1000 |
/// | `block_voxels` | 128 | voxels a thread makes at once; changes no number | ≥ 1 |
/// | `seed` | 214 | everything random comes from it | any |
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the table above is the documentation of the fields")]
pub struct SimulateSettings {
    pub n_voxels: usize,
    pub subject: u64,
    pub tr_s: f64,
    pub noise_share: f64,
    pub noise_ar1: f64,
    pub r_low: f64,
    pub r_high: f64,
    pub r_shape: (f64, f64),
    pub n_topics: usize,
    pub smooth_voxels: f64,
    pub own_share: f64,
    pub hrf_peak_s: f64,
    pub hrf_jitter_s: f64,
    pub late_share: f64,
    pub late_trs: usize,
    pub edge_share: f64,
    pub edge_size: f64,
    pub edge_trs: f64,
    pub block_voxels: usize,
    pub seed: u64,
}

impl Default for SimulateSettings {
    fn default() -> Self {
        SimulateSettings {
            n_voxels: 3000,
            subject: 1,
            tr_s: 2.0,
            noise_share: 0.4,
            noise_ar1: 0.3,
            r_low: 0.05,
            r_high: 0.6,
            r_shape: (2.0, 3.0),
            n_topics: 6,
            smooth_voxels: 40.0,
            own_share: 0.2,
            hrf_peak_s: 5.0,
            hrf_jitter_s: 0.3,
            late_share: 0.0,
            late_trs: 2,
            edge_share: 0.0,
            edge_size: 1.0,
            edge_trs: 5.0,
            block_voxels: 128,
            seed: 214,
        }
    }
}

impl SimulateSettings {
    /// The settings, every one inside its range.
    ///
    /// # Errors
    /// `Error::Usage` names the first setting outside its range (NaN is outside every range).
    pub fn check(self) -> Result<Checked<Self>> {
        between("n_voxels", self.n_voxels as f64, 1.0, 1e8)?;
        between("tr_s", self.tr_s, 0.1, 10.0)?;
        between("noise_share", self.noise_share, 0.0, 1.0)?;
        between("noise_ar1", self.noise_ar1, -0.95, 0.95)?;
        between("r_low", self.r_low, f64::MIN_POSITIVE, 0.999)?;
        between("r_high", self.r_high, f64::MIN_POSITIVE, 0.999)?;
        if self.r_low >= self.r_high {
            return Err(Error::Usage {
                place: "simulate: r_low".into(),
                problem: format!("{} is not below r_high = {}", self.r_low, self.r_high),
                hint: "give the smaller correlation first".into(),
            });
        }
        between("r_shape.0", self.r_shape.0, 0.1, 100.0)?;
        between("r_shape.1", self.r_shape.1, 0.1, 100.0)?;
        between("n_topics", self.n_topics as f64, 1.0, 1000.0)?;
        between("smooth_voxels", self.smooth_voxels, 1.0, 1e6)?;
        between("own_share", self.own_share, 0.0, 1.0)?;
        between("hrf_peak_s", self.hrf_peak_s, 3.0, 8.0)?;
        between("hrf_jitter_s", self.hrf_jitter_s, 0.0, 0.5)?;
        between("late_share", self.late_share, 0.0, 1.0)?;
        between("late_trs", self.late_trs as f64, 1.0, 10.0)?;
        between("edge_share", self.edge_share, 0.0, 1.0)?;
        between("edge_size", self.edge_size, 0.0, 100.0)?;
        between("edge_trs", self.edge_trs, 0.1, 1000.0)?;
        between("block_voxels", self.block_voxels as f64, 1.0, f64::INFINITY)?;
        Ok(Checked::new(self))
    }
}

/// Nothing, or the usage error that names the setting, its value and its range.
pub(super) fn between(name: &str, value: f64, low: f64, high: f64) -> Result<()> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::Usage {
        place: format!("simulate: {name}"),
        problem: format!("{value} is outside {low} … {high}"),
        hint: "leave it out for the default".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_check() {
        assert!(SimulateSettings::default().check().is_ok());
    }

    #[test]
    fn a_setting_outside_its_range_is_named() {
        let default = SimulateSettings::default;
        let bad = [
            ("n_voxels", SimulateSettings { n_voxels: 0, ..default() }),
            ("tr_s", SimulateSettings { tr_s: 0.0, ..default() }),
            ("noise_share", SimulateSettings { noise_share: 1.5, ..default() }),
            ("noise_ar1", SimulateSettings { noise_ar1: 1.0, ..default() }),
            ("r_low", SimulateSettings { r_low: 0.6, r_high: 0.2, ..default() }),
            ("r_low", SimulateSettings { r_low: 0.0, ..default() }),
            ("r_high", SimulateSettings { r_high: f64::NAN, ..default() }),
            ("r_shape.1", SimulateSettings { r_shape: (1.0, 0.0), ..default() }),
            ("n_topics", SimulateSettings { n_topics: 0, ..default() }),
            ("smooth_voxels", SimulateSettings { smooth_voxels: 0.0, ..default() }),
            ("own_share", SimulateSettings { own_share: -0.1, ..default() }),
            ("hrf_peak_s", SimulateSettings { hrf_peak_s: 20.0, ..default() }),
            ("hrf_jitter_s", SimulateSettings { hrf_jitter_s: 2.0, ..default() }),
            ("late_share", SimulateSettings { late_share: -0.1, ..default() }),
            ("late_trs", SimulateSettings { late_trs: 0, ..default() }),
            ("edge_share", SimulateSettings { edge_share: 1.1, ..default() }),
            ("edge_size", SimulateSettings { edge_size: f64::NAN, ..default() }),
            ("edge_trs", SimulateSettings { edge_trs: 0.0, ..default() }),
            ("block_voxels", SimulateSettings { block_voxels: 0, ..default() }),
        ];
        for (name, settings) in bad {
            let error = settings.check().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(name), "{name}: {error}");
        }
    }
}
