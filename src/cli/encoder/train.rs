//! `voxelcast encoder train`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{HyperArgs, flag, named, read, shared};
use crate::cli::{Context, Output};
use crate::encoder::{TrainJob, Trained, train};
use crate::error::Result;
use crate::nn::{Device, TrainSettings};
use crate::report::table;
use crate::reporter::Reporter;
use crate::results::lock::Locking;

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

pub fn train_command(args: &TrainArgs, context: &Context, device: &Device) -> Result<Output> {
    let settings = TrainSettings {
        hidden: args.hidden,
        heads: args.heads,
        layers: args.layers,
        intermediate: args.intermediate,
        p_mlm: args.p_mlm,
        patience: args.patience,
        ..shared(&args.hyper)?
    };
    settings.check(&flag)?;
    let texts = read(&args.hyper, context)?;
    context.announce_device();
    let job = TrainJob {
        texts: &named(&texts),
        settings: &settings,
        out: &args.out,
        device,
        checkpoint_s: args.hyper.checkpoint_every,
        locking: Locking::On,
    };
    let trained = train(&job, &context.console, &context.cancel)?;
    if trained.was_done {
        context.console.note("finished before: nothing to do");
    }
    let document = json!({
        "schema": "voxelcast.encoder_train/1", "out": args.out, "was_done": trained.was_done,
        "training": trained,
    });
    Ok(Output { document, text: trained_text(&trained) })
}

fn trained_text(trained: &Trained) -> String {
    let row = |name: &str, epoch: usize, train: f64, validation: f64| {
        let cell = |loss: f64| format!("{loss:.4}");
        vec![name.to_owned(), epoch.to_string(), cell(train), cell(validation)]
    };
    let header = ["weights", "epoch", "training loss", "validation loss"].map(str::to_owned);
    let (best, last) = (trained.best, trained.last);
    let rows = [
        header.to_vec(),
        row("model.safetensors", best.epoch, best.train_loss, best.val_loss),
        row("last/model.safetensors", last.epoch, last.train_loss, last.val_loss),
    ];
    let early = if trained.stopped_early { ", stopped early" } else { "" };
    format!(
        "{}\n{} texts, {} words; {} word pieces, {} parameters, {} epochs{early}\n\
         unigram baseline {:.4} nats, the validation loss is {:.4} {} it\n{}\n",
        table::align(&rows, 1),
        trained.n_texts,
        trained.n_words,
        trained.vocab_size,
        trained.n_parameters,
        trained.n_epochs,
        trained.unigram_loss,
        (trained.unigram_loss - best.val_loss).abs(),
        if best.val_loss < trained.unigram_loss { "below" } else { "above" },
        trained.folder.display()
    )
}
