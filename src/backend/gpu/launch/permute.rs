//! `kernels/permute.cu`: block permutations of a test-set correlation.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{Grid, holds};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// `counts` `(width)`: of `n_perms` orders of blocks of `block_rows` predicted rows, how many
/// correlate with `bold` at least as well as the order that is. `pred`, `bold` `(n_rows, width)`;
/// `order` `(n_perms, n_blocks)`, each row a permutation of 0…n_blocks − 1, checked by the caller.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn permute_blocks(
    lane: &Lane,
    (pred, bold): (&Part<'_, f32>, &Part<'_, f32>),
    order: &Part<'_, u32>,
    counts: &mut PartMut<'_, u32>,
    (n_perms, block_rows): (usize, usize),
    (n_rows, width): (usize, usize),
) -> Result<()> {
    let kernel = "permute_blocks_f64";
    let n_blocks = n_rows.div_ceil(block_rows.max(1));
    holds(kernel, "pred", pred.len(), &[n_rows, width])?;
    holds(kernel, "bold", bold.len(), &[n_rows, width])?;
    holds(kernel, "order", order.len(), &[n_perms, n_blocks])?;
    holds(kernel, "counts", counts.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(pred).arg(bold).arg(order).arg(counts);
    args.arg(&n_perms).arg(&n_blocks).arg(&block_rows).arg(&n_rows).arg(&width);
    // SAFETY: permute.cu: (pred, bold, order, counts, n_perms, n_blocks, block_rows, n_rows, width);
    // orders hold blocks below n_blocks, so rows below n_rows; counts are borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}
