//! Inner products between all pairs of a voxel's images, 32 voxels at a time.

use pulp::{Arch, Simd, WithSimd};

use super::product::{PANEL, PanelRow};

/// Place of the pair (j, s), j ≤ s, of `n` slots: the upper triangle row by row.
pub fn pair_index(n: usize, j: usize, s: usize) -> usize {
    j * n - j * j.saturating_sub(1) / 2 + (s - j)
}

/// Number of pairs of `n` slots.
pub fn n_pairs(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Adds Σ over rows of image j times image s, for every j ≤ s, to `out`.
///
/// `images`: `(n_rows, n_active)` rows of a panel; they are the slots `n_slots − n_active …` of
/// `out` `(n_pairs(n_slots))`. f32 sums, in registers over the rows given: some tens of them.
pub fn add_pairs(
    arch: Arch,
    images: &[PanelRow],
    n_active: usize,
    n_slots: usize,
    out: &mut [PanelRow],
) {
    arch.dispatch(Pairs { images, n_active, n_slots, out });
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

struct Pairs<'a> {
    images: &'a [PanelRow],
    n_active: usize,
    n_slots: usize,
    out: &'a mut [PanelRow],
}

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { images, n_active: n, n_slots, out } = self;
        for lane in 0..PANEL / S::F32_LANES {
            for j in (0..n).step_by(4) {
                for s in (j..n).step_by(4) {
                    let at = At { lane, j, s, n, n_slots };
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
    n_slots: usize,
}

/// Images j…j+J with s…s+C, for one register of voxels.
#[inline(always)]
fn block<S: Simd, const J: usize, const C: usize>(
    simd: S,
    images: &[PanelRow],
    at: At,
    out: &mut [PanelRow],
) {
    let At { lane, j, s, n, n_slots } = at;
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
    let first = n_slots - n;
    for (a, sums) in sums.into_iter().enumerate() {
        for (c, sum) in sums.into_iter().enumerate() {
            if s + c >= j + a {
                let row = &mut out[pair_index(n_slots, first + j + a, first + s + c)];
                let out = &mut S::as_mut_simd_f32s(row).0[lane];
                *out = simd.add_f32s(*out, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_small_integers_is_exact() {
        for n_slots in [1, 2, 3, 4, 5, 7, 13] {
            for n_active in 1..=n_slots {
                let n_rows = 9;
                let value = |t: usize, j: usize, v: usize| ((t * 31 + j * 7 + v) % 11) as f32 - 5.0;
                let images: Vec<PanelRow> = (0..n_rows * n_active)
                    .map(|i| std::array::from_fn(|v| value(i / n_active, i % n_active, v)))
                    .collect();
                let mut out = vec![[1.0; PANEL]; n_pairs(n_slots)];
                add_pairs(Arch::new(), &images, n_active, n_slots, &mut out);
                let first = n_slots - n_active;
                for j in 0..n_slots {
                    for s in j..n_slots {
                        for (v, &got) in out[pair_index(n_slots, j, s)].iter().enumerate() {
                            let exact: f32 = (0..n_rows)
                                .filter(|_| j >= first)
                                .map(|t| value(t, j - first, v) * value(t, s - first, v))
                                .sum();
                            assert_eq!(got, 1.0 + exact);
                        }
                    }
                }
                let mut squares = vec![[0.0; PANEL]; n_active];
                add_squares(Arch::new(), &images, n_active, &mut squares);
                for (j, row) in squares.iter().enumerate() {
                    let exact: f32 = (0..n_rows).map(|t| value(t, j, 3).powi(2)).sum();
                    assert_eq!(row[3], exact);
                }
            }
        }
    }
}
