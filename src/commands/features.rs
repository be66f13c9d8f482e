//! `voxelcast features`: stories to word rows and TR rows, as .npy files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::{TrRows, tr_rows};
use crate::design::tr_times::{MAX_STORY_TRS, tr_times, trs_until};
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::features::coverage::FoundForms;
use crate::io::npy;
use crate::matrix::Rows;
use crate::reporter::Reporter;
use crate::results::lock::Locking;
use crate::results::names::CACHE;
use crate::stimuli::{StoriesRead, Story, StorySpan, WordRules, check_spans, read, warn_of_spans};
use crate::study::language::LanguageWork;
use crate::study::{FeatureTrs, Timing, WordSpace, read_respdict, word_space};
use crate::study_file::{SpaceKind, WordTime};

/// Where the number of TRs comes from, for stories that do not bring TR times.
#[derive(Debug, Clone)]
pub enum TrCount {
    /// Up to the last word.
    LastWord,
    /// The same for every story.
    Fixed(usize),
    /// respdict.json: raw count − 5.
    Respdict(PathBuf),
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct FeaturesJob {
    /// Timed words.
    pub stories: PathBuf,
    /// How they are read.
    pub words: WordRules,
    /// What makes a word's row.
    pub kind: SpaceKind,
    /// Repetition time.
    pub tr_s: f64,
    /// Middle of the first TR.
    pub first_tr_s: f64,
    /// TRs.
    pub n_trs: TrCount,
    /// Resampling.
    pub lanczos: Lanczos,
    /// Rows of TRs in f64, not in f32.
    pub f64: bool,
    /// Output folder.
    pub out: PathBuf,
    /// Memory that one story may take, in bytes.
    pub memory_bytes: u64,
}

/// features.json.
#[derive(Debug, Clone, Serialize)]
pub struct FeaturesSummary {
    /// Space.
    pub kind: &'static str,
    /// Columns.
    pub dim: usize,
    /// Words in all stories.
    pub n_words: usize,
    /// Words without a row of their own.
    pub n_oov: usize,
    /// The most frequent of them, with counts.
    pub oov_words: Vec<(String, usize)>,
    /// In which form the others were found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundForms>,
    /// Marks that were dropped.
    pub n_marks: usize,
    /// Words without times, skipped or interpolated.
    pub n_untimed: usize,
    /// Column names of a bag of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Per story: words and TRs.
    pub stories: BTreeMap<String, (usize, usize)>,
}

/// Writes `<story>.words.npy` `(n_words, dim)` f32, of kinds that have a row per word,
/// `<story>.trs.npy` `(n_trs, dim)` f32 (or f64), not trimmed and not standardised, and
/// `features.json`.
///
/// # Errors
/// Those of the stories and vector files; `Error::TooLarge` if a story's dense rows do not fit.
pub fn run(
    job: &FeaturesJob,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<FeaturesSummary> {
    let StoriesRead { stories, warnings, notes } = read(&job.stories, &job.words)?;
    notes.iter().for_each(|note| reporter.note(&format!("note: {note}")));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    let respdict = match &job.n_trs {
        TrCount::Respdict(path) => Some(read_respdict(path)?),
        _ => None,
    };
    check_timing(job, &stories, respdict.as_ref(), reporter)?;
    let all: Vec<usize> = (0..stories.len()).collect();
    let cache = job.out.join(CACHE);
    let device = &crate::nn::Device::Cpu;
    let work = LanguageWork {
        cache: &cache,
        device,
        encoder: None,
        is_plan: false,
        locking: Locking::On,
        reporter,
        cancel,
    };
    let space = word_space(&job.kind, Path::new(""), &stories, &all, &work)?;
    let Some(space) = space else {
        return Err(Error::Usage {
            place: "--kind".into(),
            problem: "a combination has no features of its own".into(),
            hint: "join the columns of its parts".into(),
        });
    };
    space.warnings.iter().for_each(|warning| reporter.warn(warning));
    space.notes.iter().for_each(|note| reporter.note(&format!("note: {note}")));
    if space.is_position() {
        reporter.note(
            "note: position counts from the first of all TRs that are written here; a study counts \
             from the first that its trim keeps",
        );
    }
    let dim = space.n_features;
    let times = stories
        .iter()
        .map(|story| {
            story_tr_times(job, story, respdict.as_ref()).map_err(|e| e.in_story(&story.name))
        })
        .collect::<Result<Vec<_>>>()?;
    let trs = times.iter().map(|times| FeatureTrs { n: times.len(), first_s: job.first_tr_s });
    let feature_trs: Vec<FeatureTrs> = trs.collect();
    let lengths = stories.iter().zip(&times).map(|(story, trs)| story.words.len().max(trs.len()));
    let longest = lengths.max().unwrap_or(0);
    let needed = (longest as u64).saturating_mul(dim as u64).saturating_mul(16);
    if needed > job.memory_bytes {
        return Err(Error::TooLarge {
            what: format!("dense rows of a story with {longest} words or TRs × {dim} columns"),
            needed: format!("{} MiB", needed >> 20),
            available: format!("{} MiB", job.memory_bytes >> 20),
            hint: "use --max-words, or raise --memory".into(),
        });
    }
    std::fs::create_dir_all(&job.out)
        .map_err(|source| Error::Write { path: job.out.clone(), source })?;
    reporter.start("stories", stories.len() as u64);
    let mut sizes = BTreeMap::new();
    for (index, (story, times)) in stories.iter().zip(&times).enumerate() {
        let in_story = |error: Error| error.in_story(&story.name);
        let path = |name: &str| job.out.join(format!("{}.{name}.npy", story.name));
        let timing =
            Timing { lanczos: job.lanczos, trim: Trim::NONE, time: WordTime::Mid, tr_s: job.tr_s };
        let at_trs = match space.is_at_words() {
            true => {
                let rows = space.story_rows(index, story).map_err(in_story)?;
                let words = match rows.as_ref() {
                    Rows::Dense(rows) => rows.clone(),
                    Rows::Sparse(rows) => rows.to_dense(),
                };
                let values: Vec<f32> = words.iter().copied().collect();
                npy::write(&path("words"), &[words.nrows(), words.ncols()], &values)?;
                tr_rows(&rows, &story.mid_s, times, &job.lanczos, Trim::NONE).map_err(in_story)?
            }
            false => timing.space_rows(&space, &stories, index, &feature_trs)?,
        };
        let trs = match at_trs {
            TrRows::Dense(rows) => rows,
            TrRows::Sparse(rows) => rows.to_dense(),
        };
        let shape = [trs.nrows(), trs.ncols()];
        match job.f64 {
            true => npy::write(&path("trs"), &shape, &trs.iter().copied().collect::<Vec<_>>())?,
            false => {
                let values: Vec<f32> = trs.iter().map(|&x| x as f32).collect();
                npy::write(&path("trs"), &shape, &values)?;
            }
        }
        sizes.insert(story.name.clone(), (story.words.len(), shape[0]));
        reporter.advance(1);
    }
    reporter.finish();
    let n_words = stories.iter().map(|story| story.words.len()).sum();
    let WordSpace { coverage, names, .. } = space;
    let found = coverage.as_ref().and_then(|coverage| coverage.found);
    let (n_oov, oov_words) = coverage.map_or((0, Vec::new()), |c| (c.n_oov, c.oov_words));
    let kind = job.kind.label();
    let summary = FeaturesSummary {
        kind,
        dim,
        n_words,
        n_oov,
        oov_words,
        found,
        n_marks: stories.iter().map(|story| story.source.n_marks()).sum(),
        n_untimed: stories.iter().map(|story| story.source.n_untimed).sum(),
        names,
        stories: sizes,
    };
    crate::io::output::write_json(&job.out.join("features.json"), &summary)?;
    // What stood there for a run that is stopped stands in the words' files now.
    let _ = std::fs::remove_dir_all(&cache);
    Ok(summary)
}

/// Words against TRs, before anything is allocated for these.
/// # Errors
/// `Error::Values` for words outside their scan, and for more TRs than a story can have.
fn check_timing(
    job: &FeaturesJob,
    stories: &[Story],
    respdict: Option<&BTreeMap<String, usize>>,
    reporter: &dyn Reporter,
) -> Result<()> {
    let mut known = Vec::new();
    let mut made = Vec::new();
    for story in stories {
        let is_known = story.tr_times_s.is_some() || !matches!(job.n_trs, TrCount::LastWord);
        let scan_s = match &story.tr_times_s {
            Some(times) => (times[0], times[times.len() - 1]),
            None => {
                let n = n_feature_trs(job, story, respdict)?;
                let last = n.saturating_sub(1) as f64;
                (job.first_tr_s, job.first_tr_s + last * job.tr_s)
            }
        };
        let span = StorySpan::new(story, scan_s, job.tr_s);
        if is_known { known.push(span) } else { made.push(span) }
    }
    check_spans(&known)?;
    let warnings = warn_of_spans(&known, true).into_iter().chain(warn_of_spans(&made, false));
    warnings.for_each(|warning| reporter.warn(&warning));
    Ok(())
}

fn story_tr_times(
    job: &FeaturesJob,
    story: &Story,
    respdict: Option<&BTreeMap<String, usize>>,
) -> Result<Vec<f64>> {
    if let Some(times) = &story.tr_times_s {
        return Ok(times.clone());
    }
    tr_times(job.first_tr_s, job.tr_s, n_feature_trs(job, story, respdict)?)
}

/// TRs of a story without TR times.
fn n_feature_trs(
    job: &FeaturesJob,
    story: &Story,
    respdict: Option<&BTreeMap<String, usize>>,
) -> Result<usize> {
    Ok(match (&job.n_trs, respdict) {
        (TrCount::Fixed(n), _) => *n,
        (TrCount::Respdict(path), Some(counts)) => {
            let raw = counts.get(&story.name).ok_or_else(|| Error::Values {
                place: format!("story {:?}", story.name),
                problem: format!("has no TR count in {}", path.display()),
                hint: "complete the file, or give --n-trs N".into(),
            })?;
            raw.saturating_sub(crate::study::RESPDICT_EXTRA)
        }
        _ => trs_to_last_word(story, job.first_tr_s, job.tr_s)
            .map_err(|error| error.in_story(&story.name))?,
    })
}

/// TRs whose last one is at or after the last word, at least 2.
/// # Errors
/// `Error::Values` for more TRs than a story can have: times of a clock, or in another unit.
pub fn trs_to_last_word(story: &Story, first_tr_s: f64, tr_s: f64) -> Result<usize> {
    let (first, last) = story.words_s();
    let middle = story.mid_s.iter().copied().fold(first_tr_s, f64::max);
    trs_until(middle, first_tr_s, tr_s).map_err(|_| Error::Values {
        place: "words".into(),
        problem: format!(
            "they run from {first} to {last} s, over {MAX_STORY_TRS} TRs of {tr_s} s from the \
             first one at {first_tr_s} s"
        ),
        hint: "give times from the start of the sound, or their unit (--time-unit)".into(),
    })
}
