//! XᵀY of a delayed design that is never formed.

use crate::matrix::{SparseRows, StoryDesign};
use crate::product::multiply::multiply_columns;
use crate::product::packed::{Layout, Packed};
use crate::product::panels::{PANEL, PanelRow, PanelRows};
use crate::product::vectorized::vectorized;

/// Rows of BOLD that see a design row at `delay`: t with 0 ≤ t − delay < n.
pub fn delayed_rows(n: usize, delay: i64) -> std::ops::Range<usize> {
    let shift = delay.unsigned_abs() as usize;
    if delay >= 0 { shift.min(n)..n } else { 0..n.saturating_sub(shift) }
}

/// Packs a block's design as the product reads it, in the layout that is best here; nothing of a
/// sparse one. `n_rows`: of all blocks whose XᵀY is added up.
pub fn pack(design: &StoryDesign, n_rows: usize, to: &mut Packed, arch: pulp::Arch) {
    pack_in(Layout::best(design.n_features()), design, to, arch);
    to.set_terms(n_rows);
}

/// The same in the layout given.
pub fn pack_in(layout: Layout, design: &StoryDesign, to: &mut Packed, arch: pulp::Arch) {
    if let StoryDesign::Dense(x) = design {
        let data = x.as_slice().expect("designs are row-major");
        to.fill_transposed(layout, data, x.ncols(), arch);
    }
}

/// Adds Xᵀ·Y for every delay to `out`.
///
/// `design`: `(n, d)` un-delayed rows of one block, and the same `packed`; `y`: its BOLD, panel by
/// panel. `out`: a panel of `(n_delays · d)` rows, delay-major, for each of y. A delay shifts the
/// rows of y, so that the packed design serves all of them. Sums in f32: some hundred rows in
/// registers, then added up. 2·n·d·n_delays flops a voxel dense; sparse designs cost
/// 2·n_entries·n_delays.
pub fn add_xty(
    design: &StoryDesign,
    packed: &Packed,
    delays: &[i64],
    y: PanelRows<'_>,
    out: &mut [PanelRow],
    arch: pulp::Arch,
) {
    let (n, d) = (design.n_trs(), design.n_features());
    let panel_rows = (d * delays.len()).max(1);
    match design {
        StoryDesign::Dense(_) => {
            for (i, &delay) in delays.iter().enumerate() {
                let rows = delayed_rows(n, delay);
                let columns = (rows.start as i64 - delay) as usize;
                let columns = columns..columns + rows.len();
                let y = PanelRows { first: y.first + rows.start, n_rows: rows.len(), ..y };
                multiply_columns(arch, packed, columns, y, (out, panel_rows, i * d), true);
            }
        }
        StoryDesign::Sparse { rows, center } => {
            for (p, out) in out.chunks_exact_mut(panel_rows).enumerate() {
                for (&delay, out) in delays.iter().zip(out.chunks_exact_mut(d)) {
                    add_sparse(arch, rows, center, delay, y.panel(p), out);
                }
            }
        }
    }
}

vectorized! {
    fn add_sparse<'a>(
        x: &'a SparseRows,
        center: &'a [f32],
        delay: i64,
        y: &'a [PanelRow],
        out: &'a mut [PanelRow],
    ) {
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
}
