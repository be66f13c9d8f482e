//! The commands; the flags of each stand in its file.

use clap::{Parser, Subcommand};

#[cfg(feature = "language")]
use super::encoder;
use super::settings::Common;
use super::{
    bench, check, delay, demo, export, features, init, merge, plan, predict, report, resample,
    ridge, run, score, show, simulate, slurm,
};

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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole study on stories inside the program, with simulated BOLD whose truth is known
    Demo(demo::DemoArgs),
    /// The whole study: stories and BOLD in, scored models out
    Run(run::RunArgs),
    /// Cut a study into shards for several machines
    Plan(plan::PlanArgs),
    /// Put the shards of a study together
    Merge(merge::MergeArgs),
    /// Job scripts of a sharded study for a Slurm cluster
    Slurm(slurm::SlurmArgs),
    /// Predicted BOLD of new stories, from the saved weights of a run
    Predict(predict::PredictArgs),
    /// Predicted against measured BOLD: r per voxel, and tables
    Score(score::ScoreArgs),
    /// Read every header and check every count of a study; compute nothing
    Check(check::CheckArgs),
    /// Write a ready, commented STUDY.toml from what lies in a folder
    Init(init::InitArgs),
    /// Cross-validated ridge with one alpha per voxel, from .npy, .npz or HDF5 files
    Ridge(ridge::RidgeArgs),
    /// Lanczos-resample the rows of an array from word times to TR times
    Resample(resample::ResampleArgs),
    /// Delay the rows of an array: columns [d1 all features, d2 all features, …]
    Delay(delay::DelayArgs),
    /// Word rows and TR rows of a feature space, as .npy files
    Features(features::FeaturesArgs),
    /// Encoders trained from scratch by masked language modelling
    #[cfg(feature = "language")]
    #[command(subcommand)]
    Encoder(encoder::EncoderCommand),
    /// BOLD with a known truth for your stories, and a study over it
    Simulate(simulate::SimulateArgs),
    /// Time cross-validated ridge on this machine, stage by stage
    Bench(bench::BenchArgs),
    /// List the devices that can be used, and say why one cannot
    Devices,
    /// Scores, alphas and weights of a finished run as one .npz
    Export(export::ExportArgs),
    /// The report of a finished run again, and its figures as files
    Report(report::ReportArgs),
    /// What a finished run was, and what came out, in ten lines
    Show(show::ShowArgs),
}
