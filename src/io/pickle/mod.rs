//! Pickles: the lab's dictionary of `DataSequence` objects, and dictionaries of arrays. Nothing in
//! them is ever executed.
//!
//! `machine` runs the pickle opcodes (protocols 0 to 5) on plain values, `globals` knows the few
//! names that may be called and what each makes, `sequences` takes the stories' values out, `arrays` finds
//! where the arrays of a file lie, of pickle or joblib, which comes as a stream (`feed`). Every
//! name off the list is refused with its module.

mod arrays;
mod error;
mod feed;
mod globals;
mod machine;
mod sequences;
mod values;

pub use arrays::{ArrayFile, PickledArray};
pub use error::PickleError;
pub(in crate::io) use error::listed;
pub use sequences::{PickledSequence, read_data_sequences};

#[cfg(test)]
mod tests;
