//! `voxelcast predict` and `score`: against the run's own scores and a product by hand; refusals.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde_json::Value;
use voxelcast::design::delays::delay;

use super::naive::column_correlations;
use super::study_command::design_by_hand;
use super::workbench::{
    GLOVE_ONLY, Outcome, StudyBench, read_matrix, read_vector, text, voxelcast, wide, write_f32,
};

const N_VOXELS: usize = 40;
const TEST: [&str; 2] = ["story5", "story0"];

/// Every kind of space, and combinations with and without sparse parts.
const SPACES: &str = "spaces = [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
    [[space]]\nname = \"w2v\"\nkind = \"word2vec\"\nvectors = \"vectors.w2v.txt\"\n\
    [[space]]\nkind = \"bow\"\nmin_count = 2\n[[space]]\nkind = \"word_rate\"\n\
    [[space]]\nname = \"dense\"\ncombine = [\"glove\", \"word_rate\"]\n\
    [[space]]\nname = \"mixed\"\ncombine = [\"bow\", \"w2v\"]\n";

fn bench(seed: u64) -> StudyBench {
    let bench = StudyBench::new(seed, 40, N_VOXELS);
    let vectors = std::fs::read_to_string(bench.file("vectors.txt")).expect("it is there");
    let (n, dim) = (vectors.lines().count(), 6);
    std::fs::write(bench.file("vectors.w2v.txt"), format!("{n} {dim}\n{vectors}"))
        .expect("written");
    bench
}

/// A finished run with weights.
#[track_caller]
fn fitted(bench: &StudyBench, lines: &[&str]) -> PathBuf {
    let lines = [&["split.test = [\"story5\", \"story0\"]", "ridge.folds = 4"], lines].concat();
    let (outcome, out) = bench.run(&lines, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    out
}

/// `voxelcast predict` of the study's words with more flags, into a fresh folder.
fn predict(bench: &StudyBench, model: &Path, flags: &[&str]) -> (Outcome, PathBuf) {
    let (words, out) = (bench.file("words.tsv"), bench.out());
    let mut args = vec!["predict", "--model", text(model), "--out", text(&out)];
    if !flags.contains(&"--stories") {
        args.extend(["--stories", text(&words)]);
    }
    args.extend(flags);
    (voxelcast(&args), out)
}

fn score(bench: &StudyBench, predictions: &Path, flags: &[&str]) -> (Outcome, PathBuf) {
    let (bold, out) = (bench.file("{subject}/{story}.npy"), bench.out());
    let mut args = vec!["score", "--predictions", text(predictions), "--out", text(&out)];
    if !flags.contains(&"--bold") {
        args.extend(["--bold", text(&bold)]);
    }
    args.extend(flags);
    (voxelcast(&args), out)
}

/// The same predictions to the bit: sums in f64 in another order, and r rounded to f32.
const LAST_DIGIT: f64 = f32::EPSILON as f64;

/// How far r of predictions that were written may be from r of those that were not: a value is off
/// by ε₃₂/2 of itself at most, which moves r by up to ε₃₂ · max |p| / sd p; and r is f32 itself.
fn rounding(predicted: &Array2<f64>) -> Vec<f64> {
    let of_voxel = |p: ndarray::ArrayView1<'_, f64>| {
        let most = p.iter().fold(0f64, |most, p| most.max(p.abs()));
        f64::from(f32::EPSILON) * (1.0 + most / p.std(0.0))
    };
    predicted.columns().into_iter().map(of_voxel).collect()
}

/// Predicts the study's test stories, scores them, and holds r of every model, over all and story
/// by story, against the run's; the largest difference beyond what writing costs, and the largest.
#[track_caller]
fn differences(bench: &StudyBench, out: &Path, flags: &[&str]) -> (f64, f64) {
    let flags = [&["--story", TEST[0], "--story", TEST[1]], flags].concat();
    let (predicted, folder) = predict(bench, out, &flags);
    assert_eq!(predicted.code, 0, "{predicted:#?}");
    let (scored, scores) = score(bench, &folder, &[]);
    assert_eq!(scored.code, 0, "{scored:#?}");
    let (mut beyond, mut most, mut n_models) = (f64::NEG_INFINITY, 0f64, 0);
    for subject in ["s1", "s2"] {
        for model in std::fs::read_dir(out.join("models").join(subject)).expect("it is there") {
            let below = Path::new(subject).join(model.expect("readable").file_name());
            let read = |folder: &Path| {
                let folder = folder.join(&below);
                let total = read_vector(&folder.join("test_correlation.npy"), N_VOXELS);
                let within = read_matrix(&folder.join("story_correlation.npy"), (2, N_VOXELS));
                total.into_iter().chain(within).collect::<Vec<f64>>()
            };
            let written = TEST.map(|story| {
                let path = folder.join(&below).join(format!("{story}.npy"));
                voxelcast::io::npy::read_matrix_f64(&path).expect("it is whole")
            });
            let all = ndarray::concatenate![ndarray::Axis(0), written[0], written[1]];
            let bounds = [&all, &written[0], &written[1]].map(rounding).concat();
            for ((ours, runs), bound) in
                read(&scores).iter().zip(read(&out.join("models"))).zip(bounds)
            {
                assert_eq!(ours.is_nan(), runs.is_nan(), "{below:?}");
                if !runs.is_nan() {
                    beyond = beyond.max((ours - runs).abs() - bound);
                    most = most.max((ours - runs).abs());
                }
            }
            n_models += 1;
        }
    }
    for (name, n_rows) in [("summary.csv", n_models), ("stories.csv", 2 * n_models)] {
        let rows = std::fs::read_to_string(scores.join(name)).expect("it is there");
        assert_eq!(rows.lines().count(), 1 + n_rows);
    }
    (beyond, most)
}

#[test]
fn predictions_of_the_test_stories_score_what_the_run_scored() {
    let bench = bench(831);
    for lines in [
        &["design.zscore = \"story\""][..],
        &["design.zscore = \"train\""],
        &["design.zscore = \"none\""],
        // Everything else that decides about a design.
        &[
            "design.time = \"onset\"",
            "design.lanczos_window = 2",
            "design.cutoff_mult = 0.5",
            "design.first_tr_s = -8.0",
            "design.tr_s = 1.9",
            "design.trim = \"9:6\"",
            "design.delays = [-1, 2, 3]",
            "ridge.fit_intercept = false",
        ],
        &["design.delay_preset = \"huth-stacked\""],
    ] {
        let out = fitted(&bench, &[&[SPACES], lines].concat());
        let (beyond, most) = differences(&bench, &out, &[]);
        let (_, exactly) = differences(&bench, &out, &["--no-intercept"]);
        println!("{lines:?}: {most:.1e}, without the intercept {exactly:.1e}");
        assert!(beyond <= 0.0, "{lines:?}: {beyond}");
        assert!(exactly <= LAST_DIGIT, "{lines:?}: {exactly}");
    }
    for solver in ["dual", "svd"] {
        // Their runs predict from rows and from components, not from weights: DESIGN section 2.
        let out = fitted(&bench, &[SPACES, &format!("ridge.solver = \"{solver}\"")]);
        let (beyond, most) = differences(&bench, &out, &[]);
        let (_, exactly) = differences(&bench, &out, &["--no-intercept"]);
        println!("{solver}: {most:.1e}, without the intercept {exactly:.1e}");
        assert!(beyond.max(exactly) <= 1e-5, "{solver}: {beyond} {exactly}");
    }
}

/// Most people's BOLD: every voxel of every story has mean 0. Nothing is lost in writing then.
#[test]
fn on_standardised_bold_scores_are_the_runs_to_the_last_digits() {
    let bench = bench(838);
    for subject in ["s1", "s2"] {
        for story in &bench.stories {
            let path = bench.file(&format!("{subject}/{}.npy", story.name));
            let mut bold = voxelcast::io::npy::read_matrix_f32(&path).expect("it was written");
            for mut voxel in bold.columns_mut() {
                voxel -= voxel.mean().expect("there are rows");
                voxel /= voxel.std(0.0);
            }
            write_f32(&path, &bold);
        }
    }
    let out = fitted(&bench, &[SPACES]);
    let (beyond, most) = differences(&bench, &out, &[]);
    println!("standardised: {most:.1e}");
    assert!(beyond <= 0.0 && most <= LAST_DIGIT, "{beyond} {most}");
}

#[test]
fn dead_voxels_have_no_score_and_bold_of_any_mean_has_the_runs() {
    let bench = bench(832);
    for story in &bench.stories {
        let path = bench.file(&format!("s1/{}.npy", story.name));
        let mut bold = voxelcast::io::npy::read_matrix_f32(&path).expect("it was written") + 100.0;
        bold.column_mut(3).fill(7.0);
        if TEST.contains(&story.name.as_str()) {
            bold[[2, 4]] = f32::NAN;
        }
        write_f32(&path, &bold);
    }
    let out = fitted(&bench, &[SPACES]);
    let (beyond, most) = differences(&bench, &out, &[]);
    let (_, exactly) = differences(&bench, &out, &["--no-intercept"]);
    println!("mean 100: {most:.1e}, without the intercept {exactly:.1e}");
    assert!(beyond <= 0.0 && exactly <= LAST_DIGIT, "{beyond} {exactly}");
}

#[test]
fn predicted_bold_is_the_delayed_design_times_the_weights() {
    let bench = bench(833);
    let out = fitted(&bench, &[GLOVE_ONLY]);
    let (outcome, folder) = predict(&bench, &out, &["--subject", "s2", "--space", "glove-lagged"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let bytes =
        std::fs::read(out.join("models/s2/glove-lagged/weights.safetensors")).expect("there");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("it is whole");
    let tensor = |name: &str, shape: (usize, usize)| -> Array2<f64> {
        let number = |b: &[u8]| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes")));
        let values = tensors.tensor(name).expect("it is there").data().chunks_exact(4).map(number);
        Array2::from_shape_vec(shape, values.collect()).expect("its shape")
    };
    let (weights, intercept) =
        (tensor("weights", (24, N_VOXELS)), tensor("intercept", (1, N_VOXELS)));
    for (index, story) in bench.stories.iter().enumerate() {
        let x = delay(design_by_hand(&bench, index).view(), &[1, 2, 3, 4]).expect("valid delays");
        let expected = wide(&x).dot(&weights) + &intercept;
        let path = folder.join(format!("s2/glove-lagged/{}.npy", story.name));
        let got = read_matrix(&path, (story.n_rows, N_VOXELS));
        // f32 products of 24 columns.
        let size = wide(&x).mapv(f64::abs).dot(&weights.mapv(f64::abs)) + intercept.mapv(f64::abs);
        for ((got, expected), size) in got.iter().zip(&expected).zip(&size) {
            let bound = 24.0 * f64::from(f32::EPSILON) * size;
            assert!((got - expected).abs() <= bound, "{got} {expected}");
        }
        let bold = read_matrix(&bench.file(&format!("s2/{}.npy", story.name)), got.dim());
        assert!(column_correlations(&got, &bold).iter().sum::<f64>() > 0.1 * N_VOXELS as f64);
    }
    assert!(!folder.join("s1").exists() && !folder.join("s2/glove").exists());
}

#[test]
fn a_new_story_is_predicted_with_as_many_trs_as_it_has_or_is_given() {
    let bench = bench(834);
    let out = fitted(&bench, &[SPACES]);
    // The words of story5 under another name, and one that nobody knows at the end.
    let old = &bench.stories[5];
    let mut lines = String::from("onset\toffset\tword\n");
    for ((word, onset), offset) in old.words.iter().zip(&old.onset_s).zip(&old.offset_s) {
        writeln!(lines, "{onset}\t{offset}\t{word}").expect("text");
    }
    let new = bench.file("new tale.tsv");
    std::fs::write(&new, &lines).expect("written");
    let n_trs = (old.n_rows + 15).to_string();
    let (outcome, given) = predict(&bench, &out, &["--stories", text(&new), "--n-trs", &n_trs]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let (outcome, known) = predict(&bench, &out, &["--story", "story5"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    for model in ["glove", "w2v-lagged", "bow-lagged", "mixed", "dense-lagged"] {
        let read = |folder: &Path, name: &str| {
            std::fs::read(folder.join("s1").join(model).join(name)).expect("it is there")
        };
        assert_eq!(read(&given, "new tale.npy"), read(&known, "story5.npy"), "{model}");
    }
    // As many TRs as its BOLD has rows, and the trim.
    let bold = bench.file("s1/story5.npy");
    std::fs::copy(bold, bench.file("s1/new tale.npy")).expect("copied");
    let pattern = bench.file("{subject}/{story}.npy");
    std::fs::copy(bench.file("s2/story5.npy"), bench.file("s2/new tale.npy")).expect("copied");
    let (outcome, like) =
        predict(&bench, &out, &["--stories", text(&new), "--n-trs", text(&pattern)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let path = "s1/glove-lagged/new tale.npy";
    assert_eq!(std::fs::read(like.join(path)).ok(), std::fs::read(given.join(path)).ok());
    let (scored, _) = score(&bench, &like, &[]);
    assert_eq!(scored.code, 0, "{scored:#?}");

    writeln!(lines, "300\t302\tunheard-of").expect("text");
    std::fs::write(&new, &lines).expect("written");
    let flags = ["--stories", text(&new), "--space", "glove", "--json"];
    let (outcome, folder) = predict(&bench, &out, &flags);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    // 301 s is (301 + 9) / 2 = 155 TRs after the first.
    read_matrix(&folder.join("s1/glove/new tale.npy"), (156 - 15, N_VOXELS));
    let document: Value = serde_json::from_str(&outcome.stdout).expect("one JSON document");
    assert_eq!(document["schema"], "voxelcast.predict/1");
    let models = document["predictions"]["models"].as_array().expect("a list");
    assert_eq!(models.len(), 4, "two subjects, plain and lagged");
    let share = models[0]["oov_share"].as_f64().expect("a number");
    assert!((share - 1.0 / (old.words.len() + 1) as f64).abs() < 1e-12, "{share}");
}

#[test]
fn vectors_may_move_but_not_change() {
    let bench = bench(835);
    let out = fitted(&bench, &[GLOVE_ONLY]);
    let (outcome, before) = predict(&bench, &out, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    // The whole tree moves: everything is found.
    let (old, new) = (bench.file("vectors.txt"), bench.file("elsewhere.txt"));
    std::fs::rename(&old, &new).expect("moved");
    predict(&bench, &out, &[]).0.refused(3, &["glove", "vectors.txt", "--vectors glove=FILE"]);
    for given in [format!("glove={}", text(&new)), text(&new).to_owned()] {
        let (outcome, after) = predict(&bench, &out, &["--vectors", &given]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let read =
            |folder: &Path| std::fs::read(folder.join("s1/glove/story2.npy")).expect("there");
        assert!(read(&before) == read(&after), "{given}");
    }
    let changed = std::fs::read_to_string(&new).expect("it is there").replacen('1', "2", 1);
    std::fs::write(&old, changed).expect("written");
    predict(&bench, &out, &[])
        .0
        .refused(3, &["vectors.txt", "expected the word vectors", "blake3"]);
}

#[test]
fn what_cannot_be_predicted_says_why() {
    let bench = bench(836);
    let without = fitted(&bench, &[GLOVE_ONLY, "output.weights = false"]);
    let parts = ["holds no saved weights", "weights = true", "[output]", "--force"];
    predict(&bench, &without, &[]).0.refused(3, &parts);
    predict(&bench, &bench.file("s1"), &[]).0.refused(3, &["expected models of a finished run"]);
    let out = fitted(&bench, &[GLOVE_ONLY]);
    for (flag, name) in [("--story", "story9"), ("--subject", "s3"), ("--space", "bow")] {
        predict(&bench, &out, &[flag, name]).0.refused(2, &[flag, name]);
    }
    predict(&bench, &out, &["--n-trs", "1"]).0.refused(2, &["--n-trs", "at least 2"]);
    predict(&bench, &out, &["--n-trs", "12"]).0.refused(3, &["story \"story0\"", "10:5"]);
    // One model's folder will do, and so will all of one subject's.
    for (below, n_models) in [("models/s1/glove-lagged", 1), ("models/s1", 2), ("models", 4)] {
        let (outcome, folder) = predict(&bench, &out.join(below), &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let listed = std::fs::read_to_string(folder.join("predictions.json")).expect("there");
        assert_eq!(listed.matches("\"folder\"").count(), n_models, "{below}");
    }
    let model = out.join("models/s1/glove");
    let weights = std::fs::read(model.join("weights.safetensors")).expect("it is there");
    std::fs::write(model.join("weights.safetensors"), &weights[..weights.len() - 4]).expect("cut");
    predict(&bench, &model, &[]).0.refused(3, &["weights.safetensors", "damaged"]);
    let saved = std::fs::read_to_string(model.join("model.json")).expect("it is there");
    std::fs::write(
        model.join("model.json"),
        saved.replace("word_count", "x").replace("glove", "y"),
    )
    .expect("written");
    predict(&bench, &model, &[]).0.refused(3, &["model.json", "another version"]);
    let later =
        saved.replace("\"kind\": \"glove\"", "\"kind\": \"not_yet\", \"name\": \"encoder\"");
    std::fs::write(model.join("model.json"), later).expect("written");
    predict(&bench, &model, &[]).0.refused(2, &["encoder", "cannot predict on new stories"]);
}

#[test]
fn what_cannot_be_scored_says_why() {
    let bench = bench(837);
    let out = fitted(&bench, &[GLOVE_ONLY]);
    let (outcome, folder) = predict(&bench, &out, &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let one = bench.file("s1/{story}.npy");
    score(&bench, &folder, &["--bold", text(&one)]).0.refused(2, &["{subject}", "2 subjects"]);
    score(&bench, &folder, &["--bold", "s1.npy"]).0.refused(2, &["--bold", "{story}"]);
    score(&bench, &folder, &["--story", "story9"]).0.refused(2, &["--story", "story9"]);
    score(&bench, &out, &[]).0.refused(3, &["predictions.json", "voxelcast predict"]);
    write_f32(&bench.file("s2/story1.npy"), &Array2::zeros((3, N_VOXELS)));
    let parts = ["s2", "story1", "(3, 40)", "(43, 40)", "--n-trs"];
    score(&bench, &folder, &[]).0.refused(3, &parts);
    let (some, tables) = score(&bench, &folder, &["--story", "story2", "--json"]);
    assert_eq!(some.code, 0, "{some:#?}");
    let document: Value = serde_json::from_str(&some.stdout).expect("one JSON document");
    assert_eq!(document["schema"], "voxelcast.score/1");
    assert_eq!(document["scores"]["stories"].as_array().map(Vec::len), Some(4));
    read_matrix(&tables.join("s2/glove/story_correlation.npy"), (1, N_VOXELS));
}
