//! From a tile's statistics to the components of a fold: z, t and the moments of its BOLD.

use super::CpuEngine;
use super::path::{FoldBold, sized};
use crate::backend::{Model, Rotate, Rotation};
use crate::product::multiply::multiply_panels;
use crate::product::panels::{PANEL, PanelRow, of_panel};
use crate::product::vectorized::vectorized;

/// Buffers of one block of panels.
#[derive(Debug, Default)]
pub struct RotateScratch {
    /// `(n_coefs)` rows a panel: XᵀY over all training rows, for primal models.
    pub total: Vec<PanelRow>,
    train: Vec<PanelRow>,
    val: Vec<PanelRow>,
    /// `(n_components)` rows a panel.
    pub z: Vec<PanelRow>,
    /// `(n_components)` rows a panel.
    pub t: Vec<PanelRow>,
}

/// Panels `first .. first + n` of a tile.
#[derive(Debug, Clone, Copy)]
pub struct PanelRange {
    /// The first of them.
    pub first: usize,
    /// How many.
    pub n: usize,
}

impl CpuEngine<'_> {
    /// Means of BOLD (shifted) over the training rows of `fold`, or over all for `None`.
    fn bold_mean(&self, fold: Option<usize>, voxel: usize) -> f64 {
        let sums = |k: usize| self.voxels.sums[k * self.width + voxel];
        let all: f64 = (0..self.problem.n_folds).map(sums).sum();
        let n_all: usize = self.fold_rows.iter().sum();
        match fold {
            None => all / n_all as f64,
            Some(k) => (all - sums(k)) / (n_all - self.fold_rows[k]) as f64,
        }
    }

    /// What is taken off BOLD (already shifted) before a fit: its mean over the training rows; or,
    /// without an intercept, minus the shift, so that the fit sees the values as they came. Zero
    /// beyond the tile's width.
    pub fn train_means(&self, fold: Option<usize>, panel: usize) -> [f64; PANEL] {
        std::array::from_fn(|v| match panel * PANEL + v {
            voxel if voxel >= self.width => 0.0,
            voxel if self.problem.settings.fit_intercept => self.bold_mean(fold, voxel),
            voxel => -f64::from(self.voxels.shift[voxel]),
        })
    }

    /// Moments of the validation BOLD of one fold and panel.
    pub fn fold_bold(&self, fold: usize, panel: usize) -> FoldBold {
        let n_val = self.fold_rows[fold] as f64;
        let at = fold * self.width;
        let sums = of_panel(&self.voxels.sums[at..at + self.width], panel, 0.0);
        let squares = of_panel(&self.voxels.squares[at..at + self.width], panel, 0.0);
        let train_means = self.train_means(Some(fold), panel);
        FoldBold {
            val_square: std::array::from_fn(|v| {
                let voxel = panel * PANEL + v;
                let variation = squares[v] - sums[v] * sums[v] / n_val;
                // What rounding leaves of a constant counts as none.
                let varies = variation > n_val * f64::EPSILON * squares[v];
                let is_scored = voxel < self.width && varies && !self.voxels.is_dead(voxel);
                if is_scored { variation } else { 0.0 }
            }),
            delta: std::array::from_fn(|v| sums[v] / n_val - train_means[v]),
        }
    }

    /// One fold's XᵀY for the model's delays, `(n_coefs)` rows of one panel.
    pub fn fold_xty(
        &self,
        model: &Model,
        fold: usize,
        panel: usize,
    ) -> impl Iterator<Item = &PanelRow> {
        let space = &self.problem.spaces[model.space];
        let (d, columns) = (space.n_features, space.n_columns());
        let start = (fold * self.n_panels() + panel) * columns;
        let xty = &self.xty[model.space][start..start + columns];
        model.delays.iter().flat_map(move |&delay| &xty[delay * d..(delay + 1) * d])
    }

    /// XᵀY over all training rows, `(n_coefs)` rows a panel.
    pub fn total_xty(&self, model: &Model, panels: PanelRange, out: &mut Vec<PanelRow>) {
        let p = self.problem.n_coefs(model);
        for (i, out) in sized(out, panels.n * p).chunks_exact_mut(p).enumerate() {
            for fold in 0..self.problem.n_folds {
                for (out, row) in out.iter_mut().zip(self.fold_xty(model, fold, panels.first + i)) {
                    match fold {
                        0 => *out = *row,
                        _ => out.iter_mut().zip(row).for_each(|(o, x)| *o += x),
                    }
                }
            }
        }
    }

    /// z and t of one fold and some panels into the scratch; `scratch.total` is there.
    pub fn rotate(
        &self,
        model: &Model,
        (fold, rotation): (usize, &Rotation),
        panels: PanelRange,
        scratch: &mut RotateScratch,
    ) {
        let m = rotation.n_components;
        let (into_z, into_t) = match &rotation.rotate {
            Rotate::Primal { q, val_sums } => {
                self.center_fold(model, fold, panels, val_sums, scratch);
                (q, q)
            }
            Rotate::Dual { u, p } => {
                let (n_train, n_val) = (u.depth(), p.depth());
                let train = sized(&mut scratch.train, panels.n * n_train);
                let val = sized(&mut scratch.val, panels.n * n_val);
                for i in 0..panels.n {
                    self.center_rows(
                        fold,
                        panels.first + i,
                        &mut train[i * n_train..(i + 1) * n_train],
                        &mut val[i * n_val..(i + 1) * n_val],
                    );
                }
                (u, p)
            }
            Rotate::Stacked { to_z, to_t } => {
                let (n_train, n_val) = (to_z.depth(), to_t.depth());
                let train = sized(&mut scratch.train, panels.n * n_train);
                let val = sized(&mut scratch.val, panels.n * n_val);
                for i in 0..panels.n {
                    let panel = panels.first + i;
                    let means = self.train_means(Some(fold), panel);
                    let out = &mut train[i * n_train..(i + 1) * n_train];
                    self.stack_statistics(model, Some(fold), panel, &means, out);
                    let own = self.fold_statistic(model, fold, panel);
                    val[i * n_val..(i + 1) * n_val].copy_from_slice(own);
                }
                (to_z, to_t)
            }
        };
        let RotateScratch { train, val, z, t, .. } = scratch;
        let (z, t) = (sized(z, panels.n * m), sized(t, panels.n * m));
        let (train, val) = (&train[..panels.n * into_z.depth()], &val[..panels.n * into_t.depth()]);
        multiply_panels(self.arch, into_z, train, z, panels.n);
        multiply_panels(self.arch, into_t, val, t, panels.n);
    }

    /// XᵀY of the training and of the validation rows of one fold, both centred, `(n_coefs)` rows a
    /// panel; `scratch.total` is there.
    pub(super) fn center_fold<'s>(
        &self,
        model: &Model,
        fold: usize,
        panels: PanelRange,
        val_sums: &[f64],
        scratch: &'s mut RotateScratch,
    ) -> (&'s [PanelRow], &'s [PanelRow]) {
        let p = val_sums.len();
        let RotateScratch { total, train, val, .. } = scratch;
        let (train, val) = (sized(train, panels.n * p), sized(val, panels.n * p));
        for i in 0..panels.n {
            let rows = i * p..(i + 1) * p;
            self.center_xty(
                model,
                (fold, panels.first + i),
                (val_sums, &total[rows.clone()]),
                &mut train[rows.clone()],
                &mut val[rows],
            );
        }
        (train, val)
    }

    /// XᵀY of the training and of the validation rows of one fold and panel, both centred.
    fn center_xty(
        &self,
        model: &Model,
        (fold, panel): (usize, usize),
        (val_sums, total): (&[f64], &[PanelRow]),
        train: &mut [PanelRow],
        val: &mut [PanelRow],
    ) {
        let n_all: usize = self.fold_rows.iter().sum();
        let train_means = self.train_means(Some(fold), panel);
        let val_means = self.val_means(fold, panel);
        let own = self.fold_xty(model, fold, panel);
        val.iter_mut().zip(own).for_each(|(val, own)| *val = *own);
        let sums = (val_sums, &model.full.x_means[..], n_all as f64);
        subtract_means(self.arch, total, sums, (&train_means, &val_means), train, val);
    }

    /// The BOLD of the training and of the validation rows of one fold and panel, both centred.
    fn center_rows(&self, fold: usize, panel: usize, train: &mut [PanelRow], val: &mut [PanelRow]) {
        let train_means = self.train_means(Some(fold), panel).map(|mean| mean as f32);
        let val_means = self.val_means(fold, panel).map(|mean| mean as f32);
        let n_train = self.problem.n_train();
        let rows = &self.rows[panel * n_train..(panel + 1) * n_train];
        let (mut next_train, mut next_val) = (0, 0);
        for (block, ends) in self.problem.blocks.iter().zip(self.row_starts.windows(2)) {
            let (out, next, means) = match block.fold == fold {
                true => (&mut *val, &mut next_val, &val_means),
                false => (&mut *train, &mut next_train, &train_means),
            };
            for (out, row) in out[*next..].iter_mut().zip(&rows[ends[0]..ends[1]]) {
                *out = std::array::from_fn(|v| row[v] - means[v]);
            }
            *next += block.n_rows;
        }
    }

    /// Means of (shifted) BOLD over a fold's validation rows.
    fn val_means(&self, fold: usize, panel: usize) -> [f64; PANEL] {
        let sums = &self.voxels.sums[fold * self.width..(fold + 1) * self.width];
        of_panel(sums, panel, 0.0).map(|sum| sum / self.fold_rows[fold] as f64)
    }
}

vectorized! {
    /// Centred XᵀY of the training rows into `train`, of the validation rows, which are in `val`, in their
    /// place. `sums`: of the validation rows' columns, means of all rows', all rows.
    fn subtract_means<'a>(
        total: &'a [PanelRow],
        sums: (&'a [f64], &'a [f64], f64),
        means: (&'a [f64; PANEL], &'a [f64; PANEL]),
        train: &'a mut [PanelRow],
        val: &'a mut [PanelRow],
    ) {
        let (val_sums, x_means, n_all) = sums;
        let (train_means, val_means) = means;
        for (i, (total, (train, val))) in total.iter().zip(train.iter_mut().zip(val)).enumerate() {
            let val_sum = val_sums[i];
            let train_sum = x_means[i] * n_all - val_sum;
            for v in 0..PANEL {
                train[v] = total[v] - val[v] - (train_sum * train_means[v]) as f32;
                val[v] -= (val_sum * val_means[v]) as f32;
            }
        }
    }
}
