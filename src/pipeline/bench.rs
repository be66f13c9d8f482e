//! `voxelcast bench`: how fast this machine cross-validates, stage by stage, against one f32 XᵀY.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::Serialize;

use super::memory::peak_bytes;
use super::reporter::Reporter;
use super::tiles::{BoldSource, SolvedTile, TileRun, TileSink, run_tiles, tile_width, tiles};
use crate::backend::{Block, PathSettings, Space};
use crate::error::Result;
use crate::matrix::StoryDesign;
use crate::ridge::{AlphaGrid, ModelSpec, Route, prepare};

/// The problem that is timed.
#[derive(Debug, Clone, Copy)]
pub struct BenchJob {
    /// Rows.
    pub n_trs: usize,
    /// Columns.
    pub n_features: usize,
    /// Voxels.
    pub n_voxels: usize,
    /// Folds.
    pub n_folds: usize,
    /// Alphas, 10^0 … 10^6.
    pub n_alphas: usize,
    /// Threads.
    pub n_threads: usize,
    /// Memory for tiles, in bytes.
    pub memory_bytes: u64,
}

/// One stage.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// Name.
    pub name: String,
    /// Seconds, averaged over the threads that share it.
    pub seconds: f64,
    /// Operations over those seconds, where they can be counted.
    pub gflop_per_s: Option<f64>,
    /// Share of the peak of the same precision.
    pub share_of_peak: Option<f64>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct BenchResults {
    /// Rows, columns, voxels, folds, alphas.
    pub n_trs: usize,
    /// Columns.
    pub n_features: usize,
    /// Voxels.
    pub n_voxels: usize,
    /// Folds.
    pub n_folds: usize,
    /// Alphas.
    pub n_alphas: usize,
    /// Threads.
    pub n_threads: usize,
    /// Cross-validation and refit from matrices in memory to weights in memory.
    pub seconds: f64,
    /// One XᵀY of the same size, all threads.
    pub xty_seconds: f64,
    /// `seconds / xty_seconds`.
    pub gemm_ratio: f64,
    /// Voxels over `seconds`.
    pub voxels_per_s: f64,
    /// f32 products, measured on a square one.
    pub peak_gflop_per_s: f64,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest resident memory of the process.
    pub peak_memory_bytes: u64,
    /// Where the time went.
    pub stages: Vec<Stage>,
}

/// Times a synthetic problem; `progress` as in `run`.
/// # Errors
/// `Error::TooLarge` if a tile does not fit.
pub fn run(job: &BenchJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<BenchResults> {
    let BenchJob { n_trs, n_features, n_voxels, n_folds, n_alphas, n_threads, .. } = *job;
    reporter.step("making the problem");
    let x = random(n_trs, n_features, 1);
    let y = random(n_trs, n_voxels, 2);
    let peak = peak_gflops(n_threads);
    let xty_seconds = (0..2).map(|_| time_xty(&x, &y, n_threads)).fold(f64::MAX, f64::min);

    let clock = Instant::now();
    let per_block = n_trs.div_ceil(n_folds).div_ceil(n_trs.div_ceil(n_folds).div_ceil(1024));
    let (mut blocks, mut rows): (Vec<Block>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    for fold in 0..n_folds {
        let whole = fold * n_trs / n_folds..(fold + 1) * n_trs / n_folds;
        for start in whole.clone().step_by(per_block.max(1)) {
            let range = start..(start + per_block).min(whole.end);
            blocks.push(Block { fold, n_rows: range.len() });
            rows.push(range);
        }
    }
    let cut = |range: &Range<usize>| {
        StoryDesign::Dense(x.slice(ndarray::s![range.clone(), ..]).to_owned())
    };
    let space = Space {
        delays: vec![0],
        n_features,
        train: rows.iter().map(cut).collect(),
        ..Space::default()
    };
    let spec = ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: true };
    let alphas = AlphaGrid::logspace(0.0, 6.0, n_alphas)?;
    let settings = PathSettings::new(alphas.values().to_vec());
    let (problem, _) = prepare(vec![space], &[spec], blocks, vec![], n_folds, settings)?;
    let prepare_seconds = clock.elapsed().as_secs_f64();
    reporter.start("voxels", n_voxels as u64);
    let progress = |n: usize| reporter.advance(n as u64);
    let width = tile_width(&problem, n_voxels, n_threads, (job.memory_bytes / 2) as usize)?;
    let source = MemorySource { y: &y, rows: &rows };
    let sink = RankSink::default();
    let run = TileRun { n_workers: n_threads, cancel, progress: &progress };
    let stage_seconds = run_tiles(&problem, &source, &sink, &tiles(n_voxels, width), &run)?;
    reporter.finish();
    let seconds = clock.elapsed().as_secs_f64();

    let basis_rank = sink.0.load(std::sync::atomic::Ordering::Relaxed);
    let (n, p, v) = (n_trs as f64, n_features as f64, n_voxels as f64);
    let (k, r) = (n_folds as f64, basis_rank as f64);
    let work = |name: &str| match name {
        "xty" => Some(2.0 * n * p * v),
        "rotate" => Some(4.0 * k * p * p * v),
        "path" => Some(k * v * (r * p * p + r * (r + 1.0) * p + 2.0 * n_alphas as f64 * p)),
        "refit" => Some(4.0 * p * p * v),
        _ => None,
    };
    let mut stages = vec![Stage {
        name: "prepare".into(),
        seconds: prepare_seconds,
        gflop_per_s: None,
        share_of_peak: None,
    }];
    for (name, total) in stage_seconds {
        let seconds = total / n_threads as f64;
        let rate = work(name).map(|flop| flop / seconds.max(1e-9) / 1e9);
        stages.push(Stage {
            name: name.into(),
            seconds,
            gflop_per_s: rate,
            share_of_peak: rate.map(|rate| rate / peak),
        });
    }
    Ok(BenchResults {
        n_trs,
        n_features,
        n_voxels,
        n_folds,
        n_alphas,
        n_threads,
        seconds,
        xty_seconds,
        gemm_ratio: seconds / xty_seconds,
        voxels_per_s: v / seconds,
        peak_gflop_per_s: peak,
        basis_rank,
        peak_memory_bytes: peak_bytes(),
        stages,
    })
}

fn random(rows: usize, cols: usize, seed: u64) -> Array2<f32> {
    let mut out = Array2::<f32>::zeros((rows, cols));
    let values = out.as_slice_mut().unwrap_or_default();
    values.par_chunks_mut(1 << 16).enumerate().for_each(|(i, chunk)| {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed << 32 | i as u64);
        chunk.fill_with(|| rng.random_range(-1.7..1.7));
    });
    out
}

fn time_xty(x: &Array2<f32>, y: &Array2<f32>, n_threads: usize) -> f64 {
    let (n, p) = x.dim();
    let v = y.ncols();
    let mut out = vec![0f32; p * v];
    let x = MatRef::from_row_major_slice(x.as_slice().unwrap_or_default(), n, p);
    let y = MatRef::from_row_major_slice(y.as_slice().unwrap_or_default(), n, v);
    let clock = Instant::now();
    let c = MatMut::from_row_major_slice_mut(&mut out, p, v);
    matmul(c, Accum::Replace, x.transpose(), y, 1.0, Par::rayon(n_threads));
    clock.elapsed().as_secs_f64()
}

/// GFLOP/s of a square f32 product that fits the last-level cache, the best of three.
fn peak_gflops(n_threads: usize) -> f64 {
    const N: usize = 1536;
    let (a, b) = (random(N, N, 3), random(N, N, 4));
    let best = (0..3).map(|_| time_xty(&a, &b, n_threads)).fold(f64::MAX, f64::min);
    2.0 * (N as f64).powi(3) / best / 1e9
}

struct MemorySource<'a> {
    y: &'a Array2<f32>,
    rows: &'a [Range<usize>],
}

impl BoldSource for MemorySource<'_> {
    fn n_voxels(&self) -> usize {
        self.y.ncols()
    }

    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let all = self.y.as_slice().unwrap_or_default();
        let rows = self.rows[block].clone();
        for (row, to) in rows.zip(out.chunks_exact_mut(voxels.len())) {
            to.copy_from_slice(&all[row * self.y.ncols() + voxels.start..][..voxels.len()]);
        }
        Ok(())
    }

    fn read_test(&self, _: usize, _: Range<usize>, _: &mut [f32]) -> Result<()> {
        Ok(())
    }
}

/// Keeps the rank of the alpha basis; results are dropped.
#[derive(Default)]
struct RankSink(std::sync::atomic::AtomicUsize);

impl TileSink for RankSink {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let rank = tile.models.iter().map(|model| model.basis_rank).max().unwrap_or(0);
        self.0.fetch_max(rank, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}
