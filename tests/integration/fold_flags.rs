//! `--folds` of `voxelcast run`; `--groups` and `--folds` of `voxelcast ridge`.

use std::path::Path;

use serde_json::{Value, json};
use voxelcast::io::npy;

use super::workbench::{
    GLOVE_ONLY, RidgeBench, StudyBench, normal, planted, seeded, text, visible_files,
    visible_names, voxelcast,
};

fn run_json(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Arrays only: run.json holds times.
fn arrays(out: &Path) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.strip_prefix(out).expect("below").display().to_string();
    let files = visible_files(out).into_iter().map(|(path, bytes)| (name(&path), bytes));
    files.filter(|(name, _)| name.ends_with(".npy")).collect()
}

/// Stories of 12 rows, one cut in two by another; the order of the labels is not that of the rows.
const STORIES: [i64; 6] = [30, -2, 30, 7, 1_000_000_007, 0];

fn grouped() -> (RidgeBench, Vec<i64>) {
    let rng = &mut seeded(301);
    let x = normal(rng, 12 * STORIES.len(), 5);
    let y = planted(rng, &x, 7);
    let groups: Vec<i64> = STORIES.iter().flat_map(|&story| [story; 12]).collect();
    let bench = RidgeBench::new(&x, &y, &groups);
    npy::write(&bench.file("groups.npy"), &[groups.len()], &groups).expect("written");
    (bench, groups)
}

#[test]
fn groups_dealt_to_folds_equal_the_same_folds_by_their_ids() {
    let (bench, groups) = grouped();
    let path = bench.file("groups.npy");
    let order = [30, -2, 7, 1_000_000_007, 0];
    let mut seen: Vec<Vec<(String, Vec<u8>)>> = Vec::new();
    for (folds, k) in [("2", 2), ("3", 3), ("4", 4), ("5", 5), ("loso", 5)] {
        let flags = ["--alphas", "1,10,100", "--groups", text(&path), "--folds", folds];
        let dealt = bench.fit(&flags);
        let fold = |group: &i64| order.iter().position(|o| o == group).expect("known") as i64 % k;
        let ids: Vec<i64> = groups.iter().map(fold).collect();
        npy::write(&bench.file("folds.npy"), &[ids.len()], &ids).expect("written");
        let by_ids = bench.fit(&["--alphas", "1,10,100"]);
        assert_eq!(arrays(&dealt.out), arrays(&by_ids.out), "--folds {folds}");
        let run = run_json(&dealt.out);
        assert_eq!(run["settings"]["folds"], folds);
        assert!(run["inputs"].to_string().contains("groups.npy"), "{run}");
        if folds != "loso" {
            assert!(!seen.contains(&arrays(&dealt.out)), "--folds {folds} changes the result");
        }
        seen.push(arrays(&dealt.out));
    }
    assert_eq!(seen[3], seen[4], "five groups in five folds: one each");
    // Other groups, other folds.
    let other: Vec<i64> = (0..groups.len() as i64).map(|row| row / 9).collect();
    npy::write(&path, &[other.len()], &other).expect("written");
    let flags = ["--alphas", "1,10,100", "--groups", text(&path), "--folds", "2"];
    assert_ne!(arrays(&bench.fit(&flags).out), seen[0]);
}

#[test]
fn folds_are_given_in_exactly_one_of_two_ways() {
    let (bench, _) = grouped();
    let groups = bench.file("groups.npy");
    let (x, y, ids, out) =
        (bench.file("x.npy"), bench.file("y.npy"), bench.file("folds.npy"), bench.file("none"));
    let start = ["ridge", "--x", text(&x), "--y", text(&y), "--out", text(&out)];
    for (flags, says) in [
        (&[][..], &["--fold-ids", "--groups"][..]),
        (&["--groups", text(&groups)], &["--folds"]),
        (&["--folds", "3"], &["--groups"]),
        (&["--fold-ids", text(&ids), "--folds", "3"], &["--fold-ids", "--folds"]),
        (
            &["--fold-ids", text(&ids), "--groups", text(&groups), "--folds", "3"],
            &["--fold-ids", "--groups"],
        ),
        (&["--groups", text(&groups), "--folds", "1"], &["--folds", "≥ 2", "loso", "\"1\""]),
        (&["--groups", text(&groups), "--folds", "all"], &["--folds", "loso", "\"all\""]),
        (&["--groups", text(&groups), "--folds", "6"], &["folds", "expected 2 to 5", "got 6"]),
    ] {
        voxelcast(&[&start[..], flags].concat()).refused(2, says);
        assert_eq!(visible_names(&out), Vec::<String>::new());
    }
    let lone: Vec<i64> = (0..72).map(|row| i64::from(row == 40)).collect();
    npy::write(&groups, &[72], &lone).expect("written");
    let flags = ["--groups", text(&groups), "--folds", "loso"];
    voxelcast(&[&start[..], &flags].concat()).refused(3, &["groups.npy", "fold 1 has 1 row"]);
    npy::write(&groups, &[71], &lone[1..]).expect("written");
    voxelcast(&[&start[..], &flags].concat()).refused(3, &["groups.npy", "72", "71"]);
}

#[test]
fn the_flag_of_run_replaces_the_folds_of_the_study() {
    let bench = StudyBench::new(302, 40, 8);
    let fitted = |folds: &str, flags: &[&str]| {
        let (outcome, out) = bench.run(&[GLOVE_ONLY, folds], flags);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        out
    };
    let file = |folds: &str| fitted(&format!("ridge.folds = {folds}"), &[]);
    let flag = |folds: &str| fitted("ridge.folds = 5", &["--folds", folds]);
    let (two, three, five) = (file("2"), file("3"), file("5"));
    let different = [arrays(&two), arrays(&three), arrays(&five)];
    assert!(different[0] != different[1] && different[1] != different[2]);
    let by_flag = flag("2");
    assert_eq!(arrays(&by_flag), different[0]);
    assert_eq!(arrays(&flag("3")), different[1]);
    let each = fitted("ridge.folds = 2", &["--folds", "loso"]);
    assert_eq!(arrays(&each), different[2], "five training stories: one each");
    let settings = |out: &Path| run_json(out)["settings"]["folds"].clone();
    assert_eq!(settings(&by_flag), json!(2));
    assert_eq!(settings(&each), json!("loso"));
    assert_eq!(run_json(&by_flag)["folds"], run_json(&two)["folds"]);
    assert_eq!(run_json(&by_flag)["fingerprint"], run_json(&two)["fingerprint"]);
    assert_ne!(run_json(&by_flag)["fingerprint"], run_json(&five)["fingerprint"]);

    // A finished folder is of these folds and no others.
    let again = bench.run_into(&by_flag, &[GLOVE_ONLY, "ridge.folds = 5"], &["--folds", "2"]);
    assert!(again.stderr.contains("finished before"), "{again:#?}");
    bench
        .run_into(&by_flag, &[GLOVE_ONLY, "ridge.folds = 5"], &["--folds", "3"])
        .refused(3, &["results of another run", "--force"]);
    for (folds, says) in [("1", "got \"1\""), ("some", "loso"), ("6", "expected 2 to 5")] {
        bench.run(&[GLOVE_ONLY], &["--folds", folds]).0.refused(2, &["folds", says]);
    }
}
