//! A matrix as ridge reads it: rows × columns of a file, or of an array in memory.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use crate::error::{Error, Result};
use crate::io::matrix_file::MatrixFile;
use crate::io::npy::{Kind, NpyFile};

/// Something that gives any rows × columns of a matrix.
pub trait MatrixTiles: Sync {
    /// What messages call it.
    fn place(&self) -> String;
    /// Rows.
    fn n_rows(&self) -> usize;
    /// Columns.
    fn n_cols(&self) -> usize;
    /// `(rows.len(), cols.len())` values as f32 into `out`, row-major.
    /// # Errors
    /// Those of reading.
    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()>;
    /// These will be read soon: a source on disk may begin to get them.
    fn expect_columns(&self, _rows: Range<usize>, _cols: Range<usize>) {}
    /// The whole matrix where its values are f64; `None` where f32 holds them.
    /// # Errors
    /// Those of reading.
    fn read_f64(&self) -> Result<Option<Array2<f64>>>;
}

impl MatrixTiles for NpyFile {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn n_rows(&self) -> usize {
        NpyFile::n_rows(self)
    }

    fn n_cols(&self) -> usize {
        NpyFile::n_cols(self)
    }

    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()> {
        NpyFile::read_columns(self, rows, cols, out)
    }

    fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        NpyFile::expect_columns(self, rows, cols);
    }

    fn read_f64(&self) -> Result<Option<Array2<f64>>> {
        if self.dtype().kind != Kind::F64 {
            return Ok(None);
        }
        let shape = (NpyFile::n_rows(self), NpyFile::n_cols(self));
        let values = NpyFile::read_f64(self)?;
        Ok(Some(values.into_shape_with_order(shape).expect("rows times columns in C order")))
    }
}

/// Unpacked before, where it is packed.
impl MatrixTiles for MatrixFile {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn n_rows(&self) -> usize {
        MatrixFile::n_rows(self)
    }

    fn n_cols(&self) -> usize {
        MatrixFile::n_cols(self)
    }

    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()> {
        MatrixFile::read_columns(self, rows, cols, out)
    }

    fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        MatrixFile::expect_columns(self, rows, cols);
    }

    fn read_f64(&self) -> Result<Option<Array2<f64>>> {
        self.tiles().map_or(Ok(None), MatrixTiles::read_f64)
    }
}

/// An array in memory, in any layout; nothing of it is copied but the tiles that are read.
#[derive(Debug, Clone, Copy)]
pub struct ArrayTiles<'a, T> {
    /// What messages call it.
    pub place: &'a str,
    /// `(n_rows, n_cols)`.
    pub values: ArrayView2<'a, T>,
}

/// Values of arrays.
pub trait Value: Copy + Sync + Send {
    /// Rounded to f32.
    fn to_f32(self) -> f32;
    /// The array itself where f32 does not hold its values.
    fn widened(values: ArrayView2<'_, Self>) -> Option<Array2<f64>>;
}

impl Value for f32 {
    fn to_f32(self) -> f32 {
        self
    }

    fn widened(_: ArrayView2<'_, Self>) -> Option<Array2<f64>> {
        None
    }
}

impl Value for f64 {
    fn to_f32(self) -> f32 {
        self as f32
    }

    fn widened(values: ArrayView2<'_, Self>) -> Option<Array2<f64>> {
        // Row-major, whatever the layout was.
        let mut wide = Array2::zeros(values.dim());
        wide.assign(&values);
        Some(wide)
    }
}

/// Rows and columns that are turned around at a time where columns lie in one piece.
const TURN: usize = 32;

impl<T: Value> MatrixTiles for ArrayTiles<'_, T> {
    fn place(&self) -> String {
        self.place.to_owned()
    }

    fn n_rows(&self) -> usize {
        self.values.nrows()
    }

    fn n_cols(&self) -> usize {
        self.values.ncols()
    }

    fn read_columns(&self, rows: Range<usize>, cols: Range<usize>, out: &mut [f32]) -> Result<()> {
        let from = self.values.slice(s![rows, cols]);
        let wrong_len = |problem: ndarray::ShapeError| Error::Numerical {
            what: self.place.to_owned(),
            problem: format!("{problem}; this is a fault of voxelcast, please report it"),
        };
        let mut to = ArrayViewMut2::from_shape(from.dim(), out).map_err(wrong_len)?;
        let [row_stride, col_stride] = [from.strides()[0], from.strides()[1]].map(isize::abs);
        if col_stride <= row_stride {
            to.zip_mut_with(&from, |to, &from| *to = from.to_f32());
            return Ok(());
        }
        let parts = to.axis_chunks_iter_mut(Axis(0), TURN);
        for (mut to, from) in parts.zip(from.axis_chunks_iter(Axis(0), TURN)) {
            for start in (0..from.ncols()).step_by(TURN) {
                let part = start..from.ncols().min(start + TURN);
                let from = from.slice(s![.., part.clone()]);
                to.slice_mut(s![.., part]).zip_mut_with(&from, |to, &from| *to = from.to_f32());
            }
        }
        Ok(())
    }

    fn read_f64(&self) -> Result<Option<Array2<f64>>> {
        Ok(T::widened(self.values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any rows × columns of an array are those values, whatever its layout.
    #[test]
    fn tiles_of_arrays_do_not_depend_on_their_layout() {
        let n = 3 * TURN + 1;
        let wide = Array2::from_shape_fn((2 * n, 5), |(i, j)| (i * 7 + j) as f64 + 0.25);
        let narrow = wide.mapv(|value| value as f32);
        let check = |tiles: &dyn MatrixTiles, value: &dyn Fn(usize, usize) -> f64| {
            for (rows, cols) in
                [(0..tiles.n_rows(), 0..tiles.n_cols()), (2..41, 1..3), (4..4, 0..2)]
            {
                let mut out = vec![0f32; rows.len() * cols.len()];
                tiles.read_columns(rows.clone(), cols.clone(), &mut out).unwrap();
                let places = rows.flat_map(|i| cols.clone().map(move |j| (i, j)));
                for ((i, j), got) in places.zip(out) {
                    assert_eq!(got, value(i, j) as f32, "{i}, {j}");
                }
            }
        };
        let at = |i: usize, j: usize| (i * 7 + j) as f64 + 0.25;
        check(&ArrayTiles { place: "x", values: wide.view() }, &at);
        check(&ArrayTiles { place: "x", values: narrow.view() }, &at);
        let turned = wide.t().as_standard_layout().into_owned();
        check(&ArrayTiles { place: "x", values: turned.t() }, &at);
        let steps = ArrayTiles { place: "x", values: wide.slice(s![..;-2, ..;2]) };
        check(&steps, &|i, j| at(2 * n - 1 - 2 * i, 2 * j));
        assert_eq!(steps.read_f64().unwrap().unwrap()[(1, 1)], at(2 * n - 3, 2));
        assert!(ArrayTiles { place: "x", values: narrow.view() }.read_f64().unwrap().is_none());
    }
}
