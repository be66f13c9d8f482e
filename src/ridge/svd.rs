//! The svd route: orthogonal factors of the folds, stacked; no condition number is squared.
//!
//! [1 X_k] = Q_k R_k of every fold (f64, Householder). What a fold knows of BOLD is Q_kᵀY_k, and
//! the rows of all other folds together have the factor of their stacked R: [1 X_train] = Q R̃ with
//! stack(R_j) = Q̃ R̃ and Qᵀy = Q̃ᵀ stack(Q_jᵀy_j). R̃ without its first row and column is the factor
//! of the centred rows, exactly; its SVD U S Vᵀ is that of the centred training design. Nothing is
//! subtracted, and f32 enters by products with orthonormal columns alone.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply,
};
use faer::linalg::matmul::matmul;
use faer::linalg::qr::no_pivoting::factor::{
    qr_in_place, qr_in_place_scratch, recommended_block_size,
};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Accum, Conj, Mat, MatRef, Par};
use ndarray::Array2;
use rayon::prelude::*;

use super::conditioning::Conditioning;
use super::spectrum::packed;
use crate::backend::cpu::xty::delayed_rows;
use crate::backend::{Block, FullFit, PathSettings, Rotate, Rotation, Space};
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;

/// A = Q R with Q `(n, r)`, R `(r, p)`, r = min(n, p); 4·n·p² flops.
///
/// Backward stable column by column: a column of any size keeps its digits. faer takes a column for
/// a combination of those before it where less than 16·n·eps of it is left.
pub fn thin_qr(mut a: Mat<f64>, par: Par) -> (Mat<f64>, Mat<f64>) {
    let (n, p) = (a.nrows(), a.ncols());
    let size = n.min(p);
    let block = recommended_block_size::<f64>(n, p);
    let mut coefficients = Mat::<f64>::zeros(block, size);
    let scratch = qr_in_place_scratch::<f64>(n, p, block, par, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    qr_in_place(a.as_mut(), coefficients.as_mut(), par, stack, Default::default());
    let r = Mat::from_fn(size, p, |i, j| if i <= j { a[(i, j)] } else { 0.0 });
    let mut q = Mat::<f64>::identity(n, size);
    let mut memory = MemBuffer::new(apply_scratch::<f64>(n, block, size));
    let stack = MemStack::new(&mut memory);
    let basis = a.subcols(0, size);
    apply(basis, coefficients.as_ref(), Conj::No, q.as_mut(), par, stack);
    (q, r)
}

/// One fold's rows, without the rows: R of [1 X], and how many there were.
#[derive(Debug)]
pub struct FoldFactor {
    /// `(min(n_rows, p + 1), p + 1)` upper trapezoidal; `[0][0]` is √n_rows.
    pub r: Mat<f64>,
    /// Rows of the fold.
    pub n_rows: usize,
}

/// A space whose designs are the folds' orthogonal factors, in the order of the blocks.
#[derive(Debug)]
pub struct Factored {
    /// R of each fold.
    pub folds: Vec<FoldFactor>,
    /// Q without its first column, `p` columns (zero beyond the rows of a fold), as designs.
    pub space: Space,
    /// `(p)` what was taken off each column first; zeros without an intercept.
    pub shift: Vec<f64>,
}

/// The delayed design of one block in f64, `(n, p)` delay-major, written from row `first` and
/// column `column` of `out`.
fn write_delayed(
    design: &StoryDesign,
    rest: Option<&Array2<f32>>,
    delays: &[i64],
    out: &mut Mat<f64>,
    first: usize,
    column: usize,
) {
    let x = design.to_dense();
    let (n, d) = x.dim();
    for (i, &delay) in delays.iter().enumerate() {
        for t in delayed_rows(n, delay) {
            let u = (t as i64 - delay) as usize;
            for f in 0..d {
                let low = rest.map_or(0.0, |rest| f64::from(rest[(u, f)]));
                out[(first + t, column + i * d + f)] = f64::from(x[(u, f)]) + low;
            }
        }
    }
}

/// The delayed rows of one fold in f64, `(n_rows, first_column + p)`, from column `first_column`.
pub fn delayed_fold(
    space: &Space,
    delays: &[i64],
    blocks: &[Block],
    fold: usize,
    first_column: usize,
) -> Mat<f64> {
    let of_fold = || blocks.iter().enumerate().filter(|(_, block)| block.fold == fold);
    let n_rows = of_fold().map(|(_, block)| block.n_rows).sum();
    let mut x = Mat::<f64>::zeros(n_rows, first_column + space.n_features * delays.len());
    let mut first = 0;
    for (b, block) in of_fold() {
        let rest = space.train_rest.get(b);
        write_delayed(&space.train[b], rest, delays, &mut x, first, first_column);
        first += block.n_rows;
    }
    x
}

/// Orthogonal factors of every fold; `delays` are those of the model.
///
/// With an intercept each column is shifted by about its mean first, a number with few digits so
/// that the difference is exact: a constant column is zero then, and not what rounding leaves.
pub fn factor_folds(
    space: &Space,
    delays: &[i64],
    blocks: &[Block],
    n_folds: usize,
    fit_intercept: bool,
    par: Par,
) -> Factored {
    let p = space.n_features * delays.len();
    let fold_rows: Vec<usize> = (0..n_folds)
        .map(|k| blocks.iter().filter(|b| b.fold == k).map(|b| b.n_rows).sum())
        .collect();
    let rows_of = |fold: usize| delayed_fold(space, delays, blocks, fold, 1);
    let mut shift = vec![0f64; p];
    if fit_intercept {
        let n = fold_rows.iter().sum::<usize>().max(1) as f64;
        for fold in 0..n_folds {
            let x = rows_of(fold);
            for (f, sum) in shift.iter_mut().enumerate() {
                *sum += x.col_as_slice(f + 1).iter().sum::<f64>();
            }
        }
        shift.iter_mut().for_each(|sum| *sum = f64::from((*sum / n) as f32));
    }
    let mut train: Vec<Option<StoryDesign>> = blocks.iter().map(|_| None).collect();
    let mut folds = Vec::with_capacity(n_folds);
    for (fold, &n_rows) in fold_rows.iter().enumerate() {
        let mut x = rows_of(fold);
        x.col_as_slice_mut(0).fill(1.0);
        for (f, &shift) in shift.iter().enumerate() {
            x.col_as_slice_mut(f + 1).iter_mut().for_each(|x| *x -= shift);
        }
        let (mut q, mut r) = thin_qr(x, par);
        if r.nrows() > 0 && r[(0, 0)] < 0.0 {
            r.row_mut(0).iter_mut().for_each(|r| *r = -*r);
            q.col_as_slice_mut(0).iter_mut().for_each(|q| *q = -*q);
        }
        let mut first = 0;
        for (b, block) in blocks.iter().enumerate().filter(|(_, block)| block.fold == fold) {
            let rows = Array2::from_shape_fn((block.n_rows, p), |(t, c)| {
                if c + 1 < q.ncols() { q[(first + t, c + 1)] as f32 } else { 0.0 }
            });
            train[b] = Some(StoryDesign::Dense(rows));
            first += block.n_rows;
        }
        folds.push(FoldFactor { r, n_rows });
    }
    let train = train.into_iter().flatten().collect();
    let space = Space { delays: vec![0], n_features: p, train, ..Space::default() };
    Factored { folds, space, shift }
}

/// The training rows of some folds together.
struct Decomposed {
    /// `(rows of the stack, m)`: z = to_zᵀ · stack of the folds' statistics.
    to_z: Mat<f64>,
    /// `(p, m)`.
    v: Mat<f64>,
    /// `(m)` singular values, decreasing, positive.
    singular: Vec<f64>,
    /// `(p)` column means of the (shifted) rows; zeros without an intercept.
    means: Vec<f64>,
    n_rows: usize,
}

/// SVD of the rows of all folds but `skip`.
fn decompose(
    folds: &[FoldFactor],
    skip: Option<usize>,
    fit_intercept: bool,
    par: Par,
) -> Result<Decomposed> {
    let used: Vec<&FoldFactor> =
        folds.iter().enumerate().filter(|(k, _)| Some(*k) != skip).map(|(_, fold)| fold).collect();
    let columns = folds.first().map_or(1, |fold| fold.r.ncols());
    let p = columns - 1;
    let n_stacked: usize = used.iter().map(|fold| fold.r.nrows()).sum();
    let n_rows: usize = used.iter().map(|fold| fold.n_rows).sum();
    let mut stacked = Mat::<f64>::zeros(n_stacked, columns);
    // First rows of all folds, then the others, as the engine has their statistics.
    let mut first = used.len();
    for (k, fold) in used.iter().enumerate() {
        let others = fold.r.nrows() - 1;
        stacked.row_mut(k).copy_from(fold.r.row(0));
        let to = stacked.as_mut().submatrix_mut(first, 0, others, columns);
        { to }.copy_from(fold.r.submatrix(1, 0, others, columns));
        first += others;
    }
    let largest_column = (1..columns).map(|c| norm(stacked.col_as_slice(c))).fold(0.0, f64::max);
    let skipped = usize::from(fit_intercept);
    let (q, r) = match fit_intercept {
        true => thin_qr(stacked, par),
        false => thin_qr(stacked.subcols(1, p).to_owned(), par),
    };
    let means: Vec<f64> = match fit_intercept {
        // r[0][0] is √n_rows up to its sign.
        true => (1..columns).map(|c| r[(0, c)] / r[(0, 0)]).collect(),
        false => vec![0.0; p],
    };
    let inner = r.submatrix(skipped, skipped, r.nrows() - skipped, p);
    let (u, singular, v) = thin_svd(inner, par)?;
    let largest = singular.first().copied().unwrap_or(0.0).max(largest_column);
    let floor = columns as f64 * f64::EPSILON * largest;
    let m = singular.iter().take_while(|&&s| s > floor).count();
    let scaled = Mat::from_fn(u.nrows(), m, |i, j| u[(i, j)] * singular[j]);
    let mut to_z = Mat::<f64>::zeros(n_stacked, m);
    let q = q.subcols(skipped, q.ncols() - skipped);
    matmul(to_z.as_mut(), Accum::Replace, q, scaled.as_ref(), 1.0, par);
    let v = v.subcols(0, m).to_owned();
    Ok(Decomposed { to_z, v, singular: singular[..m].to_vec(), means, n_rows })
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// U, singular values (decreasing), V.
fn thin_svd(a: MatRef<'_, f64>, par: Par) -> Result<(Mat<f64>, Vec<f64>, Mat<f64>)> {
    let (rows, cols) = (a.nrows(), a.ncols());
    let size = rows.min(cols);
    let (mut u, mut v) = (Mat::<f64>::zeros(rows, size), Mat::<f64>::zeros(cols, size));
    let mut values = Diag::<f64>::zeros(size);
    let thin = ComputeSvdVectors::Thin;
    let scratch = svd_scratch::<f64>(rows, cols, thin, thin, par, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    let fail = |problem: &str| Error::Numerical {
        what: format!("singular values of a training design ({rows} × {cols})"),
        problem: problem.into(),
    };
    let (u_out, v_out) = (Some(u.as_mut()), Some(v.as_mut()));
    svd(a, values.as_mut(), u_out, v_out, par, stack, Default::default())
        .map_err(|_| fail("no convergence"))?;
    let values: Vec<f64> = values.column_vector().iter().copied().collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(fail("not finite"));
    }
    Ok((u, values, v))
}

/// One fold of an svd model.
/// # Errors
/// `Error::Numerical` if the SVD does not converge.
pub fn svd_rotation(
    factored: &Factored,
    fold: usize,
    settings: &PathSettings,
    par: Par,
) -> Result<(Rotation, Conditioning)> {
    let fit_intercept = settings.fit_intercept;
    let Decomposed { to_z, v, singular, means, n_rows: n_train } =
        decompose(&factored.folds, Some(fold), fit_intercept, par)?;
    let FoldFactor { r, n_rows: n_val } = &factored.folds[fold];
    let (m, p, rows) = (singular.len(), r.ncols() - 1, r.nrows().saturating_sub(1));
    let mut rotated = Mat::<f64>::zeros(rows, m);
    let inner = r.submatrix(1, 1, rows, p);
    matmul(rotated.as_mut(), Accum::Replace, inner, v.as_ref(), 1.0, par);
    let mut factor_norms: Vec<f64> = (0..m).map(|j| norm(rotated.col_as_slice(j))).collect();
    // Validation rows that are all alike: what is left of them is rounding.
    let largest_column = (1..=p).map(|c| norm(r.col_as_slice(c))).fold(0.0, f64::max);
    let rounding = 8.0 * p as f64 * f64::EPSILON * largest_column;
    if factor_norms.iter().all(|&norm| norm <= rounding) {
        rotated.fill(0.0);
        factor_norms.fill(0.0);
    }
    let to_t = packed(rotated.transpose());
    let upper = rows > m;
    let factor = match upper {
        true => packed(thin_qr(rotated, par).1.as_ref()),
        false => packed(rotated.as_ref()),
    };
    let val_mean = |c: usize| r[(0, c + 1)] / r[(0, 0)];
    let delta = (0..m)
        .map(|j| {
            let column = v.col_as_slice(j).iter().enumerate();
            column.map(|(c, v)| v * (val_mean(c) - means[c])).sum::<f64>() as f32
        })
        .collect();
    let conditioning = Conditioning::direct(&singular, settings.alphas.len());
    let rotation = Rotation {
        n_components: m,
        rotate: Rotate::Stacked { to_z: packed(to_z.transpose()), to_t },
        eigvals: singular.iter().map(|s| s * s).collect(),
        factor,
        upper,
        factor_norms,
        delta,
        n_train,
        n_val: *n_val,
    };
    Ok((rotation, conditioning))
}

/// The refit of an svd model on all rows; test rows in the coordinates of its components, where a
/// prediction is a sum without cancellation.
/// # Errors
/// `Error::Numerical` if the SVD does not converge.
pub fn svd_full(
    factored: &Factored,
    original: &Space,
    delays: &[i64],
    fit_intercept: bool,
    par: Par,
) -> Result<FullFit> {
    let Decomposed { to_z, v, singular, means, .. } =
        decompose(&factored.folds, None, fit_intercept, par)?;
    let x_means: Vec<f64> = means.iter().zip(&factored.shift).map(|(m, s)| m + s).collect();
    let test = |(b, design): (usize, &StoryDesign)| {
        let mut x = Mat::<f64>::zeros(design.n_trs(), v.nrows());
        write_delayed(design, original.test_rest.get(b), delays, &mut x, 0, 0);
        for (c, (mean, shift)) in means.iter().zip(&factored.shift).enumerate() {
            x.col_as_slice_mut(c).iter_mut().for_each(|x| *x = (*x - shift) - mean);
        }
        let mut rotated = Mat::<f64>::zeros(x.nrows(), v.ncols());
        matmul(rotated.as_mut(), Accum::Replace, x.as_ref(), v.as_ref(), 1.0, par);
        packed(rotated.as_ref())
    };
    Ok(FullFit {
        eigvals: singular.iter().map(|s| s * s).collect(),
        into: packed(to_z.transpose()),
        back: packed(v.as_ref()),
        x_means,
        test_rows: original.test.iter().enumerate().map(test).collect(),
    })
}

/// Every fold and the refit; folds share the cores, or each takes all of them in turn.
/// # Errors
/// `Error::Numerical` from the decompositions.
pub fn solve_svd(
    factored: &Factored,
    original: &Space,
    delays: &[i64],
    settings: &PathSettings,
    is_large: bool,
) -> Result<(Vec<(Rotation, Conditioning)>, FullFit)> {
    let fit_intercept = settings.fit_intercept;
    let n_folds = factored.folds.len();
    if is_large {
        let par = Par::rayon(0);
        let folds = (0..n_folds)
            .map(|fold| svd_rotation(factored, fold, settings, par))
            .collect::<Result<_>>()?;
        return Ok((folds, svd_full(factored, original, delays, fit_intercept, par)?));
    }
    let (full, folds) = rayon::join(
        || svd_full(factored, original, delays, fit_intercept, Par::Seq),
        || {
            (0..n_folds)
                .into_par_iter()
                .with_max_len(1)
                .map(|fold| svd_rotation(factored, fold, settings, Par::Seq))
                .collect::<Result<Vec<_>>>()
        },
    );
    Ok((folds?, full?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_is_orthonormal_and_qr_rebuilds_columns_of_any_size_and_rank() {
        let wave = |i: usize, k: usize| ((i * 37 + k * 61 + i * k) % 101) as f64 / 50.0 - 1.0;
        for (n, p, rank) in [(1, 1, 1), (5, 9, 5), (40, 9, 9), (300, 70, 70), (300, 130, 33)] {
            let left = Mat::from_fn(n, rank, wave);
            let right =
                Mat::from_fn(rank, p, |k, j| wave(j + 7, k + 3) * 10f64.powi(-((j % 12) as i32)));
            let a =
                if rank == p { Mat::from_fn(n, p, |i, j| wave(i, j + 1)) } else { &left * &right };
            for par in [Par::Seq, Par::rayon(2)] {
                let (q, r) = thin_qr(a.clone(), par);
                assert_eq!((q.ncols(), r.nrows()), (n.min(p), n.min(p)));
                let product = q.transpose() * &q;
                for i in 0..q.ncols() {
                    for j in 0..q.ncols() {
                        let expected = f64::from(u8::from(i == j));
                        let bound = 16.0 * n as f64 * f64::EPSILON;
                        assert!((product[(i, j)] - expected).abs() < bound, "{n} {p} {i} {j}");
                    }
                }
                let rebuilt = &q * &r;
                for j in 0..p {
                    // A column that counts as a combination of others is off by 16·n·eps of it.
                    let bound = 32.0 * n as f64 * f64::EPSILON * norm(a.col_as_slice(j));
                    for i in 0..n {
                        assert!((rebuilt[(i, j)] - a[(i, j)]).abs() <= bound, "{n} {p} {i} {j}");
                    }
                }
            }
        }
    }
}
