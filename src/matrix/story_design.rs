//! Un-delayed designs, dense or sparse.

use std::ops::Range;

use ndarray::{Array2, Axis, concatenate};

use super::SparseRows;

/// Designs side by side stay sparse below this share of stored cells. A rule of thumb: a stored
/// entry costs several times what a cell of a dense product does; not measured yet.
pub const SPARSE_MAX_DENSITY: f64 = 0.1;

/// One story's un-delayed standardised design, `(n_trs, n_features)` f32.
///
/// The design is `x = values - 1 center'`: sparse rows keep their zeros by leaving the centre
/// aside. Delays fill with zeros of `x`, so that a delayed sparse design takes the centre off only
/// those rows that lie inside of the story.
///
/// Precision: a dense cell is its f64 value rounded to f32. A sparse cell is a difference of two
/// rounded numbers, off by up to `f32::EPSILON * (|x| + |center|)`. Words are rare, their mean is
/// below their sd, and the two forms agree to 1e-6; a column whose mean is 1e4 sd keeps three
/// digits.
#[derive(Debug, Clone, PartialEq)]
pub enum StoryDesign {
    /// Every cell.
    Dense(Array2<f32>),
    /// What is stored is not yet centred.
    Sparse {
        /// Values divided by the standard deviation.
        rows: SparseRows,
        /// Mean divided by the standard deviation, `(n_features)`.
        center: Vec<f32>,
    },
}

impl StoryDesign {
    /// Number of TRs.
    pub fn n_trs(&self) -> usize {
        match self {
            StoryDesign::Dense(x) => x.nrows(),
            StoryDesign::Sparse { rows, .. } => rows.n_rows(),
        }
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        match self {
            StoryDesign::Dense(x) => x.ncols(),
            StoryDesign::Sparse { rows, .. } => rows.n_cols,
        }
    }

    /// Share of the cells that are stored: 1 if dense.
    pub fn density(&self) -> f64 {
        match self {
            StoryDesign::Dense(_) => 1.0,
            StoryDesign::Sparse { rows, .. } => rows.density(),
        }
    }

    /// Every cell of `x`, the centre taken off, `(n_trs, n_features)`.
    pub fn to_dense(&self) -> Array2<f32> {
        match self {
            StoryDesign::Dense(x) => x.clone(),
            StoryDesign::Sparse { rows, center } => rows.to_dense() - ndarray::aview1(center),
        }
    }

    /// The rows of some ranges, one behind the other.
    pub fn take_rows(self, ranges: &[Range<usize>]) -> StoryDesign {
        if ranges.len() == 1 && ranges[0] == (0..self.n_trs()) {
            return self;
        }
        self.rows(ranges)
    }

    /// A copy of the rows of some ranges, one behind the other.
    pub fn rows(&self, ranges: &[Range<usize>]) -> StoryDesign {
        match self {
            StoryDesign::Dense(x) => {
                let rows: Vec<usize> = ranges.iter().cloned().flatten().collect();
                StoryDesign::Dense(x.select(Axis(0), &rows))
            }
            StoryDesign::Sparse { rows, center } => {
                let mut kept = SparseRows::empty(rows.n_cols);
                for i in ranges.iter().cloned().flatten() {
                    kept.push_row(rows.entries(i));
                }
                StoryDesign::Sparse { rows: kept, center: center.clone() }
            }
        }
    }

    /// Adds the column sums of some rows to `sums` `(n_features)`, in f64.
    pub fn add_column_sums(&self, rows: Range<usize>, sums: &mut [f64]) {
        match self {
            StoryDesign::Dense(x) => {
                for i in rows {
                    sums.iter_mut().zip(x.row(i)).for_each(|(sum, &x)| *sum += f64::from(x));
                }
            }
            StoryDesign::Sparse { rows: x, center } => {
                for i in rows.clone() {
                    x.entries(i).for_each(|(col, x)| sums[col as usize] += f64::from(x));
                }
                for (sum, &c) in sums.iter_mut().zip(center) {
                    *sum -= rows.len() as f64 * f64::from(c);
                }
            }
        }
    }

    /// Feature spaces side by side, `(n_trs, sum of n_features)`, columns in the order given.
    ///
    /// Sparse if one of the parts is and less than [`SPARSE_MAX_DENSITY`] of all cells would be
    /// stored, dense otherwise. A single part comes back as it is.
    /// # Panics
    /// If the parts differ in TRs: all designs of a story have the rows of its BOLD.
    pub fn hstack(parts: &[&StoryDesign]) -> StoryDesign {
        let n_trs = parts.first().map_or(0, |part| part.n_trs());
        assert!(parts.iter().all(|part| part.n_trs() == n_trs), "parts of one story differ in TRs");
        match parts {
            [part] => (*part).clone(),
            _ if keeps_sparse(parts) => hstack_sparse(parts, n_trs),
            _ => hstack_dense(parts, n_trs),
        }
    }
}

fn keeps_sparse(parts: &[&StoryDesign]) -> bool {
    let (mut n_stored, mut n_cells) = (0.0, 0.0);
    for part in parts {
        let n_part = part.n_trs() as f64 * part.n_features() as f64;
        n_cells += n_part;
        n_stored += n_part * part.density();
    }
    parts.iter().any(|part| matches!(part, StoryDesign::Sparse { .. }))
        && n_stored < SPARSE_MAX_DENSITY * n_cells
}

fn hstack_dense(parts: &[&StoryDesign], n_trs: usize) -> StoryDesign {
    let dense: Vec<Array2<f32>> = parts.iter().map(|part| part.to_dense()).collect();
    let views: Vec<_> = dense.iter().map(|x| x.view()).collect();
    let x = if views.is_empty() {
        Array2::zeros((n_trs, 0))
    } else {
        concatenate(Axis(1), &views).expect("the parts have the same rows")
    };
    StoryDesign::Dense(x.as_standard_layout().into_owned())
}

fn hstack_sparse(parts: &[&StoryDesign], n_trs: usize) -> StoryDesign {
    let mut center = Vec::new();
    let mut first_col = Vec::new();
    for part in parts {
        first_col.push(u32::try_from(center.len()).expect("columns are counted in u32"));
        match part {
            StoryDesign::Dense(x) => center.resize(center.len() + x.ncols(), 0.0),
            StoryDesign::Sparse { center: own, .. } => center.extend_from_slice(own),
        }
    }
    let mut rows = SparseRows::empty(center.len());
    let mut row: Vec<(u32, f32)> = Vec::new();
    for i in 0..n_trs {
        row.clear();
        for (part, &first) in parts.iter().zip(&first_col) {
            match part {
                StoryDesign::Dense(x) => row.extend((first..).zip(x.row(i).iter().copied())),
                StoryDesign::Sparse { rows, .. } => {
                    row.extend(rows.entries(i).map(|(col, x)| (first + col, x)));
                }
            }
        }
        rows.push_row(row.iter().copied());
    }
    StoryDesign::Sparse { rows, center }
}
