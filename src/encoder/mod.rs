//! Encoders trained from scratch: `voxelcast encoder train`, `sweep`, `embed`, and the training
//! behind a study's `encoder` space.
//!
//! text → `text` (held-out share, tokenizer, pieces) → `train` (the loop, with `identity` of the
//! folder and `log`) → MODEL; `sweep` trains every point of a `grid`; `cached` trains once for all
//! subjects.

mod cached;
mod device;
mod embed;
mod grid;
mod identity;
mod log;
mod sweep;
mod text;
mod train;
mod untrained;

pub use cached::train_cached;
pub use device::language_device;
pub use embed::{EmbedJob, embed};
pub use grid::{Grid, Point};
pub use sweep::{PointDone, SweepJob, Swept, sweep};
pub use text::{NamedWords, read_text};
pub use train::{LAST_EPOCH, TrainJob, Trained, train};
pub use untrained::untrained_cached;
