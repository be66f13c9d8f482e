//! `voxelcast merge`.

use std::path::PathBuf;

use clap::Args;

use super::flags::LockArgs;
use super::plan::{merge_command, shard_command};
use super::run::{default_out, finished_output};
use super::{Context, Output};
use crate::error::Result;
use crate::study::{ShardId, merge};
use crate::study_file;

/// `voxelcast merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Output folder of its shards [default: STUDY.results beside the study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace results of other settings or inputs in the output folder
    #[arg(long)]
    pub force: bool,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// Puts all shards together.
pub fn merge_shards(args: &MergeArgs, context: &Context) -> Result<Output> {
    let study = study_file::read(&args.study)?;
    let out = default_out(args.out.as_ref(), &args.study);
    let options = context.run_options(out.clone(), args.force, false, &args.lock);
    let again = |shard: Option<ShardId>| match shard {
        Some(id) => shard_command(&args.study, &out, &id.to_string()),
        None => merge_command(&args.study, &out),
    };
    let results = merge(&study, &options, &again, context.session())?;
    finished_output(&out, results, context)
}
