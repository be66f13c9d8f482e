//! The `voxelcast` command.

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(voxelcast::cli::run(voxelcast::cli::args::Cli::parse()))
}
