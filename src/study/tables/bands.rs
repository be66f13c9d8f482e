//! bands.csv and partition.csv, and the parts of each voxel's variance.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::scores::read_r;
use crate::error::Result;
use crate::io::npy;
use crate::report::rows::{BandScores, PartitionScores};
use crate::results::names::{
    BAND_CORRELATION, BAND_R2, BANDS, PARTITION, PARTITION_R2, PARTITION_SIGNED_R2,
    TEST_CORRELATION, TEST_R2,
};
use crate::results::{RunFolder, tables};
use crate::scoring::partition::{parts, signed_r2};
use crate::stats::mean;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study_file::ModelVariant;

/// Writes both tables, each where it applies, and the parts of every voxel into the folder of the
/// partition's full model.
/// # Errors
/// Those of the files.
pub fn write_band_tables(out: &Path, plan: &StudyPlan) -> Result<()> {
    let (mut bands, mut partition) = (Vec::new(), Vec::new());
    let run = RunFolder::at(out);
    for (subject, _) in &plan.subjects {
        let folder = |model: &ModelPlan| -> Result<PathBuf> { Ok(run.model(&model.id(subject)?)) };
        for model in plan.models.iter().filter(|model| model.is_banded()) {
            bands.extend(band_rows(subject, model, &folder(model)?)?);
        }
        for variant in [ModelVariant::Lagged, ModelVariant::Plain] {
            let own = plan.models.iter().filter(|m| m.is_part() && m.variant == variant);
            let own = own.map(|m| Ok((m, folder(m)?))).collect::<Result<Vec<_>>>()?;
            if !own.is_empty() {
                partition.extend(partition_rows(subject, &own)?);
            }
        }
    }
    tables::write(&run.file(BANDS), &bands)?;
    tables::write(&run.file(PARTITION), &partition)
}

/// Mean of the values that are there, and their number.
fn live_mean<'a>(values: impl Iterator<Item = &'a f64>) -> (f64, usize) {
    let live: Vec<f64> = values.copied().filter(|value| !value.is_nan()).collect();
    (mean(&live), live.len())
}

fn band_rows(subject: &str, model: &ModelPlan, folder: &Path) -> Result<Vec<BandScores>> {
    let r = npy::read_matrix_f64(&folder.join(BAND_CORRELATION))?;
    let r2 = npy::read_matrix_f64(&folder.join(BAND_R2))?;
    let names = model.bands.iter().flat_map(|bands| &bands.names);
    let row = |(band, name): (usize, &String)| {
        let (mean_r, n_voxels_used) = live_mean(r.row(band).iter());
        BandScores {
            subject: subject.to_owned(),
            space: model.name.clone(),
            lagged: model.is_lagged(),
            band: name.clone(),
            n_voxels_used,
            mean_r,
            mean_r2: live_mean(r2.row(band).iter()).0,
        }
    };
    Ok(names.enumerate().map(row).collect())
}

/// One variant of a partition: its subsets' models, in the order of their names.
fn partition_rows(subject: &str, models: &[(&ModelPlan, PathBuf)]) -> Result<Vec<PartitionScores>> {
    let n_subsets = models.len() + 1;
    // Rows in the order of the subsets' bits; none for the empty one.
    let (mut r2, mut signed) = (Vec::new(), Vec::new());
    let mut order: Vec<(usize, &(&ModelPlan, PathBuf))> =
        models.iter().map(|model| (bits(model.0), model)).collect();
    order.sort_by_key(|(bits, _)| *bits);
    for (_, (_, folder)) in &order {
        r2.push(npy::read_matrix_f64(&folder.join(TEST_R2))?.row(0).to_vec());
        let r = read_r(&folder.join(TEST_CORRELATION))?;
        signed.push(r.into_iter().map(signed_r2).collect::<Vec<f64>>());
    }
    let (r2_parts, signed_parts) = (all_parts(&r2), all_parts(&signed));
    let whole = &order[n_subsets - 2].1.1;
    for (name, parts) in [(PARTITION_R2, &r2_parts), (PARTITION_SIGNED_R2, &signed_parts)] {
        let values: Vec<f32> = parts.iter().map(|&part| part as f32).collect();
        npy::write(&whole.join(name), &[parts.nrows(), parts.ncols()], &values)?;
    }
    let row = |(i, (_, (model, _))): (usize, &(usize, &(&ModelPlan, PathBuf)))| {
        let (mean_model_r2, n_voxels_used) = live_mean(r2[i].iter());
        PartitionScores {
            subject: subject.to_owned(),
            lagged: model.is_lagged(),
            spaces: spaces(model),
            n_voxels_used,
            mean_model_r2,
            mean_part_r2: live_mean(r2_parts.row(i).iter()).0,
            mean_model_signed_r2: live_mean(signed[i].iter()).0,
            mean_part_signed_r2: live_mean(signed_parts.row(i).iter()).0,
        }
    };
    Ok(order.iter().enumerate().map(row).collect())
}

/// Parts of every voxel, `(n_subsets − 1, n_voxels)`.
fn all_parts(models: &[Vec<f64>]) -> Array2<f64> {
    let n_voxels = models.first().map_or(0, Vec::len);
    let mut found = Array2::zeros((models.len(), n_voxels));
    for v in 0..n_voxels {
        let r2: Vec<f64> = [0.0].into_iter().chain(models.iter().map(|model| model[v])).collect();
        found.column_mut(v).iter_mut().zip(&parts(&r2)[1..]).for_each(|(to, part)| *to = *part);
    }
    found
}

/// Which of the partition's spaces a model has, as bits.
fn bits(model: &ModelPlan) -> usize {
    let kept = model.bands.iter().flat_map(|bands| &bands.kept);
    kept.enumerate().map(|(i, &kept)| usize::from(kept) << i).sum()
}

fn spaces(model: &ModelPlan) -> String {
    let bands = model.bands.iter().flat_map(|bands| bands.names.iter().zip(&bands.kept));
    bands.filter(|(_, kept)| **kept).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("+")
}
