//! `voxelcast run`: stories and BOLD in, scored models out.
//!
//! inputs (open, check) → split → features (words to designs) → plan → alignment → problem → fit
//! (tiles) → tables; `shards`: the same over several machines

mod alignment;
mod bold;
mod features;
mod fingerprint;
mod fit;
mod inputs;
pub mod language;
mod memory;
mod plan;
mod problem;
mod run;
mod saving;
mod shards;
mod sink;
mod split;
mod stability;
mod tables;

pub use features::{
    Timing, WordSpace, rate_space, side_by_side, standardised, vector_space, vocabulary_space,
    word_space,
};
pub use fit::Choices;
pub use inputs::{Inputs, RESPDICT_EXTRA, Subject, read_inputs, read_respdict};
pub use plan::{ModelPlan, StudyPlan, plan};
pub use problem::stack;
pub use run::{RunOptions, StudyResults, merge, run};
pub use shards::{
    Part, PlannedShard, ShardId, ShardPlan, ShardResults, make_features, parse_shard, plan_shards,
    run_shard,
};
pub use split::{Split, split};
