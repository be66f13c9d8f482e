//! What is done with the images of the alpha basis: combinations, squares, inner products.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::product::multiply::sums_of;
use crate::product::packed::{Packed, STRIP};
use crate::product::panels::{PANEL, PanelRow};
use crate::product::vectorized::vectorized;

/// Images of some slots, and how they are combined.
pub struct Combined<'a> {
    /// `(n_out, n_slots)`.
    pub combine: &'a Packed,
    /// `(n_rows, slots.len())` rows of a panel.
    pub images: &'a [PanelRow],
    /// Which slots the images are.
    pub slots: Range<usize>,
}

/// Combines the slots of every row of images and adds the squares to `out` `(n_out)`. A combination
/// never leaves the registers before it is squared. 2·n_out·n_slots flops a row and voxel.
pub fn add_squared(arch: Arch, from: Combined<'_>, out: &mut [PanelRow]) {
    arch.dispatch(Combine { from, out, square: true });
}

/// Rows of combinations whose inner products are taken at a time: those of 18 combinations and
/// their sums fit the second-level cache, those of one block of pairs the first.
pub const FEW_ROWS: usize = 32;

/// Some rows of one combination.
pub type Few = [PanelRow; FEW_ROWS];

/// Combinations, filled up to whole blocks of pairs.
pub fn n_few(n: usize) -> usize {
    n.next_multiple_of(BLOCK)
}

/// Combines the slots of at most [`FEW_ROWS`] rows of images into `out` `(n_few(n_out))`.
pub fn combine(arch: Arch, from: Combined<'_>, out: &mut [Few]) {
    arch.dispatch(Combine { from, out: out.as_flattened_mut(), square: false });
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
                let (first, step) = match square {
                    true => (rows.start, 1),
                    false => (rows.start * FEW_ROWS + t, FEW_ROWS),
                };
                let out = &mut out[first..=first + (rows.len() - 1) * step];
                if S::F32_LANES >= 16 && rows.len() <= 6 {
                    put::<S, 6, 2>(simd, left, right, (0, 0), out, (step, square));
                } else if S::F32_LANES >= 16 {
                    put::<S, 12, 2>(simd, left, right, (0, 0), out, (step, square));
                } else {
                    for row in [0, 6] {
                        for column in (0..PANEL / S::F32_LANES).step_by(2) {
                            put::<S, 6, 2>(simd, left, right, (row, column), out, (step, square));
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
    (step, square): (usize, bool),
) {
    let sums = sums_of::<S, R, C>(simd, left, right, at);
    for (i, sums) in sums.iter().enumerate() {
        let Some(row) = out.get_mut((at.0 + i) * step) else { return };
        let row = S::as_mut_simd_f32s(row).0;
        for (c, &sum) in sums.iter().enumerate() {
            let out = &mut row[at.1 + c];
            *out = if square { simd.mul_add_f32s(sum, sum, *out) } else { sum };
        }
    }
}

vectorized! {
    /// Adds Σ over rows of every image's square to `out` `(n_slots)`.
    pub fn add_squares<'a>(images: &'a [PanelRow], n_slots: usize, out: &'a mut [PanelRow]) {
        for row in images.chunks_exact(n_slots) {
            for (image, out) in row.iter().zip(out.iter_mut()) {
                for (o, x) in out.iter_mut().zip(image) {
                    *o += x * x;
                }
            }
        }
    }
}

/// Combinations on either side of a block of pairs.
const BLOCK: usize = 4;

/// Pairs of `n` combinations in the order in which [`add_pairs`] keeps them: blocks of 4 × 4, those
/// of the upper triangle row by row. Pairs (j, s) with j > s are there too: as (s, j) again, or of
/// combinations beyond `n`.
pub fn pair_order(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let blocks = (0..n).step_by(BLOCK);
    let blocks = blocks.flat_map(move |j| (j..n).step_by(BLOCK).map(move |s| (j, s)));
    blocks.flat_map(|(j, s)| (0..BLOCK * BLOCK).map(move |i| (j + i / BLOCK, s + i % BLOCK)))
}

/// Length of [`pair_order`].
pub fn n_pairs(n: usize) -> usize {
    let n_blocks = n.div_ceil(BLOCK);
    n_blocks * (n_blocks + 1) / 2 * BLOCK * BLOCK
}

/// Adds Σ over rows of combination j times combination s to `out`, pairs as in [`pair_order`].
///
/// f32 sums, in registers over the rows given.
pub fn add_pairs(arch: Arch, few: &[Few], n_rows: usize, out: &mut [PanelRow]) {
    arch.dispatch(Pairs { few, n_rows, out });
}

struct Pairs<'a> {
    few: &'a [Few],
    n_rows: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { few, n_rows, out } = self;
        let few = few.as_chunks::<BLOCK>().0;
        let mut out = out.as_chunks_mut::<{ BLOCK * BLOCK }>().0.iter_mut();
        for (j, left) in few.iter().enumerate() {
            for (right, out) in few[j..].iter().zip(&mut out) {
                for lane in 0..PANEL / S::F32_LANES {
                    block(simd, (left, right), n_rows, lane, out);
                }
            }
        }
    }
}

/// Four combinations with four, for one register of voxels.
#[inline(always)]
fn block<S: Simd>(
    simd: S,
    (left, right): (&[Few; BLOCK], &[Few; BLOCK]),
    n_rows: usize,
    lane: usize,
    out: &mut [PanelRow; BLOCK * BLOCK],
) {
    let mut sums = [[simd.splat_f32s(0.0); BLOCK]; BLOCK];
    for t in 0..n_rows.min(FEW_ROWS) {
        let right: [S::f32s; BLOCK] =
            std::array::from_fn(|c| S::as_simd_f32s(&right[c][t]).0[lane]);
        for (sums, left) in sums.iter_mut().zip(left) {
            let left = S::as_simd_f32s(&left[t]).0[lane];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    for (out, &sum) in out.iter_mut().zip(sums.iter().flatten()) {
        let out = &mut S::as_mut_simd_f32s(out).0[lane];
        *out = simd.add_f32s(*out, sum);
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
            let mut few = vec![[[0.0; PANEL]; FEW_ROWS]; n_few(n)];
            for (j, few) in few[..n].iter_mut().enumerate() {
                for (t, row) in few.iter_mut().enumerate() {
                    *row = std::array::from_fn(|v| value(t, j, v));
                }
            }
            let mut out = vec![[1.0; PANEL]; n_pairs(n)];
            add_pairs(Arch::new(), &few, n_rows, &mut out);
            let mut seen = 0;
            for ((j, s), row) in pair_order(n).zip(&out) {
                seen += usize::from(j <= s && s < n);
                for (v, &got) in row.iter().enumerate() {
                    let live = j < n && s < n;
                    let exact: f32 = (0..n_rows).map(|t| value(t, j, v) * value(t, s, v)).sum();
                    assert_eq!(got, if live { 1.0 + exact } else { 1.0 });
                }
            }
            assert_eq!((seen, pair_order(n).count()), (n * (n + 1) / 2, out.len()));
            let images = images(n_rows, n);
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
            let packed = Packed::from_fn(n_out, n_slots, weight);
            let images = images(n_rows, n_slots - first);
            let exact = |t: usize, i: usize, v: usize| -> f32 {
                (first..n_slots).map(|s| weight(i, s) * value(t, s - first, v)).sum()
            };
            let from = || Combined { combine: &packed, images: &images, slots: first..n_slots };
            let mut written = vec![[[7.0; PANEL]; FEW_ROWS]; n_few(n_out)];
            combine(Arch::new(), from(), &mut written);
            let mut squares = vec![[1.0; PANEL]; n_out];
            add_squared(Arch::new(), from(), &mut squares);
            for v in 0..PANEL {
                for i in 0..n_out {
                    for (t, row) in written[i][..n_rows].iter().enumerate() {
                        assert_eq!(row[v], exact(t, i, v));
                    }
                    let sum: f32 = (0..n_rows).map(|t| exact(t, i, v).powi(2)).sum();
                    assert_eq!(squares[i][v], 1.0 + sum);
                }
            }
        }
    }
}
