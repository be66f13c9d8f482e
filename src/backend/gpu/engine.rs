//! One engine: a lane of a card, and the tile that is on it.

use std::sync::Arc;

use super::buffers::Buffers;
use super::launch::{
    DelayShape, Gemm, Lane, Part, PartMut, add_voxels, delay, densify, first_means, merge_voxels,
};
use super::problem::{GpuDesign, GpuProblem};
use crate::backend::{Engine, ModelTile, TakePrediction, TestTile, VoxelCounts};
use crate::error::{Error, Result};

/// The stages that are timed; names as the CPU engine's.
pub const STAGES: [&str; 6] = ["sums", "xty", "rotate", "path", "refit", "score"];

/// The CUDA engine. Each worker has its own; those of one card share the [`GpuProblem`].
pub struct GpuEngine<'p> {
    pub(super) gpu: Arc<GpuProblem<'p>>,
    pub(super) lane: Lane,
    pub(super) buffers: Option<Buffers>,
    pub(super) width: usize,
    /// First row of each training block.
    row_starts: Vec<usize>,
    is_started: bool,
    turn: usize,
    pub(super) flags: Vec<u8>,
    pub(super) models: Vec<ModelTile>,
    /// `(width)` of each model's inner weights.
    pub(super) intercepts: Vec<Vec<f32>>,
    pub(super) tests: Vec<TestTile>,
    pub(super) n_test_rows: usize,
    pub(super) n_inner_rows: usize,
    pub(super) pred_rows: Vec<f32>,
    /// For the permutation test: `(n_test, width)` rows of BOLD, and of each model's prediction.
    pub(super) kept_bold: Vec<f32>,
    pub(super) kept_pred: Vec<Vec<f32>>,
    pub(super) clock: Clock,
}

/// Moments of the compute stream around each stage, read when the stream has passed them.
#[derive(Default)]
pub struct Clock {
    open: Vec<(usize, super::launch::Moment, super::launch::Moment)>,
    seconds: [f64; STAGES.len()],
}

impl Clock {
    /// Runs `work`, and times what it launches.
    pub fn time<T>(
        &mut self,
        lane: &Lane,
        stage: usize,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = lane.moment()?;
        let out = work()?;
        self.open.push((stage, start, lane.moment()?));
        Ok(out)
    }

    /// Adds up what was measured; waits for it.
    pub fn read(&mut self, lane: &Lane) -> Result<()> {
        for (stage, start, end) in self.open.drain(..) {
            self.seconds[stage] += lane.between(&start, &end)?.as_secs_f64();
        }
        Ok(())
    }
}

impl<'p> GpuEngine<'p> {
    /// An engine over a problem that is on a card.
    /// # Errors
    /// `Error::Device`, `Error::DeviceMemory`.
    pub fn new(gpu: &Arc<GpuProblem<'p>>) -> Result<Self> {
        let mut row_starts = vec![0];
        for block in &gpu.problem.blocks {
            row_starts.push(row_starts[row_starts.len() - 1] + block.n_rows);
        }
        let n_models = gpu.problem.models.len();
        Ok(Self {
            lane: Lane::new(&gpu.card)?,
            gpu: Arc::clone(gpu),
            buffers: None,
            width: 0,
            row_starts,
            is_started: false,
            turn: 0,
            flags: Vec::new(),
            models: (0..n_models).map(|_| ModelTile::default()).collect(),
            intercepts: vec![Vec::new(); n_models],
            tests: (0..n_models).map(|_| TestTile::default()).collect(),
            n_test_rows: 0,
            n_inner_rows: 0,
            pred_rows: Vec::new(),
            kept_bold: Vec::new(),
            kept_pred: vec![Vec::new(); n_models],
            clock: Clock::default(),
        })
    }

    /// Sends one block of BOLD to the card; which of the two buffers holds it.
    pub(super) fn send(&mut self, bold: &[f32]) -> Result<usize> {
        let slot = self.turn % 2;
        self.turn += 1;
        let b = self.buffers.as_mut().ok_or_else(not_begun)?;
        self.lane.send(bold, &mut b.staging[slot], &mut b.raw[slot].first_mut(bold.len()))?;
        Ok(slot)
    }
}

/// A call out of turn is a bug of the caller.
pub(super) fn not_begun() -> Error {
    Error::Numerical { what: "CUDA engine".into(), problem: "no tile was begun".into() }
}

/// Where a block's design is: in device memory as it is, or in the tile.
pub(super) enum Tile<'a> {
    /// One delay, 0, dense: no copy.
    AsItIs(Part<'a, f32>),
    /// Delayed or written out.
    Made,
}

/// The delayed design of one block, `(n_rows, n_delays · n_features)`.
pub(super) fn design_tile<'a>(
    lane: &Lane,
    design: &'a GpuDesign,
    (delays, host_delays): (&Part<'_, i64>, &[i64]),
    tile: &mut PartMut<'_, f32>,
    undelayed: &mut PartMut<'_, f32>,
    shape: DelayShape,
) -> Result<Tile<'a>> {
    let n = shape.n_rows * shape.n_features;
    match design {
        GpuDesign::Dense(x) if host_delays == [0] => Ok(Tile::AsItIs(x.first(n))),
        GpuDesign::Dense(x) => {
            delay(lane, &x.first(n), delays, None, None, tile, shape)?;
            Ok(Tile::Made)
        }
        GpuDesign::Sparse { indptr, indices, values, n_entries, center } => {
            let csr = (
                &indptr.first(shape.n_rows + 1),
                &indices.first(*n_entries),
                &values.first(*n_entries),
            );
            densify(lane, csr, undelayed, (shape.n_rows, shape.n_features))?;
            let x = undelayed.as_view();
            let center = center.first(shape.n_features);
            delay(lane, &x, delays, Some(&center), None, tile, shape)?;
            Ok(Tile::Made)
        }
    }
}

impl Engine for GpuEngine<'_> {
    fn begin(&mut self, width: usize) -> Result<()> {
        let problem = self.gpu.problem;
        if self.buffers.as_ref().is_none_or(|b| b.capacity < width) {
            self.buffers = None;
            self.buffers = Some(Buffers::new(&self.lane, problem, width)?);
        }
        self.width = width;
        self.is_started = false;
        (self.n_test_rows, self.n_inner_rows) = (0, 0);
        self.kept_bold.clear();
        self.kept_pred.iter_mut().for_each(Vec::clear);
        let b = self.buffers.as_mut().ok_or_else(not_begun)?;
        let lane = &self.lane;
        lane.zero(&mut b.flags.first_mut(width))?;
        lane.zero(&mut b.shift.first_mut(width))?;
        lane.zero(&mut b.first.first_mut(width))?;
        lane.zero(&mut b.sums.first_mut(problem.n_folds * width))?;
        lane.zero(&mut b.squares.first_mut(problem.n_folds * width))?;
        for ((xty, space), on_card) in b.xty.iter_mut().zip(&problem.spaces).zip(&self.gpu.spaces) {
            if on_card.is_primal {
                lane.zero(&mut xty.first_mut(problem.n_folds * space.n_columns() * width))?;
            }
        }
        let n_test = problem.test_blocks.len();
        for (totals, test) in b.totals.iter_mut().zip(&mut self.tests) {
            lane.zero(&mut totals.first_mut(5 * width))?;
            test.block_correlation.clear();
            test.block_correlation.resize(n_test * width, f32::NAN);
            test.block_inner_correlation.clear();
        }
        if !problem.inner.is_empty() {
            for (totals, test) in b.inner_totals.iter_mut().zip(&mut self.tests) {
                lane.zero(&mut totals.first_mut(5 * width))?;
                test.block_inner_correlation.resize(n_test * width, f32::NAN);
            }
        }
        Ok(())
    }

    fn add_train(&mut self, block: usize, bold: &[f32]) -> Result<()> {
        let (problem, width) = (self.gpu.problem, self.width);
        let n_rows = problem.blocks[block].n_rows;
        let fold = problem.blocks[block].fold;
        if bold.is_empty() {
            return Ok(());
        }
        let slot = self.send(bold)?;
        let (lane, gpu) = (&self.lane, &self.gpu);
        let b = self.buffers.as_mut().ok_or_else(not_begun)?;
        let of_fold = fold * width..(fold + 1) * width;
        let keeps_rows = problem.models.iter().any(|model| model.is_dual());
        let start = self.row_starts[block] * width;
        let own_rows = start..start + n_rows * width;
        let is_started = std::mem::replace(&mut self.is_started, true);
        self.clock.time(lane, 0, || {
            let raw = b.raw[slot].first(n_rows * width);
            if !is_started {
                let (shift, first) = (&mut b.shift, &mut b.first);
                let out = (&mut shift.first_mut(width), &mut first.first_mut(width));
                first_means(lane, &raw, out.0, out.1, (n_rows, width))?;
            }
            let mut y = match keeps_rows {
                true => b.rows.part_mut(own_rows.clone()),
                false => b.y.first_mut(n_rows * width),
            };
            add_voxels(
                lane,
                &raw,
                &b.shift.first(width),
                &b.first.first(width),
                &mut y,
                &mut b.part_sums.part_mut(0..b.part_sums.len()),
                &mut b.part_flags.part_mut(0..b.part_flags.len()),
                (n_rows, width),
            )?;
            merge_voxels(
                lane,
                &b.part_sums.all(),
                &b.part_flags.all(),
                &mut b.sums.part_mut(of_fold.clone()),
                &mut b.squares.part_mut(of_fold),
                &mut b.flags.first_mut(width),
                n_rows,
                width,
            )
        })?;
        self.clock.time(lane, 1, || {
            let y = match keeps_rows {
                true => b.rows.part(own_rows),
                false => b.y.first(n_rows * width),
            };
            for (index, (space, on_card)) in problem.spaces.iter().zip(&gpu.spaces).enumerate() {
                if !on_card.is_primal {
                    continue;
                }
                let columns = space.n_columns();
                let shape = DelayShape {
                    n_rows,
                    n_features: space.n_features,
                    n_delays: space.delays.len(),
                };
                let delays = on_card.delays.first(space.delays.len());
                let made = design_tile(
                    lane,
                    &on_card.train[block],
                    (&delays, &space.delays),
                    &mut b.design.first_mut(n_rows * columns),
                    &mut b.undelayed.part_mut(0..b.undelayed.len()),
                    shape,
                )?;
                let x = match made {
                    Tile::AsItIs(x) => x,
                    Tile::Made => b.design.first(n_rows * columns),
                };
                let at = fold * columns * width..(fold + 1) * columns * width;
                let gemm = Gemm::add_transposed(columns, width, n_rows);
                lane.gemm(gemm, &x, &y, &mut b.xty[index].part_mut(at))?;
            }
            Ok(())
        })
    }

    fn solve(&mut self) -> Result<&[ModelTile]> {
        self.solve_models()?;
        Ok(&self.models)
    }

    fn add_test(
        &mut self,
        block: usize,
        bold: &[f32],
        predictions: Option<&mut TakePrediction<'_>>,
    ) -> Result<()> {
        self.score_block(block, bold, predictions)
    }

    fn results(&mut self) -> Result<(&[ModelTile], &[TestTile])> {
        self.read_scores()?;
        self.permute()?;
        self.clock.read(&self.lane)?;
        Ok((&self.models, &self.tests))
    }

    fn counts(&self) -> VoxelCounts {
        // Bits as in kernels/common.cuh.
        let not_finite = |flags: &&u8| **flags & 1 != 0;
        VoxelCounts {
            n_not_finite: self.flags.iter().filter(not_finite).count(),
            n_constant: self.flags.iter().filter(|flags| **flags & 3 == 0).count(),
        }
    }

    fn stage_seconds(&self) -> Vec<(&'static str, f64)> {
        STAGES.into_iter().zip(self.clock.seconds).collect()
    }

    fn release(&mut self) {
        self.buffers = None;
        // What is freed in the order of the stream is free once the stream has passed.
        let _ = self.lane.synchronize();
    }
}
