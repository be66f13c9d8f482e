//! `voxelcast bench`.

use serde_json::json;

use super::args::BenchArgs;
use super::settings::usage;
use super::{Context, Output};
use crate::error::Result;
use crate::pipeline::bench::{BenchJob, run};
use crate::report::table;

/// Times a synthetic problem.
pub fn bench(args: &BenchArgs, context: &Context) -> Result<Output> {
    let at_least = |flag: &str, value: usize, least: usize| match value >= least {
        true => Ok(value),
        false => Err(usage(flag, format!("expected at least {least}, got {value}"), "")),
    };
    let n_folds = at_least("--folds", args.folds, 2)?;
    let job = BenchJob {
        n_trs: at_least("--trs", args.trs, 2 * n_folds)?,
        n_features: at_least("--features", args.features, 1)?,
        n_voxels: at_least("--voxels", args.voxels, 1)?,
        n_folds,
        n_alphas: at_least("--alphas", args.alphas, 1)?,
        n_threads: context.settings.n_threads,
        memory_bytes: context.settings.memory_bytes,
    };
    context.announce_device();
    let found = run(&job, &context.console, &context.cancel)?;
    let mut rows = vec![["stage", "seconds", "GFLOP/s", "of peak"].map(str::to_owned).to_vec()];
    for stage in &found.stages {
        let rate = stage.gflop_per_s.map_or("-".into(), |rate| format!("{rate:.0}"));
        let share =
            stage.share_of_peak.map_or("-".into(), |share| format!("{:.0} %", 100.0 * share));
        rows.push(vec![stage.name.clone(), format!("{:.3}", stage.seconds), rate, share]);
    }
    let text = format!(
        "{} TRs × {} features × {} voxels, {} folds, {} alphas, {} threads\n{}\n\
         {:.3} s, {:.0} voxels/s; one XᵀY {:.3} s; GEMM ratio {:.2}\n\
         alpha basis of rank {}; f32 peak {:.0} GFLOP/s; peak memory {:.2} GiB\n",
        found.n_trs,
        found.n_features,
        found.n_voxels,
        found.n_folds,
        found.n_alphas,
        found.n_threads,
        table::align(&rows, 1),
        found.seconds,
        found.voxels_per_s,
        found.xty_seconds,
        found.gemm_ratio,
        found.basis_rank,
        found.peak_gflop_per_s,
        found.peak_memory_bytes as f64 / f64::from(1 << 30),
    );
    let mut document =
        json!({ "schema": "voxelcast.bench/1", "device": context.settings.device.to_string() });
    if let (Some(into), Ok(serde_json::Value::Object(from))) =
        (document.as_object_mut(), serde_json::to_value(&found))
    {
        into.extend(from);
    }
    Ok(Output { document, text })
}
