//! `voxelcast bench`: the numbers it prints, and flags that change them.

use serde_json::Value;

use super::workbench::voxelcast;

const SMALL: [&str; 8] = ["--trs", "400", "--features", "20", "--voxels", "70", "--alphas", "5"];

#[track_caller]
fn bench(flags: &[&str]) -> Value {
    let outcome = voxelcast(&[&["bench", "--json", "--quiet"], &SMALL[..], flags].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.is_empty(), "{outcome:#?}");
    serde_json::from_str(&outcome.stdout).expect("one JSON document")
}

#[test]
fn the_document_has_every_stage_and_consistent_rates() {
    let found = bench(&["--threads", "2", "--repeats", "2"]);
    assert_eq!(found["schema"], "voxelcast.bench/1");
    for (name, size) in [("n_trs", 400), ("n_features", 20), ("n_voxels", 70), ("n_alphas", 5)] {
        assert_eq!(found[name], size);
    }
    assert_eq!((&found["n_folds"], &found["n_threads"]), (&5.into(), &2.into()));
    let number = |name: &str| found[name].as_f64().expect("a number");
    assert_eq!(number("gemm_ratio"), number("seconds") / number("xty_seconds"));
    assert_eq!(found["all_seconds"].as_array().map(Vec::len), Some(2));
    assert!(number("peak_gflop_per_s") > 0.0 && number("peak_f64_gflop_per_s") > 0.0);
    assert!(number("peak_memory_bytes") > number("problem_bytes"));
    // 70 voxels of which most follow the features.
    assert!((0.05..0.6).contains(&number("mean_cv_score")), "{found:#}");

    let stages = found["stages"].as_array().expect("a list");
    let names: Vec<&str> = stages.iter().filter_map(|stage| stage["name"].as_str()).collect();
    assert_eq!(
        names,
        ["prepare", "read", "sums", "xty", "rotate", "path", "refit", "write", "other"]
    );
    for (stage, name) in stages.iter().zip(names) {
        let has = |key: &str| stage[key].is_number();
        let moves = ["read", "sums", "write"].contains(&name);
        assert_eq!(has("gb_per_s"), moves, "{stage}");
        let works = !moves && name != "other";
        assert_eq!(has("gflop_per_s"), works, "{stage}");
        assert_eq!(has("gflop_per_s"), has("share_of_peak"), "{stage}");
    }
    let sum: f64 = stages.iter().filter_map(|stage| stage["seconds"].as_f64()).sum();
    assert!(sum >= 0.999 * number("seconds"), "{found:#}");
}

#[test]
fn the_answer_depends_on_the_design_and_not_on_threads_or_solver() {
    let once = |flags: &[&str]| bench(&[&["--repeats", "1"], flags].concat());
    let score = |found: &Value| found["mean_cv_score"].as_f64().expect("a number");
    let lagged = once(&["--threads", "2"]);
    assert!(lagged["solver"].as_str().is_some_and(|text| text.starts_with("gram")));
    assert_eq!(score(&lagged), score(&once(&["--threads", "1"])));
    // The same design another way, and the same problem by another route: roundings apart.
    assert!((score(&lagged) - score(&once(&["--design", "formed"]))).abs() < 1e-5);
    let dual = once(&["--solver", "dual"]);
    assert!(dual["solver"].as_str().is_some_and(|text| text.starts_with("dual")));
    assert!((score(&lagged) - score(&dual)).abs() < 1e-5);
    assert!((score(&lagged) - score(&once(&["--design", "white"]))).abs() > 1e-3);
}

#[test]
fn without_json_there_is_a_table_for_a_person() {
    let outcome = voxelcast(&[&["bench", "--repeats", "1", "--folds", "3"], &SMALL[..]].concat());
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for part in ["20 features × 70 voxels, 3 folds", "GEMM ratio", "GB/s", "prepare", "peak memory"]
    {
        assert!(outcome.stdout.contains(part), "expected {part:?} in {}", outcome.stdout);
    }
    assert!(outcome.stderr.contains("device: cpu"), "{outcome:#?}");
}

#[test]
fn sizes_and_words_that_make_no_problem_are_usage_errors() {
    let refused = |flags: &[&str], parts: &[&str]| {
        voxelcast(&[&["bench"], flags].concat()).refused(2, parts);
    };
    refused(&["--folds", "1"], &["--folds", "at least 2", "got 1"]);
    refused(&["--trs", "9"], &["--trs", "at least 10", "got 9"]);
    for flag in ["--features", "--voxels", "--alphas", "--repeats"] {
        refused(&[flag, "0"], &[flag, "at least 1", "got 0"]);
    }
    refused(&["--design", "pink"], &["--design", "pink", "lagged"]);
    refused(&["--solver", "magic"], &["magic", "gram"]);
}
