//! `voxelcast resample` and `voxelcast delay`: one array in, one out.

use std::path::Path;

use ndarray::{Array2, ArrayView2};

use crate::design::delays::{delay, delay_groups};
use crate::design::lanczos::{Lanczos, resample};
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyFile};

/// Lanczos-resamples the rows of `data` `(n_old, d)` from `old_times` to `new_times`; writes
/// `(n_new, d)` f64 and returns that shape.
/// # Errors
/// Those of the files and of `lanczos::resample`.
pub fn resample_file(
    data: &Path,
    old_times: &Path,
    new_times: &Path,
    lanczos: &Lanczos,
    out: &Path,
) -> Result<(usize, usize)> {
    let rows = npy::read_matrix_f64(data)?;
    let old = npy::read_vector_f64(old_times)?;
    let new = npy::read_vector_f64(new_times)?;
    let made = resample(rows.view(), &old.to_vec(), &new.to_vec(), lanczos)?; // (n_new, d)
    write_matrix(out, made.view())
}

/// Delays the rows of `x` `(n, d)`; writes `(n, n_delays · d)` in the dtype of `x` (f32 or f64) and
/// returns that shape.
/// # Errors
/// Those of the files; `Error::Shape` if `groups` has not a label for each row.
pub fn delay_file(
    x: &Path,
    delays: &[i64],
    groups: Option<&Path>,
    out: &Path,
) -> Result<(usize, usize)> {
    let labels = groups.map(npy::read_labels).transpose()?;
    let file = NpyFile::open(x)?;
    file.check_matrix()?;
    if let (Some(labels), Some(path)) = (&labels, groups)
        && labels.len() != file.n_rows()
    {
        return Err(Error::Shape {
            what: format!("labels in {}", path.display()),
            expected: format!("{} as there are rows in {}", file.n_rows(), x.display()),
            got: labels.len().to_string(),
            hint: "give one label a row".into(),
        });
    }
    if file.dtype().kind == npy::Kind::F32 {
        let x = npy::read_matrix_f32(x)?;
        write_matrix(out, delayed(x.view(), delays, labels.as_deref())?.view())
    } else {
        let x = npy::read_matrix_f64(x)?;
        write_matrix(out, delayed(x.view(), delays, labels.as_deref())?.view())
    }
}

fn delayed<T: Copy + Default>(
    x: ArrayView2<'_, T>,
    delays: &[i64],
    labels: Option<&[i64]>,
) -> Result<Array2<T>> {
    match labels {
        Some(labels) => delay_groups(x, delays, labels),
        None => delay(x, delays),
    }
}

fn write_matrix<T: npy::Element>(out: &Path, matrix: ArrayView2<'_, T>) -> Result<(usize, usize)> {
    let (rows, cols) = matrix.dim();
    let values: Vec<T> = matrix.iter().copied().collect();
    npy::write(out, &[rows, cols], &values)?;
    Ok((rows, cols))
}
