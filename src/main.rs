//! The `voxelcast` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = voxelcast::cli::args::Cli::parse();
    ExitCode::from(voxelcast::cli::run(cli))
}
