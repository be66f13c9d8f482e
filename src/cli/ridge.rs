//! `voxelcast ridge`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::Context;
use super::args::RidgeArgs;
use super::settings::{parse_convention, parse_folds, parse_scorer, usage};
use crate::error::Result;
use crate::io::output::PartialFile;
use crate::pipeline::memory::peak_bytes;
use crate::pipeline::ridge::{RidgeJob, RidgeSummary, RowFolds, run};
use crate::pipeline::study::hash_file;
use crate::ridge::AlphaGrid;

/// Runs the command; the document is what `--json` prints.
pub fn ridge(args: &RidgeArgs, context: &Context) -> Result<super::Output> {
    let grid: AlphaGrid = args.alphas.parse()?;
    let huth = parse_convention("--alpha-convention", &args.alpha_convention)?;
    for (flag, value) in
        [("--alpha-tolerance", args.alpha_tolerance), ("--basis-tolerance", args.basis_tolerance)]
    {
        if !(0.0..1.0).contains(&value) {
            return Err(usage(flag, format!("expected 0 to 1, got {value}"), ""));
        }
    }
    let job = RidgeJob {
        x: args.x.clone(),
        y: args.y.clone(),
        folds: row_folds(args)?,
        test: args.x_test.clone().zip(args.y_test.clone()),
        alphas: if huth { grid.from_huth() } else { grid },
        scorer: parse_scorer("--scorer", &args.scorer)?,
        solver: args.solver.parse()?,
        fit_intercept: !args.no_intercept,
        alpha_tolerance: args.alpha_tolerance,
        basis_tolerance: args.basis_tolerance,
        predict: args.predict,
        out: args.out.clone(),
        device: context.settings.device.clone(),
        n_threads: context.settings.n_threads,
        memory_bytes: context.settings.memory_bytes,
    };
    context.announce_device();
    let summary = run(&job, &context.console, &context.cancel)?;
    write_run_json(args, context, &summary)?;
    let test = summary
        .mean_test_correlation
        .map_or(String::new(), |r| format!(", mean test correlation {r:.4}"));
    let text = format!(
        "{} voxels of {} fitted on {} TRs × {} features, {} folds: mean best CV score {:.4}{test}\n{}\n",
        summary.n_voxels_used,
        summary.n_voxels,
        summary.n_trs,
        summary.n_features,
        summary.folds.len(),
        summary.mean_cv_score,
        args.out.display(),
    );
    Ok(super::Output { document: json!({ "schema": "voxelcast.ridge/1", "ridge": summary }), text })
}

/// One of the two ways to say which rows are held out together; clap lets no other through.
fn row_folds(args: &RidgeArgs) -> Result<RowFolds> {
    match (&args.fold_ids, &args.groups, &args.folds) {
        (Some(path), None, None) => Ok(RowFolds::Ids(path.clone())),
        (None, Some(path), Some(folds)) => Ok(RowFolds::Groups(path.clone(), parse_folds(folds)?)),
        _ => Err(usage("--fold-ids", "expected it, or --groups with --folds".into(), "")),
    }
}

/// run.json, the last of the files: what was asked for, on what, and what was found.
fn write_run_json(args: &RidgeArgs, context: &Context, summary: &RidgeSummary) -> Result<()> {
    let mut paths = vec![&args.x, &args.y];
    paths.extend(args.fold_ids.iter().chain(&args.groups));
    paths.extend(args.x_test.iter().chain(&args.y_test));
    let hash = |path: &PathBuf| hash_file(path, &path.display().to_string());
    let document = json!({
        "schema": "voxelcast.ridge-run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": context.settings.device.to_string(),
        "threads": context.settings.n_threads,
        "solver": summary.solver,
        "warnings": summary.warnings,
        "conditioning": summary.conditioning,
        "basis_rank": summary.basis_rank,
        "basis_error": summary.basis_error,
        "settings": {
            "alphas": args.alphas, "alpha_convention": args.alpha_convention,
            "alpha_tolerance": args.alpha_tolerance, "basis_tolerance": args.basis_tolerance,
            "folds": args.folds, "scorer": args.scorer, "solver": args.solver, "fit_intercept": !args.no_intercept,
        },
        "inputs": paths.into_iter().map(hash).collect::<Result<Vec<_>>>()?,
        "timings_s": summary.seconds.iter().cloned().collect::<BTreeMap<_, _>>(),
        "peak_memory_bytes": peak_bytes(),
    });
    let file = PartialFile::create(&args.out.join("run.json"))?;
    writeln!(file.file(), "{document:#}").map_err(|source| file.write_error(source))?;
    file.finish()
}
