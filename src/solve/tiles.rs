//! Voxel tiles over the cores: read, solve, score, write.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use crate::backend::cpu::{CpuEngine, FitTile};
use crate::backend::device::Device;
use crate::backend::{
    Engine, Loaded, ModelTile, OtherFits, Problem, TakePrediction, TestTile, VoxelCounts, n_workers,
};
use crate::error::{Error, Result};
use crate::product::panels::PANEL;

/// Where BOLD comes from. Rows of a block, in the order of the problem's blocks.
pub trait BoldSource: Sync {
    /// Columns.
    fn n_voxels(&self) -> usize;
    /// One training block's rows for some voxels, `(n_rows, voxels.len())` row-major.
    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()>;
    /// One test block's rows.
    fn read_test(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()>;
    /// These rows will be read soon: a source on disk may begin to get them.
    fn expect_train(&self, _block: usize, _voxels: Range<usize>) {}
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
    /// Test scores of every other fit, one entry a model.
    pub others: &'a [Vec<TestTile>],
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
    /// Where the engines are.
    pub device: &'a Device,
    /// Threads; each has an engine of its own on the CPU.
    pub n_threads: usize,
    /// Set from outside to stop at the next block of rows.
    pub cancel: &'a AtomicBool,
    /// Called with the number of voxels after each tile.
    pub progress: &'a (dyn Fn(usize) + Sync),
    /// Called with a sentence when device memory is short and tiles get narrower.
    pub note: &'a (dyn Fn(&str) + Sync),
    /// Other fits of the same BOLD, and the bytes that all tiles may take.
    pub other: Option<(&'a OtherFits, usize)>,
}

/// Seconds summed over the workers, stage by stage.
pub type StageSeconds = Vec<(&'static str, f64)>;

/// Voxels wide enough for good products and long reads; more gains nothing.
pub const MAX_TILE_VOXELS: usize = 4096;

/// Memory of all tiles together, unless one block of voxels takes more: wider ones gain nothing.
pub const MOST_TILE_BYTES: usize = 1 << 30;

/// Width of a tile: whole blocks of `block_voxels` (so that results do not depend on the width),
/// at most `MAX_TILE_VOXELS`, a fair share for each worker, all workers within `budget_bytes`, what
/// `other` fits keep included; on cards within their free memory.
/// # Errors
/// `Error::TooLarge`, `Error::DeviceMemory` if one block of voxels does not fit.
pub fn tile_width(
    problem: &Problem,
    device: &Device,
    n_voxels: usize,
    n_threads: usize,
    budget_bytes: usize,
    other: Option<&OtherFits>,
) -> Result<usize> {
    let n_workers = n_workers(device, n_threads);
    let on_host = || cpu_tile_width(problem, n_voxels, n_workers, budget_bytes, other);
    match device {
        Device::Cpu => on_host(),
        #[cfg(feature = "cuda")]
        Device::Cuda { ordinals, .. } => {
            let width = crate::backend::gpu::tile_width(problem, ordinals, n_voxels)?;
            // Other fits are the host's.
            if other.is_some() { Ok(width.min(on_host()?)) } else { Ok(width) }
        }
    }
}

fn cpu_tile_width(
    problem: &Problem,
    n_voxels: usize,
    n_workers: usize,
    budget_bytes: usize,
    other: Option<&OtherFits>,
) -> Result<usize> {
    let block = problem.settings.block_voxels.max(1);
    let workers = n_workers.max(1);
    // As many tiles for every worker.
    let rounds = n_voxels.div_ceil(workers * MAX_TILE_VOXELS.max(block)).max(1);
    let share = n_voxels.div_ceil(workers * rounds).next_multiple_of(block);
    let (kept, at_once) = other.map_or((0, 0), FitTile::voxel_bytes);
    let per_voxel = CpuEngine::tile_bytes(problem, 1).max(1) + kept + at_once;
    // A study of fewer voxels than a block is one tile, no wider than they are.
    let at_work = workers.min(n_voxels.div_ceil(block)).max(1);
    let least = block.min(n_voxels.next_multiple_of(PANEL)).max(1) * per_voxel * at_work;
    if budget_bytes < least {
        return Err(Error::TooLarge {
            what: format!("a tile of {} voxels on {at_work} threads", block.min(n_voxels)),
            needed: format!("{} MiB", least >> 20),
            available: format!("{} MiB", budget_bytes >> 20),
            hint: "raise --memory, lower --threads, or use fewer columns".into(),
        });
    }
    let fit = budget_bytes.min(MOST_TILE_BYTES) / (per_voxel * at_work) / block * block;
    Ok(share.min(fit.max(block)))
}

/// Other fits that each of `n_workers` has at work at once: all threads have something to do, within
/// `budget_bytes` for tiles of `width`. `voxel_bytes`: of the tile, and of a fit at work.
fn fits_at_once(
    (width, n_workers): (usize, usize),
    n_threads: usize,
    voxel_bytes: (usize, usize),
    budget_bytes: usize,
) -> usize {
    let voxels = (width * n_workers).max(1);
    let spare = budget_bytes.saturating_sub(voxels * voxel_bytes.0);
    (n_threads / n_workers.max(1)).min(spare / (voxels * voxel_bytes.1).max(1)).max(1)
}

/// Tiles of `n_voxels`: as few as keep within `width`, whole blocks of `block_voxels`, as even as
/// blocks allow, a multiple of `n_workers` if there are that many blocks.
pub fn tiles(n_voxels: usize, width: usize, block: usize, n_workers: usize) -> Vec<Range<usize>> {
    let block = block.max(1);
    let n_blocks = n_voxels.div_ceil(block);
    let at_least = n_voxels.div_ceil(width.max(1));
    let n_tiles = at_least.next_multiple_of(n_workers.max(1)).min(n_blocks);
    let border = |i: usize| (i * n_blocks / n_tiles.max(1) * block).min(n_voxels);
    (0..n_tiles).map(|i| border(i)..border(i + 1)).collect()
}

/// Runs `tiles`; returns the seconds of each stage over all workers.
///
/// Where reading a block was slow, the source is asked to get the next one ready while this one is
/// worked on, and the first ones of the next tile while this tile is solved.
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
    let next_tile = || tiles.get(next.fetch_add(1, Ordering::Relaxed)).cloned();
    if tiles.is_empty() {
        return Ok(StageSeconds::new());
    }
    let loaded = Loaded::new(problem, run.device)?;
    let n_at_work = n_workers(run.device, run.n_threads).clamp(1, tiles.len());
    let width = tiles.iter().map(Range::len).max().unwrap_or(0);
    let other = run.other.map(|(other, budget_bytes)| {
        let (kept, fit) = FitTile::voxel_bytes(other);
        let bytes = (CpuEngine::tile_bytes(problem, 1) + kept, fit);
        (other, fits_at_once((width, n_at_work), run.n_threads, bytes, budget_bytes))
    });
    // The first failure counts; others stop because of it.
    let fail = |error: Error| {
        if !failed.swap(true, Ordering::Relaxed) {
            *lock() = Err(error);
        }
    };
    std::thread::scope(|scope| {
        for index in 0..n_at_work {
            let (loaded, fail, failed, next_tile, lock) =
                (&loaded, &fail, &failed, &next_tile, &lock);
            scope.spawn(move || {
                let engine = match loaded.engine(index) {
                    Ok(engine) => engine,
                    Err(error) => return fail(error),
                };
                let stop = [run.cancel, failed];
                let mut worker = Worker::new(problem, engine, source, sink, stop, other);
                if let Err(error) = worker.run_all(next_tile, run) {
                    return fail(error);
                }
                if let Ok(total) = lock().as_mut() {
                    worker.add_seconds(total);
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Two parts of a tile, whole blocks of voxels, the first at least as long.
fn halves(voxels: Range<usize>, block: usize) -> [Range<usize>; 2] {
    let middle = voxels.start + (voxels.len().div_ceil(2)).next_multiple_of(block);
    let middle = middle.min(voxels.end);
    [voxels.start..middle, middle..voxels.end]
}

/// Reading that is slower than this is worth being asked for in advance.
const SLOW_BYTES_PER_S: f64 = 1e9;
/// Blocks of the next tile that are asked for while a tile is solved.
const BLOCKS_AHEAD: usize = 8;

struct Worker<'a> {
    problem: &'a Problem,
    source: &'a dyn BoldSource,
    sink: &'a dyn TileSink,
    stop: [&'a AtomicBool; 2],
    engine: Box<dyn Engine + 'a>,
    other: Option<(&'a OtherFits, usize, FitTile<'a>)>,
    /// Tiles wider than this did not fit the device.
    widest: usize,
    buffer: Vec<f32>,
    reads_slowly: bool,
    read_seconds: f64,
    write_seconds: f64,
    other_seconds: f64,
}

impl<'a> Worker<'a> {
    fn new(
        problem: &'a Problem,
        engine: Box<dyn Engine + 'a>,
        source: &'a dyn BoldSource,
        sink: &'a dyn TileSink,
        stop: [&'a AtomicBool; 2],
        other: Option<(&'a OtherFits, usize)>,
    ) -> Self {
        Self {
            problem,
            source,
            sink,
            stop,
            engine,
            other: other.map(|(other, at_once)| (other, at_once, FitTile::new(other))),
            widest: usize::MAX,
            buffer: Vec::new(),
            reads_slowly: false,
            read_seconds: 0.0,
            write_seconds: 0.0,
            other_seconds: 0.0,
        }
    }

    /// Takes tiles until there are none. One that does not fit the device is cut in two, and so are
    /// all that come after; nothing of it was written before.
    fn run_all(
        &mut self,
        next_tile: &(dyn Fn() -> Option<Range<usize>> + Sync),
        run: &TileRun<'_>,
    ) -> Result<()> {
        let block = self.problem.settings.block_voxels.max(1);
        let mut waiting: Vec<Range<usize>> = next_tile().into_iter().collect();
        while let Some(voxels) = waiting.pop() {
            let n = voxels.len();
            if n > self.widest {
                waiting.extend(halves(voxels, block));
                continue;
            }
            match self.run(voxels.clone(), next_tile, &mut waiting) {
                Ok(()) => (run.progress)(n),
                Err(error @ Error::DeviceMemory { .. }) if n > block => {
                    self.engine.release();
                    self.widest = halves(voxels.clone(), block)[0].len();
                    (run.note)(&format!("{error}: tiles of {} voxels instead of {n}", self.widest));
                    waiting.push(voxels);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Solves one tile. The next one is taken, and put to those that are `waiting`, before this one
    /// is solved.
    fn run(
        &mut self,
        voxels: Range<usize>,
        next_tile: &(dyn Fn() -> Option<Range<usize>> + Sync),
        waiting: &mut Vec<Range<usize>>,
    ) -> Result<()> {
        let width = voxels.len();
        let (n_train, n_test) = (self.problem.blocks.len(), self.problem.test_blocks.len());
        self.engine.begin(width)?;
        if let Some((_, _, tile)) = &mut self.other {
            tile.begin(width)?;
        }
        for index in 0..n_train {
            self.read(self.problem.blocks[index].n_rows * width, |source, out| {
                source.read_train(index, voxels.clone(), out)
            })?;
            if self.reads_slowly && index + 1 < n_train {
                self.source.expect_train(index + 1, voxels.clone());
            }
            self.engine.add_train(index, &self.buffer)?;
            self.keep(index)?;
        }
        if waiting.is_empty() {
            waiting.extend(next_tile());
        }
        if let (true, Some(tile)) = (self.reads_slowly, waiting.last()) {
            for index in 0..n_train.min(BLOCKS_AHEAD) {
                self.source.expect_train(index, tile.clone());
            }
        }
        self.engine.solve()?;
        let wants_predictions = self.sink.wants_predictions();
        for index in 0..n_test {
            self.read(self.problem.test_blocks[index] * width, |source, out| {
                source.read_test(index, voxels.clone(), out)
            })?;
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
            self.keep(n_train + index)?;
        }
        let others = self.run_others()?;
        let counts = self.engine.counts();
        let (models, tests) = self.engine.results()?;
        let clock = Instant::now();
        self.sink.write(SolvedTile { voxels, models, tests, others: &others, counts })?;
        self.write_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// Keeps the block that was read for the other fits.
    fn keep(&mut self, slot: usize) -> Result<()> {
        let clock = Instant::now();
        if let Some((_, _, tile)) = &mut self.other {
            tile.add(slot, &self.buffer)?;
        }
        self.other_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// Test scores of every other fit.
    fn run_others(&mut self) -> Result<Vec<Vec<TestTile>>> {
        let clock = Instant::now();
        let mut scores = Vec::new();
        if let Some((other, at_once, tile)) = &mut self.other {
            for fits in other.fits.chunks(*at_once) {
                check_stopped(&self.stop)?;
                scores.extend(tile.run(fits)?);
            }
        }
        self.other_seconds += clock.elapsed().as_secs_f64();
        Ok(scores)
    }

    fn read(
        &mut self,
        len: usize,
        read: impl FnOnce(&dyn BoldSource, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        check_stopped(&self.stop)?;
        let clock = Instant::now();
        self.buffer.resize(len, 0.0);
        let done = read(self.source, &mut self.buffer);
        let seconds = clock.elapsed().as_secs_f64();
        self.read_seconds += seconds;
        // Once slow, always asked for: blocks that were asked for come quickly.
        let rate = (len * size_of::<f32>()) as f64 / seconds.max(1e-9);
        self.reads_slowly |= rate < SLOW_BYTES_PER_S && len > 1 << 12;
        done
    }

    fn add_seconds(&self, total: &mut StageSeconds) {
        let mut stages = vec![("read", self.read_seconds)];
        stages.extend(self.engine.stage_seconds());
        stages.push(("write", self.write_seconds));
        stages.push(("other fits", self.other_seconds));
        if total.is_empty() {
            *total = stages;
        } else {
            total.iter_mut().zip(stages).for_each(|(sum, (_, seconds))| sum.1 += seconds);
        }
    }
}

fn check_stopped(stop: &[&AtomicBool]) -> Result<()> {
    match stop.iter().any(|stop| stop.load(Ordering::Relaxed)) {
        true => Err(Error::Interrupted),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_whole_blocks_and_get_down_to_one() {
        for n in [513, 1024, 1025, 4096, 95_556] {
            let mut tile = 512..512 + n;
            while tile.len() > 512 {
                let [first, second] = halves(tile.clone(), 512);
                assert_eq!(
                    (first.start, first.end, second.end),
                    (tile.start, second.start, tile.end)
                );
                assert!(first.len() % 512 == 0 && first.len() < tile.len() && !second.is_empty());
                assert!(first.len() >= second.len());
                tile = first;
            }
        }
    }

    #[test]
    fn idle_threads_take_fits_as_memory_allows() {
        let at_once = |tile, n_threads, budget| fits_at_once(tile, n_threads, (100, 50), budget);
        assert_eq!(at_once((64, 1), 8, usize::MAX), 8);
        assert_eq!(at_once((64, 3), 8, usize::MAX), 2);
        assert_eq!(at_once((64, 8), 8, usize::MAX), 1);
        // 6,400 bytes of the tile, 3,200 of each fit.
        assert_eq!(at_once((64, 1), 8, 6400 + 3 * 3200), 3);
        assert_eq!(at_once((64, 2), 8, 2 * (6400 + 3 * 3200)), 3);
        assert_eq!(at_once((64, 1), 8, 6400 + 3199), 1);
        assert_eq!(at_once((0, 1), 8, 0), 1);
    }

    #[test]
    fn tiles_cover_every_voxel_in_even_whole_blocks() {
        for (n, width, workers) in
            [(8000, 4096, 2), (30_000, 4096, 2), (1, 512, 4), (513, 512, 2), (95_556, 4096, 3)]
        {
            let tiles = tiles(n, width, 512, workers);
            assert_eq!(tiles[0].start, 0);
            assert_eq!(tiles[tiles.len() - 1].end, n);
            assert!(tiles.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(tiles.iter().all(|t| t.start % 512 == 0 && t.len() <= width && !t.is_empty()));
            let (least, most) = (tiles.iter().map(ExactSizeIterator::len).min(), tiles[0].len());
            assert!(tiles.len() < workers || most <= least.unwrap_or(0) + 1024);
        }
        assert!(tiles(0, 512, 512, 2).is_empty());
    }
}
