//! Bands: columns of a model that share a weight, and a search over points of weights.
//!
//! With X_b scaled by √γ_b and one alpha for all columns, the weight of ‖w_b‖² is alpha/γ_b. Every
//! point γ is an ordinary ridge of scaled columns, and needs nothing of BOLD but the XᵀY of the
//! columns as they are: the scale goes into the eigenvectors.

use std::fmt::Debug;
use std::sync::Arc;

use super::ModelTile;
use super::rotation::{FoldPath, FullFit, Rotation};
use crate::error::Result;

/// One point in cross-validation; eigenvectors are scaled, so that they take unscaled XᵀY.
#[derive(Debug)]
pub struct PointFolds {
    /// One rotation a fold.
    pub folds: Vec<Rotation>,
    /// What the path over alphas needs, one a fold.
    pub paths: Vec<FoldPath>,
}

/// Where the eigenproblems of points come from: they are kept, or solved each time.
pub trait Points: Debug + Send + Sync {
    /// One point in cross-validation.
    fn folds(&self, point: usize) -> Result<Arc<PointFolds>>;
    /// One point on all training rows; its weights are those of unscaled columns. `None` where
    /// another worker is solving it, unless `waits`.
    fn full(&self, point: usize, waits: bool) -> Result<Option<Arc<FullFit>>>;
}

/// A search over band weights: each voxel takes the point and the alpha of its best score.
#[derive(Debug, Clone)]
pub struct BandSearch {
    /// `(n_features)` band of each un-delayed column.
    pub band_of: Vec<usize>,
    /// Bands.
    pub n_bands: usize,
    /// `(n_points, n_bands)` row-major: γ, ≥ 0.
    pub weights: Vec<f64>,
    /// Their eigenproblems.
    pub points: Arc<dyn Points>,
}

impl BandSearch {
    /// Points.
    pub fn n_points(&self) -> usize {
        self.weights.len() / self.n_bands.max(1)
    }

    /// γ of one point.
    pub fn weights(&self, point: usize) -> &[f64] {
        &self.weights[point * self.n_bands..(point + 1) * self.n_bands]
    }

    /// `(n_bands, width)` weight of each band's ‖w_b‖² as a tile's voxels chose it: alpha/γ_b,
    /// infinite for a band that is left out, NaN for a dead voxel.
    pub fn chosen_alphas(&self, model: &ModelTile, alphas: &[f64]) -> Vec<f64> {
        let width = model.best.len();
        let mut chosen = vec![f64::NAN; self.n_bands * width];
        for (v, (point, best)) in model.bands.point.iter().zip(&model.best).enumerate() {
            let (Some(point), Some(best)) = (*point, *best) else { continue };
            for (band, gamma) in self.weights(point).iter().enumerate() {
                chosen[band * width + v] = alphas[best] / gamma;
            }
        }
        chosen
    }
}
