//! Kinds of features: columns of tables, english1000, phones, positions. Rows from files are in
//! `kinds_files`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{Axis, s};
use serde_json::Value;
use voxelcast::features::position::position;
use voxelcast::io::npy;

use super::naive::column_correlations;
use super::study_command::{design_by_hand, run_json};
use super::workbench::{
    Outcome, StudyBench, read_matrix, read_vector, text, voxelcast, wide, write_f32,
};

pub const N_VOXELS: usize = 8;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kinds").join(name)
}

pub fn spaces(text: &str) -> String {
    format!("spaces = {text}")
}

#[track_caller]
pub fn ran(bench: &StudyBench, lines: &[&str]) -> PathBuf {
    let (outcome, out) = bench.run(lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

/// The bytes of a model's arrays.
pub fn arrays(out: &Path, subject: &str, model: &str) -> Vec<Vec<u8>> {
    ["test_correlation.npy", "best_alpha.npy", "cv_scores.npy", "weights.safetensors"]
        .map(|name| {
            let path = out.join("models").join(subject).join(model).join(name);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .to_vec()
}

/// `voxelcast features` of the bench's words.
#[track_caller]
pub fn features(bench: &StudyBench, flags: &[&str]) -> PathBuf {
    let (words, out) = (bench.file("words.tsv"), bench.out());
    let mut args = vec!["features", "--stories", text(&words), "--out", text(&out)];
    args.extend(flags);
    let outcome = voxelcast(&args);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

/// `run` and `check` both refuse it as data.
#[track_caller]
pub fn refused(bench: &StudyBench, spaces: &str, parts: &[&str]) {
    let one_line = |outcome: &Outcome| {
        let line = outcome.stderr.lines().find(|line| line.starts_with("error: "));
        let line = line.unwrap_or_else(|| panic!("{outcome:#?}")).to_owned();
        parts.iter().for_each(|part| assert!(line.contains(part), "{part:?} in {line}"));
    };
    let (outcome, _) = bench.run(&[spaces], &[]);
    outcome.refused(3, parts);
    one_line(&outcome);
    let checked = bench.check(&[spaces]);
    checked.refused(3, parts);
    one_line(&checked);
}

#[test]
fn columns_of_the_word_table_are_rows_and_their_gaps_are_counted() {
    let bench = StudyBench::new(4105, 30, N_VOXELS);
    let table = std::fs::read_to_string(bench.file("words.tsv")).expect("written");
    let with = |gap: &str| {
        let mut lines = String::new();
        for (i, line) in table.lines().enumerate() {
            let number = match i {
                0 => "Sur Prisal\tlog_freq".to_owned(),
                3 => format!("{gap}\t0.25"),
                _ => format!("{}\t{}", (i * 7 % 11) as f64 / 4.0, i % 5),
            };
            writeln!(lines, "{line}\t{number}").expect("text");
        }
        std::fs::write(bench.file("words.tsv"), lines).expect("written");
    };
    with("n/a");
    let column = "[[space]]\nkind = \"column\"\ncolumns = [\"surprisal\", \"log_freq\"]\n";
    let made = features(&bench, &["--kind", "column", "--columns", "surprisal,log_freq"]);
    let rows = read_matrix(&made.join("story0.words.npy"), (bench.stories[0].words.len(), 2));
    // Lines 2, 3, 4, … of the file; the number of line 4 (i = 3) is missing.
    assert_eq!(rows.slice(s![..4, 0]).to_vec(), [7.0 / 4.0, 3.0 / 4.0, 0.0, 6.0 / 4.0]);
    assert_eq!(rows.slice(s![..4, 1]).to_vec(), [1.0, 2.0, 0.25, 4.0]);
    let summary = std::fs::read_to_string(made.join("features.json")).expect("there");
    assert!(summary.contains("\"surprisal\""), "{summary}");
    let read_back = format!(
        "[[space]]\nname = \"back\"\nkind = \"file\"\npath = {:?}\n",
        text(&made.join("{story}.words.npy"))
    );
    let (outcome, out) = bench.run(&[&spaces(&format!("{column}{read_back}"))], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let note = "column \"surprisal\": 1 words have no number and count as 0 (story0: 1)";
    assert!(outcome.stderr.contains(note), "{outcome:#?}");
    assert!(run_json(&out)["notes"].to_string().contains("1 words have no number"));
    assert!(arrays(&out, "s1", "column-lagged") == arrays(&out, "s1", "back-lagged"));
    assert!(bench.check(&[&spaces(column)]).stderr.contains(note));
    with("much");
    refused(&bench, &spaces(column), &["words.tsv", "line 4", "surprisal", "\"much\""]);
    let other = column.replace("log_freq", "frequency");
    with("1");
    refused(&bench, &spaces(&other), &["no column \"frequency\"", "\"log_freq\""]);
    let grid = bench.file("grids");
    write_grids(&bench, &grid);
    let (outcome, _) = bench.run(&[&spaces(column), "stories.path = \"grids\""], &[]);
    outcome.refused(3, &["\"story0\"", "table", ".TextGrid"]);
}

/// english1000 in the lab's layout is the same study as the vectors in GloVe's.
#[test]
fn english1000_is_looked_up_as_glove_is() {
    let bench = StudyBench::new(4106, 30, N_VOXELS);
    let known: Value =
        serde_json::from_slice(&std::fs::read(golden("expected.json")).expect("there"))
            .expect("JSON");
    let numbers = |value: &Value| -> Vec<Vec<f64>> {
        serde_json::from_value(value.clone()).expect("a matrix")
    };
    let (data, vocab) = (numbers(&known["data"]), known["vocab"].as_array().expect("a list"));
    let mut lines = String::new();
    for (i, word) in vocab.iter().enumerate() {
        let vector: Vec<String> = data.iter().map(|row| (row[i] as f32).to_string()).collect();
        writeln!(lines, "{} {}", word.as_str().expect("a text"), vector.join(" ")).expect("text");
    }
    std::fs::write(bench.file("glove.txt"), lines).expect("written");
    let vectors = bench.file("glove.txt");
    let wanted = features(&bench, &["--kind", "glove", "--vectors", text(&vectors)]);
    for file in ["bytes.hf5", "text.hf5", "pytables.hf5"] {
        let path = golden(file);
        let made = features(&bench, &["--kind", "eng1000", "--vectors", text(&path)]);
        for story in &bench.stories {
            let of = |folder: &Path| {
                std::fs::read(folder.join(format!("{}.words.npy", story.name))).expect("there")
            };
            assert!(of(&made) == of(&wanted), "{file}");
        }
        let oov = |folder: &Path| {
            let bytes = std::fs::read(folder.join("features.json")).expect("there");
            serde_json::from_slice::<Value>(&bytes).expect("JSON")["n_oov"].clone()
        };
        assert_eq!(oov(&made), oov(&wanted));
    }
    let space = |file: &str| {
        spaces(&format!("[[space]]\nkind = \"eng1000\"\nvectors = {:?}\n", text(&golden(file))))
    };
    let out = ran(&bench, &[&space("bytes.hf5")]);
    let predicted = predict(&bench, &out, &[]);
    assert!(predicted.join("s1/eng1000-lagged/story5.npy").exists());
    let (outcome, _) = bench.run(&[&space("expected.json")], &[]);
    outcome.refused(3, &["expected.json", "not an HDF5 file"]);
}

/// `voxelcast predict` of the study's words.
#[track_caller]
pub fn predict(bench: &StudyBench, model: &Path, flags: &[&str]) -> PathBuf {
    let (words, out) = (bench.file("words.tsv"), bench.out());
    let mut args =
        vec!["predict", "--model", text(model), "--out", text(&out), "--stories", text(&words)];
    args.extend(flags);
    let outcome = voxelcast(&args);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

#[test]
fn position_is_numpys_and_is_never_delayed() {
    let known: Value =
        serde_json::from_slice(&std::fs::read(golden("expected.json")).expect("there"))
            .expect("JSON");
    let wanted: Vec<Vec<f64>> =
        serde_json::from_value(known["position"].clone()).expect("a matrix");
    let ours = position(wanted.len());
    for (row, wanted) in ours.rows().into_iter().zip(&wanted) {
        for (x, wanted) in row.iter().zip(wanted) {
            assert!((x - wanted).abs() <= 2e-16, "{x} {wanted}");
        }
    }

    let bench = StudyBench::new(4107, 40, N_VOXELS);
    std::fs::create_dir(bench.file("p")).expect("made");
    for story in &bench.stories {
        // What a combination with position is: glove delayed by hand, position behind it.
        let index = story.name["story".len()..].parse().expect("a number");
        let x = design_by_hand(&bench, index);
        let delayed = voxelcast::design::delays::delay(x.view(), &[1, 2, 3, 4]).expect("valid");
        let mut p = position(story.n_rows);
        for mut column in p.columns_mut() {
            let mean = column.mean().expect("rows");
            let sd = column.std(0.0);
            column.mapv_inplace(|x| (x - mean) / sd);
        }
        let p = p.mapv(|x| x as f32);
        let all = ndarray::concatenate![Axis(1), delayed, p];
        write_f32(&bench.file(&format!("p/{}.npy", story.name)), &all);
    }
    let of_spaces = spaces(
        "[[space]]\nkind = \"position\"\n\
         [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"mixed\"\ncombine = [\"position\", \"glove\"]\n\
         [[space]]\nname = \"banded\"\ncombine = [\"position\", \"glove\"]\nbanded = true\n",
    );
    let partition = "partition.spaces = [\"glove\", \"position\"]";
    let lines = [of_spaces.as_str(), partition, "bands.n_iter = 1", "stability.splits = 2"];
    let out = ran(&bench, &[&lines[..], &["design.zscore = \"story\""]].concat());
    let models = |subject: &str| {
        let mut names: Vec<String> = std::fs::read_dir(out.join("models").join(subject))
            .expect("there")
            .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
            .filter(|name| !name.starts_with("partition"))
            .collect();
        names.sort();
        names
    };
    let expected =
        ["banded", "banded-lagged", "glove", "glove-lagged", "mixed", "mixed-lagged", "position"];
    assert_eq!(models("s1"), expected, "position alone has one model");
    let r_of = |out: &Path, model: &str| {
        read_vector(&out.join(format!("models/s1/{model}/test_correlation.npy")), N_VOXELS)
    };
    let r = |model: &str| r_of(&out, model);
    let near = |a: &[f64], b: &[f64], what: &str| {
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-5, "{what}: {x} {y}");
        }
    };
    // What was written out by hand, as it is, is the lagged combination.
    let by_hand = spaces(
        "[[space]]\nname = \"by_hand\"\nkind = \"file\"\npath = \"p/{story}.npy\"\nrows = \"trs\"\n",
    );
    let written = ran(&bench, &[&by_hand, "design.zscore = \"none\""]);
    near(&r("mixed-lagged"), &r_of(&written, "by_hand"), "by hand");
    // The bands' parts of r add up to r, which needs each column in its band.
    let bands = out.join("models/s1/banded-lagged/band_correlation.npy");
    let sums = read_matrix(&bands, (2, N_VOXELS)).sum_axis(Axis(0)).to_vec();
    near(&r("banded-lagged"), &sums, "bands");
    let parts = |model: &str| r(&format!("partition.{model}"));
    near(&r("mixed-lagged"), &parts("glove+position-lagged"), "partition");
    near(&r("position"), &parts("position-lagged"), "partition");

    // Saved weights predict what the run scored, for every form of a design.
    for more in ["design.delay_preset = \"story\"", "design.delay_preset = \"huth-stacked\""] {
        let out = ran(&bench, &[&of_spaces, more, "bands.n_iter = 1"]);
        let predicted = predict(&bench, &out, &["--story", "story5"]);
        for model in ["position", "mixed", "mixed-lagged"] {
            let path = predicted.join(format!("s1/{model}/story5.npy"));
            let predictions = read_matrix(&path, (bench.stories[5].n_rows, N_VOXELS));
            let bold = wide(&npy::read_matrix_f32(&bench.file("s1/story5.npy")).expect("there"));
            let own = column_correlations(&predictions, &bold);
            let runs =
                read_vector(&out.join(format!("models/s1/{model}/test_correlation.npy")), N_VOXELS);
            for (x, y) in own.iter().zip(runs) {
                // Stacked, the run's test stories follow on each other; here one is alone.
                assert!((x - y).abs() < 1e-4, "{more} {model}: {x} {y}");
            }
        }
    }
}

/// TextGrids of the bench's stories: each word is two phones, `AH0` or `AH1` and a consonant.
pub fn write_grids(bench: &StudyBench, folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    for story in &bench.stories {
        let end = story.offset_s.last().expect("words") + 1.0;
        let (mut phones, mut words) = (String::new(), String::new());
        for (i, word) in story.words.iter().enumerate() {
            let (onset, offset) = (story.onset_s[i], story.offset_s[i]);
            let middle = 0.5 * (onset + offset);
            let consonant = if i % 2 == 0 { "DH" } else { "B" };
            writeln!(phones, "{onset}\n{middle}\n\"{consonant}\"").expect("text");
            writeln!(phones, "{middle}\n{offset}\n\"AH{}\"", i % 3).expect("text");
            writeln!(words, "{onset}\n{offset}\n\"{word}\"").expect("text");
        }
        let n = story.words.len();
        let grid = format!(
            "File type = \"ooTextFile short\"\n\"TextGrid\"\n\n0\n{end}\n<exists>\n2\n\
             \"IntervalTier\"\n\"phone\"\n0\n{end}\n{}\n{phones}{}\n{end}\n\"sp\"\n\
             \"IntervalTier\"\n\"word\"\n0\n{end}\n{n}\n{words}",
            2 * n + 1,
            story.offset_s.last().expect("words"),
        );
        std::fs::write(folder.join(format!("{}.TextGrid", story.name)), grid).expect("written");
    }
}

#[test]
fn phones_are_read_from_their_tier_at_their_own_times() {
    let bench = StudyBench::new(4108, 30, N_VOXELS);
    let grids = bench.file("grids");
    write_grids(&bench, &grids);
    // The same by hand, as files with times.
    std::fs::create_dir(bench.file("p")).expect("made");
    for story in &bench.stories {
        let (mut rows, mut times) = (Vec::new(), Vec::new());
        for (i, (onset, offset)) in story.onset_s.iter().zip(&story.offset_s).enumerate() {
            let middle = 0.5 * (onset + offset);
            // AH, B, DH.
            rows.extend(if i % 2 == 0 { [0f32, 0., 1.] } else { [0., 1., 0.] });
            rows.extend([1f32, 0., 0.]);
            times.extend([0.5 * onset + 0.5 * middle, 0.5 * middle + 0.5 * offset]);
        }
        let n = times.len();
        let file = |name: &str| bench.file(&format!("p/{}.{name}.npy", story.name));
        npy::write(&file("x"), &[n, 3], &rows).expect("written");
        npy::write(&file("one"), &[n], &vec![1f32; n]).expect("written");
        npy::write(&file("s"), &[n], &times).expect("written");
    }
    let spaces = spaces(
        "[[space]]\nname = \"rate\"\nkind = \"phones\"\n\
         [[space]]\nname = \"which\"\nkind = \"phones\"\nwhat = \"identity\"\nphone_tier = \"phone\"\n\
         [[space]]\nname = \"rate_by_hand\"\nkind = \"file\"\nrows = \"times\"\n\
         path = \"p/{story}.one.npy\"\ntimes = \"p/{story}.s.npy\"\n\
         [[space]]\nname = \"which_by_hand\"\nkind = \"file\"\nrows = \"times\"\n\
         path = \"p/{story}.x.npy\"\ntimes = \"p/{story}.s.npy\"\n",
    );
    let lines = [spaces.as_str(), "stories.path = \"grids\"", "stability.splits = 1"];
    let out = ran(&bench, &lines);
    for space in ["rate", "which"] {
        for lagged in ["", "-lagged"] {
            let of = |space: &str| {
                let model = format!("models/s1/{space}{lagged}/test_correlation.npy");
                read_vector(&out.join(model), N_VOXELS)
            };
            for (x, y) in of(space).iter().zip(of(&format!("{space}_by_hand"))) {
                assert!((x - y).abs() < 1e-5, "{space}{lagged}: {x} {y}");
            }
        }
    }
    let info = run_json(&out)["spaces"][1].clone();
    assert_eq!((&info["kind"], &info["n_features"]), (&"phones".into(), &3.into()));
    let model = std::fs::read_to_string(out.join("models/s1/which/model.json")).expect("there");
    let model: Value = serde_json::from_str(&model).expect("JSON");
    let vocabulary = &model["parts"][0]["features"]["vocabulary"];
    assert_eq!(vocabulary, &serde_json::json!(["AH", "B", "DH"]));
    let predictions = bench.out();
    let args = ["predict", "--model", text(&out), "--stories", text(&grids), "--out"];
    let predicted = voxelcast(&[&args[..], &[text(&predictions)]].concat());
    assert_eq!(predicted.code, 0, "{predicted:#?}");
    assert!(predictions.join("s2/which-lagged/story5.npy").exists());
}

/// TextGrids and rows of `make.py`.
#[test]
fn phones_are_those_of_ridge_utils_at_every_tr() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/phones");
    let expected = std::fs::read_to_string(folder.join("expected.json")).expect("there");
    let expected: Value = serde_json::from_str(&expected).expect("JSON");
    let number = |name: &str| expected[name].to_string();
    let timing = ["tr_s", "first_tr_s", "n_trs"].map(number);
    let out = tempfile::tempdir().expect("a folder");
    let written = |what: &str| {
        let out = out.path().join(what);
        let outcome = voxelcast(&[
            "features",
            "--kind",
            "phones",
            "--what",
            what,
            "--f64",
            "--stories",
            text(&folder),
            "--tr-s",
            &timing[0],
            &format!("--first-tr-s={}", timing[1]),
            "--n-trs",
            &timing[2],
            "--out",
            text(&out),
        ]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        ["walk", "talk"].map(|story| {
            npy::read_matrix_f64(&out.join(format!("{story}.trs.npy"))).expect("written")
        })
    };
    let (identity, rate) = (written("identity"), written("rate"));
    let features = std::fs::read_to_string(out.path().join("identity/features.json"));
    let features: Value = serde_json::from_str(&features.expect("there")).expect("JSON");
    assert_eq!(features["names"], expected["phonemes"]);
    for (i, story) in ["walk", "talk"].into_iter().enumerate() {
        let theirs: Vec<Vec<f64>> = serde_json::from_value(expected[story].clone()).expect("rows");
        assert_eq!(identity[i].dim(), (theirs.len(), theirs[0].len()));
        for (tr, theirs) in theirs.iter().enumerate() {
            for (x, y) in identity[i].row(tr).iter().zip(theirs) {
                assert!((x - y).abs() < 1e-12, "{story}, TR {tr}: {x} {y}");
            }
            // Marks have no column there, and no phone is rated twice.
            let sum: f64 = theirs.iter().sum();
            assert!((rate[i][[tr, 0]] - sum).abs() < 1e-12, "{story}, TR {tr}: the rate");
        }
    }
}

#[test]
fn phones_need_textgrids_and_a_tier_that_is_known() {
    let bench = StudyBench::new(4109, 25, N_VOXELS);
    let phones = spaces("[[space]]\nkind = \"phones\"\n");
    refused(&bench, &phones, &["\"story0\"", "TextGrid", "words.tsv"]);
    write_grids(&bench, &bench.file("grids"));
    let wrong = spaces("[[space]]\nkind = \"phones\"\nphone_tier = \"segments\"\n");
    let (outcome, _) = bench.run(&[&wrong, "stories.path = \"grids\""], &[]);
    outcome.refused(3, &["no tier \"segments\"", "\"phone\" (\"DH\""]);
}
