//! What each stage has to do: operations of its products, or bytes of what it passes through.

use super::BenchProblem;
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
/// takes the largest rank of the alpha basis for every fold and voxel block, which is a little too
/// much. The dual route is not counted.
pub fn work(stage: &str, problem: &BenchProblem, route: Route, basis_rank: usize) -> Work {
    let BenchProblem { n_trs, n_features, n_voxels, n_folds, n_alphas, .. } = *problem;
    let (n, p, v) = (n_trs as f64, n_features as f64, n_voxels as f64);
    let (k, a, r) = (n_folds as f64, n_alphas as f64, basis_rank as f64);
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
        "path" if is_primal => {
            // Without a basis the path has a vector an alpha, and no products between them.
            let pairs = if basis_rank == n_alphas { 2.0 * r * p } else { r * (r + 1.0) * (p + a) };
            Work::Flop32(k * v * (r * p * p + pairs + 2.0 * a * p))
        }
        "refit" if is_primal => Work::Flop32(4.0 * p * p * v),
        "read" | "sums" => Work::Bytes(4.0 * n * v),
        "write" => Work::Bytes(v * (4.0 * (a + p + 1.0) + 8.0)),
        _ => Work::Unknown,
    }
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
        let flop = |design, route| match work("prepare", &problem(design), route, 1) {
            Work::Flop64(flop) => flop,
            other => panic!("{other:?}"),
        };
        let both = (3.0 * 9.0 + 2.0 * (4.0 + 1.0 / 3.0)) * 512.0;
        assert_eq!(flop(DesignKind::Formed, Route::Gram), 1000.0 * 64.0 + both);
        assert_eq!(flop(DesignKind::Lagged, Route::Gram), 1000.0 * 4.0 * 7.0 + both);
        let dual = work("xty", &problem(DesignKind::White), Route::Dual, 1);
        assert_eq!(dual, Work::Unknown);
    }
}
