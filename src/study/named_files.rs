//! Matrices of rows that were made elsewhere.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::io::matrix_file::OpenedFiles;
use crate::io::row_file::RowFile;

/// Files that were made elsewhere, one matrix a story, open no longer than they are read.
pub struct NamedFiles {
    /// One a story.
    pub files: Vec<NamedFile>,
    /// Files that hold several stories.
    pub opened: OpenedFiles,
    /// Where packed files are unpacked.
    pub scratch: PathBuf,
}

/// One story's matrix.
pub struct NamedFile {
    /// Its file.
    pub path: PathBuf,
    /// Where in the file it is.
    pub dataset: Option<String>,
    /// Rows.
    pub n_rows: usize,
    /// Columns.
    pub n_cols: usize,
    /// The row of each word; none for rows of TRs and of moments.
    pub of_words: Option<Vec<usize>>,
}

impl NamedFiles {
    /// Rows of a story's matrix.
    pub fn n_rows(&self, index: usize) -> usize {
        self.files[index].n_rows
    }

    /// Rows of the longest matrix.
    pub fn most_rows(&self) -> usize {
        self.files.iter().map(|file| file.n_rows).max().unwrap_or(0)
    }

    /// Where a story's matrix is.
    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].path
    }

    /// The row of each word of a story, of files that have rows of words.
    pub fn rows_of_words(&self, index: usize) -> Option<&[usize]> {
        self.files[index].of_words.as_deref()
    }

    /// All rows of a story.
    /// # Errors
    /// Those of the format; `Error::Shape` for a file that was changed; `Error::Values` for NaN.
    pub fn read(&self, index: usize) -> Result<Array2<f64>> {
        let NamedFile { path, dataset, n_rows, n_cols, .. } = &self.files[index];
        let rows = read_rows(path, dataset.as_deref(), &self.opened, &self.scratch)?;
        if rows.dim() != (*n_rows, *n_cols) {
            return Err(Error::Shape {
                what: path.display().to_string(),
                expected: format!("({n_rows}, {n_cols}) as when it was opened first"),
                got: format!("{:?}", rows.dim()),
                hint: "leave the files alone while they are read".into(),
            });
        }
        Ok(rows)
    }
}

/// All rows of a matrix, which must be finite.
/// # Errors
/// Those of the format; `Error::Values` for NaN and infinities.
pub fn read_rows(
    path: &Path,
    dataset: Option<&str>,
    opened: &OpenedFiles,
    scratch: &Path,
) -> Result<Array2<f64>> {
    let rows = RowFile::open(path, dataset, opened)?.read(scratch)?;
    match rows.indexed_iter().find(|(_, x)| !x.is_finite()) {
        None => Ok(rows),
        Some(((row, column), _)) => Err(Error::Values {
            place: format!("{}, row {row}, column {column}", path.display()),
            problem: "expected finite numbers, got NaN or infinity".into(),
            hint: "write 0 where there is nothing".into(),
        }),
    }
}
