//! How sure the results are: differences between spaces, spread over splits, learning curves.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::heat::{Heat, draw as draw_heat};
use super::rows::{Point, Row, draw as draw_rows};
use super::scale::{Scale, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::data::{Comparison, LAGGED, folder};

/// Rows of a drawing at most.
const MOST_ROWS: usize = 24;

/// Differences between a subject's best model and every other, with their intervals.
pub fn comparisons(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let draw = |subject: &&str| {
        let best = results.best(subject)?;
        let best_folder = folder(&best.space, best.lagged);
        let mut found: Vec<Comparison> = results
            .comparisons
            .iter()
            .filter(|c| c.subject == **subject)
            .filter_map(|c| turned(c, &best_folder))
            .collect();
        found.sort_by(|a, b| a.diff_mean.total_cmp(&b.diff_mean));
        found.truncate(MOST_ROWS);
        let scale =
            Scale::over(found.iter().flat_map(|c| [c.ci_low, c.ci_high, c.diff_mean]).chain([0.0]));
        let rows: Vec<Row> = found
            .iter()
            .map(|c| {
                let tip = format!(
                    "{} − {}: {} ({} to {})",
                    c.space_a,
                    c.space_b,
                    short(c.diff_mean),
                    short(c.ci_low),
                    short(c.ci_high)
                );
                let space = c.space_b.strip_suffix(LAGGED).unwrap_or(&c.space_b);
                Row {
                    name: format!("− {}", c.space_b),
                    class: drawn.class(space),
                    panels: vec![vec![Point { value: c.diff_mean, kind: 'f', tip }]],
                    interval: Some((c.ci_low, c.ci_high)),
                    ..Row::default()
                }
            })
            .collect();
        if rows.is_empty() {
            return None;
        }
        let mut svg = Svg::default();
        let panels = [(scale, "difference of mean r")];
        let size = draw_rows(&mut svg, &rows, &panels, &[], false, WIDTH);
        let label = format!("{subject}: {best_folder} minus the others");
        let note = format!("n = {} test stories", results.run.stories_of(subject).1.len());
        Some(Figure::new(&["comparisons", subject], &label, note, size, svg))
    };
    Group::new(
        "comparisons-figure",
        "Is the best space really better?",
        "Difference of mean r with its 95\u{a0}% bootstrap interval over test stories. An interval that \
         reaches 0 (dashed) may be chance.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// The comparison as `best − other`, if `best` is in it.
fn turned(c: &Comparison, best: &str) -> Option<Comparison> {
    if c.space_a == best {
        return Some(c.clone());
    }
    (c.space_b == best).then(|| Comparison {
        space_a: c.space_b.clone(),
        space_b: c.space_a.clone(),
        diff_mean: -c.diff_mean,
        ci_low: -c.ci_high,
        ci_high: -c.ci_low,
        ..c.clone()
    })
}

/// Mean r of every split, by space.
pub fn stability(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let all = results.stability.iter().filter(|s| s.lagged == lagged);
    let own = results.summary.iter().filter(|row| row.lagged == lagged);
    let scale = Scale::over(all.map(|s| s.mean).chain(own.map(|row| row.scores.mean)).chain([0.0]));
    let n_splits = results.stability.iter().map(|s| s.split).max().unwrap_or(0);
    let draw = |subject: &&str| {
        let rows: Vec<Row> = results
            .ranked(subject, lagged)
            .into_iter()
            .take(MOST_ROWS)
            .filter_map(|row| {
                let mut points: Vec<Point> = results
                    .stability
                    .iter()
                    .filter(|s| {
                        s.subject == row.subject && s.space == row.space && s.lagged == lagged
                    })
                    .map(|s| Point {
                        value: s.mean,
                        kind: 'o',
                        tip: format!("{}, split {}: {}", row.space, s.split, short(s.mean)),
                    })
                    .collect();
                if points.is_empty() {
                    return None;
                }
                points.push(Point {
                    value: row.scores.mean,
                    kind: 'd',
                    tip: format!("{}, the study's split: {}", row.space, short(row.scores.mean)),
                });
                Some(Row {
                    name: row.space.clone(),
                    class: drawn.class(&row.space),
                    panels: vec![points],
                    ..Row::default()
                })
            })
            .collect();
        if rows.is_empty() {
            return None;
        }
        let entries: [Entry; 2] = [
            ("c0".into(), Mark::Dot, "a random split".into()),
            ("c0".into(), Mark::Diamond, "the study's split".into()),
        ];
        let mut svg = Svg::default();
        let size = draw_rows(&mut svg, &rows, &[(scale, "mean r")], &entries, false, WIDTH);
        let note = format!("n = {n_splits} random splits");
        Some(Figure::new(&["stability", subject], subject, note, size, svg))
    };
    Group::new(
        "stability-figure",
        "Would another split say the same?",
        "Stories dealt anew to training and test, everything else equal.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// Mean r of each story over the splits in which it was tested.
pub fn stability_stories(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let draw = |subject: &&str| {
        let best = results.best(subject)?;
        let mut stories: Vec<(String, Vec<Point>)> = Vec::new();
        for s in results.stability_stories.iter().filter(|s| {
            s.subject == best.subject && s.space == best.space && s.lagged == best.lagged
        }) {
            let name = s.story.as_deref().unwrap_or_default();
            let tip = format!("{name}, split {}: {}", s.split, short(s.mean));
            let point = Point { value: s.mean, kind: 'o', tip };
            match stories.iter_mut().find(|(story, _)| *story == name) {
                Some((_, points)) => points.push(point),
                None => stories.push((name.to_owned(), vec![point])),
            }
        }
        let middle = |points: &[Point]| {
            let mut v: Vec<f64> = points.iter().map(|p| p.value).filter(|v| !v.is_nan()).collect();
            v.sort_unstable_by(f64::total_cmp);
            crate::stats::quantile(&v, 0.5)
        };
        stories.sort_by(|a, b| middle(&b.1).total_cmp(&middle(&a.1)));
        let n = stories.len();
        if n > MOST_ROWS {
            stories.drain(MOST_ROWS / 2..n - MOST_ROWS / 2);
        }
        if stories.is_empty() {
            return None;
        }
        let values = stories.iter().flat_map(|(_, points)| points.iter().map(|p| p.value));
        let scale = Scale::over(values.chain([0.0]));
        let rows: Vec<Row> = stories
            .into_iter()
            .map(|(name, points)| Row {
                name,
                class: "c1".into(),
                panels: vec![points],
                ..Row::default()
            })
            .collect();
        let mut svg = Svg::default();
        let size = draw_rows(&mut svg, &rows, &[(scale, "mean r in the story")], &[], false, WIDTH);
        let label = format!("{subject}, {}", results.model_label(&best.space, best.lagged));
        let note = match n > MOST_ROWS {
            true => format!("the {} best and worst of {n} stories", MOST_ROWS / 2),
            false => format!("n = {n} stories"),
        };
        Some(Figure::new(&["stability-stories", subject], &label, note, size, svg))
    };
    Group::new(
        "stability-stories",
        "Best and worst stories over all splits",
        "A dot for each random split in which the story was tested; sorted by their middle.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// Test score against the number of training stories.
pub fn learning(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        let lines: Vec<(String, Vec<(f64, f64)>)> = results
            .ranked(subject, lagged)
            .into_iter()
            .filter(|row| drawn.is_coloured(&row.space))
            .map(|row| {
                let of = results.learning.iter().filter(|l| {
                    l.subject == row.subject && l.space == row.space && l.lagged == lagged
                });
                (row.space.clone(), of.map(|l| (l.n_stories as f64, l.mean)).collect())
            })
            .filter(|(_, points): &(String, Vec<_>)| !points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        let (_, most) = super::scale::extent(all().map(|p| p.0))?;
        let mut svg = Svg::default();
        let entries: Vec<Entry> = lines
            .iter()
            .map(|(space, _)| (drawn.class(space), Mark::Line(drawn.pattern(space)), space.clone()))
            .collect();
        let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
        let height = 320.0 + top;
        let scales =
            (Scale::linear(0.0, most * 1.04), Scale::over(all().map(|p| p.1).chain([0.0])));
        let labels = Labels { x: "training stories", y: "mean test r" };
        let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, height));
        frame.mark_y(&mut svg, 0.0);
        for (space, points) in &lines {
            svg.group(&drawn.class(space), |svg| {
                let class = Mark::line_class(drawn.pattern(space));
                svg.polyline(class, points.iter().map(|p| frame.at(p.0, p.1)));
                for p in points {
                    let tip = format!("{space}, {} stories: {}", p.0, short(p.1));
                    svg.dot("f", frame.at(p.0, p.1), 3.5, &tip);
                }
            });
        }
        let note = format!("n = {} test stories", results.run.stories_of(subject).1.len());
        Some(Figure::new(&["learning", subject], subject, note, (WIDTH, height), svg))
    };
    Group::new(
        "learning",
        "Would more stories help?",
        &format!(
            "The same test stories, models trained on the first stories of the training list.{}",
            drawn.others(results.run.spaces.len())
        ),
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// Overlap of the best voxels between spaces.
pub fn overlap(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        const MOST: usize = 12;
        let spaces: Vec<String> = results
            .ranked(subject, lagged)
            .into_iter()
            .take(MOST)
            .map(|r| r.space.clone())
            .collect();
        let of = |a: &String, b: &String| {
            let (a, b) = (folder(a, lagged), folder(b, lagged));
            results
                .overlap
                .iter()
                .find(|o| {
                    o.subject == **subject
                        && o.kind == "spaces"
                        && ((o.a == a && o.b == b) || (o.a == b && o.b == a))
                })
                .map_or(f64::NAN, |o| o.jaccard)
        };
        let values: Vec<Vec<f64>> =
            spaces.iter().map(|a| spaces.iter().map(|b| of(a, b)).collect()).collect();
        if values.iter().flatten().all(|v| v.is_nan()) {
            return None;
        }
        let heat = Heat {
            rows: &spaces,
            columns: &spaces,
            values: &values,
            shades: None,
            format: |v| format!("{v:.2}"),
            beside: &[],
            is_axis: false,
            label: "",
        };
        let mut svg = Svg::default();
        let size = draw_heat(&mut svg, &heat, WIDTH);
        let note = "Jaccard index of the best 5\u{a0}% of voxels".to_owned();
        Some(Figure::new(&["overlap", subject], subject, note, size, svg))
    };
    Group::new(
        "overlap",
        "Do spaces predict the same voxels?",
        "1: the same voxels are best in both spaces; two random sets of 5\u{a0}% share 0.03.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// Overlap of a model's best voxels between random splits.
pub fn overlap_of_splits(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        let mut n_pairs = 0;
        let row = |space: &str| {
            let model = folder(space, lagged);
            let of_model = results
                .overlap
                .iter()
                .filter(|o| o.subject == **subject && o.kind == "splits" && o.model == model);
            let points: Vec<Point> = of_model
                .map(|o| Point {
                    value: o.jaccard,
                    kind: 'o',
                    tip: format!("{space}, splits {} and {}: {:.2}", o.a, o.b, o.jaccard),
                })
                .collect();
            n_pairs = n_pairs.max(points.len());
            (!points.is_empty()).then(|| Row {
                name: space.to_owned(),
                class: drawn.class(space),
                panels: vec![points],
                ..Row::default()
            })
        };
        let ranked = results.ranked(subject, lagged);
        let rows: Vec<Row> =
            ranked.iter().take(MOST_ROWS).map(|r| r.space.as_str()).filter_map(row).collect();
        if rows.is_empty() {
            return None;
        }
        let mut svg = Svg::default();
        let panels = [(Scale::linear(0.0, 1.0), "Jaccard index of the best 5\u{a0}% of voxels")];
        let size = draw_rows(&mut svg, &rows, &panels, &[], false, WIDTH);
        let note = format!("n = {n_pairs} pairs of splits");
        Some(Figure::new(&["overlap-splits", subject], subject, note, size, svg))
    };
    Group::new(
        "overlap-splits",
        "Are the same voxels best in every split?",
        "A dot for each pair of random splits. 1: the same voxels; two random sets of 5\u{a0}% share \
         0.03.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}
