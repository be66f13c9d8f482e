//! The only module that knows every stage: it opens files, chooses tile sizes, moves data.

pub mod memory;
pub mod reporter;
pub mod ridge;
pub mod study;
pub mod tiles;
