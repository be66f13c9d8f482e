//! The noise ceiling of subjects that heard a test story several times.

use std::ops::Range;
use std::path::Path;

use super::scores::ScoredModel;
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::rows::NoiseCeiling;
use crate::results::names::{INNER_NOISE_CEILING, INNER_NORMALISED, NOISE_CEILING, NORMALISED};
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
/// `edges`: of inner scores, which have files of their own: there the ceiling, too, is that of the
/// rows inside. They are removed where there are no such scores.
/// # Errors
/// Those of the files; `Error::Values` if a story's BOLD is not the mean of its repeats.
pub fn write_ceiling(
    out: &Path,
    inputs: &Inputs,
    (subject, split): (&Subject, &Split),
    models: &[ScoredModel<'_>],
    edges: Option<Trim>,
) -> Result<Vec<NoiseCeiling>> {
    let folder = RunFolder::at(out).subject(&Name::new(&subject.name)?);
    let repeats_of = |slot: usize| &subject.repeats[subject.place(split.test[slot]).file];
    let has_repeats = |slot: &usize| repeats_of(*slot).len() > 1;
    let slots: Vec<usize> = (0..split.test.len()).filter(has_repeats).collect();
    let edges = edges.filter(|_| !slots.is_empty());
    let remove = |of_subject: &str, of_model: &str| {
        write_or_remove(&folder.join(of_subject), None)?;
        models.iter().try_for_each(|model| write_or_remove(&model.folder.join(of_model), None))
    };
    if edges.is_none() {
        remove(INNER_NOISE_CEILING, INNER_NORMALISED)?;
    }
    if slots.is_empty() {
        remove(NOISE_CEILING, NORMALISED)?;
        return Ok(Vec::new());
    }
    // Of a story that is hardly longer than its edges nothing is left to compare.
    let inner_rows = |slot: usize| {
        let rows = edges.map(|edges| subject.inner_rows(split.test[slot], edges));
        rows.filter(|rows| rows.len() > 1)
    };
    let inner_slots: Vec<usize> =
        slots.iter().copied().filter(|&slot| inner_rows(slot).is_some()).collect();
    let (mut ceiling, mut inner_ceiling) = (Vec::new(), Vec::new());
    for first in (0..subject.n_voxels).step_by(WIDTH) {
        let voxels = first..(first + WIDTH).min(subject.n_voxels);
        let (mut power, mut inner_power) = (Vec::new(), Vec::new());
        for &slot in &slots {
            let unit = split.test[slot];
            let place = subject.place(unit);
            let read = |file: &StoryBold| -> Result<Vec<f32>> {
                let n_rows: usize = file.used_in(&place.rows).iter().map(Range::len).sum();
                let mut rows = vec![0f32; n_rows * voxels.len()];
                file.read_in(&place.rows, voxels.clone(), &mut rows)?;
                Ok(rows)
            };
            let mut repeats = repeats_of(slot).iter().map(read).collect::<Result<Vec<_>>>()?;
            let scored = read(&subject.files[place.file])?;
            check_mean(&repeats, &scored, voxels.len(), &inputs.units[unit].name)?;
            power.push(Power::of(&repeats, voxels.len()));
            if let Some(Range { start, end }) = inner_rows(slot) {
                for rows in &mut repeats {
                    rows.truncate(end * voxels.len());
                    rows.drain(..start * voxels.len());
                }
                inner_power.push(Power::of(&repeats, voxels.len()));
            }
        }
        ceiling.extend(noise_ceiling(&power));
        inner_ceiling.extend(noise_ceiling(&inner_power));
    }
    inner_ceiling.resize(subject.n_voxels, f32::NAN);
    npy::write(&folder.join(NOISE_CEILING), &[ceiling.len()], &ceiling)?;
    if edges.is_some() {
        npy::write(&folder.join(INNER_NOISE_CEILING), &[ceiling.len()], &inner_ceiling)?;
    }
    let n_repeats: Vec<f64> = slots.iter().map(|&slot| repeats_of(slot).len() as f64).collect();
    let mut rows = Vec::new();
    for model in models {
        let file = model.folder.join(NORMALISED);
        let Normalised { ceiling, r, relative } =
            normalise(&file, &slots, &model.story_r, &ceiling)?;
        let inner = model.inner.as_ref().map(|inner| {
            let file = model.folder.join(INNER_NORMALISED);
            normalise(&file, &inner_slots, &inner.story_r, &inner_ceiling)
        });
        let inner = inner.transpose()?;
        let inner_mean = |of: fn(&Normalised) -> f64| inner.as_ref().map(of);
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
            inner_n_voxels_used: inner.as_ref().map(|inner| inner.relative.n_voxels_used as u64),
            inner_ceiling_mean: inner_mean(|inner| inner.ceiling.mean),
            inner_r_mean: inner_mean(|inner| inner.r.mean),
            inner_normalised_mean: inner_mean(|inner| inner.relative.mean),
            inner_normalised_median: inner_mean(|inner| inner.relative.median),
        });
    }
    Ok(rows)
}

/// One model's r, its ceiling, and the one over the other, over the same voxels: those that have both.
struct Normalised {
    ceiling: Summary,
    r: Summary,
    relative: Summary,
}

/// Mean r within the stories that were repeated, over `ceiling`; every voxel's goes to `file`.
fn normalise(
    file: &Path,
    slots: &[usize],
    story_r: &[Vec<f32>],
    ceiling: &[f32],
) -> Result<Normalised> {
    let r_of = |v: usize| {
        let of_stories: Vec<f64> = slots.iter().map(|&slot| f64::from(story_r[slot][v])).collect();
        mean(&of_stories) as f32
    };
    let r: Vec<f32> = (0..ceiling.len()).map(r_of).collect();
    let relative = normalised(&r, ceiling);
    npy::write(file, &[r.len()], &relative)?;
    let of = |values: &[f32]| {
        let used = values.iter().zip(&relative).filter(|(_, relative)| !relative.is_nan());
        Summary::of(&used.map(|(&x, _)| x).collect::<Vec<_>>())
    };
    Ok(Normalised { ceiling: of(ceiling), r: of(&r), relative: of(&relative) })
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
