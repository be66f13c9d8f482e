//! What shards found, put together: their columns side by side in the subject's files.

use std::ops::Range;
use std::path::Path;

use super::{SubjectWriter, Tile, TileModel, npy};
use crate::error::Result;
use crate::io::npy::{NpyColumnsWriter, NpyFile};
use crate::io::safetensors::ColumnsReader;
use crate::results::mark::ModelFound;
use crate::results::names::{
    CV_SCORES, SCALARS, STORY_CORRELATION, STORY_INNER_CORRELATION, WEIGHTS,
};

/// Voxels that are copied at a time.
const WIDTH: usize = 4096;

impl SubjectWriter {
    /// Copies the files of a shard's part of this subject.
    ///
    /// `part`: its models' folders; `voxels`: of the whole subject; `found`: one a model.
    /// # Errors
    /// Those of the files.
    pub fn add_part(&self, part: &Path, voxels: Range<usize>, found: &[&ModelFound]) -> Result<()> {
        let mut models = Vec::new();
        for (model, found) in self.models.iter().zip(found) {
            let from = part.join(model.folder.file_name().unwrap_or_default());
            copy(&from.join(CV_SCORES), &model.cv_scores, &voxels)?;
            copy(&from.join(STORY_CORRELATION), &model.story_correlation, &voxels)?;
            if let Some(to) = &model.story_inner {
                copy(&from.join(STORY_INNER_CORRELATION), to, &voxels)?;
            }
            for (name, to) in &model.others {
                copy(&from.join(name), to, &voxels)?;
            }
            let scalars = npy::read_matrix_f64(&from.join(SCALARS))?;
            let scalars: Vec<f64> = scalars.iter().copied().collect();
            model.scalars.write_columns(voxels.clone(), &scalars)?;
            for (name, to) in &model.bands {
                let rows = npy::read_matrix_f64(&from.join(name))?;
                let rows: Vec<f64> = rows.iter().copied().collect();
                to.write_columns(voxels.clone(), &rows)?;
            }
            if let Some(to) = &model.weights {
                let from = ColumnsReader::open(&from.join(WEIGHTS))?;
                let n_coefs = model.n_coefs;
                for (tensor, (name, n_rows)) in
                    [("weights", n_coefs), ("intercept", 1)].into_iter().enumerate()
                {
                    for cols in pieces(voxels.len()) {
                        let all = (n_rows, voxels.len());
                        let data = from.read_columns(name, all, cols.clone())?;
                        to.write_columns(tensor, shifted(&cols, voxels.start), &data)?;
                    }
                }
            }
            let ModelFound { edges, basis_rank, basis_error, .. } = **found;
            models.push(TileModel { edges, basis_rank, basis_error });
        }
        let count = |of: fn(&ModelFound) -> usize| found.first().map_or(0, |found| of(found));
        self.journal.add(Tile {
            start: voxels.start,
            end: voxels.end,
            n_constant: count(|found| found.n_constant),
            n_not_finite: count(|found| found.n_not_finite),
            models,
            data: String::new(),
        })
    }
}

fn copy(from: &Path, to: &NpyColumnsWriter<f32>, voxels: &Range<usize>) -> Result<()> {
    let from = NpyFile::open(from)?;
    let n_rows = to.n_rows();
    for cols in pieces(voxels.len()) {
        let mut data = vec![0f32; n_rows * cols.len()];
        from.read_columns(0..n_rows, cols.clone(), &mut data)?;
        to.write_columns(shifted(&cols, voxels.start), &data)?;
    }
    Ok(())
}

fn pieces(n: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(WIDTH).map(move |start| start..(start + WIDTH).min(n))
}

fn shifted(cols: &Range<usize>, by: usize) -> Range<usize> {
    cols.start + by..cols.end + by
}
