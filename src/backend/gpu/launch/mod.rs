//! The only code that touches a card: memory, copies, cuBLAS, and one safe wrapper a kernel.
//!
//! A wrapper checks every extent against its grid, launches and checks the status. Launches are
//! asynchronous: a fault inside of a kernel comes back from a later call, tests synchronise. cudarc
//! keeps an event with every allocation and makes a stream wait for the last use on another one, so
//! that no wrapper can race with a copy.

#![allow(unsafe_code)]

mod blas;
mod card;
mod correlation;
mod delays;
mod grid;
mod memory;
mod path;
mod permute;
mod refit;
mod rotate;
#[cfg(test)]
mod tests;
mod voxels;

pub use blas::{Batch, Gemm};
pub use card::{Card, CardInfo, Lane, Moment, check_libraries, n_cards};
pub use correlation::{pearson_block, pearson_sums, pearson_total};
pub use delays::{Shape as DelayShape, delay, densify};
pub use grid::{BLOCK, CHUNK_ROWS, n_chunks};
pub use memory::{Buffer, Part, PartMut, Staging, Value};
pub use path::{
    BlockScores, Numerators, PATH_ALPHAS, PATH_ROWS, Squares, add_scores, add_squares,
    component_sizes, n_square_chunks, path_numerators, path_squares, row_squares, scale_slots,
    select_alpha, voxel_inverses,
};
pub use permute::permute_blocks;
pub use refit::{intercepts, shrink};
pub use rotate::{center_rows, center_total, center_xty, stack_rows, total_xty};
pub use voxels::{Moments, add_voxels, first_means, fold_moments, merge_voxels};
