//! `voxelcast features`: stories to word rows and TR rows, as .npy files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use crate::design::lanczos::Lanczos;
use crate::design::tr_rows::{TrRows, tr_rows};
use crate::design::tr_times::{tr_times, trs_until};
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::npy;
use crate::matrix::Rows;
use crate::reporter::Reporter;
use crate::results::lock::Locking;
use crate::results::names::CACHE;
use crate::stimuli::{Story, read_stories};
use crate::study::language::LanguageWork;
use crate::study::{WordSpace, read_respdict, word_space};
use crate::study_file::SpaceKind;

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
    /// Column names of a bag of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Per story: words and TRs.
    pub stories: BTreeMap<String, (usize, usize)>,
}

/// Writes `<story>.words.npy` `(n_words, dim)`, `<story>.trs.npy` `(n_trs, dim)` f32, not trimmed
/// and not standardised, and `features.json`.
///
/// # Errors
/// Those of the stories and vector files; `Error::TooLarge` if a story's dense rows do not fit.
pub fn run(
    job: &FeaturesJob,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<FeaturesSummary> {
    let (stories, warnings) = read_stories(&job.stories)?;
    warnings.iter().for_each(|warning| reporter.warn(warning));
    let all: Vec<usize> = (0..stories.len()).collect();
    let cache = job.out.join(CACHE);
    let device = &candle_core::Device::Cpu;
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
    let dim = space.n_features;
    let respdict = match &job.n_trs {
        TrCount::Respdict(path) => Some(read_respdict(path)?),
        _ => None,
    };
    let times = stories
        .iter()
        .map(|story| {
            story_tr_times(job, story, respdict.as_ref()).map_err(|e| e.in_story(&story.name))
        })
        .collect::<Result<Vec<_>>>()?;
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
        let rows = space.story_rows(index, story)?;
        let at_trs = tr_rows(&rows, &story.mid_s, times, &job.lanczos, Trim::NONE)
            .map_err(|error| error.in_story(&story.name))?;
        let words = match rows.as_ref() {
            Rows::Dense(rows) => rows.clone(),
            Rows::Sparse(rows) => rows.to_dense(),
        };
        let trs = match at_trs {
            TrRows::Dense(rows) => rows.mapv(|x| x as f32),
            TrRows::Sparse(rows) => rows.to_dense().mapv(|x| x as f32),
        };
        for (name, rows) in [("words", &words), ("trs", &trs)] {
            let path = job.out.join(format!("{}.{name}.npy", story.name));
            let values: Vec<f32> = rows.iter().copied().collect();
            npy::write(&path, &[rows.nrows(), rows.ncols()], &values)?;
        }
        sizes.insert(story.name.clone(), (words.nrows(), trs.nrows()));
        reporter.advance(1);
    }
    reporter.finish();
    let n_words = stories.iter().map(|story| story.words.len()).sum();
    let WordSpace { coverage, names, .. } = space;
    let (n_oov, oov_words) = coverage.map_or((0, Vec::new()), |c| (c.n_oov, c.oov_words));
    let kind = job.kind.label();
    let summary = FeaturesSummary { kind, dim, n_words, n_oov, oov_words, names, stories: sizes };
    crate::io::output::write_json(&job.out.join("features.json"), &summary)?;
    // What stood there for a run that is stopped stands in the words' files now.
    let _ = std::fs::remove_dir_all(&cache);
    Ok(summary)
}

fn story_tr_times(
    job: &FeaturesJob,
    story: &Story,
    respdict: Option<&BTreeMap<String, usize>>,
) -> Result<Vec<f64>> {
    if let Some(times) = &story.tr_times_s {
        return Ok(times.clone());
    }
    let n = match (&job.n_trs, respdict) {
        (TrCount::Fixed(n), _) => *n,
        (TrCount::Respdict(path), Some(counts)) => {
            let raw = counts.get(&story.name).ok_or_else(|| Error::Values {
                place: format!("story {:?}", story.name),
                problem: format!("has no TR count in {}", path.display()),
                hint: "complete the file, or give --n-trs N".into(),
            })?;
            raw.saturating_sub(crate::study::RESPDICT_EXTRA)
        }
        _ => trs_to_last_word(story, job.first_tr_s, job.tr_s)?,
    };
    tr_times(job.first_tr_s, job.tr_s, n)
}

/// TRs whose last one is at or after the last word, at least 2.
/// # Errors
/// As [`trs_until`].
pub fn trs_to_last_word(story: &Story, first_tr_s: f64, tr_s: f64) -> Result<usize> {
    trs_until(story.mid_s.iter().copied().fold(first_tr_s, f64::max), first_tr_s, tr_s)
}
