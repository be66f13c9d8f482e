//! Products of row-major matrices on the engine's units (`product::multiply`).
//!
//! The left factor is packed, the right one cut into panels of 32 columns; both are made anew from
//! activations, so making them is as quick as reading them. Sums are f32's own: six products of
//! bf16 parts where tile units do it.

use std::cell::RefCell;
use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use crate::product::amx;
use crate::product::amx::{Chunk, Digits, SIDE, Unit};
use crate::product::multiply;
use crate::product::multiply::{Out, Part};
use crate::product::packed::{Layout, Packed};
use crate::product::panels::{PANEL, PanelRow};
use crate::product::vectorized::vectorized;

/// Depth between two visits to the sums: what 128 columns of right factors take stays in the
/// second-level cache.
const DEPTH: usize = 384;

/// The same where the left factor is in strips: in one go over a depth of 3,072 a panel leaves the
/// second-level cache (a tenth slower with AVX2).
const STRIP_DEPTH: usize = 768;

/// The form of all factors on this machine.
pub fn layout() -> Layout {
    Layout::best(usize::MAX)
}

/// Rows of a row-major matrix: the next one is `stride` numbers further.
#[derive(Debug, Clone, Copy)]
pub struct Strided<'a> {
    /// From the first number on.
    pub data: &'a [f32],
    /// Distance of two rows.
    pub stride: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
}

impl<'a> Strided<'a> {
    /// A matrix without gaps.
    pub fn whole(data: &'a [f32], cols: usize) -> Self {
        Self { data, stride: cols, rows: data.len().checked_div(cols).unwrap_or(0), cols }
    }

    /// One row.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.stride..][..self.cols]
    }
}

/// A right factor (depth, width) in panels of 32 columns.
#[derive(Debug, Default)]
pub struct Panels {
    depth: usize,
    width: usize,
    rows: Vec<PanelRow>,
    chunks: Vec<Chunk>,
}

impl Panels {
    /// `b` itself.
    pub fn fill(&mut self, arch: Arch, b: Strided<'_>) {
        self.fill_with(arch, b.rows, b.cols, b, false);
    }

    /// The transpose of `b`.
    pub fn fill_transposed(&mut self, arch: Arch, b: Strided<'_>) {
        self.fill_with(arch, b.cols, b.rows, b, true);
    }

    /// The transpose of `b` by all threads, for a factor that is kept; not where thread-local
    /// factors are in use.
    pub fn of_transposed(arch: Arch, b: Strided<'_>) -> Self {
        let (depth, width) = (b.cols, b.rows);
        let n_panels = width.div_ceil(PANEL);
        let mut panels = Self { depth, width, ..Self::default() };
        if layout() == Layout::Chunks {
            let n_chunks = depth.div_ceil(SIDE);
            panels.chunks = vec![amx::ZEROS; n_panels * n_chunks];
            panels.chunks.par_chunks_mut(n_chunks.max(1)).enumerate().for_each_init(
                || vec![[0.0; PANEL]; depth],
                |rows, (p, chunks)| {
                    gather(arch, b, p * PANEL, true, rows);
                    amx::split_rows(arch, rows, 0, chunks);
                },
            );
        } else {
            panels.rows = vec![[0.0; PANEL]; n_panels * depth];
            let rows = panels.rows.par_chunks_mut(depth.max(1)).enumerate();
            rows.for_each(|(p, rows)| gather(arch, b, p * PANEL, true, rows));
        }
        panels
    }

    /// Rows of the factor, and its columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.depth, self.width)
    }

    fn fill_with(
        &mut self,
        arch: Arch,
        depth: usize,
        width: usize,
        b: Strided<'_>,
        transposed: bool,
    ) {
        (self.depth, self.width) = (depth, width);
        let n_panels = width.div_ceil(PANEL);
        let split = layout() == Layout::Chunks;
        let n_rows = if split { depth } else { n_panels * depth };
        if self.rows.len() < n_rows {
            self.rows.resize(n_rows, [0.0; PANEL]);
        }
        let n_chunks = depth.div_ceil(SIDE);
        if split && self.chunks.len() < n_panels * n_chunks {
            self.chunks.resize(n_panels * n_chunks, amx::ZEROS);
        }
        for p in 0..n_panels {
            let rows = if split { 0..depth } else { p * depth..(p + 1) * depth };
            let rows = &mut self.rows[rows];
            gather(arch, b, p * PANEL, transposed, rows);
            if split {
                let chunks = &mut self.chunks[p * n_chunks..(p + 1) * n_chunks];
                amx::split_rows(arch, rows, 0, chunks);
            }
        }
    }
}

vectorized! {
    /// A panel's rows out of a row-major matrix or its transpose.
    fn gather<'a>(b: Strided<'a>, first: usize, transposed: bool, rows: &'a mut [PanelRow]) {
        let width = if transposed { b.rows } else { b.cols };
        let live = PANEL.min(width - first);
        if !transposed {
            for (k, row) in rows.iter_mut().enumerate() {
                row[live..].fill(0.0);
                row[..live].copy_from_slice(&b.row(k)[first..first + live]);
            }
            return;
        }
        if live < PANEL {
            rows.fill([0.0; PANEL]);
        }
        // Blocks of 16 × 16, so that both sides' lines stay in the first-level cache.
        for start in (0..rows.len()).step_by(16) {
            let end = (start + 16).min(rows.len());
            for v in 0..live {
                let from = &b.row(first + v)[start..end];
                for (row, &x) in rows[start..end].iter_mut().zip(from) {
                    row[v] = x;
                }
            }
        }
    }
}

/// `out` = or += left · right; rows of `out` are `stride` apart.
pub fn multiply(arch: Arch, left: &Packed, right: &Panels, out: (&mut [f32], usize), add: bool) {
    multiply_within(arch, left, right, (0..right.depth, 0..right.width), out, add);
}

/// As [`multiply`] with some rows and columns of the right factor; both ranges begin at a multiple
/// of 32.
pub fn multiply_within(
    arch: Arch,
    left: &Packed,
    right: &Panels,
    (depth, width): (Range<usize>, Range<usize>),
    (out, stride): (&mut [f32], usize),
    add: bool,
) {
    assert_eq!(left.depth(), depth.len(), "a row of the right factor for every column");
    assert!(depth.start.is_multiple_of(SIDE) && width.start.is_multiple_of(PANEL));
    let first = width.start / PANEL;
    let panels = first..width.end.div_ceil(PANEL);
    let live = |p: usize| PANEL.min(width.end - p * PANEL);
    if left.layout() == Layout::Strips {
        for start in (0..left.depth()).step_by(STRIP_DEPTH) {
            let columns = start..(start + STRIP_DEPTH).min(left.depth());
            let rows = depth.start + columns.start..depth.start + columns.end;
            for p in panels.clone() {
                let part =
                    Part { strips: 0..left.n_strips(), columns: columns.clone(), upper: false };
                let right = &right.rows[p * right.depth..(p + 1) * right.depth][rows.clone()];
                let data = &mut out[(p - first) * PANEL..];
                let out = Out { data, stride, live: live(p) };
                multiply::multiply(arch, left, part, right, out, add || start > 0);
            }
        }
        return;
    }
    let unit = Unit::new();
    let n_chunks = right.depth.div_ceil(SIDE);
    for start in (0..left.depth()).step_by(DEPTH) {
        let end = (start + DEPTH).min(left.depth());
        let chunks = (depth.start + start) / SIDE..(depth.start + end).div_ceil(SIDE);
        for s in 0..left.n_strips() {
            for p in panels.clone() {
                let part = Part { strips: s..s + 1, columns: start..end, upper: false };
                let right = &right.chunks[p * n_chunks..(p + 1) * n_chunks][chunks.clone()];
                let data = &mut out[s * SIDE * stride + (p - first) * PANEL..];
                let out = Out { data, stride, live: live(p) };
                multiply::multiply_split(
                    &unit,
                    left,
                    part,
                    right,
                    Digits::All,
                    out,
                    add || start > 0,
                );
            }
        }
    }
}

thread_local! {
    static LEFT: RefCell<Packed> = RefCell::default();
    static RIGHT: RefCell<Panels> = RefCell::default();
}

/// `out` = or += a · right.
pub fn rows_times(arch: Arch, a: Strided<'_>, right: &Panels, out: (&mut [f32], usize), add: bool) {
    LEFT.with_borrow_mut(|left| {
        left.fill_rows(layout(), (a.data, a.stride), (a.rows, a.cols), arch);
        multiply(arch, left, right, out, add);
    });
}

/// `out` = or += a · right with some rows and columns of the right factor, as [`multiply_within`].
pub fn rows_times_within(
    arch: Arch,
    a: Strided<'_>,
    right: &Panels,
    within: (Range<usize>, Range<usize>),
    out: (&mut [f32], usize),
    add: bool,
) {
    LEFT.with_borrow_mut(|left| {
        left.fill_rows(layout(), (a.data, a.stride), (a.rows, a.cols), arch);
        multiply_within(arch, left, right, within, out, add);
    });
}

/// `out` = or += aᵀ · right; `a` without gaps.
pub fn columns_times(
    arch: Arch,
    (a, cols): (&[f32], usize),
    right: &Panels,
    out: (&mut [f32], usize),
    add: bool,
) {
    LEFT.with_borrow_mut(|left| {
        left.fill_transposed(layout(), a, cols, arch);
        multiply(arch, left, right, out, add);
    });
}

/// A right factor of this thread, to be filled and used; not within another one's use.
pub fn with_panels<T>(f: impl FnOnce(&mut Panels) -> T) -> T {
    RIGHT.with_borrow_mut(f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize, j: usize, seed: usize) -> f32 {
        ((i * 37 + j * 101 + seed * 13) % 17) as f32 - 8.0
    }

    fn matrix(rows: usize, cols: usize, seed: usize) -> Vec<f32> {
        (0..rows).flat_map(|i| (0..cols).map(move |j| value(i, j, seed))).collect()
    }

    #[test]
    fn a_part_of_the_right_factor_gives_a_part_of_the_product() {
        let arch = Arch::new();
        let (n, k, m) = (41, 130, 100);
        let b = matrix(k, m, 2);
        let mut right = Panels::default();
        right.fill(arch, Strided::whole(&b, m));
        for (depth, width) in [(0..k, 0..m), (32..70, 64..90), (96..97, 32..33)] {
            let a = matrix(n, depth.len(), 1);
            let mut out = vec![0.0; n * width.len()];
            let within = (depth.clone(), width.clone());
            let left = Strided::whole(&a, depth.len());
            rows_times_within(arch, left, &right, within, (&mut out, width.len()), false);
            for (at, &got) in out.iter().enumerate() {
                let (i, j) = (at / width.len(), width.start + at % width.len());
                let product = |l: usize| value(i, l, 1) * value(depth.start + l, j, 2);
                let exact: f32 = (0..depth.len()).map(product).sum();
                assert_eq!(got, exact, "{depth:?} {width:?} at {i}, {j}");
            }
        }
    }

    #[test]
    fn kept_factors_are_those_that_are_filled() {
        let arch = Arch::new();
        let (k, m) = (70, 45);
        let b_t = matrix(m, k, 3);
        let mut filled = Panels::default();
        filled.fill_transposed(arch, Strided::whole(&b_t, k));
        let kept = Panels::of_transposed(arch, Strided::whole(&b_t, k));
        assert_eq!(kept.shape(), (k, m));
        let a = matrix(9, k, 1);
        let product = |right: &Panels| {
            let mut out = vec![0.0; 9 * m];
            rows_times(arch, Strided::whole(&a, k), right, (&mut out, m), false);
            out
        };
        assert_eq!(product(&kept), product(&filled));
    }

    #[test]
    fn products_of_small_integers_are_exact_in_every_form() {
        let arch = Arch::new();
        for (n, k, m) in [(1, 1, 1), (5, 3, 2), (33, 40, 31), (64, 128, 96), (70, 801, 45)] {
            let (a, b) = (matrix(n, k, 1), matrix(k, m, 2));
            let exact = |i: usize, j: usize| -> f32 {
                (0..k).map(|l| value(i, l, 1) * value(l, j, 2)).sum()
            };
            let transposed = |x: &[f32], rows: usize, cols: usize| -> Vec<f32> {
                (0..cols * rows).map(|at| x[at % rows * cols + at / rows]).collect()
            };
            let (a_t, b_t) = (transposed(&a, n, k), transposed(&b, k, m));
            let mut right = Panels::default();
            for form in 0..4 {
                if form % 2 == 0 {
                    right.fill(arch, Strided::whole(&b, m));
                } else {
                    right.fill_transposed(arch, Strided::whole(&b_t, k));
                }
                let stride = m + 2;
                let mut out = vec![1.0; n * stride];
                for _ in 0..2 {
                    if form < 2 {
                        let a = Strided::whole(&a, k);
                        rows_times(arch, a, &right, (&mut out, stride), true);
                    } else {
                        columns_times(arch, (&a_t, n), &right, (&mut out, stride), true);
                    }
                }
                for (at, &got) in out.iter().enumerate() {
                    let (i, j) = (at / stride, at % stride);
                    let expected = if j < m { 1.0 + 2.0 * exact(i, j) } else { 1.0 };
                    assert_eq!(got, expected, "{n} {k} {m} form {form} at {i}, {j}");
                }
            }
        }
    }
}
