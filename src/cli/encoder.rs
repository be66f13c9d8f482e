//! `voxelcast encoder train`, `sweep` and `embed`.

use serde_json::json;

use super::encoder_args::{EmbedArgs, EncoderCommand, HyperArgs, SweepArgs, TrainArgs};
use super::settings::{CommonSettings, usage};
use super::{Context, Output};
use crate::encoder::{
    EmbedJob, Grid, NamedWords, SweepJob, Swept, TrainJob, Trained, embed, language_device,
    read_text, sweep, train,
};
use crate::error::Result;
use crate::nn::examples::Windows;
use crate::nn::schedule::Schedule;
use crate::nn::{Device, TrainSettings};
use crate::report::table;
use crate::reporter::Reporter;
use crate::results::lock::Locking;
use crate::results::names::SWEEP;
use crate::stimuli::spelling::Punctuation;
use crate::stimuli::{Story, read_stories};

/// Runs one of them.
pub fn encoder(command: &EncoderCommand, context: &Context) -> Result<Output> {
    let CommonSettings { device, device_is_auto, .. } = &context.settings;
    let device = language_device(device, *device_is_auto, &context.console)?;
    match command {
        EncoderCommand::Train(args) => train_command(args, context, &device),
        EncoderCommand::Sweep(args) => sweep_command(args, context, &device),
        EncoderCommand::Embed(args) => embed_command(args, &device),
    }
}

fn train_command(args: &TrainArgs, context: &Context, device: &Device) -> Result<Output> {
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

fn sweep_command(args: &SweepArgs, context: &Context, device: &Device) -> Result<Output> {
    let base = TrainSettings { patience: args.patience, ..shared(&args.hyper)? };
    let points = grid(args, &base)?.points();
    for point in &points {
        point.settings(&base).check(&flag)?;
    }
    let texts = read(&args.hyper, context)?;
    context.announce_device();
    let job = SweepJob {
        texts: &named(&texts),
        base: &base,
        points: &points,
        out: &args.out,
        device,
        checkpoint_s: args.hyper.checkpoint_every,
    };
    let swept = sweep(&job, &context.console, &context.cancel)?;
    let document = json!({
        "schema": "voxelcast.encoder_sweep/1", "out": args.out,
        "chosen": swept.points[swept.chosen].name, "points": swept.points,
    });
    let text = format!("{}{}\n", swept_text(&swept), args.out.join(SWEEP).display());
    Ok(Output { document, text })
}

fn embed_command(args: &EmbedArgs, device: &Device) -> Result<Output> {
    let EmbedArgs { model, text, layer, out } = args;
    let (n_tokens, width) = embed(&EmbedJob { model, text, layer: *layer, device, out })?;
    let document = json!({
        "schema": "voxelcast.encoder_embed/1", "out": out, "n_tokens": n_tokens, "hidden": width,
    });
    let text = format!("{n_tokens} tokens, {width} columns\n{}\n", out.display());
    Ok(Output { document, text })
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

fn grid(args: &SweepArgs, base: &TrainSettings) -> Result<Grid> {
    let SweepArgs { hidden, heads, layers, intermediate, p_mlm, .. } = args;
    let lists = [hidden, heads, layers, intermediate];
    let no_lists = lists.iter().all(|list| list.is_none()) && p_mlm.is_none();
    let mut grid = match args.grid.as_deref() {
        None if no_lists => Grid::heads_layers(base),
        None => Grid::of(base),
        Some("heads-layers") => Grid::heads_layers(base),
        Some("full") => Grid::full(base),
        Some(other) => {
            let problem = format!("expected heads-layers or full, got {other:?}");
            return Err(usage("--grid", problem, ""));
        }
    };
    let unique = |flag: &str, list: &[f64]| {
        let twice = (1..list.len()).find(|&i| list[..i].contains(&list[i]));
        twice.map_or(Ok(()), |i| Err(usage(flag, format!("has {} twice", list[i]), "")))
    };
    let put = |flag: &str, list: &Option<Vec<usize>>, values: &mut Vec<usize>| {
        let Some(list) = list else { return Ok(()) };
        values.clone_from(list);
        unique(flag, &list.iter().map(|&n| n as f64).collect::<Vec<_>>())
    };
    put("--hidden", hidden, &mut grid.hidden)?;
    put("--heads", heads, &mut grid.heads)?;
    put("--layers", layers, &mut grid.layers)?;
    put("--intermediate", intermediate, &mut grid.intermediate)?;
    if let Some(list) = p_mlm {
        grid.p_mlm.clone_from(list);
        unique("--p-mlm", list)?;
    }
    Ok(grid)
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

/// One line a point: where it was best, where it ended, and what the epochs in between cost.
fn swept_text(swept: &Swept) -> String {
    let header = [
        "point",
        "parameters",
        "epochs",
        "best",
        "train",
        "val",
        "train, end",
        "val, end",
        "lost",
        "",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (i, point) in swept.points.iter().enumerate() {
        let Trained { best, last, n_parameters, n_epochs, stopped_early, .. } = &point.trained;
        let cell = |loss: f64| format!("{loss:.4}");
        rows.push(vec![
            point.name.clone(),
            n_parameters.to_string(),
            format!("{n_epochs}{}", if *stopped_early { "*" } else { "" }),
            best.epoch.to_string(),
            cell(best.train_loss),
            cell(best.val_loss),
            cell(last.train_loss),
            cell(last.val_loss),
            cell(last.val_loss - best.val_loss),
            if i == swept.chosen { "chosen".into() } else { String::new() },
        ]);
    }
    let baseline = swept.points[swept.chosen].trained.unigram_loss;
    format!(
        "{}\nlosses in nats a masked piece; unigram baseline {baseline:.4}; lost: validation loss \
         at the end over the best (over-fitting); *: stopped early\n",
        table::align(&rows, 1)
    )
}
