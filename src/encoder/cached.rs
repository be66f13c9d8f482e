//! An encoder for a study: trained once for all subjects and runs that need the same one.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::Device;

use super::identity::settings_json;
use super::text::{NamedWords, sorted_text_hash};
use super::train::{TrainJob, train};
use crate::error::Result;
use crate::nn::TrainSettings;
use crate::reporter::Reporter;
use crate::results::lock::Locking;

/// Seconds between two checkpoints.
const CHECKPOINT_S: f64 = 60.0;

/// The folder under `cache` with the encoder of these stories and settings, trained if it is not
/// there yet. Its name is a hash over words, settings and tokenizer.
///
/// # Errors
/// Those of [`train`].
pub fn train_cached(
    stories: &[NamedWords<'_>],
    settings: &TrainSettings,
    device: &Device,
    cache: &Path,
    locking: Locking,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<PathBuf> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(sorted_text_hash(stories).as_bytes());
    hasher.update(serde_json::Value::Object(settings_json(settings)?).to_string().as_bytes());
    let name = format!("encoder-{}", &hasher.finalize().to_hex()[..16]);
    let out = cache.join(name);
    let checkpoint_s = CHECKPOINT_S;
    let job = TrainJob { texts: stories, settings, out: &out, device, checkpoint_s, locking };
    reporter.reuses_memory(true);
    let trained = train(&job, reporter, cancel);
    reporter.reuses_memory(false);
    let trained = trained?;
    let (best, baseline) = (trained.best, trained.unigram_loss);
    reporter.note(&format!(
        "encoder {}: validation loss {:.4} at epoch {} of {}, unigram baseline {baseline:.4}{}",
        out.display(),
        best.val_loss,
        best.epoch,
        trained.n_epochs,
        if trained.was_done { " (trained before)" } else { "" }
    ));
    Ok(out)
}
