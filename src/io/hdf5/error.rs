//! Every way in which an HDF5 file can be wrong.

use crate::io::pickle::listed;

/// Why an HDF5 file is refused; `Error::Hdf5` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Hdf5Error {
    /// The file has not HDF5's first bytes.
    #[error("not an HDF5 file: it starts with {found}, expected 89 48 44 46 (\\x89HDF)")]
    NotHdf5 {
        /// The first bytes in hex.
        found: String,
    },
    /// The reader does not understand the file, or the file is damaged.
    #[error(
        "the HDF5 file cannot be read ({reason}); if it is whole (libver=\"latest\" of HDF5 2 is \
         too new), write it in an older form: h5repack OLD.h5 NEW.h5"
    )]
    Unreadable {
        /// What the reader said.
        reason: String,
    },
    /// There is no dataset of that name.
    #[error(
        "no dataset {name:?}, the file holds {}; name the one that is meant (key \
         dataset of [bold.SUBJECT] or of the space)",
        listed(names)
    )]
    NoDataset {
        /// As wanted.
        name: String,
        /// Datasets of the file, with the groups they are in.
        names: Vec<String>,
    },
    /// The name leads to another name.
    #[error(
        "{name:?} is a soft link to {target:?}, links are not followed; name the dataset itself: \
         dataset = {target:?}"
    )]
    SoftLink {
        /// As wanted.
        name: String,
        /// What the link says.
        target: String,
    },
    /// Text, complex, compound or bool elements.
    #[error(
        "dataset {name:?} holds {dtype}, expected integers, f16, f32 or f64; save it as float32"
    )]
    Dtype {
        /// The dataset.
        name: String,
        /// In words.
        dtype: String,
    },
    /// Not a matrix.
    #[error("dataset {name:?} has shape {shape:?}, expected {expected}")]
    Dims {
        /// The dataset.
        name: String,
        /// As in the file.
        shape: Vec<u64>,
        /// In words.
        expected: &'static str,
    },
    /// Storage that is not read.
    #[error("dataset {name:?} {problem}; write it in another way: {hint}")]
    Storage {
        /// The dataset.
        name: String,
        /// What it is.
        problem: String,
        /// A command that does it.
        hint: &'static str,
    },
    /// The file cannot hold what it says.
    #[error(
        "dataset {name:?} of shape {shape:?} needs {expected} bytes, more than {n_file} bytes of \
         file can hold; the file is damaged"
    )]
    TooLarge {
        /// The dataset.
        name: String,
        /// As in the file.
        shape: Vec<u64>,
        /// Bytes it would take, the largest number if that overflows.
        expected: u64,
        /// Length of the file.
        n_file: u64,
    },
}
