//! BOLD as it arrives: bad values masked, moments summed, cut into panels, all in one pass.

use std::ops::Range;

use super::moments::TileMoments;
use crate::product::panels::{PANEL, PanelRow, of_panel};
use crate::product::vectorized::vectorized;

/// Per-voxel state of one tile over its training rows.
#[derive(Debug, Default)]
pub struct VoxelSums {
    /// `(width)` subtracted from every value, near the voxel's mean: f32 sums then lose nothing to
    /// a voxel's offset.
    pub shift: Vec<f32>,
    /// `(n_folds, width)` Σ(y − shift).
    pub sums: Vec<f64>,
    /// `(n_folds, width)` Σ(y − shift)².
    pub squares: Vec<f64>,
    /// A NaN or an infinity was seen.
    pub not_finite: Vec<bool>,
    /// Two values differ.
    pub varies: Vec<bool>,
    first: Vec<f32>,
    started: bool,
}

impl VoxelSums {
    /// Empty sums for a tile.
    pub fn begin(&mut self, n_folds: usize, width: usize) {
        self.shift.clear();
        self.shift.resize(width, 0.0);
        for sums in [&mut self.sums, &mut self.squares] {
            sums.clear();
            sums.resize(n_folds * width, 0.0);
        }
        for flags in [&mut self.not_finite, &mut self.varies] {
            flags.clear();
            flags.resize(width, false);
        }
        self.first.clear();
        self.first.resize(width, 0.0);
        self.started = false;
    }

    /// Takes off what `other` takes off, whatever the first block looks like.
    pub fn start_as(&mut self, other: &Self) {
        self.shift.clone_from(&other.shift);
        self.first.clone_from(&other.first);
        self.started = true;
    }

    /// Adds what `other` summed over one of its folds to one of these.
    pub fn add_sums(&mut self, fold: usize, other: &Self, other_fold: usize) {
        let width = self.shift.len();
        let (to, from) = (fold * width, other_fold * width);
        add_to(&mut self.sums[to..to + width], &other.sums[from..from + width]);
        add_to(&mut self.squares[to..to + width], &other.squares[from..from + width]);
    }

    /// Takes sums that were made elsewhere, after [`VoxelSums::begin`].
    pub fn load(&mut self, tile: &TileMoments) {
        self.shift.copy_from_slice(&tile.shift);
        self.sums.copy_from_slice(&tile.sums);
        self.squares.copy_from_slice(&tile.squares);
        self.not_finite.copy_from_slice(&tile.not_finite);
        self.varies.copy_from_slice(&tile.varies);
        self.started = true;
    }

    /// True for a voxel that cannot be fitted: constant, NaN or infinite.
    pub fn is_dead(&self, voxel: usize) -> bool {
        self.not_finite[voxel] || !self.varies[voxel]
    }

    /// Looks at a block that is about to be added: the first one sets the shift to its means.
    ///
    /// `bold`: `(n, width)` row-major.
    pub fn start_block(&mut self, bold: &[f32], arch: pulp::Arch) {
        let width = self.shift.len();
        if !self.started && !bold.is_empty() && width > 0 {
            self.started = true;
            self.first.copy_from_slice(&bold[..width]);
            finite_means(arch, bold, width, &mut self.shift);
        }
    }

    /// Sums some panels of a block, and writes them to `out` shifted, with zeros in place of NaN
    /// and infinities.
    ///
    /// `bold`: `(n, width)` row-major, started. `out`: `(panels.len(), n)` rows; voxels beyond the
    /// width are zero.
    pub fn add(
        &mut self,
        bold: &[f32],
        fold: usize,
        panels: Range<usize>,
        out: &mut [PanelRow],
        arch: pulp::Arch,
    ) {
        let width = self.shift.len();
        if bold.is_empty() || width == 0 {
            return;
        }
        let at = fold * width;
        let mut state = State {
            shift: &self.shift,
            first: &self.first,
            sums: &mut self.sums[at..at + width],
            squares: &mut self.squares[at..at + width],
            not_finite: &mut self.not_finite,
            varies: &mut self.varies,
        };
        let n = bold.len() / width;
        for (i, rows) in bold.chunks(ROWS * width).enumerate() {
            add_rows(arch, &mut state, (rows, i * ROWS), n, panels.clone(), out);
        }
    }
}

/// Rows that pass while a panel's accumulators stay in registers.
const ROWS: usize = 8;

/// One fold's accumulators, `(width)` each.
struct State<'a> {
    shift: &'a [f32],
    first: &'a [f32],
    sums: &'a mut [f64],
    squares: &'a mut [f64],
    not_finite: &'a mut [bool],
    varies: &'a mut [bool],
}

impl State<'_> {
    /// Rows, the first of them row `t` of `n`; all of them are walked in step, each a stream of its
    /// own.
    #[inline(always)]
    fn add_rows(
        &mut self,
        rows: &[f32],
        t: usize,
        n: usize,
        panels: Range<usize>,
        out: &mut [PanelRow],
    ) {
        let width = self.shift.len();
        let n_rows = rows.len() / width;
        for (i, panel) in panels.enumerate() {
            let start = panel * PANEL;
            let to = &mut out[i * n + t..][..n_rows];
            match width - start >= PANEL {
                true => self.add_panel(panel, to, |i| {
                    let row = rows[i * width + start..].first_chunk::<PANEL>();
                    *row.expect("a whole panel")
                }),
                false => self.add_panel(panel, to, |i| {
                    of_panel(&rows[i * width..(i + 1) * width], panel, 0.0)
                }),
            }
        }
    }

    #[inline(always)]
    fn add_panel(&mut self, panel: usize, to: &mut [PanelRow], row: impl Fn(usize) -> PanelRow) {
        let (shift, first) = (of_panel(self.shift, panel, 0.0), of_panel(self.first, panel, 0.0));
        let (mut sums, mut squares) = ([0f64; PANEL], [0f64; PANEL]);
        let (mut bad, mut varies) = ([0u32; PANEL], [0u32; PANEL]);
        for (i, to) in to.iter_mut().enumerate() {
            let raw = row(i);
            for v in 0..PANEL {
                let finite = raw[v].is_finite();
                bad[v] |= u32::from(!finite);
                varies[v] |= u32::from(raw[v] != first[v]);
                let y = if finite { raw[v] - shift[v] } else { 0.0 };
                to[v] = y;
                let y = f64::from(y);
                sums[v] += y;
                squares[v] += y * y;
            }
        }
        let live = panel * PANEL..self.shift.len().min((panel + 1) * PANEL);
        add_to(&mut self.sums[live.clone()], &sums);
        add_to(&mut self.squares[live.clone()], &squares);
        self.not_finite[live.clone()].iter_mut().zip(bad).for_each(|(b, new)| *b |= new != 0);
        self.varies[live].iter_mut().zip(varies).for_each(|(b, new)| *b |= new != 0);
    }
}

vectorized! {
    /// Adds at most `ROWS` rows, with the index of the first.
    fn add_rows<'a, 's>(
        state: &'a mut State<'s>,
        rows: (&'a [f32], usize),
        n: usize,
        panels: Range<usize>,
        out: &'a mut [PanelRow],
    ) {
        state.add_rows(rows.0, rows.1, n, panels, out);
    }
}

#[inline(always)]
fn add_to(sums: &mut [f64], more: &[f64]) {
    sums.iter_mut().zip(more).for_each(|(sum, x)| *sum += x);
}

vectorized! {
    /// Means of the finite values of each column, in f64, rounded to f32.
    fn finite_means<'a>(bold: &'a [f32], width: usize, means: &'a mut [f32]) {
        let mut sums = vec![0f64; width];
        let mut counts = vec![0f64; width];
        for row in bold.chunks_exact(width) {
            for ((sum, count), &y) in sums.iter_mut().zip(&mut counts).zip(row) {
                let finite = y.is_finite();
                *sum += if finite { f64::from(y) } else { 0.0 };
                *count += if finite { 1.0 } else { 0.0 };
            }
        }
        for ((mean, sum), count) in means.iter_mut().zip(sums).zip(counts) {
            *mean = if count > 0.0 { (sum / count) as f32 } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::product::panels::n_panels;

    #[test]
    fn moments_are_those_of_the_shifted_rows_and_bad_voxels_are_marked() {
        for width in [1, 2, 31, 63, 64, 65, 131] {
            let n = 37;
            let value = |t: usize, v: usize| {
                if v == 1 { 5.0 } else { 1000.0 + ((t * 7 + v * 13) % 11) as f32 * 0.25 }
            };
            let mut bold: Vec<f32> = (0..n * width).map(|i| value(i / width, i % width)).collect();
            if width > 2 {
                bold[5 * width + 2] = f32::NAN;
                bold[9 * width + width - 1] = f32::INFINITY;
            }
            let mut sums = VoxelSums::default();
            sums.begin(2, width);
            let mut panels = vec![[7.0; PANEL]; n_panels(width) * n];
            let arch = pulp::Arch::new();
            sums.start_block(&bold, arch);
            let (first, rest) = panels.split_at_mut(n);
            sums.add(&bold, 1, 0..1, first, arch);
            sums.add(&bold, 1, 1..n_panels(width), rest, arch);
            for (i, row) in panels.iter().enumerate() {
                for (v, &got) in row.iter().enumerate() {
                    let (t, v) = (i % n, i / n * PANEL + v);
                    let raw = if v < width { bold[t * width + v] } else { f32::NAN };
                    let expected = if raw.is_finite() { raw - sums.shift[v] } else { 0.0 };
                    assert_eq!(got, expected, "{width}: {t}, {v}");
                }
            }
            for v in 0..width {
                let bad = width > 2 && (v == 2 || v == width - 1);
                assert_eq!(sums.not_finite[v], bad);
                assert_eq!(sums.is_dead(v), bad || v == 1);
                if !bad {
                    let y = |t| f64::from(value(t, v) - sums.shift[v]);
                    let square: f64 = (0..n).map(|t| y(t) * y(t)).sum();
                    // n additions in f64.
                    let bound = n as f64 * f64::EPSILON * square.max(1.0);
                    assert!((sums.squares[width + v] - square).abs() <= bound);
                    assert!(sums.sums[width + v].abs() < 0.1, "the shift is near the mean");
                }
            }
        }
    }
}
