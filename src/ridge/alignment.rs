//! Do the words lead the BOLD by a plausible time? The group's HRF curve from un-lagged models.
//!
//! The BOLD is shifted against the features by −8…+16 TRs (zero-filled at story borders) and an
//! un-lagged model is cross-validated at each shift: the curve of mean correlations is the HRF as
//! the features see it. Its peak must lie inside the delays; if the features were trimmed at the
//! wrong end, it does not. The Gram matrix is the same at every shift, so that the whole scan
//! costs one eigenproblem a fold.

use serde::Serialize;

use super::prepare::{ModelSpec, prepare};
use super::route::Route;
use crate::backend::cpu::CpuEngine;
use crate::backend::{Block, Engine, PathSettings, Space};
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

/// The curve of one subject.
///
/// `designs`, `bold`: one un-delayed design and one `(n_trs, n_voxels)` sample a training story.
/// # Errors
/// `Error::Numerical` from the eigenproblems.
pub fn hrf_curve(
    designs: Vec<StoryDesign>,
    bold: &[Vec<f32>],
    fold_of_story: &[usize],
    n_folds: usize,
    n_voxels: usize,
) -> Result<HrfCurve> {
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
    let spec = ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: false };
    let settings = PathSettings::new(alphas.clone());
    let (problem, _) = prepare(vec![space], &[spec], blocks, Vec::new(), n_folds, settings)?;
    let mut engine = CpuEngine::new(&problem);
    let mut curve = HrfCurve { shifts: SHIFTS.collect(), mean_r: Vec::new() };
    for shift in SHIFTS {
        engine.begin(n_voxels)?;
        for (index, bold) in bold.iter().enumerate() {
            engine.add_train(index, &shifted(bold, n_voxels, shift))?;
        }
        let tile = &engine.solve()?[0];
        let score = |row: &[f32]| {
            let used: Vec<f64> =
                row.iter().filter(|r| !r.is_nan()).map(|&r| f64::from(r)).collect();
            mean(&used)
        };
        let scores = tile.cv_scores.chunks_exact(n_voxels.max(1)).map(score);
        curve.mean_r.push(scores.fold(f64::NAN, f64::max));
    }
    Ok(curve)
}

/// The same design with every cell written out; a dense one as it is.
fn dense(design: StoryDesign) -> StoryDesign {
    match design {
        StoryDesign::Dense(_) => design,
        StoryDesign::Sparse { .. } => StoryDesign::Dense(design.to_dense()),
    }
}

/// Rows t + shift at row t, zeros where there is none.
fn shifted(bold: &[f32], n_voxels: usize, shift: i64) -> Vec<f32> {
    let n = bold.len() / n_voxels.max(1);
    let mut out = vec![0.0; bold.len()];
    for (t, to) in out.chunks_exact_mut(n_voxels.max(1)).enumerate() {
        if let Some(from) = (t as i64).checked_add(shift).filter(|f| (0..n as i64).contains(f)) {
            to.copy_from_slice(&bold[from as usize * n_voxels..][..n_voxels]);
        }
    }
    out
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
    fn shifting_is_zero_filled() {
        let bold = [1.0, 2.0, 3.0];
        assert_eq!(shifted(&bold, 1, 1), [2.0, 3.0, 0.0]);
        assert_eq!(shifted(&bold, 1, -2), [0.0, 0.0, 1.0]);
        assert_eq!(shifted(&bold, 3, 1), [0.0; 3]);
    }
}
