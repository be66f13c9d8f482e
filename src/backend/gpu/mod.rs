//! The CUDA engine: the calls of the CPU engine over the same [`Problem`](super::Problem).
//!
//! | module | what it is |
//! |---|---|
//! | `cards` | what cards there are, and why one cannot be used |
//! | `launch` | everything that touches a card: memory, cuBLAS, one safe wrapper a kernel |
//! | `problem` | the problem in device memory, once a card, shared by its engines |
//! | `buffers` | what one tile of voxels takes, and how wide a tile may be |
//! | `engine` | the calls of the seam, BOLD in |
//! | `rotate` | a tile's statistics to components |
//! | `path` | every alpha's validation scores |
//! | `solve` | cross-validation and refit of one model |
//! | `predict` | test blocks: predictions and their scores |
//! | `permute` | block permutations of a test-set correlation |
//! | `yardstick` | one cuBLAS product, for `bench` |
//!
//! Matrices are row-major, rows are TRs or coefficients, voxels lie side by side. Nothing waits for
//! the card but copies to the host: a block is copied while the one before is worked on.

mod buffers;
pub mod cards;
mod engine;
pub mod launch;
mod path;
mod permute;
mod predict;
mod problem;
mod rotate;
mod solve;
mod yardstick;

pub use buffers::{ENGINES_PER_CARD, tile_bytes, tile_width};
pub use engine::GpuEngine;
pub use permute::permutation_counts;
pub use problem::{GpuProblem, problem_bytes};
pub use yardstick::xty_seconds;
