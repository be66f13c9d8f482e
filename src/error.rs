//! Every way in which voxelcast can fail, each with its exit code.
//!
//! A message answers: what, where, expected and got, what to do. One variant for each way a file
//! can be wrong; the formats keep theirs in an enum of their own, wrapped here with the path.

use std::path::PathBuf;

pub use crate::io::gifti::GiftiError;
pub use crate::io::hdf5::Hdf5Error;
pub use crate::io::input::InputError;
pub use crate::io::nifti::NiftiError;
pub use crate::io::npy::NpyError;
pub use crate::io::npz::NpzError;
pub use crate::io::pickle::PickleError;
pub use crate::io::table::TableError;
pub use crate::io::textgrid::TextGridError;
pub use crate::io::transcript::TranscriptError;
pub use crate::io::word_vectors::VectorsError;
pub use crate::stimuli::StoriesError;

/// What every fallible function of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every failure, by the person who can mend it: `exit_code` groups them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // --- usage: exit 2 ---------------------------------------------------------------------
    /// A flag or a setting has a value that cannot be meant.
    #[error("{place}: {problem}; {hint}")]
    Usage {
        /// The flag or the key, as the user wrote it.
        place: String,
        /// What is wrong with it: expected and got.
        problem: String,
        /// What to do.
        hint: String,
    },

    // --- input data: exit 3 ----------------------------------------------------------------
    /// A file or folder could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A path that names no single file inside an archive.
    #[error("{path}: {source}")]
    Input {
        /// As the user wrote it.
        path: PathBuf,
        /// What is wrong.
        source: InputError,
    },
    /// A `.npy` file that lies, is cut short or holds what is not read.
    #[error("{path}: {source}")]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NpyError,
    },
    /// A `.npz` that is damaged or does not hold the array.
    #[error("{path}: {source}")]
    Npz {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NpzError,
    },
    /// An HDF5 file that lies, is too new, or does not hold the matrix.
    #[error("{path}: {source}")]
    Hdf5 {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Hdf5Error,
    },
    /// A GIFTI file that is damaged, or no time series.
    #[error("{path}: {source}")]
    Gifti {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GiftiError,
    },
    /// A NIfTI image that lies, is cut short, or does not fit its mask.
    #[error("{path}: {source}")]
    Nifti {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: NiftiError,
    },
    /// A pickle that is damaged or asks for more than plain data.
    #[error("{path}: {source}")]
    Pickle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: PickleError,
    },
    /// A table of timed words that cannot be understood.
    #[error("{path}: {source}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: TableError,
    },
    /// A TextGrid that cannot be understood.
    #[error("{path}: {source}")]
    TextGrid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: TextGridError,
    },
    /// A JSON transcript that cannot be understood.
    #[error("{path}: {source}")]
    Transcript {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TranscriptError,
    },
    /// A file of word vectors that lies, is cut short or damaged.
    #[error("{path}: {source}")]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: VectorsError,
    },
    /// Stories that no model can be fitted to.
    #[error("{path}: {source}")]
    Stories {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, with its story.
        source: StoriesError,
    },
    /// Two inputs disagree in shape.
    #[error("{what}: expected {expected}, got {got}; {hint}")]
    Shape {
        /// Which inputs, with their files.
        what: String,
        /// The shape or count that was needed.
        expected: String,
        /// The one that was found.
        got: String,
        /// What to do.
        hint: String,
    },
    /// A story's features and its BOLD do not have the same number of TRs.
    #[error(
        "story \"{story}\": features have {n_feature_trs} TRs, BOLD ({bold_file}) has \
         {n_bold_trs}; {n_trs} TRs were trimmed {trim}, check trim"
    )]
    Pairing {
        /// The story.
        story: String,
        /// TRs of the features after the trim.
        n_feature_trs: usize,
        /// The story's BOLD.
        bold_file: PathBuf,
        /// Its rows.
        n_bold_trs: usize,
        /// TRs of the features before the trim.
        n_trs: usize,
        /// What was cut, head:tail.
        trim: String,
    },
    /// The trim is as long as the story.
    #[error(
        "trim {trim} leaves nothing of {n_trs} TRs; expected more than {n_cut}, check trim and \
         the story's TR times"
    )]
    NothingLeft {
        /// TRs before the trim.
        n_trs: usize,
        /// TRs that were to be cut, head and tail together.
        n_cut: usize,
        /// The trim, head:tail.
        trim: String,
    },
    /// Something is wrong with one story; the source says what.
    #[error("story \"{story}\": {source}")]
    Story {
        /// The story.
        story: String,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Values that no model can be fitted to (NaN in the features, a whole story of NaN).
    #[error("{place}: {problem}; {hint}")]
    Values {
        /// The file, story or column.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: String,
    },
    /// The output folder is in use by another process.
    #[error("{path} is locked by {holder}; wait for it, or give another --out")]
    Locked {
        /// The output folder.
        path: PathBuf,
        /// Process and machine that hold it.
        holder: String,
    },
    /// The problem does not fit this machine.
    #[error("{what} needs {needed}, {available} is available; {hint}")]
    TooLarge {
        /// The solver and the sizes.
        what: String,
        /// Memory or time it would take.
        needed: String,
        /// What there is.
        available: String,
        /// The option to take instead.
        hint: String,
    },

    // --- device: exit 4 --------------------------------------------------------------------
    /// The device that was asked for is not there.
    #[error("device {device}: {problem}; {hint}")]
    Device {
        /// As given with `--device`.
        device: String,
        /// Why it cannot be used.
        problem: String,
        /// What to do.
        hint: String,
    },

    /// Device memory is short; a narrower tile may fit.
    #[error(
        "device {device}: {what} needs {} MiB, {} MiB are free; free memory on the card, or use \
         --device cpu",
        .needed_bytes >> 20, .free_bytes >> 20
    )]
    DeviceMemory {
        /// The card.
        device: String,
        /// What was to be allocated.
        what: String,
        /// Bytes it takes; 0 where a library asked for them.
        needed_bytes: u64,
        /// Bytes that were free.
        free_bytes: u64,
    },

    // --- our side: exit 1 ------------------------------------------------------------------
    /// An output could not be written (disk full, no permission).
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A decomposition did not converge.
    #[error("{what}: {problem}")]
    Numerical {
        /// Which step, with sizes.
        what: String,
        /// What happened.
        problem: String,
    },

    /// A step of a language model failed, by candle's account.
    #[cfg(feature = "language")]
    #[error("language model: {source}")]
    Tensor {
        /// candle's reason.
        #[from]
        source: candle_core::Error,
    },

    // --- interrupted: exit 130 -------------------------------------------------------------
    /// Ctrl-C, or SIGTERM from a scheduler.
    #[error("interrupted; finished parts are kept, the same command goes on from there")]
    Interrupted,
}

/// Whether candle says that a card, its driver or cuBLAS failed.
#[cfg(feature = "language")]
fn is_of_a_card(error: &candle_core::Error) -> bool {
    use candle_core::Error as Candle;
    match error {
        Candle::Cuda(_) => true,
        Candle::Context { inner, .. }
        | Candle::WithPath { inner, .. }
        | Candle::WithBacktrace { inner, .. } => is_of_a_card(inner),
        _ => false,
    }
}

impl Error {
    /// The same error, told of one story: `map_err(|error| error.in_story(name))`.
    pub fn in_story(self, story: &str) -> Self {
        Error::Story { story: story.to_owned(), source: Box::new(self) }
    }

    /// The process exit code: 1 internal or numerical, 2 usage, 3 input data, 4 device,
    /// 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage { .. } => 2,
            Error::Read { .. }
            | Error::Input { .. }
            | Error::Npy { .. }
            | Error::Npz { .. }
            | Error::Hdf5 { .. }
            | Error::Gifti { .. }
            | Error::Nifti { .. }
            | Error::Pickle { .. }
            | Error::Table { .. }
            | Error::TextGrid { .. }
            | Error::Transcript { .. }
            | Error::Vectors { .. }
            | Error::Stories { .. }
            | Error::Shape { .. }
            | Error::Pairing { .. }
            | Error::NothingLeft { .. }
            | Error::Values { .. }
            | Error::Locked { .. }
            | Error::TooLarge { .. } => 3,
            Error::Story { source, .. } => source.exit_code(),
            Error::Device { .. } | Error::DeviceMemory { .. } => 4,
            #[cfg(feature = "language")]
            Error::Tensor { source } if is_of_a_card(source) => 4,
            #[cfg(feature = "language")]
            Error::Tensor { .. } => 1,
            Error::Write { .. } | Error::Numerical { .. } => 1,
            Error::Interrupted => 130,
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(feature = "language")]
    fn what_candle_says_of_a_card_is_a_device_error() {
        use super::*;
        let of_a_card = candle_core::Error::Cuda("no kernel".into());
        assert_eq!(Error::from(of_a_card.context("step 3")).exit_code(), 4);
        assert_eq!(Error::from(candle_core::Error::msg("a shape")).exit_code(), 1);
    }
}
