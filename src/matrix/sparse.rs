//! Matrices that are mostly zero, and the one type that holds either kind of row.

use std::ops::Range;

use ndarray::Array2;

/// Sparse rows (CSR): row `i` has the columns `indices[indptr[i]..indptr[i + 1]]`.
///
/// `indptr` has one entry more than there are rows and starts with 0; the column indices of a row
/// are strictly increasing and below `n_cols`. Values are f64 while sums are taken and f32 once
/// standardised, so `SparseRows` alone means f32.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseRows<T = f32> {
    /// Number of columns, those without an entry included.
    pub n_cols: usize,
    /// Where each row starts in `indices` and `values`; `n_rows + 1` entries.
    pub indptr: Vec<usize>,
    /// Column of each entry.
    pub indices: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<T>,
}

impl<T: Copy> SparseRows<T> {
    /// No rows yet, `n_cols` columns.
    pub fn empty(n_cols: usize) -> Self {
        SparseRows { n_cols, indptr: vec![0], indices: Vec::new(), values: Vec::new() }
    }

    /// Appends one row; its columns must come in strictly increasing order, below `n_cols`.
    pub fn push_row(&mut self, entries: impl IntoIterator<Item = (u32, T)>) {
        let start = self.indices.len();
        for (col, value) in entries {
            debug_assert!((col as usize) < self.n_cols, "column {col} of {}", self.n_cols);
            debug_assert!(self.indices[start..].last().is_none_or(|&last| last < col));
            self.indices.push(col);
            self.values.push(value);
        }
        self.indptr.push(self.indices.len());
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of stored entries.
    pub fn n_entries(&self) -> usize {
        self.indices.len()
    }

    /// Share of all cells that are stored; 0 for a matrix without cells.
    pub fn density(&self) -> f64 {
        let n_cells = self.n_rows() as f64 * self.n_cols as f64;
        if n_cells == 0.0 { 0.0 } else { self.n_entries() as f64 / n_cells }
    }

    /// Columns and values of row `i`.
    pub fn row(&self, i: usize) -> (&[u32], &[T]) {
        let range = self.indptr[i]..self.indptr[i + 1];
        (&self.indices[range.clone()], &self.values[range])
    }

    /// The entries of row `i`, in order of their columns.
    pub fn entries(&self, i: usize) -> impl Iterator<Item = (u32, T)> + '_ {
        let (indices, values) = self.row(i);
        indices.iter().copied().zip(values.iter().copied())
    }

    /// A copy of the rows in `range`.
    pub fn slice_rows(&self, range: Range<usize>) -> Self {
        let (start, end) = (self.indptr[range.start], self.indptr[range.end]);
        SparseRows {
            n_cols: self.n_cols,
            indptr: self.indptr[range.start..=range.end].iter().map(|&at| at - start).collect(),
            indices: self.indices[start..end].to_vec(),
            values: self.values[start..end].to_vec(),
        }
    }

    /// The same matrix with its zeros written out, `(n_rows, n_cols)`.
    pub fn to_dense(&self) -> Array2<T>
    where
        T: Default,
    {
        let mut dense = Array2::from_elem((self.n_rows(), self.n_cols), T::default());
        for (i, mut row) in dense.rows_mut().into_iter().enumerate() {
            for (col, value) in self.entries(i) {
                row[col as usize] = value;
            }
        }
        dense
    }
}

/// One row per word or per TR, before standardising.
#[derive(Debug, Clone, PartialEq)]
pub enum Rows {
    /// `(n_rows, n_features)`: word vectors.
    Dense(Array2<f32>),
    /// Bags of words.
    Sparse(SparseRows),
}

impl Rows {
    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        match self {
            Rows::Dense(rows) => rows.len() * size_of::<f32>(),
            Rows::Sparse(rows) => 8 * (rows.indptr.len() + rows.indices.len()),
        }
    }

    /// Number of words or TRs.
    pub fn n_rows(&self) -> usize {
        match self {
            Rows::Dense(rows) => rows.nrows(),
            Rows::Sparse(rows) => rows.n_rows(),
        }
    }

    /// Number of features.
    pub fn n_features(&self) -> usize {
        match self {
            Rows::Dense(rows) => rows.ncols(),
            Rows::Sparse(rows) => rows.n_cols,
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn three_rows() -> SparseRows {
        let mut rows = SparseRows::empty(4);
        rows.push_row([(1, 2.0), (3, 4.0)]);
        rows.push_row([]);
        rows.push_row([(0, -1.0)]);
        rows
    }

    #[test]
    fn rows_come_back_as_they_were_pushed() {
        let rows = three_rows();
        assert_eq!((rows.n_rows(), rows.n_cols, rows.n_entries()), (3, 4, 3));
        assert_eq!(rows.row(0), (&[1, 3][..], &[2.0, 4.0][..]));
        assert_eq!(rows.row(1), (&[][..], &[][..]));
        assert_eq!(rows.to_dense(), array![[0.0, 2.0, 0.0, 4.0], [0.0; 4], [-1.0, 0.0, 0.0, 0.0]]);
        assert_eq!(rows.density(), 0.25);
        assert_eq!(SparseRows::<f32>::empty(0).density(), 0.0);
    }

    #[test]
    fn a_slice_of_rows_is_the_slice_of_the_dense_matrix() {
        let rows = three_rows();
        for (start, end) in [(0, 3), (1, 3), (1, 2), (3, 3)] {
            let dense = rows.to_dense().slice(ndarray::s![start..end, ..]).to_owned();
            assert_eq!(rows.slice_rows(start..end).to_dense(), dense);
        }
    }

    #[test]
    fn rows_of_either_kind_know_their_shape() {
        let sparse = Rows::Sparse(three_rows());
        let dense = Rows::Dense(three_rows().to_dense());
        assert_eq!((sparse.n_rows(), sparse.n_features()), (3, 4));
        assert_eq!((dense.n_rows(), dense.n_features()), (3, 4));
    }
}
