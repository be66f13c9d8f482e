//! Which kind of language model a path leads to, told before anything else of it is read.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::Value;

use super::causal::{self, CausalModel};
use super::model::Encoder;
use super::pretrained::{self, HiddenStates, Pretrained};
use crate::error::{Error, Result};
use crate::io::input::{open_file, read_text};

/// What can be known of a model's size without opening its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Layers above the embeddings.
    pub n_layers: usize,
    /// Values of a hidden state.
    pub width: usize,
    /// Most pieces of a row, special tokens included.
    pub max_length: usize,
    /// Whether a piece's state knows nothing of the pieces behind it.
    pub is_causal: bool,
}

/// What a path leads to.
enum Kind {
    Gguf,
    Causal,
    OurEncoder,
    Bert,
}

/// Opens a checkpoint: a folder with config.json and safetensors files, or a `.gguf` file.
///
/// A folder may be an encoder of ours or another MegatronBert, a model of the BERT family, or a
/// causal model; parameters of any float type become f32.
/// # Errors
/// `Error::Read`; `Error::Values` for what is no checkpoint that is read, with what to do about it;
/// `Error::Shape` for tensors that do not fit the configuration.
pub fn open(path: &Path, device: &Device) -> Result<Box<dyn HiddenStates>> {
    Ok(match kind(path)? {
        Kind::Gguf => Box::new(CausalModel::load_gguf(path, device)?),
        Kind::Causal => Box::new(CausalModel::load(path, device)?),
        Kind::OurEncoder => Box::new(Encoder::load(one_file(path)?, device)?),
        Kind::Bert => Box::new(Pretrained::load(one_file(path)?, device)?),
    })
}

/// The size of a checkpoint's model; of the weights only names of files are looked at.
/// # Errors
/// As [`open`].
pub fn shape(path: &Path) -> Result<ModelShape> {
    match kind(path)? {
        Kind::Gguf => causal::gguf_shape(path),
        Kind::Causal => causal::shape(path),
        Kind::OurEncoder | Kind::Bert => pretrained::bert_shape(path),
    }
}

/// Whether the file's name ends in `.gguf`.
pub(super) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("gguf")) && !path.is_dir()
}

fn kind(path: &Path) -> Result<Kind> {
    if !path.exists() {
        return Err(nothing_there(path));
    }
    if is_gguf(path) {
        refuse_pointer(path)?;
        return Ok(Kind::Gguf);
    }
    let file = path.join("config.json");
    if !file.exists() {
        return Err(no_config(path));
    }
    let text = read_text(&file).map_err(|source| Error::Read { path: file.clone(), source })?;
    let broken = |problem: String| Error::Values {
        place: file.display().to_string(),
        problem,
        hint: format!("expected config.json as transformers writes it, model_type {}", known()),
    };
    let config: Value = serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let Some(model_type) = config["model_type"].as_str() else {
        return Err(broken("says no model_type".into()));
    };
    if causal::is_known(model_type) {
        return Ok(Kind::Causal);
    }
    if !is_listed(pretrained::MODEL_TYPES, model_type) {
        return Err(Error::Values {
            place: file.display().to_string(),
            problem: format!("model_type {model_type:?} is not read"),
            hint: format!("models that are read: {}", known()),
        });
    }
    Ok(if model_type == "megatron-bert" { Kind::OurEncoder } else { Kind::Bert })
}

fn is_listed(list: &str, name: &str) -> bool {
    list.split([',', ' ']).any(|known| known == name && !["or", ""].contains(&known))
}

/// All that is read.
fn known() -> String {
    let bert = pretrained::MODEL_TYPES.replace(" or ", ", ");
    format!("{}, {bert}", causal::MODEL_TYPES.join(", "))
}

fn values(path: &Path, problem: String, hint: String) -> Error {
    Error::Values { place: path.display().to_string(), problem, hint }
}

/// A path that leads to nothing may be a hub's name of a model.
fn nothing_there(path: &Path) -> Error {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
    };
    let (model, parent) = (name(Some(path)).unwrap_or_default(), path.parent());
    let is_hub_name =
        parent.is_some_and(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    let hub_name = match (is_hub_name, name(parent)) {
        (true, Some(organisation)) => format!("{organisation}/{model}"),
        _ => model.clone(),
    };
    values(
        path,
        "no such file or folder; models are read from this disk, not from a hub".into(),
        format!(
            "if it is a hub's name: hf download {hub_name} --local-dir {model}, then give that folder"
        ),
    )
}

/// A folder without config.json: a hub's cache, a folder with a GGUF file, or another one.
fn no_config(path: &Path) -> Error {
    if path.is_file() {
        let problem = "expected a checkpoint folder or a .gguf file, got another file".into();
        return values(path, problem, "give the folder in which config.json is".into());
    }
    let snapshots = names(&path.join("snapshots"));
    if let Some(snapshot) = snapshots.last() {
        let inside = path.join("snapshots").join(snapshot);
        let problem = "this is the root of a hub's cache, the model is inside of it".into();
        return values(path, problem, format!("give {}", inside.display()));
    }
    let models = names(path);
    if let Some(model) = models.iter().find(|name| is_gguf(Path::new(name))) {
        let problem = "holds no config.json, but GGUF files".into();
        return values(path, problem, format!("give {}", path.join(model).display()));
    }
    let missing = std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "no config.json in this folder; expected a checkpoint as save_pretrained writes it, or a \
         .gguf file",
    );
    Error::Read { path: path.to_owned(), source: missing }
}

/// Names in a folder, sorted, at most 1,000.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(1000);
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A BERT-like checkpoint's folder, whose weights are one file.
fn one_file(folder: &Path) -> Result<&Path> {
    let file = folder.join("model.safetensors");
    if !file.exists() {
        return Err(no_weights(folder));
    }
    refuse_pointer(&file)?;
    Ok(folder)
}

/// What is wrong with a checkpoint folder that lacks model.safetensors.
pub(super) fn no_weights(folder: &Path) -> Error {
    let is_old = |name: &&String| name.starts_with("pytorch_model") && name.ends_with(".bin");
    if let Some(old) = names(folder).iter().find(is_old) {
        return values(
            folder,
            format!("expected model.safetensors, got {old} alone, which can hold any program"),
            format!(
                "write it anew with: python -c \"from transformers import AutoModel as A; \
                 A.from_pretrained('{0}').save_pretrained('{0}')\"",
                folder.display()
            ),
        );
    }
    let missing = std::io::Error::new(
        std::io::ErrorKind::NotFound,
        "expected model.safetensors or model.safetensors.index.json in this folder, found neither",
    );
    Error::Read { path: folder.to_owned(), source: missing }
}

/// Refuses the text that stands for a file which Git LFS has not fetched.
pub(super) fn refuse_pointer(path: &Path) -> Result<()> {
    const BEGINNING: &[u8] = b"version https://git-lfs";
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let file: File = open_file(path).map_err(fail)?;
    let mut bytes = Vec::new();
    file.take(BEGINNING.len() as u64).read_to_end(&mut bytes).map_err(fail)?;
    if bytes != BEGINNING {
        return Ok(());
    }
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Err(values(
        path,
        "this is a pointer of Git LFS, not the file itself".into(),
        format!("fetch it with: git -C {} lfs pull --include {name}", folder.display()),
    ))
}
