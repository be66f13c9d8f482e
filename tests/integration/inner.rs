//! Scores without the edges of the test stories (`[split] inner`): everywhere a test score stands.

use std::path::Path;

use ndarray::{Array2, s};
use voxelcast::io::npy;

use super::kinds::{N_VOXELS, ran};
use super::naive::{pearson, percentile};
use super::statistics::{find, mean, number, predicted};
use super::study_command::{names, run_json, table};
use super::workbench::{
    GLOVE_ONLY, StudyBench, normal, read_matrix, read_vector, seeded, text, visible_names,
    voxelcast, wide, write_f32,
};

/// Rows at the edges that the tests leave out.
const INNER: &str = "split.inner = \"9:6\"";
const HEAD: usize = 9;
const TAIL: usize = 6;

/// A column of some rows.
fn column(x: &Array2<f64>, rows: std::ops::Range<usize>, v: usize) -> Vec<f64> {
    x.slice(s![rows, v]).to_vec()
}

#[test]
fn a_random_splits_inner_scores_are_those_of_a_run_with_its_seed() {
    let bench = StudyBench::with_stories(3401, 8, 40, N_VOXELS);
    let study = |more: &[&str]| {
        let lines = ["split.test = 0", "split.n_test = 2", "ridge.folds = 3", INNER];
        let path = bench.settings(&[&lines[..], more].concat());
        let study = std::fs::read_to_string(&path).expect("written").replace("test = 0\n", "");
        std::fs::write(&path, study).expect("written");
        let out = bench.out();
        let outcome = voxelcast(&["run", text(&path), "--out", text(&out)]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        out
    };
    let out = study(&["split.seed = 40", "stability.splits = 2", "stability.learning_curve = 1"]);
    let [stability, stories, curve, summary] =
        ["stability", "stability_stories", "learning_curve", "summary"]
            .map(|name| table(&out.join(format!("{name}.csv"))));
    let near = |row: &serde_json::Map<String, serde_json::Value>, r: &[f64], what: &str| {
        assert!((number(row, "inner_mean") - mean(r)).abs() < 1e-12, "{what}");
        assert!((number(row, "inner_median") - percentile(r, 50.0)).abs() < 1e-12, "{what}");
    };
    for (space, lagged, model) in
        [("glove", "true", "glove-lagged"), ("word_rate", "false", "word_rate")]
    {
        let folder = out.join("models/s1").join(model);
        let of = |name: &str, n| read_matrix(&folder.join(name), (n, N_VOXELS));
        let (inner, whole) =
            (of("stability_inner_correlation.npy", 6), of("stability_correlation.npy", 6));
        assert_ne!(inner, whole, "{model}");
        for i in 0..2 {
            let own = study(&[&format!("split.seed = {}", 41 + i)]).join("models/s1").join(model);
            let total = read_vector(&own.join("inner_correlation.npy"), N_VOXELS);
            let by_story = read_matrix(&own.join("story_inner_correlation.npy"), (2, N_VOXELS));
            let found = inner.slice(s![3 * i..3 * i + 3, ..]);
            for (got, wanted) in found.iter().zip(total.iter().chain(&by_story)) {
                assert!((got - wanted).abs() <= 1e-5, "{model} {i}: {got} {wanted}");
            }
            let split = (i + 1).to_string();
            let wanted =
                [("subject", "s1"), ("space", space), ("lagged", lagged), ("split", &*split)];
            near(find(&stability, &wanted)[0], &inner.row(3 * i).to_vec(), model);
            for (at, row) in find(&stories, &wanted).into_iter().enumerate() {
                near(row, &inner.row(3 * i + 1 + at).to_vec(), model);
            }
        }
        // The learning curve: its points, and the study itself at its end.
        let wanted = [("subject", "s1"), ("space", space), ("lagged", lagged)];
        let points = find(&curve, &wanted);
        near(points[0], &of("learning_inner_correlation.npy", 1).row(0).to_vec(), model);
        assert_eq!(points[1]["inner_mean"], find(&summary, &wanted)[0]["inner_mean"]);
    }
    let page = std::fs::read_to_string(out.join("report.html")).expect("there");
    let stability = page.split("id=\"table-stability\"").nth(1).expect("the table is there");
    let stability = stability.split("</table>").next().expect("its end");
    assert!(stability.contains("data-name=\"inner_mean\""), "a column of the table");

    // Switched off, nothing else changes.
    let off = study(&["split.seed = 40", "stability.splits = 2", "split.inner = \"none\""]);
    assert!(!visible_names(&off).iter().any(|name| name.contains("inner")));
    let header = |name: &str| {
        let table = std::fs::read_to_string(off.join(name)).expect("there");
        table.lines().next().expect("a header").to_owned()
    };
    assert!(header("stability.csv").ends_with("seed,n_train_stories,n_test_stories"));
    assert!(header("stability_stories.csv").ends_with("top5_mean"));
}

/// SP and Var(ȳ) of repeats, by the definition: variances of columns, n in the denominator.
fn ceiling(repeats: &[Vec<f64>]) -> f64 {
    let variance = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64
    };
    let n = repeats.len() as f64;
    let sum: Vec<f64> = (0..repeats[0].len()).map(|t| repeats.iter().map(|r| r[t]).sum()).collect();
    let own: f64 = repeats.iter().map(|r| variance(r)).sum();
    let signal = (variance(&sum) - own) / (n * (n - 1.0));
    (signal / (variance(&sum) / (n * n))).sqrt()
}

#[test]
fn the_ceiling_of_inner_scores_is_that_of_the_rows_inside() {
    let bench = StudyBench::new(3402, 90, N_VOXELS);
    let rng = &mut seeded(3403);
    std::fs::create_dir(bench.file("repeats")).expect("made");
    let signal = npy::read_matrix_f32(&bench.file("s1/story5.npy")).expect("it is whole");
    let n_rows = signal.nrows();
    let (mut all, mut sum) = (Vec::new(), Array2::<f32>::zeros(signal.dim()));
    for repeat in 1..=3 {
        let mut one = &signal + &(normal(rng, n_rows, N_VOXELS) * 3.0);
        // A transient that all repeats share: the whole ceiling is higher than the one inside.
        for (t, mut row) in one.rows_mut().into_iter().enumerate() {
            row += 40.0 * (-(t as f32) / 3.0).exp();
        }
        sum += &one;
        write_f32(&bench.file(&format!("repeats/story5.{repeat}.npy")), &one);
        all.push(wide(&one));
    }
    write_f32(&bench.file("s1/story5.npy"), &(sum / 3.0));
    let run = |inner: &str| {
        let path = bench.settings(&[GLOVE_ONLY, "ridge.folds = 3", inner]);
        let study = std::fs::read_to_string(&path).expect("written");
        let bold = "path = \"s1/{story}.npy\"";
        let repeats = format!("{bold}\nrepeats = \"repeats/{{story}}.{{repeat}}.npy\"");
        std::fs::write(&path, study.replace(bold, &repeats)).expect("written");
        let out = bench.out();
        let outcome = voxelcast(&["run", text(&path), "--out", text(&out)]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        out
    };
    let out = run(INNER);
    let rows = HEAD..n_rows - TAIL;
    let found = read_vector(&out.join("models/s1/inner_noise_ceiling.npy"), N_VOXELS);
    let whole = read_vector(&out.join("models/s1/noise_ceiling.npy"), N_VOXELS);
    let wanted = |rows: &std::ops::Range<usize>, v: usize| {
        ceiling(&all.iter().map(|x| column(x, rows.clone(), v)).collect::<Vec<_>>())
    };
    for v in 0..N_VOXELS {
        assert!((found[v] - wanted(&rows, v)).abs() < 1e-5, "{v}: {}", found[v]);
        assert!((whole[v] - wanted(&(0..n_rows), v)).abs() < 1e-5, "{v}: {}", whole[v]);
    }
    assert!(mean(&whole) > mean(&found) + 0.01, "the transient counts outside");
    // r of the rows inside, from the weights on disk, over that ceiling.
    let (pred, bold) = predicted(&bench, &out, N_VOXELS);
    let folder = out.join("models/s1/glove-lagged");
    let r = read_vector(&folder.join("inner_correlation.npy"), N_VOXELS);
    let relative = read_vector(&folder.join("inner_normalised_correlation.npy"), N_VOXELS);
    for v in 0..N_VOXELS {
        let by_hand = pearson(&column(&pred, rows.clone(), v), &column(&bold, rows.clone(), v));
        assert!((r[v] - by_hand).abs() < 1e-5, "{v}: {} {by_hand}", r[v]);
        assert!((relative[v] - by_hand / found[v]).abs() < 1e-5, "{v}");
    }
    let lines = table(&out.join("noise_ceiling.csv"));
    let row = find(&lines, &[("space", "glove"), ("lagged", "true")])[0];
    for (name, values) in [("ceiling", &found), ("r", &r), ("normalised", &relative)] {
        let got = number(row, &format!("inner_{name}_mean"));
        assert!((got - mean(values)).abs() < 1e-6, "{name}");
    }
    assert_eq!(number(row, "inner_n_voxels_used"), N_VOXELS as f64);

    // A story that is all edge has no inner ceiling; switched off, there is no trace of one.
    let none = run("split.inner = \"60:60\"");
    let found = read_vector(&none.join("models/s1/inner_noise_ceiling.npy"), N_VOXELS);
    assert!(found.iter().all(|c| c.is_nan()));
    let off = run("split.inner = \"none\"");
    assert!(!visible_names(&off).iter().any(|name| name.contains("inner")));
    let header = std::fs::read_to_string(off.join("noise_ceiling.csv")).expect("there");
    assert!(header.lines().next().is_some_and(|line| line.ends_with("min_ceiling")));
}

#[test]
fn inner_rows_are_counted_over_the_trs_that_are_kept() {
    let bench = StudyBench::new(3404, 40, N_VOXELS);
    let of = |out: &Path| read_vector(&out.join("models/s2/glove/inner_correlation.npy"), N_VOXELS);
    let out = ran(&bench, &[GLOVE_ONLY, INNER]);
    assert_ne!(of(&out), of(&ran(&bench, &[GLOVE_ONLY, "split.inner = \"9:7\""])));
    assert_eq!(names(&run_json(&out)["split"]["test"]), ["story5"]);
}
