//! XᵀY of a delayed design that is never formed.

use super::gemm::{Rows, gemm};
use crate::matrix::{SparseRows, StoryDesign};

/// Rows of BOLD that see a design row at `delay`: t with 0 ≤ t − delay < n.
pub fn delayed_rows(n: usize, delay: i64) -> std::ops::Range<usize> {
    let shift = delay.unsigned_abs() as usize;
    if delay >= 0 { shift.min(n)..n } else { 0..n.saturating_sub(shift) }
}

/// Adds Xᵀ·Y for every delay to `out`.
///
/// `design`: `(n, d)` un-delayed rows of one block. `bold`: `(n, width)` row-major. `out`:
/// `(n_delays · d, width)`, delay-major. Sums in f32 within a block (a few hundred rows), the
/// blocks' sums are added in f32 too. 2·n·d·n_delays·width flops dense; sparse designs cost
/// 2·n_entries·n_delays·width.
pub fn add_xty(
    design: &StoryDesign,
    delays: &[i64],
    bold: &[f32],
    width: usize,
    out: &mut [f32],
    arch: pulp::Arch,
) {
    match design {
        StoryDesign::Dense(x) => {
            let (n, d) = x.dim();
            let x = x.as_slice().expect("designs are row-major");
            for (&delay, out) in delays.iter().zip(out.chunks_exact_mut(d * width)) {
                let rows = delayed_rows(n, delay);
                if rows.is_empty() {
                    continue;
                }
                let first = (rows.start as i64 - delay) as usize;
                let x = Rows::new(&x[first * d..], rows.len(), d).t();
                let y = Rows::new(&bold[rows.start * width..], rows.len(), width);
                gemm(out, (d, width, width), true, x, y);
            }
        }
        StoryDesign::Sparse { rows, center } => {
            for (&delay, out) in delays.iter().zip(out.chunks_exact_mut(rows.n_cols * width)) {
                arch.dispatch(|| add_sparse(rows, center, delay, bold, width, out));
            }
        }
    }
}

/// Voxels whose sums stay in the first-level cache during a sparse product.
const SPARSE_CHUNK: usize = 256;

#[inline(always)]
fn add_sparse(
    x: &SparseRows,
    center: &[f32],
    delay: i64,
    bold: &[f32],
    width: usize,
    out: &mut [f32],
) {
    let n = x.indptr.len() - 1;
    let rows = delayed_rows(n, delay);
    for start in (0..width).step_by(SPARSE_CHUNK) {
        let end = (start + SPARSE_CHUNK).min(width);
        let mut totals = [0f64; SPARSE_CHUNK];
        for t in rows.clone() {
            let y = &bold[t * width + start..t * width + end];
            for (total, &y) in totals.iter_mut().zip(y) {
                *total += f64::from(y);
            }
            let u = (t as i64 - delay) as usize;
            for e in x.indptr[u]..x.indptr[u + 1] {
                let f = x.indices[e] as usize;
                let value = x.values[e];
                let out = &mut out[f * width + start..f * width + end];
                for (o, &y) in out.iter_mut().zip(y) {
                    *o += value * y;
                }
            }
        }
        for (f, &c) in center.iter().enumerate() {
            if c != 0.0 {
                let out = &mut out[f * width + start..f * width + end];
                for (o, &total) in out.iter_mut().zip(&totals) {
                    *o -= (f64::from(c) * total) as f32;
                }
            }
        }
    }
}
