//! What each stage has to do: operations of its products, or bytes of what it passes through.

use super::BenchProblem;
use crate::backend::Problem;
use crate::backend::basis::{AlphaBasis, Form};
use crate::error::Result;
use crate::ridge::Route;

/// What a stage is measured by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Work {
    /// Operations in f64, against the f64 peak.
    Flop64(f64),
    /// Operations in f32, against the f32 peak.
    Flop32(f64),
    /// Bytes read or written.
    Bytes(f64),
    /// Not counted.
    Unknown,
}

/// Work of one stage, by its name in `Engine::stage_seconds` and `run_tiles`.
///
/// `prepare`: Gram matrices (lag blocks: 2·L − 1 triangles' worth of n·d² for L lags of d columns)
/// and, counted as LAPACK counts them, 9·p³ an eigenproblem and 4⅓·p³ for a fold's factor. `path`
/// is what [`path_flop`] gives for a voxel. The dual route is not counted.
pub fn work(stage: &str, problem: &BenchProblem, route: Route, path_flop: f64) -> Work {
    let BenchProblem { n_trs, n_features, n_voxels, n_folds, n_alphas, .. } = *problem;
    let (n, p, v) = (n_trs as f64, n_features as f64, n_voxels as f64);
    let (k, a) = (n_folds as f64, n_alphas as f64);
    let is_primal = route != Route::Dual;
    match stage {
        "prepare" if route == Route::Gram => {
            let lags = match problem.design {
                super::DesignKind::Lagged => problem.lags().len() as f64,
                _ => 1.0,
            };
            let gram = n * (p / lags).powi(2) * (2.0 * lags - 1.0);
            Work::Flop64(gram + (k + 1.0) * 9.0 * p.powi(3) + k * (4.0 + 1.0 / 3.0) * p.powi(3))
        }
        "xty" if is_primal => Work::Flop32(2.0 * n * p * v),
        "rotate" if is_primal => Work::Flop32(4.0 * k * p * p * v),
        "path" if is_primal => Work::Flop32(path_flop * v),
        "refit" if is_primal => Work::Flop32(4.0 * p * p * v),
        "read" | "sums" => Work::Bytes(4.0 * n * v),
        "write" => Work::Bytes(v * (4.0 * (a + p + 1.0) + 8.0)),
        _ => Work::Unknown,
    }
}

/// Operations of the path for one voxel, over all folds of the first model.
///
/// The alpha basis is that of BOLD which is no more one direction of the design than another; real
/// blocks of voxels have a vector more or less. Triangular products of each group's vectors,
/// combinations of their images, their squares or inner products, numerators of all alphas.
/// # Errors
/// `Error::Numerical` from the basis.
pub fn path_flop(problem: &Problem) -> Result<f64> {
    let n_alphas = problem.settings.alphas.len() as f64;
    let mut flop = 0.0;
    let Some(model) = problem.models.first() else { return Ok(flop) };
    for (rotation, path) in model.folds.iter().zip(&model.paths) {
        let mut basis = AlphaBasis::default();
        basis.fit(&path.groups, &rotation.expected_sizes())?;
        let n_slots = basis.n_slots() as f64;
        flop += 2.0 * n_alphas * rotation.n_components as f64;
        for (components, slots) in &basis.groups {
            let (first, n) = (components.start as f64, components.len() as f64);
            let n_rows = rotation.factor.rows() as f64;
            // Rows of F above a component: half of the square on the diagonal.
            let cells = if rotation.upper { n * (first + n / 2.0) } else { n * n_rows };
            flop += 2.0 * slots.len() as f64 * cells;
            let rows = if rotation.upper { n } else { n_rows / basis.groups.len() as f64 };
            let active = if rotation.upper { n_slots - slots.start as f64 } else { n_slots };
            let out = basis.combine.rows() as f64;
            flop += 2.0
                * rows
                * match basis.form {
                    Form::Path => active,
                    Form::Squares => out * (active + 1.0),
                    Form::Pairs => out * active + out * (out + 1.0) / 2.0,
                };
        }
        if basis.form == Form::Pairs {
            let out = basis.combine.rows() as f64;
            flop += n_alphas * out * (out + 1.0);
        }
    }
    Ok(flop)
}

#[cfg(test)]
mod tests {
    use super::super::DesignKind;
    use super::*;

    #[test]
    fn a_lagged_gram_costs_less_than_a_formed_one() {
        let problem = |design| BenchProblem {
            n_trs: 1000,
            n_features: 8,
            n_voxels: 10,
            n_folds: 2,
            n_alphas: 3,
            design,
        };
        let flop = |design, route| match work("prepare", &problem(design), route, 0.0) {
            Work::Flop64(flop) => flop,
            other => panic!("{other:?}"),
        };
        let both = (3.0 * 9.0 + 2.0 * (4.0 + 1.0 / 3.0)) * 512.0;
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-9 * expected;
        assert!(near(flop(DesignKind::Formed, Route::Gram), 1000.0 * 64.0 + both));
        assert!(near(flop(DesignKind::Lagged, Route::Gram), 1000.0 * 4.0 * 7.0 + both));
        let dual = work("xty", &problem(DesignKind::White), Route::Dual, 0.0);
        assert_eq!(dual, Work::Unknown);
    }
}
