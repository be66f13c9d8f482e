//! `voxelcast score`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::flags::{BoldArgs, CleaningArgs, bold_flags, cleaning};
use super::settings::usage;
use super::{Context, Output};
use crate::commands::score::{ScoreJob, run};
use crate::error::Result;
use crate::report::table;

/// `voxelcast score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Output folder of voxelcast predict
    #[arg(long, value_name = "DIR")]
    pub predictions: PathBuf,
    /// Measured BOLD: a path with {story}, and {subject} where there are several
    #[arg(long, value_name = "PATTERN")]
    pub bold: String,
    /// How it is read
    #[command(flatten)]
    pub reading: BoldArgs,
    /// What is cut and taken off BOLD.
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// A story to score; several times for several [default: all that were predicted]
    #[arg(long, value_name = "NAME")]
    pub story: Vec<String>,
    /// Output folder of arrays and tables [default: none are written]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Scores predicted BOLD.
pub fn score(args: &ScoreArgs, context: &Context) -> Result<Output> {
    let bold = bold_flags(&args.bold, &args.reading);
    if !bold.has_story() {
        let problem =
            format!("expected {{story}} in the path, or in --dataset, got {:?}", args.bold);
        return Err(usage("--bold", problem, "such as 'subject1/{story}.npy'"));
    }
    let job = ScoreJob {
        predictions: args.predictions.clone(),
        bold,
        cleaning: cleaning(&args.cleaning)?,
        wanted: args.story.clone(),
        out: args.out.clone(),
    };
    let scores = run(&job, &context.console, &context.cancel)?;
    let mut text = format!("{}\n", table::summary(&scores.summary));
    if let Some(out) = &args.out {
        text += &format!("{}\n", out.display());
    }
    let document = json!({ "schema": "voxelcast.score/1", "out": args.out, "scores": scores });
    Ok(Output { document, text })
}
