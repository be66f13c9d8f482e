//! f32 products over row-major slices: one thread, faer underneath.

use faer::linalg::matmul::{
    matmul,
    triangular::{self, BlockStructure},
};
use faer::{Accum, MatMut, MatRef, Par};

/// A row-major block of a slice: `rows × cols`, rows `stride` apart.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    view: MatRef<'a, f32>,
}

impl<'a> Rows<'a> {
    /// `rows × cols` from the start of `data`.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// `rows × cols` whose rows are `stride` apart.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self { view: MatRef::from_row_major_slice_with_stride(data, rows, cols, stride) }
    }

    /// The transposed view.
    pub fn t(self) -> Self {
        Self { view: self.view.transpose() }
    }
}

/// Rows of a slice to write to. Not `MatMut::from_row_major_slice_with_stride_mut`: faer 0.24.4
/// swaps its strides and writes past the slice (`src/mat/matmut.rs`).
fn rows_mut(out: &mut [f32], rows: usize, cols: usize, stride: usize) -> MatMut<'_, f32> {
    MatMut::from_column_major_slice_with_stride_mut(out, cols, rows, stride).transpose_mut()
}

/// `out` (row-major, `rows × cols`, rows `stride` apart) = or += `a · b`.
pub fn gemm(out: &mut [f32], shape: (usize, usize, usize), add: bool, a: Rows<'_>, b: Rows<'_>) {
    let (rows, cols, stride) = shape;
    let out = rows_mut(out, rows, cols, stride);
    let accum = if add { Accum::Add } else { Accum::Replace };
    matmul(out, accum, a.view, b.view, 1.0, Par::Seq);
}

/// `out` (row-major, `rows × cols`) = `upper · b`, with `upper` square and upper triangular.
pub fn upper_gemm(out: &mut [f32], rows: usize, cols: usize, upper: Rows<'_>, b: Rows<'_>) {
    let out = rows_mut(out, rows, cols, cols);
    triangular::matmul(
        out,
        BlockStructure::Rectangular,
        Accum::Replace,
        upper.view,
        BlockStructure::TriangularUpper,
        b.view,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + seed * 101) % 17) as f32 - 8.0).collect()
    }

    #[test]
    fn products_of_small_integers_are_exact_for_every_layout() {
        for (m, n, k) in [(1, 1, 1), (2, 3, 5), (31, 33, 32), (64, 65, 7), (97, 40, 61)] {
            let stride = n + 3;
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let transposed: Vec<f32> = (0..k * m).map(|i| a[(i % m) * k + i / m]).collect();
            let exact =
                |i: usize, j: usize| -> f32 { (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum() };
            for left in [Rows::new(&a, m, k), Rows::new(&transposed, k, m).t()] {
                let mut out = vec![7.0; m * stride];
                gemm(&mut out, (m, n, stride), false, left, Rows::new(&b, k, n));
                gemm(&mut out, (m, n, stride), true, left, Rows::new(&b, k, n));
                for i in 0..m {
                    for j in 0..stride {
                        let expected = if j < n { 2.0 * exact(i, j) } else { 7.0 };
                        assert_eq!(out[i * stride + j], expected, "{m} {n} {k} at {i}, {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_triangular_product_ignores_nothing_above_the_diagonal() {
        for (n, cols) in [(1, 1), (2, 31), (33, 16), (130, 65)] {
            let (mut upper, b) = (values(n * n, 3), values(n * cols, 4));
            for i in 0..n {
                upper[i * n..i * n + i].fill(0.0);
            }
            let (mut out, mut full) = (vec![7.0; n * cols], vec![0.0; n * cols]);
            upper_gemm(&mut out, n, cols, Rows::new(&upper, n, n), Rows::new(&b, n, cols));
            let shape = (n, cols, cols);
            gemm(&mut full, shape, false, Rows::new(&upper, n, n), Rows::new(&b, n, cols));
            assert_eq!(out, full);
        }
    }
}
