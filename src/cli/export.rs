//! `voxelcast export`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Output;
use crate::commands::export::export_npz;
use crate::error::Result;

/// `voxelcast export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Output folder of a finished run
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The new file: SUBJECT/MODEL/scores, best_alphas, cv_scores, …, coef_ where weights were saved
    #[arg(long, value_name = "OUT.npz")]
    pub npz: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// A finished run as one `.npz`.
pub fn export(args: &ExportArgs) -> Result<Output> {
    let made = export_npz(&args.dir, &args.npz, args.force)?;
    let text = format!("{}: {} arrays\n", made.npz.display(), made.arrays.len());
    Ok(Output { document: json!({ "schema": "voxelcast.export/1", "export": made }), text })
}
