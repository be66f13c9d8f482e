//! Scores on test stories: summed up over voxels, held against chance, compared. Never sees
//! training rows.

pub mod bootstrap;
pub mod ceiling;
pub mod delays;
pub mod overlap;
pub mod partition;
pub mod significance;
pub mod summary;

pub use summary::Summary;
