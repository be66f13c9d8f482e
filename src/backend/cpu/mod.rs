//! The CPU backend: one thread an engine, voxels in panels of 32, products of our own.

pub mod bands;
pub mod combine;
pub mod correlation;
mod engine;
mod few;
mod fits;
mod moments;
pub mod path;
pub mod permutation;
pub mod predict;
mod rotate;
mod solve;
mod split;
mod stacked;
pub mod voxels;
pub mod xty;

pub use engine::CpuEngine;
pub use fits::FitTile;
pub use moments::TileMoments;
