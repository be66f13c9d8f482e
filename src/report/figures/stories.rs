//! Test stories: by space, by subject, by length and word rate.

use std::collections::HashMap;

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::heat::{Heat, draw as draw_heat};
use super::scale::{Scale, count, short};
use super::svg::{Anchor, Svg, TEXT, fitted, text_width};
use super::{Drawn, Figure, Group, WIDTH, subject_class};
use crate::report::ScoreRow;

/// Height of a scatter.
const HEIGHT: f64 = 340.0;

fn name(row: &ScoreRow) -> &str {
    row.story.as_deref().unwrap_or_default()
}

/// Mean r of every test story and space.
pub fn by_space(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        let best = results.best(subject)?;
        let stories = results.stories_of(subject, &best.space, best.lagged);
        let spaces = results.ranked(subject, lagged);
        let rows: Vec<String> = stories.iter().map(|row| name(row).to_owned()).collect();
        let columns: Vec<String> = spaces.iter().map(|row| row.space.clone()).collect();
        let means: HashMap<(&str, &str), f64> = results
            .stories
            .iter()
            .filter(|row| row.subject == **subject && row.lagged == lagged)
            .map(|row| ((row.space.as_str(), name(row)), row.scores.mean))
            .collect();
        let values: Vec<Vec<f64>> = rows
            .iter()
            .map(|story| {
                let mean = |s: &&ScoreRow| means.get(&(s.space.as_str(), story.as_str())).copied();
                spaces.iter().map(|space| mean(space).unwrap_or(f64::NAN)).collect()
            })
            .collect();
        let heat = Heat {
            rows: &rows,
            columns: &columns,
            values: &values,
            shades: None,
            format: short,
            beside: &[],
            is_axis: false,
            label: "",
        };
        let mut svg = Svg::default();
        let size = draw_heat(&mut svg, &heat, WIDTH);
        let note =
            format!("{} test stories, {} voxels", rows.len(), count(best.scores.n_voxels_used));
        Some(Figure::new(&["story-space", subject], subject, note, size, svg))
    };
    Group::new(
        "story-space",
        "Mean r by story and space",
        "Stories sorted by the best space, spaces by their mean. Blue is positive, orange negative; \
         the stronger, the further from 0.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// A dot with a name: class, place, tooltip.
struct Spot {
    class: &'static str,
    at: (f64, f64),
    name: String,
}

/// Dots; those at the ends of the vertical axis are named where there is room.
fn scatter(spots: &[Spot], labels: Labels<'_>, entries: &[Entry], is_square: bool) -> (Svg, f64) {
    let mut svg = Svg::default();
    let top = legend(&mut svg, entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
    let height = HEIGHT + top - 8.0;
    let xs = spots.iter().map(|s| s.at.0);
    let ys = spots.iter().map(|s| s.at.1);
    let scales = match is_square {
        true => {
            let both = Scale::over(xs.chain(ys));
            (both, both)
        }
        false => (Scale::over(xs), Scale::over(ys)),
    };
    let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
    if is_square {
        frame.identity(&mut svg);
    }
    frame.mark_y(&mut svg, 0.0);
    for spot in spots {
        let at = frame.at(spot.at.0, spot.at.1);
        svg.group(spot.class, |svg| svg.dot("fo", at, 5.0, &spot.name));
    }
    name_ends(&mut svg, spots, &frame);
    (svg, height)
}

/// Names the highest and lowest dots that no other dot or name is in the way of.
fn name_ends(svg: &mut Svg, spots: &[Spot], frame: &Frame) {
    let mut order: Vec<&Spot> = spots.iter().collect();
    order.sort_by(|a, b| b.at.1.total_cmp(&a.at.1));
    let ends = order.iter().take(2).chain(order.iter().rev().take(2));
    let (left, right) = frame.x.pixels();
    let dots: Vec<(f64, f64)> = spots.iter().map(|s| frame.at(s.at.0, s.at.1)).collect();
    let mut taken: Vec<[f64; 4]> = Vec::new();
    for spot in ends {
        let (x, y) = frame.at(spot.at.0, spot.at.1);
        let text = fitted(spot.name.split(": ").next().unwrap_or_default(), TEXT, 150.0);
        let width = text_width(&text, TEXT);
        let sides =
            [(x + 9.0, x + 9.0 + width, Anchor::Start), (x - 9.0 - width, x - 9.0, Anchor::End)];
        for (from, to, anchor) in sides {
            let is_inside = from >= left && to <= right;
            let hits = |b: &[f64; 4]| from < b[1] && to > b[0] && y - 9.0 < b[3] && y + 9.0 > b[2];
            let is_free = !taken.iter().any(hits)
                && !dots.iter().any(|d| {
                    d.0 + 6.0 > from && d.0 - 6.0 < to && (d.1 - y).abs() < 12.0 && *d != (x, y)
                });
            if is_inside && is_free {
                let at = if anchor == Anchor::Start { from } else { to };
                svg.text("t", (at, y + 4.0), anchor, &text);
                taken.push([from, to, y - 9.0, y + 9.0]);
                break;
            }
        }
    }
}

/// Mean r of each story in one subject against another.
pub fn subjects(drawn: &Drawn<'_>) -> Vec<Figure> {
    let results = drawn.results;
    let subjects = results.subjects();
    let Some((first, others)) = subjects.split_first() else { return vec![] };
    let Some(best) = results.best(first) else { return vec![] };
    let draw = |other: &&str| {
        let of = |subject: &str| results.stories_of(subject, &best.space, best.lagged);
        let theirs = of(other);
        let spots: Vec<Spot> = of(first)
            .into_iter()
            .filter_map(|row| {
                let twin = theirs.iter().find(|t| name(t) == name(row))?;
                let (a, b) = (row.scores.mean, twin.scores.mean);
                let tip = format!("{}: {} and {}", name(row), short(a), short(b));
                (a.is_finite() && b.is_finite()).then_some(Spot {
                    class: "c1",
                    at: (a, b),
                    name: tip,
                })
            })
            .collect();
        let (x, y) = (format!("mean r, {first}"), format!("mean r, {other}"));
        let (x, y) = (fitted(&x, TEXT, 300.0), fitted(&y, TEXT, 240.0));
        (!spots.is_empty()).then(|| {
            let (svg, height) = scatter(&spots, Labels { x: &x, y: &y }, &[], true);
            let label = format!(
                "stories of {first} and {other}, {}",
                results.model_label(&best.space, best.lagged)
            );
            let note = format!("n = {} test stories", spots.len());
            Figure::new(&["subject-subject", first, other], &label, note, (WIDTH, height), svg)
        })
    };
    others.iter().take(3).filter_map(draw).collect()
}

/// Mean r of each story against its length and its word rate.
pub fn by_properties(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    type Property = fn(&crate::report::data::StoryProperties) -> f64;
    let axes: [(&str, Property); 2] =
        [("length in minutes", |p| p.seconds / 60.0), ("words per second", |p| p.words_per_s)];
    let subjects = results.subjects();
    let entries: Vec<Entry> = subjects
        .iter()
        .enumerate()
        .map(|(i, subject)| (subject_class(i).to_owned(), Mark::Dot, (*subject).to_owned()))
        .collect();
    let draw = |(label, property): &(&str, Property)| {
        let mut spots = Vec::new();
        for (i, subject) in subjects.iter().enumerate() {
            let Some(best) = results.best(subject) else { continue };
            for row in results.stories_of(subject, &best.space, best.lagged) {
                let found = results.properties.iter().find(|p| p.story == name(row));
                let Some(x) = found.map(property) else { continue };
                if x.is_finite() && row.scores.mean.is_finite() {
                    let tip = format!("{}: {}, {subject}", name(row), short(row.scores.mean));
                    spots.push(Spot {
                        class: subject_class(i),
                        at: (x, row.scores.mean),
                        name: tip,
                    });
                }
            }
        }
        (!spots.is_empty()).then(|| {
            let labels = Labels { x: label, y: "mean r of the best model" };
            let (svg, height) = scatter(&spots, labels, &entries, false);
            let note = format!("n = {} story and subject pairs", spots.len());
            Figure::new(&["story", label], label, note, (WIDTH, height), svg)
        })
    };
    Group::new(
        "story-properties",
        "Do long or fast stories score better?",
        "Each dot is a test story of a subject, with the subject's best model.",
        axes.iter().filter_map(draw).collect(),
    )
}
