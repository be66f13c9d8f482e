//! Training curves of encoders.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::scale::{Scale, extent};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};

/// Loss against epoch, training and validation.
pub fn training(drawn: &Drawn<'_>) -> Option<Group> {
    let draw = |(name, steps): &(String, Vec<crate::report::data::TrainStep>)| {
        let train: Vec<(f64, f64)> = steps.iter().map(|s| (s.epoch, s.train_loss)).collect();
        let val: Vec<(f64, f64)> = steps.iter().map(|s| (s.epoch, s.val_loss)).collect();
        let (lo, hi) = extent(train.iter().map(|p| p.0))?;
        let entries: [Entry; 2] = [
            ("c1".into(), Mark::Line(0), "training".into()),
            ("c2".into(), Mark::Line(1), "validation".into()),
        ];
        let mut svg = Svg::default();
        let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
        let height = 310.0 + top;
        let losses = train.iter().chain(&val).map(|p| p.1);
        let scales = (Scale::linear(lo, hi), Scale::over(losses));
        let labels = Labels { x: "epoch", y: "masked-word loss, nats" };
        let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
        for (class, pattern, points) in [("c1", 0, &train), ("c2", 1, &val)] {
            svg.group(class, |svg| {
                let line = points.iter().map(|p| frame.at(p.0, p.1));
                svg.polyline(Mark::line_class(pattern), line);
            });
        }
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
