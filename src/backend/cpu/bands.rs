//! Search over band weights on one tile, and how much of a score each band has.

use std::time::Instant;

use super::CpuEngine;
use super::path::sized;
use super::rotate::PanelRange;
use super::solve::{Fitted, SolveScratch};
use crate::backend::bands::BandSearch;
use crate::backend::{FullFit, Model, ModelTile};
use crate::error::Result;
use crate::product::panels::{PANEL, PanelRow};

/// A later point is taken only if its score is larger by more than this: himalaya's rule for f32.
const LEAST_GAIN: f32 = f32::EPSILON;

impl CpuEngine<'_> {
    /// Cross-validates every point, refits each voxel at its best; `tile` and `fitted` are written
    /// over.
    pub(super) fn search(
        &mut self,
        model: &Model,
        search: &BandSearch,
        tile: &mut ModelTile,
        fitted: &mut Fitted,
        scratch: &mut SolveScratch,
    ) -> Result<()> {
        let (width, n_alphas) = (self.width, self.problem.settings.alphas.len());
        tile.cv_scores.clear();
        tile.cv_scores.resize(n_alphas * width, f32::NAN);
        tile.best.clear();
        tile.best.resize(width, None);
        tile.intercept.clear();
        tile.intercept.resize(width, 0.0);
        (tile.basis_rank, tile.basis_error) = (0, 0.0);
        tile.bands.point.clear();
        tile.bands.point.resize(width, None);
        tile.bands.scores.clear();
        let mut point = std::mem::take(&mut scratch.point);
        point.cv_scores.resize(n_alphas * width, 0.0);
        point.best.resize(width, None);
        point.intercept.resize(width, 0.0);
        for index in 0..search.n_points() {
            let clock = Instant::now();
            let solved = search.points.folds(index)?;
            self.seconds[7] += clock.elapsed().as_secs_f64();
            (point.basis_rank, point.basis_error) = (0, 0.0);
            for panels in self.panel_blocks() {
                let folds = (&solved.folds[..], &solved.paths[..]);
                self.cross_validate(model, folds, panels, &mut point, scratch)?;
            }
            take_better(index, &point, tile, width);
        }
        self.refit_points(model, search, tile, fitted, (&mut point, scratch))?;
        scratch.point = point;
        Ok(())
    }

    /// Panels of the tile, cut where voxels stop to share an alpha basis.
    fn panel_blocks(&self) -> impl Iterator<Item = PanelRange> + use<> {
        let step = (self.problem.settings.block_voxels / PANEL).max(1);
        let n_panels = self.n_panels();
        let range = move |first| PanelRange { first, n: step.min(n_panels - first) };
        (0..n_panels).step_by(step).map(range)
    }

    /// Refits every point that some voxel chose, those first that no other worker is solving.
    fn refit_points(
        &mut self,
        model: &Model,
        search: &BandSearch,
        tile: &mut ModelTile,
        fitted: &mut Fitted,
        (point, scratch): (&mut ModelTile, &mut SolveScratch),
    ) -> Result<()> {
        let n_inner = self.problem.n_fitted(model);
        fitted.inner.clear();
        fitted.inner.resize(self.n_panels() * n_inner, [0.0; PANEL]);
        let mut left: Vec<usize> = tile.bands.point.iter().flatten().copied().collect();
        left.sort_unstable();
        left.dedup();
        for waits in [false, true] {
            let mut busy = Vec::new();
            for &index in &left {
                let clock = Instant::now();
                let full = search.points.full(index, waits)?;
                self.seconds[7] += clock.elapsed().as_secs_f64();
                match full {
                    Some(full) => {
                        let clock = Instant::now();
                        self.refit_point(model, (index, &full), tile, fitted, (point, scratch));
                        self.seconds[4] += clock.elapsed().as_secs_f64();
                    }
                    None => busy.push(index),
                }
            }
            left = busy;
        }
        Ok(())
    }

    /// Weights and intercepts of the voxels that chose one point.
    fn refit_point(
        &self,
        model: &Model,
        (index, full): (usize, &FullFit),
        tile: &mut ModelTile,
        fitted: &mut Fitted,
        (point, scratch): (&mut ModelTile, &mut SolveScratch),
    ) {
        let n_inner = self.problem.n_fitted(model);
        let mut inner = std::mem::take(&mut scratch.point_inner);
        for panels in self.panel_blocks() {
            let voxels = panels.first * PANEL..self.width.min((panels.first + panels.n) * PANEL);
            let chose = |v: usize| tile.bands.point[v] == Some(index);
            if !voxels.clone().any(chose) {
                continue;
            }
            for v in voxels.clone() {
                point.best[v] = tile.best[v].filter(|_| chose(v));
            }
            self.total_xty(model, panels, &mut scratch.rotate.total);
            let own = sized(&mut inner, panels.n * n_inner);
            self.refit(model, full, panels, point, own, scratch);
            for v in voxels.filter(|&v| point.best[v].is_some()) {
                tile.intercept[v] = point.intercept[v];
                let (panel, lane) = (v / PANEL, v % PANEL);
                let from = own[(panel - panels.first) * n_inner..].iter();
                for (to, from) in fitted.inner[panel * n_inner..][..n_inner].iter_mut().zip(from) {
                    to[lane] = from[lane];
                }
            }
        }
        scratch.point_inner = inner;
    }
}

/// Notes a point's scores, and takes it for every voxel that it fits better than all before.
fn take_better(index: usize, point: &ModelTile, tile: &mut ModelTile, width: usize) {
    tile.basis_rank = tile.basis_rank.max(point.basis_rank);
    tile.basis_error = tile.basis_error.max(point.basis_error);
    for v in 0..width {
        let score = point.best[v].map_or(f32::NAN, |best| point.cv_scores[best * width + v]);
        tile.bands.scores.push(score);
        let before = tile.best[v].map(|best| tile.cv_scores[best * width + v]);
        if point.best[v].is_none() || before.is_some_and(|before| score <= before + LEAST_GAIN) {
            continue;
        }
        (tile.best[v], tile.bands.point[v]) = (point.best[v], Some(index));
        let rows = tile.cv_scores.chunks_exact_mut(width).zip(point.cv_scores.chunks_exact(width));
        rows.for_each(|(to, from)| to[v] = from[v]);
    }
}

/// Weights of one band, all others zero: `(n_delays · n_features)` rows a panel.
pub fn of_band(inner: &[PanelRow], band_of: &[usize], band: usize, out: &mut Vec<PanelRow>) {
    out.clear();
    let features = band_of.iter().cycle();
    let keep = |(row, &own): (&PanelRow, &usize)| if own == band { *row } else { [0.0; PANEL] };
    out.extend(inner.iter().zip(features).map(keep));
}
