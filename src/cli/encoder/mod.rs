//! `voxelcast encoder`: what its commands share.

mod embed;
mod sweep;
mod train;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::settings::{CommonSettings, usage};
use super::{Context, Output};
use crate::encoder::{NamedWords, language_device, read_text};
use crate::error::Result;
use crate::nn::TrainSettings;
use crate::nn::examples::Windows;
use crate::nn::schedule::Schedule;
use crate::reporter::Reporter;
use crate::stimuli::spelling::Punctuation;
use crate::stimuli::{Story, read_stories};

/// `voxelcast encoder`.
#[derive(Debug, Subcommand)]
pub enum EncoderCommand {
    /// Train an encoder from scratch by masked language modelling; the same command goes on
    Train(train::TrainArgs),
    /// Train an encoder for every point of a grid and compare them; the same command goes on
    Sweep(sweep::SweepArgs),
    /// Hidden states of a text's first window, as .npy
    Embed(embed::EmbedArgs),
}

/// Flags that trainings and sweeps share.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("what is read").args(["stories", "text"]).required(true)))]
pub struct HyperArgs {
    /// Timed words: a table, raw_text.pkl, or a folder of tables
    #[arg(long, value_name = "PATH")]
    pub stories: Option<PathBuf>,
    /// Plain text; empty lines separate texts
    #[arg(long, value_name = "FILE")]
    pub text: Option<PathBuf>,
    /// tokenizer.json or vocab.txt [default: word pieces of the training text]
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
    /// Word pieces of a tokenizer that is trained here, at most
    #[arg(long, default_value_t = 8192, value_name = "N")]
    pub vocab_size: usize,
    /// Passes over the training windows
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub epochs: usize,
    /// Windows of a step
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub batch: usize,
    /// Word pieces of a window, the two special ones included
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub max_length: usize,
    /// Train on windows over whole texts (all) or on each text's first
    #[arg(long, default_value = "all", value_name = "all|first")]
    pub windows: String,
    /// Word pieces between the starts of two windows [default: half of --max-length]
    #[arg(long, value_name = "N")]
    pub stride: Option<usize>,
    /// Learning rate of AdamW
    #[arg(long, default_value_t = 1e-4)]
    pub lr: f64,
    /// Decay of matrices
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    pub weight_decay: f64,
    /// Share of values set to 0 in training
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub dropout: f64,
    /// Learning rate after the warm-up: constant, or linear or cosine down to 0
    #[arg(long, default_value = "constant", value_name = "constant|linear|cosine")]
    pub schedule: String,
    /// Steps in which the learning rate rises
    #[arg(long, default_value_t = 0, value_name = "STEPS")]
    pub warmup: usize,
    /// Largest norm of a step's gradient; 0: any
    #[arg(long, default_value_t = 1.0, value_name = "NORM")]
    pub clip: f64,
    /// Share of the texts held out to validate, at least one; of a single text, its end
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub val_fraction: f64,
    /// Seed of weights, masks, dropout, order and held-out texts
    #[arg(long, default_value_t = 214)]
    pub seed: u64,
    /// Seconds between two checkpoints; 0: one after every step
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    pub checkpoint_every: f64,
}

/// Runs one of them.
pub fn encoder(command: &EncoderCommand, context: &Context) -> Result<Output> {
    let CommonSettings { device, device_is_auto, .. } = &context.settings;
    let device = language_device(device, *device_is_auto, &context.console)?;
    match command {
        EncoderCommand::Train(args) => train::train_command(args, context, &device),
        EncoderCommand::Sweep(args) => sweep::sweep_command(args, context, &device),
        EncoderCommand::Embed(args) => embed::embed_command(args, &device),
    }
}

/// A setting's flag: `p_mlm` is `--p-mlm`.
fn flag(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

/// The settings that trainings and sweeps share, the others at their defaults.
fn shared(args: &HyperArgs) -> Result<TrainSettings> {
    let windows = match args.windows.as_str() {
        "all" => Windows::All,
        "first" => Windows::First,
        other => {
            return Err(usage("--windows", format!("expected all or first, got {other:?}"), ""));
        }
    };
    let schedule = match args.schedule.as_str() {
        "constant" => Schedule::Constant,
        "linear" => Schedule::Linear,
        "cosine" => Schedule::Cosine,
        other => {
            let problem = format!("expected constant, linear or cosine, got {other:?}");
            return Err(usage("--schedule", problem, ""));
        }
    };
    if !(0.0..1e9).contains(&args.checkpoint_every) {
        let problem = format!("expected seconds ≥ 0, got {}", args.checkpoint_every);
        return Err(usage("--checkpoint-every", problem, ""));
    }
    Ok(TrainSettings {
        tokenizer: args.tokenizer.clone(),
        vocab_size: args.vocab_size,
        epochs: args.epochs,
        batch: args.batch,
        max_length: args.max_length,
        windows,
        stride: args.stride,
        lr: args.lr,
        weight_decay: args.weight_decay,
        dropout: args.dropout,
        schedule,
        warmup: args.warmup,
        clip: args.clip,
        val_fraction: args.val_fraction,
        seed: args.seed,
        ..TrainSettings::default()
    })
}

/// Names and words of what is to be read.
fn read(args: &HyperArgs, context: &Context) -> Result<Vec<(String, Vec<String>)>> {
    match (&args.stories, &args.text) {
        (Some(path), _) => {
            let (stories, warnings) = read_stories(path)?;
            warnings.iter().for_each(|warning| context.console.warn(warning));
            // As an encoder space reads them.
            let read = |story: Story| {
                let Story { name, words, .. } = story.read_as(Punctuation::Strip);
                (name, words)
            };
            Ok(stories.into_iter().map(read).collect())
        }
        (_, Some(path)) => read_text(path),
        (None, None) => Err(usage("--stories", "expected it or --text, got neither".into(), "")),
    }
}

fn named(texts: &[(String, Vec<String>)]) -> Vec<NamedWords<'_>> {
    texts.iter().map(|(name, words)| (name.as_str(), words.as_slice())).collect()
}
