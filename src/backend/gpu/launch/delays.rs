//! `kernels/delays.cu`: un-delayed rows into the design tile.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{Grid, holds};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// Rows that a thread of `delay_f32` writes: `DELAY_ROWS` there.
const DELAY_ROWS: usize = 8;

/// Null, for an input that is not there.
const NULL: u64 = 0;

/// Sizes of a block's design.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Rows of the block.
    pub n_rows: usize,
    /// Un-delayed columns.
    pub n_features: usize,
    /// Delays.
    pub n_delays: usize,
}

/// `tile` `(n_rows, n_delays · n_features)`, delay-major: (x − center) · scale of the row `delay`
/// rows before, zero outside of the block.
///
/// `x` `(n_rows, n_features)`; `center`, `scale` `(n_features)`, both may be left out.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn delay(
    lane: &Lane,
    x: &Part<'_, f32>,
    delays: &Part<'_, i64>,
    center: Option<&Part<'_, f32>>,
    scale: Option<&Part<'_, f32>>,
    tile: &mut PartMut<'_, f32>,
    shape: Shape,
) -> Result<()> {
    let kernel = "delay_f32";
    let Shape { n_rows, n_features, n_delays } = shape;
    holds(kernel, "x", x.len(), &[n_rows, n_features])?;
    holds(kernel, "delays", delays.len(), &[n_delays])?;
    holds(kernel, "tile", tile.len(), &[n_rows, n_delays, n_features])?;
    for (name, part) in [("center", center), ("scale", scale)] {
        if let Some(part) = part {
            holds(kernel, name, part.len(), &[n_features])?;
        }
    }
    let mut args = lane.builder(kernel);
    args.arg(x).arg(delays);
    match center {
        Some(center) => args.arg(center),
        None => args.arg(&NULL),
    };
    match scale {
        Some(scale) => args.arg(scale),
        None => args.arg(&NULL),
    };
    args.arg(tile).arg(&n_rows).arg(&n_features).arg(&n_delays);
    let grid = Grid::over(n_delays * n_features)?.by(n_rows.div_ceil(DELAY_ROWS), 1)?;
    // SAFETY: delays.cu: (x, delays, center, scale, tile, n_rows, n_features, n_delays), null
    // pointers as 8 zero bytes; x covers columns, y chunks of 8 rows; the tile is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Sparse rows written out: `out` `(n_rows, n_features)`. `indptr` `(n_rows + 1)` counts entries of
/// `indices` and `values`; the caller has checked them to be in order and below `n_features`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn densify(
    lane: &Lane,
    (indptr, indices, values): (&Part<'_, u64>, &Part<'_, u32>, &Part<'_, f32>),
    out: &mut PartMut<'_, f32>,
    (n_rows, n_features): (usize, usize),
) -> Result<()> {
    let kernel = "densify_f32";
    holds(kernel, "indptr", indptr.len(), &[n_rows + 1])?;
    holds(kernel, "indices", indices.len(), &[values.len()])?;
    holds(kernel, "out", out.len(), &[n_rows, n_features])?;
    lane.zero(out)?;
    let mut args = lane.builder(kernel);
    args.arg(indptr).arg(indices).arg(values).arg(out).arg(&n_rows).arg(&n_features);
    // SAFETY: delays.cu: (indptr, indices, values, out, n_rows, n_features); one block a row;
    // indices come from `SparseRows`, whose columns are below n_features; out is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::of_blocks(n_rows)?) }
}
