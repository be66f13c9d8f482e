//! `voxelcast run`: stories and BOLD in, scored models out.
//!
//! inputs (open, check) → split → spaces (words to designs) → alignment → problem → tiles → tables
//! → analysis; `shards`: the same over several machines

mod alignment;
mod analysis;
mod band_tables;
mod ceiling;
mod done;
mod fingerprint;
mod fitting;
mod folder;
mod inputs;
mod load;
mod memory;
mod other_tables;
mod others;
mod plan;
mod results;
mod run;
mod saving;
mod shards;
mod sink;
mod source;
mod spaces;
mod split;
mod unpack;

pub use fingerprint::{InputHash, hash_file};
pub use fitting::Choices;
pub(crate) use folder::lock_folder;
pub use inputs::{Inputs, RESPDICT_EXTRA, Subject, read_inputs, read_respdict};
pub use load::stack;
pub use plan::{ModelPlan, StudyPlan, plan};
pub use run::{RunOptions, StudyResults, merge, run};
pub use shards::{
    Part, PlannedShard, ShardId, ShardPlan, ShardResults, make_features, parse_shard, plan_shards,
    run_shard,
};
pub use spaces::{
    Timing, WordSpace, rate_space, side_by_side, standardised, vector_space, vocabulary_space,
    word_space,
};
pub use split::{Split, split};
