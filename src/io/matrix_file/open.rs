//! From a path to an open matrix: what the file is, and which of its arrays is meant.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::part::{Part, Source};
use super::{DATASET, Which};
use crate::error::{Error, Result};
use crate::io::file_kind::{FileKind, file_kind, has_extension};
use crate::io::gifti::GiftiFile;
use crate::io::nifti::{CiftiFile, MaskedBold};
use crate::io::npy::NpyFile;
use crate::io::pickle::ArrayFile;
use crate::io::sparse::SparseFile;
use crate::io::{hdf5, npz};

/// Whether a file is HDF5, by its name.
pub fn is_hdf5(path: &Path) -> bool {
    has_extension(path, &["hf5", "h5", "hdf5", "hdf"])
}

/// Whether a file is NIfTI, by its name.
pub fn is_nifti(path: &Path) -> bool {
    has_extension(path, &["nii"])
}

/// Whether a file is CIFTI, by its name.
pub fn is_cifti(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    [".dtseries.nii", ".ptseries.nii"].iter().any(|end| name.ends_with(end))
}

/// Pickles that are open: each is run through once, whichever of its arrays are wanted.
#[derive(Debug, Default)]
pub struct OpenedFiles(Mutex<HashMap<PathBuf, Arc<ArrayFile>>>);

impl OpenedFiles {
    fn get(&self, path: &Path, start: u64, is_packed: bool) -> Result<Arc<ArrayFile>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(path) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(ArrayFile::open(path, start, is_packed)?);
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }
}

/// What a file is: by its content, else by its name.
fn kind_of(path: &Path) -> Result<FileKind> {
    let is = |extensions: &[&str]| has_extension(path, extensions);
    Ok(match file_kind(path)? {
        // HDF5 in a .mat is MATLAB's, whatever stands in front of it.
        Some(FileKind::Hdf5) if is(&["mat"]) => FileKind::Matlab73,
        Some(kind) => kind,
        None if is_hdf5(path) => FileKind::Hdf5,
        None if is(&["mat"]) => return Err(not_matlab(path)),
        None if is_nifti(path) => FileKind::Nifti,
        None if is(&["npz"]) => FileKind::Npz,
        None if is(&["gii"]) => FileKind::Gifti,
        None if is(&["pkl", "pickle", "jbl", "joblib"]) => FileKind::Pickle { is_packed: false },
        None => FileKind::Npy,
    })
}

/// The names of a file's arrays; `None` for a file that holds one matrix by its nature.
/// # Errors
/// As [`MatrixFile::open`](super::MatrixFile::open).
pub fn array_names(path: &Path, opened: &OpenedFiles) -> Result<Option<Vec<String>>> {
    Ok(match kind_of(path)? {
        FileKind::Hdf5 | FileKind::Matlab73 => Some(hdf5::names(path)?),
        FileKind::Npz => Some(npz::names(path)?),
        FileKind::Pickle { is_packed } => Some(opened.get(path, 0, is_packed)?.names()),
        FileKind::Npy => match NpyFile::object_start(path)? {
            Some(start) => Some(opened.get(path, start, false)?.names()),
            None => None,
        },
        FileKind::Nifti | FileKind::Cifti | FileKind::Gifti => None,
    })
}

pub(super) fn open_part(path: &Path, which: &Which<'_>) -> Result<Part> {
    let kind = kind_of(path)?;
    let mut is_turned = which.transpose;
    let (source, is_column_major) = match kind {
        FileKind::Npy => match NpyFile::object_start(path)? {
            Some(start) => (pickled(path, which, start, false)?, false),
            None => (Source::Tiles(NpyFile::open(path)?), false),
        },
        FileKind::Pickle { is_packed } => (pickled(path, which, 0, is_packed)?, false),
        FileKind::Npz => match SparseFile::open(path)? {
            Some(file) => (Source::Sparse(file), false),
            None => match npz::open(path, which.dataset)? {
                npz::Found::Stored(file) => (Source::Tiles(file), false),
                npz::Found::Deflated(file) => (Source::Npz(file), false),
            },
        },
        FileKind::Hdf5 => (Source::of_hdf5(hdf5::open_array(path, which.dataset)?), false),
        FileKind::Matlab73 => (Source::of_hdf5(hdf5::open_array(path, which.dataset)?), true),
        FileKind::Nifti => {
            check_direction(path, which)?;
            let mask = which.mask.ok_or_else(|| without_mask(path))?;
            (Source::Nifti(Box::new(MaskedBold::open(path, mask)?)), false)
        }
        FileKind::Cifti => {
            check_direction(path, which)?;
            (Source::Cifti(Box::new(CiftiFile::open(path)?)), false)
        }
        FileKind::Gifti => {
            let file = GiftiFile::open(path)?;
            match file.is_one_matrix() {
                // Vertices come first.
                true => is_turned = !is_turned,
                false => check_direction(path, which)?,
            }
            (Source::Gifti(file), false)
        }
    };
    Part::new(source, is_column_major, is_turned, which.may_repeat)
}

fn pickled(path: &Path, which: &Which<'_>, start: u64, is_packed: bool) -> Result<Source> {
    let alone = OpenedFiles::default();
    let file = which.opened.unwrap_or(&alone).get(path, start, is_packed)?;
    // As in a .npz, the only array where none is named.
    let names = file.names();
    let name = match &names[..] {
        [only] if which.dataset == DATASET => only,
        _ => which.dataset,
    };
    Ok(Source::Pickled(file.array(name)?))
}

/// Files that say which of their axes is time have nothing to be turned.
fn check_direction(path: &Path, which: &Which<'_>) -> Result<()> {
    match which.transpose {
        false => Ok(()),
        true => Err(Error::Usage {
            place: "transpose".into(),
            problem: format!("{} says itself which of its axes is time", path.display()),
            hint: "transpose is for matrices; leave it out".into(),
        }),
    }
}

fn without_mask(path: &Path) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: "expected a mask for an image, got none".into(),
        hint: "write mask = \"mask.nii.gz\" in [bold.SUBJECT]: its voxels are the columns".into(),
    }
}

fn not_matlab(path: &Path) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: "expected a MATLAB file of version 7.3, got something else".into(),
        hint: "in MATLAB: save(\"x.mat\", \"data\", \"-v7.3\")".into(),
    }
}
