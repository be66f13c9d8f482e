//! Drawings with one row a name: dots, and dots with intervals.

use super::axes::{BELOW, Entry, legend, x_axis};
use super::scale::Scale;
use super::svg::{Anchor, Svg, TEXT, text_width};

/// One mark in a row.
#[derive(Debug, Clone)]
pub struct Point {
    /// Its place.
    pub value: f64,
    /// `f` (dot), `h` (ring), `d` (diamond), `o` (small dot, half seen through) or `i` (small ring).
    pub kind: char,
    /// What the tooltip says.
    pub tip: String,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// At the left.
    pub name: String,
    /// Class of its colour.
    pub class: String,
    /// Marks in each panel.
    pub panels: Vec<Vec<Point>>,
    /// Smaller marks under those of the first panel.
    pub lighter: Vec<Point>,
    /// A line from one value to another, in the first panel.
    pub interval: Option<(f64, f64)>,
}

/// Height of a row.
const STEP: f64 = 24.0;
/// How far smaller marks are under the others of a row.
const LIGHTER: f64 = 10.0;

/// Rows of dots over one or more panels side by side, the axis of each under it.
///
/// `joined`: a line connects the marks of a row. Returns the drawing's size.
pub fn draw(
    svg: &mut Svg,
    rows: &[Row],
    panels: &[(Scale, &str)],
    entries: &[Entry],
    joined: bool,
    width: f64,
) -> (f64, f64) {
    let widest = rows.iter().map(|row| text_width(&row.name, TEXT)).fold(0.0, f64::max);
    let share = if panels.len() > 1 { 0.3 } else { 0.42 };
    let names = (widest + 14.0).min(width * share);
    let top = legend(svg, entries, (8.0, 0.0), width - 8.0) + 8.0;
    let bottom = top + STEP * rows.len() as f64 + 4.0;
    let gap = 24.0;
    let n = panels.len().max(1) as f64;
    let each = (width - names - 18.0 - gap * (n - 1.0)) / n;
    for (p, (scale, label)) in panels.iter().enumerate() {
        let left = names + 6.0 + p as f64 * (each + gap);
        let x = scale.at(left, left + each);
        for (value, _) in super::axes::roomy_ticks(&x) {
            svg.line("grid", (x.pos(value), top), (x.pos(value), bottom));
        }
        if x.holds(0.0) {
            svg.line("ref", (x.pos(0.0), top), (x.pos(0.0), bottom));
        }
        x_axis(svg, &x, label, bottom);
        for (i, row) in rows.iter().enumerate() {
            let y = top + STEP * (i as f64 + 0.5) + 2.0;
            svg.group(&row.class, |svg| match (p, row.lighter.is_empty()) {
                (0, false) => {
                    marks(svg, row, p, &x, y - LIGHTER / 2.0, joined);
                    points(svg, &row.lighter, &x, y + LIGHTER / 2.0 + 1.0, joined.then_some("l1"));
                }
                _ => marks(svg, row, p, &x, y, joined),
            });
        }
    }
    for (i, row) in rows.iter().enumerate() {
        let y = top + STEP * (i as f64 + 0.5) + 6.5;
        svg.text_within("nm", (names, y), Anchor::End, &row.name, names - 6.0);
    }
    (width, bottom + BELOW)
}

fn marks(svg: &mut Svg, row: &Row, panel: usize, x: &Scale, y: f64, joined: bool) {
    let Some(found) = row.panels.get(panel) else { return };
    if let (Some((low, high)), 0) = (row.interval, panel)
        && low.is_finite()
        && high.is_finite()
    {
        svg.line("l", (x.pos(low), y), (x.pos(high), y));
        for end in [low, high] {
            svg.line("l1", (x.pos(end), y - 4.0), (x.pos(end), y + 4.0));
        }
    }
    points(svg, found, x, y, joined.then_some("l"));
}

/// Marks of one line; `line`: the class of what connects them.
fn points(svg: &mut Svg, points: &[Point], x: &Scale, y: f64, line: Option<&str>) {
    let finite: Vec<&Point> = points.iter().filter(|p| p.value.is_finite()).collect();
    if let (Some(class), [first, .., last]) = (line, &finite[..]) {
        svg.line(class, (x.pos(first.value), y), (x.pos(last.value), y));
    }
    for point in finite {
        let at = (x.pos(point.value), y);
        match point.kind {
            'd' => svg.diamond("f", at, 6.0, &point.tip),
            'h' => svg.dot("h", at, 4.5, &point.tip),
            'o' => svg.dot("fo", at, 3.5, &point.tip),
            'i' => svg.dot("h1", at, 3.0, &point.tip),
            _ => svg.dot("f", at, 5.5, &point.tip),
        }
    }
}
