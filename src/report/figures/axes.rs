//! A frame with axes, grid, labels and a legend.

use super::scale::Scale;
use super::svg::{Anchor, Svg, TEXT, text_width};

/// How a series is marked, in the drawing and in its legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Solid, dashed or dotted line.
    Line(usize),
    /// A filled dot.
    Dot,
    /// A ring.
    Ring,
    /// A filled diamond.
    Diamond,
    /// A small dot, half seen through.
    Light,
    /// A filled square.
    Area,
}

/// Classes of lines that differ without colour.
const LINES: [&str; 3] = ["l", "d2", "d3"];

impl Mark {
    /// The class of a line.
    pub fn line_class(index: usize) -> &'static str {
        LINES[index % LINES.len()]
    }
}

/// One entry of a legend: class of its colour, mark, text.
pub type Entry = (String, Mark, String);

/// Legend in rows at the top left, from `(left, top)` to `right`. Returns the height it takes.
pub fn legend(svg: &mut Svg, entries: &[Entry], (left, top): (f64, f64), right: f64) -> f64 {
    const ROW: f64 = 19.0;
    const MARK: f64 = 26.0;
    let (mut x, mut y) = (left, top + 11.0);
    for (class, mark, text) in entries {
        let room = right - left - MARK;
        let width = MARK + text_width(text, TEXT).min(room) + 14.0;
        if x > left && x + width - 14.0 > right {
            (x, y) = (left, y + ROW);
        }
        let middle = y - 4.0;
        svg.group(class, |svg| match mark {
            Mark::Line(i) => svg.line(Mark::line_class(*i), (x, middle), (x + 20.0, middle)),
            Mark::Dot => svg.dot("f", (x + 13.0, middle), 4.5, ""),
            Mark::Ring => svg.dot("h", (x + 13.0, middle), 4.0, ""),
            Mark::Diamond => svg.diamond("f", (x + 13.0, middle), 5.0, ""),
            Mark::Light => svg.dot("fo", (x + 13.0, middle), 3.5, ""),
            Mark::Area => svg.rect("fo", (x + 6.0, middle - 6.0), (14.0, 12.0), 1.0, ""),
        });
        svg.text_within("nm", (x + MARK, y), Anchor::Start, text, room);
        x += width;
    }
    if entries.is_empty() { 0.0 } else { y - top + 12.0 }
}

/// Where a drawing's axes lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Values to horizontal pixels.
    pub x: Scale,
    /// Values to vertical pixels.
    pub y: Scale,
}

/// What is written at the axes.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Under the horizontal axis, with its unit.
    pub x: &'a str,
    /// Beside the vertical axis, with its unit.
    pub y: &'a str,
}

/// Height of tick labels and the label under the horizontal axis.
pub const BELOW: f64 = 46.0;

impl Frame {
    /// Fits axes into `width × height` under `top`, and draws them.
    pub fn draw(
        svg: &mut Svg,
        (x, y): (Scale, Scale),
        labels: Labels<'_>,
        top: f64,
        (width, height): (f64, f64),
    ) -> Self {
        let bottom = height - BELOW;
        let n_y = ((bottom - top) / 42.0).max(2.0) as usize;
        let y = y.at(bottom, top);
        let y_ticks = y.ticks(n_y);
        let widest = y_ticks.iter().map(|(_, t)| text_width(t, TEXT)).fold(0.0, f64::max);
        let left = widest + 34.0;
        let x = x.at(left, width - 14.0);
        let frame = Self { x, y };
        for (value, text) in &y_ticks {
            let at = y.pos(*value);
            svg.line("grid", (left, at), (width - 14.0, at));
            svg.text("t", (left - 8.0, at + 4.5), Anchor::End, text);
        }
        x_axis(svg, &frame.x, labels.x, bottom);
        svg.text_up("t", (14.0, (top + bottom) / 2.0), labels.y);
        frame
    }

    /// The point of two values.
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.x.pos(x), self.y.pos(y))
    }

    /// A dashed vertical line where the axis holds the value.
    pub fn mark_x(&self, svg: &mut Svg, value: f64) {
        let (bottom, top) = self.y.pixels();
        if self.x.holds(value) {
            svg.line("ref", (self.x.pos(value), bottom), (self.x.pos(value), top));
        }
    }

    /// A dashed horizontal line where the axis holds the value.
    pub fn mark_y(&self, svg: &mut Svg, value: f64) {
        let (left, right) = self.x.pixels();
        if self.y.holds(value) {
            svg.line("ref", (left, self.y.pos(value)), (right, self.y.pos(value)));
        }
    }

    /// The line on which both axes have the same value.
    pub fn identity(&self, svg: &mut Svg) {
        let ((x0, x1), (y0, y1)) = (self.x.ends(), self.y.ends());
        let (lo, hi) = (x0.max(y0), x1.min(y1));
        if hi > lo {
            svg.line("ref", self.at(lo, lo), self.at(hi, hi));
        }
    }
}

/// As many ticks as a horizontal axis has room for.
pub fn roomy_ticks(x: &Scale) -> Vec<(f64, String)> {
    let (left, right) = x.pixels();
    let mut wanted = ((right - left) / 40.0).clamp(2.0, 9.0) as usize;
    let mut ticks = x.ticks(wanted);
    let is_crowded = |ticks: &[(f64, String)]| {
        ticks.windows(2).any(|pair| {
            let room = x.pos(pair[1].0) - x.pos(pair[0].0);
            (text_width(&pair[0].1, TEXT) + text_width(&pair[1].1, TEXT)) / 2.0 + 10.0 > room
        })
    };
    while wanted > 1 && is_crowded(&ticks) {
        wanted -= 1;
        ticks = x.ticks(wanted);
    }
    ticks
}

/// A horizontal axis at `bottom`, with as many ticks as there is room for.
pub fn x_axis(svg: &mut Svg, x: &Scale, label: &str, bottom: f64) {
    let (left, right) = x.pixels();
    let ticks = roomy_ticks(x);
    svg.line("axis", (left, bottom), (right, bottom));
    for (value, text) in &ticks {
        let at = x.pos(*value);
        svg.line("axis", (at, bottom), (at, bottom + 4.0));
        svg.text("t", (at, bottom + 18.0), Anchor::Middle, text);
    }
    svg.text("t", ((left + right) / 2.0, bottom + 38.0), Anchor::Middle, label);
}
