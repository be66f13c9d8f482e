//! Sparse matrices as SciPy's `save_npz` writes them, unpacked to dense ones.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::npy::{Dtype, Kind, NpyFile};
use super::npz::{self, Found, NpzError};
use crate::error::{Error, Result};

/// Rows and columns of a design that is made dense.
const MOST_SIDE: usize = 1 << 20;
/// Entries that are read at a time.
const STEP: usize = 1 << 16;

/// A matrix in compressed rows (CSR) or columns (CSC), whose sizes were checked.
#[derive(Debug, Clone)]
pub struct SparseFile {
    path: PathBuf,
    shape: [usize; 2],
    is_by_columns: bool,
}

impl SparseFile {
    /// Opens a file that holds a sparse matrix; `None` for other files.
    /// # Errors
    /// `Error::Npz` for forms that are not read (COO, BSR, DIA, …) and for damage.
    pub fn open(path: &Path) -> Result<Option<SparseFile>> {
        let names = npz::names(path)?;
        let has = |name: &str| names.iter().any(|found| found == name);
        if !has("format") || !has("shape") || !has("data") {
            return Ok(None);
        }
        let sparse = |problem: String| sparse_error(path, problem);
        let is_compressed = has("indices") && has("indptr");
        // The form is two or three letters: these tell rows from columns.
        let form = form(path)?;
        let is_by_columns = match form.as_str() {
            "csr" if is_compressed => false,
            "csc" if is_compressed => true,
            _ => return Err(sparse(format!("is of form {form:?}, csr and csc are read"))),
        };
        let shape = integers(path, "shape", 2)?;
        let shape = match shape[..] {
            [n, p] if n > 0 && p > 0 => [n as usize, p as usize],
            _ => return Err(sparse(format!("has shape {shape:?}"))),
        };
        // A row (or column) is made in memory, whatever the file's length.
        if shape.iter().any(|&side| side > MOST_SIDE) {
            return Err(sparse(format!("has shape {shape:?}, more than {MOST_SIDE} a side")));
        }
        Ok(Some(SparseFile { path: path.to_owned(), shape, is_by_columns }))
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `[n_rows, n_cols]`.
    pub fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    /// Writes the dense matrix into `scratch` as f64 and opens it; entries of one place are added.
    ///
    /// Memory: the pointers, and one row (or column). Compressed arrays are unpacked into files
    /// without a name in `folder`.
    /// # Errors
    /// `NpzError::Sparse` for damage; `Error::Write` if the disk is full.
    pub fn unpack(&self, scratch: File, folder: &Path) -> Result<NpyFile> {
        let write_error = |source| Error::Write { path: folder.to_owned(), source };
        let damaged = |problem: &str| sparse_error(&self.path, problem.to_owned());
        let [n_runs, width] = match self.is_by_columns {
            true => [self.shape[1], self.shape[0]],
            false => self.shape,
        };
        let [data, indices, pointers] =
            ["data", "indices", "indptr"].map(|name| member(&self.path, name, folder));
        let (data, indices, pointers) = (data?, indices?, pointers?);
        if pointers.n_elements() != n_runs + 1 || data.n_elements() != indices.n_elements() {
            return Err(damaged("has arrays of lengths that do not fit"));
        }
        let n_entries = data.n_elements();
        let mut out = BufWriter::with_capacity(1 << 20, &scratch);
        let mut row = vec![0f64; width];
        let mut entries =
            Entries { data, indices, first: 0, values: Vec::new(), places: Vec::new() };
        let mut at = 0;
        // The pointers come in steps, each with the end of the one before.
        for start in (0..n_runs).step_by(STEP) {
            let end = (start + STEP).min(n_runs);
            for end in pointers.read_range_i64(start + 1..end + 1)? {
                let end = usize::try_from(end).ok().filter(|&end| end >= at && end <= n_entries);
                let end = end.ok_or_else(|| damaged("has pointers that are out of order"))?;
                row.fill(0.0);
                for entry in at..end {
                    let (place, value) = entries.get(entry)?;
                    let place = usize::try_from(place).ok().filter(|&place| place < width);
                    row[place.ok_or_else(|| damaged("has an index outside its shape"))?] += value;
                }
                at = end;
                out.write_all(bytemuck::cast_slice(&row)).map_err(write_error)?;
            }
        }
        if at != n_entries {
            return Err(damaged("has entries that no row holds"));
        }
        out.flush().map_err(write_error)?;
        drop(out);
        let order = (self.shape(), self.is_by_columns);
        NpyFile::of_ordered_elements(scratch, &self.path, 0, Dtype::native(Kind::F64), order)
    }
}

/// The entries in their order, a step at a time.
struct Entries {
    data: NpyFile,
    indices: NpyFile,
    first: usize,
    values: Vec<f64>,
    places: Vec<i64>,
}

impl Entries {
    fn get(&mut self, entry: usize) -> Result<(i64, f64)> {
        if entry >= self.first + self.values.len() {
            let step = entry..(entry + STEP).min(self.data.n_elements());
            self.first = entry;
            self.values = self.data.read_range_f64(step.clone())?;
            self.places = self.indices.read_range_i64(step)?;
        }
        let at = entry - self.first;
        Ok((self.places[at], self.values[at]))
    }
}

fn sparse_error(path: &Path, problem: String) -> Error {
    Error::Npz { path: path.to_owned(), source: NpzError::Sparse { problem } }
}

/// One array, unpacked if it must be.
fn member(path: &Path, name: &str, folder: &Path) -> Result<NpyFile> {
    match npz::open(path, name)? {
        Found::Stored(file) => Ok(file),
        Found::Deflated(file) => {
            let scratch = tempfile::tempfile_in(folder)
                .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
            file.unpack(scratch)
        }
    }
}

fn form(path: &Path) -> Result<String> {
    let (_, bytes) = npz::start_of(path, "format", 64)?;
    // Text of one (S) or four (U) bytes per letter.
    Ok(bytes.iter().filter(|byte| byte.is_ascii_lowercase()).map(|&byte| byte as char).collect())
}

/// Whole numbers of a short member.
fn integers(path: &Path, name: &str, n: u64) -> Result<Vec<i64>> {
    let (descr, bytes) = npz::start_of(path, name, 8 * n)?;
    let numbers: Vec<i64> = match descr.as_str() {
        "<i8" => bytes.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
        "<i4" => {
            bytes.as_chunks::<4>().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect()
        }
        _ => return Err(sparse_error(path, format!("has a shape of type {descr}"))),
    };
    Ok(numbers)
}
