//! Other fits of a tile whose BOLD has passed: folds as sums over slots.

use rayon::prelude::*;

use super::CpuEngine;
use super::solve::SolveScratch;
use crate::backend::fits::{Fit, OtherFits};
use crate::backend::{Engine, Problem, TestTile};
use crate::error::Result;
use crate::product::panels::{PANEL, PanelRow};

/// One worker's tile of all other fits.
pub struct FitTile<'p> {
    other: &'p OtherFits,
    /// Sums of every slot.
    slots: CpuEngine<'p>,
    /// `(n_rows, width)` BOLD of every slot.
    bold: Vec<Vec<f32>>,
    /// Per slot `(width)`: what tells live voxels from dead ones.
    seen: Vec<Seen>,
    /// Buffers that fits leave to the next ones.
    scratch: Vec<SolveScratch>,
}

/// What a slot's rows of one voxel look like.
#[derive(Debug, Default, Clone)]
struct Seen {
    first: Vec<f32>,
    not_finite: Vec<bool>,
    varies: Vec<bool>,
}

impl<'p> FitTile<'p> {
    /// Room for the tiles of one worker.
    pub fn new(other: &'p OtherFits) -> Self {
        let n_slots = other.slots.blocks.len();
        Self {
            other,
            slots: CpuEngine::of_spaces(&other.slots),
            bold: vec![Vec::new(); n_slots],
            seen: vec![Seen::default(); n_slots],
            scratch: Vec::new(),
        }
    }

    /// Bytes that a voxel takes, at most: what is kept of it, the scores of all fits included, and
    /// what one fit at work adds.
    pub fn voxel_bytes(other: &OtherFits) -> (usize, usize) {
        let columns: usize = other.slots.spaces.iter().map(|space| space.n_columns()).sum();
        let scores = |fit: &Fit| {
            let Problem { models, test_blocks, inner, .. } = &fit.problem;
            models.len()
                * (2 + test_blocks.len() + if inner.is_empty() { 0 } else { 1 + inner.len() })
        };
        let scores: usize = other.fits.iter().map(scores).sum();
        let kept = other.slots.blocks.len() * columns + other.slots.n_train() + scores;
        let fits = other.fits.iter().map(|fit| CpuEngine::tile_bytes(&fit.problem, 1));
        (kept * size_of::<f32>(), fits.max().unwrap_or(0))
    }

    /// Starts a tile.
    /// # Errors
    /// Those of the engine.
    pub fn begin(&mut self, width: usize) -> Result<()> {
        self.slots.begin(width)
    }

    /// Keeps the BOLD of one slot, `(n_rows, width)` row-major, and its sums.
    /// # Errors
    /// Those of the engine.
    pub fn add(&mut self, slot: usize, bold: &[f32]) -> Result<()> {
        self.slots.add_train(slot, bold)?;
        self.seen[slot].look(bold, self.slots.width);
        self.bold[slot].clear();
        self.bold[slot].extend_from_slice(bold);
        Ok(())
    }

    /// Cross-validates, refits and tests some of the fits side by side, after every slot was added;
    /// of each, one entry a model.
    /// # Errors
    /// Those of the engine.
    pub fn run(&mut self, fits: &[Fit]) -> Result<Vec<Vec<TestTile>>> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize_with(fits.len().max(scratch.len()), SolveScratch::default);
        let pairs = fits.par_iter().zip(&mut scratch);
        let found = pairs.map(|(fit, scratch)| self.run_one(fit, scratch)).collect();
        self.scratch = scratch;
        found
    }

    fn run_one(&self, fit: &Fit, scratch: &mut SolveScratch) -> Result<Vec<TestTile>> {
        let mut engine = CpuEngine::new(&fit.problem);
        engine.scratch = std::mem::take(scratch);
        engine.shared = fit.shared.iter().map(Option::is_some).collect();
        engine.begin(self.slots.width)?;
        engine.voxels.start_as(&self.slots.voxels);
        // Spaces of this fit's own, and models on rows, need the rows again.
        let needs_rows = !engine.rows.is_empty()
            || engine.primal.iter().zip(&engine.shared).any(|(&primal, &shared)| primal && !shared);
        for (block, &slot) in fit.train.iter().enumerate() {
            let fold = fit.problem.blocks[block].fold;
            match needs_rows {
                true => engine.add_train(block, &self.bold[slot])?,
                false => engine.voxels.add_sums(fold, &self.slots.voxels, slot),
            }
            self.add_shared(fit, fold, slot, &mut engine);
        }
        self.mark_dead(fit, &mut engine);
        engine.solve()?;
        for (block, &slot) in fit.test.iter().enumerate() {
            engine.add_test(block, &self.bold[slot], None)?;
        }
        let found = engine.results()?.1.to_vec();
        *scratch = std::mem::take(&mut engine.scratch);
        Ok(found)
    }

    /// XᵀY of one slot onto a fold of a fit.
    fn add_shared(&self, fit: &Fit, fold: usize, slot: usize, engine: &mut CpuEngine<'_>) {
        let n_panels = self.slots.n_panels();
        for ((to, shared), own) in engine.xty.iter_mut().zip(&fit.shared).zip(&fit.problem.spaces) {
            let Some(shared) = shared.as_ref().filter(|_| !to.is_empty()) else { continue };
            let space = &self.other.slots.spaces[shared.space];
            let n = n_panels * space.n_columns();
            let from = &self.slots.xty[shared.space][slot * n..(slot + 1) * n];
            let n = n_panels * own.n_columns();
            let to = &mut to[fold * n..(fold + 1) * n];
            let Some(columns) = &shared.columns else {
                to.iter_mut().zip(from).for_each(|(to, from)| add(to, from));
                continue;
            };
            let to = to.chunks_exact_mut(columns.len().max(1));
            for (to, from) in to.zip(from.chunks_exact(space.n_features.max(1))) {
                to.iter_mut().zip(&**columns).for_each(|(to, &column)| add(to, &from[column]));
            }
        }
    }

    /// Dead voxels are those of the fit's own training rows.
    fn mark_dead(&self, fit: &Fit, engine: &mut CpuEngine<'_>) {
        let Some(&start) = fit.train.first() else { return };
        for v in 0..self.slots.width {
            let first = self.seen[start].first[v];
            let any = |f: &dyn Fn(&Seen) -> bool| fit.train.iter().any(|&s| f(&self.seen[s]));
            engine.voxels.not_finite[v] = any(&|seen| seen.not_finite[v]);
            engine.voxels.varies[v] = any(&|seen| seen.varies[v] || seen.first[v] != first);
        }
    }
}

fn add(to: &mut PanelRow, from: &PanelRow) {
    for v in 0..PANEL {
        to[v] += from[v];
    }
}

impl Seen {
    fn look(&mut self, bold: &[f32], width: usize) {
        for flags in [&mut self.not_finite, &mut self.varies] {
            flags.clear();
            flags.resize(width, false);
        }
        self.first.clear();
        self.first.extend_from_slice(&bold[..width.min(bold.len())]);
        for row in bold.chunks_exact(width.max(1)) {
            let flags = self.not_finite.iter_mut().zip(&mut self.varies);
            for ((&y, &first), (bad, varies)) in row.iter().zip(&self.first).zip(flags) {
                *bad |= !y.is_finite();
                *varies |= y != first;
            }
        }
    }
}
