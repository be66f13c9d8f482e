//! What drives the voxels: features checked, z-scored, convolved with the response and trimmed.

use super::hrf::convolve;
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, s};

/// Rows of every story after the trim.
pub(super) fn kept_rows(
    features: &[Array2<f32>],
    (head, tail): (usize, usize),
) -> Result<Vec<usize>> {
    let shape_error = |what: String, expected: String, got: String, hint: &str| {
        Err(Error::Shape { what, expected, got, hint: hint.into() })
    };
    let n_features = features.first().map_or(0, Array2::ncols);
    if n_features == 0 {
        let (expected, got) = ("at least one story and one feature", "none");
        return shape_error("simulate".into(), expected.into(), got.into(), "give features");
    }
    let mut n_rows = Vec::with_capacity(features.len());
    for (story, x) in features.iter().enumerate() {
        let what = format!("simulate: features of story {story}");
        if x.ncols() != n_features {
            let expected = format!("{n_features} columns as in story 0");
            let hint = "give every story the same features";
            return shape_error(what, expected, x.ncols().to_string(), hint);
        }
        if let Some(bad) = x.iter().position(|x| !x.is_finite()) {
            return Err(Error::Values {
                place: what,
                problem: format!(
                    "TR {}, column {} is not finite",
                    bad / n_features,
                    bad % n_features
                ),
                hint: "BOLD cannot be made from it".into(),
            });
        }
        match head.checked_add(tail).and_then(|cut| x.nrows().checked_sub(cut)) {
            Some(left) if left >= 2 => n_rows.push(left),
            _ => {
                let expected = format!("at least {head} + {tail} + 2 TRs");
                let hint = "a story this short needs a smaller trim";
                return shape_error(what, expected, x.nrows().to_string(), hint);
            }
        }
    }
    Ok(n_rows)
}

/// Per story what drives the voxels: features z-scored over all stories, convolved, trimmed,
/// centred. `(n_rows, n_features)` f32, sums in f64; a constant feature drives nothing. The shapes
/// have passed `kept_rows`.
pub(super) fn drives(
    features: &[Array2<f32>],
    (head, tail): (usize, usize),
    response: &[f64],
) -> Result<Vec<Array2<f32>>> {
    let n_features = features[0].ncols();
    let kept = |x: &Array2<f32>| head..x.nrows() - tail;
    let n: f64 = features.iter().map(|x| kept(x).len() as f64).sum();
    let mean_of = |value: &dyn Fn(usize, f64) -> f64| {
        let mut sum = Array1::<f64>::zeros(n_features);
        for row in
            features.iter().flat_map(|x| x.rows().into_iter().take(x.nrows() - tail).skip(head))
        {
            for (f, &x) in row.iter().enumerate() {
                sum[f] += value(f, f64::from(x));
            }
        }
        sum / n
    };
    let mean = mean_of(&|_, x| x);
    let sd = mean_of(&|f, x| (x - mean[f]).powi(2)).mapv(f64::sqrt);
    // Below the rounding of f32 sums, a column is constant.
    let is_constant = |f: usize| sd[f] <= f64::from(f32::EPSILON) * mean[f].abs();
    if (0..n_features).all(is_constant) {
        return Err(Error::Values {
            place: "simulate: features".into(),
            problem: "no column varies".into(),
            hint: "BOLD cannot be made from them".into(),
        });
    }
    Ok(features
        .iter()
        .map(|x| {
            let z = Array2::from_shape_fn(x.raw_dim(), |(t, f)| {
                if is_constant(f) { 0.0 } else { (f64::from(x[[t, f]]) - mean[f]) / sd[f] }
            });
            let driven = convolve(z.view(), response);
            let mut driven = driven.slice(s![kept(x), ..]).to_owned();
            for mut column in driven.columns_mut() {
                let mean = column.sum() / column.len() as f64;
                column -= mean;
            }
            driven.mapv(|x| x as f32)
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    const TRIM: (usize, usize) = (10, 5);

    /// Numbers without a pattern that matters, no column constant.
    fn features(n_trs: usize, n_features: usize) -> Array2<f32> {
        Array2::from_shape_fn((n_trs, n_features), |(t, f)| ((t * t + f * t) % (11 + f)) as f32)
    }

    #[test]
    fn drives_are_trimmed_centred_and_free_of_offset_and_scale() {
        let x = [features(40, 3), features(30, 3)];
        let moved: Vec<Array2<f32>> = x.iter().map(|x| x.mapv(|x| 4.0 * x - 8.0)).collect();
        let response = [0.0, 1.0, 0.5];
        let found = drives(&x, TRIM, &response).unwrap();
        assert_eq!(kept_rows(&x, TRIM).unwrap(), [25, 15]);
        for (drive, n_rows) in found.iter().zip([25, 15]) {
            assert_eq!(drive.dim(), (n_rows, 3));
            for column in drive.columns() {
                // Each of n_rows numbers below 8 was rounded to f32.
                assert!(column.sum().abs() < n_rows as f32 * 8.0 * f32::EPSILON);
            }
        }
        let shifted = drives(&moved, TRIM, &response).unwrap();
        for (a, b) in found.iter().zip(&shifted) {
            assert!((a - b).iter().all(|x| x.abs() < 8.0 * f32::EPSILON));
        }
    }

    #[test]
    fn scaling_sees_the_kept_rows_of_all_stories_and_nothing_else() {
        // Kept rows hold 1, 3 and 5, 7: mean 4, population sd sqrt(5). The cut ones hold 99.
        let x = [array![[99.0f32], [1.0], [3.0]], array![[99.0], [5.0], [7.0]]];
        let found = drives(&x, (1, 0), &[1.0]).unwrap();
        let expected = (1.0 / 5f64.sqrt()) as f32;
        assert_eq!(found, [array![[-expected], [expected]], array![[-expected], [expected]]]);
    }

    #[test]
    fn a_constant_feature_drives_nothing() {
        let mut x = features(40, 2);
        x.column_mut(1).fill(0.1);
        let found = drives(&[x], TRIM, &[1.0]).unwrap();
        assert!(found[0].column(1).iter().all(|&x| x == 0.0));
        assert!(found[0].column(0).iter().any(|&x| x != 0.0));
    }

    #[test]
    fn features_that_no_bold_can_be_made_from_are_refused() {
        let fails = |x: &[Array2<f32>], trim| {
            let error = kept_rows(x, trim).and_then(|_| drives(x, trim, &[1.0])).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
            error.to_string()
        };
        assert!(fails(&[], TRIM).contains("story"));
        assert!(fails(&[Array2::zeros((40, 0))], TRIM).contains("feature"));
        assert!(fails(&[features(40, 2), features(40, 3)], TRIM).contains("story 1"));
        assert!(fails(&[features(16, 2)], TRIM).contains("smaller trim"));
        assert!(fails(&[features(16, 2)], (usize::MAX, 1)).contains("smaller trim"));
        assert!(fails(&[Array2::from_elem((40, 2), 0.1)], TRIM).contains("varies"));
        let mut x = features(40, 2);
        x[[3, 1]] = f32::NAN;
        assert!(fails(&[x], TRIM).contains("TR 3, column 1"));
    }
}
