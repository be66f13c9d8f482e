//! Flags of `voxelcast encoder`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

/// `voxelcast encoder`.
#[derive(Debug, Subcommand)]
pub enum EncoderCommand {
    /// Train an encoder from scratch by masked language modelling; the same command goes on
    Train(TrainArgs),
    /// Train an encoder for every point of a grid and compare them; the same command goes on
    Sweep(SweepArgs),
    /// Hidden states of a text's first window, as .npy
    Embed(EmbedArgs),
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

/// `voxelcast encoder train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// What trainings and sweeps share.
    #[command(flatten)]
    pub hyper: HyperArgs,
    /// Width of a hidden state
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub hidden: usize,
    /// Attention heads; they divide --hidden
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub heads: usize,
    /// Blocks
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub layers: usize,
    /// Width inside the feed-forward
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub intermediate: usize,
    /// Share of word pieces to be guessed in training; validation has 0.15
    #[arg(long, default_value_t = 0.15, value_name = "SHARE")]
    pub p_mlm: f64,
    /// Epochs without a better validation loss before training stops; 0: never
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub patience: usize,
    /// Output folder
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
}

/// `voxelcast encoder sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// What trainings and sweeps share.
    #[command(flatten)]
    pub hyper: HyperArgs,
    /// heads-layers: heads 2,4,8 × layers 2,4,6; full: hidden 64,128,256,512 × intermediate
    /// 256,512,1024,2048 × p-mlm 0.1,0.15,0.2 [default: heads-layers, unless lists are given]
    #[arg(long, value_name = "heads-layers|full")]
    pub grid: Option<String>,
    /// Widths of a hidden state, comma-separated; a list replaces the grid's
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub hidden: Option<Vec<usize>>,
    /// Attention heads
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub heads: Option<Vec<usize>>,
    /// Blocks
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub layers: Option<Vec<usize>>,
    /// Widths inside the feed-forward
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    pub intermediate: Option<Vec<usize>>,
    /// Shares of word pieces to be guessed in training; validation has 0.15
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',')]
    pub p_mlm: Option<Vec<f64>>,
    /// Epochs without a better validation loss before a training stops; 0: never
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub patience: usize,
    /// Output folder: one training folder a point, sweep.csv
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `voxelcast encoder embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Folder of a trained encoder
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Plain text, UTF-8
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Hidden state: 0 embeddings, 1 behind the first block, … [default: last]
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// Result, (n_tokens, hidden) f32 .npy, the two special ones included
    #[arg(long, value_name = "X.npy")]
    pub out: PathBuf,
}
