//! `voxelcast ridge`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use serde_json::json;

use super::Context;
use super::settings::{parse_convention, parse_folds, parse_scorer, usage};
use crate::backend::device::Device;
use crate::commands::ridge::{RidgeJob, RowFolds, file_and_dataset, run};
use crate::error::Result;
use crate::io::output::PartialFile;
use crate::reporter::Reporter;
use crate::resources::peak_bytes;
use crate::results::hash::hash_file;
use crate::results::names::RUN;
use crate::ridge::{AlphaGrid, BandSampling};
use crate::solve::bands::{BandColumns, BandJob, BandPoints};
use crate::solve::fit::{FitSettings, RidgeSummary};

/// `voxelcast ridge`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which rows").args(["fold_ids", "groups"]).required(true)))]
pub struct RidgeArgs {
    /// Design, (n, p): .npy, .npz (scipy's sparse ones too), HDF5, pickle; FILE:DATASET names one
    /// of several arrays
    #[arg(long, value_name = "X.npy")]
    pub x: PathBuf,
    /// BOLD, (n, V), in the same formats
    #[arg(long, value_name = "Y.npy")]
    pub y: PathBuf,
    /// Fold of each row, (n) .npy, any integers
    #[arg(long, value_name = "F.npy", conflicts_with = "folds")]
    pub fold_ids: Option<PathBuf>,
    /// Story (or other group) of each row, (n) .npy, any integers; --folds deals them to folds
    #[arg(long, value_name = "G.npy", requires = "folds")]
    pub groups: Option<PathBuf>,
    /// Folds of whole groups: K, dealt round-robin in order of first appearance, or loso, one each
    #[arg(long, value_name = "K|loso", requires = "groups")]
    pub folds: Option<String>,
    /// Alphas: logspace(FROM,TO,N) in powers of ten, or a list such as 1,10,100
    #[arg(long, default_value = "logspace(0,8,17)")]
    pub alphas: String,
    /// Test design, (n_test, p) .npy
    #[arg(long, value_name = "X.npy", requires = "y_test")]
    pub x_test: Option<PathBuf>,
    /// Test BOLD, (n_test, V) .npy
    #[arg(long, value_name = "Y.npy", requires = "x_test")]
    pub y_test: Option<PathBuf>,
    /// Validation score: correlation or r2
    #[arg(long, default_value = "correlation")]
    pub scorer: String,
    /// Route: auto, gram, svd or dual
    #[arg(long, default_value = "auto")]
    pub solver: String,
    /// How the alphas are meant: himalaya (weights of the squared norm) or huth (their roots)
    #[arg(long, default_value = "himalaya", value_name = "CONVENTION")]
    pub alpha_convention: String,
    /// Take the smallest alpha within this share of the best score
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub alpha_tolerance: f64,
    /// Largest relative error of a denominator from the alpha basis; below 1e-6 exact and slow
    #[arg(long, default_value_t = 1e-5, value_name = "ERROR")]
    pub basis_tolerance: f64,
    /// Do not centre by training means
    #[arg(long)]
    pub no_intercept: bool,
    /// Bands with an alpha each: columns of each band, side by side, such as 512,300
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "band_ids")]
    pub bands: Option<Vec<usize>>,
    /// Bands with an alpha each: band of each column, (p) .npy, any integers
    #[arg(long, value_name = "B.npy")]
    pub band_ids: Option<PathBuf>,
    /// Points of the search over band weights, (n_points, n_bands) .npy, in place of --n-iter
    #[arg(long, value_name = "G.npy", conflicts_with_all = ["n_iter", "seed", "concentration"])]
    pub band_weights: Option<PathBuf>,
    /// Points of the search over band weights, sampled on the simplex [default: 100]
    #[arg(long, value_name = "N")]
    pub n_iter: Option<usize>,
    /// Seed of the sampled points [default: 214]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Concentrations of the Dirichlet samples, taken in turn [default: 0.1,1]
    #[arg(long, value_name = "C,C,…", value_delimiter = ',')]
    pub concentration: Option<Vec<f64>>,
    /// Write predicted test BOLD
    #[arg(long, requires = "x_test")]
    pub predict: bool,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

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
    let settings = FitSettings {
        alphas: if huth { grid.from_huth() } else { grid },
        scorer: parse_scorer("--scorer", &args.scorer)?,
        solver: args.solver.parse()?,
        fit_intercept: !args.no_intercept,
        alpha_tolerance: args.alpha_tolerance,
        basis_tolerance: args.basis_tolerance,
        device: context.settings.device.clone(),
        n_threads: context.settings.n_threads,
        memory_bytes: context.settings.memory_bytes,
    };
    let job = RidgeJob {
        x: args.x.clone(),
        y: args.y.clone(),
        folds: row_folds(args)?,
        test: args.x_test.clone().zip(args.y_test.clone()),
        settings,
        bands: bands(args)?,
        predict: args.predict,
        out: args.out.clone(),
    };
    match (&job.bands, &job.settings.device) {
        (Some(_), device) if *device != Device::Cpu => {
            context.console.note("device: cpu (a search over bands does not run on a card)")
        }
        _ => context.announce_device(),
    }
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

/// Bands and the points to search, if there are bands.
fn bands(args: &RidgeArgs) -> Result<Option<BandJob>> {
    let columns = match (&args.bands, &args.band_ids) {
        (Some(counts), _) => BandColumns::Counts(counts.clone()),
        (None, Some(path)) => BandColumns::Ids(path.clone()),
        (None, None) => {
            let given = [
                ("--band-weights", args.band_weights.is_some()),
                ("--n-iter", args.n_iter.is_some()),
                ("--seed", args.seed.is_some()),
                ("--concentration", args.concentration.is_some()),
            ];
            return match given.into_iter().find(|(_, given)| *given) {
                Some((flag, _)) => {
                    Err(usage(flag, "expected --bands or --band-ids with it".into(), ""))
                }
                None => Ok(None),
            };
        }
    };
    if !matches!(args.solver.as_str(), "auto" | "gram") {
        let problem = format!("expected auto or gram with bands, got {:?}", args.solver);
        return Err(usage("--solver", problem, "points are scaled Gram matrices"));
    }
    let points = match &args.band_weights {
        Some(path) => BandPoints::File(path.clone()),
        None => {
            let default = BandSampling::default();
            let sampling = BandSampling {
                n_iter: args.n_iter.unwrap_or(default.n_iter),
                seed: args.seed.unwrap_or(default.seed),
                concentration: args.concentration.clone().unwrap_or(default.concentration),
            };
            sampling.check().map_err(|(what, problem)| {
                usage(&format!("--{}", what.replace('_', "-")), problem, "")
            })?;
            BandPoints::Sampled(sampling)
        }
    };
    Ok(Some(BandJob { columns, points }))
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
    let bands = bands(args)?;
    paths.extend(bands.iter().flat_map(BandJob::files));
    let hash = |path: &PathBuf| hash_file(&file_and_dataset(path).0, &path.display().to_string());
    let document = json!({
        "schema": "voxelcast.ridge-run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": bands.as_ref().map_or(context.settings.device.to_string(), |_| "cpu".into()),
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
            "bands": args.bands, "band_ids": args.band_ids, "band_weights": args.band_weights,
            "n_iter": args.n_iter, "seed": args.seed, "concentration": args.concentration,
        },
        "inputs": paths.into_iter().map(hash).collect::<Result<Vec<_>>>()?,
        "timings_s": summary.seconds.iter().cloned().collect::<BTreeMap<_, _>>(),
        "peak_memory_bytes": peak_bytes(),
    });
    let file = PartialFile::create(&args.out.join(RUN))?;
    writeln!(file.file(), "{document:#}").map_err(|source| file.write_error(source))?;
    file.finish()
}
