//! Where the voxels of an image are.

use super::error::NiftiError;

/// The three sizes of an image and its place in space, as the header has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Voxels along x, y, z.
    pub shape: [usize; 3],
    /// 1 or 2: which format the image had. An image on this grid is written in the same.
    pub(super) version: u8,
    /// qfac, then the sizes of a voxel.
    pub(super) pixdim: [f64; 4],
    pub(super) qform_code: i32,
    pub(super) sform_code: i32,
    /// Quaternion b, c, d, then the offsets along x, y, z.
    pub(super) qform: [f64; 6],
    /// Rows of the affine.
    pub(super) sform: [[f64; 4]; 3],
    pub(super) units: u8,
}

impl Grid {
    /// A grid at a given place: written as NIfTI-1 with the affine as its sform.
    ///
    /// `affine`: rows x, y, z of the map from (i, j, k, 1) to millimetres.
    pub fn new(shape: [usize; 3], affine: [[f64; 4]; 3]) -> Grid {
        let size = |c: usize| affine.iter().map(|row| row[c] * row[c]).sum::<f64>().sqrt();
        Grid {
            shape,
            version: 1,
            pixdim: [1.0, size(0), size(1), size(2)],
            qform_code: 0,
            sform_code: 2,
            qform: [0.0; 6],
            sform: affine,
            units: 2, // millimetres
        }
    }

    /// Voxels of the whole grid.
    pub fn n_voxels(&self) -> usize {
        self.shape.iter().product()
    }

    /// Rows x, y, z of the map from (i, j, k, 1) to space, as nibabel chooses it: the sform if its
    /// code is not 0, else the qform, else voxel sizes around the centre with x flipped.
    ///
    /// Source: nibabel/nifti1.py: Nifti1Header.get_best_affine.
    /// # Errors
    /// `NiftiError::Affine` for numbers that are not finite, or a quaternion over length 1.
    pub fn affine(&self) -> Result<[[f64; 4]; 3], NiftiError> {
        let affine = if self.sform_code > 0 {
            self.sform
        } else if self.qform_code > 0 {
            self.qform_affine()?
        } else {
            let mut affine = [[0.0; 4]; 3];
            for (axis, row) in affine.iter_mut().enumerate() {
                let flip = if axis == 0 { -1.0 } else { 1.0 };
                row[axis] = flip * self.pixdim[axis + 1];
                row[3] = -row[axis] * (self.shape[axis] as f64 - 1.0) / 2.0;
            }
            affine
        };
        if affine.iter().flatten().any(|value| !value.is_finite()) {
            return Err(NiftiError::Affine { problem: format!("{affine:?} is not finite") });
        }
        Ok(affine)
    }

    fn qform_affine(&self) -> Result<[[f64; 4]; 3], NiftiError> {
        /// What rounding to f32 may add to the length of a quaternion.
        const SLACK: f64 = 1e-5;
        let [b, c, d, ..] = self.qform;
        let rest = 1.0 - (b * b + c * c + d * d);
        if rest.is_nan() || rest < -SLACK {
            return Err(NiftiError::Affine {
                problem: format!("quaternion ({b}, {c}, {d}) is over length 1"),
            });
        }
        let a = rest.max(0.0).sqrt();
        // Normalised, where b, c, d alone are a little over length 1.
        let n = (a * a + b * b + c * c + d * d).sqrt();
        let (a, b, c, d) = (a / n, b / n, c / n, d / n);
        let rotation = [
            [1.0 - 2.0 * (c * c + d * d), 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
            [2.0 * (b * c + a * d), 1.0 - 2.0 * (b * b + d * d), 2.0 * (c * d - a * b)],
            [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), 1.0 - 2.0 * (b * b + c * c)],
        ];
        let qfac = if self.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let size = [self.pixdim[1], self.pixdim[2], qfac * self.pixdim[3]];
        let mut affine = [[0.0; 4]; 3];
        for (axis, row) in affine.iter_mut().enumerate() {
            for column in 0..3 {
                row[column] = rotation[axis][column] * size[column];
            }
            row[3] = self.qform[3 + axis];
        }
        Ok(affine)
    }
}
