//! What is done with the images of the alpha basis: combinations, squares, inner products.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::product::{PANEL, PanelRow, sums_of};
use crate::backend::packed::{Packed, STRIP};

/// Images of some slots, and how they are combined.
pub struct Combined<'a> {
    /// `(n_out, n_slots)`.
    pub combine: &'a Packed,
    /// `(n_rows, slots.len())` rows of a panel.
    pub images: &'a [PanelRow],
    /// Which slots the images are.
    pub slots: Range<usize>,
}

/// Combines the slots of every row of images.
///
/// With `square`, the squares of the combinations are added to `out` `(n_out)`; else they are
/// written there, `(n_rows, n_out)`. A combination never leaves the registers before it is
/// squared. 2·n_out·n_slots flops a row and voxel.
pub fn add_combined(arch: Arch, from: Combined<'_>, out: &mut [PanelRow], square: bool) {
    arch.dispatch(Combine { from, out, square });
}

struct Combine<'a> {
    from: Combined<'a>,
    out: &'a mut [PanelRow],
    square: bool,
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from: Combined { combine, images, slots }, out, square } = self;
        let n_out = combine.rows();
        for s in 0..combine.n_strips() {
            let left = combine.strip(s, slots.clone());
            let rows = s * STRIP..n_out.min((s + 1) * STRIP);
            for (t, right) in images.chunks_exact(slots.len().max(1)).enumerate() {
                let first = if square { rows.start } else { t * n_out + rows.start };
                let out = &mut out[first..first + rows.len()];
                if S::F32_LANES >= 16 {
                    put::<S, 12, 2>(simd, left, right, (0, 0), out, square);
                } else {
                    for row in [0, 6] {
                        for column in (0..PANEL / S::F32_LANES).step_by(2) {
                            put::<S, 6, 2>(simd, left, right, (row, column), out, square);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn put<S: Simd, const R: usize, const C: usize>(
    simd: S,
    left: &[[f32; STRIP]],
    right: &[PanelRow],
    at: (usize, usize),
    out: &mut [PanelRow],
    square: bool,
) {
    let sums = sums_of::<S, R, C>(simd, left, right, at);
    for (i, sums) in sums.iter().enumerate() {
        let Some(row) = out.get_mut(at.0 + i) else { return };
        let row = S::as_mut_simd_f32s(row).0;
        for (c, &sum) in sums.iter().enumerate() {
            let out = &mut row[at.1 + c];
            *out = if square { simd.mul_add_f32s(sum, sum, *out) } else { sum };
        }
    }
}

/// Adds Σ over rows of every image's square to `out` `(n_slots)`.
pub fn add_squares(arch: Arch, images: &[PanelRow], n_slots: usize, out: &mut [PanelRow]) {
    arch.dispatch(|| {
        for row in images.chunks_exact(n_slots) {
            for (image, out) in row.iter().zip(out.iter_mut()) {
                for (o, x) in out.iter_mut().zip(image) {
                    *o += x * x;
                }
            }
        }
    });
}

/// Place of the pair (j, s), j ≤ s, of `n` images: the upper triangle row by row.
pub fn pair_index(n: usize, j: usize, s: usize) -> usize {
    j * n - j * j.saturating_sub(1) / 2 + (s - j)
}

/// Number of pairs of `n` images.
pub fn n_pairs(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Adds Σ over rows of image j times image s, for every j ≤ s, to `out` `(n_pairs(n))`.
///
/// `images`: `(n_rows, n)` rows of a panel. f32 sums, in registers over the rows given: some tens
/// of them.
pub fn add_pairs(arch: Arch, images: &[PanelRow], n: usize, out: &mut [PanelRow]) {
    arch.dispatch(Pairs { images, n, out });
}

struct Pairs<'a> {
    images: &'a [PanelRow],
    n: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { images, n, out } = self;
        for lane in 0..PANEL / S::F32_LANES {
            for j in (0..n).step_by(4) {
                for s in (j..n).step_by(4) {
                    let at = At { lane, j, s, n };
                    match ((n - j).min(4), (n - s).min(4)) {
                        (4, 4) => block::<S, 4, 4>(simd, images, at, out),
                        (4, 3) => block::<S, 4, 3>(simd, images, at, out),
                        (4, 2) => block::<S, 4, 2>(simd, images, at, out),
                        (4, 1) => block::<S, 4, 1>(simd, images, at, out),
                        (3, _) => block::<S, 3, 3>(simd, images, at, out),
                        (2, _) => block::<S, 2, 2>(simd, images, at, out),
                        _ => block::<S, 1, 1>(simd, images, at, out),
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct At {
    lane: usize,
    j: usize,
    s: usize,
    n: usize,
}

/// Images j…j+J with s…s+C, for one register of voxels.
#[inline(always)]
fn block<S: Simd, const J: usize, const C: usize>(
    simd: S,
    images: &[PanelRow],
    at: At,
    out: &mut [PanelRow],
) {
    let At { lane, j, s, n } = at;
    let mut sums = [[simd.splat_f32s(0.0); C]; J];
    for row in images.chunks_exact(n) {
        let (left, right) = (&row[j..j + J], &row[s..s + C]);
        let right: [S::f32s; C] = std::array::from_fn(|c| S::as_simd_f32s(&right[c]).0[lane]);
        for (sums, left) in sums.iter_mut().zip(left) {
            let left = S::as_simd_f32s(left).0[lane];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    for (a, sums) in sums.into_iter().enumerate() {
        for (c, sum) in sums.into_iter().enumerate() {
            if s + c >= j + a {
                let row = &mut out[pair_index(n, j + a, s + c)];
                let out = &mut S::as_mut_simd_f32s(row).0[lane];
                *out = simd.add_f32s(*out, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(t: usize, j: usize, v: usize) -> f32 {
        ((t * 31 + j * 7 + v) % 11) as f32 - 5.0
    }

    fn images(n_rows: usize, n: usize) -> Vec<PanelRow> {
        let row = |i: usize| std::array::from_fn(|v| value(i / n, i % n, v));
        (0..n_rows * n).map(row).collect()
    }

    #[test]
    fn pairs_and_squares_of_small_integers_are_exact() {
        let n_rows = 9;
        for n in [1, 2, 3, 4, 5, 7, 8, 13, 18] {
            let images = images(n_rows, n);
            let mut out = vec![[1.0; PANEL]; n_pairs(n)];
            add_pairs(Arch::new(), &images, n, &mut out);
            for j in 0..n {
                for s in j..n {
                    for (v, &got) in out[pair_index(n, j, s)].iter().enumerate() {
                        let exact: f32 = (0..n_rows).map(|t| value(t, j, v) * value(t, s, v)).sum();
                        assert_eq!(got, 1.0 + exact);
                    }
                }
            }
            let mut squares = vec![[0.0; PANEL]; n];
            add_squares(Arch::new(), &images, n, &mut squares);
            for (j, row) in squares.iter().enumerate() {
                let exact: f32 = (0..n_rows).map(|t| value(t, j, 3).powi(2)).sum();
                assert_eq!(row[3], exact);
            }
        }
    }

    #[test]
    fn combinations_of_some_slots_are_written_or_squared() {
        let n_rows = 5;
        for (n_out, n_slots, first) in [(1, 1, 0), (12, 4, 1), (13, 9, 3), (24, 7, 6)] {
            let weight = |i: usize, slot: usize| ((i * 5 + slot * 3) % 7) as f32 - 3.0;
            let combine = Packed::from_fn(n_out, n_slots, weight);
            let images = images(n_rows, n_slots - first);
            let exact = |t: usize, i: usize, v: usize| -> f32 {
                (first..n_slots).map(|s| weight(i, s) * value(t, s - first, v)).sum()
            };
            let from = || Combined { combine: &combine, images: &images, slots: first..n_slots };
            let mut written = vec![[7.0; PANEL]; n_rows * n_out];
            add_combined(Arch::new(), from(), &mut written, false);
            let mut squares = vec![[1.0; PANEL]; n_out];
            add_combined(Arch::new(), from(), &mut squares, true);
            for v in 0..PANEL {
                for i in 0..n_out {
                    for t in 0..n_rows {
                        assert_eq!(written[t * n_out + i][v], exact(t, i, v));
                    }
                    let sum: f32 = (0..n_rows).map(|t| exact(t, i, v).powi(2)).sum();
                    assert_eq!(squares[i][v], 1.0 + sum);
                }
            }
        }
    }
}
