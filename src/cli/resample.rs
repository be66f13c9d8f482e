//! `voxelcast resample`.

use std::path::PathBuf;

use clap::Args;

use super::Output;
use crate::commands::arrays::resample_file;
use crate::design::lanczos::Lanczos;
use crate::error::Result;

/// `voxelcast resample`.
#[derive(Debug, Args)]
pub struct ResampleArgs {
    /// Rows, (n_old, d) .npy
    #[arg(long, value_name = "D.npy")]
    pub data: PathBuf,
    /// Time of each row in seconds, (n_old) .npy
    #[arg(long, value_name = "A.npy", allow_hyphen_values = true)]
    pub old_times: PathBuf,
    /// Times to resample to in seconds, (n_new) .npy
    #[arg(long, value_name = "B.npy")]
    pub new_times: PathBuf,
    /// Lobes of the Lanczos window
    #[arg(long, default_value_t = 3)]
    pub window: usize,
    /// Cutoff as a multiple of the rate of the new times
    #[arg(long, default_value_t = 1.0)]
    pub cutoff_mult: f64,
    /// Result, (n_new, d) f64 .npy
    #[arg(long, value_name = "O.npy")]
    pub out: PathBuf,
}

/// Resamples one array.
pub fn resample(args: &ResampleArgs) -> Result<Output> {
    let lanczos = Lanczos { window: args.window, cutoff_mult: args.cutoff_mult };
    let shape = resample_file(&args.data, &args.old_times, &args.new_times, &lanczos, &args.out)?;
    Ok(Output::array("voxelcast.resample/1", &args.out, shape))
}
