//! Test blocks: predictions, and their correlations with BOLD.

use super::engine::{GpuEngine, Tile, design_tile, not_begun};
use super::launch::{DelayShape, Gemm, add_voxels, pearson_block, pearson_sums, pearson_total};
use super::permute::permutation_counts;
use crate::backend::TakePrediction;
use crate::error::Result;

impl GpuEngine<'_> {
    /// Predicts one test block, adds its sums, hands out predictions.
    pub(super) fn score_block(
        &mut self,
        block: usize,
        bold: &[f32],
        mut predictions: Option<&mut TakePrediction<'_>>,
    ) -> Result<()> {
        let (problem, width) = (self.gpu.problem, self.width);
        let n_rows = problem.test_blocks[block];
        self.n_test_rows += n_rows;
        self.n_inner_rows += problem.inner.get(block).map_or(0, |inner| inner.len());
        if n_rows == 0 || width == 0 {
            return Ok(());
        }
        let slot = self.send(bold)?;
        let Self { gpu, lane, buffers, clock, pred_rows, intercepts, kept_bold, kept_pred, .. } =
            self;
        let b = buffers.as_mut().ok_or_else(not_begun)?;
        clock.time(lane, 0, || {
            add_voxels(
                lane,
                &b.raw[slot].first(n_rows * width),
                &b.shift.first(width),
                &b.first.first(width),
                &mut b.y.first_mut(n_rows * width),
                &mut b.part_sums.part_mut(0..b.part_sums.len()),
                &mut b.part_flags.part_mut(0..b.part_flags.len()),
                (n_rows, width),
            )
        })?;
        let keeps = problem.permutations.is_some();
        if keeps {
            lane.read_vec(&b.y.first(n_rows * width), n_rows * width, pred_rows)?;
            kept_bold.extend_from_slice(pred_rows);
        }
        for (index, model) in problem.models.iter().enumerate() {
            let space = &problem.spaces[model.space];
            let n_inner = problem.n_fitted(model);
            clock.time(lane, 5, || {
                let inner = b.inner[index].first(n_inner * width);
                let pred = &mut b.pred.first_mut(n_rows * width);
                let gemm = Gemm::new(n_rows, width, n_inner);
                if let Some(rows) = gpu.models[index].full.test_rows.get(block) {
                    lane.gemm(gemm, &rows.first(n_rows * n_inner), &inner, pred)?;
                } else {
                    let delays: Vec<i64> = model.delays.iter().map(|&d| space.delays[d]).collect();
                    let shape =
                        DelayShape { n_rows, n_features: space.n_features, n_delays: delays.len() };
                    let made = design_tile(
                        lane,
                        &gpu.spaces[model.space].test[block],
                        (&gpu.models[index].delays.first(delays.len()), &delays),
                        &mut b.design.first_mut(n_rows * n_inner),
                        &mut b.undelayed.part_mut(0..b.undelayed.len()),
                        shape,
                    )?;
                    let x = match made {
                        Tile::AsItIs(x) => x,
                        Tile::Made => b.design.first(n_rows * n_inner),
                    };
                    lane.gemm(gemm, &x, &inner, pred)?;
                }
                let own = block * width..(block + 1) * width;
                let all = 0..n_rows;
                let inner = problem.inner.get(block).filter(|inner| !inner.is_empty());
                let scores = [
                    Some((&all, &mut b.block_r[index], &mut b.totals[index])),
                    inner.map(|rows| {
                        (rows, &mut b.inner_block_r[index], &mut b.inner_totals[index])
                    }),
                ];
                let n_sums = b.pearson.len();
                for (rows, block_r, totals) in scores.into_iter().flatten() {
                    let cells = rows.start * width..rows.end * width;
                    let (pred, y) = (b.pred.part(cells.clone()), b.y.part(cells));
                    let sums = &mut b.pearson.first_mut(n_sums);
                    pearson_sums(lane, &pred, &y, sums, (rows.len(), width))?;
                    pearson_block(
                        lane,
                        &b.pearson.all(),
                        &b.flags.first(width),
                        &b.part_flags.all(),
                        &mut block_r.part_mut(own.clone()),
                        &mut totals.first_mut(5 * width),
                        (rows.len(), n_rows, width),
                    )?;
                }
                Ok(())
            })?;
            if keeps || predictions.is_some() {
                lane.read_vec(&b.pred.first(n_rows * width), n_rows * width, pred_rows)?;
            }
            if keeps {
                kept_pred[index].extend_from_slice(pred_rows);
            }
            if let Some(hand_out) = predictions.as_mut() {
                for row in pred_rows.chunks_exact_mut(width) {
                    row.iter_mut().zip(&intercepts[index]).for_each(|(p, i)| *p += i);
                }
                hand_out(index, pred_rows);
            }
        }
        Ok(())
    }

    /// The permutation test of every model.
    pub(super) fn permute(&mut self) -> Result<()> {
        let Some(permutations) = &self.gpu.problem.permutations else { return Ok(()) };
        let (n_rows, width) = (permutations.n_moved_rows(), self.width);
        for (pred, test) in self.kept_pred.iter().zip(&mut self.tests) {
            test.n_at_least = match n_rows * width {
                0 => vec![permutations.n as u32; width],
                n => permutation_counts(
                    &self.gpu.card,
                    (&pred[..n], &self.kept_bold[..n]),
                    &permutations.table,
                    permutations.block_rows,
                    (n_rows, width),
                )?,
            };
        }
        Ok(())
    }

    /// Correlations within every test block and over all rows, on the host.
    pub(super) fn read_scores(&mut self) -> Result<()> {
        let Self { gpu, lane, buffers, width, tests, n_test_rows, n_inner_rows, .. } = self;
        let (width, problem) = (*width, gpu.problem);
        let b = buffers.as_mut().ok_or_else(not_begun)?;
        for (index, test) in tests.iter_mut().enumerate() {
            for (block, &n_rows) in problem.test_blocks.iter().enumerate() {
                if n_rows > 0 {
                    let own = block * width..(block + 1) * width;
                    let from = b.block_r[index].part(own.clone());
                    lane.read(&from, &mut test.block_correlation[own])?;
                }
            }
            let totals = b.totals[index].first(5 * width);
            pearson_total(lane, &totals, &mut b.r.first_mut(width), *n_test_rows as f64, width)?;
            lane.read_vec(&b.r.first(width), width, &mut test.correlation)?;
            test.inner_correlation.clear();
            if problem.inner.is_empty() {
                continue;
            }
            for (block, _) in problem.inner.iter().enumerate().filter(|(_, rows)| !rows.is_empty())
            {
                let own = block * width..(block + 1) * width;
                let from = b.inner_block_r[index].part(own.clone());
                lane.read(&from, &mut test.block_inner_correlation[own])?;
            }
            let (totals, n) = (b.inner_totals[index].first(5 * width), *n_inner_rows as f64);
            pearson_total(lane, &totals, &mut b.r.first_mut(width), n, width)?;
            lane.read_vec(&b.r.first(width), width, &mut test.inner_correlation)?;
        }
        Ok(())
    }
}
