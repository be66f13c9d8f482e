//! Commands over a whole folder of results, whose small files are hostile and whose arrays are not:
//! nothing outside the folders that a command was given is touched.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use voxelcast::commands::export::export_npz;
use voxelcast::commands::predict::{NewTrs, PredictJob, run as predict_run};
use voxelcast::commands::score::{ScoreJob, run as score_run};
use voxelcast::io::nifti::{Grid, write_volume};
use voxelcast::io::npy;
use voxelcast::io::safetensors::ColumnsWriter;
use voxelcast::reporter::Silent;
use voxelcast::results::brain::write_nifti;
use voxelcast::results::write_page;
use voxelcast::stimuli::WordRules;
use voxelcast::study::BoldFlags;
use voxelcast::study_file::BoldCleaning;

use super::models::BETWEEN;
use super::{answer_of_settings, folder};

/// Voxels of the run.
const N: usize = 4;
/// Its test stories, and alphas.
const N_STORIES: usize = 2;
const N_ALPHAS: usize = 3;

/// What [`report`] reads beside arrays, in the order of the seeds.
const TABLES: [&str; 12] = [
    "run.json",
    "summary.csv",
    "stories.csv",
    "significance.csv",
    "comparisons.csv",
    "stability.csv",
    "stability_stories.csv",
    "overlap.csv",
    "learning_curve.csv",
    "noise_ceiling.csv",
    "story_properties.csv",
    "cv_curve.csv",
];

/// A finished run, predictions of it and BOLD to score them by, beside a folder that nobody may
/// touch; deep enough that `../../..` stays inside.
struct Arena {
    root: PathBuf,
    run: PathBuf,
    predicted: PathBuf,
    bold: PathBuf,
    out: PathBuf,
    words: PathBuf,
}

thread_local! {
    static ARENA: RefCell<Option<Arena>> = const { RefCell::new(None) };
}

/// Runs a body in the arena of this thread; afterwards everything outside `run` and `out` is as it
/// was.
#[track_caller]
fn in_arena(files: &[&str], data: &[u8], body: impl FnOnce(&Arena) -> bool) -> bool {
    ARENA.with_borrow_mut(|arena| {
        let arena = arena.get_or_insert_with(Arena::new);
        let mut rest = data;
        for name in files {
            let at = rest.windows(BETWEEN.len()).position(|window| window == BETWEEN);
            let (part, behind) = match at {
                Some(at) => (&rest[..at], &rest[at + BETWEEN.len()..]),
                None => (rest, &[][..]),
            };
            std::fs::write(arena.run.join(name), part).expect("the folder takes it");
            rest = behind;
        }
        let _ = std::fs::remove_dir_all(&arena.out);
        let before = arena.outside();
        let is_read = body(arena);
        assert_eq!(arena.outside(), before, "something outside was touched");
        is_read
    })
}

impl Arena {
    fn new() -> Self {
        let root = folder().join("arena");
        let home = root.join("a/b/c/d");
        let at = |name: &str| home.join(name);
        let arena = Self {
            run: at("run"),
            predicted: at("run/predicted"),
            bold: at("bold"),
            out: at("out"),
            words: at("words.tsv"),
            root,
        };
        let model = arena.run.join("models/s1/bow-lagged");
        let predicted = arena.predicted.join("s1/bow-lagged");
        let bold = arena.bold.join("s1");
        for folder in [&model, &predicted, &bold, &at("outside")] {
            std::fs::create_dir_all(folder).expect("made");
        }
        let array = |path: PathBuf, shape: &[usize]| {
            let n: usize = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|i| (i * 7 % 5) as f32 / 5.0).collect();
            npy::write(&path, shape, &values).expect("written");
        };
        for (name, shape) in [
            ("test_correlation", &[N][..]),
            ("story_correlation", &[N_STORIES, N]),
            ("cv_scores", &[N_ALPHAS, N]),
            ("best_alpha", &[N]),
            ("p_values", &[N]),
            ("significant", &[N]),
        ] {
            array(model.join(format!("{name}.npy")), shape);
        }
        for story in ["one", "two"] {
            array(predicted.join(format!("{story}.npy")), &[5, N]);
            array(bold.join(format!("{story}.npy")), &[5, N]);
        }
        let tensors = [("weights", 4), ("intercept", 1)];
        let last = model.join("weights.safetensors");
        let partial = model.join("weights.partial");
        let weights = ColumnsWriter::resume(&partial, &last, &tensors, N).expect("made");
        weights.write_columns(0, 0..N, &[0.5; 4 * N]).expect("written");
        weights.write_columns(1, 0..N, &[0.25; N]).expect("written");
        weights.finish().expect("named");
        let grid = Grid::new(
            [2, 2, 1],
            [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
        );
        write_volume(&arena.run.join("models/s1/mask.nii"), &grid, &[1.0; N]).expect("written");
        let words =
            "story\tonset\toffset\tword\none\t0\t1\tthe\none\t30\t31\tstory\ntwo\t4\t5\tthe\n";
        std::fs::write(&arena.words, words).expect("written");
        std::fs::write(at("outside/precious"), "as it was").expect("written");
        arena
    }

    /// Everything that is there but the run and what is written, with the lengths of files.
    fn outside(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("readable").flatten() {
                let path = entry.path();
                if path == self.run || path == self.out {
                    continue;
                }
                let about = entry.metadata().expect("readable");
                // A folder's length is the file system's business: tmpfs counts entries, `out` too.
                let n_bytes = if about.is_dir() { 0 } else { about.len() };
                found.push((path.clone(), n_bytes));
                if about.is_dir() {
                    folders.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// run.json and a model.json; models predict two stories.
pub fn predict(data: &[u8]) -> bool {
    in_arena(&["run.json", "models/s1/bow-lagged/model.json"], data, |arena| {
        let job = PredictJob {
            model: arena.run.clone(),
            stories: arena.words.clone(),
            words: WordRules::default(),
            cleaning: BoldCleaning::default(),
            wanted: Vec::new(),
            subjects: Vec::new(),
            spaces: Vec::new(),
            n_trs: NewTrs::Known,
            intercept: true,
            vectors: Vec::new(),
            out: arena.out.clone(),
            memory_bytes: 64 << 20,
        };
        let done = answer_of_settings(predict_run(&job, &Silent, &AtomicBool::new(false)));
        done.is_some_and(|found| !found.models.is_empty())
    })
}

/// predictions.json, scored against BOLD.
pub fn score(data: &[u8]) -> bool {
    in_arena(&["predicted/predictions.json"], data, |arena| {
        let job = ScoreJob {
            predictions: arena.predicted.clone(),
            bold: BoldFlags {
                path: text(&arena.bold.join("{subject}/{story}.npy")),
                ..BoldFlags::default()
            },
            cleaning: BoldCleaning::default(),
            wanted: Vec::new(),
            out: Some(arena.out.clone()),
        };
        let done = answer_of_settings(score_run(&job, &Silent, &AtomicBool::new(false)));
        done.is_some_and(|found| !found.summary.is_empty())
    })
}

/// run.json and every table; a page and NIfTI files.
pub fn report(data: &[u8]) -> bool {
    in_arena(&TABLES, data, |arena| {
        let Some((_, results)) = answer_of_settings(write_page(&arena.run)) else { return false };
        answer_of_settings(write_nifti(&arena.run, &results, &arena.out));
        true
    })
}

/// run.json; one `.npz`.
pub fn export(data: &[u8]) -> bool {
    in_arena(&["run.json"], data, |arena| {
        std::fs::create_dir_all(&arena.out).expect("made");
        let made = answer_of_settings(export_npz(&arena.run, &arena.out.join("x.npz"), false));
        made.is_some_and(|made| made.arrays.iter().any(|name| name == "s1/bow-lagged/scores"))
    })
}

fn text(path: &Path) -> String {
    path.to_str().expect("folders of tests are UTF-8").to_owned()
}
