//! `voxelcast show`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Output;
use crate::commands::show::show as read;
use crate::error::Result;

/// `voxelcast show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Output folder of a finished run
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// What was run and what came out, in ten lines.
pub(super) fn show(args: &ShowArgs) -> Result<Output> {
    let shown = read(&args.dir)?;
    let lines = shown.lines();
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, text): &(&str, String)| format!("{name:width$}  {text}\n");
    let text = lines.iter().map(line).collect();
    Ok(Output { document: json!({ "schema": "voxelcast.show/1", "show": shown }), text })
}
