//! `voxelcast bench`.

use clap::Args;
use serde_json::json;

use super::settings::usage;
use super::{Context, Output};
use crate::commands::bench::{BenchJob, BenchProblem, BenchResults, run};
use crate::error::Result;
use crate::report::table;

/// `voxelcast bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Training rows
    #[arg(long, default_value_t = 8000)]
    pub trs: usize,
    /// Columns of the design, over all delays
    #[arg(long, default_value_t = 512)]
    pub features: usize,
    /// Voxels
    #[arg(long, default_value_t = 8000)]
    pub voxels: usize,
    /// Folds
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// Alphas, from 10^0 to 10^6
    #[arg(long, default_value_t = 20)]
    pub alphas: usize,
    /// lagged (slow features at delays 1 to 4, as run has them), formed (the same as one matrix,
    /// as ridge has them) or white (noise: an easy case)
    #[arg(long, default_value = "lagged")]
    pub design: String,
    /// Route: auto, gram or dual
    #[arg(long, default_value = "auto")]
    pub solver: String,
    /// Times that the whole is solved; the quickest counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeats: usize,
}

/// Times a synthetic problem.
pub fn bench(args: &BenchArgs, context: &Context) -> Result<Output> {
    let at_least = |flag: &str, value: usize, least: usize| match value >= least {
        true => Ok(value),
        false => Err(usage(flag, format!("expected at least {least}, got {value}"), "")),
    };
    let n_folds = at_least("--folds", args.folds, 2)?;
    let job = BenchJob {
        problem: BenchProblem {
            n_trs: at_least("--trs", args.trs, 2 * n_folds)?,
            n_features: at_least("--features", args.features, 1)?,
            n_voxels: at_least("--voxels", args.voxels, 1)?,
            n_folds,
            n_alphas: at_least("--alphas", args.alphas, 1)?,
            design: args.design.parse()?,
        },
        solver: args.solver.parse()?,
        n_repeats: at_least("--repeats", args.repeats, 1)?,
        device: context.settings.device.clone(),
        n_threads: context.settings.n_threads,
        memory_bytes: context.settings.memory_bytes,
    };
    context.announce_device();
    let found = run(&job, &context.console, &context.cancel)?;
    let mut document =
        json!({ "schema": "voxelcast.bench/1", "device": context.settings.device.to_string() });
    if let (Some(into), Ok(serde_json::Value::Object(from))) =
        (document.as_object_mut(), serde_json::to_value(&found))
    {
        into.extend(from);
    }
    Ok(Output { document, text: for_a_person(&found) })
}

fn for_a_person(found: &BenchResults) -> String {
    let header = ["stage", "seconds", "of all", "GFLOP/s", "of peak", "GB/s"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    for stage in &found.stages {
        rows.push(vec![
            stage.name.to_owned(),
            format!("{:.3}", stage.seconds),
            percent(stage.seconds / found.seconds),
            or_dash(stage.gflop_per_s.map(|rate| format!("{rate:.0}"))),
            or_dash(stage.share_of_peak.map(percent)),
            or_dash(stage.gb_per_s.map(|rate| format!("{rate:.1}"))),
        ]);
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let problem = &found.problem;
    let flop = 2.0 * problem.n_trs as f64 * problem.n_features as f64 * problem.n_voxels as f64;
    let repeats = match found.all_seconds.len() {
        1 => String::new(),
        n => format!(
            " (the best of {n}, the slowest {:.3} s)",
            found.all_seconds.iter().fold(0.0_f64, |a, &b| a.max(b))
        ),
    };
    format!(
        "{} TRs × {} features × {} voxels, {} folds, {} alphas, {} threads; {}\n{}\n\
         {:.3} s{repeats}, {:.0} voxels/s; GEMM ratio {:.2}\n\
         one XᵀY {:.3} s, {:.0} GFLOP/s ({}); peaks {:.0} GFLOP/s in f32, {:.0} in f64\n\
         products by {}; alpha basis of {} vectors; mean best CV score {:.4}\n\
         peak memory {:.2} GiB, of it {:.2} GiB the problem\n",
        problem.n_trs,
        problem.n_features,
        problem.n_voxels,
        problem.n_folds,
        problem.n_alphas,
        found.n_threads,
        found.solver,
        table::align(&rows, 1),
        found.seconds,
        found.voxels_per_s,
        found.gemm_ratio,
        found.xty_seconds,
        flop / found.xty_seconds / 1e9,
        found.xty_form,
        found.peak_gflop_per_s,
        found.peak_f64_gflop_per_s,
        found.products,
        found.basis_rank,
        found.mean_cv_score,
        gib(found.peak_memory_bytes),
        gib(found.problem_bytes),
    )
}
