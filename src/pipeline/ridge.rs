//! `voxelcast ridge`: one design, one matrix of voxels, folds given row by row.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;

use super::reporter::Reporter;
use super::ridge_bands::{BandFiles, BandJob};
use super::ridge_design::ridge_design;
use super::tiles::{BoldSource, SolvedTile, TileRun, TileSink, run_tiles, tile_width, tiles};
use crate::backend::device::Device;
use crate::backend::{Block, PathSettings, Problem, Scorer, VoxelCounts, n_workers};
use crate::error::{Error, Result};
use crate::io::matrix_file::{MatrixFile, Which};
use crate::io::npy::{self, NpyColumnsWriter};
use crate::ridge::conditioning::Conditioning;
use crate::ridge::edges::AlphaEdges;
use crate::ridge::folds::Dealt;
use crate::ridge::route::{Sizes, choose, instead};
use crate::ridge::{AlphaGrid, ModelSpec, Route, Solver, folds, prepare};
use crate::stats::mean;
use crate::warning::Warning;

/// What `voxelcast ridge` was asked for.
#[derive(Debug, Clone)]
pub struct RidgeJob {
    /// `(n, p)` design.
    pub x: PathBuf,
    /// `(n, V)` BOLD.
    pub y: PathBuf,
    /// Which rows are held out together.
    pub folds: RowFolds,
    /// Test design and BOLD.
    pub test: Option<(PathBuf, PathBuf)>,
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
    /// Bands with an alpha each; solved by gram on the CPU.
    pub bands: Option<BandJob>,
    /// Write predicted test BOLD.
    pub predict: bool,
    /// Output folder.
    pub out: PathBuf,
    /// Where the tiles are solved.
    pub device: Device,
    /// Threads.
    pub n_threads: usize,
    /// Memory for tiles and matrices, in bytes.
    pub memory_bytes: u64,
}

/// Which rows are held out together.
#[derive(Debug, Clone)]
pub enum RowFolds {
    /// `(n)` labels of folds.
    Ids(PathBuf),
    /// `(n)` labels of groups, and how groups become folds.
    Groups(PathBuf, Dealt),
}

impl RowFolds {
    /// The file of labels.
    pub fn path(&self) -> &Path {
        match self {
            Self::Ids(path) | Self::Groups(path, _) => path,
        }
    }
}

/// What it found; the arrays are in files.
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

/// Rows of one block in the file, as runs of consecutive rows.
pub type Runs = Vec<Range<usize>>;

/// Rows of a block: enough for good products, few enough for small buffers.
const BLOCK_ROWS: usize = 1024;

/// Fits and writes `alphas.npy`, `cv_scores.npy`, `best_alpha.npy`, `coef.npy`, `intercept.npy`,
/// and with a test set `test_correlation.npy` and, on request, `predictions.npy`.
///
/// # Errors
/// Input errors (exit 3) for files that cannot be read, do not fit together, or hold NaN in X.
pub fn run(job: &RidgeJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<RidgeSummary> {
    let mut seconds: Vec<(String, f64)> = Vec::new();
    let mut mark = |name: &str, since: Instant| {
        seconds.push((name.to_string(), since.elapsed().as_secs_f64()));
    };
    let mut y = open_matrix(&job.y)?;
    let labels_path = job.folds.path();
    let labels = npy::read_labels(labels_path)?;
    let mut x_file = open_matrix(&job.x)?;
    let (n, p) = (x_file.n_rows(), x_file.n_cols());
    same_rows(&job.x, n, &job.y, y.n_rows())?;
    same_rows(&job.x, n, labels_path, labels.len())?;
    let place = labels_path.display().to_string();
    let (fold_of_row, fold_names) = match job.folds {
        RowFolds::Ids(_) => folds::from_labels(&labels, &place)?,
        RowFolds::Groups(_, dealt) => folds::from_groups(&labels, dealt, &place)?,
    };
    let mut test_y = job.test.as_ref().map(|(_, path)| open_matrix(path)).transpose()?;
    let mut test_x = job.test.as_ref().map(|(path, _)| open_matrix(path)).transpose()?;
    if let (Some((x_path, y_path)), Some(x), Some(y_test)) = (&job.test, &test_x, &test_y) {
        same_rows(x_path, x.n_rows(), y_path, y_test.n_rows())?;
        same_columns(&job.x, p, x_path, x.n_cols())?;
        same_columns(&job.y, y.n_cols(), y_path, y_test.n_cols())?;
    }
    let n_test = test_x.as_ref().map_or(0, MatrixFile::n_rows);

    let n_folds = fold_names.len();
    let (n_voxels, n_threads) = (y.n_cols(), job.n_threads);
    let sizes = Sizes { n_rows: n, n_test, n_coefs: p, n_voxels, n_folds, n_threads };
    let what = format!("ridge on {}", job.x.display());
    let memory = job.memory_bytes as f64;
    let bands = job.bands.as_ref().map(|bands| bands.spec(&job.x, p, job.memory_bytes));
    let bands = bands.transpose()?;
    let asked = if bands.is_some() { Solver::Gram } else { job.solver };
    let (route, mut solver) = choose(asked, sizes, job.n_threads, memory, &what)?;
    let (blocks, runs) = blocks_by_fold(&fold_of_row, n_folds);
    let test_blocks = if n_test > 0 { vec![n_test] } else { Vec::new() };
    let mut settings = PathSettings::new(job.alphas.values().to_vec());
    settings.scorer = job.scorer;
    settings.fit_intercept = job.fit_intercept;
    settings.alpha_tolerance = job.alpha_tolerance;
    settings.basis_tolerance = job.basis_tolerance;
    let files = [&mut x_file, &mut y].into_iter().chain(&mut test_x).chain(&mut test_y);
    unpack(files, &job.out)?;
    let x_tiles = x_file.expect_tiles()?;
    let test_tiles = test_x.as_ref().map(MatrixFile::expect_tiles).transpose()?;
    let mut load = |route: Route| -> Result<(Problem, Conditioning, Vec<f64>)> {
        let clock = Instant::now();
        let design = ridge_design(x_tiles, test_tiles, &runs, route, job.fit_intercept)?;
        mark("read X", clock);
        let clock = Instant::now();
        let spec =
            ModelSpec { space: 0, delays: vec![0], route, wants_coef: true, bands: bands.clone() };
        let (spaces, blocks) = (vec![design.space], blocks.clone());
        let (problem, mut prepared) =
            prepare(spaces, &[spec], blocks, test_blocks.clone(), n_folds, settings.clone())?;
        mark("prepare", clock);
        Ok((problem, prepared.conditioning.swap_remove(0), design.shift))
    };
    let (mut problem, mut conditioning, mut shift) = load(route)?;
    let mut warnings = Vec::new();
    if conditioning.is_beyond_limit() {
        let fallback = (asked == Solver::Auto)
            .then(|| instead(route, &conditioning, sizes, job.n_threads, memory))
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
                job.alphas.values(),
            )),
        }
    }
    if let Some(bands) = &bands {
        solver = format!("{solver}; {} points over {} bands", bands.n_points(), bands.n_bands());
    }
    reporter.note(&format!("solver: {solver}"));
    reporter.step(&format!("{n} × {p} design prepared, {n_folds} folds"));

    let n_voxels = y.n_cols();
    std::fs::create_dir_all(&job.out)
        .map_err(|source| Error::Write { path: job.out.clone(), source })?;
    let budget = (job.memory_bytes / 2) as usize;
    let device = if bands.is_some() { &Device::Cpu } else { &job.device };
    let width = tile_width(&problem, device, n_voxels, job.n_threads, budget, None)?;
    let source = MatrixSource { y, runs, test_y };
    let sink = RidgeSink::create(job, &problem, n_test, (n_voxels, shift))?;
    reporter.start("voxels", n_voxels as u64);
    let progress = |n: usize| reporter.advance(n as u64);
    let note = |text: &str| reporter.note(text);
    let run = TileRun {
        device,
        n_threads: job.n_threads,
        cancel,
        progress: &progress,
        note: &note,
        other: None,
    };
    let clock = Instant::now();
    let workers = n_workers(device, job.n_threads);
    let cut = tiles(n_voxels, width, problem.settings.block_voxels, workers);
    let stages = run_tiles(&problem, &source, &sink, &cut, &run)?;
    reporter.finish();
    mark("tiles", clock);
    seconds.extend(stages.into_iter().map(|(name, s)| (format!("tiles: {name}"), s)));

    let found = sink.finish()?;
    let n_dead = found.counts.n_constant + found.counts.n_not_finite;
    if n_dead > 0 {
        warnings.push(Warning::DeadVoxels {
            place: job.y.display().to_string(),
            n_constant: found.counts.n_constant,
            n_not_finite: found.counts.n_not_finite,
            n_voxels,
        });
    }
    warnings.extend(Warning::alpha_edges(
        &job.y.display().to_string(),
        std::iter::once(("ridge".to_owned(), found.edges)),
        n_voxels - n_dead,
    ));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    let finite = |values: &[f32]| -> Vec<f64> {
        values.iter().filter(|v| !v.is_nan()).map(|&v| f64::from(v)).collect()
    };
    let summary = RidgeSummary {
        n_trs: n,
        n_features: p,
        n_voxels,
        n_voxels_used: n_voxels - n_dead,
        folds: fold_names,
        solver,
        mean_cv_score: mean(&finite(&found.top_scores)),
        mean_test_correlation: job.test.as_ref().map(|_| mean(&finite(&found.test))),
        alpha_edges: found.edges,
        conditioning,
        basis_rank: found.basis_rank,
        basis_error: found.basis_error,
        seconds,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    };
    Ok(summary)
}

fn open_matrix(path: &Path) -> Result<MatrixFile> {
    let file = MatrixFile::open(path, &Which::default())?;
    check_not_empty(&file)?;
    Ok(file)
}

/// Unpacks compressed files beside the results, into files without a name.
fn unpack<'a>(files: impl Iterator<Item = &'a mut MatrixFile>, out: &Path) -> Result<()> {
    for file in files.filter(|file| file.tiles().is_none()) {
        std::fs::create_dir_all(out)
            .map_err(|source| Error::Write { path: out.to_owned(), source })?;
        file.unpack(out, true)?;
    }
    Ok(())
}

fn check_not_empty(file: &MatrixFile) -> Result<()> {
    let (n, p) = (file.n_rows(), file.n_cols());
    if n > 0 && p > 0 {
        return Ok(());
    }
    Err(Error::Shape {
        what: file.path().display().to_string(),
        expected: "at least one row and one column".into(),
        got: format!("({n}, {p})"),
        hint: "a model needs features and voxels".into(),
    })
}

fn same_rows(a: &Path, n_a: usize, b: &Path, n_b: usize) -> Result<()> {
    check_equal(a, b, "rows", n_a, n_b)
}

fn same_columns(a: &Path, n_a: usize, b: &Path, n_b: usize) -> Result<()> {
    check_equal(a, b, "columns", n_a, n_b)
}

fn check_equal(a: &Path, b: &Path, what: &str, n_a: usize, n_b: usize) -> Result<()> {
    if n_a == n_b {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!("{what} of {}", b.display()),
        expected: format!("{n_a} as in {}", a.display()),
        got: n_b.to_string(),
        hint: "both files must describe the same rows in the same order".into(),
    })
}

/// Rows of each fold, cut into blocks of at most `BLOCK_ROWS`.
fn blocks_by_fold(fold_of_row: &[usize], n_folds: usize) -> (Vec<Block>, Vec<Runs>) {
    let mut rows_of_fold: Vec<Vec<usize>> = vec![Vec::new(); n_folds];
    for (row, &fold) in fold_of_row.iter().enumerate() {
        rows_of_fold[fold].push(row);
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

struct MatrixSource {
    y: MatrixFile,
    runs: Vec<Runs>,
    test_y: Option<MatrixFile>,
}

impl BoldSource for MatrixSource {
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
        match &self.test_y {
            Some(file) => file.read_columns(0..file.n_rows(), voxels, out),
            None => Ok(()),
        }
    }
}

/// Results of all tiles, into files under temporary names.
struct RidgeSink {
    shift: Vec<f64>,
    alphas: Vec<f64>,
    cv_scores: NpyColumnsWriter<f32>,
    coef: NpyColumnsWriter<f32>,
    predictions: Option<NpyColumnsWriter<f32>>,
    /// `(n_points, n_voxels)` of a search over bands.
    point_scores: Option<NpyColumnsWriter<f32>>,
    out: PathBuf,
    has_test: bool,
    found: Mutex<Found>,
}

struct Found {
    best_alpha: Vec<f64>,
    intercept: Vec<f32>,
    test: Vec<f32>,
    top_scores: Vec<f32>,
    edges: AlphaEdges,
    counts: VoxelCounts,
    basis_rank: usize,
    basis_error: f64,
    bands: Option<BandFiles>,
}

impl RidgeSink {
    fn create(
        job: &RidgeJob,
        problem: &Problem,
        n_test: usize,
        (n_voxels, shift): (usize, Vec<f64>),
    ) -> Result<Self> {
        let p = problem.n_coefs(&problem.models[0]);
        let bands = BandFiles::create(&job.out, problem, n_voxels, n_test > 0)?;
        let (bands, point_scores) = bands.unzip();
        let file =
            |name: &str, rows: usize| NpyColumnsWriter::create(&job.out.join(name), rows, n_voxels);
        let predictions =
            (job.predict && n_test > 0).then(|| file("predictions.npy", n_test)).transpose()?;
        Ok(Self {
            shift,
            alphas: job.alphas.values().to_vec(),
            cv_scores: file("cv_scores.npy", job.alphas.values().len())?,
            coef: file("coef.npy", p)?,
            predictions,
            point_scores,
            out: job.out.clone(),
            has_test: n_test > 0,
            found: Mutex::new(Found {
                best_alpha: vec![f64::NAN; n_voxels],
                intercept: vec![0.0; n_voxels],
                test: vec![f32::NAN; n_voxels],
                top_scores: vec![f32::NAN; n_voxels],
                edges: AlphaEdges::default(),
                counts: VoxelCounts::default(),
                basis_rank: 0,
                basis_error: 0.0,
                bands,
            }),
        })
    }

    fn finish(self) -> Result<Found> {
        let mut found = self.found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.cv_scores.finish()?;
        self.coef.finish()?;
        for file in [self.predictions, self.point_scores].into_iter().flatten() {
            file.finish()?;
        }
        found.bands.take().map_or(Ok(()), BandFiles::finish)?;
        let n = found.best_alpha.len();
        npy::write(&self.out.join("alphas.npy"), &[self.alphas.len()], &self.alphas)?;
        npy::write(&self.out.join("best_alpha.npy"), &[n], &found.best_alpha)?;
        npy::write(&self.out.join("intercept.npy"), &[n], &found.intercept)?;
        if self.has_test {
            npy::write(&self.out.join("test_correlation.npy"), &[n], &found.test)?;
        }
        Ok(found)
    }
}

impl TileSink for RidgeSink {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let voxels = tile.voxels.clone();
        let width = voxels.len();
        let model = &tile.models[0];
        self.cv_scores.write_columns(voxels.clone(), &model.cv_scores)?;
        self.coef.write_columns(voxels.clone(), &model.coef)?;
        if let Some(file) = &self.point_scores {
            file.write_columns(voxels.clone(), &model.bands.scores)?;
        }
        let mut offsets = vec![0f64; width];
        for (shift, row) in self.shift.iter().zip(model.coef.chunks_exact(width)) {
            if *shift != 0.0 {
                offsets.iter_mut().zip(row).for_each(|(o, &w)| *o += shift * f64::from(w));
            }
        }
        let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bands) = &mut found.bands {
            bands.take(&tile, &self.alphas);
        }
        for (v, offset) in offsets.iter().enumerate() {
            let at = voxels.start + v;
            found.intercept[at] = (f64::from(model.intercept[v]) - offset) as f32;
            if let Some(best) = model.best[v] {
                let scores = (0..self.alphas.len()).map(|a| model.cv_scores[a * width + v]);
                found.edges.count(scores, best);
                found.best_alpha[at] = self.alphas[best];
                found.top_scores[at] = model.cv_scores[best * width + v];
            }
        }
        if self.has_test {
            found.test[voxels].copy_from_slice(&tile.tests[0].correlation);
        }
        found.counts.n_constant += tile.counts.n_constant;
        found.counts.n_not_finite += tile.counts.n_not_finite;
        found.basis_rank = found.basis_rank.max(model.basis_rank);
        found.basis_error = found.basis_error.max(model.basis_error);
        Ok(())
    }

    fn wants_predictions(&self) -> bool {
        self.predictions.is_some()
    }

    fn write_predictions(
        &self,
        _: usize,
        _: usize,
        voxels: Range<usize>,
        bold: &[f32],
    ) -> Result<()> {
        match &self.predictions {
            Some(file) => file.write_columns(voxels, bold),
            None => Ok(()),
        }
    }
}
