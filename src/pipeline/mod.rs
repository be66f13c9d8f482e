//! The only module that knows every stage: it opens files, chooses tile sizes, moves data.

pub mod arrays;
pub mod bench;
pub mod brain;
pub mod demo;
pub mod encoder;
pub mod export;
pub mod features;
pub mod init;
pub mod language;
pub mod matrix_tiles;
pub mod memory;
pub mod moments;
pub mod output;
pub mod predict;
pub mod report;
pub mod reporter;
pub mod ridge;
pub mod ridge_bands;
mod ridge_design;
pub mod ridge_fit;
pub mod ridge_outputs;
pub mod saved;
pub mod score;
pub mod simulate;
pub mod slurm;
pub mod study;
pub mod tiles;
