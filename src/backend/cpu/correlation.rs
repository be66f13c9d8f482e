//! Pearson sums of predicted and measured BOLD, per voxel.

use crate::stats::pearson_from_sums;

/// Running sums of one model on one tile: per test block, and over all of them.
#[derive(Debug, Default, Clone)]
pub struct PearsonSums {
    width: usize,
    n_total: f64,
    total: Vec<[f64; 5]>,
    blocks: Vec<Vec<f32>>,
}

impl PearsonSums {
    /// Empty sums.
    pub fn new(width: usize, n_blocks: usize) -> Self {
        Self {
            width,
            n_total: 0.0,
            total: vec![[0.0; 5]; width],
            blocks: vec![vec![f32::NAN; width]; n_blocks],
        }
    }

    /// Adds one block; `pred`, `bold`: `(n, width)` row-major, both near zero mean. Sums in f64.
    /// A voxel with `bad` set gets NaN in this block and in the total.
    pub fn add(
        &mut self,
        block: usize,
        pred: &[f32],
        bold: &[f32],
        bad: &[bool],
        arch: pulp::Arch,
    ) {
        let width = self.width;
        if width == 0 {
            return;
        }
        let n = (bold.len() / width) as f64;
        self.n_total += n;
        let mut sums = vec![[0f64; 5]; width];
        arch.dispatch(|| add_rows(pred, bold, width, &mut sums));
        for (v, s) in sums.into_iter().enumerate() {
            let r = pearson_from_sums(n, s[0], s[1], s[2], s[3], s[4]);
            self.blocks[block][v] = if bad[v] { f32::NAN } else { r as f32 };
            for (total, s) in self.total[v].iter_mut().zip(s) {
                *total += if bad[v] { f64::NAN } else { s };
            }
        }
    }

    /// r over all rows, and r within each block `(n_blocks, width)`.
    pub fn finish(&self) -> (Vec<f32>, Vec<f32>) {
        let total = self
            .total
            .iter()
            .map(|s| pearson_from_sums(self.n_total, s[0], s[1], s[2], s[3], s[4]) as f32)
            .collect();
        (total, self.blocks.concat())
    }
}

/// Voxels whose sums stay in registers and first-level cache.
const CHUNK: usize = 64;

#[inline(always)]
fn add_rows(pred: &[f32], bold: &[f32], width: usize, out: &mut [[f64; 5]]) {
    for start in (0..width).step_by(CHUNK) {
        let len = CHUNK.min(width - start);
        let mut sums = [[0f64; CHUNK]; 5];
        for (p, y) in pred.chunks_exact(width).zip(bold.chunks_exact(width)) {
            let (p, y) = (&p[start..start + len], &y[start..start + len]);
            for v in 0..len {
                let (p, y) = (f64::from(p[v]), f64::from(y[v]));
                sums[0][v] += p;
                sums[1][v] += p * p;
                sums[2][v] += y;
                sums[3][v] += y * y;
                sums[4][v] += p * y;
            }
        }
        for v in 0..len {
            out[start + v] = std::array::from_fn(|k| sums[k][v]);
        }
    }
}
