//! One body, every device: random problems through the CPU engine and through the device at hand.
//!
//! Needs `LD_LIBRARY_PATH` with the stand-in libraries, or a card. The CPU engine is held to naive
//! oracles elsewhere (`tests/integration`); here devices are held to it: scores within 1e-5, chosen
//! alphas equal or tied within that.

use std::ops::Range;

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::device::{Device, Precision, choose};
use super::{Block, Engine, Loaded, PathSettings, Permutations, Problem, Scorer, Space};
use crate::error::Error;
use crate::matrix::{SparseRows, StoryDesign};
use crate::ridge::{ModelSpec, Route, prepare};

/// What CV scores of two devices may differ by (DESIGN, section 3).
const SCORES: f64 = 1e-5;

/// The card or its stand-in; without one a loud line, or a failure where it is required.
#[allow(clippy::print_stderr)]
fn cuda(wanted: &str, precision: Precision) -> Option<Device> {
    match choose(wanted, precision) {
        Ok((device, _)) => Some(device),
        Err(why) => {
            let required = std::env::var("VOXELCAST_REQUIRE").is_ok_and(|v| v == "cuda");
            assert!(!required, "VOXELCAST_REQUIRE=cuda: {why}");
            eprintln!("SKIPPED: the cuda engine: {why}");
            None
        }
    }
}

/// A random problem; everything that a device may trip over is in it.
#[derive(Debug, Clone)]
struct Case {
    seed: u64,
    /// Fold and rows of each training block.
    blocks: Vec<(usize, usize)>,
    test_blocks: Vec<usize>,
    n_features: usize,
    delays: Vec<i64>,
    is_sparse: bool,
    width: usize,
    alphas: Vec<f64>,
    route: Route,
    scorer: Scorer,
    fit_intercept: bool,
    alpha_tolerance: f64,
    basis_tolerance: f64,
    block_voxels: usize,
    wants_coef: bool,
    /// Features that never change.
    is_flat: bool,
    /// Without eigenvectors.
    is_few: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            seed: 1,
            blocks: vec![(0, 37), (1, 41), (2, 29), (0, 5), (2, 33)],
            test_blocks: vec![23, 17],
            n_features: 11,
            delays: vec![1, 2],
            is_sparse: false,
            width: 33,
            alphas: logspace(-1.0, 5.0, 7),
            route: Route::Gram,
            scorer: Scorer::Correlation,
            fit_intercept: true,
            alpha_tolerance: 0.0,
            basis_tolerance: 1e-5,
            block_voxels: 512,
            wants_coef: true,
            is_flat: false,
            is_few: false,
        }
    }
}

fn logspace(from: f64, to: f64, n: usize) -> Vec<f64> {
    (0..n).map(|i| 10f64.powf(from + (to - from) * i as f64 / (n - 1).max(1) as f64)).collect()
}

/// BOLD of every block, training ones first.
type Bold = Vec<Vec<f32>>;

impl Case {
    fn n_folds(&self) -> usize {
        self.blocks.iter().map(|(fold, _)| fold + 1).max().unwrap_or(0)
    }

    fn design(&self, rng: &mut ChaCha8Rng, n: usize) -> StoryDesign {
        let d = self.n_features;
        if !self.is_sparse {
            let mut x = Array2::from_shape_simple_fn((n, d), || rng.sample(StandardNormal));
            if self.is_flat {
                x.fill(0.0);
            }
            // A feature without variance, and two that are the same.
            if d > 4 {
                x.column_mut(2).fill(0.0);
                let copy = x.column(0).to_owned();
                x.column_mut(4).assign(&copy);
            }
            return StoryDesign::Dense(x);
        }
        let mut rows = SparseRows::empty(d);
        for _ in 0..n {
            let columns: Vec<u32> = (0..d as u32).filter(|_| rng.random_bool(0.2)).collect();
            rows.push_row(columns.into_iter().map(|c| (c, 1.5)));
        }
        let center = (0..d).map(|f| if f % 3 == 0 { 0.0 } else { 0.3 }).collect();
        StoryDesign::Sparse { rows, center }
    }

    fn make(&self) -> (Problem, Bold) {
        let rng = &mut ChaCha8Rng::seed_from_u64(self.seed);
        let train: Vec<StoryDesign> =
            self.blocks.iter().map(|&(_, n)| self.design(rng, n)).collect();
        let test: Vec<StoryDesign> =
            self.test_blocks.iter().map(|&n| self.design(rng, n)).collect();
        let (d, w) = (self.n_features, self.width);
        let weights: Array2<f32> =
            Array2::from_shape_simple_fn((d, w), || rng.sample::<f32, _>(StandardNormal));
        let weights = weights / (d as f32).sqrt();
        let mut bold = Bold::new();
        for (index, design) in train.iter().chain(&test).enumerate() {
            let x = design.to_dense();
            let n = x.nrows();
            let mut y = x.dot(&weights);
            // As if seen one row later, over noise and an offset that is a thousand times as large.
            y.mapv_inplace(|y| y + 500.0 + 0.7 * rng.sample::<f32, _>(StandardNormal));
            if w > 8 {
                // Constant; constant in one fold; not finite, in training or in test rows alone.
                y.column_mut(1).fill(3.25);
                if self.blocks.get(index).is_some_and(|(fold, _)| *fold == 1) {
                    y.column_mut(2).fill(501.0);
                }
                match index {
                    1 => y[[n - 1, 3]] = f32::NAN,
                    2 => y[[0, 4]] = f32::INFINITY,
                    _ if index == train.len() => y[[n / 2, 5]] = f32::NAN,
                    _ => {}
                }
            }
            bold.push(y.iter().copied().collect());
        }
        let space =
            Space { delays: self.delays.clone(), n_features: d, train, test, ..Space::default() };
        let blocks = self.blocks.iter().map(|&(fold, n_rows)| Block { fold, n_rows }).collect();
        let spec = ModelSpec {
            space: 0,
            delays: self.delays.clone(),
            route: self.route,
            wants_coef: self.wants_coef,
            bands: None,
        };
        let mut settings = PathSettings::new(self.alphas.clone());
        settings.scorer = self.scorer;
        settings.fit_intercept = self.fit_intercept;
        settings.alpha_tolerance = self.alpha_tolerance;
        settings.basis_tolerance = self.basis_tolerance;
        settings.block_voxels = self.block_voxels;
        settings.few_voxels = self.is_few.then_some(0);
        let test_blocks = self.test_blocks.clone();
        let prepared = prepare(vec![space], &[spec], blocks, test_blocks, self.n_folds(), settings);
        let (mut problem, _) = prepared.expect("it converges");
        problem.permutations = Some(Permutations::new(problem.n_test(), 4, 99, self.seed));
        problem.inner = self.test_blocks.iter().map(|&n| n / 3..n - n / 5).collect();
        (problem, bold)
    }
}

/// Everything that an engine hands out of one tile.
struct Found {
    model: super::ModelTile,
    test: super::TestTile,
    counts: super::VoxelCounts,
    predictions: Vec<Vec<f32>>,
}

fn solve(engine: &mut dyn Engine, problem: &Problem, bold: &Bold, width: usize) -> Found {
    engine.begin(width).expect("it fits");
    let (train, test) = bold.split_at(problem.blocks.len());
    for (block, bold) in train.iter().enumerate() {
        engine.add_train(block, bold).expect("training rows");
    }
    engine.solve().expect("it converges");
    let mut predictions = Vec::new();
    for (block, bold) in test.iter().enumerate() {
        let mut take = |_: usize, rows: &[f32]| predictions.push(rows.to_vec());
        engine.add_test(block, bold, Some(&mut take)).expect("test rows");
    }
    let counts = engine.counts();
    let (models, tests) = engine.results().expect("results");
    Found { model: models[0].clone(), test: tests[0].clone(), counts, predictions }
}

fn on(device: &Device, problem: &Problem, bold: &Bold, width: usize) -> Found {
    let loaded = Loaded::new(problem, device).expect("it fits the device");
    let mut engine = loaded.engine(0).expect("an engine");
    // A wider tile before, so that nothing depends on what is left in buffers.
    let wider: Bold = bold
        .iter()
        .map(|rows| {
            rows.chunks_exact(width)
                .flat_map(|row| row.iter().chain(row).copied().map(|y| 2.0 * y + 1.0))
                .collect()
        })
        .collect();
    solve(engine.as_mut(), problem, &wider, 2 * width);
    solve(engine.as_mut(), problem, bold, width)
}

/// How far two runs are apart, and how many alphas are equal.
#[derive(Debug, Default, Clone, Copy)]
struct Apart {
    cv: f64,
    test: f64,
    coef: f64,
    n_equal: usize,
    n_alive: usize,
}

#[track_caller]
fn compare(case: &Case, a: &Found, b: &Found, bound: f64) -> Apart {
    let w = case.width;
    let mut apart = Apart::default();
    assert_eq!(a.counts, b.counts, "{case:?}");
    let off = |a: f32, b: f32| {
        assert_eq!(a.is_nan(), b.is_nan(), "{a} {b}: {case:?}");
        let (a, b) = (f64::from(a), f64::from(b));
        if a.is_nan() { 0.0 } else { (a - b).abs() / a.abs().max(1.0) }
    };
    for (&a, &b) in a.model.cv_scores.iter().zip(&b.model.cv_scores) {
        apart.cv = apart.cv.max(off(a, b));
    }
    assert!(apart.cv <= bound, "{apart:?}: {case:?}");
    for v in 0..w {
        let (own, other) = (a.model.best[v], b.model.best[v]);
        assert_eq!(own.is_some(), other.is_some(), "voxel {v}: {case:?}");
        let (Some(own), Some(other)) = (own, other) else {
            if case.wants_coef {
                assert!((0..a.model.coef.len() / w).all(|i| b.model.coef[i * w + v] == 0.0));
            }
            continue;
        };
        apart.n_alive += 1;
        if own != other {
            let score = |index: usize| f64::from(a.model.cv_scores[index * w + v]);
            // With a tolerance alphas are compared by a share of the best score instead.
            let tied = (score(own) - score(other)).abs() <= 2.0 * bound * score(own).abs().max(1.0);
            assert!(tied, "voxel {v}, {own} {other}: {case:?}");
            continue;
        }
        apart.n_equal += 1;
        apart.test = apart.test.max(off(a.test.correlation[v], b.test.correlation[v]));
        if !a.test.correlation[v].is_nan() {
            // One takes dot products in f32, the other in f64: a permutation may tie in one alone.
            let counts = (a.test.n_at_least[v], b.test.n_at_least[v]);
            assert!(counts.0.abs_diff(counts.1) <= 1, "voxel {v} {counts:?}: {case:?}");
        }
        for block in 0..case.test_blocks.len() {
            let at = block * w + v;
            let blocks = (&a.test.block_correlation, &b.test.block_correlation);
            apart.test = apart.test.max(off(blocks.0[at], blocks.1[at]));
            let inner = (&a.test.block_inner_correlation, &b.test.block_inner_correlation);
            apart.test = apart.test.max(off(inner.0[at], inner.1[at]));
        }
        let inner = (&a.test.inner_correlation, &b.test.inner_correlation);
        assert_eq!(inner.0.len(), inner.1.len(), "{case:?}");
        // Without test blocks there are no inner rows.
        if let (Some(&a), Some(&b)) = (inner.0.get(v), inner.1.get(v)) {
            apart.test = apart.test.max(off(a, b));
        }
        let column = |found: &Found| -> Vec<f64> {
            let coef = &found.model.coef;
            (0..coef.len() / w).map(|i| f64::from(coef[i * w + v])).collect()
        };
        let (own, other) = (column(a), column(b));
        let norm = own.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-30);
        let error = own.iter().zip(&other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        apart.coef = apart.coef.max(error / norm);
        // Offsets are near 500: f32 keeps 3e-5 of them.
        let intercepts = (a.model.intercept[v], b.model.intercept[v]);
        assert!((intercepts.0 - intercepts.1).abs() <= 4e-4, "{intercepts:?}: {case:?}");
        for (rows, others) in a.predictions.iter().zip(&b.predictions) {
            for (p, q) in rows.iter().skip(v).step_by(w).zip(others.iter().skip(v).step_by(w)) {
                assert!((p - q).abs() <= 1e-3, "{p} {q}: {case:?}");
            }
        }
    }
    assert_eq!(a.predictions.len(), b.predictions.len());
    // Weights of a condition number of a few: roundings of f32 over the training rows.
    assert!(apart.test <= bound && apart.coef <= 1e-4, "{apart:?}: {case:?}");
    apart
}

/// r of `bold` and predictions over some rows of each test block, `(width)`.
fn r_of_rows(found: &Found, bold: &[Vec<f32>], rows: &[Range<usize>], width: usize) -> Vec<f64> {
    let of_voxel = |v: usize| {
        let (mut n, mut s) = (0.0, [0f64; 5]);
        for ((pred, bold), rows) in found.predictions.iter().zip(bold).zip(rows) {
            for t in rows.clone() {
                let (p, y) = (
                    f64::from(pred[t * width + v]) - 500.0,
                    f64::from(bold[t * width + v]) - 500.0,
                );
                n += 1.0;
                [p, p * p, y, y * y, p * y].iter().zip(&mut s).for_each(|(x, s)| *s += x);
            }
        }
        crate::stats::pearson_from_sums(n, s[0], s[1], s[2], s[3], s[4])
    };
    (0..width).map(of_voxel).collect()
}

#[test]
fn inner_rows_are_scored_by_themselves() {
    // A small alpha: predictions are handed out near 500, where f32 keeps 3e-5.
    let (test_blocks, alphas) = (vec![40, 7, 55], vec![1.0]);
    let case = Case { test_blocks, alphas, width: 8, ..Case::default() };
    let (problem, bold) = case.make();
    let found = on(&Device::Cpu, &problem, &bold, case.width);
    let test_bold = &bold[problem.blocks.len()..];
    let whole: Vec<Range<usize>> = case.test_blocks.iter().map(|&n| 0..n).collect();
    for (rows, got) in
        [(&whole, &found.test.correlation), (&problem.inner, &found.test.inner_correlation)]
    {
        let expected = r_of_rows(&found, test_bold, rows, case.width);
        for (v, (&got, expected)) in got.iter().zip(expected).enumerate() {
            assert!((f64::from(got) - expected).abs() < 1e-3, "voxel {v}: {got} {expected}");
        }
    }
    for (block, inner) in problem.inner.iter().enumerate() {
        let mut rows = vec![0..0; problem.inner.len()];
        rows[block] = inner.clone();
        let expected = r_of_rows(&found, test_bold, &rows, case.width);
        let got = &found.test.block_inner_correlation[block * case.width..][..case.width];
        for (v, (&got, expected)) in got.iter().zip(expected).enumerate() {
            assert!((f64::from(got) - expected).abs() < 1e-2, "{block} {v}: {got} {expected}");
        }
    }
    let mut without = case.make().0;
    without.inner.clear();
    let without = on(&Device::Cpu, &without, &bold, case.width).test;
    assert_eq!((without.inner_correlation.len(), without.block_inner_correlation.len()), (0, 0));
    assert_eq!(without.correlation, found.test.correlation);
}

#[allow(clippy::print_stderr)]
fn all_agree(cases: &[Case]) {
    let Some(device) = cuda("cuda", Precision::F32) else { return };
    let (mut equal, mut alive) = (0, 0);
    let mut worst = Apart::default();
    for case in cases {
        let (problem, bold) = case.make();
        let own = on(&Device::Cpu, &problem, &bold, case.width);
        let apart = compare(case, &own, &on(&device, &problem, &bold, case.width), SCORES);
        equal += apart.n_equal;
        alive += apart.n_alive;
        worst.cv = worst.cv.max(apart.cv);
        worst.test = worst.test.max(apart.test);
        worst.coef = worst.coef.max(apart.coef);
    }
    eprintln!("{} cases on {device}: worst {worst:?}, {equal} of {alive} alphas", cases.len());
    assert!(equal as f64 >= 0.999 * alive as f64 || alive - equal <= 1, "{equal} of {alive}");
}

#[test]
fn every_route_and_scorer_with_and_without_intercept() {
    let mut cases = Vec::new();
    for route in [Route::Gram, Route::Dual, Route::Svd] {
        for scorer in [Scorer::Correlation, Scorer::R2] {
            for fit_intercept in [true, false] {
                let seed = cases.len() as u64;
                cases.push(Case { seed, route, scorer, fit_intercept, ..Case::default() });
            }
        }
    }
    all_agree(&cases);
}

#[test]
fn widths_around_warps_blocks_and_primes() {
    let case = |width: usize, route: Route| Case {
        seed: 100 + width as u64,
        width,
        route,
        n_features: 7,
        ..Case::default()
    };
    let mut cases: Vec<Case> =
        [1, 31, 32, 127, 509, 511, 512, 513].map(|width| case(width, Route::Gram)).to_vec();
    cases.extend([1, 131].map(|width| case(width, Route::Dual)));
    cases.extend([1, 131].map(|width| case(width, Route::Svd)));
    all_agree(&cases);
}

#[test]
fn sparse_designs_and_delays_of_every_sign() {
    let mut cases = Vec::new();
    for (i, delays) in [vec![0], vec![1, 2, 3, 4], vec![-1, 0, 60]].into_iter().enumerate() {
        for is_sparse in [true, false] {
            for route in [Route::Gram, Route::Dual] {
                let (seed, delays) = (200 + i as u64, delays.clone());
                cases.push(Case {
                    seed,
                    delays,
                    is_sparse,
                    route,
                    n_features: 9,
                    ..Case::default()
                });
            }
        }
    }
    all_agree(&cases);
}

/// Enough components for an alpha basis.
fn with_basis() -> Case {
    Case {
        seed: 300,
        blocks: vec![(0, 150), (1, 140), (2, 131)],
        n_features: 67,
        delays: vec![1, 2],
        width: 37,
        block_voxels: 32,
        alphas: logspace(0.0, 6.0, 13),
        ..Case::default()
    }
}

#[test]
fn alpha_bases_of_few_and_many_alphas_and_every_alpha_alone() {
    let many = logspace(0.0, 6.0, 29);
    all_agree(&[
        with_basis(),
        Case { alphas: many.clone(), ..with_basis() },
        Case { scorer: Scorer::R2, alphas: many, fit_intercept: false, ..with_basis() },
        Case { basis_tolerance: 0.0, ..with_basis() },
        Case { route: Route::Svd, ..with_basis() },
        Case { route: Route::Dual, ..with_basis() },
        // Many small folds: the rotated rows themselves in place of a triangle.
        Case { blocks: (0..20).map(|k| (k, 30)).collect(), ..with_basis() },
    ]);
}

#[test]
fn one_alpha_a_tolerance_a_wide_design_and_no_weights() {
    all_agree(&[
        Case { alphas: vec![3.0], ..Case::default() },
        Case { alphas: vec![1.0, 100.0], alpha_tolerance: 0.3, ..Case::default() },
        Case { n_features: 150, delays: vec![1], route: Route::Dual, ..Case::default() },
        Case { n_features: 150, delays: vec![1], route: Route::Svd, ..Case::default() },
        Case { wants_coef: false, ..Case::default() },
        Case { wants_coef: false, route: Route::Dual, ..Case::default() },
        Case { test_blocks: vec![], ..Case::default() },
        Case { is_flat: true, ..Case::default() },
        Case { is_flat: true, scorer: Scorer::R2, ..Case::default() },
    ]);
}

#[test]
#[allow(clippy::print_stderr)]
fn tf32_denominators_move_scores_by_less_than_their_rounding() {
    let (Some(f32_device), Some(tf32_device)) =
        (cuda("cuda", Precision::F32), cuda("cuda", Precision::Tf32))
    else {
        return;
    };
    let (problem, bold) = with_basis().make();
    let exact = on(&f32_device, &problem, &bold, 37);
    let rounded = on(&tf32_device, &problem, &bold, 37);
    let scores = exact.model.cv_scores.iter().zip(&rounded.model.cv_scores);
    let worst =
        scores.filter(|(a, _)| !a.is_nan()).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    eprintln!("tf32 moves CV scores by up to {worst:.1e}");
    // Two factors of 11 bits: a share of 2^-10 of any denominator at most, and so of any score.
    assert!(worst <= 1.0 / 1024.0, "{worst}");
}

#[test]
fn a_tile_that_does_not_fit_is_an_error_with_numbers_and_leaves_the_engine_usable() {
    let Some(device) = cuda("cuda", Precision::F32) else { return };
    let (problem, bold) = Case::default().make();
    let loaded = Loaded::new(&problem, &device).expect("it fits");
    let mut engine = loaded.engine(0).expect("an engine");
    // More than any card holds.
    let error = engine.begin(1 << 36).expect_err("no card holds it");
    assert_eq!(error.exit_code(), 4);
    let Error::DeviceMemory { needed_bytes, free_bytes, .. } = &error else { panic!("{error}") };
    assert!(needed_bytes > free_bytes && *free_bytes > 0, "{error}");
    engine.release();
    let found = solve(engine.as_mut(), &problem, &bold, 33);
    let own = on(&Device::Cpu, &problem, &bold, 33);
    compare(&Case::default(), &own, &found, SCORES);
}

#[test]
#[allow(clippy::print_stderr)]
fn few_voxels_without_eigenvectors_score_the_same() {
    let r2 = Scorer::R2;
    let cases = [
        Case::default(),
        Case { fit_intercept: false, ..Case::default() },
        Case { scorer: r2, ..Case::default() },
        Case { scorer: r2, fit_intercept: false, is_sparse: true, ..Case::default() },
        Case { alphas: vec![3.0], alpha_tolerance: 0.3, width: 1, ..Case::default() },
        Case { is_flat: true, scorer: r2, ..Case::default() },
        Case { n_features: 1, delays: vec![0], ..Case::default() },
        Case { width: 131, block_voxels: 64, ..with_basis() },
        // Many small folds: the rotated rows themselves in place of a triangle.
        Case { blocks: (0..20).map(|k| (k, 30)).collect(), ..with_basis() },
    ];
    let mut worst = Apart::default();
    for case in cases {
        let (eigen, bold) = case.make();
        let (few, _) = Case { is_few: true, ..case.clone() }.make();
        assert!(eigen.models[0].few.is_none() && few.models[0].few.is_some(), "{case:?}");
        let run = |problem| on(&Device::Cpu, problem, &bold, case.width);
        let apart = compare(&case, &run(&eigen), &run(&few), SCORES);
        worst.cv = worst.cv.max(apart.cv);
        worst.test = worst.test.max(apart.test);
    }
    eprintln!("without eigenvectors: worst {worst:?}");
}

#[test]
fn an_ill_conditioned_design_keeps_its_eigenvectors() {
    let case = Case { is_few: true, alphas: vec![1e-6, 1.0], ..Case::default() };
    assert!(case.make().0.models[0].few.is_none());
    let wide = Case { is_few: true, n_features: 150, delays: vec![1], ..Case::default() };
    assert!(wide.make().0.models[0].few.is_none());
}
