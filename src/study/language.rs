//! Word vectors out of language models: computed once, kept in files, read story by story.

#[cfg(feature = "language")]
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
#[cfg(feature = "language")]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "language")]
use std::time::Instant;

#[cfg(feature = "language")]
use ndarray::{Array2, Axis};

#[cfg(feature = "language")]
pub use crate::encoder::language_device;
#[cfg(feature = "language")]
use crate::encoder::{LAST_EPOCH, train_cached, untrained_cached};
use crate::error::{Error, Result};
#[cfg(feature = "language")]
use crate::features::contextual::{BATCH_TOKENS, Cutter, unknown_words, word_vectors};
use crate::features::coverage::Coverage;
#[cfg(feature = "language")]
use crate::features::coverage::CoverageCounts;
use crate::features::windows::Reading;
#[cfg(feature = "language")]
use crate::features::windows::{ContextSettings, Windows};
use crate::io::input::read_bytes;
#[cfg(feature = "language")]
use crate::io::npy;
use crate::io::output::write_bytes;
#[cfg(feature = "language")]
use crate::nn::WordPieces;
use crate::nn::{Device, TrainSettings};
#[cfg(feature = "language")]
use crate::nn::{ModelShape, open, open_bytes, shape};
use crate::reporter::Reporter;
#[cfg(feature = "language")]
use crate::results::hash::{Extent, hash};
use crate::results::lock::Locking;
use crate::results::names::{BASELINE, TRAIN, TRAIN_LOG};
#[cfg(feature = "language")]
use crate::stimuli::Story;
#[cfg(feature = "language")]
use crate::study_file::{Epoch, ModelSource, Study};

#[cfg(not(feature = "language"))]
pub use absent::{
    check_models, language_device, model_folder, model_hash, reading_bytes, stored_vectors,
};

/// Vectors of different words that stand alone and are read together, in bytes.
#[cfg(feature = "language")]
const WORDS_BYTES: usize = 256 << 20;
/// Rows as wide as a state that a block works with for each token.
#[cfg(feature = "language")]
const STATES: usize = 24;

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
        let Some(language) = space.kind.language() else {
            continue;
        };
        let (n_layers, max_length) = match &language.model {
            ModelSource::Folder(folder) => {
                let (shape, _, max_length) = opened(&study.path(folder), &language.reading)?;
                (shape.n_layers, max_length)
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

/// Bytes of memory that the reading of a study's pretrained models takes, at most: the weights of
/// the largest, states of each thread's batch, and the vectors of the longest story.
/// # Errors
/// Those of the checkpoints.
#[cfg(feature = "language")]
pub fn reading_bytes(study: &Study, stories: &[Story], n_threads: usize) -> Result<f64> {
    let mut layers: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for language in study.spaces.iter().filter_map(|space| space.kind.language()) {
        if let ModelSource::Folder(folder) = &language.model {
            *layers.entry(study.path(folder)).or_default() += 1;
        }
    }
    let longest = stories.iter().map(|story| story.words.len()).max().unwrap_or(0);
    let of_model = |(path, n_layers): (&PathBuf, &usize)| -> Result<f64> {
        let states = n_threads * BATCH_TOKENS * (n_layers + STATES);
        // Once more while a layer is written.
        let vectors = longest * (n_layers + 1);
        let numbers = (states + vectors) * shape(path)?.width;
        Ok(open_bytes(path)? + WORDS_BYTES as f64 + (numbers * size_of::<f32>()) as f64)
    };
    layers.iter().map(of_model).try_fold(0.0, |most, bytes| Ok(f64::max(most, bytes?)))
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

/// A checkpoint's size, its tokenizer, and the most pieces of words in a row (special ones
/// included, where a model reads both ways).
#[cfg(feature = "language")]
fn opened(model: &Path, settings: &ContextSettings) -> Result<(ModelShape, Cutter, usize)> {
    let shape = shape(model)?;
    let is_causal = settings.windows.is_causal();
    if is_causal != shape.is_causal {
        let [asked, right] = match is_causal {
            true => ["lm", "bert"],
            false => ["bert or encoder", "lm"],
        };
        return Err(Error::Usage {
            place: model.display().to_string(),
            problem: format!(
                "kind = \"{asked}\" wants a {} model, this one is not",
                if is_causal { "causal" } else { "bidirectional" }
            ),
            hint: format!("write kind = \"{right}\""),
        });
    }
    let cutter = Cutter::read(model, is_causal)?;
    let longest = shape.max_length.saturating_sub(cutter.prefix());
    Ok((shape, cutter, longest))
}

/// Vectors of all words of `stories` by one model, for each of `layers`, from one reading; out of
/// the cache where they are there. `settings` without their layer.
///
/// A file's name is a hash of the model's files, the reading and the story's words, so that other
/// subjects, other spaces and later runs into the same folder find it.
/// # Errors
/// Those of the checkpoint; `Error::Usage` for a reading that the model does not have;
/// `Error::Interrupted`: finished stories are kept.
#[cfg(feature = "language")]
pub fn stored_vectors(
    model: &Path,
    settings: &ContextSettings,
    layers: &[Option<usize>],
    stories: &[Story],
    work: &LanguageWork<'_>,
) -> Result<Vec<StoredVectors>> {
    let (shape, cutter, longest) = opened(model, settings)?;
    let of_layer = |&layer: &Option<usize>| {
        ContextSettings { layer, ..settings.clone() }.for_model(shape.n_layers, longest)
    };
    let readings: Vec<Reading> = layers.iter().map(of_layer).collect::<Result<_>>()?;
    let mut counts = CoverageCounts::default();
    for story in stories {
        counts.add_story(story.words.len(), &unknown_words(&cutter, &story.words)?);
    }
    let hash = model_hash(model)?;
    let folder = work.cache.join("words");
    let file = |reading: &Reading, story: &Story| {
        folder.join(format!("{}.npy", key(&hash, reading, story)))
    };
    let files: Vec<Vec<PathBuf>> = readings
        .iter()
        .map(|reading| stories.iter().map(|story| file(reading, story)).collect())
        .collect();
    if !work.is_plan {
        std::fs::create_dir_all(&folder)
            .map_err(|source| Error::Write { path: folder.clone(), source })?;
        Computing { model, cutter: &cutter, readings: &readings, files: &files, work }
            .missing(stories)?;
    }
    let coverage = counts.coverage();
    let made = readings.into_iter().zip(files).map(|(reading, files)| StoredVectors {
        width: shape.width,
        files,
        coverage: coverage.clone(),
        reading,
        model: hash.to_hex().to_string(),
    });
    Ok(made.collect())
}

/// Layers of one reading, story by story.
#[cfg(feature = "language")]
struct Computing<'a> {
    model: &'a Path,
    cutter: &'a Cutter,
    /// Alike but for their layer.
    readings: &'a [Reading],
    /// `[reading][story]`.
    files: &'a [Vec<PathBuf>],
    work: &'a LanguageWork<'a>,
}

#[cfg(feature = "language")]
impl Computing<'_> {
    /// Computes and writes the files that are not there yet.
    fn missing(&self, stories: &[Story]) -> Result<()> {
        let lacks = |layer: usize, story: usize| !self.files[layer][story].is_file();
        let layers: Vec<usize> = (0..self.readings.len())
            .filter(|&layer| (0..stories.len()).any(|story| lacks(layer, story)))
            .collect();
        let missing: Vec<usize> = (0..stories.len())
            .filter(|&story| layers.iter().any(|&layer| lacks(layer, story)))
            .collect();
        let Some(first) = layers.first() else { return Ok(()) };
        let windows = self.readings[*first].windows;
        let model = open(self.model, self.work.device)?;
        let portions = self.portions(&missing, stories, &windows, model.width());
        let is_alone = matches!(windows, Windows::Alone { .. });
        let words_of = |portion: &[usize]| -> Vec<String> {
            let mut words: Vec<String> =
                portion.iter().flat_map(|&story| stories[story].words.iter().cloned()).collect();
            if is_alone {
                // A word that stands alone is read once, wherever it is heard.
                words.sort_unstable();
                words.dedup();
            }
            words
        };
        let n_words: usize = portions.iter().map(|portion| words_of(portion).len()).sum();
        let indices: Vec<usize> = layers.iter().map(|&at| self.readings[at].layer).collect();
        let text = indices.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let (plural, reporter) = (if indices.len() > 1 { "s" } else { "" }, self.work.reporter);
        reporter.step(&format!(
            "{}: layer{plural} {text} of {n_words} words, {}",
            self.model.display(),
            windows.describe()
        ));
        reporter.start("words", n_words as u64);
        let (began, n_pieces) = (Instant::now(), AtomicUsize::new(0));
        let done = |n: usize, pieces: usize| match self.work.cancel.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted),
            false => {
                n_pieces.fetch_add(pieces, Ordering::Relaxed);
                reporter.advance(n as u64);
                Ok(())
            }
        };
        let read = |words: &[String], place: &str| {
            word_vectors(&*model, self.cutter, words, (&windows, &indices), BATCH_TOKENS, &done)
                .map_err(|error| match error {
                    Error::Interrupted => error,
                    other => other.in_story(place),
                })
        };
        let all = || -> Result<()> {
            for portion in &portions {
                let words = words_of(portion);
                let vectors = read(&words, &stories[portion[0]].name)?;
                for &story in portion {
                    for (rows, &layer) in vectors.iter().zip(&layers) {
                        let own = stories[story].words.iter();
                        let own: Option<Vec<usize>> = is_alone
                            .then(|| own.filter_map(|w| words.binary_search(w).ok()).collect());
                        let own = own.map(|own| rows.select(Axis(0), &own));
                        let rows = own.as_ref().unwrap_or(rows);
                        self.write(rows, &self.files[layer][story], &stories[story].name)?;
                    }
                }
            }
            Ok(())
        };
        // Every batch frees the tensors that it made, and the next one makes the same again.
        reporter.reuses_memory(true);
        let outcome = all();
        reporter.reuses_memory(false);
        outcome?;
        reporter.finish();
        let (pieces, seconds) = (n_pieces.into_inner(), began.elapsed().as_secs_f64());
        reporter.step(&format!(
            "{pieces} pieces read in {seconds:.1} s, {:.0} a second",
            pieces as f64 / seconds.max(1e-3)
        ));
        Ok(())
    }

    /// Stories that are read together: one by one; where words stand alone, as many as fit into
    /// memory, because they share words.
    fn portions(
        &self,
        missing: &[usize],
        stories: &[Story],
        windows: &Windows,
        width: usize,
    ) -> Vec<Vec<usize>> {
        let of_word = self.readings.len() * width * size_of::<f32>();
        let most = match windows {
            Windows::Alone { .. } => (WORDS_BYTES / of_word.max(1)).max(1),
            _ => 0,
        };
        let (mut portions, mut words): (Vec<Vec<usize>>, HashSet<&str>) = Default::default();
        for &story in missing {
            words.extend(stories[story].words.iter().map(String::as_str));
            match portions.last_mut().filter(|_| words.len() <= most) {
                Some(portion) => portion.push(story),
                None => {
                    words = stories[story].words.iter().map(String::as_str).collect();
                    portions.push(vec![story]);
                }
            }
        }
        portions
    }

    fn write(&self, rows: &Array2<f32>, file: &Path, story: &str) -> Result<()> {
        let values: Vec<f32> = rows.iter().copied().collect();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::Values {
                place: self.model.display().to_string(),
                problem: format!("gives NaN or infinite vectors for words of {story:?}"),
                hint: "the checkpoint is damaged, or another layer must be taken".into(),
            });
        }
        npy::write(file, &[rows.nrows(), rows.ncols()], &values)
    }
}

/// blake3 over everything of a checkpoint that word vectors depend on.
/// # Errors
/// `Error::Read`.
#[cfg(feature = "language")]
pub fn model_hash(model: &Path) -> Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    for path in model_files(Path::new(""), model) {
        let (_, own) = hash(&path, Extent::Whole)?;
        // A model of one file is known by its content alone.
        let name = path.strip_prefix(model).unwrap_or(&path);
        hasher.update(name.as_os_str().as_encoded_bytes());
        hasher.update(own.as_bytes());
    }
    Ok(hasher.finalize())
}

/// Files that decide what a checkpoint gives: those of a folder, or the model itself. `model` and
/// what is found are relative to `base`.
pub fn model_files(base: &Path, model: &Path) -> Vec<PathBuf> {
    if base.join(model).is_file() {
        return vec![model.to_owned()];
    }
    const FILES: [&str; 6] = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "vocab.txt",
        "tokenizer_config.json",
        "model.safetensors.index.json",
    ];
    let entries = std::fs::read_dir(base.join(model)).into_iter().flatten().flatten();
    let shards = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut shards: Vec<String> = shards
        .filter(|name| name.starts_with("model-") && name.ends_with(".safetensors"))
        .collect();
    shards.sort();
    let files = FILES.into_iter().map(str::to_owned).chain(shards).map(|name| model.join(name));
    files.filter(|path| base.join(path).is_file()).collect()
}

#[cfg(feature = "language")]
fn key(model: &blake3::Hash, reading: &Reading, story: &Story) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.as_bytes());
    let how = format!("{} {}", reading.layer, reading.windows.describe());
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add("voxelcast word vectors 2");
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
    use crate::features::windows::ContextSettings;
    use crate::nn::Device;
    use crate::reporter::Reporter;
    use crate::stimuli::Story;
    use crate::study_file::{ModelSource, Study};

    fn refuse<T>() -> Result<T> {
        Err(Error::Usage {
            place: "kind = \"bert\", \"encoder\" or \"lm\"".into(),
            problem: "this voxelcast was built without language models".into(),
            hint: "build it with its default features: cargo build --release".into(),
        })
    }

    /// # Errors
    /// `Error::Usage` for a study with a language model.
    pub fn check_models(study: &Study) -> Result<()> {
        match study.spaces.iter().any(|space| space.kind.language().is_some()) {
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
    /// None: such a study is refused before.
    pub fn reading_bytes(_: &Study, _: &[Story], _: usize) -> Result<f64> {
        Ok(0.0)
    }

    /// # Errors
    /// `Error::Usage`.
    pub fn stored_vectors(
        _: &Path,
        _: &ContextSettings,
        _: &[Option<usize>],
        _: &[Story],
        _: &LanguageWork<'_>,
    ) -> Result<Vec<StoredVectors>> {
        refuse()
    }
}
