//! Which delay of the features predicts a voxel best, and how wide its response is: from r of models
//! of a single delay each (a finite impulse response, one lag at a time).

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::overlap::top5;
use crate::stats::mean;

/// The last delay of a profile, in TRs; the first is 0.
pub const LAST_DELAY: i64 = 8;

/// A delay still counts where its r is that share of the best one's. Measured on the components of
/// two subjects of ds003020: of static vectors at 5 TRs, after delays of 1 to 4, the one with 54 % of
/// its peak gains 2 % of mean r from delay 5; the other one has 39 %.
const STILL: f64 = 0.5;

/// The delay of the largest r, the smaller of equal ones; none where no r is a number.
///
/// `profile`: r at delays 0, 1, 2, … of one voxel.
pub fn best_delay(profile: ArrayView1<'_, f32>) -> Option<usize> {
    let live = profile.iter().enumerate().filter(|(_, r)| !r.is_nan());
    let better = |best: Option<(usize, f32)>, (delay, &r): (usize, &f32)| match best {
        Some((_, most)) if r <= most => best,
        _ => Some((delay, r)),
    };
    live.fold(None, better).map(|(delay, _)| delay)
}

/// Number of neighbouring delays, the best one among them, whose r is above half of its r; none
/// where that is not positive.
pub fn response_width(profile: ArrayView1<'_, f32>) -> Option<usize> {
    let best = best_delay(profile).filter(|&best| profile[best] > 0.0)?;
    let is_above = |delay: &usize| profile[*delay] > 0.5 * profile[best];
    let before = (0..best).rev().take_while(is_above).count();
    let after = (best + 1..profile.len()).take_while(is_above).count();
    Some(before + 1 + after)
}

/// A space's profile over its best voxels: the 5 % with the largest r at their best delay.
#[derive(Debug, Clone, PartialEq)]
pub struct MeanProfile {
    /// Mean r at delays 0, 1, 2, …
    pub r: Vec<f64>,
    /// Voxels whose best delay it is.
    pub n_best: Vec<usize>,
    /// All of these voxels.
    pub n_voxels: usize,
}

impl MeanProfile {
    /// Of `(n_delays, n_voxels)` r.
    pub fn of(profiles: ArrayView2<'_, f32>) -> Self {
        let best: Vec<Option<usize>> = profiles.columns().into_iter().map(best_delay).collect();
        let at_best = profiles.columns().into_iter().zip(&best);
        let at_best = at_best.map(|(profile, best)| best.map_or(f32::NAN, |best| profile[best]));
        let is_top = top5(&at_best.collect::<Vec<_>>());
        let top: Vec<usize> = (0..is_top.len()).filter(|&v| is_top[v]).collect();
        let chosen = profiles.select(Axis(1), &top);
        let of_delay = |r: ArrayView1<'_, f32>| {
            mean(&r.iter().filter(|r| !r.is_nan()).map(|&r| f64::from(r)).collect::<Vec<_>>())
        };
        let n_best = |delay: usize| top.iter().filter(|&&v| best[v] == Some(delay)).count();
        Self {
            r: chosen.rows().into_iter().map(of_delay).collect(),
            n_best: (0..profiles.nrows()).map(n_best).collect(),
            n_voxels: top.len(),
        }
    }

    /// The delay of the largest mean r, and that r; none where no mean is a number.
    pub fn peak(&self) -> Option<(i64, f64)> {
        let all = (0..).zip(&self.r).map(|(delay, &r)| (delay, r)).filter(|(_, r)| !r.is_nan());
        all.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
    }

    /// The last of the delays right after `longest` that reach half of the peak; none where the
    /// first of them does not, or lies outside of the profile.
    pub fn cut_off(&self, longest: i64) -> Option<i64> {
        let (_, peak) = self.peak().filter(|&(_, r)| r > 0.0)?;
        let first = usize::try_from(longest + 1).ok()?;
        let n = self.r.iter().skip(first).take_while(|&&r| r >= STILL * peak).count();
        (n > 0).then_some(longest + n as i64)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn the_best_delay_is_that_of_the_largest_r() {
        assert_eq!(best_delay(array![0.1f32, 0.3, 0.2].view()), Some(1));
        assert_eq!(best_delay(array![0.1f32, 0.3, 0.3].view()), Some(1));
        assert_eq!(best_delay(array![f32::NAN, -0.3, -0.2].view()), Some(2));
        assert_eq!(best_delay(array![f32::NAN, f32::NAN].view()), None);
    }

    #[test]
    fn the_width_counts_neighbours_above_half_of_the_peak() {
        let width = |r: &[f32]| response_width(ArrayView1::from(r));
        assert_eq!(width(&[0.0, 0.3, 0.4, 0.25, 0.2, 0.3]), Some(3), "half itself is not above");
        assert_eq!(width(&[0.4, 0.1, 0.3]), Some(1));
        assert_eq!(width(&[0.1, 0.3, 0.4]), Some(2));
        assert_eq!(width(&[-0.1, -0.2]), None);
        assert_eq!(width(&[f32::NAN; 3]), None);
    }

    #[test]
    fn the_mean_profile_is_over_the_voxels_that_are_best_at_their_best_delay() {
        // 40 voxels: two strong ones, which peak at 1 and at 2; a NaN at another delay counts not.
        let mut r = Array2::from_elem((4, 40), 0.01f32);
        r.column_mut(7).assign(&array![0.1, 0.5, 0.3, f32::NAN]);
        r.column_mut(31).assign(&array![0.2, 0.3, 0.6, 0.1]);
        r.column_mut(3).fill(f32::NAN);
        let found = MeanProfile::of(r.view());
        assert_eq!((found.n_voxels, found.n_best.as_slice()), (2, &[0, 1, 1, 0][..]));
        for (got, wanted) in found.r.iter().zip([0.15, 0.4, 0.45, 0.1]) {
            assert!((got - wanted).abs() < 1e-6, "{found:?}");
        }
        assert!(found.peak().is_some_and(|(delay, r)| delay == 2 && (r - 0.45).abs() < 1e-6));
        let dead = MeanProfile::of(Array2::from_elem((4, 3), f32::NAN).view());
        assert_eq!((dead.n_voxels, dead.peak(), dead.cut_off(1)), (0, None, None));
    }

    #[test]
    fn delays_are_cut_off_where_the_next_one_reaches_half_of_the_best() {
        let profile = |r: &[f64]| MeanProfile { r: r.to_vec(), n_best: vec![], n_voxels: 1 };
        let broad = profile(&[0.1, 0.2, 0.3, 0.4, 0.38, 0.21, 0.19, 0.1, 0.39]);
        assert_eq!(broad.cut_off(4), Some(5), "0.19 is under half of 0.4");
        assert_eq!(broad.cut_off(3), Some(5));
        assert_eq!((broad.cut_off(5), broad.cut_off(8), broad.cut_off(-3)), (None, None, None));
        assert_eq!(profile(&[-0.1; 9]).cut_off(4), None);
    }
}
