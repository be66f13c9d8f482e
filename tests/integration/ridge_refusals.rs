//! What `voxelcast ridge` refuses: exit code, message, nothing under a final name.

use voxelcast::io::npy;

use super::ridge_command::Data;
use super::workbench::{
    RidgeBench, normal, raw_npy, seeded, skipped, text, visible_files, visible_names, voxelcast,
    write_f32,
};

/// Refused with this exit code, these parts in the message, and nothing under a final name.
#[track_caller]
fn refused(bench: &RidgeBench, flags: &[&str], code: i32, parts: &[&str]) {
    let (outcome, out) = bench.run(flags);
    outcome.refused(code, parts);
    assert_eq!(visible_names(&out), Vec::<String>::new());
}

#[test]
fn flags_that_cannot_be_meant_end_with_exit_code_2() {
    let data = Data::new(83, 40, 3, 2, &[1, 2]);
    let bench = data.bench();
    for (alphas, says) in [
        ("0,1", "got 0 at position 1"),
        ("-1,1", "got -1 at position 1"),
        ("1,nan", "NaN"),
        ("10,1", "got 1 after 10"),
        ("1,1", "got 1 after 1"),
        ("logspace(0,6)", "logspace"),
        ("", "alphas"),
    ] {
        let flag = format!("--alphas={alphas}");
        refused(&bench, &[&flag], 2, &[says]);
    }
    refused(&bench, &["--device", "tpu"], 2, &["tpu"]);
    refused(&bench, &["--scorer", "mse"], 2, &["--scorer", "mse", "correlation"]);
    refused(&bench, &["--solver", "magic"], 2, &["magic", "gram"]);
    refused(&bench, &["--alpha-convention", "root"], 2, &["root", "huth"]);
    refused(&bench, &["--alpha-tolerance", "1"], 2, &["--alpha-tolerance", "got 1"]);
    refused(&bench, &["--alpha-tolerance=-0.1"], 2, &["--alpha-tolerance", "got -0.1"]);
    refused(&bench, &["--basis-tolerance", "2"], 2, &["--basis-tolerance", "got 2"]);
    refused(&bench, &["--threads", "0"], 2, &["--threads", "got 0"]);
    refused(&bench, &["--memory", "1k"], 2, &["--memory", "1k", "64M"]);
    refused(&bench, &["--predict"], 2, &["--x-test"]);
    refused(&bench, &["--no-such-flag"], 2, &["--no-such-flag"]);
    let outcome = voxelcast(&["ridge", "--x", "x.npy"]);
    assert_eq!(outcome.code, 2, "{outcome:#?}");
}

#[test]
fn a_card_that_is_not_there_ends_with_exit_code_4() {
    let data = Data::new(89, 40, 3, 2, &[1, 2]);
    let cpu = data.bench().fit(&["--device", "auto", "--alphas", "1"]);
    if !cpu.outcome.stderr.contains("built without CUDA") {
        skipped("built with CUDA, this machine may have a card");
        return;
    }
    refused(&data.bench(), &["--device", "cuda"], 4, &["cuda"]);
    refused(&data.bench(), &["--device", "cuda:3"], 4, &["cuda:3"]);
    assert_eq!(data.bench().fit(&["--device", "cpu", "--alphas", "1"]).best_alpha, [1.0, 1.0]);
}

#[test]
fn data_that_do_not_fit_together_end_with_exit_code_3() {
    let data = Data::new(97, 40, 3, 2, &[1, 2]);
    let bench = data.bench();
    let rng = &mut seeded(98);

    write_f32(&bench.file("y.npy"), &normal(rng, 38, 2));
    refused(&bench, &[], 3, &["x.npy", "y.npy", "40", "38", "rows"]);
    let bench = data.bench();
    npy::write(&bench.file("folds.npy"), &[41], &[1i64; 41]).expect("written");
    refused(&bench, &[], 3, &["x.npy", "folds.npy", "40", "41"]);
    npy::write(&bench.file("folds.npy"), &[40], &[7i64; 40]).expect("written");
    refused(&bench, &[], 3, &["folds.npy", "at least 2 folds", "got 1"]);
    let mut folds = [7i64; 40];
    folds[3] = 9;
    npy::write(&bench.file("folds.npy"), &[40], &folds).expect("written");
    refused(&bench, &[], 3, &["fold 9 has 1 row"]);
    npy::write(&bench.file("folds.npy"), &[40], &[0.5f64; 40]).expect("written");
    refused(&bench, &[], 3, &["folds.npy"]);

    let mut x = data.x.clone();
    x[[12, 2]] = f32::NAN;
    let bench = RidgeBench::new(&x, &data.y, &data.folds);
    refused(&bench, &[], 3, &["x.npy", "NaN", "row 12, column 2"]);
    x[[12, 2]] = f32::INFINITY;
    let bench = RidgeBench::new(&x, &data.y, &data.folds);
    refused(&bench, &[], 3, &["x.npy", "inf", "row 12, column 2"]);

    let narrow = data.bench().with_test(&normal(rng, 9, 2), &normal(rng, 9, 2));
    refused(&narrow, &[], 3, &["x_test.npy", "columns", "3", "2"]);
    let few = data.bench().with_test(&normal(rng, 9, 3), &normal(rng, 9, 1));
    refused(&few, &[], 3, &["y_test.npy", "columns", "2", "1"]);
    let short = data.bench().with_test(&normal(rng, 9, 3), &normal(rng, 8, 2));
    refused(&short, &[], 3, &["y_test.npy", "rows", "9", "8"]);
    let mut bad = normal(rng, 9, 3);
    bad[[1, 1]] = f32::NAN;
    let nan = data.bench().with_test(&bad, &normal(rng, 9, 2));
    refused(&nan, &[], 3, &["x_test.npy", "NaN", "row 1, column 1"]);
}

#[test]
fn files_that_lie_or_are_missing_end_with_exit_code_3() {
    let data = Data::new(101, 40, 3, 2, &[1, 2]);
    for name in ["x.npy", "y.npy", "folds.npy"] {
        let bench = data.bench();
        let whole = std::fs::read(bench.file(name)).expect("it was written");
        std::fs::write(bench.file(name), &whole[..whole.len() - 5]).expect("written");
        refused(&bench, &[], 3, &[name, "truncated"]);
        std::fs::write(bench.file(name), &whole[..40]).expect("written");
        refused(&bench, &[], 3, &[name, "truncated", "header"]);
        std::fs::write(bench.file(name), [&whole[..], b"more"].concat()).expect("written");
        refused(&bench, &[], 3, &[name, "4 bytes too many"]);
        std::fs::write(bench.file(name), b"").expect("written");
        refused(&bench, &[], 3, &[name]);
        std::fs::write(bench.file(name), b"\x01\x02 not npy at all").expect("written");
        refused(&bench, &[], 3, &[name, "not a .npy file"]);
        std::fs::remove_file(bench.file(name)).expect("removed");
        refused(&bench, &[], 3, &[name, "cannot read"]);
    }
    // A header that promises more than any machine has: nothing may be allocated from it.
    let bench = data.bench();
    raw_npy(&bench.file("y.npy"), "<f4", false, "(40, 999999999999)", &[0; 64]);
    refused(&bench, &[], 3, &["y.npy", "truncated", "999999999999"]);
    raw_npy(&bench.file("y.npy"), "<f4", false, "(18446744073709551615, 4)", &[0; 64]);
    refused(&bench, &[], 3, &["y.npy", "overflow"]);
    raw_npy(&bench.file("y.npy"), "|O", false, "(40, 2)", &[0; 64]);
    refused(&bench, &[], 3, &["y.npy", "opcode", "arrays as .npy"]);
    raw_npy(&bench.file("y.npy"), "<f4", false, "(40, 0)", &[]);
    refused(&bench, &[], 3, &["y.npy", "(40, 0)"]);
    write_f32(&bench.file("y.npy"), &data.y);
    raw_npy(&bench.file("x.npy"), "<f4", false, "(40, 0)", &[]);
    refused(&bench, &[], 3, &["x.npy", "(40, 0)"]);
}

#[test]
fn what_was_there_before_stays_whole_when_a_run_fails() {
    let data = Data::new(103, 40, 3, 2, &[1, 2]);
    let bench = data.bench();
    let found = bench.fit(&["--alphas", "1,10"]);
    let before = visible_files(&found.out);
    let whole = std::fs::read(bench.file("y.npy")).expect("it was written");
    std::fs::write(bench.file("y.npy"), &whole[..whole.len() - 4]).expect("written");
    let [x, y, folds] = ["x.npy", "y.npy", "folds.npy"].map(|name| bench.file(name));
    let args = ["ridge", "--x", text(&x), "--y", text(&y), "--fold-ids", text(&folds)];
    let outcome = voxelcast(&[&args[..], &["--out", text(&found.out)]].concat());
    outcome.refused(3, &["y.npy"]);
    assert_eq!(visible_files(&found.out), before);
}
