//! The voxels of an image that are fitted, in the order of their columns.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::NiftiError;
use super::grid::Grid;
use super::read::{NiftiFile, c_order};
use crate::error::{Error, Result};

/// Largest difference between two affines, in mm, that is rounding: f32 holds a few hundred
/// millimetres to 3e-5, and qform and sform of one image differ by some of these.
const SAME_AFFINE_MM: f64 = 1e-3;

/// Voxels of a grid, in C order over (x, y, z).
#[derive(Debug, Clone)]
pub struct Mask {
    path: PathBuf,
    grid: Grid,
    /// Places in a volume, x fastest.
    offsets: Vec<u32>,
    /// Voxels inside whose value is not 1.
    n_other: usize,
}

impl Mask {
    /// Reads a 3-D image: its voxels that are not 0.
    /// # Errors
    /// As [`NiftiFile::open`]; `NiftiError::Shape`, `EmptyMask`, `MaskNan`.
    pub fn read(path: &Path) -> Result<Mask> {
        let file = NiftiFile::open(path)?;
        file.check_dims(false)?;
        let grid = file.grid().clone();
        let everywhere: Vec<u32> = c_order(&grid).collect();
        let (mut offsets, mut n_nan, mut n_other) = (Vec::new(), 0, 0);
        file.each_volume(0..1, &everywhere, &mut |_, values| {
            n_nan = values.iter().filter(|value| value.is_nan()).count();
            n_other = values.iter().filter(|value| **value != 0.0 && **value != 1.0).count();
            let inside = everywhere.iter().zip(values).filter(|(_, value)| **value != 0.0);
            offsets = inside.map(|(&at, _)| at).collect();
            Ok(())
        })?;
        if n_nan > 0 {
            return Err(file.error(NiftiError::MaskNan { n_nan }));
        }
        if offsets.is_empty() {
            return Err(file.error(NiftiError::EmptyMask));
        }
        Ok(Mask { path: path.to_owned(), grid, offsets, n_other })
    }

    /// As it was given to `read`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its voxels are.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Voxels inside.
    pub fn n_voxels(&self) -> usize {
        self.offsets.len()
    }

    /// Voxels inside whose value is not 1: probabilities, or labels of regions.
    pub fn n_other(&self) -> usize {
        self.n_other
    }

    /// Places inside a volume (x fastest) of the voxels, in the order of the columns.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// (x, y, z) of one voxel.
    pub fn position(&self, voxel: usize) -> [usize; 3] {
        let [n_x, n_y, _] = self.grid.shape;
        let at = self.offsets[voxel] as usize;
        [at % n_x, at / n_x % n_y, at / (n_x * n_y)]
    }

    /// Asks that an image lies on this mask's grid.
    fn check_image(&self, file: &NiftiFile) -> Result<()> {
        let mask = self.path.clone();
        let (expected, got) = (self.grid.shape, file.grid().shape);
        if expected != got {
            return Err(file.error(NiftiError::Grid { expected, got, mask }));
        }
        let affine = |grid: &Grid| grid.affine().map_err(|source| file.error(source));
        let (own, other) = (affine(&self.grid)?, affine(file.grid())?);
        let pairs = own.iter().flatten().zip(other.iter().flatten());
        let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if difference > SAME_AFFINE_MM {
            return Err(file.error(NiftiError::OtherAffine { difference, mask }));
        }
        Ok(())
    }
}

/// A 4-D image through a mask: rows are volumes, columns the mask's voxels.
#[derive(Debug, Clone)]
pub struct MaskedBold {
    file: NiftiFile,
    mask: Arc<Mask>,
}

impl MaskedBold {
    /// Opens an image and checks that it lies on the mask's grid; the voxels stay on disk.
    /// # Errors
    /// As [`NiftiFile::open`]; `NiftiError::Shape`, `Grid`, `OtherAffine`.
    pub fn open(path: &Path, mask: &Arc<Mask>) -> Result<MaskedBold> {
        let file = NiftiFile::open(path)?;
        file.check_dims(true)?;
        mask.check_image(&file)?;
        Ok(MaskedBold { file, mask: Arc::clone(mask) })
    }

    /// The image, as it was given to `open`.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Repetition time that the header says, if it says one.
    pub fn tr_s(&self) -> Option<f64> {
        self.file.tr_s()
    }

    /// Volumes.
    pub fn n_rows(&self) -> usize {
        self.file.n_volumes()
    }

    /// Voxels of the mask.
    pub fn n_cols(&self) -> usize {
        self.mask.n_voxels()
    }

    /// Calls `take` with every row's number and values, in order; one volume in memory.
    /// # Errors
    /// As [`NiftiFile::each_volume`]; `Error::Shape` for rows that are not there.
    pub fn each_row(
        &self,
        rows: Range<usize>,
        take: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        if rows.end > self.n_rows() {
            return Err(Error::Shape {
                what: format!("rows of {}", self.file.path().display()),
                expected: format!("at most {}", self.n_rows()),
                got: format!("{rows:?}"),
                hint: "ask for rows that are there".into(),
            });
        }
        self.file.each_volume(rows, self.mask.offsets(), take)
    }
}
