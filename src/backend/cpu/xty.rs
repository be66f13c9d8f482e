//! XᵀY of a delayed design that is never formed.

use super::panels::PanelRows;
use super::product::{Out, PANEL, PanelRow, Part, multiply, steps};
use crate::backend::packed::Packed;
use crate::matrix::{SparseRows, StoryDesign};

/// Rows of BOLD that see a design row at `delay`: t with 0 ≤ t − delay < n.
pub fn delayed_rows(n: usize, delay: i64) -> std::ops::Range<usize> {
    let shift = delay.unsigned_abs() as usize;
    if delay >= 0 { shift.min(n)..n } else { 0..n.saturating_sub(shift) }
}

/// A block's design as the product reads it: [`DEPTH`](super::product::DEPTH) rows a piece; nothing
/// for a sparse one. Buffers are reused.
#[derive(Debug, Default)]
pub struct PackedRows(Vec<Packed>);

impl PackedRows {
    /// Packs a block's design.
    pub fn fill(&mut self, design: &StoryDesign) {
        let StoryDesign::Dense(x) = design else { return };
        let (n, d) = x.dim();
        let x = x.as_slice().expect("designs are row-major");
        self.0.resize_with(steps(n).count(), Packed::default);
        for (packed, rows) in self.0.iter_mut().zip(steps(n)) {
            packed.fill_transposed(&x[rows.start * d..rows.end * d], d);
        }
    }
}

/// Adds Xᵀ·Y for every delay to `out`.
///
/// `design`: `(n, d)` un-delayed rows of one block, and the same `packed`; `y`: its BOLD, panel by
/// panel. `out`: a panel of `(n_delays · d)` rows, delay-major, for each of y. A delay shifts the
/// rows of y, so that the packed design serves all of them. Sums in f32: 256 rows in registers,
/// then added up. 2·n·d·n_delays flops a voxel dense; sparse designs cost 2·n_entries·n_delays.
pub fn add_xty(
    design: &StoryDesign,
    packed: &PackedRows,
    delays: &[i64],
    y: PanelRows<'_>,
    out: &mut [PanelRow],
    arch: pulp::Arch,
) {
    let (n, d) = (design.n_trs(), design.n_features());
    let panel_rows = (d * delays.len()).max(1);
    match design {
        StoryDesign::Dense(_) => {
            for (packed, rows) in packed.0.iter().zip(steps(n)) {
                for (p, out) in out.chunks_exact_mut(panel_rows).enumerate() {
                    let y = y.panel(p);
                    for (&delay, out) in delays.iter().zip(out.chunks_exact_mut(d)) {
                        let seen = delayed_rows(n, delay);
                        let row = |u: usize| u as i64 + delay;
                        let first = row(rows.start).clamp(seen.start as i64, seen.end as i64);
                        let last = row(rows.end).clamp(first, seen.end as i64);
                        let column = |t: i64| (t - delay) as usize - rows.start;
                        if first == last {
                            continue;
                        }
                        let part = Part {
                            strips: 0..packed.n_strips(),
                            columns: column(first)..column(last),
                            upper: false,
                        };
                        let y = &y[first as usize..last as usize];
                        multiply(arch, packed, part, y, Out::panel(out), true);
                    }
                }
            }
        }
        StoryDesign::Sparse { rows, center } => {
            for (p, out) in out.chunks_exact_mut(panel_rows).enumerate() {
                for (&delay, out) in delays.iter().zip(out.chunks_exact_mut(d)) {
                    arch.dispatch(|| add_sparse(rows, center, delay, y.panel(p), out));
                }
            }
        }
    }
}

#[inline(always)]
fn add_sparse(x: &SparseRows, center: &[f32], delay: i64, y: &[PanelRow], out: &mut [PanelRow]) {
    let mut totals = [0f64; PANEL];
    for t in delayed_rows(x.n_rows(), delay) {
        let y = &y[t];
        for (total, &y) in totals.iter_mut().zip(y) {
            *total += f64::from(y);
        }
        let u = (t as i64 - delay) as usize;
        for e in x.indptr[u]..x.indptr[u + 1] {
            let value = x.values[e];
            for (o, &y) in out[x.indices[e] as usize].iter_mut().zip(y) {
                *o += value * y;
            }
        }
    }
    for (&c, out) in center.iter().zip(out) {
        if c != 0.0 {
            for (o, &total) in out.iter_mut().zip(&totals) {
                *o -= (f64::from(c) * total) as f32;
            }
        }
    }
}
