//! A study in shards: the bytes of one machine, lost and damaged shards, refusals.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::faults::{assert_same, ended, everything, signal, start, wait_until};
use super::study_command::{results, run_json};
use super::workbench::{
    GLOVE_ONLY, Outcome, StudyBench, normal, raw_npy, seeded, text, voxelcast, write_f32,
};

/// Everything of a merged study that must be that of one machine: what the shards left and where
/// they ran is beside it.
pub fn merged(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = everything(out);
    all.retain(|(name, _)| !name.starts_with("shards/") && !name.starts_with("slurm/"));
    let (_, run) = all.iter_mut().find(|(name, _)| name == "run.json").expect("it is there");
    let mut document: Value = serde_json::from_slice(run).expect("JSON");
    let shards = document.as_object_mut().expect("an object").remove("shards");
    assert!(shards.is_some_and(|shards| shards.as_array().is_some_and(|s| !s.is_empty())));
    *run = document.to_string().into_bytes();
    all
}

/// `voxelcast COMMAND STUDY --out OUT` with more flags.
fn about(command: &str, study: &Path, out: &Path, flags: &[&str]) -> Outcome {
    let mut args = vec![command, text(study), "--out", text(out)];
    args.extend(flags);
    voxelcast(&args)
}

#[track_caller]
fn done(command: &str, study: &Path, out: &Path, flags: &[&str]) -> Outcome {
    let outcome = about(command, study, out, flags);
    assert_eq!(outcome.code, 0, "{command} {flags:?}: {outcome:#?}");
    outcome
}

/// Does all shards.
#[track_caller]
fn all_shards(study: &Path, out: &Path, n: usize) {
    for i in (1..=n).rev() {
        done("run", study, out, &["--shard", &format!("{i}/{n}")]);
    }
}

/// Marks of all models, which are hidden files.
fn marks(out: &Path) -> Vec<Vec<u8>> {
    let models = results(out);
    let folders: BTreeSet<_> = models
        .iter()
        .filter(|(name, _)| name.starts_with("models/") && name.ends_with("best_alpha.npy"))
        .map(|(name, _)| out.join(name).with_file_name(".done.json"))
        .collect();
    assert!(!folders.is_empty());
    folders.iter().map(|path| std::fs::read(path).expect("a mark")).collect()
}

#[test]
fn merged_shards_are_the_bytes_of_one_machine() {
    let bench = StudyBench::new(910, 25, 1300);
    let lines = ["stability.splits = 1", "stability.learning_curve = 1"];
    let (whole, one) = bench.run(&lines, &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let study = bench.settings(&lines);
    // Six blocks of two subjects: a shard that ends inside a subject, and one with two subjects.
    for n in [1, 4] {
        let out = bench.out();
        done("plan", &study, &out, &["--shards", &n.to_string()]);
        all_shards(&study, &out, n);
        let outcome = done("merge", &study, &out, &[]);
        assert!(outcome.stdout.contains("report.html"), "{outcome:#?}");
        assert_same(&merged(&out), &everything(&one), &format!("{n} shards"));
        assert!(marks(&out) == marks(&one));
        let about = run_json(&out)["shards"].clone();
        assert_eq!(about.as_array().map(Vec::len), Some(n));
        // Finished: nothing is read again.
        std::fs::remove_dir_all(out.join("shards")).expect("removed");
        let again = done("merge", &study, &out, &["--json"]);
        assert!(again.stdout.contains("\"was_done\":true"), "{again:#?}");
    }
}

#[test]
fn rows_from_files_positions_and_inner_scores_are_the_bytes_of_one_machine() {
    let bench = StudyBench::new(913, 40, 1100);
    std::fs::create_dir(bench.file("rows")).expect("made");
    for (i, story) in bench.stories.iter().enumerate() {
        let rows = normal(&mut seeded(913 + i as u64), story.n_rows, 3);
        write_f32(&bench.file(&format!("rows/{}.npy", story.name)), &rows);
    }
    let spaces = "spaces = [[space]]\nname = \"made\"\nkind = \"file\"\npath = \"rows/{story}.npy\"\n\
                  rows = \"trs\"\n[[space]]\nkind = \"position\"\n[[space]]\nkind = \"word_rate\"\n\
                  [[space]]\nname = \"low_level\"\ncombine = [\"word_rate\", \"position\"]\n";
    let lines = [
        spaces,
        "split.inner = \"9:6\"",
        "output.weights = false",
        "stability.splits = 1",
        "stability.learning_curve = 1",
        "ridge.folds = 2",
        "partition.beyond = \"low_level\"",
    ];
    let (whole, one) = bench.run(&lines, &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    for name in ["inner_correlation", "stability_inner_correlation", "learning_inner_correlation"] {
        assert!(one.join(format!("models/s2/low_level-lagged/{name}.npy")).is_file(), "{name}");
    }
    assert!(one.join("models/s1/beyond.made-lagged/beyond_inner_signed_r2.npy").is_file());
    let (study, out) = (bench.settings(&lines), bench.out());
    done("plan", &study, &out, &["--shards", "3"]);
    all_shards(&study, &out, 3);
    done("merge", &study, &out, &[]);
    assert_same(&merged(&out), &everything(&one), "3 shards");
    assert!(marks(&out) == marks(&one));
}

#[test]
fn a_subject_without_permutations_and_weights_is_merged_by_narrow_tiles_too() {
    let bench = StudyBench::new(911, 25, 1100);
    let lines = [GLOVE_ONLY, "statistics.permutations = 0", "output.weights = false"];
    let narrow = ["--memory", "64M", "--threads", "1"];
    let (whole, one) = bench.run(&lines, &["--threads", "1"]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let (study, out) = (bench.settings(&lines), bench.out());
    // Without a plan the first shard makes it.
    for i in 1..=6 {
        let shard = format!("{i}/6");
        done("run", &study, &out, &[&["--shard", &shard][..], &narrow].concat());
    }
    done("merge", &study, &out, &["--threads", "1"]);
    assert_same(&merged(&out), &everything(&one), "6 shards");
}

#[test]
fn lost_and_damaged_shards_are_named_and_they_alone_are_done_again() {
    let bench = StudyBench::new(912, 25, 1300);
    let (whole, one) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    done("plan", &study, &out, &["--shards", "4"]);
    all_shards(&study, &out, 4);
    let shard = |i: usize| out.join(format!("shards/{i}-of-4"));
    std::fs::remove_dir_all(shard(1)).expect("removed");
    let damaged = shard(3).join("models/s2/glove/cv_scores.npy");
    let mut bytes = std::fs::read(&damaged).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&damaged, bytes).expect("written");
    std::fs::remove_file(shard(4).join("manifest.json")).expect("removed");
    let refused = about("merge", &study, &out, &[]);
    let command = |i| format!("--out {} --shard {i}/4", text(&out));
    refused.refused(
        3,
        &[
            "3 of 4 shards",
            "1/4 is not finished",
            "3/4 models/s2/glove/cv_scores.npy is gone or damaged",
            "4/4 is not finished",
            &command(1),
            &command(3),
            "voxelcast merge",
        ],
    );
    assert!(!refused.stderr.contains(&command(2)), "{refused:#?}");
    assert!(!out.join("models").exists() && !out.join("run.json").exists());

    let kept = done("run", &study, &out, &["--shard", "2/4"]);
    assert!(kept.stderr.contains("finished before"), "{kept:#?}");
    for i in [1, 3, 4] {
        let again = done("run", &study, &out, &["--shard", &format!("{i}/4")]);
        assert!(!again.stderr.contains("finished before"), "{again:#?}");
        // Of the damaged shard only the damaged model; the others' marks are as they were.
        let n = "1 of 2 models were done before";
        assert_eq!(again.stderr.contains(n), i == 3, "{again:#?}");
    }
    done("merge", &study, &out, &[]);
    assert_same(&merged(&out), &everything(&one), "after repairs");
}

#[test]
fn a_killed_shard_goes_on_from_its_tiles() {
    let bench = StudyBench::new(913, 25, 8000);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    done("plan", &study, &out, &["--shards", "2", "--memory", "64M"]);
    let journal = out.join("shards/1-of-2/.partial/s1/tiles.jsonl");
    let lines = || std::fs::read_to_string(&journal).map_or(0, |text| text.lines().count());
    let flags = ["--out", text(&out), "--shard", "1/2", "--memory", "64M", "--threads", "1"];
    let args: Vec<&str> = ["run", text(&study)].into_iter().chain(flags).collect();
    let mut child = start(&args);
    wait_until(&mut child, "the first tile", || lines() > 0);
    signal(&child, Signal::KILL);
    ended(child);
    about("merge", &study, &out, &[]).refused(3, &["1/2 is not finished"]);
    let again = voxelcast(&args);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains("voxels were done before"), "{again:#?}");
    done("run", &study, &out, &["--shard", "2/2"]);
    done("merge", &study, &out, &[]);
    let (whole, one) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    assert_same(&merged(&out), &everything(&one), "after a kill");
}

#[test]
fn shards_of_another_number_or_study_are_refused_and_planned_anew_by_force() {
    let bench = StudyBench::new(914, 25, 1300);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    about("merge", &study, &out, &[]).refused(3, &["no shards were planned here", "plan"]);
    about("plan", &study, &out, &["--shards", "7"]).refused(2, &["1 to 6, got 7", "6 blocks"]);
    for bad in ["0/2", "3/2", "two"] {
        about("run", &study, &out, &["--shard", bad]).refused(2, &["--shard", "I from 1 to N"]);
    }
    done("plan", &study, &out, &["--shards", "2"]);
    about("run", &study, &out, &["--shard", "1/3"]).refused(2, &["planned in 2 shards, got 3"]);
    about("plan", &study, &out, &["--shards", "3"]).refused(2, &["planned in 2 shards, got 3"]);
    all_shards(&study, &out, 2);

    // Another grid: shards and merge say so, whoever comes first.
    let study = bench.settings(&[GLOVE_ONLY, "ridge.alphas = \"logspace(0,5,6)\""]);
    for (command, flags) in
        [("run", &["--shard", "1/2"][..]), ("merge", &[]), ("plan", &["--shards", "2"])]
    {
        about(command, &study, &out, flags).refused(3, &["another study (the settings differ)"]);
    }
    done("plan", &study, &out, &["--shards", "3", "--force"]);
    about("merge", &study, &out, &[]).refused(3, &["3 of 3 shards"]);

    // Another file: only shards that read it notice, and the merge.
    let study = bench.settings(&[GLOVE_ONLY]);
    done("plan", &study, &out, &["--shards", "2", "--force"]);
    let bold = bench.file("s2/story0.npy");
    let n_rows = bench.stories[0].n_rows;
    let zeros: Vec<u8> = (0..n_rows * 1300).flat_map(|i| ((i % 97) as f32).to_le_bytes()).collect();
    raw_npy(&bold, "<f4", false, &format!("({n_rows}, 1300)"), &zeros);
    let first = done("run", &study, &out, &["--shard", "1/2"]);
    assert!(first.stderr.contains("finished before"), "{first:#?}");
    about("run", &study, &out, &["--shard", "2/2"]).refused(3, &["changed: s2/story0.npy"]);
    about("merge", &study, &out, &[]).refused(3, &["changed: s2/story0.npy"]);
    done("plan", &study, &out, &["--shards", "2", "--force"]);
    about("merge", &study, &out, &[]).refused(3, &["1 of 2 shards", "2/2 is of other settings"]);
    done("run", &study, &out, &["--shard", "2/2"]);
    done("merge", &study, &out, &[]);
    let (whole, one) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    assert_same(&merged(&out), &everything(&one), "after a change");
}

#[test]
fn one_shard_is_one_processs_at_a_time() {
    let bench = StudyBench::new(915, 25, 1300);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    done("plan", &study, &out, &["--shards", "2"]);
    let folder = out.join("shards/1-of-2");
    std::fs::create_dir_all(&folder).expect("made");
    let lock = std::fs::File::create(folder.join(".lock")).expect("made");
    lock.try_lock().expect("free");
    about("run", &study, &out, &["--shard", "1/2"]).refused(3, &["1-of-2 is locked by"]);
    done("run", &study, &out, &["--shard", "2/2"]);
    drop(lock);
    done("run", &study, &out, &["--shard", "1/2"]);
}

#[test]
fn shards_that_start_together_share_one_plan_and_one_encoder() {
    let bench = StudyBench::new(916, 25, 700);
    let lines = [
        "spaces = [[space]]\nkind = \"encoder\"\n",
        "encoder.epochs = 2",
        "encoder.hidden = 8",
        "encoder.layers = 1",
        "encoder.intermediate = 16",
        "encoder.max_length = 32",
        "encoder.vocab_size = 60",
        "stability.splits = 1",
    ];
    let (whole, one) = bench.run(&lines, &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let arrays = |out: &Path| -> Vec<(String, Vec<u8>)> {
        let mut all = results(out);
        all.retain(|(name, _)| !name.starts_with("shards/") && !name.contains("encoders/"));
        all
    };
    let (study, out) = (bench.settings(&lines), bench.out());
    let shard =
        |i: usize| start(&["run", text(&study), "--out", text(&out), "--shard", &format!("{i}/4")]);
    let children: Vec<_> = (1..=4).map(shard).collect();
    let outcomes: Vec<Outcome> = children.into_iter().map(ended).collect();
    assert!(outcomes.iter().all(|outcome| outcome.code == 0), "{outcomes:#?}");
    // One trained each encoder; to the others it was there.
    let said = |what: &str| {
        outcomes.iter().flat_map(|o| o.stderr.lines()).filter(|line| line.contains(what)).count()
    };
    assert_eq!((said("encoder-"), said("trained before")), (8, 6), "{outcomes:#?}");
    done("merge", &study, &out, &[]);
    assert_same(&arrays(&out), &arrays(&one), "an encoder's models");

    let planned = bench.out();
    done("plan", &study, &planned, &["--shards", "2", "--features"]);
    let first = done("run", &study, &planned, &["--shard", "1/2"]);
    assert!(first.stderr.contains("trained before"), "{first:#?}");
}

#[test]
fn plans_and_scripts_are_printed_for_people_and_programs() {
    let bench = StudyBench::new(917, 25, 1300);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.file("a 5% 'folder'"));
    let plan = done("plan", &study, &out, &["--shards", "4", "--json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).expect("one document");
    assert_eq!(plan["schema"], "voxelcast.shards/1");
    let parts: Vec<(u64, String, u64, u64)> = plan["shards"]
        .as_array()
        .expect("a list")
        .iter()
        .flat_map(|shard| {
            shard["parts"].as_array().expect("a list").iter().map(|part| {
                let number = |key: &str| part[key].as_u64().expect("a number");
                let name = part["subject"].as_str().expect("a name").to_owned();
                (shard["shard"].as_u64().expect("a number"), name, number("start"), number("end"))
            })
        })
        .collect();
    let expected =
        [(1, "s1", 0, 512), (2, "s1", 512, 1300), (3, "s2", 0, 512), (4, "s2", 512, 1300)];
    assert_eq!(parts, expected.map(|(i, name, a, b)| (i, name.to_owned(), a, b)));
    let n_trs: usize = bench.stories.iter().map(|story| story.n_rows).sum();
    assert_eq!(plan["shards"][1]["bold_bytes"], 788 * n_trs * 4);
    let table = done("plan", &study, &out, &["--shards", "4"]).stdout;
    assert!(table.contains("voxelcast merge") && table.contains("--shard I/4"), "{table}");

    let flags = [
        "--shards",
        "4",
        "--json",
        "--cpus-per-task",
        "3",
        "--mem",
        "200M",
        "--time",
        "1:00",
        "--partition",
        "long",
        "--gpus",
        "2",
        "--at-once",
        "2",
        "--sbatch=--account=lab",
    ];
    let found = done("slurm", &study, &out, &flags);
    let found: Value = serde_json::from_str(&found.stdout).expect("one document");
    assert_eq!((&found["schema"], &found["jobs"]), (&"voxelcast.slurm/1".into(), &Value::Null));
    let script = |name: &str| {
        let path = out.join("slurm").join(name);
        std::fs::read_to_string(path).expect("a script")
    };
    let (shards, merge) = (script("shards.sh"), script("merge.sh"));
    for both in [&shards, &merge] {
        for line in
            ["--cpus-per-task=3", "--mem=200M", "--time=1:00", "--partition=long", "--account=lab"]
        {
            assert!(both.contains(&format!("\n#SBATCH {line}\n")), "{line} in {both}");
        }
        assert!(both.contains("--threads 3"), "{both}");
    }
    assert!(shards.contains("\n#SBATCH --array=1-4%2\n") && shards.contains("--gpus=2"));
    assert!(shards.contains("--device cuda:0,1") && !merge.contains("cuda"), "{shards}");
    assert!(shards.contains("5%% 'folder'/slurm/shard-%a.log\""), "{shards}");
    let line = "a line\nmore";
    about("slurm", &study, &out, &["--shards", "4", "--sbatch", line])
        .refused(2, &["one line each"]);
}
