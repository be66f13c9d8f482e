//! Where a subject's voxels are: checked before a run, kept beside its results, read for pictures
//! and for NIfTI files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::folder::RunFolder;
use super::names::{
    BEST_ALPHA, MASK, MASK_GZ, ModelId, Name, P_VALUES, PIXELS, PREFERENCES, PREFERRED_LAYER,
    PREFERRED_PAST, SIGNIFICANT, TEST_CORRELATION,
};
use crate::error::{Error, Result};
use crate::io::nifti::{Mask, write_voxels};
use crate::io::npy::{self, NpyFile};
use crate::io::output::{write_bytes, write_or_remove};
use crate::report::data::{Brain, Place, Results};

/// Results per voxel that `--nifti` writes of each model.
const VOXEL_FILES: [&str; 4] = [TEST_CORRELATION, BEST_ALPHA, P_VALUES, SIGNIFICANT];

/// Files that say where a subject's voxels are, as its study names them.
#[derive(Debug, Clone, Copy)]
pub struct PlaceFiles<'a> {
    /// The subject.
    pub subject: &'a str,
    /// What the paths are relative to.
    pub folder: &'a Path,
    /// NIfTI image of its voxels.
    pub mask: Option<&'a Path>,
    /// Flat map of its voxels.
    pub pixels: Option<&'a Path>,
}

/// The mask and the pixels of one subject fit its BOLD.
/// # Errors
/// Those of the files; `Error::Shape` for another number of voxels, `Error::Values` for a pixel
/// that shows none of them.
pub fn check(files: &PlaceFiles<'_>, n_voxels: usize) -> Result<()> {
    if let Some(path) = files.mask {
        let mask = Mask::read(&files.folder.join(path))?;
        if mask.n_voxels() != n_voxels {
            return Err(Error::Shape {
                what: format!("[bold.{}], mask ({})", files.subject, path.display()),
                expected: format!("{n_voxels} voxels that are not 0, as the BOLD has"),
                got: mask.n_voxels().to_string(),
                hint: "give the mask that the BOLD was taken through".into(),
            });
        }
    }
    if let Some(path) = files.pixels {
        read_pixels(&files.folder.join(path), n_voxels)?;
    }
    Ok(())
}

/// Copies mask and pixels of every subject to `models/SUBJECT/`, so that the folder is enough for
/// the report.
/// # Errors
/// `Error::Read`, `Error::Write`.
pub fn keep<'a>(out: &RunFolder, all: impl Iterator<Item = PlaceFiles<'a>>) -> Result<()> {
    for files in all {
        let folder = out.subject(&Name::new(files.subject)?);
        for name in [MASK, MASK_GZ, PIXELS] {
            write_or_remove(&folder.join(name), None)?;
        }
        let copy = |path: &Path, name: &str| -> Result<()> {
            let path = files.folder.join(path);
            let bytes = std::fs::read(&path).map_err(|source| Error::Read { path, source })?;
            write_bytes(&folder.join(name), &bytes)
        };
        if let Some(path) = files.mask {
            let is_packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
            copy(path, if is_packed { MASK_GZ } else { MASK })?;
        }
        if let Some(path) = files.pixels {
            copy(path, PIXELS)?;
        }
    }
    Ok(())
}

/// The mask kept beside a subject's results.
fn kept_mask(out: &RunFolder, subject: &str) -> Result<Option<Mask>> {
    let folder = out.subject(&Name::new(subject)?);
    let paths = [MASK_GZ, MASK].map(|name| folder.join(name));
    paths.iter().find(|path| path.exists()).map(|path| Mask::read(path)).transpose()
}

/// Where the voxels of each subject are, as far as the folder knows: the flat map if there is one.
/// # Errors
/// Those of the files.
pub fn read(out: &RunFolder, results: &Results) -> Result<Vec<Brain>> {
    let mut brains = Vec::new();
    for subject in results.subjects() {
        let of_subject = results.summary.iter().find(|row| row.subject == subject);
        let n_voxels = of_subject.map_or(0, |row| row.scores.n_voxels);
        let path = out.subject(&Name::new(subject)?).join(PIXELS);
        let place = if path.exists() {
            Place::Flat { pixels: read_pixels(&path, n_voxels)? }
        } else if let Some(mask) = kept_mask(out, subject)? {
            let affine = mask
                .grid()
                .affine()
                .map_err(|source| Error::Nifti { path: mask.path().to_owned(), source })?;
            let position = |voxel: usize| mask.position(voxel).map(|i| i as u32);
            Place::Volume {
                positions: (0..mask.n_voxels()).map(position).collect(),
                x_is_right: affine[0][0] > 0.0,
            }
        } else {
            continue;
        };
        brains.push(Brain { subject: subject.to_owned(), place });
    }
    Ok(brains)
}

/// A table of row, column and voxel, `(n_pixels, 3)`.
/// # Errors
/// Those of the file; `Error::Shape`; `Error::Values` for numbers that are no row, column or voxel.
fn read_pixels(path: &Path, n_voxels: usize) -> Result<Vec<[u32; 3]>> {
    const MOST: f64 = 100_000.0;
    let file = NpyFile::open(path)?;
    if file.shape().len() != 2 || file.n_cols() != 3 || file.n_rows() == 0 {
        return Err(Error::Shape {
            what: path.display().to_string(),
            expected: "(n_pixels, 3): row, column, voxel".into(),
            got: format!("{:?}", file.shape()),
            hint: "README, \"Pictures of the brain\", has a snippet that makes it".into(),
        });
    }
    let values: Vec<f64> = file.read_f64()?.iter().copied().collect();
    let limits = [MOST, MOST, n_voxels as f64];
    let row = |(at, row): (usize, &[f64; 3])| {
        let is_index =
            |(&value, limit): (&f64, f64)| value >= 0.0 && value < limit && value.fract() == 0.0;
        if !row.iter().zip(limits).all(is_index) {
            return Err(Error::Values {
                place: format!("{}, row {at}", path.display()),
                problem: format!(
                    "expected a row and a column below {MOST} and a voxel below {n_voxels}, got {row:?}"
                ),
                hint: "voxels are counted from 0, in the order of the BOLD's columns".into(),
            });
        }
        Ok(row.map(|value| value as u32))
    };
    values.as_chunks::<3>().0.iter().enumerate().map(row).collect()
}

/// Every result per voxel of the subjects that have a mask, as `SUBJECT/MODEL/NAME.nii.gz`, and what
/// voxels prefer, as `preferred/SUBJECT/SPACE/NAME.nii.gz`.
/// # Errors
/// `Error::Values` where no subject has a mask; those of the files.
pub fn write_nifti(out: &Path, results: &Results, to: &Path) -> Result<Vec<PathBuf>> {
    let out = &RunFolder::at(out);
    let mut written = Vec::new();
    for subject in results.subjects() {
        let Some(mask) = kept_mask(out, subject)? else { continue };
        for row in results.summary.iter().filter(|row| row.subject == subject) {
            let id = ModelId::new(subject, &row.space, row.lagged)?;
            let folders = (out.model(&id), to.join(id.path()));
            write_maps(folders, &VOXEL_FILES, &mask, &mut written)?;
        }
        let lists = results.preferred.iter().filter(|row| row.subject == subject);
        let lists: BTreeSet<_> = lists.map(|row| (row.space.as_str(), row.lagged)).collect();
        for (space, is_lagged) in lists {
            let id = ModelId::new(subject, space, is_lagged)?;
            let folders = (out.preferred(&id), to.join(PREFERENCES).join(id.path()));
            write_maps(folders, &[PREFERRED_LAYER, PREFERRED_PAST], &mask, &mut written)?;
        }
    }
    if written.is_empty() {
        return Err(Error::Values {
            place: out.path().display().to_string(),
            problem: "holds no subject's mask".into(),
            hint: "give mask in [bold.SUBJECT] of STUDY.toml and run the study".into(),
        });
    }
    Ok(written)
}

/// Those of the files `names` that are there, as images in the grid of the mask.
fn write_maps(
    (from, to): (PathBuf, PathBuf),
    names: &[&str],
    mask: &Mask,
    written: &mut Vec<PathBuf>,
) -> Result<()> {
    std::fs::create_dir_all(&to).map_err(|source| Error::Write { path: to.clone(), source })?;
    for name in names {
        let path = from.join(name);
        if !path.exists() {
            continue;
        }
        let values = npy::read_array_f64(&path)?;
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let path = to.join(name).with_extension("nii.gz");
        write_voxels(&path, mask, &values)?;
        written.push(path);
    }
    Ok(())
}
