//! `voxelcast plan`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::flags::LockArgs;
use super::run::default_out;
use super::{Context, Output};
use crate::commands::slurm::quoted;
use crate::error::Result;
use crate::report::table;
use crate::study::{PlanOptions, ShardPlan, make_features, open, plan_shards};
use crate::study_file;

/// What is cut, and where.
#[derive(Debug, Args)]
pub struct CutArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Parts of about as many voxels, whole blocks of 512
    #[arg(long, value_name = "N")]
    pub shards: usize,
    /// Output folder, on a file system that all machines share [default: STUDY.results beside the
    /// study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace a plan of another number of shards, or of other settings or inputs
    #[arg(long)]
    pub force: bool,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// `voxelcast plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What is cut, and where.
    #[command(flatten)]
    pub cut: CutArgs,
    /// Train encoders and compute the vectors of language models now, so that no shard has to
    #[arg(long)]
    pub features: bool,
}

/// Cuts a study into shards.
pub fn plan(args: &PlanArgs, context: &Context) -> Result<Output> {
    let study = study_file::read(&args.cut.study)?;
    let out = default_out(args.cut.out.as_ref(), &args.cut.study);
    let options = context.run_options(out.clone(), args.cut.force, false, &args.cut.lock);
    let opened = open(&study, &options, context.session())?;
    let how = PlanOptions {
        out: &out,
        n_shards: args.cut.shards,
        resources: options.resources,
        locking: options.locking,
        force: args.cut.force,
    };
    let plan = plan_shards(&study, &opened.inputs, &how, context.session())?;
    if args.features {
        make_features(&opened)?;
    }
    let document = json!({
        "schema": "voxelcast.shards/1", "out": out, "n_shards": plan.shards.len(),
        "shards": plan.shards,
    });
    let run = shard_command(&args.cut.study, &out, "I");
    let merge = merge_command(&args.cut.study, &out);
    let n = args.cut.shards;
    let text =
        format!("{}\neach I of 1 to {n}:\n    {run}/{n}\nthen:\n    {merge}\n", table_of(&plan));
    Ok(Output { document, text })
}

pub(super) fn shard_command(study: &Path, out: &Path, shard: &str) -> String {
    format!("voxelcast run {} --out {} --shard {shard}", quoted(study), quoted(out))
}

pub(super) fn merge_command(study: &Path, out: &Path) -> String {
    format!("voxelcast merge {} --out {}", quoted(study), quoted(out))
}

fn table_of(plan: &ShardPlan) -> String {
    let head = ["shard", "subject", "from voxel", "to", "BOLD read, MiB"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for shard in &plan.shards {
        for part in &shard.parts {
            let share = (part.end - part.start) as f64 / shard.n_voxels as f64;
            let mib = share * shard.bold_bytes as f64 / f64::from(1 << 20);
            rows.push(vec![
                shard.shard.to_string(),
                part.subject.clone(),
                part.start.to_string(),
                part.end.to_string(),
                format!("{mib:.1}"),
            ]);
        }
    }
    table::align(&rows, 2)
}
