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
mod kinds;
pub mod language;
mod memory;
mod models;
mod named_files;
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
mod word_space;
mod words;
mod writer;

pub use crate::design::tr_times::FeatureTrs;
pub use bold::files::{BoldFinder, BoldFlags};
pub use context::{OpenStudy, RunOptions, Session, StudyContext, open};
pub use features::{Timing, side_by_side, standardised, word_space, word_spaces_of};
pub use inputs::{Inputs, RESPDICT_EXTRA, Subject, read_inputs, read_respdict};
pub use kinds::{
    check_spaces, column_space, eng1000_space, file_space, known_phones, length_space,
    position_space, rate_space, vector_space, vocabulary_space,
};
pub use models::ModelPlan;
pub use plan::{StudyPlan, plan};
pub use problem::written_delays;
pub use run::{StudyResults, merge, run};
pub use shards::{
    Part, PlanOptions, PlannedShard, ShardId, ShardPlan, ShardResults, make_features, parse_shard,
    plan_shards, run_shard,
};
pub use split::{Split, Splits, split};
pub use story_bold::{CleaningRules, StoryBold};
pub use word_space::WordSpace;
pub use words::{StoryWords, all_marks, words_json};
