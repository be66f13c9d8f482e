//! `voxelcast run`: stories and BOLD in, scored models out.
//!
//! inputs (open, check) → split → features (words to designs) → plan → alignment → problem → fit
//! (tiles) → tables; `shards`: the same over several machines

mod alignment;
mod bold;
mod context;
mod features;
mod fingerprint;
mod fit;
mod footprint;
mod inputs;
mod journal;
pub mod language;
mod memory;
mod models;
mod plan;
mod position;
mod problem;
mod run;
mod saving;
mod shards;
mod split;
mod stability;
mod story_bold;
mod tables;
mod unit_words;
mod units;
mod words;
mod writer;

pub use crate::design::tr_times::FeatureTrs;
pub use bold::files::{BoldFinder, BoldFlags};
pub use context::{OpenStudy, RunOptions, Session, StudyContext, open};
pub use features::{
    Timing, WordSpace, rate_space, side_by_side, standardised, vector_space, vocabulary_space,
    word_space,
};
pub use inputs::{Inputs, RESPDICT_EXTRA, Subject, read_inputs, read_respdict};
pub use models::ModelPlan;
pub use plan::{StudyPlan, plan};
pub use problem::stack;
pub use run::{StudyResults, merge, run};
pub use shards::{
    Part, PlanOptions, PlannedShard, ShardId, ShardPlan, ShardResults, make_features, parse_shard,
    plan_shards, run_shard,
};
pub use split::{Split, Splits, split};
pub use story_bold::{CleaningRules, StoryBold};
pub use words::{StoryWords, all_marks, words_json};
