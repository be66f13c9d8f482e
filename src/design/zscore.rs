//! Features to mean 0 and standard deviation 1, per story or with training-set statistics.
//!
//! Standard deviations are those of the population (divisor n, as `numpy.std`). A column is
//! constant, and becomes 0, if its standard deviation is at most [`CONSTANT_SD`] times its largest
//! absolute value: what rounding leaves of a constant in f64, for any unit.

use std::str::FromStr;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::design::tr_rows::TrRows;
use crate::error::{Error, Result};
use crate::matrix::SparseRows;
use crate::matrix::StoryDesign;

/// A column whose sd is at most this share of its largest absolute value is constant.
pub const CONSTANT_SD: f64 = 1e-12;

/// What was asked for, `zscore = "story" | "train" | "none"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZScoreMode {
    /// Every story by its own statistics.
    #[default]
    Story,
    /// Every story by those of all training stories together.
    Train,
    /// Not at all.
    None,
}

impl FromStr for ZScoreMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "story" => Ok(ZScoreMode::Story),
            "train" => Ok(ZScoreMode::Train),
            "none" => Ok(ZScoreMode::None),
            _ => Err(Error::Usage {
                place: "zscore".to_owned(),
                problem: format!("expected \"story\", \"train\" or \"none\", got {text:?}"),
                hint: "\"story\" is the default".to_owned(),
            }),
        }
    }
}

/// How one story is standardised: the mode, with the statistics it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum ZScore {
    /// By the story's own statistics.
    Story,
    /// By these: `ColumnStats::scaling` of all training stories.
    Train(Scaling),
    /// Not at all.
    None,
}

/// Means and squared deviations of columns, which merge over stories. All f64, `(n_features)`.
///
/// Two passes within a story, then the exact update of Chan, Golub and LeVeque (1983, Am. Stat.
/// 37:242, eq. 1.5) from story to story, so that large means cost no digits.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnStats {
    n_trs: usize,
    mean: Vec<f64>,
    /// Sum of (x - mean)^2.
    squares: Vec<f64>,
    max_abs: Vec<f64>,
}

impl ColumnStats {
    /// Those of no rows at all.
    pub fn empty(n_features: usize) -> Self {
        let zeros = vec![0.0; n_features];
        ColumnStats { n_trs: 0, mean: zeros.clone(), squares: zeros.clone(), max_abs: zeros }
    }

    /// Those of one story.
    pub fn of(rows: &TrRows) -> Self {
        match rows {
            TrRows::Dense(rows) => ColumnStats::of_dense(rows.view()),
            TrRows::Sparse(rows) => ColumnStats::of_sparse(rows),
        }
    }

    /// Those of a dense matrix `(n_trs, n_features)`.
    pub fn of_dense(rows: ArrayView2<'_, f64>) -> Self {
        let mut stats = ColumnStats::empty(rows.ncols());
        stats.n_trs = rows.nrows();
        for row in rows.rows() {
            for ((sum, max_abs), &x) in stats.mean.iter_mut().zip(&mut stats.max_abs).zip(row) {
                *sum += x;
                *max_abs = max_abs.max(x.abs());
            }
        }
        stats.sums_to_means();
        for row in rows.rows() {
            for ((squares, &mean), &x) in stats.squares.iter_mut().zip(&stats.mean).zip(row) {
                *squares += (x - mean) * (x - mean);
            }
        }
        stats
    }

    /// Those of a sparse matrix, zeros that are not stored included.
    pub fn of_sparse(rows: &SparseRows<f64>) -> Self {
        let mut stats = ColumnStats::empty(rows.n_cols);
        stats.n_trs = rows.n_rows();
        let mut n_stored = vec![0usize; rows.n_cols];
        for (&col, &x) in rows.indices.iter().zip(&rows.values) {
            let col = col as usize;
            n_stored[col] += 1;
            stats.mean[col] += x;
            stats.max_abs[col] = stats.max_abs[col].max(x.abs());
        }
        stats.sums_to_means();
        for (&col, &x) in rows.indices.iter().zip(&rows.values) {
            let deviation = x - stats.mean[col as usize];
            stats.squares[col as usize] += deviation * deviation;
        }
        for ((squares, &mean), n) in stats.squares.iter_mut().zip(&stats.mean).zip(n_stored) {
            *squares += (stats.n_trs - n) as f64 * mean * mean;
        }
        stats
    }

    /// Adds the rows of another story; merge in a fixed order for the same bits.
    ///
    /// # Errors
    /// `Error::Shape` if the two differ in columns.
    pub fn merge(&mut self, other: &ColumnStats) -> Result<()> {
        check_width(self.mean.len(), other.mean.len())?;
        let (n_old, n_new) = (self.n_trs as f64, other.n_trs as f64);
        self.n_trs += other.n_trs;
        if self.n_trs == 0 {
            return Ok(());
        }
        let n_both = n_old + n_new;
        for f in 0..self.mean.len() {
            let shift = other.mean[f] - self.mean[f];
            self.mean[f] += shift * (n_new / n_both);
            self.squares[f] += other.squares[f] + shift * shift * (n_old * n_new / n_both);
            self.max_abs[f] = self.max_abs[f].max(other.max_abs[f]);
        }
        Ok(())
    }

    /// Rows counted so far.
    pub fn n_trs(&self) -> usize {
        self.n_trs
    }

    /// Mean of each column.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Population standard deviation of each column; 0 where it is constant.
    pub fn sd(&self) -> Vec<f64> {
        let n_trs = self.n_trs.max(1) as f64;
        let sd = |(&squares, &max_abs): (&f64, &f64)| {
            let sd = (squares / n_trs).sqrt();
            if sd <= CONSTANT_SD * max_abs { 0.0 } else { sd }
        };
        self.squares.iter().zip(&self.max_abs).map(sd).collect()
    }

    /// What takes these rows to mean 0 and sd 1.
    pub fn scaling(&self) -> Scaling {
        let inverse = |sd: f64| if sd == 0.0 { 0.0 } else { 1.0 / sd };
        let inverse_sd = self.sd().into_iter().map(inverse).collect();
        Scaling { mean: self.mean.clone(), inverse_sd }
    }

    fn sums_to_means(&mut self) {
        let n_trs = self.n_trs.max(1) as f64;
        self.mean.iter_mut().for_each(|sum| *sum /= n_trs);
    }
}

/// `(x - mean) * inverse_sd` for each column; `inverse_sd` is 0 for a constant one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    mean: Vec<f64>,
    inverse_sd: Vec<f64>,
}

/// One story, standardised: computed in f64, stored as f32. Sparse rows stay sparse.
///
/// # Errors
/// `Error::Shape` if training statistics are for another number of features.
pub fn zscore(rows: &TrRows, how: &ZScore) -> Result<StoryDesign> {
    let own;
    let scaling = match how {
        ZScore::None => return Ok(as_f32(rows)),
        ZScore::Train(scaling) => scaling,
        ZScore::Story => {
            own = ColumnStats::of(rows).scaling();
            &own
        }
    };
    check_width(rows.n_features(), scaling.mean.len())?;
    Ok(match rows {
        TrRows::Dense(rows) => StoryDesign::Dense(scale_dense(rows.view(), scaling)),
        TrRows::Sparse(rows) => scale_sparse(rows, scaling),
    })
}

fn scale_dense(rows: ArrayView2<'_, f64>, scaling: &Scaling) -> Array2<f32> {
    let mut out = Array2::zeros(rows.dim());
    for (mut out, row) in out.rows_mut().into_iter().zip(rows.rows()) {
        let columns = scaling.mean.iter().zip(&scaling.inverse_sd);
        for ((out, &x), (mean, inverse_sd)) in out.iter_mut().zip(&row).zip(columns) {
            *out = ((x - mean) * inverse_sd) as f32;
        }
    }
    out
}

/// Stored values divided by the sd, and the centre that is still to be taken off every row.
fn scale_sparse(rows: &SparseRows<f64>, scaling: &Scaling) -> StoryDesign {
    let mut scaled = SparseRows::empty(rows.n_cols);
    for i in 0..rows.n_rows() {
        let entries = rows.entries(i).map(|(col, x)| (col, scaling.inverse_sd[col as usize], x));
        let varying = entries.filter(|&(_, inverse_sd, _)| inverse_sd != 0.0);
        scaled.push_row(varying.map(|(col, inverse_sd, x)| (col, (x * inverse_sd) as f32)));
    }
    let columns = scaling.mean.iter().zip(&scaling.inverse_sd);
    let center = columns.map(|(mean, inverse_sd)| (mean * inverse_sd) as f32).collect();
    StoryDesign::Sparse { rows: scaled, center }
}

fn as_f32(rows: &TrRows) -> StoryDesign {
    match rows {
        TrRows::Dense(rows) => StoryDesign::Dense(rows.mapv(|x| x as f32)),
        TrRows::Sparse(rows) => StoryDesign::Sparse {
            center: vec![0.0; rows.n_cols],
            rows: SparseRows {
                n_cols: rows.n_cols,
                indptr: rows.indptr.clone(),
                indices: rows.indices.clone(),
                values: rows.values.iter().map(|&x| x as f32).collect(),
            },
        },
    }
}

fn check_width(expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape {
        what: "training-set statistics".to_owned(),
        expected: format!("{expected} features"),
        got: got.to_string(),
        hint: "take them from the same feature space".to_owned(),
    })
}

#[cfg(test)]
#[path = "zscore_tests.rs"]
mod tests;
