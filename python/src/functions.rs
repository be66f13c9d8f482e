//! Functions that need no fit: folds, resampling, delays, scores, word vectors.

use std::path::PathBuf;

use numpy::{IntoPyArray, PyArray1, PyArray2, PyReadonlyArray1};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use voxelcast::commands::score::correlations;
use voxelcast::design::delays::{delay, delay_groups};
use voxelcast::design::lanczos::{self, Lanczos};
use voxelcast::error::Error;
use voxelcast::features::static_vectors::{VectorFormat, candidates, embed};
use voxelcast::io::word_vectors;
use voxelcast::ridge::folds::{Dealt, from_groups};

use crate::arrays::{Matrix, View};
use crate::errors::to_python;
use crate::running::{Resources, run};

/// Fold of each row: groups dealt to `n_folds` folds in order of first appearance, as the command.
#[pyfunction]
pub fn deal_folds<'py>(
    py: Python<'py>,
    groups: PyReadonlyArray1<'py, i64>,
    n_folds: usize,
) -> PyResult<Bound<'py, PyArray1<i64>>> {
    let groups = groups.as_array().to_vec();
    let dealt = from_groups(&groups, Dealt::RoundRobin(n_folds), "groups").map_err(to_python)?;
    let folds: Vec<i64> = dealt.0.into_iter().map(|fold| fold as i64).collect();
    Ok(folds.into_pyarray(py))
}

/// Rows at new times; `(n_new, n_features)` float64.
#[pyfunction]
pub fn lanczos_resample<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    old_times: PyReadonlyArray1<'py, f64>,
    new_times: PyReadonlyArray1<'py, f64>,
    window: usize,
    cutoff_mult: f64,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let data = Matrix::new("data", data)?;
    let (old, new) = (old_times.as_array().to_vec(), new_times.as_array().to_vec());
    let lanczos = Lanczos { window, cutoff_mult };
    let view = data.view();
    let made = run(py, Resources::new(None), None, |_, _| match view {
        View::Single(rows) => lanczos::resample(rows, &old, &new, &lanczos),
        View::Double(rows) => lanczos::resample(rows, &old, &new, &lanczos),
    })?;
    Ok(made.into_pyarray(py))
}

/// `(n, n_delays * n_features)` in the dtype of `x`, delay-major.
#[pyfunction]
pub fn make_delayed<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    delays: Vec<i64>,
    groups: Option<PyReadonlyArray1<'py, i64>>,
) -> PyResult<Bound<'py, PyAny>> {
    fn delayed<T: Copy + Default>(
        x: ndarray::ArrayView2<'_, T>,
        delays: &[i64],
        groups: Option<&[i64]>,
    ) -> Result<ndarray::Array2<T>, Error> {
        match groups {
            Some(groups) => delay_groups(x, delays, groups),
            None => delay(x, delays),
        }
    }
    let x = Matrix::new("X", x)?;
    let groups = groups.map(|groups| groups.as_array().to_vec());
    let (view, groups) = (x.view(), groups.as_deref());
    Ok(match view {
        View::Single(x) => {
            let made = py.detach(|| delayed(x, &delays, groups)).map_err(to_python)?;
            made.into_pyarray(py).into_any()
        }
        View::Double(x) => {
            let made = py.detach(|| delayed(x, &delays, groups)).map_err(to_python)?;
            made.into_pyarray(py).into_any()
        }
    })
}

/// Pearson r of every column, `(n_voxels)` float32; NaN where it is not defined.
#[pyfunction]
pub fn correlation_score<'py>(
    py: Python<'py>,
    y: &Bound<'py, PyAny>,
    y_pred: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f32>>> {
    let (y, y_pred) = (Matrix::new("Y", y)?, Matrix::new("Y_pred", y_pred)?);
    let (y, y_pred) = (y.view(), y_pred.view());
    if y.shape() != y_pred.shape() {
        return Err(PyValueError::new_err(format!(
            "Y_pred: expected the shape {:?} of Y, got {:?}",
            y.shape(),
            y_pred.shape()
        )));
    }
    let found = run(py, Resources::new(Some(1)), None, |_, _| {
        let (y, y_pred) = (y.tiles("Y"), y_pred.tiles("Y_pred"));
        correlations(&[(&*y_pred, &*y)], y.n_cols())
    })?;
    Ok(found.0.into_pyarray(py))
}

/// Vectors of `words`, `(n_words, dim)` float32, and the words that have none, in order.
#[pyfunction]
pub fn load_vectors<'py>(
    py: Python<'py>,
    path: PathBuf,
    words: Vec<String>,
) -> PyResult<(Bound<'py, PyArray2<f32>>, Vec<String>)> {
    let (rows, missing) = run(py, Resources::new(Some(1)), None, |_, _| {
        // Which of the two rules of case holds is known once the file is read: keep what either
        // would take.
        let spellings =
            |word: &String| candidates(word, VectorFormat::Word2vec).map(|(_, spelling)| spelling);
        let wanted: std::collections::HashSet<String> = words.iter().flat_map(spellings).collect();
        let found = word_vectors::read(&path, None, &|word| wanted.contains(word))?;
        let format = match found.format {
            word_vectors::VectorFormat::Glove => VectorFormat::Glove,
            _ => VectorFormat::Word2vec,
        };
        embed(&words, &found.vectors, found.dim, format)
    })?;
    Ok((rows.into_pyarray(py), missing))
}
