//! Reference results on real BOLD, where the data are there.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::workbench::{Outcome, read_matrix, read_vector, real_data, text, voxelcast};

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).expect("the reference is there");
    serde_json::from_str(&text).expect("the reference is whole")
}

fn names(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("a list of names")
}

struct Settings<'a> {
    design: &'a str,
    alphas: &'a str,
    spaces: &'a str,
    test: &'a [String],
    folds: &'a [Vec<String>],
}

/// Runs a study on the 101 stories; the folder with STUDY.toml is dropped with the results.
fn run(data: &Path, settings: &Settings<'_>) -> (Outcome, tempfile::TempDir) {
    let Settings { design, alphas, spaces, test, folds } = settings;
    let pcs = data.join("ds003020_pcs");
    let pcs = text(&pcs);
    // The golden values count every row as a word.
    let mut toml = format!("[stories]\npath = \"{pcs}/words.tsv.gz\"\nkeep_marks = true\n");
    for subject in ["subject2", "subject3"] {
        writeln!(toml, "[bold.{subject}]\npath = \"{pcs}/{subject}/{{story}}.npy\"").expect("text");
    }
    writeln!(toml, "[split]\ntest = {test:?}\n[design]\n{design}").expect("text");
    writeln!(toml, "[ridge]\nalphas = \"{alphas}\"\nfolds = {folds:?}\nfit_intercept = false")
        .expect("text");
    toml += spaces;
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let study = folder.path().join("STUDY.toml");
    std::fs::write(&study, toml).expect("written");
    let outcome = voxelcast(&["run", text(&study), "--out", text(&folder.path().join("out"))]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    (outcome, folder)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn glove_on_the_reference_split_gives_the_reference_means() {
    let Some(data) = real_data() else { return };
    let reference = json(&data.join("ds003020_pcs/reference_split.json"));
    let (test, train) = (names(&reference["test"]), names(&reference["train_order"]));
    let folds: Vec<Vec<String>> =
        (0..5).map(|i| train.iter().skip(i).step_by(5).cloned().collect()).collect();
    let spaces = format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\n\
         vectors = \"{}/vectors/minilm-words.200d.glove.txt.gz\"\n",
        text(&data)
    );
    for (design, is_right, models) in [
        ("trim = \"10:5\"", true, &[("glove-lagged", "lagged"), ("glove", "plain")][..]),
        (
            "trim = \"5:10\"\nvariants = [\"lagged\"]",
            false,
            &[("glove-lagged", "lagged_trim_5_10")],
        ),
    ] {
        let alphas = "logspace(0,6,20)";
        let settings = Settings { design, alphas, spaces: &spaces, test: &test, folds: &folds };
        let (outcome, folder) = run(&data, &settings);
        let warning = outcome.stderr.lines().find(|l| l.starts_with("warning: alignment:"));
        assert_eq!(warning.is_none(), is_right, "{}", outcome.stderr);
        assert!(warning.is_none_or(|line| line.contains("10:5")), "{warning:?}");
        for subject in ["subject2", "subject3"] {
            for (model, key) in models {
                let out = folder.path().join("out/models").join(subject).join(model);
                let expected = &reference["results"][format!("{subject}/{key}")];
                let test_r = mean(&read_vector(&out.join("test_correlation.npy"), 50));
                let cv = read_matrix(&out.join("cv_scores.npy"), (20, 50));
                let tops: Vec<f64> = cv
                    .columns()
                    .into_iter()
                    .map(|scores| scores.iter().copied().fold(f64::MIN, f64::max))
                    .collect();
                for (name, got) in [("mean", test_r), ("cv_mean", mean(&tops))] {
                    let wanted = expected[name].as_f64().expect("a number");
                    // The reference leaves open how its words at one time were ordered and how
                    // constant columns were scaled: 2e-3 of a correlation.
                    assert!((got - wanted).abs() <= 2e-3, "{subject} {key} {name}: {got} {wanted}");
                    println!("{subject} {key} {name}: {got:.5}, reference {wanted:.5}");
                }
            }
        }
    }
}

#[test]
fn bag_of_400_words_with_word_rate_gives_the_golden_scores() {
    let Some(data) = real_data() else { return };
    let golden = json(&data.join("ds003020_pcs/golden_bow400.json"));
    let test = names(&golden["test"]);
    let mut folds = vec![Vec::new(); 5];
    for (story, fold) in golden["fold"].as_object().expect("an object") {
        folds[fold.as_u64().expect("a fold") as usize].push(story.clone());
    }
    let spaces = "[[space]]\nname = \"bow\"\nkind = \"bow\"\nmax_words = 400\nlowercase = false\n\
                  punctuation = \"keep\"\n\
                  fit = false\n\
                  [[space]]\nname = \"rate\"\nkind = \"word_rate\"\nfit = false\n\
                  [[space]]\nname = \"both\"\ncombine = [\"bow\", \"rate\"]\n";
    let design = "trim = \"10:5\"\nvariants = [\"lagged\"]";
    let settings =
        Settings { design, alphas: "logspace(1,8,15)", spaces, test: &test, folds: &folds };
    let (outcome, folder) = run(&data, &settings);
    assert!(outcome.stderr.contains("warning: test stories "), "{}", outcome.stderr);
    for subject in ["subject2", "subject3"] {
        let out = folder.path().join("out/models").join(subject).join("both-lagged");
        let cv = read_matrix(&out.join("cv_scores.npy"), (15, 50));
        let best = read_vector(&out.join("best_alpha.npy"), 50);
        let expected: Vec<Vec<f64>> =
            serde_json::from_value(golden[subject]["cv_mean_r"].clone()).expect("a table");
        let mut most = 0f64;
        for ((a, v), got) in cv.indexed_iter() {
            most = most.max((got - expected[a][v]).abs());
        }
        println!("{subject}: largest difference of a CV score {most:.2e}");
        // The golden f64 design against our f32 one: 1e-4, ten times the solver's promise.
        assert!(most <= 1e-4, "{subject}: {most}");
        let indices: Vec<usize> =
            serde_json::from_value(golden[subject]["best_alpha_index"].clone()).expect("indices");
        for (v, &index) in indices.iter().enumerate() {
            let wanted = golden["alphas"][index].as_f64().expect("a number");
            let is_equal = (best[v] / wanted - 1.0).abs() < 1e-12;
            let ours = (0..15).find(|&a| {
                let alpha = golden["alphas"][a].as_f64().expect("a number");
                (best[v] / alpha - 1.0).abs() < 1e-12
            });
            let gap = expected[index][v] - expected[ours.expect("on the grid")][v];
            assert!(is_equal || gap <= 2.0 * most, "{subject} voxel {v}: no tie, {gap}");
        }
    }
}
