//! Words against scans: what `check` prints of each story, and what run.json keeps.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::design::tr_times::FeatureTrs;
use crate::error::Result;
use crate::stimuli::{Story, StorySpan, check_spans, warn_of_spans};
use crate::study_file::Study;
use crate::warning::Warning;

/// A story's words as they were read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoryWords {
    /// The story.
    pub name: String,
    /// Words that count.
    pub n_words: usize,
    /// Marks that were dropped, with their counts.
    pub marks: BTreeMap<String, usize>,
    /// Words without times, skipped or interpolated.
    pub n_untimed: usize,
    /// Tier of a TextGrid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// Start of the first word, end of the last.
    pub words_s: (f64, f64),
    /// Middle of the first and the last TR that is kept.
    pub scan_s: (f64, f64),
}

impl StoryWords {
    /// Marks that were dropped.
    pub fn n_marks(&self) -> usize {
        self.marks.values().sum()
    }
}

/// Each story's words and scan (the first subject's that heard it), and doubts about them.
///
/// `feature_trs`: TRs of each story before the trim, for each subject; 0 of one it did not hear.
/// # Errors
/// As `check_spans`, for every subject.
pub fn words_and_scans(
    study: &Study,
    stories: &[Story],
    feature_trs: &[&[FeatureTrs]],
) -> Result<(Vec<StoryWords>, Vec<Warning>)> {
    let mut words: Vec<Option<StoryWords>> = stories.iter().map(|_| None).collect();
    let mut doubts: Vec<Warning> = Vec::new();
    for of_subject in feature_trs {
        let mut spans = Vec::with_capacity(stories.len());
        let heard = stories.iter().zip(*of_subject).zip(&mut words);
        for ((story, &FeatureTrs { n, first_s }), words) in heard.filter(|((_, trs), _)| trs.n > 0)
        {
            let kept = study.trim.kept(n).map_err(|error| error.in_story(&story.name))?;
            let span = StorySpan::of_trs(story, kept, first_s, study.tr_s);
            words.get_or_insert_with(|| story_words(story, &span));
            spans.push(span);
        }
        check_spans(&spans)?;
        for doubt in warn_of_spans(&spans, true) {
            if !doubts.contains(&doubt) {
                doubts.push(doubt);
            }
        }
    }
    Ok((words.into_iter().flatten().collect(), doubts))
}

fn story_words(story: &Story, span: &StorySpan) -> StoryWords {
    StoryWords {
        name: story.name.clone(),
        n_words: story.words.len(),
        marks: story.source.marks.clone(),
        n_untimed: story.source.n_untimed,
        tier: story.source.tier.clone(),
        words_s: span.words_s,
        scan_s: span.scan_s,
    }
}

/// The marks of all stories, with their counts.
pub fn all_marks(words: &[StoryWords]) -> BTreeMap<&str, usize> {
    let mut all = BTreeMap::new();
    for (mark, n) in words.iter().flat_map(|story| &story.marks) {
        *all.entry(mark.as_str()).or_default() += n;
    }
    all
}

/// `words` of run.json and of `check --json`.
pub fn words_json(words: &[StoryWords]) -> Value {
    json!({
        "n_words": words.iter().map(|story| story.n_words).sum::<usize>(),
        "n_marks": words.iter().map(StoryWords::n_marks).sum::<usize>(),
        "marks": all_marks(words),
        "n_untimed": words.iter().map(|story| story.n_untimed).sum::<usize>(),
        "stories": words,
    })
}
