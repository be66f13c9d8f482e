//! What each delay of the features predicts alone, and which one is best where.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::scale::{Scale, extent, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::rows::DelayScores;

/// One space's value at each delay.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// Per subject: mean r of every single delay, and the share of voxels whose best delay it is.
pub fn profiles(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let draw = |subject: &&str| {
        let rows: Vec<&DelayScores> =
            results.delays.iter().filter(|row| row.subject == **subject).collect();
        let n_voxels = rows.first()?.n_voxels;
        let note = format!("n = {n_voxels} voxels of each space, the best 5\u{a0}%");
        let lines = |value: &dyn Fn(&DelayScores) -> f64| -> Vec<Line<'_>> {
            let ranked = results.ranked_all(subject);
            let mut spaces: Vec<&str> = Vec::new();
            for row in ranked.iter().filter(|row| drawn.is_coloured(&row.space)) {
                if !spaces.contains(&row.space.as_str()) {
                    spaces.push(&row.space);
                }
            }
            let line = |space| {
                let own = rows.iter().filter(|row| row.space == space);
                (space, own.map(|row| (row.delay as f64, value(row))).collect())
            };
            let has_points = |line: &Line<'_>| !line.1.is_empty();
            spaces.into_iter().map(line).filter(has_points).collect()
        };
        let mean_r = lines(&|row| row.mean_r);
        let shares = lines(&|row| row.n_best as f64 / row.n_voxels as f64);
        let figure = |id, what: &str, y, lines: &[Line<'_>]| {
            let (size, svg) = draw_lines(drawn, lines, y)?;
            let label = format!("{subject}: {what}");
            Some(Figure::new(&[id, subject], &label, note.clone(), size, svg))
        };
        let of_r = figure("delays", "one delay alone", "mean r of the best voxels", &mean_r);
        let of_best = figure("best-delays", "best delay", "share of these voxels", &shares);
        Some([of_r, of_best].into_iter().flatten().collect::<Vec<_>>())
    };
    Group::new(
        "delays",
        "How late is the response?",
        &format!(
            "Test r of models of a single delay each, and the delay at which a voxel's r is largest. \
             The band is the delays of the study's models: where a curve is still high at its right \
             end, longer delays may predict more.{}",
            drawn.others(results.run.spaces.len())
        ),
        results.subjects().iter().filter_map(draw).flatten().collect(),
    )
}

fn draw_lines(drawn: &Drawn<'_>, lines: &[Line<'_>], y: &str) -> Option<((f64, f64), Svg)> {
    let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
    let (first, last) = extent(all().map(|p| p.0))?;
    let mut svg = Svg::default();
    let own = lines.iter().map(|(space, _)| {
        (drawn.class(space), Mark::Line(drawn.pattern(space)), (*space).to_owned())
    });
    let band: Entry = ("c0".into(), Mark::Area, "delays of the models".into());
    let entries: Vec<Entry> = own.chain([band]).collect();
    let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
    let height = 300.0 + top;
    let scales =
        (Scale::linear(first - 0.5, last + 0.5), Scale::over(all().map(|p| p.1).chain([0.0])));
    let labels = Labels { x: "delay of the features, in TRs", y };
    let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
    let (bottom, upper) = frame.y.pixels();
    let delays = drawn.results.run.settings.get("delays").and_then(|delays| delays.as_array());
    let delays = delays.into_iter().flatten().filter_map(serde_json::Value::as_f64);
    if let Some((lo, hi)) = extent(delays) {
        let ends = (lo.max(first) - 0.5, hi.min(last) + 0.5);
        if ends.0 < ends.1 {
            let (a, b) = (frame.x.pos(ends.0), frame.x.pos(ends.1));
            svg.rect("band", (a, upper), (b - a, bottom - upper), 1.0, "delays of the models");
        }
    }
    frame.mark_y(&mut svg, 0.0);
    for (space, points) in lines {
        svg.group(&drawn.class(space), |svg| {
            let class = Mark::line_class(drawn.pattern(space));
            svg.polyline(class, points.iter().map(|p| frame.at(p.0, p.1)));
            for p in points.iter().filter(|p| p.1.is_finite()) {
                let tip = format!("{space}, {} TRs: {}", p.0, short(p.1));
                svg.dot("f", frame.at(p.0, p.1), 3.0, &tip);
            }
        });
    }
    Some(((WIDTH, height), svg))
}
