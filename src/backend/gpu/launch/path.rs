//! `kernels/path.cu`: every alpha's validation score, then the best alpha.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{BLOCK, Grid, holds};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// Alphas of one thread: `PATH_ALPHAS` in path.cu. Coefficients are padded to whole ones of these.
pub const PATH_ALPHAS: usize = 8;
/// Rows of one thread there.
pub const PATH_ROWS: usize = 16;
/// Voxels of one thread there.
const PATH_VOXELS: usize = 4;

/// Partial sums that `n_rows` rows of images leave.
pub fn n_square_chunks(n_rows: usize) -> usize {
    n_rows.div_ceil(PATH_ROWS)
}

/// 1/‖norms ∘ z‖² of each voxel, 0 where z is 0: `inverses` `(width)` from `z`
/// `(n_components, width)` and `norms` `(n_components)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn voxel_inverses(
    lane: &Lane,
    z: &Part<'_, f32>,
    norms: &Part<'_, f64>,
    inverses: &mut PartMut<'_, f64>,
    (n_components, width): (usize, usize),
) -> Result<()> {
    let kernel = "voxel_inverses_f64";
    holds(kernel, "z", z.len(), &[n_components, width])?;
    holds(kernel, "norms", norms.len(), &[n_components])?;
    holds(kernel, "inverses", inverses.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(z).arg(norms).arg(inverses).arg(&n_components).arg(&width);
    // SAFETY: path.cu: (z, norms, inverses, m, width); x covers the voxels, a thread reads its own
    // column of z; inverses are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}

/// √Σz² · inverse of each component over each block of voxels: `sizes` `(n_blocks, n_components)`
/// from `z` `(n_components, width)` and the voxels' `inverses` `(width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn component_sizes(
    lane: &Lane,
    z: &Part<'_, f32>,
    inverses: &Part<'_, f64>,
    sizes: &mut PartMut<'_, f64>,
    (n_components, width): (usize, usize),
    block_voxels: usize,
) -> Result<()> {
    let kernel = "component_sizes_f64";
    let n_blocks = width.div_ceil(block_voxels.max(1));
    holds(kernel, "z", z.len(), &[n_components, width])?;
    holds(kernel, "inverses", inverses.len(), &[width])?;
    holds(kernel, "sizes", sizes.len(), &[n_blocks, n_components])?;
    let mut args = lane.builder(kernel);
    args.arg(z).arg(inverses).arg(sizes).arg(&n_components).arg(&width).arg(&block_voxels);
    let warps = BLOCK as usize / 32;
    let grid = Grid::of_blocks(n_components.div_ceil(warps))?.by(n_blocks, 1)?;
    // SAFETY: path.cu: (z, inverses, sizes, m, width, block_voxels); a warp of x a component, y the
    // blocks; sizes are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// `out` `(n_entries, n_voxels)`: each entry's scale times its component of z, for the voxels from
/// `first_voxel` on. `components` were made below the rows of `z` `(n_components, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn scale_slots(
    lane: &Lane,
    (z, n_components): (&Part<'_, f32>, usize),
    (scales, components): (&Part<'_, f32>, &Part<'_, u32>),
    out: &mut PartMut<'_, f32>,
    (first_voxel, n_voxels): (usize, usize),
    width: usize,
) -> Result<()> {
    let kernel = "scale_slots_f32";
    let n_entries = scales.len();
    holds(kernel, "z", z.len(), &[n_components, width])?;
    holds(kernel, "voxels", width, &[first_voxel + n_voxels])?;
    holds(kernel, "components", components.len(), &[n_entries])?;
    holds(kernel, "out", out.len(), &[n_entries, n_voxels])?;
    let mut args = lane.builder(kernel);
    args.arg(z).arg(scales).arg(components).arg(out);
    args.arg(&n_entries).arg(&first_voxel).arg(&n_voxels).arg(&width);
    let grid = Grid::over(n_voxels)?.striding(n_entries);
    // SAFETY: path.cu: (z, scales, components, out, n_entries, first_voxel, n_voxels, width); x
    // covers the voxels, y strides over entries; out is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Left factors of [`path_numerators`], `(n_alphas, n_components)`.
pub struct Numerators<'a, 'b> {
    /// 1/(λ + a).
    pub inverses: &'a Part<'b, f32>,
    /// δ/(λ + a); r2 alone.
    pub shifted: Option<&'a Part<'b, f32>>,
}

/// Σ z t/(λ + a) into `numerators`, and for r2 Σ δ z/(λ + a) into `offsets`, `(n_alphas, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn path_numerators(
    lane: &Lane,
    (z, t): (&Part<'_, f32>, &Part<'_, f32>),
    factors: Numerators<'_, '_>,
    numerators: &mut PartMut<'_, f32>,
    offsets: &mut PartMut<'_, f32>,
    (n_alphas, n_components, width): (usize, usize, usize),
) -> Result<()> {
    let kernel = "path_numerators_f32";
    holds(kernel, "z", z.len(), &[n_components, width])?;
    holds(kernel, "t", t.len(), &[n_components, width])?;
    holds(kernel, "inverses", factors.inverses.len(), &[n_alphas, n_components])?;
    holds(kernel, "numerators", numerators.len(), &[n_alphas, width])?;
    if let Some(shifted) = factors.shifted {
        holds(kernel, "shifted", shifted.len(), &[n_alphas, n_components])?;
        holds(kernel, "offsets", offsets.len(), &[n_alphas, width])?;
    }
    let mut args = lane.builder(kernel);
    args.arg(z).arg(t).arg(factors.inverses);
    match factors.shifted {
        Some(shifted) => args.arg(shifted),
        None => args.arg(&0u64),
    };
    args.arg(numerators).arg(offsets).arg(&n_alphas).arg(&n_components).arg(&width);
    let grid = Grid::over(width)?.by(n_alphas.div_ceil(PATH_ALPHAS), 1)?;
    // SAFETY: path.cu: (z, t, inverses, shifted or null, numerators, offsets, n_alphas, m, width);
    // x covers width, y eights of alphas; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Sizes of a piece of images: rows `first_row ..` of F, the slots and voxels of one block.
#[derive(Debug, Clone, Copy)]
pub struct Squares {
    /// First row of F.
    pub first_row: usize,
    /// Rows of this piece.
    pub n_rows: usize,
    /// Slots of all groups.
    pub n_slots: usize,
    /// Alphas.
    pub n_alphas: usize,
    /// Voxels of the block.
    pub n_voxels: usize,
}

/// Squares of F b(a) over chunks of rows: `squares` `(n_chunks, n_alphas, n_voxels)` from `images`
/// `(n_rows, n_slots, n_voxels)` and `coefs` `(n_slots, n_alphas to whole eights)`. Groups of
/// components end at rows `ends` of F; `slots` `(n_groups + 1)` where their slots start.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn path_squares(
    lane: &Lane,
    images: &Part<'_, f32>,
    coefs: &Part<'_, f32>,
    (ends, slots): (&Part<'_, u32>, &Part<'_, u32>),
    squares: &mut PartMut<'_, f32>,
    piece: Squares,
) -> Result<()> {
    let kernel = "path_squares_f32";
    let Squares { first_row, n_rows, n_slots, n_alphas, n_voxels } = piece;
    let n_padded = n_alphas.next_multiple_of(PATH_ALPHAS);
    let n_groups = ends.len();
    let chunks = n_square_chunks(n_rows);
    holds(kernel, "images", images.len(), &[n_rows, n_slots, n_voxels])?;
    holds(kernel, "coefs", coefs.len(), &[n_slots, n_padded])?;
    holds(kernel, "group_slots", slots.len(), &[n_groups + 1])?;
    holds(kernel, "squares", squares.len(), &[chunks, n_alphas, n_voxels])?;
    let mut args = lane.builder(kernel);
    args.arg(images).arg(coefs).arg(ends).arg(slots).arg(squares).arg(&first_row).arg(&n_rows);
    args.arg(&n_groups).arg(&n_slots).arg(&n_padded).arg(&n_alphas).arg(&n_voxels);
    let grid = Grid::over(n_voxels.div_ceil(PATH_VOXELS))?.by(chunks, n_padded / PATH_ALPHAS)?;
    // SAFETY: path.cu: (images, coefs, group_ends, group_slots, squares, first_row, n_rows,
    // n_groups, n_slots, n_padded, n_alphas, n_voxels); x covers the voxels by fours, y chunks of
    // rows, z eights of alphas; squares are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// The same where every slot is an alpha's own path.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn row_squares(
    lane: &Lane,
    images: &Part<'_, f32>,
    squares: &mut PartMut<'_, f32>,
    (n_rows, n_alphas, n_voxels): (usize, usize, usize),
) -> Result<()> {
    let kernel = "row_squares_f32";
    let chunks = n_square_chunks(n_rows);
    holds(kernel, "images", images.len(), &[n_rows, n_alphas, n_voxels])?;
    holds(kernel, "squares", squares.len(), &[chunks, n_alphas, n_voxels])?;
    let mut args = lane.builder(kernel);
    args.arg(images).arg(squares).arg(&n_rows).arg(&n_alphas).arg(&n_voxels);
    let grid = Grid::over(n_voxels)?.by(chunks, n_alphas)?;
    // SAFETY: path.cu: (images, squares, n_rows, n_alphas, n_voxels); x covers the voxels, y chunks
    // of rows, z alphas; squares are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Adds chunks `squares` `(n_chunks, n_alphas, n_voxels)` to `totals` `(n_alphas, n_voxels)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn add_squares(
    lane: &Lane,
    squares: &Part<'_, f32>,
    totals: &mut PartMut<'_, f64>,
    (n_rows, n_alphas, n_voxels): (usize, usize, usize),
) -> Result<()> {
    let kernel = "add_squares_f64";
    let chunks = n_square_chunks(n_rows);
    holds(kernel, "squares", squares.len(), &[chunks, n_alphas, n_voxels])?;
    holds(kernel, "totals", totals.len(), &[n_alphas, n_voxels])?;
    let mut args = lane.builder(kernel);
    args.arg(squares).arg(totals).arg(&chunks).arg(&n_alphas).arg(&n_voxels);
    let grid = Grid::over(n_voxels)?.by(n_alphas, 1)?;
    // SAFETY: path.cu: (squares, totals, n_chunks, n_alphas, n_voxels); x covers the voxels, y
    // alphas; totals are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// What one fold's scores of one voxel block are made of.
pub struct BlockScores<'a, 'b> {
    /// `(n_alphas, width)`.
    pub numerators: &'a Part<'b, f32>,
    /// `(n_alphas, width)`; read for r2 alone.
    pub offsets: &'a Part<'b, f32>,
    /// `(n_alphas, n_voxels)`.
    pub totals: &'a Part<'b, f64>,
    /// `(n_alphas)`.
    pub norm_squares: &'a Part<'b, f64>,
    /// `(width)` Σ(y − ȳ)² over the validation rows.
    pub val_square: &'a Part<'b, f64>,
    /// `(width)` validation minus training mean.
    pub delta: &'a Part<'b, f64>,
    /// Validation rows.
    pub n_val: f64,
    /// The scorer is r2.
    pub is_r2: bool,
}

/// Adds one fold's scores of the voxels from `first_voxel` on to `sums` `(n_alphas, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn add_scores(
    lane: &Lane,
    from: BlockScores<'_, '_>,
    sums: &mut PartMut<'_, f64>,
    n_alphas: usize,
    (first_voxel, n_voxels): (usize, usize),
    width: usize,
) -> Result<()> {
    let kernel = "add_scores_f64";
    holds(kernel, "numerators", from.numerators.len(), &[n_alphas, width])?;
    if from.is_r2 {
        holds(kernel, "offsets", from.offsets.len(), &[n_alphas, width])?;
    }
    holds(kernel, "totals", from.totals.len(), &[n_alphas, n_voxels])?;
    holds(kernel, "norm_squares", from.norm_squares.len(), &[n_alphas])?;
    holds(kernel, "val_square", from.val_square.len(), &[width])?;
    holds(kernel, "delta", from.delta.len(), &[width])?;
    holds(kernel, "voxels", width, &[first_voxel + n_voxels])?;
    holds(kernel, "sums", sums.len(), &[n_alphas, width])?;
    let is_r2 = i32::from(from.is_r2);
    let mut args = lane.builder(kernel);
    args.arg(from.numerators).arg(from.offsets).arg(from.totals).arg(from.norm_squares);
    args.arg(from.val_square).arg(from.delta).arg(sums).arg(&from.n_val).arg(&is_r2);
    args.arg(&first_voxel).arg(&n_voxels).arg(&width);
    let grid = Grid::over(n_voxels)?.by(n_alphas, 1)?;
    // SAFETY: path.cu: (numerators, offsets, totals, norm_squares, val_square, delta, sums, n_val,
    // is_r2, first_voxel, n_voxels, width); x covers the voxels, y alphas; sums are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// Mean scores `cv_scores` `(n_alphas, width)` and `best` `(width)`, −1 for a dead voxel, from
/// `sums` `(n_alphas, width)` and `val_square` `(n_folds, width)`.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn select_alpha(
    lane: &Lane,
    sums: &Part<'_, f64>,
    val_square: &Part<'_, f64>,
    flags: &Part<'_, u8>,
    cv_scores: &mut PartMut<'_, f32>,
    best: &mut PartMut<'_, i32>,
    tolerance: f64,
    (n_alphas, n_folds, width): (usize, usize, usize),
) -> Result<()> {
    let kernel = "select_alpha_f32";
    holds(kernel, "sums", sums.len(), &[n_alphas, width])?;
    holds(kernel, "val_square", val_square.len(), &[n_folds, width])?;
    holds(kernel, "flags", flags.len(), &[width])?;
    holds(kernel, "cv_scores", cv_scores.len(), &[n_alphas, width])?;
    holds(kernel, "best", best.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(sums).arg(val_square).arg(flags).arg(cv_scores).arg(best);
    args.arg(&tolerance).arg(&n_alphas).arg(&n_folds).arg(&width);
    // SAFETY: path.cu: (sums, val_square, flags, cv_scores, best, tolerance, n_alphas, n_folds,
    // width); x covers width; outputs are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}
