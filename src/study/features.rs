//! Words to designs: every feature space of a study, for every story.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;

use super::inputs::Inputs;
use super::kinds;
use super::split::Split;
use super::unit_words::training_words;
use super::units::stories_of;
use super::word_space::{RowSource, RowsAt, WordSpace};
use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::{TrRows, tr_rows};
use crate::design::tr_times::{FeatureTrs, tr_times};
use crate::design::trim::Trim;
use crate::design::zscore::{ColumnStats, ZScore, ZScoreMode, zscore};
use crate::error::Result;
use crate::features::bow::Vocabulary;
use crate::features::static_vectors::VectorFormat;
use crate::features::windows::ContextSettings;
use crate::matrix::{Rows, SPARSE_MAX_DENSITY, StoryDesign};
use crate::results::lock::wait_for_turn;
use crate::results::names::TURN;
use crate::stimuli::{Story, StorySpan};
use crate::study::language::{LanguageWork, model_folder, stored_vectors};
use crate::study_file::{LanguageSpace, ModelSource, SpaceKind, Study, WordTime};
use crate::warning::Warning;

/// Word rows of a space that is not a combination; `None` for one.
///
/// `train`: indices of the training stories, the only ones a vocabulary or an encoder sees.
/// # Errors
/// Those of the vector files and checkpoints; `Error::Values` for an empty vocabulary.
pub fn word_space(
    kind: &SpaceKind,
    folder: &Path,
    stories: &[Story],
    train: &[usize],
    work: &LanguageWork<'_>,
) -> Result<Option<WordSpace>> {
    let made = match kind {
        SpaceKind::Combine(_) => return Ok(None),
        SpaceKind::WordRate => kinds::rate_space(stories),
        SpaceKind::WordLength => kinds::length_space(stories),
        SpaceKind::Position => kinds::position_space(),
        SpaceKind::Column(columns) => kinds::column_space(columns, stories)?,
        SpaceKind::Phones(space) => kinds::phone_space(space, stories, train)?,
        SpaceKind::File(space) => kinds::file_space(space, folder, stories, work.cache)?,
        SpaceKind::Bow(settings) => {
            let training = train.iter().map(|&s| stories[s].words.as_slice());
            kinds::vocabulary_space(&Vocabulary::build(training, settings)?, stories)
        }
        SpaceKind::Word2Vec(path) => {
            kinds::vector_space(&folder.join(path), VectorFormat::Word2vec, stories)?
        }
        SpaceKind::Glove(path) => {
            kinds::vector_space(&folder.join(path), VectorFormat::Glove, stories)?
        }
        SpaceKind::Eng1000(path) => kinds::eng1000_space(&folder.join(path), stories)?,
        SpaceKind::Bert(space) | SpaceKind::Encoder(space) | SpaceKind::Lm(space) => {
            let layers = [space.reading.layer];
            language_spaces(space, &layers, folder, stories, train, work)?.swap_remove(0)
        }
    };
    Ok(Some(made))
}

/// Word rows of several spaces, each as [`word_space`] makes it; those that read the same model in
/// the same way and differ in their layer come from one reading. `None` for `None`.
/// # Errors
/// As [`word_space`].
pub fn word_spaces_of<'a>(
    kinds: impl Iterator<Item = Option<&'a SpaceKind>>,
    folder: &Path,
    stories: &[Story],
    train: &[usize],
    work: &LanguageWork<'_>,
) -> Result<Vec<Option<WordSpace>>> {
    let mut made: Vec<Option<WordSpace>> = Vec::new();
    // What is read once, by which spaces, and their layers.
    let mut readings: Vec<(LanguageSpace, Vec<usize>, Vec<Option<usize>>)> = Vec::new();
    for (at, kind) in kinds.enumerate() {
        made.push(None);
        let Some(kind) = kind else { continue };
        let Some(space) = kind.language() else {
            made[at] = word_space(kind, folder, stories, train, work)?;
            continue;
        };
        let reading = ContextSettings { layer: None, ..space.reading.clone() };
        let read = LanguageSpace { reading, ..space.clone() };
        let place = readings.iter().position(|(other, ..)| *other == read).unwrap_or_else(|| {
            readings.push((read, Vec::new(), Vec::new()));
            readings.len() - 1
        });
        readings[place].1.push(at);
        readings[place].2.push(space.reading.layer);
    }
    for (space, places, layers) in &readings {
        let spaces = language_spaces(space, layers, folder, stories, train, work)?;
        for (&at, words) in places.iter().zip(spaces) {
            made[at] = Some(words);
        }
    }
    Ok(made)
}

/// A space for each of `layers`, from one reading.
fn language_spaces(
    space: &LanguageSpace,
    layers: &[Option<usize>],
    folder: &Path,
    stories: &[Story],
    train: &[usize],
    work: &LanguageWork<'_>,
) -> Result<Vec<WordSpace>> {
    if cfg!(not(feature = "language")) {
        // A plan too is refused where there are no language models.
        model_folder(&space.model, folder, stories, train, work)?;
    }
    let is_ours = !matches!(space.model, ModelSource::Folder(_));
    if let (true, true, Some(settings)) = (is_ours, work.is_plan, work.encoder) {
        let planned = |&layer: &Option<usize>| {
            let asked = ContextSettings { layer, ..space.reading.clone() };
            let reading = asked.for_model(settings.layers, settings.max_length)?;
            let rows = RowSource::Files(Vec::new());
            Ok(WordSpace { reading: Some(reading), ..WordSpace::new(settings.hidden, rows) })
        };
        return layers.iter().map(planned).collect();
    }
    // Shards of a study share the cache: one trains or computes, the others find what it left.
    let _turn = match work.is_plan {
        true => None,
        false => Some(wait_for_turn(work.cache, TURN, work.locking, work.reporter, work.cancel)?),
    };
    let spelled: Option<Vec<Story>> = space
        .punctuation
        .map(|punctuation| stories.iter().map(|s| s.read_as(punctuation)).collect());
    let stories = spelled.as_deref().unwrap_or(stories);
    let model = model_folder(&space.model, folder, stories, train, work)?;
    let stored = stored_vectors(&model, &space.reading, layers, stories, work)?;
    let made = stored.into_iter().map(|stored| WordSpace {
        coverage: Some(stored.coverage),
        encoder: is_ours.then(|| model.clone()),
        reading: Some(stored.reading),
        model: Some(stored.model),
        ..WordSpace::new(stored.width, RowSource::Files(stored.files))
    });
    Ok(made.collect())
}

/// Every space's word rows, in the order of the study; vector files are read once each.
/// # Errors
/// As [`word_space`].
pub fn word_spaces(
    study: &Study,
    inputs: &Inputs,
    split: &Split,
    warnings: &mut Vec<Warning>,
    work: &LanguageWork<'_>,
) -> Result<Vec<Option<WordSpace>>> {
    let (stories, train) = (&inputs.stories, stories_of(&inputs.units, &split.train));
    // Bags of words of blocks have words of their own.
    let is_of_blocks = |kind: &SpaceKind| study.units.by_block && matches!(kind, SpaceKind::Bow(_));
    let kinds = study.spaces.iter().map(|space| Some(&space.kind));
    let kinds = kinds.map(|kind| kind.filter(|kind| !is_of_blocks(kind)));
    let mut made = word_spaces_of(kinds, &study.folder, stories, &train, work)?;
    for (space, words) in study.spaces.iter().zip(&mut made) {
        if let (SpaceKind::Bow(settings), true) = (&space.kind, is_of_blocks(&space.kind)) {
            let training = training_words(study, inputs, split);
            let training = training.iter().map(Vec::as_slice);
            let vocabulary = Vocabulary::build(training, settings)?;
            *words = Some(kinds::vocabulary_space(&vocabulary, stories));
        }
        warnings.extend(words.iter().flat_map(|words| words.warnings.iter().cloned()));
        let is_static = matches!(
            space.kind,
            SpaceKind::Word2Vec(_) | SpaceKind::Glove(_) | SpaceKind::Eng1000(_)
        );
        if let (true, Some(coverage)) =
            (is_static, words.as_ref().and_then(|w| w.coverage.as_ref()))
        {
            warnings.extend(Warning::low_coverage(&space.name, coverage));
        }
    }
    Ok(made)
}

/// Designs of the fitted spaces that are `wanted`, for TR counts given story by story:
/// `[space][story]`, empty for all others; stories of 0 TRs, which a subject did not hear, are left
/// out.
///
/// # Errors
/// Those of Lanczos, trim and z-score, with the story's name.
pub fn designs(
    study: &Study,
    stories: &[Story],
    spaces: &[Option<&WordSpace>],
    split: &Split,
    feature_trs: &[FeatureTrs],
    wanted: &dyn Fn(usize) -> bool,
) -> Result<Vec<Vec<StoryDesign>>> {
    let is_wanted = |index: usize| study.spaces[index].fit && wanted(index);
    let is_part = |part: usize| {
        let combines = |index: &usize| match &study.spaces[*index].kind {
            SpaceKind::Combine(parts) => is_wanted(*index) && parts.contains(&part),
            _ => false,
        };
        (0..spaces.len()).any(|index| combines(&index))
    };
    let mut made: HashMap<usize, Vec<StoryDesign>> = HashMap::new();
    for (index, space) in spaces.iter().enumerate() {
        if let Some(space) = space.filter(|_| is_wanted(index) || is_part(index)) {
            made.insert(index, space_designs(study, stories, space, split, feature_trs)?);
        }
    }
    let mut all: Vec<Vec<StoryDesign>> = Vec::new();
    for (index, space) in study.spaces.iter().enumerate() {
        all.push(match &space.kind {
            SpaceKind::Combine(parts) if is_wanted(index) => {
                side_by_side(&parts.iter().map(|part| made[part].as_slice()).collect::<Vec<_>>())
            }
            _ => Vec::new(),
        });
    }
    for (index, designs) in made {
        if is_wanted(index) {
            all[index] = designs;
        }
    }
    Ok(all)
}

/// The columns of several spaces in one design a story: `[space][story]` to `[story]`.
pub fn side_by_side(spaces: &[&[StoryDesign]]) -> Vec<StoryDesign> {
    let n_stories = spaces.first().map_or(0, |designs| designs.len());
    let combined = |story: usize| {
        let parts: Vec<&StoryDesign> = spaces.iter().map(|designs| &designs[story]).collect();
        StoryDesign::hstack(&parts)
    };
    same_storage((0..n_stories).map(combined).collect())
}

/// Designs that are stored alike: dense if any story is, or if sparse products would be slower.
fn same_storage(designs: Vec<StoryDesign>) -> Vec<StoryDesign> {
    let cells = |x: &StoryDesign| x.n_trs() as f64 * x.n_features() as f64;
    let all: f64 = designs.iter().map(cells).sum();
    let stored: f64 = designs.iter().map(|x| cells(x) * x.density()).sum();
    let sparse = designs.iter().all(|x| matches!(x, StoryDesign::Sparse { .. }));
    if sparse && stored < SPARSE_MAX_DENSITY * all {
        return designs;
    }
    designs.into_iter().map(|x| StoryDesign::Dense(x.to_dense())).collect()
}

fn space_designs(
    study: &Study,
    stories: &[Story],
    space: &WordSpace,
    split: &Split,
    feature_trs: &[FeatureTrs],
) -> Result<Vec<StoryDesign>> {
    let how = scaling(study, stories, space, split, feature_trs)?;
    let all: Vec<usize> = (0..stories.len()).filter(|&story| feature_trs[story].n > 0).collect();
    standardised(&Timing::of(study), stories, &all, space, feature_trs, &how)
}

/// How a space's rows are standardised: with what the training stories say, where they are asked.
/// # Errors
/// Those of Lanczos and trim.
pub fn scaling(
    study: &Study,
    stories: &[Story],
    space: &WordSpace,
    split: &Split,
    feature_trs: &[FeatureTrs],
) -> Result<ZScore> {
    Ok(match study.zscore {
        ZScoreMode::Story => ZScore::Story,
        ZScoreMode::None => ZScore::None,
        ZScoreMode::Train => {
            let mut stats = ColumnStats::empty(space.n_features);
            for &story in &split.train {
                let rows = Timing::of(study).space_rows(space, stories, story, feature_trs)?;
                stats.merge(&ColumnStats::of(&rows))?;
            }
            ZScore::Train(stats.scaling())
        }
    })
}

/// Standardised designs of some stories.
///
/// `feature_trs`: of all stories, before the trim.
/// # Errors
/// Those of Lanczos, trim and z-score, with the story's name.
pub fn standardised(
    timing: &Timing,
    stories: &[Story],
    which: &[usize],
    space: &WordSpace,
    feature_trs: &[FeatureTrs],
    how: &ZScore,
) -> Result<Vec<StoryDesign>> {
    // f64 rows live for one story at a time on each thread.
    let design = |&index: &usize| {
        let rows = timing.space_rows(space, stories, index, feature_trs)?;
        zscore(&rows, how).map_err(|error| error.in_story(&stories[index].name))
    };
    // The first story's error, whichever thread was quicker.
    let designs: Vec<Result<StoryDesign>> = which.par_iter().map(design).collect();
    designs.into_iter().collect::<Result<_>>().map(same_storage)
}

/// When words and TRs were.
#[derive(Debug, Clone, PartialEq)]
pub struct Timing {
    /// Resampling.
    pub lanczos: Lanczos,
    /// TRs cut.
    pub trim: Trim,
    /// Which moment of a word counts.
    pub time: WordTime,
    /// Repetition time.
    pub tr_s: f64,
}

impl Timing {
    /// The study's.
    pub fn of(study: &Study) -> Self {
        Self {
            lanczos: Lanczos { window: study.lanczos_window, cutoff_mult: study.cutoff_mult },
            trim: study.trim,
            time: study.time,
            tr_s: study.tr_s,
        }
    }

    /// A story's words against the TRs that are kept of its `trs`.
    /// # Errors
    /// `Error::NothingLeft` for the story.
    pub fn span(&self, story: &Story, trs: FeatureTrs) -> Result<StorySpan> {
        let kept = self.trim.kept(trs.n).map_err(|error| error.in_story(&story.name))?;
        Ok(StorySpan::of_trs(story, kept, trs.first_s, self.tr_s))
    }

    /// Word rows at the TRs of a story's BOLD, not yet standardised.
    /// # Errors
    /// As [`tr_rows`].
    pub fn story_rows(&self, story: &Story, rows: &Rows, trs: FeatureTrs) -> Result<TrRows> {
        let times = self.tr_times(story, trs)?;
        tr_rows(rows, word_times(story, self.time), &times, &self.lanczos, self.trim)
    }

    /// A space's rows at the TRs of a story's BOLD, not yet standardised.
    /// # Errors
    /// As [`tr_rows`], and those of the space's files, with the story's name.
    pub fn space_rows(
        &self,
        space: &WordSpace,
        stories: &[Story],
        index: usize,
        feature_trs: &[FeatureTrs],
    ) -> Result<TrRows> {
        let (story, trs) = (&stories[index], feature_trs[index]);
        let rows = || match &space.at {
            RowsAt::Words => {
                let rows = space.story_rows(index, story)?;
                self.story_rows(story, &rows, trs)
            }
            RowsAt::Times(times) => {
                let rows = space.story_rows(index, story)?;
                let tr_times = self.tr_times(story, trs)?;
                tr_rows(&rows, times[index].of(self.time), &tr_times, &self.lanczos, self.trim)
            }
            RowsAt::Trs => space.rows_at_trs(index, trs.n, &self.trim.kept(trs.n)?),
        };
        rows().map_err(|error| error.in_story(&story.name))
    }

    fn tr_times<'a>(&self, story: &'a Story, trs: FeatureTrs) -> Result<Cow<'a, [f64]>> {
        Ok(match &story.tr_times_s {
            Some(times) => Cow::Borrowed(times),
            None => Cow::Owned(tr_times(trs.first_s, self.tr_s, trs.n)?),
        })
    }
}

/// The moment of each word that counts; tables with onsets know both, lab pickles the middle only.
fn word_times(story: &Story, time: WordTime) -> &[f64] {
    match (time, &story.onset_s) {
        (WordTime::Onset, Some(onset_s)) => onset_s,
        _ => &story.mid_s,
    }
}
