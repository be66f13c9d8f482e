//! Pearson sums of predicted and measured BOLD, per voxel.

use super::panels::n_panels;
use super::product::{PANEL, PanelRow};
use crate::stats::pearson_from_sums;

/// Σp, Σp², Σy, Σy², Σpy of a panel.
type Sums = [[f64; PANEL]; 5];

/// Running sums of one model on one tile: per test block, and over all of them.
#[derive(Debug, Default, Clone)]
pub struct PearsonSums {
    width: usize,
    n_total: f64,
    total: Vec<Sums>,
    /// `(n_blocks, width)` r within each block.
    blocks: Vec<f32>,
}

impl PearsonSums {
    /// Empty sums for a tile.
    pub fn begin(&mut self, width: usize, n_blocks: usize) {
        self.width = width;
        self.n_total = 0.0;
        self.total.clear();
        self.total.resize(n_panels(width), [[0.0; PANEL]; 5]);
        self.blocks.clear();
        self.blocks.resize(n_blocks * width, f32::NAN);
    }

    /// Adds one block of `n` rows; `pred`, `bold`: panel by panel, both near zero mean. Sums in
    /// f64. A voxel with `bad` set gets NaN in this block and in the total.
    pub fn add(
        &mut self,
        block: usize,
        n: usize,
        pred: &[PanelRow],
        bold: &[PanelRow],
        bad: &[bool],
        arch: pulp::Arch,
    ) {
        self.n_total += n as f64;
        if n == 0 {
            return;
        }
        let blocks = &mut self.blocks[block * self.width..(block + 1) * self.width];
        let panels = pred.chunks_exact(n).zip(bold.chunks_exact(n)).zip(&mut self.total);
        for (((pred, bold), total), start) in panels.zip((0..).step_by(PANEL)) {
            let sums = arch.dispatch(|| add_rows(pred, bold));
            let live = PANEL.min(self.width - start);
            for v in 0..live {
                let s = sums.map(|row| row[v]);
                let r = pearson_from_sums(n as f64, s[0], s[1], s[2], s[3], s[4]);
                let is_bad = bad[start + v];
                blocks[start + v] = if is_bad { f32::NAN } else { r as f32 };
                for (total, s) in total.iter_mut().zip(s) {
                    total[v] += if is_bad { f64::NAN } else { s };
                }
            }
        }
    }

    /// r over all rows `(width)`, and r within each block `(n_blocks, width)`.
    pub fn finish(&self, correlation: &mut Vec<f32>, block_correlation: &mut Vec<f32>) {
        correlation.clear();
        correlation.extend((0..self.width).map(|v| {
            let s = self.total[v / PANEL].map(|row| row[v % PANEL]);
            pearson_from_sums(self.n_total, s[0], s[1], s[2], s[3], s[4]) as f32
        }));
        block_correlation.clear();
        block_correlation.extend_from_slice(&self.blocks);
    }
}

#[inline(always)]
fn add_rows(pred: &[PanelRow], bold: &[PanelRow]) -> Sums {
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
