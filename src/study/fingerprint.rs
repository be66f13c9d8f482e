//! What a result depends on: settings and inputs, hashed, so that a resumed or repeated run knows
//! whether it is the same.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::inputs::{Inputs, Subject};
use super::language::MODEL_FILES;
use super::models::ModelPlan;
use super::split::Split;
use super::stability::ExtraSplits;
use crate::error::Result;
use crate::io::matrix_file::MatrixFile;
use crate::nn::TrainSettings;
use crate::results::hash::{InputHash, hash_file};
use crate::ridge::BandSampling;
use crate::stimuli::Story;
use crate::study_file::{BoldFiles, ModelSource, SpaceKind, Statistics, Study, settings_of_rows};

/// Hashes of everything the study reads, by what depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHashes {
    /// Stories and TR counts: every model.
    words: Vec<InputHash>,
    /// Files of each space of the study: its models, and those that combine it.
    spaces: Vec<Vec<InputHash>>,
    /// BOLD of each subject, in the order of the stories, and its mask: its models.
    bold: Vec<Vec<InputHash>>,
    /// Single measurements and flat map of each subject: the noise ceiling and the pictures alone.
    beside: Vec<Vec<InputHash>>,
}

impl InputHashes {
    /// All of them, in the order of the study's file.
    pub fn all(&self) -> Vec<InputHash> {
        let per_subject = self.bold.iter().zip(&self.beside).flat_map(|(a, b)| a.iter().chain(b));
        self.words.iter().chain(self.spaces.iter().flatten()).chain(per_subject).cloned().collect()
    }

    /// These without the BOLD of other subjects.
    pub fn of_subjects(&self, wanted: &Range<usize>) -> Self {
        let keep = |all: &[Vec<InputHash>]| {
            let kept = |(at, of_one): (usize, &Vec<InputHash>)| match wanted.contains(&at) {
                true => of_one.clone(),
                false => Vec::new(),
            };
            all.iter().enumerate().map(kept).collect()
        };
        Self { bold: keep(&self.bold), beside: keep(&self.beside), ..self.clone() }
    }
}

/// Hashes everything the study reads, of BOLD that of the `wanted` subjects.
/// # Errors
/// `Error::Read`.
pub fn hash_inputs(study: &Study, inputs: &Inputs, wanted: &Range<usize>) -> Result<InputHashes> {
    let mut hashes =
        InputHashes { words: hash_path(study, &study.stories)?, ..InputHashes::default() };
    if let Some(respdict) = &study.respdict {
        hashes.words.extend(hash_path(study, respdict)?);
    }
    for space in &study.spaces {
        hashes.spaces.push(match &space.kind {
            SpaceKind::Word2Vec(path) | SpaceKind::Glove(path) => hash_path(study, path)?,
            SpaceKind::Bert(space) | SpaceKind::Encoder(space) => match &space.model {
                ModelSource::Folder(folder) => {
                    let files = MODEL_FILES.iter().map(|name| hash_path(study, &folder.join(name)));
                    files.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
                }
                ModelSource::Trained(_) | ModelSource::Untrained => {
                    let tokenizer = study.encoder.tokenizer.iter();
                    let hashes = tokenizer.map(|path| hash_path(study, path));
                    hashes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
                }
            },
            SpaceKind::Bow(_) | SpaceKind::WordRate | SpaceKind::Combine(_) => Vec::new(),
        });
    }
    let files = study.bold.iter().zip(&study.bold_files);
    for (at, (subject, ((_, pattern), files))) in inputs.subjects.iter().zip(files).enumerate() {
        if !wanted.contains(&at) {
            hashes.bold.push(Vec::new());
            hashes.beside.push(Vec::new());
            continue;
        }
        let stories = inputs.stories.iter().zip(&subject.files);
        let hash = |(story, file): (&Story, &MatrixFile)| {
            hash_file(file.path(), &pattern.replace("{story}", &story.name))
        };
        let mut bold: Vec<InputHash> = stories.map(hash).collect::<Result<_>>()?;
        if let Some(mask) = &files.mask {
            bold.extend(hash_path(study, mask)?);
        }
        hashes.bold.push(bold);
        let repeats = subject.repeats.iter().zip(&subject.files);
        let own = repeats
            .flat_map(|(repeats, mean)| repeats.iter().filter(|file| file.path() != mean.path()));
        let hash = |file: &MatrixFile| {
            let path = file.path();
            let label = path.strip_prefix(&study.folder).unwrap_or(path).display().to_string();
            hash_file(path, &label)
        };
        let mut beside: Vec<InputHash> = own.map(hash).collect::<Result<_>>()?;
        if let Some(pixels) = &files.pixels {
            beside.extend(hash_path(study, pixels)?);
        }
        hashes.beside.push(beside);
    }
    Ok(hashes)
}

/// A file, the archive that a member is in, or every file of a folder.
fn hash_path(study: &Study, relative: &Path) -> Result<Vec<InputHash>> {
    let path = study.path(relative);
    let label = relative.display().to_string();
    if let Some(file) = path.ancestors().find(|file| file.is_file()) {
        return Ok(vec![hash_file(file, &label)?]);
    }
    let Ok(entries) = fs::read_dir(&path) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    let name = |file: &Path| file.file_name().map_or(String::new(), |n| n.to_string_lossy().into());
    files.iter().map(|file| hash_file(file, &format!("{label}/{}", name(file)))).collect()
}

/// What the numbers of one subject's model depend on, as one hash: settings, stories and their
/// split, the files of its space, the subject's BOLD, the planned route.
///
/// A setting that is not known to leave the numbers alone counts.
pub fn model_fingerprint(
    study: &Study,
    inputs: &Inputs,
    subject: usize,
    split: &Split,
    extra: &ExtraSplits,
    model: &ModelPlan,
    hashes: &InputHashes,
) -> String {
    let plain = Study {
        folder: PathBuf::new(),
        stories: PathBuf::new(),
        respdict: None,
        bold: vec![(String::new(), String::new())],
        repeats: vec![None],
        bold_files: vec![BoldFiles {
            dataset: study.bold_files[subject].dataset.clone(),
            mask: None,
            pixels: None,
        }],
        variants: vec![model.variant],
        encoder: TrainSettings::default(),
        bands: BandSampling::default(),
        spaces: Vec::new(),
        alignment_check: false,
        statistics: Statistics { resamples: 0, ..study.statistics.clone() },
        ..study.clone()
    };
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let trs = &inputs.subjects[subject].n_feature_trs;
    let own = model.design;
    let parts = match &study.spaces[own].kind {
        SpaceKind::Combine(parts) => parts.clone(),
        _ => vec![own],
    };
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: String| {
        hasher.update(text.as_bytes());
    };
    add(settings_text(&plain));
    add(format!("{names:?} {trs:?} {split:?} {extra:?} {:?} {}", model.delays, model.route));
    if let Some(bands) = &model.bands {
        add(json(&(&bands.sampling, &bands.kept)));
    }
    for &part in &parts {
        add(json(&settings_of_rows(study, part)));
        if let SpaceKind::Encoder(space) = &study.spaces[part].kind
            && !matches!(space.model, ModelSource::Folder(_))
        {
            add(json(&TrainSettings { tokenizer: None, ..study.encoder() }));
        }
        hashes.spaces[part].iter().for_each(|hash| add(hash.blake3.clone()));
    }
    hashes.words.iter().chain(&hashes.bold[subject]).for_each(|hash| add(hash.blake3.clone()));
    hasher.finalize().to_hex().to_string()
}

/// The fingerprint of some voxels of a model.
pub fn of_voxels(model: &str, voxels: &Range<usize>) -> String {
    format!("{model} {}..{}", voxels.start, voxels.end)
}

/// What a file looks like from outside: enough to see that it was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamps(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Stamps {
    /// Those of a subject's BOLD.
    pub fn of(subject: &Subject) -> Self {
        let stamp = |path: &Path| {
            let about = fs::metadata(path).ok()?;
            Some((about.len(), about.modified().ok()?))
        };
        Self(subject.files.iter().map(|f| (f.path().to_owned(), stamp(f.path()))).collect())
    }

    /// The first file that looks otherwise now.
    pub fn first_changed(&self, now: &Self) -> Option<PathBuf> {
        let pairs = self.0.iter().zip(&now.0);
        pairs.filter(|(before, now)| before != now).map(|(before, _)| before.0.clone()).next()
    }
}

/// The settings as text: what run.json says of the study, before models' own values are filled in.
pub fn settings_text(study: &Study) -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), json(study))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("settings are numbers, texts and lists of them")
}

/// One hash over settings and inputs.
pub fn combined(settings: &str, inputs: &[InputHash]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(settings.as_bytes());
    for input in inputs {
        hasher.update(input.path.as_bytes());
        hasher.update(input.blake3.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
