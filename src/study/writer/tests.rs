use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use super::*;
use crate::reporter::Reporter;
use crate::ridge::Route;
use crate::ridge::conditioning::Conditioning;
use crate::warning::Warning;

const N_VOXELS: usize = 40;
const N_STORIES: usize = 2;
const N_COEFS: usize = 3;
const ALPHAS: [f64; 2] = [1.0, 10.0];

/// Keeps the notes.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Reporter for Heard {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn step(&self, _: &str) {}
    fn warn(&self, _: &Warning) {}
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

fn plan() -> ModelPlan {
    ModelPlan { name: "glove".into(), ..ModelPlan::of_width(0, N_COEFS, 1) }
}

/// A subject's output folder, with random splits and weights.
struct Bench {
    out: tempfile::TempDir,
    plan: ModelPlan,
    fingerprint: &'static str,
}

impl Bench {
    fn new() -> Self {
        Self { out: tempfile::tempdir().unwrap(), plan: plan(), fingerprint: "f1" }
    }

    /// The writer, and what was noted when it was opened.
    fn open(&self) -> (SubjectWriter, Vec<String>) {
        let conditioning = Conditioning { condition: 1.0, score_errors: vec![] };
        let route =
            RouteTaken { route: Route::Gram, solver: "gram".into(), conditioning, position: None };
        let job = ModelJob {
            plan: &self.plan,
            fingerprint: self.fingerprint.into(),
            route,
            search: None,
            saved: None,
        };
        let sizes = Sizes {
            first_voxel: 0,
            n_voxels: N_VOXELS,
            is_part: false,
            n_test_stories: N_STORIES,
            has_inner: false,
            alphas: &ALPHAS,
            weights: true,
            tests: Tests { permutations: 9, q: 0.05 },
            n_random: 1,
            n_split_rows: 1 + N_STORIES,
            n_learning_rows: 0,
        };
        let heard = Heard::default();
        let writer = SubjectWriter::open(self.out.path(), "s1", &[job], sizes, &heard).unwrap();
        (writer, heard.0.into_inner().unwrap())
    }

    fn partial(&self, name: &str) -> PathBuf {
        self.out.path().join(".partial/s1/glove").join(name)
    }

    /// All files that have their names.
    fn finished(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.out.path().join("models/s1/glove");
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap())
        };
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
        files.sort();
        files
    }
}

/// Ten voxels of every file, each value different from all others.
fn write_tile(writer: &SubjectWriter, start: usize) {
    let cols = start..start + 10;
    let values = |rows: usize, first: f32| -> Vec<f32> {
        (0..rows)
            .flat_map(|row| cols.clone().map(move |v| first + (row * N_VOXELS + v) as f32 / 997.0))
            .collect()
    };
    let test = |first: f32| TestTile {
        correlation: values(1, first),
        block_correlation: values(N_STORIES, first + 1.0),
        n_at_least: vec![3; 10],
        ..TestTile::default()
    };
    let model = ModelTile {
        cv_scores: values(ALPHAS.len(), 0.1),
        best: (0..10).map(|v| Some(v % 2)).collect(),
        coef: values(N_COEFS, 5.0),
        intercept: values(1, 9.0),
        basis_rank: 4,
        basis_error: 0.1 + 0.2,
        ..ModelTile::default()
    };
    let tile = SolvedTile {
        voxels: cols.clone(),
        models: &[model],
        tests: &[test(0.2)],
        others: &[vec![test(0.6)]],
        counts: VoxelCounts { n_not_finite: 1, n_constant: 2 },
    };
    writer.write(tile).unwrap();
}

fn missing(writer: &SubjectWriter) -> Vec<Range<usize>> {
    writer.missing_tiles(N_VOXELS, 10, 1, 1)
}

/// Finishes what is missing; the finished files.
fn finish(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let (writer, _) = bench.open();
    missing(&writer).iter().for_each(|tile| write_tile(&writer, tile.start));
    writer.finish().unwrap();
    assert!(!bench.out.path().join(".partial/s1").exists());
    bench.finished()
}

/// Three of four tiles are done, then the process ends.
fn killed() -> Bench {
    let bench = Bench::new();
    let (writer, notes) = bench.open();
    assert_eq!(notes, Vec::<String>::new());
    [0, 20, 10].iter().for_each(|&start| write_tile(&writer, start));
    bench
}

#[test]
fn a_killed_run_goes_on_and_ends_in_the_same_bytes() {
    let expected = finish(&Bench::new());
    assert!(expected.iter().any(|(name, _)| name == ".done.json") && expected.len() == 9);
    let bench = killed();
    let (writer, notes) = bench.open();
    assert_eq!(missing(&writer).as_slice(), std::slice::from_ref(&(30..40)));
    assert_eq!(notes, Vec::<String>::new());
    drop(writer);
    assert_eq!(finish(&bench), expected);
}

#[test]
fn a_tile_with_other_bytes_in_any_file_is_done_again() {
    let expected = finish(&Bench::new());
    let files = ["cv_scores.npy", "story_correlation.npy", SCALARS, WEIGHTS, STABILITY_CORRELATION];
    for name in files {
        for is_zeroed in [true, false] {
            let bench = killed();
            let path = bench.partial(name);
            let file = fs::File::options().read(true).write(true).open(&path).unwrap();
            // The last row of the second tile: from voxel 10, of 40, to the end of the file.
            let size = if name == SCALARS { size_of::<f64>() } else { size_of::<f32>() };
            let at = file.metadata().unwrap().len() - (30 * size) as u64;
            let mut bytes = vec![0; 10 * size];
            if !is_zeroed {
                file.read_exact_at(&mut bytes, at).unwrap();
                bytes[4 * size] ^= 1;
            }
            file.write_all_at(&bytes, at).unwrap();
            let (writer, notes) = bench.open();
            assert_eq!(missing(&writer), [10..20, 30..40], "{name}");
            let note = "note: s1: the data of 10 voxels are not what was written: these tiles are done \
                        again";
            assert_eq!(notes, [note], "{name}");
            drop(writer);
            assert_eq!(finish(&bench), expected, "{name}");
        }
    }
}

#[test]
fn a_changed_digit_of_the_journal_costs_its_tile() {
    let expected = finish(&Bench::new());
    let bench = killed();
    let path = bench.out.path().join(".partial/s1").join(JOURNAL);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("\"n_constant\":2", "\"n_constant\":3", 1)).unwrap();
    let (writer, notes) = bench.open();
    assert_eq!(missing(&writer), [0..10, 30..40]);
    assert_eq!(notes, ["note: s1: 1 line of the journal is damaged: these tiles are done again"]);
    drop(writer);
    assert_eq!(finish(&bench), expected);
}

#[test]
fn a_file_that_is_cut_or_gone_costs_all_tiles() {
    let expected = finish(&Bench::new());
    for is_cut in [true, false] {
        for name in ["cv_scores.npy", SCALARS, WEIGHTS, STABILITY_CORRELATION] {
            let bench = killed();
            let path = bench.partial(name);
            match is_cut {
                true => {
                    let file = fs::File::options().write(true).open(&path).unwrap();
                    file.set_len(file.metadata().unwrap().len() - 5).unwrap();
                }
                false => fs::remove_file(&path).unwrap(),
            }
            let (writer, notes) = bench.open();
            assert_eq!(missing(&writer).len(), 4, "{name}");
            assert!(notes.len() == 1 && notes[0].contains("gone or damaged"), "{notes:?}");
            drop(writer);
            assert_eq!(finish(&bench), expected, "{name}");
        }
    }
}

#[test]
fn tiles_of_other_settings_are_thrown_away() {
    let mut bench = killed();
    bench.fingerprint = "f2";
    let (writer, notes) = bench.open();
    assert_eq!((missing(&writer).len(), notes.len()), (4, 0));
}

#[test]
fn a_new_fit_takes_the_mark_away_first() {
    let bench = Bench::new();
    finish(&bench);
    let mark = bench.out.path().join("models/s1/glove/.done.json");
    assert!(mark.exists());
    let (_writer, _) = bench.open();
    assert!(!mark.exists());
}
