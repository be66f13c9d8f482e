//! A subject's BOLD: unpacked where it is compressed, then read by tiles.

pub mod source;
pub mod unpack;
