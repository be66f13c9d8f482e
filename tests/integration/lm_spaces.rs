//! Causal models as features: windows that serve many words, lists of layers and of pasts.

use std::path::{Path, PathBuf};

use serde_json::Value;
use voxelcast::io::nifti::read_volume;
use voxelcast::io::npy;

use super::brain::{inside, write_mask};
use super::study_command::run_json;
use super::workbench::{StudyBench, read_matrix, read_vector, text, voxelcast};

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal_words").join(file)
}

/// make.py makes a pass for every word; here few passes serve all of them.
#[test]
fn few_passes_give_the_vectors_of_a_pass_a_word() {
    let about = std::fs::read_to_string(golden("words.json")).expect("there");
    let about: Value = serde_json::from_str(&about).expect("JSON");
    let words: Vec<String> = serde_json::from_value(about["words"].clone()).expect("words");
    let folder = tempfile::tempdir().expect("a folder");
    let mut table = String::from("story\tonset\toffset\tword\n");
    for (i, word) in words.iter().enumerate() {
        table += &format!("one\t{i}\t{}\t{word}\n", i + 1);
    }
    let (stories, model) = (folder.path().join("words.tsv"), golden("model"));
    std::fs::write(&stories, table).expect("written");
    for (case, about) in about["cases"].as_array().expect("cases").iter().enumerate() {
        let expected = npy::read_matrix_f64(&golden(&format!("{case}.npy"))).expect("whole");
        for layer in 0..4 {
            let out = folder.path().join(format!("{case}-{layer}"));
            let number = |value: &Value| value.as_u64().map(|n| n.to_string()).unwrap_or_default();
            let (past, window) = (number(&about["past"]), number(&about["window"]));
            let (layer_text, pool) = (layer.to_string(), about["pool"].as_str().expect("a text"));
            let mut flags = vec!["features", "--kind", "lm", "--model", text(&model)];
            flags.extend(["--layer", &layer_text, "--past", &past, "--pool", pool]);
            flags.extend(["--stories", text(&stories), "--out", text(&out)]);
            if !window.is_empty() {
                flags.extend(["--context-window", &window]);
            }
            let outcome = voxelcast(&flags);
            assert_eq!(outcome.code, 0, "{outcome:#?}");
            let found = read_matrix(&out.join("one.words.npy"), (words.len(), 12));
            for (word, row) in found.rows().into_iter().enumerate() {
                for (got, wanted) in row.iter().zip(expected.row(layer * words.len() + word)) {
                    let bound = 1e-5 * (1.0 + wanted.abs());
                    assert!((got - wanted).abs() <= bound, "{case} {layer} {word}: {got} {wanted}");
                }
            }
        }
    }
}

fn spaces(lines: &str) -> String {
    format!(
        "spaces = [[space]]\nname = \"lm\"\nkind = \"lm\"\nmodel = \"{}\"\n{lines}\n",
        text(&golden("model"))
    )
}

#[test]
fn lists_are_a_model_each_from_one_reading_and_voxels_prefer_by_cv_score() {
    let bench = StudyBench::new(2101, 40, 6);
    let lists = spaces("layer = [3, 1]\npast = [0, 4]");
    write_mask(&bench.file("mask.nii"), &inside()[..6]);
    let masked = "bold.s1.mask = \"mask.nii\"";
    let (outcome, out) = bench.run(&[&lists, "output.weights = true", masked], &["-v"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let readings = outcome.stderr.lines().filter(|line| line.contains("layers 3, 1 of"));
    assert_eq!(readings.count(), 2, "one for each past: {}", outcome.stderr);
    let members = ["lm.L3.past0", "lm.L3.past4", "lm.L1.past0", "lm.L1.past4"];
    let run = run_json(&out);
    let names: Vec<&str> = run["spaces"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|s| s["name"].as_str())
        .collect();
    assert_eq!(names, members);
    let cached = std::fs::read_dir(out.join(".cache/words")).expect("a cache").count();
    assert_eq!(cached, 4 * bench.stories.len());

    // Alone, a member has the same numbers, and as much BOLD is read for it as for all of them.
    let (outcome, single) = bench.run(&[&spaces("layer = 1\npast = 4\nwindow = 8")], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for file in ["test_correlation.npy", "cv_scores.npy"] {
        let bytes = |out: &Path, model: &str| {
            std::fs::read(out.join("models/s1").join(model).join(file)).expect("written")
        };
        assert!(bytes(&out, "lm.L1.past4-lagged") == bytes(&single, "lm-lagged"), "{file}");
    }
    let read = |out: &Path| run_json(out)["bold_bytes_read"].as_u64().expect("bytes");
    let n_trs = ["n_train_trs", "n_test_trs"].map(|name| run[name].as_u64().expect("TRs"));
    assert_eq!(read(&out), read(&single));
    assert_eq!(read(&out), n_trs.iter().sum::<u64>() * 6 * 4 * 2, "of two subjects, once");

    let mut rows = csv::Reader::from_path(out.join("preferred.csv")).expect("a table");
    let rows: Vec<std::collections::HashMap<String, String>> =
        rows.deserialize().collect::<Result<_, _>>().expect("rows");
    assert_eq!(rows.len(), 2 * 2 * 4, "subjects, variants, members");
    for (subject, lagged) in [("s1", true), ("s1", false), ("s2", true), ("s2", false)] {
        let suffix = if lagged { "-lagged" } else { "" };
        let best: Vec<Vec<f64>> = members
            .iter()
            .map(|member| {
                let path = out.join(format!("models/{subject}/{member}{suffix}/cv_scores.npy"));
                let scores = npy::read_matrix_f64(&path).expect("scores");
                let columns = scores.columns().into_iter();
                columns.map(|c| c.fold(f64::MIN, |a, &b| a.max(b))).collect()
            })
            .collect();
        let file = |name: &str| {
            read_vector(&out.join(format!("preferred/{subject}/lm{suffix}/{name}.npy")), 6)
        };
        let (layers, pasts) = (file("preferred_layer"), file("preferred_past"));
        let mut counts = [0; 4];
        for voxel in 0..6 {
            let most = (0..4).rev().max_by(|&a, &b| best[a][voxel].total_cmp(&best[b][voxel]));
            let most = most.expect("four");
            counts[most] += 1;
            assert_eq!(
                (layers[voxel], pasts[voxel]),
                ([3., 3., 1., 1.][most], [0., 4., 0., 4.][most])
            );
        }
        for (member, count) in members.iter().zip(counts) {
            let own = |row: &&std::collections::HashMap<String, String>| {
                row["subject"] == subject
                    && row["model"] == *member
                    && row["lagged"] == lagged.to_string()
            };
            let row = rows.iter().find(own).expect("a row");
            assert_eq!(
                (&row["space"], &row["n_preferring"]),
                (&"lm".to_owned(), &count.to_string())
            );
            assert_eq!(row["n_voxels"], "6");
        }
    }
    let nifti = bench.file("nifti");
    let outcome = voxelcast(&["report", text(&out), "--nifti", text(&nifti)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for name in ["preferred_layer", "preferred_past"] {
        let own = read_vector(&out.join(format!("preferred/s1/lm-lagged/{name}.npy")), 6);
        let path = nifti.join(format!("preferred/s1/lm-lagged/{name}.nii.gz"));
        let volume = read_volume(&path).expect("an image");
        let image: Vec<f64> =
            inside()[..6].iter().map(|&at| f64::from(volume.values[at])).collect();
        assert_eq!(image, own, "{name}");
    }
    assert!(!nifti.join("preferred/s2").exists(), "s2 has no mask");

    let page = std::fs::read_to_string(out.join("report.html")).expect("a page");
    assert!(page.contains("Which layer, and how much of the past?"));

    // Other stories are read as the study's were.
    let predicted = bench.out();
    let words = bench.file("words.tsv");
    let flags = [
        "predict",
        "-v",
        "--model",
        text(&out),
        "--stories",
        text(&words),
        "--out",
        text(&predicted),
    ];
    let outcome = voxelcast(&flags);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(predicted.join("s2/lm.L3.past4-lagged/story5.npy").is_file());
    let readings = outcome.stderr.lines().filter(|line| line.contains(": layer"));
    assert_eq!(readings.count(), 2, "one for each past, all subjects: {}", outcome.stderr);

    // Without lists nothing is left of them.
    let outcome = bench.run_into(&out, &[&spaces("layer = 1\npast = 4")], &["--force"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(!out.join("preferred").exists() && !out.join("preferred.csv").exists());
}

#[test]
fn what_a_causal_space_cannot_be_is_refused_before_anything_is_read() {
    let bench = StudyBench::new(2102, 30, 4);
    let bert = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert_family/bert");
    let wrong = |kind: &str, model: &Path| {
        format!("spaces = [[space]]\nkind = \"{kind}\"\nmodel = \"{}\"\n", text(model))
    };
    for (spaces, code, says) in [
        (spaces("layer = 4"), 2, "0 (embeddings) to 3, got 4"),
        (spaces("past = 40"), 2, "0 to 39 pieces, got 40"),
        (spaces("window = 41\npast = 4"), 2, "5 to 40 pieces, got 41"),
        (spaces("layer = [1, 1]"), 2, "each once"),
        (spaces("context = \"past\""), 2, "no such key for kind = \"lm\""),
        (wrong("lm", &bert), 2, "write kind = \"bert\""),
        (wrong("bert", &golden("model")), 2, "write kind = \"lm\""),
        (wrong("lm", Path::new("some/model")), 3, "some/model"),
    ] {
        let (outcome, _) = bench.run(&[&spaces], &[]);
        outcome.refused(code, &[says]);
        bench.check(&[&spaces]).refused(code, &[says]);
    }
}
