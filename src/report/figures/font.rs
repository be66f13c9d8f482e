//! Text as outlines, in DejaVu Sans from inside the program: the same picture on every machine.

use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

/// A regular and a bold face.
pub struct Fonts {
    regular: Face<'static>,
    bold: Face<'static>,
}

impl Fonts {
    /// The faces; `None` if they cannot be read, a bug of the build.
    pub fn new() -> Option<Self> {
        let face = |bytes: &'static [u8]| Face::parse(bytes, 0).ok();
        Some(Self { regular: face(dejavu::sans::regular())?, bold: face(dejavu::sans::bold())? })
    }

    /// Outline of a line of text whose baseline starts at (0, 0), and its width; no outline for
    /// blank text. Letters stand in the order of the text, with the font's kerning; scripts that
    /// join letters are not shaped.
    pub fn outline(&self, text: &str, size: f32, is_bold: bool) -> (Option<Path>, f32) {
        let face = if is_bold { &self.bold } else { &self.regular };
        let scale = size / f32::from(face.units_per_em());
        let mut pen = Pen { scale, x: 0.0, path: PathBuilder::new() };
        let mut before = None;
        for c in text.chars() {
            let glyph = face.glyph_index(c).unwrap_or(GlyphId(0));
            pen.x += before.map_or(0.0, |before| kerning(face, before, glyph)) * scale;
            face.outline_glyph(glyph, &mut pen);
            pen.x += f32::from(face.glyph_hor_advance(glyph).unwrap_or(0)) * scale;
            before = Some(glyph);
        }
        (pen.path.finish(), pen.x)
    }
}

fn kerning(face: &Face<'_>, left: GlyphId, right: GlyphId) -> f32 {
    let tables = face.tables().kern.into_iter().flat_map(|kern| kern.subtables);
    let mut plain = tables.filter(|table| table.horizontal && !table.variable);
    plain.find_map(|table| table.glyphs_kerning(left, right)).map_or(0.0, f32::from)
}

/// Draws a letter's contours at `x`, with y downwards.
struct Pen {
    scale: f32,
    x: f32,
    path: PathBuilder,
}

impl Pen {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + x * self.scale, -y * self.scale)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2)) = (self.place(x1, y1), self.place(x2, y2));
        let (x, y) = self.place(x, y);
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_on_the_baseline_and_have_the_fonts_widths() {
        let fonts = Fonts::new().unwrap();
        // DejaVu Sans: 2048 units per em; H advances 1540 and is 1493 high.
        let (path, width) = fonts.outline("H", 20.48, false);
        assert!((width - 15.40).abs() < 1e-3, "{width}");
        let bounds = path.unwrap().bounds();
        assert_eq!(bounds.bottom(), 0.0);
        assert!((bounds.top() + 14.93).abs() < 1e-3, "{bounds:?}");
        // Kerning draws A and V together; bold is wider; what the font lacks is a box.
        let of = |text: &str, is_bold| fonts.outline(text, 10.0, is_bold).1;
        assert!(of("AV", false) < of("A", false) + of("V", false));
        assert!(of("word", true) > of("word", false));
        assert!(fonts.outline("\u{10ffff}", 10.0, false).0.is_some());
        assert!(fonts.outline(" ", 10.0, false).0.is_none() && of("", true) == 0.0);
    }
}
