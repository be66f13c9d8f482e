//! `voxelcast bench`: how fast this machine cross-validates, stage by stage, against one f32 XᵀY.
//!
//! `synthetic` makes the problem, `run` times it, `yardstick` measures what the machine can do,
//! `work` counts what each stage has to do. The first is also what `benches/` time their stages on.

mod dense;
mod run;
pub mod synthetic;
mod work;
pub mod yardstick;

pub use run::{BenchJob, BenchResults, Stage, run};
pub use synthetic::{BenchProblem, DesignKind, Synthetic};
