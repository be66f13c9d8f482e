//! Every alpha's validation scores of one fold, block by block of voxels that share an alpha basis.
//!
//! The alpha basis (`backend::basis`) is the CPU engine's, from component sizes that the card sums
//! up: a few small eigenproblems a block on the host. Its images F(uⱼ/w ∘ z) are cuBLAS products,
//! one a group of components; what is done with them is one kernel. With more alphas than the CPU
//! engine combines (`Form::Pairs`), both steps of the combination are multiplied out here: their
//! flops stay below those of the images.

use std::ops::Range;

use rayon::prelude::*;

use super::buffers::Buffers;
use super::launch::{
    BlockScores, Gemm, Lane, Numerators, PATH_ALPHAS, PATH_ROWS, Squares, add_scores, add_squares,
    component_sizes, n_square_chunks, path_numerators, path_squares, row_squares, scale_slots,
    voxel_inverses,
};
use super::problem::GpuProblem;
use crate::backend::basis::{AlphaBasis, AlphaGroups, Form};
use crate::backend::device::Precision;
use crate::backend::{ModelTile, Scorer};
use crate::error::Result;

/// The alpha basis of one block of voxels in the order in which the card reads it.
struct BlockBasis {
    form: Form,
    /// Components and slots of each group.
    groups: Vec<(Range<usize>, Range<usize>)>,
    /// Group by group: (component, slot).
    scales: Vec<f32>,
    components: Vec<u32>,
    /// `(n_slots, n_alphas to whole eights)`; empty where slots are the path itself.
    coefs: Vec<f32>,
    norm_squares: Vec<f64>,
    rank: usize,
    truncation: f64,
}

impl BlockBasis {
    fn new(groups: &AlphaGroups, weights: &[f64], n_alphas: usize) -> Result<Self> {
        let mut basis = AlphaBasis::default();
        basis.fit(groups, weights)?;
        let n = basis.scales.len();
        let (mut scales, mut components) = (Vec::with_capacity(n), Vec::with_capacity(n));
        let mut first = 0;
        for (own, slots) in &basis.groups {
            for (i, component) in own.clone().enumerate() {
                for slot in 0..slots.len() {
                    scales.push(basis.scales[first + slot * own.len() + i]);
                    components.push(component as u32);
                }
            }
            first += own.len() * slots.len();
        }
        Ok(Self {
            form: basis.form,
            coefs: coefficients(&basis, n_alphas),
            norm_squares: basis.norms.iter().map(|norm| norm * norm).collect(),
            rank: basis.rank,
            truncation: basis.truncation,
            groups: basis.groups,
            scales,
            components,
        })
    }

    fn n_slots(&self) -> usize {
        self.groups.last().map_or(0, |(_, slots)| slots.end)
    }
}

/// What every slot's image counts for in F b(a): `(n_slots, n_alphas to whole eights)`.
fn coefficients(basis: &AlphaBasis, n_alphas: usize) -> Vec<f32> {
    if basis.form == Form::Path {
        return Vec::new();
    }
    let padded = n_alphas.next_multiple_of(PATH_ALPHAS);
    let mut coefs = vec![0.0; basis.n_slots() * padded];
    for (slot, row) in coefs.chunks_exact_mut(padded).enumerate() {
        for (a, cell) in row[..n_alphas].iter_mut().enumerate() {
            *cell = match basis.form {
                Form::Squares => basis.combine.get(a, slot),
                _ => {
                    let vectors = basis.coefficients.iter().enumerate();
                    vectors.map(|(j, c)| c[a] * f64::from(basis.combine.get(j, slot))).sum::<f64>()
                        as f32
                }
            };
        }
    }
    coefs
}

/// A fold of a model, and where its components are: the i-th of a batch.
#[derive(Clone, Copy)]
pub struct FoldAt {
    /// Index of the model.
    pub model: usize,
    /// Index of the fold.
    pub fold: usize,
    /// Place in the batch.
    pub place: usize,
}

/// Adds one fold's scores to `b.path.sums`; z and t are there.
pub fn add_fold_scores(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    at: FoldAt,
    b: &mut Buffers,
    width: usize,
    tile: &mut ModelTile,
) -> Result<()> {
    let problem = gpu.problem;
    let settings = &problem.settings;
    let n_alphas = settings.alphas.len();
    let model = &problem.models[at.model];
    let (rotation, on_card) = (&model.folds[at.fold], &gpu.models[at.model].folds[at.fold]);
    let m = rotation.n_components;
    let block = settings.block_voxels.clamp(1, width.max(1));
    let components = at.place * m * width..(at.place + 1) * m * width;
    let n_blocks = width.div_ceil(block);
    let mut sizes = Vec::new();
    if m == 0 {
        // A design without variance predicts the training mean.
        lane.zero(&mut b.path.numerators.first_mut(n_alphas * width))?;
        lane.zero(&mut b.path.offsets.first_mut(n_alphas * width))?;
    } else {
        let offsets = on_card.offsets.as_ref().map(|offsets| offsets.first(n_alphas * m));
        let inverses = on_card.inverses.first(n_alphas * m);
        let z = b.z.part(components.clone());
        path_numerators(
            lane,
            (&z, &b.t.part(components.clone())),
            Numerators { inverses: &inverses, shifted: offsets.as_ref() },
            &mut b.path.numerators.first_mut(n_alphas * width),
            &mut b.path.offsets.first_mut(n_alphas * width),
            (n_alphas, m, width),
        )?;
        let inverses = &mut b.path.inverses.first_mut(width);
        voxel_inverses(lane, &z, &on_card.factor_norms.first(m), inverses, (m, width))?;
        component_sizes(
            lane,
            &z,
            &b.path.inverses.first(width),
            &mut b.path.sizes.first_mut(n_blocks * m),
            (m, width),
            block,
        )?;
        lane.read_vec(&b.path.sizes.first(n_blocks * m), n_blocks * m, &mut sizes)?;
    }
    let groups = &model.paths[at.fold].groups;
    let bases: Vec<BlockBasis> = (0..n_blocks)
        .into_par_iter()
        .map(|i| {
            let own = sizes[i * m..(i + 1) * m].iter().zip(&rotation.factor_norms);
            let weights: Vec<f64> = own.map(|(size, norm)| size * norm).collect();
            BlockBasis::new(groups, &weights, n_alphas)
        })
        .collect::<Result<_>>()?;
    for basis in &bases {
        tile.basis_rank = tile.basis_rank.max(basis.rank);
        tile.basis_error = tile.basis_error.max(basis.truncation);
    }
    let starts = upload(lane, &bases, rotation.upper, b)?;
    for ((i, basis), start) in bases.iter().enumerate().zip(starts) {
        let voxels = i * block..width.min((i + 1) * block);
        let n = n_alphas * voxels.len();
        lane.zero(&mut b.path.totals.first_mut(n))?;
        if m > 0 {
            if gpu.precision == Precision::Tf32 {
                lane.allow_tf32(true)?;
            }
            let squared = add_block_squares(lane, gpu, at, basis, start, voxels.clone(), b, width);
            if gpu.precision == Precision::Tf32 {
                lane.allow_tf32(false)?;
            }
            squared?;
        }
        let of_fold = at.fold * width..(at.fold + 1) * width;
        let from = BlockScores {
            numerators: &b.path.numerators.first(n_alphas * width),
            offsets: &b.path.offsets.first(n_alphas * width),
            totals: &b.path.totals.first(n),
            norm_squares: &b.path.norm_squares.part(i * n_alphas..(i + 1) * n_alphas),
            val_square: &b.val_square.part(of_fold.clone()),
            delta: &b.delta.part(of_fold),
            n_val: rotation.n_val as f64,
            is_r2: settings.scorer == Scorer::R2,
        };
        let sums = &mut b.path.sums.first_mut(n_alphas * width);
        add_scores(lane, from, sums, n_alphas, (voxels.start, voxels.len()), width)?;
    }
    Ok(())
}

/// Where a block's basis starts in the buffers of all blocks.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    scales: usize,
    coefs: usize,
    groups: usize,
    slots: usize,
}

/// Copies the bases of all blocks to the card, one behind the other.
fn upload(
    lane: &Lane,
    bases: &[BlockBasis],
    is_upper: bool,
    b: &mut Buffers,
) -> Result<Vec<Start>> {
    let mut starts = Vec::new();
    let mut next = Start::default();
    let (mut scales, mut components, mut coefs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ends, mut slots, mut norm_squares) = (Vec::new(), Vec::new(), Vec::new());
    for basis in bases {
        starts.push(next);
        scales.extend_from_slice(&basis.scales);
        components.extend_from_slice(&basis.components);
        coefs.extend_from_slice(&basis.coefs);
        norm_squares.extend_from_slice(&basis.norm_squares);
        for (own, of_group) in &basis.groups {
            ends.push(if is_upper { own.end as u32 } else { u32::MAX });
            slots.push(of_group.start as u32);
        }
        slots.push(basis.n_slots() as u32);
        next = Start {
            scales: scales.len(),
            coefs: coefs.len(),
            groups: ends.len(),
            slots: slots.len(),
        };
    }
    let p = &mut b.path;
    lane.write(&scales, &mut p.scales.first_mut(scales.len()))?;
    lane.write(&components, &mut p.components.first_mut(components.len()))?;
    lane.write(&coefs, &mut p.coefs.first_mut(coefs.len()))?;
    lane.write(&ends, &mut p.ends.first_mut(ends.len()))?;
    lane.write(&slots, &mut p.slots.first_mut(slots.len()))?;
    lane.write(&norm_squares, &mut p.norm_squares.first_mut(norm_squares.len()))?;
    Ok(starts)
}

/// Squared norms of F b(a), but for `norm_squares`, of one block into `b.path.totals`.
#[allow(clippy::too_many_arguments)]
fn add_block_squares(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    at: FoldAt,
    basis: &BlockBasis,
    start: Start,
    voxels: Range<usize>,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let n_alphas = gpu.problem.settings.alphas.len();
    let rotation = &gpu.problem.models[at.model].folds[at.fold];
    let factor = &gpu.models[at.model].folds[at.fold].factor;
    let m = rotation.n_components;
    let (n, n_slots, n_rows) = (voxels.len(), basis.n_slots(), rotation.factor.rows());
    let scales = start.scales..start.scales + basis.scales.len();
    scale_slots(
        lane,
        (&b.z.part(at.place * m * width..(at.place + 1) * m * width), m),
        (&b.path.scales.part(scales.clone()), &b.path.components.part(scales.clone())),
        &mut b.path.scaled.first_mut(scales.len() * n),
        (voxels.start, n),
        width,
    )?;
    let block = gpu.problem.settings.block_voxels.clamp(1, width.max(1));
    let step = image_rows(b, n_slots, block);
    for first_row in (0..n_rows).step_by(step) {
        let rows = first_row..n_rows.min(first_row + step);
        let mut first_scale = 0;
        for (own, slots) in &basis.groups {
            let entries = first_scale..first_scale + own.len() * slots.len();
            first_scale = entries.end;
            // A triangle: no rows below the group's end, no columns before the first row.
            let (last, column) = match rotation.upper {
                true => (rows.end.min(own.end), own.start.max(rows.start)),
                false => (rows.end, own.start),
            };
            if last <= rows.start {
                continue;
            }
            let (from, depth) = (rows.start * m + column, own.end - column);
            let right = (entries.start + (column - own.start) * slots.len()) * n;
            let gemm = Gemm {
                lda: m,
                ldc: n_slots * n,
                ..Gemm::new(last - rows.start, slots.len() * n, depth)
            };
            let left = factor.part(from..(last - 1) * m + own.end);
            lane.gemm(
                gemm,
                &left,
                &b.path.scaled.part(right..entries.end * n),
                &mut b.path.images.part_mut(slots.start * n..rows.len() * n_slots * n),
            )?;
        }
        let images = b.path.images.first(rows.len() * n_slots * n);
        let squares = n_square_chunks(rows.len()) * n_alphas * n;
        let piece = Squares { first_row, n_rows: rows.len(), n_slots, n_alphas, n_voxels: n };
        let n_groups = basis.groups.len();
        let out = &mut b.path.squares.first_mut(squares);
        match basis.form {
            Form::Path => row_squares(lane, &images, out, (rows.len(), n_alphas, n))?,
            Form::Squares | Form::Pairs => path_squares(
                lane,
                &images,
                &b.path.coefs.part(start.coefs..start.coefs + basis.coefs.len()),
                (
                    &b.path.ends.part(start.groups..start.groups + n_groups),
                    &b.path.slots.part(start.slots..start.slots + n_groups + 1),
                ),
                out,
                piece,
            )?,
        }
        add_squares(
            lane,
            &b.path.squares.first(squares),
            &mut b.path.totals.first_mut(n_alphas * n),
            (rows.len(), n_alphas, n),
        )?;
    }
    Ok(())
}

/// Rows of F whose images fit the buffer, whole sixteens as in `Extents::image_rows`.
fn image_rows(b: &Buffers, n_slots: usize, block: usize) -> usize {
    (b.path.images.len() / (n_slots * block).max(1) / PATH_ROWS * PATH_ROWS).max(PATH_ROWS)
}
