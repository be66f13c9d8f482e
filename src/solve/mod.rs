//! Ridge of arrays or files: X and Y in, fitted arrays out, voxel tile by voxel tile.
//!
//! Knows no stories, subjects or studies; the Python module uses this alone.

pub mod bands;
mod design;
pub mod fit;
pub mod matrix_tiles;
pub mod moments;
pub mod outputs;
pub mod tiles;
