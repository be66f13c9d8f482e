//! Times single stages with criterion: `cargo bench`, or `cargo bench -- xty` for one.
//!
//! One file a stage. Ids are `stage/cpu/n_trs x n_features x n_voxels`; the answer is checked
//! before it is timed; elements are floating-point operations, so that `Gelem/s` reads GFLOP/s,
//! but for `path` (voxels × alphas), `basis` (cells) and `tile` (voxels).
//! Sizes are small, for comparing two versions of the code; `voxelcast bench` and `scripts/` are
//! for real ones.
//!
//! | file | stage | threads |
//! |---|---|---|
//! | `lanczos` | word rows to TR rows | all |
//! | `gram` | moments of every fold from lag blocks, f64 | all |
//! | `spectrum` | eigenproblem and triangular factor of a fold, f64 | one |
//! | `xty` | XᵀY of a voxel tile, delays by shifting rows; the same size by a general product | one |
//! | `path` | alpha basis, then every alpha's scores of a fold | one |
//! | `tile` | a voxel tile from BOLD to scores and weights | one |
//! | `pearson` | scores of predicted BOLD | one |
//! | `permutation` | 1,000 block permutations of 6,000 test TRs, one panel | one |

mod data;
mod gram;
mod lanczos;
mod path;
mod pearson;
mod permutation;
mod spectrum;
mod tile;
mod xty;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// Under two minutes for all stages.
fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
}

criterion_group! {
    name = stages;
    config = short();
    targets = lanczos::bench, gram::bench, spectrum::bench, xty::bench, path::bench, tile::bench,
        pearson::bench, permutation::bench
}
criterion_main!(stages);
