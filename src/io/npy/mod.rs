//! NumPy's `.npy` files, whole or in column tiles, read and written by position.
//!
//! `header` parses and writes the header, `read` fills slices from any tile of a file, `write`
//! makes files that are whole or absent. No mapping: tiles are read into the caller's memory, so
//! resident memory is what the caller allocated.

mod decode;
mod error;
mod header;
mod read;
mod start;
mod write;

pub(in crate::io) use decode::{decode, f16_to_f32};
pub use error::NpyError;
pub use header::{Dtype, Kind};
pub use read::{
    NpyFile, read_array_f64, read_labels, read_matrix_f32, read_matrix_f64, read_vector_f64,
};
pub(in crate::io) use start::start_of_stream;
pub use write::{Element, NpyColumnsWriter, write};
#[doc(inline)]
pub use write::{header, header_of};
