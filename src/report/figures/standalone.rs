//! A drawing as a file of its own: colours written out, title on top, white behind.

use super::Figure;
use super::svg::{Anchor, Svg, coord, escape, fitted};
use crate::error::Result;

/// Rules of all drawings; colours are variables, which the page sets for light and dark.
pub const STYLE: &str = include_str!("style.css");

/// The variables on white paper.
pub const LIGHT: [(&str, &str); 11] = [
    ("--bg", "#ffffff"),
    ("--ink", "#1b1f24"),
    ("--ink2", "#57606a"),
    ("--rule", "#e3e6ea"),
    ("--c0", "#8b949e"),
    ("--c1", "#0072b2"),
    ("--c2", "#d55e00"),
    ("--c3", "#009e73"),
    ("--c4", "#b2578f"),
    ("--c5", "#c98600"),
    ("--c6", "#3a9bd1"),
];

/// The variables on a dark screen.
pub const DARK: [(&str, &str); 11] = [
    ("--bg", "#14181d"),
    ("--ink", "#e8ecf0"),
    ("--ink2", "#a3adb8"),
    ("--rule", "#2b323a"),
    ("--c0", "#7d8791"),
    ("--c1", "#4aa8e0"),
    ("--c2", "#f08a4b"),
    ("--c3", "#35c49a"),
    ("--c4", "#dd8fbd"),
    ("--c5", "#e8b04a"),
    ("--c6", "#8fd0f5"),
];

/// The variables as CSS declarations.
pub fn declarations(colours: &[(&str, &str)]) -> String {
    colours.iter().map(|(name, value)| format!("{name}:{value};")).collect()
}

/// White space around a drawing.
pub const MARGIN: f64 = 16.0;
/// Height of the title above it.
pub const HEAD: f64 = 58.0;

/// A whole SVG file, with the group's title and the drawing's label and note above it.
/// # Errors
/// Those of the drawing's pixels.
pub fn file(figure: &Figure, title: &str) -> Result<String> {
    let mut style = STYLE.to_owned();
    for (name, value) in LIGHT {
        style = style.replace(&format!("var({name})"), value);
    }
    let (width, height) = (figure.size.0 + 2.0 * MARGIN, figure.size.1 + HEAD + MARGIN);
    let mut head = Svg::default();
    head.text("ttl", (MARGIN + 4.0, 26.0), Anchor::Start, &fitted(title, 15.0, figure.size.0));
    let under = match figure.label.is_empty() {
        true => figure.note.clone(),
        false => format!("{} · {}", figure.label, figure.note),
    };
    head.text_within("t", (MARGIN + 4.0, 45.0), Anchor::Start, &under, figure.size.0);
    let [w, h] = [width, height].map(coord);
    let marks = figure.marks()?;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
         viewBox=\"0 0 {w} {h}\">\n<title>{}</title>\n<style>{style}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n{}\
         <g transform=\"translate({MARGIN} {HEAD})\">{}</g>\n</svg>\n",
        escape(&format!("{title}: {under}")),
        LIGHT[0].1,
        head.into_string(),
        marks,
    ))
}
