//! Everything a solver needs that does not depend on BOLD.

use std::ops::Range;
use std::sync::Arc;

use faer::Mat;
use ndarray::Array2;

use super::band_form::BandForm;
use super::bands::BandSearch;
use super::permutations::Permutations;
use super::rotation::{FoldPath, FullFit, PathSettings, Rotate, Rotation};
use crate::matrix::StoryDesign;
use crate::product::packed::Packed;

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

/// A loaded study: blocks of rows, spaces, models.
#[derive(Debug)]
pub struct Problem {
    /// Number of folds.
    pub n_folds: usize,
    /// Training blocks, in the order in which they are added.
    pub blocks: Vec<Block>,
    /// Rows of each test block.
    pub test_blocks: Vec<usize>,
    /// Rows of each test block that are far from its edges, scored once more by themselves; empty
    /// where they are not wanted.
    pub inner: Vec<Range<usize>>,
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
    /// Without models, test rows and permutations.
    pub fn new(
        n_folds: usize,
        blocks: Vec<Block>,
        spaces: Vec<Space>,
        settings: PathSettings,
    ) -> Self {
        Self {
            n_folds,
            blocks,
            test_blocks: Vec::new(),
            inner: Vec::new(),
            spaces,
            models: Vec::new(),
            settings,
            permutations: None,
        }
    }

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
