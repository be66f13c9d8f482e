//! Word vectors out of language models: computed once, kept in files, read story by story.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
#[cfg(feature = "language")]
use std::sync::atomic::Ordering;

#[cfg(feature = "language")]
pub use crate::encoder::language_device;
#[cfg(feature = "language")]
use crate::encoder::{LAST_EPOCH, train_cached, untrained_cached};
use crate::error::{Error, Result};
use crate::features::contextual::Reading;
#[cfg(feature = "language")]
use crate::features::contextual::{BATCH_TOKENS, ContextSettings, unknown_words, word_vectors};
use crate::features::coverage::Coverage;
#[cfg(feature = "language")]
use crate::features::coverage::CoverageCounts;
use crate::io::input::read_bytes;
#[cfg(feature = "language")]
use crate::io::npy;
use crate::io::output::write_bytes;
#[cfg(feature = "language")]
use crate::nn::WordPieces;
#[cfg(feature = "language")]
use crate::nn::pretrained::{open, shape};
use crate::nn::{Device, TrainSettings};
use crate::reporter::Reporter;
#[cfg(feature = "language")]
use crate::results::hash::{Extent, hash};
use crate::results::lock::Locking;
use crate::results::names::{BASELINE, TRAIN, TRAIN_LOG};
#[cfg(feature = "language")]
use crate::stimuli::Story;
#[cfg(feature = "language")]
use crate::study_file::{Epoch, ModelSource, SpaceKind, Study};

#[cfg(not(feature = "language"))]
pub use absent::{check_models, language_device, model_folder, model_hash, stored_vectors};

/// What language models need of the command that uses them.
pub struct LanguageWork<'a> {
    /// Folder of what was computed before, and of what is.
    pub cache: &'a Path,
    /// Where models compute.
    pub device: &'a Device,
    /// How encoders are trained, where they can be.
    pub encoder: Option<&'a TrainSettings>,
    /// Shapes only: nothing is computed or written.
    pub is_plan: bool,
    /// Whether `cache` and what is trained in it are locked.
    pub locking: Locking,
    /// Told what happens.
    pub reporter: &'a dyn Reporter,
    /// Ends the work.
    pub cancel: &'a AtomicBool,
}

/// Word vectors of every story, in files.
pub struct StoredVectors {
    /// Values of a vector.
    pub width: usize,
    /// One `(n_words, width)` f32 .npy a story.
    pub files: Vec<PathBuf>,
    /// Words with pieces that the tokenizer does not know.
    pub coverage: Coverage,
    /// How they were read.
    pub reading: Reading,
    /// blake3, hexadecimal, of the model that made them.
    pub model: String,
}

/// The checkpoint folder of a language model; trained on the stories `train` if it must be.
///
/// `base`: what a path in the study is relative to.
/// # Errors
/// Those of the training; `Error::Usage` where no encoder can be trained.
#[cfg(feature = "language")]
pub fn model_folder(
    source: &ModelSource,
    base: &Path,
    stories: &[Story],
    train: &[usize],
    work: &LanguageWork<'_>,
) -> Result<PathBuf> {
    let epoch = match source {
        ModelSource::Folder(path) => return Ok(base.join(path)),
        ModelSource::Trained(epoch) => Some(epoch),
        ModelSource::Untrained => None,
    };
    let Some(settings) = work.encoder else {
        return Err(Error::Usage {
            place: "kind = \"encoder\"".into(),
            problem: "expected a model's folder, got none".into(),
            hint: "give the folder of a trained encoder".into(),
        });
    };
    std::fs::create_dir_all(work.cache)
        .map_err(|source| Error::Write { path: work.cache.to_owned(), source })?;
    // Training stories alone: no word of a test story reaches tokenizer or weights.
    let texts: Vec<(&str, &[String])> =
        train.iter().map(|&s| (stories[s].name.as_str(), stories[s].words.as_slice())).collect();
    let Some(epoch) = epoch else {
        return untrained_cached(&texts, settings, work.device, work.cache);
    };
    let folder = train_cached(
        &texts,
        settings,
        work.device,
        work.cache,
        work.locking,
        work.reporter,
        work.cancel,
    )?;
    Ok(match epoch {
        Epoch::Best => folder,
        Epoch::Last => folder.join(LAST_EPOCH),
    })
}

/// Opens what can be opened of a study's language models without computing anything: sizes,
/// readings, tokenizers.
/// # Errors
/// As [`stored_vectors`].
#[cfg(feature = "language")]
pub fn check_models(study: &Study) -> Result<()> {
    for space in &study.spaces {
        let (SpaceKind::Bert(language) | SpaceKind::Encoder(language)) = &space.kind else {
            continue;
        };
        let (n_layers, max_length) = match &language.model {
            ModelSource::Folder(folder) => {
                let shape = shape(&study.path(folder))?;
                WordPieces::read(&study.path(folder))?;
                (shape.n_layers, shape.max_length)
            }
            _ => {
                study
                    .encoder()
                    .tokenizer
                    .map_or(Ok(()), |path| WordPieces::read(&path).map(drop))?;
                (study.encoder.layers, study.encoder.max_length)
            }
        };
        language.reading.for_model(n_layers, max_length)?;
    }
    Ok(())
}

/// Copies what a training left, without what only its resumption needs, to `to`.
/// # Errors
/// `Error::Read`, `Error::Write`.
pub fn publish_model(from: &Path, to: &Path) -> Result<()> {
    const FILES: [&str; 6] =
        ["config.json", "model.safetensors", "tokenizer.json", TRAIN_LOG, BASELINE, TRAIN];
    std::fs::create_dir_all(to).map_err(|source| Error::Write { path: to.to_owned(), source })?;
    for path in FILES.map(|name| from.join(name)).iter().filter(|path| path.is_file()) {
        let bytes =
            read_bytes(path).map_err(|source| Error::Read { path: path.clone(), source })?;
        write_bytes(&to.join(path.file_name().unwrap_or_default()), &bytes)?;
    }
    Ok(())
}

/// Vectors of all words of `stories` by the model in `folder`, out of the cache where they are
/// there.
///
/// A file's name is a hash of the model's files, the reading and the story's words, so that other
/// subjects, other spaces and later runs into the same folder find it.
/// # Errors
/// Those of the checkpoint; `Error::Usage` for a reading that the model does not have;
/// `Error::Interrupted`: finished stories are kept.
#[cfg(feature = "language")]
pub fn stored_vectors(
    folder: &Path,
    settings: &ContextSettings,
    stories: &[Story],
    work: &LanguageWork<'_>,
) -> Result<StoredVectors> {
    let shape = shape(folder)?;
    let reading = settings.for_model(shape.n_layers, shape.max_length)?;
    let tokenizer = WordPieces::read(folder)?;
    let mut counts = CoverageCounts::default();
    for story in stories {
        counts.add_story(story.words.len(), &unknown_words(&tokenizer, &story.words)?);
    }
    let model = model_hash(folder)?;
    let words_folder = work.cache.join("words");
    let file = |story: &Story| words_folder.join(format!("{}.npy", key(&model, &reading, story)));
    let files: Vec<PathBuf> = stories.iter().map(file).collect();
    if !work.is_plan {
        std::fs::create_dir_all(&words_folder)
            .map_err(|source| Error::Write { path: words_folder.clone(), source })?;
        compute_missing(folder, &tokenizer, &reading, stories, &files, work)?;
    }
    Ok(StoredVectors {
        width: shape.width,
        files,
        coverage: counts.coverage(),
        reading,
        model: model.to_hex().to_string(),
    })
}

#[cfg(feature = "language")]
fn compute_missing(
    folder: &Path,
    tokenizer: &WordPieces,
    reading: &Reading,
    stories: &[Story],
    files: &[PathBuf],
    work: &LanguageWork<'_>,
) -> Result<()> {
    let missing: Vec<(&Story, &PathBuf)> =
        stories.iter().zip(files).filter(|(_, file)| !file.is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let model = open(folder, work.device)?;
    let n_words: usize = missing.iter().map(|(story, _)| story.words.len()).sum();
    work.reporter.step(&format!(
        "{}: layer {} of {n_words} words, context {}, {} pieces a window",
        folder.display(),
        reading.layer,
        reading.context.label(),
        reading.capacity + 2,
    ));
    work.reporter.start("words", n_words as u64);
    let done = |n: usize| match work.cancel.load(Ordering::Relaxed) {
        true => Err(Error::Interrupted),
        false => {
            work.reporter.advance(n as u64);
            Ok(())
        }
    };
    for (story, file) in missing {
        let rows = word_vectors(&*model, tokenizer, &story.words, reading, BATCH_TOKENS, &done)
            .map_err(|error| match error {
                Error::Interrupted => error,
                other => other.in_story(&story.name),
            })?;
        let values: Vec<f32> = rows.iter().copied().collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Values {
                place: folder.display().to_string(),
                problem: format!("gives NaN or infinite vectors for words of {:?}", story.name),
                hint: "the checkpoint is damaged, or another layer must be taken".into(),
            });
        }
        npy::write(file, &[rows.nrows(), rows.ncols()], &values)?;
    }
    work.reporter.finish();
    Ok(())
}

/// blake3 over everything of a checkpoint that word vectors depend on.
/// # Errors
/// `Error::Read`.
#[cfg(feature = "language")]
pub fn model_hash(folder: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    for name in MODEL_FILES {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let (_, own) = hash(&path, Extent::Whole)?;
        hasher.update(name.as_bytes());
        hasher.update(own.as_bytes());
    }
    Ok(hasher.finalize())
}

/// Files of a checkpoint folder that decide what its model gives.
pub const MODEL_FILES: [&str; 5] =
    ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "tokenizer_config.json"];

#[cfg(feature = "language")]
fn key(model: &blake3::Hash, reading: &Reading, story: &Story) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.as_bytes());
    let Reading { layer, context, capacity, stride } = reading;
    let how = format!("{layer} {} {capacity} {stride}", context.label());
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add("voxelcast word vectors 1");
    add(&how);
    story.words.iter().for_each(|word| add(word));
    hasher.finalize().to_hex()[..32].to_owned()
}

/// A build without language models refuses the studies that need one.
#[cfg(not(feature = "language"))]
mod absent {
    use std::path::{Path, PathBuf};

    use super::{LanguageWork, StoredVectors};
    use crate::backend::device;
    use crate::error::{Error, Result};
    use crate::features::contextual::ContextSettings;
    use crate::nn::Device;
    use crate::reporter::Reporter;
    use crate::stimuli::Story;
    use crate::study_file::{ModelSource, Study};

    fn refuse<T>() -> Result<T> {
        Err(Error::Usage {
            place: "kind = \"bert\" or \"encoder\"".into(),
            problem: "this voxelcast was built without language models".into(),
            hint: "build it with its default features: cargo build --release".into(),
        })
    }

    /// # Errors
    /// `Error::Usage` for a study with a language model.
    pub fn check_models(study: &Study) -> Result<()> {
        match study.spaces.iter().any(|space| space.kind.is_language()) {
            true => refuse(),
            false => Ok(()),
        }
    }

    /// # Errors
    /// `Error::Usage`.
    pub fn language_device(_: &device::Device, _: bool, _: &dyn Reporter) -> Result<Device> {
        refuse()
    }

    /// # Errors
    /// `Error::Usage`.
    pub fn model_folder(
        _: &ModelSource,
        _: &Path,
        _: &[Story],
        _: &[usize],
        _: &LanguageWork<'_>,
    ) -> Result<PathBuf> {
        refuse()
    }

    /// # Errors
    /// `Error::Usage`.
    pub fn model_hash(_: &Path) -> Result<blake3::Hash> {
        refuse()
    }

    /// # Errors
    /// `Error::Usage`.
    pub fn stored_vectors(
        _: &Path,
        _: &ContextSettings,
        _: &[Story],
        _: &LanguageWork<'_>,
    ) -> Result<StoredVectors> {
        refuse()
    }
}
