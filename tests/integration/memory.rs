//! What a run keeps in memory: what it must by design, and not the BOLD.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::causal::smollm2;
use super::study_command::run_json;
use super::workbench::{GLOVE_ONLY, HEAD, StudyBench, TAIL, text, visible_files, visible_names};

const N_VOXELS: usize = 2000;

/// Blocks below glibc's threshold (`cli::heap`) stay in the heap of the thread that freed them.
/// One worker, so that no run has an engine less than the other; sixteen such blocks are more than
/// was ever seen.
const MARGIN_BYTES: usize = 16 * (128 << 10);

/// Columns of all designs of the workbench's study: glove, words, their rate, and two combined.
const N_COLUMNS: usize = 6 + 24 + 1 + 7;
/// A word: text of 24 bytes in a block of 32, two times of 8, and rows of three spaces, 24.
const WORD_BYTES: usize = 24 + 32 + 16 + 24;

fn peak_bytes(bench: &StudyBench) -> usize {
    let (outcome, out) = bench.run(&["output.weights = false"], &["--threads", "1"]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let text = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    let run: Value = serde_json::from_str(&text).expect("it is JSON");
    run["peak_memory_bytes"].as_u64().expect("a number of bytes") as usize
}

/// Sizes of all stories: what must stay, and the BOLD of one subject, which must not.
fn sizes(bench: &StudyBench) -> (usize, usize) {
    let rows: usize = bench.stories.iter().map(|story| story.n_rows).sum();
    let n_words: usize = bench.stories.iter().map(|story| story.words.len()).sum();
    let trs = rows + bench.stories.len() * (HEAD + TAIL);
    // Words are held twice while their table is read.
    (trs * N_COLUMNS * 4 + 2 * n_words * WORD_BYTES, rows * N_VOXELS * 4)
}

#[test]
fn twice_the_stories_add_their_words_and_designs_and_none_of_their_bold() {
    let few = StudyBench::with_stories(311, 8, 100, N_VOXELS);
    let many = StudyBench::with_stories(311, 16, 100, N_VOXELS);
    let ((kept, bold), (kept_many, bold_many)) = (sizes(&few), sizes(&many));
    let (kept, bold) = (kept_many - kept, bold_many - bold);
    assert!(bold > 2 * (kept + MARGIN_BYTES), "BOLD would be seen: {bold} {kept}");
    let (peak, peak_many) = (peak_bytes(&few), peak_bytes(&many));
    let growth = peak_many.saturating_sub(peak);
    println!("{peak} to {peak_many} bytes, kept {kept}, BOLD {bold}");
    assert!(growth <= kept + MARGIN_BYTES, "{growth} > {kept} + {MARGIN_BYTES}");
}

#[test]
fn a_dry_run_says_no_less_than_the_run_takes_and_not_much_more() {
    // A bag of 24 words at 60 delays: 1,440 columns, matrices of 17 MB each; and other splits.
    let bench = StudyBench::with_stories(312, 8, 300, 200);
    let delays: Vec<String> = (1..=60).map(|delay| delay.to_string()).collect();
    let delays = format!("design.delays = [{}]", delays.join(", "));
    for (splits, threads) in [("stability.splits = 0", "2"), ("stability.splits = 1", "1")] {
        let lines = [&delays, splits, "ridge.solver = \"gram\"", "ridge.folds = 3"];
        let flags = ["--threads", threads, "--memory", "4G"];
        let (planned, _) = bench.run(&lines, &[&flags[..], &["--dry-run", "--json"]].concat());
        assert_eq!(planned.code, 0, "{planned:#?}");
        let plan: Value = serde_json::from_str(&planned.stdout).expect("it is JSON");
        let most = plan["plan"]["most_bytes"].as_f64().expect("a number of bytes");
        let (outcome, out) = bench.run(&lines, &flags);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let text = std::fs::read_to_string(out.join("run.json")).expect("it is there");
        let run: Value = serde_json::from_str(&text).expect("it is JSON");
        let peak = run["peak_memory_bytes"].as_f64().expect("a number of bytes");
        println!("{splits}, {threads} threads: at most {most:.0}, peak {peak:.0}");
        assert!(peak > 200e6, "too small a study: matrices would not be seen");
        assert!(peak <= most && most <= 3.0 * peak, "{splits} {threads}: {most} {peak}");
    }
}

#[test]
fn a_dry_run_counts_the_language_model() {
    let Some(model) = smollm2() else { return };
    let bench = StudyBench::new(313, 30, 4);
    let spaces = format!(
        "spaces = [[space]]\nname = \"lm\"\nkind = \"lm\"\nmodel = \"{}\"\nlayer = 1\npast = 0\n",
        text(&model)
    );
    let (planned, _) = bench.run(&[&spaces], &["--dry-run", "--json"]);
    assert_eq!(planned.code, 0, "{planned:#?}");
    let plan: Value = serde_json::from_str(&planned.stdout).expect("it is JSON");
    let most = plan["plan"]["most_bytes"].as_f64().expect("a number of bytes");
    let (outcome, out) = bench.run(&[&spaces], &[]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let peak = run_json(&out)["peak_memory_bytes"].as_f64().expect("a number of bytes");
    // 135 million numbers in f32.
    assert!(peak > 530e6 && peak <= most && most <= 3.0 * peak, "{most} {peak}");
}

/// Runs the program under a limit on its address space, RLIMIT_AS; its exit code (`None` for a
/// signal) and stderr.
fn limited(limit_bytes: u64, args: &[&str]) -> (Option<i32>, String) {
    let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", limit_bytes >> 10);
    let program = env!("CARGO_BIN_EXE_voxelcast");
    let output = Command::new("sh").args(["-c", &limit, program]).args(args).output();
    let output = output.expect("sh starts");
    (output.status.code(), String::from_utf8(output.stderr).expect("stderr is UTF-8"))
}

#[test]
fn a_limit_of_the_system_that_is_too_small_is_told_before_anything_is_done() {
    let bench = StudyBench::new(813, 30, 4);
    let study = bench.settings(&[GLOVE_ONLY]);
    let out = bench.out();
    let args = ["run", text(&study), "--out", text(&out), "--threads", "2", "--memory", "2G"];
    let (code, said) = limited(1 << 30, &args);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--memory") && said.contains("ulimit -v"), "{said}");
    let (code, said) = limited(200 << 20, &args[..6]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("expected 64 MiB"), "{said}");
    assert!(!out.exists() || visible_names(&out).is_empty());
}

#[test]
fn a_study_finishes_under_the_limit_that_its_refusal_names_with_the_same_results() {
    let bench = StudyBench::new(814, 60, 300);
    for threads in ["1", "3"] {
        let flags = ["--threads", threads, "--memory", "64M"];
        let (free, expected) = bench.run(&[], &flags);
        assert_eq!(free.code, 0, "{free:#?}");
        let (study, out) = (bench.settings(&[]), bench.out());
        let args = [&["run", text(&study), "--out", text(&out)], &flags[..]].concat();
        let (code, said) = limited(200 << 20, &args);
        assert_eq!(code, Some(2), "{said}");
        let (_, named) = said.split_once("; ulimit -v ").expect("it names a limit");
        let kib: u64 = named.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
        println!("{threads} threads: ulimit -v {kib}");
        let (code, said) = limited((kib - 2048) << 10, &args);
        assert_eq!(code, Some(2), "{said}");
        let (code, said) = limited(kib << 10, &args);
        assert_eq!(code, Some(0), "{said}");
        // run.json and the page tell seconds.
        let results = |folder: &Path| -> Vec<(PathBuf, Vec<u8>)> {
            let files = visible_files(folder).into_iter().map(|(path, bytes)| {
                (path.strip_prefix(folder).expect("it is inside").to_owned(), bytes)
            });
            files
                .filter(|(name, _)| !name.ends_with("run.json") && !name.ends_with("report.html"))
                .collect()
        };
        assert!(results(&out).len() > 20 && results(&out) == results(&expected));
    }
}
