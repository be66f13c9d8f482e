//! `voxelcast features` and `voxelcast simulate`.

use std::path::PathBuf;

use serde_json::json;

use super::args::{FeaturesArgs, SimulateArgs};
use super::settings::{usage, word_rules};
use super::{Context, Output};
use crate::commands::features::{FeaturesJob, TrCount, run};
use crate::commands::simulate::{SimulateJob, run as simulate_run};
use crate::design::lanczos::Lanczos;
use crate::design::tr_times::timing_fault;
use crate::error::Result;
use crate::features::bow::BowSettings;
use crate::features::contextual::{Context as WordContext, ContextSettings};
use crate::simulate::settings::SimulateSettings;
use crate::stimuli::spelling::Punctuation;
use crate::study_file::{LanguageSpace, ModelSource, SpaceKind};

/// What `--kind` may be; `simulate` knows no language models.
const KINDS: &str = "bow, word2vec, glove, word_rate (or, for features, bert or encoder)";

/// Writes word rows and TR rows.
pub fn features(args: &FeaturesArgs, context: &Context) -> Result<Output> {
    let given = args.punctuation.as_deref();
    let punctuation = match given {
        None | Some("strip") => Punctuation::Strip,
        Some("keep") => Punctuation::Keep,
        Some(other) => {
            let problem = format!("expected strip or keep, got {other:?}");
            return Err(usage("--punctuation", problem, "what becomes of it at words' ends"));
        }
    };
    if given.is_some() && !matches!(args.kind.as_str(), "bow" | "encoder") {
        let problem = format!("--kind {} does not count or train on spellings", args.kind);
        return Err(usage("--punctuation", problem, "leave it out"));
    }
    let bow = BowSettings {
        min_count: args.min_count,
        max_words: args.max_words,
        lowercase: !args.keep_case,
        punctuation,
    };
    let kind = match args.kind.as_str() {
        "bert" => language_kind(args, None)?,
        "encoder" => language_kind(args, Some(punctuation))?,
        name => kind(name, args.vectors.as_ref(), bow)?,
    };
    let stray = [
        ("--model", args.model.is_some()),
        ("--layer", args.layer.is_some()),
        ("--context", args.context.is_some()),
        ("--context-window", args.context_window.is_some()),
        ("--context-stride", args.context_stride.is_some()),
    ];
    if let (Some((flag, _)), None) = (stray.iter().find(|(_, given)| *given), kind.model_folder()) {
        let problem = format!("--kind {} uses no language model", args.kind);
        return Err(usage(flag, problem, "leave it out"));
    }
    let n_trs = match &args.n_trs {
        None => TrCount::LastWord,
        Some(text) => match text.parse::<usize>() {
            Ok(n @ 2..) => TrCount::Fixed(n),
            Ok(n) => return Err(usage("--n-trs", format!("expected at least 2, got {n}"), "")),
            Err(_) => TrCount::Respdict(PathBuf::from(text)),
        },
    };
    let lanczos = Lanczos { window: args.window, cutoff_mult: args.cutoff_mult };
    let (tr_s, first_tr_s) = timing(args.tr_s, args.first_tr_s)?;
    let job = FeaturesJob {
        stories: args.stories.clone(),
        words: word_rules(&args.words)?,
        kind,
        tr_s,
        first_tr_s,
        n_trs,
        lanczos,
        out: args.out.clone(),
        memory_bytes: context.settings.memory_bytes,
    };
    let summary = run(&job, &context.console, &context.cancel)?;
    let share = 100.0 * summary.n_oov as f64 / summary.n_words.max(1) as f64;
    let text = format!(
        "{} stories, {} words, {} columns; {} words without a row ({share:.1} %)\n{}\n",
        summary.stories.len(),
        summary.n_words,
        summary.dim,
        summary.n_oov,
        args.out.display()
    );
    let document =
        json!({ "schema": "voxelcast.features/1", "out": args.out, "features": summary });
    Ok(Output { document, text })
}

/// Writes BOLD with a known truth.
pub fn simulate(args: &SimulateArgs, context: &Context) -> Result<Output> {
    let (tr_s, first_tr_s) = timing(args.tr_s, args.first_tr_s)?;
    let settings = SimulateSettings {
        n_voxels: args.voxels,
        tr_s,
        noise_share: args.noise_share,
        noise_ar1: args.noise_ar1,
        r_low: args.r_low,
        r_high: args.r_high,
        n_topics: args.topics,
        hrf_peak_s: args.hrf_peak_s,
        seed: args.seed,
        ..SimulateSettings::default()
    };
    if args.subjects == 0 {
        return Err(usage("--subjects", "expected at least 1, got 0".into(), ""));
    }
    let job = SimulateJob {
        stories: args.stories.clone(),
        kind: kind(&args.kind, args.vectors.as_ref(), BowSettings::default())?,
        n_subjects: args.subjects,
        settings,
        first_tr_s,
        trim: args.trim.parse()?,
        out: args.out.clone(),
    };
    let simulated = simulate_run(&job, &context.console)?;
    let n_trs: usize = simulated.stories.iter().map(|(_, n)| n).sum();
    let text = format!(
        "{} subjects of {} voxels, {} stories, {n_trs} TRs\n{}\n",
        simulated.subjects.len(),
        simulated.n_voxels,
        simulated.stories.len(),
        args.out.join("STUDY.toml").display()
    );
    let document =
        json!({ "schema": "voxelcast.simulate/1", "out": args.out, "simulated": simulated });
    Ok(Output { document, text })
}

/// `bert` and `encoder`.
fn language_kind(args: &FeaturesArgs, punctuation: Option<Punctuation>) -> Result<SpaceKind> {
    let name = &args.kind;
    let Some(model) = &args.model else {
        let problem = format!("--kind {name} needs a checkpoint folder, got none");
        return Err(usage("--model", problem, "give --model DIR"));
    };
    if args.vectors.is_some() {
        let problem = format!("--kind {name} uses no word vectors");
        return Err(usage("--vectors", problem, "leave it out"));
    }
    let context = match args.context.as_deref() {
        None | Some("both") => WordContext::Both,
        Some("past") => WordContext::Past,
        Some(other) => {
            let problem = format!("expected both or past, got {other:?}");
            return Err(usage("--context", problem, "which words a word's vector may come from"));
        }
    };
    if context == WordContext::Past && args.context_stride.is_some() {
        let problem = "expected none with --context past, got one".to_owned();
        return Err(usage("--context-stride", problem, "every word has a window of its own"));
    }
    let reading = ContextSettings {
        layer: args.layer,
        context,
        window: args.context_window,
        stride: args.context_stride,
    };
    let space = LanguageSpace { model: ModelSource::Folder(model.clone()), reading, punctuation };
    Ok(match name.as_str() {
        "bert" => SpaceKind::Bert(space),
        _ => SpaceKind::Encoder(space),
    })
}

fn kind(name: &str, vectors: Option<&PathBuf>, bow: BowSettings) -> Result<SpaceKind> {
    let file = || {
        let problem = format!("--kind {name} needs a file of word vectors, got none");
        vectors.cloned().ok_or_else(|| usage("--vectors", problem, "give --vectors FILE"))
    };
    let made = match name {
        "bow" => SpaceKind::Bow(bow),
        "word2vec" => SpaceKind::Word2Vec(file()?),
        "glove" => SpaceKind::Glove(file()?),
        "word_rate" => SpaceKind::WordRate,
        other => {
            let problem = format!("expected {KINDS}, got {other:?}");
            return Err(usage("--kind", problem, ""));
        }
    };
    if vectors.is_some() && !matches!(made, SpaceKind::Word2Vec(_) | SpaceKind::Glove(_)) {
        let problem = format!("--kind {name} uses no word vectors");
        return Err(usage("--vectors", problem, "leave it out"));
    }
    Ok(made)
}

fn positive(flag: &str, value: f64) -> Result<f64> {
    match value.is_finite() && value > 0.0 {
        true => Ok(value),
        false => Err(usage(flag, format!("expected a number > 0, got {value}"), "seconds")),
    }
}

/// The repetition time and the middle of the first TR.
fn timing(tr_s: f64, first_tr_s: f64) -> Result<(f64, f64)> {
    let tr_s = positive("--tr-s", tr_s)?;
    match timing_fault(first_tr_s, tr_s) {
        None => Ok((tr_s, first_tr_s)),
        Some(fault) => Err(usage("--tr-s and --first-tr-s", fault, "both are in seconds")),
    }
}
