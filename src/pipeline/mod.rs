//! The only module that knows every stage: it opens files, chooses tile sizes, moves data.

pub mod arrays;
pub mod bench;
pub mod demo;
pub mod encoder;
pub mod features;
pub mod language;
pub mod memory;
pub mod output;
pub mod report;
pub mod reporter;
pub mod ridge;
mod ridge_design;
pub mod simulate;
pub mod study;
pub mod tiles;
