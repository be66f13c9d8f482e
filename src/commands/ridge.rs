//! `voxelcast ridge`: one design, one matrix of voxels, folds given row by row, all in files.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::io::matrix_file::{DATASET, MatrixFile, Which};
use crate::io::npy;
use crate::reporter::Reporter;
use crate::ridge::folds::{self, Dealt};
use crate::solve::bands::BandJob;
use crate::solve::fit::{FitData, FitSettings, Plan, RidgeSummary, RowsOfFolds, fit};
use crate::solve::matrix_tiles::MatrixTiles;
use crate::solve::outputs::Outputs;

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
    /// How it is fitted.
    pub settings: FitSettings,
    /// Bands with an alpha each; solved by gram on the CPU.
    pub bands: Option<BandJob>,
    /// Write predicted test BOLD.
    pub predict: bool,
    /// Output folder.
    pub out: PathBuf,
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

/// Fits and writes `alphas.npy`, `cv_scores.npy`, `best_alpha.npy`, `coef.npy`, `intercept.npy`,
/// and with a test set `test_correlation.npy` and, on request, `predictions.npy`.
///
/// # Errors
/// Input errors (exit 3) for files that cannot be read, do not fit together, or hold NaN in X.
pub fn run(job: &RidgeJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<RidgeSummary> {
    let mut y = open_matrix(&job.y)?;
    let labels_path = job.folds.path();
    let labels = npy::read_labels(labels_path)?;
    let mut x = open_matrix(&job.x)?;
    let (n, p) = (x.n_rows(), x.n_cols());
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
    let memory = job.settings.memory_bytes;
    let bands = job.bands.as_ref().map(|bands| bands.spec(&job.x, p, memory)).transpose()?;
    let what = format!("ridge on {}", job.x.display());
    let sizes = (n, p, y.n_cols(), n_test, fold_names.len());
    let plan = Plan::new(&job.settings, sizes, bands, &what)?;
    let files = [&mut x, &mut y].into_iter().chain(&mut test_x).chain(&mut test_y);
    unpack(files, &job.out)?;
    let test = match (&test_x, &test_y) {
        (Some(x), Some(y)) => Some((tiles(x)?, tiles(y)?)),
        _ => None,
    };
    let folds = RowsOfFolds::partition(fold_of_row, fold_names);
    let data = FitData { x: tiles(&x)?, y: tiles(&y)?, folds, test };
    let outputs = Outputs { folder: Some(job.out.clone()), predict: job.predict };
    Ok(fit(plan, &data, &outputs, reporter, cancel)?.summary)
}

fn tiles(file: &MatrixFile) -> Result<&dyn MatrixTiles> {
    Ok(file.expect_tiles()?)
}

/// `FILE:DATASET` as a file and the array of it; a name that is a file is one.
pub fn file_and_dataset(path: &Path) -> (PathBuf, Option<String>) {
    let whole = path.to_string_lossy();
    if !path.exists()
        && let Some((file, dataset)) = whole.rsplit_once(':')
        && !dataset.is_empty()
        && Path::new(file).exists()
    {
        return (file.into(), Some(dataset.trim_start_matches('/').to_owned()));
    }
    (path.to_owned(), None)
}

fn open_matrix(path: &Path) -> Result<MatrixFile> {
    let (path, dataset) = file_and_dataset(path);
    let dataset = dataset.as_deref().unwrap_or(DATASET);
    let file = MatrixFile::open(&path, &Which { dataset, ..Which::default() })?;
    check_not_empty(&file)?;
    Ok(file)
}

/// Unpacks compressed files beside the results, into files without a name.
fn unpack<'a>(files: impl Iterator<Item = &'a mut MatrixFile>, out: &Path) -> Result<()> {
    for file in files.filter(|file| file.is_packed()) {
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
