//! Predicted BOLD of a delayed design that is never formed.

use crate::matrix::{SparseRows, StoryDesign};
use crate::product::multiply::multiply_columns;
use crate::product::packed::{Layout, Packed};
use crate::product::panels::{PANEL, PanelRow, PanelRows, n_panels, to_rows};
use crate::product::vectorized::vectorized;

/// A block's design, packed once for all panels.
#[derive(Debug, Default)]
pub struct PredictScratch {
    packed: Packed,
    padded: Vec<PanelRow>,
}

/// Predicted BOLD of one block: X·W + intercept over `delays`, `(n, width)` row-major.
///
/// `coef`: `(n_delays · d, width)` row-major, delay-major rows; `intercept`: `(width)`.
pub fn predict_rows(
    design: &StoryDesign,
    delays: &[i64],
    coef: &[f32],
    intercept: &[f32],
) -> Vec<f32> {
    let (n, width) = (design.n_trs(), intercept.len());
    let p = design.n_features() * delays.len();
    let mut panels = vec![[0f32; PANEL]; n_panels(width) * p];
    for (i, row) in coef.chunks_exact(width.max(1)).enumerate() {
        for (panel, values) in row.chunks(PANEL).enumerate() {
            panels[panel * p + i][..values.len()].copy_from_slice(values);
        }
    }
    let mut pred = vec![[0f32; PANEL]; n_panels(width) * n];
    let (mut scratch, arch) = (PredictScratch::default(), pulp::Arch::new());
    predict(design, delays, &panels, &mut pred, &mut scratch, arch);
    let mut rows = vec![0f32; n * width];
    to_rows(&pred, n, width, &mut rows);
    for row in rows.chunks_exact_mut(width.max(1)) {
        row.iter_mut().zip(intercept).for_each(|(p, &i)| *p += i);
    }
    rows
}

/// X·W over `delays`, into `out`.
///
/// `design`: `(n, d)` un-delayed rows of one block. `coef`: `n_panels` panels of `(n_delays · d)`
/// rows, delay-major. `out`: `n_panels` panels of n rows. f32; 2·n·d·n_delays flops a voxel.
pub fn predict(
    design: &StoryDesign,
    delays: &[i64],
    coef: &[PanelRow],
    out: &mut [PanelRow],
    scratch: &mut PredictScratch,
    arch: pulp::Arch,
) {
    let (n, d) = (design.n_trs(), design.n_features());
    // Rows in front of and behind the block, where a shifted design sticks out.
    let seen = || delays.iter().copied().filter(|delay| delay.unsigned_abs() < n as u64);
    let before = seen().map(|delay| (-delay).max(0)).max().unwrap_or(0) as usize;
    let behind = seen().map(|delay| delay.max(0)).max().unwrap_or(0) as usize;
    if let StoryDesign::Dense(x) = design {
        let x = x.as_slice().expect("designs are row-major");
        scratch.packed.fill(Layout::best(n), n, d, |t, f| x[t * d + f]);
    }
    let PredictScratch { packed, padded } = scratch;
    padded.resize(before + n + behind, [0.0; PANEL]);
    let panels = out.chunks_exact_mut(n.max(1));
    for (out, coef) in panels.zip(coef.chunks_exact((d * delays.len()).max(1))) {
        padded.fill([0.0; PANEL]);
        for (&delay, coef) in delays.iter().zip(coef.chunks_exact(d)) {
            if delay.unsigned_abs() >= n as u64 {
                continue;
            }
            let to = &mut padded[(before as i64 + delay) as usize..][..n];
            match design {
                StoryDesign::Dense(_) => {
                    let coef = PanelRows::whole(coef, d);
                    multiply_columns(arch, packed, 0..d, coef, (to, n, 0), true);
                }
                StoryDesign::Sparse { rows, center } => add_sparse(arch, rows, center, coef, to),
            }
        }
        out.copy_from_slice(&padded[before..before + n]);
    }
}

vectorized! {
    /// Adds the rows of x = values − 1·center' times `coef`.
    fn add_sparse<'a>(
        x: &'a SparseRows,
        center: &'a [f32],
        coef: &'a [PanelRow],
        to: &'a mut [PanelRow],
    ) {
        let mut offset = [0f64; PANEL];
        for (&c, coef) in center.iter().zip(coef) {
            for (o, &w) in offset.iter_mut().zip(coef) {
                *o += f64::from(c) * f64::from(w);
            }
        }
        for (u, to) in to.iter_mut().enumerate() {
            for e in x.indptr[u]..x.indptr[u + 1] {
                let value = x.values[e];
                for (o, &w) in to.iter_mut().zip(&coef[x.indices[e] as usize]) {
                    *o += value * w;
                }
            }
            for (o, &c) in to.iter_mut().zip(&offset) {
                *o -= c as f32;
            }
        }
    }
}
