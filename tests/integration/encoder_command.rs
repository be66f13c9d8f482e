//! `voxelcast encoder`: what it writes, that it goes on bit for bit, what it refuses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rand::Rng;
use serde_json::Value;
use tempfile::TempDir;

use super::workbench::{Outcome, command, read_matrix, seeded, text, visible_names, voxelcast};

/// Flags of a model that trains in a second.
const TINY: [&str; 16] = [
    "--vocab-size",
    "100",
    "--hidden",
    "16",
    "--layers",
    "1",
    "--intermediate",
    "16",
    "--max-length",
    "12",
    "--batch",
    "8",
    "--lr",
    "0.01",
    "--epochs",
    "10",
];

/// Texts of a language in which every text keeps to one topic: context tells which six of eighteen
/// words may follow, ln 18 − ln 6 = 1.1 nats.
struct Language {
    folder: TempDir,
}

impl Language {
    fn new() -> Self {
        const TOPICS: [[&str; 6]; 3] = [
            ["red", "sun", "goes", "down", "over", "hills"],
            ["wind", "blows", "cold", "from", "grey", "seas"],
            ["bread", "milk", "salt", "oil", "rice", "corn"],
        ];
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let rng = &mut seeded(50);
        let mut story = |s: usize| {
            let words: Vec<&str> =
                (0..50 + s % 3).map(|_| TOPICS[s % 3][rng.random_range(0..6)]).collect();
            words.join(" ")
        };
        let stories: Vec<String> = (0..18).map(&mut story).collect();
        std::fs::write(folder.path().join("text.txt"), stories.join("\n\n")).expect("written");
        Self { folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn args<'a>(&self, out: &'a Path, flags: &[&'a str]) -> Vec<String> {
        let input = self.file("text.txt");
        let mut args = vec!["encoder", "train", "--text", text(&input), "--out", text(out)];
        // A flag that is given replaces the tiny one.
        for pair in TINY.chunks(2).filter(|pair| !flags.contains(&pair[0])) {
            args.extend(pair);
        }
        args.extend(flags);
        args.into_iter().map(str::to_owned).collect()
    }

    fn train(&self, out: &Path, flags: &[&str]) -> Outcome {
        let args = self.args(out, flags);
        voxelcast(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, out: &Path, flags: &[&str]) -> Child {
        let args = self.args(out, flags);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
    }
}

#[track_caller]
fn succeeded(outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{outcome:#?}");
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("it is there")).expect("JSON")
}

/// Lines of train_log.csv without the speed, which is another one each time.
fn log(out: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(out.join("train_log.csv")).expect("it is there");
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines: Vec<Vec<String>> = text.lines().map(cells).collect();
    assert_eq!(
        lines[0].join(","),
        "epoch,step,train_loss,val_loss,tokens_per_s,lr",
        "the columns are a contract"
    );
    for line in &mut lines {
        assert_eq!(line.len(), 6);
        line.remove(4);
    }
    lines
}

/// What a training must leave the same however it came there.
fn result(out: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "baseline.json",
        "last/config.json",
        "last/model.safetensors",
        "last/tokenizer.json",
    ];
    let read = |name| (name, std::fs::read(out.join(name)).expect("it is there"));
    names.into_iter().map(read).collect()
}

#[test]
fn a_training_learns_logs_and_is_not_done_twice() {
    let language = Language::new();
    let out = language.file("model");
    let outcome = language.train(&out, &["--epochs", "20", "--dropout", "0", "--json"]);
    succeeded(&outcome);
    let printed: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(printed["schema"], "voxelcast.encoder_train/1");
    assert_eq!(printed["was_done"], false);
    let baseline = json(&out.join("baseline.json"))["unigram_loss"].as_f64().expect("a number");
    let best = printed["training"]["best"]["val_loss"].as_f64().expect("a number");
    // Most of the 1.1 nats that there are to win.
    assert!((baseline - 18f64.ln()).abs() < 0.3, "{baseline}");
    assert!(best < baseline - 0.8, "{best} against {baseline}");

    let lines = log(&out);
    assert_eq!(lines.len(), 21);
    let losses: Vec<f64> = lines[1..].iter().map(|line| line[3].parse().expect("a loss")).collect();
    assert_eq!(losses.iter().copied().fold(f64::MAX, f64::min), best);
    let steps: usize = lines[20][1].parse().expect("a step");
    assert_eq!(steps % 20, 0);

    let names = visible_names(&out);
    let events: Vec<&String> = names.iter().filter(|n| n.starts_with("events.out.tf")).collect();
    assert_eq!(events.len(), 1, "{names:?}");
    let n_events = n_records(&std::fs::read(out.join(events[0])).expect("it is there"));
    assert_eq!(n_events, 1 + steps + 20);
    let expected = [
        "baseline.json",
        "config.json",
        "last/config.json",
        "last/model.safetensors",
        "last/tokenizer.json",
        "model.safetensors",
        "tokenizer.json",
        "train.json",
        "train_log.csv",
    ];
    let others: Vec<&String> = names.iter().filter(|name| !events.contains(name)).collect();
    assert_eq!(others, expected);
    assert!(!out.join(".checkpoint.safetensors").exists());
    let about = json(&out.join("train.json"));
    assert_eq!((&about["finished"], &about["settings"]["epochs"]), (&true.into(), &20.into()));

    let before = result(&out);
    let again = language.train(&out, &["--epochs", "20", "--dropout", "0"]);
    succeeded(&again);
    assert!(again.stderr.contains("finished before"), "{again:#?}");
    assert!(result(&out) == before && log(&out) == lines);
}

/// Records of an event file whose lengths add up to it.
fn n_records(bytes: &[u8]) -> usize {
    let (mut at, mut n) = (0, 0);
    while at < bytes.len() {
        let length: [u8; 8] = bytes[at..at + 8].try_into().expect("eight bytes");
        at += 16 + u64::from_le_bytes(length) as usize;
        n += 1;
    }
    assert_eq!(at, bytes.len());
    n
}

/// Waits until a training has come to `point`, or has ended; no longer than it lives.
fn wait_for(child: &mut Child, point: impl Fn() -> bool) -> bool {
    while !point() {
        if child.try_wait().expect("a child has a state").is_some() {
            return point();
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn a_training_killed_at_any_moment_goes_on_to_the_same_bits() {
    let language = Language::new();
    let flags = ["--checkpoint-every", "0"];
    let whole = language.file("whole");
    succeeded(&language.train(&whole, &flags));
    let (wanted, lines) = (result(&whole), log(&whole));
    let n_epochs = lines.len() - 1;

    let rng = &mut seeded(51);
    let out = language.file("killed");
    let n_lines = |wanted: usize| {
        let path = out.join("train_log.csv");
        move || std::fs::read_to_string(&path).is_ok_and(|text| text.lines().count() >= wanted)
    };
    let there = |name: &str| {
        let path = out.join(name);
        move || path.exists()
    };
    // Before the first checkpoint, behind one, at some epoch, and while the weights are written.
    let points: [Box<dyn Fn() -> bool>; 4] = [
        Box::new(there("train_log.csv")),
        Box::new(there(".checkpoint.safetensors")),
        Box::new(n_lines(rng.random_range(3..n_epochs))),
        Box::new(there("last/model.safetensors")),
    ];
    let mut n_killed = 0;
    for point in points {
        let mut child = language.start(&out, &flags);
        assert!(wait_for(&mut child, point), "it ended before it came there");
        child.kill().expect("it can be killed");
        let status = child.wait().expect("it has ended");
        n_killed += usize::from(!status.success());
    }
    // The last point may come after the end.
    assert!(n_killed >= 3, "killed only {n_killed} times");
    succeeded(&language.train(&out, &flags));
    assert!(result(&out) == wanted, "other weights than those of a training that was not stopped");
    assert_eq!(log(&out), lines);
    assert!(!out.join(".checkpoint.safetensors").exists());
    let names = visible_names(&out);
    assert_eq!(names.len(), visible_names(&whole).len(), "{names:?}");
}

#[test]
fn an_interrupted_training_says_so_and_goes_on() {
    let language = Language::new();
    let (whole, out) = (language.file("whole"), language.file("interrupted"));
    succeeded(&language.train(&whole, &[]));
    let mut child = language.start(&out, &[]);
    let log_path = out.join("train_log.csv");
    assert!(wait_for(&mut child, || {
        std::fs::read_to_string(&log_path).is_ok_and(|text| text.lines().count() > 2)
    }));
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("kill is there").success());
    assert_eq!(child.wait().expect("it has ended").code(), Some(130));
    let outcome = language.train(&out, &[]);
    succeeded(&outcome);
    assert!(outcome.stderr.contains("going on after epoch"), "{outcome:#?}");
    assert!(result(&out) == result(&whole));
    assert_eq!(json(&out.join("train.json"))["n_starts"], 2);
}

#[test]
fn weights_do_not_depend_on_the_number_of_threads() {
    let language = Language::new();
    let results: Vec<_> = ["1", "2", "3"]
        .into_iter()
        .map(|n| {
            let out = language.file(n);
            let args = language.args(&out, &["--hidden", "64", "--epochs", "2", "--threads", n]);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            // candle asks rayon's variable for the parts of its products.
            let done = command(&args).env("RAYON_NUM_THREADS", n).output().expect("it starts");
            assert!(done.status.success());
            result(&out)
        })
        .collect();
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn every_flag_changes_the_weights() {
    let language = Language::new();
    let run = |name: &str, flags: &[&str]| {
        let out = language.file(name);
        let base = ["--epochs", "2", "--warmup", "1"];
        let flags: Vec<&str> = match base.iter().any(|flag| flags.contains(flag)) {
            true => [&base[..2], flags].concat(),
            false => [&base, flags].concat(),
        };
        succeeded(&language.train(&out, &flags));
        std::fs::read(out.join("last/model.safetensors")).expect("it is there")
    };
    let base = run("base", &[]);
    let changes: [(&str, &str); 14] = [
        ("--vocab-size", "50"),
        ("--batch", "4"),
        ("--heads", "4"),
        ("--max-length", "10"),
        ("--windows", "first"),
        ("--stride", "3"),
        ("--lr", "0.02"),
        ("--weight-decay", "0.5"),
        ("--dropout", "0.3"),
        ("--p-mlm", "0.4"),
        ("--schedule", "cosine"),
        ("--clip", "0.001"),
        ("--val-fraction", "0.4"),
        ("--seed", "1"),
    ];
    for (flag, value) in changes {
        assert!(run(flag, &[flag, value]) != base, "{flag} {value}");
    }
    assert!(run("--warmup", &["--warmup", "9"]) != base);
}

#[test]
fn patience_stops_a_training_and_the_best_weights_are_the_model() {
    let language = Language::new();
    let out = language.file("model");
    let flags = ["--lr", "0.5", "--epochs", "300", "--patience", "3", "--json"];
    let outcome = language.train(&out, &flags);
    succeeded(&outcome);
    let training = &serde_json::from_str::<Value>(&outcome.stdout).expect("JSON")["training"];
    let epoch = |which: &str| training[which]["epoch"].as_u64().expect("an epoch");
    assert_eq!(training["stopped_early"], true);
    assert_eq!(epoch("last"), epoch("best") + 3);
    assert_eq!(log(&out).len() as u64, epoch("last") + 1);
    let files = result(&out);
    assert!(files["model.safetensors"] != files["last/model.safetensors"]);
}

#[test]
fn flags_that_cannot_be_meant_are_usage_errors() {
    let language = Language::new();
    let out = language.file("model");
    for (flags, parts) in [
        (&["--heads", "3"][..], &["--heads", "divisor of hidden = 16, got 3"][..]),
        (&["--p-mlm", "0"], &["--p-mlm", "0 < p < 1"]),
        (&["--p-mlm", "1"], &["--p-mlm"]),
        (&["--dropout", "1"], &["--dropout"]),
        (&["--lr", "0"], &["--lr"]),
        (&["--epochs", "0"], &["--epochs"]),
        (&["--max-length", "2"], &["--max-length"]),
        (&["--stride", "11"], &["--stride", "1 to 10, got 11"]),
        (&["--windows", "some"], &["--windows", "all or first"]),
        (&["--schedule", "step"], &["--schedule"]),
        (&["--val-fraction", "1"], &["--val-fraction"]),
        (&["--checkpoint-every=-1"], &["--checkpoint-every"]),
    ] {
        language.train(&out, flags).refused(2, parts);
        assert!(!out.exists());
    }
    let neither = voxelcast(&["encoder", "train", "--out", text(&out)]);
    assert_eq!(neither.code, 2);
    let input = language.file("text.txt");
    let sweep = |flags: &[&str]| {
        let base = ["encoder", "sweep", "--text", text(&input), "--out", text(&out)];
        voxelcast(&[&base, flags].concat())
    };
    sweep(&["--heads", "2,3"]).refused(2, &["--heads", "divisor of hidden = 128, got 3"]);
    sweep(&["--grid", "all"]).refused(2, &["--grid", "heads-layers or full"]);
    sweep(&["--layers", "1,2,1"]).refused(2, &["--layers", "1 twice"]);
}

#[test]
fn text_that_cannot_be_trained_on_is_an_input_error() {
    let language = Language::new();
    let out = language.file("model");
    let input = language.file("text.txt");
    for (words, part) in [("", "has no words"), ("\n \n", "has no words"), ("one", "1 words")] {
        std::fs::write(&input, words).expect("written");
        language.train(&out, &[]).refused(3, &[part]);
    }
    std::fs::remove_file(&input).expect("removed");
    language.train(&out, &[]).refused(3, &["text.txt"]);
    // Fewer pieces than one window are padded.
    std::fs::write(&input, "one two one two").expect("written");
    succeeded(&language.train(&out, &["--epochs", "1"]));
}

#[test]
fn a_folder_of_another_training_or_model_is_refused() {
    let language = Language::new();
    let out = language.file("model");
    succeeded(&language.train(&out, &["--epochs", "1"]));
    let before = result(&out);
    language
        .train(&out, &["--epochs", "1", "--heads", "4", "--seed", "7"])
        .refused(3, &["other settings", "heads was 2, is 4", "seed was 214, is 7"]);
    std::fs::write(language.file("text.txt"), "another text altogether").expect("written");
    language.train(&out, &["--epochs", "1"]).refused(3, &["another text"]);
    assert!(result(&out) == before);
    std::fs::remove_file(out.join("train.json")).expect("removed");
    language.train(&out, &["--epochs", "1"]).refused(3, &["config.json", "another model"]);
    assert!(result(&out) == before);
}

#[test]
fn a_folder_in_use_is_refused_at_once() {
    let language = Language::new();
    let out = language.file("model");
    std::fs::create_dir(&out).expect("made");
    let lock = std::fs::File::create(out.join(".lock")).expect("made");
    lock.try_lock().expect("nobody else has it");
    language.train(&out, &[]).refused(3, &["locked by"]);
    drop(lock);
    succeeded(&language.train(&out, &["--epochs", "1"]));
}

#[test]
fn a_damaged_checkpoint_is_named() {
    let language = Language::new();
    let out = language.file("model");
    let flags = ["--checkpoint-every", "0"];
    let mut child = language.start(&out, &flags);
    let path = out.join(".checkpoint.safetensors");
    assert!(wait_for(&mut child, || path.exists()));
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    let bytes = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    language.train(&out, &flags).refused(3, &[".checkpoint.safetensors", "starts again"]);
    std::fs::remove_file(&path).expect("removed");
    succeeded(&language.train(&out, &flags));
}

#[test]
fn a_sweep_trains_each_point_once_and_names_the_best() {
    let language = Language::new();
    let (out, input) = (language.file("sweep"), language.file("text.txt"));
    let sweep = |flags: &[&str]| {
        let mut args = vec!["encoder", "sweep", "--text", text(&input), "--out", text(&out)];
        args.extend(TINY.chunks(2).filter(|pair| !["--layers"].contains(&pair[0])).flatten());
        args.extend(["--layers", "1,2", "--patience", "4", "--json"]);
        args.extend(flags);
        voxelcast(&args)
    };
    // As if it had been stopped after two of four points.
    succeeded(&sweep(&["--heads", "2"]));
    let outcome = sweep(&["--heads", "2,4"]);
    succeeded(&outcome);
    let printed: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    let points = printed["points"].as_array().expect("a list");
    assert_eq!(points.len(), 4);

    let table = std::fs::read_to_string(out.join("sweep.csv")).expect("it is there");
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some(
            "point,heads,layers,hidden,intermediate,p_mlm,seed,epoch,train_loss,val_loss,\
             best_val_loss,stopped_early,chosen"
        )
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let best = |point: &Value| point["best"]["val_loss"].as_f64().expect("a loss");
    let smallest = points.iter().map(best).fold(f64::MAX, f64::min);
    for point in points {
        let name = point["name"].as_str().expect("a name");
        let folder = out.join(name);
        assert_eq!(json(&folder.join("train.json"))["n_starts"], 1, "{name} was trained twice");
        let own: Vec<&Vec<&str>> = rows.iter().filter(|row| row[0] == name).collect();
        assert_eq!(own.len(), log(&folder).len() - 1);
        for (row, logged) in own.iter().zip(&log(&folder)[1..]) {
            assert_eq!((row[7], row[8], row[9]), (&logged[0][..], &logged[2][..], &logged[3][..]));
            assert_eq!(row[10].parse::<f64>().expect("a loss"), best(point));
            assert_eq!(row[12] == "true", best(point) == smallest, "{name}");
            assert_eq!(row[11] == "true", point["stopped_early"] == true);
        }
        assert_eq!(printed["chosen"] == name, best(point) == smallest);
    }
    let shown = sweep(&["--heads", "2,4"]);
    assert_eq!(shown.stdout, outcome.stdout);
}

#[test]
fn embedded_text_has_a_row_a_token_and_ends_at_the_first_window() {
    let language = Language::new();
    let out = language.file("model");
    succeeded(&language.train(&out, &["--epochs", "1"]));
    let (input, result) = (language.file("some.txt"), language.file("x.npy"));
    let embed = |words: &str, flags: &[&str]| {
        std::fs::write(&input, words).expect("written");
        let (model, text_file, x) = (text(&out), text(&input), text(&result));
        let base = ["encoder", "embed", "--model", model, "--text", text_file, "--out", x];
        voxelcast(&[&base, flags].concat())
    };
    succeeded(&embed("red sun goes", &[]));
    let last = read_matrix(&result, (5, 16));
    succeeded(&embed("red sun goes", &["--layer", "1"]));
    assert_eq!(read_matrix(&result, (5, 16)), last);
    succeeded(&embed("red sun goes", &["--layer", "0"]));
    assert_ne!(read_matrix(&result, (5, 16)), last);
    succeeded(&embed(&"red sun goes down ".repeat(20), &[]));
    read_matrix(&result, (12, 16));
    embed("red", &["--layer", "2"]).refused(2, &["--layer", "0 to 1, got 2"]);
    std::fs::remove_file(out.join("config.json")).expect("removed");
    embed("red", &[]).refused(3, &["config.json"]);
}
