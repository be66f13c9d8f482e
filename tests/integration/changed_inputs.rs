//! Inputs and settings that change between two runs, or while one runs: the file is named, and only
//! what depends on it is fitted again.

use std::path::{Path, PathBuf};

use rustix::process::Signal;
use voxelcast::io::npy;

use super::faults::{
    assert_same, assert_whole, ended, everything, n_tiles, signal, start, wait_until,
};
use super::workbench::{GLOVE_ONLY, StudyBench, text, voxelcast, write_f32};

/// Adds something to one value of a story's BOLD.
fn change_bold(bench: &StudyBench, name: &str) {
    let path = bench.file(name);
    let mut bold = npy::read_matrix_f32(&path).expect("it was written");
    bold[[3, 0]] += 1.0;
    write_f32(&path, &bold);
}

/// Adds something to the first number of a word's vector.
fn change_vector(bench: &StudyBench, word: &str) {
    let text = std::fs::read_to_string(bench.file("vectors.txt")).expect("it is there");
    let changed = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [name, first, ref rest @ ..] if name == word => {
            let first: f32 = first.parse().expect("a number");
            format!("{name} {} {}\n", first + 0.5, rest.join(" "))
        }
        _ => format!("{line}\n"),
    };
    let text: String = text.lines().map(changed).collect();
    std::fs::write(bench.file("vectors.txt"), text).expect("written");
}

/// Which models of a folder were written again since `marked`.
fn rewritten(out: &Path, before: &[(PathBuf, std::time::SystemTime)]) -> Vec<String> {
    let now = written(out);
    assert_eq!(now.len(), before.len());
    let pairs = now.into_iter().zip(before).filter(|(now, before)| now != *before);
    let name = |path: PathBuf| {
        let model = path.parent().expect("a model's folder");
        model.strip_prefix(out.join("models")).expect("below").display().to_string()
    };
    pairs.map(|((path, _), _)| name(path)).collect()
}

/// When each model's scores were written.
fn written(out: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    for subject in ["s1", "s2"] {
        for entry in std::fs::read_dir(out.join("models").join(subject)).expect("it is there") {
            let path = entry.expect("readable").path().join("cv_scores.npy");
            let time = std::fs::metadata(&path).and_then(|about| about.modified());
            found.push((path, time.expect("it has a time")));
        }
    }
    found.sort();
    found
}

const MODELS: [&str; 8] = [
    "both",
    "both-lagged",
    "bow",
    "bow-lagged",
    "glove",
    "glove-lagged",
    "word_rate",
    "word_rate-lagged",
];

/// All of a subject's models, in the order of their folders.
fn all_of(subject: &str) -> Vec<String> {
    MODELS.iter().map(|model| format!("{subject}/{model}")).collect()
}

#[test]
fn only_what_depends_on_a_change_is_fitted_again() {
    let bench = StudyBench::new(821, 25, 40);
    let (outcome, out) = bench.run(&[], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let first_bow = std::fs::read(out.join("models/s1/bow/cv_scores.npy")).expect("it is there");
    let step = |lines: &[&str], says: &[&str], expected: Vec<String>, what: &str| {
        let before = written(&out);
        let refused = bench.run_into(&out, lines, &[]);
        refused.refused(3, &["--force"]);
        let again = bench.run_into(&out, lines, &["--force"]);
        assert_eq!(again.code, 0, "{what}: {again:#?}");
        for says in says {
            assert!(again.stderr.contains(says), "{what}: {says:?} in {}", again.stderr);
        }
        assert_eq!(rewritten(&out, &before), expected, "{what}");
        let (fresh, other) = bench.run(lines, &[]);
        assert_eq!(fresh.code, 0, "{fresh:#?}");
        assert_same(&everything(&out), &everything(&other), what);
    };

    change_bold(&bench, "s2/story1.npy");
    let says = ["changed: s2/story1.npy", "s1: was done before"];
    step(&[], &says, all_of("s2"), "BOLD of one subject");

    change_vector(&bench, "word3");
    let of_vectors: Vec<String> = ["s1", "s2"]
        .iter()
        .flat_map(|subject| all_of(subject))
        .filter(|name| name.contains("glove") || name.contains("both"))
        .collect();
    let says = ["changed: vectors.txt", "s1: 4 of 8 models were done before"];
    step(&[], &says, of_vectors, "vectors");

    let says = ["the settings differ", "s1: was done before", "s2: was done before"];
    step(&["statistics.resamples = 300"], &says, vec![], "bootstrap samples");
    let everywhere = || [all_of("s1"), all_of("s2")].concat();
    let alphas = ["ridge.alphas = \"logspace(0,5,6)\""];
    step(&alphas, &["the settings differ"], everywhere(), "alphas");

    let words = std::fs::read_to_string(bench.file("words.tsv")).expect("it is there");
    std::fs::write(bench.file("words.tsv"), words.replacen("word3", "word4", 1)).expect("written");
    step(&alphas, &["changed: words.tsv"], everywhere(), "words");
    let now = std::fs::read(out.join("models/s1/bow/cv_scores.npy")).expect("it is there");
    assert_ne!(now, first_bow, "a sanity check of the comparison");
}

#[test]
fn other_fits_of_the_models_that_are_fitted_again_are_those_of_a_fresh_run() {
    let bench = StudyBench::new(822, 25, 40);
    for preset in ["story", "huth-stacked"] {
        let preset = format!("design.delay_preset = \"{preset}\"");
        let lines = ["stability.splits = 2", "stability.learning_curve = 1", "ridge.folds = 3"];
        let lines = [&lines[..], &[&preset]].concat();
        let (outcome, out) = bench.run(&lines, &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        change_vector(&bench, "word5");
        let again = bench.run_into(&out, &lines, &["--force"]);
        assert_eq!(again.code, 0, "{again:#?}");
        assert!(again.stderr.contains("4 of 8 models were done before"), "{}", again.stderr);
        let (fresh, other) = bench.run(&lines, &[]);
        assert_eq!(fresh.code, 0, "{fresh:#?}");
        assert_same(&everything(&out), &everything(&other), &preset);
    }
}

#[test]
fn what_changed_between_a_cut_run_and_the_next_is_named_and_the_other_subject_kept() {
    let bench = StudyBench::new(823, 25, 32_000);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut child = start(&args);
    wait_until(&mut child, "a tile of s2", || n_tiles(&out, "s2") > 0);
    child.kill().expect("SIGKILL is sent");
    ended(child);
    change_bold(&bench, "s1/story0.npy");
    let again = voxelcast(&args);
    assert_eq!(again.code, 0, "{again:#?}");
    let says = "changed: s1/story0.npy since the last run";
    assert!(again.stderr.contains(says), "{}", again.stderr);
    let says_done = |subject: &str| {
        again.stderr.lines().any(|l| l.starts_with(subject) && l.ends_with("before"))
    };
    assert!(!says_done("s1: "), "s1 is fitted again: {}", again.stderr);
    assert!(says_done("s2: "), "tiles of s2 are kept: {}", again.stderr);
    let (fresh, other) = bench.run(&[GLOVE_ONLY], &["--threads", "1"]);
    assert_eq!(fresh.code, 0, "{fresh:#?}");
    assert_same(&everything(&out), &everything(&other), "after the change");
}

#[test]
fn unfinished_tiles_of_other_settings_are_not_gone_on_with() {
    let bench = StudyBench::new(824, 25, 32_000);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut child = start(&args);
    wait_until(&mut child, "a tile", || n_tiles(&out, "s1") > 0);
    child.kill().expect("SIGKILL is sent");
    ended(child);
    let lines = [GLOVE_ONLY, "ridge.scorer = \"r2\""];
    let again = bench.run_into(&out, &lines, &["--threads", "1"]);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(!again.stderr.contains("done before"), "{}", again.stderr);
    let (fresh, other) = bench.run(&lines, &["--threads", "1"]);
    assert_eq!(fresh.code, 0, "{fresh:#?}");
    assert_same(&everything(&out), &everything(&other), "other settings");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error_and_nothing_of_it_is_kept() {
    let bench = StudyBench::new(825, 25, 12_000);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut child = start(&args);
    wait_until(&mut child, "a tile", || n_tiles(&out, "s1") > 0);
    signal(&child, Signal::STOP);
    change_bold(&bench, "s1/story2.npy");
    signal(&child, Signal::CONT);
    ended(child).refused(3, &["s1/story2.npy", "was changed while"]);
    assert_whole(&out);
    assert_eq!(n_tiles(&out, "s1"), 0);
    let again = voxelcast(&args);
    assert_eq!(again.code, 0, "{again:#?}");
    let (fresh, other) = bench.run(&[GLOVE_ONLY], &["--threads", "1"]);
    assert_eq!(fresh.code, 0, "{fresh:#?}");
    assert_same(&everything(&out), &everything(&other), "after the change");
}

#[test]
fn vectors_inside_of_an_archive_are_watched_too() {
    let bench = StudyBench::new(826, 25, 8);
    let pack = || {
        let file = std::fs::File::create(bench.file("vectors.zip")).expect("made");
        let mut archive = zip::ZipWriter::new(file);
        archive
            .start_file("v.txt", zip::write::SimpleFileOptions::default())
            .expect("it takes a member");
        let text = std::fs::read(bench.file("vectors.txt")).expect("it is there");
        std::io::Write::write_all(&mut archive, &text).expect("written");
        archive.finish().expect("finished");
    };
    pack();
    let space = "spaces = [[space]]\nkind = \"glove\"\nvectors = \"vectors.zip/v.txt\"\n";
    let (outcome, out) = bench.run(&[space], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    change_vector(&bench, "word7");
    pack();
    bench.run_into(&out, &[space], &[]).refused(3, &["changed: vectors.zip/v.txt", "--force"]);
}
