//! Pearson sums of predicted and measured BOLD, per voxel.

use std::ops::Range;

use crate::backend::TestTile;
use crate::product::panels::{PANEL, PanelRow, n_panels};
use crate::product::vectorized::vectorized;
use crate::stats::pearson_from_sums;

/// Σp, Σp², Σy, Σy², Σpy of a panel.
type Sums = [[f64; PANEL]; 5];

/// Running sums of one model on one tile: per test block, and over all of them.
#[derive(Debug, Default, Clone)]
pub struct PearsonSums {
    width: usize,
    n_total: f64,
    total: Vec<Sums>,
    n_inner: f64,
    inner: Vec<Sums>,
}

impl PearsonSums {
    /// Empty sums for a tile, and scores that are not there yet; `has_inner`: of inner rows too.
    pub fn begin(&mut self, width: usize, n_blocks: usize, has_inner: bool, scores: &mut TestTile) {
        self.width = width;
        (self.n_total, self.n_inner) = (0.0, 0.0);
        self.total.clear();
        self.total.resize(n_panels(width), [[0.0; PANEL]; 5]);
        self.inner.clear();
        scores.block_correlation.clear();
        scores.block_correlation.resize(n_blocks * width, f32::NAN);
        scores.block_inner_correlation.clear();
        if has_inner {
            self.inner.resize(n_panels(width), [[0.0; PANEL]; 5]);
            scores.block_inner_correlation.resize(n_blocks * width, f32::NAN);
        }
    }

    /// Adds one block of `n` rows, and puts r within it into `scores`.
    ///
    /// `pred`, `bold`: panel by panel, both near zero mean. Sums in f64. A voxel with `bad` set
    /// gets NaN in this block and in the total.
    #[allow(clippy::too_many_arguments)]
    pub fn add(
        &mut self,
        block: usize,
        n: usize,
        pred: &[PanelRow],
        bold: &[PanelRow],
        bad: &[bool],
        scores: &mut TestTile,
        arch: pulp::Arch,
    ) {
        self.n_total += n as f64;
        let scores = &mut scores.block_correlation;
        self.add_rows(block, n, 0..n, (pred, bold, bad), scores, arch);
    }

    /// Adds the inner rows of a block, and puts r within them into `scores`; as [`add`](Self::add).
    #[allow(clippy::too_many_arguments)]
    pub fn add_inner(
        &mut self,
        block: usize,
        n: usize,
        inner: Range<usize>,
        (pred, bold, bad): (&[PanelRow], &[PanelRow], &[bool]),
        scores: &mut TestTile,
        arch: pulp::Arch,
    ) {
        self.n_inner += inner.len() as f64;
        std::mem::swap(&mut self.total, &mut self.inner);
        let scores = &mut scores.block_inner_correlation;
        self.add_rows(block, n, inner, (pred, bold, bad), scores, arch);
        std::mem::swap(&mut self.total, &mut self.inner);
    }

    #[allow(clippy::too_many_arguments)]
    fn add_rows(
        &mut self,
        block: usize,
        n: usize,
        rows: Range<usize>,
        (pred, bold, bad): (&[PanelRow], &[PanelRow], &[bool]),
        scores: &mut [f32],
        arch: pulp::Arch,
    ) {
        if n == 0 || rows.is_empty() {
            return;
        }
        let blocks = &mut scores[block * self.width..(block + 1) * self.width];
        let panels = pred.chunks_exact(n).zip(bold.chunks_exact(n)).zip(&mut self.total);
        let n_rows = rows.len() as f64;
        for (((pred, bold), total), start) in panels.zip((0..).step_by(PANEL)) {
            let sums = sums_of_rows(arch, &pred[rows.clone()], &bold[rows.clone()]);
            let live = PANEL.min(self.width - start);
            for v in 0..live {
                let s = sums.map(|row| row[v]);
                let r = pearson_from_sums(n_rows, s[0], s[1], s[2], s[3], s[4]);
                let is_bad = bad[start + v];
                blocks[start + v] = if is_bad { f32::NAN } else { r as f32 };
                for (total, s) in total.iter_mut().zip(s) {
                    total[v] += if is_bad { f64::NAN } else { s };
                }
            }
        }
    }

    /// Rows that were added.
    pub fn n_rows(&self) -> f64 {
        self.n_total
    }

    /// Σp, Σp², Σy, Σy², Σpy of a voxel over all rows.
    pub fn sums(&self, voxel: usize) -> [f64; 5] {
        self.total[voxel / PANEL].map(|row| row[voxel % PANEL])
    }

    /// R² over all rows, into `scores`. `offsets`: `(width)` what is to be added to a prediction.
    ///
    /// NaN where r is: a voxel that does not vary, or a prediction that does not.
    pub fn finish_r2(&self, offsets: impl Iterator<Item = f64>, scores: &mut TestTile) {
        scores.r2.clear();
        scores.r2.extend(offsets.take(self.width).enumerate().map(|(v, offset)| {
            let ([p, pp, y, yy, py], n) = (self.sums(v), self.n_total);
            let residual = yy + pp - 2.0 * py + offset * (2.0 * (p - y) + n * offset);
            let r2 = 1.0 - residual / (yy - y * y / n);
            if scores.correlation[v].is_nan() { f32::NAN } else { r2 as f32 }
        }));
    }

    /// r over all rows, into `scores`.
    pub fn finish(&self, scores: &mut TestTile) {
        scores.correlation.clear();
        scores.correlation.extend((0..self.width).map(|v| {
            let s = self.sums(v);
            pearson_from_sums(self.n_total, s[0], s[1], s[2], s[3], s[4]) as f32
        }));
        scores.inner_correlation.clear();
        let n_voxels = if self.inner.is_empty() { 0 } else { self.width };
        scores.inner_correlation.extend((0..n_voxels).map(|voxel| {
            let s = self.inner[voxel / PANEL].map(|row| row[voxel % PANEL]);
            pearson_from_sums(self.n_inner, s[0], s[1], s[2], s[3], s[4]) as f32
        }));
    }
}

vectorized! {
    fn sums_of_rows<'a>(pred: &'a [PanelRow], bold: &'a [PanelRow]) -> Sums {
        let mut sums = [[0f64; PANEL]; 5];
        for (pred, bold) in pred.iter().zip(bold) {
            for v in 0..PANEL {
                let (p, y) = (f64::from(pred[v]), f64::from(bold[v]));
                sums[0][v] += p;
                sums[1][v] += p * p;
                sums[2][v] += y;
                sums[3][v] += y * y;
                sums[4][v] += p * y;
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_is_that_of_the_predictions_with_their_offsets() {
        let (n, width) = (23, 40);
        let value = |t: usize, v: usize, k: usize| ((t * 7 + v * 13 + k * t * v) % 17) as f64 / 4.0;
        let rows = |k: usize| -> Vec<PanelRow> {
            let row = |i: usize| std::array::from_fn(|v| value(i % n, i / n * PANEL + v, k) as f32);
            (0..n_panels(width) * n).map(row).collect()
        };
        let (mut sums, mut scores) = (PearsonSums::default(), TestTile::default());
        sums.begin(width, 1, false, &mut scores);
        let arch = pulp::Arch::new();
        sums.add(0, n, &rows(1), &rows(2), &vec![false; width], &mut scores, arch);
        sums.finish(&mut scores);
        let offset = |v: usize| v as f64 / 16.0;
        sums.finish_r2((0..width).map(offset), &mut scores);
        let live = (0..width).filter(|&v| !scores.correlation[v].is_nan());
        for v in live {
            let y = |t: usize| value(t, v, 2);
            let mean = (0..n).map(y).sum::<f64>() / n as f64;
            let residual: f64 = (0..n).map(|t| (y(t) - value(t, v, 1) - offset(v)).powi(2)).sum();
            let total: f64 = (0..n).map(|t| (y(t) - mean).powi(2)).sum();
            let r2 = 1.0 - residual / total;
            assert!((f64::from(scores.r2[v]) - r2).abs() < 1e-5 * r2.abs().max(1.0), "{v}");
        }
        assert!(scores.r2.iter().filter(|r2| !r2.is_nan()).count() > width / 2);
    }
}
