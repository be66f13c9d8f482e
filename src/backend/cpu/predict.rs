//! Predicted BOLD of a delayed design that is never formed.

use super::gemm::{Rows, gemm};
use super::xty::delayed_rows;
use crate::matrix::StoryDesign;

/// X·W over `delays`, into `out`.
///
/// `design`: `(n, d)` un-delayed rows of one block. `coef`: `(n_delays · d, width)` delay-major.
/// `out`: `(n, width)`. f32 products; 2·n·d·n_delays·width flops.
pub fn predict(design: &StoryDesign, delays: &[i64], coef: &[f32], width: usize, out: &mut [f32]) {
    out.fill(0.0);
    match design {
        StoryDesign::Dense(x) => {
            let (n, d) = x.dim();
            let x = x.as_slice().expect("designs are row-major");
            for (&delay, coef) in delays.iter().zip(coef.chunks_exact(d * width)) {
                let rows = delayed_rows(n, delay);
                if rows.is_empty() {
                    continue;
                }
                let first = (rows.start as i64 - delay) as usize;
                let x = Rows::new(&x[first * d..], rows.len(), d);
                let out = &mut out[rows.start * width..rows.end * width];
                gemm(out, (rows.len(), width, width), true, x, Rows::new(coef, d, width));
            }
        }
        StoryDesign::Sparse { rows: x, center } => {
            let n = x.indptr.len() - 1;
            let mut offset = vec![0f64; width];
            for (&delay, coef) in delays.iter().zip(coef.chunks_exact(x.n_cols * width)) {
                offset.fill(0.0);
                for (&c, coef) in center.iter().zip(coef.chunks_exact(width)) {
                    if c != 0.0 {
                        for (o, &w) in offset.iter_mut().zip(coef) {
                            *o += f64::from(c) * f64::from(w);
                        }
                    }
                }
                for t in delayed_rows(n, delay) {
                    let u = (t as i64 - delay) as usize;
                    let out = &mut out[t * width..(t + 1) * width];
                    for e in x.indptr[u]..x.indptr[u + 1] {
                        let value = x.values[e];
                        let coef = &coef[x.indices[e] as usize * width..][..width];
                        for (o, &w) in out.iter_mut().zip(coef) {
                            *o += value * w;
                        }
                    }
                    for (o, &c) in out.iter_mut().zip(&offset) {
                        *o -= c as f32;
                    }
                }
            }
        }
    }
}
