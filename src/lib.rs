//! Voxelwise brain encoding models: timed words and BOLD in, scored models out.

pub mod backend;
pub mod cli;
pub mod design;
pub mod error;
pub mod features;
pub mod io;
pub mod matrix;
pub mod nn;
pub mod pipeline;
pub mod report;
pub mod ridge;
pub mod scoring;
pub mod simulate;
pub mod stats;
pub mod stimuli;
pub mod study;
mod vectorized;
pub mod warning;
