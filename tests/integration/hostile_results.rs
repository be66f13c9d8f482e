//! Result files that lie: every command ends with exit 3 and touches nothing outside the folder
//! that it was given.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::brain::{inside, write_mask};
use super::workbench::{GLOVE_ONLY, Outcome, StudyBench, text, voxelcast};

const N_VOXELS: usize = 20;

/// A finished run with weights and a mask.
struct Victim {
    bench: StudyBench,
    out: PathBuf,
}

/// Everything below a folder, with its bytes.
fn tree(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("readable") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), std::fs::read(&path).expect("readable"))),
            }
        }
    }
    found.sort();
    found
}

impl Victim {
    fn new(seed: u64) -> Self {
        let bench = StudyBench::new(seed, 60, N_VOXELS);
        write_mask(&bench.file("mask.nii.gz"), &inside());
        let mask = "bold.s1.mask = \"mask.nii.gz\"";
        let (outcome, out) = bench.run(&[GLOVE_ONLY, mask, "output.weights = true"], &[]);
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        Self { bench, out }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.out.join(name)).expect("it is there")
    }

    /// With a file of the run replaced, the command is refused with exit 3; nothing of the bench
    /// is another afterwards but `may`.
    #[track_caller]
    fn refuses(
        &self,
        name: &str,
        text: &str,
        may: &Path,
        run: &dyn Fn() -> Outcome,
        parts: &[&str],
    ) {
        let path = self.out.join(name);
        let good = std::fs::read(&path).expect("it is there");
        std::fs::write(&path, text).expect("written");
        let before = tree(&self.bench.file(""));
        run().refused(3, parts);
        let after: Vec<_> = tree(&self.bench.file(""))
            .into_iter()
            .filter(|(path, _)| !path.starts_with(may))
            .collect();
        assert!(after == before, "{name}: a file was touched");
        std::fs::write(&path, good).expect("written");
    }
}

/// A JSON text with one value replaced.
fn with(text: &str, place: &str, value: impl Into<Value>) -> String {
    let mut document: Value = serde_json::from_str(text).expect("JSON");
    *document.pointer_mut(place).expect("it is there") = value.into();
    document.to_string()
}

const NAMES: [&str; 6] = ["..", "../../outside", "/voxelcast-outside", "a/b", ".hidden", ""];

#[test]
fn predict_writes_nowhere_else_whatever_model_json_says() {
    let victim = Victim::new(2101);
    let name = "models/s1/glove-lagged/model.json";
    let good = victim.read(name);
    let out = victim.bench.file("predicted");
    let words = victim.bench.file("words.tsv");
    let predict = || {
        let model = victim.out.join("models/s1/glove-lagged");
        voxelcast(&[
            "predict",
            "--model",
            text(&model),
            "--stories",
            text(&words),
            "--out",
            text(&out),
        ])
    };
    for bad in NAMES {
        for place in ["/subject", "/space", "/parts/0/name"] {
            let text = with(&good, place, bad);
            victim.refuses(name, &text, &out, &predict, &["model.json", "name"]);
        }
    }
    for (place, bad) in [
        ("/first_tr_s", Value::from(-1e15)),
        ("/tr_s", (-2.0).into()),
        ("/story_trs/story0", 10_000_000_000_000u64.into()),
        ("/n_voxels", 1_000_000_000_000_000u64.into()),
        ("/n_coefs", 7.into()),
        ("/delays/0", 1_000_000_000.into()),
        ("/lanczos_window", 1_000_000.into()),
        ("/cutoff_mult", (-1.0).into()),
        ("/trim", "18446744073709551615:5".into()),
        ("/time", "never".into()),
        ("/zscore", "never".into()),
        ("/parts/0/n_features", 1_000_000_000_000u64.into()),
        ("/parts/0/features/path", "/dev/zero".into()),
        ("/parts/0/features/blake3", "00".into()),
    ] {
        victim.refuses(name, &with(&good, place, bad), &out, &predict, &[]);
    }
    // Through the run: its run.json names the models.
    let run = victim.read("run.json");
    let all = || {
        voxelcast(&[
            "predict",
            "--model",
            text(&victim.out),
            "--stories",
            text(&words),
            "--out",
            text(&out),
        ])
    };
    for bad in NAMES {
        let text = with(&run, "/models/0/folder", bad);
        victim.refuses("run.json", &text, &out, &all, &["run.json"]);
    }
    assert_eq!(all().code, 0);
}

#[test]
fn score_writes_nowhere_else_whatever_predictions_json_says() {
    let victim = Victim::new(2102);
    let predicted = victim.out.join("predicted");
    let words = victim.bench.file("words.tsv");
    let outcome = voxelcast(&[
        "predict",
        "--model",
        text(&victim.out),
        "--stories",
        text(&words),
        "--out",
        text(&predicted),
    ]);
    assert_eq!(outcome.code, 0, "{outcome:#?}");
    let name = "predicted/predictions.json";
    let good = victim.read(name);
    let (bold, out) = (victim.bench.file("{subject}/{story}.npy"), victim.bench.file("scores"));
    let score = || {
        voxelcast(&[
            "score",
            "--predictions",
            text(&predicted),
            "--bold",
            text(&bold),
            "--out",
            text(&out),
        ])
    };
    for bad in NAMES {
        for place in ["/models/0/folder", "/models/0/subject", "/models/0/space"] {
            victim.refuses(name, &with(&good, place, bad), &out, &score, &["predictions.json"]);
        }
    }
    for (place, bad) in [
        ("/stories/0/0", Value::from("../story0")),
        ("/models/0/n_voxels", u64::MAX.into()),
        ("/models/0/n_voxels", 0.into()),
        ("/models/0/lagged", (!good.contains("\"lagged\": true,")).into()),
        ("/models", 3.into()),
    ] {
        victim.refuses(name, &with(&good, place, bad), &out, &score, &[]);
    }
    assert_eq!(score().code, 0);
}

#[test]
fn report_writes_nowhere_else_whatever_the_tables_say() {
    let victim = Victim::new(2103);
    let (summary, run) = (victim.read("summary.csv"), victim.read("run.json"));
    let volumes = victim.bench.file("volumes");
    let report = || voxelcast(&["report", text(&victim.out), "--nifti", text(&volumes)]);
    for bad in &NAMES[..5] {
        let text = summary.replace("s1,glove,", &format!("{bad},glove,"));
        victim.refuses("summary.csv", &text, &volumes, &report, &["summary.csv", "name"]);
        let text = summary.replace("s1,glove,", &format!("s1,{bad},"));
        victim.refuses("summary.csv", &text, &volumes, &report, &["summary.csv", "name"]);
        victim.refuses(
            "run.json",
            &with(&run, "/models/0/folder", *bad),
            &volumes,
            &report,
            &["run.json"],
        );
    }
    let text = summary.replace(&format!(",{N_VOXELS},"), ",18446744073709551615,");
    victim.refuses("summary.csv", &text, &volumes, &report, &[]);
    for (place, bad) in [
        ("/subjects", Value::from(3)),
        ("/n_train_trs", (-1).into()),
        ("/split/test", vec!["../x"].into()),
        ("/schema", "voxelcast.ridge/1".into()),
    ] {
        victim.refuses("run.json", &with(&run, place, bad), &volumes, &report, &["run.json"]);
    }
    assert_eq!(report().code, 0);
}

#[test]
fn export_and_show_take_no_name_as_it_comes() {
    let victim = Victim::new(2104);
    let run = victim.read("run.json");
    let npz = victim.bench.file("x.npz");
    let export = || voxelcast(&["export", text(&victim.out), "--npz", text(&npz)]);
    let show = || voxelcast(&["show", text(&victim.out)]);
    for bad in &NAMES[..5] {
        let renamed = run.replace("\"s1\":", &format!("{}:", Value::from(*bad)));
        assert_ne!(renamed, run);
        let other = with(&run, "/models/0/folder", *bad);
        for text in [&renamed, &other] {
            victim.refuses("run.json", text, &npz, &export, &["run.json", "name"]);
            victim.refuses("run.json", text, &npz, &show, &["run.json", "name"]);
        }
    }
    let long = "x".repeat(100_000);
    victim.refuses("run.json", &with(&run, "/split/test/0", long), &npz, &export, &["story"]);
    assert!(!npz.exists());
    assert_eq!(export().code, 0);
}

#[test]
fn a_shard_forgets_no_mark_outside_its_folder() {
    let bench = StudyBench::new(2105, 25, 1300);
    let (study, out) = (bench.settings(&[GLOVE_ONLY]), bench.out());
    let shard = || voxelcast(&["run", text(&study), "--out", text(&out), "--shard", "1/4"]);
    assert_eq!(shard().code, 0);
    let victim = bench.file("victim");
    std::fs::create_dir_all(&victim).expect("made");
    for name in ["model.json", ".done.json", "cv_scores.npy"] {
        std::fs::write(victim.join(name), "precious").expect("written");
    }
    let path = out.join("shards/1-of-4/manifest.json");
    let good = std::fs::read_to_string(&path).expect("it is there");
    let inside = victim.join("cv_scores.npy");
    for bad in [text(&inside), "models/../../../../../victim/x.npy", "../../../victim/x.npy"] {
        std::fs::write(&path, with(&good, "/files/0/path", bad)).expect("written");
        let outcome = shard();
        // A damaged manifest is no manifest: the shard is looked at again.
        assert_eq!(outcome.code, 0, "{outcome:#?}");
        for name in ["model.json", ".done.json", "cv_scores.npy"] {
            let left = std::fs::read_to_string(victim.join(name)).expect("it is there");
            assert_eq!(left, "precious", "{bad}");
        }
    }
    // A plan that cuts elsewhere.
    let path = out.join("shards/plan.json");
    let good = std::fs::read_to_string(&path).expect("it is there");
    for (place, bad) in [
        ("/shards/0/parts/0/end", Value::from(u64::MAX)),
        ("/shards/0/parts/0/start", 900.into()),
        ("/shards/0/parts/0/subject", "../s1".into()),
    ] {
        std::fs::write(&path, with(&good, place, bad)).expect("written");
        shard().refused(3, &["plan.json"]);
    }
}

#[test]
fn pipes_and_devices_are_no_result_files() {
    let victim = Victim::new(2106);
    let npz = victim.bench.file("x.npz");
    for name in ["run.json", "summary.csv", "models/s1/glove/model.json"] {
        let path = victim.out.join(name);
        let good = std::fs::read(&path).expect("it is there");
        std::fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("made");
        let words = victim.bench.file("words.tsv");
        let (model, out) = (victim.out.join("models/s1/glove"), victim.bench.file("predicted"));
        let outcome = match name {
            "run.json" => voxelcast(&["export", text(&victim.out), "--npz", text(&npz)]),
            "summary.csv" => voxelcast(&["report", text(&victim.out)]),
            _ => voxelcast(&[
                "predict",
                "--model",
                text(&model),
                "--stories",
                text(&words),
                "--out",
                text(&out),
            ]),
        };
        outcome.refused(3, &[]);
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, good).expect("written");
    }
}
