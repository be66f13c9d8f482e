//! `voxelcast predict`: saved models and stories in, predicted BOLD out.

mod language;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use self::language::{different_languages, read_languages, saved_language};
use super::features::trs_to_last_word;
use crate::backend::cpu::predict::predict_rows;
use crate::design::lanczos::Lanczos;
use crate::design::trim::Trim;
use crate::design::zscore::{ZScore, ZScoreMode};
use crate::error::{Error, Result};
use crate::features::bow::Vocabulary;
use crate::features::static_vectors::VectorFormat;
use crate::io::npy::NpyColumnsWriter;
use crate::io::safetensors::ColumnsReader;
use crate::matrix::StoryDesign;
use crate::reporter::Reporter;
use crate::results::names::{CACHE, MODEL, TEST_CORRELATION, WEIGHTS, model_folder};
use crate::results::predictions::{self, PredictedModel, Predictions, SCHEMA, story_file};
use crate::results::saved::{self, SavedFeatures, SavedModel, SavedPart};
use crate::results::{RunFolder, record};
use crate::stimuli::spelling::Punctuation;
use crate::stimuli::{StoriesRead, Story, StorySpan, WordRules, check_spans, read, warn_of_spans};
use crate::study::{
    BoldFinder, BoldFlags, FeatureTrs, RESPDICT_EXTRA, Timing, WordSpace, column_space,
    eng1000_space, file_space, known_phones, length_space, position_space, rate_space,
    read_respdict, side_by_side, standardised, vector_space, vocabulary_space, written_delays,
};
use crate::study_file::{BoldCleaning, FileRows, FileSpace, PhoneColumns, PhoneSpace, WordTime};
use crate::warning::Warning;

/// Where the number of TRs comes from, for stories that do not bring TR times.
#[derive(Debug, Clone)]
pub enum NewTrs {
    /// What the study knows of a story of this name, else up to its last word.
    Known,
    /// The same for every story, before the trim.
    Fixed(usize),
    /// respdict.json: raw count − 5.
    Respdict(PathBuf),
    /// Rows of each story's BOLD, and the trim.
    Bold(BoldFlags),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct PredictJob {
    /// Output folder of a run, or one of the folders below it.
    pub model: PathBuf,
    /// Timed words.
    pub stories: PathBuf,
    /// How they are read.
    pub words: WordRules,
    /// Stories that are wanted, in this order; all of them, by name, if empty.
    pub wanted: Vec<String>,
    /// Subjects; all if empty.
    pub subjects: Vec<String>,
    /// Spaces, or model folders such as `glove-lagged`; all if empty.
    pub spaces: Vec<String>,
    /// TRs.
    pub n_trs: NewTrs,
    /// What is cut off the BOLD that `n_trs` names.
    pub cleaning: BoldCleaning,
    /// Add each voxel's intercept.
    pub intercept: bool,
    /// Where a space's vectors are now; without a name, those of every space that has vectors.
    pub vectors: Vec<(Option<String>, PathBuf)>,
    /// Output folder.
    pub out: PathBuf,
    /// Memory that weights and predictions may take, in bytes.
    pub memory_bytes: u64,
}

/// Voxels of a tile, where memory allows.
const MAX_TILE_VOXELS: usize = 4096;
/// Voxels that are predicted together: a tile is a whole number of them.
const BLOCK_VOXELS: usize = 32;

/// Writes `SUBJECT/MODEL/STORY.npy`, `(n_trs, n_voxels)` f32, for every model, and
/// predictions.json.
///
/// # Errors
/// `Error::Values` for models without weights, for stories or models that are not there, and for
/// vectors other than the study's; `Error::Interrupted`; those of the files.
pub fn run(job: &PredictJob, reporter: &dyn Reporter, cancel: &AtomicBool) -> Result<Predictions> {
    let StoriesRead { stories, warnings, notes } = read(&job.stories, &job.words)?;
    notes.iter().for_each(|note| reporter.note(&format!("note: {note}")));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    let stories = chosen_stories(stories, &job.wanted)?;
    let models = chosen_models(job)?;
    fs::create_dir_all(&job.out)
        .map_err(|source| Error::Write { path: job.out.clone(), source })?;
    let respdict = match &job.n_trs {
        NewTrs::Respdict(path) => Some(read_respdict(path)?),
        _ => None,
    };
    let mut known = HashMap::new();
    let mut finder: Option<(&str, BoldFinder<'_>)> = None;
    let mut doubts: Vec<Warning> = Vec::new();
    let mut found = Predictions {
        schema: SCHEMA.into(),
        intercept: job.intercept,
        models: vec![],
        stories: vec![],
        tr_s: models.first().map(|(_, model)| model.tr_s),
    };
    let mut are_read = false;
    reporter.start("models", models.len() as u64);
    for (folder, model) in &models {
        if let NewTrs::Bold(bold) = &job.n_trs
            && finder.as_ref().is_none_or(|(subject, _)| *subject != model.subject.as_str())
        {
            let names = stories.iter().map(|story| story.name.clone()).collect();
            let subject = model.subject.as_str();
            finder = Some((subject, bold.finder("--n-trs", subject, names)?));
        }
        let bold = finder.as_ref().map(|(_, finder)| finder);
        let n_trs = stories
            .iter()
            .map(|story| {
                let first = model.story_first_tr_s.get(&story.name);
                Ok(FeatureTrs {
                    n: feature_trs(job, model, story, (respdict.as_ref(), bold))?,
                    first_s: first.copied().unwrap_or(model.first_tr_s),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let spans = spans(job, model, &stories, &n_trs)?;
        check_spans(&spans)?;
        for warning in warn_of_spans(&spans, true) {
            if !doubts.contains(&warning) {
                reporter.warn(&warning);
                doubts.push(warning);
            }
        }
        for part in &model.parts {
            let key = serde_json::to_string(&part.features).unwrap_or_default();
            if let Entry::Vacant(slot) = known.entry(key) {
                if saved_language(part).is_some() && !std::mem::replace(&mut are_read, true) {
                    // All layers of a model are read at once, whichever is asked for first.
                    let parts = different_languages(&models);
                    languages(job, &parts, &stories, (reporter, cancel))?;
                }
                slot.insert(features(job, (folder, part), &stories, (reporter, cancel))?);
            }
        }
        let spaces: Vec<&WordSpace> = model
            .parts
            .iter()
            .filter_map(|part| known.get(&serde_json::to_string(&part.features).ok()?))
            .collect();
        let designs = model_designs(model, &stories, &spaces, &n_trs)?;
        let rows: Vec<usize> = designs.iter().map(StoryDesign::n_trs).collect();
        predict_model(job, (folder, model), &stories, &designs, cancel)?;
        let shares = spaces.iter().filter_map(|s| s.coverage.as_ref()).map(|c| c.oov_share);
        found.models.push(PredictedModel {
            subject: model.subject.clone(),
            space: model.space.clone(),
            lagged: model.lagged,
            folder: model.id()?.path(),
            n_voxels: model.n_voxels,
            oov_share: shares.fold(0.0, f64::max),
        });
        found.stories = stories.iter().map(|story| story.name.clone()).zip(rows).collect();
        reporter.advance(1);
    }
    reporter.finish();
    predictions::write(&job.out, &found)?;
    // Words' vectors of language models, kept for a command that is stopped.
    let _ = fs::remove_dir_all(job.out.join(CACHE));
    Ok(found)
}

fn chosen_stories(mut stories: Vec<Story>, wanted: &[String]) -> Result<Vec<Story>> {
    if wanted.is_empty() {
        stories.sort_by(|a, b| a.name.cmp(&b.name));
        return Ok(stories);
    }
    let find = |name: &String| {
        let story = stories.iter().find(|story| story.name == *name).cloned();
        story.ok_or_else(|| not_there("--story", name, stories.iter().map(|s| s.name.as_str())))
    };
    wanted.iter().map(find).collect()
}

/// A name that nothing has.
fn not_there<'a>(place: &str, name: &str, there: impl Iterator<Item = &'a str>) -> Error {
    let mut there: Vec<&str> = there.collect();
    there.sort_unstable();
    there.dedup();
    let more = if there.len() > 8 { ", …" } else { "" };
    there.truncate(8);
    Error::Usage {
        place: place.into(),
        problem: format!("{name:?} is not there"),
        hint: format!("there are {}{more}", there.join(", ")),
    }
}

/// The models that are wanted, with their folders.
fn chosen_models(job: &PredictJob) -> Result<Vec<(PathBuf, SavedModel)>> {
    let folders = model_folders(&job.model)?;
    let read = |folder: PathBuf| Ok((saved::read(&folder)?, folder));
    let models: Vec<(SavedModel, PathBuf)> =
        folders.into_iter().map(read).collect::<Result<_>>()?;
    for name in &job.subjects {
        if models.iter().all(|(model, _)| model.subject.as_str() != name) {
            return Err(not_there("--subject", name, models.iter().map(|m| m.0.subject.as_str())));
        }
    }
    let is_space = |model: &SavedModel, name: &String| {
        let folder = model_folder(model.space.as_str(), model.lagged);
        model.space.as_str() == name || folder == *name
    };
    for name in &job.spaces {
        if models.iter().all(|(model, _)| !is_space(model, name)) {
            return Err(not_there("--space", name, models.iter().map(|m| m.0.space.as_str())));
        }
    }
    let is_wanted = |model: &SavedModel| {
        (job.subjects.is_empty() || job.subjects.iter().any(|name| name == model.subject.as_str()))
            && (job.spaces.is_empty() || job.spaces.iter().any(|name| is_space(model, name)))
    };
    let models = models.into_iter().filter(|(model, _)| is_wanted(model));
    Ok(models.map(|(model, folder)| (folder, model)).collect())
}

/// Folders of models at or below a folder, by subject and name. Of a run's output folder, those
/// that the run made: its run.json knows.
fn model_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        found.sort();
        found
    };
    let is_model = |path: &PathBuf| {
        [MODEL, WEIGHTS, TEST_CORRELATION].iter().any(|name| path.join(name).is_file())
    };
    let run = RunFolder::at(folder);
    if run.models().is_dir() {
        let made = record::models(&record::read(&run)?)?;
        return Ok(made.iter().map(|id| run.model(id)).collect());
    }
    let mut level = vec![folder.to_owned()];
    for _ in 0..3 {
        let found: Vec<PathBuf> = level.iter().filter(|path| is_model(path)).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        level = level.iter().flat_map(|path| below(path)).collect();
    }
    Err(Error::Values {
        place: folder.display().to_string(),
        problem: "expected models of a finished run, found none".into(),
        hint: "give the output folder of voxelcast run, or one of the folders below its models/"
            .into(),
    })
}

/// TRs of a story's features before the trim.
fn feature_trs(
    job: &PredictJob,
    model: &SavedModel,
    story: &Story,
    (respdict, bold): (Option<&BTreeMap<String, usize>>, Option<&BoldFinder<'_>>),
) -> Result<usize> {
    if let Some(times) = &story.tr_times_s {
        return Ok(times.len());
    }
    Ok(match (&job.n_trs, respdict) {
        (NewTrs::Fixed(n), _) => *n,
        (NewTrs::Bold(_), _) => {
            let rows = match bold {
                Some(bold) => bold.open(&story.name)?.n_rows(),
                None => 0,
            };
            let trim = job.cleaning.trim.unwrap_or(Trim::NONE);
            let rows = trim.kept(rows).map_err(|error| error.in_story(&story.name))?.len();
            rows.saturating_add(timing(model)?.trim.n_cut())
        }
        (NewTrs::Respdict(path), Some(counts)) => {
            let raw = counts.get(&story.name).ok_or_else(|| Error::Values {
                place: format!("story {:?}", story.name),
                problem: format!("has no TR count in {}", path.display()),
                hint: "complete the file, or give --n-trs N".into(),
            })?;
            raw.saturating_sub(RESPDICT_EXTRA)
        }
        _ => match model.story_trs.get(&story.name) {
            Some(&n) => n,
            None => trs_to_last_word(story, model.first_tr_s, model.tr_s)
                .map_err(|error| error.in_story(&story.name))?,
        },
    })
}

/// Words against the TRs that are kept, of stories whose TRs are known.
fn spans(
    job: &PredictJob,
    model: &SavedModel,
    stories: &[Story],
    n_trs: &[FeatureTrs],
) -> Result<Vec<StorySpan>> {
    let is_known = |story: &Story| {
        story.tr_times_s.is_some()
            || !matches!(job.n_trs, NewTrs::Known)
            || model.story_trs.contains_key(&story.name)
    };
    let timing = timing(model)?;
    let known = stories.iter().zip(n_trs).filter(|(story, _)| is_known(story));
    known.map(|(story, &trs)| timing.span(story, trs)).collect()
}

fn timing(model: &SavedModel) -> Result<Timing> {
    Ok(Timing {
        lanczos: Lanczos { window: model.lanczos_window, cutoff_mult: model.cutoff_mult },
        trim: model.trim.parse()?,
        time: if model.time == "onset" { WordTime::Onset } else { WordTime::Mid },
        tr_s: model.tr_s,
    })
}

/// Word rows of parts that language models make, from where the study or a flag says they are.
fn languages(
    job: &PredictJob,
    parts: &[(&Path, &SavedPart)],
    stories: &[Story],
    progress: (&dyn Reporter, &AtomicBool),
) -> Result<Vec<Option<WordSpace>>> {
    let place = |&(folder, part): &(&'_ Path, &'_ SavedPart)| {
        let saved = saved_language(part).map(|saved| folder.join(&saved.path));
        let path = named(job, part).map(Path::to_owned).or(saved).unwrap_or_default();
        // Saved paths start at each model's folder; one reading serves what is one model.
        fs::canonicalize(&path).unwrap_or(path)
    };
    let parts: Vec<_> = parts.iter().map(|part| (place(part), part.1)).collect();
    read_languages(&job.out.join(CACHE), &parts, stories, progress)
}

/// The path that a flag gives for a space.
fn named<'a>(job: &'a PredictJob, part: &SavedPart) -> Option<&'a Path> {
    let own = |(name, _): &&(Option<String>, PathBuf)| name.as_deref() == Some(part.name.as_str());
    job.vectors.iter().find(own).map(|(_, path)| path.as_path())
}

/// Word rows of a saved space for new stories; its other half is `study::saving::features`.
fn features(
    job: &PredictJob,
    (folder, part): (&Path, &SavedPart),
    stories: &[Story],
    (reporter, cancel): (&dyn Reporter, &AtomicBool),
) -> Result<WordSpace> {
    let named = named(job, part);
    let vectors = |saved: &saved::SavedVectors| -> Result<PathBuf> {
        let any = || job.vectors.iter().find(|(name, _)| name.is_none());
        let given = named.or_else(|| any().map(|(_, path)| path.as_path()));
        let path = given.map_or_else(|| folder.join(&saved.path), Path::to_owned);
        let is_there = path.ancestors().any(|part| part.is_file());
        if given.is_none() && !is_there {
            return Err(Error::Values {
                place: format!("space {:?}", part.name),
                problem: format!("its word vectors are not at {} any more", path.display()),
                hint: format!("say where they are: --vectors {}=FILE", part.name),
            });
        }
        saved.check(&path)?;
        Ok(path)
    };
    let space = match &part.features {
        SavedFeatures::Bow { lowercase, strips_punctuation, vocabulary } => {
            let punctuation = match strips_punctuation {
                true => Punctuation::Strip,
                false => Punctuation::Keep,
            };
            let vocabulary = Vocabulary::of(vocabulary.clone(), *lowercase, punctuation);
            vocabulary_space(&vocabulary, stories)
        }
        SavedFeatures::Word2vec(saved) => {
            vector_space(&vectors(saved)?, VectorFormat::Word2vec, stories)?
        }
        SavedFeatures::Glove(saved) => {
            vector_space(&vectors(saved)?, VectorFormat::Glove, stories)?
        }
        SavedFeatures::Eng1000(saved) => eng1000_space(&vectors(saved)?, stories)?,
        SavedFeatures::WordRate => rate_space(stories),
        SavedFeatures::WordLength => length_space(stories),
        SavedFeatures::Position => position_space(),
        SavedFeatures::Column { columns } => column_space(columns, stories)?,
        SavedFeatures::Phones { identity, tier, vocabulary } => {
            let what = if *identity { PhoneColumns::Identity } else { PhoneColumns::Rate };
            let space = PhoneSpace { what, tier: tier.clone() };
            known_phones(&space, vocabulary.clone(), stories)?
        }
        SavedFeatures::File { path, dataset, rows, times, .. } => {
            let path = named.map_or_else(|| folder.join(path), Path::to_owned);
            let space = FileSpace {
                path: path.to_string_lossy().into_owned(),
                dataset: dataset.clone(),
                rows: match (times, rows.as_str()) {
                    (Some(times), _) => {
                        FileRows::Times(folder.join(times).to_string_lossy().into_owned())
                    }
                    (None, "trs") => FileRows::Trs,
                    (None, _) => FileRows::Words,
                },
                names: None,
            };
            file_space(&space, Path::new(""), stories, &std::env::temp_dir())?
        }
        SavedFeatures::Bert(_) | SavedFeatures::Encoder(_) | SavedFeatures::Lm(_) => {
            let made = languages(job, &[(folder, part)], stories, (reporter, cancel))?;
            made.into_iter().flatten().next().ok_or_else(|| not_yet(part, "lm"))?
        }
        SavedFeatures::NotYet { name } => return Err(not_yet(part, name)),
    };
    space.notes.iter().for_each(|note| reporter.note(&format!("note: {note}")));
    match space.n_features == part.n_features {
        true => Ok(space),
        false => Err(Error::Shape {
            what: format!("space {:?}", part.name),
            expected: format!("{} columns", part.n_features),
            got: space.n_features.to_string(),
            hint: "model.json is damaged, or the vectors are others: run the study again".into(),
        }),
    }
}

fn not_yet(part: &SavedPart, kind: &str) -> Error {
    Error::Usage {
        place: format!("space {:?}", part.name),
        problem: format!("a space of kind {kind} cannot predict on new stories"),
        hint: "run the study again with this version, or choose others with --space".into(),
    }
}

/// Designs of every story as the model was fitted on; delayed where delays cross stories.
fn model_designs(
    model: &SavedModel,
    stories: &[Story],
    spaces: &[&WordSpace],
    n_trs: &[FeatureTrs],
) -> Result<Vec<StoryDesign>> {
    let (timing, mode) = (timing(model)?, model.zscore.parse::<ZScoreMode>()?);
    let all: Vec<usize> = (0..stories.len()).collect();
    let mut parts: Vec<Vec<StoryDesign>> = Vec::new();
    for (part, space) in model.parts.iter().zip(spaces) {
        let how = match (mode, &part.scaling) {
            (ZScoreMode::Story, _) => ZScore::Story,
            (ZScoreMode::None, _) => ZScore::None,
            (ZScoreMode::Train, Some(scaling)) => ZScore::Train(scaling.clone()),
            (ZScoreMode::Train, None) => {
                return Err(Error::Values {
                    place: format!("space {:?}", part.name),
                    problem: "model.json has no scaling of the training stories".into(),
                    hint: "the file is damaged: run the study again".into(),
                });
            }
        };
        parts.push(standardised(&timing, stories, &all, space, n_trs, &how)?);
    }
    let designs = match &mut parts[..] {
        [one] => std::mem::take(one),
        _ => side_by_side(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()),
    };
    match model.is_written() {
        true => {
            let designs: Vec<&StoryDesign> = designs.iter().collect();
            written_delays(&designs, &model.delays, &model.undelayed(), model.delays_cross_stories)
        }
        false => Ok(designs),
    }
}

/// Predictions of one model, in voxel tiles; the stories of a tile go over the cores.
fn predict_model(
    job: &PredictJob,
    (folder, model): (&Path, &SavedModel),
    stories: &[Story],
    designs: &[StoryDesign],
    cancel: &AtomicBool,
) -> Result<()> {
    let weights = ColumnsReader::open(&folder.join(WEIGHTS))?;
    let (n_voxels, n_coefs) = (model.n_voxels, model.n_coefs);
    // Before files of that size are made: model.json and the weights are of one model.
    weights.read_columns("weights", (n_coefs, n_voxels), 0..0)?;
    weights.read_columns("intercept", (1, n_voxels), 0..0)?;
    let id = model.id()?;
    let out = job.out.join(id.path());
    fs::create_dir_all(&out).map_err(|source| Error::Write { path: out, source })?;
    let delays: &[i64] = if model.is_written() { &[0] } else { &model.delays };
    let writers = stories
        .iter()
        .zip(designs)
        .map(|(story, design)| {
            let path = story_file(&job.out, &id, &story.name);
            NpyColumnsWriter::<f32>::create(&path, design.n_trs(), n_voxels)
        })
        .collect::<Result<Vec<_>>>()?;
    let width = tile_width(job.memory_bytes, n_coefs, designs);
    for start in (0..n_voxels).step_by(width) {
        if cancel.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let cols = start..(start + width).min(n_voxels);
        let coef = weights.read_columns("weights", (n_coefs, n_voxels), cols.clone())?;
        let intercept = match job.intercept {
            true => weights.read_columns("intercept", (1, n_voxels), cols.clone())?,
            false => vec![0.0; cols.len()],
        };
        designs.par_iter().zip(&writers).try_for_each(|(design, writer)| {
            writer.write_columns(cols.clone(), &predict_rows(design, delays, &coef, &intercept))
        })?;
    }
    writers.into_iter().try_for_each(NpyColumnsWriter::finish)
}

/// Voxels of a tile: weights twice (as read and in panels, the latter once a thread), and
/// predictions twice.
fn tile_width(memory_bytes: u64, n_coefs: usize, designs: &[StoryDesign]) -> usize {
    let n_threads = rayon::current_num_threads();
    let n_trs = designs.iter().map(StoryDesign::n_trs).max().unwrap_or(0);
    let per_voxel = 4 * (n_coefs + n_threads * (n_coefs + 2 * n_trs)).max(1);
    let fit = (memory_bytes / per_voxel as u64) as usize;
    (fit / BLOCK_VOXELS * BLOCK_VOXELS).clamp(BLOCK_VOXELS, MAX_TILE_VOXELS)
}
