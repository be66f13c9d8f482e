//! Every wrong input of a study: its exit code, what its message says, and that nothing is written.

use std::io::Write;

use ndarray::Array2;
use voxelcast::io::npy;

use super::workbench::{
    GLOVE_ONLY, StudyBench, raw_npy, read_matrix, text, visible_names, voxelcast, write_f32,
};

fn bench() -> StudyBench {
    StudyBench::new(11, 30, 4)
}

/// `run` and `check` both refuse, with the same code and parts, and no output file is there.
#[track_caller]
fn refused(bench: &StudyBench, lines: &[&str], code: i32, parts: &[&str]) {
    let (outcome, out) = bench.run(lines, &[]);
    outcome.refused(code, parts);
    assert_eq!(visible_names(&out), Vec::<String>::new());
    bench.check(lines).refused(code, parts);
}

/// Refused by `run`, which reads what `check` leaves closed.
#[track_caller]
fn run_refused(bench: &StudyBench, lines: &[&str], code: i32, parts: &[&str]) {
    let (outcome, out) = bench.run(lines, &[]);
    outcome.refused(code, parts);
    assert_eq!(visible_names(&out), Vec::<String>::new());
}

fn bold(bench: &StudyBench, name: &str) -> Array2<f32> {
    npy::read_matrix_f32(&bench.file(name)).expect("it was written")
}

#[test]
fn a_story_without_bold_is_an_error_or_left_out() {
    let bench = bench();
    std::fs::remove_file(bench.file("s2/story3.npy")).expect("removed");
    refused(&bench, &[], 3, &["\"story3\"", "s2", "story3.npy", "missing = \"skip\""]);
    let (outcome, out) = bench.run(&["stories.missing = \"skip\"", "ridge.folds = 4"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("warning: stories left out: 1 without BOLD (story3)"));
    let run = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    assert!(!run.contains("\"story3\""), "in neither split nor folds");
    let (outcome, _) = bench.run(&["stories.exclude = [\"story3\"]", "ridge.folds = 4"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    refused(&bench, &["stories.exclude = [\"story33\"]"], 2, &["exclude", "story33"]);
}

#[test]
fn a_story_without_words_is_an_error_or_left_out() {
    let bench = bench();
    bench.write_words(|name| name != "story2");
    refused(&bench, &[], 3, &["\"story2\"", "BOLD but no words", "words.tsv"]);
    let (outcome, _) = bench.run(&["stories.missing = \"skip\"", "ridge.folds = 4"], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("1 without words (story2)"), "{}", outcome.stderr);
}

#[test]
fn rows_that_do_not_pair_are_told_with_every_number() {
    let bench = bench();
    // story1 has 33 rows of BOLD: 33 + 15 feature TRs, 53 in respdict's way of counting.
    let counts: Vec<String> = bench
        .stories
        .iter()
        .map(|story| {
            let extra = if story.name == "story1" { 7 } else { 0 };
            format!("\"{}\": {}", story.name, story.n_rows + 15 + 5 + extra)
        })
        .collect();
    std::fs::write(bench.file("respdict.json"), format!("{{{}}}", counts.join(", ")))
        .expect("written");
    let lines = ["stories.respdict = \"respdict.json\""];
    let parts = ["story \"story1\"", "features have 40 TRs", "has 33", "55 TRs", "10:5", "trim"];
    refused(&bench, &lines, 3, &parts);
    refused(&bench, &[lines[0], "design.trim = \"30:30\""], 3, &["story \"story0\"", "30:30"]);
    std::fs::write(bench.file("respdict.json"), "{\"story0\": 50}").expect("written");
    refused(&bench, &lines, 3, &["\"story1\"", "respdict"]);
    std::fs::write(bench.file("respdict.json"), "[1, 2").expect("written");
    refused(&bench, &lines, 3, &["respdict.json", "JSON object"]);
}

#[test]
fn voxel_counts_that_differ_between_stories_are_an_error() {
    let bench = bench();
    write_f32(&bench.file("s1/story4.npy"), &Array2::zeros((42, 3)));
    refused(&bench, &[], 3, &["s1", "story4", "(n_trs, 4)", "(42, 3)"]);
}

#[test]
fn nan_voxels_are_counted_and_masked() {
    let bench = bench();
    let mut broken = bold(&bench, "s1/story0.npy");
    broken[[3, 1]] = f32::NAN;
    write_f32(&bench.file("s1/story0.npy"), &broken);
    for story in &bench.stories {
        let name = format!("s1/{}.npy", story.name);
        let mut flat = bold(&bench, &name);
        flat.column_mut(2).fill(7.0);
        write_f32(&bench.file(&name), &flat);
    }
    let (outcome, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let says = "warning: s1: 1 constant and 1 NaN or infinite voxels of 4";
    assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    let run = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    assert!(run.contains(&says["warning: ".len()..]), "{run}");
    let summary = std::fs::read_to_string(out.join("summary.csv")).expect("it is there");
    assert!(summary.contains("s1,glove,true,4,2,"), "{summary}");
    assert!(summary.contains("s2,glove,true,4,4,"), "{summary}");
    let folder = out.join("models/s1/glove-lagged");
    let scores = read_matrix(&folder.join("cv_scores.npy"), (11, 4));
    for v in 0..4 {
        let is_dead = v == 1 || v == 2;
        assert!(scores.column(v).iter().all(|s| s.is_nan() == is_dead), "voxel {v}");
    }
}

#[test]
fn a_story_whose_bold_is_all_nan_is_an_error() {
    let bench = bench();
    let mut broken = bold(&bench, "s2/story1.npy");
    broken.fill(f32::NAN);
    write_f32(&bench.file("s2/story1.npy"), &broken);
    run_refused(&bench, &[GLOVE_ONLY], 3, &["story1", "NaN"]);
}

#[test]
fn unsorted_words_are_sorted_with_a_warning() {
    let bench = bench();
    let (_, sorted) = bench.run(&[GLOVE_ONLY], &[]);
    let table = std::fs::read_to_string(bench.file("words.tsv")).expect("it was written");
    let mut lines: Vec<&str> = table.lines().collect();
    lines.swap(4, 9);
    std::fs::write(bench.file("words.tsv"), lines.join("\n") + "\n").expect("written");
    let (outcome, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    assert!(outcome.stderr.contains("warning: story \"story0\": 2 words are out of order"));
    let name = "models/s1/glove-lagged/test_correlation.npy";
    let read = |out: &std::path::Path| std::fs::read(out.join(name)).expect("it is there");
    assert_eq!(read(&sorted), read(&out), "the order in the file does not matter");
}

#[test]
fn word_tables_that_cannot_be_understood_are_told_with_their_line() {
    let bench = bench();
    let whole = std::fs::read_to_string(bench.file("words.tsv")).expect("it was written");
    let write = |text: &str| std::fs::write(bench.file("words.tsv"), text).expect("written");
    write(&whole.replace("story\tonset\toffset\tword", "story\tmoment\toffset\tword"));
    refused(&bench, &[], 3, &["words.tsv", "onset", "moment"]);
    write(&(whole.clone() + "story5\tsoon\t3.0\tlast\n"));
    refused(&bench, &[], 3, &["words.tsv", "line", "\"soon\"", "finite number"]);
    write(&(whole.clone() + "story5\t9.0\t3.0\tlast\n"));
    refused(&bench, &[], 3, &["words.tsv", "line", "ends at 3 s", "onset at 9 s"]);
    write(&(whole.clone() + "story5\t9.0\n"));
    refused(&bench, &[], 3, &["words.tsv", "line", "2 cells", "expected 4"]);
    write("");
    refused(&bench, &[], 3, &["words.tsv", "empty"]);
    write("story\tonset\toffset\tword\n");
    refused(&bench, &[], 3, &["words.tsv", "no stories"]);
    write(&(whole.clone() + "empty\t1.0\t2.0\t{BR}\nempty\t2.0\t3.0\t\n"));
    refused(&bench, &[], 3, &["\"empty\"", "no words", "1 entries"]);
    write(&(whole + "../../evil\t1.0\t2.0\tword\n"));
    refused(&bench, &[], 3, &["../../evil", "slash"]);
    std::fs::remove_file(bench.file("words.tsv")).expect("removed");
    refused(&bench, &[], 3, &["cannot read", "words.tsv"]);
}

#[test]
fn two_tables_of_one_story_are_an_error() {
    let bench = bench();
    std::fs::create_dir(bench.file("tables")).expect("made");
    for name in ["a.tsv", "a.csv"] {
        let comma = if name.ends_with("csv") { "," } else { "\t" };
        let text = format!("onset{comma}offset{comma}word\n1{comma}2{comma}hello\n");
        std::fs::write(bench.file(&format!("tables/{name}")), text).expect("written");
    }
    refused(&bench, &["stories.path = \"tables\""], 3, &["\"a\"", "twice", "a.csv", "a.tsv"]);
    std::fs::create_dir(bench.file("bare")).expect("made");
    refused(&bench, &["stories.path = \"bare\""], 3, &["bare", "no .tsv, .csv"]);
}

#[test]
fn bold_files_that_lie_are_refused_before_anything_is_allocated() {
    let bench = bench();
    let path = bench.file("s1/story3.npy");
    let whole = std::fs::read(&path).expect("it was written");
    std::fs::write(&path, &whole[..whole.len() - 3]).expect("written");
    refused(&bench, &[], 3, &["story3.npy", "truncated", "needs", "copy it again"]);
    raw_npy(&path, "<f4", false, "(39, 1000000000000)", &[0; 16]);
    refused(&bench, &[], 3, &["story3.npy", "truncated", "1000000000000"]);
    raw_npy(&path, "<c8", false, "(39, 4)", &[0; 39 * 4 * 8]);
    refused(&bench, &[], 3, &["story3.npy", "complex"]);
    // 39 repeats of another shape.
    raw_npy(&path, "<f4", false, "(39, 2, 2)", &[0; 39 * 4 * 4]);
    refused(&bench, &[], 3, &["story3.npy", "(n_trs, ", "got (2, 2)"]);
    std::fs::write(&path, b"not a matrix").expect("written");
    refused(&bench, &[], 3, &["story3.npy", "not a .npy file"]);
}

#[test]
fn a_pickle_with_a_foreign_class_is_refused_and_not_executed() {
    let bench = bench();
    let witness = bench.file("executed");
    // Protocol 0: GLOBAL os.system, MARK, STRING, TUPLE, REDUCE, STOP.
    let hostile = format!("cos\nsystem\n(S'touch {}'\ntR.", text(&witness));
    std::fs::write(bench.file("raw_text.pkl"), hostile).expect("written");
    let lines = ["stories.path = \"raw_text.pkl\""];
    refused(&bench, &lines, 3, &["raw_text.pkl", "os.system", "nothing was executed"]);
    // Protocol 4: STACK_GLOBAL.
    let mut hostile = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01".to_vec();
    hostile.extend(b"1\x85R.");
    std::fs::write(bench.file("raw_text.pkl"), hostile).expect("written");
    refused(&bench, &lines, 3, &["raw_text.pkl", "builtins.eval", "nothing was executed"]);
    assert!(!witness.exists());
    std::fs::write(bench.file("raw_text.pkl"), b"\x80\x04}").expect("written");
    refused(&bench, &lines, 3, &["raw_text.pkl", "truncated"]);
    std::fs::write(bench.file("raw_text.pkl"), b"\x80\x04K\x01.").expect("written");
    refused(&bench, &lines, 3, &["raw_text.pkl", "holds"]);
}

#[test]
fn gzip_cut_short_is_an_error() {
    let bench = bench();
    let pack = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).expect("memory takes it");
        packed.finish().expect("memory takes it")
    };
    let words = pack(&std::fs::read(bench.file("words.tsv")).expect("it was written"));
    std::fs::write(bench.file("words.tsv.gz"), &words).expect("written");
    let lines = ["stories.path = \"words.tsv.gz\"", GLOVE_ONLY];
    assert_eq!(bench.check(&lines).code, 0);
    std::fs::write(bench.file("words.tsv.gz"), &words[..words.len() / 2]).expect("written");
    refused(&bench, &lines, 3, &["words.tsv.gz"]);
    let vectors = pack(&std::fs::read(bench.file("vectors.txt")).expect("it was written"));
    std::fs::write(bench.file("vectors.txt.gz"), &vectors[..vectors.len() - 20]).expect("written");
    let gzipped = GLOVE_ONLY.replace("vectors.txt", "vectors.txt.gz");
    run_refused(&bench, &[&gzipped], 3, &["vectors.txt.gz"]);
}

#[test]
fn word_vectors_that_lie_are_an_error() {
    let bench = bench();
    let binary = |bytes: &[u8]| std::fs::write(bench.file("vectors.bin"), bytes).expect("written");
    let space =
        "spaces = [[space]]\nname = \"w\"\nkind = \"word2vec\"\nvectors = \"vectors.bin\"\n";
    binary(b"3000000 300\nword1 \x00\x01\x02");
    run_refused(&bench, &[space], 3, &["vectors.bin"]);
    binary(b"2 99999999\nword1 \x00\x01\x02");
    run_refused(&bench, &[space], 3, &["vectors.bin"]);
    binary(b"");
    run_refused(&bench, &[space], 3, &["vectors.bin"]);
    std::fs::remove_file(bench.file("vectors.bin")).expect("removed");
    run_refused(&bench, &[space], 3, &["vectors.bin", "cannot read"]);
}

#[test]
fn vectors_that_hold_none_of_the_words_are_an_error() {
    let bench = bench();
    std::fs::write(bench.file("vectors.txt"), "elsewhere 1 2 3\nnowhere 2 3 4\n").expect("written");
    run_refused(&bench, &[GLOVE_ONLY], 3, &["vectors.txt", "found none of", "2 words"]);
}

#[test]
fn settings_that_cannot_be_meant_end_with_exit_code_2() {
    let bench = bench();
    for (line, parts) in [
        ("ridge.folds = 6", &["folds", "expected 2 to 5", "got 6"][..]),
        ("ridge.folds = 1", &["[ridge]", "folds"]),
        ("ridge.fodls = 5", &["unknown key \"fodls\"", "did you mean \"folds\"?", "[ridge]"]),
        ("design.trimm = \"1:1\"", &["unknown key \"trimm\"", "did you mean \"trim\"?"]),
        ("split.zzzzzzzzzz = 1", &["unknown key \"zzzzzzzzzz\"", "known keys", "test_fraction"]),
        ("ridge.alphas = \"0,1\"", &["[ridge]", "alphas", "got 0"]),
        ("ridge.alphas = [10, 1]", &["[ridge]", "alphas", "got 1 after 10"]),
        ("ridge.scorer = \"mse\"", &["[ridge]", "scorer", "correlation, r2", "mse"]),
        ("design.trim = \"ten\"", &["[design]", "trim", "\"ten\""]),
        ("design.delays = [1, 1]", &["[design]", "delays"]),
        ("design.tr_s = 0", &["[design]", "tr_s"]),
        ("design.zscore = \"voxel\"", &["zscore", "story, train, none", "voxel"]),
        ("split.test = [\"story9\"]", &["[split]", "test", "story9"]),
        ("split.test = [\"story1\", \"story1\"]", &["[split]", "test", "twice"]),
        ("split.n_test = 2", &["one of test_fraction, n_test and test"]),
        ("ridge.folds = [[\"story0\"], [\"story5\"]]", &["folds", "story5", "is a test story"]),
        ("ridge.folds = [[\"story0\"], [\"story1\"]]", &["folds", "is in no fold"]),
        ("spaces = [[space]]\nkind = \"glvoe\"\n", &["kind", "glvoe", "glove"]),
        ("spaces = [[space]]\nkind = \"glove\"\n", &["vectors"]),
        ("spaces = [[space]]\nname = \"c\"\ncombine = [\"x\"]\n", &["combine", "x"]),
        ("spaces = [[space]]\nkind = \"bow\"\n[[space]]\nkind = \"bow\"\n", &["bow"]),
        ("spaces = [[space]]\nname = \"../x\"\nkind = \"bow\"\n", &["../x"]),
    ] {
        println!("{line}");
        refused(&bench, &[line], 2, parts);
    }
    let study = bench.settings(&[]);
    let write = |text: &str| std::fs::write(&study, text).expect("written");
    let check = || voxelcast(&["check", text(&study)]);
    write("[stories\npath = 1");
    check().refused(2, &["STUDY.toml", "TOML"]);
    write("[stories]\npath = \"words.tsv\"\n[rigde]\n");
    check().refused(2, &["\"rigde\"", "did you mean [ridge]?"]);
    write("[stories]\npath = \"words.tsv\"\n[[space]]\nkind = \"bow\"\n");
    check().refused(2, &["[bold.SUBJECT]"]);
    std::fs::remove_file(&study).expect("removed");
    check().refused(3, &["cannot read", "STUDY.toml"]);
}
