//! Every space's mean and top voxels, with delays and without.

use super::axes::{Entry, Mark};
use super::rows::{Point, Row, draw};
use super::scale::{Scale, count, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::ScoreRow;
use crate::report::data::folder;
use crate::scoring::Summary;

/// A column of summary.csv.
type Field = fn(&Summary) -> f64;

const PANELS: [(Field, &str); 2] =
    [(|s| s.mean, "mean r"), (|s| s.top1_mean, "mean r of the top 1\u{a0}%")];

/// One row a space, best first; a ring without delays, a dot with them.
pub fn overview(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let has_both = results.has_lagged() && results.summary.iter().any(|row| !row.lagged);
    let over = |field: Field| {
        let values = results.summary.iter().map(move |row| field(&row.scores));
        Scale::over(values.chain([0.0]))
    };
    let panels = PANELS.map(|(field, label)| (over(field), label));
    let figures = results
        .subjects()
        .iter()
        .map(|subject| {
            let rows = rows(drawn, subject, has_both);
            let mut svg = Svg::default();
            let entries = entries(has_both, results.has_lagged());
            let size = draw(&mut svg, &rows, &panels, &entries, true, WIDTH);
            let n = results.best(subject).map_or(0, |row| row.scores.n_voxels_used);
            Figure::new(
                &["performance", subject],
                subject,
                format!("n = {} voxels", count(n)),
                size,
                svg,
            )
        })
        .collect();
    Group::new(
        "performance-figure",
        "Test correlation of every space",
        "Mean over voxels at the left, mean of the best 1\u{a0}% of voxels at the right. Same axes for \
         all subjects; the best space is at the top.",
        figures,
    )
}

fn entries(has_both: bool, has_lagged: bool) -> Vec<Entry> {
    let entry = |mark, text: &str| ("c0".to_owned(), mark, text.to_owned());
    match (has_both, has_lagged) {
        (true, _) => {
            vec![entry(Mark::Dot, "lagged (all delays)"), entry(Mark::Ring, "plain (delay 0)")]
        }
        (false, true) => vec![entry(Mark::Dot, "lagged (all delays)")],
        (false, false) => vec![entry(Mark::Ring, "plain (delay 0)")],
    }
}

fn rows(drawn: &Drawn<'_>, subject: &str, has_both: bool) -> Vec<Row> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let points = |row: &ScoreRow, field: Field| Point {
        value: field(&row.scores),
        kind: if row.lagged { 'f' } else { 'h' },
        tip: format!("{}: {}", folder(&row.space, row.lagged), short(field(&row.scores))),
    };
    // A space that is never delayed has the plain model alone.
    let has_lagged = |row: &ScoreRow| {
        let of_space = |o: &&ScoreRow| o.subject == row.subject && o.space == row.space;
        results.summary.iter().filter(of_space).any(|o| o.lagged)
    };
    results
        .ranked_all(subject)
        .into_iter()
        .filter(|row| row.lagged == lagged || !has_lagged(row))
        .map(|row| {
            let other = results
                .summary
                .iter()
                .find(|o| {
                    o.subject == row.subject && o.space == row.space && o.lagged != row.lagged
                })
                .filter(|_| has_both);
            Row {
                name: row.space.clone(),
                class: drawn.class(&row.space),
                panels: PANELS
                    .iter()
                    .map(|(field, _)| {
                        other.into_iter().chain([row]).map(|row| points(row, *field)).collect()
                    })
                    .collect(),
                ..Row::default()
            }
        })
        .collect()
}
