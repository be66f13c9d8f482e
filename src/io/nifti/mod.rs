//! NIfTI-1 and NIfTI-2 in one file: `.nii` and `.nii.gz`, either byte order.
//!
//! `header` checks the 348 or 540 bytes in front, `grid` says where voxels are, `read` goes over
//! volumes, `mask` picks voxels, `write` puts values per voxel back into a volume, `cifti` reads time series of
//! grayordinates and parcels. Only one volume
//! is in memory at a time. The order of voxels is C order over (x, y, z), that of `data[mask]` with
//! nibabel and of nilearn's `NiftiMasker`; files hold x fastest.

mod cifti;
mod columns;
mod error;
mod grid;
mod header;
mod mask;
mod read;
mod write;

pub use cifti::CiftiFile;
pub use columns::ColumnNames;
pub use error::NiftiError;
pub use grid::Grid;
pub use mask::{Mask, MaskedBold};
pub use read::{NiftiFile, Volume, read_volume};
pub use write::{write_volume, write_voxels};

#[cfg(test)]
mod tests;
