//! Pearson sums of predicted and measured BOLD, per voxel.

use std::ops::Range;

use crate::backend::TestTile;
use crate::product::panels::{PANEL, PanelRow, n_panels};
use crate::product::vectorized::vectorized;
use crate::stats::pearson_from_sums;

/// Σp, Σp², Σy, Σy², Σpy of a panel.
type Sums = [[f64; PANEL]; 5];

/// Sums over the rows of all test blocks.
#[derive(Debug, Default, Clone)]
struct Total {
    n_rows: f64,
    panels: Vec<Sums>,
}

/// Running sums of one model on one tile: per test block, and over all of them; of all rows and,
/// where they are told apart, of inner rows.
#[derive(Debug, Default, Clone)]
pub struct PearsonSums {
    width: usize,
    all: Total,
    inner: Option<Total>,
}

/// One block of rows, panel by panel, both near zero mean; voxels with `bad` set get NaN.
#[derive(Clone, Copy)]
pub struct PredictedBlock<'a> {
    /// Index among the test blocks.
    pub block: usize,
    /// Rows of the block.
    pub n_rows: usize,
    /// Predicted BOLD.
    pub pred: &'a [PanelRow],
    /// Measured BOLD.
    pub bold: &'a [PanelRow],
    /// Voxels that cannot be scored.
    pub bad: &'a [bool],
}

impl Total {
    fn empty(width: usize) -> Self {
        Self { n_rows: 0.0, panels: vec![[[0.0; PANEL]; 5]; n_panels(width)] }
    }

    /// Adds some rows of a block, in f64; r within them, `(width)`, into `found`.
    fn add(
        &mut self,
        predicted: PredictedBlock<'_>,
        rows: Range<usize>,
        found: &mut [f32],
        arch: pulp::Arch,
    ) {
        let PredictedBlock { n_rows: n, pred, bold, bad, .. } = predicted;
        let n_rows = rows.len() as f64;
        self.n_rows += n_rows;
        if rows.is_empty() {
            return;
        }
        let panels = pred.chunks_exact(n).zip(bold.chunks_exact(n)).zip(&mut self.panels);
        for (((pred, bold), total), start) in panels.zip((0..).step_by(PANEL)) {
            let sums = sums_of_rows(arch, &pred[rows.clone()], &bold[rows.clone()]);
            let live = PANEL.min(found.len() - start);
            for v in 0..live {
                let s = sums.map(|row| row[v]);
                let r = pearson_from_sums(n_rows, s[0], s[1], s[2], s[3], s[4]);
                let is_bad = bad[start + v];
                found[start + v] = if is_bad { f32::NAN } else { r as f32 };
                for (total, s) in total.iter_mut().zip(s) {
                    total[v] += if is_bad { f64::NAN } else { s };
                }
            }
        }
    }

    /// Σp, Σp², Σy, Σy², Σpy of a voxel.
    fn sums(&self, voxel: usize) -> [f64; 5] {
        self.panels[voxel / PANEL].map(|row| row[voxel % PANEL])
    }

    fn r_of_voxels(&self, width: usize) -> Vec<f32> {
        let r = |voxel| {
            let s = self.sums(voxel);
            pearson_from_sums(self.n_rows, s[0], s[1], s[2], s[3], s[4]) as f32
        };
        (0..width).map(r).collect()
    }
}

impl PearsonSums {
    /// Empty sums for a tile, and scores that are not there yet; `has_inner`: of inner rows too.
    pub fn begin(&mut self, width: usize, n_blocks: usize, has_inner: bool, scores: &mut TestTile) {
        let inner = has_inner.then(|| Total::empty(width));
        *self = Self { width, all: Total::empty(width), inner };
        scores.block_correlation.clear();
        scores.block_correlation.resize(n_blocks * width, f32::NAN);
        scores.block_inner_correlation.clear();
        if has_inner {
            scores.block_inner_correlation.resize(n_blocks * width, f32::NAN);
        }
    }

    /// Adds a block, and puts r within it, and within its `inner` rows, into `scores`.
    pub fn add(
        &mut self,
        predicted: PredictedBlock<'_>,
        inner: Option<Range<usize>>,
        scores: &mut TestTile,
        arch: pulp::Arch,
    ) {
        let own = predicted.block * self.width..(predicted.block + 1) * self.width;
        let found = &mut scores.block_correlation[own.clone()];
        self.all.add(predicted, 0..predicted.n_rows, found, arch);
        if let (Some(total), Some(rows)) = (&mut self.inner, inner) {
            total.add(predicted, rows, &mut scores.block_inner_correlation[own], arch);
        }
    }

    /// Rows that were added.
    pub fn n_rows(&self) -> f64 {
        self.all.n_rows
    }

    /// Σp, Σp², Σy, Σy², Σpy of a voxel over all rows.
    pub fn sums(&self, voxel: usize) -> [f64; 5] {
        self.all.sums(voxel)
    }

    /// R² over all rows, into `scores`. `offsets`: `(width)` what is to be added to a prediction.
    ///
    /// NaN where r is: a voxel that does not vary, or a prediction that does not.
    pub fn finish_r2(&self, offsets: impl Iterator<Item = f64>, scores: &mut TestTile) {
        scores.r2.clear();
        scores.r2.extend(offsets.take(self.width).enumerate().map(|(v, offset)| {
            let ([p, pp, y, yy, py], n) = (self.sums(v), self.n_rows());
            let residual = yy + pp - 2.0 * py + offset * (2.0 * (p - y) + n * offset);
            let r2 = 1.0 - residual / (yy - y * y / n);
            if scores.correlation[v].is_nan() { f32::NAN } else { r2 as f32 }
        }));
    }

    /// r over all rows, and over all inner rows, into `scores`.
    pub fn finish(&self, scores: &mut TestTile) {
        scores.correlation = self.all.r_of_voxels(self.width);
        let inner = self.inner.as_ref();
        scores.inner_correlation = inner.map_or(Vec::new(), |inner| inner.r_of_voxels(self.width));
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
        let (pred, bold, bad) = (rows(1), rows(2), vec![false; width]);
        let block = PredictedBlock { block: 0, n_rows: n, pred: &pred, bold: &bold, bad: &bad };
        sums.add(block, None, &mut scores, arch);
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
