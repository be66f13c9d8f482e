//! Scores on test stories, summed up over voxels. Never sees training rows.

pub mod summary;

pub use summary::Summary;
