//! `voxelcast plan`, `run --shard`, `merge` and `slurm`: a study over several machines.

use std::path::Path;

use serde_json::json;

use super::args::RunArgs;
use super::cluster_args::{MergeArgs, PlanArgs, SlurmArgs};
use super::settings::{parse_bytes, usage};
use super::study::{default_out, finished_output};
use super::{Context, Output};
use crate::commands::slurm::{JobSettings, compose, quoted, submit};
use crate::error::Result;
use crate::report::table;
use crate::reporter::Reporter;
use crate::resources::Resources;
use crate::study::{
    PlanOptions, ShardId, ShardPlan, make_features, merge, open, parse_shard, plan_shards,
    read_inputs, run_shard,
};
use crate::study_file;

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

/// Does one shard.
pub fn shard(args: &RunArgs, shard: &str, context: &Context) -> Result<Output> {
    let id = parse_shard(shard)?;
    let study = study_file::read(&args.study)?;
    context.announce_device();
    let options =
        context.run_options(default_out(args.out.as_ref(), &args.study), false, false, &args.lock);
    let done = run_shard(&study, id, &options, context.session())?;
    if done.was_done {
        context.console.note("finished before: nothing to do");
    }
    let text = format!(
        "shard {id}: {} voxels, {} files of {:.1} MiB, {:.1} s\n{}\n",
        done.n_voxels,
        done.n_files,
        done.n_bytes as f64 / f64::from(1 << 20),
        done.seconds,
        done.folder.display()
    );
    Ok(Output { document: json!({ "schema": "voxelcast.shard/1", "shard": done }), text })
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
        has_language: study.spaces.iter().any(|space| space.kind.is_language()),
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

fn shard_command(study: &Path, out: &Path, shard: &str) -> String {
    format!("voxelcast run {} --out {} --shard {shard}", quoted(study), quoted(out))
}

fn merge_command(study: &Path, out: &Path) -> String {
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
