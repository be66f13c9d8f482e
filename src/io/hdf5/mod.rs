//! One matrix of an HDF5 file, as h5py, PyTables and MATLAB 7.3 write them.
//!
//! `error` has every way in which a file can be wrong, `dataset` finds a dataset and checks what it
//! says of itself, `names` lists what there is and finds soft links. What lies in one piece is read by position, as `.npy` files are; chunks, which
//! may be compressed, are unpacked first ([`Packed`]).

mod dataset;
mod error;
mod names;

pub use dataset::{Found, Packed, has_dataset, open_array, open_slabs, read_texts};
pub use error::Hdf5Error;
pub use names::names;

#[cfg(test)]
mod tests;
