//! How many block permutations reach a voxel's own correlation; same as `kernels/permute.cu`.

use pulp::{Arch, Simd, WithSimd};

use crate::backend::Permutations;
use crate::product::panels::{PANEL, PanelRow};

/// Pieces of BOLD whose dot products with all pieces of the prediction are taken at a time, and
/// pieces of the prediction that pass in one go: 4 × 4 sums stay in registers, and the dot products
/// of 4 pieces with 600 take 300 KiB of the second-level cache.
const FEW: usize = 4;

/// Buffers of the test, kept from panel to panel.
#[derive(Debug, Default)]
pub struct PermuteScratch {
    /// `(n_blocks, FEW)`: prediction piece j times BOLD piece b + c.
    dots: Vec<[PanelRow; FEW]>,
    /// `(1 + n_permutations)`: Σ over pieces; the first row is the pieces as they are.
    sums: Vec<PanelRow>,
}

/// Takes each voxel's mean over the rows that move off, so that f32 sums lose nothing to it.
pub fn center(rows: &mut [PanelRow]) {
    let mut means = [0f64; PANEL];
    for row in &*rows {
        means.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
    }
    let n = rows.len().max(1) as f64;
    let means = means.map(|sum| (sum / n) as f32);
    for row in rows {
        row.iter_mut().zip(&means).for_each(|(x, mean)| *x -= mean);
    }
}

/// Permutations whose dot product of permuted prediction and BOLD is at least that of the pieces
/// as they are, for one panel.
///
/// `pred`, `bold`: the `n_moved_rows` rows, centred. Means, norms and the rows that stay are the
/// same under every permutation, so that the order of dot products is that of r. The dot products
/// of all pairs of pieces are taken once, 2·n_rows·n_blocks flops a voxel; a permutation is then
/// n_blocks look-ups. f32 sums, in one order for all permutations: equal arrangements tie exactly.
/// Without a piece to move, every permutation is the rows as they are.
pub fn n_at_least(
    arch: Arch,
    permutations: &Permutations,
    pred: &[PanelRow],
    bold: &[PanelRow],
    scratch: &mut PermuteScratch,
) -> [u32; PANEL] {
    if permutations.n_blocks == 0 {
        return [permutations.n as u32; PANEL];
    }
    arch.dispatch(Permute { permutations, pred, bold, scratch });
    let (own, permuted) = scratch.sums.split_first().expect("a row for the pieces as they are");
    let mut counts = [0u32; PANEL];
    for row in permuted {
        for ((count, sum), own) in counts.iter_mut().zip(row).zip(own) {
            *count += u32::from(sum >= own);
        }
    }
    counts
}

struct Permute<'a> {
    permutations: &'a Permutations,
    pred: &'a [PanelRow],
    bold: &'a [PanelRow],
    scratch: &'a mut PermuteScratch,
}

impl WithSimd for Permute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { permutations, pred, bold, scratch: PermuteScratch { dots, sums } } = self;
        let &Permutations { n, block_rows: len, n_blocks, ref table } = permutations;
        dots.resize(n_blocks.next_multiple_of(FEW), [[0.0; PANEL]; FEW]);
        sums.clear();
        sums.resize(1 + n, [0.0; PANEL]);
        // Beyond the last piece: the last one again, which nobody looks up.
        let piece = |rows: &'_ [PanelRow], i: usize| i.min(n_blocks - 1) * len..rows.len();
        for first in (0..n_blocks).step_by(FEW) {
            let right: [&[PanelRow]; FEW] =
                std::array::from_fn(|c| &bold[piece(bold, first + c)][..len]);
            for (i, dots) in dots.as_chunks_mut::<FEW>().0.iter_mut().enumerate() {
                let left: [&[PanelRow]; FEW] =
                    std::array::from_fn(|r| &pred[piece(pred, i * FEW + r)][..len]);
                for lane in 0..PANEL / S::F32_LANES {
                    products(simd, &left, &right, lane, dots);
                }
            }
            let live = FEW.min(n_blocks - first);
            let own = std::array::from_fn(|c| (first + c).min(n_blocks - 1) as u32);
            look_up(simd, dots, &own, live, &mut sums[0]);
            for (sum, order) in sums[1..].iter_mut().zip(table.chunks_exact(n_blocks)) {
                let order = std::array::from_fn(|c| order[(first + c).min(n_blocks - 1)]);
                look_up(simd, dots, &order, live, sum);
            }
        }
    }
}

/// Dot products of four pieces with four, for one register of voxels.
#[inline(always)]
fn products<S: Simd>(
    simd: S,
    left: &[&[PanelRow]; FEW],
    right: &[&[PanelRow]; FEW],
    lane: usize,
    out: &mut [[PanelRow; FEW]; FEW],
) {
    let n = left[0].len();
    let (left, right) = (left.map(|rows| &rows[..n]), right.map(|rows| &rows[..n]));
    let mut sums = [[simd.splat_f32s(0.0); FEW]; FEW];
    for t in 0..n {
        let right: [S::f32s; FEW] = std::array::from_fn(|c| S::as_simd_f32s(&right[c][t]).0[lane]);
        for (sums, left) in sums.iter_mut().zip(&left) {
            let left = S::as_simd_f32s(&left[t]).0[lane];
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_f32s(left, right, *sum);
            }
        }
    }
    for (out, sums) in out.iter_mut().zip(sums) {
        for (out, sum) in out.iter_mut().zip(sums) {
            S::as_mut_simd_f32s(out).0[lane] = sum;
        }
    }
}

/// Adds the dot products that one permutation picks from the first `live` pieces at hand.
#[inline(always)]
fn look_up<S: Simd>(
    simd: S,
    dots: &[[PanelRow; FEW]],
    order: &[u32; FEW],
    live: usize,
    sum: &mut PanelRow,
) {
    let sum = S::as_mut_simd_f32s(sum).0;
    for (c, &piece) in order.iter().enumerate().take(live) {
        let dots = S::as_simd_f32s(&dots[piece as usize][c]).0;
        for (sum, &dot) in sum.iter_mut().zip(dots) {
            *sum = simd.add_f32s(*sum, dot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(t: usize, v: usize, seed: usize) -> f32 {
        ((t * 37 + v * 101 + t * v * seed) % 23) as f32 - 11.0
    }

    #[test]
    fn counts_of_small_integers_are_those_of_reordered_rows() {
        for (n_rows, len) in [(7, 10), (10, 10), (23, 10), (30, 10), (61, 5), (97, 3), (13, 1)] {
            let made = Permutations::new(n_rows, len, 40, 7);
            let moved = made.n_moved_rows();
            let rows = |seed: usize| -> Vec<PanelRow> {
                (0..n_rows).map(|t| std::array::from_fn(|v| value(t, v, seed))).collect()
            };
            let (pred, bold) = (rows(3), rows(5));
            let mut scratch = PermuteScratch::default();
            for _ in 0..2 {
                let counts =
                    n_at_least(Arch::new(), &made, &pred[..moved], &bold[..moved], &mut scratch);
                for (v, &got) in counts.iter().enumerate() {
                    // All rows, those that stay included.
                    let dot = |order: &dyn Fn(usize) -> usize| -> f32 {
                        (0..n_rows).map(|t| pred[order(t)][v] * bold[t][v]).sum()
                    };
                    let own = dot(&|t| t);
                    let reordered = |order: &[u32]| {
                        dot(&|t| order.get(t / len).map_or(t, |&b| b as usize * len + t % len))
                    };
                    let reached = made.rows().filter(|order| reordered(order) >= own).count();
                    let expected = if moved == 0 { made.n } else { reached };
                    assert_eq!(got as usize, expected, "{n_rows} {len} {v}");
                }
            }
        }
    }

    #[test]
    fn centring_leaves_no_mean() {
        let mut rows: Vec<PanelRow> =
            (0..50).map(|t| std::array::from_fn(|v| 1000.0 * v as f32 + value(t, v, 2))).collect();
        center(&mut rows);
        for v in 0..PANEL {
            let mean: f32 = rows.iter().map(|row| row[v]).sum::<f32>() / 50.0;
            // The mean itself is rounded to f32.
            assert!(mean.abs() <= 2.0 * f32::EPSILON * 1000.0 * (v + 1) as f32, "{v} {mean}");
        }
    }
}
