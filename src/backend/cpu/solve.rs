//! Cross-validation and refit of one model on one tile.

use std::time::Instant;

use super::CpuEngine;
use super::few::FewScratch;
use super::path::{PathScratch, add_fold_scores, sized};
use super::rotate::{PanelRange, RotateScratch};
use super::xty::{add_xty, pack};
use crate::backend::basis::AlphaBasis;
use crate::backend::{FoldPath, FullFit, Model, ModelTile, Rotation};
use crate::error::Result;
use crate::product::multiply::multiply_panels;
use crate::product::packed::Packed;
use crate::product::panels::{PANEL, PanelRow, PanelRows, to_rows};
use crate::product::vectorized::vectorized;
use crate::stats::best_index;

/// Buffers of the solver, kept from tile to tile.
#[derive(Debug, Default)]
pub struct SolveScratch {
    pub(super) rotate: RotateScratch,
    path: PathScratch,
    basis: AlphaBasis,
    weights: Vec<f64>,
    /// `(n_alphas)` rows a panel: scores summed over folds.
    sums: Vec<[f64; PANEL]>,
    /// A row a panel: folds in which a voxel could be scored.
    n_scored: Vec<[f64; PANEL]>,
    refit: Vec<PanelRow>,
    few: FewScratch,
    coef: Vec<PanelRow>,
    packed: Packed,
    /// One point of a search over bands: its scores, choices, weights.
    pub(super) point: ModelTile,
    pub(super) point_inner: Vec<PanelRow>,
}

/// The weights of one model, panel by panel.
#[derive(Debug, Default)]
pub struct Fitted {
    /// `(n_coefs)` rows a panel, or `(n_train)` dual weights, or weights of components.
    pub inner: Vec<PanelRow>,
    /// `(width)` of these weights; that of the columns' weights differs where rows are centred.
    pub intercept: Vec<f32>,
}

impl CpuEngine<'_> {
    /// Cross-validates and refits one model; `tile` and `fitted` are written over.
    pub fn solve_model(
        &mut self,
        model: &Model,
        tile: &mut ModelTile,
        fitted: &mut Fitted,
        scratch: &mut SolveScratch,
    ) -> Result<()> {
        if let Some(search) = &model.search {
            self.search(model, search, tile, fitted, scratch)?;
            fitted.intercept.clone_from(&tile.intercept);
            self.write_coef(model, tile, fitted, scratch);
            return Ok(());
        }
        let (problem, width) = (self.problem, self.width);
        let n_inner = problem.n_fitted(model);
        tile.cv_scores.resize(problem.settings.alphas.len() * width, 0.0);
        tile.best.resize(width, None);
        tile.intercept.resize(width, 0.0);
        (tile.basis_rank, tile.basis_error) = (0, 0.0);
        fitted.inner.resize(self.n_panels() * n_inner, [0.0; PANEL]);
        let step = (problem.settings.block_voxels / PANEL).max(1);
        for first in (0..self.n_panels()).step_by(step) {
            let panels = PanelRange { first, n: step.min(self.n_panels() - first) };
            let folds = (&model.folds[..], &model.paths[..]);
            self.cross_validate(model, folds, panels, tile, scratch)?;
            let clock = Instant::now();
            let inner = &mut fitted.inner[first * n_inner..(first + panels.n) * n_inner];
            self.refit(model, &model.full, panels, tile, inner, scratch);
            self.seconds[4] += clock.elapsed().as_secs_f64();
        }
        fitted.intercept.clone_from(&tile.intercept);
        self.write_coef(model, tile, fitted, scratch);
        Ok(())
    }

    /// Weights as rows of voxels, where they are wanted.
    fn write_coef(
        &mut self,
        model: &Model,
        tile: &mut ModelTile,
        fitted: &Fitted,
        scratch: &mut SolveScratch,
    ) {
        if !model.wants_coef {
            return;
        }
        let clock = Instant::now();
        let (problem, width) = (self.problem, self.width);
        let n_inner = problem.n_fitted(model);
        let n_coefs = problem.n_coefs(model);
        tile.coef.resize(n_coefs * width, 0.0);
        if model.is_dual() {
            let coef = sized(&mut scratch.coef, self.n_panels() * n_coefs);
            coef.fill([0.0; PANEL]);
            let space = &problem.spaces[model.space];
            let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
            for (design, ends) in space.train.iter().zip(self.row_starts.windows(2)) {
                let (first, n_rows) = (ends[0], ends[1] - ends[0]);
                let rows = PanelRows { data: &fitted.inner, stride: n_inner, first, n_rows };
                pack(design, problem.n_train(), &mut scratch.packed, self.arch);
                add_xty(design, &scratch.packed, &delays, rows, coef, self.arch);
            }
            to_rows(coef, n_coefs, width, &mut tile.coef);
            self.uncenter(model, tile);
        } else if model.is_stacked() {
            let coef = sized(&mut scratch.coef, self.n_panels() * n_coefs);
            multiply_panels(self.arch, &model.full.back, &fitted.inner, coef, self.n_panels());
            to_rows(coef, n_coefs, width, &mut tile.coef);
            self.uncenter(model, tile);
        } else {
            to_rows(&fitted.inner, n_coefs, width, &mut tile.coef);
        }
        self.seconds[4] += clock.elapsed().as_secs_f64();
    }

    /// From the intercept for centred rows to the one that goes with the columns' weights.
    fn uncenter(&self, model: &Model, tile: &mut ModelTile) {
        if !self.problem.settings.fit_intercept {
            return;
        }
        let mut offsets = vec![0f64; self.width];
        for (x_mean, row) in model.full.x_means.iter().zip(tile.coef.chunks_exact(self.width)) {
            offsets.iter_mut().zip(row).for_each(|(o, &w)| *o += x_mean * f64::from(w));
        }
        for (intercept, offset) in tile.intercept.iter_mut().zip(offsets) {
            *intercept = (f64::from(*intercept) - offset) as f32;
        }
    }

    /// Every alpha's mean validation score, and the best alpha, of one block of panels.
    ///
    /// `folds`: their rotations and paths.
    pub(super) fn cross_validate(
        &mut self,
        model: &Model,
        (folds, paths): (&[Rotation], &[FoldPath]),
        panels: PanelRange,
        tile: &mut ModelTile,
        scratch: &mut SolveScratch,
    ) -> Result<()> {
        let problem = self.problem;
        let settings = &problem.settings;
        let n_alphas = settings.alphas.len();
        let SolveScratch { rotate, path, basis, weights, sums, n_scored, few, .. } = scratch;
        sums.clear();
        sums.resize(panels.n * n_alphas, [0.0; PANEL]);
        n_scored.clear();
        n_scored.resize(panels.n, [0.0; PANEL]);
        let clock = Instant::now();
        if !model.is_dual() && !model.is_stacked() {
            self.total_xty(model, panels, &mut rotate.total);
        }
        if let Some(fit) = &model.few {
            self.score_few(model, fit, panels, (rotate, few), (sums, n_scored));
        }
        self.seconds[2] += clock.elapsed().as_secs_f64();
        for (fold, rotation) in folds.iter().enumerate() {
            let m = rotation.n_components;
            let clock = Instant::now();
            self.rotate(model, (fold, rotation), panels, rotate);
            self.seconds[2] += clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            let (z, t) = (&rotate.z[..panels.n * m], &rotate.t[..panels.n * m]);
            component_weights(self.arch, z, &rotation.factor_norms, weights);
            basis.fit(&paths[fold].groups, weights)?;
            path.load(basis);
            tile.basis_rank = tile.basis_rank.max(basis.rank);
            tile.basis_error = tile.basis_error.max(basis.truncation);
            for (i, n_scored) in n_scored.iter_mut().enumerate() {
                let bold = self.fold_bold(fold, panels.first + i);
                for (n, val_square) in n_scored.iter_mut().zip(bold.val_square) {
                    *n += f64::from(u8::from(val_square > 0.0));
                }
                let rows = i * m..(i + 1) * m;
                add_fold_scores(
                    rotation,
                    &paths[fold],
                    basis,
                    settings,
                    &z[rows.clone()],
                    &t[rows],
                    &bold,
                    path,
                    &mut sums[i * n_alphas..(i + 1) * n_alphas],
                    self.arch,
                );
            }
            self.seconds[3] += clock.elapsed().as_secs_f64();
        }
        self.choose(panels, sums, n_scored, tile);
        Ok(())
    }

    /// Mean scores over folds, and each voxel's best alpha.
    fn choose(
        &self,
        panels: PanelRange,
        sums: &[[f64; PANEL]],
        n_scored: &[[f64; PANEL]],
        tile: &mut ModelTile,
    ) {
        let (settings, width) = (&self.problem.settings, self.width);
        let n_alphas = settings.alphas.len();
        let start = panels.first * PANEL;
        for voxel in start..width.min(start + panels.n * PANEL) {
            let (panel, v) = ((voxel - start) / PANEL, voxel % PANEL);
            let n_scored = n_scored[panel][v];
            let dead = self.voxels.is_dead(voxel) || n_scored == 0.0;
            for a in 0..n_alphas {
                let mean = sums[panel * n_alphas + a][v] / n_scored;
                tile.cv_scores[a * width + voxel] = if dead { f32::NAN } else { mean as f32 };
            }
            let scores = (0..n_alphas).map(|a| tile.cv_scores[a * width + voxel]);
            tile.best[voxel] = best_index(scores, settings.alpha_tolerance);
        }
    }

    /// Weights of one block of panels into `inner`, and the intercepts; `scratch` has XᵀY over all
    /// rows, as cross-validation left it.
    pub(super) fn refit(
        &self,
        model: &Model,
        full: &FullFit,
        panels: PanelRange,
        tile: &mut ModelTile,
        inner: &mut [PanelRow],
        scratch: &mut SolveScratch,
    ) {
        let problem = self.problem;
        let n_inner = problem.n_fitted(model);
        let m = full.into.rows();
        let depth = if model.few.is_some() { n_inner } else { full.into.depth() };
        let SolveScratch { rotate, refit, few, .. } = scratch;
        // Of a primal model: as cross-validation left it.
        let train = sized(&mut rotate.total, panels.n * depth);
        for (i, train) in train.chunks_exact_mut(depth.max(1)).enumerate() {
            let means = self.train_means(None, panels.first + i);
            if model.is_stacked() {
                self.stack_statistics(model, None, panels.first + i, &means, train);
            } else if model.is_dual() {
                let rows = &self.rows[(panels.first + i) * depth..][..depth];
                for (to, row) in train.iter_mut().zip(rows) {
                    *to = std::array::from_fn(|v| row[v] - means[v] as f32);
                }
            } else {
                let n_all = problem.n_train() as f64;
                for (row, x_mean) in train.iter_mut().zip(&full.x_means) {
                    for (value, mean) in row.iter_mut().zip(&means) {
                        *value -= (n_all * x_mean * mean) as f32;
                    }
                }
            }
        }
        if let Some(fit) = &model.few {
            self.refit_few(fit, panels, (tile, train), inner, few);
            self.set_intercepts(model, panels, inner, tile);
            return;
        }
        let z = sized(refit, panels.n * m);
        multiply_panels(self.arch, &full.into, train, z, panels.n);
        for (i, z) in z.chunks_exact_mut(m.max(1)).enumerate() {
            let start = (panels.first + i) * PANEL;
            let alphas: [Option<f64>; PANEL] = std::array::from_fn(|v| {
                let best = tile.best.get(start + v).copied().flatten()?;
                Some(problem.settings.alphas[best])
            });
            let (alphas, live) = (
                alphas.map(|alpha| alpha.unwrap_or(1.0)),
                alphas.map(|alpha| f64::from(u8::from(alpha.is_some()))),
            );
            shrink(self.arch, z, &full.eigvals, &alphas, &live);
        }
        match model.is_stacked() {
            true => inner.copy_from_slice(z),
            false => multiply_panels(self.arch, &full.back, z, inner, panels.n),
        }
        self.set_intercepts(model, panels, inner, tile);
    }

    /// Intercepts that go with the weights of one block of panels.
    fn set_intercepts(
        &self,
        model: &Model,
        panels: PanelRange,
        inner: &[PanelRow],
        tile: &mut ModelTile,
    ) {
        let (problem, full) = (self.problem, &model.full);
        let n_inner = problem.n_fitted(model);
        for i in 0..panels.n {
            let inner = &inner[i * n_inner..(i + 1) * n_inner];
            let panel = panels.first + i;
            let means = self.train_means(None, panel);
            let mut offsets = [0f64; PANEL];
            if !model.is_dual() && !model.is_stacked() {
                for (x_mean, row) in full.x_means.iter().zip(inner) {
                    for (offset, &w) in offsets.iter_mut().zip(row) {
                        *offset += x_mean * f64::from(w);
                    }
                }
            }
            for v in 0..PANEL.min(self.width - panel * PANEL) {
                let voxel = panel * PANEL + v;
                let fitted = problem.settings.fit_intercept && tile.best[voxel].is_some();
                let mean = f64::from(self.voxels.shift[voxel]) + means[v];
                tile.intercept[voxel] = if fitted { (mean - offsets[v]) as f32 } else { 0.0 };
            }
        }
    }
}

vectorized! {
    /// z/(λ + a) in place of z, nothing where a voxel is not `live`.
    fn shrink<'a>(
        z: &'a mut [PanelRow],
        eigvals: &'a [f64],
        alphas: &'a [f64; PANEL],
        live: &'a [f64; PANEL],
    ) {
        for (row, lambda) in z.iter_mut().zip(eigvals) {
            for v in 0..PANEL {
                row[v] = (live[v] * f64::from(row[v]) / (lambda + alphas[v])) as f32;
            }
        }
    }
}

vectorized! {
    /// The size that each component has in a denominator, `norms` ∘ √Σ(z/‖norms ∘ z‖)² over the
    /// voxels of all panels: every voxel counts alike, whatever its amplitude.
    fn component_weights<'a>(z: &'a [PanelRow], norms: &'a [f64], weights: &'a mut Vec<f64>) {
        weights.clear();
        weights.resize(norms.len(), 0.0);
        for panel in z.chunks_exact(norms.len().max(1)) {
            let mut inverses = [0f64; PANEL];
            for (row, norm) in panel.iter().zip(norms) {
                for v in 0..PANEL {
                    let part = norm * f64::from(row[v]);
                    inverses[v] += part * part;
                }
            }
            for square in &mut inverses {
                *square = if *square > 0.0 { 1.0 / *square } else { 0.0 };
            }
            for (weight, row) in weights.iter_mut().zip(panel) {
                let mut sums = [0f64; 8];
                for (row, inverses) in row.as_chunks::<8>().0.iter().zip(inverses.as_chunks::<8>().0)
                {
                    for v in 0..8 {
                        let z = f64::from(row[v]);
                        sums[v] += z * z * inverses[v];
                    }
                }
                *weight += sums.iter().sum::<f64>();
            }
        }
        for (weight, norm) in weights.iter_mut().zip(norms) {
            *weight = norm * weight.sqrt();
        }
    }
}
