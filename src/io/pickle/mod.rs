//! The lab's pickles: a dictionary of `DataSequence` objects. Nothing in them is ever executed.
//!
//! `machine` runs the pickle opcodes (protocols 0 to 5) on plain values, `globals` knows the few
//! names that may be called and what each makes, `sequences` takes the stories' values out. Every
//! name off the list is refused with its module.

mod error;
mod globals;
mod machine;
mod sequences;

pub use error::PickleError;
pub use sequences::{PickledSequence, read_data_sequences};

#[cfg(test)]
mod tests;
