//! What a study computes beyond its scores, against its own files and against runs of its own.

use std::path::Path;

use ndarray::{Array2, s};
use serde_json::Value;
use voxelcast::backend::Permutations;
use voxelcast::design::delays::delay;
use voxelcast::io::npy;

use super::naive::{pearson, percentile, permuted_r};
use super::study_command::{design_by_hand, names, results, run_json, stacked, table};
use super::workbench::{
    GLOVE_ONLY, StudyBench, dtype, normal, read_matrix, read_vector, seeded, visible_names, wide,
    write_f32,
};

type Row = serde_json::Map<String, Value>;

/// A cell as a number.
pub fn number(row: &Row, key: &str) -> f64 {
    row[key].as_str().expect("a cell").parse().expect("a number")
}

/// The rows whose cells are these.
pub fn find<'a>(rows: &'a [Row], wanted: &[(&str, &str)]) -> Vec<&'a Row> {
    rows.iter().filter(|row| wanted.iter().all(|(key, value)| row[*key] == *value)).collect()
}

/// Mean of the values that are there.
pub fn mean(values: &[f64]) -> f64 {
    let used: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
    used.iter().sum::<f64>() / used.len() as f64
}

/// Predictions and BOLD of the test stories, by hand from the weights on disk.
pub fn predicted(bench: &StudyBench, out: &Path, n_voxels: usize) -> (Array2<f64>, Array2<f64>) {
    let bytes = std::fs::read(out.join("models/s1/glove-lagged/weights.safetensors"));
    let bytes = bytes.expect("it is there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    let tensor = |name: &str, rows: usize| {
        let view = tensors.tensor(name).expect("it is there");
        let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let values = view.data().chunks_exact(4).map(number).collect();
        Array2::from_shape_vec((rows, n_voxels), values).expect("the view's own shape")
    };
    let test: Vec<usize> = names(&run_json(out)["split"]["test"])
        .iter()
        .map(|name| bench.stories.iter().position(|s| s.name == *name).expect("a story"))
        .collect();
    let design = |&story: &usize| {
        delay(design_by_hand(bench, story).view(), &[1, 2, 3, 4]).expect("valid delays")
    };
    let bold = |&story: &usize| {
        let name = format!("s1/{}.npy", bench.stories[story].name);
        npy::read_matrix_f32(&bench.file(&name)).expect("it was written")
    };
    let x = stacked(&test.iter().map(design).collect::<Vec<_>>());
    let y = stacked(&test.iter().map(bold).collect::<Vec<_>>());
    (wide(&x).dot(&tensor("weights", 24)) + &tensor("intercept", 1), wide(&y))
}

#[test]
fn p_values_are_those_of_predictions_with_blocks_in_another_order() {
    let bench = StudyBench::new(31, 40, 40);
    // A dead voxel, and one that is dead in one test story.
    for story in ["story0", "story5"] {
        let path = bench.file(&format!("s1/{story}.npy"));
        let mut bold = npy::read_matrix_f32(&path).expect("it is whole");
        bold.slice_mut(s![.., 3]).fill(2.0);
        bold[[7, 11]] = f32::NAN;
        write_f32(&path, &bold);
    }
    for (block_trs, seed) in [(10, 214), (7, 5), (1, 214)] {
        let lines = [
            GLOVE_ONLY,
            "split.test = [\"story5\", \"story0\"]",
            "ridge.folds = 3",
            "statistics.permutations = 200",
            &format!("statistics.block_trs = {block_trs}"),
            &format!("statistics.seed = {seed}"),
        ];
        let (outcome, out) = bench.run(&lines, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let folder = out.join("models/s1/glove-lagged");
        let p = read_vector(&folder.join("p_values.npy"), 40);
        assert_eq!(dtype(&folder.join("p_values.npy")), "<f8");
        let r = read_vector(&folder.join("test_correlation.npy"), 40);
        let (pred, bold) = predicted(&bench, &out, 40);
        let orders = Permutations::new(bold.nrows(), block_trs, 200, seed);
        for v in 0..40 {
            assert_eq!(p[v].is_nan(), r[v].is_nan());
            if v == 3 || v == 11 {
                assert!(p[v].is_nan());
                continue;
            }
            let (pred, bold) = (pred.column(v).to_vec(), bold.column(v).to_vec());
            let own = pearson(&pred, &bold);
            let permuted: Vec<f64> =
                orders.rows().map(|order| permuted_r(&pred, &bold, order, block_trs)).collect();
            // Sums over n rows in f32, and weights in f32: r is off by less than this.
            let off = 4.0 * f64::from(f32::EPSILON) * (bold.len() as f64).sqrt();
            let p_at = |least: f64| {
                (1.0 + permuted.iter().filter(|&&r| r >= least).count() as f64) / 201.0
            };
            let (low, high) = (p_at(own + off), p_at(own - off));
            assert!(low - 1e-12 <= p[v] && p[v] <= high + 1e-12, "{v}: {} {low} {high}", p[v]);
            assert!(high - low <= 2.0 / 201.0, "the oracle decides: {low} {high}");
        }
    }
}

/// Adds noise to every voxel, more and more of it: some are found, some are not.
fn add_noise(bench: &StudyBench, n_voxels: usize) {
    let rng = &mut seeded(77);
    for subject in ["s1", "s2"] {
        for story in &bench.stories {
            let path = bench.file(&format!("{subject}/{}.npy", story.name));
            let mut bold = npy::read_matrix_f32(&path).expect("it is whole");
            let noise = normal(rng, bold.nrows(), n_voxels);
            for ((_, v), y) in bold.indexed_iter_mut() {
                *y *= 1.0 - v as f32 / n_voxels as f32;
            }
            write_f32(&path, &(bold + noise * 2.0));
        }
    }
}

#[test]
fn tables_of_the_statistics_follow_from_the_arrays() {
    let bench = StudyBench::new(32, 50, 60);
    add_noise(&bench, 60);
    let lines = [
        "split.test = [\"story5\", \"story0\", \"story2\"]",
        "ridge.folds = 3",
        "statistics.permutations = 100",
        "statistics.q = 0.2",
    ];
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    let statistics = &run["settings"]["statistics"];
    assert_eq!(statistics["permutations"], 100);
    assert_eq!((&statistics["block_trs"], &statistics["resamples"]), (&10.into(), &200.into()));
    let [significance, comparisons, overlap, curve, stories, alignment] =
        ["significance", "comparisons", "overlap", "cv_curve", "story_properties", "alignment"]
            .map(|name| table(&out.join(format!("{name}.csv"))));

    let folder = |model: &str| out.join("models/s2").join(model);
    let r = |model: &str| read_vector(&folder(model).join("test_correlation.npy"), 60);
    let story_r = |model: &str| read_matrix(&folder(model).join("story_correlation.npy"), (3, 60));

    // Benjamini–Hochberg by hand.
    assert_eq!(significance.len(), 16);
    let row = find(&significance, &[("subject", "s2"), ("space", "glove"), ("lagged", "true")])[0];
    let p = read_vector(&folder("glove-lagged").join("p_values.npy"), 60);
    let mut sorted = p.clone();
    sorted.sort_by(f64::total_cmp);
    let n = (1..=60).rev().find(|&i| sorted[i - 1] <= 0.2 * i as f64 / 60.0).unwrap_or(0);
    assert!(n > 0 && n < 60, "the case decides something: {n}");
    let n = p.iter().filter(|&&p| p <= sorted[n - 1]).count();
    assert_eq!(number(row, "n_significant"), n as f64);
    let path = folder("glove-lagged").join("significant.npy");
    assert_eq!(dtype(&path), "|b1");
    let found = std::fs::read(&path).expect("it is there");
    assert_eq!(found[found.len() - 60..].iter().filter(|&&b| b == 1).count(), n);

    // Differences over stories.
    assert_eq!(comparisons.len(), 2 * (6 + 6 + 4), "pairs of a variant, lagged against plain");
    let pair = [("subject", "s2"), ("space_a", "glove-lagged"), ("space_b", "bow-lagged")];
    let row = find(&comparisons, &pair)[0];
    let differences = story_r("glove-lagged") - story_r("bow-lagged");
    let by_story: Vec<f64> = differences.rows().into_iter().map(|d| mean(&d.to_vec())).collect();
    // Means over 60 voxels and 3 stories in another order.
    assert!((number(row, "diff_mean") - mean(&by_story)).abs() < 1e-12);
    let (low, high) = (number(row, "ci_low"), number(row, "ci_high"));
    let (least, most) = (percentile(&by_story, 0.0), percentile(&by_story, 100.0));
    assert!(least - 1e-12 <= low && low < high && high <= most + 1e-12);

    // Top 5 % of 60 voxels: three of them.
    let top = |model: &str| {
        let r = r(model);
        let least = percentile(&r, 95.0);
        r.into_iter().map(|r| r >= least).collect::<Vec<_>>()
    };
    let (a, b) = (top("glove-lagged"), top("both-lagged"));
    let both = a.iter().zip(&b).filter(|(a, b)| **a && **b).count() as f64;
    let either = a.iter().zip(&b).filter(|(a, b)| **a || **b).count() as f64;
    let pair = [("subject", "s2"), ("kind", "spaces"), ("a", "glove-lagged"), ("b", "both-lagged")];
    assert_eq!(number(find(&overlap, &pair)[0], "jaccard"), both / either);
    assert_eq!(overlap.len(), 2 * 2 * 6);

    let scores = read_matrix(&folder("bow").join("cv_scores.npy"), (11, 60));
    let best = read_vector(&folder("bow").join("best_alpha.npy"), 60);
    let rows = find(&curve, &[("subject", "s2"), ("space", "bow"), ("lagged", "false")]);
    assert_eq!(rows.len(), 11);
    for (row, scores) in rows.into_iter().zip(scores.rows()) {
        assert!((number(row, "mean_cv_score") - mean(&scores.to_vec())).abs() < 1e-12);
        let alpha = number(row, "alpha");
        let n = best.iter().filter(|best| (*best / alpha - 1.0).abs() < 1e-12).count();
        assert_eq!(number(row, "n_best"), n as f64);
    }

    assert_eq!(stories.len(), 6);
    for (row, story) in stories.iter().zip(&bench.stories) {
        assert_eq!(row["story"], story.name.as_str());
        assert_eq!(number(row, "n_trs"), story.n_rows as f64);
        assert_eq!(number(row, "seconds"), 2.0 * story.n_rows as f64);
        assert_eq!(number(row, "n_words"), story.words.len() as f64);
        let mid = |i: usize| (story.onset_s[i] + story.offset_s[i]) / 2.0;
        let rate = story.words.len() as f64 / (mid(story.words.len() - 1) - mid(0));
        assert!((number(row, "words_per_s") / rate - 1.0).abs() < 1e-9);
        let is_test = ["story5", "story0", "story2"].contains(&story.name.as_str());
        assert_eq!(row["role"], if is_test { "test" } else { "train" });
    }
    assert_eq!(alignment.len(), 2 * 25);
    let first = &run["alignment"]["subjects"]["s1"]["mean_r"][0];
    assert_eq!(number(&alignment[0], "mean_r"), first.as_f64().expect("a number"));
}

#[test]
fn what_is_off_leaves_no_file_and_every_setting_changes_something() {
    let bench = StudyBench::new(33, 40, 40);
    add_noise(&bench, 40);
    let test = "split.test = [\"story5\", \"story0\", \"story3\"]";
    let lines = [GLOVE_ONLY, test, "ridge.folds = 2", "statistics.permutations = 100"];
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let read = |out: &Path, name: &str| std::fs::read(out.join(name)).expect("it is there");
    let p = "models/s1/glove-lagged/p_values.npy";
    for (line, name) in [
        ("statistics.permutations = 99", p),
        ("statistics.block_trs = 5", p),
        ("statistics.seed = 3", p),
        ("statistics.resamples = 50", "comparisons.csv"),
        ("statistics.q = 0.3", "significance.csv"),
    ] {
        let (outcome, changed) = bench.run(&[&lines[..], &[line]].concat(), &[]);
        assert_eq!(outcome.code, 0, "{line}: {outcome:#?}");
        assert_ne!(read(&out, name), read(&changed, name), "{line}");
        let scores = "models/s1/glove-lagged/test_correlation.npy";
        assert_eq!(read(&out, scores), read(&changed, scores), "{line}");
    }
    let more = ["stability.splits = 2", "stability.learning_curve = 1"];
    let with_more = bench.run_into(&out, &[&lines[..], &more].concat(), &["--force"]);
    assert_eq!(with_more.code, 0, "{with_more:#?}");
    let is_optional = |name: &String| {
        ["p_values", "significant", "significance", "stability", "learning"]
            .iter()
            .any(|part| name.contains(part))
    };
    assert_eq!(visible_names(&out).iter().filter(|name| is_optional(name)).count(), 4 * 4 + 4);
    // Off again, in the same folder.
    let off = [&lines[..], &["statistics.permutations = 0"]].concat();
    let without = bench.run_into(&out, &off, &["--force"]);
    assert_eq!(without.code, 0, "{without:#?}");
    assert!(!visible_names(&out).iter().any(is_optional), "{:?}", visible_names(&out));
}

/// `stability_correlation.npy` of one model: per split the rows that belong to it.
fn split_rows(
    out: &Path,
    model: &str,
    n_splits: usize,
    n_test: usize,
    v: usize,
) -> Vec<Array2<f64>> {
    let path = out.join("models/s1").join(model).join("stability_correlation.npy");
    let all = read_matrix(&path, (n_splits * (1 + n_test), v));
    (0..n_splits)
        .map(|i| all.slice(s![i * (1 + n_test)..(i + 1) * (1 + n_test), ..]).to_owned())
        .collect()
}

#[test]
fn a_random_split_equals_a_run_with_its_seed() {
    let bench = StudyBench::with_stories(34, 8, 40, 40);
    // One voxel dies in one story, another is constant in half of them.
    for (i, story) in bench.stories.iter().enumerate() {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let mut bold = npy::read_matrix_f32(&path).expect("it is whole");
        if i == 2 {
            bold[[4, 9]] = f32::NAN;
        }
        if i % 2 == 0 {
            bold.slice_mut(s![.., 5]).fill(1.5);
        }
        write_f32(&path, &bold);
    }
    let models = ["glove-lagged", "bow-lagged", "word_rate", "both-lagged", "both"];
    for more in [
        "design.time = \"mid\"",
        "design.zscore = \"train\"",
        "design.delay_preset = \"huth-stacked\"",
        "ridge.solver = \"dual\"",
        "ridge.solver = \"svd\"",
        "ridge.folds = \"loso\"",
        "ridge.scorer = \"r2\"",
    ] {
        // No list of test stories: their number.
        let lines = ["split.test = 0", "split.n_test = 2", "ridge.folds = 3", more];
        let study = |seed: &str, splits: &str| {
            let lines = [&lines[..], &[seed, splits]].concat();
            let path = bench.settings(&lines);
            let text = std::fs::read_to_string(&path).expect("written").replace("test = 0\n", "");
            std::fs::write(&path, text).expect("written");
            let out = bench.out();
            let args =
                ["run", path.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")];
            let outcome = super::workbench::voxelcast(&args);
            assert_eq!(outcome.code, 0, "{more}: {outcome:#?}");
            out
        };
        let out = study("split.seed = 40", "stability.splits = 2");
        let stability = run_json(&out)["stability"].clone();
        for i in 0..2 {
            let own = study(&format!("split.seed = {}", 41 + i), "stability.splits = 0");
            assert_eq!(names(&stability[i]["test"]), names(&run_json(&own)["split"]["test"]));
            assert_eq!(names(&stability[i]["train"]), names(&run_json(&own)["split"]["train"]));
            for model in models {
                let rows = &split_rows(&out, model, 2, 2, 40)[i];
                let folder = own.join("models/s1").join(model);
                let total = read_vector(&folder.join("test_correlation.npy"), 40);
                let stories = read_matrix(&folder.join("story_correlation.npy"), (2, 40));
                let expected = total.iter().chain(&stories);
                for (at, (got, wanted)) in rows.iter().zip(expected).enumerate() {
                    assert_eq!(got.is_nan(), wanted.is_nan(), "{more} {model} {i} {at}");
                    // The promise for CV scores; sums over stories in another order.
                    let off = (got - wanted).abs();
                    assert!(got.is_nan() || off <= 1e-5, "{more} {model} {i} {at}: {off}");
                }
            }
        }
    }
}

#[test]
fn points_of_the_learning_curve_equal_runs_on_fewer_stories() {
    let bench = StudyBench::with_stories(35, 8, 40, 40);
    let lines = ["ridge.folds = 2", "stability.learning_curve = 2"];
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let train = names(&run_json(&out)["split"]["train"]);
    let curve = table(&out.join("learning_curve.csv"));
    let sizes = [train.len() / 3, train.len() * 2 / 3];
    for (i, &size) in sizes.iter().enumerate() {
        let fold = |k: usize| train[..size].iter().skip(k).step_by(2).cloned().collect::<Vec<_>>();
        let fewer = bench.run(
            &[
                &format!("stories.exclude = {:?}", &train[size..]),
                &format!("ridge.folds = {:?}", [fold(0), fold(1)]),
            ],
            &[],
        );
        assert_eq!(fewer.0.code, 0, "{:#?}", fewer.0);
        for (space, lagged, model) in [("glove", "true", "glove-lagged"), ("bow", "false", "bow")] {
            let path = out.join("models/s1").join(model).join("learning_correlation.npy");
            let got = read_matrix(&path, (2, 40)).row(i).to_vec();
            let wanted = read_vector(
                &fewer.1.join("models/s1").join(model).join("test_correlation.npy"),
                40,
            );
            for (got, wanted) in got.iter().zip(&wanted) {
                assert!((got - wanted).abs() <= 1e-5, "{size} {model}: {got} {wanted}");
            }
            let rows = find(&curve, &[("subject", "s1"), ("space", space), ("lagged", lagged)]);
            assert_eq!(rows.len(), 3);
            assert_eq!(number(rows[i], "n_stories"), size as f64);
            assert!((number(rows[i], "mean") - mean(&got)).abs() < 1e-12);
        }
    }
    let summary = table(&out.join("summary.csv"));
    let own = [("subject", "s2"), ("space", "glove"), ("lagged", "true")];
    let last = find(&curve, &own)[2];
    assert_eq!(last["n_stories"], "7");
    assert_eq!(last["mean"], find(&summary, &own)[0]["mean"]);
    let rows: usize = train
        .iter()
        .map(|name| bench.stories.iter().find(|s| s.name == *name).expect("a story").n_rows)
        .sum();
    assert_eq!(number(last, "n_trs"), rows as f64);
}

#[test]
fn tables_of_stability_follow_from_the_arrays() {
    let bench = StudyBench::with_stories(36, 7, 40, 60);
    let lines = [GLOVE_ONLY, "ridge.folds = 2", "stability.splits = 3"];
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let [stability, stories, overlap] = ["stability", "stability_stories", "overlap"]
        .map(|name| table(&out.join(format!("{name}.csv"))));
    assert_eq!((stability.len(), stories.len()), (2 * 2 * 3, 2 * 2 * 3));
    let rows = split_rows(&out, "glove-lagged", 3, 1, 60);
    let tops: Vec<Vec<bool>> = rows
        .iter()
        .map(|rows| {
            let r = rows.row(0).to_vec();
            let least = percentile(&r, 95.0);
            r.into_iter().map(|r| r >= least).collect()
        })
        .collect();
    for (i, rows) in rows.iter().enumerate() {
        let split = (i + 1).to_string();
        let wanted =
            [("subject", "s1"), ("space", "glove"), ("lagged", "true"), ("split", &*split)];
        let row = find(&stability, &wanted)[0];
        assert!((number(row, "mean") - mean(&rows.row(0).to_vec())).abs() < 1e-12);
        assert!((number(row, "top5") - percentile(&rows.row(0).to_vec(), 95.0)).abs() < 1e-12);
        assert_eq!(number(row, "seed"), (214 + i + 1) as f64);
        assert_eq!((number(row, "n_train_stories"), number(row, "n_test_stories")), (6.0, 1.0));
        let row = find(&stories, &wanted)[0];
        assert!((number(row, "median") - percentile(&rows.row(1).to_vec(), 50.0)).abs() < 1e-12);
        assert_eq!(row["story"], run_json(&out)["stability"][i]["test"][0]);
    }
    let wanted = [("kind", "splits"), ("a", "1"), ("b", "3"), ("model", "glove-lagged")];
    let both = tops[0].iter().zip(&tops[2]).filter(|(a, b)| **a && **b).count() as f64;
    let either = tops[0].iter().zip(&tops[2]).filter(|(a, b)| **a || **b).count() as f64;
    let row = find(&overlap, &wanted).into_iter().find(|row| row["subject"] == "s1");
    assert_eq!(number(row.expect("there"), "jaccard"), both / either);

    // Other splits change nothing of the study itself.
    let (_, without) = bench.run(&lines[..2], &[]);
    let rest = |out: &Path| {
        let is_own = |name: &str| !name.contains("stability") && !name.contains("overlap");
        results(out).into_iter().filter(|(name, _)| is_own(name)).collect::<Vec<_>>()
    };
    assert!(rest(&out) == rest(&without));
}

#[test]
fn a_story_heard_several_times_has_a_noise_ceiling() {
    let bench = StudyBench::new(37, 200, 40);
    let (n_repeats, sd) = (4, 1.5);
    let rng = &mut seeded(78);
    std::fs::create_dir(bench.file("repeats")).expect("made");
    let signal = npy::read_matrix_f32(&bench.file("s1/story5.npy")).expect("it is whole");
    let mut mean_bold = Array2::<f32>::zeros(signal.dim());
    for repeat in 1..=n_repeats {
        let one = &signal + &(normal(rng, signal.nrows(), 40) * sd as f32);
        mean_bold += &(&one / n_repeats as f32);
        write_f32(&bench.file(&format!("repeats/story5.{repeat}.npy")), &one);
    }
    write_f32(&bench.file("s1/story5.npy"), &mean_bold);
    let run = |pattern: &str| {
        let path = bench.settings(&[GLOVE_ONLY, "ridge.folds = 3"]);
        let text = std::fs::read_to_string(&path).expect("written");
        let bold = "path = \"s1/{story}.npy\"";
        std::fs::write(&path, text.replace(bold, &format!("{bold}\n{pattern}"))).expect("written");
        let out = bench.out();
        let args = ["run", path.to_str().expect("UTF-8"), "--out", out.to_str().expect("UTF-8")];
        (super::workbench::voxelcast(&args), out)
    };
    let (outcome, out) = run("repeats = \"repeats/{story}.{repeat}.npy\"");
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let ceiling = read_vector(&out.join("models/s1/noise_ceiling.npy"), 40);
    assert!(!out.join("models/s2/noise_ceiling.npy").exists(), "heard once");
    for (v, &found) in ceiling.iter().enumerate() {
        let variance = signal.column(v).mapv(f64::from).var(0.0);
        let expected = (variance / (variance + sd * sd / f64::from(n_repeats))).sqrt();
        // The standard error of SP with n rows is about (signal + noise)·√(2/n).
        let n = signal.nrows() as f64;
        let bound = 4.0 * (variance + sd * sd) / variance * (2.0 / n).sqrt() / 2.0;
        assert!((found - expected).abs() < bound, "{v}: {found} {expected}");
    }
    let folder = out.join("models/s1/glove-lagged");
    let r = read_matrix(&folder.join("story_correlation.npy"), (1, 40)).row(0).to_vec();
    let relative = read_vector(&folder.join("normalised_correlation.npy"), 40);
    for v in 0..40 {
        assert!((relative[v] - r[v] / ceiling[v]).abs() < 1e-6);
    }
    let rows = table(&out.join("noise_ceiling.csv"));
    let row = find(&rows, &[("space", "glove"), ("lagged", "true")])[0];
    assert_eq!((rows.len(), number(row, "n_repeats")), (2, 4.0));
    assert!((number(row, "normalised_mean") - mean(&relative)).abs() < 1e-6);
    assert!((number(row, "ceiling_mean") - mean(&ceiling)).abs() < 1e-6);

    let (none, _) = run("repeats = \"repeats/{story}-{repeat}.npy\"");
    none.refused(3, &["[bold.s1], repeats", "found none", "counted from 1"]);
    write_f32(&bench.file("s1/story5.npy"), &normal(rng, signal.nrows(), 40));
    let (other, _) = run("repeats = \"repeats/{story}.{repeat}.npy\"");
    other.refused(3, &["story \"story5\"", "mean of its 4 repeats"]);
    write_f32(&bench.file("repeats/story5.2.npy"), &normal(rng, 9, 40));
    let (short, _) = run("repeats = \"repeats/{story}.{repeat}.npy\"");
    short.refused(3, &["repeat 2 of story \"story5\"", "(9, 40)"]);
}
