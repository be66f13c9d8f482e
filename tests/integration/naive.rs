//! Oracles: f64, nested loops and an SVD, written from the definitions.

use faer::Mat;
use ndarray::{Array1, Array2, Axis};

/// Validation score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Score {
    Correlation,
    R2,
}

/// What cross-validated ridge gives.
pub struct RidgeAnswer {
    /// `(n_alphas, n_voxels)`, mean over folds.
    pub cv_scores: Array2<f64>,
    /// Index of the best alpha, ties to the larger one.
    pub best: Vec<usize>,
}

/// Weights and intercept of one fit.
pub struct Fit {
    /// `(n_features, n_voxels)`.
    pub coef: Array2<f64>,
    /// `(n_voxels)`.
    pub intercept: Array1<f64>,
}

/// Pearson r; NaN where either side does not vary.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
    for i in 0..a.len() {
        let (da, db) = (a[i] - mean_a, b[i] - mean_b);
        aa += da * da;
        bb += db * db;
        ab += da * db;
    }
    if aa == 0.0 || bb == 0.0 { f64::NAN } else { ab / (aa * bb).sqrt() }
}

/// 1 − Σ(y − ŷ)²/Σ(y − ȳ)².
pub fn r2(predicted: &[f64], y: &[f64]) -> f64 {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let (mut residual, mut total) = (0.0, 0.0);
    for i in 0..y.len() {
        residual += (y[i] - predicted[i]).powi(2);
        total += (y[i] - mean).powi(2);
    }
    1.0 - residual / total
}

/// A design's SVD with what ridge needs of it.
struct Decomposed {
    x_means: Array1<f64>,
    y_means: Array1<f64>,
    /// `(p, k)`.
    v: Array2<f64>,
    singular: Vec<f64>,
    /// `Uᵀ y`, `(k, n_voxels)`.
    uty: Array2<f64>,
}

impl Decomposed {
    fn of(x: &Array2<f64>, y: &Array2<f64>, fit_intercept: bool) -> Self {
        let mean_of = |m: &Array2<f64>| match fit_intercept {
            true => m.mean_axis(Axis(0)).expect("there are rows"),
            false => Array1::zeros(m.ncols()),
        };
        let (x_means, y_means) = (mean_of(x), mean_of(y));
        let (x, y) = (x - &x_means, y - &y_means);
        let svd = Mat::from_fn(x.nrows(), x.ncols(), |i, j| x[[i, j]])
            .thin_svd()
            .expect("a finite matrix has an SVD");
        let singular: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let k = singular.len();
        let u = Array2::from_shape_fn((x.nrows(), k), |(i, j)| svd.U()[(i, j)]);
        let v = Array2::from_shape_fn((x.ncols(), k), |(i, j)| svd.V()[(i, j)]);
        Self { x_means, y_means, v, singular, uty: u.t().dot(&y) }
    }

    /// `diag(s / (s² + alpha)) Uᵀ y` with one alpha a voxel.
    fn shrunk(&self, alpha: &dyn Fn(usize) -> f64) -> Array2<f64> {
        Array2::from_shape_fn(self.uty.dim(), |(i, v)| {
            let s = self.singular[i];
            s / (s * s + alpha(v)) * self.uty[[i, v]]
        })
    }
}

/// Rows of `m` for which `keep` holds.
pub fn rows_where(m: &Array2<f64>, keep: impl Fn(usize) -> bool) -> Array2<f64> {
    let rows: Vec<usize> = (0..m.nrows()).filter(|&i| keep(i)).collect();
    m.select(Axis(0), &rows)
}

/// Cross-validation over folds of rows with equal labels.
pub fn ridge_cv(
    x: &Array2<f64>,
    y: &Array2<f64>,
    folds: &[i64],
    alphas: &[f64],
    score: Score,
    fit_intercept: bool,
) -> RidgeAnswer {
    let mut labels = folds.to_vec();
    labels.sort_unstable();
    labels.dedup();
    let mut cv_scores = Array2::<f64>::zeros((alphas.len(), y.ncols()));
    for &label in &labels {
        let (x_train, y_train) =
            (rows_where(x, |i| folds[i] != label), rows_where(y, |i| folds[i] != label));
        let (x_val, y_val) =
            (rows_where(x, |i| folds[i] == label), rows_where(y, |i| folds[i] == label));
        let fit = Decomposed::of(&x_train, &y_train, fit_intercept);
        let rotated = (&x_val - &fit.x_means).dot(&fit.v);
        for (a, &alpha) in alphas.iter().enumerate() {
            let predicted = rotated.dot(&fit.shrunk(&|_| alpha)) + &fit.y_means;
            for v in 0..y.ncols() {
                let (p, t) = (predicted.column(v).to_vec(), y_val.column(v).to_vec());
                let one = match score {
                    Score::Correlation => pearson(&p, &t),
                    Score::R2 => r2(&p, &t),
                };
                cv_scores[[a, v]] += one / labels.len() as f64;
            }
        }
    }
    let best = (0..y.ncols()).map(|v| argmax_last(&cv_scores.column(v).to_vec())).collect();
    RidgeAnswer { cv_scores, best }
}

/// Cross-validation from the kernel of all rows, with an intercept: (K + alpha) u = y by Cholesky,
/// r of Kᵥ u with the BOLD. Both kernels are centred by training means.
pub fn kernel_ridge_cv(
    kernel: &Array2<f64>,
    y: &Array2<f64>,
    folds: &[usize],
    alphas: &[f64],
) -> Array2<f64> {
    let n_folds = folds.iter().max().expect("there are rows") + 1;
    let mut cv_scores = Array2::<f64>::zeros((alphas.len(), y.ncols()));
    for fold in 0..n_folds {
        let is_val = |i: usize| folds[i] == fold;
        let train: Vec<usize> = (0..folds.len()).filter(|&i| !is_val(i)).collect();
        let from_train = kernel.select(Axis(1), &train);
        let k = from_train.select(Axis(0), &train);
        let means = k.mean_axis(Axis(0)).expect("there are rows");
        let grand = means.mean().expect("there are rows");
        let center = |k: Array2<f64>| {
            let of_rows = k.mean_axis(Axis(1)).expect("there are columns").insert_axis(Axis(1));
            k - &means - of_rows + grand
        };
        let k_val = center(rows_where(&from_train, is_val));
        let k = center(k);
        let y_train = y.select(Axis(0), &train);
        let y_val = rows_where(y, is_val);
        let y_means = y_train.mean_axis(Axis(0)).expect("there are rows");
        for (a, &alpha) in alphas.iter().enumerate() {
            let n = train.len();
            let penalised = Mat::from_fn(n, n, |i, j| k[[i, j]] + if i == j { alpha } else { 0.0 });
            let factor = penalised.llt(faer::Side::Lower).expect("a positive matrix");
            let right = Mat::from_fn(n, y.ncols(), |i, v| y_train[[i, v]] - y_means[v]);
            let dual = faer::linalg::solvers::Solve::solve(&factor, &right);
            let dual = Array2::from_shape_fn((n, y.ncols()), |(i, v)| dual[(i, v)]);
            let predicted = k_val.dot(&dual);
            for v in 0..y.ncols() {
                let (p, t) = (predicted.column(v).to_vec(), y_val.column(v).to_vec());
                cv_scores[[a, v]] += pearson(&p, &t) / n_folds as f64;
            }
        }
    }
    cv_scores
}

/// The last of the largest values.
pub fn argmax_last(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, i| if values[i] >= values[best] { i } else { best })
}

/// Refit on all rows with one alpha a voxel.
pub fn ridge_fit(x: &Array2<f64>, y: &Array2<f64>, alphas: &[f64], fit_intercept: bool) -> Fit {
    let fit = Decomposed::of(x, y, fit_intercept);
    let coef = fit.v.dot(&fit.shrunk(&|v| alphas[v]));
    let intercept = &fit.y_means - &fit.x_means.dot(&coef);
    Fit { coef, intercept }
}

/// Largest and smallest eigenvalue of (centred) XᵀX; the smallest is 0 if p > n.
pub fn gram_range(x: &Array2<f64>, fit_intercept: bool) -> (f64, f64) {
    let fit = Decomposed::of(x, &Array2::zeros((x.nrows(), 1)), fit_intercept);
    let square = |s: Option<&f64>| s.map_or(0.0, |s| s * s);
    let last = if x.ncols() > x.nrows() { 0.0 } else { square(fit.singular.last()) };
    (square(fit.singular.first()), last)
}

/// `x coef + intercept`.
pub fn predict(x: &Array2<f64>, fit: &Fit) -> Array2<f64> {
    x.dot(&fit.coef) + &fit.intercept
}

/// Pearson r of every column pair.
pub fn column_correlations(a: &Array2<f64>, b: &Array2<f64>) -> Vec<f64> {
    (0..a.ncols()).map(|v| pearson(&a.column(v).to_vec(), &b.column(v).to_vec())).collect()
}

/// Lanczos weight of a word `t` cutoff units away, `window` lobes.
pub fn lanczos_weight(t: f64, window: f64) -> f64 {
    let pi = std::f64::consts::PI;
    if t == 0.0 {
        1.0
    } else if t.abs() > window {
        0.0
    } else {
        window * (pi * t).sin() * (pi * t / window).sin() / (pi * t).powi(2)
    }
}

/// The dense form: every word against every TR.
pub fn lanczos(rows: &Array2<f64>, words_s: &[f64], trs_s: &[f64], window: f64) -> Array2<f64> {
    let cutoff = (trs_s.len() - 1) as f64 / (trs_s[trs_s.len() - 1] - trs_s[0]);
    let weights = Array2::from_shape_fn((trs_s.len(), words_s.len()), |(i, j)| {
        lanczos_weight((trs_s[i] - words_s[j]) * cutoff, window)
    });
    weights.dot(rows)
}

/// The percentile of NumPy: linear interpolation between order statistics.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = percent / 100.0 * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// r of predictions whose pieces of `len` rows stand in another order; rows beyond the last whole
/// piece stay.
pub fn permuted_r(pred: &[f64], bold: &[f64], order: &[u32], len: usize) -> f64 {
    let from = |t: usize| order.get(t / len).map_or(t, |&piece| piece as usize * len + t % len);
    let permuted: Vec<f64> = (0..pred.len()).map(|t| pred[from(t)]).collect();
    pearson(&permuted, bold)
}

/// Largest distance between the values' distribution and the uniform one on 0 to 1.
pub fn kolmogorov_smirnov(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let distance = |(i, &x): (usize, &f64)| (x - i as f64 / n).max((i + 1) as f64 / n - x);
    sorted.iter().enumerate().map(distance).fold(0.0, f64::max)
}
