//! One worker's tile: moments in, scores and weights out.

use std::time::Instant;

use pulp::Arch;

use super::bands::of_band;
use super::correlation::{PearsonSums, PredictedBlock};
use super::path::sized;
use super::permutation::{PermuteScratch, center, n_at_least};
use super::predict::{PredictScratch, predict};
use super::solve::{Fitted, SolveScratch};
use super::split::BandSums;
use super::voxels::VoxelSums;
use super::xty::{add_xty, pack};
use crate::backend::{Engine, Model, ModelTile, Problem, TakePrediction, TestTile, VoxelCounts};
use crate::error::Result;
use crate::product::multiply::multiply_panels;
use crate::product::packed::Packed;
use crate::product::panels::{PANEL, PanelRow, PanelRows, n_panels, to_rows};

/// Panels that a block of training rows passes through at a time: a few hundred rows of them stay
/// in the second-level cache from the sums to the products.
const GROUP_PANELS: usize = 16;

const STAGES: [&str; 8] = ["sums", "xty", "rotate", "path", "refit", "score", "permute", "points"];

/// The CPU engine. Not shared between threads: each worker has its own, and reuses its buffers from
/// tile to tile.
pub struct CpuEngine<'p> {
    pub(super) problem: &'p Problem,
    pub(super) arch: Arch,
    pub(super) width: usize,
    pub(super) voxels: VoxelSums,
    /// Training rows of each fold.
    pub(super) fold_rows: Vec<usize>,
    /// Per space: `(n_folds, n_panels, n_columns)` rows of panels; empty for a space no primal
    /// model uses.
    pub(super) xty: Vec<Vec<PanelRow>>,
    pub(super) primal: Vec<bool>,
    /// Spaces whose XᵀY comes from elsewhere.
    pub(super) shared: Vec<bool>,
    /// `(n_panels, n_train)` training rows in the order of the blocks; dual models only.
    pub(super) rows: Vec<PanelRow>,
    pub(super) row_starts: Vec<usize>,
    /// One block's BOLD, panel by panel: some panels of training rows, all of test rows.
    block: Vec<PanelRow>,
    models: Vec<ModelTile>,
    fitted: Vec<Fitted>,
    tests: Vec<TestTile>,
    test_sums: Vec<PearsonSums>,
    band_sums: Vec<BandSums>,
    band_inner: Vec<PanelRow>,
    band_pred: Vec<PanelRow>,
    test_bad: Vec<bool>,
    pred: Vec<PanelRow>,
    pred_rows: Vec<f32>,
    /// Per space: the training design of the block at hand.
    packed: Vec<Packed>,
    predict: PredictScratch,
    /// For the permutation test: `(n_panels, n_test)` rows of BOLD, and of each model's prediction.
    kept_bold: Vec<PanelRow>,
    kept_pred: Vec<Vec<PanelRow>>,
    permute: PermuteScratch,
    pub(super) scratch: SolveScratch,
    pub(super) seconds: [f64; STAGES.len()],
}

impl<'p> CpuEngine<'p> {
    /// An engine over a loaded problem.
    pub fn new(problem: &'p Problem) -> Self {
        let mut primal = vec![false; problem.spaces.len()];
        for model in problem.models.iter().filter(|m| !m.is_dual()) {
            primal[model.space] = true;
        }
        Self::with_primal(problem, primal)
    }

    /// An engine that sums XᵀY of every space, whether a model uses it or not.
    pub fn of_spaces(problem: &'p Problem) -> Self {
        Self::with_primal(problem, vec![true; problem.spaces.len()])
    }

    fn with_primal(problem: &'p Problem, primal: Vec<bool>) -> Self {
        let mut row_starts = vec![0];
        for block in &problem.blocks {
            row_starts.push(row_starts[row_starts.len() - 1] + block.n_rows);
        }
        let n_models = problem.models.len();
        Self {
            problem,
            arch: Arch::new(),
            width: 0,
            voxels: VoxelSums::default(),
            fold_rows: problem.fold_rows(),
            xty: vec![Vec::new(); problem.spaces.len()],
            primal,
            shared: vec![false; problem.spaces.len()],
            rows: Vec::new(),
            row_starts,
            block: Vec::new(),
            models: (0..n_models).map(|_| ModelTile::default()).collect(),
            fitted: (0..n_models).map(|_| Fitted::default()).collect(),
            tests: (0..n_models).map(|_| TestTile::default()).collect(),
            test_sums: vec![PearsonSums::default(); n_models],
            band_sums: vec![BandSums::default(); n_models],
            band_inner: Vec::new(),
            band_pred: Vec::new(),
            test_bad: Vec::new(),
            pred: Vec::new(),
            pred_rows: Vec::new(),
            packed: problem.spaces.iter().map(|_| Packed::default()).collect(),
            predict: PredictScratch::default(),
            kept_bold: Vec::new(),
            kept_pred: vec![Vec::new(); n_models],
            permute: PermuteScratch::default(),
            scratch: SolveScratch::default(),
            seconds: [0.0; STAGES.len()],
        }
    }

    /// Bytes that a tile of `width` voxels (a multiple of 32) takes in this engine.
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
            if model.wants_coef && (model.is_dual() || model.is_stacked()) {
                values += problem.n_coefs(model);
            }
            let n_alphas = problem.settings.alphas.len();
            values += 2 * n_alphas;
            if let Some(search) = &model.search {
                values += 2 * problem.n_coefs(model) + search.n_points() + 2 * n_alphas;
            }
        }
        if problem.models.iter().any(Model::is_dual) {
            values += problem.n_train();
        }
        // The block that is read; a test block in panels, and its prediction.
        let longest_test = problem.test_blocks.iter().copied().max().unwrap_or(0);
        let longest = problem.blocks.iter().map(|b| b.n_rows).max().unwrap_or(0);
        values += 3 * longest_test + longest.max(longest_test);
        if problem.permutations.is_some() {
            values += (1 + problem.models.len()) * problem.n_test();
        }
        values * width * size_of::<f32>()
    }

    /// Panels of the tile.
    pub(super) fn n_panels(&self) -> usize {
        n_panels(self.width)
    }

    fn timed<T>(&mut self, stage: usize, work: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        let out = work(self);
        self.seconds[stage] += start.elapsed().as_secs_f64();
        out
    }

    /// The permutation test of every model.
    fn permute(&mut self) {
        let Some(permutations) = &self.problem.permutations else { return };
        let n_test = self.problem.n_test().max(1);
        let moved = ..permutations.n_moved_rows();
        let centered = |kept: &mut Vec<PanelRow>| {
            kept.chunks_exact_mut(n_test).for_each(|panel| center(&mut panel[moved]));
        };
        centered(&mut self.kept_bold);
        for (pred, test) in self.kept_pred.iter_mut().zip(&mut self.tests) {
            centered(pred);
            test.n_at_least.clear();
            let panels = pred.chunks_exact(n_test).zip(self.kept_bold.chunks_exact(n_test));
            for (pred, bold) in panels {
                let (pred, bold) = (&pred[moved], &bold[moved]);
                let counts = n_at_least(self.arch, permutations, pred, bold, &mut self.permute);
                test.n_at_least.extend(counts);
            }
            test.n_at_least.truncate(self.width);
        }
    }

    /// Test BOLD, shifted, NaN and infinities marked and zero, into `self.block`.
    fn load_test(&mut self, bold: &[f32], n_rows: usize) {
        let width = self.width;
        self.test_bad.clear();
        self.test_bad.extend((0..width).map(|v| self.voxels.is_dead(v)));
        let block = sized(&mut self.block, self.voxels.shift.len().div_ceil(PANEL) * n_rows);
        for (t, row) in bold.chunks_exact(width).enumerate() {
            let voxels = row.iter().zip(&self.voxels.shift).zip(&mut self.test_bad).enumerate();
            for (v, ((&y, shift), bad)) in voxels {
                *bad |= !y.is_finite();
                block[v / PANEL * n_rows + t][v % PANEL] =
                    if y.is_finite() { y - shift } else { 0.0 };
            }
        }
    }
}

/// Puts one block's rows, panel by panel, among all rows of the panels.
fn keep_rows(
    rows: &[PanelRow],
    n_rows: usize,
    kept: &mut Vec<PanelRow>,
    n_all: usize,
    first: usize,
) {
    let n_panels = rows.len().checked_div(n_rows).unwrap_or(0);
    kept.resize(n_panels * n_all, [0.0; PANEL]);
    for (from, to) in rows.chunks_exact(n_rows.max(1)).zip(kept.chunks_exact_mut(n_all.max(1))) {
        to[first..first + n_rows].copy_from_slice(from);
    }
}

impl Engine for CpuEngine<'_> {
    fn begin(&mut self, width: usize) -> Result<()> {
        self.width = width;
        let (problem, n_panels) = (self.problem, self.n_panels());
        self.voxels.begin(problem.n_folds, width);
        for ((xty, space), &used) in self.xty.iter_mut().zip(&problem.spaces).zip(&self.primal) {
            xty.clear();
            if used {
                xty.resize(problem.n_folds * n_panels * space.n_columns(), [0.0; PANEL]);
            }
        }
        if problem.models.iter().any(Model::is_dual) {
            self.rows.clear();
            self.rows.resize(n_panels * problem.n_train(), [0.0; PANEL]);
        }
        let n_test = problem.test_blocks.len();
        for (sums, scores) in self.test_sums.iter_mut().zip(&mut self.tests) {
            sums.begin(width, n_test, !problem.inner.is_empty(), scores);
        }
        for (sums, model) in self.band_sums.iter_mut().zip(&problem.models) {
            sums.begin(model.search.as_ref().map_or(0, |search| search.n_bands), width);
        }
        Ok(())
    }

    fn add_train(&mut self, block: usize, bold: &[f32]) -> Result<()> {
        let (problem, n_panels) = (self.problem, self.n_panels());
        let fold = problem.blocks[block].fold;
        let n_rows = problem.blocks[block].n_rows;
        let spaces = || problem.spaces.iter().enumerate();
        self.timed(1, |s| {
            for ((index, space), packed) in spaces().zip(&mut s.packed) {
                if s.primal[index] && !s.shared[index] {
                    pack(&space.train[block], problem.n_train(), packed, s.arch);
                }
            }
        });
        self.voxels.start_block(bold, self.arch);
        for first in (0..n_panels).step_by(GROUP_PANELS) {
            let panels = first..n_panels.min(first + GROUP_PANELS);
            self.timed(0, |s| {
                let out = sized(&mut s.block, panels.len() * n_rows);
                s.voxels.add(bold, fold, panels.clone(), out, s.arch);
            });
            self.timed(1, |s| {
                let y = PanelRows::whole(&s.block, n_rows);
                for ((index, space), packed) in spaces().zip(&s.packed) {
                    if s.primal[index] && !s.shared[index] {
                        let at = |panel: usize| (fold * n_panels + panel) * space.n_columns();
                        let out = &mut s.xty[index][at(panels.start)..at(panels.end)];
                        let design = &space.train[block];
                        add_xty(design, packed, &space.delays, y, out, s.arch);
                    }
                }
                if !s.rows.is_empty() {
                    let (n_train, start) = (problem.n_train(), s.row_starts[block]);
                    for (p, panel) in panels.clone().enumerate() {
                        let to = &mut s.rows[panel * n_train + start..][..n_rows];
                        to.copy_from_slice(y.panel(p));
                    }
                }
            });
        }
        Ok(())
    }

    fn solve(&mut self) -> Result<&[ModelTile]> {
        let mut tiles = std::mem::take(&mut self.models);
        let mut fitted = std::mem::take(&mut self.fitted);
        let mut scratch = std::mem::take(&mut self.scratch);
        let solved =
            self.problem.models.iter().zip(tiles.iter_mut().zip(&mut fitted)).try_for_each(
                |(model, (tile, fitted))| self.solve_model(model, tile, fitted, &mut scratch),
            );
        (self.models, self.fitted, self.scratch) = (tiles, fitted, scratch);
        solved.map(|()| self.models.as_slice())
    }

    fn add_test(
        &mut self,
        block: usize,
        bold: &[f32],
        mut predictions: Option<&mut TakePrediction<'_>>,
    ) -> Result<()> {
        let clock = Instant::now();
        let (problem, width, n_panels) = (self.problem, self.width, self.n_panels());
        let n_rows = problem.test_blocks[block];
        self.load_test(bold, n_rows);
        let bold = &self.block[..n_panels * n_rows];
        let first: usize = problem.test_blocks[..block].iter().sum();
        let keep = |rows: &[PanelRow], kept: &mut Vec<PanelRow>| {
            if problem.permutations.is_some() {
                keep_rows(rows, n_rows, kept, problem.n_test(), first);
            }
        };
        keep(bold, &mut self.kept_bold);
        for (index, model) in problem.models.iter().enumerate() {
            let space = &problem.spaces[model.space];
            let weights = &self.fitted[index].inner;
            let pred = sized(&mut self.pred, n_panels * n_rows);
            if let Some(rows) = model.full.test_rows.get(block) {
                multiply_panels(self.arch, rows, weights, pred, n_panels);
            } else {
                let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
                let design = &space.test[block];
                predict(design, &delays, weights, pred, &mut self.predict, self.arch);
            }
            let (sums, scores) = (&mut self.test_sums[index], &mut self.tests[index]);
            let predicted = PredictedBlock { block, n_rows, pred, bold, bad: &self.test_bad };
            sums.add(predicted, problem.inner.get(block).cloned(), scores, self.arch);
            keep(pred, &mut self.kept_pred[index]);
            if let Some(search) = &model.search {
                let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
                for band in 0..search.n_bands {
                    of_band(weights, &search.band_of, band, &mut self.band_inner);
                    let own = sized(&mut self.band_pred, n_panels * n_rows);
                    let (design, scratch) = (&space.test[block], &mut self.predict);
                    predict(design, &delays, &self.band_inner, own, scratch, self.arch);
                    self.band_sums[index].add(band, n_rows, (own, pred, bold), self.arch);
                }
            }
            if let Some(hand_out) = predictions.as_mut() {
                self.pred_rows.resize(n_rows * width, 0.0);
                to_rows(pred, n_rows, width, &mut self.pred_rows);
                let intercept = &self.fitted[index].intercept;
                for row in self.pred_rows.chunks_exact_mut(width) {
                    row.iter_mut().zip(intercept).for_each(|(p, &i)| *p += i);
                }
                hand_out(index, &self.pred_rows);
            }
        }
        self.seconds[5] += clock.elapsed().as_secs_f64();
        Ok(())
    }

    fn results(&mut self) -> Result<(&[ModelTile], &[TestTile])> {
        for (index, test) in self.tests.iter_mut().enumerate() {
            let sums = &self.test_sums[index];
            sums.finish(test);
            let intercept = self.fitted[index].intercept.iter().zip(&self.voxels.shift);
            sums.finish_r2(intercept.map(|(&i, &shift)| f64::from(i) - f64::from(shift)), test);
            self.band_sums[index].finish(sums, test);
        }
        self.timed(6, Self::permute);
        Ok((&self.models, &self.tests))
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
