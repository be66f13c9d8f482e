//! What a model of the study needs to predict on new stories.

use std::path::Path;

use super::context::StudyContext;
use super::features::scaling;
use super::inputs::Subject;
use super::models::ModelPlan;
use super::word_space::WordSpace;
use crate::design::zscore::ZScore;
use crate::error::Result;
use crate::features::windows::{Context, ContextSettings, Pool, WindowSettings};
use crate::results::saved::{
    SCHEMA, SavedFeatures, SavedLanguage, SavedModel, SavedPart, SavedVectors, SavedWindows,
    relative,
};
use crate::results::{Name, RunFolder};
use crate::stimuli::spelling::Punctuation;
use crate::study_file::{
    FileRows, FileSpace, FirstTr, ModelSource, PhoneColumns, PhoneSpace, SpaceKind, Study,
};

/// model.json of one subject's model.
/// # Errors
/// Those of reading the vectors again for their hash; those of training-set statistics.
pub fn saved_model(
    context: &StudyContext<'_>,
    subject: &Subject,
    model: &ModelPlan,
) -> Result<SavedModel> {
    let StudyContext { study, splits, words, options, inputs, .. } = context;
    let index = inputs.subjects.iter().position(|other| other.name == subject.name);
    let split = index.map_or(&splits.all, |index| splits.of(index));
    let id = model.id(&subject.name)?;
    let folder = RunFolder::at(&options.out).model(&id);
    let own = study.parts(model.design);
    let saved_part = |&index: &usize| -> Result<Option<SavedPart>> {
        let Some(space) = &words[index] else { return Ok(None) };
        let trs = &subject.feature_trs;
        Ok(Some(SavedPart {
            name: Name::new(&study.spaces[index].name)?,
            n_features: space.n_features,
            features: features(study, index, space, (&folder, &options.out))?,
            scaling: match scaling(study, &inputs.stories, space, split, trs)? {
                ZScore::Train(scaling) => Some(scaling),
                ZScore::Story | ZScore::None => None,
            },
        }))
    };
    let parts = own.iter().map(saved_part).collect::<Result<Vec<_>>>()?;
    let first_tr_s = match index.map(|index| &study.bold_cleaning[index].first_tr) {
        Some(&FirstTr::At(first)) => first,
        _ => study.first_tr_s,
    };
    let heard =
        || subject.heard.iter().map(|&s| (inputs.stories[s].name.clone(), subject.feature_trs[s]));
    Ok(SavedModel {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        subject: id.subject().clone(),
        space: id.space().clone(),
        lagged: model.is_lagged(),
        delays: model.delays.clone(),
        delays_cross_stories: study.delays_cross_stories,
        n_voxels: subject.n_voxels,
        n_coefs: model.n_coefs,
        tr_s: study.tr_s,
        first_tr_s,
        trim: study.trim.to_string(),
        zscore: format!("{:?}", study.zscore).to_lowercase(),
        lanczos_window: study.lanczos_window,
        cutoff_mult: study.cutoff_mult,
        time: format!("{:?}", study.time).to_lowercase(),
        story_trs: heard().map(|(name, trs)| (name, trs.n)).collect(),
        story_first_tr_s: heard().map(|(name, trs)| (name, trs.first_s)).collect(),
        parts: parts.into_iter().flatten().collect(),
    })
}

/// The one place to teach a new kind of space to predict; its other half is
/// `commands::predict::features`.
fn features(
    study: &Study,
    index: usize,
    space: &WordSpace,
    (folder, out): (&Path, &Path),
) -> Result<SavedFeatures> {
    let own = &study.spaces[index];
    Ok(match &own.kind {
        SpaceKind::Bow(settings) => SavedFeatures::Bow {
            lowercase: settings.lowercase,
            strips_punctuation: settings.punctuation == Punctuation::Strip,
            vocabulary: space.names.clone().unwrap_or_default(),
        },
        SpaceKind::Word2Vec(path) => {
            SavedFeatures::Word2vec(SavedVectors::of(&study.path(path), folder)?)
        }
        SpaceKind::Glove(path) => {
            SavedFeatures::Glove(SavedVectors::of(&study.path(path), folder)?)
        }
        SpaceKind::Eng1000(path) => {
            SavedFeatures::Eng1000(SavedVectors::of(&study.path(path), folder)?)
        }
        SpaceKind::WordRate => SavedFeatures::WordRate,
        SpaceKind::WordLength => SavedFeatures::WordLength,
        SpaceKind::Position => SavedFeatures::Position,
        SpaceKind::Column(columns) => SavedFeatures::Column { columns: columns.clone() },
        SpaceKind::Phones(PhoneSpace { what, tier }) => SavedFeatures::Phones {
            identity: *what == PhoneColumns::Identity,
            tier: tier.clone(),
            vocabulary: space.names.clone().unwrap_or_default(),
        },
        SpaceKind::File(FileSpace { path, dataset, rows, .. }) => {
            let from_model = |path: &String| relative(&study.path(Path::new(path)), folder);
            SavedFeatures::File {
                path: from_model(path),
                dataset: dataset.clone(),
                rows: rows.label().into(),
                times: match rows {
                    FileRows::Times(times) => Some(from_model(times)),
                    FileRows::Words | FileRows::Trs => None,
                },
                names: space.names.clone().unwrap_or_default(),
            }
        }
        SpaceKind::Bert(language) | SpaceKind::Encoder(language) | SpaceKind::Lm(language) => {
            let path = match &language.model {
                ModelSource::Folder(path) => study.path(path),
                // It was put there before anything was fitted.
                _ => RunFolder::at(out).encoder(&Name::new(&own.name)?),
            };
            let reading = space.reading.map(|reading| reading.settings());
            let ContextSettings { layer, windows } =
                reading.unwrap_or_else(|| language.reading.clone());
            let windows = match windows {
                WindowSettings::BothWays { context, window, stride } => SavedWindows::BothWays {
                    sees_ahead: context == Context::Both,
                    window: window.unwrap_or_default(),
                    stride,
                },
                WindowSettings::Causal { past, window, pool } => {
                    SavedWindows::Causal { past, window, is_mean: pool == Pool::Mean }
                }
            };
            let saved = SavedLanguage {
                path: relative(&path, folder),
                blake3: space.model.clone().unwrap_or_default(),
                layer: layer.unwrap_or_default(),
                windows,
                strips_punctuation: language.punctuation.map(|how| how == Punctuation::Strip),
            };
            match own.kind {
                SpaceKind::Bert(_) => SavedFeatures::Bert(saved),
                SpaceKind::Lm(_) => SavedFeatures::Lm(saved),
                _ => SavedFeatures::Encoder(saved),
            }
        }
        SpaceKind::Combine(_) => SavedFeatures::NotYet { name: own.kind.label().into() },
    })
}
