//! The `voxelcast` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    ExitCode::from(voxelcast::cli::run(voxelcast::cli::args::Cli::parse()))
}
