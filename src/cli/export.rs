//! `voxelcast export`.

use serde_json::json;

use super::Output;
use super::args::ExportArgs;
use crate::commands::export::export_npz;
use crate::error::Result;

/// A finished run as one `.npz`.
pub fn export(args: &ExportArgs) -> Result<Output> {
    let made = export_npz(&args.dir, &args.npz, args.force)?;
    let text = format!("{}: {} arrays\n", made.npz.display(), made.arrays.len());
    Ok(Output { document: json!({ "schema": "voxelcast.export/1", "export": made }), text })
}
