//! Marks of a drawing, as SVG text. Colours come from classes (`style.css`), so that one drawing
//! serves light, dark and print.

use std::fmt::Write as _;

/// The body of an SVG that grows mark by mark.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Svg(String);

/// Size of tick labels and legends, in units of the drawing.
pub const TEXT: f64 = 12.5;

/// Where a text is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// A coordinate with at most one decimal; 0 for what is no number.
pub fn coord(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{:.1}", value.clamp(-1e5, 1e5));
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Text as it stands between tags or in an attribute. Characters that XML forbids are left out.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\u{fffe}' | '\u{ffff}' => {}
            c if (c as u32) < 0x20 && !matches!(c, '\t' | '\n' | '\r') => {}
            c => out.push(c),
        }
    }
    out
}

/// About how wide a text is at `size`, erring to the wide side.
pub fn text_width(text: &str, size: f64) -> f64 {
    let of = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '(' | ')' | ' ' => 0.35,
        'm' | 'w' | 'M' | 'W' | '%' => 0.92,
        c if (c as u32) >= 0x2e80 => 1.05,
        c if c.is_uppercase() => 0.72,
        _ => 0.6,
    };
    text.chars().map(of).sum::<f64>() * size
}

/// The text, cut with an ellipsis where it would be wider than `most`.
pub fn fitted(text: &str, size: f64, most: f64) -> String {
    if text_width(text, size) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if text_width(&kept, size) + text_width("…", size) > most {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

impl Svg {
    /// The marks.
    pub fn into_string(self) -> String {
        self.0
    }

    fn add(&mut self, args: std::fmt::Arguments<'_>) {
        // A String takes any text.
        let _ = self.0.write_fmt(args);
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(coord);
        self.add(format_args!(
            "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>"
        ));
    }

    /// A rectangle, with a tooltip unless it is empty.
    pub fn rect(&mut self, class: &str, at: (f64, f64), size: (f64, f64), opacity: f64, tip: &str) {
        let [x, y, w, h] = [at.0, at.1, size.0.max(0.0), size.1.max(0.0)].map(coord);
        let opacity = match opacity < 1.0 {
            true => format!(" fill-opacity=\"{:.2}\"", opacity.max(0.0)),
            false => String::new(),
        };
        self.add(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"{opacity}"
        ));
        self.close("rect", tip);
    }

    /// A dot, with a tooltip unless it is empty.
    pub fn dot(&mut self, class: &str, at: (f64, f64), radius: f64, tip: &str) {
        let [x, y, r] = [at.0, at.1, radius].map(coord);
        self.add(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\""));
        self.close("circle", tip);
    }

    /// A square on its corner.
    pub fn diamond(&mut self, class: &str, at: (f64, f64), radius: f64, tip: &str) {
        let [x, y, r] = [at.0, at.1 - radius, radius].map(coord);
        self.add(format_args!("<path class=\"{class}\" d=\"M{x} {y}l{r} {r}l-{r} {r}l-{r}-{r}z\""));
        self.close("path", tip);
    }

    fn close(&mut self, tag: &str, tip: &str) {
        match tip.is_empty() {
            true => self.0 += "/>",
            false => self.add(format_args!("><title>{}</title></{tag}>", escape(tip))),
        }
    }

    /// A path of any commands, with a fill opacity.
    pub fn path(&mut self, class: &str, commands: &str, opacity: f64) {
        if commands.is_empty() {
            return;
        }
        let opacity = match opacity < 1.0 {
            true => format!(" fill-opacity=\"{opacity:.2}\""),
            false => String::new(),
        };
        self.add(format_args!("<path class=\"{class}\" d=\"{commands}\"{opacity}/>"));
    }

    /// A line through points; where one is no number the line is interrupted.
    pub fn polyline(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let (mut commands, mut is_down) = (String::new(), false);
        for (x, y) in points {
            if !(x.is_finite() && y.is_finite()) {
                is_down = false;
                continue;
            }
            let letter = if is_down { 'L' } else { 'M' };
            let _ = write!(commands, "{letter}{} {}", coord(x), coord(y));
            is_down = true;
        }
        self.path(class, &commands, 1.0);
    }

    /// A text.
    pub fn text(&mut self, class: &str, at: (f64, f64), anchor: Anchor, text: &str) {
        let [x, y] = [at.0, at.1].map(coord);
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let text = escape(text);
        self.add(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{text}</text>"));
    }

    /// A text that may be longer than `most`: cut there, whole in a tooltip.
    pub fn text_within(
        &mut self,
        class: &str,
        at: (f64, f64),
        anchor: Anchor,
        text: &str,
        most: f64,
    ) {
        let short = fitted(text, TEXT, most);
        if short == text {
            return self.text(class, at, anchor, text);
        }
        self.0 += "<g>";
        self.add(format_args!("<title>{}</title>", escape(text)));
        self.text(class, at, anchor, &short);
        self.0 += "</g>";
    }

    /// A text that runs upwards, centred.
    pub fn text_up(&mut self, class: &str, at: (f64, f64), text: &str) {
        let [x, y] = [at.0, at.1].map(coord);
        let text = escape(text);
        self.add(format_args!(
            "<text class=\"{class}\" transform=\"translate({x} {y})rotate(-90)\" \
             text-anchor=\"middle\">{text}</text>"
        ));
    }

    /// A text at an angle, held at its left end.
    pub fn text_slanted(&mut self, class: &str, at: (f64, f64), text: &str, most: f64) {
        let [x, y] = [at.0, at.1].map(coord);
        let (short, whole) = (escape(&fitted(text, TEXT, most)), escape(text));
        self.add(format_args!(
            "<text class=\"{class}\" transform=\"translate({x} {y})rotate(-40)\">\
             <title>{whole}</title>{short}</text>"
        ));
    }

    /// Everything that `draw` adds has the class.
    pub fn group(&mut self, class: &str, draw: impl FnOnce(&mut Svg)) {
        self.add(format_args!("<g class=\"{class}\">"));
        draw(self);
        self.0 += "</g>";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let mut svg = Svg::default();
        svg.text("t", (1.0, f64::NAN), Anchor::Start, "<script>alert(\"1\")</script>\u{0}&");
        assert_eq!(
            svg.into_string(),
            "<text class=\"t\" x=\"1\" y=\"0\">&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;</text>"
        );
    }

    #[test]
    fn lines_break_where_a_point_is_missing() {
        let mut svg = Svg::default();
        svg.polyline("l", [(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.04, -0.01)]);
        assert_eq!(svg.into_string(), "<path class=\"l\" d=\"M0 1M2 3L3 0\"/>");
    }

    #[test]
    fn long_names_are_cut_to_their_room() {
        assert_eq!(fitted("glove", 12.0, 100.0), "glove");
        let cut = fitted(&"x".repeat(300), 12.0, 100.0);
        assert!(cut.ends_with('…') && text_width(&cut, 12.0) <= 100.0, "{cut}");
    }
}
