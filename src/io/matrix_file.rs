//! A matrix on disk in any format that is read, as tiles of rows × columns.
//!
//! `.npy`, stored `.npz` and HDF5 in one piece are read by position, straight from the file.
//! Compressed files cannot be: a tile of columns would unpack all of it, once a tile. They are
//! [unpacked](MatrixFile::unpack) once into a file without a name, which is gone when the process
//! ends, however it ends.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::nifti::{Mask, MaskedBold};
use super::npy::{Dtype, Kind, NpyFile, decode};
use super::{hdf5, input, npz};
use crate::error::{Error, Result};

/// The dataset or array that is meant where none is named.
pub const DATASET: &str = "data";

/// An open matrix whose header was checked.
#[derive(Debug)]
pub struct MatrixFile {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Tiles(NpyFile),
    Hdf5(hdf5::Packed),
    Npz(npz::Deflated),
    Nifti(Box<MaskedBold>),
}

/// Which matrix of a file is meant.
#[derive(Debug, Clone)]
pub struct Which<'a> {
    /// Dataset of an HDF5 file, array of a `.npz`.
    pub dataset: &'a str,
    /// Voxels of a NIfTI image.
    pub mask: Option<&'a Arc<Mask>>,
}

impl Default for Which<'_> {
    fn default() -> Self {
        Which { dataset: DATASET, mask: None }
    }
}

/// Whether a file is HDF5, by its name.
pub fn is_hdf5(path: &Path) -> bool {
    matches!(input::extension(path).as_str(), "hf5" | "h5" | "hdf5")
}

/// Whether a file is NIfTI, by its name.
pub fn is_nifti(path: &Path) -> bool {
    input::extension(path) == "nii"
}

impl MatrixFile {
    /// Opens a matrix by its extension; anything that is no `.hf5`, `.h5`, `.hdf5`, `.nii`,
    /// `.nii.gz`, `.npz` or `.mat` is a `.npy`.
    /// # Errors
    /// `Error::Read`, and those of the format; `Error::Values` for a `.mat`, and for an image
    /// without a mask.
    pub fn open(path: &Path, which: &Which<'_>) -> Result<MatrixFile> {
        let source = if is_hdf5(path) {
            of_hdf5(hdf5::open_matrix(path, which.dataset)?)
        } else if is_nifti(path) {
            let mask = which.mask.ok_or_else(|| without_mask(path))?;
            Source::Nifti(Box::new(MaskedBold::open(path, mask)?))
        } else {
            match input::extension(path).as_str() {
                "npz" => match npz::open(path, which.dataset)? {
                    npz::Found::Stored(file) => tiles(file)?,
                    npz::Found::Deflated(file) => Source::Npz(file),
                },
                "mat" => return Err(matlab(path)),
                _ => tiles(NpyFile::open(path)?)?,
            }
        };
        Ok(MatrixFile { source })
    }

    /// Opens every matrix of a three-dimensional HDF5 dataset.
    /// # Errors
    /// As [`MatrixFile::open`].
    pub fn open_slabs(path: &Path, dataset: &str) -> Result<Vec<MatrixFile>> {
        let found = hdf5::open_slabs(path, dataset)?;
        Ok(found.into_iter().map(|slab| MatrixFile { source: of_hdf5(slab) }).collect())
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Tiles(file) => file.path(),
            Source::Hdf5(file) => file.path(),
            Source::Npz(file) => file.path(),
            Source::Nifti(file) => file.path(),
        }
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        match &self.source {
            Source::Tiles(file) => file.n_rows(),
            Source::Hdf5(file) => file.n_rows(),
            Source::Npz(file) => file.shape.0,
            Source::Nifti(file) => file.n_rows(),
        }
    }

    /// Columns.
    pub fn n_cols(&self) -> usize {
        match &self.source {
            Source::Tiles(file) => file.n_cols(),
            Source::Hdf5(file) => file.n_cols(),
            Source::Npz(file) => file.shape.1,
            Source::Nifti(file) => file.n_cols(),
        }
    }

    /// The file as tiles, if it can be read so; `None` until it is unpacked.
    pub fn tiles(&self) -> Option<&NpyFile> {
        match &self.source {
            Source::Tiles(file) => Some(file),
            _ => None,
        }
    }

    /// The same where it is known to be unpacked.
    /// # Errors
    /// `Error::Numerical` before a packed file was unpacked.
    pub fn expect_tiles(&self) -> Result<&NpyFile> {
        self.tiles().ok_or_else(|| Error::Numerical {
            what: self.path().display().to_string(),
            problem: "was not unpacked; this is a fault of voxelcast, please report it".into(),
        })
    }

    /// As [`NpyFile::read_columns`].
    /// # Errors
    /// As there, and of [`MatrixFile::expect_tiles`].
    pub fn read_columns(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        self.expect_tiles()?.read_columns(rows, cols, out)
    }

    /// As [`NpyFile::expect_columns`].
    pub fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        if let Some(file) = self.tiles() {
            file.expect_columns(rows, cols);
        }
    }

    /// Unpacks a packed file into a file without a name in `folder`; does nothing to others.
    ///
    /// Values become f32, f64 of HDF5 with `keep_f64` and arrays of `.npz` stay as they are. Cost:
    /// 4 (or 8) bytes an element on disk; memory: one NIfTI volume, or one row of HDF5 chunks.
    /// # Errors
    /// Those of the format; `Error::Write` if the disk is full.
    pub fn unpack(&mut self, folder: &Path, keep_f64: bool) -> Result<()> {
        if self.tiles().is_some() {
            return Ok(());
        }
        let write_error = |source| Error::Write { path: folder.to_owned(), source };
        let scratch = tempfile::tempfile_in(folder).map_err(write_error)?;
        let (n_rows, n_cols) = (self.n_rows(), self.n_cols());
        let shape = vec![n_rows, n_cols];
        let of_elements = |scratch: File, path: &Path, dtype: Dtype| {
            NpyFile::of_elements(scratch, path, 0, dtype, shape.clone())
        };
        let mut out = BufWriter::with_capacity(1 << 20, &scratch);
        let file = match &self.source {
            Source::Tiles(_) => return Ok(()),
            Source::Npz(file) => {
                drop(out);
                file.unpack(scratch)?
            }
            Source::Hdf5(file) => {
                let stays = keep_f64 && file.dtype().kind == Kind::F64;
                let mut values = Vec::new();
                file.each_band(&mut |bytes| {
                    if stays {
                        return out.write_all(bytes).map_err(write_error);
                    }
                    values.resize(bytes.len() / file.dtype().kind.n_bytes(), 0f32);
                    decode(file.dtype(), bytes, &mut values);
                    out.write_all(bytemuck::cast_slice(&values)).map_err(write_error)
                })?;
                out.flush().map_err(write_error)?;
                drop(out);
                let dtype = if stays { file.dtype() } else { Dtype::native(Kind::F32) };
                of_elements(scratch, file.path(), dtype)?
            }
            Source::Nifti(file) => {
                let mut values = vec![0f32; n_cols];
                file.each_row(0..n_rows, &mut |_, row| {
                    values.iter_mut().zip(row).for_each(|(value, &wide)| *value = wide as f32);
                    out.write_all(bytemuck::cast_slice(&values)).map_err(write_error)
                })?;
                out.flush().map_err(write_error)?;
                drop(out);
                of_elements(scratch, file.path(), Dtype::native(Kind::F32))?
            }
        };
        self.source = tiles(file)?;
        Ok(())
    }
}

fn of_hdf5(found: hdf5::Found) -> Source {
    match found {
        hdf5::Found::Contiguous(file) => Source::Tiles(file),
        hdf5::Found::Packed(file) => Source::Hdf5(file),
    }
}

fn tiles(file: NpyFile) -> Result<Source> {
    file.check_matrix()?;
    Ok(Source::Tiles(file))
}

fn without_mask(path: &Path) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: "expected a mask for an image, got none".into(),
        hint: "write mask = \"mask.nii.gz\" in [bold.SUBJECT]: its voxels are the columns".into(),
    }
}

fn matlab(path: &Path) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: "MATLAB's .mat files are not read".into(),
        hint: "in Python: numpy.save(\"x.npy\", scipy.io.loadmat(\"x.mat\")[\"data\"]); \
               in MATLAB: h5create and h5write"
            .into(),
    }
}
