//! Which way a model is solved, what it costs, and why.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::conditioning::{Conditioning, SCORE_ERROR_LIMIT};
use crate::error::{Error, Result};
use crate::product::packed::Layout;

/// Columns below which a core of its own per eigenproblem beats all cores on one.
pub const SHARED_EIGEN: usize = 1500;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Solver {
    /// By cost and memory.
    #[default]
    Auto,
    /// Gram matrix of the columns.
    Gram,
    /// Kernel of the rows.
    Dual,
    /// Orthogonal factors of the folds.
    Svd,
}

impl FromStr for Solver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "gram" => Ok(Self::Gram),
            "dual" => Ok(Self::Dual),
            "svd" => Ok(Self::Svd),
            _ => Err(Error::Usage {
                place: "solver".into(),
                problem: format!("expected auto, gram, svd or dual, got {text:?}"),
                hint: "auto picks by the shape of the problem and says why".into(),
            }),
        }
    }
}

/// How a model is solved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// p × p.
    Gram,
    /// n × n.
    Dual,
    /// n × p, without a Gram matrix: the condition number is not squared.
    Svd,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Route::Gram => "gram",
            Route::Dual => "dual",
            Route::Svd => "svd",
        })
    }
}

/// Sizes of one model.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Training rows.
    pub n_rows: usize,
    /// Test rows.
    pub n_test: usize,
    /// Columns over all delays.
    pub n_coefs: usize,
    /// Voxels of the largest subject.
    pub n_voxels: usize,
    /// Folds.
    pub n_folds: usize,
    /// Threads that prepare it.
    pub n_threads: usize,
}

/// What a route takes before and during the tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Largest resident memory, without the designs and the voxel tiles: an upper bound.
    pub bytes: f64,
    /// What of it stays until the last tile.
    pub kept_bytes: f64,
    /// f64 operations of the eigenproblems and what surrounds them.
    pub setup_flops: f64,
    /// f32 operations over all voxels.
    pub voxel_flops: f64,
}

/// f64 operations a second that the eigensolver reaches on one core, a cautious figure.
const EIGEN_FLOPS: f64 = 1.2e10;
/// f32 operations a second in products on one core, a cautious figure.
const GEMM_FLOPS: f64 = 5e10;

impl Cost {
    /// Of one route.
    pub fn of(route: Route, sizes: Sizes) -> Self {
        let Sizes { n_rows, n_test, n_coefs, n_voxels, n_folds, n_threads } = sizes;
        let (n, p, v, k) = (n_rows as f64, n_coefs as f64, n_voxels as f64, n_folds as f64);
        let train = n * (k - 1.0).max(1.0) / k;
        // Left factors of the tiles' products.
        let cell = Layout::best(n_coefs).cell_bytes() as f64;
        match route {
            Route::Gram => {
                // A rotation and a factor a fold, two matrices of the refit.
                let kept = cell * p * p * (2.0 * k + 2.0);
                // Eigenproblems of this size are solved one a thread, larger ones by all threads:
                // the centred Gram, its eigenvectors, three matrices of scratch, short folds' rows.
                let at_once =
                    if n_coefs > SHARED_EIGEN { 1 } else { n_threads.clamp(1, n_folds + 1) };
                Self {
                    // Beside them a Gram a fold and that of all, in f64.
                    bytes: kept + 8.0 * p * p * (k + 1.0 + 6.0 * at_once as f64),
                    kept_bytes: kept,
                    setup_flops: k * 14.0 * p.powi(3) + 9.0 * p.powi(3) + n * p * p,
                    voxel_flops: v * (2.0 * n * p + k * (4.0 + 10.0) * p * p + 4.0 * p * p),
                }
            }
            Route::Dual => {
                // Folds, two matrices of the refit, kernels of the test rows.
                let kept =
                    k * cell * train * (train + n / k) + cell * n * (2.0 * n + n_test as f64);
                Self {
                    // The kernel and what its eigenproblem takes, test kernels in f64.
                    bytes: kept + 8.0 * n * n * 5.0 + 8.0 * n * n_test as f64,
                    kept_bytes: kept,
                    setup_flops: k * 11.0 * train.powi(3) + 9.0 * n.powi(3),
                    voxel_flops: v
                        * (k * (2.0 * train * train + 12.0 * train * n / k) + 4.0 * n * n),
                }
            }
            Route::Svd => {
                // Rows of the stacked factors of the other folds, and of all.
                let own = (p + 1.0).min(n / k);
                let (stacked, all) = (own * (k - 1.0).max(1.0), own * k);
                // Q in f32, folds, the refit, rotated test rows.
                let kept = 4.0 * n * p
                    + k * cell * p * (stacked + 2.0 * own)
                    + cell * p * (all + p + n_test as f64);
                Self {
                    // The design and its copy in folds, in f32; R in f64; then the larger of: a
                    // fold's rows, their factor and its reflectors; or, stacked, the same with U, V
                    // and what an SVD needs.
                    bytes: kept
                        + 8.0 * n * p
                        + 8.0 * k * own * p
                        + 8.0 * p * (3.0 * n / k).max(3.0 * all + 6.0 * p),
                    kept_bytes: kept,
                    setup_flops: 4.0 * n * p * p
                        + (k + 1.0) * (6.0 * all * p * p + 20.0 * p.powi(3)),
                    voxel_flops: v
                        * (2.0 * n * p
                            + k * (2.0 * stacked * p + 2.0 * own * p + 10.0 * p * p)
                            + 2.0 * all * p
                            + 2.0 * p * p),
                }
            }
        }
    }

    /// A cautious estimate of the time on `threads` cores, in seconds.
    pub fn seconds(&self, threads: usize) -> f64 {
        self.setup_flops / (EIGEN_FLOPS * threads.max(1) as f64) + self.voxel_seconds(threads)
    }

    /// The part of it that a further subject costs.
    pub fn voxel_seconds(&self, threads: usize) -> f64 {
        self.voxel_flops / (GEMM_FLOPS * threads.max(1) as f64)
    }
}

/// The route taken and the sentence that says why.
///
/// `available_bytes`: memory that may be used. `Auto` takes the quicker route that fits.
/// # Errors
/// `Error::TooLarge` (exit 3) if the route asked for, or either route, does not fit.
pub fn choose(
    solver: Solver,
    sizes: Sizes,
    threads: usize,
    available_bytes: f64,
    what: &str,
) -> Result<(Route, String)> {
    let Sizes { n_rows, n_coefs, .. } = sizes;
    let gram = Cost::of(Route::Gram, sizes);
    let dual = Cost::of(Route::Dual, sizes);
    let quicker =
        if dual.seconds(threads) < gram.seconds(threads) { Route::Dual } else { Route::Gram };
    let cost = |route| Cost::of(route, sizes);
    let other = |route| if route == Route::Gram { Route::Dual } else { Route::Gram };
    let route = match solver {
        Solver::Gram => Route::Gram,
        Solver::Dual => Route::Dual,
        Solver::Svd => Route::Svd,
        Solver::Auto if cost(quicker).bytes <= available_bytes => quicker,
        Solver::Auto if cost(other(quicker)).bytes <= available_bytes => other(quicker),
        Solver::Auto => quicker,
    };
    let taken = cost(route);
    if taken.bytes > available_bytes {
        return Err(Error::TooLarge {
            what: format!(
                "{what}: {route} solver with {n_rows} training TRs, {n_coefs} columns, about {} on {threads} threads,",
                duration(taken.seconds(threads))
            ),
            needed: gib(taken.bytes),
            available: gib(available_bytes),
            hint: "use fewer columns (bow: max_words or min_count), fewer delays, or a machine with more memory".into(),
        });
    }
    let reason = match (solver, route) {
        (Solver::Auto, Route::Gram) => {
            format!("{n_coefs} columns against {n_rows} training TRs")
        }
        (Solver::Auto, Route::Dual) => {
            format!("{n_coefs} columns, more than pay against {n_rows} training TRs")
        }
        _ => "as asked".to_string(),
    };
    let estimate = format!(
        "{route} ({reason}; at most {} and about {})",
        gib(taken.bytes),
        duration(taken.seconds(threads))
    );
    Ok((route, estimate))
}

/// The sentence with which `auto` takes `svd` in place of a route that cannot be trusted; `None`
/// where svd does not fit.
pub fn instead(
    route: Route,
    conditioning: &Conditioning,
    sizes: Sizes,
    threads: usize,
    available_bytes: f64,
) -> Option<String> {
    let cost = Cost::of(Route::Svd, sizes);
    (cost.bytes <= available_bytes).then(|| {
        format!(
            "svd (condition number {:.1e}: CV scores of {route} may be off by {:.0e}, more than \
             {SCORE_ERROR_LIMIT:.0e}; at most {} and about {})",
            conditioning.condition,
            conditioning.score_error(),
            gib(cost.bytes),
            duration(cost.seconds(threads))
        )
    })
}

fn gib(bytes: f64) -> String {
    format!("{:.1} GiB", bytes / f64::from(1 << 30))
}

/// Seconds as a person says them.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => "1 s".into(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(n_rows: usize, n_coefs: usize) -> Sizes {
        Sizes { n_rows, n_test: 100, n_coefs, n_voxels: 1000, n_folds: 5, n_threads: 2 }
    }

    #[test]
    fn auto_takes_the_gram_for_tall_designs_and_the_kernel_for_wide_ones() {
        let route = |n, p| choose(Solver::Auto, sizes(n, p), 2, 1e11, "x").unwrap().0;
        assert_eq!(route(8000, 500), Route::Gram);
        assert_eq!(route(1000, 20_000), Route::Dual);
        let forced = choose(Solver::Dual, sizes(8000, 500), 2, 1e11, "x").unwrap();
        assert_eq!(forced.0, Route::Dual);
        assert!(forced.1.contains("as asked"));
    }

    #[test]
    fn svd_is_taken_instead_only_where_it_fits() {
        let known = Conditioning::squared(&[1.0, 1e-18], &[], (2, 2), &[1e-18]);
        assert!(known.is_beyond_limit());
        let svd = Cost::of(Route::Svd, sizes(8000, 500));
        let sentence = instead(Route::Gram, &known, sizes(8000, 500), 2, svd.bytes).unwrap();
        for part in ["svd", "condition number 1.0e9", "gram", "more than 1e-5", "GiB"] {
            assert!(sentence.contains(part), "{sentence}");
        }
        assert_eq!(instead(Route::Gram, &known, sizes(8000, 500), 2, svd.bytes - 1.0), None);
        assert_eq!(choose(Solver::Svd, sizes(8000, 500), 2, 1e11, "x").unwrap().0, Route::Svd);
        assert!(choose(Solver::Svd, sizes(8000, 500), 2, svd.bytes - 1.0, "x").is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_sizes() {
        let error = choose(Solver::Auto, sizes(28_000, 50_204), 2, 4e9, "bow").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        for part in ["bow", "28000", "50204", "GiB", "max_words"] {
            assert!(text.contains(part), "{text}");
        }
        // Auto falls to the slower route if only that one fits.
        let slow = choose(
            Solver::Auto,
            sizes(2000, 4000),
            2,
            Cost::of(Route::Dual, sizes(2000, 4000)).bytes,
            "x",
        );
        assert!(slow.is_ok());
    }
}
