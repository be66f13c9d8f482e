//! Whatever happens to a run: no final file is damaged, and the next run ends in the same bytes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rand::Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use voxelcast::io::npy::NpyFile;

use super::study_command::{results, run_json};
use super::workbench::{
    GLOVE_ONLY, Outcome, StudyBench, command, seeded, skipped, text, visible_files, voxelcast,
};

/// Every file that has its final name is whole.
#[track_caller]
pub fn assert_whole(out: &Path) {
    for (path, bytes) in visible_files(out) {
        let text = || std::str::from_utf8(&bytes).expect("text is UTF-8");
        let is_whole = match path.extension().and_then(|e| e.to_str()) {
            Some("npy") => NpyFile::open(&path).is_ok(),
            Some("safetensors") => safetensors::SafeTensors::deserialize(&bytes).is_ok(),
            Some("json") => serde_json::from_slice::<Value>(&bytes).is_ok(),
            Some("csv") => {
                let n_cells = |line: &str| line.matches(',').count();
                let header = text().lines().next().map_or(0, n_cells);
                text().ends_with('\n') && text().lines().all(|line| n_cells(line) == header)
            }
            Some("toml") => toml::from_str::<toml::Table>(text()).is_ok(),
            Some("html") => text().trim_end().ends_with("</html>"),
            _ => panic!("an unknown file: {}", path.display()),
        };
        assert!(is_whole, "{} is damaged", path.display());
    }
}

/// Everything that must be equal: all files, run.json without its times and its peak memory, and
/// report.html without the places where it shows them.
pub fn everything(out: &Path) -> Vec<(String, Vec<u8>)> {
    let mut run = run_json(out);
    let fields = run.as_object_mut().expect("an object");
    let removed = ["timings_s", "tile_stages_s", "bold_bytes_read", "peak_memory_bytes"];
    let removed = removed.map(|key| fields.remove(key));
    assert!(removed.iter().all(Option::is_some), "they are there");
    let mut page = std::fs::read_to_string(out.join("report.html")).expect("it is there");
    for label in ["<dt>seconds</dt>", "<dt>peak memory</dt>"] {
        let start = page.find(label).expect("the page shows it") + label.len();
        let end = start + page[start..].find("</dd>").expect("a value");
        page.replace_range(start..end, "");
    }
    let mut all = results(out);
    all.push(("run.json".into(), run.to_string().into_bytes()));
    all.push(("report.html".into(), page.into_bytes()));
    all
}

#[track_caller]
pub fn assert_same(got: &[(String, Vec<u8>)], expected: &[(String, Vec<u8>)], when: &str) {
    let names = |files: &[(String, Vec<u8>)]| -> Vec<String> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(names(got), names(expected), "{when}");
    for ((name, got), (_, expected)) in got.iter().zip(expected) {
        assert!(got == expected, "{when}: {name} differs");
    }
}

/// Starts a run whose stderr is kept.
pub fn start(args: &[&str]) -> Child {
    command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Waits for something that a running process does.
#[track_caller]
pub fn wait_until(child: &mut Child, what: &str, is_so: impl Fn() -> bool) {
    let clock = Instant::now();
    while !is_so() {
        let ended = child.try_wait().expect("it can be asked");
        assert!(ended.is_none(), "it ended before: {what}");
        assert!(clock.elapsed() < Duration::from_secs(120), "it takes too long: {what}");
        std::thread::park_timeout(Duration::from_micros(300));
    }
}

pub fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it is there");
}

/// Lines in the journal of a subject's tiles.
pub fn n_tiles(out: &Path, subject: &str) -> usize {
    let path = out.join(".partial").join(subject).join("tiles.jsonl");
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

pub fn ended(child: Child) -> Outcome {
    let output = child.wait_with_output().expect("it ends");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::new(),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// Files that a killed run leaves and the next one must take away.
fn hidden_leftovers(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
            if name.starts_with('.') && name != ".lock" && name != ".done.json" {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn kills_at_random_points_end_in_the_bytes_of_an_uninterrupted_run() {
    let bench = StudyBench::new(801, 25, 5000);
    let lines = [GLOVE_ONLY, "stability.splits = 1", "ridge.folds = 3"];
    let clock = Instant::now();
    let (whole, out) = bench.run(&lines, &["--threads", "1"]);
    let whole_s = clock.elapsed().as_secs_f64();
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let study = bench.settings(&lines);
    let rng = &mut seeded(801);
    let mut out = bench.out();
    let (mut n_kills, mut n_finished, mut n_resumed) = (0, 0, 0);
    // Kills come within this time: less if runs finish before, more if they do not, so that the
    // machine's load decides neither how many runs finish nor how long this takes.
    let mut span_s = whole_s;
    while n_kills < 6 {
        let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
        let mut child = start(&args);
        if n_kills == 0 {
            // The first kill leaves a tile to go on from.
            wait_until(&mut child, "a tile", || n_tiles(&out, "s1") > 0);
        }
        let wait = Duration::from_secs_f64(
            rng.random_range(0.0..1.0) * if n_kills == 0 { 0.0 } else { span_s },
        );
        let until = Instant::now() + wait;
        // Waiting is the point here: the kill has to come at any moment of the work.
        while Instant::now() < until && child.try_wait().expect("it can be asked").is_none() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
        child.kill().expect("SIGKILL is sent");
        let outcome = ended(child);
        n_resumed += usize::from(outcome.stderr.contains("done before"));
        assert_whole(&out);
        if outcome.code == -1 {
            n_kills += 1;
            span_s *= 1.05;
            continue;
        }
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        n_finished += 1;
        span_s *= 0.7;
        assert_same(&everything(&out), &expected, &format!("after {n_kills} kills"));
        out = bench.out();
    }
    let last = voxelcast(&["run", text(&study), "--out", text(&out), "--threads", "1"]);
    assert_eq!(last.code, 0, "{last:#?}");
    assert_same(&everything(&out), &expected, "after the last kill");
    assert_eq!(hidden_leftovers(&out), Vec::<String>::new());
    println!(
        "6 kills within about {span_s:.2} s each, {n_finished} runs finished on the way, {n_resumed} went on"
    );
    assert!(n_resumed > 0, "no kill left anything to go on from");
}

#[test]
fn ctrl_c_ends_with_130_and_the_next_run_goes_on() {
    // Eight tiles: on a slow machine too the signal comes before the last of a subject's.
    let bench = StudyBench::new(802, 25, 32_000);
    let (whole, out) = bench.run(&[GLOVE_ONLY], &["--threads", "1"]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut child = start(&args);
    wait_until(&mut child, "a tile", || n_tiles(&out, "s1") > 0);
    signal(&child, Signal::INT);
    let outcome = ended(child);
    outcome.refused(130, &["interrupted"]);
    assert!(!out.join("run.json").exists());
    assert_whole(&out);
    let again = voxelcast(&args);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains("voxels were done before"), "{}", again.stderr);
    assert_same(&everything(&out), &expected, "after Ctrl-C");
}

/// Whether a process may have mounts of its own here.
fn has_namespaces(folder: &Path) -> bool {
    let mount = "mount -t tmpfs -o size=64k tmpfs \"$0\"";
    let tried = Command::new("unshare").args(["-Urm", "sh", "-c", mount]).arg(folder).output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_is_an_error_and_the_next_run_goes_on() {
    let bench = StudyBench::new(803, 25, 600);
    let (whole, out) = bench.run(&[], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let n_bytes: usize = expected.iter().map(|(_, bytes)| bytes.len()).sum();
    let small = bench.file("small");
    std::fs::create_dir(&small).expect("made");
    if !has_namespaces(&small) {
        return skipped("no user namespace with a tmpfs of its own");
    }
    let study = bench.settings(&[]);
    // What the first run left is copied out, then the disk grows. The results are the disk: paths
    // from them to the vectors are those of any other folder beside the study.
    let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" || exit 77\n\
                  \"$0\" run \"$3\" --out \"$2\"; echo \"first $?\"\n\
                  cp -r \"$2\" \"$4/first\"\n\
                  mount -o remount,size=1g \"$2\" || exit 77\n\
                  \"$0\" run \"$3\" --out \"$2\"; echo \"second $?\"\n\
                  cp -r \"$2\" \"$4/second\"";
    let mut places = std::collections::BTreeSet::new();
    for share in [0.01, 0.45, 0.9] {
        let copies = bench.out();
        std::fs::create_dir(&copies).expect("made");
        let size = format!("{}", (n_bytes as f64 * share) as usize);
        let binary = command(&[]);
        let output = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script])
            .arg(binary.get_program())
            .args([&size, text(&small), text(&study), text(&copies)])
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("first 1\n"), "{size} bytes: {said} {errors}");
        assert!(errors.contains("error: cannot write") && errors.contains("No space left"));
        assert!(said.contains("second 0\n"), "{size} bytes: {said} {errors}");
        assert!(!copies.join("first/run.json").exists());
        assert_whole(&copies.join("first"));
        assert_same(&everything(&copies.join("second")), &expected, &format!("{size} bytes"));
        let place = errors.lines().find(|line| line.starts_with("error:")).map(str::to_owned);
        places.insert(place.map(|line| line.rsplit('/').next().unwrap_or_default().to_owned()));
    }
    println!("the disk was full at {places:?}");
    assert!(places.len() > 1, "the disk was full at one and the same place");
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_the_next_run_goes_on() {
    let bench = StudyBench::new(804, 25, 600);
    let (whole, out) = bench.run(&[GLOVE_ONLY], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out)];
    // Blocks of 512 bytes; the signal ignored, the write fails instead.
    for n_blocks in ["1", "8", "40"] {
        let output = Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$0\" \"$@\""])
            .arg(command(&[]).get_program())
            .arg(n_blocks)
            .args(args)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{n_blocks}: {said}");
        assert!(said.contains("error: cannot write") && said.contains("too large"), "{said}");
        assert!(!out.join("run.json").exists());
        assert_whole(&out);
    }
    assert_eq!(voxelcast(&args).code, 0);
    assert_same(&everything(&out), &expected, "after writes that failed");
}

#[test]
fn a_file_cut_short_while_it_is_read_is_named_and_the_run_goes_on_when_it_is_back() {
    let bench = StudyBench::new(807, 25, 12_000);
    let (whole, out) = bench.run(&[GLOVE_ONLY], &["--threads", "1"]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut child = start(&args);
    wait_until(&mut child, "a tile", || n_tiles(&out, "s1") > 0);
    signal(&child, Signal::STOP);
    let path = bench.file("s2/story3.npy");
    let bytes = std::fs::read(&path).expect("it is there");
    let file = std::fs::File::options().write(true).open(&path).expect("it is there");
    file.set_len(bytes.len() as u64 / 2).expect("cut");
    signal(&child, Signal::CONT);
    ended(child).refused(3, &["cannot read", "s2/story3.npy"]);
    assert_whole(&out);
    std::fs::write(&path, bytes).expect("written");
    let again = voxelcast(&args);
    assert_eq!(again.code, 0, "{again:#?}");
    assert!(again.stderr.contains("s1: was done before"), "{}", again.stderr);
    assert_same(&everything(&out), &expected, "after a file that was cut");
}

#[test]
fn a_second_run_in_the_folder_is_refused_with_the_number_of_the_first() {
    let bench = StudyBench::new(808, 25, 12_000);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let args = ["run", text(&study), "--out", text(&out), "--threads", "1"];
    let mut first = start(&args);
    wait_until(&mut first, "a tile", || n_tiles(&out, "s1") > 0);
    signal(&first, Signal::STOP);
    let holder = format!("is locked by process {} on ", first.id());
    voxelcast(&args).refused(3, &[&holder, text(&out), "--out"]);
    let mut forced = args.to_vec();
    forced.push("--force");
    voxelcast(&forced).refused(3, &[&holder]);
    signal(&first, Signal::CONT);
    let first = ended(first);
    assert_eq!(first.code, 0, "{first:#?}");
    assert_eq!(voxelcast(&args).code, 0, "the lock is free again");
}

#[test]
fn memory_is_kept_to_what_was_given() {
    // 360 columns in 5 folds: about 12 kB a voxel, 50 MB a tile of 4,096 and thread.
    // Four tiles: of two, one thread may do both before the other has made its buffers.
    let delays: Vec<String> = (0..60).map(|delay| delay.to_string()).collect();
    let delays = format!("design.delays = [{}]", delays.join(", "));
    let lines =
        [GLOVE_ONLY, &delays, "design.variants = [\"lagged\"]", "ridge.alphas = [1, 10, 100]"];
    let bench = StudyBench::new(809, 100, 16_384);
    let small = StudyBench::new(809, 100, 512);
    let peak = |bench: &StudyBench, memory: &str| {
        let (outcome, out) = bench.run(&lines, &["--threads", "2", "--memory", memory]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        let peak = run_json(&out)["peak_memory_bytes"].as_u64().expect("a number of bytes");
        (results(&out), peak)
    };
    // The base: the program, words, designs, matrices, and the smallest tile there is.
    let (_, base) = peak(&small, "64M");
    let (wide, most) = peak(&bench, "8G");
    let (narrow, least) = peak(&bench, "64M");
    println!("base {base} bytes; 8G: {most}, 64M: {least}");
    assert!(wide == narrow, "memory changes no result");
    let bound = base + (64 << 20);
    assert!(most > bound, "too small a study: the limit would not be seen");
    assert!(least <= bound, "{least} bytes, more than 64 MiB and {base}");
}

#[test]
fn models_that_do_not_fit_the_memory_together_are_fitted_in_several_passes() {
    let bench = StudyBench::new(814, 60, 600);
    let space = |i: usize| {
        format!("[[space]]\nname = \"g{i}\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n")
    };
    let spaces: String = (0..4).map(space).collect();
    let delays: Vec<String> = (0..60).map(|delay| delay.to_string()).collect();
    let delays = format!("design.delays = [{}]", delays.join(", "));
    let lines = [
        &format!("spaces = {spaces}"),
        &delays,
        "design.variants = [\"lagged\"]",
        "ridge.alphas = [1, 10, 100]",
        "stability.splits = 1",
        "ridge.folds = 3",
        "ridge.solver = \"gram\"",
    ];
    let (together, out) = bench.run(&lines, &["--memory", "8G"]);
    assert_eq!(together.code, 0, "{together:#?}");
    assert!(!together.stderr.contains("passes"), "{}", together.stderr);
    // 56 to 72 bytes for each of 360² numbers a model, 56 to 104 once, of the 32 MiB that matrices get.
    let (apart, other) = bench.run(&lines, &["--memory", "64M"]);
    assert_eq!(apart.code, 0, "{apart:#?}");
    let says = "s1: the matrices of 4 models do not fit --memory together: 2 passes over BOLD";
    assert!(apart.stderr.contains(says), "{}", apart.stderr);
    assert_same(&results(&other), &results(&out), "several passes");
}

#[test]
fn the_age_of_files_and_the_locale_do_not_matter() {
    let bench = StudyBench::new(810, 25, 40);
    let (whole, out) = bench.run(&[], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let expected = everything(&out);
    let day = Duration::from_secs(86_400);
    let set = |path: &Path, time: SystemTime| {
        let file = std::fs::File::options().write(true).open(path).expect("it is there");
        file.set_modified(time).expect("set");
    };
    // A clock that was set back: what is done is of the future, what is read is from 1960.
    for (path, _) in visible_files(&out) {
        set(&path, SystemTime::now() + 1000 * day);
    }
    for story in &bench.stories {
        set(&bench.file(&format!("s1/{}.npy", story.name)), SystemTime::UNIX_EPOCH - 3650 * day);
    }
    let again = bench.run_into(&out, &[], &[]);
    assert!(again.code == 0 && again.stderr.contains("finished before"), "{again:#?}");
    let study = bench.settings(&[]);
    for locale in ["de_DE.UTF-8", "tr_TR.UTF-8"] {
        let out = bench.out();
        let mut run = command(&["run", text(&study), "--out", text(&out)]);
        for name in ["LC_ALL", "LC_NUMERIC", "LANG", "LANGUAGE"] {
            run.env(name, locale);
        }
        let output = run.output().expect("it starts");
        assert!(output.status.success(), "{locale}");
        assert_same(&everything(&out), &expected, locale);
    }
}

#[test]
fn names_with_spaces_and_letters_of_any_script_change_no_number() {
    let bench = StudyBench::new(811, 25, 40);
    let lines = ["split.test = [\"story5 – „故事“, it's\"]"];
    let (whole, plain) = bench.run(&[], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    let folder = bench.file("Ordner mit Leerzeichen/é è 数据");
    std::fs::create_dir_all(folder.join("Proband eins")).expect("made");
    std::fs::create_dir_all(folder.join("s2")).expect("made");
    let mut words = std::fs::read_to_string(bench.file("words.tsv")).expect("it is there");
    for story in bench.stories.iter().map(|story| &story.name) {
        let name = format!("{story} – „故事“, it's");
        words = words.replace(&format!("{story}\t"), &format!("{name}\t"));
        for (from, to) in [("s1", "Proband eins"), ("s2", "s2")] {
            let to = folder.join(to).join(format!("{name}.npy"));
            std::fs::copy(bench.file(&format!("{from}/{story}.npy")), to).expect("copied");
        }
    }
    std::fs::write(folder.join("Wörter ü.tsv"), words).expect("written");
    std::fs::copy(bench.file("vectors.txt"), folder.join("väctors 1.txt")).expect("copied");
    let study = std::fs::read_to_string(bench.settings(&lines)).expect("it is there");
    let study = study.replace("words.tsv", "Wörter ü.tsv").replace("vectors.txt", "väctors 1.txt");
    let study = study.replace("\"s1/", "\"Proband eins/");
    std::fs::write(folder.join("meine Studie.toml"), study).expect("written");
    let file = folder.join("meine Studie.toml");
    let outcome = voxelcast(&["run", text(&file)]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let out = folder.join("meine Studie.results");
    let arrays = |out: &Path| -> Vec<(String, Vec<u8>)> {
        results(out).into_iter().filter(|(name, _)| name.ends_with(".npy")).collect()
    };
    assert!(arrays(&plain).len() > 20);
    assert_same(&arrays(&out), &arrays(&plain), "renamed");
    let run = run_json(&out);
    assert_eq!(run["split"]["test"][0], "story5 – „故事“, it's");
    let stories = std::fs::read_to_string(out.join("stories.csv")).expect("it is there");
    assert!(stories.contains("\"story5 – „故事“, it's\""), "{stories}");
}

#[test]
fn results_may_lie_inside_of_the_inputs_but_not_among_the_stories() {
    let bench = StudyBench::new(812, 25, 40);
    let (whole, out) = bench.run(&[], &[]);
    assert_eq!(whole.code, 0, "{whole:#?}");
    // model.json says the way to the vectors, which is longer from further inside.
    let arrays = |out: &Path| -> Vec<(String, Vec<u8>)> {
        results(out).into_iter().filter(|(name, _)| !name.ends_with("model.json")).collect()
    };
    let expected = arrays(&out);
    let tables = bench.file("tables");
    std::fs::create_dir(&tables).expect("made");
    let words = std::fs::read_to_string(bench.file("words.tsv")).expect("it is there");
    for story in bench.stories.iter().map(|story| &story.name) {
        let lines = words.lines().filter(|l| l.starts_with("story\t") || l.starts_with(story));
        let lines: Vec<&str> = lines.collect();
        std::fs::write(tables.join(format!("{story}.tsv")), lines.join("\n")).expect("written");
    }
    let lines = ["stories.path = \"tables\""];
    bench.run_into(&tables, &lines, &[]).refused(2, &["--out", "tables", "stories are read"]);
    assert_eq!(std::fs::read_dir(&tables).expect("readable").count(), 6, "nothing was written");
    for place in ["s1", "s1/inside", "tables/inside"] {
        let out = bench.file(place);
        for says in ["", "finished before"] {
            let outcome = bench.run_into(&out, &lines, &[]);
            assert_eq!(outcome.code, 0, "{place}: {outcome:#?}");
            assert!(outcome.stderr.contains(says), "{place}: {}", outcome.stderr);
        }
        let mut found = arrays(&out);
        found.retain(|(name, _)| expected.iter().any(|(wanted, _)| wanted == name));
        assert_same(&found, &expected, place);
    }
}

#[test]
fn an_output_folder_that_cannot_be_written_is_told_before_anything_is_computed() {
    let bench = StudyBench::new(813, 25, 40);
    let in_the_way = bench.file("words.tsv");
    let started = "device: cpu";
    let outcome = bench.run_into(&in_the_way.join("out"), &[GLOVE_ONLY], &["-v"]);
    outcome.refused(1, &["cannot write", "words.tsv/out", started]);
    assert!(!outcome.stderr.contains("features:"), "{}", outcome.stderr);
    let place = bench.file("place");
    std::fs::create_dir(&place).expect("made");
    if !has_namespaces(&place) {
        return skipped("no user namespace with a mount of its own");
    }
    let study = bench.settings(&[GLOVE_ONLY]);
    let script = "mount -t tmpfs -o ro tmpfs \"$1\" || exit 77\n\"$0\" run \"$2\" -v --out \"$1\"";
    let output = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script])
        .arg(command(&[]).get_program())
        .args([text(&place), text(&study)])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: cannot write") && said.contains("Read-only"), "{said}");
    assert!(!said.contains("features:"), "{said}");
}
