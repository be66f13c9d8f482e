//! The engine's errors as Python's.

use pyo3::PyErr;
use pyo3::exceptions::{
    PyKeyboardInterrupt, PyMemoryError, PyOSError, PyRuntimeError, PyValueError,
};
use voxelcast::error::Error;

/// Sentences stay as they are; the class says whose fault it is.
pub fn to_python(error: Error) -> PyErr {
    let text = error.to_string();
    match &error {
        Error::Interrupted => PyKeyboardInterrupt::new_err(text),
        Error::TooLarge { .. } | Error::DeviceMemory { .. } => PyMemoryError::new_err(text),
        Error::Read { .. } | Error::Write { .. } => PyOSError::new_err(text),
        _ if matches!(error.exit_code(), 2 | 3) => PyValueError::new_err(text),
        _ => PyRuntimeError::new_err(text),
    }
}
