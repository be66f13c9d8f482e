//! delays.csv, and what each delay alone predicts of every voxel.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1};

use super::scores::read_r;
use crate::error::Result;
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::rows::DelayScores;
use crate::results::names::{BEST_DELAY, DELAY_PROFILE, DELAYS, RESPONSE_WIDTH, TEST_CORRELATION};
use crate::results::{RunFolder, tables};
use crate::scoring::delays::{LAST_DELAY, MeanProfile, best_delay, response_width};
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study_file::{ModelVariant, Study};
use crate::warning::Warning;

/// Writes delays.csv, and beside each space's first model (the lagged one, where there is one)
/// `delay_profile.npy`, `best_delay.npy` and `response_width.npy`; takes away what an earlier run
/// left of them. The warning about delays that end too early, if they do.
/// # Errors
/// Those of the files.
pub fn write_delay_tables(out: &Path, study: &Study, plan: &StudyPlan) -> Result<Option<Warning>> {
    let run = RunFolder::at(out);
    let mut rows = Vec::new();
    let mut cut_off: Vec<(i64, String)> = Vec::new();
    for (subject, _) in &plan.subjects {
        let folder = |model: &ModelPlan| -> Result<PathBuf> { Ok(run.model(&model.id(subject)?)) };
        // The space with the highest peak speaks for the subject.
        let mut highest: Option<(f64, &str, MeanProfile)> = None;
        for model in plan.models.iter().filter(|model| model.is_reported()) {
            let place = folder(model)?;
            let is_first = first_of_space(plan, model);
            let singles = singles(plan, model.space);
            let Some(singles) = singles.filter(|_| is_first) else {
                for name in [DELAY_PROFILE, BEST_DELAY, RESPONSE_WIDTH] {
                    write_or_remove(&place.join(name), None)?;
                }
                continue;
            };
            let profiles = read_profiles(&singles, &folder)?;
            write_profiles(&place, &profiles)?;
            let found = MeanProfile::of(profiles.view());
            rows.extend(delay_rows(subject, &model.name, &found));
            let peak = found.peak().map_or(f64::NAN, |(_, r)| r);
            if highest.as_ref().is_none_or(|(most, ..)| peak > *most) {
                highest = Some((peak, &model.name, found));
            }
        }
        let longest = study.delays.iter().max().copied().unwrap_or(0);
        if let Some((_, space, found)) = highest
            && let (Some(last), Some((peak, _))) = (found.cut_off(longest), found.peak())
        {
            cut_off.push((last, format!("{subject}, {space}: {last} TRs, best {peak}")));
        }
    }
    tables::write(&run.file(DELAYS), &rows)?;
    let has_lagged = study.variants.contains(&ModelVariant::Lagged);
    let last = cut_off.iter().map(|(last, _)| *last).max().filter(|_| has_lagged);
    Ok(last.map(|last| Warning::DelaysCutOff {
        subjects: cut_off.into_iter().map(|(_, text)| text).collect(),
        wider: wider(&study.delays, last),
    }))
}

/// The models of the delays 0, 1, 2, … of a space alone, where there is one of each.
fn singles(plan: &StudyPlan, space: usize) -> Option<Vec<&ModelPlan>> {
    let of_space = || plan.models.iter().filter(|m| m.space == space && m.bands.is_none());
    if !of_space().any(|model| model.is_profile) {
        return None;
    }
    (0..=LAST_DELAY).map(|delay| of_space().find(|model| model.delays == [delay])).collect()
}

fn first_of_space(plan: &StudyPlan, model: &ModelPlan) -> bool {
    let has_lagged = plan.models.iter().any(|m| m.space == model.space && m.is_lagged());
    model.is_lagged() || !has_lagged
}

/// `(n_delays, n_voxels)` test r.
fn read_profiles(
    singles: &[&ModelPlan],
    folder: &dyn Fn(&ModelPlan) -> Result<PathBuf>,
) -> Result<Array2<f32>> {
    let rows = singles.iter().map(|model| read_r(&folder(model)?.join(TEST_CORRELATION)));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let mut profiles = Array2::zeros((rows.len(), rows.first().map_or(0, Vec::len)));
    for (mut to, row) in profiles.rows_mut().into_iter().zip(&rows) {
        to.assign(&ArrayView1::from(row));
    }
    Ok(profiles)
}

fn write_profiles(folder: &Path, profiles: &Array2<f32>) -> Result<()> {
    let (n_delays, n_voxels) = profiles.dim();
    let values: Vec<f32> = profiles.iter().copied().collect();
    npy::write(&folder.join(DELAY_PROFILE), &[n_delays, n_voxels], &values)?;
    type OfVoxel = fn(ArrayView1<'_, f32>) -> Option<usize>;
    for (name, of) in [(BEST_DELAY, best_delay as OfVoxel), (RESPONSE_WIDTH, response_width)] {
        let number = |profile| of(profile).map_or(f32::NAN, |n| n as f32);
        let values: Vec<f32> = profiles.columns().into_iter().map(number).collect();
        npy::write(&folder.join(name), &[n_voxels], &values)?;
    }
    Ok(())
}

fn delay_rows(subject: &str, space: &str, found: &MeanProfile) -> Vec<DelayScores> {
    let row = |((delay, &mean_r), &n_best): ((i64, &f64), &usize)| DelayScores {
        subject: subject.to_owned(),
        space: space.to_owned(),
        delay,
        mean_r,
        n_best,
        n_voxels: found.n_voxels,
    };
    (0..).zip(&found.r).zip(&found.n_best).map(row).collect()
}

/// The delays with all up to `last` after them, as STUDY.toml has them.
fn wider(delays: &[i64], last: i64) -> String {
    let longest = delays.iter().max().copied().unwrap_or(0);
    let all: Vec<i64> = delays.iter().copied().chain(longest + 1..=last).collect();
    let first = all.first().copied().unwrap_or(0);
    match all.iter().copied().eq(first..=last) {
        true => format!("\"{first}..{last}\""),
        false => format!("{all:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_delays_are_written_as_a_study_has_them() {
        assert_eq!(wider(&[1, 2, 3, 4], 6), "\"1..6\"");
        assert_eq!(wider(&[1, 3, 4], 5), "[1, 3, 4, 5]");
        assert_eq!(wider(&[2], 3), "\"2..3\"");
    }
}
