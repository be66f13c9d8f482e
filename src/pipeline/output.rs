//! Small files under a temporary name first.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::Result;
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
