//! Cross-validated ridge from sufficient statistics: y = Xw, one alpha a voxel.
//!
//! minimise ‖y_v − X w_v‖² + α_v ‖w_v‖², α_v by the mean validation score over folds of whole
//! stories. `prepare` does everything that does not depend on BOLD (Gram matrices, eigenproblems)
//! and gives a [`Problem`](crate::backend::Problem); an engine of the backend does the rest, voxel
//! tile by voxel tile. Knows rows, folds and models; never sees a test story's BOLD.

pub mod alignment;
pub mod alphas;
pub mod bands;
pub mod conditioning;
pub mod edges;
pub mod few;
pub mod folds;
pub mod gram;
pub mod kernel;
pub mod prepare;
pub mod route;
pub mod spectrum;
pub mod svd;

pub use alphas::AlphaGrid;
pub use bands::{BandSampling, BandSpec};
pub use prepare::{ModelSpec, prepare, prepare_moments};
pub use route::{Route, Solver};
