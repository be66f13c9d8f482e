//! `voxelcast init`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Output;
use super::settings::usage;
use crate::commands::init::{Dataset, init};
use crate::error::Result;

/// `voxelcast init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The dataset's folder; it is searched, 6 folders deep
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Its layout: lab (raw_text.pkl, subject*/*.npy), ds003020 (TextGrids, respdict.json, .hf5)
    /// or bids (sub-*/func/*_desc-preproc_bold.nii.gz, words in stimuli/ or events.tsv)
    #[arg(long, value_name = "DATASET")]
    pub dataset: String,
    /// A folder that is a subject; several times for several [default: sub-*, subject*, S1, UTS*]
    #[arg(long, value_name = "NAME")]
    pub subject: Vec<String>,
    /// The new file; never overwritten
    #[arg(long, value_name = "STUDY.toml", default_value = "STUDY.toml")]
    pub out: PathBuf,
}

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
