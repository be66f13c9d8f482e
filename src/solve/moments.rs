//! What one pass over BOLD leaves of it: sums that can be kept, added up and solved again.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use faer::{Mat, Par};
use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, ArrayView3, s};
use rayon::prelude::*;

use super::design::ridge_design;
use super::fit::{Fit, FitSettings, Known, Plan, RowsOfFolds, blocks_by_fold};
use super::matrix_tiles::MatrixTiles;
use super::outputs::{Outputs, RidgeSink};
use super::tiles::{MAX_TILE_VOXELS, SolvedTile, TileSink, tile_width, tiles};
use crate::backend::cpu::{CpuEngine, TileMoments};
use crate::backend::device::Device;
use crate::backend::{Engine, PathSettings, Problem};
use crate::error::{Error, Result};
use crate::reporter::Reporter;
use crate::ridge::gram::{FoldMoments, fold_moments};
use crate::ridge::{Route, prepare_moments};
use crate::warning::Warning;

/// Sums over each part of the rows; a part is whatever is held out together.
#[derive(Debug, Clone)]
pub struct Moments {
    /// `(p)` taken off the columns of X.
    pub x_shift: Array1<f64>,
    /// `(n_parts, p)` Σ(x − shift).
    pub x_sums: Array2<f64>,
    /// `(n_parts, p, p)`.
    pub gram: Array3<f64>,
    /// `(V)` taken off the columns of Y.
    pub y_shift: Array1<f32>,
    /// `(n_parts, V)` Σ(y − shift).
    pub y_sums: Array2<f64>,
    /// `(n_parts, V)` Σ(y − shift)².
    pub y_squares: Array2<f64>,
    /// `(n_parts, p, V)`.
    pub xty: Array3<f32>,
    /// `(V)` a NaN or an infinity was seen.
    pub not_finite: Array1<bool>,
    /// `(V)` two values differ.
    pub varies: Array1<bool>,
}

/// The same, borrowed, with the rows of each part.
#[derive(Debug, Clone, Copy)]
pub struct MomentsView<'a> {
    /// `(n_parts)`.
    pub n_rows: &'a [usize],
    /// See [`Moments`].
    pub x_shift: ArrayView1<'a, f64>,
    /// See [`Moments`].
    pub x_sums: ArrayView2<'a, f64>,
    /// See [`Moments`].
    pub gram: ArrayView3<'a, f64>,
    /// See [`Moments`].
    pub y_shift: ArrayView1<'a, f32>,
    /// See [`Moments`].
    pub y_sums: ArrayView2<'a, f64>,
    /// See [`Moments`].
    pub y_squares: ArrayView2<'a, f64>,
    /// See [`Moments`].
    pub xty: ArrayView3<'a, f32>,
    /// See [`Moments`].
    pub not_finite: ArrayView1<'a, bool>,
    /// See [`Moments`].
    pub varies: ArrayView1<'a, bool>,
}

/// XᵀY of one worker's tile, at most, unless one block of voxels takes more.
const TILE_BYTES: usize = 64 << 20;

/// Sums X and Y over each part: X and Y are read once, every row a part's.
///
/// Cost: 2·n·p flops a voxel and n·p² for the Gram matrices, as in a fit. Memory:
/// `n_parts · p · (4·V + 8·p)` bytes.
/// # Errors
/// `Error::TooLarge` where that is more than `memory_bytes`; `Error::Values` for NaN in X; those of
/// reading; `Error::Interrupted`.
pub fn sum_moments(
    x: &dyn MatrixTiles,
    y: &dyn MatrixTiles,
    parts: &RowsOfFolds,
    memory_bytes: u64,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<Moments> {
    let (n_parts, p, n_voxels) = (parts.names.len(), x.n_cols(), y.n_cols());
    let bytes = n_parts as f64 * p as f64 * (4.0 * n_voxels as f64 + 8.0 * p as f64);
    if bytes > memory_bytes as f64 {
        return Err(Error::TooLarge {
            what: format!("moments of {n_parts} parts, {p} columns, {n_voxels} voxels"),
            needed: format!("{:.1} GiB", bytes / f64::from(1 << 30)),
            available: format!("{:.1} GiB", memory_bytes as f64 / f64::from(1 << 30)),
            hint: "give fewer groups: the folds, in place of the stories".into(),
        });
    }
    let (blocks, runs) = blocks_by_fold(&parts.fold_of_row, n_parts);
    let design = ridge_design(x, None, &runs, Route::Gram, true)?;
    let of_parts = fold_moments(&design.space, &blocks, n_parts, Par::rayon(0));
    let settings = PathSettings::new(vec![1.0]);
    let problem = Problem::new(n_parts, blocks, vec![design.space], settings);
    let found = Mutex::new(Moments {
        x_shift: design.shift.into(),
        x_sums: Array2::from_shape_fn((n_parts, p), |(k, i)| of_parts[k].sums[i]),
        gram: Array3::from_shape_fn((n_parts, p, p), |(k, i, j)| of_parts[k].gram[(i, j)]),
        y_shift: Array1::zeros(n_voxels),
        y_sums: Array2::zeros((n_parts, n_voxels)),
        y_squares: Array2::zeros((n_parts, n_voxels)),
        xty: Array3::zeros((n_parts, p, n_voxels)),
        not_finite: Array1::from_elem(n_voxels, false),
        varies: Array1::from_elem(n_voxels, false),
    });
    drop(of_parts);
    let block = problem.settings.block_voxels;
    let width = TILE_BYTES / (n_parts * p * size_of::<f32>()).max(1) / block * block;
    let width = width.clamp(block, MAX_TILE_VOXELS);
    reporter.start("voxels", n_voxels as u64);
    let new = || (CpuEngine::of_spaces(&problem), Vec::new());
    let cut = tiles(n_voxels, width, block, rayon::current_num_threads());
    cut.into_par_iter().with_max_len(1).try_for_each_init(new, |(engine, bold), voxels| {
        engine.begin(voxels.len())?;
        for (index, runs) in runs.iter().enumerate() {
            check_stopped(cancel)?;
            bold.resize(problem.blocks[index].n_rows * voxels.len(), 0.0);
            let mut rest = bold.as_mut_slice();
            for run in runs {
                let (now, later) = rest.split_at_mut(run.len() * voxels.len());
                y.read_columns(run.clone(), voxels.clone(), now)?;
                rest = later;
            }
            engine.add_train(index, bold)?;
        }
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        found.put(voxels.clone(), &engine.moments());
        reporter.advance(voxels.len() as u64);
        Ok::<(), Error>(())
    })?;
    reporter.finish();
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn check_stopped(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
}

impl Moments {
    fn put(&mut self, voxels: Range<usize>, tile: &TileMoments) {
        let (n_parts, p, width) = (self.xty.dim().0, self.xty.dim().1, voxels.len());
        let rows = |values| ArrayView2::from_shape((n_parts, width), values);
        let xty = ArrayView3::from_shape((n_parts, p, width), &tile.xty);
        self.xty.slice_mut(s![.., .., voxels.clone()]).assign(&xty.expect("a tile's XᵀY"));
        self.y_sums.slice_mut(s![.., voxels.clone()]).assign(&rows(&tile.sums).expect("sums"));
        let squares = rows(&tile.squares).expect("squares");
        self.y_squares.slice_mut(s![.., voxels.clone()]).assign(&squares);
        self.y_shift.slice_mut(s![voxels.clone()]).assign(&ArrayView1::from(&tile.shift));
        self.not_finite.slice_mut(s![voxels.clone()]).assign(&ArrayView1::from(&tile.not_finite));
        self.varies.slice_mut(s![voxels]).assign(&ArrayView1::from(&tile.varies));
    }
}

impl MomentsView<'_> {
    /// Parts, columns of X, voxels.
    fn sizes(&self) -> (usize, usize, usize) {
        self.xty.dim()
    }

    /// # Errors
    /// `Error::Values` for shapes that do not go together, and for sums that are not finite.
    fn check(&self) -> Result<()> {
        let (n_parts, p, n_voxels) = self.sizes();
        let fail = |problem: &str| Error::Values {
            place: "moments".into(),
            problem: problem.into(),
            hint: "make them anew from X and Y".into(),
        };
        let fits = n_parts > 0
            && p > 0
            && n_voxels > 0
            && self.n_rows.len() == n_parts
            && self.x_shift.len() == p
            && self.x_sums.dim() == (n_parts, p)
            && self.gram.dim() == (n_parts, p, p)
            && self.y_shift.len() == n_voxels
            && self.y_sums.dim() == (n_parts, n_voxels)
            && self.y_squares.dim() == (n_parts, n_voxels)
            && self.not_finite.len() == n_voxels
            && self.varies.len() == n_voxels;
        if !fits {
            return Err(fail("expected sums of one shape, got several"));
        }
        let of_x = self.x_shift.iter().chain(&self.x_sums).chain(&self.gram);
        if !of_x.chain(&self.y_sums).chain(&self.y_squares).all(|value| value.is_finite()) {
            return Err(fail("expected finite sums, got NaN or infinity"));
        }
        Ok(())
    }

    /// Sums of X over the parts of each fold; over X as it came without an intercept.
    fn of_folds(&self, fold_of_part: &[usize], n_folds: usize, shifted: bool) -> Vec<FoldMoments> {
        let (_, p, _) = self.sizes();
        let fold = |fold: usize| {
            let mut sum = FoldMoments { gram: Mat::zeros(p, p), sums: vec![0.0; p], n_rows: 0 };
            for part in (0..fold_of_part.len()).filter(|&part| fold_of_part[part] == fold) {
                let gram = self.gram.slice(s![part, .., ..]);
                let (sums, n) = (self.x_sums.row(part), self.n_rows[part] as f64);
                let shift = |i: usize| if shifted { 0.0 } else { self.x_shift[i] };
                for j in 0..p {
                    for i in 0..p {
                        sum.gram[(i, j)] += gram[(i, j)]
                            + shift(i) * sums[j]
                            + sums[i] * shift(j)
                            + n * shift(i) * shift(j);
                    }
                    sum.sums[j] += sums[j] + n * shift(j);
                }
                sum.n_rows += self.n_rows[part];
            }
            sum
        };
        (0..n_folds).into_par_iter().map(fold).collect()
    }

    /// What an engine would have summed of some voxels.
    fn tile(
        &self,
        fold_of_part: &[usize],
        n_folds: usize,
        shifted: bool,
        voxels: Range<usize>,
    ) -> TileMoments {
        let (_, p, _) = self.sizes();
        let width = voxels.len();
        let of = |values: ArrayView1<'_, bool>| values.slice(s![voxels.clone()]).to_vec();
        let mut tile = TileMoments {
            shift: self.y_shift.slice(s![voxels.clone()]).to_vec(),
            sums: vec![0.0; n_folds * width],
            squares: vec![0.0; n_folds * width],
            not_finite: of(self.not_finite),
            varies: of(self.varies),
            xty: vec![0.0; n_folds * p * width],
        };
        for (part, &fold) in fold_of_part.iter().enumerate() {
            let at = fold * width;
            let y_sums = self.y_sums.slice(s![part, voxels.clone()]);
            let squares = self.y_squares.slice(s![part, voxels.clone()]);
            tile.sums[at..at + width].iter_mut().zip(y_sums).for_each(|(sum, y)| *sum += y);
            tile.squares[at..at + width].iter_mut().zip(squares).for_each(|(sum, y)| *sum += y);
            let rows = tile.xty[at * p..(at + width) * p].chunks_exact_mut(width.max(1));
            for (i, row) in rows.enumerate() {
                let xty = self.xty.slice(s![part, i, voxels.clone()]);
                row.iter_mut().zip(xty).for_each(|(sum, xty)| *sum += xty);
                if !shifted && self.x_shift[i] != 0.0 {
                    let whole = row.iter_mut().zip(y_sums);
                    whole.for_each(|(sum, y)| *sum += (self.x_shift[i] * y) as f32);
                }
            }
        }
        tile
    }
}

/// Cross-validates and refits from moments, by gram on the CPU; `fold_of_part` says which parts are
/// held out together. The results are those of a fit on the rows, up to rounding in f32.
///
/// # Errors
/// `Error::Values` for moments that hold together badly; `Error::TooLarge`, those of solving,
/// `Error::Interrupted`.
pub fn solve_moments(
    moments: &MomentsView<'_>,
    (fold_of_part, names): (&[usize], &[i64]),
    settings: &FitSettings,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<Fit> {
    moments.check()?;
    let ((_, p, n_voxels), n_folds) = (moments.sizes(), names.len());
    let n_rows = moments.n_rows.iter().sum();
    let plan = Plan::new(settings, (n_rows, p, n_voxels, 0, n_folds), None, "moments")?;
    let shifted = settings.fit_intercept;
    let folds = moments.of_folds(fold_of_part, n_folds, shifted);
    let (problem, conditioning) = prepare_moments(&folds, settings.path())?;
    drop(folds);
    let mut warnings = Vec::new();
    if conditioning.is_beyond_limit() {
        let (model, alphas) = (vec!["ridge".to_owned()], settings.alphas.values());
        warnings.push(Warning::ill_conditioned(model, Route::Gram, &conditioning, alphas));
    }
    reporter.note(&format!("solver: {}", plan.solver));
    let shift = if shifted { moments.x_shift.to_vec() } else { vec![0.0; p] };
    let outputs = Outputs { folder: None, predict: false };
    let sink = RidgeSink::create(&outputs, &problem, 0, n_voxels, shift)?;
    let (n_threads, budget) = (settings.n_threads, (settings.memory_bytes / 2) as usize);
    let width = tile_width(&problem, &Device::Cpu, n_voxels, n_threads, budget, None)?;
    reporter.start("voxels", n_voxels as u64);
    let cut = tiles(n_voxels, width, problem.settings.block_voxels, n_threads);
    let new = || CpuEngine::new(&problem);
    cut.into_par_iter().with_max_len(1).try_for_each_init(new, |engine, voxels| {
        check_stopped(cancel)?;
        engine.load_moments(&moments.tile(fold_of_part, n_folds, shifted, voxels.clone()))?;
        engine.solve()?;
        let counts = engine.counts();
        let (models, tests) = engine.results()?;
        let n = voxels.len() as u64;
        sink.write(SolvedTile { voxels, models, tests, others: &[], counts })?;
        reporter.advance(n);
        Ok::<(), Error>(())
    })?;
    reporter.finish();
    let known = Known {
        sizes: plan.sizes,
        solver: plan.solver,
        conditioning,
        warnings,
        seconds: Vec::new(),
    };
    Ok(known.of(sink.finish()?, names, "moments", reporter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Scorer;
    use crate::reporter::Silent;
    use crate::ridge::{AlphaGrid, Solver};
    use crate::solve::fit::{FitData, fit};
    use crate::solve::matrix_tiles::ArrayTiles;

    static GO_ON: AtomicBool = AtomicBool::new(false);

    fn settings(fit_intercept: bool) -> FitSettings {
        FitSettings {
            alphas: AlphaGrid::logspace(-1.0, 3.0, 9).unwrap(),
            scorer: Scorer::Correlation,
            solver: Solver::Gram,
            fit_intercept,
            alpha_tolerance: 0.0,
            basis_tolerance: 1e-5,
            device: Device::Cpu,
            n_threads: 2,
            memory_bytes: 1 << 30,
        }
    }

    /// 90 rows of 5 columns, 530 voxels: more than a block of them.
    fn data() -> (Array2<f32>, Array2<f32>, Vec<usize>) {
        let wave = |i: usize, j: usize| ((i * (7 + 3 * j) + j) as f32 * 0.37).sin();
        let x = Array2::from_shape_fn((90, 5), |(i, j)| wave(i, j) + 2.0);
        let noise = |i: usize, v: usize| ((i * 31 + v * 17) as f32 * 1.7).cos();
        let y = Array2::from_shape_fn((90, 530), |(i, v)| {
            x[(i, v % 5)] + noise(i, v) * (1 + v % 7) as f32 + 10.0
        });
        (x, y, (0..90).map(|i| i / 10 % 4).collect())
    }

    fn view<'a>(moments: &'a Moments, n_rows: &'a [usize]) -> MomentsView<'a> {
        MomentsView {
            n_rows,
            x_shift: moments.x_shift.view(),
            x_sums: moments.x_sums.view(),
            gram: moments.gram.view(),
            y_shift: moments.y_shift.view(),
            y_sums: moments.y_sums.view(),
            y_squares: moments.y_squares.view(),
            xty: moments.xty.view(),
            not_finite: moments.not_finite.view(),
            varies: moments.varies.view(),
        }
    }

    /// With as many parts as folds the sums are those of the fit itself: the same bits. Without an
    /// intercept the means of X go back in.
    #[test]
    fn moments_give_what_the_rows_give() {
        let (x, y, part_of_row) = data();
        let x = ArrayTiles { place: "x", values: x.view() };
        let y = ArrayTiles { place: "y", values: y.view() };
        let parts = RowsOfFolds::partition(part_of_row.clone(), vec![0, 1, 2, 3]);
        let summed = sum_moments(&x, &y, &parts, 1 << 30, &Silent, &GO_ON).unwrap();
        let mut n_rows = vec![0; 4];
        part_of_row.iter().for_each(|&part| n_rows[part] += 1);
        for (fold_of_part, names) in [([0, 1, 2, 3], vec![0, 1, 2, 3]), ([0, 1, 0, 1], vec![0, 1])]
        {
            for fit_intercept in [true, false] {
                let settings = settings(fit_intercept);
                let of_row = part_of_row.iter().map(|&part| fold_of_part[part]).collect();
                let folds = RowsOfFolds::partition(of_row, names.clone());
                let plan = Plan::new(&settings, (90, 5, 530, 0, names.len()), None, "x").unwrap();
                let data = FitData { x: &x, y: &y, folds, test: None };
                let outputs = Outputs { folder: None, predict: false };
                let rows = fit(plan, &data, &outputs, &Silent, &GO_ON).unwrap().arrays;
                let view = view(&summed, &n_rows);
                let asked = (&fold_of_part[..], &names[..]);
                let found = solve_moments(&view, asked, &settings, &Silent, &GO_ON).unwrap();
                let found = found.arrays;
                if fit_intercept && names.len() == 4 {
                    assert_eq!(found.cv_scores, rows.cv_scores);
                    assert_eq!(found.coef, rows.coef);
                    assert_eq!(found.intercept, rows.intercept);
                    assert_eq!(found.best_alpha, rows.best_alpha);
                }
                // DESIGN: CV scores to 1e-5; weights of size 1 from sums over 90 rows in f32.
                for (a, b) in found.cv_scores.iter().zip(&rows.cv_scores) {
                    assert!((a - b).abs() < 1e-5, "{a} {b}");
                }
                let same = |v: usize| found.best_alpha[v] == rows.best_alpha[v];
                assert!((0..530).filter(|&v| same(v)).count() > 520);
                for v in (0..530).filter(|&v| same(v)) {
                    for (a, b) in found.coef.column(v).iter().zip(rows.coef.column(v)) {
                        assert!((a - b).abs() < 1e-3, "{v}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn sums_that_do_not_go_together_are_refused() {
        let (x, y, part_of_row) = data();
        let x = ArrayTiles { place: "x", values: x.view() };
        let y = ArrayTiles { place: "y", values: y.view() };
        let parts = RowsOfFolds::partition(part_of_row, vec![0, 1, 2, 3]);
        let too_large = sum_moments(&x, &y, &parts, 1 << 10, &Silent, &GO_ON).unwrap_err();
        assert!(too_large.to_string().contains("4 parts, 5 columns, 530 voxels"), "{too_large}");
        let mut summed = sum_moments(&x, &y, &parts, 1 << 30, &Silent, &GO_ON).unwrap();
        let solve = |summed: &Moments, n_rows: &[usize]| {
            let asked = (&[0, 1, 2, 3][..], &[0, 1, 2, 3][..]);
            solve_moments(&view(summed, n_rows), asked, &settings(true), &Silent, &GO_ON)
        };
        assert!(solve(&summed, &[30, 20, 20, 20]).is_ok());
        assert_eq!(solve(&summed, &[90]).err().unwrap().exit_code(), 3);
        summed.gram[(1, 2, 3)] = f64::NAN;
        let error = solve(&summed, &[30, 20, 20, 20]).err().unwrap();
        assert!(error.to_string().contains("expected finite sums"), "{error}");
    }
}
