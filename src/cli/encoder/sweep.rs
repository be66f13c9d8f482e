//! `voxelcast encoder sweep`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{HyperArgs, flag, named, read, shared};
use crate::cli::settings::usage;
use crate::cli::{Context, Output};
use crate::encoder::{Grid, SweepJob, Swept, Trained, sweep};
use crate::error::Result;
use crate::nn::{Device, TrainSettings};
use crate::report::table;
use crate::results::names::SWEEP;

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

pub fn sweep_command(args: &SweepArgs, context: &Context, device: &Device) -> Result<Output> {
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
