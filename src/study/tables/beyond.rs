//! beyond.csv: what each space explains beyond another one, and the same of every voxel.

use std::path::{Path, PathBuf};

use super::scores::read_r;
use crate::error::Result;
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::rows::BeyondScores;
use crate::results::names::{
    BEYOND, BEYOND_INNER_SIGNED_R2, BEYOND_SIGNED_R2, INNER_CORRELATION, TEST_CORRELATION,
};
use crate::results::{RunFolder, tables};
use crate::scoring::partition::signed_r2;
use crate::stats::mean;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study_file::Study;

/// Writes the table, if the study has such models, and the part of every voxel beside the model of
/// both spaces.
///
/// The part is r·|r| of both together less that of the base: the unique part of the space in a
/// partition of two (`scoring::partition`), from models that the study has anyway but for the one of
/// both.
/// # Errors
/// Those of the files.
pub fn write_beyond(out: &Path, study: &Study, plan: &StudyPlan) -> Result<()> {
    let run = RunFolder::at(out);
    let mut rows = Vec::new();
    for (subject, _) in &plan.subjects {
        let folder = |model: &ModelPlan| -> Result<PathBuf> { Ok(run.model(&model.id(subject)?)) };
        for both in &plan.models {
            let Some((space, base)) = both.beyond else { continue };
            // A space that is never delayed has one model.
            let of_space = |index: usize| {
                let is_own = |model: &&ModelPlan| model.space == index && !model.is_profile;
                let own = || plan.models.iter().filter(is_own);
                own().find(|model| model.variant == both.variant).or_else(|| own().next())
            };
            let (Some(own), Some(base)) = (of_space(space), of_space(base)) else { continue };
            let folders = [folder(own)?, folder(base)?, folder(both)?];
            let parts = |file: &str| -> Result<Parts> {
                let all = folders.iter().map(|folder| read_r(&folder.join(file)));
                Ok(Parts::of(&all.collect::<Result<Vec<_>>>()?))
            };
            let whole = parts(TEST_CORRELATION)?;
            whole.write(&folders[2].join(BEYOND_SIGNED_R2))?;
            let inner_file = folders[2].join(BEYOND_INNER_SIGNED_R2);
            let inner = plan.inner.map(|_| parts(INNER_CORRELATION)).transpose()?;
            match &inner {
                Some(inner) => inner.write(&inner_file)?,
                None => write_or_remove(&inner_file, None)?,
            }
            let inner = |of: usize| inner.as_ref().map(|inner| inner.means[of]);
            rows.push(BeyondScores {
                subject: subject.clone(),
                space: study.spaces[space].name.clone(),
                lagged: both.is_lagged(),
                base: base.name.clone(),
                n_voxels_used: whole.n_voxels_used,
                mean_signed_r2: whole.means[0],
                mean_base_signed_r2: whole.means[1],
                mean_union_signed_r2: whole.means[2],
                mean_beyond_signed_r2: whole.means[3],
                inner_mean_signed_r2: inner(0),
                inner_mean_base_signed_r2: inner(1),
                inner_mean_union_signed_r2: inner(2),
                inner_mean_beyond_signed_r2: inner(3),
            });
        }
    }
    tables::write(&run.file(BEYOND), &rows)
}

/// r·|r| of a space, of the base, of both, and the part of the space beyond the base.
struct Parts {
    /// `(n_voxels)` the last of the four.
    beyond: Vec<f32>,
    /// Of the four, over the voxels that have all of them.
    means: [f64; 4],
    n_voxels_used: usize,
}

impl Parts {
    /// `r`: of the space, the base and both, `(n_voxels)` each.
    fn of(r: &[Vec<f32>]) -> Self {
        let of_voxel = |v: usize| {
            let [own, base, both] = [0, 1, 2].map(|model| signed_r2(r[model][v]));
            [own, base, both, both - base]
        };
        let all: Vec<[f64; 4]> = (0..r[0].len()).map(of_voxel).collect();
        let used: Vec<[f64; 4]> =
            all.iter().copied().filter(|parts| parts.iter().all(|x| !x.is_nan())).collect();
        let mean_of = |part: usize| mean(&used.iter().map(|parts| parts[part]).collect::<Vec<_>>());
        Self {
            beyond: all.iter().map(|parts| parts[3] as f32).collect(),
            means: [0, 1, 2, 3].map(mean_of),
            n_voxels_used: used.len(),
        }
    }

    fn write(&self, path: &Path) -> Result<()> {
        npy::write(path, &[self.beyond.len()], &self.beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_both_have_more_than_the_base_and_keeps_its_sign() {
        let r = [vec![0.5, -0.5, f32::NAN], vec![0.25, -0.25, 0.1], vec![0.5, 0.25, 0.5]];
        let found = Parts::of(&r);
        assert_eq!(found.beyond[..2], [0.25 - 0.0625, 0.0625 + 0.0625]);
        assert!((f64::from(found.beyond[2]) - 0.24).abs() < 1e-7);
        // The third voxel has no score of the space: it is in no mean.
        assert_eq!(found.means, [0.0, 0.0, 0.15625, 0.15625]);
        assert_eq!(found.n_voxels_used, 2);
    }
}
