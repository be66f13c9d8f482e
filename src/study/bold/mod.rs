//! A subject's BOLD: found on disk, opened, unpacked where it is compressed, then read by tiles.

pub mod checks;
pub mod files;
pub mod noticed;
pub mod pattern;
pub mod source;
pub mod unpack;
