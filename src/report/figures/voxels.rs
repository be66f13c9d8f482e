//! Scores of single voxels: histograms, tails, and one model against another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::scale::{Scale, count, extent, short};
use super::svg::{Anchor, Svg, TEXT, coord, text_width};
use super::{Drawn, Figure, Group, WIDTH, subject_class};
use crate::report::ScoreRow;

/// Height of a histogram.
const HEIGHT: f64 = 330.0;
/// Bins of a histogram: the root of the number of voxels, between these.
const FEWEST_BINS: f64 = 8.0;
const MOST_BINS: f64 = 60.0;

/// One series of scores: class, line pattern, name, values.
pub struct Series<'a> {
    /// Class of its colour.
    pub class: String,
    /// Pattern of its line.
    pub pattern: usize,
    /// In the legend.
    pub name: String,
    /// Scores; NaN is left out.
    pub values: &'a [f32],
}

/// Histograms of several series over each other, drawn as outlines.
pub fn histogram(series: &[Series<'_>]) -> Svg {
    let all = series.iter().flat_map(|s| s.values.iter().map(|&v| f64::from(v)));
    let (lo, hi) = extent(all).unwrap_or((0.0, 1.0));
    let (lo, hi) = if hi > lo { (lo, hi) } else { (lo - 0.05, hi + 0.05) };
    let longest = series.iter().map(|s| s.values.len()).max().unwrap_or(0);
    let n_bins = (longest as f64).sqrt().clamp(FEWEST_BINS, MOST_BINS) as usize;
    let bins: Vec<Vec<usize>> = series.iter().map(|s| bin(s.values, lo, hi, n_bins)).collect();
    let most = bins.iter().flatten().copied().max().unwrap_or(1).max(1);
    let mut svg = Svg::default();
    let entries: Vec<Entry> =
        series.iter().map(|s| (s.class.clone(), Mark::Line(s.pattern), s.name.clone())).collect();
    let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
    let scales = (Scale::linear(lo, hi), Scale::linear(0.0, most as f64 * 1.05));
    let labels = Labels { x: "test correlation r", y: "voxels per bin" };
    let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, HEIGHT + top - 8.0));
    frame.mark_x(&mut svg, 0.0);
    let edge = |i: usize| lo + (hi - lo) * i as f64 / n_bins as f64;
    for (s, counts) in series.iter().zip(&bins) {
        let steps = counts
            .iter()
            .enumerate()
            .flat_map(|(i, &n)| [(edge(i), n as f64), (edge(i + 1), n as f64)]);
        let points: Vec<(f64, f64)> = [(lo, 0.0)]
            .into_iter()
            .chain(steps)
            .chain([(hi, 0.0)])
            .map(|(x, y)| frame.at(x, y))
            .collect();
        svg.group(&s.class, |svg| {
            if series.len() <= 3 {
                let mut area = String::new();
                for (i, (x, y)) in points.iter().enumerate() {
                    let _ = write!(
                        area,
                        "{}{} {}",
                        if i == 0 { 'M' } else { 'L' },
                        coord(*x),
                        coord(*y)
                    );
                }
                svg.path("f", &(area + "z"), 0.12);
            }
            svg.polyline(Mark::line_class(s.pattern), points);
        });
    }
    svg
}

fn bin(values: &[f32], lo: f64, hi: f64, n_bins: usize) -> Vec<usize> {
    let mut counts = vec![0; n_bins];
    for value in values.iter().map(|&v| f64::from(v)).filter(|v| v.is_finite()) {
        let at = ((value - lo) / (hi - lo) * n_bins as f64) as usize;
        counts[at.min(n_bins - 1)] += 1;
    }
    counts
}

/// Voxels above each score, on a logarithmic axis: what happens in the best voxels.
fn tail(series: &[Series<'_>]) -> Svg {
    let sorted: Vec<Vec<f64>> = series
        .iter()
        .map(|s| {
            let mut v: Vec<f64> =
                s.values.iter().map(|&v| f64::from(v)).filter(|v| v.is_finite()).collect();
            v.sort_unstable_by(f64::total_cmp);
            v
        })
        .collect();
    let hi = sorted.iter().filter_map(|v| v.last().copied()).fold(0.0, f64::max);
    let hi = if hi > 0.0 { hi * 1.03 } else { 1.0 };
    let most = sorted.iter().map(Vec::len).max().unwrap_or(1).max(2);
    let mut svg = Svg::default();
    let entries: Vec<Entry> =
        series.iter().map(|s| (s.class.clone(), Mark::Line(s.pattern), s.name.clone())).collect();
    let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
    let scales = (Scale::linear(0.0, hi), Scale::log(1.0, most as f64 * 1.3));
    let labels = Labels { x: "test correlation r", y: "voxels with a higher r" };
    let frame = Frame::draw(&mut svg, scales, labels, top, (WIDTH, HEIGHT + top - 8.0));
    for (s, values) in series.iter().zip(&sorted) {
        const N: usize = 160;
        let points = (0..=N).filter_map(|i| {
            let at = hi * i as f64 / N as f64;
            let above = values.len() - values.partition_point(|&v| v <= at);
            (above > 0).then(|| frame.at(at, above as f64))
        });
        svg.group(&s.class, |svg| svg.polyline(Mark::line_class(s.pattern), points));
    }
    svg
}

/// Series of the spaces with a colour, for one subject.
fn space_series<'a>(drawn: &'a Drawn<'_>, subject: &str) -> Vec<Series<'a>> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    results
        .ranked(subject, lagged)
        .into_iter()
        .filter(|row| drawn.is_coloured(&row.space))
        .filter_map(|row| {
            let voxels = results.voxels_of(subject, &row.space, lagged)?;
            Some(Series {
                class: drawn.class(&row.space),
                pattern: drawn.pattern(&row.space),
                name: format!("{} (mean {})", row.space, short(row.scores.mean)),
                values: &voxels.r,
            })
        })
        .collect()
}

fn used(row: Option<&ScoreRow>) -> String {
    format!("n = {} voxels", count(row.map_or(0, |row| row.scores.n_voxels_used)))
}

fn size(svg_entries: &[Series<'_>]) -> (f64, f64) {
    let mut scratch = Svg::default();
    let entries: Vec<Entry> = svg_entries
        .iter()
        .map(|s| (s.class.clone(), Mark::Line(s.pattern), s.name.clone()))
        .collect();
    (WIDTH, HEIGHT + legend(&mut scratch, &entries, (8.0, 0.0), WIDTH - 8.0))
}

/// Histograms of all spaces, one drawing a subject.
pub fn spaces(drawn: &Drawn<'_>) -> Option<Group> {
    let n_spaces = drawn.results.run.spaces.len();
    let draw = |subject: &&str| {
        let series = space_series(drawn, subject);
        (!series.is_empty()).then(|| {
            let note = used(drawn.results.best(subject));
            Figure::new(
                &["histogram-spaces", subject],
                subject,
                note,
                size(&series),
                histogram(&series),
            )
        })
    };
    Group::new(
        "histogram-spaces",
        "Distribution of r over voxels, by space",
        &format!(
            "Voxels without any response pile up around 0 (dashed).{}",
            drawn.others(n_spaces)
        ),
        drawn.results.subjects().iter().filter_map(draw).collect(),
    )
}

/// The right tail of the same distributions.
pub fn tails(drawn: &Drawn<'_>) -> Option<Group> {
    let draw = |subject: &&str| {
        let series = space_series(drawn, subject);
        (!series.is_empty()).then(|| {
            let note = used(drawn.results.best(subject));
            Figure::new(&["tail-spaces", subject], subject, note, size(&series), tail(&series))
        })
    };
    Group::new(
        "tail-spaces",
        "How many voxels reach a given r",
        "The same voxels, counted from the best down on a logarithmic axis: spaces that look alike \
         in the mean may differ here.",
        drawn.results.subjects().iter().filter_map(draw).collect(),
    )
}

/// The best model of each subject, over each other.
pub fn subjects(drawn: &Drawn<'_>) -> Option<Figure> {
    let results = drawn.results;
    let rows: Vec<&ScoreRow> =
        results.subjects().iter().filter_map(|subject| results.best(subject)).collect();
    if rows.len() < 2 {
        return None;
    }
    let series: Vec<Series<'_>> = rows
        .iter()
        .take(super::N_COLOURS)
        .enumerate()
        .filter_map(|(i, row)| {
            let voxels = results.voxels_of(&row.subject, &row.space, row.lagged)?;
            let label = results.model_label(&row.space, row.lagged);
            Some(Series {
                class: subject_class(i).to_owned(),
                pattern: i,
                name: format!("{}, {label} (mean {})", row.subject, short(row.scores.mean)),
                values: &voxels.r,
            })
        })
        .collect();
    let counts: Vec<String> = rows.iter().map(|row| count(row.scores.n_voxels_used)).collect();
    let note = format!("n = {} voxels", counts.join(" and "));
    Some(Figure::new(&["histogram-subjects"], "voxels", note, size(&series), histogram(&series)))
}

/// Best against worst test story of each subject.
pub fn best_and_worst(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let mean = |subject: &str, story: &str| {
        let best = results.best(subject)?;
        let rows = results.stories_of(subject, &best.space, best.lagged);
        rows.into_iter().find(|row| row.story.as_deref() == Some(story)).map(|row| row.scores.mean)
    };
    let draw = |e: &crate::report::data::Extremes| {
        let name = |what: &str, story: &str| {
            format!("{what}: {story} (mean {})", short(mean(&e.subject, story).unwrap_or(f64::NAN)))
        };
        let series = [
            Series {
                class: "c3".into(),
                pattern: 0,
                name: name("best", &e.best.0),
                values: &e.best.1,
            },
            Series {
                class: "c2".into(),
                pattern: 1,
                name: name("worst", &e.worst.0),
                values: &e.worst.1,
            },
        ];
        Figure::new(
            &["best-worst-story", &e.subject],
            &format!("{}, {}", e.subject, e.model),
            used(results.best(&e.subject)),
            size(&series),
            histogram(&series),
        )
    };
    Group::new(
        "best-worst-story",
        "Best against worst test story",
        "r of each voxel within one story, with the subject's best model. Short stories give wider \
         distributions by chance alone.",
        results.extremes.iter().map(draw).collect(),
    )
}

/// The best model against others, voxel by voxel.
pub fn pairs(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let mut figures = Vec::new();
    for subject in results.subjects() {
        let ranked: Vec<&ScoreRow> = results
            .ranked(subject, lagged)
            .into_iter()
            .filter(|row| row.scores.n_voxels_used > 0)
            .collect();
        let Some((best, others)) = ranked.split_first() else { continue };
        // The runner-up, and the last of the list: mostly a low-level control.
        let chosen = match others {
            [] => vec![],
            [only] => vec![*only],
            [second, .., last] => vec![*second, *last],
        };
        for other in chosen {
            let of = |row: &ScoreRow| results.voxels_of(subject, &row.space, lagged);
            let (Some(a), Some(b)) = (of(other), of(best)) else { continue };
            figures.push(Figure::new(
                &["pair", subject, &best.space, &other.space],
                &format!("{subject}: {} against {}", best.space, other.space),
                used(Some(best)),
                (WIDTH, 400.0),
                hexbin(&a.r, &b.r, &other.space, &best.space),
            ));
        }
    }
    Group::new(
        "pairs",
        "The best space against the runner-up and the last, voxel by voxel",
        "The stronger the colour, the more voxels. Above the dashed line the best space predicts better.",
        figures,
    )
}

/// Density of pairs of scores on hexagons.
fn hexbin(x: &[f32], y: &[f32], x_name: &str, y_name: &str) -> Svg {
    let pairs: Vec<(f64, f64)> = x
        .iter()
        .zip(y)
        .map(|(&a, &b)| (f64::from(a), f64::from(b)))
        .filter(|(a, b)| a.is_finite() && b.is_finite())
        .collect();
    let scale = Scale::over(pairs.iter().flat_map(|&(a, b)| [a, b]));
    let mut svg = Svg::default();
    let most_text = WIDTH * 0.55;
    let x_label = super::svg::fitted(&format!("r of {x_name}"), TEXT, most_text);
    let y_label = super::svg::fitted(&format!("r of {y_name}"), TEXT, 230.0);
    let labels = Labels { x: &x_label, y: &y_label };
    let frame = Frame::draw(&mut svg, (scale, scale), labels, 26.0, (WIDTH, 400.0));
    let radius = 6.5f64;
    let (dx, dy) = (radius * 3f64.sqrt(), radius * 1.5);
    let mut counts = BTreeMap::<(i64, i64), usize>::new();
    for &(a, b) in &pairs {
        let (px, py) = frame.at(a, b);
        *counts.entry(hexagon(px, py, dx, dy)).or_default() += 1;
    }
    let most = counts.values().copied().max().unwrap_or(1);
    const LEVELS: usize = 7;
    let level = |n: usize| {
        let share = if most > 1 { (n as f64).ln() / (most as f64).ln() } else { 1.0 };
        ((share * (LEVELS - 1) as f64).round() as usize).min(LEVELS - 1)
    };
    let mut paths = vec![String::new(); LEVELS];
    let (half, r) = (coord(dx / 2.0), coord(radius));
    let quarter = coord(radius / 2.0);
    for (&(column, row), &n) in &counts {
        let shift = if row.rem_euclid(2) == 1 { 0.5 } else { 0.0 };
        let (cx, cy) = ((column as f64 + shift) * dx, row as f64 * dy);
        let _ = write!(
            paths[level(n)],
            "M{} {}l{half} {quarter}v{r}l-{half} {quarter}l-{half}-{quarter}v-{r}z",
            coord(cx),
            coord(cy - radius)
        );
    }
    let opacity = |i: usize| 0.28 + 0.72 * i as f64 / (LEVELS - 1) as f64;
    svg.group("c1", |svg| {
        for (i, path) in paths.iter().enumerate() {
            svg.path("f", path, opacity(i));
        }
    });
    frame.identity(&mut svg);
    frame.mark_x(&mut svg, 0.0);
    frame.mark_y(&mut svg, 0.0);
    ramp(&mut svg, &format!("1 to {} voxels", count(most)), LEVELS, opacity);
    svg
}

/// Row and column of the hexagon that holds a point: the nearer of two candidates.
fn hexagon(x: f64, y: f64, dx: f64, dy: f64) -> (i64, i64) {
    let candidate = |row: f64| {
        let shift = if (row as i64).rem_euclid(2) == 1 { 0.5 } else { 0.0 };
        let column = (x / dx - shift).round();
        let (cx, cy) = ((column + shift) * dx, row * dy);
        ((x - cx).powi(2) + (y - cy).powi(2), (column as i64, row as i64))
    };
    let (a, b) = (candidate((y / dy).floor()), candidate((y / dy).ceil()));
    if a.0 <= b.0 { a.1 } else { b.1 }
}

/// A legend of shades at the top left.
pub fn ramp(svg: &mut Svg, text: &str, n: usize, opacity: impl Fn(usize) -> f64) {
    let x = WIDTH - 16.0 - 14.0 * n as f64 - text_width(text, TEXT) - 8.0;
    svg.group("c1", |svg| {
        for i in 0..n {
            svg.rect("f", (x + 14.0 * i as f64, 3.0), (14.0, 11.0), opacity(i), "");
        }
    });
    svg.text("t", (x + 14.0 * n as f64 + 8.0, 13.0), Anchor::Start, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_score_is_in_one_bin() {
        let values = [0.0, 0.5, 1.0, 1.0, f32::NAN, 0.999];
        let counts = bin(&values, 0.0, 1.0, 60);
        assert_eq!(counts.iter().sum::<usize>(), 5);
        assert_eq!((counts[0], counts[30], counts[59]), (1, 1, 3));
    }

    #[test]
    fn a_point_is_in_the_nearest_hexagon() {
        let radius = 6.0;
        let (dx, dy) = (radius * 3f64.sqrt(), radius * 1.5);
        for i in 0..400 {
            let (x, y) = (f64::from(i % 20) * 2.3, f64::from(i / 20) * 1.9);
            let centre = |column: i64, row: i64| {
                let shift = if row.rem_euclid(2) == 1 { 0.5 } else { 0.0 };
                ((column as f64 + shift) * dx, row as f64 * dy)
            };
            let off = |(cx, cy): (f64, f64)| (x - cx).powi(2) + (y - cy).powi(2);
            let (column, row) = hexagon(x, y, dx, dy);
            let nearest = (-2..8)
                .flat_map(|c| (-2..10).map(move |r| (c, r)))
                .map(|(c, r)| off(centre(c, r)))
                .fold(f64::MAX, f64::min);
            assert!(off(centre(column, row)) <= nearest + 1e-9, "{x} {y}");
        }
    }
}
