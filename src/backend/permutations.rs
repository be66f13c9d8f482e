//! Which blocks of test rows change places in the permutation test.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Permutations of blocks of test rows, the same for every voxel and model.
///
/// All test rows stand one after the other, block of the problem after block, and are cut into
/// pieces of `block_rows` from the first row on; a piece may reach from one story into the next.
/// The last n mod `block_rows` rows are in no piece and stay where they are: every permutation is
/// one of whole rows, so that means and norms, and with them the order of r, follow from one dot
/// product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutations {
    /// How many.
    pub n: usize,
    /// Rows of a piece.
    pub block_rows: usize,
    /// Pieces.
    pub n_blocks: usize,
    /// `(n_permutations, n_blocks)`: the piece of the prediction that meets each piece of BOLD.
    pub table: Vec<u32>,
}

impl Permutations {
    /// `n` permutations for `n_rows` test rows, each shuffled anew by ChaCha8 seeded with `seed`.
    pub fn new(n_rows: usize, block_rows: usize, n: usize, seed: u64) -> Self {
        let block_rows = block_rows.max(1);
        let n_blocks = n_rows / block_rows;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = (0..n_blocks as u32).collect();
        let mut table = Vec::with_capacity(n * n_blocks);
        for _ in 0..n {
            order.shuffle(&mut rng);
            table.extend_from_slice(&order);
        }
        Self { n, block_rows, n_blocks, table }
    }

    /// The permutations, one row each.
    pub fn rows(&self) -> impl Iterator<Item = &[u32]> {
        self.table.chunks_exact(self.n_blocks.max(1))
    }

    /// Rows that may change places.
    pub fn n_moved_rows(&self) -> usize {
        self.n_blocks * self.block_rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_a_permutation_and_the_seed_decides() {
        let made = Permutations::new(67, 10, 50, 3);
        assert_eq!((made.n_blocks, made.n_moved_rows()), (6, 60));
        assert_eq!(made.rows().count(), 50);
        for row in made.rows() {
            let mut sorted = row.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4, 5]);
        }
        assert_eq!(made, Permutations::new(67, 10, 50, 3));
        assert_ne!(made, Permutations::new(67, 10, 50, 4));
        assert_eq!(Permutations::new(9, 10, 5, 3).rows().count(), 0);
    }

    #[test]
    fn pieces_stand_everywhere_equally_often() {
        let n = 6000;
        let made = Permutations::new(40, 10, n, 1);
        let mut counts = [[0usize; 4]; 4];
        for row in made.rows() {
            row.iter().zip(&mut counts).for_each(|(&piece, at)| at[piece as usize] += 1);
        }
        // A binomial count: 5 standard deviations.
        let (expected, sd) = (n as f64 / 4.0, (n as f64 * 0.25 * 0.75).sqrt());
        for &count in counts.iter().flatten() {
            assert!((count as f64 - expected).abs() < 5.0 * sd, "{counts:?}");
        }
    }
}
