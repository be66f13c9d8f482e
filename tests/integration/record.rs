//! What a results folder says of its study: run.json, the copy of STUDY.toml, `voxelcast show`.

use std::path::Path;

use serde_json::{Value, json};
use voxelcast::study_file::keys::keys;

use super::faults::assert_same;
use super::study_command::{results, run_json};
use super::workbench::{GLOVE_ONLY, StudyBench, command, text, voxelcast};

/// The tiny BERT of the golden values.
fn bert() -> String {
    text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/bert_family/bert")).to_owned()
}

/// Every kind of space that needs no training.
fn spaces() -> String {
    format!(
        "spaces = [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nkind = \"bow\"\nmin_count = 2\n[[space]]\nkind = \"word_rate\"\n\
         [[space]]\nname = \"bert\"\nkind = \"bert\"\nmodel = \"{}\"\nwindow = 16\n\
         [[space]]\nname = \"both\"\ncombine = [\"glove\", \"word_rate\"]\nbanded = true\n\
         [[space]]\nname = \"lm\"\nkind = \"lm\"\nmodel = \"{}\"\nlayer = [2]\npast = 4\n",
        bert(),
        text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal_words/model"))
    )
}

#[test]
fn run_json_has_every_key_of_the_study_with_the_value_that_was_taken() {
    let bench = StudyBench::new(2201, 40, 12);
    let spaces = spaces();
    let lines = [spaces.as_str(), "bands.n_iter = 3", "ridge.alpha_convention = \"huth\""];
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let run = run_json(&out);
    let study = &run["study"];
    // Those of an encoder that is trained, of files, tables and TextGrids are in the unit test of the
    // same record.
    let trained = [
        "trained",
        "epoch",
        "path",
        "dataset",
        "rows",
        "times",
        "names",
        "columns",
        "what",
        "phone_tier",
    ];
    for key in keys().filter(|key| key.section != "space" || !trained.contains(&key.name)) {
        let tables: Vec<&Value> = match key.section {
            "bold" => vec![&study["bold"]["s1"]],
            "space" => study["space"].as_array().expect("a list").iter().collect(),
            section => vec![&study[section]],
        };
        let has = |table: &&Value| table.as_object().is_some_and(|t| t.contains_key(key.name));
        assert!(tables.iter().any(has), "[{}] {}", key.section, key.name);
    }
    let space = |at: usize, key: &str| study["space"][at][key].clone();
    assert_eq!((space(0, "vectors"), space(1, "min_count")), (json!("vectors.txt"), json!(2)));
    // What the model's files decided: the last of its layers, half a window.
    assert_eq!((space(3, "layer"), space(3, "window")), (json!(2), json!(16)));
    assert_eq!((space(3, "stride"), space(3, "context")), (json!(7), json!("both")));
    assert_eq!(
        (&study["split"]["test"], &study["split"]["n_test"]),
        (&json!(["story5"]), &Value::Null)
    );
    assert_eq!(study["encoder"]["stride"], json!(128));
    assert_eq!(
        (&study["ridge"]["solver"], &run["models"][0]["route"]),
        (&json!("auto"), &json!("gram"))
    );
    let (given, taken) = (&study["ridge"]["alphas"][1], &run["alphas"][1]);
    assert_eq!(given.as_f64().map(|alpha| alpha * alpha), taken.as_f64());
    // What was there before is where it was.
    for key in
        ["/split/train", "/split/test", "/folds", "/warnings", "/device", "/version", "/commit"]
    {
        assert!(run.pointer(key).is_some(), "{key}");
    }
    assert_eq!(
        (&run["settings"]["folds"], &run["settings"]["scorer"]),
        (&json!(5), &json!("correlation"))
    );
    assert_eq!(run["notes"], json!([]));
}

#[test]
fn a_study_run_again_from_its_results_folder_equals_it() {
    let bench = StudyBench::new(2202, 40, 12);
    let lines = ["stability.splits = 1"];
    let (outcome, out) = bench.run(&lines, &["--folds", "3"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    // The user's file goes on; the copy does not change with it.
    std::fs::write(bench.file("STUDY.toml"), "[stories]").expect("written");
    let elsewhere = tempfile::tempdir().expect("there is a temporary folder");
    let kept = elsewhere.path().join("kept");
    std::fs::create_dir(&kept).expect("made");
    std::fs::copy(out.join("STUDY.toml"), kept.join("STUDY.toml")).expect("copied");
    // Beside the first, for model.json: the way to the vectors is from there.
    let again = bench.out();
    let mut run = command(&["run", "kept/STUDY.toml", "--out", text(&again)]);
    let done = run.current_dir(elsewhere.path()).output().expect("it starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_same(&results(&again), &results(&out), "again");
    let folds =
        |out: &Path| (run_json(out)["folds"].clone(), run_json(out)["study"]["ridge"].clone());
    assert_eq!(folds(&again), folds(&out));
    let read = |out: &Path| std::fs::read(out.join("STUDY.toml")).expect("it is there");
    assert_eq!(read(&again), read(&out), "a copy of a copy");
}

#[test]
fn a_study_file_of_the_user_in_the_results_folder_is_left_alone() {
    let bench = StudyBench::new(2203, 40, 8);
    let out = bench.out();
    std::fs::create_dir(&out).expect("made");
    std::fs::write(out.join("STUDY.toml"), "# mine").expect("written");
    let outcome = bench.run_into(&out, &[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("is left as it is"), "{}", outcome.stderr);
    assert_eq!(std::fs::read_to_string(out.join("STUDY.toml")).expect("there"), "# mine");
}

#[test]
fn show_says_in_ten_lines_what_was_run_and_what_came_out() {
    let bench = StudyBench::new(2204, 40, 12);
    let (outcome, out) = bench.run(&[], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let shown = voxelcast(&["show", text(&out)]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    assert_eq!(shown.stdout.lines().count(), 10, "{}", shown.stdout);
    let again = format!("voxelcast run {}", text(&out.join("STUDY.toml")));
    for part in [
        "s1 (12 voxels)",
        "5 to train on in 5 folds",
        "story5",
        "trim 10:5",
        "taken: gram",
        "min_count 1",
        "mean r",
        &again,
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    let json = voxelcast(&["show", text(&out), "--json"]);
    let document: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(document["schema"], "voxelcast.show/1");
    assert_eq!(document["show"]["run"]["fingerprint"], run_json(&out)["fingerprint"]);
    assert_eq!(document["show"]["summary"].as_array().map(Vec::len), Some(16));
    voxelcast(&["show", text(&bench.file("s1"))]).refused(3, &["no finished run"]);
}

#[test]
fn no_subject_or_space_is_called_as_a_file_of_the_results() {
    let bench = StudyBench::new(2205, 30, 4);
    for name in ["noise_ceiling.npy", "mask.nii.gz", "pixels.npy", "encoders", "Models.json"] {
        let space = format!("spaces = [[space]]\nname = \"{name}\"\nkind = \"word_rate\"\n");
        bench.check(&[&space]).refused(2, &[name, "file of the results"]);
        let study = std::fs::read_to_string(bench.settings(&[GLOVE_ONLY])).expect("there");
        let study = study.replace("[bold.s1]", &format!("[bold.\"{name}\"]"));
        std::fs::write(bench.file("other.toml"), study).expect("written");
        voxelcast(&["check", text(&bench.file("other.toml"))])
            .refused(2, &[name, "file of the results"]);
    }
}
