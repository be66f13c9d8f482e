//! Banded ridge: against himalaya, against ordinary ridge, and what is refused.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use voxelcast::io::npy;
use voxelcast::ridge::BandSampling;

use super::workbench::{
    Outcome, RidgeBench, StudyBench, normal, planted, scattered_folds, seeded, text, voxelcast,
};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/banded_himalaya").join(file)
}

fn matrix(path: &Path) -> Array2<f64> {
    npy::read_matrix_f64(path).expect("the file is whole")
}

fn vector(path: &Path) -> Vec<f64> {
    npy::read_vector_f64(path).expect("the file is whole").to_vec()
}

fn relative(a: &Array2<f64>, b: &Array2<f64>, v: usize) -> f64 {
    let square = |values: ndarray::Array1<f64>| values.iter().map(|x| x * x).sum::<f64>();
    (square(&a.column(v) - &b.column(v)) / square(b.column(v).to_owned())).sqrt()
}

/// `voxelcast ridge` on a golden case's own points.
fn search(case: &str, flags: &[&str], out: &Path) -> Outcome {
    let file = |name: &str| golden(&format!("{case}-{name}.npy"));
    let names = ["x", "y", "fold_ids", "x_test", "y_test", "bands", "points"].map(file);
    let [x, y, folds, x_test, y_test, bands, points] = names.each_ref().map(|path| text(path));
    let alphas: Vec<String> = vector(&file("alphas")).iter().map(f64::to_string).collect();
    let alphas = alphas.join(",");
    let mut args = vec!["ridge", "--x", x, "--y", y, "--fold-ids", folds, "--alphas", &alphas];
    args.extend(["--x-test", x_test, "--y-test", y_test, "--out", text(out)]);
    args.extend(["--band-ids", bands, "--band-weights", points]);
    args.extend(flags);
    voxelcast(&args)
}

#[test]
fn a_search_gives_himalayas_scores_choices_weights_and_parts() {
    for case in ["two", "mixed"] {
        for scorer in ["correlation", "r2"] {
            for way in ["intercept", "plain"] {
                let place = format!("{case} {scorer} {way}");
                let mut flags = vec!["--scorer", scorer];
                flags.extend((way == "plain").then_some("--no-intercept"));
                let folder = tempfile::tempdir().expect("there is a temporary folder");
                let outcome = search(case, &flags, folder.path());
                assert_eq!(outcome.code, 0, "{outcome:#?}");
                let got = |name: &str| matrix(&folder.path().join(format!("{name}.npy")));
                let wanted =
                    |name: &str| matrix(&golden(&format!("{case}-{scorer}-{way}-{name}.npy")));
                let n_trs = vector(&golden(&format!("{case}-fold_ids.npy"))).len() as f64;
                let tolerance = |score: f64| {
                    8.0 * f64::from(f32::EPSILON) * n_trs.sqrt() * score.abs().max(1.0)
                };
                let (scores, expected) = (got("point_scores"), wanted("point_scores"));
                assert_eq!(scores.dim(), expected.dim());
                for ((point, v), &wanted) in expected.indexed_iter() {
                    let off = (scores[[point, v]] - wanted).abs();
                    assert!(off <= tolerance(wanted), "{place} [{point}, {v}]: {off}");
                }
                let (alphas, wanted_alphas) = (got("band_alphas"), wanted("band_alphas"));
                let (coef, wanted_coef) = (got("coef"), wanted("coefs"));
                let mut n_equal = 0;
                for v in 0..alphas.ncols() {
                    let is_equal = |band: usize| {
                        (alphas[[band, v]] / wanted_alphas[[band, v]] - 1.0).abs() < 1e-9
                    };
                    if !(0..alphas.nrows()).all(is_equal) {
                        let column = expected.column(v);
                        let mut sorted = column.to_vec();
                        sorted.sort_by(f64::total_cmp);
                        let gap = sorted[sorted.len() - 1] - sorted[sorted.len() - 2];
                        assert!(gap <= 2.0 * tolerance(sorted[0]), "{place} voxel {v}: {gap}");
                        continue;
                    }
                    n_equal += 1;
                    let off = relative(&coef, &wanted_coef, v);
                    assert!(off <= 1e-4, "{place} coef of voxel {v}: {off}");
                    for name in ["band_correlation", "band_r2"] {
                        let (parts, wanted) = (got(name), wanted(name));
                        for band in 0..parts.nrows() {
                            let off = (parts[[band, v]] - wanted[[band, v]]).abs();
                            assert!(off <= 1e-4, "{place} {name} [{band}, {v}]: {off}");
                        }
                    }
                }
                // Two points with nothing left of the second band tie to 1e-9.
                assert!(4 * n_equal >= 3 * alphas.ncols(), "{place}: {n_equal} chose alike");
                let parts = got("band_correlation");
                let whole = vector(&folder.path().join("test_correlation.npy"));
                for (v, r) in whole.iter().enumerate() {
                    assert!((parts.column(v).sum() - r).abs() <= 1e-5, "{place}: parts of r");
                }
            }
        }
    }
}

/// A design of 12 columns, BOLD of 40 voxels, 4 folds, a test set.
fn bench() -> RidgeBench {
    let mut rng = seeded(77);
    let x = normal(&mut rng, 210, 12);
    let y = planted(&mut rng, &x, 40);
    let folds = scattered_folds(&mut rng, 160, &[0, 1, 2, 3]);
    let part =
        |m: &Array2<f32>, rows: std::ops::Range<usize>| m.slice(ndarray::s![rows, ..]).to_owned();
    let bench = RidgeBench::new(&part(&x, 0..160), &part(&y, 0..160), &folds);
    bench.with_test(&part(&x, 160..210), &part(&y, 160..210))
}

fn write_points(bench: &RidgeBench, name: &str, n_bands: usize, points: &[f64]) -> PathBuf {
    let path = bench.file(name);
    npy::write(&path, &[points.len() / n_bands, n_bands], points).expect("it can be written");
    path
}

/// Runs and gives the output folder.
fn fit(bench: &RidgeBench, flags: &[&str]) -> PathBuf {
    bench.fit(flags).out
}

const GRID: [&str; 2] = ["--alphas", "logspace(-1,4,6)"];

#[test]
fn one_band_is_ordinary_ridge() {
    let bench = bench();
    let plain = fit(&bench, &GRID);
    let banded = fit(&bench, &[&GRID[..], &["--bands", "12", "--n-iter", "3"]].concat());
    let (a, b) = (matrix(&plain.join("cv_scores.npy")), matrix(&banded.join("cv_scores.npy")));
    let off = (&a - &b).iter().fold(0.0, |most: f64, d| most.max(d.abs()));
    assert!(off <= 1e-6, "{off}");
    let alphas = vector(&plain.join("best_alpha.npy"));
    assert_eq!(vector(&banded.join("best_alpha.npy")), alphas);
    assert_eq!(matrix(&banded.join("band_alphas.npy")).row(0).to_vec(), alphas);
    let (a, b) = (matrix(&plain.join("coef.npy")), matrix(&banded.join("coef.npy")));
    assert!((0..40).all(|v| relative(&a, &b, v) < 1e-5));
}

#[test]
fn equal_weights_are_ridge_at_a_rescaled_alpha() {
    let bench = bench();
    let points = write_points(&bench, "equal.npy", 2, &[0.1, 0.1]);
    let plain = fit(&bench, &GRID);
    // alpha/γ of the one is alpha of the other: the grids are ten apart.
    let flags = ["--bands", "5,7", "--band-weights", text(&points)];
    let banded = fit(&bench, &[&["--alphas", "logspace(-2,3,6)"][..], &flags].concat());
    let alphas = vector(&plain.join("best_alpha.npy"));
    let band_alphas = matrix(&banded.join("band_alphas.npy"));
    for (v, alpha) in alphas.iter().enumerate() {
        for band in 0..2 {
            assert!((band_alphas[[band, v]] / alpha - 1.0).abs() < 1e-9);
        }
    }
    let (a, b) = (matrix(&plain.join("coef.npy")), matrix(&banded.join("coef.npy")));
    assert!((0..40).all(|v| relative(&a, &b, v) < 1e-5));
}

#[test]
fn bands_in_another_order_give_the_same_in_that_order() {
    let bench = bench();
    let points = [0.5, 0.5, 0.9, 0.1, 0.2, 0.8];
    let turned: Vec<f64> = points.chunks(2).flat_map(|p| [p[1], p[0]]).collect();
    let ids = |first: i64| -> Vec<i64> {
        (0..12).map(|c| if c < 5 { first } else { 1 - first }).collect()
    };
    let mut found = Vec::new();
    for (first, points) in [(0, &points[..]), (1, &turned[..])] {
        let labels = bench.file("ids.npy");
        npy::write(&labels, &[12], &ids(first)).expect("it can be written");
        let points = write_points(&bench, "points.npy", 2, points);
        let flags = ["--band-ids", text(&labels), "--band-weights", text(&points)];
        let out = fit(&bench, &[&GRID[..], &flags].concat());
        let read = |name: &str| matrix(&out.join(name));
        found.push(["band_alphas.npy", "band_r2.npy", "coef.npy", "cv_scores.npy"].map(read));
    }
    let [a, b] = &found[..] else { panic!("two runs") };
    for v in 0..40 {
        for (file, n_bands) in [(0, 2), (1, 2)] {
            for band in 0..n_bands {
                let (x, y) = (a[file][[band, v]], b[file][[1 - band, v]]);
                assert!((x - y).abs() <= 1e-6 * x.abs().max(1.0), "{file} {band} {v}: {x} {y}");
            }
        }
    }
    assert_eq!(a[2], b[2]);
    assert_eq!(a[3], b[3]);
}

#[test]
fn a_weight_of_zero_leaves_its_band_out() {
    let bench = bench();
    let points = write_points(&bench, "first.npy", 2, &[1.0, 0.0]);
    let flags = ["--bands", "5,7", "--band-weights", text(&points)];
    let banded = fit(&bench, &[&GRID[..], &flags].concat());
    let coef = matrix(&banded.join("coef.npy"));
    assert!(coef.rows().into_iter().skip(5).all(|row| row.iter().all(|&w| w == 0.0)));
    assert!(coef.rows().into_iter().take(5).all(|row| row.iter().any(|&w| w != 0.0)));
    let alphas = matrix(&banded.join("band_alphas.npy"));
    assert!(alphas.row(1).iter().all(|a| a.is_infinite()));
    let parts = matrix(&banded.join("band_r2.npy"));
    assert!(parts.row(1).iter().all(|&part| part == 0.0));
}

#[test]
fn points_that_are_solved_tile_by_tile_are_the_same() {
    let bench = bench();
    let flags = [&GRID[..], &["--bands", "5,7", "--n-iter", "9", "--seed", "3"]].concat();
    let kept = fit(&bench, &flags);
    // A quarter of 64 MiB does not hold the matrices of so many points.
    let many = [&GRID[..], &["--bands", "5,7", "--n-iter", "2000", "--seed", "3"]].concat();
    let small = fit(&bench, &[&many[..], &["--memory", "64M"]].concat());
    let (a, b) = (matrix(&kept.join("point_scores.npy")), matrix(&small.join("point_scores.npy")));
    assert_eq!(a, b.slice(ndarray::s![..9, ..]));
}

#[test]
fn points_are_seeded_on_the_simplex_and_begin_with_equal_weights() {
    let sampling = BandSampling { n_iter: 400, ..BandSampling::default() };
    let points = sampling.points(3).expect("the defaults are fine");
    assert_eq!(points.len(), 1200);
    assert!(points[..3].iter().all(|w| (w - 1.0 / 3.0).abs() < 1e-12));
    for point in points.chunks(3) {
        assert!((point.iter().sum::<f64>() - 1.0).abs() < 1e-12 && point.iter().all(|w| *w >= 0.0));
    }
    assert_eq!(points, sampling.points(3).expect("fine"));
    let other = BandSampling { seed: 1, ..sampling.clone() };
    assert_ne!(points, other.points(3).expect("fine"));
    // Concentrations alternate: 0.1 is near the corners, 1 is uniform: E max is 0.61 and 0.94.
    let largest = |first: usize| -> f64 {
        let own: Vec<&[f64]> = points.chunks(3).skip(first).step_by(2).collect();
        own.iter().map(|p| p.iter().fold(0.0, |a: f64, &b| a.max(b))).sum::<f64>()
            / own.len() as f64
    };
    assert!(largest(2) > 0.85 && largest(1) < 0.7, "{} {}", largest(2), largest(1));
}

#[test]
fn bands_that_do_not_fit_are_refused() {
    let bench = bench();
    let points = |name: &str, n: usize, values: &[f64]| write_points(&bench, name, n, values);
    let three = points("three.npy", 3, &[0.2, 0.3, 0.5]);
    let negative = points("negative.npy", 2, &[0.5, -0.5]);
    let zeros = points("zeros.npy", 2, &[0.0, 0.0]);
    let short = bench.file("short.npy");
    npy::write(&short, &[3], &[0i64, 1, 1]).expect("it can be written");
    for (code, flags, parts) in [
        (2, vec!["--bands", "5,6"], vec!["--bands", "add up to the 12 columns", "[5, 6]"]),
        (2, vec!["--bands", "12,0"], vec!["--bands", "≥ 1"]),
        (2, vec!["--n-iter", "5"], vec!["--n-iter", "--bands or --band-ids"]),
        (2, vec!["--bands", "5,7", "--n-iter", "0"], vec!["--n-iter", "got 0"]),
        (2, vec!["--bands", "5,7", "--concentration", "0"], vec!["--concentration", "got 0"]),
        (2, vec!["--bands", "5,7", "--solver", "dual"], vec!["--solver", "auto or gram"]),
        (3, vec!["--band-ids", text(&short)], vec!["short.npy", "12 labels", "3"]),
        (3, vec!["--bands", "5,7", "--band-weights", text(&three)], vec!["2 band weights"]),
        (3, vec!["--bands", "5,7", "--band-weights", text(&negative)], vec!["≥ 0", "row 0"]),
        (3, vec!["--bands", "5,7", "--band-weights", text(&zeros)], vec!["not all 0"]),
    ] {
        bench.run(&flags).0.refused(code, &parts);
    }
}

const SPACES: &str = "spaces = [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
                      [[space]]\nkind = \"word_rate\"\n\
                      [[space]]\nname = \"both\"\ncombine = [\"glove\", \"word_rate\"]\nbanded = true\n";
const PARTITION: &str = "partition.spaces = [\"glove\", \"word_rate\"]";
const N_ITER: &str = "bands.n_iter = 6";

#[test]
fn a_study_has_banded_spaces_and_partitions() {
    let bench = StudyBench::new(31, 40, 9);
    let (outcome, out) = bench.run(&[SPACES, PARTITION, N_ITER], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect("it is there");
    let summary = read("summary.csv");
    assert_eq!(summary.lines().count(), 1 + 2 * 3 * 2, "{summary}");
    assert!(!summary.contains("partition"), "{summary}");
    let bands = read("bands.csv");
    assert_eq!(bands.lines().count(), 1 + 2 * 2 * 2, "{bands}");
    assert!(bands.contains("s1,both,true,glove,9,"), "{bands}");
    let table = read("partition.csv");
    assert_eq!(table.lines().count(), 1 + 2 * 2 * 3, "{table}");
    for folder in ["", "-lagged"] {
        let model = |name: &str| out.join(format!("models/s1/{name}{folder}"));
        let full = model("partition.glove+word_rate");
        let parts = matrix(&full.join("partition_r2.npy"));
        let r2 = |name: &str| matrix(&model(name).join("test_r2.npy")).row(0).to_vec();
        let (whole, glove) = (r2("partition.glove+word_rate"), r2("partition.glove"));
        let rate = r2("partition.word_rate");
        for v in 0..9 {
            assert!((parts.column(v).sum() - whole[v]).abs() < 1e-6);
            assert!((parts[[0, v]] - (whole[v] - rate[v])).abs() < 1e-6);
            assert!((parts[[1, v]] - (whole[v] - glove[v])).abs() < 1e-6);
        }
        // A subset on the Gram matrix of all is the model of its space.
        for (part, space) in [("partition.glove", "glove"), ("partition.word_rate", "word_rate")] {
            let scores = |folder: PathBuf| matrix(&folder.join("cv_scores.npy"));
            let differences = &scores(model(part)) - &scores(model(space));
            let off = differences.iter().fold(0.0, |most: f64, d| most.max(d.abs()));
            assert!(off < 1e-5, "{part}{folder}: {off}");
        }
        let alphas = matrix(&model("both").join("band_alphas.npy"));
        assert_eq!(alphas.dim(), (2, 9));
        let r = vector(&model("both").join("test_correlation.npy"));
        let parts = matrix(&model("both").join("band_correlation.npy"));
        assert!((0..9).all(|v| (parts.column(v).sum() - r[v]).abs() < 1e-5));
    }
    let before = (read("partition.csv"), read("bands.csv"));
    std::fs::remove_file(out.join("models/s2/both/.done.json")).expect("it is there");
    std::fs::remove_file(out.join("run.json")).expect("it is there");
    let again = bench.run_into(&out, &[SPACES, PARTITION, N_ITER], &[]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert_eq!((read("partition.csv"), read("bands.csv")), before);
}

#[test]
fn bands_and_partitions_of_a_study_change_with_their_settings() {
    let bench = StudyBench::new(32, 40, 5);
    let alphas = |lines: &[&str]| {
        let (outcome, out) = bench.run(lines, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        matrix(&out.join("models/s1/both-lagged/band_alphas.npy"))
    };
    let first = alphas(&[SPACES, N_ITER]);
    assert_ne!(first, alphas(&[SPACES, "bands.n_iter = 3"]));
    assert_ne!(first, alphas(&[SPACES, N_ITER, "bands.seed = 3"]));
    assert_ne!(first, alphas(&[SPACES, N_ITER, "bands.concentration = [5.0]"]));
    for (lines, parts) in [
        (vec![SPACES, "bands.n_iter = 0"], vec!["[bands], n_iter", "got 0"]),
        (vec![SPACES, "bands.concentration = [0.0]"], vec!["concentration", "0.01"]),
        (vec![SPACES, "partition.spaces = [\"glove\"]"], vec!["[partition], spaces", "2 to 4"]),
        (vec!["partition.spaces = [\"glove\", \"both\"]"], vec!["no combinations", "both"]),
        (vec!["partition.spaces = [\"glove\", \"rate\"]"], vec!["names of spaces", "rate"]),
        (vec!["spaces = [[space]]\nkind = \"bow\"\nbanded = true\n"], vec!["banded", "combine"]),
    ] {
        bench.run(&lines, &[]).0.refused(2, &parts);
    }
}
