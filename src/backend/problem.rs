//! Everything a solver needs that does not depend on BOLD.

use std::sync::Arc;

use faer::Mat;
use ndarray::Array2;

use super::band_form::BandForm;
use super::bands::BandSearch;
use super::basis::{AlphaGroups, FactorShape};
use super::permutations::Permutations;
use crate::error::Result;
use crate::matrix::StoryDesign;
use crate::product::packed::Packed;

/// How predictions are scored in cross-validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scorer {
    /// Pearson r; does not see amplitude or offset.
    Correlation,
    /// 1 − Σ(y − ŷ)²/Σ(y − ȳ)², ȳ over the validation rows.
    R2,
}

/// Contiguous rows that belong to one fold; delays never cross its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Fold that holds these rows out.
    pub fold: usize,
    /// Number of rows.
    pub n_rows: usize,
}

/// One feature space: un-delayed designs, and every delay that a model on it needs.
#[derive(Debug, Default)]
pub struct Space {
    /// Delays in rows; row t of the delayed design is row t − delay, zero outside the block.
    pub delays: Vec<i64>,
    /// Number of un-delayed columns.
    pub n_features: usize,
    /// One design per training block.
    pub train: Vec<StoryDesign>,
    /// One design per test block.
    pub test: Vec<StoryDesign>,
    /// What rounding the training designs to f32 left of f64 values, per block; the svd route adds
    /// it. Empty where nothing is left.
    pub train_rest: Vec<Array2<f32>>,
    /// The same of the test designs.
    pub test_rest: Vec<Array2<f32>>,
    /// What is known of each training block's Gram matrix; empty where it is not.
    pub products: Vec<Arc<LagProducts>>,
    /// The columns of `products` that are this space's, in its order; `None`: all, in theirs.
    pub columns: Option<Arc<[usize]>>,
}

/// One block's products of un-delayed rows, one `(n_features, n_features)` for each difference of a
/// space's delays: all that is large in the Gram matrix of the delayed rows. That of difference 0 has
/// its lower triangle alone.
#[derive(Debug)]
pub struct LagProducts {
    /// One a difference.
    pub products: Vec<Mat<f64>>,
    /// `(n_features)` column sums.
    pub sums: Vec<f64>,
}

impl Space {
    /// Columns of the design over all of this space's delays.
    pub fn n_columns(&self) -> usize {
        self.n_features * self.delays.len()
    }
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

/// A primal model without eigenvectors, for few voxels: `folds`, `paths` and the eigenvectors of
/// `full` are empty then.
#[derive(Debug)]
pub struct FewFit {
    /// One a fold.
    pub folds: Vec<FewFold>,
    /// The centred Gram matrix of all training rows.
    pub full: BandForm,
}

impl FewFit {
    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        let fold = |fold: &FewFold| {
            fold.train.bytes() + fold.factor.rows() * fold.factor.depth() * size_of::<f32>()
        };
        self.full.bytes() + self.folds.iter().map(fold).sum::<usize>()
    }
}

/// One fold of a [`FewFit`]: the training side is Q B Qᵀ.
#[derive(Debug)]
pub struct FewFold {
    /// The centred Gram matrix of the training rows.
    pub train: BandForm,
    /// `(_, n_coefs)`: F Q with FᵀF the second moments of the centred validation rows.
    pub factor: Packed,
    /// `(n_coefs)` column sums over the validation rows.
    pub val_sums: Vec<f64>,
    /// `(n_coefs)` Qᵀ (mean of the validation rows minus mean of the training rows); r2 needs it.
    pub delta: Vec<f64>,
    /// Validation rows.
    pub n_val: usize,
}

/// One ridge model: a space with some of its delays.
#[derive(Debug)]
pub struct Model {
    /// Index into the problem's spaces.
    pub space: usize,
    /// Indices into the space's delays, in the order of the weights' rows.
    pub delays: Vec<usize>,
    /// One rotation a fold.
    pub folds: Vec<Rotation>,
    /// What the path over alphas needs, one a fold.
    pub paths: Vec<FoldPath>,
    /// All training rows.
    pub full: FullFit,
    /// In place of eigenvectors, where few voxels are solved; the CPU's engine alone knows it.
    pub few: Option<FewFit>,
    /// Bands with an alpha each: a search over points in place of `folds`, `paths` and all of `full`
    /// but the means; the CPU's engine alone knows it.
    pub search: Option<BandSearch>,
    /// Whether weights are wanted; the dual route saves a product without them.
    pub wants_coef: bool,
}

impl Model {
    /// True where the model is solved through the kernel of its rows.
    pub fn is_dual(&self) -> bool {
        matches!(self.folds.first().map(|f| &f.rotate), Some(Rotate::Dual { .. }))
    }

    /// True where the model is solved through stacked orthogonal factors.
    pub fn is_stacked(&self) -> bool {
        matches!(self.folds.first().map(|f| &f.rotate), Some(Rotate::Stacked { .. }))
    }
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

/// A loaded study: blocks of rows, spaces, models.
#[derive(Debug)]
pub struct Problem {
    /// Number of folds.
    pub n_folds: usize,
    /// Training blocks, in the order in which they are added.
    pub blocks: Vec<Block>,
    /// Rows of each test block.
    pub test_blocks: Vec<usize>,
    /// Feature spaces.
    pub spaces: Vec<Space>,
    /// Models.
    pub models: Vec<Model>,
    /// Alphas and how to choose among them.
    pub settings: PathSettings,
    /// The permutation test over all test rows, if it is wanted.
    pub permutations: Option<Permutations>,
}

impl Problem {
    /// Rows of each fold.
    pub fn fold_rows(&self) -> Vec<usize> {
        let mut rows = vec![0; self.n_folds];
        for block in &self.blocks {
            rows[block.fold] += block.n_rows;
        }
        rows
    }

    /// All training rows.
    pub fn n_train(&self) -> usize {
        self.blocks.iter().map(|b| b.n_rows).sum()
    }

    /// All test rows.
    pub fn n_test(&self) -> usize {
        self.test_blocks.iter().sum()
    }

    /// Numbers fitted for each voxel: weights, dual weights, or weights of components.
    pub fn n_fitted(&self, model: &Model) -> usize {
        match model.folds.first().map(|fold| &fold.rotate) {
            Some(Rotate::Dual { .. }) => self.n_train(),
            Some(Rotate::Stacked { .. }) => model.full.eigvals.len(),
            _ => self.n_coefs(model),
        }
    }

    /// Columns of a model's design.
    pub fn n_coefs(&self, model: &Model) -> usize {
        self.spaces[model.space].n_features * model.delays.len()
    }
}
