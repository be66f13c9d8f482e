//! Voxel tiles over the cores: read, solve, score, write.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::backend::cpu::CpuEngine;
use crate::backend::{Engine, ModelTile, Problem, TakePrediction, TestTile, VoxelCounts};
use crate::error::{Error, Result};

/// Where BOLD comes from. Rows of a block, in the order of the problem's blocks.
pub trait BoldSource: Sync {
    /// Columns.
    fn n_voxels(&self) -> usize;
    /// One training block's rows for some voxels, `(n_rows, voxels.len())` row-major.
    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()>;
    /// One test block's rows.
    fn read_test(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()>;
}

/// Everything that is known of a tile.
#[derive(Debug)]
pub struct SolvedTile<'a> {
    /// Which voxels.
    pub voxels: Range<usize>,
    /// One entry a model.
    pub models: &'a [ModelTile],
    /// One entry a model; empty correlations without test blocks.
    pub tests: &'a [TestTile],
    /// Voxels that could not be fitted.
    pub counts: VoxelCounts,
}

/// Where results go. Tiles arrive in any order, from any thread.
pub trait TileSink: Sync {
    /// Takes a finished tile.
    fn write(&self, tile: SolvedTile<'_>) -> Result<()>;
    /// Whether predicted test BOLD is wanted.
    fn wants_predictions(&self) -> bool {
        false
    }
    /// Takes predicted BOLD of one model and test block, `(n_rows, voxels.len())`.
    fn write_predictions(
        &self,
        _model: usize,
        _block: usize,
        _voxels: Range<usize>,
        _bold: &[f32],
    ) -> Result<()> {
        Ok(())
    }
}

/// How the tiles are run.
pub struct TileRun<'a> {
    /// Threads, each with an engine of its own.
    pub n_workers: usize,
    /// Set from outside to stop at the next block of rows.
    pub cancel: &'a AtomicBool,
    /// Called with the number of voxels after each tile.
    pub progress: &'a (dyn Fn(usize) + Sync),
}

/// Seconds summed over the workers, stage by stage.
pub type StageSeconds = Vec<(&'static str, f64)>;

/// Voxels wide enough for good products and long reads; more gains nothing.
pub const MAX_TILE_VOXELS: usize = 4096;

/// Width of a tile: whole blocks of `block_voxels` (so that results do not depend on the width),
/// at most `MAX_TILE_VOXELS`, a fair share for each worker, all workers within `budget_bytes`.
/// # Errors
/// `Error::TooLarge` if one block of voxels does not fit.
pub fn tile_width(
    problem: &Problem,
    n_voxels: usize,
    n_workers: usize,
    budget_bytes: usize,
) -> Result<usize> {
    let block = problem.settings.block_voxels.max(1);
    let workers = n_workers.max(1);
    // As many tiles for every worker.
    let rounds = n_voxels.div_ceil(workers * MAX_TILE_VOXELS.max(block)).max(1);
    let share = n_voxels.div_ceil(workers * rounds).next_multiple_of(block);
    let per_voxel = CpuEngine::tile_bytes(problem, 1).max(1) * n_workers.max(1);
    let fit = budget_bytes / per_voxel / block * block;
    if fit == 0 {
        return Err(Error::TooLarge {
            what: format!("a tile of {block} voxels on {n_workers} threads"),
            needed: format!("{} MiB", (per_voxel * block) >> 20),
            available: format!("{} MiB", budget_bytes >> 20),
            hint: "raise --memory, lower --threads, or use fewer columns".into(),
        });
    }
    Ok(share.min(fit))
}

/// Borders of the tiles of `n_voxels`.
pub fn tiles(n_voxels: usize, width: usize) -> Vec<Range<usize>> {
    (0..n_voxels).step_by(width.max(1)).map(|v| v..(v + width.max(1)).min(n_voxels)).collect()
}

/// Runs `tiles`; returns the seconds of each stage over all workers.
/// # Errors
/// The first error of any worker; the others stop at their next block.
pub fn run_tiles(
    problem: &Problem,
    source: &dyn BoldSource,
    sink: &dyn TileSink,
    tiles: &[Range<usize>],
    run: &TileRun<'_>,
) -> Result<StageSeconds> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let outcome: Mutex<Result<StageSeconds>> = Mutex::new(Ok(Vec::new()));
    let lock = || outcome.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    std::thread::scope(|scope| {
        for _ in 0..run.n_workers.clamp(1, tiles.len().max(1)) {
            scope.spawn(|| {
                let mut worker = Worker::new(problem, source, sink, run.cancel, &failed);
                while let Some(tile) = tiles.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match worker.run(tile.clone()) {
                        Ok(()) => (run.progress)(tile.len()),
                        Err(error) => {
                            // The first failure counts; others stop because of it.
                            if !failed.swap(true, Ordering::Relaxed) {
                                *lock() = Err(error);
                            }
                            return;
                        }
                    }
                }
                if let Ok(total) = lock().as_mut() {
                    worker.add_seconds(total);
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Worker<'a> {
    problem: &'a Problem,
    source: &'a dyn BoldSource,
    sink: &'a dyn TileSink,
    cancel: &'a AtomicBool,
    failed: &'a AtomicBool,
    engine: CpuEngine<'a>,
    buffer: Vec<f32>,
    read_seconds: f64,
    write_seconds: f64,
}

impl<'a> Worker<'a> {
    fn new(
        problem: &'a Problem,
        source: &'a dyn BoldSource,
        sink: &'a dyn TileSink,
        cancel: &'a AtomicBool,
        failed: &'a AtomicBool,
    ) -> Self {
        let engine = CpuEngine::new(problem);
        let buffer = Vec::new();
        let (read_seconds, write_seconds) = (0.0, 0.0);
        Self { problem, source, sink, cancel, failed, engine, buffer, read_seconds, write_seconds }
    }

    fn run(&mut self, voxels: Range<usize>) -> Result<()> {
        let width = voxels.len();
        self.engine.begin(width)?;
        for (index, block) in self.problem.blocks.iter().enumerate() {
            self.read(block.n_rows * width, |source, out| {
                source.read_train(index, voxels.clone(), out)
            })?;
            self.engine.add_train(index, &self.buffer)?;
        }
        self.engine.solve()?;
        let wants_predictions = self.sink.wants_predictions();
        for (index, &n_rows) in self.problem.test_blocks.iter().enumerate() {
            self.read(n_rows * width, |source, out| source.read_test(index, voxels.clone(), out))?;
            let mut written = Ok(());
            let mut write = |model: usize, bold: &[f32]| {
                if written.is_ok() {
                    written = self.sink.write_predictions(model, index, voxels.clone(), bold);
                }
            };
            let hand_out: Option<&mut TakePrediction<'_>> =
                if wants_predictions { Some(&mut write) } else { None };
            self.engine.add_test(index, &self.buffer, hand_out)?;
            written?;
        }
        let counts = self.engine.counts();
        let (models, tests) = self.engine.results()?;
        let clock = Instant::now();
        self.sink.write(SolvedTile { voxels, models, tests, counts })?;
        self.write_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    fn read(
        &mut self,
        len: usize,
        read: impl FnOnce(&dyn BoldSource, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let clock = Instant::now();
        self.buffer.resize(len, 0.0);
        let done = read(self.source, &mut self.buffer);
        self.read_seconds += clock.elapsed().as_secs_f64();
        done
    }

    fn add_seconds(&self, total: &mut StageSeconds) {
        let mut stages = vec![("read", self.read_seconds)];
        stages.extend(self.engine.stage_seconds());
        stages.push(("write", self.write_seconds));
        if total.is_empty() {
            *total = stages;
        } else {
            total.iter_mut().zip(stages).for_each(|(sum, (_, seconds))| sum.1 += seconds);
        }
    }
}
