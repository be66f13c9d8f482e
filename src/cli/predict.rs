//! `voxelcast predict`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::flags::{BoldArgs, CleaningArgs, WordArgs, bold_flags, cleaning, word_rules};
use super::settings::usage;
use super::{Context, Output};
use crate::commands::predict::{NewTrs, PredictJob, run};
use crate::error::Result;
use crate::report::table;

/// `voxelcast predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Output folder of a run whose study sets weights = true, or a folder below its models/
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// A story to predict; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub story: Vec<String>,
    /// A subject; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub subject: Vec<String>,
    /// A space, or a model's folder such as glove-lagged; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub space: Vec<String>,
    /// TRs of every story before the trim, respdict.json, or the path of BOLD with {story} in it
    /// [default: the study's, for its stories; up to the last word, for others]
    #[arg(long, value_name = "N|FILE|PATTERN")]
    pub n_trs: Option<String>,
    /// How BOLD of --n-trs is read
    #[command(flatten)]
    pub bold: BoldArgs,
    /// Leave the intercepts out: what is written varies about 0, and keeps digits where the BOLD's
    /// mean is large
    #[arg(long)]
    pub no_intercept: bool,
    /// How words are read
    #[command(flatten)]
    pub words: WordArgs,
    /// What is cut and taken off BOLD.
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// Where the word vectors of the study are now, if they were moved
    #[arg(long, value_name = "[SPACE=]FILE")]
    pub vectors: Vec<String>,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes predicted BOLD.
pub fn predict(args: &PredictArgs, context: &Context) -> Result<Output> {
    let job = PredictJob {
        model: args.model.clone(),
        stories: args.stories.clone(),
        words: word_rules(&args.words)?,
        wanted: args.story.clone(),
        subjects: args.subject.clone(),
        spaces: args.space.clone(),
        n_trs: new_trs(args.n_trs.as_deref(), &args.bold)?,
        cleaning: cleaning(&args.cleaning)?,
        intercept: !args.no_intercept,
        vectors: args.vectors.iter().map(|text| vectors(text)).collect(),
        out: args.out.clone(),
        memory_bytes: context.settings.memory_bytes,
    };
    let found = run(&job, &context.console, &context.cancel)?;
    let header = ["subject", "model", "voxels", "words without a row"].map(str::to_owned);
    let mut rows = vec![header.to_vec()];
    for model in &found.models {
        let name = model.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let share = format!("{:.1} %", 100.0 * model.oov_share);
        rows.push(vec![model.subject.to_string(), name, model.n_voxels.to_string(), share]);
    }
    let n_trs: usize = found.stories.iter().map(|(_, n)| n).sum();
    let text = format!(
        "{}\n{} stories, {n_trs} TRs\n{}\n",
        table::align(&rows, 2),
        found.stories.len(),
        args.out.display()
    );
    let document =
        json!({ "schema": "voxelcast.predict/1", "out": args.out, "predictions": found });
    Ok(Output { document, text })
}

fn new_trs(text: Option<&str>, args: &BoldArgs) -> Result<NewTrs> {
    let Some(text) = text else { return Ok(NewTrs::Known) };
    let bold = bold_flags(text, args);
    if bold.has_story() {
        return Ok(NewTrs::Bold(bold));
    }
    match text.parse::<usize>() {
        Ok(n @ 2..) => Ok(NewTrs::Fixed(n)),
        Ok(n) => Err(usage("--n-trs", format!("expected at least 2, got {n}"), "")),
        Err(_) => Ok(NewTrs::Respdict(PathBuf::from(text))),
    }
}

/// `SPACE=FILE`, or a file for every space; a file that is there is no `SPACE=FILE`.
fn vectors(text: &str) -> (Option<String>, PathBuf) {
    match text.split_once('=') {
        Some((space, file)) if !Path::new(text).exists() => (Some(space.into()), file.into()),
        _ => (None, text.into()),
    }
}
