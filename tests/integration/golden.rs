//! Values of other programs, with the tolerances of their READMEs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::Value;
use voxelcast::design::lanczos::{Lanczos, resample};
use voxelcast::io::word_vectors::{self, VectorFormat};
use voxelcast::io::{npy, npy::NpyFile};

use super::naive::gram_range;
use super::workbench::{Outcome, text, voxelcast};

fn golden(case: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case).join(file)
}

fn matrix(path: &Path) -> Array2<f64> {
    npy::read_matrix_f64(path).expect("golden files are whole")
}

fn vector(path: &Path) -> Vec<f64> {
    npy::read_vector_f64(path).expect("golden files are whole").to_vec()
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("golden files are there");
    serde_json::from_str(&text).expect("golden files are whole")
}

/// `voxelcast ridge` on the himalaya data.
fn ridge(case: &str, alphas: &[f64], width: &str, flags: &[&str], out: &Path) -> Outcome {
    let file = |name: &str| golden("ridge_himalaya", &format!("{case}-{name}.npy"));
    let (x, y) = (file(&format!("x_{width}")), file(&format!("y_{width}")));
    let [folds, x_test, y_test] = ["fold_ids", "x_test", "y_test"].map(file);
    let alphas: Vec<String> = alphas.iter().map(f64::to_string).collect();
    let alphas = alphas.join(",");
    let mut args = vec!["ridge", "--x", text(&x), "--y", text(&y), "--fold-ids", text(&folds)];
    args.extend(["--x-test", text(&x_test), "--y-test", text(&y_test), "--alphas", &alphas]);
    args.extend(["--out", text(out)]);
    args.extend(flags);
    let outcome = voxelcast(&args);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    outcome
}

/// Voxel 20 of `tall` is constant: himalaya scores 0, voxelcast NaN.
fn is_dead(case: &str, voxel: usize) -> bool {
    case == "tall" && voxel == 20
}

/// Voxel 22 of `tall` has a mean of 40 that nobody takes off without an intercept.
fn has_large_mean(case: &str, way: &str, voxel: usize) -> bool {
    case == "tall" && way == "plain" && voxel == 22
}

/// ‖a − b‖/‖b‖ of one column.
fn relative(a: &Array2<f64>, b: &Array2<f64>, v: usize) -> f64 {
    let square = |values: ndarray::Array1<f64>| values.iter().map(|x| x * x).sum::<f64>();
    (square(&a.column(v) - &b.column(v)) / square(b.column(v).to_owned())).sqrt()
}

#[test]
fn ridge_gives_himalayas_scores_alphas_weights_and_test_correlations() {
    let eps = f64::from(f32::EPSILON);
    for (case, widths) in [("tall", &["f32", "f64"][..]), ("wide", &["f32"]), ("one", &["f32"])] {
        let alphas = vector(&golden("ridge_himalaya", &format!("{case}-alphas.npy")));
        for scorer in ["correlation", "r2"] {
            for way in ["intercept", "plain"] {
                for width in widths {
                    for solver in ["gram", "dual"] {
                        let place = format!("{case} {scorer} {way} {width} {solver}");
                        let mut flags = vec!["--scorer", scorer, "--solver", solver];
                        flags.extend((way == "plain").then_some("--no-intercept"));
                        let folder = tempfile::tempdir().expect("there is a temporary folder");
                        ridge(case, &alphas, width, &flags, folder.path());
                        let wanted = |name: &str| {
                            golden("ridge_himalaya", &format!("{case}-{scorer}-{way}-{name}.npy"))
                        };
                        let got = |name: &str| folder.path().join(name);
                        let scores = matrix(&got("cv_scores.npy"));
                        let expected = matrix(&wanted("cv_scores"));
                        let n_rows = vector(&golden(
                            "ridge_himalaya",
                            &format!("{case}-fold_ids.npy"),
                        ))
                        .len() as f64;
                        // README: f32 paths are held to 8 eps₃₂ √n s; DESIGN promises 1e-5 s.
                        let tolerance = |score: f64| {
                            (8.0 * eps * n_rows.sqrt()).max(1e-5) * score.abs().max(1.0)
                        };
                        assert_eq!(scores.dim(), expected.dim());
                        for ((a, v), &wanted) in expected.indexed_iter() {
                            if is_dead(case, v) {
                                assert!(scores[[a, v]].is_nan());
                                continue;
                            }
                            if has_large_mean(case, way, v) {
                                continue; // a test of its own, below
                            }
                            let off = (scores[[a, v]] - wanted).abs();
                            assert!(off <= tolerance(wanted), "{place} [{a}, {v}]: {off}");
                        }
                        let best = vector(&got("best_alpha.npy"));
                        let wanted_best = vector(&wanted("best_alphas"));
                        let coef = matrix(&got("coef.npy"));
                        let wanted_coef = matrix(&wanted("coefs"));
                        let test = vector(&got("test_correlation.npy"));
                        let wanted_test = vector(&wanted("test_correlation"));
                        for v in (0..best.len()).filter(|&v| !has_large_mean(case, way, v)) {
                            if is_dead(case, v) {
                                assert!(best[v].is_nan() && test[v].is_nan());
                                assert!(coef.column(v).iter().all(|&w| w == 0.0));
                                continue;
                            }
                            if best[v] != wanted_best[v] {
                                let at = |alpha: f64| alphas.iter().position(|&a| a == alpha);
                                let (ours, theirs) =
                                    (at(best[v]).expect("ours"), at(wanted_best[v]).expect("on"));
                                let gap = expected[[theirs, v]] - expected[[ours, v]];
                                let most = 2.0 * tolerance(expected[[theirs, v]]);
                                assert!(gap <= most, "{place} voxel {v}: no tie, {gap}");
                                continue;
                            }
                            let off = relative(&coef, &wanted_coef, v);
                            assert!(off <= 1e-4, "{place} coef of voxel {v}: {off}");
                            let off = (test[v] - wanted_test[v]).abs();
                            assert!(off <= 1e-5, "{place} test r of voxel {v}: {off}");
                        }
                        if way == "intercept" {
                            let intercept = vector(&got("intercept.npy"));
                            let wanted = vector(&wanted("intercepts"));
                            for v in (0..best.len()).filter(|&v| best[v] == wanted_best[v]) {
                                let off = (intercept[v] - wanted[v]).abs();
                                assert!(off <= 1e-4 * wanted[v].abs().max(1.0), "{place}: {off}");
                            }
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_large_mean_without_an_intercept_costs_no_digits_of_the_correlation() {
    let alphas = vector(&golden("ridge_himalaya", "tall-alphas.npy"));
    let expected = matrix(&golden("ridge_himalaya", "tall-correlation-plain-cv_scores.npy"));
    for solver in ["gram", "dual"] {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        ridge("tall", &alphas, "f32", &["--no-intercept", "--solver", solver], folder.path());
        let scores = matrix(&folder.path().join("cv_scores.npy"));
        let most = (0..alphas.len())
            .map(|a| (scores[[a, 22]] - expected[[a, 22]]).abs())
            .fold(0.0, f64::max);
        // README: himalaya itself in f32 is within 1.8e-6 here; an f32 path is held to 1.5e-5.
        assert!(most <= 8.0 * f64::from(f32::EPSILON) * 240f64.sqrt(), "{solver}: {most}");
    }
}

#[test]
fn one_alpha_gives_scikit_learns_weights() {
    for (case, given) in [("tall", &["1", "100", "1000", "1e+06"][..]), ("wide", &["1", "10000"])] {
        let x = matrix(&golden("ridge_himalaya", &format!("{case}-x_f32.npy")));
        for (way, fit_intercept) in [("intercept", true), ("plain", false)] {
            let (most, least) = gram_range(&x, fit_intercept);
            for alpha_text in given {
                let alpha: f64 = alpha_text.parse().expect("a number");
                let folder = tempfile::tempdir().expect("there is a temporary folder");
                let flags: &[&str] = if fit_intercept { &[] } else { &["--no-intercept"] };
                ridge(case, &[alpha], "f32", flags, folder.path());
                let coef = matrix(&folder.path().join("coef.npy"));
                let name = format!("{case}-alpha{alpha_text}-{way}-coefs.npy");
                let expected = matrix(&golden("ridge_sklearn", &name));
                // README: e (λ₁ + a)/(λ_p + a) with e = eps₃₂ √n; and 1e-4 is what is promised.
                let e = f64::from(f32::EPSILON) * (x.nrows() as f64).sqrt();
                let tolerance = (e * (most + alpha) / (least + alpha)).max(1e-4);
                for v in (0..expected.ncols()).filter(|&v| !is_dead(case, v)) {
                    let off = relative(&coef, &expected, v);
                    assert!(off <= tolerance, "{name} voxel {v}: {off} > {tolerance}");
                }
            }
        }
    }
}

#[test]
fn lanczos_is_the_dense_formula() {
    let mut n_tables = 0;
    for (case, settings) in [
        ("story", &["3-1", "2-1", "5-1", "3-0.5", "3-2"][..]),
        ("uneven", &["3-1"]),
        ("one", &["3-1"]),
        ("far", &["3-1"]),
    ] {
        let file = |name: &str| golden("lanczos", &format!("{case}-{name}.npy"));
        let data = matrix(&file("data"));
        let (old, new) = (vector(&file("old_times")), vector(&file("new_times")));
        for setting in settings {
            let (window, mult) = setting.split_once('-').expect("window-mult");
            let expected = matrix(&file(&format!("window{window}-mult{mult}")));
            let lanczos = Lanczos {
                window: window.parse().expect("a number"),
                cutoff_mult: mult.parse().expect("a number"),
            };
            let got = resample(data.view(), &old, &new, &lanczos).expect("valid times");
            assert_eq!(got.dim(), expected.dim());
            for (got, expected) in got.iter().zip(&expected) {
                // README: 61 products of size 3, each off by a few eps₆₄: 6.5e-13.
                assert!((got - expected).abs() <= 1e-12, "{case} {setting}: {got} {expected}");
            }
            n_tables += 1;
        }
    }
    assert_eq!(n_tables, 8);
}

#[test]
fn npy_files_of_numpy_are_read_to_the_bit() {
    let path = golden("numpy_files", "expected.json");
    let text = std::fs::read_to_string(&path).expect("golden files are there");
    for (name, about) in json(&path).as_object().expect("an object") {
        let path = golden("numpy_files", &format!("{name}.npy"));
        if name.starts_with("refused_") {
            let error = NpyFile::open(&path).expect_err(name);
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("is not read"), "{name}: {error}");
            continue;
        }
        let file = NpyFile::open(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        let shape: Vec<usize> = serde_json::from_value(about["shape"].clone()).expect("sizes");
        assert_eq!(file.shape(), shape, "{name}");
        let got = npy::read_array_f64(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        // From the text: serde_json may miss the last bit, `str::parse` may not.
        let line = text.lines().find(|line| line.contains(&format!("\"{name}\":")));
        let list =
            line.and_then(|line| line.split_once("\"c_order_values\": [")).expect("a list").1;
        let list = list.split_once(']').expect("it ends").0;
        let values: Vec<&str> = list.split(", ").filter(|value| !value.is_empty()).collect();
        assert_eq!(got.len(), values.len(), "{name}");
        for (got, value) in got.iter().zip(values) {
            let wanted: f64 = match value.trim_matches('"') {
                "true" => 1.0,
                "false" => 0.0,
                number => number.parse().expect("a number, nan, inf or -inf"),
            };
            assert!(*got == wanted || (got.is_nan() && wanted.is_nan()), "{name}: {got} {wanted}");
        }
    }
}

fn expected_vectors(name: &str) -> HashMap<String, Vec<f32>> {
    let table = json(&golden("gensim", name));
    let vector = |value: &Value| -> Vec<f32> {
        value
            .as_array()
            .expect("a list")
            .iter()
            .map(|x| x.as_f64().expect("a number") as f32)
            .collect()
    };
    let table = table.as_object().expect("an object");
    table.iter().map(|(word, value)| (word.clone(), vector(value))).collect()
}

#[test]
fn word_vectors_of_gensim_and_glove_are_read_to_the_bit() {
    for (file, format, table) in [
        ("words.bin", VectorFormat::Word2VecBinary, "words.json"),
        ("words.bin.gz", VectorFormat::Word2VecBinary, "words.json"),
        ("words_newline.bin", VectorFormat::Word2VecBinary, "words.json"),
        ("words.txt", VectorFormat::Word2VecText, "words.json"),
        ("glove.txt", VectorFormat::Glove, "glove.json"),
        ("glove.txt.gz", VectorFormat::Glove, "glove.json"),
        ("glove.zip", VectorFormat::Glove, "glove.json"),
    ] {
        let expected = expected_vectors(table);
        for given in [None, Some(format)] {
            let path = golden("gensim", file);
            let read = word_vectors::read(&path, given, &|_| true)
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!((read.format, read.dim), (format, 8), "{file}");
            assert_eq!(read.n_in_file, expected.len(), "{file}");
            assert_eq!(read.vectors, expected, "{file}");
        }
    }
}

#[test]
fn false_discovery_rates_are_those_of_statsmodels() {
    use voxelcast::scoring::significance::{fdr_threshold, significant};
    let cases = json(&golden("fdr_statsmodels", "values.json"));
    let cases = cases.as_array().expect("a list");
    for case in cases {
        let p: Vec<f64> = serde_json::from_value(case["p"].clone()).expect("numbers");
        let wanted: Vec<bool> = serde_json::from_value(case["reject"].clone()).expect("flags");
        let q = case["q"].as_f64().expect("a number");
        assert_eq!(significant(&p, fdr_threshold(&p, q)), wanted, "{} {q}", case["case"]);
    }
    assert_eq!(cases.len(), 24);
}
