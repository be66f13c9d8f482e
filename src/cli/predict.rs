//! `voxelcast predict` and `voxelcast score`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{BoldArgs, CleaningArgs, PredictArgs, ScoreArgs};
use super::settings::{usage, word_rules};
use super::{Context, Output};
use crate::commands::predict::{NewTrs, PredictJob, run};
use crate::commands::score::{ScoreJob, run as run_score};
use crate::error::Result;
use crate::report::table;
use crate::study::BoldFlags;
use crate::study_file::{BoldCleaning, Censor};

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

/// Scores predicted BOLD.
pub fn score(args: &ScoreArgs, context: &Context) -> Result<Output> {
    let bold = flags(&args.bold, &args.reading);
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
    let scores = run_score(&job, &context.console, &context.cancel)?;
    let mut text = format!("{}\n", table::summary(&scores.summary));
    if let Some(out) = &args.out {
        text += &format!("{}\n", out.display());
    }
    let document = json!({ "schema": "voxelcast.score/1", "out": args.out, "scores": scores });
    Ok(Output { document, text })
}

/// Flags as the keys of `[bold.SUBJECT]`.
fn cleaning(args: &CleaningArgs) -> Result<BoldCleaning> {
    let with_story = |flag: &str, text: &Option<String>| match text {
        Some(text) if !text.contains("{story}") => {
            let problem = format!("expected {{story}} in the path, got {text:?}");
            Err(usage(flag, problem, "such as 'confounds/{story}.tsv'"))
        }
        text => Ok(text.clone()),
    };
    let confounds = with_story("--confounds", &args.confounds)?;
    let censor = match &args.censor {
        Some(text) if text.contains("{story}") => Some(Censor::File(text.clone())),
        Some(text) if confounds.is_some() => Some(Censor::Column(text.clone())),
        Some(text) => {
            let problem = format!("expected --confounds with the column, or a path, got {text:?}");
            return Err(usage("--censor", problem, "a path has {story} in it"));
        }
        None => None,
    };
    let zscore = match args.zscore.as_deref() {
        None | Some("none") => false,
        Some("story") => true,
        Some(other) => {
            return Err(usage("--zscore", format!("expected none or story, got {other:?}"), ""));
        }
    };
    let columns = args.confound_columns.as_ref();
    let names = |text: &String| text.split(',').map(|name| name.trim().to_owned()).collect();
    Ok(BoldCleaning {
        trim: args.trim.as_deref().map(str::parse).transpose()?,
        zscore,
        detrend: match args.detrend.as_deref() {
            None | Some("none") => None,
            Some(text) => Some(text.parse()?),
        },
        confounds,
        confound_columns: columns.map(names),
        censor,
        ..BoldCleaning::default()
    })
}

/// What a command is told of BOLD.
fn flags(path: &str, args: &BoldArgs) -> BoldFlags {
    BoldFlags {
        path: path.to_owned(),
        dataset: args.dataset.as_ref().map(|name| name.trim_start_matches('/').to_owned()),
        mask: args.mask.clone(),
        transpose: args.transpose,
    }
}

fn new_trs(text: Option<&str>, args: &BoldArgs) -> Result<NewTrs> {
    let Some(text) = text else { return Ok(NewTrs::Known) };
    let bold = flags(text, args);
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
