//! `voxelcast ridge` against the oracle of `naive`; its flags and its files.

use ndarray::Array2;

use super::naive::{
    Score, argmax_last, column_correlations, gram_range, predict, ridge_cv, ridge_fit,
};
use super::workbench::{
    RidgeBench, RidgeFiles, normal, planted, raw_npy, read_matrix, scattered_folds, seeded,
    visible_files, visible_names, wide, write_as,
};

/// DESIGN section 2: CV scores agree with an all-f64 SVD to 1e-5 (measured there: 7e-6 at a
/// condition number of 2e7); r2 is not bounded by 1, so its error grows with its size.
pub fn cv_tolerance(score: f64) -> f64 {
    1e-5 * score.abs().max(1.0)
}

/// Rounding f32 products over n rows costs e = eps₃₂ √n of ‖x‖‖y‖ in Xᵀy (not of Xᵀy itself, which
/// may be near 0), and w moves by that over λ_p + a; the factor (λ₁ + a)/(λ_p + a) as in
/// tests/golden/ridge_sklearn/README.md. Absolute, for ‖Δw‖ of one voxel.
fn coef_tolerance(x: &Array2<f64>, y: &[f64], alpha: f64, norm: f64, fit_intercept: bool) -> f64 {
    let (most, least) = gram_range(x, fit_intercept);
    let n = y.len() as f64;
    let e = 4.0 * f64::from(f32::EPSILON) * n.sqrt();
    let size = y.iter().map(|y| y * y).sum::<f64>().sqrt();
    e * ((most + alpha) / (least + alpha) * norm + most.sqrt() * size / (least + alpha))
}

/// r of f32 predictions: sums over p columns and n rows, each off by eps₃₂.
fn test_tolerance(n_features: usize, n_rows: usize) -> f64 {
    f64::from(f32::EPSILON) * 8.0 * ((n_features + n_rows) as f64).sqrt()
}

/// The inputs of one run.
pub struct Data {
    pub x: Array2<f32>,
    pub y: Array2<f32>,
    pub folds: Vec<i64>,
}

impl Data {
    /// Columns with a mean, a linear truth, folds of different size.
    pub fn new(seed: u64, n: usize, p: usize, n_voxels: usize, labels: &[i64]) -> Self {
        let rng = &mut seeded(seed);
        let x = normal(rng, n, p) + 0.3f32;
        let y = planted(rng, &x, n_voxels);
        let folds = scattered_folds(rng, n, labels);
        Self { x, y, folds }
    }

    /// Written to a folder.
    pub fn bench(&self) -> RidgeBench {
        RidgeBench::new(&self.x, &self.y, &self.folds)
    }
}

/// What the files say, against the definitions.
#[track_caller]
pub fn agrees_with_oracle(data: &Data, found: &RidgeFiles, score: Score, fit_intercept: bool) {
    let (x, y) = (wide(&data.x), wide(&data.y));
    let oracle = ridge_cv(&x, &y, &data.folds, &found.alphas, score, fit_intercept);
    for ((a, v), &expected) in oracle.cv_scores.indexed_iter() {
        let got = found.cv_scores[[a, v]];
        assert!(
            (got - expected).abs() <= cv_tolerance(expected),
            "cv_scores[{a}, {v}]: expected {expected}, got {got} ({})",
            (got - expected).abs()
        );
    }
    for v in 0..y.ncols() {
        let best = found.alphas.iter().position(|&a| a == found.best_alpha[v]);
        let best = best.expect("the best alpha is one of the grid");
        let (top, got) = (oracle.cv_scores[[oracle.best[v], v]], oracle.cv_scores[[best, v]]);
        assert!(top - got <= 2.0 * cv_tolerance(top), "voxel {v}: alpha {best}, {top} > {got}");
    }
    let fit = ridge_fit(&x, &y, &found.best_alpha, fit_intercept);
    for v in 0..y.ncols() {
        let (mut difference, mut norm) = (0.0, 0.0);
        for f in 0..x.ncols() {
            difference += (found.coef[[f, v]] - fit.coef[[f, v]]).powi(2);
            norm += fit.coef[[f, v]].powi(2);
        }
        let (off, norm) = (difference.sqrt(), norm.sqrt());
        let column = y.column(v).to_vec();
        let tolerance = coef_tolerance(&x, &column, found.best_alpha[v], norm, fit_intercept);
        assert!(off <= tolerance, "coef of voxel {v}: {off} > {tolerance}");
        // Means of the columns of x are near 0.3: |Δb| ≤ ‖means‖ ‖Δw‖, and its own rounding.
        let rounding = 2.0 * f64::from(f32::EPSILON) * (1.0 + fit.intercept[v].abs() + norm);
        let off = (found.intercept[v] - fit.intercept[v]).abs();
        let most = tolerance * (x.ncols() as f64).sqrt() + rounding;
        assert!(off <= most, "intercept of voxel {v}: {off} > {most}");
        if !fit_intercept {
            assert_eq!(found.intercept[v], 0.0);
        }
    }
    best_alphas_are_the_maxima_of_the_file(found);
}

#[track_caller]
fn best_alphas_are_the_maxima_of_the_file(found: &RidgeFiles) {
    for v in 0..found.best_alpha.len() {
        let scores = found.cv_scores.column(v).to_vec();
        if !scores[0].is_nan() {
            assert_eq!(found.best_alpha[v], found.alphas[argmax_last(&scores)], "voxel {v}");
        }
    }
}

#[test]
fn every_size_agrees_with_the_f64_svd() {
    // (n, p, V, fold labels): one voxel, one column, more columns than rows, a width above a tile.
    let cases: [(usize, usize, usize, &[i64]); 8] = [
        (40, 1, 1, &[0, 1]),
        (60, 7, 2, &[-5, 3, 1_000_000_007]),
        (90, 7, 33, &[2, 1, 0, 9]),
        (120, 65, 33, &[4, 0, 3, 1, 2]),
        (150, 65, 700, &[10, 20, 30]),
        (50, 65, 33, &[1, 2]),
        (33, 31, 2, &[0, 7]),
        (61, 1, 33, &[5, 6, 7, 8, 9]),
    ];
    for (i, (n, p, n_voxels, labels)) in cases.into_iter().enumerate() {
        println!("case {i}: {n} × {p} × {n_voxels}, {} folds", labels.len());
        let data = Data::new(100 + i as u64, n, p, n_voxels, labels);
        let found = data.bench().fit(&["--alphas", "logspace(-1,5,13)"]);
        assert_eq!(found.alphas.len(), 13);
        agrees_with_oracle(&data, &found, Score::Correlation, true);
    }
}

#[test]
fn scorer_and_intercept_are_those_of_the_oracle_and_change_the_scores() {
    let data = Data::new(7, 110, 9, 5, &[1, 2, 3]);
    let bench = data.bench();
    let mut tables = Vec::new();
    for (name, score) in [("correlation", Score::Correlation), ("r2", Score::R2)] {
        for fit_intercept in [true, false] {
            let mut flags = vec!["--alphas", "logspace(0,4,5)", "--scorer", name];
            flags.extend((!fit_intercept).then_some("--no-intercept"));
            let found = bench.fit(&flags);
            agrees_with_oracle(&data, &found, score, fit_intercept);
            tables.push(found.cv_scores);
        }
    }
    for i in 0..tables.len() {
        for j in 0..i {
            assert_ne!(tables[i], tables[j]);
        }
    }
}

#[test]
fn one_alpha_and_a_hundred_alphas_agree_with_the_oracle() {
    // More than the 128 columns below which the exact path is always taken.
    let data = Data::new(41, 300, 140, 33, &[1, 2, 3, 4]);
    let bench = data.bench();
    let one = bench.fit(&["--alphas", "50"]);
    assert_eq!(one.best_alpha, vec![50.0; 33]);
    agrees_with_oracle(&data, &one, Score::Correlation, true);
    let many = bench.fit(&["--alphas", "logspace(-2,6,100)"]);
    assert_eq!(many.alphas.len(), 100);
    agrees_with_oracle(&data, &many, Score::Correlation, true);
    let exact = bench.fit(&["--alphas", "logspace(-2,6,100)", "--basis-tolerance", "0"]);
    agrees_with_oracle(&data, &exact, Score::Correlation, true);
    for (a, b) in many.cv_scores.iter().zip(&exact.cv_scores) {
        assert!((a - b).abs() <= cv_tolerance(*a), "{a} {b}");
    }
    let coarse = bench.fit(&["--alphas", "logspace(-2,6,100)", "--basis-tolerance", "0.1"]);
    assert_ne!(coarse.cv_scores, exact.cv_scores, "the tolerance changes the result");
}

#[test]
fn the_huth_convention_squares_the_grid() {
    let data = Data::new(43, 80, 6, 4, &[1, 2]);
    let bench = data.bench();
    let huth = bench.fit(&["--alphas", "1,10,30", "--alpha-convention", "huth"]);
    let ours = bench.fit(&["--alphas", "1,100,900"]);
    assert_eq!(huth.alphas, [1.0, 100.0, 900.0]);
    assert_eq!(huth.best_alpha, ours.best_alpha);
    assert_eq!(huth.cv_scores, ours.cv_scores);
    let plain = bench.fit(&["--alphas", "1,10,30"]);
    assert_ne!(plain.cv_scores, huth.cv_scores);
}

#[test]
fn alpha_tolerance_takes_the_smallest_alpha_that_is_good_enough() {
    let data = Data::new(47, 100, 30, 33, &[1, 2, 3]);
    let bench = data.bench();
    let found = bench.fit(&["--alphas", "logspace(-1,5,25)", "--alpha-tolerance", "0.05"]);
    let strict = bench.fit(&["--alphas", "logspace(-1,5,25)"]);
    assert_eq!(found.cv_scores, strict.cv_scores);
    assert_ne!(found.best_alpha, strict.best_alpha);
    for v in 0..33 {
        let scores = found.cv_scores.column(v).to_vec();
        let top = scores[argmax_last(&scores)];
        let first = scores.iter().position(|&s| s >= top - 0.05 * top.abs()).expect("the top");
        assert_eq!(found.best_alpha[v], found.alphas[first], "voxel {v}");
    }
}

#[test]
fn equal_scores_take_the_larger_alpha() {
    // With one column the correlation is the same at every alpha, up to sign and rounding.
    let rng = &mut seeded(53);
    let x = Array2::from_shape_fn((64, 1), |(i, _)| if i % 2 == 0 { 1.0 } else { -1.0 });
    let y = planted(rng, &x, 33);
    let folds: Vec<i64> = (0..64).map(|i| i / 16).collect();
    let found = RidgeBench::new(&x, &y, &folds).fit(&["--alphas", "1,10,100,1000"]);
    best_alphas_are_the_maxima_of_the_file(&found);
    for v in 0..33 {
        let scores = found.cv_scores.column(v).to_vec();
        if scores.iter().all(|&s| s == scores[0]) {
            assert_eq!(found.best_alpha[v], 1000.0);
        }
    }
}

#[test]
fn dtype_and_order_of_the_files_do_not_change_a_bit() {
    let data = Data::new(59, 70, 11, 37, &[3, 1, 2]);
    let bench = data.bench();
    let flags = ["--alphas", "1,10,100"];
    let first = visible_files_of(&bench.fit(&flags));
    for is_f64 in [false, true] {
        for is_fortran in [false, true] {
            write_as(&bench.file("x.npy"), &data.x, is_f64, is_fortran);
            write_as(&bench.file("y.npy"), &data.y, is_f64, !is_fortran);
            let again = visible_files_of(&bench.fit(&flags));
            assert_eq!(first, again, "f64 {is_f64}, Fortran {is_fortran}");
        }
    }
    // Any integer dtype for the folds.
    let labels: Vec<u8> = data.folds.iter().map(|&fold| fold as u8).collect();
    raw_npy(&bench.file("folds.npy"), "|u1", false, "(70,)", &labels);
    assert_eq!(first, visible_files_of(&bench.fit(&flags)));
    let labels: Vec<u8> = labels.iter().flat_map(|&fold| i16::from(fold).to_be_bytes()).collect();
    raw_npy(&bench.file("folds.npy"), ">i2", false, "(70,)", &labels);
    assert_eq!(first, visible_files_of(&bench.fit(&flags)));
}

/// Arrays only: run.json holds times.
pub fn visible_files_of(found: &RidgeFiles) -> Vec<(String, Vec<u8>)> {
    visible_files(&found.out)
        .into_iter()
        .map(|(path, bytes)| {
            (path.file_name().expect("a file").to_string_lossy().into_owned(), bytes)
        })
        .filter(|(name, _)| name.ends_with(".npy"))
        .collect()
}

#[test]
fn threads_and_memory_do_not_change_the_results() {
    let data = Data::new(61, 60, 12, 3000, &[1, 2, 3]);
    let bench = data.bench();
    let flags = |more: &[&'static str]| [&["--alphas", "logspace(0,4,9)"][..], more].concat();
    let one = bench.fit(&flags(&["--threads", "1"]));
    let two = bench.fit(&flags(&["--threads", "2"]));
    assert_eq!(visible_files_of(&one), visible_files_of(&two));
    let svd = |threads| bench.fit(&flags(&["--solver", "svd", "--threads", threads]));
    assert_eq!(visible_files_of(&svd("1")), visible_files_of(&svd("2")));
    let small = bench.fit(&flags(&["--memory", "64M"]));
    for (a, b) in one.cv_scores.iter().zip(&small.cv_scores) {
        assert!((a - b).abs() <= cv_tolerance(*a));
    }
    assert_eq!(visible_files_of(&one), visible_files_of(&small), "tile borders do not show");
}

#[test]
fn test_correlations_and_predictions_follow_from_the_weights() {
    for (p, solver) in
        [9, 120].into_iter().flat_map(|p| ["gram", "dual", "svd"].map(|solver| (p, solver)))
    {
        let rng = &mut seeded(67);
        let x_all = normal(rng, 140, p) + 0.3f32;
        let y_all = planted(rng, &x_all, 33);
        let part = |m: &Array2<f32>, rows: std::ops::Range<usize>| {
            m.slice(ndarray::s![rows, ..]).to_owned()
        };
        let folds = scattered_folds(rng, 100, &[1, 2, 3]);
        let (x, y) = (part(&x_all, 0..100), part(&y_all, 0..100));
        let (x_test, y_test) = (part(&x_all, 100..140), part(&y_all, 100..140));
        let bench = RidgeBench::new(&x, &y, &folds).with_test(&x_test, &y_test);
        for intercept in [&[][..], &["--no-intercept"]] {
            let flags = ["--alphas", "1,10,100", "--predict", "--solver", solver];
            let found = bench.fit(&[&flags[..], intercept].concat());
            let predictions = read_matrix(&found.out.join("predictions.npy"), (40, 33));
            let fit = super::naive::Fit {
                coef: found.coef.clone(),
                intercept: found.intercept.clone().into(),
            };
            let from_files = predict(&wide(&x_test), &fit);
            let tolerance = test_tolerance(p, 40);
            for (a, b) in predictions.iter().zip(&from_files) {
                assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{p} {solver}: {a} {b}");
            }
            let expected = column_correlations(&from_files, &wide(&y_test));
            for (got, expected) in found.test_correlation.iter().zip(expected) {
                assert!((got - expected).abs() <= tolerance, "{p} {solver}: {got} {expected}");
            }
            let fit = ridge_fit(&wide(&x), &wide(&y), &found.best_alpha, intercept.is_empty());
            let expected = column_correlations(&predict(&wide(&x_test), &fit), &wide(&y_test));
            for (got, expected) in found.test_correlation.iter().zip(expected) {
                assert!((got - expected).abs() <= cv_tolerance(expected), "{got} {expected}");
            }
        }
        let found = bench.fit(&["--alphas", "1,10,100"]);
        assert!(!found.out.join("predictions.npy").exists(), "only with --predict");
    }
}

#[test]
fn dead_voxels_are_nan_in_scores_and_zero_in_weights() {
    let mut data = Data::new(71, 90, 8, 12, &[1, 2, 3]);
    let rng = &mut seeded(72);
    let x_test = normal(rng, 30, 8);
    let mut y_test = planted(rng, &x_test, 12);
    data.y.column_mut(1).fill(0.0);
    data.y.column_mut(3).fill(0.1); // its mean rounds
    data.y[[17, 5]] = f32::NAN;
    data.y[[89, 7]] = f32::INFINITY;
    data.y[[0, 9]] = f32::NEG_INFINITY;
    data.y.column_mut(11).fill(1e30);
    y_test.column_mut(0).fill(2.0); // alive, but without a test correlation
    let dead = [1, 3, 5, 7, 9, 11];
    for solver in ["gram", "dual", "svd"] {
        for intercept in [&[][..], &["--no-intercept"]] {
            let bench = data.bench().with_test(&x_test, &y_test);
            let flags = ["--alphas", "1,10,100", "--solver", solver];
            let found = bench.fit(&[&flags[..], intercept].concat());
            for v in 0..12 {
                let is_dead = dead.contains(&v);
                let all_nan = found.cv_scores.column(v).iter().all(|s| s.is_nan());
                let any_nan = found.cv_scores.column(v).iter().any(|s| s.is_nan());
                assert!(all_nan == is_dead && any_nan == is_dead, "{solver} voxel {v}");
                assert_eq!(found.best_alpha[v].is_nan(), is_dead, "voxel {v}");
                assert_eq!(found.test_correlation[v].is_nan(), is_dead || v == 0, "voxel {v}");
                assert_eq!(found.coef.column(v).iter().all(|&w| w == 0.0), is_dead, "voxel {v}");
                assert!(found.intercept[v].is_finite());
            }
            let says = "3 constant and 3 NaN or infinite voxels of 12";
            assert!(found.outcome.stderr.contains(says), "{}", found.outcome.stderr);
            // The living are not touched by the dead.
            let mut alive = Data { x: data.x.clone(), y: data.y.clone(), folds: vec![] };
            alive.folds.clone_from(&data.folds);
            alive.y = data.y.select(ndarray::Axis(1), &[0, 2, 4, 6, 8, 10]);
            let oracle = ridge_cv(
                &wide(&alive.x),
                &wide(&alive.y),
                &alive.folds,
                &found.alphas,
                Score::Correlation,
                intercept.is_empty(),
            );
            for ((a, i), &expected) in oracle.cv_scores.indexed_iter() {
                let off = (found.cv_scores[[a, 2 * i]] - expected).abs();
                assert!(off <= cv_tolerance(expected), "{off}");
            }
        }
    }
}

#[test]
fn a_design_without_variance_predicts_nothing_and_fails_nowhere() {
    let data = Data::new(74, 60, 1, 5, &[1, 2, 3]);
    // Zero everywhere; and zero but for the rows of one fold, so that its training rows are empty.
    let zero = Array2::<f32>::zeros((60, 1));
    let mut nearly = zero.clone();
    (0..60).filter(|&t| data.folds[t] == 2).for_each(|t| nearly[[t, 0]] = 1.0 + t as f32);
    for x in [&zero, &nearly] {
        let mut tables = Vec::new();
        let bench = RidgeBench::new(x, &data.y, &data.folds).with_test(x, &data.y);
        for solver in ["gram", "dual", "svd"] {
            for scorer in ["correlation", "r2"] {
                for intercept in [&[][..], &["--no-intercept"]] {
                    let flags =
                        ["--alphas", "1,10", "--solver", solver, "--scorer", scorer, "--predict"];
                    let found = bench.fit(&[&flags[..], intercept].concat());
                    assert!(found.cv_scores.iter().all(|score| score.is_finite()), "{found:#?}");
                    tables.push(found.cv_scores.clone());
                    assert!(found.coef.iter().all(|w| w.is_finite()));
                    if x == zero {
                        assert!(found.coef.iter().all(|&w| w == 0.0));
                        assert!(found.test_correlation.iter().all(|r| r.is_nan()));
                        assert!(scorer == "r2" || found.cv_scores.iter().all(|&r| r == 0.0));
                        assert_eq!(found.best_alpha, [10.0; 5], "a tie");
                    }
                }
            }
        }
        for other in [4, 8] {
            for (gram, other) in tables[..4].iter().zip(&tables[other..]) {
                for (a, b) in gram.iter().zip(other) {
                    assert!((a - b).abs() <= cv_tolerance(*a), "gram {gram:?}, other {other:?}");
                }
            }
        }
    }
}

#[test]
fn stdout_is_one_document_with_json_and_stderr_names_solver_and_device() {
    let data = Data::new(73, 60, 5, 4, &[1, 2]);
    let bench = data.bench();
    let found = bench.fit(&["--alphas", "1,10", "--json"]);
    let document: serde_json::Value =
        serde_json::from_str(&found.outcome.stdout).expect("one JSON document");
    assert!(document["schema"].as_str().is_some_and(|schema| !schema.is_empty()));
    assert_eq!(document["ridge"]["n_voxels"], 4);
    for part in ["device: cpu", "solver: "] {
        assert!(found.outcome.stderr.contains(part), "{}", found.outcome.stderr);
    }
    assert!(!found.outcome.stderr.contains('\u{1b}'), "no colour without a terminal");
    let quiet = bench.fit(&["--alphas", "1,10", "--quiet"]);
    assert!(quiet.outcome.stderr.is_empty(), "{}", quiet.outcome.stderr);
    let plain = bench.fit(&["--alphas", "1,10"]);
    assert!(serde_json::from_str::<serde_json::Value>(&plain.outcome.stdout).is_err());
}

#[test]
fn run_json_is_among_the_outputs() {
    let data = Data::new(79, 60, 5, 4, &[1, 2]);
    let bench = data.bench();
    let found = bench.fit(&["--alphas", "1,10"]);
    let names = visible_names(&found.out);
    let expected =
        ["alphas.npy", "best_alpha.npy", "coef.npy", "cv_scores.npy", "intercept.npy", "run.json"];
    assert_eq!(names, expected);
    let text = std::fs::read_to_string(found.out.join("run.json")).expect("it is there");
    let run: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    for key in ["version", "commit", "device", "solver", "warnings"] {
        assert!(!run[key].is_null(), "{key} in {run}");
    }
}
