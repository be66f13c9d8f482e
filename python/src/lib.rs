//! `voxelcast._voxelcast`: the engine as Python sees it; `voxelcast/` is what people import.
//!
//! Arrays come in as views and go out as they are. While Rust works, the interpreter is free, and
//! every 50 ms it is asked for signals: Ctrl-C ends a fit at its next block of rows.

mod arrays;
mod errors;
mod functions;
mod moments;
mod ridge;
mod running;

use pyo3::prelude::*;

#[pymodule]
fn _voxelcast(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(ridge::fit_ridge, module)?)?;
    module.add_function(wrap_pyfunction!(moments::sum_moments, module)?)?;
    module.add_function(wrap_pyfunction!(moments::solve_moments, module)?)?;
    module.add_function(wrap_pyfunction!(functions::deal_folds, module)?)?;
    module.add_function(wrap_pyfunction!(functions::lanczos_resample, module)?)?;
    module.add_function(wrap_pyfunction!(functions::make_delayed, module)?)?;
    module.add_function(wrap_pyfunction!(functions::correlation_score, module)?)?;
    module.add_function(wrap_pyfunction!(functions::load_vectors, module)?)?;
    Ok(())
}
