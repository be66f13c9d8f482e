//! Voxelwise brain encoding models: timed words and BOLD in, scored models out.

pub mod bold;
pub mod design;
pub mod error;
pub mod features;
pub mod io;
pub mod matrix;
pub mod stimuli;
pub mod warning;
