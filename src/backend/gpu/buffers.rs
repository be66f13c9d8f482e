//! What one tile of voxels takes on a card, and how wide a tile may be.

use super::launch::{
    Buffer, Card, Lane, PATH_ALPHAS, PATH_ROWS, Staging, n_chunks, n_square_chunks,
};
use super::problem::problem_bytes;
use crate::backend::{Model, Problem, Rotate};
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;

/// Engines that share a card: while one waits for small eigenproblems on the host or for rows of
/// BOLD, the other one computes.
pub const ENGINES_PER_CARD: usize = 2;

/// Tiles wide enough to fill a card; wider ones gain nothing.
const MAX_TILE_VOXELS: usize = 16_384;

/// Most images (f32) that are there at a time: 128 MiB.
const IMAGE_VALUES: usize = 1 << 25;

/// Share of the free memory that tiles may take; cuBLAS takes some of the rest.
const USED_SHARE: f64 = 0.85;

/// Columns of a design up to which several folds are rotated in one batch: larger products fill a
/// card alone.
const BATCHED_COEFS: usize = 512;
/// Folds of a batch.
const MOST_BATCHED: usize = 8;

/// Folds of a primal model whose products have one shape and are small, rotated together.
pub fn fold_batch(problem: &Problem, model: &Model) -> usize {
    let components = model.folds.first().map_or(0, |fold| fold.n_components);
    let is_even = model.folds.iter().all(|fold| fold.n_components == components);
    let is_primal = !model.is_dual() && !model.is_stacked();
    match is_primal && is_even && problem.n_coefs(model) <= BATCHED_COEFS {
        true => problem.n_folds.clamp(1, MOST_BATCHED),
        false => 1,
    }
}

/// The largest extents over all models, spaces and blocks; nothing depends on the tile.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extents {
    /// Rows of the longest block, of the longest test block.
    pub rows: (usize, usize),
    /// Rows of BOLD that are kept; dual models alone.
    pub kept_rows: usize,
    /// Values of a design tile, and of un-delayed rows written out.
    pub design: (usize, usize),
    /// Rows of statistics before a rotation, over the folds of a batch.
    pub train: usize,
    /// The same of the validation rows.
    pub val: usize,
    /// Rows of the statistic of all rows.
    pub total: usize,
    /// Components, over the folds of a batch.
    pub components: usize,
    /// Slots, scales, groups of an alpha basis.
    pub basis: (usize, usize, usize),
    /// Rows of a fold's factor.
    pub factor_rows: usize,
    /// Rows of weights of dual or svd models that are asked for.
    pub coefs: usize,
}

impl Extents {
    /// Of a problem.
    pub fn of(problem: &Problem) -> Self {
        let mut e = Self::default();
        let longest_test = problem.test_blocks.iter().copied().max().unwrap_or(0);
        let longest = problem.blocks.iter().map(|b| b.n_rows).max().unwrap_or(0);
        e.rows = (longest.max(longest_test), longest_test);
        for space in &problem.spaces {
            let is_sparse = |x: &StoryDesign| matches!(x, StoryDesign::Sparse { .. });
            let sparse = space.train.iter().chain(&space.test).any(is_sparse);
            e.design.0 = e.design.0.max(e.rows.0 * space.n_columns());
            if sparse {
                e.design.1 = e.design.1.max(e.rows.0 * space.n_features);
            }
        }
        for model in &problem.models {
            let batch = fold_batch(problem, model);
            if model.is_dual() {
                e.kept_rows = problem.n_train();
            }
            if model.wants_coef && (model.is_dual() || model.is_stacked()) {
                e.coefs = e.coefs.max(problem.n_coefs(model));
            }
            e.total = e.total.max(model.full.into.depth());
            e.components = e.components.max(model.full.into.rows());
            for (fold, path) in model.folds.iter().zip(&model.paths) {
                let (train, val) = match &fold.rotate {
                    Rotate::Primal { q, .. } => (q.depth(), q.depth()),
                    Rotate::Dual { u, p } => (u.depth(), p.depth()),
                    Rotate::Stacked { to_z, .. } => (to_z.depth(), 0),
                };
                e.train = e.train.max(batch * train);
                e.val = e.val.max(batch * val);
                e.components = e.components.max(batch * fold.n_components);
                let (slots, scales) = path.groups.most_slots();
                let (s, c, g) = e.basis;
                e.basis = (s.max(slots), c.max(scales), g.max(slots));
                e.factor_rows = e.factor_rows.max(fold.factor.rows());
            }
        }
        e
    }

    /// Rows of F whose images are made at a time.
    pub fn image_rows(&self, block_voxels: usize) -> usize {
        let row = (self.basis.0 * block_voxels).max(1);
        // Whole sixteens, as many as one thread squares: no sum depends on where pieces end.
        let rows = IMAGE_VALUES / row / PATH_ROWS * PATH_ROWS;
        rows.clamp(PATH_ROWS, self.factor_rows.next_multiple_of(PATH_ROWS).max(PATH_ROWS))
    }
}

/// Device memory of one engine, for tiles of up to `capacity` voxels. Rows are as wide as the tile
/// at hand.
pub struct Buffers {
    /// Voxels.
    pub capacity: usize,
    /// BOLD as it came, by turns; and the pinned memory it comes through.
    pub raw: [Buffer<f32>; 2],
    /// Pinned.
    pub staging: [Staging; 2],
    /// Shifted BOLD of one block.
    pub y: Buffer<f32>,
    /// Shifted BOLD of all training rows; dual models alone.
    pub rows: Buffer<f32>,
    /// Partial sums over chunks of rows.
    pub part_sums: Buffer<f64>,
    /// Partial flags.
    pub part_flags: Buffer<u8>,
    /// `(width)`.
    pub shift: Buffer<f32>,
    /// `(width)`.
    pub first: Buffer<f32>,
    /// `(width)`.
    pub flags: Buffer<u8>,
    /// `(n_folds, width)`.
    pub sums: Buffer<f64>,
    /// `(n_folds, width)`.
    pub squares: Buffer<f64>,
    /// `(n_folds + 1, width)`.
    pub means: Buffer<f64>,
    /// `(n_folds, width)`.
    pub val_means: Buffer<f64>,
    /// `(n_folds, width)`.
    pub val_square: Buffer<f64>,
    /// `(n_folds, width)`.
    pub delta: Buffer<f64>,
    /// Per space `(n_folds, n_columns, width)`.
    pub xty: Vec<Buffer<f32>>,
    /// Delayed design of one block.
    pub design: Buffer<f32>,
    /// Un-delayed rows of a sparse one.
    pub undelayed: Buffer<f32>,
    /// Statistic of all training rows.
    pub total: Buffer<f32>,
    /// Statistics of the training rows of each fold of a batch.
    pub train: Buffer<f32>,
    /// Of the validation rows.
    pub val: Buffer<f32>,
    /// Components.
    pub z: Buffer<f32>,
    /// Components.
    pub t: Buffer<f32>,
    /// What the path needs.
    pub path: PathBuffers,
    /// Per model `(n_fitted, width)`.
    pub inner: Vec<Buffer<f32>>,
    /// Per model `(width)`, of `inner`.
    pub intercept: Vec<Buffer<f32>>,
    /// `(n_coefs, width)`.
    pub coef: Buffer<f32>,
    /// `(width)`, of `coef`.
    pub coef_intercept: Buffer<f32>,
    /// Predicted test BOLD.
    pub pred: Buffer<f32>,
    /// `(n_chunks, 5, width)`.
    pub pearson: Buffer<f64>,
    /// Per model `(5, width)`.
    pub totals: Vec<Buffer<f64>>,
    /// Per model `(n_test_blocks, width)`.
    pub block_r: Vec<Buffer<f32>>,
    /// As `totals`, of inner rows; one element where there are none.
    pub inner_totals: Vec<Buffer<f64>>,
    /// As `block_r`, within inner rows; one element where there are none.
    pub inner_block_r: Vec<Buffer<f32>>,
    /// `(width)`.
    pub r: Buffer<f32>,
}

/// Buffers of the path over alphas.
pub struct PathBuffers {
    /// `(width)` 1/‖w ∘ z‖² of each voxel.
    pub inverses: Buffer<f64>,
    /// `(n_blocks, m)`.
    pub sizes: Buffer<f64>,
    /// `(n_alphas, width)`.
    pub numerators: Buffer<f32>,
    /// `(n_alphas, width)`.
    pub offsets: Buffer<f32>,
    /// `(n_alphas, width)` scores added up over folds.
    pub sums: Buffer<f64>,
    /// Of every block, one behind the other.
    pub scales: Buffer<f32>,
    /// Component of each scale.
    pub components: Buffer<u32>,
    /// Of every block.
    pub coefs: Buffer<f32>,
    /// Of every block.
    pub ends: Buffer<u32>,
    /// Of every block.
    pub slots: Buffer<u32>,
    /// `(n_blocks, n_alphas)`.
    pub norm_squares: Buffer<f64>,
    /// `(n_entries, n_voxels)` of one block.
    pub scaled: Buffer<f32>,
    /// `(n_rows, n_slots, n_voxels)` of one block.
    pub images: Buffer<f32>,
    /// `(n_chunks, n_alphas, n_voxels)` of one block.
    pub squares: Buffer<f32>,
    /// `(n_alphas, n_voxels)` of one block.
    pub totals: Buffer<f64>,
    /// `(n_alphas, width)`.
    pub cv_scores: Buffer<f32>,
    /// `(width)`.
    pub best: Buffer<i32>,
}

/// What the sizes of [`Buffers`] are, in one place: allocated by `Lane`, counted by [`Counter`].
trait Take {
    fn values<T: super::launch::Value>(
        &mut self,
        what: &str,
        extents: &[usize],
    ) -> Result<Option<Buffer<T>>>;
    fn pinned(&mut self, len: usize) -> Result<Option<Staging>>;
}

struct Counter(usize);

impl Take for Counter {
    fn values<T: super::launch::Value>(
        &mut self,
        _: &str,
        extents: &[usize],
    ) -> Result<Option<Buffer<T>>> {
        let values = extents.iter().fold(1usize, |all, &n| all.saturating_mul(n));
        // The allocator's granularity.
        self.0 = self.0.saturating_add(values.saturating_mul(size_of::<T>()).saturating_add(512));
        Ok(None)
    }

    fn pinned(&mut self, _: usize) -> Result<Option<Staging>> {
        Ok(None)
    }
}

impl Take for &Lane {
    fn values<T: super::launch::Value>(
        &mut self,
        what: &str,
        extents: &[usize],
    ) -> Result<Option<Buffer<T>>> {
        self.alloc(what, extents).map(Some)
    }

    fn pinned(&mut self, len: usize) -> Result<Option<Staging>> {
        self.staging(len).map(Some)
    }
}

impl Buffers {
    /// For tiles of up to `width` voxels.
    /// # Errors
    /// `Error::DeviceMemory`; what was allocated until then is free again.
    pub fn new(lane: &Lane, problem: &Problem, width: usize) -> Result<Self> {
        let mut from = lane;
        let made = take(&mut from, problem, &Extents::of(problem), width)?;
        lane.order_copies()?;
        Ok(made.expect("a lane hands out every buffer"))
    }
}

/// Device bytes that one engine takes for tiles of `width` voxels.
pub fn tile_bytes(problem: &Problem, width: usize) -> usize {
    let mut counter = Counter(0);
    // A counter has no errors and no buffers.
    let _ = take(&mut counter, problem, &Extents::of(problem), width);
    counter.0
}

/// Every buffer, in one order; `None` if `from` only counts.
fn take(
    from: &mut impl Take,
    problem: &Problem,
    e: &Extents,
    width: usize,
) -> Result<Option<Buffers>> {
    let w = width;
    let (n_folds, n_alphas) = (problem.n_folds, problem.settings.alphas.len());
    let block = problem.settings.block_voxels.clamp(1, w.max(1));
    let n_blocks = w.div_ceil(block);
    let (slots, scales, groups) = e.basis;
    let padded = n_alphas.next_multiple_of(PATH_ALPHAS);
    let image_rows = e.image_rows(block);
    let chunks = n_chunks(e.rows.0);
    let n_test = problem.test_blocks.len();
    let mut raw = || from.values::<f32>("BOLD", &[e.rows.0, w]);
    let raw = [raw()?, raw()?];
    let mut pinned = || from.pinned(e.rows.0 * w);
    let staging = [pinned()?, pinned()?];
    let y = from.values("BOLD", &[e.rows.0, w])?;
    let rows = from.values("training rows", &[e.kept_rows, w])?;
    let part_sums = from.values("sums", &[chunks, 2, w])?;
    let part_flags = from.values("flags", &[chunks, w])?;
    let shift = from.values("means", &[w])?;
    let first = from.values("first rows", &[w])?;
    let flags = from.values("flags", &[w])?;
    let mut by_fold = |n: usize| from.values::<f64>("moments", &[n, w]);
    let (sums, squares, means) = (by_fold(n_folds)?, by_fold(n_folds)?, by_fold(n_folds + 1)?);
    let (val_means, val_square, delta) = (by_fold(n_folds)?, by_fold(n_folds)?, by_fold(n_folds)?);
    let mut xty = Vec::new();
    for (index, space) in problem.spaces.iter().enumerate() {
        let is_primal = problem.models.iter().any(|m| m.space == index && !m.is_dual());
        let columns = if is_primal { space.n_columns() } else { 0 };
        xty.push(from.values("X'Y", &[n_folds, columns, w])?);
    }
    let design = from.values("a design", &[e.design.0])?;
    let undelayed = from.values("a design", &[e.design.1])?;
    let total = from.values("X'Y", &[e.total, w])?;
    let train = from.values("X'Y", &[e.train, w])?;
    let val = from.values("X'Y", &[e.val, w])?;
    let z = from.values("components", &[e.components, w])?;
    let t = from.values("components", &[e.components, w])?;
    let inverses = from.values("component sizes", &[w])?;
    let sizes = from.values("component sizes", &[n_blocks, e.components])?;
    let numerators = from.values("scores", &[n_alphas, w])?;
    let offsets = from.values("scores", &[n_alphas, w])?;
    let score_sums = from.values("scores", &[n_alphas, w])?;
    let path_scales = from.values("alpha basis", &[n_blocks, scales])?;
    let components = from.values("alpha basis", &[n_blocks, scales])?;
    let coefs = from.values("alpha basis", &[n_blocks, slots, padded])?;
    let ends = from.values("alpha basis", &[n_blocks, groups + 1])?;
    let path_slots = from.values("alpha basis", &[n_blocks, groups + 2])?;
    let norm_squares = from.values("alpha basis", &[n_blocks, n_alphas])?;
    let scaled = from.values("images", &[scales, block])?;
    let images = from.values("images", &[image_rows, slots, block])?;
    let path_squares = from.values("images", &[n_square_chunks(image_rows), n_alphas, block])?;
    let path_totals = from.values("scores", &[n_alphas, block])?;
    let cv_scores = from.values("scores", &[n_alphas, w])?;
    let best = from.values("best alphas", &[w])?;
    let coef = from.values("weights", &[e.coefs, w])?;
    let coef_intercept = from.values("intercepts", &[w])?;
    let pred = from.values("predictions", &[e.rows.1, w])?;
    let pearson = from.values("sums", &[n_chunks(e.rows.1), 5, w])?;
    let r = from.values("correlations", &[w])?;
    let (mut inner, mut intercept) = (Vec::new(), Vec::new());
    let (mut totals, mut block_r) = (Vec::new(), Vec::new());
    let (mut inner_totals, mut inner_block_r) = (Vec::new(), Vec::new());
    let inner_w = if problem.inner.is_empty() { 0 } else { w };
    for model in &problem.models {
        inner.push(from.values("weights", &[problem.n_fitted(model), w])?);
        intercept.push(from.values("intercepts", &[w])?);
        totals.push(from.values("sums", &[5, w])?);
        block_r.push(from.values("correlations", &[n_test, w])?);
        inner_totals.push(from.values("sums", &[5, inner_w])?);
        inner_block_r.push(from.values("correlations", &[n_test, inner_w])?);
    }
    let made = || {
        let [raw_a, raw_b] = raw;
        let [staging_a, staging_b] = staging;
        Some(Buffers {
            capacity: w,
            raw: [raw_a?, raw_b?],
            staging: [staging_a?, staging_b?],
            y: y?,
            rows: rows?,
            part_sums: part_sums?,
            part_flags: part_flags?,
            shift: shift?,
            first: first?,
            flags: flags?,
            sums: sums?,
            squares: squares?,
            means: means?,
            val_means: val_means?,
            val_square: val_square?,
            delta: delta?,
            xty: xty.into_iter().collect::<Option<_>>()?,
            design: design?,
            undelayed: undelayed?,
            total: total?,
            train: train?,
            val: val?,
            z: z?,
            t: t?,
            path: PathBuffers {
                inverses: inverses?,
                sizes: sizes?,
                numerators: numerators?,
                offsets: offsets?,
                sums: score_sums?,
                scales: path_scales?,
                components: components?,
                coefs: coefs?,
                ends: ends?,
                slots: path_slots?,
                norm_squares: norm_squares?,
                scaled: scaled?,
                images: images?,
                squares: path_squares?,
                totals: path_totals?,
                cv_scores: cv_scores?,
                best: best?,
            },
            inner: inner.into_iter().collect::<Option<_>>()?,
            intercept: intercept.into_iter().collect::<Option<_>>()?,
            coef: coef?,
            coef_intercept: coef_intercept?,
            pred: pred?,
            pearson: pearson?,
            totals: totals.into_iter().collect::<Option<_>>()?,
            block_r: block_r.into_iter().collect::<Option<_>>()?,
            inner_totals: inner_totals.into_iter().collect::<Option<_>>()?,
            inner_block_r: inner_block_r.into_iter().collect::<Option<_>>()?,
            r: r?,
        })
    };
    Ok(made())
}

/// Width of a tile on these cards: whole blocks of voxels, at most 16,384, a fair share for each
/// engine, all engines of a card within the memory that the problem leaves free.
/// # Errors
/// `Error::DeviceMemory` (exit 4) if one block of voxels does not fit.
pub fn tile_width(problem: &Problem, ordinals: &[usize], n_voxels: usize) -> Result<usize> {
    let block = problem.settings.block_voxels.max(1);
    let n_engines = ordinals.len().max(1) * ENGINES_PER_CARD;
    let rounds = n_voxels.div_ceil(n_engines * MAX_TILE_VOXELS.max(block)).max(1);
    let share = n_voxels.div_ceil(n_engines * rounds).next_multiple_of(block);
    let mut width = share;
    for &ordinal in ordinals {
        let info = Card::info(ordinal);
        let left = (info.free_bytes as usize).saturating_sub(problem_bytes(problem));
        let budget = (left as f64 * USED_SHARE) as usize;
        while width > block && tile_bytes(problem, width) * ENGINES_PER_CARD > budget {
            width = (width / 2).next_multiple_of(block).max(block).min(width - block);
        }
        let needed = problem_bytes(problem) + tile_bytes(problem, width.min(n_voxels));
        if needed as u64 > info.free_bytes {
            return Err(Error::DeviceMemory {
                device: format!("cuda:{ordinal}"),
                what: format!("a tile of {} voxels and the problem itself", width.min(n_voxels)),
                needed_bytes: needed as u64,
                free_bytes: info.free_bytes,
            });
        }
    }
    Ok(width)
}
