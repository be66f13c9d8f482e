//! A matrix on disk in any format that is read, as tiles of rows × columns.
//!
//! `open` finds out what a file is, `part` is one file's matrix, `MatrixFile` one or several of them
//! side by side (hemispheres). `.npy`, stored `.npz`, plain pickles, CIFTI and HDF5 in one piece are
//! read by position, straight from the file. Other files cannot be: a tile of columns would unpack
//! all of it, once a tile. They are [unpacked](MatrixFile::unpack) once into a file without a name,
//! which is gone when the process ends, however it ends.

mod open;
mod part;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::hdf5;
use super::nifti::{ColumnNames, Mask};
use super::npy::NpyFile;
use crate::error::{Error, Result};

pub use open::{OpenedFiles, array_names, is_cifti, is_hdf5, is_nifti};
use part::Part;

/// The dataset or array that is meant where none is named.
pub const DATASET: &str = "data";

/// An open matrix whose header was checked.
#[derive(Debug)]
pub struct MatrixFile {
    /// Side by side, of as many rows each.
    parts: Vec<Part>,
}

/// Which matrix of a file is meant, and how it lies there.
#[derive(Debug, Clone)]
pub struct Which<'a> {
    /// Dataset of an HDF5 file, array of a `.npz` or of a pickled dictionary.
    pub dataset: &'a str,
    /// Voxels of a NIfTI image.
    pub mask: Option<&'a Arc<Mask>>,
    /// The file has rows and columns the other way round.
    pub transpose: bool,
    /// An array of three axes is a matrix that was measured several times: its mean is read.
    pub may_repeat: bool,
    /// Pickles that were opened before, of which other arrays are wanted.
    pub opened: Option<&'a OpenedFiles>,
}

impl Default for Which<'_> {
    fn default() -> Self {
        Which { dataset: DATASET, mask: None, transpose: false, may_repeat: false, opened: None }
    }
}

impl MatrixFile {
    /// Opens a matrix, in the format that its first bytes say; where they say none, its extension
    /// decides, and what has no other is a `.npy`.
    /// # Errors
    /// `Error::Read`, and those of the format; `Error::Values` for what is no matrix, and for an
    /// image without a mask.
    pub fn open(path: &Path, which: &Which<'_>) -> Result<MatrixFile> {
        Ok(MatrixFile { parts: vec![open::open_part(path, which)?] })
    }

    /// Opens every matrix of a three-dimensional HDF5 dataset.
    /// # Errors
    /// As [`MatrixFile::open`].
    pub fn open_slabs(path: &Path, dataset: &str) -> Result<Vec<MatrixFile>> {
        let found = hdf5::open_slabs(path, dataset)?;
        found.into_iter().map(|slab| Ok(MatrixFile { parts: vec![Part::of_hdf5(slab)?] })).collect()
    }

    /// Matrices of as many rows side by side, the first one's columns first.
    /// # Errors
    /// `Error::Shape` where the rows differ.
    pub fn side_by_side(files: Vec<MatrixFile>) -> Result<MatrixFile> {
        let parts: Vec<Part> = files.into_iter().flat_map(|file| file.parts).collect();
        let n_rows = parts.first().map_or(0, Part::n_rows);
        for part in &parts {
            if part.n_rows() != n_rows {
                return Err(Error::Shape {
                    what: format!("rows of {}", part.path().display()),
                    expected: format!("{n_rows} as in {}", parts[0].path().display()),
                    got: part.n_rows().to_string(),
                    hint: "both hemispheres of a story have the same TRs".into(),
                });
            }
        }
        Ok(MatrixFile { parts })
    }

    /// The first file, as it was given to `open`.
    pub fn path(&self) -> &Path {
        self.parts[0].path()
    }

    /// All files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(Part::path)
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.parts[0].n_rows()
    }

    /// Columns.
    pub fn n_cols(&self) -> usize {
        self.parts.iter().map(Part::n_cols).sum()
    }

    /// Repetition time that the file's header says, if it says one.
    pub fn tr_s(&self) -> Option<f64> {
        self.parts.iter().find_map(Part::tr_s)
    }

    /// Names of the columns, where the file has them: parcels and grayordinates of CIFTI.
    /// # Errors
    /// As [`MatrixFile::open`]: they are read again.
    pub fn column_names(&self) -> Result<Option<ColumnNames>> {
        match self.parts.as_slice() {
            [part] => part.column_names(),
            _ => Ok(None),
        }
    }

    /// Measurements of a matrix that was measured several times.
    pub fn n_repeats(&self) -> Option<usize> {
        self.parts[0].n_repeats()
    }

    /// The single measurements of a matrix that was measured several times; none of others, and
    /// none before [`MatrixFile::unpack`].
    /// # Errors
    /// `Error::Read` where the system has no more files.
    pub fn repeats(&self) -> Result<Vec<MatrixFile>> {
        let of_parts = self.parts.iter().map(Part::repeats).collect::<Result<Vec<_>>>()?;
        let n = of_parts.iter().map(Vec::len).min().unwrap_or(0);
        let mut repeats: Vec<MatrixFile> =
            (0..n).map(|_| MatrixFile { parts: Vec::new() }).collect();
        for of_part in of_parts {
            repeats.iter_mut().zip(of_part).for_each(|(file, part)| file.parts.push(part));
        }
        Ok(repeats)
    }

    /// Whether the file does not say which of its axes are rows: a GIFTI array of two axes.
    pub fn is_undirected(&self) -> bool {
        self.parts.iter().any(Part::is_undirected)
    }

    /// Takes rows for columns, of a file that [does not say](MatrixFile::is_undirected) what they
    /// are.
    pub fn turn(&mut self) {
        self.parts.iter_mut().filter(|part| part.is_undirected()).for_each(Part::turn);
    }

    /// Whether tiles cannot be read before [`MatrixFile::unpack`].
    pub fn is_packed(&self) -> bool {
        self.parts.iter().any(Part::is_packed)
    }

    /// The file as it lies on disk, if it is one that can be read so; `None` until it is unpacked.
    pub fn tiles(&self) -> Option<&NpyFile> {
        match &self.parts[..] {
            [part] => part.tiles(),
            _ => None,
        }
    }

    /// The same where it is known to be there.
    /// # Errors
    /// `Error::Numerical` before a packed file was unpacked.
    pub fn expect_tiles(&self) -> Result<&NpyFile> {
        self.tiles().ok_or_else(|| part::not_unpacked(self.path()))
    }

    /// As [`NpyFile::read_columns`].
    /// # Errors
    /// As there; `Error::Numerical` before a packed file was unpacked.
    pub fn read_columns(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        if let [part] = &self.parts[..] {
            return part.read_columns(rows, cols, out);
        }
        let mut first = 0;
        for part in &self.parts {
            let end = first + part.n_cols();
            let own = cols.start.max(first)..cols.end.min(end);
            if own.len() == cols.len() {
                return part.read_columns(rows, own.start - first..own.end - first, out);
            }
            if !own.is_empty() {
                // A tile over the border.
                let width = own.len();
                let mut values = vec![0f32; rows.len() * width];
                let in_part = own.start - first..own.end - first;
                part.read_columns(rows.clone(), in_part, &mut values)?;
                let at = own.start - cols.start;
                for (out, values) in out.chunks_exact_mut(cols.len()).zip(values.chunks(width)) {
                    out[at..at + width].copy_from_slice(values);
                }
            }
            first = end;
        }
        match cols.end <= first {
            true => Ok(()),
            false => Err(Error::Shape {
                what: format!("tile of {}", self.path().display()),
                expected: format!("columns below {first}"),
                got: format!("{cols:?}"),
                hint: "ask for columns that are there".to_owned(),
            }),
        }
    }

    /// As [`NpyFile::expect_columns`].
    pub fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        let mut first = 0;
        for part in &self.parts {
            let end = first + part.n_cols();
            let own = cols.start.max(first)..cols.end.min(end);
            if !own.is_empty() {
                part.expect_columns(rows.clone(), own.start - first..own.end - first);
            }
            first = end;
        }
    }

    /// Unpacks what is packed into files without a name in `folder`; does nothing to others.
    ///
    /// Values become f32, f64 of HDF5 with `keep_f64`, arrays of `.npz` and of pickles stay as they
    /// are. Cost: 4 (or 8) bytes an element on disk; memory: one NIfTI volume, or one row of HDF5
    /// chunks.
    /// # Errors
    /// Those of the format; `Error::Write` if the disk is full.
    pub fn unpack(&mut self, folder: &Path, keep_f64: bool) -> Result<()> {
        self.parts.iter_mut().try_for_each(|part| part.unpack(folder, keep_f64))
    }
}
