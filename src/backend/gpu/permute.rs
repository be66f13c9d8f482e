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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::gpu::launch::{check_libraries, n_cards};

    /// Twin: permuted predictions written out, correlated in f64.
    fn twin(
        pred: &[f32],
        bold: &[f32],
        order: &[u32],
        len: usize,
        (n, w): (usize, usize),
    ) -> Vec<u32> {
        let product = |rows: &[usize], v: usize| -> f64 {
            let terms = rows.iter().map(|&t| f64::from(pred[t * w + v]));
            terms.enumerate().map(|(t, p)| p * f64::from(bold[t * w + v])).sum()
        };
        let same: Vec<usize> = (0..n).collect();
        let n_blocks = n.div_ceil(len);
        (0..w)
            .map(|v| {
                let observed = product(&same, v);
                let better = order.chunks_exact(n_blocks).filter(|order| {
                    let rows: Vec<usize> = order
                        .iter()
                        .flat_map(|&b| b as usize * len..n.min((b as usize + 1) * len))
                        .collect();
                    product(&rows, v) >= observed
                });
                better.count() as u32
            })
            .collect()
    }

    #[test]
    #[allow(clippy::print_stderr)]
    fn permutations_count_as_their_twin_and_the_unchanged_order_counts() {
        if check_libraries().is_err() || n_cards() == Ok(0) || n_cards().is_err() {
            assert!(std::env::var("VOXELCAST_REQUIRE").is_err(), "VOXELCAST_REQUIRE: no card");
            eprintln!("SKIPPED: block permutations: no card");
            return;
        }
        let card = Arc::new(Card::open(0).expect("it opens"));
        for (n, w, len) in [(40, 33, 10), (47, 131, 10), (9, 1, 10), (31, 2, 1)] {
            // Multiples of 1/8 up to 2: every product and sum is exact, ties included.
            let value = |i: usize| ((i * 7919 + i * i * 31) % 33) as f32 / 8.0 - 2.0;
            let pred: Vec<f32> = (0..n * w).map(value).collect();
            let bold: Vec<f32> = (0..n * w).map(|i| value(3 * i + 1)).collect();
            let n_blocks = n.div_ceil(len);
            let mut order = Vec::new();
            for p in 0..20 {
                // Rotations and reversals of the blocks; the first is the unchanged order.
                let turned = (0..n_blocks).map(|b| ((b + p / 2) % n_blocks) as u32);
                let mut turned: Vec<u32> = turned.collect();
                if p % 2 == 1 {
                    turned.reverse();
                }
                order.extend(turned);
            }
            let found = permutation_counts(&card, (&pred, &bold), &order, len, (n, w)).unwrap();
            assert_eq!(found, twin(&pred, &bold, &order, len, (n, w)));
            assert!(found.iter().all(|&count| (1..=20).contains(&count)));
        }
        let twice = permutation_counts(&card, (&[1.0; 20], &[1.0; 20]), &[0, 0], 10, (20, 1));
        assert!(twice.unwrap_err().to_string().contains("every block below 2 once"));
    }
}
