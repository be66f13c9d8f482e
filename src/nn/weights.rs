//! Parameters by their names, read from safetensors files or a GGUF file one at a time, as f32.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use candle_core::Device;
use rayon::prelude::*;
use serde_json::Value;

use super::encoding::Encoding;
use super::files::{is_there, no_weights, refuse_pointer};
use super::gguf::{Entry, Gguf};
use super::ops::Weight;
use crate::error::{Error, Result};
use crate::io::input::{open_file, read_text};
use crate::io::safetensors::read_tensors;

/// A list of some thousand tensors is under 1 MB.
const MAX_HEADER_BYTES: u64 = 64 << 20;
/// Numbers that are read and decoded together: whole blocks of every encoding.
const CHUNK: usize = 1 << 20;
const INDEX: &str = "model.safetensors.index.json";

/// A matrix (out, in), row by row, and its bias.
#[derive(Debug)]
pub struct Matrix {
    pub rows: Vec<f32>,
    pub n_in: usize,
    pub bias: Option<Vec<f32>>,
}

impl Matrix {
    /// Matrices of the same input below each other; a missing bias is zeros where others have one.
    pub fn stacked(parts: Vec<Matrix>) -> Matrix {
        let n_in = parts.iter().map(|part| part.n_in).max().unwrap_or(1);
        let has_bias = parts.iter().any(|part| part.bias.is_some());
        let mut all = Matrix { rows: Vec::new(), n_in, bias: has_bias.then(Vec::new) };
        for part in parts {
            let n_out = part.rows.len() / n_in;
            all.rows.extend(part.rows);
            if let Some(bias) = &mut all.bias {
                bias.extend(part.bias.unwrap_or_else(|| vec![0.0; n_out]));
            }
        }
        all
    }

    /// The same, ready to be multiplied with.
    pub fn on(self, device: &Device) -> candle_core::Result<Weight> {
        Weight::new(self.rows, self.n_in, self.bias, device)
    }
}

/// Where a model's parameters lie.
#[derive(Debug)]
pub struct Weights {
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, (usize, Entry)>,
    /// Stands before every name of the family's: `model.`
    prefix: String,
}

impl Weights {
    /// The parameters in a checkpoint's folder: model.safetensors, or the files of its index.
    ///
    /// `anchor`: a name that every model of the family has; what stands before it is the prefix.
    pub fn of_folder(folder: &Path, anchor: &str) -> Result<Self> {
        let (mut files, mut tensors) = (Vec::new(), HashMap::new());
        for path in weight_files(folder)? {
            let entries = entries(&path)?;
            tensors.extend(entries.into_iter().map(|(name, entry)| (name, (files.len(), entry))));
            files.push((path.clone(), open(&path)?));
        }
        let prefixes = tensors.keys().filter_map(|name| name.strip_suffix(anchor));
        let Some(prefix) = prefixes.min_by_key(|prefix| prefix.len()).map(str::to_owned) else {
            return Err(Error::Values {
                place: folder.display().to_string(),
                problem: format!("expected a tensor {anchor}, got {} others", tensors.len()),
                hint: "config.json and the weights must be of one model".into(),
            });
        };
        Ok(Self { files, tensors, prefix })
    }

    /// The parameters in a GGUF file.
    pub fn of_gguf(gguf: Gguf) -> Result<Self> {
        let files = vec![(gguf.path.clone(), open(&gguf.path)?)];
        let tensors = gguf.tensors.into_iter().map(|(name, entry)| (name, (0, entry))).collect();
        Ok(Self { files, tensors, prefix: String::new() })
    }

    /// Whether there is a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    fn entry(&self, name: &str, expected: &str) -> Result<(usize, &Entry)> {
        let found = self.tensors.get(&format!("{}{name}", self.prefix));
        let (file, entry) = found.ok_or_else(|| {
            let file = self.files.first().map_or(Path::new(""), |(path, _)| path);
            let place = if self.files.len() == 1 { file } else { file.parent().unwrap_or(file) };
            self.misfit(place, name, expected.to_owned(), "no tensor of this name".into())
        })?;
        Ok((*file, entry))
    }

    /// The shape of a parameter; `expected` is what an error says was wanted.
    /// # Errors
    /// `Error::Shape` where there is none.
    pub fn shape(&self, name: &str, expected: &str) -> Result<&[usize]> {
        self.entry(name, expected).map(|(_, entry)| &entry.shape[..])
    }

    /// That a parameter is not what was expected.
    pub fn is_not(&self, name: &str, expected: &str, got: &[usize]) -> Error {
        let place = self.files.first().map_or(Path::new(""), |(path, _)| path);
        self.misfit(place, name, expected.to_owned(), format!("{got:?}"))
    }

    /// A matrix (out, in), with the bias that is there.
    /// # Errors
    /// As [`Weights::read`].
    pub fn matrix(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let rows = self.read(&format!("{name}.weight"), &[n_out, n_in])?;
        let bias = format!("{name}.bias");
        let bias = self.has(&bias).then(|| self.read(&bias, &[n_out])).transpose()?;
        Ok(Matrix { rows, n_in, bias })
    }

    fn misfit(&self, place: &Path, name: &str, expected: String, got: String) -> Error {
        Error::Shape {
            what: format!("tensor {}{name} of {}", self.prefix, place.display()),
            expected,
            got,
            hint: "the configuration and the weights must be of one model".into(),
        }
    }

    /// The numbers of a parameter of this shape, in rows.
    /// # Errors
    /// `Error::Shape` for another shape or none; `Error::Values` for numbers that are not read;
    /// `Error::Read`.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (file, entry) = self.entry(name, &format!("{shape:?}"))?;
        let (path, file) = &self.files[file];
        if entry.shape != shape {
            let got = format!("{:?}", entry.shape);
            return Err(self.misfit(path, name, format!("{shape:?}"), got));
        }
        let encoding = entry.encoding.clone().map_err(|kind| Error::Values {
            place: path.display().to_string(),
            problem: format!("tensor {}{name} holds numbers as {kind}", self.prefix),
            hint: "expected F32, F16, BF16, or in a GGUF file Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, \
                   Q5_K or Q6_K; take another file of the model"
                .into(),
        })?;
        // The file's header was checked: this many numbers lie there.
        let mut numbers = vec![0f32; shape.iter().product()];
        let (n_block, n_bytes) = encoding.block();
        let chunks = numbers.par_chunks_mut(CHUNK).enumerate();
        let read = chunks.try_for_each(|(i, numbers)| {
            let mut bytes = vec![0; numbers.len() / n_block * n_bytes];
            let start = entry.start + (i * CHUNK / n_block * n_bytes) as u64;
            file.read_exact_at(&mut bytes, start)?;
            encoding.decode(&bytes, numbers);
            Ok(())
        });
        read.map_err(|source| Error::Read { path: path.clone(), source })?;
        Ok(numbers)
    }
}

/// How many numbers the safetensors files of a checkpoint's folder hold.
/// # Errors
/// As [`Weights::of_folder`].
pub fn n_numbers(folder: &Path) -> Result<f64> {
    let of_file = |path: &PathBuf| -> Result<f64> {
        Ok(entries(path)?.iter().map(|(_, entry)| entry.n_numbers()).sum())
    };
    weight_files(folder)?.iter().map(of_file).sum()
}

/// model.safetensors, or the files of the index.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join("model.safetensors");
    match (is_there(&whole), is_there(&folder.join(INDEX))) {
        (true, _) => Ok(vec![whole]),
        (false, true) => shards(folder),
        (false, false) => Err(no_weights(folder)),
    }
}

/// The tensors of a safetensors file, from its header.
fn entries(path: &Path) -> Result<Vec<(String, Entry)>> {
    refuse_pointer(path)?;
    let hint = "the file is damaged or cut short: copy or download it again";
    let tensors = read_tensors(path, MAX_HEADER_BYTES, hint)?.into_iter().map(|tensor| {
        let encoding = Encoding::of_safetensors(&tensor.dtype).ok_or(tensor.dtype);
        (tensor.name, Entry { encoding, shape: tensor.shape, start: tensor.start })
    });
    Ok(tensors.collect())
}

fn open(path: &Path) -> Result<File> {
    open_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The files that a folder's index names, each once.
fn shards(folder: &Path) -> Result<Vec<PathBuf>> {
    let path = folder.join(INDEX);
    let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let broken = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "expected {\"weight_map\": {\"TENSOR\": \"FILE\", …}}; copy or download it again"
            .into(),
    };
    let index: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let Some(map) = index["weight_map"].as_object() else {
        return Err(broken("holds no weight_map".into()));
    };
    let mut names: Vec<&str> = map.values().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let is_plain = |name: &str| {
        Path::new(name).file_name().is_some_and(|file| file == name) && name.len() <= 255
    };
    if let Some(name) = names.iter().find(|name| !is_plain(name)) {
        let name: String = name.chars().take(80).collect();
        return Err(broken(format!("expected names of files in this folder, got {name:?}")));
    }
    if names.is_empty() || names.len() > 10_000 {
        return Err(broken(format!("expected 1 to 10,000 files, got {}", names.len())));
    }
    let missing: Vec<&&str> = names.iter().filter(|name| !folder.join(name).exists()).collect();
    if let Some(first) = missing.first() {
        return Err(broken(format!(
            "names {} files, {} of which are not in the folder: {first} first",
            names.len(),
            missing.len()
        )));
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}
