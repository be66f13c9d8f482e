//! Products of row-major matrices on the engine's units (`product::multiply`).
//!
//! The left factor is packed, the right one cut into panels of 32 columns; both are made anew from
//! activations, so making them is as quick as reading them. Sums are f32's own: six products of
//! bf16 parts where tile units do it.

use std::cell::RefCell;

use pulp::Arch;

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
pub fn multiply(
    arch: Arch,
    left: &Packed,
    right: &Panels,
    (out, stride): (&mut [f32], usize),
    add: bool,
) {
    assert_eq!(left.depth(), right.depth, "a row of the right factor for every column");
    let panels = 0..right.width.div_ceil(PANEL);
    let live = |p: usize| PANEL.min(right.width - p * PANEL);
    if left.layout() == Layout::Strips {
        for p in panels {
            let part = Part { strips: 0..left.n_strips(), columns: 0..left.depth(), upper: false };
            let rows = &right.rows[p * right.depth..(p + 1) * right.depth];
            let out = Out { data: &mut out[p * PANEL..], stride, live: live(p) };
            multiply::multiply(arch, left, part, rows, out, add);
        }
        return;
    }
    let unit = Unit::new();
    let n_chunks = right.depth.div_ceil(SIDE);
    for start in (0..left.depth()).step_by(DEPTH) {
        let end = (start + DEPTH).min(left.depth());
        for s in 0..left.n_strips() {
            for p in panels.clone() {
                let part = Part { strips: s..s + 1, columns: start..end, upper: false };
                let chunks = &right.chunks[p * n_chunks..(p + 1) * n_chunks];
                let chunks = &chunks[start / SIDE..end.div_ceil(SIDE)];
                let data = &mut out[s * SIDE * stride + p * PANEL..];
                let out = Out { data, stride, live: live(p) };
                multiply::multiply_split(
                    &unit,
                    left,
                    part,
                    chunks,
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
