//! What each space predicts by itself, and what of it low-level features do not know.

use super::axes::{Entry, Mark};
use super::rows::{Point, Row, draw};
use super::scale::{Scale, count};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::data::BeyondScores;

/// One row a space, the largest part first: a ring for the space by itself, a dot for its part beyond
/// the base; smaller ones without the edges of the test stories.
pub fn beyond(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let base = &results.beyond.first()?.base;
    let values = |s: &BeyondScores| {
        let inner = [s.inner_mean_signed_r2, s.inner_mean_beyond_signed_r2];
        [s.mean_signed_r2, s.mean_beyond_signed_r2].into_iter().chain(inner.into_iter().flatten())
    };
    let scale = Scale::over(results.beyond.iter().flat_map(values).chain([0.0]));
    let has_inner = results.beyond.iter().any(|s| s.inner_mean_beyond_signed_r2.is_some());
    let mut entries: Vec<Entry> = vec![
        ("c0".into(), Mark::Ring, "by itself".into()),
        ("c0".into(), Mark::Dot, format!("beyond {base}")),
    ];
    if has_inner {
        entries.push(("c0".into(), Mark::Light, "without story edges".into()));
    }
    let figure = |subject: &&str| {
        let mut own: Vec<&BeyondScores> =
            results.beyond.iter().filter(|s| s.subject == **subject).collect();
        own.sort_by(|a, b| b.mean_beyond_signed_r2.total_cmp(&a.mean_beyond_signed_r2));
        let rows: Vec<Row> = own.iter().map(|scores| row(drawn, scores)).collect();
        let n = own.first()?.n_voxels_used;
        let mut svg = Svg::default();
        let panels = [(scale, "mean of r·|r| over voxels")];
        let size = draw(&mut svg, &rows, &panels, &entries, true, WIDTH);
        let note = format!("n = {} voxels", count(n));
        Some(Figure::new(&["beyond", subject], subject, note, size, svg))
    };
    let more = match has_inner {
        true => "; small marks: the same without the TRs near the edges of the test stories",
        false => "",
    };
    Group::new(
        "beyond-figure",
        &format!("What each space adds to {base}"),
        &format!(
            "Ring: variance that the space predicts by itself; dot: what it adds when {base} is \
             known already{more}."
        ),
        results.subjects().iter().filter_map(figure).collect(),
    )
}

fn row(drawn: &Drawn<'_>, scores: &BeyondScores) -> Row {
    let BeyondScores { space, base, .. } = scores;
    let pair = |[own, beyond]: [f64; 2], [ring, dot]: [char; 2], where_: &str| {
        vec![
            Point { value: own, kind: ring, tip: format!("{space}{where_}: {own:.4}") },
            Point {
                value: beyond,
                kind: dot,
                tip: format!("{space} beyond {base}{where_}: {beyond:.4}"),
            },
        ]
    };
    let inner = scores.inner_mean_signed_r2.zip(scores.inner_mean_beyond_signed_r2);
    let inner = inner.map(|(own, beyond)| pair([own, beyond], ['i', 'o'], ", without story edges"));
    Row {
        name: space.clone(),
        class: drawn.class(space),
        panels: vec![pair([scores.mean_signed_r2, scores.mean_beyond_signed_r2], ['h', 'f'], "")],
        lighter: inner.unwrap_or_default(),
        interval: None,
    }
}
