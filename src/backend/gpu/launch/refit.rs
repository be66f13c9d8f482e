//! `kernels/refit.cu`: weights at each voxel's own alpha.

use cudarc::driver::PushKernelArg;

use super::card::Lane;
use super::grid::{Grid, holds};
use super::memory::{Part, PartMut};
use crate::error::Result;

/// z/(λ + α) in place: `z` `(n_components, width)`, `eigvals` `(n_components)`, `best` `(width)`
/// index into `alphas`, −1 for a dead voxel, which gets 0.
/// # Errors
/// `Error::Shape`, `Error::Device`.
pub fn shrink(
    lane: &Lane,
    z: &mut PartMut<'_, f32>,
    eigvals: &Part<'_, f64>,
    alphas: &Part<'_, f64>,
    best: &Part<'_, i32>,
    (n_components, width): (usize, usize),
) -> Result<()> {
    let kernel = "shrink_f32";
    holds(kernel, "z", z.len(), &[n_components, width])?;
    holds(kernel, "eigvals", eigvals.len(), &[n_components])?;
    holds(kernel, "best", best.len(), &[width])?;
    let mut args = lane.builder(kernel);
    args.arg(z).arg(eigvals).arg(alphas).arg(best).arg(&n_components).arg(&width);
    let grid = Grid::over(width)?.striding(n_components);
    // SAFETY: refit.cu: (z, eigvals, alphas, best, m, width); best comes from select_alpha_f32 over
    // the same alphas; z is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, grid) }
}

/// `intercept` `(width)`: shift + mean − x̄·w. Without `coef` `(x_means.len(), width)` the rows are
/// centred already, and nothing is taken off.
/// # Errors
/// `Error::Shape`, `Error::Device`.
#[allow(clippy::too_many_arguments)]
pub fn intercepts(
    lane: &Lane,
    coef: Option<&Part<'_, f32>>,
    x_means: &Part<'_, f64>,
    (means, shift): (&Part<'_, f64>, &Part<'_, f32>),
    best: &Part<'_, i32>,
    intercept: &mut PartMut<'_, f32>,
    fit_intercept: bool,
    width: usize,
) -> Result<()> {
    let kernel = "intercepts_f32";
    let n_coefs = if coef.is_some() { x_means.len() } else { 0 };
    if let Some(coef) = coef {
        holds(kernel, "coef", coef.len(), &[n_coefs, width])?;
    }
    holds(kernel, "means", means.len(), &[width])?;
    holds(kernel, "shift", shift.len(), &[width])?;
    holds(kernel, "best", best.len(), &[width])?;
    holds(kernel, "intercept", intercept.len(), &[width])?;
    let fit = i32::from(fit_intercept);
    let mut args = lane.builder(kernel);
    match coef {
        Some(coef) => args.arg(coef),
        None => args.arg(&0u64),
    };
    args.arg(x_means).arg(means).arg(shift).arg(best).arg(intercept);
    args.arg(&fit).arg(&n_coefs).arg(&width);
    // SAFETY: refit.cu: (coef or null, x_means, means, shift, best, intercept, fit_intercept,
    // n_coefs, width); x covers width; the intercept is borrowed alone.
    unsafe { lane.launch(kernel, &mut args, Grid::over(width)?) }
}
