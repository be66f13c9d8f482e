//! `voxelcast resample` and `voxelcast delay`.

use serde_json::json;

use super::Output;
use super::args::{DelayArgs, ResampleArgs};
use super::settings::usage;
use crate::commands::arrays::{delay_file, resample_file};
use crate::design::delays::check_delays;
use crate::design::lanczos::Lanczos;
use crate::error::Result;

/// Resamples one array.
pub fn resample(args: &ResampleArgs) -> Result<Output> {
    let lanczos = Lanczos { window: args.window, cutoff_mult: args.cutoff_mult };
    let shape = resample_file(&args.data, &args.old_times, &args.new_times, &lanczos, &args.out)?;
    Ok(written("voxelcast.resample/1", &args.out, shape))
}

/// Delays one array.
pub fn delay(args: &DelayArgs) -> Result<Output> {
    let number = |part: &str| {
        let wrong = || format!("expected whole numbers such as 1,2,3,4, got {part:?}");
        part.trim().parse::<i64>().map_err(|_| usage("--delays", wrong(), ""))
    };
    let delays = args.delays.split(',').map(number).collect::<Result<Vec<_>>>()?;
    check_delays(&delays)?;
    let shape = delay_file(&args.x, &delays, args.groups.as_deref(), &args.out)?;
    Ok(written("voxelcast.delay/1", &args.out, shape))
}

fn written(schema: &str, out: &std::path::Path, (rows, cols): (usize, usize)) -> Output {
    Output {
        document: json!({ "schema": schema, "out": out, "shape": [rows, cols] }),
        text: format!("{} ({rows}, {cols})\n", out.display()),
    }
}
