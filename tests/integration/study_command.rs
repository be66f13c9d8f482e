//! `voxelcast run` and `check`: outputs, settings, resume, lock.

use std::path::Path;

use ndarray::{Array2, concatenate, s};
use serde_json::Value;
use voxelcast::design::delays::delay;
use voxelcast::design::lanczos::{Lanczos, resample};
use voxelcast::io::npy;

use super::naive::{column_correlations, percentile};
use super::workbench::{
    GLOVE_ONLY, HEAD, RidgeBench, StudyBench, TAIL, dtype, read_matrix, read_vector, text,
    visible_files, visible_names, voxelcast, wide, write_f32,
};

pub fn run_json(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

pub fn names(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("a list of names")
}

/// Arrays and tables: what does not hold times of the clock.
pub fn results(out: &Path) -> Vec<(String, Vec<u8>)> {
    let keep = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
        let name = path.strip_prefix(out).expect("below").display().to_string();
        let is_result = !["run.json", "report.html", "STUDY.toml"].contains(&name.as_str());
        is_result.then_some((name, bytes))
    };
    visible_files(out).into_iter().filter_map(keep).collect()
}

/// The lines of a CSV without quoted cells, by column.
pub fn table(path: &Path) -> Vec<serde_json::Map<String, Value>> {
    let text = std::fs::read_to_string(path).expect("it is there");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), header.len(), "{line}");
        header.iter().zip(cells).map(|(key, cell)| ((*key).to_owned(), cell.into())).collect()
    };
    lines.map(row).collect()
}

const FOLDERS: [(&str, &str, bool, usize); 8] = [
    ("glove", "glove-lagged", true, 24),
    ("glove", "glove", false, 6),
    ("bow", "bow-lagged", true, 96),
    ("bow", "bow", false, 24),
    ("word_rate", "word_rate-lagged", true, 4),
    ("word_rate", "word_rate", false, 1),
    ("both", "both-lagged", true, 28),
    ("both", "both", false, 7),
];

#[test]
fn every_output_of_the_contract_is_there_and_a_second_run_changes_no_byte() {
    let bench = StudyBench::new(1, 70, 40);
    let lines = ["split.test = [\"story5\", \"story0\"]", "ridge.folds = 4"];
    let (outcome, out) = bench.run(&lines, &["--json"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let document: Value = serde_json::from_str(&outcome.stdout).expect("one JSON document");
    assert!(document["schema"].is_string());
    assert!(outcome.stderr.contains("device: cpu"), "{}", outcome.stderr);

    let run = run_json(&out);
    assert_eq!(names(&run["split"]["test"]), ["story5", "story0"]);
    let train = names(&run["split"]["train"]);
    let mut sorted = train.clone();
    sorted.sort();
    assert_eq!(sorted, ["story1", "story2", "story3", "story4"]);
    let folds: Vec<Vec<String>> = serde_json::from_value(run["folds"].clone()).expect("lists");
    for (k, fold) in folds.iter().enumerate() {
        let dealt: Vec<String> = train.iter().skip(k).step_by(4).cloned().collect();
        assert_eq!(*fold, dealt, "stories are dealt round-robin in the seeded order");
    }
    for key in ["warnings", "device", "solver", "version", "commit"] {
        assert!(!run[key].is_null(), "{key}");
    }
    assert!(run["warnings"].is_array());

    for subject in ["s1", "s2"] {
        for (_, folder, _, n_coefs) in FOLDERS {
            let folder = out.join("models").join(subject).join(folder);
            let file = |name: &str, wanted: &str| {
                assert_eq!(dtype(&folder.join(name)), wanted, "{name}");
                folder.join(name)
            };
            let scores = read_matrix(&file("cv_scores.npy", "<f4"), (11, 40));
            let best = read_vector(&file("best_alpha.npy", "<f8"), 40);
            read_vector(&file("test_correlation.npy", "<f4"), 40);
            for v in 0..40 {
                let at = (best[v].log10() * 2.0).round() as usize;
                let top = scores.column(v).iter().copied().fold(f64::MIN, f64::max);
                assert_eq!(scores[[at, v]], top, "the best alpha has the best score");
            }
            let bytes = std::fs::read(folder.join("weights.safetensors")).expect("it is there");
            let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
            let shapes: usize =
                tensors.iter().map(|(_, view)| view.shape().iter().product::<usize>()).sum();
            assert_eq!(shapes, (n_coefs + 1) * 40, "weights and intercepts");
        }
    }
    tables_follow_from_the_arrays(&out);

    let before = visible_files(&out);
    let again = bench.run_into(&out, &lines, &["--json"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains("finished before"), "{}", again.stderr);
    assert_eq!(visible_files(&out), before, "not a byte differs, run.json included");
    assert!(visible_names(&out).iter().all(|name| !name.contains("partial")));
}

fn tables_follow_from_the_arrays(out: &Path) {
    let number = |row: &serde_json::Map<String, Value>, key: &str| -> f64 {
        row[key].as_str().expect("a cell").parse().expect("a number")
    };
    let check = |row: &serde_json::Map<String, Value>, scores: &[f64]| {
        let used: Vec<f64> = scores.iter().copied().filter(|r| !r.is_nan()).collect();
        let n = used.len() as f64;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let above =
            |least: f64| -> Vec<f64> { used.iter().copied().filter(|&r| r >= least).collect() };
        let (top1, top5) = (percentile(&used, 99.0), percentile(&used, 95.0));
        let expected = [
            ("n_voxels", scores.len() as f64),
            ("n_voxels_used", n),
            ("mean", mean(&used)),
            ("median", percentile(&used, 50.0)),
            ("top1", top1),
            ("top5", top5),
            ("top1_mean", mean(&above(top1))),
            ("top5_mean", mean(&above(top5))),
        ];
        for (key, expected) in expected {
            // Sums of n numbers below 1 in another order.
            let off = (number(row, key) - expected).abs();
            assert!(off <= 4.0 * n * f64::EPSILON, "{key}: {off} in {row:?}");
        }
    };
    let find = |rows: &[serde_json::Map<String, Value>], wanted: &[(&str, &str)]| {
        let hits: Vec<_> = rows
            .iter()
            .filter(|row| wanted.iter().all(|(key, value)| row[*key] == *value))
            .cloned()
            .collect();
        assert_eq!(hits.len(), 1, "{wanted:?}");
        hits[0].clone()
    };
    let (summary, stories) = (table(&out.join("summary.csv")), table(&out.join("stories.csv")));
    assert_eq!((summary.len(), stories.len()), (16, 32));
    for subject in ["s1", "s2"] {
        for (space, folder, lagged, _) in FOLDERS {
            let lagged = if lagged { "true" } else { "false" };
            let folder = out.join("models").join(subject).join(folder);
            let row = [("subject", subject), ("space", space), ("lagged", lagged)];
            check(&find(&summary, &row), &read_vector(&folder.join("test_correlation.npy"), 40));
            let by_story = read_matrix(&folder.join("story_correlation.npy"), (2, 40));
            for (i, story) in ["story5", "story0"].into_iter().enumerate() {
                let row = [&row[..], &[("story", story)]].concat();
                check(&find(&stories, &row), &by_story.row(i).to_vec());
            }
        }
    }
}

/// Lanczos, trim, z-score by hand: the un-delayed design of one story.
pub fn design_by_hand(bench: &StudyBench, index: usize) -> Array2<f32> {
    let story = &bench.stories[index];
    let file = std::fs::read_to_string(bench.file("vectors.txt")).expect("it was written");
    let vectors: Vec<Vec<f32>> = file
        .lines()
        .map(|line| line.split(' ').skip(1).map(|x| x.parse().expect("a number")).collect())
        .collect();
    let rows = Array2::from_shape_fn((story.words.len(), 6), |(i, j)| {
        let word: usize = story.words[i]["word".len()..].parse().expect("a number");
        vectors[word][j]
    });
    let mid_s: Vec<f64> =
        story.onset_s.iter().zip(&story.offset_s).map(|(a, b)| (a + b) / 2.0).collect();
    let n_trs = story.n_rows + HEAD + TAIL;
    let trs_s: Vec<f64> = (0..n_trs).map(|i| -9.0 + 2.0 * i as f64).collect();
    let lanczos = Lanczos { window: 3, cutoff_mult: 1.0 };
    let at_trs = resample(rows.view(), &mid_s, &trs_s, &lanczos).expect("valid times");
    let mut x = at_trs.slice(s![HEAD..n_trs - TAIL, ..]).to_owned();
    for mut column in x.columns_mut() {
        let mean = column.mean().expect("there are rows");
        column -= mean;
        let sd = (column.iter().map(|x| x * x).sum::<f64>() / column.len() as f64).sqrt();
        column /= sd;
    }
    x.mapv(|x| x as f32)
}

pub fn stacked(parts: &[Array2<f32>]) -> Array2<f32> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    concatenate(ndarray::Axis(0), &views).expect("one width")
}

#[test]
fn the_lagged_model_equals_ridge_on_a_design_built_by_hand() {
    let bench = StudyBench::new(2, 60, 40);
    let (outcome, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    let index = |name: &str| bench.stories.iter().position(|s| s.name == name).expect("a story");
    let train: Vec<usize> = names(&run["split"]["train"]).iter().map(|n| index(n)).collect();
    let test = index(&names(&run["split"]["test"])[0]);
    let delays = [1, 2, 3, 4];
    let design =
        |story: usize| delay(design_by_hand(&bench, story).view(), &delays).expect("valid delays");
    let bold = |story: usize| -> Array2<f32> {
        let name = format!("s1/{}.npy", bench.stories[story].name);
        npy::read_matrix_f32(&bench.file(&name)).expect("it was written")
    };
    let x = stacked(&train.iter().map(|&s| design(s)).collect::<Vec<_>>());
    let y = stacked(&train.iter().map(|&s| bold(s)).collect::<Vec<_>>());
    let labels: Vec<i64> = train
        .iter()
        .enumerate()
        .flat_map(|(i, &s)| std::iter::repeat_n(i as i64 % 5, bench.stories[s].n_rows))
        .collect();
    let ridge = RidgeBench::new(&x, &y, &labels).with_test(&design(test), &bold(test));
    let found = ridge.fit(&["--alphas", "logspace(0,5,11)"]);

    let folder = out.join("models/s1/glove-lagged");
    let scores = read_matrix(&folder.join("cv_scores.npy"), (11, 40));
    for (a, b) in scores.iter().zip(&found.cv_scores) {
        assert!((a - b).abs() <= 1e-5, "DESIGN section 2: routes agree to 1e-5: {a} {b}");
    }
    assert_eq!(read_vector(&folder.join("best_alpha.npy"), 40), found.best_alpha);
    let test_r = read_vector(&folder.join("test_correlation.npy"), 40);
    for (a, b) in test_r.iter().zip(&found.test_correlation) {
        assert!((a - b).abs() <= 1e-5, "{a} {b}");
    }
    assert!(test_r.iter().sum::<f64>() / 40.0 > 0.3, "the planted signal is found: {test_r:?}");

    // The weights on disk predict the test story.
    let bytes = std::fs::read(folder.join("weights.safetensors")).expect("it is there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    let tensor = |name: &str, shape: [usize; 2]| {
        let view = tensors.tensor(name).expect("it is there");
        assert_eq!((view.dtype(), view.shape()), (safetensors::Dtype::F32, &shape[..]));
        let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let values = view.data().chunks_exact(4).map(number).collect();
        Array2::from_shape_vec(shape, values).expect("the view's own shape")
    };
    let (weights, intercept) = (tensor("weights", [24, 40]), tensor("intercept", [1, 40]));
    let predicted = wide(&design(test)).dot(&weights) + &intercept;
    let r = column_correlations(&predicted, &wide(&bold(test)));
    for (a, b) in test_r.iter().zip(&r) {
        assert!((a - b).abs() <= 1e-5, "{a} {b}");
    }
}

#[test]
fn the_lab_trim_is_found_out_and_the_right_one_is_not_blamed() {
    let bench = StudyBench::new(3, 90, 40);
    let (wrong, out) = bench.run(&[GLOVE_ONLY, "design.trim = \"lab\""], &[]);
    assert_eq!(wrong.code, 0, "{wrong:#?}");
    let lines: Vec<&str> =
        wrong.stderr.lines().filter(|line| line.starts_with("warning: alignment:")).collect();
    assert_eq!(lines.len(), 1, "{}", wrong.stderr);
    assert!(lines[0].contains("10:5"), "{}", lines[0]);
    let warnings = names(&run_json(&out)["warnings"]);
    assert!(warnings.contains(&lines[0]["warning: ".len()..].to_owned()), "{warnings:?}");
    let same = bench.run(&[GLOVE_ONLY, "design.trim = \"5:10\""], &[]);
    assert_eq!(results(&same.1), results(&out), "lab is 5:10");
    let quiet = [GLOVE_ONLY, "design.trim = \"lab\"", "design.alignment_check = false"];
    assert!(!bench.run(&quiet, &[]).0.stderr.contains("alignment:"));

    let (right, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert!(!right.stderr.contains("alignment:"), "{}", right.stderr);
    assert!(!names(&run_json(&out)["warnings"]).iter().any(|w| w.starts_with("alignment:")));
    let named = bench.run(&[GLOVE_ONLY, "design.trim = \"huth\""], &[]);
    assert_eq!(named.0.code, 0, "huth is documented as 10:5: {:#?}", named.0);
    assert_eq!(results(&named.1), results(&out));

    // BOLD in the scanner's units: its mean is not zero.
    for subject in ["s1", "s2"] {
        for story in &bench.stories {
            let path = bench.file(&format!("{subject}/{}.npy", story.name));
            write_f32(&path, &(npy::read_matrix_f32(&path).expect("it is whole") + 1000.0));
        }
    }
    let (wrong, _) = bench.run(&[GLOVE_ONLY, "design.trim = \"lab\""], &[]);
    assert!(wrong.stderr.contains("warning: alignment:"), "{}", wrong.stderr);
    let (right, _) = bench.run(&[GLOVE_ONLY], &[]);
    assert!(!right.stderr.contains("alignment:"), "{}", right.stderr);
}

#[test]
fn settings_of_every_stage_change_the_results() {
    let bench = StudyBench::new(4, 40, 8);
    let (outcome, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let scores = |out: &Path| {
        let folder = out.join("models/s1/glove-lagged");
        ["cv_scores.npy", "best_alpha.npy", "test_correlation.npy"]
            .map(|name| std::fs::read(folder.join(name)).expect("it is there"))
    };
    let plain = scores(&out);
    // One setting of each stage; the others change the parsed study (`study_file`'s tests) and the
    // numbers of `ridge`, of the designs and of the splits in tests of their own.
    for line in [
        "design.delays = [-1, 2]",
        "design.zscore = \"train\"",
        "design.time = \"onset\"",
        "design.lanczos_window = 2",
        "ridge.scorer = \"r2\"",
        "ridge.alpha_convention = \"huth\"",
        "ridge.folds = [[\"story0\", \"story1\"], [\"story2\", \"story3\", \"story4\"]]",
    ] {
        let (outcome, out) = bench.run(&[GLOVE_ONLY, line], &[]);
        assert_eq!(outcome.code, 0, "{line}: {outcome:#?}");
        assert_ne!(scores(&out), plain, "{line}");
    }
    // Five training stories less one: folds that both can have.
    let folds = [GLOVE_ONLY, "ridge.folds = 4"];
    let (all, out) = bench.run(&folds, &[]);
    let (fewer, without) =
        bench.run(&[&folds[..], &["stories.exclude = [\"story1\"]"]].concat(), &[]);
    assert_eq!((all.code, fewer.code), (0, 0), "{all:#?} {fewer:#?}");
    assert_ne!(scores(&without), scores(&out), "stories.exclude");
    let (_, out) = bench.run(&[GLOVE_ONLY, "output.weights = false"], &[]);
    assert!(!visible_names(&out).iter().any(|name| name.ends_with(".safetensors")));
    let (_, out) = bench.run(&[GLOVE_ONLY, "design.variants = [\"plain\"]"], &[]);
    assert!(out.join("models/s1/glove").is_dir() && !out.join("models/s1/glove-lagged").exists());
    for (line, n_features) in [("min_count = 32", None), ("max_words = 9", Some(9))] {
        let space = format!("spaces = [[space]]\nkind = \"bow\"\n{line}\n");
        let (outcome, out) = bench.run(&[&space], &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let n = run_json(&out)["spaces"][0]["n_features"].as_u64().expect("a count");
        assert!(n < 24 && n_features.is_none_or(|wanted| n == wanted), "{line}: {n}");
    }
    let seeds: Vec<Value> = ["1", "2", "3"]
        .map(|seed| {
            let line = format!("split.seed = {seed}");
            run_json(&bench.run(&[GLOVE_ONLY, &line], &[]).1)["split"]["train"].clone()
        })
        .to_vec();
    assert!(seeds[0] != seeds[1] || seeds[1] != seeds[2], "{seeds:?}");
}

#[test]
fn threads_do_not_change_a_bit() {
    let bench = StudyBench::new(5, 30, 1100);
    let lines =
        [GLOVE_ONLY, "stability.splits = 2", "stability.learning_curve = 1", "ridge.folds = 3"];
    let (one, out_one) = bench.run(&lines, &["--threads", "1"]);
    let (two, out_two) = bench.run(&lines, &["--threads", "2", "--memory", "200M"]);
    assert_eq!((one.code, two.code), (0, 0), "{one:#?} {two:#?}");
    assert!(results(&out_one) == results(&out_two));
}

#[test]
fn a_run_cut_while_files_get_their_names_loses_nothing() {
    let bench = StudyBench::new(7, 25, 40);
    let (whole, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = results(&out);
    for (name, model) in [
        ("cv_scores.npy", "glove-lagged"),
        ("weights.safetensors", "glove"),
        ("best_alpha.npy", "glove-lagged"),
    ] {
        {
            // A folder in the way of one file: all names before it are given, those after are not.
            let out = bench.out();
            let obstacle = out.join("models/s1").join(model).join(name);
            std::fs::create_dir_all(obstacle.join("in the way")).expect("made");
            let cut = bench.run_into(&out, &[GLOVE_ONLY], &[]);
            cut.refused(1, &[name]);
            assert!(!out.join("run.json").exists());
            std::fs::remove_dir_all(&obstacle).expect("removed");
            let again = bench.run_into(&out, &[GLOVE_ONLY], &[]);
            assert_eq!(again.code, 0, "{again:#?}");
            for ((name, got), (_, wanted)) in results(&out).iter().zip(&expected) {
                assert!(got == wanted, "{name} differs after a cut at {model}");
            }
            assert_eq!(results(&out).len(), expected.len());
        }
    }
}

#[test]
fn a_locked_folder_is_refused_with_its_holder() {
    let bench = StudyBench::new(8, 25, 3);
    let out = bench.out();
    std::fs::create_dir_all(&out).expect("made");
    let lock = std::fs::File::create(out.join(".lock")).expect("made");
    lock.lock().expect("nobody else has it");
    std::fs::write(out.join(".lock"), "process 4242 on elsewhere\n").expect("written");
    let outcome = bench.run_into(&out, &[GLOVE_ONLY], &[]);
    outcome.refused(3, &["process 4242 on elsewhere", text(&out), "--out"]);
    assert_eq!(visible_names(&out), Vec::<String>::new());
    drop(lock);
    assert_eq!(bench.run_into(&out, &[GLOVE_ONLY], &[]).code, 0);
}

#[test]
fn results_of_other_settings_or_inputs_are_replaced_only_with_force() {
    let bench = StudyBench::new(9, 25, 3);
    let (outcome, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let before = visible_files(&out);
    let other = [GLOVE_ONLY, "ridge.alphas = [1, 10]"];
    let refused = bench.run_into(&out, &other, &[]);
    refused.refused(3, &[text(&out), "settings differ", "--force"]);
    assert_eq!(visible_files(&out), before);
    let forced = bench.run_into(&out, &other, &["--force"]);
    assert_eq!(forced.code, 0, "{forced:#?}");
    let folder = out.join("models/s1/glove-lagged");
    read_matrix(&folder.join("cv_scores.npy"), (2, 3));

    let mut bold = npy::read_matrix_f32(&bench.file("s1/story0.npy")).expect("it was written");
    bold[[0, 0]] += 1.0;
    super::workbench::write_f32(&bench.file("s1/story0.npy"), &bold);
    let refused = bench.run_into(&out, &other, &[]);
    refused.refused(3, &["changed", "s1/story0.npy", "--force"]);
}

#[test]
fn dry_run_and_check_write_nothing() {
    let bench = StudyBench::new(10, 25, 3);
    let (dry, out) = bench.run(&[], &["--dry-run"]);
    assert_eq!(dry.code, 0, "{dry:#?}");
    assert!(!out.exists(), "not even the folder");
    for part in ["glove-lagged", "24", "GiB", "training", "folds"] {
        assert!(dry.stdout.contains(part), "{part} in {}", dry.stdout);
    }
    let (dry, _) = bench.run(&[], &["--dry-run", "--json"]);
    let document: Value = serde_json::from_str(&dry.stdout).expect("one JSON document");
    assert!(document["schema"].is_string());

    let before = visible_names(&bench.file(""));
    let check = bench.check(&[]);
    assert_eq!(check.code, 0, "{check:#?}");
    assert!(check.stdout.contains("6 stories") && check.stdout.contains("all counts agree"));
    let study = bench.settings(&[]);
    let check = voxelcast(&["check", text(&study), "--json"]);
    let document: Value = serde_json::from_str(&check.stdout).expect("one JSON document");
    assert!(document["schema"].is_string());
    assert_eq!(document["n_stories"], 6);
    assert_eq!(visible_names(&bench.file("")), before);
}
