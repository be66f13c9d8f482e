//! NumPy's arrays as the engine reads them.

use numpy::{PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use voxelcast::solve::matrix_tiles::{ArrayTiles, MatrixTiles};

/// A float matrix in any layout, borrowed.
pub enum Matrix<'py> {
    /// Of float32.
    Single(PyReadonlyArray2<'py, f32>),
    /// Of float64.
    Double(PyReadonlyArray2<'py, f64>),
}

impl<'py> Matrix<'py> {
    /// Borrows an array; `name` is what messages call it.
    /// # Errors
    /// `TypeError` for anything but a matrix of native float32 or float64.
    pub fn new(name: &str, array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = array.extract() {
            return Ok(Self::Single(array));
        }
        if let Ok(array) = array.extract() {
            return Ok(Self::Double(array));
        }
        let got = match array.cast::<PyUntypedArray>() {
            Ok(array) => format!("{} dimensions of {}", array.ndim(), array.dtype()),
            Err(_) => format!("{}", array.get_type()),
        };
        Err(PyTypeError::new_err(format!(
            "{name}: expected a two-dimensional array of float32 or float64, got {got}"
        )))
    }

    /// Its values, in any layout.
    pub fn view(&self) -> View<'_> {
        match self {
            Self::Single(array) => View::Single(array.as_array()),
            Self::Double(array) => View::Double(array.as_array()),
        }
    }
}

/// A borrowed matrix that other threads may read.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// Of float32.
    Single(ndarray::ArrayView2<'a, f32>),
    /// Of float64.
    Double(ndarray::ArrayView2<'a, f64>),
}

impl<'a> View<'a> {
    /// `(rows, columns)`.
    pub fn shape(&self) -> (usize, usize) {
        match self {
            Self::Single(values) => values.dim(),
            Self::Double(values) => values.dim(),
        }
    }

    /// As tiles of a matrix called `place`.
    pub fn tiles(self, place: &'a str) -> Box<dyn MatrixTiles + 'a> {
        match self {
            Self::Single(values) => Box::new(ArrayTiles { place, values }),
            Self::Double(values) => Box::new(ArrayTiles { place, values }),
        }
    }
}
