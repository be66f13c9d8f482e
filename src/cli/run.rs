//! `voxelcast run`, the whole study or one shard of it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::flags::LockArgs;
use super::settings::parse_folds;
use super::{Context, Output};
use crate::error::Result;
use crate::report::table;
use crate::reporter::Reporter;
use crate::results::RunFolder;
use crate::results::names::REPORT;
use crate::ridge::folds::Dealt;
use crate::ridge::route::duration;
use crate::study::{StudyPlan, StudyResults, parse_shard, run, run_shard};
use crate::study_file;
use crate::study_file::Folds;

/// `voxelcast run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Output folder [default: STUDY.results beside the study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folds of whole training stories, instead of the study's: K, or loso for one story each
    #[arg(long, value_name = "K|loso")]
    pub folds: Option<String>,
    /// Print shapes, memory and an estimate of the time; fit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace results of other settings or inputs in the output folder
    #[arg(long)]
    pub force: bool,
    /// Do one shard of the study, the I-th of N; see voxelcast plan
    #[arg(long, value_name = "I/N", conflicts_with_all = ["folds", "dry_run", "force"])]
    pub shard: Option<String>,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// Runs a study, or plans it.
pub fn run_study(args: &RunArgs, context: &Context) -> Result<Output> {
    let mut study = study_file::read(&args.study)?;
    if let Some(folds) = &args.folds {
        study.folds = match parse_folds(folds)? {
            Dealt::RoundRobin(k) => Folds::Count(k),
            Dealt::OneEach => Folds::LeaveOneStoryOut,
        };
    }
    let out = default_out(args.out.as_ref(), &args.study);
    context.announce_device();
    let options = context.run_options(out.clone(), args.force, args.dry_run, &args.lock);
    finished_output(&out, run(&study, &options, context.session())?, context)
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

/// Where results go.
pub fn default_out(out: Option<&PathBuf>, study: &Path) -> PathBuf {
    out.cloned().unwrap_or_else(|| study.with_extension("results"))
}

/// What a run or a merge has to say.
pub fn finished_output(out: &Path, results: StudyResults, context: &Context) -> Result<Output> {
    match results {
        StudyResults::Planned(plan) => Ok(Output {
            document: json!({ "schema": "voxelcast.plan/1", "plan": plan }),
            text: plan_text(&plan),
        }),
        StudyResults::Finished { summary, run, was_done } => {
            if was_done {
                context.console.note("finished before: nothing to do");
            }
            let page = RunFolder::at(out).file(REPORT);
            let text = format!("{}\n{}\n", table::summary(&summary), page.display());
            let document = json!({
                "schema": "voxelcast.study/1", "out": out, "was_done": was_done,
                "summary": summary, "run": run,
            });
            Ok(Output { document, text })
        }
    }
}

fn plan_text(plan: &StudyPlan) -> String {
    let mut rows =
        vec![vec!["model".to_owned(), "solver".into(), "features".into(), "columns".into()]];
    for model in plan.models.iter().filter(|model| !model.is_profile) {
        let solver = model.solver.clone();
        rows.push(vec![
            model.folder(),
            solver,
            model.n_features.to_string(),
            model.n_coefs.to_string(),
        ]);
    }
    let n_single = plan.models.iter().filter(|model| model.is_profile).count();
    let single = match n_single {
        0 => String::new(),
        n => format!("and {n} models of single delays, in a pass of their own\n"),
    };
    let subjects: Vec<String> =
        plan.subjects.iter().map(|(name, n)| format!("{name} ({n} voxels)")).collect();
    format!(
        "{}{single}\n{} training and {} test TRs, {} folds, {} alphas\n{}\nat most {:.1} GiB of memory, about {}\n",
        table::align(&rows, 2),
        plan.n_train,
        plan.n_test,
        plan.n_folds,
        plan.n_alphas,
        subjects.join(", "),
        plan.most_bytes / f64::from(1 << 30),
        duration(plan.seconds)
    )
}
