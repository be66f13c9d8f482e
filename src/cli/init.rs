//! `voxelcast init`.

use serde_json::json;

use super::Output;
use super::args::InitArgs;
use super::settings::usage;
use crate::commands::init::{Dataset, init};
use crate::error::Result;

/// Writes a STUDY.toml from what lies in a folder.
pub fn init_study(args: &InitArgs) -> Result<Output> {
    let dataset = match args.dataset.as_str() {
        "ds003020" => Dataset::Ds003020,
        "lab" => Dataset::Lab,
        "bids" => Dataset::Bids,
        other => {
            let problem = format!("expected lab, ds003020 or bids, got {other:?}");
            return Err(usage(
                "--dataset",
                problem,
                "for other data write STUDY.toml by hand: docs/your-data.md",
            ));
        }
    };
    let made = init(dataset, &args.path, &args.out, &args.subject)?;
    let mut text = String::new();
    for line in &made.found {
        text += &format!("found: {line}\n");
    }
    for line in &made.not_found {
        text += &format!("not found: {line}\n");
    }
    let study = made.study.display();
    text += &format!(
        "{study}: {} stories with words and BOLD\nnext: voxelcast check {study}; voxelcast run {study}\n",
        made.n_stories
    );
    Ok(Output { document: json!({ "schema": "voxelcast.init/1", "init": made }), text })
}
