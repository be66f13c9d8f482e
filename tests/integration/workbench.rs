//! Temporary folders, random data, files written by hand, runs of the binary.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use tempfile::TempDir;
use voxelcast::io::npy;

/// How a run of the binary ended.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Asserts the exit code and that stderr says all of `parts`, as one line that is an error.
    #[track_caller]
    pub fn refused(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(self.stderr.lines().any(|line| line.starts_with("error: ")), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "expected {part:?} in {self:#?}");
        }
        assert!(self.stdout.is_empty(), "{self:#?}");
    }
}

/// The binary, ready to be given more arguments.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxelcast"));
    command.args(args).stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// Runs the binary to its end.
pub fn voxelcast(args: &[&str]) -> Outcome {
    let output = command(args).output().expect("the binary starts");
    Outcome {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

/// Says, past the test harness, which captures printing, that a test did not run.
pub fn skipped(why: &str) {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("\nSKIPPED {name}: {why}\n").as_bytes(),
    );
}

/// The folder of real data that `VOXELCAST_DATA` names, `../shared/data` beside the checkout without
/// it; or a loud line.
pub fn real_data() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let folder = std::env::var_os("VOXELCAST_DATA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    let why = "VOXELCAST_DATA names their folder";
    skipped(&format!("no real data at {}; {why}", folder.display()));
    None
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Random numbers that are the same on every machine.
pub fn seeded(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Standard normal f32 values, `(n, p)`.
pub fn normal(rng: &mut ChaCha8Rng, n: usize, p: usize) -> Array2<f32> {
    Array2::from_shape_simple_fn((n, p), || rng.sample::<f32, _>(StandardNormal))
}

/// `y = x w + noise` with weights of 1/√p, so that signal and noise are of one size, and means.
pub fn planted(rng: &mut ChaCha8Rng, x: &Array2<f32>, n_voxels: usize) -> Array2<f32> {
    let w = normal(rng, x.ncols(), n_voxels) / (x.ncols() as f32).sqrt();
    x.dot(&w) + normal(rng, x.nrows(), n_voxels) + 0.5f32
}

/// The same values in f64.
pub fn wide(x: &Array2<f32>) -> Array2<f64> {
    x.mapv(f64::from)
}

/// Labels of very different sizes, in no order.
pub fn scattered_folds(rng: &mut ChaCha8Rng, n: usize, labels: &[i64]) -> Vec<i64> {
    let mut folds: Vec<i64> = (0..n)
        .map(|i| {
            // Label k has about half the rows of label k − 1, and never fewer than four.
            let k = (0..labels.len() - 1).find(|_| rng.random_bool(0.5));
            if i < 4 * labels.len() { labels[i % labels.len()] } else { labels[k.unwrap_or(0)] }
        })
        .collect();
    for i in (1..n).rev() {
        folds.swap(i, rng.random_range(0..=i));
    }
    folds
}

/// A `.npy` file by hand: any dtype name, either order, any header text.
pub fn raw_npy(path: &Path, descr: &str, is_fortran: bool, shape: &str, data: &[u8]) {
    let order = if is_fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).expect("a short header").to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).expect("the file is written");
}

/// A C-order f32 matrix.
pub fn write_f32(path: &Path, x: &Array2<f32>) {
    let data: Vec<f32> = x.iter().copied().collect();
    npy::write(path, &[x.nrows(), x.ncols()], &data).expect("the file is written");
}

/// A matrix as f32 or f64, C or Fortran order.
pub fn write_as(path: &Path, x: &Array2<f32>, is_f64: bool, is_fortran: bool) {
    let transposed = x.t();
    let values: Vec<f32> =
        if is_fortran { transposed.iter().copied().collect() } else { x.iter().copied().collect() };
    let bytes: Vec<u8> = match is_f64 {
        true => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
        false => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    let shape = format!("({}, {})", x.nrows(), x.ncols());
    raw_npy(path, if is_f64 { "<f8" } else { "<f4" }, is_fortran, &shape, &bytes);
}

/// The dtype in a `.npy` file's header.
pub fn dtype(path: &Path) -> String {
    npy::NpyFile::open(path).expect("the file is whole").dtype().to_string()
}

/// A matrix in f64, with the shape that it must have.
#[track_caller]
pub fn read_matrix(path: &Path, shape: (usize, usize)) -> Array2<f64> {
    let matrix = npy::read_matrix_f64(path).expect("the file is whole");
    assert_eq!(matrix.dim(), shape, "{}", path.display());
    matrix
}

/// A vector in f64, with the length that it must have.
#[track_caller]
pub fn read_vector(path: &Path, n: usize) -> Vec<f64> {
    let vector = npy::read_vector_f64(path).expect("the file is whole").to_vec();
    assert_eq!(vector.len(), n, "{}", path.display());
    vector
}

/// All files below a folder with their bytes, hidden files and folders left out, sorted.
pub fn visible_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("the entry is readable").path();
            let is_hidden =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("the file is readable");
                found.push((path, bytes));
            }
        }
    }
    found.sort();
    found
}

/// Names of [`visible_files`].
pub fn visible_names(folder: &Path) -> Vec<String> {
    let relative =
        |path: PathBuf| path.strip_prefix(folder).expect("below the folder").display().to_string();
    visible_files(folder).into_iter().map(|(path, _)| relative(path)).collect()
}

/// A folder with the inputs of `voxelcast ridge`.
pub struct RidgeBench {
    folder: TempDir,
    pub n_features: usize,
    pub n_voxels: usize,
    pub n_test: usize,
    runs: AtomicUsize,
}

/// The files of one `voxelcast ridge`.
#[derive(Debug)]
pub struct RidgeFiles {
    pub alphas: Vec<f64>,
    pub cv_scores: Array2<f64>,
    pub best_alpha: Vec<f64>,
    pub coef: Array2<f64>,
    pub intercept: Vec<f64>,
    pub test_correlation: Vec<f64>,
    pub outcome: Outcome,
    pub out: PathBuf,
}

impl RidgeBench {
    /// Writes x, y and fold ids.
    pub fn new(x: &Array2<f32>, y: &Array2<f32>, folds: &[i64]) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        write_f32(&folder.path().join("x.npy"), x);
        write_f32(&folder.path().join("y.npy"), y);
        npy::write(&folder.path().join("folds.npy"), &[folds.len()], folds).expect("written");
        let (n_features, n_voxels, runs) = (x.ncols(), y.ncols(), AtomicUsize::new(0));
        Self { folder, n_features, n_voxels, n_test: 0, runs }
    }

    /// Adds a test set; every run is given it.
    pub fn with_test(mut self, x: &Array2<f32>, y: &Array2<f32>) -> Self {
        write_f32(&self.file("x_test.npy"), x);
        write_f32(&self.file("y_test.npy"), y);
        self.n_test = x.nrows();
        self
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs with more flags into a folder of its own; returns the folder too.
    pub fn run(&self, flags: &[&str]) -> (Outcome, PathBuf) {
        let out = self.file(&format!("out{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        let [x, y, folds, x_test, y_test] =
            ["x", "y", "folds", "x_test", "y_test"].map(|name| self.file(&format!("{name}.npy")));
        let mut args = vec!["ridge", "--x", text(&x), "--y", text(&y), "--out", text(&out)];
        if !flags.contains(&"--groups") {
            args.extend(["--fold-ids", text(&folds)]);
        }
        if self.n_test > 0 {
            args.extend(["--x-test", text(&x_test), "--y-test", text(&y_test)]);
        }
        args.extend(flags);
        (voxelcast(&args), out)
    }

    /// Runs, expects success, reads the files and checks their shapes and dtypes.
    #[track_caller]
    pub fn fit(&self, flags: &[&str]) -> RidgeFiles {
        let (outcome, out) = self.run(flags);
        assert_eq!(outcome.code, 0, "{flags:?}: {outcome:#?}");
        let (p, v) = (self.n_features, self.n_voxels);
        let file = |name: &str, wanted: &str| {
            let path = out.join(name);
            assert_eq!(dtype(&path), wanted, "{name}");
            path
        };
        let alphas = npy::read_vector_f64(&file("alphas.npy", "<f8")).expect("whole").to_vec();
        let test_correlation = match self.n_test {
            0 => {
                assert!(!out.join("test_correlation.npy").exists());
                Vec::new()
            }
            _ => read_vector(&file("test_correlation.npy", "<f4"), v),
        };
        RidgeFiles {
            cv_scores: read_matrix(&file("cv_scores.npy", "<f4"), (alphas.len(), v)),
            best_alpha: read_vector(&file("best_alpha.npy", "<f8"), v),
            coef: read_matrix(&file("coef.npy", "<f4"), (p, v)),
            intercept: read_vector(&file("intercept.npy", "<f4"), v),
            alphas,
            test_correlation,
            outcome,
            out,
        }
    }
}

/// A tiny study on disk: stories with words, vectors, two subjects whose BOLD follows the words
/// two TRs late under the trim `10:5`.
pub struct StudyBench {
    folder: TempDir,
    pub stories: Vec<StoryTruth>,
    runs: AtomicUsize,
}

/// One story as it was made.
pub struct StoryTruth {
    pub name: String,
    pub words: Vec<String>,
    pub onset_s: Vec<f64>,
    pub offset_s: Vec<f64>,
    /// Rows of its BOLD.
    pub n_rows: usize,
}

/// Values of each vector of the study.
pub const DIM: usize = 6;
/// Different words of the study.
pub const N_DIFFERENT: usize = 24;
/// The trim that is right for the BOLD, and what it cuts.
pub const HEAD: usize = 10;
pub const TAIL: usize = 5;

impl StudyBench {
    /// Six stories of about `n_rows` TRs.
    pub fn new(seed: u64, n_rows: usize, n_voxels: usize) -> Self {
        Self::with_stories(seed, 6, n_rows, n_voxels)
    }

    /// So many stories of about `n_rows` TRs.
    pub fn with_stories(seed: u64, n_stories: usize, n_rows: usize, n_voxels: usize) -> Self {
        let folder = tempfile::tempdir().expect("there is a temporary folder");
        let rng = &mut seeded(seed);
        let vectors = normal(rng, N_DIFFERENT, DIM);
        let mut lines = String::new();
        for (i, vector) in vectors.rows().into_iter().enumerate() {
            let values: Vec<String> = vector.iter().map(ToString::to_string).collect();
            writeln!(lines, "word{i} {}", values.join(" ")).expect("a string takes text");
        }
        std::fs::write(folder.path().join("vectors.txt"), lines).expect("written");
        let stories: Vec<StoryTruth> =
            (0..n_stories).map(|i| spoken(rng, i, n_rows + 3 * (i % 6))).collect();
        let bench = Self { folder, stories, runs: AtomicUsize::new(0) };
        bench.write_words(|_| true);
        for subject in ["s1", "s2"] {
            std::fs::create_dir(bench.file(subject)).expect("made");
            let weights = normal(rng, DIM, n_voxels);
            for story in &bench.stories {
                let bold = heard(rng, story, &vectors, &weights);
                write_f32(&bench.file(&format!("{subject}/{}.npy", story.name)), &bold);
            }
        }
        bench
    }

    /// Writes words.tsv with the stories that `keep` names.
    pub fn write_words(&self, keep: impl Fn(&str) -> bool) {
        let mut lines = String::from("story\tonset\toffset\tword\n");
        for story in self.stories.iter().filter(|story| keep(&story.name)) {
            for (i, word) in story.words.iter().enumerate() {
                let (onset, offset) = (story.onset_s[i], story.offset_s[i]);
                writeln!(lines, "{}\t{onset}\t{offset}\t{word}", story.name).expect("text");
            }
        }
        std::fs::write(self.file("words.tsv"), lines).expect("written");
    }

    /// A file of the study's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes STUDY.toml: `lines` replace or add keys, `section.key = value` each.
    pub fn settings(&self, lines: &[&str]) -> PathBuf {
        let mut keys: Vec<(String, String)> = Vec::new();
        let defaults = [
            "stories.path = \"words.tsv\"",
            "split.test = [\"story5\"]",
            "design.variants = [\"lagged\", \"plain\"]",
            "ridge.alphas = \"logspace(0,5,11)\"",
            "ridge.folds = 5",
            "output.weights = true",
            "statistics.permutations = 50",
            "statistics.resamples = 200",
        ];
        for line in defaults.iter().chain(lines) {
            let (key, value) = line.split_once(" = ").expect("key = value");
            keys.retain(|(old, _)| old != key);
            keys.push((key.to_owned(), value.to_owned()));
        }
        let mut text = String::new();
        let sections = [
            "stories",
            "split",
            "design",
            "encoder",
            "ridge",
            "bands",
            "partition",
            "statistics",
            "stability",
            "output",
        ];
        for section in sections {
            writeln!(text, "[{section}]").expect("text");
            for (key, value) in &keys {
                if let Some(name) = key.strip_prefix(&format!("{section}.")) {
                    writeln!(text, "{name} = {value}").expect("text");
                }
            }
        }
        for subject in ["s1", "s2"] {
            writeln!(text, "[bold.{subject}]\npath = \"{subject}/{{story}}.npy\"").expect("text");
            for (key, value) in &keys {
                if let Some(name) = key.strip_prefix(&format!("bold.{subject}.")) {
                    writeln!(text, "{name} = {value}").expect("text");
                }
            }
        }
        let spaces = keys.iter().find(|(key, _)| key == "spaces").map(|(_, value)| value.as_str());
        text += spaces.unwrap_or(
            "[[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n\
             [[space]]\nkind = \"bow\"\n[[space]]\nkind = \"word_rate\"\n\
             [[space]]\nname = \"both\"\ncombine = [\"glove\", \"word_rate\"]\n",
        );
        let path = self.file("STUDY.toml");
        std::fs::write(&path, text).expect("written");
        path
    }

    /// A fresh output folder.
    pub fn out(&self) -> PathBuf {
        self.file(&format!("out{}", self.runs.fetch_add(1, Ordering::Relaxed)))
    }

    /// `voxelcast run` with these settings into a folder of its own.
    pub fn run(&self, lines: &[&str], flags: &[&str]) -> (Outcome, PathBuf) {
        let out = self.out();
        (self.run_into(&out, lines, flags), out)
    }

    /// `voxelcast run` into a given folder.
    pub fn run_into(&self, out: &Path, lines: &[&str], flags: &[&str]) -> Outcome {
        let study = self.settings(lines);
        let mut args = vec!["run", text(&study), "--out", text(out)];
        args.extend(flags);
        voxelcast(&args)
    }

    /// `voxelcast check`.
    pub fn check(&self, lines: &[&str]) -> Outcome {
        let study = self.settings(lines);
        voxelcast(&["check", text(&study)])
    }
}

/// Glove alone.
pub const GLOVE_ONLY: &str =
    "spaces = [[space]]\nname = \"glove\"\nkind = \"glove\"\nvectors = \"vectors.txt\"\n";

/// Words at speech rate from 0 s to the last TR that matters.
fn spoken(rng: &mut ChaCha8Rng, index: usize, n_rows: usize) -> StoryTruth {
    let end_s = -9.0 + 2.0 * (n_rows + HEAD) as f64;
    let (mut words, mut onset_s, mut offset_s, mut now) = (vec![], vec![], vec![], 0.2);
    while now < end_s {
        let length: f64 = rng.random_range(0.1..0.5);
        words.push(format!("word{}", rng.random_range(0..N_DIFFERENT)));
        onset_s.push(now);
        offset_s.push(now + length);
        now += length + rng.random_range(0.0..0.7);
    }
    StoryTruth { name: format!("story{index}"), words, onset_s, offset_s, n_rows }
}

/// BOLD: the words' vectors at the TRs, two TRs (and, weaker, one and three) earlier, plus noise.
fn heard(
    rng: &mut ChaCha8Rng,
    story: &StoryTruth,
    vectors: &Array2<f32>,
    weights: &Array2<f32>,
) -> Array2<f32> {
    let n_trs = story.n_rows + HEAD + TAIL;
    let trs_s: Vec<f64> = (0..n_trs).map(|i| -9.0 + 2.0 * i as f64).collect();
    let mid_s: Vec<f64> =
        story.onset_s.iter().zip(&story.offset_s).map(|(a, b)| (a + b) / 2.0).collect();
    let rows = Array2::from_shape_fn((story.words.len(), DIM), |(i, j)| {
        let word: usize = story.words[i]["word".len()..].parse().expect("a number");
        f64::from(vectors[[word, j]])
    });
    let at_trs = super::naive::lanczos(&rows, &mid_s, &trs_s, 3.0);
    let signal = at_trs.dot(&wide(weights));
    let noise = normal(rng, story.n_rows, weights.ncols());
    Array2::from_shape_fn((story.n_rows, weights.ncols()), |(t, v)| {
        let at = |delay: usize| signal[[t + HEAD - delay, v]];
        (0.3 * at(1) + at(2) + 0.4 * at(3)) as f32 + 2.0 * noise[[t, v]]
    })
}
