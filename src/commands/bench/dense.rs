//! A general f32 product over row-major slices, one thread: faer's.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// `out` `(rows, cols)`, rows `stride` apart, = or += `a · b`.
///
/// Not `MatMut::from_row_major_slice_with_stride_mut`: faer 0.24.4 swaps its strides and writes
/// past the slice (`src/mat/matmut.rs`).
pub fn multiply(
    out: &mut [f32],
    (rows, cols, stride): (usize, usize, usize),
    add: bool,
    a: MatRef<'_, f32>,
    b: MatRef<'_, f32>,
) {
    let out = MatMut::from_column_major_slice_with_stride_mut(out, cols, rows, stride);
    let accum = if add { Accum::Add } else { Accum::Replace };
    matmul(out.transpose_mut(), accum, a, b, 1.0, Par::Seq);
}
