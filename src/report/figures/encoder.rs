//! Encoders: training curves, and what a sweep over their sizes found.

use std::collections::BTreeSet;

use super::axes::{BELOW, Entry, Frame, Labels, Mark, legend};
use super::heat::{Heat, draw as draw_heat};
use super::scale::{Scale, extent};
use super::svg::{Anchor, Svg};
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::data::{SweepEpoch, TrainStep};

/// Class and pattern of the training and of the validation curve.
const SERIES: [(&str, usize, &str); 2] = [("c1", 0, "training"), ("c2", 1, "validation")];

/// Most panels of the small multiples in a row or column.
const MOST_PANELS: usize = 8;

fn entries(baseline: Option<f64>) -> Vec<Entry> {
    let curves = SERIES.map(|(class, line, name)| (class.into(), Mark::Line(line), name.into()));
    let mut entries = Vec::from(curves);
    if baseline.is_some() {
        entries.push(("c0".into(), Mark::Line(2), "words by frequency alone".into()));
    }
    entries
}

/// Loss against epoch, training and validation.
pub fn training(drawn: &Drawn<'_>) -> Option<Group> {
    let draw = |(name, steps): &(String, Vec<TrainStep>)| {
        let of = |loss: fn(&TrainStep) -> Option<f64>| -> Vec<(f64, f64)> {
            steps.iter().filter_map(|step| Some((step.epoch, loss(step)?))).collect()
        };
        let curves = [of(|step| step.train_loss), of(|step| step.val_loss)];
        let (lo, hi) = extent(curves.iter().flatten().map(|p| p.0))?;
        let mut svg = Svg::default();
        let top = legend(&mut svg, &entries(None), (8.0, 0.0), WIDTH - 8.0) + 8.0;
        let height = 310.0 + top;
        let losses = curves.iter().flatten().map(|p| p.1);
        let scales = (Scale::linear(lo, hi), Scale::over(losses));
        let labels = Labels { x: "epoch", y: "masked-word loss, nats" };
        let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
        draw_curves(&mut svg, &frame, &curves);
        let note = format!("n = {} logged steps", steps.len());
        Some(Figure::new(&["training", name], name, note, (WIDTH, height), svg))
    };
    Group::new(
        "training",
        "Training of the encoder",
        "Loss over masked words. A validation curve that turns upward has begun to overfit.",
        drawn.results.train_logs.iter().filter_map(draw).collect(),
    )
}

fn draw_curves(svg: &mut Svg, frame: &Frame, curves: &[Vec<(f64, f64)>; 2]) {
    for ((class, pattern, _), points) in SERIES.into_iter().zip(curves) {
        svg.group(class, |svg| {
            let line = points.iter().map(|p| frame.at(p.0, p.1));
            svg.polyline(Mark::line_class(pattern), line);
        });
    }
}

/// Small multiples over heads and layers.
pub fn sweep_curves(drawn: &Drawn<'_>) -> Option<Group> {
    let (rows, baseline) = (&drawn.results.sweep_points, drawn.results.unigram_loss);
    Group::new(
        "sweep-curves",
        "Heads and layers of the encoder",
        "Loss over masked words, lower is better: of each number of heads and layers the point \
         with the lowest validation loss, all on the same axes.",
        curves_by_size(rows, baseline).into_iter().collect(),
    )
}

/// Heat maps of the best validation loss.
pub fn sweep_sizes(drawn: &Drawn<'_>) -> Option<Group> {
    let rows = &drawn.results.sweep_points;
    let figures = std::iter::empty()
        .chain(heat_of(rows, "layers", "heads", |r| (r.layers, r.heads), None))
        .chain(masked_shares(rows).into_iter().filter_map(|p| {
            let size = |r: &SweepEpoch| (r.intermediate, r.hidden);
            heat_of(rows, "intermediate", "hidden", size, Some(p))
        }))
        .collect();
    Group::new(
        "sweep-sizes",
        "Sizes of the encoder",
        "Lowest validation loss of any epoch, over masked words: the darker, the better.",
        figures,
    )
}

/// The points, each with its epochs.
fn points(rows: &[SweepEpoch]) -> Vec<(&str, Vec<&SweepEpoch>)> {
    let mut points: Vec<(&str, Vec<&SweepEpoch>)> = Vec::new();
    for row in rows {
        match points.iter_mut().find(|(name, _)| *name == row.point) {
            Some((_, epochs)) => epochs.push(row),
            None => points.push((&row.point, vec![row])),
        }
    }
    points
}

/// Lowest validation loss of a point.
fn lowest(epochs: &[&SweepEpoch]) -> f64 {
    let losses = epochs.iter().flat_map(|row| [row.best_val_loss, row.val_loss]).flatten();
    losses.filter(|loss| loss.is_finite()).fold(f64::INFINITY, f64::min)
}

/// The best of some points.
fn best_of<'a>(
    rows: &'a [SweepEpoch],
    keep: &dyn Fn(&SweepEpoch) -> bool,
) -> Option<(f64, Vec<&'a SweepEpoch>)> {
    let kept = points(rows).into_iter().filter(|(_, epochs)| keep(epochs[0]));
    let scored = kept.map(|(_, epochs)| (lowest(&epochs), epochs));
    scored.filter(|(loss, _)| loss.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Training and validation curves, a panel for each number of heads and layers.
fn curves_by_size(rows: &[SweepEpoch], baseline: Option<f64>) -> Option<Figure> {
    let heads: BTreeSet<u64> = rows.iter().map(|row| row.heads).collect();
    let layers: BTreeSet<u64> = rows.iter().map(|row| row.layers).collect();
    let losses = rows.iter().flat_map(|row| [row.train_loss, row.val_loss]).flatten();
    let y = Scale::over(losses.chain(baseline));
    let (lo, hi) = extent(rows.iter().map(|row| row.epoch))?;
    let (n_across, n_down) = (heads.len().min(MOST_PANELS), layers.len().min(MOST_PANELS));
    let (left, panel) = (72.0, (((860.0 - 72.0) / n_across as f64).min(250.0), 150.0));
    let width = (left + panel.0 * n_across as f64).max(WIDTH);
    let mut svg = Svg::default();
    let head = legend(&mut svg, &entries(baseline), (8.0, 0.0), width - 8.0) + 24.0;
    let bottom = head + panel.1 * n_down as f64;
    let x = Scale::linear(lo, hi);
    for (r, &layers) in layers.iter().take(n_down).enumerate() {
        let top = head + r as f64 * panel.1;
        let y = y.at(top + panel.1 - 14.0, top + 6.0);
        for (value, text) in y.ticks(3) {
            svg.line("grid", (left, y.pos(value)), (width - 6.0, y.pos(value)));
            svg.text("t", (left - 8.0, y.pos(value) + 4.5), Anchor::End, &text);
        }
        for (c, &heads) in heads.iter().take(n_across).enumerate() {
            let from = left + c as f64 * panel.0;
            let x = x.at(from + 4.0, from + panel.0 - 14.0);
            let frame = Frame { x, y };
            svg.line("axis", (x.pos(lo), y.pixels().0), (x.pos(hi), y.pixels().0));
            if let Some(baseline) = baseline {
                let ends = [frame.at(lo, baseline), frame.at(hi, baseline)];
                svg.group("c0", |svg| svg.polyline(Mark::line_class(2), ends));
            }
            let same = |row: &SweepEpoch| row.heads == heads && row.layers == layers;
            if let Some((_, epochs)) = best_of(rows, &same) {
                let of = |loss: fn(&SweepEpoch) -> Option<f64>| -> Vec<(f64, f64)> {
                    epochs.iter().filter_map(|row| Some((row.epoch, loss(row)?))).collect()
                };
                draw_curves(&mut svg, &frame, &[of(|row| row.train_loss), of(|row| row.val_loss)]);
            }
            let middle = from + panel.0 / 2.0 - 5.0;
            let size = format!("{}, {}", plural(heads, "head"), plural(layers, "layer"));
            svg.text("nm", (middle, top + 2.0), Anchor::Middle, &size);
            if r + 1 == n_down {
                for (value, text) in super::axes::roomy_ticks(&x) {
                    svg.text("t", (x.pos(value), bottom + 6.0), Anchor::Middle, &text);
                }
            }
        }
    }
    svg.text("t", ((left + width) / 2.0, bottom + 28.0), Anchor::Middle, "epoch");
    svg.text_up("t", (14.0, (head + bottom) / 2.0), "masked-word loss, nats");
    let note = format!("n = {}", plural(points(rows).len() as u64, "point"));
    let size = (width, bottom + BELOW - 8.0);
    Some(Figure::new(&["sweep-curves"], "Sweep", note, size, svg))
}

fn plural(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Shares of masked words that were tried.
fn masked_shares(rows: &[SweepEpoch]) -> Vec<f64> {
    let mut shares: Vec<f64> = rows.iter().map(|row| row.p_mlm).collect();
    shares.sort_unstable_by(f64::total_cmp);
    shares.dedup();
    shares
}

/// Best validation loss over two sizes; `None` where only one combination was tried.
fn heat_of(
    rows: &[SweepEpoch],
    down: &str,
    across: &str,
    size: fn(&SweepEpoch) -> (u64, u64),
    share: Option<f64>,
) -> Option<Figure> {
    let of_share = |row: &&SweepEpoch| share.is_none_or(|p| row.p_mlm == p);
    let (mut downs, mut acrosses) = (BTreeSet::new(), BTreeSet::new());
    for row in rows.iter().filter(of_share) {
        downs.insert(size(row).0);
        acrosses.insert(size(row).1);
    }
    if downs.len() * acrosses.len() < 2 {
        return None;
    }
    let cell = |d: u64, a: u64| {
        let same = |row: &SweepEpoch| size(row) == (d, a) && of_share(&row);
        best_of(rows, &same).map_or(f64::NAN, |(loss, _)| loss)
    };
    let values: Vec<Vec<f64>> =
        downs.iter().map(|&d| acrosses.iter().map(|&a| cell(d, a)).collect()).collect();
    let (best, worst) = extent(values.iter().flatten().copied())?;
    let names = |sizes: &BTreeSet<u64>| sizes.iter().map(u64::to_string).collect::<Vec<_>>();
    let rows_of: Vec<String> = names(&downs).iter().map(|n| format!("{down} {n}")).collect();
    let heat = Heat {
        rows: &rows_of,
        columns: &names(&acrosses),
        values: &values,
        // Darker is better.
        shades: Some((worst + 0.1 * (worst - best).max(1e-9), best)),
        format: |loss| format!("{loss:.3}"),
        beside: &[],
        is_axis: true,
        label: across,
    };
    let mut svg = Svg::default();
    let drawn = draw_heat(&mut svg, &heat, WIDTH);
    let masked = share.map_or(String::new(), |p| format!(", {} % masked", (100.0 * p).round()));
    let label = format!("Best validation loss by {down} and {across}{masked}");
    let note = format!("best {best:.3}, worst {worst:.3} nats; darker is better");
    let id = ["sweep", down, across, &masked];
    Some(Figure::new(&id, &label, note, drawn, svg))
}
