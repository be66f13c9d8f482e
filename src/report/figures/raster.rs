//! Pictures made of pixels inside a drawing, and the colours of a map.

use std::fmt::Write as _;

use super::png::png;
use super::svg::coord;
use crate::error::Result;

/// Pixels that a drawing shows at `at`, stretched to `size`.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// Upper left corner, in units of the drawing.
    pub at: (f64, f64),
    /// Width and height there.
    pub size: (f64, f64),
    /// Columns and rows of pixels.
    pub shape: (usize, usize),
    /// Row by row; `None` is transparent.
    pub pixels: Vec<Option<[u8; 3]>>,
}

impl Raster {
    /// The mark in an SVG: the pixels are in it, as a PNG.
    /// # Errors
    /// `Error::Numerical` for no pixels, or more than fit.
    pub fn mark(&self) -> Result<String> {
        let rgba = |pixel: &Option<[u8; 3]>| pixel.map_or([0; 4], |[r, g, b]| [r, g, b, 255]);
        let pixels: Vec<u8> = self.pixels.iter().flat_map(rgba).collect();
        let png = png(self.shape.0, self.shape.1, &pixels)?;
        let [x, y, w, h] = [self.at.0, self.at.1, self.size.0, self.size.1].map(coord);
        let mut mark = format!(
            "<image x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"data:image/png;base64,"
        );
        base64(&png, &mut mark);
        let _ = write!(mark, "\"/>");
        Ok(mark)
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= three.len() { char::from(letter) } else { '=' });
        }
    }
}

/// Ten colours of viridis (matplotlib, CC0): equal steps look equal, also without red and green.
const VIRIDIS: [[u8; 3]; 10] = [
    [0x44, 0x01, 0x54],
    [0x48, 0x28, 0x78],
    [0x3e, 0x4a, 0x89],
    [0x31, 0x68, 0x8e],
    [0x26, 0x82, 0x8e],
    [0x1f, 0x9e, 0x89],
    [0x35, 0xb7, 0x79],
    [0x6e, 0xce, 0x58],
    [0xb5, 0xde, 0x2b],
    [0xfd, 0xe7, 0x25],
];

/// A voxel without a score.
const GREY: [u8; 3] = [0x8b, 0x94, 0x9e];

/// The colour of a share of the scale: darkest at 0 and below, brightest at 1 and above, grey for
/// NaN.
pub fn colour(share: f64) -> [u8; 3] {
    if share.is_nan() {
        return GREY;
    }
    let at = share.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let low = (at as usize).min(VIRIDIS.len() - 2);
    let (from, to, part) = (VIRIDIS[low], VIRIDIS[low + 1], at - low as f64);
    std::array::from_fn(|i| {
        (f64::from(from[i]) + part * (f64::from(to[i]) - f64::from(from[i]))).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, code) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = String::new();
            base64(text.as_bytes(), &mut out);
            assert_eq!(out, code);
        }
        let mut out = String::new();
        base64(&[0xfb, 0xff], &mut out);
        assert_eq!(out, "+/8=");
    }

    #[test]
    fn a_scale_gets_lighter_from_end_to_end() {
        let light = |share: f64| {
            let [r, g, b] = colour(share).map(f64::from);
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        let steps: Vec<f64> = (0..=100).map(|i| light(f64::from(i) / 100.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!((colour(-3.0), colour(9.0)), (VIRIDIS[0], VIRIDIS[9]));
        assert_eq!(colour(f64::NAN), GREY);
    }

    #[test]
    fn a_mark_holds_its_pixels() {
        let pixels = vec![Some([1, 2, 3]), None, Some([255, 0, 128]), None, None, Some([9, 9, 9])];
        let raster = Raster { at: (1.0, 2.0), size: (30.0, 20.0), shape: (3, 2), pixels };
        assert!(raster.mark().unwrap().contains("href=\"data:image/png;base64,iVBORw0KGgo"));
        let none = Raster { shape: (0, 0), pixels: vec![], ..raster };
        assert_eq!(none.mark().unwrap_err().exit_code(), 1);
    }
}
