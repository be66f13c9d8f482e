//! SVG files of this program as PNG: the marks that `svg` writes and the rules of `style.css`,
//! nothing more.

use roxmltree::{Document, Node};
use tiny_skia::{
    Color, FillRule, FilterQuality, LineCap, LineJoin, Paint as Ink, Path, PathBuilder, Pixmap,
    PixmapPaint, PremultipliedColorU8, Rect, Stroke, StrokeDash, Transform,
};

use super::font::Fonts;
use super::png::png;
use super::raster::Raster;
use super::standalone::{HEAD, MARGIN};
use crate::error::{Error, Result};

/// Pixels for one unit of a drawing: 480 units are 1,440 pixels, a column of a printed page.
const SCALE: f32 = 3.0;
/// Largest side of a picture, in pixels.
const LARGEST: f32 = 30_000.0;

/// Paints SVG files.
pub struct Painter {
    fonts: Option<Fonts>,
}

impl Default for Painter {
    fn default() -> Self {
        Self { fonts: Fonts::new() }
    }
}

impl Painter {
    /// The PNG of a drawing's SVG file and its pixels, three pixels per unit.
    /// # Errors
    /// `Error::Numerical` if the drawing cannot be read or is too large: a bug of ours.
    pub fn png(&self, svg: &str, rasters: &[Raster]) -> Result<Vec<u8>> {
        let canvas = self
            .paint(svg, rasters)
            .map_err(|problem| Error::Numerical { what: "drawing a figure".into(), problem })?;
        // All of it is opaque.
        let rgb = canvas.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]);
        png(canvas.width() as usize, canvas.height() as usize, &rgb.collect::<Vec<u8>>())
    }

    fn paint(&self, svg: &str, rasters: &[Raster]) -> Result<Pixmap, String> {
        let document = Document::parse(svg).map_err(|error| error.to_string())?;
        let root = document.root_element();
        let (width, height) = (number(root, "width")? * SCALE, number(root, "height")? * SCALE);
        if !(width >= 1.0 && height >= 1.0 && width.max(height) <= LARGEST) {
            return Err(format!("{width} × {height} pixels"));
        }
        let sheet = root.children().find(|node| node.has_tag_name("style"));
        let canvas = Pixmap::new(width.ceil() as u32, height.ceil() as u32);
        let mut canvas = canvas.ok_or_else(|| format!("{width} × {height} pixels"))?;
        canvas.fill(Color::WHITE);
        let mut picture = Picture {
            canvas,
            rules: rules(sheet.and_then(|node| node.text()).unwrap_or_default()),
            fonts: self.fonts.as_ref().ok_or("the fonts inside the program cannot be read")?,
            rasters,
        };
        picture.children(root, &Style::default(), Transform::from_scale(SCALE, SCALE))?;
        Ok(picture.canvas)
    }
}

/// `translate(X Y)` and `rotate(DEGREES)`, one after the other.
fn transform(text: &str) -> Result<Transform, String> {
    let mut all = Transform::identity();
    for part in text.split_terminator(')') {
        let (name, values) = part.split_once('(').ok_or_else(|| text.to_owned())?;
        let values = numbers(values)?;
        all = all.pre_concat(match (name.trim(), values.as_slice()) {
            ("translate", &[x, y]) => Transform::from_translate(x, y),
            ("rotate", &[degrees]) => Transform::from_rotate(degrees),
            _ => return Err(format!("transform {text:?}")),
        });
    }
    Ok(all)
}

/// What an element takes from its parents, from the rules and from its own attributes.
#[derive(Debug, Clone, PartialEq)]
struct Style {
    color: [u8; 3],
    fill: Paint,
    stroke: Paint,
    fill_opacity: f32,
    font_size: f32,
    is_bold: bool,
    pen: Stroke,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Paint {
    Nothing,
    /// The style's `color`.
    Current,
    Colour([u8; 3]),
}

impl Default for Style {
    fn default() -> Self {
        Self {
            color: [0; 3],
            fill: Paint::Colour([0; 3]),
            stroke: Paint::Nothing,
            fill_opacity: 1.0,
            font_size: 16.0,
            is_bold: false,
            pen: Stroke::default(),
        }
    }
}

impl Style {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let fail = || format!("{name}: {value}");
        let length = || value.trim_end_matches("px").parse::<f32>().map_err(|_| fail());
        let paint = || match value {
            "none" => Ok(Paint::Nothing),
            "currentColor" => Ok(Paint::Current),
            _ => colour(value).map(Paint::Colour).ok_or_else(fail),
        };
        match name {
            "color" => self.color = colour(value).ok_or_else(fail)?,
            "fill" => self.fill = paint()?,
            "stroke" => self.stroke = paint()?,
            "fill-opacity" => self.fill_opacity = length()?,
            "font-size" => self.font_size = length()?,
            "font-weight" => self.is_bold = length()? >= 600.0,
            "stroke-width" => self.pen.width = length()?,
            "stroke-linecap" if value == "round" => self.pen.line_cap = LineCap::Round,
            "stroke-linejoin" if value == "round" => self.pen.line_join = LineJoin::Round,
            "stroke-linecap" | "stroke-linejoin" => return Err(fail()),
            "stroke-dasharray" => {
                let dash = StrokeDash::new(numbers(value)?, 0.0);
                self.pen.dash = Some(dash.ok_or_else(fail)?);
            }
            // Where the text is held is read with the text; all else is geometry.
            _ => {}
        }
        Ok(())
    }

    fn resolved(&self, paint: Paint) -> Option<[u8; 3]> {
        match paint {
            Paint::Nothing => None,
            Paint::Current => Some(self.color),
            Paint::Colour(colour) => Some(colour),
        }
    }
}

/// Selector (a tag, or a class behind a dot) and declarations, in the order of the sheet.
type Rules<'a> = Vec<(&'a str, Vec<(&'a str, &'a str)>)>;

fn rules(sheet: &str) -> Rules<'_> {
    let rule = |text| -> Option<(&str, Vec<(&str, &str)>)> {
        let (selector, body) = str::split_once(text, '{')?;
        let declarations = body.split(';').filter_map(|line| line.split_once(':'));
        Some((selector.trim(), declarations.map(|(n, v)| (n.trim(), v.trim())).collect()))
    };
    sheet.split('}').filter_map(rule).collect()
}

struct Picture<'a> {
    canvas: Pixmap,
    rules: Rules<'a>,
    fonts: &'a Fonts,
    rasters: &'a [Raster],
}

impl Picture<'_> {
    fn children(&mut self, node: Node<'_, '_>, style: &Style, at: Transform) -> Result<(), String> {
        node.children()
            .filter(Node::is_element)
            .try_for_each(|child| self.element(child, style, at))
    }

    fn element(&mut self, node: Node<'_, '_>, parent: &Style, at: Transform) -> Result<(), String> {
        let tag = node.tag_name().name();
        let mut style = parent.clone();
        // Rules come before attributes of the same name.
        for attribute in node.attributes() {
            style.set(attribute.name(), attribute.value())?;
        }
        let class = node.attribute("class").unwrap_or_default();
        for (selector, declarations) in &self.rules {
            let name = selector.strip_prefix('.');
            if name.is_some_and(|name| class.split(' ').any(|c| c == name)) || *selector == tag {
                declarations.iter().try_for_each(|(name, value)| style.set(name, value))?;
            }
        }
        let inner = node.attribute("transform").map(transform).transpose()?;
        let at = inner.map_or(at, |inner| at.pre_concat(inner));
        match tag {
            "g" => self.children(node, &style, at)?,
            "line" => {
                let [x1, y1, x2, y2] = ["x1", "y1", "x2", "y2"].map(|name| number(node, name));
                let mut line = PathBuilder::new();
                line.move_to(x1?, y1?);
                line.line_to(x2?, y2?);
                self.shape(line.finish(), &style, at);
            }
            "rect" if node.attribute("width") == Some("100%") => {
                if let Some([r, g, b]) = style.resolved(style.fill) {
                    self.canvas.fill(Color::from_rgba8(r, g, b, 255));
                }
                self.maps()?;
            }
            "rect" => {
                let [x, y, w, h] = ["x", "y", "width", "height"].map(|name| number(node, name));
                let rect = Rect::from_xywh(x?, y?, w?, h?);
                self.shape(rect.map(PathBuilder::from_rect), &style, at);
            }
            "circle" => {
                let [x, y, r] = ["cx", "cy", "r"].map(|name| number(node, name));
                self.shape(PathBuilder::from_circle(x?, y?, r?), &style, at);
            }
            "path" => self.shape(path(node.attribute("d").unwrap_or_default())?, &style, at),
            "text" => {
                let pieces = node.children().filter(Node::is_text).filter_map(|text| text.text());
                let text: String = pieces.collect();
                let (outline, width) = self.fonts.outline(&text, style.font_size, style.is_bold);
                let start = match node.attribute("text-anchor") {
                    Some("middle") => -width / 2.0,
                    Some("end") => -width,
                    _ => 0.0,
                };
                let [x, y] = ["x", "y"].map(|name| number(node, name).unwrap_or(0.0));
                self.shape(outline, &style, at.pre_translate(x + start, y));
            }
            // Pixels come from the rasters themselves.
            "title" | "style" | "image" => {}
            other => return Err(format!("<{other}>")),
        }
        Ok(())
    }

    /// Fills and strokes a path; without one there is nothing to draw.
    fn shape(&mut self, path: Option<Path>, style: &Style, at: Transform) {
        let Some(path) = path else { return };
        let ink = |[r, g, b]: [u8; 3], opacity: f32| {
            let mut ink = Ink::default();
            ink.set_color_rgba8(r, g, b, (opacity.clamp(0.0, 1.0) * 255.0).round() as u8);
            ink
        };
        if let Some(colour) = style.resolved(style.fill) {
            let ink = ink(colour, style.fill_opacity);
            self.canvas.fill_path(&path, &ink, FillRule::Winding, at, None);
        }
        if let Some(colour) = style.resolved(style.stroke) {
            self.canvas.stroke_path(&path, &ink(colour, 1.0), &style.pen, at, None);
        }
    }

    /// The drawing's pixel maps, which lie under all marks.
    fn maps(&mut self) -> Result<(), String> {
        for raster in self.rasters {
            let (columns, rows) = raster.shape;
            let map = Pixmap::new(columns as u32, rows as u32);
            let mut map = map.ok_or_else(|| format!("a map of {columns} × {rows} pixels"))?;
            for (to, pixel) in map.pixels_mut().iter_mut().zip(&raster.pixels) {
                let colour =
                    pixel.and_then(|[r, g, b]| PremultipliedColorU8::from_rgba(r, g, b, 255));
                *to = colour.unwrap_or(*to);
            }
            let (x, y) = ((raster.at.0 + MARGIN) as f32, (raster.at.1 + HEAD) as f32);
            let (w, h) = (raster.size.0 as f32, raster.size.1 as f32);
            let (w, h) = (w / columns as f32 * SCALE, h / rows as f32 * SCALE);
            let place = Transform::from_row(w, 0.0, 0.0, h, x * SCALE, y * SCALE);
            let paint = PixmapPaint { quality: FilterQuality::Nearest, ..PixmapPaint::default() };
            self.canvas.draw_pixmap(0, 0, map.as_ref(), &paint, place, None);
        }
        Ok(())
    }
}

fn colour(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some([(number >> 16) as u8, (number >> 8) as u8, number as u8])
}

fn number(node: Node<'_, '_>, name: &str) -> Result<f32, String> {
    let text = node.attribute(name).unwrap_or_default();
    let fail = || format!("<{}> {name}={text:?}", node.tag_name().name());
    text.parse::<f32>().ok().filter(|value| value.is_finite()).ok_or_else(fail)
}

/// Numbers between spaces or commas; a minus begins one too.
fn numbers(text: &str) -> Result<Vec<f32>, String> {
    let apart = text.replace('-', " -").replace(',', " ");
    apart.split_whitespace().map(|n| n.parse().map_err(|_| format!("numbers {text:?}"))).collect()
}

/// A path of M, L, l, h, v and z; `None` if it draws nothing.
fn path(commands: &str) -> Result<Option<Path>, String> {
    let mut path = PathBuilder::new();
    let (mut start, mut at) = (None, (0.0, 0.0));
    let mut rest = commands;
    while let Some(letter) = rest.chars().next().filter(char::is_ascii) {
        let end = rest[1..].find(|c: char| c.is_ascii_alphabetic()).map_or(rest.len(), |i| i + 1);
        let values = numbers(&rest[1..end])?;
        rest = &rest[end..];
        if start.is_none() && letter != 'M' {
            return Err("a path that does not begin with M".to_owned());
        }
        match (letter, values.as_slice()) {
            ('M', &[x, y]) => {
                at = (x, y);
                start = Some(at);
                path.move_to(x, y);
                continue;
            }
            ('z', []) => {
                at = start.unwrap_or(at);
                path.close();
                continue;
            }
            ('L', &[x, y]) => at = (x, y),
            ('l', &[x, y]) => at = (at.0 + x, at.1 + y),
            ('h', &[x]) => at.0 += x,
            ('v', &[y]) => at.1 += y,
            _ => return Err(format!("path command {letter:?} with {} numbers", values.len())),
        }
        path.line_to(at.0, at.1);
    }
    Ok(path.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(marks: &str, rasters: &[Raster]) -> Pixmap {
        let style = ".f{fill:currentColor}.c1{color:#0000ff}.l{fill:none;stroke:currentColor;stroke-width:2}\
                     text{font-size:10px;fill:#ff0000}.fo{fill:currentColor;fill-opacity:.5}";
        let svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"40\" height=\"90\"><style>{style}</style>\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>{marks}</svg>"
        );
        Painter::default().paint(&svg, rasters).unwrap()
    }

    fn pixel(canvas: &Pixmap, x: f32, y: f32) -> [u8; 3] {
        let pixel = canvas.pixel((x * SCALE) as u32, (y * SCALE) as u32).unwrap();
        [pixel.red(), pixel.green(), pixel.blue()]
    }

    #[test]
    fn marks_take_colours_from_classes_parents_and_attributes() {
        let canvas = painted(
            "<g class=\"c1\" transform=\"translate(10 0)\"><rect class=\"f\" x=\"1\" y=\"1\" \
             width=\"8\" height=\"8\"><title>t</title></rect>\
             <path class=\"l\" d=\"M0 20L10 20\"/><circle class=\"fo\" cx=\"5\" cy=\"30\" r=\"4\"/>\
             <path class=\"f\" d=\"M0 40l10 0v10l-10 0z\" fill-opacity=\"0.25\"/></g>",
            &[],
        );
        assert_eq!((canvas.width(), canvas.height()), (120, 270));
        assert_eq!(pixel(&canvas, 15.0, 5.0), [0, 0, 255]);
        assert_eq!(pixel(&canvas, 5.0, 5.0), [255; 3]);
        assert_eq!(pixel(&canvas, 15.0, 20.0), [0, 0, 255]);
        assert_eq!(pixel(&canvas, 15.0, 22.0), [255; 3]);
        // Opacity 0.5 and 0.25, to the rounding of 8-bit blending.
        for (y, wanted) in [(30.0, 127u8), (45.0, 191)] {
            let [r, g, b] = pixel(&canvas, 15.0, y);
            assert!(r.abs_diff(wanted) <= 2 && g == r && b >= 253, "{y}: {r} {g} {b}");
        }
    }

    #[test]
    fn text_stands_where_it_is_held_and_turns() {
        let ink = |canvas: &Pixmap, xs: std::ops::Range<usize>, ys: std::ops::Range<usize>| {
            let spot = |(x, y): (usize, usize)| pixel(canvas, x as f32, y as f32) != [255; 3];
            ys.flat_map(|y| xs.clone().map(move |x| (x, y))).filter(|&at| spot(at)).count()
        };
        let start = painted("<text x=\"20\" y=\"20\">HHH</text>", &[]);
        assert!(ink(&start, 20..40, 10..21) > 5 && ink(&start, 0..20, 0..90) == 0);
        let end = painted("<text x=\"20\" y=\"20\" text-anchor=\"end\">HH</text>", &[]);
        assert!(ink(&end, 0..20, 10..21) > 5 && ink(&end, 20..40, 0..90) == 0);
        let up = painted("<text transform=\"translate(20 50)rotate(-90)\">HHH</text>", &[]);
        assert!(ink(&up, 10..21, 25..51) > 5 && ink(&up, 0..40, 51..90) == 0);
    }

    #[test]
    fn pixel_maps_lie_under_the_marks() {
        let pixels = vec![Some([255, 0, 0]), None, None, Some([0, 255, 0])];
        let raster = Raster { at: (0.0 - MARGIN, 0.0), size: (20.0, 20.0), shape: (2, 2), pixels };
        let mark =
            "<g class=\"c1\"><rect class=\"f\" x=\"0\" y=\"58\" width=\"5\" height=\"5\"/></g>";
        let canvas = painted(mark, &[raster]);
        assert_eq!(pixel(&canvas, 2.0, HEAD as f32 + 2.0), [0, 0, 255]);
        assert_eq!(pixel(&canvas, 8.0, HEAD as f32 + 8.0), [255, 0, 0]);
        assert_eq!(pixel(&canvas, 15.0, HEAD as f32 + 8.0), [255; 3]);
        assert_eq!(pixel(&canvas, 15.0, HEAD as f32 + 15.0), [0, 255, 0]);
    }

    #[test]
    fn what_is_not_written_by_svg_is_refused() {
        for (marks, says) in [
            ("<ellipse/>", "<ellipse>"),
            ("<path d=\"M0 0Q1 1 2 2\"/>", "path command 'Q'"),
            ("<path d=\"L1 1\"/>", "begin with M"),
            ("<rect x=\"a\" y=\"0\" width=\"1\" height=\"1\"/>", "<rect> x=\"a\""),
            ("<g transform=\"skewX(3)\"/>", "skewX"),
            ("<g", "drawing a figure"),
        ] {
            let svg = format!("<svg width=\"9\" height=\"9\">{marks}</svg>");
            let error = Painter::default().png(&svg, &[]).unwrap_err();
            assert_eq!(error.exit_code(), 1);
            assert!(error.to_string().contains(says), "{marks}: {error}");
        }
        let huge = "<svg width=\"1e9\" height=\"1\"/>";
        assert!(Painter::default().png(huge, &[]).unwrap_err().to_string().contains("pixels"));
    }
}
