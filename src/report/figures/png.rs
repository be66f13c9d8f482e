//! SVG to PNG, with fonts from inside the program: the same picture on every machine.

use std::sync::Arc;

use resvg::tiny_skia::{FilterQuality, Pixmap, PixmapPaint, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::raster::Raster;
use super::standalone::{HEAD, MARGIN};
use crate::error::{Error, Result};

/// Pixels for one unit of a drawing: 480 units are 1,440 pixels, a column of a printed page.
const SCALE: f32 = 3.0;

/// Draws SVG files.
pub struct Painter {
    options: Options<'static>,
}

impl Default for Painter {
    fn default() -> Self {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(dejavu::sans::regular().to_vec());
        fonts.load_font_data(dejavu::sans::bold().to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Self {
            options: Options {
                fontdb: Arc::new(fonts),
                font_family: "DejaVu Sans".into(),
                ..Options::default()
            },
        }
    }
}

impl Painter {
    /// The PNG of a drawing's SVG file and its pixels, three pixels a unit.
    /// # Errors
    /// `Error::Numerical` if the drawing cannot be read or is too large: a bug of ours.
    pub fn png(&self, svg: &str, rasters: &[Raster]) -> Result<Vec<u8>> {
        let fail = |problem: String| Error::Numerical { what: "drawing a figure".into(), problem };
        let tree = Tree::from_str(svg, &self.options).map_err(|error| fail(error.to_string()))?;
        let size = tree.size();
        let pixels = |units: f32| (units * SCALE).ceil() as u32;
        let (width, height) = (pixels(size.width()), pixels(size.height()));
        let mut pixmap =
            Pixmap::new(width, height).ok_or_else(|| fail(format!("{width} × {height} pixels")))?;
        resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
        // The SVG reader is built without decoders of pictures.
        for raster in rasters {
            let (columns, rows) = (raster.shape.0 as f32, raster.shape.1 as f32);
            let (x, y) = (raster.at.0 + MARGIN, raster.at.1 + HEAD);
            let (w, h) = (raster.size.0 as f32 * SCALE, raster.size.1 as f32 * SCALE);
            let (x, y) = (x as f32 * SCALE, y as f32 * SCALE);
            let place = Transform::from_row(w / columns, 0.0, 0.0, h / rows, x, y);
            let paint = PixmapPaint { quality: FilterQuality::Nearest, ..Default::default() };
            pixmap.draw_pixmap(0, 0, raster.pixmap()?.as_ref(), &paint, place, None);
        }
        pixmap.encode_png().map_err(|error| fail(error.to_string()))
    }
}
