//! Folds of a primal model without eigenvectors, for few voxels.

use faer::{Mat, Par};

use super::gram::{MomentsView, center};
use super::spectrum::{centered_rows, lower_factor};
use crate::backend::{BandForm, FewFit, FewFold, PathSettings};
use crate::error::Result;
use crate::product::packed::Packed;

/// Largest (λ₁ + a)/(λ_p + a) at the smallest alpha: images of b are f32 products, off by about
/// ε₃₂ · its root · 2/√p, under 2e-6 for 400 columns, and by some times that from turning the factor.
const MOST_CONDITION: f64 = 1e5;

/// Whether a model of `p` columns is cheaper without eigenvectors: they take about 20·p³ flops a
/// fold (with the factor in their coordinates), their absence (8 + n_alphas)·p² for each voxel,
/// nearly all of it in f32.
pub fn is_cheaper(settings: &PathSettings, p: usize) -> bool {
    settings.few_voxels.is_some_and(|n| n * (8 + settings.alphas.len()) <= 20 * p)
}

/// One fold from the moments of all rows and of its own; `val_rows` as for
/// [`primal_rotation`](super::spectrum::primal_rotation). `None` where eigenvectors are needed: the
/// training rows are too ill-conditioned for images in f32, or fewer than columns: eigenvectors leave
/// out the directions that no row has, here XᵀY's rounding there would be divided by alpha.
///
/// 4/3·p³ flops for the band form, 1/3·p³ for the factor, 2·p³ in f32 to turn it.
/// # Errors
/// `Error::Numerical` from the decompositions.
pub fn few_fold(
    all: MomentsView<'_>,
    fold: MomentsView<'_>,
    val_rows: Option<Mat<f64>>,
    settings: &PathSettings,
    par: Par,
) -> Result<Option<FewFold>> {
    let n_train = all.n_rows - fold.n_rows;
    if n_train < all.gram.ncols() {
        return Ok(None);
    }
    let train_sums: Vec<f64> = all.sums.iter().zip(fold.sums).map(|(a, f)| a - f).collect();
    let mut gram = all.gram - fold.gram;
    if settings.fit_intercept {
        center(gram.as_mut(), &train_sums, n_train);
    }
    let train = BandForm::new(gram, par)?;
    if !is_trusted(&train, settings) {
        return Ok(None);
    }
    let p = train.n();
    let factor = match val_rows {
        Some(rows) => train.enter_single(centered_rows(rows, fold.sums).transpose(), par),
        None => train.enter_single(validation_factor(fold, par)?.as_ref(), par),
    };
    let mean = |sum: f64, n: usize| sum / n.max(1) as f64;
    let mut delta = Mat::from_fn(p, 1, |i, _| {
        let train = if settings.fit_intercept { mean(train_sums[i], n_train) } else { 0.0 };
        mean(fold.sums[i], fold.n_rows) - train
    });
    train.enter(delta.as_mut(), par);
    Ok(Some(FewFold {
        factor: Packed::from_fn(factor.ncols(), p, |i, j| factor[(j, i)]),
        val_sums: fold.sums.to_vec(),
        delta: delta.col_as_slice(0).to_vec(),
        n_val: fold.n_rows,
        train,
    }))
}

/// The refit on all training rows; `None` as for a fold.
/// # Errors
/// `Error::Numerical` if the moments are not finite.
pub fn few_full(
    all: MomentsView<'_>,
    settings: &PathSettings,
    par: Par,
) -> Result<Option<BandForm>> {
    let mut gram = all.gram.to_owned();
    if settings.fit_intercept {
        center(gram.as_mut(), all.sums, all.n_rows);
    }
    let full = BandForm::new(gram, par)?;
    Ok(is_trusted(&full, settings).then_some(full))
}

/// Both or neither: a model is solved in one way.
pub fn few_fit(folds: Vec<Option<FewFold>>, full: Option<BandForm>) -> Option<FewFit> {
    Some(FewFit { folds: folds.into_iter().collect::<Option<_>>()?, full: full? })
}

fn is_trusted(form: &BandForm, settings: &PathSettings) -> bool {
    let alpha = settings.alphas.first().copied().unwrap_or(0.0);
    let least = (form.largest() + alpha) / MOST_CONDITION - alpha;
    least <= 0.0 || form.is_above(least)
}

/// L with LLᵀ = the centred second moments of a fold's rows; zero where they are all alike.
fn validation_factor(fold: MomentsView<'_>, par: Par) -> Result<Mat<f64>> {
    let p = fold.gram.nrows();
    let largest = (0..p).map(|i| fold.gram[(i, i)]).fold(0.0, f64::max);
    let mut gram = fold.gram.to_owned();
    center(gram.as_mut(), fold.sums, fold.n_rows);
    let rounding = 8.0 * fold.n_rows as f64 * f64::EPSILON * largest;
    if (0..p).all(|i| gram[(i, i)] <= rounding) {
        return Ok(Mat::zeros(p, p));
    }
    let mut lower = lower_factor(gram, par)?;
    for j in 1..p {
        lower.col_as_slice_mut(j)[..j].fill(0.0);
    }
    Ok(lower)
}
