//! Do the words lead the BOLD by a plausible time? The group's HRF curve from un-lagged models.
//!
//! The BOLD is shifted against the features by −8…+16 TRs (a voxel's mean past the story's borders)
//! and an un-lagged model is cross-validated at each shift: the curve of mean correlations is the
//! HRF as the features see it. Its peak must lie inside the delays; if the features were trimmed at
//! the wrong end, it does not. The Gram matrix is the same at every shift, so that the whole scan
//! costs one eigenproblem a fold: a voxel at another shift is one more column of BOLD.

use serde::Serialize;

use super::prepare::{ModelSpec, prepare};
use super::route::Route;
use crate::backend::{Block, PathSettings, Problem, Space};
use crate::design::trim::Trim;
use crate::error::Result;
use crate::matrix::StoryDesign;
use crate::stats::mean;

/// First and last shift of the scan, in TRs.
pub const SHIFTS: std::ops::RangeInclusive<i64> = -8..=16;

/// Mean un-lagged CV correlation at each shift.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HrfCurve {
    /// TRs by which the BOLD comes after the features.
    pub shifts: Vec<i64>,
    /// Mean over the voxel sample, at the alpha that is best for it.
    pub mean_r: Vec<f64>,
}

/// The verdict on a study's alignment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alignment {
    /// Mean of the subjects' curves.
    pub curve: HrfCurve,
    /// Shift at which it is highest.
    pub peak: i64,
    /// Whether it stands out from the other shifts at all.
    pub stands_out: bool,
    /// The trim that would bring the peak into the delays, where it is not.
    pub better_trim: Option<String>,
}

/// The un-lagged problem of one subject, the same at every shift of its BOLD.
///
/// `designs`: one un-delayed design a training story.
/// # Errors
/// `Error::Numerical` from the eigenproblems.
pub fn hrf_problem(
    designs: Vec<StoryDesign>,
    fold_of_story: &[usize],
    n_folds: usize,
) -> Result<Problem> {
    let n_features = designs.first().map_or(0, StoryDesign::n_features);
    let n_rows: usize = designs.iter().map(StoryDesign::n_trs).sum();
    let blocks: Vec<Block> = designs
        .iter()
        .zip(fold_of_story)
        .map(|(x, &fold)| Block { fold, n_rows: x.n_trs() })
        .collect();
    let space = Space {
        delays: vec![0],
        n_features,
        train: designs.into_iter().map(dense).collect(),
        ..Space::default()
    };
    // The mean eigenvalue of standardised columns is about the number of rows.
    let alphas = [0.1, 1.0, 10.0, 100.0].map(|share| share * n_rows as f64).to_vec();
    let spec =
        ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: false, bands: None };
    let settings = PathSettings::new(alphas);
    Ok(prepare(vec![space], &[spec], blocks, Vec::new(), n_folds, settings)?.0)
}

/// The curve from the CV scores of some tiles, `(n_alphas, n_shifts, n_voxels)` each.
pub fn hrf_curve(tiles: &[Vec<f32>], n_alphas: usize) -> HrfCurve {
    let shifts: Vec<i64> = SHIFTS.collect();
    let score = |alpha: usize, shift: usize| {
        let of_tile = |scores: &'_ [f32]| {
            let n_voxels = scores.len() / (n_alphas * shifts.len()).max(1);
            let start = (alpha * shifts.len() + shift) * n_voxels;
            start..start + n_voxels
        };
        let scores = tiles.iter().flat_map(|scores| &scores[of_tile(scores)]);
        let used: Vec<f64> = scores.filter(|r| !r.is_nan()).map(|&r| f64::from(r)).collect();
        mean(&used)
    };
    let best =
        |shift: usize| (0..n_alphas).map(|alpha| score(alpha, shift)).fold(f64::NAN, f64::max);
    HrfCurve { mean_r: (0..shifts.len()).map(best).collect(), shifts }
}

/// BOLD `(n_trs, n_voxels)` at every shift side by side, into `out` `(n_trs, n_shifts, n_voxels)`.
///
/// Row t + shift at row t; a voxel's mean over the story where there is none.
pub fn shifted(bold: &[f32], n_voxels: usize, out: &mut [f32]) {
    let n_trs = bold.len() / n_voxels.max(1);
    let mut sums = vec![0f64; n_voxels];
    for row in bold.chunks_exact(n_voxels.max(1)) {
        sums.iter_mut().zip(row).for_each(|(sum, &y)| *sum += f64::from(y));
    }
    let means: Vec<f32> = sums.iter().map(|sum| (sum / n_trs as f64) as f32).collect();
    for (i, to) in out.chunks_exact_mut(n_voxels.max(1)).enumerate() {
        let (t, shift) = (i / SHIFTS.count(), SHIFTS.start() + (i % SHIFTS.count()) as i64);
        let from = t.checked_add_signed(shift as isize).filter(|&from| from < n_trs);
        to.copy_from_slice(from.map_or(&means[..], |from| &bold[from * n_voxels..][..n_voxels]));
    }
}

/// The same design with every cell written out; a dense one as it is.
fn dense(design: StoryDesign) -> StoryDesign {
    match design {
        StoryDesign::Dense(_) => design,
        StoryDesign::Sparse { .. } => StoryDesign::Dense(design.to_dense()),
    }
}

/// The verdict over all subjects' curves.
///
/// The peak stands out if it is more than 4 times as far above the median shift as the median
/// absolute deviation of the shifts 6 and more TRs away from it: noise alone gives less. The
/// better trim is the one, of as many TRs, whose delays collect most of the curve.
pub fn judge(curves: &[HrfCurve], delays: &[i64], trim: Trim) -> Option<Alignment> {
    let first = curves.first()?;
    let shifts = first.shifts.clone();
    let mean_r: Vec<f64> = (0..shifts.len())
        .map(|i| mean(&curves.iter().map(|curve| curve.mean_r[i]).collect::<Vec<_>>()))
        .collect();
    let (top, &height) =
        mean_r.iter().enumerate().filter(|(_, r)| !r.is_nan()).max_by(|a, b| a.1.total_cmp(b.1))?;
    let peak = shifts[top];
    let far: Vec<f64> = shifts
        .iter()
        .zip(&mean_r)
        .filter(|(shift, _)| (*shift - peak).abs() >= 6)
        .map(|(_, &r)| r)
        .collect();
    let median = |values: &[f64]| {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        crate::stats::quantile(&sorted, 0.5)
    };
    let level = median(&far);
    let spread = median(&far.iter().map(|r| (r - level).abs()).collect::<Vec<_>>());
    let stands_out = height - level > 4.0 * spread && height > 0.0;
    let (low, high) = (delays.iter().min()?, delays.iter().max()?);
    let inside = (low..=high).contains(&&peak);
    let at =
        |shift: i64| shifts.iter().position(|&s| s == shift).map_or(0.0, |i| mean_r[i].max(0.0));
    let better_trim = (stands_out && !inside)
        .then(|| {
            let collected = |moved: i64| delays.iter().map(|delay| at(delay - moved)).sum::<f64>();
            (-(trim.head as i64)..=trim.tail as i64)
                .filter(|&moved| (low..=high).contains(&&(peak + moved)))
                .max_by(|a, b| collected(*a).total_cmp(&collected(*b)))
        })
        .flatten()
        .map(|moved| {
            let head = (trim.head as i64 + moved) as usize;
            let tail = (trim.tail as i64 - moved) as usize;
            Trim { head, tail }.to_string()
        });
    let curve = HrfCurve { shifts, mean_r };
    Some(Alignment { curve, peak, stands_out, better_trim })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The HRF curve measured on real BOLD, moved by some TRs.
    fn curve(moved: i64) -> HrfCurve {
        let hrf = [0.010, 0.017, 0.039, 0.078, 0.069, 0.041, 0.023, 0.017];
        let shifts: Vec<i64> = SHIFTS.collect();
        let at = |s: i64| usize::try_from(s - moved + 1).ok().and_then(|i| hrf.get(i)).copied();
        let ripple = |s: i64| 0.006 + 0.002 * ((s * 5).rem_euclid(3) as f64);
        let mean_r = shifts.iter().map(|&s| at(s).unwrap_or(ripple(s))).collect();
        HrfCurve { shifts, mean_r }
    }

    #[test]
    fn a_trim_at_the_wrong_end_is_found_and_mended() {
        let delays = [1, 2, 3, 4];
        let good = judge(&[curve(0)], &delays, Trim::HUTH).unwrap();
        assert_eq!((good.peak, good.stands_out, good.better_trim), (2, true, None));
        let lab = judge(&[curve(-5), curve(-5)], &delays, Trim::LAB).unwrap();
        assert_eq!((lab.peak, lab.better_trim.as_deref()), (-3, Some("10:5")));
        let late = judge(&[curve(5)], &delays, Trim { head: 15, tail: 0 }).unwrap();
        assert_eq!((late.peak, late.better_trim.as_deref()), (7, Some("10:5")));
    }

    #[test]
    fn noise_without_a_peak_gives_no_advice() {
        let shifts: Vec<i64> = SHIFTS.collect();
        let mean_r = shifts.iter().map(|&s| ((s * 7).rem_euclid(5) as f64 - 2.0) * 1e-3).collect();
        let verdict = judge(&[HrfCurve { shifts, mean_r }], &[1, 2, 3, 4], Trim::LAB).unwrap();
        assert!(!verdict.stands_out && verdict.better_trim.is_none());
    }

    #[test]
    fn rows_that_a_shift_does_not_reach_are_the_storys_mean() {
        let n_shifts = SHIFTS.count();
        let bold = [1.0, 20.0, 2.0, 50.0, 6.0, 80.0];
        let mut out = vec![0.0; n_shifts * bold.len()];
        shifted(&bold, 2, &mut out);
        for (i, shift) in SHIFTS.enumerate() {
            for t in 0..3 {
                let at = (t * n_shifts + i) * 2;
                let expected = match t as i64 + shift {
                    from @ 0..3 => [bold[from as usize * 2], bold[from as usize * 2 + 1]],
                    _ => [3.0, 50.0],
                };
                assert_eq!(out[at..at + 2], expected, "row {t} shifted by {shift}");
            }
        }
    }

    #[test]
    fn the_curve_is_the_best_alphas_mean_over_all_tiles() {
        // Two tiles of 2 and 1 voxels: alpha 0 scores 0.25 and 0.5, alpha 1 scores 0.125.
        let n = SHIFTS.count();
        let tile = |n_voxels: usize, low: f32| {
            let mut scores = vec![low; n * n_voxels];
            scores.extend(vec![0.125; n * n_voxels]);
            scores
        };
        let mut tiles = [tile(2, 0.25), tile(1, 0.5)];
        tiles[0][1] = f32::NAN;
        let curve = hrf_curve(&tiles, 2);
        assert_eq!(curve.mean_r[0], 0.375, "the dead voxel does not count");
        assert!(curve.mean_r[1..].iter().all(|&r| (r - 1.0 / 3.0).abs() < f64::EPSILON));
    }
}
