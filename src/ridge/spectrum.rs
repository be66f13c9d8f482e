//! Eigenproblems: a fold in the coordinates that make ridge diagonal.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{
    LltRegularization, cholesky_in_place, cholesky_in_place_scratch,
};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

use super::conditioning::Conditioning;
use super::gram::{MomentsView, center, mirror};
use crate::backend::{FullFit, PathSettings, Rotate, Rotation};
use crate::error::{Error, Result};
use crate::product::packed::Packed;

/// Eigenvectors (columns) and eigenvalues of a symmetric matrix, the largest first, without the
/// part that rounding alone can fill: eigenvalues below n·eps of the largest.
#[derive(Debug)]
pub struct Eigen {
    /// `(n, rank)`.
    pub vectors: Mat<f64>,
    /// `(rank)`, decreasing, positive.
    pub values: Vec<f64>,
}

/// Eigen-decomposition in f64, about 9·n³ flops; four n × n matrices beside the argument.
/// # Errors
/// `Error::Numerical` if it does not converge (NaN in the matrix).
pub fn eigen(symmetric: MatRef<'_, f64>, par: Par, what: &str) -> Result<Eigen> {
    let n = symmetric.nrows();
    let mut vectors = Mat::<f64>::zeros(n, n);
    let mut values = Diag::<f64>::zeros(n);
    let scratch =
        self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, par, Default::default());
    let mut memory = MemBuffer::new(scratch);
    let stack = MemStack::new(&mut memory);
    let fail = |problem: &str| Error::Numerical {
        what: format!("eigenvalues of {what} ({n} × {n})"),
        problem: problem.into(),
    };
    self_adjoint_evd(
        symmetric,
        values.as_mut(),
        Some(vectors.as_mut()),
        par,
        stack,
        Default::default(),
    )
    .map_err(|_| fail("no convergence"))?;
    let all: Vec<f64> = values.column_vector().iter().copied().collect();
    if all.iter().any(|v| !v.is_finite()) {
        return Err(fail("not finite"));
    }
    let largest = all.last().copied().unwrap_or(0.0).max(0.0);
    let floor = largest * n as f64 * f64::EPSILON;
    let first = all.partition_point(|&v| v <= floor);
    let rank = n - first;
    // In place: for a large kernel this matrix counts.
    drop(memory);
    for j in 0..n / 2 {
        let last = vectors.col_as_slice(n - 1 - j).to_vec();
        let first = vectors.col_as_slice(j).to_vec();
        vectors.col_as_slice_mut(j).copy_from_slice(&last);
        vectors.col_as_slice_mut(n - 1 - j).copy_from_slice(&first);
    }
    vectors.truncate(n, rank);
    let values: Vec<f64> = all[first..].iter().rev().copied().collect();
    Ok(Eigen { vectors, values })
}

/// R with RᵀR = `moments` (symmetric, positive semi-definite), upper triangular, f32.
/// # Errors
/// Those of [`lower_factor`].
pub fn upper_factor(moments: Mat<f64>, par: Par) -> Result<Packed> {
    let n = moments.nrows();
    let lower = lower_factor(moments, par)?;
    // Column i of L below the diagonal is row i of R.
    Ok(Packed::from_fn(n, n, |i, j| if j < i { 0.0 } else { lower[(j, i)] as f32 }))
}

/// L with LLᵀ = `moments` (symmetric, positive semi-definite); what stands above its diagonal means
/// nothing.
///
/// Validation rows need not span every component (a word that no validation story holds), so
/// n·eps of the largest entry, times 8, is added to the diagonal, and a hundred times more where
/// rounding was larger still: bᵀ(RᵀR)b is too large by that times ‖b‖². faer's own dynamic
/// regularisation is not used: 0.24.4 gives pivots of 1e22 for exactly singular matrices.
/// # Errors
/// `Error::Numerical` if the matrix is not positive semi-definite beyond rounding.
pub fn lower_factor(mut moments: Mat<f64>, par: Par) -> Result<Mat<f64>> {
    let n = moments.nrows();
    let diagonal: Vec<f64> = (0..n).map(|i| moments[(i, i)]).collect();
    let largest = diagonal.iter().copied().fold(0.0, f64::max);
    let most_negative = diagonal.iter().copied().fold(0.0, f64::min).abs();
    let mut added = (8.0 * largest * n as f64 * f64::EPSILON).max(2.0 * most_negative);
    if largest == 0.0 {
        return Ok(Mat::zeros(n, n));
    }
    let scratch = cholesky_in_place_scratch::<f64>(n, par, Default::default());
    let mut memory = MemBuffer::new(scratch);
    for attempt in 0.. {
        for (i, value) in diagonal.iter().enumerate() {
            moments[(i, i)] = value + added;
        }
        let done = cholesky_in_place(
            moments.as_mut(),
            LltRegularization::default(),
            par,
            MemStack::new(&mut memory),
            Default::default(),
        );
        match done {
            Ok(_) => break,
            Err(_) if attempt < 3 => {
                // The upper triangle still holds the matrix.
                for j in 0..n {
                    for i in j + 1..n {
                        moments[(i, j)] = moments[(j, i)];
                    }
                }
                added *= 100.0;
            }
            Err(e) => {
                return Err(Error::Numerical {
                    what: format!("triangular factor of validation moments ({n} × {n})"),
                    problem: format!("{e:?}"),
                });
            }
        }
    }
    Ok(moments)
}

/// The matrix, f32.
pub fn packed(matrix: MatRef<'_, f64>) -> Packed {
    Packed::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] as f32)
}

/// Eigenvectors as rows.
pub fn components(vectors: MatRef<'_, f64>) -> Packed {
    packed(vectors.transpose())
}

/// One fold of a primal model from the moments of all rows and of the fold's own.
///
/// The centred training Gram is `all − fold`, downdated in f64. M = Qᵀ(validation Gram)Q and its
/// triangle; or, with the fold's delayed rows in `val_rows` `(n_val, p)`, these rows times Q, which
/// costs less where they are fewer than p/2, here and for every voxel. About 9·p³ + 5·p³ flops in
/// f64, 2·n_val·p² in place of the 5·p³ with rows.
///
/// `into`: from eigenvectors to what XᵀY is multiplied by, [`components`] unless columns are scaled.
/// # Errors
/// `Error::Numerical` from the decompositions.
pub fn primal_rotation(
    all: MomentsView<'_>,
    fold: MomentsView<'_>,
    val_rows: Option<Mat<f64>>,
    into: &dyn Fn(MatRef<'_, f64>) -> Packed,
    settings: &PathSettings,
    par: Par,
) -> Result<(Rotation, Conditioning)> {
    let fit_intercept = settings.fit_intercept;
    let n_train = all.n_rows - fold.n_rows;
    let train_sums: Vec<f64> = all.sums.iter().zip(fold.sums).map(|(a, f)| a - f).collect();
    let mut train = all.gram - fold.gram;
    let squares: Vec<f64> = (0..train.nrows()).map(|i| train[(i, i)].max(0.0)).collect();
    if fit_intercept {
        center(train.as_mut(), &train_sums, n_train);
    }
    let Eigen { vectors, values } = eigen(train.as_ref(), par, "a training Gram matrix")?;
    drop(train);
    let (p, m) = (vectors.nrows(), vectors.ncols());
    let noise = |j| vectors.col_as_slice(j).iter().zip(&squares).map(|(q, x)| q * q * x).sum();
    let noise: Vec<f64> = (0..m).map(noise).collect();
    let conditioning = Conditioning::squared(&values, &noise, (p, p), &settings.alphas);
    let upper = val_rows.is_none();
    let (factor, factor_norms) = match val_rows {
        Some(rows) => rows_factor(rows, fold.sums, vectors.as_ref(), par),
        None => triangle_factor(fold, vectors.as_ref(), par)?,
    };
    let difference: Vec<f64> = (0..p)
        .map(|i| {
            let train_mean = if fit_intercept { train_sums[i] / n_train as f64 } else { 0.0 };
            fold.sums[i] / fold.n_rows as f64 - train_mean
        })
        .collect();
    let delta = (0..m)
        .map(|j| {
            difference.iter().zip(vectors.col_as_slice(j)).map(|(d, q)| d * q).sum::<f64>() as f32
        })
        .collect();
    let rotation = Rotation {
        n_components: m,
        rotate: Rotate::Primal { q: into(vectors.as_ref()), val_sums: fold.sums.to_vec() },
        eigvals: values,
        factor,
        upper,
        factor_norms,
        delta,
        n_train,
        n_val: fold.n_rows,
    };
    Ok((rotation, conditioning))
}

/// The triangle of Qᵀ(validation Gram)Q, and its columns' norms.
fn triangle_factor(
    fold: MomentsView<'_>,
    vectors: MatRef<'_, f64>,
    par: Par,
) -> Result<(Packed, Vec<f64>)> {
    let (p, m) = (vectors.nrows(), vectors.ncols());
    let mut val = fold.gram.to_owned();
    center(val.as_mut(), fold.sums, fold.n_rows);
    let mut half = Mat::<f64>::zeros(p, m);
    matmul(half.as_mut(), Accum::Replace, val.as_ref(), vectors, 1.0, par);
    drop(val);
    // Symmetric: half of it is enough.
    let mut moments = Mat::<f64>::zeros(m, m);
    triangular::matmul(
        moments.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        vectors.transpose(),
        BlockStructure::Rectangular,
        half.as_ref(),
        BlockStructure::Rectangular,
        1.0,
        par,
    );
    drop(half);
    mirror(moments.as_mut());
    // Validation rows that are all alike: what is left of their moments is rounding.
    let largest = (0..p).map(|i| fold.gram[(i, i)]).fold(0.0, f64::max);
    let rounding = 8.0 * fold.n_rows as f64 * f64::EPSILON * largest;
    let varies = (0..m).any(|i| moments[(i, i)] > rounding);
    let square = |i: usize| if varies { moments[(i, i)].max(0.0) } else { 0.0 };
    let factor_norms = (0..m).map(|i| square(i).sqrt()).collect();
    let factor = match varies {
        true => upper_factor(moments, par)?,
        false => Packed::from_fn(m, m, |_, _| 0.0),
    };
    Ok((factor, factor_norms))
}

/// Validation rows, centred, in the coordinates of the components, and their columns' norms.
fn rows_factor(
    rows: Mat<f64>,
    sums: &[f64],
    vectors: MatRef<'_, f64>,
    par: Par,
) -> (Packed, Vec<f64>) {
    let rows = centered_rows(rows, sums);
    let (n, m) = (rows.nrows(), vectors.ncols());
    let mut rotated = Mat::<f64>::zeros(n, m);
    matmul(rotated.as_mut(), Accum::Replace, rows.as_ref(), vectors, 1.0, par);
    let norm = |j| rotated.col_as_slice(j).iter().map(|x| x * x).sum::<f64>().sqrt();
    let norms = (0..m).map(norm).collect();
    (packed(rotated.as_ref()), norms)
}

/// Validation rows without their means; zero where they are all alike, and only rounding is left.
pub fn centered_rows(mut rows: Mat<f64>, sums: &[f64]) -> Mat<f64> {
    let n = rows.nrows();
    let (mut largest, mut most) = (0f64, 0f64);
    for (c, sum) in sums.iter().enumerate() {
        let mean = sum / n.max(1) as f64;
        let mut square = 0.0;
        for x in rows.col_as_slice_mut(c) {
            largest = largest.max(x.abs());
            *x -= mean;
            square += *x * *x;
        }
        most = most.max(square);
    }
    if most.sqrt() <= 8.0 * f64::EPSILON * n as f64 * largest {
        rows.fill(0.0);
    }
    rows
}

/// The refit of a primal model on all training rows.
/// # Errors
/// `Error::Numerical` from the eigenproblem.
pub fn primal_full(all: MomentsView<'_>, fit_intercept: bool, par: Par) -> Result<FullFit> {
    let mut gram = all.gram.to_owned();
    if fit_intercept {
        center(gram.as_mut(), all.sums, all.n_rows);
    }
    mirror(gram.as_mut());
    let Eigen { vectors, values, .. } = eigen(gram.as_ref(), par, "the Gram matrix")?;
    Ok(FullFit {
        eigvals: values,
        into: packed(vectors.transpose()),
        back: packed(vectors.as_ref()),
        x_means: x_means(all),
        test_rows: Vec::new(),
    })
}

/// Column means over all training rows.
pub fn x_means(all: MomentsView<'_>) -> Vec<f64> {
    all.sums.iter().map(|s| s / all.n_rows.max(1) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(rows: usize, n: usize, rank: usize) -> Mat<f64> {
        let wave = |i: usize, k: usize| ((i * 37 + k * 61 + i * k) % 101) as f64 / 50.0 - 1.0;
        let left = Mat::from_fn(rows, rank, wave);
        let right = Mat::from_fn(rank, n, |k, j| wave(j + 7, k + 3));
        let x = &left * &right;
        x.transpose() * &x
    }

    #[test]
    fn a_factor_of_a_singular_matrix_rebuilds_it() {
        for (n, rank) in [(1, 1), (2, 1), (33, 33), (130, 126), (300, 40)] {
            let moments = gram(400, n, rank);
            let largest = (0..n).map(|i| moments[(i, i)]).fold(0.0, f64::max);
            for par in [Par::Seq, Par::rayon(2)] {
                let upper = upper_factor(moments.clone(), par).unwrap();
                for i in 0..n {
                    for j in 0..n {
                        let rebuilt: f64 = (0..n)
                            .map(|k| f64::from(upper.get(k, i)) * f64::from(upper.get(k, j)))
                            .sum();
                        // R is rounded to f32; each column of R has norm ≤ √largest.
                        let bound = 4.0 * f64::from(f32::EPSILON) * largest;
                        assert!((rebuilt - moments[(i, j)]).abs() < bound, "{n} {rank} {i} {j}");
                    }
                }
            }
        }
    }

    #[test]
    fn eigenvectors_of_zero_eigenvalues_are_left_out() {
        let symmetric = gram(400, 60, 45);
        let Eigen { vectors, values } = eigen(symmetric.as_ref(), Par::Seq, "x").unwrap();
        assert_eq!((vectors.nrows(), vectors.ncols(), values.len()), (60, 45, 45));
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
        for (j, value) in values.iter().enumerate() {
            for i in 0..60 {
                let product: f64 = (0..60).map(|k| symmetric[(i, k)] * vectors[(k, j)]).sum();
                let bound = 60.0 * 60.0 * f64::EPSILON * values[0];
                assert!((product - value * vectors[(i, j)]).abs() < bound);
            }
        }
        assert_eq!(eigen(Mat::<f64>::zeros(3, 3).as_ref(), Par::Seq, "x").unwrap().values.len(), 0);
        let bad = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert_eq!(eigen(bad.as_ref(), Par::Seq, "x").unwrap_err().exit_code(), 1);
    }
}
