//! Cross-validation and refit of every model on one tile.

use super::buffers::{Buffers, fold_batch};
use super::engine::{GpuEngine, Tile, design_tile, not_begun};
use super::launch::{
    DelayShape, Gemm, Lane, center_rows, center_total, intercepts, select_alpha, shrink, stack_rows,
};
use super::path::{FoldAt, add_fold_scores};
use super::problem::GpuProblem;
use super::rotate;
use crate::backend::ModelTile;
use crate::error::Result;

impl GpuEngine<'_> {
    /// Every model's scores, alphas and weights, on the host.
    pub(super) fn solve_models(&mut self) -> Result<()> {
        let Self { gpu, lane, buffers, width, models, intercepts, clock, flags, .. } = self;
        let (gpu, width) = (&**gpu, *width);
        let b = buffers.as_mut().ok_or_else(not_begun)?;
        clock.time(lane, 2, || rotate::moments(lane, gpu, b, width))?;
        lane.read_vec(&b.flags.first(width), width, flags)?;
        for (index, tile) in models.iter_mut().enumerate() {
            let model = &gpu.problem.models[index];
            (tile.basis_rank, tile.basis_error) = (0, 0.0);
            let n = gpu.problem.settings.alphas.len() * width;
            lane.zero(&mut b.path.sums.first_mut(n))?;
            if !model.is_dual() && !model.is_stacked() {
                clock.time(lane, 2, || rotate::total(lane, gpu, index, b, width))?;
            }
            let step = fold_batch(gpu.problem, model);
            for first in (0..gpu.problem.n_folds).step_by(step) {
                let folds = first..gpu.problem.n_folds.min(first + step);
                clock
                    .time(lane, 2, || rotate::rotate(lane, gpu, index, folds.clone(), b, width))?;
                for (place, fold) in folds.enumerate() {
                    let at = FoldAt { model: index, fold, place };
                    clock.time(lane, 3, || add_fold_scores(lane, gpu, at, b, width, tile))?;
                }
            }
            select(lane, gpu, b, width, tile)?;
            clock.time(lane, 4, || refit(lane, gpu, index, b, width))?;
            read_weights(lane, gpu, index, b, width, tile, &mut intercepts[index])?;
        }
        clock.read(lane)
    }
}

/// Best alphas, and what cross-validation found, on the host.
fn select(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    b: &mut Buffers,
    width: usize,
    tile: &mut ModelTile,
) -> Result<()> {
    let settings = &gpu.problem.settings;
    let (n_alphas, n_folds) = (settings.alphas.len(), gpu.problem.n_folds);
    select_alpha(
        lane,
        &b.path.sums.first(n_alphas * width),
        &b.val_square.first(n_folds * width),
        &b.flags.first(width),
        &mut b.path.cv_scores.first_mut(n_alphas * width),
        &mut b.path.best.first_mut(width),
        settings.alpha_tolerance,
        (n_alphas, n_folds, width),
    )?;
    let n = n_alphas * width;
    lane.read_vec(&b.path.cv_scores.first(n), n, &mut tile.cv_scores)?;
    let mut best = Vec::new();
    lane.read_vec(&b.path.best.first(width), width, &mut best)?;
    tile.best = best.into_iter().map(|index| usize::try_from(index).ok()).collect();
    Ok(())
}

/// Weights at every voxel's own alpha into `b.inner`, and their intercepts.
fn refit(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    index: usize,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let problem = gpu.problem;
    let (model, full) = (&problem.models[index], &gpu.models[index].full);
    let (m, depth) = (model.full.into.rows(), model.full.into.depth());
    let n_inner = problem.n_fitted(model);
    let is_primal = !model.is_dual() && !model.is_stacked();
    let all = problem.n_folds * width..(problem.n_folds + 1) * width;
    if model.is_stacked() {
        let n_statistics = problem.n_folds * problem.spaces[model.space].n_columns();
        stack_rows(
            lane,
            (&b.xty[model.space].first(n_statistics * width), n_statistics),
            &b.sums.first(problem.n_folds * width),
            &gpu.fold_rows.first(problem.n_folds),
            &b.means.part(all.clone()),
            &full.source.first(depth),
            &mut b.total.first_mut(depth * width),
            width,
        )?;
    } else if model.is_dual() {
        let n_rows = problem.n_train();
        center_rows(
            lane,
            (&b.rows.first(n_rows * width), n_rows),
            &full.rows.first(depth),
            &b.means.part(all.clone()),
            &mut b.total.first_mut(depth * width),
            width,
        )?;
    } else {
        center_total(
            lane,
            &mut b.total.first_mut(depth * width),
            &full.x_means.first(depth),
            &b.means.part(all.clone()),
            problem.n_train() as f64,
            width,
        )?;
    }
    let into = full.into.first(m * depth);
    let z = &mut b.z.first_mut(m * width);
    lane.gemm(Gemm::new(m, width, depth), &into, &b.total.first(depth * width), z)?;
    let (eigvals, alphas) =
        (full.eigvals.first(m), gpu.alphas.first(problem.settings.alphas.len()));
    shrink(lane, z, &eigvals, &alphas, &b.path.best.first(width), (m, width))?;
    let inner = &mut b.inner[index].first_mut(n_inner * width);
    match model.is_stacked() {
        true if m == 0 => {}
        true => lane.copy(&b.z.first(m * width), inner)?,
        false => {
            let back = full.back.first(n_inner * m);
            lane.gemm(Gemm::new(n_inner, width, m), &back, &b.z.first(m * width), inner)?;
        }
    }
    let inner = b.inner[index].first(n_inner * width);
    intercepts(
        lane,
        is_primal.then_some(&inner),
        &full.x_means.first(problem.n_coefs(model)),
        (&b.means.part(all), &b.shift.first(width)),
        &b.path.best.first(width),
        &mut b.intercept[index].first_mut(width),
        problem.settings.fit_intercept,
        width,
    )
}

/// Weights of the columns where they are wanted, and intercepts, on the host.
fn read_weights(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    index: usize,
    b: &mut Buffers,
    width: usize,
    tile: &mut ModelTile,
    inner_intercept: &mut Vec<f32>,
) -> Result<()> {
    let problem = gpu.problem;
    let (model, on_card) = (&problem.models[index], &gpu.models[index]);
    let (p, n_inner) = (problem.n_coefs(model), problem.n_fitted(model));
    lane.read_vec(&b.intercept[index].first(width), width, inner_intercept)?;
    tile.intercept.clone_from(inner_intercept);
    if !model.wants_coef {
        return Ok(());
    }
    if !model.is_dual() && !model.is_stacked() {
        return lane.read_vec(&b.inner[index].first(p * width), p * width, &mut tile.coef);
    }
    if model.is_stacked() {
        let (back, inner) = (on_card.full.back.first(p * n_inner), b.inner[index].all());
        let coef = &mut b.coef.first_mut(p * width);
        lane.gemm(Gemm::new(p, width, n_inner), &back, &inner, coef)?;
    } else {
        dual_coef(lane, gpu, index, b, width)?;
    }
    let all = problem.n_folds * width..(problem.n_folds + 1) * width;
    intercepts(
        lane,
        Some(&b.coef.first(p * width)),
        &on_card.full.x_means.first(p),
        (&b.means.part(all), &b.shift.first(width)),
        &b.path.best.first(width),
        &mut b.coef_intercept.first_mut(width),
        problem.settings.fit_intercept,
        width,
    )?;
    lane.read_vec(&b.coef.first(p * width), p * width, &mut tile.coef)?;
    lane.read_vec(&b.coef_intercept.first(width), width, &mut tile.intercept)
}

/// Xᵀ times the dual weights, block by block, into `b.coef`.
fn dual_coef(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    index: usize,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let problem = gpu.problem;
    let (model, on_card) = (&problem.models[index], &gpu.models[index]);
    let space = &problem.spaces[model.space];
    let p = problem.n_coefs(model);
    let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
    lane.zero(&mut b.coef.first_mut(p * width))?;
    let mut first = 0;
    for (block, design) in problem.blocks.iter().zip(&gpu.spaces[model.space].train) {
        let n_rows = block.n_rows;
        let rows = first * width..(first + n_rows) * width;
        first += n_rows;
        if n_rows == 0 {
            continue;
        }
        let shape = DelayShape { n_rows, n_features: space.n_features, n_delays: delays.len() };
        let made = design_tile(
            lane,
            design,
            (&on_card.delays.first(delays.len()), &delays),
            &mut b.design.first_mut(n_rows * p),
            &mut b.undelayed.part_mut(0..b.undelayed.len()),
            shape,
        )?;
        let x = match made {
            Tile::AsItIs(x) => x,
            Tile::Made => b.design.first(n_rows * p),
        };
        let gemm = Gemm::add_transposed(p, width, n_rows);
        lane.gemm(gemm, &x, &b.inner[index].part(rows), &mut b.coef.first_mut(p * width))?;
    }
    Ok(())
}
