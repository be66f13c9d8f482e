//! The designs of one ridge, as the route needs them.

use std::ops::Range;

use ndarray::Array2;

use super::matrix_tiles::MatrixTiles;
use crate::backend::Space;
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;
use crate::ridge::Route;

/// Rows of one block in the matrix, as runs of consecutive rows.
pub type Runs = Vec<Range<usize>>;

/// A space of one design, and what was taken off its columns.
pub struct RidgeDesign {
    /// Rows gathered block by block.
    pub space: Space,
    /// `(p)` column means that were taken off; zeros on the svd route and without an intercept.
    pub shift: Vec<f64>,
}

/// Reads a design and gathers the rows of each block.
///
/// The column means are taken off before the values are rounded to f32, for products in f32. The
/// svd route takes the values as they are, in f64 if they are: it centres by itself.
/// # Errors
/// Those of reading; `Error::Values` (exit 3) for NaN and infinities.
pub fn ridge_design(
    file: &dyn MatrixTiles,
    test: Option<&dyn MatrixTiles>,
    runs: &[Runs],
    route: Route,
    fit_intercept: bool,
) -> Result<RidgeDesign> {
    let p = file.n_cols();
    let mut space = Space { delays: vec![0], n_features: p, ..Space::default() };
    let mut shift = vec![0.0; p];
    let gathered = |x: &Array2<f32>| runs.iter().map(|runs| gather_rows(x, runs)).collect();
    let dense = |designs: Vec<Array2<f32>>| designs.into_iter().map(StoryDesign::Dense).collect();
    if route == Route::Svd {
        let (x, rest) = read_halves(file)?;
        space.train = dense(gathered(&x));
        space.train_rest = rest.map_or_else(Vec::new, |rest| gathered(&rest));
        if let Some(file) = test {
            let (x, rest) = read_halves(file)?;
            space.test = vec![StoryDesign::Dense(x)];
            space.test_rest = rest.into_iter().collect();
        }
    } else {
        let mut x = read_design(file)?;
        if fit_intercept {
            shift = remove_means(&mut x);
        }
        space.train = dense(gathered(&x));
        if let Some(file) = test {
            let mut x = read_design(file)?;
            for mut row in x.rows_mut() {
                row.iter_mut().zip(&shift).for_each(|(x, m)| *x = (f64::from(*x) - m) as f32);
            }
            space.test = vec![StoryDesign::Dense(x)];
        }
    }
    Ok(RidgeDesign { space, shift })
}

/// The values as f32, and what that leaves of f64 values, if anything.
fn read_halves(file: &dyn MatrixTiles) -> Result<(Array2<f32>, Option<Array2<f32>>)> {
    let Some(x) = file.read_f64()? else { return Ok((read_design(file)?, None)) };
    let high = x.mapv(|value| value as f32);
    check_finite(file, high.as_slice().expect("a new array is contiguous"))?;
    let rest = ndarray::Zip::from(&x).and(&high).map_collect(|&x, &h| (x - f64::from(h)) as f32);
    let has_rest = rest.iter().any(|&rest| rest != 0.0);
    Ok((high, has_rest.then_some(rest)))
}

/// The whole design as f32; NaN and infinities are an error.
fn read_design(file: &dyn MatrixTiles) -> Result<Array2<f32>> {
    let (n, p) = (file.n_rows(), file.n_cols());
    let mut x = Array2::<f32>::zeros((n, p));
    let out = x.as_slice_mut().expect("a new array is contiguous");
    file.read_columns(0..n, 0..p, out)?;
    check_finite(file, out)?;
    Ok(x)
}

fn check_finite(file: &dyn MatrixTiles, values: &[f32]) -> Result<()> {
    let p = file.n_cols();
    if let Some(i) = values.iter().position(|v| !v.is_finite()) {
        return Err(Error::Values {
            place: file.place(),
            problem: format!(
                "expected finite numbers, got {} in row {}, column {}",
                values[i],
                i / p,
                i % p
            ),
            hint: "a design cannot hold NaN; remove the column or fill it in".into(),
        });
    }
    Ok(())
}

/// Subtracts the column means (f64 sums) and returns them: products in f32 lose nothing to a
/// column's offset then.
fn remove_means(x: &mut Array2<f32>) -> Vec<f64> {
    let n = x.nrows() as f64;
    let mut means = vec![0f64; x.ncols()];
    for row in x.rows() {
        row.iter().zip(&mut means).for_each(|(&x, m)| *m += f64::from(x));
    }
    means.iter_mut().for_each(|m| *m /= n);
    for mut row in x.rows_mut() {
        row.iter_mut().zip(&means).for_each(|(x, m)| *x = (f64::from(*x) - m) as f32);
    }
    // A constant column is zero, not the rounding of its mean.
    for mut column in x.columns_mut() {
        if column.iter().all(|&value| value == column[0]) {
            column.fill(0.0);
        }
    }
    means
}

fn gather_rows(x: &Array2<f32>, runs: &Runs) -> Array2<f32> {
    let n = runs.iter().map(Range::len).sum();
    let mut out = Array2::zeros((n, x.ncols()));
    for (mut to, from) in out.rows_mut().into_iter().zip(runs.iter().cloned().flatten()) {
        to.assign(&x.row(from));
    }
    out
}
