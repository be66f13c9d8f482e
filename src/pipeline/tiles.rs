//! Voxel tiles over the cores: read, solve, score, write.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
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
/// Every worker has a thread that reads ahead of it: the next rows come from disk while a product
/// runs, and while a tile is solved the first rows of the next one. So `read` overlaps with the
/// other stages; what a worker waits for it is `wait`.
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
    let reader = Reader { problem, source, tiles, next: &next, stop: &[run.cancel, &failed] };
    std::thread::scope(|scope| {
        for _ in 0..run.n_workers.clamp(1, tiles.len().max(1)) {
            let (to_worker, incoming) = mpsc::sync_channel(N_BUFFERS - 2);
            let (recycle, empty) = mpsc::channel();
            let reading = scope.spawn(|| reader.run(to_worker, empty));
            let (failed, lock) = (&failed, &lock);
            scope.spawn(move || {
                let mut worker = Worker::new(problem, sink, incoming, recycle);
                let done = worker.run_all(run.progress);
                let seconds = worker.stage_seconds();
                drop(worker); // the reader stops when nobody listens
                let read_seconds = reading.join().unwrap_or_default();
                match done {
                    Ok(()) => {
                        if let Ok(total) = lock().as_mut() {
                            add_seconds(total, read_seconds, seconds);
                        }
                    }
                    // The first failure counts; others stop because of it.
                    Err(error) if !failed.swap(true, Ordering::Relaxed) => *lock() = Err(error),
                    Err(_) => {}
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Buffers of one block that travel between a worker and its reader: one is filled, one waits, one
/// is worked on.
pub const N_BUFFERS: usize = 3;

/// What a reader hands over: a tile, then its blocks in order.
enum Incoming {
    Tile(Range<usize>),
    Rows(Vec<f32>),
    Failed(Error),
}

/// Reads ahead for one worker.
struct Reader<'a> {
    problem: &'a Problem,
    source: &'a dyn BoldSource,
    tiles: &'a [Range<usize>],
    next: &'a AtomicUsize,
    stop: &'a [&'a AtomicBool],
}

impl Reader<'_> {
    /// Reads tile after tile until there are no more or the worker is gone; seconds spent reading.
    fn run(&self, to_worker: SyncSender<Incoming>, empty: Receiver<Vec<f32>>) -> f64 {
        let mut seconds = 0.0;
        let mut n_made = 0;
        let mut buffer = || match empty.try_recv() {
            Ok(buffer) => Some(buffer),
            Err(_) if n_made < N_BUFFERS => {
                n_made += 1;
                Some(Vec::new())
            }
            Err(_) => empty.recv().ok(),
        };
        while let Some(tile) = self.tiles.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if to_worker.send(Incoming::Tile(tile.clone())).is_err() {
                return seconds;
            }
            let train = self.problem.blocks.iter().map(|block| block.n_rows).enumerate();
            let test = self.problem.test_blocks.iter().copied().enumerate();
            let blocks = train.map(|block| (true, block)).chain(test.map(|block| (false, block)));
            for (is_train, (index, n_rows)) in blocks {
                let Some(mut rows) = buffer() else { return seconds };
                let clock = Instant::now();
                rows.resize(n_rows * tile.len(), 0.0);
                let done = match self.stop.iter().any(|stop| stop.load(Ordering::Relaxed)) {
                    true => Err(Error::Interrupted),
                    false if is_train => self.source.read_train(index, tile.clone(), &mut rows),
                    false => self.source.read_test(index, tile.clone(), &mut rows),
                };
                seconds += clock.elapsed().as_secs_f64();
                let failed = done.is_err();
                let message = done.map_or_else(Incoming::Failed, |()| Incoming::Rows(rows));
                if to_worker.send(message).is_err() || failed {
                    return seconds;
                }
            }
        }
        seconds
    }
}

struct Worker<'a> {
    problem: &'a Problem,
    sink: &'a dyn TileSink,
    engine: CpuEngine<'a>,
    incoming: Receiver<Incoming>,
    recycle: Sender<Vec<f32>>,
    wait_seconds: f64,
    write_seconds: f64,
}

impl<'a> Worker<'a> {
    fn new(
        problem: &'a Problem,
        sink: &'a dyn TileSink,
        incoming: Receiver<Incoming>,
        recycle: Sender<Vec<f32>>,
    ) -> Self {
        let engine = CpuEngine::new(problem);
        let (wait_seconds, write_seconds) = (0.0, 0.0);
        Self { problem, sink, engine, incoming, recycle, wait_seconds, write_seconds }
    }

    fn run_all(&mut self, progress: &(dyn Fn(usize) + Sync)) -> Result<()> {
        while let Ok(incoming) = self.incoming.recv() {
            match incoming {
                Incoming::Tile(voxels) => {
                    let n = voxels.len();
                    self.run(voxels)?;
                    progress(n);
                }
                Incoming::Failed(error) => return Err(error),
                Incoming::Rows(_) => unreachable!("blocks follow their tile"),
            }
        }
        Ok(())
    }

    fn run(&mut self, voxels: Range<usize>) -> Result<()> {
        self.engine.begin(voxels.len())?;
        for index in 0..self.problem.blocks.len() {
            let rows = self.rows()?;
            self.engine.add_train(index, &rows)?;
            let _ = self.recycle.send(rows);
        }
        self.engine.solve()?;
        let wants_predictions = self.sink.wants_predictions();
        for index in 0..self.problem.test_blocks.len() {
            let rows = self.rows()?;
            let mut written = Ok(());
            let mut write = |model: usize, bold: &[f32]| {
                if written.is_ok() {
                    written = self.sink.write_predictions(model, index, voxels.clone(), bold);
                }
            };
            let hand_out: Option<&mut TakePrediction<'_>> =
                if wants_predictions { Some(&mut write) } else { None };
            self.engine.add_test(index, &rows, hand_out)?;
            written?;
            let _ = self.recycle.send(rows);
        }
        let counts = self.engine.counts();
        let (models, tests) = self.engine.results()?;
        let clock = Instant::now();
        self.sink.write(SolvedTile { voxels, models, tests, counts })?;
        self.write_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// The next block's rows.
    fn rows(&mut self) -> Result<Vec<f32>> {
        let clock = Instant::now();
        let incoming = self.incoming.recv();
        self.wait_seconds += clock.elapsed().as_secs_f64();
        match incoming {
            Ok(Incoming::Rows(rows)) => Ok(rows),
            Ok(Incoming::Failed(error)) => Err(error),
            Ok(Incoming::Tile(_)) | Err(_) => Err(Error::Interrupted),
        }
    }

    fn stage_seconds(&self) -> StageSeconds {
        let mut stages = vec![("wait", self.wait_seconds)];
        stages.extend(self.engine.stage_seconds());
        stages.push(("write", self.write_seconds));
        stages
    }
}

fn add_seconds(total: &mut StageSeconds, read_seconds: f64, mut stages: StageSeconds) {
    stages.insert(0, ("read", read_seconds));
    if total.is_empty() {
        *total = stages;
    } else {
        total.iter_mut().zip(stages).for_each(|(sum, (_, seconds))| sum.1 += seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
