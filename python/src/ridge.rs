//! The fit behind `RidgeCV`.

use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use voxelcast::backend::Scorer;
use voxelcast::backend::device::{Device, Precision, choose};
use voxelcast::error::{Error, Result};
use voxelcast::ridge::AlphaGrid;
use voxelcast::ridge::folds::from_labels;
use voxelcast::solve::fit::{Fit, FitData, FitSettings, Plan, RowsOfFolds, fit};
use voxelcast::solve::outputs::Outputs;

use crate::arrays::Matrix;
use crate::errors::to_python;
use crate::running::{Resources, run};

/// How a fit is made, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Settings {
    alphas: Vec<f64>,
    scoring: String,
    solver: String,
    device: String,
    fit_intercept: bool,
    alpha_tolerance: f64,
    n_threads: Option<usize>,
}

impl Settings {
    /// Threads and memory.
    pub fn resources(&self) -> Resources {
        Resources::new(self.n_threads)
    }

    /// The same, checked.
    /// # Errors
    /// `Error::Usage` for words and numbers, `Error::Device` for a card that is not there.
    pub fn checked(&self, resources: Resources) -> Result<FitSettings> {
        let usage = |place: &str, problem: String| Error::Usage {
            place: place.into(),
            problem,
            hint: "see help(voxelcast.RidgeCV)".into(),
        };
        let scorer = match self.scoring.as_str() {
            "correlation" => Scorer::Correlation,
            "r2" => Scorer::R2,
            got => {
                let problem = format!("expected \"correlation\" or \"r2\", got {got:?}");
                return Err(usage("scoring", problem));
            }
        };
        if !(0.0..1.0).contains(&self.alpha_tolerance) {
            let problem = format!("expected 0 to 1, got {}", self.alpha_tolerance);
            return Err(usage("alpha_tolerance", problem));
        }
        Ok(FitSettings {
            alphas: AlphaGrid::new(self.alphas.clone())?,
            scorer,
            solver: self.solver.parse()?,
            fit_intercept: self.fit_intercept,
            alpha_tolerance: self.alpha_tolerance,
            basis_tolerance: 1e-5,
            device: choose(&self.device, Precision::F32)?.0,
            n_threads: resources.n_threads,
            memory_bytes: resources.memory_bytes,
        })
    }
}

/// A fit as a dict: `cv_scores` (A, V), `coef` (p, V), `intercept` (V), `best_alphas` (V), and what
/// is told of it: `solver`, `warnings`.
pub fn to_dict<'py>(py: Python<'py>, fit: Fit) -> PyResult<Bound<'py, PyDict>> {
    let Fit { summary, arrays } = fit;
    let dict = PyDict::new(py);
    dict.set_item("cv_scores", arrays.cv_scores.into_pyarray(py))?;
    dict.set_item("coef", arrays.coef.into_pyarray(py))?;
    dict.set_item("intercept", arrays.intercept.into_pyarray(py))?;
    dict.set_item("best_alphas", arrays.best_alpha.into_pyarray(py))?;
    dict.set_item("solver", summary.solver)?;
    dict.set_item("warnings", summary.warnings)?;
    Ok(dict)
}

/// Fits `x` (n, p) to `y` (n, V); `folds`: the fold of each row, −1 for a row that is not used.
/// `n_held_out`: so many folds are held out, the others always trained on; on the CPU. Shapes were
/// compared in Python.
#[pyfunction]
pub fn fit_ridge<'py>(
    py: Python<'py>,
    x: &Bound<'py, PyAny>,
    y: &Bound<'py, PyAny>,
    folds: PyReadonlyArray1<'py, i64>,
    n_held_out: Option<usize>,
    settings: Settings,
    progress: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let (x, y) = (Matrix::new("X", x)?, Matrix::new("Y", y)?);
    let labels = folds.as_array().to_vec();
    let used: Vec<i64> = labels.iter().copied().filter(|&label| label >= 0).collect();
    let (fold_of_used, names) = from_labels(&used, "cv").map_err(to_python)?;
    let mut next = fold_of_used.into_iter();
    let fold_of_row = labels.iter().map(|&label| if label >= 0 { next.next() } else { None });
    let folds = RowsOfFolds {
        fold_of_row: fold_of_row.collect(),
        n_held_out: n_held_out.unwrap_or(names.len()),
        names,
    };
    let resources = settings.resources();
    let mut checked = settings.checked(resources).map_err(to_python)?;
    if folds.n_held_out < folds.names.len() {
        checked.device = Device::Cpu;
    }
    let (x, y) = (x.view(), y.view());
    let fitted = run(py, resources, progress, |reporter, cancel| {
        let (x, y) = (x.tiles("X"), y.tiles("Y"));
        let sizes = (used.len(), x.n_cols(), y.n_cols(), 0, folds.names.len());
        let plan = Plan::new(&checked, sizes, None, "ridge")?;
        let data = FitData { x: &*x, y: &*y, folds, test: None };
        let outputs = Outputs { folder: None, predict: false };
        fit(plan, &data, &outputs, reporter, cancel)
    })?;
    to_dict(py, fitted)
}
