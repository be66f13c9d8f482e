//! One ridge: a design, a matrix of voxels, folds of rows; from files or from memory.

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;

use super::design::{Runs, ridge_design};
use super::matrix_tiles::MatrixTiles;
use super::outputs::{FittedArrays, Found, Outputs, RidgeSink};
use super::tiles::{BoldSource, TileRun, run_tiles, tile_width, tiles};
use crate::backend::device::Device;
use crate::backend::{Block, PathSettings, Problem, Scorer, n_workers};
use crate::error::Result;
use crate::reporter::Reporter;
use crate::ridge::conditioning::Conditioning;
use crate::ridge::edges::AlphaEdges;
use crate::ridge::route::{Sizes, choose, instead};
use crate::ridge::{AlphaGrid, BandSpec, ModelSpec, Route, Solver, prepare};
use crate::stats::mean;
use crate::warning::Warning;

/// How a ridge is fitted.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `alphas` | 10^0…10^8, two a decade | weights of ‖w‖² | > 0, increasing |
/// | `scorer` | correlation | validation score | |
/// | `solver` | auto | route | |
/// | `fit_intercept` | true | centre by training means | |
/// | `alpha_tolerance` | 0 | see `PathSettings` | 0…1 |
/// | `basis_tolerance` | 1e-5 | see `PathSettings` | 0…1 |
/// | `device` | | where the tiles are solved | |
/// | `n_threads` | | threads | ≥ 1 |
/// | `memory_bytes` | | for tiles and matrices | ≥ 64 MiB |
#[derive(Debug, Clone)]
pub struct FitSettings {
    /// The grid.
    pub alphas: AlphaGrid,
    /// Validation score.
    pub scorer: Scorer,
    /// Route.
    pub solver: Solver,
    /// Centre by training means.
    pub fit_intercept: bool,
    /// See `PathSettings::alpha_tolerance`.
    pub alpha_tolerance: f64,
    /// See `PathSettings::basis_tolerance`.
    pub basis_tolerance: f64,
    /// Where the tiles are solved.
    pub device: Device,
    /// Threads.
    pub n_threads: usize,
    /// Memory for tiles and matrices, in bytes.
    pub memory_bytes: u64,
}

impl FitSettings {
    /// What the engine needs of them.
    pub fn path(&self) -> PathSettings {
        PathSettings {
            scorer: self.scorer,
            fit_intercept: self.fit_intercept,
            alpha_tolerance: self.alpha_tolerance,
            basis_tolerance: self.basis_tolerance,
            ..PathSettings::new(self.alphas.values().to_vec())
        }
    }
}

/// Which rows are held out together.
#[derive(Debug, Clone)]
pub struct RowsOfFolds {
    /// `(n)` index of each row's fold; `None` for a row that is not used.
    pub fold_of_row: Vec<Option<usize>>,
    /// Labels of the folds.
    pub names: Vec<i64>,
    /// So many of them, the first ones, are held out; the others are always trained on. All of
    /// them but for a fit on the CPU.
    pub n_held_out: usize,
}

impl RowsOfFolds {
    /// Every row used, every fold held out.
    pub fn partition(fold_of_row: Vec<usize>, names: Vec<i64>) -> Self {
        let n_held_out = names.len();
        Self { fold_of_row: fold_of_row.into_iter().map(Some).collect(), names, n_held_out }
    }
}

/// What is fitted. All have been compared: rows of x, y and folds; columns of test and training.
pub struct FitData<'a> {
    /// `(n, p)` design.
    pub x: &'a dyn MatrixTiles,
    /// `(n, V)` BOLD.
    pub y: &'a dyn MatrixTiles,
    /// Which rows are held out together.
    pub folds: RowsOfFolds,
    /// Test design and BOLD.
    pub test: Option<(&'a dyn MatrixTiles, &'a dyn MatrixTiles)>,
}

/// What a fit found, beside its arrays.
#[derive(Debug, Clone, Serialize)]
pub struct RidgeSummary {
    /// Rows, columns, voxels, folds, alphas.
    pub n_trs: usize,
    /// Columns of X.
    pub n_features: usize,
    /// Columns of Y.
    pub n_voxels: usize,
    /// Voxels that were fitted.
    pub n_voxels_used: usize,
    /// Fold labels in increasing order.
    pub folds: Vec<i64>,
    /// Route and reason.
    pub solver: String,
    /// Mean over voxels of the best CV score.
    pub mean_cv_score: f64,
    /// Mean over voxels of the test correlation.
    pub mean_test_correlation: Option<f64>,
    /// Voxels at the ends of the grid.
    pub alpha_edges: AlphaEdges,
    /// Condition number of the training design, and what it costs.
    pub conditioning: Conditioning,
    /// Largest alpha-basis rank.
    pub basis_rank: usize,
    /// Bound on the relative error of denominators from the alpha basis.
    pub basis_error: f64,
    /// Seconds, stage by stage (summed over threads after "prepare").
    pub seconds: Vec<(String, f64)>,
    /// Doubtful but legal.
    pub warnings: Vec<String>,
}

/// What a fit gives.
pub struct Fit {
    /// What is told of it.
    pub summary: RidgeSummary,
    /// Its arrays; those that went to files are empty.
    pub arrays: FittedArrays,
}

/// How a fit of known sizes will be solved.
pub struct Plan<'a> {
    settings: &'a FitSettings,
    /// Sizes.
    pub sizes: Sizes,
    bands: Option<BandSpec>,
    asked: Solver,
    route: Route,
    /// Route and reason.
    pub solver: String,
}

impl<'a> Plan<'a> {
    /// Chooses the route for `(rows, columns, voxels, test rows, folds)`; `what` is the fit's name
    /// in an error.
    /// # Errors
    /// `Error::TooLarge` (exit 3) where no route fits into memory.
    pub fn new(
        settings: &'a FitSettings,
        (n_rows, n_coefs, n_voxels, n_test, n_folds): (usize, usize, usize, usize, usize),
        bands: Option<BandSpec>,
        what: &str,
    ) -> Result<Self> {
        let n_threads = settings.n_threads;
        let sizes = Sizes { n_rows, n_test, n_coefs, n_voxels, n_folds, n_threads };
        let asked = if bands.is_some() { Solver::Gram } else { settings.solver };
        let memory = settings.memory_bytes as f64;
        let (route, solver) = choose(asked, sizes, n_threads, memory, what)?;
        Ok(Self { settings, sizes, bands, asked, route, solver })
    }
}

/// Rows of a block: enough for good products, few enough for small buffers.
const BLOCK_ROWS: usize = 1024;

/// Fits; the arrays go where `outputs` says.
///
/// # Errors
/// `Error::Values` (exit 3) for NaN in X; those of reading, writing and solving;
/// `Error::Interrupted`.
pub fn fit(
    plan: Plan<'_>,
    data: &FitData<'_>,
    outputs: &Outputs,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<Fit> {
    let Plan { settings, sizes, bands, asked, route, mut solver } = plan;
    let Sizes { n_rows, n_test, n_coefs, n_voxels, n_folds, n_threads } = sizes;
    let memory = settings.memory_bytes as f64;
    let mut seconds: Vec<(String, f64)> = Vec::new();
    let mut mark = |name: &str, since: Instant| {
        seconds.push((name.to_string(), since.elapsed().as_secs_f64()));
    };
    let (blocks, runs) = blocks_by_fold(&data.folds.fold_of_row, n_folds);
    let test_blocks = if n_test > 0 { vec![n_test] } else { Vec::new() };
    let mut load = |route: Route| -> Result<(Problem, Conditioning, Vec<f64>)> {
        let clock = Instant::now();
        let test_x = data.test.map(|(x, _)| x);
        let design = ridge_design(data.x, test_x, &runs, route, settings.fit_intercept)?;
        mark("read X", clock);
        let clock = Instant::now();
        let spec =
            ModelSpec { space: 0, delays: vec![0], route, wants_coef: true, bands: bands.clone() };
        let (spaces, blocks) = (vec![design.space], blocks.clone());
        let (mut problem, mut prepared) =
            prepare(spaces, &[spec], blocks, test_blocks.clone(), n_folds, settings.path())?;
        for model in &mut problem.models {
            model.folds.truncate(data.folds.n_held_out);
            model.paths.truncate(data.folds.n_held_out);
        }
        mark("prepare", clock);
        Ok((problem, prepared.conditioning.swap_remove(0), design.shift))
    };
    let (mut problem, mut conditioning, mut shift) = load(route)?;
    let mut warnings = Vec::new();
    if conditioning.is_beyond_limit() {
        let fallback = (asked == Solver::Auto)
            .then(|| instead(route, &conditioning, sizes, n_threads, memory))
            .flatten();
        match fallback {
            Some(sentence) => {
                drop(problem);
                solver = sentence;
                (problem, conditioning, shift) = load(Route::Svd)?;
            }
            None => warnings.push(Warning::ill_conditioned(
                vec!["ridge".to_owned()],
                route,
                &conditioning,
                settings.alphas.values(),
            )),
        }
    }
    if let Some(bands) = &bands {
        solver = format!("{solver}; {} points over {} bands", bands.n_points(), bands.n_bands());
    }
    reporter.note(&format!("solver: {solver}"));
    reporter.step(&format!("{n_rows} × {n_coefs} design prepared, {n_folds} folds"));

    let device = if bands.is_some() { &Device::Cpu } else { &settings.device };
    let budget = (settings.memory_bytes / 2) as usize;
    let width = tile_width(&problem, device, n_voxels, n_threads, budget, None)?;
    let source = MatrixSource { y: data.y, runs, test_y: data.test.map(|(_, y)| y) };
    let sink = RidgeSink::create(outputs, &problem, n_test, n_voxels, shift)?;
    reporter.start("voxels", n_voxels as u64);
    let progress = |n: usize| reporter.advance(n as u64);
    let note = |text: &str| reporter.note(text);
    let run = TileRun { device, n_threads, cancel, progress: &progress, note: &note, other: None };
    let clock = Instant::now();
    let workers = n_workers(device, n_threads);
    let cut = tiles(n_voxels, width, problem.settings.block_voxels, workers);
    let stages = run_tiles(&problem, &source, &sink, &cut, &run)?;
    reporter.finish();
    mark("tiles", clock);
    seconds.extend(stages.into_iter().map(|(name, s)| (format!("tiles: {name}"), s)));

    let found = sink.finish()?;
    let known = Known { sizes, solver, conditioning, warnings, seconds };
    Ok(known.of(found, &data.folds.names, &data.y.place(), reporter))
}

/// What is known of a fit before its last tile.
pub struct Known {
    /// Sizes.
    pub sizes: Sizes,
    /// Route and reason.
    pub solver: String,
    /// Of the training design.
    pub conditioning: Conditioning,
    /// So far.
    pub warnings: Vec<Warning>,
    /// Stage by stage.
    pub seconds: Vec<(String, f64)>,
}

impl Known {
    /// The fit, with what its tiles found; warnings are told. `place`: where BOLD came from.
    pub fn of(self, found: Found, folds: &[i64], place: &str, reporter: &dyn Reporter) -> Fit {
        let Known { sizes, solver, conditioning, mut warnings, seconds } = self;
        warnings.extend(found.warnings(place));
        warnings.iter().for_each(|warning| reporter.warn(warning));
        let finite = |values: &[f32]| -> Vec<f64> {
            values.iter().filter(|v| !v.is_nan()).map(|&v| f64::from(v)).collect()
        };
        let mean_of = |values: &[f32]| mean(&finite(values));
        let test = (sizes.n_test > 0).then_some(&found.arrays.test_correlation);
        let summary = RidgeSummary {
            n_trs: sizes.n_rows,
            n_features: sizes.n_coefs,
            n_voxels: sizes.n_voxels,
            n_voxels_used: sizes.n_voxels - found.n_dead(),
            folds: folds.to_vec(),
            solver,
            mean_cv_score: mean_of(&found.top_scores),
            mean_test_correlation: test.map(|test| mean_of(test)),
            alpha_edges: found.edges,
            conditioning,
            basis_rank: found.basis_rank,
            basis_error: found.basis_error,
            seconds,
            warnings: warnings.iter().map(ToString::to_string).collect(),
        };
        Fit { summary, arrays: found.arrays }
    }
}

/// Rows of each fold, cut into blocks of at most `BLOCK_ROWS`.
pub fn blocks_by_fold(fold_of_row: &[Option<usize>], n_folds: usize) -> (Vec<Block>, Vec<Runs>) {
    let mut rows_of_fold: Vec<Vec<usize>> = vec![Vec::new(); n_folds];
    for (row, fold) in fold_of_row.iter().enumerate() {
        if let Some(fold) = fold {
            rows_of_fold[*fold].push(row);
        }
    }
    let (mut blocks, mut runs) = (Vec::new(), Vec::new());
    for (fold, rows) in rows_of_fold.iter().enumerate() {
        for rows in rows.chunks(BLOCK_ROWS) {
            let mut block_runs: Runs = Vec::new();
            for &row in rows {
                match block_runs.last_mut() {
                    Some(last) if last.end == row => last.end += 1,
                    _ => block_runs.push(row..row + 1),
                }
            }
            blocks.push(Block { fold, n_rows: rows.len() });
            runs.push(block_runs);
        }
    }
    (blocks, runs)
}

struct MatrixSource<'a> {
    y: &'a dyn MatrixTiles,
    runs: Vec<Runs>,
    test_y: Option<&'a dyn MatrixTiles>,
}

impl BoldSource for MatrixSource<'_> {
    fn n_voxels(&self) -> usize {
        self.y.n_cols()
    }

    fn read_train(&self, block: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let mut rest = out;
        for run in &self.runs[block] {
            let (now, later) = rest.split_at_mut(run.len() * voxels.len());
            self.y.read_columns(run.clone(), voxels.clone(), now)?;
            rest = later;
        }
        Ok(())
    }

    fn expect_train(&self, block: usize, voxels: Range<usize>) {
        for run in &self.runs[block] {
            self.y.expect_columns(run.clone(), voxels.clone());
        }
    }

    fn read_test(&self, _: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        match self.test_y {
            Some(matrix) => matrix.read_columns(0..matrix.n_rows(), voxels, out),
            None => Ok(()),
        }
    }
}
