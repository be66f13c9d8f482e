//! `voxelcast demo`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::flags::LockArgs;
use super::{Context, Output};
use crate::commands::demo::{Found, demo};
use crate::error::Result;
use crate::report::table;

/// `voxelcast demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Output folder
    #[arg(long, value_name = "DIR", default_value = "voxelcast-demo")]
    pub out: PathBuf,
    /// Replace results of another version
    #[arg(long)]
    pub force: bool,
}

/// Runs the whole study on the stories inside the binary.
pub fn run_demo(args: &DemoArgs, context: &Context) -> Result<Output> {
    context.announce_device();
    let options = context.run_options(args.out.clone(), args.force, false, &LockArgs::default());
    let results = demo(&options, context.session())?;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut rows = vec![
        [
            "truth",
            "voxels",
            "r(true, found)",
            "mean true r",
            "mean found r",
            "signal found",
            "false alarms",
            "delay found",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (subject, Found { recovery: found, delays }) in &results.recovery {
        rows.push(vec![
            subject.clone(),
            found.n_voxels_used.to_string(),
            format!("{:.3}", found.correlation),
            format!("{:.3}", found.mean_true_r),
            format!("{:.3}", found.mean_estimated_r),
            percent(found.signal_above),
            percent(found.noise_above),
            percent(delays.within_one),
        ]);
    }
    let threshold =
        results.recovery.first().map_or(f64::NAN, |(_, found)| found.recovery.threshold);
    let out = args.out.display();
    let text = format!(
        "{}\nThe BOLD is simulated, so the truth is known ({}, r > {threshold:.3} counts as found; \
         2.5 % false alarms are expected; a delay is found within one TR of the planted one):\n{}\n{out}/report.html  {out}/summary.csv  {out}/stories.csv  {out}/run.json\n",
        table::summary(&results.summary),
        results.recovery_model,
        table::align(&rows, 1),
    );
    let document = json!({ "schema": "voxelcast.demo/1", "out": args.out, "demo": results });
    Ok(Output { document, text })
}
