//! Language models of a saved study, read again for new stories.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::features::windows::{Context, ContextSettings, Pool, WindowSettings};
use crate::reporter::Reporter;
use crate::results::lock::Locking;
use crate::results::saved::{SavedFeatures, SavedLanguage, SavedModel, SavedPart, SavedWindows};
use crate::stimuli::Story;
use crate::stimuli::spelling::Punctuation;
use crate::study::language::{LanguageWork, model_hash};
use crate::study::{WordSpace, word_spaces_of};
use crate::study_file::{LanguageSpace, ModelSource, SpaceKind};

/// The language model of a part, if one makes its rows.
pub(super) fn saved_language(part: &SavedPart) -> Option<&SavedLanguage> {
    match &part.features {
        SavedFeatures::Bert(saved) | SavedFeatures::Encoder(saved) | SavedFeatures::Lm(saved) => {
            Some(saved)
        }
        _ => None,
    }
}

/// Parts that language models make, each once, with the folder of a model that has it.
pub(super) fn different_languages(models: &[(PathBuf, SavedModel)]) -> Vec<(&Path, &SavedPart)> {
    let mut found: Vec<(&Path, &SavedPart)> = Vec::new();
    for (folder, model) in models {
        for part in model.parts.iter().filter(|part| saved_language(part).is_some()) {
            if found.iter().all(|(_, other)| other.features != part.features) {
                found.push((folder, part));
            }
        }
    }
    found
}

/// Word rows of parts that language models make, in files of `cache`, given where each model is;
/// layers of one model come from one reading.
pub(super) fn read_languages(
    cache: &Path,
    parts: &[(PathBuf, &SavedPart)],
    stories: &[Story],
    (reporter, cancel): (&dyn Reporter, &AtomicBool),
) -> Result<Vec<Option<WordSpace>>> {
    let kind = |(path, part): &(PathBuf, &SavedPart)| -> Result<Option<SpaceKind>> {
        let saved = saved_language(part);
        saved.map(|saved| language(part, saved, path.clone()).map(SpaceKind::Bert)).transpose()
    };
    let kinds: Vec<Option<SpaceKind>> = parts.iter().map(kind).collect::<Result<_>>()?;
    let work = LanguageWork {
        cache,
        device: &crate::nn::Device::Cpu,
        encoder: None,
        is_plan: false,
        locking: Locking::On,
        reporter,
        cancel,
    };
    word_spaces_of(kinds.iter().map(Option::as_ref), Path::new(""), stories, &[], &work)
}

/// A saved language model, as a study would name it.
fn language(part: &SavedPart, saved: &SavedLanguage, path: PathBuf) -> Result<LanguageSpace> {
    let is_there = path.exists();
    let problem = match is_there && model_hash(&path)?.to_hex().as_str() == saved.blake3 {
        true => None,
        false if is_there => Some("holds another model than the study's"),
        false => Some("is not there any more"),
    };
    if let Some(problem) = problem {
        return Err(Error::Values {
            place: format!("space {:?}", part.name),
            problem: format!("the folder of its language model, {}, {problem}", path.display()),
            hint: format!("say where it is: --vectors {}=FOLDER", part.name),
        });
    }
    let windows = match saved.windows {
        SavedWindows::BothWays { sees_ahead, window, stride } => WindowSettings::BothWays {
            context: if sees_ahead { Context::Both } else { Context::Past },
            window: Some(window),
            stride,
        },
        SavedWindows::Causal { past, window, is_mean } => WindowSettings::Causal {
            past,
            window,
            pool: if is_mean { Pool::Mean } else { Pool::Last },
        },
    };
    let strips = |&strips: &bool| if strips { Punctuation::Strip } else { Punctuation::Keep };
    Ok(LanguageSpace {
        model: ModelSource::Folder(path),
        reading: ContextSettings { layer: Some(saved.layer), windows },
        punctuation: saved.strips_punctuation.as_ref().map(strips),
    })
}
