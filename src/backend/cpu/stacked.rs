//! Svd models: what each fold knows of BOLD, stacked.

use super::CpuEngine;
use crate::backend::Model;
use crate::product::panels::{PANEL, PanelRow, of_panel};

impl CpuEngine<'_> {
    /// The rows of Q_kᵀ Y_k below the first: XᵀY of the model's own space, without the columns that
    /// a fold of few rows does not have.
    pub fn fold_statistic(&self, model: &Model, fold: usize, panel: usize) -> &[PanelRow] {
        let p = self.problem.n_coefs(model);
        let start = (fold * self.n_panels() + panel) * p;
        &self.xty[model.space][start..][..self.fold_rows[fold].saturating_sub(1).min(p)]
    }

    /// The statistics of every fold but `skip`, one panel, into `out`: the first rows of all,
    /// √n_k · (mean over the fold − what is taken off BOLD), then the others, fold by fold.
    pub fn stack_statistics(
        &self,
        model: &Model,
        skip: Option<usize>,
        panel: usize,
        taken_off: &[f64; PANEL],
        out: &mut [PanelRow],
    ) {
        let folds = || (0..self.problem.n_folds).filter(|&k| Some(k) != skip);
        let (firsts, others) = out.split_at_mut(folds().count());
        for (row, fold) in firsts.iter_mut().zip(folds()) {
            let n = self.fold_rows[fold] as f64;
            let sums = &self.voxels.sums[fold * self.width..(fold + 1) * self.width];
            let sums = of_panel(sums, panel, 0.0);
            *row = std::array::from_fn(|v| (n.sqrt() * (sums[v] / n - taken_off[v])) as f32);
        }
        let mut next = 0;
        for fold in folds() {
            let rows = self.fold_statistic(model, fold, panel);
            others[next..next + rows.len()].copy_from_slice(rows);
            next += rows.len();
        }
    }
}
