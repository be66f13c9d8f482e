//! Which kind of language model a path leads to, told before anything else of it is read.

use std::path::Path;

use candle_core::Device;
use serde_json::Value;

use super::causal::{self, CausalModel};
use super::files::{is_gguf, is_there, names, no_weights, refuse_pointer, values};
use super::gguf::{self, Entry};
use super::model::Encoder;
use super::ops::number_bytes;
use super::pretrained::{self, HiddenStates, ModelShape, Pretrained};
use super::weights::n_numbers;
use crate::error::{Error, Result};
use crate::io::input::read_text;

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
        Kind::Bert => Box::new(Pretrained::load(path, device)?),
    })
}

/// The size of a checkpoint's model; of the weights only names of files are looked at.
/// # Errors
/// As [`open`].
pub fn shape(path: &Path) -> Result<ModelShape> {
    match kind(path)? {
        Kind::Gguf => causal::gguf_shape(path),
        Kind::Causal => causal::shape(path),
        Kind::OurEncoder | Kind::Bert => pretrained::shape(path),
    }
}

/// Bytes of memory that a checkpoint takes on the CPU while it is open, at most: the headers of its
/// files say how many numbers there are.
/// # Errors
/// As [`open`].
pub fn open_bytes(path: &Path) -> Result<f64> {
    let n_numbers = match kind(path)? {
        Kind::Gguf => gguf::read(path)?.tensors.values().map(Entry::n_numbers).sum(),
        _ => n_numbers(path)?,
    };
    Ok(n_numbers * number_bytes() as f64)
}

fn kind(path: &Path) -> Result<Kind> {
    if !is_there(path) {
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
    if !pretrained::MODEL_TYPES.contains(&model_type) {
        return Err(Error::Values {
            place: file.display().to_string(),
            problem: format!("model_type {model_type:?} is not read"),
            hint: format!("models that are read: {}", known()),
        });
    }
    Ok(if model_type == "megatron-bert" { Kind::OurEncoder } else { Kind::Bert })
}

/// All that is read.
fn known() -> String {
    [causal::MODEL_TYPES, pretrained::MODEL_TYPES].concat().join(", ")
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

/// The folder of an encoder of ours, whose weights are one file.
fn one_file(folder: &Path) -> Result<&Path> {
    let file = folder.join("model.safetensors");
    if !file.exists() {
        return Err(no_weights(folder));
    }
    refuse_pointer(&file)?;
    Ok(folder)
}
