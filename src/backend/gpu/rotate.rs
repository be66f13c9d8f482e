//! From a tile's statistics to the components of its folds: z and t.

use super::buffers::Buffers;
use super::launch::{
    Batch, Gemm, Lane, Moments, center_rows, center_xty, fold_moments, stack_rows, total_xty,
};
use super::problem::{GpuProblem, GpuRotate};
use crate::error::Result;

/// What every fold's scores need of BOLD, for all models.
pub fn moments(lane: &Lane, gpu: &GpuProblem<'_>, b: &mut Buffers, width: usize) -> Result<()> {
    let n_folds = gpu.problem.n_folds;
    let n = n_folds * width;
    let out = Moments {
        means: b.means.first_mut(n + width),
        val_means: b.val_means.first_mut(n),
        val_square: b.val_square.first_mut(n),
        delta: b.delta.first_mut(n),
    };
    fold_moments(
        lane,
        &b.sums.first(n),
        &b.squares.first(n),
        &b.shift.first(width),
        &b.flags.first(width),
        &gpu.fold_rows.first(n_folds),
        out,
        gpu.problem.settings.fit_intercept,
        width,
    )
}

/// XᵀY over all training rows of a primal model, into `b.total` `(n_coefs, width)`.
pub fn total(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    model: usize,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let problem = gpu.problem;
    let own = &problem.models[model];
    let (p, n_columns) = (problem.n_coefs(own), problem.spaces[own.space].n_columns());
    total_xty(
        lane,
        &b.xty[own.space].first(problem.n_folds * n_columns * width),
        &gpu.models[model].columns.first(p),
        &mut b.total.first_mut(p * width),
        (problem.n_folds, n_columns, width),
    )
}

/// z and t of some folds, one behind the other, `(n_batch, n_components, width)`; more than one
/// fold only where all have one shape.
pub fn rotate(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    model: usize,
    folds: std::ops::Range<usize>,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let own = &gpu.problem.models[model];
    let m = own.folds[folds.start].n_components;
    match gpu.models[model].folds[folds.start].rotate {
        GpuRotate::Primal { .. } => rotate_primal(lane, gpu, model, folds, b, width),
        GpuRotate::Dual { .. } => rotate_dual(lane, gpu, model, folds.start, m, b, width),
        GpuRotate::Stacked { .. } => rotate_stacked(lane, gpu, model, folds.start, m, b, width),
    }
}

fn rotate_primal(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    model: usize,
    folds: std::ops::Range<usize>,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let problem = gpu.problem;
    let (own, on_card) = (&problem.models[model], &gpu.models[model]);
    let (p, n_columns) = (problem.n_coefs(own), problem.spaces[own.space].n_columns());
    let m = own.folds[folds.start].n_components;
    let n_all = problem.n_train() as f64;
    let mut first_q = 0;
    for (i, fold) in folds.clone().enumerate() {
        let GpuRotate::Primal { q_start, val_sums } = &on_card.folds[fold].rotate else { continue };
        if i == 0 {
            first_q = *q_start;
        }
        let xty = fold * n_columns * width..(fold + 1) * n_columns * width;
        let rows = i * p * width..(i + 1) * p * width;
        let of_fold = fold * width..(fold + 1) * width;
        center_xty(
            lane,
            (&b.xty[own.space].part(xty), n_columns),
            &on_card.columns.first(p),
            &b.total.first(p * width),
            (&val_sums.first(p), &on_card.full.x_means.first(p)),
            (&b.means.part(of_fold.clone()), &b.val_means.part(of_fold)),
            &mut b.train.part_mut(rows.clone()),
            &mut b.val.part_mut(rows),
            n_all,
            width,
        )?;
    }
    let n = folds.len();
    let batch = Batch { n, stride_a: m * p, stride_b: p * width, stride_c: m * width };
    let gemm = Gemm::new(m, width, p);
    let q = on_card.q.part(first_q..first_q + n * m * p);
    let (rows, out) = (n * p * width, n * m * width);
    lane.gemm_batch(gemm, batch, &q, &b.train.first(rows), &mut b.z.first_mut(out))?;
    lane.gemm_batch(gemm, batch, &q, &b.val.first(rows), &mut b.t.first_mut(out))
}

fn rotate_dual(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    model: usize,
    fold: usize,
    m: usize,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let GpuRotate::Dual { u, p, train, val, n } = &gpu.models[model].folds[fold].rotate else {
        return Ok(());
    };
    let n_rows = gpu.problem.n_train();
    let of_fold = fold * width..(fold + 1) * width;
    let rows = b.rows.first(n_rows * width);
    let rows = (&rows, n_rows);
    center_rows(
        lane,
        rows,
        &train.first(n.0),
        &b.means.part(of_fold.clone()),
        &mut b.train.first_mut(n.0 * width),
        width,
    )?;
    center_rows(
        lane,
        rows,
        &val.first(n.1),
        &b.val_means.part(of_fold),
        &mut b.val.first_mut(n.1 * width),
        width,
    )?;
    let (into_z, into_t) = (u.first(m * n.0), p.first(m * n.1));
    let (z, t) = (&mut b.z.first_mut(m * width), &mut b.t.first_mut(m * width));
    lane.gemm(Gemm::new(m, width, n.0), &into_z, &b.train.first(n.0 * width), z)?;
    lane.gemm(Gemm::new(m, width, n.1), &into_t, &b.val.first(n.1 * width), t)
}

fn rotate_stacked(
    lane: &Lane,
    gpu: &GpuProblem<'_>,
    model: usize,
    fold: usize,
    m: usize,
    b: &mut Buffers,
    width: usize,
) -> Result<()> {
    let GpuRotate::Stacked { to_z, to_t, source, n } = &gpu.models[model].folds[fold].rotate else {
        return Ok(());
    };
    let space = gpu.problem.models[model].space;
    let n_columns = gpu.problem.spaces[space].n_columns();
    let n_statistics = gpu.problem.n_folds * n_columns;
    stack_rows(
        lane,
        (&b.xty[space].first(n_statistics * width), n_statistics),
        &b.sums.first(gpu.problem.n_folds * width),
        &gpu.fold_rows.first(gpu.problem.n_folds),
        &b.means.part(fold * width..(fold + 1) * width),
        &source.first(n.0),
        &mut b.train.first_mut(n.0 * width),
        width,
    )?;
    let own = fold * n_columns * width;
    let (z, t) = (&mut b.z.first_mut(m * width), &mut b.t.first_mut(m * width));
    let stacked = b.train.first(n.0 * width);
    lane.gemm(Gemm::new(m, width, n.0), &to_z.first(m * n.0), &stacked, z)?;
    let statistic = b.xty[space].part(own..own + n.1 * width);
    lane.gemm(Gemm::new(m, width, n.1), &to_t.first(m * n.1), &statistic, t)
}
