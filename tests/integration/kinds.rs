//! Kinds of features: rows from files, columns of tables, english1000, letters, phones, positions.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, s};
use serde_json::Value;
use voxelcast::features::position::position;
use voxelcast::io::npy;

use super::naive::column_correlations;
use super::study_command::{design_by_hand, run_json};
use super::workbench::{
    HEAD, Outcome, StudyBench, TAIL, normal, read_matrix, read_vector, seeded, text, voxelcast,
    wide, write_f32,
};

const N_VOXELS: usize = 8;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/kinds").join(name)
}

fn spaces(text: &str) -> String {
    format!("spaces = {text}")
}

#[track_caller]
fn ran(bench: &StudyBench, lines: &[&str]) -> PathBuf {
    let (outcome, out) = bench.run(lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

/// The bytes of a model's arrays.
fn arrays(out: &Path, subject: &str, model: &str) -> Vec<Vec<u8>> {
    ["test_correlation.npy", "best_alpha.npy", "cv_scores.npy", "weights.safetensors"]
        .map(|name| {
            let path = out.join("models").join(subject).join(model).join(name);
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .to_vec()
}

/// `voxelcast features` of the bench's words.
#[track_caller]
fn features(bench: &StudyBench, flags: &[&str]) -> PathBuf {
    let (words, out) = (bench.file("words.tsv"), bench.out());
    let mut args = vec!["features", "--stories", text(&words), "--out", text(&out)];
    args.extend(flags);
    let outcome = voxelcast(&args);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

/// Raw TRs of every story, as respdict.json has them.
fn respdict(bench: &StudyBench) -> PathBuf {
    let counts = bench.stories.iter().map(|story| {
        let raw = story.n_rows + HEAD + TAIL + 5;
        (story.name.clone(), Value::from(raw))
    });
    let path = bench.file("respdict.json");
    let text = Value::Object(counts.collect()).to_string();
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn rows_of_features_read_back_give_the_same_bytes_as_their_kind() {
    let bench = StudyBench::new(4101, 40, N_VOXELS);
    let (vectors, counts) = (bench.file("vectors.txt"), respdict(&bench));
    let glove = ["--kind", "glove", "--vectors", text(&vectors), "--n-trs", text(&counts), "--f64"];
    let made = features(&bench, &glove);
    let (words, trs) = (made.join("{story}.words.npy"), made.join("{story}.trs.npy"));
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"words\"\nkind = \"file\"\npath = {:?}\n\
         [[space]]\nname = \"trs\"\nkind = \"file\"\npath = {:?}\nrows = \"trs\"\n\
         [[space]]\nkind = \"word_rate\"\n\
         [[space]]\nname = \"both\"\ncombine = [\"glove\", \"word_rate\"]\nbanded = true\n\
         [[space]]\nname = \"both_trs\"\ncombine = [\"trs\", \"word_rate\"]\nbanded = true\n",
        text(&words),
        text(&trs)
    ));
    for zscore in ["design.zscore = \"story\"", "design.zscore = \"train\""] {
        let lines =
            [&spaces, zscore, "bands.n_iter = 3", "partition.spaces = [\"words\", \"trs\"]"];
        let out = ran(&bench, &lines);
        for model in ["", "-lagged"] {
            let of = |space: &str| arrays(&out, "s2", &format!("{space}{model}"));
            assert!(of("glove") == of("words"), "{zscore}{model}");
            assert!(of("glove") == of("trs"), "{zscore}{model}");
            assert!(of("both") == of("both_trs"), "{zscore}{model}");
        }
    }
    // The default is f32, as the rows of words are.
    let f32s = features(&bench, &glove[..6]);
    for (folder, name, dtype) in
        [(&made, "words", "f4"), (&made, "trs", "f8"), (&f32s, "trs", "f4")]
    {
        let file = npy::NpyFile::open(&folder.join(format!("story0.{name}.npy"))).expect("whole");
        assert!(file.dtype().to_string().ends_with(dtype), "{name}");
    }
}

#[test]
fn rows_of_trs_may_be_trimmed_already_and_lie_in_one_file() {
    let bench = StudyBench::new(4102, 30, N_VOXELS);
    let rng = &mut seeded(1);
    let mut arrays_of_stories = Vec::new();
    for folder in ["all", "kept"] {
        std::fs::create_dir(bench.file(folder)).expect("made");
    }
    for story in &bench.stories {
        let rows = normal(rng, story.n_rows + HEAD + TAIL, 3);
        let kept = rows.slice(s![HEAD..HEAD + story.n_rows, ..]).to_owned();
        write_f32(&bench.file(&format!("all/{}.npy", story.name)), &rows);
        write_f32(&bench.file(&format!("kept/{}.npy", story.name)), &kept);
        arrays_of_stories.push((story.name.clone(), rows));
    }
    write_safetensors(&bench.file("all.safetensors"), &arrays_of_stories);
    let space = |name: &str, keys: &str| {
        format!("[[space]]\nname = \"{name}\"\nkind = \"file\"\nrows = \"trs\"\n{keys}\n")
    };
    let spaces = spaces(
        &[
            space("all", "path = \"all/{story}.npy\""),
            space("kept", "path = \"kept/{story}.npy\""),
            space("one", "path = \"all.safetensors\"\ndataset = \"{story}\""),
        ]
        .concat(),
    );
    let out = ran(&bench, &[&spaces, "stability.splits = 2"]);
    for model in ["", "-lagged"] {
        let of = |space: &str| arrays(&out, "s1", &format!("{space}{model}"));
        assert!(of("all") == of("kept") && of("all") == of("one"), "{model}");
    }
    // Nothing was resampled: the model is the ridge of the z-scored rows. r of its predictions, by
    // hand from the weights, is the run's.
    let bytes = std::fs::read(out.join("models/s1/all/weights.safetensors")).expect("there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
    let weights = tensors.tensor("weights").expect("there").data().chunks_exact(4).map(number);
    let weights = Array2::from_shape_vec((3, N_VOXELS), weights.collect()).expect("its shape");
    let kept = wide(&npy::read_matrix_f32(&bench.file("kept/story5.npy")).expect("written"));
    let z = (&kept - &kept.mean_axis(Axis(0)).expect("rows")) / kept.std_axis(Axis(0), 0.0);
    let bold = wide(&npy::read_matrix_f32(&bench.file("s1/story5.npy")).expect("written"));
    let by_hand = column_correlations(&z.dot(&weights), &bold);
    let runs = read_vector(&out.join("models/s1/all/test_correlation.npy"), N_VOXELS);
    for (ours, runs) in by_hand.iter().zip(runs) {
        assert!((ours - runs).abs() < 1e-5, "{ours} {runs}");
    }
}

/// f32 tensors by name.
fn write_safetensors(path: &Path, arrays: &[(String, Array2<f32>)]) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = arrays
        .iter()
        .map(|(name, x)| {
            let bytes = x.iter().flat_map(|x| x.to_le_bytes()).collect();
            (name.clone(), x.shape().to_vec(), bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.clone(), view.expect("a whole tensor"))
    });
    let written = safetensors::serialize(views, None).expect("serialised");
    std::fs::write(path, written).expect("written");
}

/// Rows at the words' own middles, as rows of times, are rows of words.
#[test]
fn rows_with_times_of_their_own_are_resampled_from_these() {
    let bench = StudyBench::new(4103, 30, N_VOXELS);
    let vectors = bench.file("vectors.txt");
    let made = features(&bench, &["--kind", "glove", "--vectors", text(&vectors)]);
    for story in &bench.stories {
        let mids: Vec<f64> =
            story.onset_s.iter().zip(&story.offset_s).map(|(a, b)| 0.5 * a + 0.5 * b).collect();
        npy::write(&made.join(format!("{}.s.npy", story.name)), &[mids.len()], &mids)
            .expect("written");
    }
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"moments\"\nkind = \"file\"\nrows = \"times\"\npath = {:?}\ntimes = {:?}\n",
        text(&made.join("{story}.words.npy")),
        text(&made.join("{story}.s.npy"))
    ));
    let out = ran(&bench, &[&spaces]);
    for model in ["", "-lagged"] {
        let of = |space: &str| arrays(&out, "s1", &format!("{space}{model}"));
        assert!(of("glove") == of("moments"), "{model}");
    }
    npy::write(&made.join("story2.s.npy"), &[3], &[0.0f64, 1.0, 2.0]).expect("written");
    let n_words = bench.stories[2].words.len().to_string();
    refused(&bench, &spaces, &["\"story2\"", "3 (the times in", &n_words]);
}

/// `run` and `check` both refuse it as data.
#[track_caller]
fn refused(bench: &StudyBench, spaces: &str, parts: &[&str]) {
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
fn rows_of_words_count_marks_or_do_not_and_any_other_count_is_told() {
    let bench = StudyBench::new(4104, 30, N_VOXELS);
    // A mark behind every tenth word: at its end, so that it is no word's time.
    let mut lines = String::from("story\tonset\toffset\tword\n");
    let mut n_entries = Vec::new();
    for story in &bench.stories {
        let mut n = 0;
        for (i, word) in story.words.iter().enumerate() {
            let (name, onset, offset) = (&story.name, story.onset_s[i], story.offset_s[i]);
            writeln!(lines, "{name}\t{onset}\t{offset}\t{word}").expect("text");
            n += 1;
            if i % 10 == 0 {
                writeln!(lines, "{name}\t{offset}\t{offset}\t<noise>").expect("text");
                n += 1;
            }
        }
        n_entries.push(n);
    }
    std::fs::write(bench.file("words.tsv"), lines).expect("written");
    let rng = &mut seeded(2);
    for folder in ["with", "without"] {
        std::fs::create_dir(bench.file(folder)).expect("made");
    }
    for (story, &n_entries) in bench.stories.iter().zip(&n_entries) {
        let rows = normal(rng, n_entries, 2);
        // Behind words 0, 10, 20 … stands a mark: rows 1, 12, 23, ….
        let is_word = |row: &usize| row % 11 != 1;
        let own: Vec<usize> = (0..n_entries).filter(is_word).collect();
        assert_eq!(own.len(), story.words.len());
        write_f32(&bench.file(&format!("with/{}.npy", story.name)), &rows);
        let words = rows.select(Axis(0), &own);
        write_f32(&bench.file(&format!("without/{}.npy", story.name)), &words);
    }
    let spaces = spaces(
        "[[space]]\nname = \"with\"\nkind = \"file\"\npath = \"with/{story}.npy\"\n\
         [[space]]\nname = \"without\"\nkind = \"file\"\npath = \"without/{story}.npy\"\n",
    );
    let out = ran(&bench, &[&spaces]);
    assert!(arrays(&out, "s1", "with-lagged") == arrays(&out, "s1", "without-lagged"));

    write_f32(&bench.file("with/story3.npy"), &normal(rng, 5, 2));
    let (n_words, n) = (bench.stories[3].words.len(), n_entries[3]);
    let numbers = [format!("{n_words} (words)"), format!("{n} (with the marks"), "got 5".into()];
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    refused(&bench, &spaces, &[&["\"story3\"", "with/story3.npy"][..], &numbers].concat());
    let as_trs = spaces.replace("with/{story}.npy\"\n", "with/{story}.npy\"\nrows = \"trs\"\n");
    let (kept, all) = (bench.stories[0].n_rows, bench.stories[0].n_rows + HEAD + TAIL);
    let numbers = [
        format!("{kept} (the BOLD's rows)"),
        format!("{all} (TRs before the trim)"),
        format!("got {}", n_entries[0]),
    ];
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    refused(&bench, &as_trs, &[&["\"story0\""][..], &numbers].concat());

    write_f32(&bench.file("with/story3.npy"), &normal(rng, n, 7));
    refused(&bench, &spaces, &["\"story3\"", "columns of", "2 as in", "got 7"]);
    std::fs::remove_file(bench.file("with/story3.npy")).expect("removed");
    refused(&bench, &spaces, &["\"story3\"", "with/story3.npy", "found nothing"]);
    let mut rows = normal(rng, n, 2);
    rows[[4, 1]] = f32::NAN;
    write_f32(&bench.file("with/story3.npy"), &rows);
    let (outcome, _) = bench.run(&[&spaces], &[]);
    outcome.refused(3, &["\"story3\"", "row 4, column 1", "NaN"]);
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
fn predict(bench: &StudyBench, model: &Path, flags: &[&str]) -> PathBuf {
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
    let spaces = spaces(
        "[[space]]\nkind = \"position\"\n\
         [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"mixed\"\ncombine = [\"position\", \"glove\"]\n\
         [[space]]\nname = \"banded\"\ncombine = [\"position\", \"glove\"]\nbanded = true\n\
         [[space]]\nname = \"by_hand\"\nkind = \"file\"\npath = \"p/{story}.npy\"\nrows = \"trs\"\n",
    );
    let partition = "partition.spaces = [\"glove\", \"position\"]";
    let lines = [spaces.as_str(), partition, "bands.n_iter = 1", "stability.splits = 2"];
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
    let expected = [
        "banded",
        "banded-lagged",
        "by_hand",
        "by_hand-lagged",
        "glove",
        "glove-lagged",
        "mixed",
        "mixed-lagged",
        "position",
    ];
    assert_eq!(models("s1"), expected, "position alone has one model");
    let n_coefs = |model: &str| {
        let run = run_json(&out);
        let of = |info: &&Value| info["folder"] == model || info["name"] == model;
        run["models"]
            .as_array()
            .expect("a list")
            .iter()
            .find(of)
            .map(|info| info["n_coefs"].clone())
    };
    println!("{:?}", n_coefs("mixed-lagged"));
    let r = |model: &str| {
        read_vector(&out.join(format!("models/s1/{model}/test_correlation.npy")), N_VOXELS)
    };
    // Undelayed, what was written out by hand (z-scored again, which changes the zeros before the
    // first TR by little) is nearly the lagged combination; the bands' first point is equal weights.
    for (a, b, most) in [("mixed-lagged", "by_hand", 0.05), ("mixed-lagged", "banded-lagged", 1e-5)]
    {
        for (x, y) in r(a).iter().zip(r(b)) {
            assert!((x - y).abs() < most, "{a} {b}: {x} {y}");
        }
    }
    let parts = |model: &str| r(&format!("partition.{model}"));
    for (x, y) in r("mixed-lagged").iter().zip(parts("glove+position-lagged")) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }
    for (x, y) in r("position").iter().zip(parts("position-lagged")) {
        assert!((x - y).abs() < 1e-5, "{x} {y}");
    }

    // Saved weights predict what the run scored, for every form of a design.
    for more in ["design.delay_preset = \"story\"", "design.delay_preset = \"huth-stacked\""] {
        let out = ran(&bench, &[&spaces, more, "bands.n_iter = 1"]);
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
fn write_grids(bench: &StudyBench, folder: &Path) {
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

#[test]
fn predict_finds_the_rows_of_new_stories_under_the_same_pattern() {
    let bench = StudyBench::new(4110, 30, N_VOXELS);
    let vectors = bench.file("vectors.txt");
    let made = features(&bench, &["--kind", "glove", "--vectors", text(&vectors)]);
    let pattern = made.join("{story}.words.npy");
    let spaces = spaces(&format!(
        "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
         [[space]]\nname = \"rows\"\nkind = \"file\"\npath = {:?}\n\
         [[space]]\nkind = \"word_length\"\n\
         [[space]]\nname = \"all\"\ncombine = [\"rows\", \"word_length\"]\n",
        text(&pattern)
    ));
    let out = ran(&bench, &[&spaces]);
    // A story that the study has not: the words and rows of story4 under another name.
    let words = std::fs::read_to_string(bench.file("words.tsv")).expect("there");
    let new: Vec<String> = words
        .lines()
        .filter(|line| line.starts_with("story\t") || line.starts_with("story4\t"))
        .map(|line| line.replace("story4", "new"))
        .collect();
    std::fs::write(bench.file("new.tsv"), new.join("\n") + "\n").expect("written");
    let (stories, n_trs) = (bench.file("new.tsv"), bench.stories[4].n_rows + HEAD + TAIL);
    let n_trs = n_trs.to_string();
    let folder = bench.out();
    let args = |out: &Path| {
        ["predict", "--model", text(out), "--stories", text(&stories), "--n-trs", &n_trs, "--out"]
            .map(str::to_owned)
    };
    let call = |more: &[&str]| {
        let args = args(&out);
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        args.push(text(&folder));
        args.extend(more);
        voxelcast(&args)
    };
    call(&[]).refused(3, &["\"new\"", "new.words.npy", "found nothing"]);
    std::fs::copy(made.join("story4.words.npy"), made.join("new.words.npy")).expect("copied");
    let outcome = call(&[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for model in ["", "-lagged"] {
        let of = |space: &str| {
            std::fs::read(folder.join(format!("s1/{space}{model}/new.npy"))).expect("there")
        };
        assert!(of("rows") == of("glove"), "{model}");
    }
    assert!(folder.join("s2/all-lagged/new.npy").exists());
    // Under another pattern.
    let elsewhere = bench.file("elsewhere");
    std::fs::create_dir(&elsewhere).expect("made");
    std::fs::rename(made.join("new.words.npy"), elsewhere.join("new.npy")).expect("moved");
    let given = format!("rows={}", text(&elsewhere.join("{story}.npy")));
    assert_eq!(call(&["--vectors", &given]).code, 0);
}

#[test]
fn changed_rows_are_another_study_and_flags_of_other_kinds_are_refused() {
    let bench = StudyBench::new(4111, 25, N_VOXELS);
    let rng = &mut seeded(3);
    std::fs::create_dir(bench.file("f")).expect("made");
    for story in &bench.stories {
        write_f32(&bench.file(&format!("f/{}.npy", story.name)), &normal(rng, story.n_rows, 2));
    }
    std::fs::write(bench.file("names.txt"), "loud\nbright\n").expect("written");
    let spaces = spaces(
        "[[space]]\nkind = \"file\"\npath = \"f/{story}.npy\"\nrows = \"trs\"\nnames = \"names.txt\"\n",
    );
    let out = bench.out();
    assert_eq!(bench.run_into(&out, &[&spaces], &[]).code, 0);
    let model = std::fs::read_to_string(out.join("models/s1/file/model.json")).expect("there");
    assert!(model.contains("\"bright\"") && model.contains("{story}.npy"), "{model}");
    write_f32(&bench.file("f/story1.npy"), &normal(rng, bench.stories[1].n_rows, 2));
    bench.run_into(&out, &[&spaces], &[]).refused(3, &["f/story1.npy", "--force"]);
    std::fs::write(bench.file("names.txt"), "loud\n").expect("written");
    refused(&bench, &spaces, &["names.txt", "2, one per column", "got 1"]);

    let (words, out) = (bench.file("words.tsv"), bench.out());
    for (flags, says) in [
        (&["--kind", "word_rate", "--columns", "a"][..], "--columns: it is for --kind column"),
        (&["--kind", "glove", "--what", "rate"], "--what: it is for --kind phones"),
        (&["--kind", "file"], "--kind, path"),
        (&["--kind", "column"], "--kind, columns"),
        (&["--kind", "position", "--vectors", "v"], "--kind, vectors"),
    ] {
        let mut args = vec!["features", "--stories", text(&words), "--out", text(&out)];
        args.extend(flags);
        voxelcast(&args).refused(2, &[says]);
    }
    // Kinds without a row per word write rows of TRs alone.
    let made = features(&bench, &["--kind", "position"]);
    assert!(made.join("story0.trs.npy").exists() && !made.join("story0.words.npy").exists());
}
