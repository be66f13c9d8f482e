//! A study over several machines: shards of its voxels, and what puts them together.
//!
//! `layout` cuts, `plan` is what all shards agree on, `run` does one, `finished` looks at all of
//! them before a merge.

mod finished;
mod layout;
mod plan;
mod run;

pub use finished::{FinishedShards, verify};
pub use layout::{ShardId, parse_shard};
pub use plan::{Part, PlanOptions, PlannedShard, ShardPlan, plan_shards, planned};
pub use run::{ShardResults, make_features, run_shard};
