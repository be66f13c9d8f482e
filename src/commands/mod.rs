//! One function per command: each opens its inputs, calls the stages, and writes what they give.

pub mod arrays;
pub mod bench;
pub mod demo;
pub mod export;
pub mod features;
pub mod init;
pub mod predict;
pub mod ridge;
pub mod score;
pub mod show;
pub mod simulate;
pub mod slurm;
