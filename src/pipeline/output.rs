//! Small files under a temporary name first.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::io::output::PartialFile;

/// Pretty JSON with a newline at the end.
/// # Errors
/// `Error::Write`.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    write_bytes(path, text.as_bytes())
}

/// The whole content of a file.
/// # Errors
/// `Error::Write`.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = PartialFile::create(path)?;
    partial.file().write_all(bytes).map_err(|source| partial.write_error(source))?;
    partial.finish()
}

/// The whole content of a text file; without a text the file is removed, if it is there.
/// # Errors
/// `Error::Write`.
pub fn write_or_remove(path: &Path, text: Option<&str>) -> Result<()> {
    match text {
        Some(text) => write_bytes(path, text.as_bytes()),
        None => match std::fs::remove_file(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Write { path: path.to_owned(), source })
            }
            _ => Ok(()),
        },
    }
}
