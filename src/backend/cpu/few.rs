//! Cross-validation and refit without eigenvectors, for few voxels: b(a) = (B + a)⁻¹ Qᵀ(XᵀY).
//!
//! In f64 up to b; its images under the factor of the validation rows are one f32 product for all
//! alphas. Against eigenvectors: 20·p³ flops less a fold, about (8 + n_alphas)·p² more a voxel.

use faer::{Mat, Par};
use pulp::Arch;

use super::CpuEngine;
use super::path::{FoldBold, fold_score, sized};
use super::rotate::{PanelRange, RotateScratch};
use crate::backend::{BandFactor, BandForm, FewFit, FewFold, Model, ModelTile, PathSettings};
use crate::product::multiply::multiply_panels;
use crate::product::panels::{PANEL, PanelRow, of_panel};
use crate::product::vectorized::vectorized;

/// f64 values of a panel's voxels.
type Row = [f64; PANEL];

/// Panels of images at a time: with 800 columns they and their vectors take 7 MB.
const IMAGE_PANELS: usize = 32;

/// Buffers, kept from block to block.
#[derive(Debug, Default)]
pub struct FewScratch {
    z: Vec<Row>,
    t: Vec<Row>,
    b: Vec<Row>,
    factor: BandFactor,
    vectors: Vec<PanelRow>,
    images: Vec<PanelRow>,
    /// `(n_alphas)` rows a panel.
    numerators: Vec<Row>,
    offsets: Vec<Row>,
}

impl CpuEngine<'_> {
    /// Adds every fold's scores to `sums` `(n_panels, n_alphas)`; counts folds in which a voxel is
    /// scored. `rotate.total` is there.
    pub(super) fn score_few(
        &self,
        model: &Model,
        few: &FewFit,
        panels: PanelRange,
        (rotate, scratch): (&mut RotateScratch, &mut FewScratch),
        (sums, n_scored): (&mut [Row], &mut [Row]),
    ) {
        let settings = &self.problem.settings;
        let (n, n_alphas) = (panels.n, settings.alphas.len());
        for (fold, of_fold) in few.folds.iter().enumerate() {
            let p = of_fold.train.n();
            let (train, val) = self.center_fold(model, fold, panels, &of_fold.val_sums, rotate);
            let mut sides = Mat::<f64>::zeros(p, 2 * n * PANEL);
            to_columns(train, p, 0, &mut sides);
            to_columns(val, p, n * PANEL, &mut sides);
            of_fold.train.enter(sides.as_mut(), Par::Seq);
            to_panels(&sides, 0..n, &mut scratch.z);
            to_panels(&sides, n..2 * n, &mut scratch.t);
            let bold: Vec<FoldBold> =
                (0..n).map(|i| self.fold_bold(fold, panels.first + i)).collect();
            for (n_scored, bold) in n_scored.iter_mut().zip(&bold) {
                for (n, val_square) in n_scored.iter_mut().zip(bold.val_square) {
                    *n += f64::from(u8::from(val_square > 0.0));
                }
            }
            let step = (IMAGE_PANELS / n).max(1);
            for first in (0..n_alphas).step_by(step) {
                let alphas = first..n_alphas.min(first + step);
                solve_alphas(self.arch, of_fold, &settings.alphas[alphas.clone()], n, scratch);
                let n_systems = alphas.len() * n;
                let images = sized(&mut scratch.images, n_systems * of_fold.factor.rows());
                let vectors = &scratch.vectors[..n_systems * p];
                multiply_panels(self.arch, &of_fold.factor, vectors, images, n_systems);
                let found = (first, &*scratch, &bold[..]);
                add_scores(self.arch, settings, of_fold, n_systems, found, sums);
            }
        }
    }

    /// Weights of one block of panels into `inner`; `total` is the centred XᵀY.
    pub(super) fn refit_few(
        &self,
        few: &FewFit,
        panels: PanelRange,
        (tile, total): (&ModelTile, &[PanelRow]),
        inner: &mut [PanelRow],
        scratch: &mut FewScratch,
    ) {
        let (p, n) = (few.full.n(), panels.n);
        let mut columns = Mat::<f64>::zeros(p, n * PANEL);
        to_columns(total, p, 0, &mut columns);
        few.full.enter(columns.as_mut(), Par::Seq);
        let FewScratch { z, b, factor, .. } = scratch;
        to_panels(&columns, 0..n, z);
        columns.fill(0.0);
        let best: Vec<_> = (0..n).map(|i| of_panel(&tile.best, panels.first + i, None)).collect();
        for (at, &alpha) in self.problem.settings.alphas.iter().enumerate() {
            let mut is_factored = false;
            for (i, best) in best.iter().enumerate().filter(|(_, best)| best.contains(&Some(at))) {
                if !is_factored {
                    factored(self.arch, &few.full, alpha, factor);
                    is_factored = true;
                }
                b.clear();
                b.extend_from_slice(&z[i * p..(i + 1) * p]);
                solve(self.arch, factor, b);
                for (v, _) in best.iter().enumerate().filter(|(_, best)| **best == Some(at)) {
                    let column = columns.col_as_slice_mut(i * PANEL + v);
                    column.iter_mut().zip(&*b).for_each(|(to, row)| *to = row[v]);
                }
            }
        }
        few.full.leave(columns.as_mut(), Par::Seq);
        for (i, inner) in inner.chunks_exact_mut(p.max(1)).enumerate() {
            for (k, row) in inner.iter_mut().enumerate() {
                *row = std::array::from_fn(|v| columns[(k, i * PANEL + v)] as f32);
            }
        }
    }
}

/// b of some alphas and all `n` panels into `scratch.vectors`, with their numerators and offsets:
/// alpha by alpha, panel by panel.
fn solve_alphas(arch: Arch, fold: &FewFold, alphas: &[f64], n: usize, scratch: &mut FewScratch) {
    let p = fold.train.n();
    let FewScratch { z, t, b, factor, vectors, numerators, offsets, .. } = scratch;
    numerators.clear();
    offsets.clear();
    let vectors = sized(vectors, alphas.len() * n * p);
    for (at, vectors) in vectors.chunks_exact_mut(p.max(1)).enumerate() {
        let (alpha, panel) = (alphas[at / n], at % n);
        if panel == 0 {
            factored(arch, &fold.train, alpha, factor);
        }
        let rows = panel * p..(panel + 1) * p;
        let t = &t[rows.clone()];
        b.clear();
        b.extend_from_slice(&z[rows]);
        solve(arch, factor, b);
        let (numerator, offset) = sums_of(arch, b, t, &fold.delta, vectors);
        numerators.push(numerator);
        offsets.push(offset);
    }
}

/// The factor of B + alpha. Forms are trusted only where it is positive definite by far.
fn factored(arch: Arch, form: &BandForm, alpha: f64, factor: &mut BandFactor) {
    let is_definite = factor_of(arch, form, alpha, factor);
    assert!(is_definite, "a Gram matrix plus {alpha} is positive definite");
}

vectorized! {
    fn factor_of<'a>(form: &'a BandForm, alpha: f64, factor: &'a mut BandFactor) -> bool {
        form.factor(alpha, factor)
    }
}

vectorized! {
    fn solve<'a>(factor: &'a BandFactor, z: &'a mut [Row]) {
        let (eights, _) = z.as_flattened_mut().as_chunks_mut();
        factor.solve::<{ PANEL / 8 }>(eights.as_chunks_mut().0);
    }
}

vectorized! {
    /// Σ b t and Σ delta b; b in f32 to `vectors`.
    fn sums_of<'a>(
        b: &'a [Row],
        t: &'a [Row],
        delta: &'a [f64],
        vectors: &'a mut [PanelRow],
    ) -> (Row, Row) {
        let (mut numerator, mut offset) = ([0.0; PANEL], [0.0; PANEL]);
        for ((b, t), (delta, vector)) in b.iter().zip(t).zip(delta.iter().zip(vectors)) {
            for v in 0..PANEL {
                numerator[v] += b[v] * t[v];
                offset[v] += delta * b[v];
                vector[v] = b[v] as f32;
            }
        }
        (numerator, offset)
    }
}

vectorized! {
    /// Scores of the systems that were solved, from the alpha that `found` begins with.
    fn add_scores<'a>(
        settings: &'a PathSettings,
        fold: &'a FewFold,
        n_systems: usize,
        found: (usize, &'a FewScratch, &'a [FoldBold]),
        sums: &'a mut [Row],
    ) {
        let (first, scratch, bold) = found;
        let (n, rows, n_alphas) = (bold.len(), fold.factor.rows(), settings.alphas.len());
        for at in 0..n_systems {
            let mut squares = [0f64; PANEL];
            for row in &scratch.images[at * rows..(at + 1) * rows] {
                for v in 0..PANEL {
                    squares[v] += f64::from(row[v]) * f64::from(row[v]);
                }
            }
            let (alpha, panel) = (first + at / n, at % n);
            let (numerator, offset) = (&scratch.numerators[at], &scratch.offsets[at]);
            for (v, sum) in sums[panel * n_alphas + alpha].iter_mut().enumerate() {
                let shift = bold[panel].delta[v] - offset[v];
                let val_square = bold[panel].val_square[v];
                *sum += fold_score(
                    settings.scorer,
                    (numerator[v], squares[v], val_square),
                    (fold.n_val as f64, shift),
                );
            }
        }
    }
}

/// Panels of `p` rows as columns, from column `first` on.
fn to_columns(panels: &[PanelRow], p: usize, first: usize, out: &mut Mat<f64>) {
    for (i, panel) in panels.chunks_exact(p.max(1)).enumerate() {
        for v in 0..PANEL {
            let column = out.col_as_slice_mut(first + i * PANEL + v);
            column.iter_mut().zip(panel).for_each(|(to, row)| *to = f64::from(row[v]));
        }
    }
}

/// Columns as f64 panels again.
fn to_panels(columns: &Mat<f64>, panels: std::ops::Range<usize>, out: &mut Vec<Row>) {
    out.clear();
    for panel in panels {
        let row = |i| std::array::from_fn(|v| columns[(i, panel * PANEL + v)]);
        out.extend((0..columns.nrows()).map(row));
    }
}
