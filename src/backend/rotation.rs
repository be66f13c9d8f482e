//! One fold in the coordinates that make ridge diagonal, and how its alphas are gone through.

use serde::Serialize;

use super::basis::{AlphaGroups, FactorShape};
use crate::error::Result;
use crate::product::packed::Packed;

/// How predictions are scored in cross-validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scorer {
    /// Pearson r; does not see amplitude or offset.
    Correlation,
    /// 1 − Σ(y − ŷ)²/Σ(y − ȳ)², ȳ over the validation rows.
    R2,
}

/// How BOLD gets into a fold's components.
#[derive(Debug)]
pub enum Rotate {
    /// z = Qᵀ(XᵀY of the training rows), t = Qᵀ(XᵀY of the validation rows), both centred.
    Primal {
        /// `(n_components, n_coefs)`: eigenvectors of the centred training Gram as rows.
        q: Packed,
        /// `(n_coefs)` column sums over the validation rows.
        val_sums: Vec<f64>,
    },
    /// z = Uᵀ Y over the training rows, t = Pᵀ Y over the validation rows, both centred.
    Dual {
        /// `(n_components, n_train)`: eigenvectors of the centred training kernel as rows.
        u: Packed,
        /// `(n_components, n_val)`: validation kernel times eigenvectors, transposed; rows centred
        /// over the validation rows.
        p: Packed,
    },
    /// Stacked orthogonal factors: a fold's statistic is Q_kᵀ Y_k, its first row √n · mean, the
    /// min(n_k − 1, n_coefs) others the XᵀY of a space whose designs are Q_k without its first
    /// column.
    Stacked {
        /// `(n_components, _)`: z = to_z · first rows of all other folds, then their other rows,
        /// fold by fold.
        to_z: Packed,
        /// `(n_components, _)`: t = to_t · the fold's own other rows.
        to_t: Packed,
    },
}

/// One fold in the coordinates that make ridge diagonal: b = z / (eigvals + alpha).
#[derive(Debug)]
pub struct Rotation {
    /// Length of z.
    pub n_components: usize,
    /// From BOLD to z and t.
    pub rotate: Rotate,
    /// `(n_components)` eigenvalues of the centred training Gram (or kernel), ≥ 0.
    pub eigvals: Vec<f64>,
    /// `(_, n_components)`: a matrix F with FᵀF = the validation rows' second moments in component
    /// space. Upper triangular, or the rotated validation rows themselves.
    pub factor: Packed,
    /// The factor is upper triangular.
    pub upper: bool,
    /// `(n_components)` √diag of those second moments.
    pub factor_norms: Vec<f64>,
    /// `(n_components)` mean of the validation rows minus mean of the training rows (minus zero
    /// without an intercept); r2 needs it.
    pub delta: Vec<f32>,
    /// Training rows of this fold.
    pub n_train: usize,
    /// Validation rows of this fold.
    pub n_val: usize,
}

impl Rotation {
    /// `(n_components)` the size of each component in a denominator, up to a factor, for BOLD that
    /// is no more one direction of the design than another: its z is like √λ.
    pub fn expected_sizes(&self) -> Vec<f64> {
        self.factor_norms.iter().zip(&self.eigvals).map(|(norm, l)| norm * l.sqrt()).collect()
    }
}

/// What a fold's path over alphas needs beside its rotation; nothing here depends on BOLD.
#[derive(Debug)]
pub struct FoldPath {
    /// `(n_alphas, n_components)` 1/(λ + a).
    pub inverses: Packed,
    /// `(n_alphas, n_components)` δ/(λ + a); for the r2 scorer alone.
    pub offsets: Option<Packed>,
    /// Groups of the alpha basis.
    pub groups: AlphaGroups,
}

impl FoldPath {
    /// Of one fold.
    /// # Errors
    /// `Error::Numerical` from the alpha basis.
    pub fn new(rotation: &Rotation, settings: &PathSettings) -> Result<Self> {
        let (m, alphas) = (rotation.n_components, &settings.alphas);
        let inverse = |a: usize, i: usize| 1.0 / (rotation.eigvals[i] + alphas[a]);
        let offset = |a: usize, i: usize| (f64::from(rotation.delta[i]) * inverse(a, i)) as f32;
        let offsets =
            (settings.scorer == Scorer::R2).then(|| Packed::from_fn(alphas.len(), m, offset));
        let sizes = rotation.expected_sizes();
        let n_rows = (!rotation.upper).then(|| rotation.factor.rows());
        let factor = FactorShape { n_rows, layout: rotation.factor.layout() };
        let tolerance = settings.basis_tolerance;
        Ok(Self {
            inverses: Packed::from_fn(alphas.len(), m, |a, i| inverse(a, i) as f32),
            offsets,
            groups: AlphaGroups::new(&rotation.eigvals, &sizes, factor, alphas, tolerance)?,
        })
    }
}

/// The refit on all training rows.
#[derive(Debug, Default)]
pub struct FullFit {
    /// `(n_components)` eigenvalues of the centred Gram (or kernel).
    pub eigvals: Vec<f64>,
    /// `(n_components, _)`: from BOLD to components. Over n_coefs rows of XᵀY for the primal route,
    /// n_rows of BOLD for the dual, stacked statistics (as `Rotate::Stacked`'s) for svd.
    pub into: Packed,
    /// `(_, n_components)`: from components to weights (primal and svd) or dual weights.
    pub back: Packed,
    /// `(n_coefs)` column means over the training rows; zeros without an intercept.
    pub x_means: Vec<f64>,
    /// Dual route: one `(n_rows, n_train)` kernel per test block, centred by training means. Svd
    /// route: `(n_rows, n_components)` rotated test rows, centred likewise. Empty for the primal.
    pub test_rows: Vec<Packed>,
}

/// Settings of the path over alphas.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `alphas` | 10^0…10^8, two a decade | weights of ‖w‖² | > 0, increasing |
/// | `scorer` | correlation | validation score | |
/// | `fit_intercept` | true | centre by training means | |
/// | `alpha_tolerance` | 0 | smallest alpha within this share of the best score | ≥ 0 |
/// | `basis_tolerance` | 1e-5 | largest relative error of b in the alpha basis; below 1e-6 exact | 0…1 |
/// | `few_voxels` | none | voxels to be solved in all, where they may be few enough for no eigenvectors | |
/// | `block_voxels` | 512 | voxels that share an alpha basis; fixed borders | multiple of 32 |
#[derive(Debug, Clone)]
pub struct PathSettings {
    /// The grid.
    pub alphas: Vec<f64>,
    /// Validation score.
    pub scorer: Scorer,
    /// Centre by training means.
    pub fit_intercept: bool,
    /// Share of the best score within which the smallest alpha is taken.
    pub alpha_tolerance: f64,
    /// Largest relative error of b in the alpha basis.
    pub basis_tolerance: f64,
    /// Voxels to be solved in all, for an engine of the CPU.
    pub few_voxels: Option<usize>,
    /// Voxels that share an alpha basis.
    pub block_voxels: usize,
}

impl PathSettings {
    /// The documented defaults with these alphas.
    pub fn new(alphas: Vec<f64>) -> Self {
        Self {
            alphas,
            scorer: Scorer::Correlation,
            fit_intercept: true,
            alpha_tolerance: 0.0,
            basis_tolerance: 1e-5,
            few_voxels: None,
            block_voxels: 512,
        }
    }
}
