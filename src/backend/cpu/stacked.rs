//! Svd models: z and t from the statistics of stacked orthogonal factors.

use super::gemm::{Rows, gemm};

/// What one fold knows of a block of voxels: Q_kᵀ Y_k.
pub struct FoldStatistic<'a> {
    /// `(len)` first row: √n_k · (mean over the fold − what is taken off BOLD).
    pub first: Vec<f32>,
    /// The other rows, `stride` apart, from the block's first voxel.
    pub others: &'a [f32],
    /// Number of other rows.
    pub n_others: usize,
}

/// z = `to_z`ᵀ · the statistics of `folds`, `(m, len)` into `z`.
///
/// `to_z`: `(rows, m)`, the first rows of all folds, then the other rows, fold by fold.
pub fn stacked_z(
    z: &mut [f32],
    (m, len): (usize, usize),
    to_z: &[f32],
    folds: &[FoldStatistic<'_>],
    stride: usize,
) {
    let firsts: Vec<f32> = folds.iter().flat_map(|fold| fold.first.iter().copied()).collect();
    let k = folds.len();
    gemm(z, (m, len, len), false, Rows::new(to_z, k, m).t(), Rows::new(&firsts, k, len));
    let mut row = k;
    for fold in folds.iter().filter(|fold| fold.n_others > 0) {
        let left = Rows::new(&to_z[row * m..], fold.n_others, m).t();
        let right = Rows::strided(fold.others, fold.n_others, len, stride);
        gemm(z, (m, len, len), true, left, right);
        row += fold.n_others;
    }
}

/// t = `to_t`ᵀ · the fold's own rows, `(m, len)` into `t`; `to_t`: `(rows, m)`.
pub fn stacked_t(
    t: &mut [f32],
    (m, len): (usize, usize),
    to_t: &[f32],
    fold: &FoldStatistic<'_>,
    stride: usize,
) {
    if fold.n_others == 0 {
        t.fill(0.0);
        return;
    }
    let left = Rows::new(to_t, fold.n_others, m).t();
    let right = Rows::strided(fold.others, fold.n_others, len, stride);
    gemm(t, (m, len, len), false, left, right);
}
