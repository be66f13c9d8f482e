//! What holds for every reader, whatever its file holds.
//!
//! One function a target: bytes in, a panic if something does not hold, true if the file was read. `fuzz/targets/` gives them
//! to libFuzzer, `tests/integration/fuzz_smoke.rs` to seeds and their mutations on every run of the
//! tests. Beside "no panic" each one checks that
//! - an error blames the file (exit code 3, or 2 for settings) and never the program,
//! - what is held in memory at once stays under a multiple of the bytes in the file (unpacked),
//! - what was read and written again is read as the same, where there is a writer or a simple
//!   second way to the values.

pub mod arrays;
pub mod folders;
pub mod models;
pub mod settings;
pub mod words;

use std::io::Read;
use std::path::{Path, PathBuf};

use voxelcast::error::{Error, Result};
use voxelcast::io::input;

/// A reader under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Of the file in `fuzz/targets`, and of the folder in `fuzz/seeds`.
    pub name: &'static str,
    /// Panics where something does not hold; whether the file was read and not refused.
    pub run: fn(&[u8]) -> bool,
    /// Folders of `tests/golden` with further seeds, and their files' extensions.
    pub golden: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    target("npy", arrays::npy, &[("numpy_files", "npy"), ("lanczos", "npy")]),
    target("npz", arrays::npz, &[("hdf5", "npz"), ("bold_files", "npz")]),
    target("hdf5", arrays::hdf5, &[("hdf5", "h5"), ("hdf5", "hf5"), ("hdf5", "hdf5")]),
    target("nifti", arrays::nifti, &[("nibabel", "nii"), ("nibabel", "gz")]),
    target("gifti", arrays::gifti, &[("bold_files", "gii")]),
    target("cifti", arrays::cifti, &[("bold_files", "nii"), ("bold_files", "gz")]),
    target("dicts", arrays::dicts, &[("bold_files", "pkl"), ("bold_files", "npy")]),
    target("joblib", arrays::joblib, &[("bold_files", "jbl"), ("bold_files", "joblib")]),
    target("archive", words::archive, &[("gensim", "zip"), ("gensim", "gz")]),
    target("pickle", words::pickle, &[]),
    target("textgrid", words::textgrid, &[("textgrids", "TextGrid")]),
    target("table", words::table, &[]),
    target("transcript", words::transcript, &[]),
    target("gentle", words::gentle, &[]),
    target("word2vec", words::word2vec, &[("gensim", "bin"), ("gensim", "txt")]),
    target("glove", words::glove, &[("gensim", "txt"), ("gensim", "bin")]),
    target("safetensors", models::safetensors, &[("bert_family/bert", "safetensors")]),
    target("tokenizer", models::tokenizer, &[("word_pieces", "json"), ("word_pieces", "txt")]),
    target("model_folder", models::model_folder, &[]),
    target("gguf", models::gguf, &[("causal", "gguf")]),
    target("saved_model", models::saved_model, &[]),
    target("study", settings::study, &[]),
    target("respdict", settings::respdict, &[]),
    target("alphas", settings::alphas, &[]),
    target("predict", folders::predict, &[]),
    target("score", folders::score, &[]),
    target("report", folders::report, &[]),
    target("export", folders::export, &[]),
];

const fn target(
    name: &'static str,
    run: fn(&[u8]) -> bool,
    golden: &'static [(&'static str, &'static str)],
) -> Target {
    Target { name, run, golden }
}

/// Streams, their buffers and the state of a decompressor, whatever the file.
const BUFFERS: usize = 4 << 20;

/// Room for the 10,000 members that a zip may say it has, 3.6 kB each.
const DIRECTORY: usize = 40 << 20;

/// A reader's answer; an error must blame the file and say so in words.
#[track_caller]
fn answer<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let text = error.to_string();
            assert_eq!(error.exit_code(), 3, "{text}");
            assert!(!text.is_empty() && text.len() < 100_000, "{} bytes", text.len());
            None
        }
    }
}

/// The same where the settings may be blamed too.
#[track_caller]
fn answer_of_settings<T>(result: Result<T>) -> Option<T> {
    match result {
        Err(error @ Error::Usage { .. }) => {
            assert!(!error.to_string().is_empty());
            None
        }
        other => answer(other),
    }
}

/// Runs a reader, which may hold [`BUFFERS`], the [`DIRECTORY`] of a zip, and `factor` times `n_bytes`
/// at once.
#[track_caller]
fn bounded<T>(n_bytes: usize, factor: usize, read: impl FnOnce() -> T) -> T {
    let mut value = None;
    let used = allocation_counter::measure(|| value = Some(read()));
    // candle's errors hold a backtrace where one is wanted, and look up its names.
    let is_traced = ["RUST_LIB_BACKTRACE", "RUST_BACKTRACE"].map(std::env::var_os);
    let trace = if is_traced == [None, None] { 0 } else { 256 << 20 };
    let directory = if HAS_ZIP.get() { DIRECTORY } else { 0 };
    let limit = (BUFFERS + directory + trace + factor * n_bytes) as u64;
    assert!(used.bytes_max <= limit, "{n_bytes} bytes: {} held at once", used.bytes_max);
    value.expect("it was run")
}

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder for inputs");
    /// Whether the last file has the end of a zip's directory.
    static HAS_ZIP: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The thread's folder.
fn folder() -> PathBuf {
    FOLDER.with(|folder| folder.path().to_owned())
}

/// A file of these bytes; the next one of this name takes its place.
fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, data).expect("the folder takes it");
    HAS_ZIP.set(data.windows(4).any(|bytes| bytes == b"PK\x05\x06"));
    path
}

/// A file that may be packed, as far as it can be unpacked.
fn unpacked(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut stream) = input::open(path) {
        let _ = stream.read_to_end(&mut bytes);
    }
    bytes
}

/// Bytes of a file that may be packed, as far as it can be unpacked.
fn n_unpacked(path: &Path) -> usize {
    let Ok(mut stream) = input::open(path) else { return 0 };
    let (mut buffer, mut n) = ([0; 8192], 0);
    while let Ok(more @ 1..) = stream.read(&mut buffer) {
        n += more;
    }
    n
}
