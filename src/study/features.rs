//! Words to designs: every feature space of a study, for every story.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::inputs::Inputs;
use super::split::Split;
use super::unit_words::training_words;
use super::units::stories_of;
use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::{TrRows, tr_rows};
use crate::design::tr_times::{FeatureTrs, tr_times};
use crate::design::trim::Trim;
use crate::design::zscore::{ColumnStats, ZScore, ZScoreMode, zscore};
use crate::error::{Error, Result};
use crate::features::bow::Vocabulary;
use crate::features::contextual::Reading;
use crate::features::coverage::{Coverage, CoverageCounts};
use crate::features::static_vectors::{VectorFormat, embed, look_up, wanted_words};
use crate::features::word_rate::word_rate;
use crate::io::{npy, word_vectors};
use crate::matrix::{Rows, SPARSE_MAX_DENSITY, StoryDesign};
use crate::results::lock::wait_for_turn;
use crate::results::names::TURN;
use crate::stimuli::spelling::Form;
use crate::stimuli::{Story, StorySpan};
use crate::study::language::{LanguageWork, model_folder, stored_vectors};
use crate::study_file::{LanguageSpace, ModelSource, SpaceKind, Study, WordTime};
use crate::warning::Warning;

/// One space's word rows: what does not depend on TR times.
pub struct WordSpace {
    /// Number of columns.
    pub n_features: usize,
    /// Where a story's rows come from.
    rows: RowSource,
    /// Words that have no row of their own.
    pub coverage: Option<Coverage>,
    /// Column names, for a bag of words.
    pub names: Option<Vec<String>>,
    /// Folder of the encoder that was made for the training stories.
    pub encoder: Option<PathBuf>,
    /// How a language model read the stories.
    pub reading: Option<Reading>,
    /// About its files.
    pub warnings: Vec<Warning>,
}

/// A row a word heard, for every story, can be larger than everything else: static vectors are
/// looked up when a story is resampled, not before.
enum RowSource {
    /// One matrix a story.
    Stored(Vec<Rows>),
    /// Word vectors by the file's spelling.
    Vectors(HashMap<String, Vec<f32>>, VectorFormat),
    /// One .npy a story.
    Files(Vec<PathBuf>),
}

impl WordSpace {
    /// Bytes of the rows that it holds.
    pub fn bytes(&self) -> usize {
        // A key, its text and its vector's allocation.
        const ENTRY_BYTES: usize = 128;
        match &self.rows {
            RowSource::Stored(rows) => rows.iter().map(Rows::bytes).sum(),
            RowSource::Vectors(vectors, _) => {
                vectors.len() * (self.n_features * size_of::<f32>() + ENTRY_BYTES)
            }
            RowSource::Files(_) => 0,
        }
    }

    /// The word rows of one story, `(n_words, n_features)`.
    /// # Errors
    /// As `static_vectors::embed`; those of reading stored rows.
    pub fn story_rows(&self, index: usize, story: &Story) -> Result<Cow<'_, Rows>> {
        match &self.rows {
            RowSource::Stored(rows) => Ok(Cow::Borrowed(&rows[index])),
            RowSource::Vectors(vectors, format) => {
                let (rows, _) = embed(&story.words, vectors, self.n_features, *format)?;
                Ok(Cow::Owned(Rows::Dense(rows)))
            }
            RowSource::Files(files) => {
                let rows = npy::read_matrix_f32(&files[index])?;
                if rows.dim() != (story.words.len(), self.n_features) {
                    return Err(Error::Shape {
                        what: format!(
                            "word vectors of {:?} ({})",
                            story.name,
                            files[index].display()
                        ),
                        expected: format!("({}, {})", story.words.len(), self.n_features),
                        got: format!("{:?}", rows.dim()),
                        hint: "remove the folder .cache and start again".into(),
                    });
                }
                Ok(Cow::Owned(Rows::Dense(rows)))
            }
        }
    }
}

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
        SpaceKind::WordRate => rate_space(stories),
        SpaceKind::Bow(settings) => {
            let training = train.iter().map(|&s| stories[s].words.as_slice());
            vocabulary_space(&Vocabulary::build(training, settings)?, stories)
        }
        SpaceKind::Word2Vec(path) => {
            vector_space(&folder.join(path), VectorFormat::Word2vec, stories)?
        }
        SpaceKind::Glove(path) => vector_space(&folder.join(path), VectorFormat::Glove, stories)?,
        SpaceKind::Bert(space) | SpaceKind::Encoder(space) => {
            language_space(space, folder, stories, train, work)?
        }
    };
    Ok(Some(made))
}

/// Words per TR.
pub fn rate_space(stories: &[Story]) -> WordSpace {
    WordSpace {
        n_features: 1,
        rows: RowSource::Stored(stories.iter().map(|s| word_rate(s.words.len())).collect()),
        coverage: None,
        names: None,
        encoder: None,
        reading: None,
        warnings: Vec::new(),
    }
}

/// A bag of words over a vocabulary.
pub fn vocabulary_space(vocabulary: &Vocabulary, stories: &[Story]) -> WordSpace {
    let mut counts = CoverageCounts::default();
    for story in stories {
        vocabulary.count(&story.words, &mut counts);
    }
    let rows = stories.iter().map(|s| Rows::Sparse(vocabulary.words_to_rows(&s.words)));
    WordSpace {
        n_features: vocabulary.n_features(),
        rows: RowSource::Stored(rows.collect()),
        coverage: Some(counts.coverage()),
        names: Some(vocabulary.names().to_vec()),
        encoder: None,
        reading: None,
        warnings: Vec::new(),
    }
}

fn language_space(
    space: &LanguageSpace,
    folder: &Path,
    stories: &[Story],
    train: &[usize],
    work: &LanguageWork<'_>,
) -> Result<WordSpace> {
    if cfg!(not(feature = "language")) {
        // A plan too is refused where there are no language models.
        model_folder(&space.model, folder, stories, train, work)?;
    }
    let is_ours = !matches!(space.model, ModelSource::Folder(_));
    if let (true, true, Some(settings)) = (is_ours, work.is_plan, work.encoder) {
        let reading = space.reading.for_model(settings.layers, settings.max_length)?;
        return Ok(WordSpace {
            n_features: settings.hidden,
            rows: RowSource::Files(Vec::new()),
            coverage: None,
            names: None,
            encoder: None,
            reading: Some(reading),
            warnings: Vec::new(),
        });
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
    let stored = stored_vectors(&model, &space.reading, stories, work)?;
    Ok(WordSpace {
        n_features: stored.width,
        rows: RowSource::Files(stored.files),
        coverage: Some(stored.coverage),
        names: None,
        encoder: is_ours.then_some(model),
        reading: Some(stored.reading),
        warnings: Vec::new(),
    })
}

/// The words' vectors of a file.
/// # Errors
/// Those of the file; `Error::Values` if it knows none of the words.
pub fn vector_space(path: &Path, format: VectorFormat, stories: &[Story]) -> Result<WordSpace> {
    let wanted = wanted_words(stories.iter().map(|story| story.words.as_slice()), format);
    let file = word_vectors::read(path, None, &|word| wanted.contains(word))?;
    let mut counts = CoverageCounts::default();
    let mut forms: HashMap<&str, Option<Form>> = HashMap::new();
    for story in stories {
        let mut oov: Vec<&String> = Vec::new();
        for word in &story.words {
            let form = *forms
                .entry(word)
                .or_insert_with(|| look_up(word, &file.vectors, format).map(|(form, _)| form));
            match form {
                Some(form) => counts.add_found(form),
                None => oov.push(word),
            }
        }
        counts.add_story(story.words.len(), &oov);
    }
    let coverage = counts.coverage();
    if coverage.n_oov == coverage.n_words {
        return Err(Error::Values {
            place: path.display().to_string(),
            problem: format!(
                "expected vectors of the words heard, found none of {} (the file holds {} words)",
                coverage.n_words, file.n_in_file
            ),
            hint: "check that it is the right file, of the right language and case".into(),
        });
    }
    let warnings = vector_warnings(path, &file);
    Ok(WordSpace {
        n_features: file.dim,
        rows: RowSource::Vectors(file.vectors, format),
        coverage: Some(coverage),
        names: None,
        encoder: None,
        reading: None,
        warnings,
    })
}

/// What is odd about a file of vectors.
fn vector_warnings(path: &Path, file: &word_vectors::WordVectors) -> Vec<Warning> {
    let name = path.display();
    let mut warnings = Vec::new();
    if let Some(declared) = file.n_declared {
        let n = file.n_in_file;
        let text = format!(
            "{name}: the header counts {declared} vectors, the file holds {n}; if nobody shortened \
             it, download it again"
        );
        warnings.push(Warning::Vectors { text });
    }
    if let Some((line, got)) = file.first_short {
        let text = format!(
            "{name}: line {line} has {got} numbers, the others have {}; {} such lines are left out",
            file.dim, file.n_damaged
        );
        warnings.push(Warning::Vectors { text });
    }
    warnings
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
    let mut made = Vec::with_capacity(study.spaces.len());
    let (stories, train) = (&inputs.stories, stories_of(&inputs.units, &split.train));
    for space in &study.spaces {
        let words = match &space.kind {
            SpaceKind::Bow(settings) if study.units.by_block => {
                let training = training_words(study, inputs, split);
                let training = training.iter().map(Vec::as_slice);
                Some(vocabulary_space(&Vocabulary::build(training, settings)?, stories))
            }
            kind => word_space(kind, &study.folder, stories, &train, work)?,
        };
        warnings.extend(words.iter().flat_map(|words| words.warnings.iter().cloned()));
        let is_static = matches!(space.kind, SpaceKind::Word2Vec(_) | SpaceKind::Glove(_));
        if let (true, Some(coverage)) =
            (is_static, words.as_ref().and_then(|w| w.coverage.as_ref()))
        {
            warnings.extend(Warning::low_coverage(&space.name, coverage));
        }
        made.push(words);
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
        let times = match &story.tr_times_s {
            Some(times) => Cow::Borrowed(times),
            None => Cow::Owned(tr_times(trs.first_s, self.tr_s, trs.n)?),
        };
        tr_rows(rows, word_times(story, self.time), &times, &self.lanczos, self.trim)
    }

    fn space_rows(
        &self,
        space: &WordSpace,
        stories: &[Story],
        index: usize,
        feature_trs: &[FeatureTrs],
    ) -> Result<TrRows> {
        let story = &stories[index];
        space
            .story_rows(index, story)
            .and_then(|rows| self.story_rows(story, &rows, feature_trs[index]))
            .map_err(|error| error.in_story(&story.name))
    }
}

/// The moment of each word that counts; tables with onsets know both, lab pickles the middle only.
fn word_times(story: &Story, time: WordTime) -> &[f64] {
    match (time, &story.onset_s) {
        (WordTime::Onset, Some(onset_s)) => onset_s,
        _ => &story.mid_s,
    }
}
