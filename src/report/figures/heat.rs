//! A table of shaded cells.

use super::svg::{Anchor, Svg, TEXT, text_width};

/// What a heat map shows.
pub struct Heat<'a> {
    /// Names of the rows, from the top.
    pub rows: &'a [String],
    /// Names of the columns.
    pub columns: &'a [String],
    /// Row by row; NaN is left empty.
    pub values: &'a [Vec<f64>],
    /// Values of the palest and the darkest shade; from 0 to the largest size without them.
    pub shades: Option<(f64, f64)>,
    /// Text in a cell, where it fits; also its tooltip.
    pub format: fn(f64) -> String,
    /// Text at the right of each row.
    pub beside: &'a [String],
    /// Columns are numbers on an axis: names are not slanted.
    pub is_axis: bool,
    /// Under the columns.
    pub label: &'a str,
}

/// Cells above which neither text nor tooltips are drawn: the page must stay small.
const MOST_DETAILED: usize = 900;

/// Draws it `width` wide (wider where columns need it); returns the size.
pub fn draw(svg: &mut Svg, heat: &Heat<'_>, width: f64) -> (f64, f64) {
    let widest = |names: &[String]| names.iter().map(|n| text_width(n, TEXT)).fold(0.0, f64::max);
    let names = (widest(heat.rows) + 12.0).min(0.38 * width);
    let beside = if heat.beside.is_empty() { 0.0 } else { widest(heat.beside) + 12.0 };
    let head = match heat.is_axis {
        true => 0.0,
        false => (widest(heat.columns).min(110.0) * 0.66 + 16.0).max(24.0),
    };
    let n_columns = heat.columns.len().max(1) as f64;
    let slant = if heat.is_axis { 8.0 } else { 40.0 };
    let cell = ((width - names - beside - slant) / n_columns).clamp(14.0, 74.0);
    let height = if heat.rows.len() > 60 { 12.0 } else { 22.0 };
    let left = names + 2.0;
    let is_detailed = heat.rows.len() * heat.columns.len() <= MOST_DETAILED;
    let most = heat.values.iter().flatten().filter(|v| v.is_finite()).map(|v| v.abs());
    let most = most.fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    for (r, (name, values)) in heat.rows.iter().zip(heat.values).enumerate() {
        let top = head + r as f64 * height;
        let base = top + height / 2.0 + 4.5;
        // Rows too low for their text: every second name.
        if height >= 20.0 || r % 2 == 0 {
            svg.text_within("nm", (names - 6.0, base), Anchor::End, name, names - 8.0);
        }
        for (c, &value) in values.iter().enumerate() {
            if !value.is_finite() {
                continue;
            }
            let at = (left + c as f64 * cell, top);
            draw_cell(
                svg,
                heat,
                (name, &heat.columns[c]),
                value,
                most,
                at,
                (cell, height),
                is_detailed,
            );
        }
        if let Some(text) = heat.beside.get(r) {
            svg.text("t", (left + cell * n_columns + 8.0, base), Anchor::Start, text);
        }
    }
    let bottom = head + height * heat.rows.len() as f64;
    draw_columns(svg, heat, (left, head, bottom), cell);
    let below = match (heat.is_axis, heat.label.is_empty()) {
        (true, _) => 44.0,
        (false, true) => 6.0,
        (false, false) => 26.0,
    };
    if !heat.label.is_empty() {
        let middle = left + cell * n_columns / 2.0;
        svg.text("t", (middle, bottom + below - 8.0), Anchor::Middle, heat.label);
    }
    (width.max(left + cell * n_columns + beside + slant), bottom + below)
}

#[allow(clippy::too_many_arguments)]
fn draw_cell(
    svg: &mut Svg,
    heat: &Heat<'_>,
    (row, column): (&str, &str),
    value: f64,
    most: f64,
    at: (f64, f64),
    (cell, height): (f64, f64),
    is_detailed: bool,
) {
    let share = match heat.shades {
        Some((pale, dark)) => ((value - pale) / (dark - pale)).clamp(0.0, 1.0),
        None => (value.abs() / most).min(1.0),
    };
    let class = if value < 0.0 { "c2" } else { "c1" };
    let text = (heat.format)(value);
    let tip = match is_detailed {
        true => format!("{row}, {column}: {text}"),
        false => String::new(),
    };
    let opacity = 0.04 + 0.91 * share;
    let size = (cell - 1.0, height - 1.0);
    svg.group(class, |svg| svg.rect("f", at, size, opacity, &tip));
    if is_detailed && height >= 20.0 && text_width(&text, TEXT) <= cell {
        let class = if opacity > 0.78 { "on" } else { "nm" };
        svg.text(class, (at.0 + cell / 2.0, at.1 + height / 2.0 + 4.0), Anchor::Middle, &text);
    }
}

fn draw_columns(svg: &mut Svg, heat: &Heat<'_>, (left, head, bottom): (f64, f64, f64), cell: f64) {
    if !heat.is_axis {
        for (c, name) in heat.columns.iter().enumerate() {
            let x = left + (c as f64 + 0.5) * cell;
            svg.text_slanted("nm", (x - 2.0, head - 6.0), name, 110.0);
        }
        return;
    }
    let widest = heat.columns.iter().map(|n| text_width(n, TEXT)).fold(0.0, f64::max) + 8.0;
    let every = (widest / cell).ceil().max(1.0) as usize;
    for (c, name) in heat.columns.iter().enumerate().step_by(every) {
        let x = left + (c as f64 + 0.5) * cell;
        svg.text("t", (x, bottom + 15.0), Anchor::Middle, name);
    }
}
