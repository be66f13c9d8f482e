//! `kernels/rotate.cu`: a tile's statistics, centred and gathered.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{Grid, holds};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// XᵀY over all folds: `total` `(n_coefs, width)` from `xty` `(n_folds, n_columns, width)`.
/// `columns` `(n_coefs)`: a coefficient's column in the space, below n_columns.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn total_xty(
    lane: &Lane,
    xty: &Part<'_, f32>,
    columns: &Part<'_, u64>,
    total: &mut PartMut<'_, f32>,
    (n_folds, n_columns, width): (usize, usize, usize),
) -> Result<()> {
    let kernel = "total_xty_f32";
    let n_coefs = columns.len();
    holds(kernel, "xty", xty.len(), &[n_folds.max(1), n_columns, width])?;
    holds(kernel, "total", total.len(), &[n_coefs, width])?;
    let mut args = lane.builder(kernel);
    args.arg(xty).arg(columns).arg(total).arg(&n_folds).arg(&n_columns).arg(&n_coefs).arg(&width);
    let grid = Grid::over(width)?.striding(n_coefs);
    // SAFETY: rotate.cu: (xty, columns, total, n_folds, n_columns, n_coefs, width); x covers width,
    // y strides over coefficients; columns were made below n_columns; total is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// XᵀY of one fold's training and validation rows, centred; `train`, `val` `(n_coefs, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn center_xty(
    lane: &Lane,
    (xty, n_columns): (&Part<'_, f32>, usize),
    columns: &Part<'_, u64>,
    total: &Part<'_, f32>,
    (val_sums, x_means): (&Part<'_, f64>, &Part<'_, f64>),
    (train_means, val_means): (&Part<'_, f64>, &Part<'_, f64>),
    train: &mut PartMut<'_, f32>,
    val: &mut PartMut<'_, f32>,
    n_all: f64,
    width: usize,
) -> Result<()> {
    let kernel = "center_xty_f32";
    let n_coefs = columns.len();
    holds(kernel, "xty", xty.len(), &[n_columns, width])?;
    holds(kernel, "total", total.len(), &[n_coefs, width])?;
    holds(kernel, "val_sums", val_sums.len(), &[n_coefs])?;
    holds(kernel, "x_means", x_means.len(), &[n_coefs])?;
    holds(kernel, "train_means", train_means.len(), &[width])?;
    holds(kernel, "val_means", val_means.len(), &[width])?;
    holds(kernel, "train", train.len(), &[n_coefs, width])?;
    holds(kernel, "val", val.len(), &[n_coefs, width])?;
    let mut args = lane.builder(kernel);
    args.arg(xty).arg(columns).arg(total).arg(val_sums).arg(x_means);
    args.arg(train_means).arg(val_means).arg(train).arg(val).arg(&n_all).arg(&n_coefs).arg(&width);
    let grid = Grid::over(width)?.striding(n_coefs);
    // SAFETY: rotate.cu: (xty, columns, total, val_sums, x_means, train_means, val_means, train,
    // val, n_all, n_coefs, width); as total_xty; both outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Centres the XᵀY of all rows in place.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn center_total(
    lane: &Lane,
    total: &mut PartMut<'_, f32>,
    x_means: &Part<'_, f64>,
    means: &Part<'_, f64>,
    n_all: f64,
    width: usize,
) -> Result<()> {
    let kernel = "center_total_f32";
    let n_coefs = x_means.len();
    holds(kernel, "total", total.len(), &[n_coefs, width])?;
    holds(kernel, "means", means.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(total).arg(x_means).arg(means).arg(&n_all).arg(&n_coefs).arg(&width);
    let grid = Grid::over(width)?.striding(n_coefs);
    // SAFETY: rotate.cu: (total, x_means, means, n_all, n_coefs, width); total is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Some rows of BOLD `(_, width)` less `means` `(width)`: `out` `(index.len(), width)`. `index` was
/// made below `n_rows`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn center_rows(
    lane: &Lane,
    (rows, n_rows): (&Part<'_, f32>, usize),
    index: &Part<'_, u64>,
    means: &Part<'_, f64>,
    out: &mut PartMut<'_, f32>,
    width: usize,
) -> Result<()> {
    let kernel = "center_rows_f32";
    let n = index.len();
    holds(kernel, "rows", rows.len(), &[n_rows, width])?;
    holds(kernel, "means", means.len(), &[width])?;
    holds(kernel, "out", out.len(), &[n, width])?;
    let mut args = lane.builder(kernel);
    args.arg(rows).arg(index).arg(means).arg(out).arg(&n).arg(&width);
    let grid = Grid::over(width)?.striding(n);
    // SAFETY: rotate.cu: (rows, index, means, out, n, width); the index holds rows below n_rows;
    // out is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Stacked statistics: `out` `(source.len(), width)`; row i is row `source[i]` of `xty`
/// `(n_rows, width)`, or for −1 − k the first row of fold k.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn stack_rows(
    lane: &Lane,
    (xty, n_rows): (&Part<'_, f32>, usize),
    sums: &Part<'_, f64>,
    fold_rows: &Part<'_, f64>,
    taken_off: &Part<'_, f64>,
    source: &Part<'_, i64>,
    out: &mut PartMut<'_, f32>,
    width: usize,
) -> Result<()> {
    let kernel = "stack_rows_f32";
    let n = source.len();
    holds(kernel, "xty", xty.len(), &[n_rows, width])?;
    holds(kernel, "sums", sums.len(), &[fold_rows.len(), width])?;
    holds(kernel, "taken_off", taken_off.len(), &[width])?;
    holds(kernel, "out", out.len(), &[n, width])?;
    let mut args = lane.builder(kernel);
    args.arg(xty).arg(sums).arg(fold_rows).arg(taken_off).arg(source).arg(out).arg(&n).arg(&width);
    let grid = Grid::over(width)?.striding(n);
    // SAFETY: rotate.cu: (xty, sums, fold_rows, taken_off, source, out, n, width); sources were
    // made below n_rows and the number of folds; out is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}
