//! The encoder that a training would start from: the control that shows what training bought.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::identity::settings_json;
use super::text::sorted_text_hash;
use super::text::{NamedWords, prepare};
use crate::error::{Error, Result};
use crate::nn::{Encoder, TrainSettings};

/// The folder under `cache` with the weights before the first step of `train_cached` of the same
/// stories and settings, and with its tokenizer.
///
/// # Errors
/// Those of the tokenizer; `Error::Write`.
pub fn untrained_cached(
    stories: &[NamedWords<'_>],
    settings: &TrainSettings,
    device: &Device,
    cache: &Path,
) -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(sorted_text_hash(stories).as_bytes());
    hasher.update(serde_json::Value::Object(settings_json(settings)?).to_string().as_bytes());
    let out = cache.join(format!("untrained-{}", &hasher.finalize().to_hex()[..16]));
    // Weights are written last.
    if out.join("model.safetensors").is_file() {
        return Ok(out);
    }
    let tokenizer = prepare(stories, settings)?.tokenizer;
    let config = settings.config(tokenizer.vocab_size(), tokenizer.pad());
    std::fs::create_dir_all(&out).map_err(|source| Error::Write { path: out.clone(), source })?;
    tokenizer.save(&out.join("tokenizer.json"))?;
    Encoder::new(&config, device, settings.seed)?.save(&out)?;
    Ok(out)
}
