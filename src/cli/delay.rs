//! `voxelcast delay`.

use std::path::PathBuf;

use clap::Args;

use super::Output;
use super::settings::usage;
use crate::commands::arrays::delay_file;
use crate::design::delays::{check_delays, parse_delays};
use crate::error::Result;

/// `voxelcast delay`.
#[derive(Debug, Args)]
pub struct DelayArgs {
    /// Rows, (n, d) .npy
    #[arg(long, value_name = "X.npy")]
    pub x: PathBuf,
    /// Delays in rows, comma-separated; 1..4 means 1,2,3,4
    #[arg(long, default_value = "1,2,3,4", allow_hyphen_values = true)]
    pub delays: String,
    /// Group of each row, (n) .npy, any integers: delays never cross from one to another
    #[arg(long, value_name = "G.npy")]
    pub groups: Option<PathBuf>,
    /// Result, (n, n_delays · d) .npy
    #[arg(long, value_name = "O.npy")]
    pub out: PathBuf,
}

/// Delays one array.
pub fn delay(args: &DelayArgs) -> Result<Output> {
    let delays = parse_delays(&args.delays).map_err(|wrong| usage("--delays", wrong, ""))?;
    check_delays(&delays)?;
    let shape = delay_file(&args.x, &delays, args.groups.as_deref(), &args.out)?;
    Ok(Output::array("voxelcast.delay/1", &args.out, shape))
}
