//! `voxelcast export`: a finished run as one `.npz`, laid out as users of himalaya and ridge_utils
//! expect.
//!
//! Arrays are copied from the run's files byte for byte, one buffer at a time.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::error::{Error, Result};
use crate::io::npy::{self, Dtype, Kind, NpyFile};
use crate::io::output::PartialFile;
use crate::io::safetensors;
use crate::report::record::RunInfo;
use crate::results::names::{
    BEST_ALPHA, CV_SCORES, P_VALUES, SIGNIFICANT, STORY_CORRELATION, TEST_CORRELATION, WEIGHTS,
};
use crate::results::{Name, RunFolder, record};

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
    (TEST_CORRELATION, "scores"),
    (BEST_ALPHA, "best_alphas"),
    (CV_SCORES, "cv_scores"),
    (STORY_CORRELATION, "story_scores"),
    (P_VALUES, "p_values"),
    (SIGNIFICANT, "significant"),
];

/// Writes `SUBJECT/MODEL/{scores, best_alphas, cv_scores, story_scores, …}` of every model, and
/// `coef_`, `intercept_` where weights were saved; `alphas`, `test_stories`, `train_stories`, and the
/// last two of each subject where subjects have stories of their own.
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
    let run = RunFolder::at(run);
    let document = record::read(&run)?;
    let partial = PartialFile::create(out)?;
    let arrays = write(&run, &document, out, partial.file())?;
    partial.finish()?;
    Ok(ExportSummary { npz: out.to_owned(), arrays })
}

/// Writes the whole zip; names of its arrays.
fn write(run: &RunFolder, document: &RunInfo, out: &Path, file: &File) -> Result<Vec<String>> {
    let zip = ZipWriter::new(BufWriter::new(file));
    let mut npz = Npz { zip, path: out.to_owned(), arrays: Vec::new() };
    let alphas = &document.alphas;
    npz.add("alphas", &npy::header(Dtype::native(Kind::F64), &[alphas.len()]))?;
    npz.write(bytemuck::cast_slice(alphas))?;
    npz.texts("test_stories", &document.split.test)?;
    npz.texts("train_stories", &document.split.train)?;
    for (subject, own) in &document.subject_splits.0 {
        let subject = Name::new(subject)?;
        npz.texts(&format!("{subject}/test_stories"), &own.test)?;
        npz.texts(&format!("{subject}/train_stories"), &own.train)?;
    }
    for id in record::models(document)? {
        npz.model(&run.model(&id), &id.to_string())?;
    }
    let fail = npz.fail();
    let finished = npz.zip.finish().map_err(std::io::Error::from);
    finished.and_then(|mut file| file.flush()).map_err(fail)?;
    Ok(npz.arrays)
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
        let path = folder.join(WEIGHTS);
        if path.exists() {
            for tensor in safetensors::read_header(&path)? {
                // (1, n_voxels) in the file; himalaya's intercept_ is a vector.
                let (name, shape) = match (tensor.name.as_str(), &tensor.shape[..]) {
                    ("weights", shape) => ("coef_", shape),
                    ("intercept", [1, shape @ ..]) => ("intercept_", shape),
                    _ => continue, // not the study's
                };
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
