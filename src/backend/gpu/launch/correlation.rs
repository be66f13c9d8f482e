//! `kernels/correlation.cu`: Pearson r within a test block and over all of them.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{CHUNK_ROWS, Grid, holds, n_chunks};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// Sums of one block by chunks of rows: `part` `(n_chunks, 5, width)` from `pred` and `bold`
/// `(n_rows, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn pearson_sums(
    lane: &Lane,
    pred: &Part<'_, f32>,
    bold: &Part<'_, f32>,
    part: &mut PartMut<'_, f64>,
    (n_rows, width): (usize, usize),
) -> Result<()> {
    let kernel = "pearson_sums_f64";
    let chunks = n_chunks(n_rows);
    holds(kernel, "pred", pred.len(), &[n_rows, width])?;
    holds(kernel, "bold", bold.len(), &[n_rows, width])?;
    holds(kernel, "part", part.len(), &[chunks, 5, width])?;
    let mut args = lane.builder(kernel);
    args.arg(pred).arg(bold).arg(part).arg(&n_rows).arg(&width).arg(&CHUNK_ROWS);
    let grid = Grid::over(width)?.by(chunks, 1)?;
    // SAFETY: correlation.cu: (pred, bold, part, n_rows, width, chunk_rows); x covers width, y
    // chunks of rows; part is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// r over `n_rows` rows of a block into `block_r` `(width)`; their sums are added to `totals`
/// `(5, width)`. A voxel that is dead by its `flags`, or not finite by the `part_flags` `(n_chunks,
/// width)` of all the block's rows, gets NaN in both.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn pearson_block(
    lane: &Lane,
    part: &Part<'_, f64>,
    flags: &Part<'_, u8>,
    part_flags: &Part<'_, u8>,
    block_r: &mut PartMut<'_, f32>,
    totals: &mut PartMut<'_, f64>,
    (n_rows, n_block_rows, width): (usize, usize, usize),
) -> Result<()> {
    let kernel = "pearson_block_f32";
    let (chunks, flag_chunks) = (n_chunks(n_rows), n_chunks(n_block_rows));
    holds(kernel, "part", part.len(), &[chunks, 5, width])?;
    holds(kernel, "flags", flags.len(), &[width])?;
    holds(kernel, "part_flags", part_flags.len(), &[flag_chunks, width])?;
    holds(kernel, "block_r", block_r.len(), &[width])?;
    holds(kernel, "totals", totals.len(), &[5, width])?;
    let mut args = lane.builder(kernel);
    args.arg(part).arg(flags).arg(part_flags).arg(block_r).arg(totals);
    args.arg(&chunks).arg(&flag_chunks).arg(&n_rows).arg(&width);
    // SAFETY: correlation.cu: (part, flags, part_flags, block_r, totals, n_chunks, n_flag_chunks,
    // n_rows, width); x covers width; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}

/// r over `n_total` rows, `(width)`, from `totals` `(5, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn pearson_total(
    lane: &Lane,
    totals: &Part<'_, f64>,
    r: &mut PartMut<'_, f32>,
    n_total: f64,
    width: usize,
) -> Result<()> {
    let kernel = "pearson_total_f32";
    holds(kernel, "totals", totals.len(), &[5, width])?;
    holds(kernel, "r", r.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(totals).arg(r).arg(&n_total).arg(&width);
    // SAFETY: correlation.cu: (totals, r, n_total, width); x covers width; r is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}
