//! `kernels/voxels.cu`: BOLD in, moments out.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{CHUNK_ROWS, Grid, holds, n_chunks};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// `shift` and `first` `(width)` from the first block `bold` `(n_rows, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn first_means(
    lane: &Lane,
    bold: &Part<'_, f32>,
    shift: &mut PartMut<'_, f32>,
    first: &mut PartMut<'_, f32>,
    (n_rows, width): (usize, usize),
) -> Result<()> {
    let kernel = "first_means_f32";
    holds(kernel, "bold", bold.len(), &[n_rows.max(1), width])?;
    holds(kernel, "shift", shift.len(), &[width])?;
    holds(kernel, "first", first.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(bold).arg(shift).arg(first).arg(&n_rows).arg(&width);
    // SAFETY: voxels.cu: (bold, shift, first, n_rows, width); x covers width, rows are looped over;
    // outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}

/// One block of BOLD: `y` `(n_rows, width)` shifted and masked; partial sums
/// `(n_chunks, 2, width)` and flags `(n_chunks, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn add_voxels(
    lane: &Lane,
    bold: &Part<'_, f32>,
    shift: &Part<'_, f32>,
    first: &Part<'_, f32>,
    y: &mut PartMut<'_, f32>,
    part_sums: &mut PartMut<'_, f64>,
    part_flags: &mut PartMut<'_, u8>,
    (n_rows, width): (usize, usize),
) -> Result<()> {
    let kernel = "add_voxels_f32";
    let chunks = n_chunks(n_rows);
    holds(kernel, "bold", bold.len(), &[n_rows, width])?;
    holds(kernel, "y", y.len(), &[n_rows, width])?;
    holds(kernel, "shift", shift.len(), &[width])?;
    holds(kernel, "first", first.len(), &[width])?;
    holds(kernel, "part_sums", part_sums.len(), &[chunks, 2, width])?;
    holds(kernel, "part_flags", part_flags.len(), &[chunks, width])?;
    let mut args = lane.builder(kernel);
    args.arg(bold).arg(shift).arg(first).arg(y).arg(part_sums).arg(part_flags);
    args.arg(&n_rows).arg(&width).arg(&CHUNK_ROWS);
    let grid = Grid::over(width)?.by(chunks, 1)?;
    // SAFETY: voxels.cu: (bold, shift, first, y, part_sums, part_flags, n_rows, width, chunk_rows);
    // y = chunks of rows; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Adds a block's partial sums to its fold's `sums`, `squares` and to the tile's `flags`, `(width)`
/// each.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn merge_voxels(
    lane: &Lane,
    part_sums: &Part<'_, f64>,
    part_flags: &Part<'_, u8>,
    sums: &mut PartMut<'_, f64>,
    squares: &mut PartMut<'_, f64>,
    flags: &mut PartMut<'_, u8>,
    n_rows: usize,
    width: usize,
) -> Result<()> {
    let kernel = "merge_voxels_f64";
    let chunks = n_chunks(n_rows);
    holds(kernel, "part_sums", part_sums.len(), &[chunks, 2, width])?;
    holds(kernel, "part_flags", part_flags.len(), &[chunks, width])?;
    for (name, len) in [("sums", sums.len()), ("squares", squares.len()), ("flags", flags.len())] {
        holds(kernel, name, len, &[width])?;
    }
    let mut args = lane.builder(kernel);
    args.arg(part_sums).arg(part_flags).arg(sums).arg(squares).arg(flags);
    args.arg(&chunks).arg(&width);
    // SAFETY: voxels.cu: (part_sums, part_flags, sums, squares, flags, n_chunks, width); x covers
    // width; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}

/// What comes of a tile's sums, all f64.
pub struct Moments<'a> {
    /// `(n_folds + 1, width)` what is taken off BOLD before a fit; the last row for the refit.
    pub means: PartMut<'a, f64>,
    /// `(n_folds, width)` validation means.
    pub val_means: PartMut<'a, f64>,
    /// `(n_folds, width)` Σ(y − ȳ)² over the validation rows; 0 for a voxel that is not scored.
    pub val_square: PartMut<'a, f64>,
    /// `(n_folds, width)` validation minus training mean.
    pub delta: PartMut<'a, f64>,
}

/// Moments of every fold from `sums`, `squares` `(n_folds, width)` and `fold_rows` `(n_folds)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn fold_moments(
    lane: &Lane,
    sums: &Part<'_, f64>,
    squares: &Part<'_, f64>,
    shift: &Part<'_, f32>,
    flags: &Part<'_, u8>,
    fold_rows: &Part<'_, f64>,
    mut out: Moments<'_>,
    fit_intercept: bool,
    width: usize,
) -> Result<()> {
    let kernel = "fold_moments_f64";
    let n_folds = fold_rows.len();
    holds(kernel, "sums", sums.len(), &[n_folds, width])?;
    holds(kernel, "squares", squares.len(), &[n_folds, width])?;
    holds(kernel, "shift", shift.len(), &[width])?;
    holds(kernel, "flags", flags.len(), &[width])?;
    holds(kernel, "means", out.means.len(), &[n_folds + 1, width])?;
    for (name, part) in
        [("val_means", &out.val_means), ("val_square", &out.val_square), ("delta", &out.delta)]
    {
        holds(kernel, name, part.len(), &[n_folds, width])?;
    }
    let fit = i32::from(fit_intercept);
    let mut args = lane.builder(kernel);
    args.arg(sums).arg(squares).arg(shift).arg(flags).arg(fold_rows);
    args.arg(&mut out.means).arg(&mut out.val_means).arg(&mut out.val_square).arg(&mut out.delta);
    args.arg(&n_folds).arg(&fit).arg(&width);
    // SAFETY: voxels.cu: (sums, squares, shift, flags, fold_rows, means, val_means, val_square,
    // delta, n_folds, fit_intercept, width); x covers width; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}
