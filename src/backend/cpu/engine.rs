//! One worker's tile: moments in, scores and weights out.

use std::time::Instant;

use pulp::Arch;

use super::correlation::PearsonSums;
use super::gemm::{Rows, gemm};
use super::path::{FoldBold, PathScratch, add_fold_scores, sized};
use super::predict::predict;
use super::stacked::{FoldStatistic, stacked_t, stacked_z};
use super::voxels::VoxelSums;
use super::xty::add_xty;
use crate::backend::basis::alpha_basis;
use crate::backend::{
    Engine, Model, ModelTile, Problem, Rotate, TakePrediction, TestTile, VoxelCounts,
};
use crate::error::Result;
use crate::stats::best_index;

const STAGES: [&str; 6] = ["sums", "xty", "rotate", "path", "refit", "score"];

/// The CPU engine. Not shared between threads: each worker has its own.
pub struct CpuEngine<'p> {
    problem: &'p Problem,
    arch: Arch,
    width: usize,
    voxels: VoxelSums,
    /// Per space: `(n_folds, n_columns, width)`; empty for a space no primal model uses.
    xty: Vec<Vec<f32>>,
    primal: Vec<bool>,
    /// `(n_train, width)` training rows in the order of the blocks; dual models only.
    rows: Vec<f32>,
    row_starts: Vec<usize>,
    /// Per model: weights (primal) or dual weights, and the intercept.
    fitted: Vec<(Vec<f32>, Vec<f32>)>,
    test: Vec<PearsonSums>,
    pred: Vec<f32>,
    test_bad: Vec<bool>,
    scratch: Scratch,
    seconds: [f64; STAGES.len()],
}

#[derive(Default)]
struct Scratch {
    total: Vec<f32>,
    train: Vec<f32>,
    val: Vec<f32>,
    z: Vec<f32>,
    t: Vec<f32>,
    path: PathScratch,
}

impl<'p> CpuEngine<'p> {
    /// An engine over a loaded problem.
    pub fn new(problem: &'p Problem) -> Self {
        let mut primal = vec![false; problem.spaces.len()];
        for model in problem.models.iter().filter(|m| !m.is_dual()) {
            primal[model.space] = true;
        }
        let mut row_starts = vec![0];
        for block in &problem.blocks {
            row_starts.push(row_starts[row_starts.len() - 1] + block.n_rows);
        }
        Self {
            problem,
            arch: Arch::new(),
            width: 0,
            voxels: VoxelSums::default(),
            xty: vec![Vec::new(); problem.spaces.len()],
            primal,
            rows: Vec::new(),
            row_starts,
            fitted: Vec::new(),
            test: Vec::new(),
            pred: Vec::new(),
            test_bad: Vec::new(),
            scratch: Scratch::default(),
            seconds: [0.0; STAGES.len()],
        }
    }

    /// Bytes that one tile of `width` voxels takes in this engine.
    pub fn tile_bytes(problem: &Problem, width: usize) -> usize {
        let mut values = 0;
        let primal = |space: usize| problem.models.iter().any(|m| m.space == space && !m.is_dual());
        for (s, space) in problem.spaces.iter().enumerate() {
            if primal(s) {
                values += problem.n_folds * space.n_columns();
            }
        }
        for model in &problem.models {
            values +=
                problem.n_fitted(model) + if model.wants_coef { problem.n_coefs(model) } else { 0 };
            values += 2 * problem.settings.alphas.len();
        }
        if problem.models.iter().any(Model::is_dual) {
            values += problem.n_train();
        }
        let longest = problem.test_blocks.iter().copied().max().unwrap_or(0);
        values += longest + problem.blocks.iter().map(|b| b.n_rows).max().unwrap_or(0);
        values * width * size_of::<f32>()
    }

    fn timed<T>(&mut self, stage: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let out = work(self);
        self.seconds[stage] += start.elapsed().as_secs_f64();
        out
    }

    /// Means of BOLD (shifted) over the training rows of `fold`, or over all for `None`.
    fn bold_mean(&self, fold: Option<usize>, rows: &[usize], voxel: usize) -> f64 {
        let n_folds = self.problem.n_folds;
        let all: f64 = (0..n_folds).map(|k| self.voxels.sums[k * self.width + voxel]).sum();
        let n_all: usize = rows.iter().sum();
        match fold {
            None => all / n_all as f64,
            Some(k) => (all - self.voxels.sums[k * self.width + voxel]) / (n_all - rows[k]) as f64,
        }
    }

    /// What is taken off BOLD (already shifted) before a fit: its mean over the training rows; or,
    /// without an intercept, minus the shift, so that the fit sees the values as they came.
    fn train_means(
        &self,
        fold: Option<usize>,
        rows: &[usize],
        start: usize,
        len: usize,
    ) -> Vec<f64> {
        (start..start + len)
            .map(|v| match self.problem.settings.fit_intercept {
                true => self.bold_mean(fold, rows, v),
                false => -f64::from(self.voxels.shift[v]),
            })
            .collect()
    }

    /// `(n_coefs, len)` copy of one fold's XᵀY for the model's delays and a range of voxels;
    /// added to `out` if `add`.
    fn gather(
        &self,
        model: &Model,
        fold: usize,
        start: usize,
        len: usize,
        out: &mut [f32],
        add: bool,
    ) {
        let space = &self.problem.spaces[model.space];
        let (d, columns) = (space.n_features, space.n_columns());
        let xty = &self.xty[model.space][fold * columns * self.width..];
        let mut out = out.chunks_exact_mut(len);
        for &delay in &model.delays {
            for row in delay * d..(delay + 1) * d {
                let from = &xty[row * self.width + start..][..len];
                let to = out.next().expect("one output row a coefficient");
                if add {
                    to.iter_mut().zip(from).for_each(|(o, &x)| *o += x);
                } else {
                    to.copy_from_slice(from);
                }
            }
        }
    }

    fn solve_model(&mut self, model: &Model) -> Result<ModelTile> {
        let (problem, width) = (self.problem, self.width);
        let settings = &problem.settings;
        let n_alphas = settings.alphas.len();
        let mut tile = ModelTile {
            cv_scores: vec![0.0; n_alphas * width],
            best: vec![None; width],
            coef: vec![0.0; if model.wants_coef { problem.n_coefs(model) * width } else { 0 }],
            intercept: vec![0.0; width],
            basis_rank: 0,
            basis_error: 0.0,
        };
        let n_inner = problem.n_fitted(model);
        let mut inner = vec![0f32; n_inner * width];
        let mut scratch = std::mem::take(&mut self.scratch);
        for start in (0..width).step_by(settings.block_voxels.max(1)) {
            let len = settings.block_voxels.max(1).min(width - start);
            self.solve_block(model, start, len, &mut scratch, &mut tile)?;
            self.timed(4, |s| {
                s.refit_block(model, start, len, &mut scratch, &mut tile, &mut inner)
            });
        }
        self.scratch = scratch;
        self.fitted.push((inner, tile.intercept.clone()));
        if model.wants_coef {
            self.coef_from_fitted(model, &mut tile);
        }
        Ok(tile)
    }

    /// Weights of the columns from what was fitted, and their intercept.
    fn coef_from_fitted(&self, model: &Model, tile: &mut ModelTile) {
        let (problem, width) = (self.problem, self.width);
        let Some((inner, _)) = self.fitted.last() else { return };
        if model.is_dual() {
            let space = &problem.spaces[model.space];
            let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
            for (b, design) in space.train.iter().enumerate() {
                let rows = &inner[self.row_starts[b] * width..self.row_starts[b + 1] * width];
                add_xty(design, &delays, rows, width, &mut tile.coef, self.arch);
            }
        } else if model.is_stacked() {
            let (p, m) = (problem.n_coefs(model), model.full.eigvals.len());
            let v = Rows::new(&model.full.vectors, p, m);
            gemm(&mut tile.coef, (p, width, width), false, v, Rows::new(inner, m, width));
        } else {
            tile.coef.copy_from_slice(inner);
            return;
        }
        if !problem.settings.fit_intercept {
            return;
        }
        // These two predict from centred rows.
        let mut offsets = vec![0f64; width];
        for (x_mean, row) in model.full.x_means.iter().zip(tile.coef.chunks_exact(width)) {
            offsets.iter_mut().zip(row).for_each(|(o, &w)| *o += x_mean * f64::from(w));
        }
        for (intercept, offset) in tile.intercept.iter_mut().zip(offsets) {
            *intercept = (f64::from(*intercept) - offset) as f32;
        }
    }

    /// The statistics of every fold of an svd model but `skip`, for a block of voxels.
    fn fold_statistics(
        &self,
        model: &Model,
        skip: Option<usize>,
        start: usize,
        taken_off: &[f64],
        fold_rows: &[usize],
    ) -> Vec<FoldStatistic<'_>> {
        let (p, width) = (self.problem.n_coefs(model), self.width);
        let xty = &self.xty[model.space];
        let folds = fold_rows.iter().enumerate().filter(|(k, _)| Some(*k) != skip);
        folds
            .map(|(k, &n)| {
                let sums = &self.voxels.sums[k * width + start..];
                let root = (n as f64).sqrt();
                let first = sums.iter().zip(taken_off);
                FoldStatistic {
                    first: first.map(|(sum, m)| (root * (sum / n as f64 - m)) as f32).collect(),
                    others: &xty[k * p * width + start..],
                    n_others: n.saturating_sub(1).min(p),
                }
            })
            .collect()
    }

    fn solve_block(
        &mut self,
        model: &Model,
        start: usize,
        len: usize,
        scratch: &mut Scratch,
        tile: &mut ModelTile,
    ) -> Result<()> {
        let (problem, width) = (self.problem, self.width);
        let settings = &problem.settings;
        let n_alphas = settings.alphas.len();
        let fold_rows = problem.fold_rows();
        let mut sums = vec![0f64; n_alphas * len];
        let mut n_scored = vec![0f64; len];
        if !model.is_dual() && !model.is_stacked() {
            let total = sized(&mut scratch.total, problem.n_coefs(model) * len);
            for fold in 0..problem.n_folds {
                self.gather(model, fold, start, len, total, fold > 0);
            }
        }
        for (fold, rotation) in model.folds.iter().enumerate() {
            let m = rotation.n_components;
            let n_val = fold_rows[fold] as f64;
            let clock = Instant::now();
            self.rotate_block(model, fold, start, len, scratch, &fold_rows);
            self.seconds[2] += clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            let mut val_square = vec![0f64; len];
            let mut delta = vec![0f64; len];
            for v in 0..len {
                let at = fold * width + start + v;
                let (sum, square) = (self.voxels.sums[at], self.voxels.squares[at]);
                let variation = square - sum * sum / n_val;
                // What rounding leaves of a constant counts as none.
                let varies = variation > n_val * f64::EPSILON * square;
                if varies && !self.voxels.is_dead(start + v) {
                    val_square[v] = variation;
                    n_scored[v] += 1.0;
                }
                // Without an intercept the training mean counts as zero: minus the shift, here.
                let train_mean = match settings.fit_intercept {
                    true => self.bold_mean(Some(fold), &fold_rows, start + v),
                    false => -f64::from(self.voxels.shift[start + v]),
                };
                delta[v] = sum / n_val - train_mean;
            }
            let (z, t) = (&scratch.z[..m * len], &scratch.t[..m * len]);
            let weights: Vec<f64> = z
                .chunks_exact(len)
                .zip(&rotation.factor_norms)
                .map(|(row, norm)| {
                    norm * row.iter().map(|&z| f64::from(z) * f64::from(z)).sum::<f64>().sqrt()
                })
                .collect();
            let tolerance = settings.basis_tolerance;
            let basis = alpha_basis(&rotation.eigvals, &weights, &settings.alphas, tolerance)?;
            tile.basis_rank = tile.basis_rank.max(basis.rank);
            tile.basis_error = tile.basis_error.max(basis.truncation);
            let bold = FoldBold { val_square: &val_square, delta: &delta };
            let path = &mut scratch.path;
            add_fold_scores(
                rotation, &basis, settings, z, t, len, bold, path, &mut sums, self.arch,
            );
            self.seconds[3] += clock.elapsed().as_secs_f64();
        }
        for v in 0..len {
            let dead = self.voxels.is_dead(start + v) || n_scored[v] == 0.0;
            for a in 0..n_alphas {
                let mean = sums[a * len + v] / n_scored[v];
                tile.cv_scores[a * width + start + v] = if dead { f32::NAN } else { mean as f32 };
            }
            let scores = (0..n_alphas).map(|a| tile.cv_scores[a * width + start + v]);
            tile.best[start + v] = best_index(scores, settings.alpha_tolerance);
        }
        Ok(())
    }

    /// z and t of one fold and block into the scratch.
    fn rotate_block(
        &self,
        model: &Model,
        fold: usize,
        start: usize,
        len: usize,
        scratch: &mut Scratch,
        fold_rows: &[usize],
    ) {
        let (problem, width) = (self.problem, self.width);
        let rotation = &model.folds[fold];
        let m = rotation.n_components;
        let Scratch { total, train, val, z, t, .. } = scratch;
        let (z, t) = (sized(z, m * len), sized(t, m * len));
        let train_means = self.train_means(Some(fold), fold_rows, start, len);
        let val_means: Vec<f64> = (0..len)
            .map(|v| self.voxels.sums[fold * width + start + v] / fold_rows[fold] as f64)
            .collect();
        match &rotation.rotate {
            Rotate::Primal { q, val_sums } => {
                let p = problem.n_coefs(model);
                let (train, val) = (sized(train, p * len), sized(val, p * len));
                self.gather(model, fold, start, len, val, false);
                let full = &model.full;
                let n_all: usize = fold_rows.iter().sum();
                for (i, val_sum) in val_sums.iter().enumerate() {
                    let row = i * len..(i + 1) * len;
                    let train_sum = full.x_means[i] * n_all as f64 - val_sum;
                    let rows = train[row.clone()].iter_mut().zip(&mut val[row.clone()]);
                    for (v, ((train, val), &total)) in rows.zip(&total[row]).enumerate() {
                        *train = total - *val - (train_sum * train_means[v]) as f32;
                        *val -= (val_sum * val_means[v]) as f32;
                    }
                }
                let q = Rows::new(q, p, m).t();
                gemm(z, (m, len, len), false, q, Rows::new(train, p, len));
                gemm(t, (m, len, len), false, q, Rows::new(val, p, len));
            }
            Rotate::Dual { u, p } => {
                let (n_train, n_val) = (rotation.n_train, rotation.n_val);
                let (train, val) = (sized(train, n_train * len), sized(val, n_val * len));
                let (mut next_train, mut next_val) = (0, 0);
                for (b, block) in problem.blocks.iter().enumerate() {
                    for row in self.row_starts[b]..self.row_starts[b + 1] {
                        let from = &self.rows[row * width + start..][..len];
                        let (to, means) = if block.fold == fold {
                            next_val += 1;
                            (&mut val[(next_val - 1) * len..next_val * len], &val_means)
                        } else {
                            next_train += 1;
                            (&mut train[(next_train - 1) * len..next_train * len], &train_means)
                        };
                        for ((to, &from), mean) in to.iter_mut().zip(from).zip(means) {
                            *to = from - *mean as f32;
                        }
                    }
                }
                let u = Rows::new(u, n_train, m).t();
                gemm(z, (m, len, len), false, u, Rows::new(train, n_train, len));
                let p = Rows::new(p, n_val, m).t();
                gemm(t, (m, len, len), false, p, Rows::new(val, n_val, len));
            }
            Rotate::Stacked { to_z, to_t } => {
                let mut folds = self.fold_statistics(model, None, start, &train_means, fold_rows);
                let own = folds.remove(fold);
                stacked_z(z, (m, len), to_z, &folds, width);
                stacked_t(t, (m, len), to_t, &own, width);
            }
        }
    }

    /// Weights of one block into `inner` `(n_coefs or n_train, width)`, and the intercept.
    fn refit_block(
        &self,
        model: &Model,
        start: usize,
        len: usize,
        scratch: &mut Scratch,
        tile: &mut ModelTile,
        inner: &mut [f32],
    ) {
        let (problem, width) = (self.problem, self.width);
        let full = &model.full;
        let m = full.eigvals.len();
        let is_dual = model.is_dual();
        let n_inner = problem.n_fitted(model);
        let fold_rows = problem.fold_rows();
        let center = problem.settings.fit_intercept;
        let means = self.train_means(None, &fold_rows, start, len);
        let Scratch { train, z, .. } = scratch;
        let (train, z) = (sized(train, n_inner * len), sized(z, m * len));
        if model.is_stacked() {
            let folds = self.fold_statistics(model, None, start, &means, &fold_rows);
            stacked_z(z, (m, len), &full.to_z, &folds, width);
        } else if is_dual {
            for (row, to) in train.chunks_exact_mut(len).enumerate() {
                let from = &self.rows[row * width + start..][..len];
                for ((to, &from), mean) in to.iter_mut().zip(from).zip(&means) {
                    *to = from - *mean as f32;
                }
            }
        } else {
            let n_all = problem.n_train() as f64;
            for fold in 0..problem.n_folds {
                self.gather(model, fold, start, len, train, fold > 0);
            }
            for (row, x_mean) in train.chunks_exact_mut(len).zip(&full.x_means) {
                for (value, mean) in row.iter_mut().zip(&means) {
                    *value -= (n_all * x_mean * mean) as f32;
                }
            }
        }
        let vectors = (!model.is_stacked()).then(|| Rows::new(&full.vectors, n_inner, m));
        if let Some(vectors) = vectors {
            gemm(z, (m, len, len), false, vectors.t(), Rows::new(train, n_inner, len));
        }
        let alphas: Vec<Option<f64>> =
            (0..len).map(|v| tile.best[start + v].map(|a| problem.settings.alphas[a])).collect();
        for (row, lambda) in z.chunks_exact_mut(len).zip(&full.eigvals) {
            for (value, alpha) in row.iter_mut().zip(&alphas) {
                *value = alpha.map_or(0.0, |alpha| (f64::from(*value) / (lambda + alpha)) as f32);
            }
        }
        if let Some(vectors) = vectors {
            let out = &mut inner[start..];
            gemm(out, (n_inner, len, width), false, vectors, Rows::new(z, m, len));
        } else {
            for (to, from) in inner.chunks_exact_mut(width).zip(z.chunks_exact(len)) {
                to[start..start + len].copy_from_slice(from);
            }
        }
        if !center {
            return;
        }
        let mut offsets = vec![0f64; len];
        if !model.is_dual() && !model.is_stacked() {
            for (i, x_mean) in full.x_means.iter().enumerate() {
                let row = &inner[i * width + start..][..len];
                for (o, &w) in offsets.iter_mut().zip(row) {
                    *o += x_mean * f64::from(w);
                }
            }
        }
        for v in 0..len {
            if alphas[v].is_some() {
                let mean = f64::from(self.voxels.shift[start + v]) + means[v];
                tile.intercept[start + v] = (mean - offsets[v]) as f32;
            }
        }
    }
}

impl Engine for CpuEngine<'_> {
    fn begin(&mut self, width: usize) -> Result<()> {
        self.width = width;
        self.voxels.begin(self.problem.n_folds, width);
        for ((xty, space), &used) in self.xty.iter_mut().zip(&self.problem.spaces).zip(&self.primal)
        {
            xty.clear();
            if used {
                xty.resize(self.problem.n_folds * space.n_columns() * width, 0.0);
            }
        }
        if self.problem.models.iter().any(Model::is_dual) {
            self.rows.clear();
            self.rows.resize(self.problem.n_train() * width, 0.0);
        }
        self.fitted.clear();
        let n_test = self.problem.test_blocks.len();
        self.test = vec![PearsonSums::new(width, n_test); self.problem.models.len()];
        Ok(())
    }

    fn add_train(&mut self, block: usize, bold: &mut [f32]) -> Result<()> {
        let (problem, width) = (self.problem, self.width);
        let fold = problem.blocks[block].fold;
        self.timed(0, |s| s.voxels.add(bold, fold, s.arch));
        self.timed(1, |s| {
            for (index, space) in problem.spaces.iter().enumerate().filter(|(i, _)| s.primal[*i]) {
                let size = space.n_columns() * width;
                let out = &mut s.xty[index][fold * size..(fold + 1) * size];
                add_xty(&space.train[block], &space.delays, bold, width, out, s.arch);
            }
            if !s.rows.is_empty() {
                let start = s.row_starts[block] * width;
                s.rows[start..start + bold.len()].copy_from_slice(bold);
            }
        });
        Ok(())
    }

    fn solve(&mut self) -> Result<Vec<ModelTile>> {
        self.fitted.clear();
        let problem = self.problem;
        problem.models.iter().map(|model| self.solve_model(model)).collect()
    }

    fn add_test(
        &mut self,
        block: usize,
        bold: &mut [f32],
        mut predictions: Option<&mut TakePrediction<'_>>,
    ) -> Result<()> {
        let clock = Instant::now();
        let (problem, width) = (self.problem, self.width);
        let n_rows = problem.test_blocks[block];
        self.test_bad.clear();
        self.test_bad.extend((0..width).map(|v| self.voxels.is_dead(v)));
        for row in bold.chunks_exact_mut(width) {
            for ((y, bad), shift) in row.iter_mut().zip(&mut self.test_bad).zip(&self.voxels.shift)
            {
                if y.is_finite() {
                    *y -= shift;
                } else {
                    *bad = true;
                    *y = 0.0;
                }
            }
        }
        self.pred.resize(n_rows * width, 0.0);
        for (index, model) in problem.models.iter().enumerate() {
            let space = &problem.spaces[model.space];
            let (weights, intercept) = &self.fitted[index];
            if let Some(rows) = model.full.test_rows.get(block) {
                let n_fitted = problem.n_fitted(model);
                let weights = Rows::new(weights, n_fitted, width);
                let rows = Rows::new(rows, n_rows, n_fitted);
                gemm(&mut self.pred, (n_rows, width, width), false, rows, weights);
            } else {
                let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
                predict(&space.test[block], &delays, weights, width, &mut self.pred);
            }
            self.test[index].add(block, &self.pred, bold, &self.test_bad, self.arch);
            if let Some(hand_out) = predictions.as_mut() {
                for row in self.pred.chunks_exact_mut(width) {
                    row.iter_mut().zip(intercept).for_each(|(p, &i)| *p += i);
                }
                hand_out(index, &self.pred);
            }
        }
        self.seconds[5] += clock.elapsed().as_secs_f64();
        Ok(())
    }

    fn test_scores(&mut self) -> Result<Vec<TestTile>> {
        let finish = |sums: &PearsonSums| {
            let (correlation, block_correlation) = sums.finish();
            TestTile { correlation, block_correlation }
        };
        Ok(self.test.iter().map(finish).collect())
    }

    fn counts(&self) -> VoxelCounts {
        let dead = |v: usize| !self.voxels.varies[v] && !self.voxels.not_finite[v];
        VoxelCounts {
            n_not_finite: self.voxels.not_finite.iter().filter(|&&bad| bad).count(),
            n_constant: (0..self.width).filter(|&v| dead(v)).count(),
        }
    }

    fn stage_seconds(&self) -> Vec<(&'static str, f64)> {
        STAGES.into_iter().zip(self.seconds).collect()
    }
}
