//! A tile's sums out of an engine, and back into one.

use super::CpuEngine;
use crate::backend::Engine;
use crate::error::Result;
use crate::product::panels::{PANEL, PanelRow, to_rows};

/// Everything that an engine keeps of the BOLD of one tile, for a problem of one space without rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TileMoments {
    /// `(width)` taken off every value.
    pub shift: Vec<f32>,
    /// `(n_folds, width)` Σ(y − shift).
    pub sums: Vec<f64>,
    /// `(n_folds, width)` Σ(y − shift)².
    pub squares: Vec<f64>,
    /// `(width)` a NaN or an infinity was seen.
    pub not_finite: Vec<bool>,
    /// `(width)` two values differ.
    pub varies: Vec<bool>,
    /// `(n_folds, n_columns, width)` Σ x (y − shift).
    pub xty: Vec<f32>,
}

impl CpuEngine<'_> {
    /// What was summed since `begin`.
    pub fn moments(&self) -> TileMoments {
        let (width, n_columns) = (self.width, self.problem.spaces[0].n_columns());
        let voxels = &self.voxels;
        let mut xty = vec![0.0; self.problem.n_folds * n_columns * width];
        let rows = (n_columns * width).max(1);
        let folds = self.xty[0].chunks_exact((self.n_panels() * n_columns).max(1));
        for (panels, out) in folds.zip(xty.chunks_exact_mut(rows)) {
            to_rows(panels, n_columns, width, out);
        }
        TileMoments {
            shift: voxels.shift.clone(),
            sums: voxels.sums.clone(),
            squares: voxels.squares.clone(),
            not_finite: voxels.not_finite.clone(),
            varies: voxels.varies.clone(),
            xty,
        }
    }

    /// Starts a tile as if the rows behind `tile` had been added; next is `solve`.
    /// # Errors
    /// Those of `begin`.
    pub fn load_moments(&mut self, tile: &TileMoments) -> Result<()> {
        let width = tile.shift.len();
        self.begin(width)?;
        self.voxels.load(tile);
        let (n_columns, n_panels) = (self.problem.spaces[0].n_columns(), self.n_panels());
        let rows = tile.xty.chunks_exact(width.max(1));
        for (i, row) in rows.enumerate() {
            let (fold, column) = (i / n_columns, i % n_columns);
            for (panel, values) in row.chunks(PANEL).enumerate() {
                let to: &mut PanelRow =
                    &mut self.xty[0][(fold * n_panels + panel) * n_columns + column];
                to[..values.len()].copy_from_slice(values);
            }
        }
        Ok(())
    }
}
