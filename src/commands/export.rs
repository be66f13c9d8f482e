//! `voxelcast export`: a finished run as one `.npz`, laid out as users of himalaya and ridge_utils
//! expect.
//!
//! Arrays are copied from the run's files byte for byte, one buffer at a time.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::error::{Error, Result};
use crate::io::npy::{self, Dtype, Kind, NpyFile};
use crate::io::output::PartialFile;
use crate::io::safetensors;

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct ExportSummary {
    /// The file.
    pub npz: PathBuf,
    /// Names of its arrays.
    pub arrays: Vec<String>,
}

/// Arrays of every model: file in its folder, name in the `.npz`.
const ARRAYS: [(&str, &str); 6] = [
    ("test_correlation.npy", "scores"),
    ("best_alpha.npy", "best_alphas"),
    ("cv_scores.npy", "cv_scores"),
    ("story_correlation.npy", "story_scores"),
    ("p_values.npy", "p_values"),
    ("significant.npy", "significant"),
];

/// Writes `SUBJECT/MODEL/{scores, best_alphas, cv_scores, story_scores, …}` of every model, and
/// `coef_`, `intercept_` where weights were saved; `alphas`, `test_stories`, `train_stories`.
///
/// # Errors
/// `Error::Values` if the folder holds no finished run; `Error::Usage` if `out` exists and
/// `force` is not given; those of the files.
pub fn export_npz(run: &Path, out: &Path, force: bool) -> Result<ExportSummary> {
    if out.exists() && !force {
        return Err(Error::Usage {
            place: "--npz".into(),
            problem: format!("{} is there already", out.display()),
            hint: "give another name, or --force to replace it".into(),
        });
    }
    let document = read_run(run)?;
    let partial = PartialFile::create(out)?;
    let arrays = write(run, &document, out, partial.file())?;
    partial.finish()?;
    Ok(ExportSummary { npz: out.to_owned(), arrays })
}

/// Writes the whole zip; names of its arrays.
fn write(run: &Path, document: &Value, out: &Path, file: &File) -> Result<Vec<String>> {
    let zip = ZipWriter::new(BufWriter::new(file));
    let mut npz = Npz { zip, path: out.to_owned(), arrays: Vec::new() };
    let alphas: Vec<f64> = list(document, run, "/alphas")?;
    npz.add("alphas", &npy::header(Dtype::native(Kind::F64), &[alphas.len()]))?;
    npz.write(bytemuck::cast_slice(&alphas))?;
    for (name, place) in [("test_stories", "/split/test"), ("train_stories", "/split/train")] {
        npz.texts(name, &list::<String>(document, run, place)?)?;
    }
    let subjects = document["subjects"].as_object().ok_or_else(|| broken(run, "/subjects"))?;
    for subject in subjects.keys() {
        for model in document["models"].as_array().into_iter().flatten() {
            let folder = model["folder"].as_str().ok_or_else(|| broken(run, "/models"))?;
            npz.model(
                &run.join("models").join(subject).join(folder),
                &format!("{subject}/{folder}"),
            )?;
        }
    }
    let fail = npz.fail();
    let finished = npz.zip.finish().map_err(std::io::Error::from);
    finished.and_then(|mut file| file.flush()).map_err(fail)?;
    Ok(npz.arrays)
}

fn read_run(run: &Path) -> Result<Value> {
    let path = run.join("run.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Values {
                place: run.display().to_string(),
                problem: "holds no finished run: there is no run.json".into(),
                hint: "give the output folder of `voxelcast run`".into(),
            });
        }
        Err(source) => return Err(Error::Read { path, source }),
    };
    serde_json::from_str(&text).map_err(|_| broken(run, ""))
}

fn broken(run: &Path, place: &str) -> Error {
    Error::Values {
        place: run.join("run.json").display().to_string(),
        problem: format!("is not as `voxelcast run` writes it ({place:?})"),
        hint: "run the study again".into(),
    }
}

fn list<T: serde::de::DeserializeOwned>(document: &Value, run: &Path, at: &str) -> Result<Vec<T>> {
    let value = document.pointer(at).cloned().unwrap_or_default();
    serde_json::from_value(value).map_err(|_| broken(run, at))
}

struct Npz<'a> {
    zip: ZipWriter<BufWriter<&'a File>>,
    path: PathBuf,
    arrays: Vec<String>,
}

impl Npz<'_> {
    fn fail(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.path.clone();
        move |source| Error::Write { path: path.clone(), source }
    }

    /// Starts an array with its header.
    fn add(&mut self, name: &str, header: &[u8]) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .large_file(true);
        let started = self.zip.start_file(format!("{name}.npy"), options);
        started.map_err(|error| self.fail()(error.into()))?;
        self.arrays.push(name.to_owned());
        self.write(header)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let fail = self.fail();
        self.zip.write_all(bytes).map_err(fail)
    }

    /// Copies `n` bytes of a file from `start` on.
    fn copy(&mut self, path: &Path, start: u64, n: u64) -> Result<()> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read_error)?;
        file.seek(SeekFrom::Start(start)).map_err(read_error)?;
        let mut rest = file.take(n);
        let mut buffer = vec![0u8; 1 << 20];
        loop {
            match rest.read(&mut buffer).map_err(read_error)? {
                0 => return Ok(()),
                n => self.write(&buffer[..n])?,
            }
        }
    }

    fn model(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        for (file, name) in ARRAYS {
            let path = folder.join(file);
            if !path.exists() && matches!(name, "p_values" | "significant") {
                continue; // a study without permutations
            }
            NpyFile::open(&path)?; // whole, or an error that says why not
            self.add(&format!("{prefix}/{name}"), &[])?;
            self.copy(&path, 0, u64::MAX)?;
        }
        let path = folder.join("weights.safetensors");
        if path.exists() {
            for tensor in safetensors::read_header(&path)? {
                let name = match tensor.name.as_str() {
                    "weights" => "coef_",
                    "intercept" => "intercept_",
                    other => other,
                };
                // (1, n_voxels) in the file; himalaya's intercept_ is a vector.
                let shape = if name == "intercept_" { &tensor.shape[1..] } else { &tensor.shape };
                let header = npy::header(Dtype { kind: Kind::F32, big_endian: false }, shape);
                self.add(&format!("{prefix}/{name}"), &header)?;
                self.copy(&path, tensor.start, tensor.n_bytes)?;
            }
        }
        Ok(())
    }

    /// An array of texts, as NumPy's `<U` dtype: code points, padded with zeros.
    fn texts(&mut self, name: &str, texts: &[String]) -> Result<()> {
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
        self.add(name, &npy::header_of(&format!("<U{width}"), &[texts.len()]))?;
        for text in texts {
            let points = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(width);
            self.write(&points.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())?;
        }
        Ok(())
    }
}
