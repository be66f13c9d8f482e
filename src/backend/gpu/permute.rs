//! Block permutations of a test-set correlation, for all voxels at once.

use std::sync::Arc;

use super::launch::{Card, Lane, permute_blocks};
use crate::error::{Error, Result};

/// Of every voxel, how many of `order`'s permutations correlate with `bold` at least as well as the
/// order that is: with n permutations p = (count + 1)/(n + 1).
///
/// `pred`, `bold`: `(n_rows, width)` row-major, without NaN. `order`: permutations of blocks of
/// `block_rows` rows, one behind the other; the blocks of predicted rows (the last may be shorter)
/// stand one behind the other in that order. Sums in f64; the unchanged order counts. Correlations
/// are compared by Σpy: the other four sums do not change with the order of rows, and a voxel that
/// does not vary counts every permutation. 2·n_perms flops a value.
/// # Errors
/// `Error::Shape` for extents that do not fit or an order that is no permutation; `Error::Device`,
/// `Error::DeviceMemory`.
pub fn permutation_counts(
    card: &Arc<Card>,
    (pred, bold): (&[f32], &[f32]),
    order: &[u32],
    block_rows: usize,
    (n_rows, width): (usize, usize),
) -> Result<Vec<u32>> {
    let fail = |expected: String, got: usize| Error::Shape {
        what: "block permutations".into(),
        expected,
        got: got.to_string(),
        hint: "this is a bug in voxelcast".into(),
    };
    let n_blocks = n_rows.div_ceil(block_rows.max(1));
    if block_rows == 0 || n_blocks == 0 || !order.len().is_multiple_of(n_blocks) {
        return Err(fail(format!("whole permutations of {n_blocks} blocks"), order.len()));
    }
    for values in [pred, bold] {
        if values.len() != n_rows * width {
            return Err(fail(format!("{n_rows} rows of {width} voxels"), values.len()));
        }
    }
    let mut seen = vec![usize::MAX; n_blocks];
    for (p, order) in order.chunks_exact(n_blocks).enumerate() {
        for &block in order {
            match seen.get_mut(block as usize) {
                Some(last) if *last != p => *last = p,
                _ => {
                    return Err(fail(format!("every block below {n_blocks} once"), block as usize));
                }
            }
        }
    }
    let lane = Lane::new(card)?;
    let pred = lane.upload("predictions", pred)?;
    let bold = lane.upload("BOLD", bold)?;
    let on_card = lane.upload("permutations", order)?;
    let mut counts = lane.alloc::<u32>("counts", &[width])?;
    permute_blocks(
        &lane,
        (&pred.first(n_rows * width), &bold.first(n_rows * width)),
        &on_card.first(order.len()),
        &mut counts.first_mut(width),
        (order.len() / n_blocks, block_rows),
        (n_rows, width),
    )?;
    let mut found = Vec::new();
    lane.read_vec(&counts.first(width), width, &mut found)?;
    Ok(found)
}
