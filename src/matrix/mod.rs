//! Plain matrices of features: a row is a word or a TR, a column a feature.
//!
//! Dense matrices are `ndarray::Array2`, row-major.

mod sparse;
mod story_design;

pub use sparse::{Rows, SparseRows};
pub use story_design::{SPARSE_MAX_DENSITY, StoryDesign};
