//! The problem in device memory: once a card, shared by the engines that work on it.

use std::sync::Arc;

use super::launch::{Buffer, Card, Lane};
use crate::backend::device::Precision;
use crate::backend::{FoldPath, Model, Problem, Rotate, Rotation, Space};
use crate::error::Result;
use crate::matrix::StoryDesign;
use crate::product::packed::Packed;

/// One block's un-delayed design on the card.
pub enum GpuDesign {
    /// `(n_rows, n_features)`.
    Dense(Buffer<f32>),
    /// CSR, and what is taken off each column inside of the block.
    Sparse {
        /// `(n_rows + 1)`.
        indptr: Buffer<u64>,
        /// Column of each entry.
        indices: Buffer<u32>,
        /// Value of each entry.
        values: Buffer<f32>,
        /// Entries.
        n_entries: usize,
        /// `(n_features)`.
        center: Buffer<f32>,
    },
}

/// One feature space on the card.
pub struct GpuSpace {
    /// `(n_delays)`.
    pub delays: Buffer<i64>,
    /// Training designs; empty where no model needs them.
    pub train: Vec<GpuDesign>,
    /// Test designs; empty where no model needs them.
    pub test: Vec<GpuDesign>,
    /// XᵀY of this space is summed up.
    pub is_primal: bool,
}

/// How BOLD gets into a fold's components; `(n_components, depth)` left factors.
pub enum GpuRotate {
    /// Both from XᵀY.
    Primal {
        /// Where this fold's `(n_components, n_coefs)` starts in `GpuModel::q`.
        q_start: usize,
        /// `(n_coefs)`.
        val_sums: Buffer<f64>,
    },
    /// Both from rows of BOLD.
    Dual {
        /// `(n_components, n_train)`.
        u: Buffer<f32>,
        /// `(n_components, n_val)`.
        p: Buffer<f32>,
        /// `(n_train)` rows of BOLD, in the order of the blocks.
        train: Buffer<u64>,
        /// `(n_val)`.
        val: Buffer<u64>,
        /// Their numbers.
        n: (usize, usize),
    },
    /// Both from stacked statistics.
    Stacked {
        /// `(n_components, n_stacked)`.
        to_z: Buffer<f32>,
        /// `(n_components, n_val)`.
        to_t: Buffer<f32>,
        /// `(n_stacked)` rows of XᵀY, or −1 − k for the first row of fold k.
        source: Buffer<i64>,
        /// Their numbers.
        n: (usize, usize),
    },
}

/// One fold of one model on the card.
pub struct GpuFold {
    /// From BOLD to z and t.
    pub rotate: GpuRotate,
    /// `(n_rows, n_components)`.
    pub factor: Buffer<f32>,
    /// `(n_components)` lengths of its columns.
    pub factor_norms: Buffer<f64>,
    /// `(n_alphas, n_components)`.
    pub inverses: Buffer<f32>,
    /// `(n_alphas, n_components)`; r2 alone.
    pub offsets: Option<Buffer<f32>>,
}

/// The refit of one model on the card.
pub struct GpuFull {
    /// `(n_components)`.
    pub eigvals: Buffer<f64>,
    /// `(n_components, depth)`.
    pub into: Buffer<f32>,
    /// `(_, n_components)`.
    pub back: Buffer<f32>,
    /// `(n_coefs)`.
    pub x_means: Buffer<f64>,
    /// Dual: every row; stacked: every statistic.
    pub rows: Buffer<u64>,
    /// Stacked: as `GpuRotate::Stacked`.
    pub source: Buffer<i64>,
    /// One a test block; empty for the primal route.
    pub test_rows: Vec<Buffer<f32>>,
}

/// One model on the card.
pub struct GpuModel {
    /// `(n_coefs)` a coefficient's column in its space.
    pub columns: Buffer<u64>,
    /// `(n_delays)` the model's own.
    pub delays: Buffer<i64>,
    /// Eigenvectors of every fold, one behind the other: a batch of products strides over them.
    /// Primal route alone.
    pub q: Buffer<f32>,
    /// One a fold.
    pub folds: Vec<GpuFold>,
    /// All training rows.
    pub full: GpuFull,
}

/// A loaded problem on one card.
pub struct GpuProblem<'p> {
    /// On the host.
    pub problem: &'p Problem,
    /// The card.
    pub card: Arc<Card>,
    /// Of the denominators' products.
    pub precision: Precision,
    /// One a space.
    pub spaces: Vec<GpuSpace>,
    /// One a model.
    pub models: Vec<GpuModel>,
    /// `(n_alphas)`.
    pub alphas: Buffer<f64>,
    /// `(n_folds)` rows.
    pub fold_rows: Buffer<f64>,
}

impl<'p> GpuProblem<'p> {
    /// Copies everything that does not depend on BOLD to a card.
    /// # Errors
    /// `Error::DeviceMemory` (exit 4) with the numbers if it does not fit; `Error::Device`.
    pub fn new(problem: &'p Problem, card: Card, precision: Precision) -> Result<Self> {
        let card = Arc::new(card);
        let lane = Lane::new(&card)?;
        let rows: Vec<f64> = problem.fold_rows().iter().map(|&n| n as f64).collect();
        let space = |index: usize| upload_space(&lane, problem, index);
        let made = Self {
            problem,
            precision,
            spaces: (0..problem.spaces.len()).map(space).collect::<Result<_>>()?,
            models: problem
                .models
                .iter()
                .map(|model| upload_model(&lane, problem, model))
                .collect::<Result<_>>()?,
            alphas: lane.upload("alphas", &problem.settings.alphas)?,
            fold_rows: lane.upload("fold sizes", &rows)?,
            card: Arc::clone(&card),
        };
        lane.synchronize()?;
        Ok(made)
    }
}

/// Whether a space's XᵀY is summed up, and whether its training and test designs are needed at all.
fn needs(problem: &Problem, index: usize) -> (bool, bool, bool) {
    let models = || problem.models.iter().filter(|model| model.space == index);
    let is_primal = models().any(|model| !model.is_dual());
    let train = is_primal || models().any(|model| model.wants_coef);
    let test = models().any(|model| !model.is_dual() && !model.is_stacked());
    (is_primal, train, test)
}

fn upload_space(lane: &Lane, problem: &Problem, index: usize) -> Result<GpuSpace> {
    let space = &problem.spaces[index];
    let (is_primal, train, test) = needs(problem, index);
    let upload = |designs: &[StoryDesign], is_needed: bool| -> Result<Vec<GpuDesign>> {
        let designs = designs.iter().filter(|_| is_needed);
        designs.map(|design| upload_design(lane, design)).collect()
    };
    Ok(GpuSpace {
        delays: lane.upload("delays", &space.delays)?,
        train: upload(&space.train, train)?,
        test: upload(&space.test, test)?,
        is_primal,
    })
}

fn upload_design(lane: &Lane, design: &StoryDesign) -> Result<GpuDesign> {
    Ok(match design {
        StoryDesign::Dense(x) => {
            let x = x.as_slice().expect("designs are row-major");
            GpuDesign::Dense(lane.upload("a design", x)?)
        }
        StoryDesign::Sparse { rows, center } => {
            let indptr: Vec<u64> = rows.indptr.iter().map(|&at| at as u64).collect();
            GpuDesign::Sparse {
                indptr: lane.upload("a sparse design", &indptr)?,
                indices: lane.upload("a sparse design", &rows.indices)?,
                values: lane.upload("a sparse design", &rows.values)?,
                n_entries: rows.values.len(),
                center: lane.upload("a sparse design", center)?,
            }
        }
    })
}

fn upload_packed(lane: &Lane, what: &str, packed: &Packed) -> Result<Buffer<f32>> {
    lane.upload(what, &packed.to_rows())
}

/// A coefficient's column in its space.
fn columns_of(space: &Space, model: &Model) -> Vec<u64> {
    let d = space.n_features;
    let of_delay = |&delay: &usize| (delay * d..(delay + 1) * d).map(|column| column as u64);
    model.delays.iter().flat_map(of_delay).collect()
}

/// Which statistics are stacked: the first rows of all folds but `skip`, then their others.
fn stacked_source(problem: &Problem, model: &Model, skip: Option<usize>) -> Vec<i64> {
    let (p, columns) = (problem.n_coefs(model), problem.spaces[model.space].n_columns());
    let folds = || problem.fold_rows().into_iter().enumerate().filter(|&(k, _)| Some(k) != skip);
    let firsts = folds().map(|(k, _)| -1 - k as i64);
    let others = folds().flat_map(|(k, n)| {
        let n_own = n.saturating_sub(1).min(p);
        (k * columns..k * columns + n_own).map(|row| row as i64)
    });
    firsts.chain(others).collect()
}

/// Rows of BOLD of a fold, or of all others.
fn rows_of(problem: &Problem, fold: usize, is_val: bool) -> Vec<u64> {
    let mut rows = Vec::new();
    let mut start = 0u64;
    for block in &problem.blocks {
        let end = start + block.n_rows as u64;
        if (block.fold == fold) == is_val {
            rows.extend(start..end);
        }
        start = end;
    }
    rows
}

fn upload_fold(
    lane: &Lane,
    problem: &Problem,
    model: &Model,
    fold: usize,
    (rotation, path): (&Rotation, &FoldPath),
    all_q: &mut Vec<f32>,
) -> Result<GpuFold> {
    let rotate = match &rotation.rotate {
        Rotate::Primal { q, val_sums } => {
            let q_start = all_q.len();
            all_q.extend(q.to_rows());
            GpuRotate::Primal { q_start, val_sums: lane.upload("column sums", val_sums)? }
        }
        Rotate::Dual { u, p } => {
            let (train, val) = (rows_of(problem, fold, false), rows_of(problem, fold, true));
            GpuRotate::Dual {
                u: upload_packed(lane, "eigenvectors", u)?,
                p: upload_packed(lane, "eigenvectors", p)?,
                n: (train.len(), val.len()),
                train: lane.upload("rows", &train)?,
                val: lane.upload("rows", &val)?,
            }
        }
        Rotate::Stacked { to_z, to_t } => {
            let source = stacked_source(problem, model, Some(fold));
            GpuRotate::Stacked {
                to_z: upload_packed(lane, "factors", to_z)?,
                to_t: upload_packed(lane, "factors", to_t)?,
                n: (source.len(), to_t.depth()),
                source: lane.upload("rows", &source)?,
            }
        }
    };
    let offsets = path.offsets.as_ref().map(|offsets| upload_packed(lane, "path", offsets));
    Ok(GpuFold {
        rotate,
        factor: upload_packed(lane, "factors", &rotation.factor)?,
        factor_norms: lane.upload("factors", &rotation.factor_norms)?,
        inverses: upload_packed(lane, "path", &path.inverses)?,
        offsets: offsets.transpose()?,
    })
}

fn upload_model(lane: &Lane, problem: &Problem, model: &Model) -> Result<GpuModel> {
    let space = &problem.spaces[model.space];
    let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
    let full = &model.full;
    let rows: Vec<u64> = match model.is_dual() {
        true => (0..problem.n_train() as u64).collect(),
        false => Vec::new(),
    };
    let source = match model.is_stacked() {
        true => stacked_source(problem, model, None),
        false => Vec::new(),
    };
    let mut all_q = Vec::new();
    let folds = model.folds.iter().zip(&model.paths).enumerate();
    let folds = folds
        .map(|(k, fold)| upload_fold(lane, problem, model, k, fold, &mut all_q))
        .collect::<Result<_>>()?;
    Ok(GpuModel {
        q: lane.upload("eigenvectors", &all_q)?,
        columns: lane.upload("columns", &columns_of(space, model))?,
        delays: lane.upload("delays", &delays)?,
        folds,
        full: GpuFull {
            eigvals: lane.upload("eigenvalues", &full.eigvals)?,
            into: upload_packed(lane, "eigenvectors", &full.into)?,
            back: upload_packed(lane, "eigenvectors", &full.back)?,
            x_means: lane.upload("column means", &full.x_means)?,
            rows: lane.upload("rows", &rows)?,
            source: lane.upload("rows", &source)?,
            test_rows: full
                .test_rows
                .iter()
                .map(|rows| upload_packed(lane, "test rows", rows))
                .collect::<Result<_>>()?,
        },
    })
}

/// Bytes that [`GpuProblem::new`] takes on a card.
pub fn problem_bytes(problem: &Problem) -> usize {
    let packed = |p: &Packed| p.rows() * p.depth();
    let design = |x: &StoryDesign| match x {
        StoryDesign::Dense(x) => x.len(),
        StoryDesign::Sparse { rows, center } => {
            2 * rows.n_entries() + 2 * rows.indptr.len() + center.len()
        }
    };
    let mut values = 0;
    for (index, space) in problem.spaces.iter().enumerate() {
        let (_, train, test) = needs(problem, index);
        values += space.train.iter().filter(|_| train).map(design).sum::<usize>();
        values += space.test.iter().filter(|_| test).map(design).sum::<usize>();
    }
    for model in &problem.models {
        for (rotation, path) in model.folds.iter().zip(&model.paths) {
            values += match &rotation.rotate {
                Rotate::Primal { q, val_sums } => packed(q) + 2 * val_sums.len(),
                Rotate::Dual { u, p } => packed(u) + packed(p) + 2 * (u.depth() + p.depth()),
                Rotate::Stacked { to_z, to_t } => packed(to_z) + packed(to_t) + 2 * to_z.depth(),
            };
            values += packed(&rotation.factor) + packed(&path.inverses);
            values += path.offsets.as_ref().map_or(0, packed);
        }
        let full = &model.full;
        values += packed(&full.into) + packed(&full.back) + 2 * full.eigvals.len();
        values += full.test_rows.iter().map(packed).sum::<usize>();
        values += 4 * (problem.n_coefs(model) + problem.n_train());
    }
    values * size_of::<f32>()
}
