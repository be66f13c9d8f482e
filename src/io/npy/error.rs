//! Every way in which a `.npy` file can be wrong.

/// Why a `.npy` file is refused; `Error::Npy` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// The file does not start with NumPy's magic bytes.
    #[error(
        "not a .npy file: it starts with {found}, expected 93 4E 55 4D 50 59 (\\x93NUMPY); \
         write it with numpy.save"
    )]
    NotNpy {
        /// The first bytes in hex.
        found: String,
    },
    /// A version of the format that does not exist yet.
    #[error(
        "format version {major}.{minor}, expected 1.0, 2.0 or 3.0; write it again with numpy.save"
    )]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// The header says it is longer than any header is.
    #[error(
        "the header says it is {n_bytes} bytes long, the limit is {limit}; the file is damaged"
    )]
    HeaderTooLong {
        /// As declared.
        n_bytes: usize,
        /// The most that is read.
        limit: usize,
    },
    /// The file ends inside its header.
    #[error(
        "truncated: the file ends inside its header, at byte {n_bytes} of {expected}; copy it again"
    )]
    TruncatedHeader {
        /// Length of the file.
        n_bytes: u64,
        /// Length of magic bytes and header.
        expected: u64,
    },
    /// The header is no Python dictionary with the three keys.
    #[error("the header cannot be read: {problem}; it says {header:?}")]
    Header {
        /// What is wrong, and where.
        problem: String,
        /// The header's text, at most 200 characters.
        header: String,
    },
    /// Object, structured, text, complex or half-precision data.
    #[error("dtype {descr} ({what}) is not read; {hint}")]
    Dtype {
        /// As in the header.
        descr: String,
        /// The dtype in words.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// The sizes multiply to more than a file can hold.
    #[error("shape {shape:?} is impossible: its size in bytes overflows; the file is damaged")]
    ShapeOverflow {
        /// As in the header.
        shape: Vec<usize>,
    },
    /// More dimensions than NumPy allows.
    #[error("{n_dims} dimensions, the limit is {limit}; the file is damaged")]
    TooManyDims {
        /// As in the header.
        n_dims: usize,
        /// NumPy's limit.
        limit: usize,
    },
    /// The file is shorter than its header says.
    #[error(
        "truncated: shape {shape:?} of {dtype} needs {expected} bytes of data, the file has {got}; \
         copy it again"
    )]
    Truncated {
        /// As in the header.
        shape: Vec<usize>,
        /// As in the header.
        dtype: String,
        /// Bytes the shape needs.
        expected: u64,
        /// Bytes behind the header.
        got: u64,
    },
    /// The file is longer than its header says.
    #[error(
        "shape {shape:?} of {dtype} needs {expected} bytes of data, the file has {got}: \
         {} bytes too many; the file is damaged or holds several arrays", got - expected
    )]
    TrailingBytes {
        /// As in the header.
        shape: Vec<usize>,
        /// As in the header.
        dtype: String,
        /// Bytes the shape needs.
        expected: u64,
        /// Bytes behind the header.
        got: u64,
    },
    /// The array has not the number of dimensions that is needed.
    #[error("shape {shape:?} has {} dimensions, expected {expected}; {hint}", shape.len())]
    Dims {
        /// As in the header.
        shape: Vec<usize>,
        /// In words.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Labels must be whole numbers.
    #[error(
        "dtype {dtype} holds no labels, expected an integer or bool dtype; \
         save it with .astype(\"int64\")"
    )]
    LabelDtype {
        /// As in the header.
        dtype: String,
    },
    /// A label past the range of i64.
    #[error("label {value} at index {index} is over {}; use smaller labels", i64::MAX)]
    LabelTooLarge {
        /// Index in the vector.
        index: usize,
        /// The label.
        value: u64,
    },
    /// An unfinished file of an earlier run is not the one this run would write.
    #[error(
        "the unfinished file is not of this run: expected {expected}, got {got}; \
         delete it to start again"
    )]
    OtherPartial {
        /// Shape, dtype and length wanted.
        expected: String,
        /// What is there.
        got: String,
    },
}
