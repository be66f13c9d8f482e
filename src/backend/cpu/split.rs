//! How much of a banded model's test score each band has: the product measure.

use super::correlation::PearsonSums;
use crate::backend::TestTile;
use crate::product::panels::{PANEL, PanelRow, n_panels};
use crate::product::vectorized::vectorized;

/// Σp_b, Σp_b·y, Σp_b·p of a panel, p_b a band's prediction and p that of all.
type Sums = [[f64; PANEL]; 3];

/// Running sums of one banded model on one tile.
#[derive(Debug, Default, Clone)]
pub struct BandSums {
    width: usize,
    /// `(n_bands, n_panels)`.
    total: Vec<Sums>,
}

impl BandSums {
    /// Empty sums for a tile.
    pub fn begin(&mut self, n_bands: usize, width: usize) {
        self.width = width;
        self.total.clear();
        self.total.resize(n_bands * n_panels(width), [[0.0; PANEL]; 3]);
    }

    /// Adds one block of `n` rows of one band's prediction, the whole prediction and BOLD.
    pub fn add(
        &mut self,
        band: usize,
        n: usize,
        (own, pred, bold): (&[PanelRow], &[PanelRow], &[PanelRow]),
        arch: pulp::Arch,
    ) {
        let n_panels = n_panels(self.width);
        let total = &mut self.total[band * n_panels..][..n_panels];
        let n = n.max(1);
        let rows = own.chunks_exact(n).zip(pred.chunks_exact(n)).zip(bold.chunks_exact(n));
        for (((own, pred), bold), total) in rows.zip(total) {
            add_rows(arch, own, pred, bold, total);
        }
    }

    /// Parts of r and of R², `(n_bands, width)`, into `scores`; `all` has the sums over bands.
    ///
    /// r_b = cov(y, p_b)/(sd(y) sd(p)) and R²_b = (2 cov(y, p_b) − cov(p_b, p))/var(y), over all
    /// test rows: they add up to r, and to R² of predictions whose mean is that of y. NaN where the
    /// model has no correlation.
    pub fn finish(&self, all: &PearsonSums, scores: &mut TestTile) {
        let (width, n) = (self.width, all.n_rows());
        let n_bands = self.total.len().checked_div(n_panels(width)).unwrap_or(0);
        for parts in [&mut scores.band_correlation, &mut scores.band_r2] {
            parts.clear();
            parts.resize(n_bands * width, f32::NAN);
        }
        for i in (0..n_bands * width).filter(|i| !scores.correlation[i % width].is_nan()) {
            let (band, v) = (i / width, i % width);
            let own = self.total[band * n_panels(width) + v / PANEL].map(|row| row[v % PANEL]);
            let [p, pp, y, yy, _] = all.sums(v);
            let (with_y, with_p) = (own[1] - own[0] * y / n, own[2] - own[0] * p / n);
            let (var_p, var_y) = (pp - p * p / n, yy - y * y / n);
            scores.band_correlation[i] = (with_y / (var_p * var_y).sqrt()) as f32;
            scores.band_r2[i] = ((2.0 * with_y - with_p) / var_y) as f32;
        }
    }
}

vectorized! {
    fn add_rows<'a>(
        own: &'a [PanelRow],
        pred: &'a [PanelRow],
        bold: &'a [PanelRow],
        total: &'a mut Sums,
    ) {
        for ((own, pred), bold) in own.iter().zip(pred).zip(bold) {
            for v in 0..PANEL {
                let (q, p, y) = (f64::from(own[v]), f64::from(pred[v]), f64::from(bold[v]));
                total[0][v] += q;
                total[1][v] += q * y;
                total[2][v] += q * p;
            }
        }
    }
}
