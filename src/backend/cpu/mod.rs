//! The CPU backend: one thread an engine, faer's products, our own passes in between.

pub mod correlation;
mod engine;
pub mod gemm;
pub mod path;
pub mod predict;
mod stacked;
pub mod voxels;
pub mod xty;

pub use engine::CpuEngine;
