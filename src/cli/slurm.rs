//! `voxelcast slurm`.

use clap::Args;
use serde_json::json;

use super::plan::CutArgs;
use super::run::default_out;
use super::settings::{parse_bytes, usage};
use super::{Context, Output};
use crate::commands::slurm::{JobSettings, compose, submit};
use crate::error::Result;
use crate::resources::Resources;
use crate::study::{PlanOptions, plan_shards, read_inputs};
use crate::study_file;

/// `voxelcast slurm`.
#[derive(Debug, Args)]
pub struct SlurmArgs {
    /// What is cut, and where.
    #[command(flatten)]
    pub cut: CutArgs,
    /// Cores of a task
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub cpus_per_task: usize,
    /// Memory of a task, such as 8G; half of it is for matrices and tiles [default: the cluster's]
    #[arg(long, value_name = "SIZE")]
    pub mem: Option<String>,
    /// Longest time of a task, such as 2:00:00 [default: the partition's]
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Partition [default: the cluster's]
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Cards of a shard's task; the merge needs none
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub gpus: usize,
    /// Tasks that run at the same time, at most [default: as the cluster can]
    #[arg(long, value_name = "N")]
    pub at_once: Option<usize>,
    /// A further option of every job, such as --account=lab; several times for several
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Submit the jobs, the merge after all shards
    #[arg(long)]
    pub submit: bool,
}

/// Writes the job scripts, and submits them.
pub fn slurm(args: &SlurmArgs, context: &Context) -> Result<Output> {
    let study = study_file::read(&args.cut.study)?;
    let out = std::path::absolute(default_out(args.cut.out.as_ref(), &args.cut.study))
        .map_err(|source| crate::error::Error::Read { path: args.cut.study.clone(), source })?;
    if args.cpus_per_task == 0 {
        return Err(usage("--cpus-per-task", "expected at least 1, got 0".into(), ""));
    }
    if args.at_once == Some(0) {
        return Err(usage("--at-once", "expected at least 1, got 0".into(), ""));
    }
    let inputs = read_inputs(&study)?;
    let memory_bytes = match &args.mem {
        Some(mem) => parse_bytes(mem)? / 2,
        None => context.settings.memory_bytes,
    };
    let how = PlanOptions {
        out: &out,
        n_shards: args.cut.shards,
        resources: Resources { n_threads: args.cpus_per_task, memory_bytes },
        locking: args.cut.lock.locking(),
        force: args.cut.force,
    };
    plan_shards(&study, &inputs, &how, context.session())?;
    let settings = JobSettings {
        study: args.cut.study.clone(),
        out: out.clone(),
        n_shards: args.cut.shards,
        cpus_per_task: args.cpus_per_task,
        mem: args.mem.clone(),
        time: args.time.clone(),
        partition: args.partition.clone(),
        gpus: args.gpus,
        at_once: args.at_once,
        more: args.sbatch.clone(),
        has_language: study.spaces.iter().any(|space| space.kind.language().is_some()),
        no_lock: args.cut.lock.no_lock,
    };
    let scripts = compose(&settings)?;
    let jobs = if args.submit { Some(submit(&scripts)?) } else { None };
    let document = json!({
        "schema": "voxelcast.slurm/1", "out": out, "n_shards": args.cut.shards,
        "scripts": scripts, "jobs": jobs,
    });
    let mut text = String::new();
    for (at, script) in scripts.iter().enumerate() {
        let job = jobs.as_ref().map_or(String::new(), |jobs| format!("job {}: ", jobs[at].id));
        text += &format!("{job}{}\n", script.path.display());
    }
    if jobs.is_none() {
        text += "nothing was submitted; --submit does it\n";
    }
    Ok(Output { document, text })
}
