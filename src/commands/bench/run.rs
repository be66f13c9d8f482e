//! Times the problem.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::work::{Work, path_flop, work};
use super::yardstick::{Form, best_xty, peak_f32, peak_f64};
use super::{BenchProblem, Synthetic};
use crate::backend::device::Device;
use crate::backend::{PathSettings, n_workers};
use crate::error::Result;
use crate::product::amx;
use crate::reporter::Reporter;
use crate::resources::{available_bytes, peak_bytes};
use crate::ridge::route::{Sizes, choose};
use crate::ridge::{AlphaGrid, ModelSpec, Route, Solver, prepare};
use crate::solve::tiles::{
    BoldSource, SolvedTile, StageSeconds, TileRun, TileSink, run_tiles, tile_width, tiles,
};

/// What is timed, and with what.
#[derive(Debug, Clone)]
pub struct BenchJob {
    /// The problem.
    pub problem: BenchProblem,
    /// Route to the solution.
    pub solver: Solver,
    /// Times that the whole is solved; the quickest counts.
    pub n_repeats: usize,
    /// Where the tiles are solved.
    pub device: Device,
    /// Threads.
    pub n_threads: usize,
    /// Memory for tiles, in bytes.
    pub memory_bytes: u64,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// Name.
    pub name: &'static str,
    /// Seconds, averaged over the threads that share it.
    pub seconds: f64,
    /// Operations over those seconds, where they can be counted.
    pub gflop_per_s: Option<f64>,
    /// Share of the peak of the same precision.
    pub share_of_peak: Option<f64>,
    /// Bytes over those seconds, for stages that only move data.
    pub gb_per_s: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchResults {
    /// The sizes.
    #[serde(flatten)]
    pub problem: BenchProblem,
    /// Threads.
    pub n_threads: usize,
    /// Route taken.
    pub solver: String,
    /// Cross-validation and refit from matrices in memory to weights in memory, the best repeat.
    pub seconds: f64,
    /// Every repeat.
    pub all_seconds: Vec<f64>,
    /// What the solver's f32 products are made of.
    pub products: &'static str,
    /// One XᵀY of the same size in f32 units, all threads, at its best.
    pub xty_seconds: f64,
    /// The form that was quickest.
    pub xty_form: String,
    /// `seconds / xty_seconds`.
    pub gemm_ratio: f64,
    /// Voxels over `seconds`.
    pub voxels_per_s: f64,
    /// f32 products, whatever they are made of: the best of those that stay in cache and of XᵀY.
    pub peak_gflop_per_s: f64,
    /// f64 products.
    pub peak_f64_gflop_per_s: f64,
    /// Vectors of the alpha basis, over all groups of components.
    pub basis_rank: usize,
    /// Mean over voxels of the best CV score: the same on any number of threads.
    pub mean_cv_score: f64,
    /// Largest resident memory of the process until the last repeat was over, the problem's own
    /// matrices included.
    pub peak_memory_bytes: u64,
    /// Bytes of BOLD and design in it.
    pub problem_bytes: u64,
    /// Where the time of the best repeat went; `other` is what no stage accounts for.
    pub stages: Vec<Stage>,
}

/// Makes a synthetic problem, solves it, and measures the machine.
/// # Errors
/// `Error::TooLarge` if the route or a tile does not fit.
pub fn run(job: &BenchJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<BenchResults> {
    let (problem, n_threads) = (job.problem, job.n_threads);
    let sizes = Sizes {
        n_rows: problem.n_trs,
        n_test: 0,
        n_coefs: problem.n_features,
        n_voxels: problem.n_voxels,
        n_folds: problem.n_folds,
        n_threads,
    };
    let (route, solver) =
        choose(job.solver, sizes, n_threads, job.memory_bytes as f64, "the synthetic problem")?;
    problem.check_memory(available_bytes())?;
    reporter.step("making the problem");
    let data = Synthetic::new(problem);
    let mut best: Option<Solved> = None;
    let mut all_seconds = Vec::new();
    for _ in 0..job.n_repeats.max(1) {
        let solved = solve(job, &data, route, reporter, cancel)?;
        all_seconds.push(solved.seconds);
        if best.as_ref().is_none_or(|best| solved.seconds < best.seconds) {
            best = Some(solved);
        }
    }
    let solved = best.expect("at least one repeat");
    let peak_memory_bytes = peak_bytes();
    reporter.step("measuring the machine");
    let (xty_seconds, xty_form) = xty(&job.device, &data, n_threads)?;
    let flop = 2.0 * problem.n_trs as f64 * data.x.ncols() as f64 * problem.n_voxels as f64;
    let cores = if job.device == Device::Cpu { peak_f32(n_threads) } else { 0.0 };
    let peak32 = cores.max(flop / xty_seconds / 1e9);
    let peak64 = peak_f64(n_threads);
    let values = data.x.len() + data.y.len() + data.base.iter().map(|x| x.len()).sum::<usize>();
    Ok(BenchResults {
        problem,
        n_threads,
        solver,
        seconds: solved.seconds,
        all_seconds,
        products: match job.device {
            Device::Cpu if amx::is_available() => "bf16 tiles (AMX), f32 in three parts",
            _ => "f32 units",
        },
        xty_seconds,
        xty_form,
        gemm_ratio: solved.seconds / xty_seconds,
        voxels_per_s: problem.n_voxels as f64 / solved.seconds,
        peak_gflop_per_s: peak32,
        peak_f64_gflop_per_s: peak64,
        basis_rank: solved.basis_rank,
        mean_cv_score: solved.mean_cv_score,
        peak_memory_bytes,
        problem_bytes: 4 * values as u64,
        stages: stages(&problem, route, &solved, (peak32, peak64)),
    })
}

/// Seconds of one XᵀY on the device at hand, and how it is done.
fn xty(device: &Device, data: &Synthetic, n_threads: usize) -> Result<(f64, String)> {
    match device {
        Device::Cpu => {
            let (seconds, form) = best_xty(&data.x, &data.y, n_threads);
            let form = match form {
                Form::Whole => "one general product".into(),
                Form::Tiles { width, rows: usize::MAX } => {
                    format!("general, {width} voxels a tile")
                }
                Form::Tiles { width, rows } => {
                    format!("general, {width} voxels × {rows} rows a tile")
                }
                Form::Own { width } => format!("own products, {width} voxels a tile"),
            };
            Ok((seconds, form))
        }
        #[cfg(feature = "cuda")]
        Device::Cuda { ordinals, .. } => {
            let x = data.x.as_standard_layout();
            let y = data.y.as_standard_layout();
            let (x, y) = (x.as_slice().unwrap_or_default(), y.as_slice().unwrap_or_default());
            let seconds = crate::backend::gpu::xty_seconds(ordinals[0], x, y, data.x.nrows())?;
            Ok((seconds, format!("cuBLAS SGEMM on cuda:{}", ordinals[0])))
        }
    }
}

/// One repeat.
struct Solved {
    seconds: f64,
    stages: StageSeconds,
    basis_rank: usize,
    path_flop: f64,
    mean_cv_score: f64,
}

fn solve(
    job: &BenchJob,
    data: &Synthetic,
    route: Route,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<Solved> {
    let (problem, n_threads) = (job.problem, job.n_threads);
    let alphas = AlphaGrid::logspace(0.0, 6.0, problem.n_alphas)?;
    let (space, blocks) = (data.space(), data.blocks());
    let spec =
        ModelSpec { space: 0, delays: space.delays.clone(), route, wants_coef: true, bands: None };
    let settings = PathSettings::new(alphas.values().to_vec());

    let clock = Instant::now();
    let (loaded, _) = prepare(vec![space], &[spec], blocks, vec![], problem.n_folds, settings)?;
    let prepare_seconds = clock.elapsed().as_secs_f64();
    reporter.start("voxels", problem.n_voxels as u64);
    let progress = |n: usize| reporter.advance(n as u64);
    let budget = (job.memory_bytes / 2) as usize;
    let width = tile_width(&loaded, &job.device, problem.n_voxels, n_threads, budget, None)?;
    let block = loaded.settings.block_voxels;
    let workers = n_workers(&job.device, n_threads);
    let tiles = tiles(problem.n_voxels, width, block, workers);
    let sink = MemorySink::new(&problem);
    let note = |text: &str| reporter.note(text);
    let device = &job.device;
    let run = TileRun { device, n_threads, cancel, progress: &progress, note: &note, other: None };
    let by_stage = run_tiles(&loaded, &MemorySource(data), &sink, &tiles, &run)?;
    let seconds = clock.elapsed().as_secs_f64();
    reporter.finish();

    let n_workers = workers.min(tiles.len()) as f64;
    let mut stages = vec![("prepare", prepare_seconds)];
    // Nothing is tested here, and no bands are searched.
    let absent = ["score", "permute", "points", "other fits"];
    let timed = by_stage.into_iter().filter(|(name, _)| !absent.contains(name));
    stages.extend(timed.map(|(name, total)| (name, total / n_workers)));
    let known: f64 = stages.iter().map(|(_, seconds)| seconds).sum();
    stages.push(("other", (seconds - known).max(0.0)));
    let results = sink.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Solved {
        seconds,
        stages,
        basis_rank: results.basis_rank,
        path_flop: path_flop(&loaded)?,
        mean_cv_score: results.mean_cv_score(),
    })
}

fn stages(
    problem: &BenchProblem,
    route: Route,
    solved: &Solved,
    (peak32, peak64): (f64, f64),
) -> Vec<Stage> {
    let stage = |&(name, seconds): &(&'static str, f64)| {
        let rate = |work: f64| (seconds > 0.0).then(|| work / seconds / 1e9);
        let (gflop_per_s, peak, gb_per_s) = match work(name, problem, route, solved.path_flop) {
            Work::Flop32(flop) => (rate(flop), peak32, None),
            Work::Flop64(flop) => (rate(flop), peak64, None),
            Work::Bytes(bytes) => (None, 1.0, rate(bytes)),
            Work::Unknown => (None, 1.0, None),
        };
        let share_of_peak = gflop_per_s.map(|rate| rate / peak);
        Stage { name, seconds, gflop_per_s, share_of_peak, gb_per_s }
    };
    solved.stages.iter().map(stage).collect()
}

/// BOLD in memory, row-major.
struct MemorySource<'a>(&'a Synthetic);

impl BoldSource for MemorySource<'_> {
    fn n_voxels(&self) -> usize {
        self.0.y.ncols()
    }

    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let (all, n_voxels) = (self.0.y.as_slice().unwrap_or_default(), self.0.y.ncols());
        let rows = self.0.stories[block].clone();
        for (row, to) in rows.zip(out.chunks_exact_mut(voxels.len())) {
            to.copy_from_slice(&all[row * n_voxels + voxels.start..][..voxels.len()]);
        }
        Ok(())
    }

    fn read_test(&self, _: usize, _: Range<usize>, _: &mut [f32]) -> Result<()> {
        Ok(())
    }
}

/// Results in memory, voxels side by side as they are written to files.
struct MemorySink(Mutex<Results>);

struct Results {
    n_voxels: usize,
    /// `(n_alphas, n_voxels)`.
    cv_scores: Vec<f32>,
    /// `(n_voxels)`; index into the alphas.
    best: Vec<Option<usize>>,
    /// `(n_features, n_voxels)`.
    coef: Vec<f32>,
    /// `(n_voxels)`.
    intercept: Vec<f32>,
    basis_rank: usize,
}

impl MemorySink {
    fn new(problem: &BenchProblem) -> Self {
        let v = problem.n_voxels;
        Self(Mutex::new(Results {
            n_voxels: v,
            cv_scores: vec![0.0; problem.n_alphas * v],
            best: vec![None; v],
            coef: vec![0.0; problem.n_features * v],
            intercept: vec![0.0; v],
            basis_rank: 0,
        }))
    }
}

impl TileSink for MemorySink {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Results { n_voxels, cv_scores, best, coef, intercept, basis_rank } = &mut *results;
        let (n_voxels, voxels) = (*n_voxels, tile.voxels);
        let place = |all: &mut [f32], rows: &[f32]| {
            let rows = rows.chunks_exact(voxels.len());
            for (all, row) in all.chunks_exact_mut(n_voxels).zip(rows) {
                all[voxels.clone()].copy_from_slice(row);
            }
        };
        for model in tile.models {
            place(cv_scores, &model.cv_scores);
            place(coef, &model.coef);
            place(intercept, &model.intercept);
            best[voxels.clone()].copy_from_slice(&model.best);
            *basis_rank = (*basis_rank).max(model.basis_rank);
        }
        Ok(())
    }
}

impl Results {
    fn mean_cv_score(&self) -> f64 {
        let scores = self.best.iter().enumerate().filter_map(|(v, best)| {
            best.map(|alpha| f64::from(self.cv_scores[alpha * self.n_voxels + v]))
        });
        let (n, sum) = scores.fold((0, 0.0), |(n, sum), score| (n + 1, sum + score));
        if n == 0 { f64::NAN } else { sum / f64::from(n) }
    }
}
