//! Voxelwise brain encoding models: timed words and BOLD in, scored models out.

pub mod backend;
pub mod cli;
pub mod commands;
pub mod design;
#[cfg(feature = "language")]
pub mod encoder;
pub mod error;
pub mod features;
pub mod io;
pub mod matrix;
pub mod nn;
pub mod product;
pub mod report;
pub mod reporter;
pub mod resources;
pub mod results;
pub mod ridge;
pub mod scoring;
pub mod simulate;
pub mod solve;
pub mod stats;
pub mod stimuli;
pub mod study;
pub mod study_file;
pub mod warning;
