//! What can be typed: every flag once, with its unit and default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Voxelwise brain encoding models: timed words and BOLD in, scored models out.
#[derive(Debug, Parser)]
#[command(name = "voxelcast", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// One JSON document with the results on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Name each step with its shapes and seconds
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Where to compute: auto, cpu, cuda or cuda:N
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Threads [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory that matrices and tiles may take, such as 2G or 800M [default: half of what is free]
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole study: stories and BOLD in, scored models out
    Run(RunArgs),
    /// Read every header and check every count of a study; compute nothing
    Check(CheckArgs),
    /// Cross-validated ridge with one alpha per voxel, from .npy files
    Ridge(RidgeArgs),
}

/// `voxelcast ridge`.
#[derive(Debug, Args)]
pub struct RidgeArgs {
    /// Design, (n, p) .npy, f32 or f64
    #[arg(long, value_name = "X.npy")]
    pub x: PathBuf,
    /// BOLD, (n, V) .npy, f32 or f64
    #[arg(long, value_name = "Y.npy")]
    pub y: PathBuf,
    /// Fold of each row, (n) .npy, any integers
    #[arg(long, value_name = "F.npy")]
    pub fold_ids: PathBuf,
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
    /// Route: auto, gram or dual
    #[arg(long, default_value = "auto")]
    pub solver: String,
    /// How the alphas are meant: himalaya (weights of the squared norm) or huth (their roots)
    #[arg(long, default_value = "himalaya", value_name = "CONVENTION")]
    pub alpha_convention: String,
    /// Take the smallest alpha within this share of the best score
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub alpha_tolerance: f64,
    /// Largest relative error of a denominator from the alpha basis; 0 is exact and slow
    #[arg(long, default_value_t = 1e-5, value_name = "ERROR")]
    pub basis_tolerance: f64,
    /// Do not centre by training means
    #[arg(long)]
    pub no_intercept: bool,
    /// Write predicted test BOLD
    #[arg(long, requires = "x_test")]
    pub predict: bool,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `voxelcast run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Output folder [default: STUDY.results beside the study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print shapes, memory and an estimate of the time; fit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace results of other settings or inputs in the output folder
    #[arg(long)]
    pub force: bool,
}

/// `voxelcast check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
}
