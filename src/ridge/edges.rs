//! Voxels whose best alpha lies at the end of the grid: plateau or true edge.

use serde::{Deserialize, Serialize};

/// How many voxels ended up at the ends of the alpha grid.
///
/// Correlation does not see amplitude: for large alphas all weights shrink alike and the curve is
/// flat. A voxel whose best score is at an end but within `PLATEAU_SHARE` of the best inner score
/// is on such a plateau; the others are true edges, where a wider grid could do better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlphaEdges {
    /// Best alpha is the smallest one, and clearly.
    pub n_low: usize,
    /// Best alpha is the largest one, and clearly.
    pub n_high: usize,
    /// Best alpha is at an end, on a plateau.
    pub n_plateau: usize,
}

/// Share of the best score that an inner alpha may be worse by for a plateau.
const PLATEAU_SHARE: f32 = 0.01;

impl AlphaEdges {
    /// Counts one voxel: its scores over the grid, and its best index.
    pub fn count(&mut self, scores: impl Iterator<Item = f32> + Clone, best: usize) {
        let n = scores.clone().count();
        if n < 3 || (best != 0 && best != n - 1) {
            return;
        }
        let top = scores.clone().nth(best).unwrap_or(f32::NAN);
        let inner = scores.skip(1).take(n - 2).fold(f32::MIN, f32::max);
        if top - inner <= PLATEAU_SHARE * top.abs() {
            self.n_plateau += 1;
        } else if best == 0 {
            self.n_low += 1;
        } else {
            self.n_high += 1;
        }
    }

    /// Sums two counts.
    pub fn add(&mut self, other: Self) {
        self.n_low += other.n_low;
        self.n_high += other.n_high;
        self.n_plateau += other.n_plateau;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plateaus_are_told_from_true_edges() {
        let mut edges = AlphaEdges::default();
        let mut count = |scores: &[f32], best| edges.count(scores.iter().copied(), best);
        count(&[0.1, 0.2, 0.1], 1); // inside
        count(&[0.1, 0.199, 0.2], 2); // plateau
        count(&[0.1, 0.19, 0.2], 2); // edge
        count(&[0.3, 0.2, 0.1], 0); // edge
        count(&[-0.1, -0.1005, -0.2], 0); // plateau, negative scores
        count(&[0.1, 0.2], 1); // two alphas have no inside
        assert_eq!(edges, AlphaEdges { n_low: 1, n_high: 1, n_plateau: 2 });
    }
}
