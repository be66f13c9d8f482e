//! Doubtful but legal: counted, printed once, kept in the report.

use serde::Serialize;

use crate::features::coverage::Coverage;
use crate::ridge::Route;
use crate::ridge::conditioning::{Conditioning, SCORE_ERROR_LIMIT};
use crate::ridge::edges::AlphaEdges;

/// Something a user should know that does not stop a run.
///
/// `Display` is the sentence on stderr (after `warning: `) and in run.json.
#[derive(Debug, Clone, PartialEq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// Words of a story were not in the order of their times; they were sorted.
    #[error("story \"{story}\": {n_out_of_order} words are out of order in time; sorted by onset")]
    UnsortedWords {
        /// The story.
        story: String,
        /// Words whose onset lies before that of the word in front of them.
        n_out_of_order: usize,
    },
    /// Entries of a story that hold more than a word.
    #[error("words: {text}")]
    Words {
        /// The sentence.
        text: String,
    },
    /// Words that do not go with their scan.
    #[error("timing: {text}")]
    Timing {
        /// The sentence.
        text: String,
    },
    /// A file of word vectors that is not what its header says, or has short lines.
    #[error("vectors: {text}")]
    Vectors {
        /// The sentence.
        text: String,
    },
    /// Spaces whose rows tell where in a story a TR lies.
    #[error(
        "position: where in a story a TR lies, which predicts BOLD near the edges without any \
         meaning, is told by {} (r with exp(-t/5 TRs) over 0.3 on the test stories): read their \
         lead in the inner columns",
        named(&spaces.iter().map(|(name, r)| format!("{name} {r:.2}")).collect::<Vec<_>>())
    )]
    Position {
        /// Each with its r.
        spaces: Vec<(String, f64)>,
    },
    /// Spaces that know no word and come near the best one.
    #[error(
        "position: a space that knows no word reaches 80 % of the best one (mean r: {}): read the \
         lead of others in the inner columns",
        named(rivals)
    )]
    PositionRivals {
        /// Each subject's means.
        rivals: Vec<String>,
    },
    /// Responses that go on after the longest delay.
    #[error(
        "delays: the models' delays end too early: a single delay after them still reaches half of \
         the best one's r ({}); write delays = {wider} in [design]",
        named(subjects)
    )]
    DelaysCutOff {
        /// Each subject's space, its last such delay and its best one.
        subjects: Vec<String>,
        /// Delays that hold all of them, as STUDY.toml has them.
        wider: String,
    },
    /// Voxels that cannot be fitted.
    #[error(
        "{place}: {n_constant} constant and {n_not_finite} NaN or infinite voxels of {n_voxels} \
         are left out (NaN in the results)"
    )]
    DeadVoxels {
        /// The file or subject.
        place: String,
        /// Voxels that never change.
        n_constant: usize,
        /// Voxels with a NaN or an infinity.
        n_not_finite: usize,
        /// All voxels.
        n_voxels: usize,
    },
    /// TRs in which no voxel has a value.
    #[error(
        "bold: {subject}, story \"{story}\": {} of {n_trs} TRs are NaN in every voxel ({}); they are \
         left out of every sum and score, as censored ones are",
        trs.len(), numbers(trs)
    )]
    MissingTrs {
        /// The subject.
        subject: String,
        /// The story.
        story: String,
        /// TRs, from 0, counted after the BOLD's trim.
        trs: Vec<usize>,
        /// TRs of the story.
        n_trs: usize,
    },
    /// Means of stories that stand for much of what a voxel does.
    #[error(
        "bold: {subject}: the stories' means make up {:.0} % of a median voxel's variance, which \
         costs correlation; write zscore = \"story\" in [bold.{subject}] if the stories are not on \
         one scale", 100.0 * share
    )]
    StoryMeans {
        /// The subject.
        subject: String,
        /// Of the variance over all TRs.
        share: f64,
    },
    /// Voxels that have values in all stories but one.
    #[error(
        "bold: {subject}: {} of {n_voxels} voxels have NaN in one story alone and are left out of \
         everything for it: {}; name the story in [stories] exclude to keep them",
        lost.iter().map(|(_, n)| n).sum::<usize>(), lost_in(lost)
    )]
    NanStory {
        /// The subject.
        subject: String,
        /// Stories and the voxels that each costs, most first.
        lost: Vec<(String, usize)>,
        /// All voxels.
        n_voxels: usize,
    },
    /// Confounds that hold the cosines of a high-pass filter.
    #[error(
        "bold: {subject}: the confounds hold cosines already (story \"{story}\"), so detrend adds \
         none, as in nilearn; leave cosine* out of confound_columns to have detrend's"
    )]
    OwnCosines {
        /// The subject.
        subject: String,
        /// The first such story.
        story: String,
    },
    /// Stories that have words or BOLD but not both.
    #[error("stories left out: {}", left_out(without_bold, without_words))]
    StoriesSkipped {
        /// Words, but no BOLD of some subject.
        without_bold: Vec<String>,
        /// BOLD, but no words.
        without_words: Vec<String>,
    },
    /// A vector file that lacks many of the words heard.
    #[error(
        "coverage: {space} has no vector for {:.1} % of the words heard ({n_oov} of {n_words}; \
         most often {examples}); they count as zero rows", 100.0 * *n_oov as f64 / *n_words as f64
    )]
    LowCoverage {
        /// The space.
        space: String,
        /// Words heard.
        n_words: usize,
        /// Of them without a vector.
        n_oov: usize,
        /// The most frequent ones.
        examples: String,
    },
    /// The BOLD does not follow the words as an HRF does.
    #[error(
        "alignment: the BOLD is best predicted by features {peak} TRs before it, outside the delays \
         {delays}; features and BOLD are paired wrongly: trim = \"{better_trim}\" would mend it \
         (now \"{trim}\")"
    )]
    Alignment {
        /// Shift of the highest un-lagged correlation, in TRs.
        peak: i64,
        /// The study's delays.
        delays: String,
        /// The study's trim.
        trim: String,
        /// The trim that brings the peak into the delays.
        better_trim: String,
    },
    /// The peak is outside the delays, and no trim of as many TRs brings it in.
    #[error(
        "alignment: the BOLD is best predicted by features {peak} TRs before it, outside the delays \
         {delays}; no trim of as many TRs as \"{trim}\" mends it: check first_tr_s and tr_s"
    )]
    AlignmentUnmendable {
        /// Shift of the highest un-lagged correlation, in TRs.
        peak: i64,
        /// The study's delays.
        delays: String,
        /// The study's trim.
        trim: String,
    },
    /// Test stories whose BOLD is known to be an average over repeats.
    #[error(
        "test stories {} were heard several times and their BOLD averaged in ds003020: they score \
         much higher than stories heard once",
        named(stories)
    )]
    RepeatAveraged {
        /// The stories.
        stories: Vec<String>,
    },
    /// Shards of a study that were solved by different kinds of processors or devices.
    #[error(
        "shards: solved on {kinds}: scores are as good, but may differ in the seventh digit from \
         those of one machine"
    )]
    MixedShards {
        /// The kinds.
        kinds: String,
    },
    /// Best alphas at the end of the grid that are not on a plateau.
    #[error(
        "alpha edge: {subject}: the best alpha of some of {n_voxels} voxels is at an end of the \
         grid and no plateau: {}; a wider grid may predict them better",
        edges_named(models)
    )]
    AlphaEdges {
        /// The subject, or the file.
        subject: String,
        /// Fitted voxels.
        n_voxels: usize,
        /// Models, with the voxels at the small and at the large end; most first.
        models: Vec<(String, AlphaEdges)>,
    },
    /// A design whose condition number, squared, costs digits of the CV scores.
    #[error(
        "conditioning: CV scores of {} may be off by {score_error:.0e} at small alphas with the \
         {solver} solver, more than {limit:.0e} (condition number {condition:.1e}); {}",
        named(models), mended(*trusted_from)
    )]
    IllConditioned {
        /// The models.
        models: Vec<String>,
        /// The route taken.
        solver: String,
        /// Condition number of the worst training design.
        condition: f64,
        /// Estimated largest error of a CV score.
        score_error: f64,
        /// What may be expected.
        limit: f64,
        /// The smallest alpha of the grid from which on scores are within the limit.
        trusted_from: Option<f64>,
    },
}

/// The first few of a list of numbers.
fn numbers(all: &[usize]) -> String {
    named(&all.iter().map(usize::to_string).collect::<Vec<_>>())
}

/// Stories that cost voxels.
fn lost_in(lost: &[(String, usize)]) -> String {
    named(&lost.iter().map(|(story, n)| format!("\"{story}\" {n}")).collect::<Vec<_>>())
}

/// What to do about an ill-conditioned design.
fn mended(trusted_from: Option<f64>) -> String {
    match trusted_from {
        Some(alpha) => format!("take solver svd, or alphas from {alpha:.1e} on"),
        None => "take solver svd".to_owned(),
    }
}

/// The models with most voxels at an end.
fn edges_named(models: &[(String, AlphaEdges)]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = models
        .iter()
        .take(SHOWN)
        .map(|(model, edges)| format!("{model} {} low, {} high", edges.n_low, edges.n_high))
        .collect();
    match models.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; {more} more models", shown.join("; ")),
    }
}

/// The first few of a list, with commas.
pub(crate) fn named(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len() {
        n if n <= SHOWN => names.join(", "),
        _ => format!("{}, …", names[..SHOWN].join(", ")),
    }
}

/// How many stories lack what, and which.
fn left_out(without_bold: &[String], without_words: &[String]) -> String {
    [(without_bold, "BOLD"), (without_words, "words")]
        .into_iter()
        .filter(|(stories, _)| !stories.is_empty())
        .map(|(stories, what)| format!("{} without {what} ({})", stories.len(), named(stories)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Share of words without a vector above which a user is told.
const MUCH_OOV: f64 = 0.05;

impl Warning {
    /// The warning about words without a vector, where they are many.
    pub fn low_coverage(space: &str, coverage: &Coverage) -> Option<Self> {
        let examples: Vec<&str> =
            coverage.oov_words.iter().take(5).map(|(word, _)| word.as_str()).collect();
        (coverage.oov_share > MUCH_OOV).then(|| Self::LowCoverage {
            space: space.to_owned(),
            n_words: coverage.n_words,
            n_oov: coverage.n_oov,
            examples: examples.join(", "),
        })
    }

    /// The warning about test stories that ds003020 averages over repeats, if any is among them.
    pub fn repeat_averaged<'a>(test: impl Iterator<Item = &'a str>) -> Option<Self> {
        const AVERAGED: [&str; 3] =
            ["wheretheressmoke", "fromboyhoodtofatherhood", "onapproachtopluto"];
        let stories: Vec<String> =
            test.filter(|name| AVERAGED.contains(name)).map(str::to_owned).collect();
        (!stories.is_empty()).then_some(Self::RepeatAveraged { stories })
    }

    /// The warning about models whose conditioning is beyond the limit.
    pub fn ill_conditioned(
        models: Vec<String>,
        route: Route,
        conditioning: &Conditioning,
        alphas: &[f64],
    ) -> Self {
        Self::IllConditioned {
            models,
            solver: route.to_string(),
            condition: conditioning.condition,
            score_error: conditioning.score_error(),
            limit: SCORE_ERROR_LIMIT,
            trusted_from: conditioning.trusted_from(alphas),
        }
    }

    /// One warning about the true edges of all models of a subject, where there are any.
    pub fn alpha_edges(
        subject: &str,
        models: impl Iterator<Item = (String, AlphaEdges)>,
        n_voxels: usize,
    ) -> Option<Self> {
        let mut models: Vec<_> = models.filter(|(_, e)| e.n_low + e.n_high > 0).collect();
        models.sort_by_key(|(_, e)| std::cmp::Reverse(e.n_low + e.n_high));
        let subject = subject.to_owned();
        (!models.is_empty()).then_some(Self::AlphaEdges { subject, n_voxels, models })
    }
}
