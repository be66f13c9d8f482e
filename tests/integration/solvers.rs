//! `gram`, `svd` and `dual` against each other and the oracle; when `gram` is not trusted.

use ndarray::Array2;
use rand::Rng;
use rand::seq::index;
use voxelcast::backend::cpu::CpuEngine;
use voxelcast::backend::{Block, Engine, PathSettings, Space};
use voxelcast::io::npy;
use voxelcast::matrix::{SparseRows, StoryDesign};
use voxelcast::ridge::{ModelSpec, Route, prepare};

use super::naive::{Score, gram_range, kernel_ridge_cv, ridge_cv};
use super::ridge_command::{Data, agrees_with_oracle, cv_tolerance};
use super::workbench::{
    GLOVE_ONLY, RidgeBench, RidgeFiles, StudyBench, normal, planted, read_matrix, scattered_folds,
    seeded, wide,
};

const SOLVERS: [&str; 3] = ["gram", "svd", "dual"];

/// Every solver on these data: each near the oracle, so all near each other.
#[track_caller]
fn all_agree(data: &Data, flags: &[&str]) {
    let fit_intercept = !flags.contains(&"--no-intercept");
    let score = if flags.contains(&"r2") { Score::R2 } else { Score::Correlation };
    let bench = data.bench();
    let found = SOLVERS.map(|solver| {
        let found = bench.fit(&[flags, &["--solver", solver]].concat());
        let said = format!("solver: {solver} (as asked");
        assert!(found.outcome.stderr.contains(&said), "{}", found.outcome.stderr);
        agrees_with_oracle(data, &found, score, fit_intercept);
        found
    });
    for other in &found[1..] {
        for (a, b) in found[0].cv_scores.iter().zip(&other.cv_scores) {
            assert!((a - b).abs() <= cv_tolerance(*a), "{flags:?}: {a} {b}");
        }
    }
}

#[test]
fn all_solvers_agree_on_tall_and_wide_designs() {
    for (seed, n, p) in [(1, 96, 20), (2, 60, 130)] {
        let data = Data::new(seed, n, p, 35, &[0, 1, 2]);
        for scorer in ["correlation", "r2"] {
            for intercept in [&[][..], &["--no-intercept"]] {
                let flags = ["--alphas", "logspace(0,4,9)", "--scorer", scorer];
                all_agree(&data, &[&flags[..], intercept].concat());
            }
        }
    }
}

#[test]
fn one_voxel_one_alpha_two_folds() {
    all_agree(&Data::new(3, 50, 7, 1, &[0, 1]), &["--alphas", "3"]);
    all_agree(&Data::new(4, 24, 40, 1, &[5, -5]), &["--alphas", "3", "--no-intercept"]);
    all_agree(&Data::new(5, 30, 1, 1, &[1, 2]), &["--alphas", "1,10"]);
}

/// Labels of folds with these sizes, shuffled.
fn folds_of(seed: u64, sizes: &[usize]) -> Vec<i64> {
    let rng = &mut seeded(seed);
    let mut labels: Vec<i64> =
        sizes.iter().zip(0..).flat_map(|(&n, label)| std::iter::repeat_n(label, n)).collect();
    for i in (1..labels.len()).rev() {
        labels.swap(i, rng.random_range(0..=i));
    }
    labels
}

fn data_with_folds(seed: u64, sizes: &[usize], p: usize, n_voxels: usize) -> Data {
    let n = sizes.iter().sum();
    Data { folds: folds_of(seed, sizes), ..Data::new(seed, n, p, n_voxels, &[0, 1]) }
}

#[test]
fn folds_of_very_different_size() {
    // Fewer rows than columns in some. (Two rows would correlate by ±1, the sign left to rounding.)
    for (p, sizes) in [(9, &[4, 260, 40][..]), (40, &[4, 300, 30, 7]), (70, &[5, 90, 35])] {
        let data = data_with_folds(11 + p as u64, sizes, p, 17);
        all_agree(&data, &["--alphas", "logspace(0,4,5)"]);
        all_agree(&data, &["--alphas", "logspace(0,4,5)", "--scorer", "r2", "--no-intercept"]);
    }
}

#[test]
fn many_small_folds() {
    // Validation rows are the smaller factor here: fewer than half the columns. Above 128 columns
    // the alpha basis is used.
    for (p, rows) in [(60, 9), (150, 20), (9, 8)] {
        let data = data_with_folds(20 + p as u64, &[rows; 20], p, 33);
        all_agree(&data, &["--alphas", "logspace(0,5,11)"]);
        all_agree(&data, &["--alphas", "logspace(0,5,11)", "--scorer", "r2"]);
    }
}

/// Columns of sizes 1 to 1/`condition`, on request mixed by rotations so that no scaling of columns
/// would mend it.
fn spread(seed: u64, condition: f64, is_mixed: bool) -> Array2<f64> {
    let rng = &mut seeded(seed);
    let (n, p) = (180, 24);
    let mut x = normal(rng, n, p).mapv(f64::from);
    for f in 0..p {
        let scale = condition.powf(-(f as f64) / (p - 1) as f64);
        x.column_mut(f).mapv_inplace(|value| value * scale);
    }
    for _ in 0..if is_mixed { 6 * p } else { 0 } {
        let (i, j) = (rng.random_range(0..p), rng.random_range(0..p));
        if i != j {
            for t in 0..n {
                let (a, b) = (x[[t, i]], x[[t, j]]);
                (x[[t, i]], x[[t, j]]) = (0.8 * a - 0.6 * b, 0.6 * a + 0.8 * b);
            }
        }
    }
    x
}

/// A bench around a design in f64, whose file holds f64; the BOLD and folds with it.
fn bench_in_f64(seed: u64, x: &Array2<f64>) -> (RidgeBench, Array2<f32>, Vec<i64>) {
    let rng = &mut seeded(seed);
    let rounded = x.mapv(|value| value as f32);
    let y = planted(rng, &rounded, 33);
    let folds = scattered_folds(rng, x.nrows(), &[0, 1, 2, 3, 4]);
    let bench = RidgeBench::new(&rounded, &y, &folds);
    let values: Vec<f64> = x.iter().copied().collect();
    npy::write(&bench.file("x.npy"), &[x.nrows(), x.ncols()], &values).expect("written");
    (bench, y, folds)
}

/// The largest difference to the oracle over voxels, for each alpha.
fn errors(x: &Array2<f64>, y: &Array2<f32>, folds: &[i64], found: &RidgeFiles) -> Vec<f64> {
    let oracle = ridge_cv(x, &wide(y), folds, &found.alphas, Score::Correlation, true);
    let worst = |a| {
        let off = &found.cv_scores.row(a) - &oracle.cv_scores.row(a);
        off.iter().fold(0.0, |most: f64, off| off.abs().max(most))
    };
    (0..found.alphas.len()).map(worst).collect()
}

fn run_json(found: &RidgeFiles) -> serde_json::Value {
    let text = std::fs::read_to_string(found.out.join("run.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[test]
fn a_condition_number_of_1e9_makes_gram_warn_and_auto_take_svd() {
    // Scaled columns keep all digits in an f32 file; mixed ones only in an f64 file. Largest
    // eigenvalues near 180, smallest near 1e-16: the alphas see them all.
    for is_mixed in [false, true] {
        let mut x = spread(61, 1e9, is_mixed);
        if !is_mixed {
            x.mapv_inplace(|value| f64::from(value as f32));
        }
        let (most, least) = gram_range(&x, true);
        let condition = (most / least).sqrt();
        assert!(condition > 3e8, "condition number {condition}");
        let (bench, y, folds) = bench_in_f64(62, &x);
        let fit = |solver| bench.fit(&["--alphas", "logspace(-14,3,18)", "--solver", solver]);

        let gram = fit("gram");
        let off = errors(&x, &y, &folds, &gram);
        println!("mixed {is_mixed}, gram off by {off:?}");
        assert!(largest(&off) > cv_tolerance(1.0));
        let warned: Vec<&str> = gram
            .outcome
            .stderr
            .lines()
            .filter(|l| l.starts_with("warning: conditioning:"))
            .collect();
        assert_eq!(warned.len(), 1, "{}", gram.outcome.stderr);
        for part in ["gram solver", "condition number", "more than 1e-5", "take solver svd"] {
            assert!(warned[0].contains(part), "{}", warned[0]);
        }
        let run = run_json(&gram);
        let listed = run["warnings"].as_array().expect("a list").iter();
        let listed = listed.filter(|w| w.as_str().is_some_and(|w| w.starts_with("conditioning:")));
        assert_eq!(listed.count(), 1, "{run}");
        // The estimate covers what happened, and the alphas that it trusts are right.
        let said: Vec<f64> =
            serde_json::from_value(run["conditioning"]["score_errors"].clone()).expect("numbers");
        for ((off, said), alpha) in off.iter().zip(&said).zip(&gram.alphas) {
            assert!(
                *said > cv_tolerance(1.0) || *off <= cv_tolerance(1.0),
                "{alpha}: {off} {said}"
            );
        }

        for solver in ["svd", "auto"] {
            let found = fit(solver);
            let off = errors(&x, &y, &folds, &found);
            println!("mixed {is_mixed}, {solver} off by {off:?}");
            assert!(largest(&off) <= cv_tolerance(1.0), "{off:?}");
            assert!(!found.outcome.stderr.contains("conditioning:"), "{}", found.outcome.stderr);
            let run = run_json(&found);
            let told = run["conditioning"]["condition"].as_f64().expect("a number");
            // Folds leave rows out; the smallest singular value is known to 1e9 eps of itself.
            assert!(told > condition / 3.0 && told < condition * 3.0, "{told} {condition}");
            assert_eq!(run["conditioning"]["score_errors"][0], 0.0);
        }
        let auto = fit("auto").outcome.stderr;
        let line = auto.lines().find(|line| line.starts_with("solver: ")).expect("it is named");
        assert!(line.starts_with("solver: svd (condition number "), "{line}");
        assert_eq!(auto.matches("solver: ").count(), 1, "{auto}");
        // Without the memory for it, auto warns instead. The test set is there to be scored too.
        let from = fit("gram").outcome.stderr;
        assert!(from.contains("or alphas from 1.0e"), "{from}");
    }
}

#[test]
fn svd_predicts_test_rows_of_an_ill_conditioned_design() {
    // Mixed columns: weights of 1e8 cancel in a prediction, which svd sums over components instead.
    let x = spread(63, 1e8, true);
    let (train, test) = (x.slice(ndarray::s![..140, ..]), x.slice(ndarray::s![140.., ..]));
    let (bench, y, folds) = bench_in_f64(64, &train.to_owned());
    let rng = &mut seeded(65);
    let rounded = test.mapv(|value| value as f32);
    let y_test = planted(rng, &rounded, 33);
    let bench = bench.with_test(&rounded, &y_test);
    let values: Vec<f64> = test.iter().copied().collect();
    npy::write(&bench.file("x_test.npy"), &[40, 24], &values).expect("written");
    let found = bench.fit(&["--alphas", "logspace(-12,-8,3)", "--solver", "svd"]);
    let off = errors(&train.to_owned(), &y, &folds, &found);
    assert!(largest(&off) <= cv_tolerance(1.0), "{off:?}");
    let fit = super::naive::ridge_fit(&train.to_owned(), &wide(&y), &found.best_alpha, true);
    let predicted = super::naive::predict(&test.to_owned(), &fit);
    let expected = super::naive::column_correlations(&predicted, &wide(&y_test));
    for (got, expected) in found.test_correlation.iter().zip(expected) {
        assert!((got - expected).abs() <= cv_tolerance(1.0), "{got} {expected}");
    }
}

#[test]
fn a_condition_number_of_a_million_costs_no_digits_of_the_cv_scores() {
    // Where the Gram route ends: its eigenvalues are off by about 100 eps₆₄ λ₁, which has to be
    // below 1e-5 (λ + alpha): alpha ≥ 2e-9 λ₁, here 1e-6 … 1e-5. Mixed columns are known to eps₃₂
    // of the largest only (x is centred and XᵀY summed in f32): a prediction is off by
    // eps₃₂ √λ₁ / (2 √alpha), below 1e-5 for alpha ≥ 4e-5 λ₁, here 1e-2. Svd has no such end.
    for (is_mixed, size, grid) in [
        (false, 1.0, "logspace(-5,4,19)"),
        (true, 1.0, "logspace(-1,8,19)"),
        (true, 30.0, "logspace(2,8,13)"),
    ] {
        let x = spread(31, 1e6, is_mixed).mapv(|value| f64::from((value * size) as f32));
        let (bench, y, folds) = bench_in_f64(32, &x);
        for (solver, grid) in
            [("gram", grid), ("dual", grid), ("svd", grid), ("svd", "logspace(-12,4,17)")]
        {
            let found = bench.fit(&["--alphas", grid, "--solver", solver]);
            let worst = errors(&x, &y, &folds, &found);
            println!("mixed {is_mixed}, {solver}: worst per alpha {worst:?}");
            assert!(largest(&worst) <= cv_tolerance(1.0), "{is_mixed} {solver} {worst:?}");
            assert!(!found.outcome.stderr.contains("conditioning"), "{}", found.outcome.stderr);
        }
    }
}

#[test]
fn singular_designs_are_no_reason_to_warn() {
    let rng = &mut seeded(71);
    let mut tall = normal(rng, 120, 12);
    tall.column_mut(3).fill(2.5);
    let copy = tall.column(5).to_owned();
    tall.column_mut(7).assign(&copy);
    let wide_one = normal(rng, 40, 90);
    for x in [tall, wide_one] {
        let y = planted(rng, &x, 9);
        let folds = folds_of(72, &[x.nrows() / 4; 4]);
        let data = Data { x, y, folds };
        all_agree(&data, &["--alphas", "logspace(0,8,17)"]);
        let found = data.bench().fit(&["--alphas", "logspace(0,8,17)"]);
        let said = &found.outcome.stderr;
        assert!(!said.contains("conditioning") && !said.contains("svd"), "{said}");
    }
}

#[test]
fn a_study_gives_the_same_scores_by_every_solver() {
    let bench = StudyBench::new(81, 60, 7);
    let tables = SOLVERS.map(|solver| {
        let setting = format!("ridge.solver = \"{solver}\"");
        let (outcome, out) = bench.run(&[&setting, GLOVE_ONLY], &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let run: serde_json::Value = serde_json::from_str(
            &std::fs::read_to_string(out.join("run.json")).expect("it is there"),
        )
        .expect("it is JSON");
        for model in ["glove", "glove-lagged"] {
            let said = run["solver"][model].as_str().expect("a sentence");
            assert!(said.starts_with(solver), "{said}");
        }
        assert!(run["models"][0]["condition"].as_f64().is_some_and(|c| c > 1.0), "{run}");
        ["s1/glove", "s1/glove-lagged", "s2/glove-lagged"].map(|model| {
            let folder = out.join("models").join(model);
            let cv = read_matrix(&folder.join("cv_scores.npy"), (11, 7));
            (cv, read_matrix(&folder.join("story_correlation.npy"), (1, 7)))
        })
    });
    for other in &tables[1..] {
        for ((cv, test), (other_cv, other_test)) in tables[0].iter().zip(other) {
            for (a, b) in cv.iter().zip(other_cv).chain(test.iter().zip(other_test)) {
                assert!((a - b).abs() <= cv_tolerance(*a), "{a} {b}");
            }
        }
    }
}

#[test]
fn a_study_with_columns_that_cancel_warns_or_takes_svd() {
    // The last value of every vector is the first one, but for a millionth.
    let bench = StudyBench::new(82, 60, 7);
    let path = bench.file("vectors.txt");
    let text = std::fs::read_to_string(&path).expect("it was written");
    let lines = text.lines().enumerate().map(|(i, line)| {
        let mut values: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let first: f64 = values[1].parse().expect("a number");
        let last = values.last_mut().expect("there are values");
        *last = (first + 1e-6 * ((i * 7 % 11) as f64 - 5.0)).to_string();
        values.join(" ") + "\n"
    });
    std::fs::write(&path, lines.collect::<String>()).expect("written");
    let run = |solver: &str, alphas: &str| {
        let solver = format!("ridge.solver = \"{solver}\"");
        let alphas = format!("ridge.alphas = \"{alphas}\"");
        let (outcome, out) = bench.run(&[&solver, &alphas, GLOVE_ONLY], &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let text = std::fs::read_to_string(out.join("run.json")).expect("it is there");
        let run: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        let cv = read_matrix(&out.join("models/s2/glove-lagged/cv_scores.npy"), (13, 7));
        let warnings =
            run["warnings"].as_array().expect("a list").iter().filter_map(|w| w.as_str());
        let doubts = warnings.filter(|w| w.starts_with("conditioning:")).count();
        assert_eq!(outcome.stderr.matches("warning: conditioning:").count(), doubts);
        (run["solver"]["glove-lagged"].as_str().expect("a sentence").to_owned(), cv, doubts)
    };
    let small = "logspace(-9,3,13)";
    let (said, _, doubts) = run("gram", small);
    assert!(said.starts_with("gram (as asked") && doubts == 1, "{said} {doubts}");
    let (said, auto, doubts) = run("auto", small);
    assert!(said.starts_with("svd (condition number ") && doubts == 0, "{said} {doubts}");
    let (_, svd, _) = run("svd", small);
    assert_eq!(auto, svd);
    // The alphas of a usual study do not see the difference.
    let (said, _, doubts) = run("auto", "logspace(0,8,13)");
    assert!(said.starts_with("gram") && doubts == 0, "{said} {doubts}");
}

/// Bag-of-words rows: about `n_words` of `p` columns, rare ones and common ones.
fn sparse_rows(seed: u64, n: usize, p: usize, n_words: usize) -> SparseRows {
    let rng = &mut seeded(seed);
    let mut rows = SparseRows::empty(p);
    for _ in 0..n {
        let mut columns: Vec<usize> = index::sample(rng, p, n_words / 2).into_vec();
        columns.extend(index::sample(rng, 200, n_words / 2));
        columns.sort_unstable();
        columns.dedup();
        let row: Vec<(u32, f32)> =
            columns.into_iter().map(|c| (c as u32, rng.random_range(0.5..2.0))).collect();
        rows.push_row(row);
    }
    rows
}

#[test]
fn twenty_thousand_sparse_columns_and_three_thousand_rows() {
    let (n, p, n_voxels, alphas) = (3000, 20_000, 3, vec![10.0, 1e3]);
    let rows = sparse_rows(91, n, p, 40);
    let y = normal(&mut seeded(92), n, n_voxels) + 3.0f32;
    // Blocks of 250 rows, dealt to two folds.
    let folds: Vec<usize> = (0..n).map(|t| t / 250 % 2).collect();
    let cut = |b: usize| {
        let mut part = SparseRows::empty(p);
        (b * 250..(b + 1) * 250).for_each(|t| part.push_row(rows.entries(t)));
        StoryDesign::Sparse { rows: part, center: vec![0.0; p] }
    };
    let blocks: Vec<Block> = (0..12).map(|b| Block { fold: b % 2, n_rows: 250 }).collect();
    let space = Space {
        delays: vec![0],
        n_features: p,
        train: (0..12).map(cut).collect(),
        ..Space::default()
    };
    let spec =
        ModelSpec { space: 0, delays: vec![0], route: Route::Dual, wants_coef: false, bands: None };
    let settings = PathSettings::new(alphas.clone());
    let (problem, prepared) =
        prepare(vec![space], &[spec], blocks, vec![], 2, settings).expect("it converges");
    assert!(!prepared.conditioning[0].is_beyond_limit());
    let mut engine = CpuEngine::new(&problem);
    engine.begin(n_voxels).expect("it fits");
    for b in 0..12 {
        let bold: Vec<f32> =
            y.slice(ndarray::s![b * 250..(b + 1) * 250, ..]).iter().copied().collect();
        engine.add_train(b, &bold).expect("it fits");
    }
    let tile = &engine.solve().expect("it converges")[0];

    // The oracle's kernel, row by row against a row written out.
    let mut kernel = Array2::<f64>::zeros((n, n));
    let mut dense = vec![0f64; p];
    for i in 0..n {
        rows.entries(i).for_each(|(c, x)| dense[c as usize] = f64::from(x));
        for j in 0..n {
            kernel[[i, j]] =
                rows.entries(j).map(|(c, x)| dense[c as usize] * f64::from(x)).sum::<f64>();
        }
        rows.entries(i).for_each(|(c, _)| dense[c as usize] = 0.0);
    }
    let expected = kernel_ridge_cv(&kernel, &wide(&y), &folds, &alphas);
    for ((a, v), expected) in expected.indexed_iter() {
        let got = f64::from(tile.cv_scores[a * n_voxels + v]);
        assert!((got - expected).abs() <= cv_tolerance(*expected), "{a} {v}: {got} {expected}");
    }
}

/// The alpha basis is one for a block of voxels, and each of them has its 1e-5, whatever the others'
/// amplitudes: strong voxels on the design's largest directions, weak ones on the smallest.
#[test]
fn a_strong_neighbour_costs_a_voxel_no_digits() {
    let rng = &mut seeded(1910);
    let (n, p, n_voxels) = (420, 200, 96);
    // Standard deviations from 1 to 1/30: a condition number of about 100.
    let mut x = normal(rng, n, p);
    for (j, mut column) in x.columns_mut().into_iter().enumerate() {
        column *= 30f32.powf(-(j as f32) / (p - 1) as f32);
    }
    let mut y = planted(rng, &x, n_voxels);
    let noise = normal(rng, n, n_voxels);
    for v in 0..n_voxels {
        // Every third voxel follows one direction: the largest, the smallest, one between.
        let column = match v % 6 {
            0 => Some(0),
            3 => Some(p - 1),
            1 => Some(p / 2 + v % 7),
            _ => None,
        };
        if let Some(j) = column {
            let scale = 30f32.powf(j as f32 / (p - 1) as f32);
            let follows = &x.column(j) * scale + &noise.column(v) * 0.3;
            y.column_mut(v).assign(&follows);
        }
        // Largest directions get the largest amplitudes: 1e3 down to 1e-4.
        let decades = match v % 6 {
            0 => 3.0,
            3 => -4.0,
            _ => rng.random_range(-4.0..3.0),
        };
        y.column_mut(v).mapv_inplace(|y| y * 10f32.powf(decades));
    }
    let folds: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
    let (wide_x, wide_y) = (wide(&x), wide(&y));
    let bench = RidgeBench::new(&x, &y, &folds);
    for grid in ["logspace(-1,5,20)", "logspace(-1,5,100)"] {
        for (scorer, score) in [("correlation", Score::Correlation), ("r2", Score::R2)] {
            let mut expected = None;
            for solver in SOLVERS {
                let flags = ["--alphas", grid, "--scorer", scorer, "--solver", solver];
                let found = bench.fit(&flags);
                let expected = expected.get_or_insert_with(|| {
                    ridge_cv(&wide_x, &wide_y, &folds, &found.alphas, score, true).cv_scores
                });
                let error = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(1.0);
                let most =
                    found.cv_scores.iter().zip(expected.iter()).map(error).fold(0.0, f64::max);
                println!("{grid} {scorer} {solver}: {most:.1e}");
                assert!(most <= 1e-5, "{grid} {scorer} {solver}: {most:e}");
            }
        }
    }
}
