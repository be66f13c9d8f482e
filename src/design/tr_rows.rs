//! A story's features at the TRs of its BOLD, before standardising.

use ndarray::{Array2, s};

use crate::design::lanczos::{Lanczos, resample, resample_sparse};
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::matrix::{Rows, SparseRows};

/// One row per TR, `(n_trs, n_features)` f64, resampled and trimmed.
#[derive(Debug, Clone, PartialEq)]
pub enum TrRows {
    /// Word vectors and rates.
    Dense(Array2<f64>),
    /// Bags of words.
    Sparse(SparseRows<f64>),
}

impl TrRows {
    /// Number of TRs.
    pub fn n_trs(&self) -> usize {
        match self {
            TrRows::Dense(rows) => rows.nrows(),
            TrRows::Sparse(rows) => rows.n_rows(),
        }
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        match self {
            TrRows::Dense(rows) => rows.ncols(),
            TrRows::Sparse(rows) => rows.n_cols,
        }
    }
}

/// Word rows at the TRs that are left after the trim, `(n_trs - head - tail, n_features)`.
///
/// `rows`: one per word; `mid_s`: `(n_words)`, the words' times in seconds, in any order;
/// `tr_times`: `(n_trs)` in seconds, all of the story's TRs, which also set Lanczos' cutoff.
/// # Errors
/// Those of `lanczos::resample` and `Trim::kept`; `Error::Values` if a feature is NaN or infinite.
/// None names the story: wrap them with `Error::in_story`.
pub fn tr_rows(
    rows: &Rows,
    mid_s: &[f64],
    tr_times: &[f64],
    lanczos: &Lanczos,
    trim: Trim,
) -> Result<TrRows> {
    let kept = trim.kept(tr_times.len())?;
    let trimmed = match rows {
        Rows::Dense(rows) => {
            let all = resample(rows.view(), mid_s, tr_times, lanczos)?;
            TrRows::Dense(all.slice_move(s![kept, ..]))
        }
        Rows::Sparse(rows) => {
            TrRows::Sparse(resample_sparse(rows, mid_s, tr_times, lanczos)?.slice_rows(kept))
        }
    };
    check_finite(&trimmed)?;
    Ok(trimmed)
}

fn check_finite(rows: &TrRows) -> Result<()> {
    let feature = match rows {
        TrRows::Dense(rows) => {
            rows.indexed_iter().find(|(_, x)| !x.is_finite()).map(|(at, _)| at.1)
        }
        TrRows::Sparse(rows) => {
            rows.values.iter().position(|x| !x.is_finite()).map(|at| rows.indices[at] as usize)
        }
    };
    match feature {
        None => Ok(()),
        Some(feature) => Err(Error::Values {
            place: format!("feature {feature}"),
            problem: "expected finite numbers, got NaN or infinity".to_owned(),
            hint: "check the word vectors".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::tr_times::tr_times;

    fn rows() -> (SparseRows, Vec<f64>) {
        let mut rows = SparseRows::empty(3);
        let mid_s: Vec<f64> = (0..40).map(|i| 0.7 * f64::from(i)).collect();
        for i in 0..40 {
            rows.push_row([(i % 3, 1.0)]);
        }
        (rows, mid_s)
    }

    #[test]
    fn the_trim_is_a_slice_of_all_trs_on_both_routes() {
        let (rows, mid_s) = rows();
        let times = tr_times(0.0, 2.0, 14).unwrap();
        let lanczos = Lanczos::default();
        let all = resample(rows.to_dense().view(), &mid_s, &times, &lanczos).unwrap();
        let dense = Rows::Dense(rows.to_dense());
        let sparse = Rows::Sparse(rows);
        for trim in [Trim::NONE, Trim { head: 3, tail: 0 }, Trim { head: 0, tail: 4 }] {
            let expected = all.slice(s![trim.head..14 - trim.tail, ..]).to_owned();
            let got = tr_rows(&dense, &mid_s, &times, &lanczos, trim).unwrap();
            assert_eq!((got.n_trs(), got.n_features()), expected.dim());
            assert_eq!(got, TrRows::Dense(expected.clone()));
            let got = tr_rows(&sparse, &mid_s, &times, &lanczos, trim).unwrap();
            assert_eq!((got.n_trs(), got.n_features()), expected.dim());
            let TrRows::Sparse(got) = got else { panic!("sparse stays sparse") };
            assert!((got.to_dense() - expected).iter().all(|difference| difference.abs() < 1e-14));
        }
    }

    #[test]
    fn features_that_are_no_numbers_are_a_data_error() {
        let (mut rows, mid_s) = rows();
        let times = tr_times(0.0, 2.0, 14).unwrap();
        rows.values[7] = f32::NAN;
        for rows in [Rows::Dense(rows.to_dense()), Rows::Sparse(rows)] {
            let error = tr_rows(&rows, &mid_s, &times, &Lanczos::default(), Trim::NONE);
            let error = error.unwrap_err().in_story("tildeath");
            assert_eq!(error.exit_code(), 3);
            let message = error.to_string();
            assert!(message.starts_with("story \"tildeath\": feature 1: "), "{message}");
        }
    }

    #[test]
    fn a_story_shorter_than_its_trim_is_a_data_error() {
        let (rows, mid_s) = rows();
        let times = tr_times(0.0, 2.0, 15).unwrap();
        let rows = Rows::Sparse(rows);
        let error = tr_rows(&rows, &mid_s, &times, &Lanczos::default(), Trim::HUTH).unwrap_err();
        assert!(matches!(error, Error::NothingLeft { n_trs: 15, .. }), "{error}");
    }
}
