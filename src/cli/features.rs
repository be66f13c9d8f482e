//! `voxelcast features`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::flags::{WordArgs, word_rules};
use super::settings::usage;
use super::{Context, Output};
use crate::commands::features::{FeaturesJob, TrCount, run};
use crate::design::lanczos::Lanczos;
use crate::design::tr_times::timing_fault;
use crate::error::Result;
use crate::features::bow::BowSettings;
use crate::features::windows::{Context as WordContext, ContextSettings, WindowSettings};
use crate::stimuli::spelling::Punctuation;
use crate::study_file::{LanguageSpace, ModelSource, SpaceKind, kind_of_keys};

/// What `--kind` may be; `simulate` knows the first ones.
const KINDS: &str = "bow, word2vec, glove, word_rate or word_length (or, for features, eng1000, bert, \
                     encoder, lm, phones, column, position or file)";

/// `voxelcast features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// bow, word2vec, glove, eng1000, bert, encoder, lm, word_rate, word_length, phones, column, position or file
    #[arg(long)]
    pub kind: String,
    /// Word vectors, for word2vec, glove and eng1000
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// Checkpoint folder, for bert, encoder and lm (which reads a .gguf file, too)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// bert, encoder, lm: hidden state, 0 is the embeddings [default: the last]
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// bert, encoder: both, or past: vectors from words up to the word alone [default: both]
    #[arg(long, value_name = "both|past")]
    pub context: Option<String>,
    /// bert, encoder, lm: word pieces of a window [default: the model's longest, at most 512; --context past: 64]
    #[arg(long, value_name = "PIECES")]
    pub context_window: Option<usize>,
    /// bert, encoder: pieces from window to window [default: half of it]
    #[arg(long, value_name = "PIECES")]
    pub context_stride: Option<usize>,
    /// lm: pieces before a word in its window, at least; 0: each word is read alone [default: 64]
    #[arg(long, value_name = "PIECES")]
    pub past: Option<usize>,
    /// lm: a word's vector is that of its last piece, or the mean of its pieces [default: last]
    #[arg(long, value_name = "last|mean")]
    pub pool: Option<String>,
    /// file: a matrix per story, {story} in the path or in --dataset
    #[arg(long, value_name = "PATTERN")]
    pub path: Option<String>,
    /// file: array or tensor of a file that holds several
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// file: words, trs or times: what a row belongs to [default: words]
    #[arg(long, value_name = "words|trs|times")]
    pub rows: Option<String>,
    /// file: the seconds of each row, {story} in the path
    #[arg(long, value_name = "PATTERN")]
    pub times: Option<String>,
    /// file: text file with a column's name on each line
    #[arg(long, value_name = "FILE")]
    pub names: Option<PathBuf>,
    /// column: numeric columns of the word table
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// phones: rate, or identity: a column per phone [default: rate]
    #[arg(long, value_name = "rate|identity")]
    pub what: Option<String>,
    /// phones: tier of the TextGrids with the phones [default: by its name]
    #[arg(long, value_name = "TIER")]
    pub phone_tier: Option<String>,
    /// Repetition time in seconds, for stories without TR times
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub tr_s: f64,
    /// Middle of the first TR in seconds
    #[arg(long, default_value_t = -9.0, value_name = "SECONDS", allow_hyphen_values = true)]
    pub first_tr_s: f64,
    /// TRs of every story, or respdict.json [default: up to the last word]
    #[arg(long, value_name = "N|FILE")]
    pub n_trs: Option<String>,
    /// Lobes of the Lanczos window
    #[arg(long, default_value_t = 3)]
    pub window: usize,
    /// Lanczos cutoff as a multiple of the TR rate
    #[arg(long, default_value_t = 1.0)]
    pub cutoff_mult: f64,
    /// bow: leave out words that occur less often
    #[arg(long, default_value_t = 1)]
    pub min_count: usize,
    /// bow: keep the most frequent words only
    #[arg(long, value_name = "N")]
    pub max_words: Option<usize>,
    /// bow: do not count words in lower case
    #[arg(long)]
    pub keep_case: bool,
    /// bow, encoder: strip or keep punctuation at the ends of words [default: strip]
    #[arg(long, value_name = "strip|keep")]
    pub punctuation: Option<String>,
    /// Write the rows of TRs in f64: read back as rows = "trs", they give the same bytes as the kind
    #[arg(long)]
    pub f64: bool,
    /// How words are read
    #[command(flatten)]
    pub words: WordArgs,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

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
        "eng1000" | "lm" | "phones" | "column" | "position" | "file" => keyed_kind(args)?,
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
    let of_kinds = [
        ("--path", args.path.is_some(), "file"),
        ("--dataset", args.dataset.is_some(), "file"),
        ("--rows", args.rows.is_some(), "file"),
        ("--times", args.times.is_some(), "file"),
        ("--names", args.names.is_some(), "file"),
        ("--columns", !args.columns.is_empty(), "column"),
        ("--what", args.what.is_some(), "phones"),
        ("--phone-tier", args.phone_tier.is_some(), "phones"),
        ("--past", args.past.is_some(), "lm"),
        ("--pool", args.pool.is_some(), "lm"),
    ];
    if let Some((flag, _, own)) =
        of_kinds.iter().find(|(_, given, own)| *given && args.kind != *own)
    {
        let problem = format!("it is for --kind {own}, not for {}", args.kind);
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
        f64: args.f64,
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

/// Kinds whose flags are the keys of `[[space]]`, checked as those are.
fn keyed_kind(args: &FeaturesArgs) -> Result<SpaceKind> {
    let mut table = toml::Table::new();
    let mut add = |name: &str, value: Option<toml::Value>| {
        value.map(|value| table.insert(name.to_owned(), value));
    };
    let text = |value: &Option<String>| value.clone().map(toml::Value::String);
    let path = |path: &Option<PathBuf>| {
        path.as_ref().map(|path| toml::Value::String(path.to_string_lossy().into_owned()))
    };
    add("kind", text(&Some(args.kind.clone())));
    add("vectors", path(&args.vectors));
    if args.kind == "lm" {
        let number = |value: Option<usize>| value.map(|value| toml::Value::Integer(value as i64));
        add("model", path(&args.model));
        add("layer", number(args.layer));
        add("past", number(args.past));
        add("window", number(args.context_window));
        add("pool", text(&args.pool));
        add("context", text(&args.context));
        add("stride", number(args.context_stride));
    }
    add("path", text(&args.path));
    add("dataset", text(&args.dataset));
    add("rows", text(&args.rows));
    add("times", text(&args.times));
    add("names", path(&args.names));
    add("columns", (!args.columns.is_empty()).then(|| args.columns.clone().into()));
    add("what", text(&args.what));
    add("phone_tier", text(&args.phone_tier));
    kind_of_keys("--kind", &table)
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
    let (window, stride) = (args.context_window, args.context_stride);
    let windows = WindowSettings::BothWays { context, window, stride };
    let reading = ContextSettings { layer: args.layer, windows };
    let space = LanguageSpace { model: ModelSource::Folder(model.clone()), reading, punctuation };
    Ok(match name.as_str() {
        "bert" => SpaceKind::Bert(space),
        _ => SpaceKind::Encoder(space),
    })
}

pub(super) fn kind(name: &str, vectors: Option<&PathBuf>, bow: BowSettings) -> Result<SpaceKind> {
    let file = || {
        let problem = format!("--kind {name} needs a file of word vectors, got none");
        vectors.cloned().ok_or_else(|| usage("--vectors", problem, "give --vectors FILE"))
    };
    let made = match name {
        "bow" => SpaceKind::Bow(bow),
        "word2vec" => SpaceKind::Word2Vec(file()?),
        "glove" => SpaceKind::Glove(file()?),
        "word_rate" => SpaceKind::WordRate,
        "word_length" => SpaceKind::WordLength,
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
pub(super) fn timing(tr_s: f64, first_tr_s: f64) -> Result<(f64, f64)> {
    let tr_s = positive("--tr-s", tr_s)?;
    match timing_fault(first_tr_s, tr_s) {
        None => Ok((tr_s, first_tr_s)),
        Some(fault) => Err(usage("--tr-s and --first-tr-s", fault, "both are in seconds")),
    }
}
