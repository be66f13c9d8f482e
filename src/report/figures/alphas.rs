//! Which alphas were chosen, and how the CV score depends on alpha.

use super::axes::{Entry, Frame, Labels, Mark, legend};
use super::heat::{Heat, draw as draw_heat};
use super::scale::{Scale, count, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::data::{CvPoint, folder};

fn points<'a>(drawn: &Drawn<'a>, subject: &str, space: &str, lagged: bool) -> Vec<&'a CvPoint> {
    let is_wanted = |p: &&CvPoint| p.subject == subject && p.space == space && p.lagged == lagged;
    let mut points: Vec<&CvPoint> = drawn.results.cv_curve.iter().filter(is_wanted).collect();
    points.sort_by(|a, b| a.alpha.total_cmp(&b.alpha));
    points
}

fn percent(n: usize, of: usize) -> String {
    match of {
        0 => "–".to_owned(),
        _ => format!("{:.0} %", 100.0 * n as f64 / of as f64),
    }
}

/// An alpha as the grid's axis shows it: its power of ten, or one digit.
fn power(alpha: f64) -> String {
    let power = alpha.log10();
    match (power - power.round()).abs() < 1e-6 {
        true => super::scale::power_of_ten(power.round() as i32),
        false => super::scale::signed(&format!("{alpha:.0e}")),
    }
}

/// Share of voxels at each alpha, by space.
pub fn chosen(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        let (mut rows, mut values, mut beside) = (Vec::new(), Vec::new(), Vec::new());
        let mut grid: Vec<f64> = Vec::new();
        for row in results.ranked(subject, lagged) {
            let points = points(drawn, subject, &row.space, lagged);
            if points.is_empty() {
                continue;
            }
            let n: usize = points.iter().map(|p| p.n_best).sum();
            grid = points.iter().map(|p| p.alpha).collect();
            values.push(points.iter().map(|p| p.n_best as f64 / n.max(1) as f64).collect());
            rows.push(row.space.clone());
            let edges = results.edges_of(subject, &folder(&row.space, lagged)).unwrap_or_default();
            beside.push(format!(
                "{} edge, {} plateau",
                percent(edges.n_low + edges.n_high, n),
                percent(edges.n_plateau, n)
            ));
        }
        if rows.is_empty() {
            return None;
        }
        let columns: Vec<String> = grid.iter().map(|&alpha| power(alpha)).collect();
        let columns = sparse(&columns);
        let heat = Heat {
            rows: &rows,
            columns: &columns,
            values: &values,
            shades: None,
            format: |share| format!("{:.1} % of voxels", 100.0 * share),
            beside: &beside,
            is_axis: true,
            label: "alpha",
        };
        let mut svg = Svg::default();
        let size = draw_heat(&mut svg, &heat, WIDTH + 40.0);
        let n = results.best(subject).map_or(0, |row| row.scores.n_voxels_used);
        let note = format!("n = {} voxels", count(n));
        Some(Figure::new(&["alphas", subject], subject, note, size, svg))
    };
    Group::new(
        "alphas",
        "Chosen alphas",
        "Share of voxels at each alpha of the grid: the stronger the colour, the more. Edge: the best alpha is the \
         first or last of the grid and clearly better, so a wider grid may help. Plateau: at an end, \
         but no better than inside.",
        results.subjects().iter().filter_map(draw).collect(),
    )
}

/// Whole powers of ten keep their name; where there are fewer than three, all do.
fn sparse(columns: &[String]) -> Vec<String> {
    let is_whole = |name: &String| name.starts_with("10");
    match columns.iter().filter(|name| is_whole(name)).count() > 2 {
        false => columns.to_vec(),
        true => columns
            .iter()
            .map(|name| if is_whole(name) { name.clone() } else { String::new() })
            .collect(),
    }
}

/// Mean CV score at each alpha, by space.
pub fn cv_scores(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let lagged = results.has_lagged();
    let draw = |subject: &&str| {
        let lines: Vec<(String, Vec<&CvPoint>)> = results
            .ranked(subject, lagged)
            .into_iter()
            .filter(|row| drawn.is_coloured(&row.space))
            .map(|row| (row.space.clone(), points(drawn, subject, &row.space, lagged)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points.iter());
        let (lo, hi) = super::scale::extent(all().map(|p| p.alpha))?;
        let mut svg = Svg::default();
        let entry = |space: &String| -> Entry {
            (drawn.class(space), Mark::Line(drawn.pattern(space)), space.clone())
        };
        let entries: Vec<Entry> = lines.iter().map(|(space, _)| entry(space)).collect();
        let top = legend(&mut svg, &entries, (8.0, 0.0), WIDTH - 8.0) + 8.0;
        let height = 320.0 + top;
        let scales = (Scale::log(lo / 1.3, hi * 1.3), Scale::over(all().map(|p| p.mean_cv_score)));
        let scorer = results.run.settings.get("scorer").and_then(|s| s.as_str());
        let y = match scorer {
            Some("r2") => "mean CV R²",
            _ => "mean CV correlation",
        };
        let frame = Frame::draw(&mut svg, scales, Labels { x: "alpha", y }, top, (WIDTH, height));
        frame.mark_y(&mut svg, 0.0);
        for (space, points) in &lines {
            let line = points.iter().map(|p| frame.at(p.alpha, p.mean_cv_score));
            let best = points
                .iter()
                .filter(|p| p.mean_cv_score.is_finite())
                .max_by(|a, b| a.mean_cv_score.total_cmp(&b.mean_cv_score));
            svg.group(&drawn.class(space), |svg| {
                svg.polyline(Mark::line_class(drawn.pattern(space)), line);
                if let Some(p) = best {
                    let tip = format!("{space}: {} at alpha {}", short(p.mean_cv_score), p.alpha);
                    svg.dot("f", frame.at(p.alpha, p.mean_cv_score), 4.5, &tip);
                }
            });
        }
        let n = results.best(subject).map_or(0, |row| row.scores.n_voxels_used);
        let note = format!("n = {} voxels", count(n));
        Some(Figure::new(&["cv-score", subject], subject, note, (WIDTH, height), svg))
    };
    let n_spaces = results.run.spaces.len();
    Group::new(
        "cv-score",
        "Cross-validation score against alpha",
        &format!(
            "Mean over voxels if all had the same alpha; the dot marks each maximum. Every voxel \
             takes its own best alpha.{}",
            drawn.others(n_spaces)
        ),
        results.subjects().iter().filter_map(draw).collect(),
    )
}
