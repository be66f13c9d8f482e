//! Scores of a language model over its layers and over how much of the past it reads.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::scale::{Scale, extent, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, N_COLOURS, WIDTH};
use crate::report::rows::PreferredScores;

/// What stands on the horizontal axis, and what tells the lines apart.
#[derive(Clone, Copy)]
struct Over {
    id: &'static str,
    label: &'static str,
    at: fn(&PreferredScores) -> Option<usize>,
    others: fn(&PreferredScores) -> Option<usize>,
    other_name: &'static str,
}

const OVERS: [Over; 2] = [
    Over {
        id: "layers",
        label: "layer (0: embeddings)",
        at: |row| row.layer,
        others: |row| row.past,
        other_name: "past",
    },
    Over {
        id: "pasts",
        label: "pieces before a word, at least",
        at: |row| row.past,
        others: |row| row.layer,
        other_name: "layer",
    },
];

/// Per subject and list: mean r, and inner r, over layers and over pasts.
pub fn curves(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let mut figures = Vec::new();
    for subject in results.subjects() {
        let own: Vec<&PreferredScores> =
            results.preferred.iter().filter(|row| row.subject == subject).collect();
        let mut lists: Vec<(&str, bool)> = Vec::new();
        for row in &own {
            if !lists.contains(&(&row.space, row.lagged)) {
                lists.push((&row.space, row.lagged));
            }
        }
        for (space, lagged) in lists {
            let rows = own.iter().filter(|row| row.space == space && row.lagged == lagged);
            let rows: Vec<&PreferredScores> = rows.copied().collect();
            let plain = if lagged { "" } else { ", without delays" };
            figures.extend(OVERS.iter().filter_map(|over| {
                let (size, svg) = draw(&rows, *over)?;
                let label = format!("{subject}: {space}{plain}");
                let note = format!("n = {} voxels", rows[0].n_voxels);
                Some(Figure::new(&[over.id, subject, &label], &label, note, size, svg))
            }));
        }
    }
    Group::new(
        "layers",
        "Which layer, and how much of the past?",
        "Mean test r over voxels; dashed: without the edges of the test stories, where there are \
         such scores. A curve that rises in full and not inside tells where in a story a TR lies \
         rather than what was said. preferred.csv says how many voxels prefer which, by their CV \
         scores.",
        figures,
    )
}

/// A line for each of the other dimension's values; none where there is one point.
fn draw(rows: &[&PreferredScores], over: Over) -> Option<((f64, f64), Svg)> {
    let points = || rows.iter().filter_map(|row| Some((*row, (over.at)(row)? as f64)));
    let (first, last) = extent(points().map(|(_, x)| x))?;
    if first == last {
        return None;
    }
    let mut others: Vec<Option<usize>> = points().map(|(row, _)| (over.others)(row)).collect();
    others.sort_unstable();
    others.dedup();
    let class = |line: usize| format!("c{}", line % N_COLOURS + 1);
    let name = |other: &Option<usize>| match other {
        Some(other) => format!("{} {other}", over.other_name),
        None => "mean r".to_owned(),
    };
    let mut svg = Svg::default();
    let mut entries: Vec<Entry> = Vec::new();
    for (line, other) in others.iter().enumerate() {
        entries.push((class(line), Mark::Line(0), name(other)));
    }
    if rows.iter().any(|row| row.inner_mean_r.is_some()) {
        entries.push(("c0".into(), Mark::Line(1), "without story edges".into()));
    }
    let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
    let height = 300.0 + top;
    let values = rows.iter().flat_map(|row| [Some(row.mean_r), row.inner_mean_r]).flatten();
    let room = 0.03 * (last - first);
    let scales = (Scale::linear(first - room, last + room), Scale::over(values.chain([0.0])));
    let labels = Labels { x: over.label, y: "mean r" };
    let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
    frame.mark_y(&mut svg, 0.0);
    for (line, other) in others.iter().enumerate() {
        let mut own: Vec<(&PreferredScores, f64)> =
            points().filter(|(row, _)| (over.others)(row) == *other).collect();
        own.sort_by(|a, b| a.1.total_cmp(&b.1));
        svg.group(&class(line), |svg| {
            for (pattern, what) in ["", ", without story edges"].into_iter().enumerate() {
                let value = |row: &PreferredScores| match pattern {
                    0 => Some(row.mean_r),
                    _ => row.inner_mean_r,
                };
                let line: Vec<(f64, f64)> = own
                    .iter()
                    .filter_map(|(row, x)| Some((*x, value(row).filter(|y| y.is_finite())?)))
                    .collect();
                svg.polyline(Mark::line_class(pattern), line.iter().map(|p| frame.at(p.0, p.1)));
                for (x, y) in line {
                    let tip = format!("{} {x}, {}{what}: {}", over.label, name(other), short(y));
                    svg.dot("f", frame.at(x, y), 3.0, &tip);
                }
            }
        });
    }
    Some(((WIDTH, height), svg))
}
