//! The sums behind `Moments`; they live in NumPy's arrays.

use numpy::{IntoPyArray, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use voxelcast::ridge::folds::from_labels;
use voxelcast::solve::fit::RowsOfFolds;
use voxelcast::solve::moments::{MomentsView, solve_moments as solve, sum_moments as sum};

use crate::arrays::Matrix;
use crate::errors::to_python;
use crate::ridge::{Settings, to_dict};
use crate::running::{Resources, run};

/// Sums of `x` (n, p) and `y` (n, V) over each part of the rows, as a dict of arrays; `parts`: the
/// part of each row, 0 to n_parts − 1.
#[pyfunction]
pub fn sum_moments<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    parts: Vec<usize>,
    n_threads: Option<usize>,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("Y", y)?);
    let resources = Resources::new(n_threads);
    let n_parts = parts.iter().max().map_or(0, |last| last + 1);
    let parts = RowsOfFolds::partition(parts, (0..n_parts as i64).collect());
    let (x, y) = (x.view(), y.view());
    let made = run(py, resources, progress, |reporter, cancel| {
        let (x, y) = (x.tiles("X"), y.tiles("Y"));
        sum(&*x, &*y, &parts, resources.memory_bytes, reporter, cancel)
    })?;
    let dict = PyDict::new(py);
    dict.set_item("x_shift", made.x_shift.into_pyarray(py))?;
    dict.set_item("x_sums", made.x_sums.into_pyarray(py))?;
    dict.set_item("gram", made.gram.into_pyarray(py))?;
    dict.set_item("y_shift", made.y_shift.into_pyarray(py))?;
    dict.set_item("y_sums", made.y_sums.into_pyarray(py))?;
    dict.set_item("y_squares", made.y_squares.into_pyarray(py))?;
    dict.set_item("xty", made.xty.into_pyarray(py))?;
    dict.set_item("not_finite", made.not_finite.into_pyarray(py))?;
    dict.set_item("varies", made.varies.into_pyarray(py))?;
    Ok(dict)
}

/// The same dict as an argument, with `n_rows`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Sums<'py> {
    n_rows: Vec<usize>,
    x_shift: PyReadonlyArray1<'py, f64>,
    x_sums: PyReadonlyArray2<'py, f64>,
    gram: PyReadonlyArray3<'py, f64>,
    y_shift: PyReadonlyArray1<'py, f32>,
    y_sums: PyReadonlyArray2<'py, f64>,
    y_squares: PyReadonlyArray2<'py, f64>,
    xty: PyReadonlyArray3<'py, f32>,
    not_finite: PyReadonlyArray1<'py, bool>,
    varies: PyReadonlyArray1<'py, bool>,
}

/// Cross-validates and refits; `folds`: the fold of each part.
#[pyfunction]
pub fn solve_moments<'py>(
    py: Python<'py>,
    sums: Sums<'py>,
    folds: Vec<i64>,
    settings: Settings,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let resources = settings.resources();
    let checked = settings.checked(resources).map_err(to_python)?;
    // A fold's rows are counted: a part may be one row, a fold may not.
    let of_rows: Vec<i64> = folds
        .iter()
        .zip(&sums.n_rows)
        .flat_map(|(&fold, &n)| std::iter::repeat_n(fold, n.min(2)))
        .collect();
    let (_, names) = from_labels(&of_rows, "cv").map_err(to_python)?;
    let fold_of_part: Vec<usize> =
        folds.iter().map(|fold| names.partition_point(|name| name < fold)).collect();
    let view = MomentsView {
        n_rows: &sums.n_rows,
        x_shift: sums.x_shift.as_array(),
        x_sums: sums.x_sums.as_array(),
        gram: sums.gram.as_array(),
        y_shift: sums.y_shift.as_array(),
        y_sums: sums.y_sums.as_array(),
        y_squares: sums.y_squares.as_array(),
        xty: sums.xty.as_array(),
        not_finite: sums.not_finite.as_array(),
        varies: sums.varies.as_array(),
    };
    let fitted = run(py, resources, progress, |reporter, cancel| {
        solve(&view, (&fold_of_part, &names), &checked, reporter, cancel)
    })?;
    to_dict(py, fitted)
}
