//! Test r on the brain: axial slices of a mask, or a flat map.

use super::axes::x_axis;
use super::raster::{Raster, colour};
use super::scale::{Scale, count, short};
use super::svg::Svg;
use super::{Drawn, Figure, Group, WIDTH};
use crate::report::data::{Brain, Place};
use crate::stats::quantile;

/// Maps of all subjects together: each is some tens of kilobytes in the page.
const MOST_MAPS: usize = 12;
/// Slices of a mosaic, evenly spaced.
const MOST_SLICES: usize = 24;
/// Pixels along a side of a flat map: larger ones are thinned.
const MOST_PIXELS: usize = 700;
/// The brightest colour: this quantile of r over the voxels of all spaces drawn.
const TOP: f64 = 0.995;

/// Pixels of a map, each with the voxel that it shows.
struct Layout {
    shape: (usize, usize),
    pixels: Vec<(usize, u32)>,
    note: String,
}

/// A map for each subject's best spaces.
pub fn maps(drawn: &Drawn<'_>) -> Option<Group> {
    let results = drawn.results;
    let n_spaces = (MOST_MAPS / results.brains.len().max(1)).clamp(1, 6);
    let figures = results.brains.iter().flat_map(|brain| subject_maps(drawn, brain, n_spaces));
    Group::new(
        "brain-maps",
        "Where on the brain?",
        "Test r of each voxel. The scale goes from 0, and below, to the best 0.5\u{a0}% of the \
         subject's voxels over all spaces shown, and is the same for them; grey: no score.",
        figures.collect(),
    )
}

fn subject_maps(drawn: &Drawn<'_>, brain: &Brain, n_spaces: usize) -> Vec<Figure> {
    let results = drawn.results;
    let Some(layout) = layout(&brain.place) else { return Vec::new() };
    let ranked = results.ranked(&brain.subject, results.has_lagged());
    let scores: Vec<_> = ranked
        .into_iter()
        .take(n_spaces)
        .filter_map(|row| results.voxels_of(&brain.subject, &row.space, row.lagged))
        .collect();
    let all = scores.iter().flat_map(|scores| &scores.r).map(|&r| f64::from(r));
    let mut all: Vec<f64> = all.filter(|r| !r.is_nan()).collect();
    all.sort_unstable_by(f64::total_cmp);
    let top = quantile(&all, TOP).max(0.01);
    if all.is_empty() {
        return Vec::new();
    }
    let draw = |scores: &&crate::report::data::VoxelScores| {
        let n = scores.r.iter().filter(|r| !r.is_nan()).count();
        let label =
            format!("{}, {}", brain.subject, results.model_label(&scores.space, scores.lagged));
        let note = format!("n = {} voxels; {}", count(n), layout.note);
        let ids = ["brain", brain.subject.as_str(), scores.space.as_str()];
        draw_map(&layout, &scores.r, top, &ids, (&label, note))
    };
    scores.iter().map(draw).collect()
}

fn draw_map(
    layout: &Layout,
    r: &[f32],
    top: f64,
    ids: &[&str],
    (label, note): (&str, String),
) -> Figure {
    let (columns, rows) = layout.shape;
    let mut pixels = vec![None; columns * rows];
    for &(at, voxel) in &layout.pixels {
        let score = r.get(voxel as usize).copied().unwrap_or(f32::NAN);
        pixels[at] = Some(colour(f64::from(score) / top));
    }
    let width = WIDTH - 16.0;
    let height = width * rows as f64 / columns as f64;
    let map = Raster { at: (8.0, 4.0), size: (width, height), shape: layout.shape, pixels };
    const STEPS: usize = 128;
    let bar_at = (8.0 + 0.2 * width, height + 16.0);
    let bar = Raster {
        at: bar_at,
        size: (0.6 * width, 10.0),
        shape: (STEPS, 1),
        pixels: (0..STEPS).map(|i| Some(colour((i as f64 + 0.5) / STEPS as f64))).collect(),
    };
    let mut svg = Svg::default();
    let scale = Scale::linear(0.0, top).at(bar_at.0, bar_at.0 + 0.6 * width);
    let text = format!("test r (brightest: {} and above)", short(top));
    x_axis(&mut svg, &scale, &text, bar_at.1 + 10.0);
    let mut figure = Figure::new(ids, label, note, (WIDTH, bar_at.1 + 56.0), svg);
    figure.rasters = vec![map, bar];
    figure
}

/// Where each pixel's voxel is; `None` without pixels.
fn layout(place: &Place) -> Option<Layout> {
    match place {
        Place::Volume { positions, x_is_right } => slices(positions, *x_is_right),
        Place::Flat { pixels } => flat(pixels),
    }
}

/// Axial slices from the lowest to the highest, in rows; x to the right, y upwards.
fn slices(positions: &[[u32; 3]], x_is_right: bool) -> Option<Layout> {
    let ends = |axis: usize| {
        let of = || positions.iter().map(|position| position[axis]);
        Some((of().min()?, of().max()?))
    };
    let ((x0, x1), (y0, y1)) = (ends(0)?, ends(1)?);
    let mut levels: Vec<u32> = positions.iter().map(|position| position[2]).collect();
    levels.sort_unstable();
    levels.dedup();
    let n_all = levels.len();
    let n = n_all.min(MOST_SLICES);
    let levels: Vec<u32> = (0..n).map(|i| levels[(2 * i + 1) * n_all / (2 * n)]).collect();
    let (w, h) = ((x1 - x0 + 2) as usize, (y1 - y0 + 2) as usize);
    // About three units wide for two high.
    let across = ((n * h) as f64 * 1.5 / w as f64).sqrt().ceil().clamp(1.0, n as f64) as usize;
    let shape = (across * w, n.div_ceil(across) * h);
    let mut pixels = Vec::new();
    for (voxel, &[x, y, z]) in positions.iter().enumerate() {
        let Ok(slice) = levels.binary_search(&z) else { continue };
        let column = if x_is_right { x - x0 } else { x1 - x } as usize;
        let row = (y1 - y) as usize;
        let at = (slice / across * h + row) * shape.0 + slice % across * w + column;
        pixels.push((at, voxel as u32));
    }
    let note = match n < n_all {
        true => format!("{n} of {n_all} axial slices, right is right"),
        false => format!("{n} axial slice{}, right is right", if n == 1 { "" } else { "s" }),
    };
    Some(Layout { shape, pixels, note })
}

/// The flat map, thinned where it has more pixels than are seen.
fn flat(table: &[[u32; 3]]) -> Option<Layout> {
    let ends = |axis: usize| {
        let of = || table.iter().map(|pixel| pixel[axis]);
        Some((of().min()?, of().max()?))
    };
    let ((row0, row1), (column0, column1)) = (ends(0)?, ends(1)?);
    let (n_rows, n_columns) = ((row1 - row0 + 1) as usize, (column1 - column0 + 1) as usize);
    let every = n_rows.max(n_columns).div_ceil(MOST_PIXELS).max(1);
    let shape = (n_columns.div_ceil(every), n_rows.div_ceil(every));
    let mut pixels = Vec::new();
    for &[row, column, voxel] in table {
        let (row, column) = ((row - row0) as usize, (column - column0) as usize);
        if row % every == 0 && column % every == 0 {
            pixels.push((row / every * shape.0 + column / every, voxel));
        }
    }
    Some(Layout { shape, pixels, note: "flat map".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_lie_side_by_side_with_y_upwards_and_right_at_the_right() {
        // Two slices of 2 × 2, without one voxel.
        let positions = [[3, 5, 1], [4, 5, 1], [3, 6, 1], [4, 6, 1], [3, 5, 2], [4, 6, 2]];
        for x_is_right in [true, false] {
            let Layout { shape, pixels, .. } = slices(&positions, x_is_right).unwrap();
            assert_eq!(shape, (6, 3));
            let column = |x: usize| if x_is_right { x } else { 1 - x };
            let expected = [
                (6 + column(0), 0),
                (6 + column(1), 1),
                (column(0), 2),
                (column(1), 3),
                (9 + column(0), 4),
                (3 + column(1), 5),
            ];
            assert_eq!(pixels, expected);
        }
        assert!(slices(&[], true).is_none());
    }

    #[test]
    fn a_large_flat_map_is_thinned_and_keeps_its_form() {
        let table: Vec<[u32; 3]> = (0..1000).flat_map(|i| [[7, 2 + i, i], [7 + i, 2, i]]).collect();
        let Layout { shape, pixels, .. } = flat(&table).unwrap();
        assert_eq!(shape, (500, 500));
        assert_eq!(pixels.len(), 1000);
        assert!(pixels.contains(&(499, 998)) && pixels.contains(&(499 * 500, 998)));
        assert!(flat(&[]).is_none());
    }
}
