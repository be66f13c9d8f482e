//! The noise ceiling of subjects that heard a test story several times.

use std::ops::Range;
use std::path::Path;

use super::scores::ScoredModel;
use crate::error::{Error, Result};
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::rows::NoiseCeiling;
use crate::results::names::{NOISE_CEILING, NORMALISED};
use crate::results::{Name, RunFolder};
use crate::scoring::Summary;
use crate::scoring::ceiling::{MIN_CEILING, Power, noise_ceiling, normalised};
use crate::stats::{mean, pearson_from_sums};
use crate::study::inputs::{Inputs, Subject};
use crate::study::split::Split;
use crate::study::story_bold::StoryBold;

/// Voxels that are read at a time.
const WIDTH: usize = 2048;

/// Writes a subject's noise_ceiling.npy, and normalised_correlation.npy of every model; hands back
/// rows of noise_ceiling.csv. Without repeats of a test story the files are removed.
///
/// # Errors
/// Those of the files; `Error::Values` if a story's BOLD is not the mean of its repeats.
pub fn write_ceiling(
    out: &Path,
    inputs: &Inputs,
    subject: &Subject,
    split: &Split,
    models: &[ScoredModel<'_>],
) -> Result<Vec<NoiseCeiling>> {
    let path = RunFolder::at(out).subject(&Name::new(&subject.name)?).join(NOISE_CEILING);
    let repeats_of = |slot: usize| &subject.repeats[subject.place(split.test[slot]).file];
    let has_repeats = |slot: &usize| repeats_of(*slot).len() > 1;
    let slots: Vec<usize> = (0..split.test.len()).filter(has_repeats).collect();
    if slots.is_empty() {
        write_or_remove(&path, None)?;
        for model in models {
            write_or_remove(&model.folder.join(NORMALISED), None)?;
        }
        return Ok(Vec::new());
    }
    let mut ceiling = Vec::with_capacity(subject.n_voxels);
    for first in (0..subject.n_voxels).step_by(WIDTH) {
        let voxels = first..(first + WIDTH).min(subject.n_voxels);
        let power = |&slot: &usize| -> Result<Power> {
            let unit = split.test[slot];
            let place = subject.place(unit);
            let read = |file: &StoryBold| -> Result<Vec<f32>> {
                let n_rows: usize = file.used_in(&place.rows).iter().map(Range::len).sum();
                let mut rows = vec![0f32; n_rows * voxels.len()];
                file.read_in(&place.rows, voxels.clone(), &mut rows)?;
                Ok(rows)
            };
            let repeats = repeats_of(slot).iter().map(read).collect::<Result<Vec<_>>>()?;
            let scored = read(&subject.files[place.file])?;
            check_mean(&repeats, &scored, voxels.len(), &inputs.units[unit].name)?;
            Ok(Power::of(&repeats, voxels.len()))
        };
        ceiling.extend(noise_ceiling(&slots.iter().map(power).collect::<Result<Vec<_>>>()?));
    }
    npy::write(&path, &[ceiling.len()], &ceiling)?;
    let n_repeats: Vec<f64> = slots.iter().map(|&slot| repeats_of(slot).len() as f64).collect();
    let mut rows = Vec::new();
    for model in models {
        // r within the stories that were repeated, their mean.
        let r: Vec<f32> = (0..subject.n_voxels)
            .map(|v| {
                let of_stories: Vec<f64> =
                    slots.iter().map(|&slot| f64::from(model.story_r[slot][v])).collect();
                mean(&of_stories) as f32
            })
            .collect();
        let relative = normalised(&r, &ceiling);
        npy::write(&model.folder.join(NORMALISED), &[r.len()], &relative)?;
        // One set of voxels for all columns: those with a ceiling and a score.
        let of = |values: &[f32]| {
            let used = values.iter().zip(&relative).filter(|(_, relative)| !relative.is_nan());
            Summary::of(&used.map(|(&x, _)| x).collect::<Vec<_>>())
        };
        let (ceiling, r, relative) = (of(&ceiling), of(&r), of(&relative));
        rows.push(NoiseCeiling {
            subject: subject.name.clone(),
            space: model.plan.name.clone(),
            lagged: model.plan.is_lagged(),
            n_stories: slots.len() as u64,
            n_repeats: mean(&n_repeats),
            n_voxels_used: relative.n_voxels_used as u64,
            ceiling_mean: ceiling.mean,
            ceiling_median: ceiling.median,
            r_mean: r.mean,
            normalised_mean: relative.mean,
            normalised_median: relative.median,
            min_ceiling: f64::from(MIN_CEILING),
        });
    }
    Ok(rows)
}

/// The BOLD that is scored must be the mean of the repeats, on whatever scale.
fn check_mean(repeats: &[Vec<f32>], scored: &[f32], n_voxels: usize, story: &str) -> Result<()> {
    const LEAST: f64 = 0.99;
    let n = (scored.len() / n_voxels.max(1)) as f64;
    let r = |v: usize| {
        let mut sums = [0f64; 5];
        let first = |i: usize| repeats.iter().map(|rows| f64::from(rows[i])).sum::<f64>();
        for i in (v..scored.len()).step_by(n_voxels) {
            // Shifted by the first row.
            let (p, y) = (first(i) - first(v), f64::from(scored[i]) - f64::from(scored[v]));
            let terms = [p, p * p, y, y * y, p * y];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        pearson_from_sums(n, sums[0], sums[1], sums[2], sums[3], sums[4])
    };
    let known: Vec<f64> = (0..n_voxels).map(r).filter(|r| !r.is_nan()).collect();
    let found = mean(&known);
    if known.is_empty() || found >= LEAST {
        return Ok(());
    }
    Err(Error::Values {
        place: format!("story {story:?}"),
        problem: format!(
            "expected BOLD that is the mean of its {} repeats, got a correlation of {found:.3} with it",
            repeats.len()
        ),
        hint: "in [bold], path must hold the mean of the files that repeats names".into(),
    })
}
