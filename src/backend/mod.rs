//! Where the arithmetic happens: a problem is loaded once, then solved voxel tile by voxel tile.
//!
//! A backend knows rows, columns and row ranges; it does not know stories, subjects or files.
//! [`Problem`] is everything that does not depend on BOLD (designs, rotations, alphas); an
//! [`Engine`] holds what one voxel tile needs and is fed rows of BOLD by `solve::tiles`:
//!
//! ```text
//! begin(width) → add_train(block, bold)… → solve() → add_test(block, bold)… → results()
//! ```
//!
//! Each BOLD value passes once. No state grows with the number of rows, except for models on the
//! dual route, which keep their tile's training rows.

pub mod band_form;
pub mod bands;
pub mod basis;
pub mod cpu;
pub mod device;
pub mod fits;
#[cfg(feature = "cuda")]
pub mod gpu;
mod loaded;
pub mod permutations;
pub mod problem;
pub mod rotation;

pub use band_form::{BandFactor, BandForm};
pub use bands::{BandSearch, PointFolds, Points};
pub use fits::{Fit, OtherFits, Shared};
pub use loaded::{Loaded, n_workers};
pub use permutations::Permutations;
pub use problem::{Block, FewFit, FewFold, Model, Problem, Space};
pub use rotation::{FoldPath, FullFit, PathSettings, Rotate, Rotation, Scorer};

use crate::error::Result;

/// What cross-validation and refit give for one model on one voxel tile.
#[derive(Debug, Clone, Default)]
pub struct ModelTile {
    /// `(n_alphas, width)` mean over folds of the validation score; NaN for a dead voxel.
    pub cv_scores: Vec<f32>,
    /// `(width)` index into the alphas; `None` for a dead voxel.
    pub best: Vec<Option<usize>>,
    /// `(n_coefs, width)` weights, delay-major rows; zeros for a dead voxel. Empty for a model
    /// whose weights were not asked for.
    pub coef: Vec<f32>,
    /// `(width)`; zeros without an intercept and for a dead voxel.
    pub intercept: Vec<f32>,
    /// Vectors of the alpha basis over all groups, the most of any fold and voxel block.
    pub basis_rank: usize,
    /// Largest share of a path that the alpha basis leaves out: bounds a denominator's error.
    pub basis_error: f64,
    /// What a search over bands found; empty for other models.
    pub bands: BandTile,
}

/// The search of one banded model on one voxel tile.
#[derive(Debug, Clone, Default)]
pub struct BandTile {
    /// `(width)` the point that was chosen; `None` for a dead voxel.
    pub point: Vec<Option<usize>>,
    /// `(n_points, width)` mean over folds of the validation score at each point's best alpha; NaN
    /// for a dead voxel.
    pub scores: Vec<f32>,
}

/// Test scores of one model on one voxel tile.
#[derive(Debug, Clone, Default)]
pub struct TestTile {
    /// `(width)` Pearson r over all test rows concatenated; NaN where it is not defined.
    pub correlation: Vec<f32>,
    /// `(n_test_blocks, width)` Pearson r within each test block.
    pub block_correlation: Vec<f32>,
    /// `(width)` Pearson r over the inner rows of all test blocks; empty where none are told apart.
    pub inner_correlation: Vec<f32>,
    /// `(n_test_blocks, width)` Pearson r within each test block's inner rows; empty as above.
    pub block_inner_correlation: Vec<f32>,
    /// `(width)` permutations of the problem whose r is at least `correlation`; means nothing where
    /// that is NaN. Empty for a problem without permutations.
    pub n_at_least: Vec<u32>,
    /// `(width)` R² over all test rows, 1 − Σ(y − ŷ)²/Σ(y − ȳ)²; of the CPU's engine alone.
    pub r2: Vec<f32>,
    /// `(n_bands, width)` parts of `correlation` and of the centred R²; of banded models alone.
    pub band_correlation: Vec<f32>,
    /// See `band_correlation`.
    pub band_r2: Vec<f32>,
}

/// What one voxel tile's BOLD looked like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VoxelCounts {
    /// Voxels with a NaN or an infinity in the training rows.
    pub n_not_finite: usize,
    /// Voxels that never change over the training rows.
    pub n_constant: usize,
}

/// Takes a model's index and its predicted BOLD of a block, `(n_rows, width)`.
pub type TakePrediction<'a> = dyn FnMut(usize, &[f32]) + 'a;

/// One worker's view of a loaded problem; tiles pass through it one after the other.
pub trait Engine {
    /// Starts a tile of `width` voxels. Every count is back at zero.
    fn begin(&mut self, width: usize) -> Result<()>;
    /// Adds the BOLD of one training block, `(n_rows, width)` row-major.
    fn add_train(&mut self, block: usize, bold: &[f32]) -> Result<()>;
    /// Cross-validates and refits every model; one entry a model.
    fn solve(&mut self) -> Result<&[ModelTile]>;
    /// Predicts one test block and adds it to the scores. With `predictions`, the predicted BOLD
    /// of each model, `(n_rows, width)`, intercept included, is handed out.
    fn add_test(
        &mut self,
        block: usize,
        bold: &[f32],
        predictions: Option<&mut TakePrediction<'_>>,
    ) -> Result<()>;
    /// What `solve` found, and the test scores, one entry a model: after the last test block.
    fn results(&mut self) -> Result<(&[ModelTile], &[TestTile])>;
    /// Voxels of this tile that cannot be fitted.
    fn counts(&self) -> VoxelCounts;
    /// Seconds spent so far in each named stage, for `bench` and run.json.
    fn stage_seconds(&self) -> Vec<(&'static str, f64)>;
    /// Gives back the memory of a tile: before a narrower one is tried.
    fn release(&mut self) {}
}

#[cfg(test)]
mod tests;
