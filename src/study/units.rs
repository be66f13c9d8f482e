//! What is held out or trained on as one: a story, or a block of its TRs.

use std::ops::Range;

use super::inputs::{Inputs, Subject};
use super::split::Split;
use crate::design::tr_times::FeatureTrs;
use crate::error::{Error, Result};
use crate::stimuli::Story;
use crate::study_file::{Study, Units};

/// A story, or a block of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The story's name; `STORY:1`, `STORY:2`, … of blocks.
    pub name: String,
    /// Index of the story.
    pub story: usize,
}

/// Where a unit is in a subject's BOLD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index among the subject's files.
    pub file: usize,
    /// TRs of the story, counted after the trim.
    pub rows: Range<usize>,
}

/// Blocks of a story's `n_trs` TRs, from its start. A remainder shorter than half a block joins the
/// last one.
pub fn cut(n_trs: usize, block_trs: usize, gap_trs: usize) -> Vec<Range<usize>> {
    let (mut blocks, mut start) = (Vec::new(), 0);
    while blocks.is_empty() || 2 * n_trs.saturating_sub(start) >= block_trs.max(1) {
        let end = (start + block_trs).min(n_trs);
        blocks.push(start..end);
        start = end + gap_trs;
    }
    blocks.last_mut().expect("there is a first").end = n_trs;
    blocks
}

/// The study's units, story after story, and where each subject has them.
///
/// Subjects may have scanned a story for different times: each has its own blocks.
/// # Errors
/// `Error::Values` for fewer than 3 units.
pub fn lay_out(study: &Study, stories: &[Story], subjects: &mut [Subject]) -> Result<Vec<Unit>> {
    let Units { by_block, block_trs, gap_trs, .. } = study.units;
    let mut units = Vec::new();
    for (index, story) in stories.iter().enumerate() {
        let places = |subject: &Subject| -> Vec<Place> {
            let Ok(file) = subject.heard.binary_search(&index) else { return Vec::new() };
            let n_trs = subject.files[file].n_trs();
            match by_block {
                true => cut(n_trs, block_trs, gap_trs)
                    .into_iter()
                    .map(|rows| Place { file, rows })
                    .collect(),
                false => vec![Place { file, rows: 0..n_trs }],
            }
        };
        let found: Vec<Vec<Place>> = subjects.iter().map(places).collect();
        let n = found.iter().map(Vec::len).max().unwrap_or(0);
        for (subject, places) in subjects.iter_mut().zip(found) {
            let has_trs =
                |place: &Place| !subject.files[place.file].used_in(&place.rows).is_empty();
            let mut places: Vec<Option<Place>> =
                places.into_iter().map(|place| Some(place).filter(has_trs)).collect();
            places.resize(n, None);
            subject.places.extend(places);
        }
        units.extend((1..=n).map(|number| Unit {
            name: if by_block { format!("{}:{number}", story.name) } else { story.name.clone() },
            story: index,
        }));
    }
    if by_block && units.len() < 3 {
        return Err(Error::Values {
            place: "[split], block_trs".into(),
            problem: format!(
                "expected at least 3 blocks, got {} of {block_trs} TRs with {gap_trs} between them",
                units.len()
            ),
            hint: "two folds to train on and one block to test: lower block_trs".into(),
        });
    }
    Ok(units)
}

/// The TR, counted after the trim, in which the middle of each word lies.
fn word_trs(study: &Study, story: &Story, trs: FeatureTrs) -> impl Fn(f64) -> Option<usize> {
    let (first_s, tr_s) = match story.tr_times_s.as_deref() {
        Some(times @ [first, .., last]) => (*first, (last - first) / (times.len() - 1) as f64),
        _ => (trs.first_s, study.tr_s),
    };
    let head = study.trim.head as f64;
    move |mid_s| {
        let tr = ((mid_s - first_s) / tr_s).round() - head;
        (tr >= 0.0).then_some(tr as usize)
    }
}

/// Indices of the words that were heard within a unit, as the first subject that has it heard them;
/// all of the story where units are stories.
pub fn words_of(study: &Study, inputs: &Inputs, unit: usize) -> Vec<usize> {
    let index = inputs.units[unit].story;
    let story = &inputs.stories[index];
    let places = inputs.subjects.iter().map(|subject| (subject, &subject.places[unit]));
    let place = places.into_iter().find_map(|(s, place)| place.as_ref().map(|place| (s, place)));
    let (true, Some((subject, place))) = (study.units.by_block, place) else {
        return (0..story.words.len()).collect();
    };
    let tr = word_trs(study, story, subject.feature_trs[index]);
    let is_in = |&(_, &mid_s): &(usize, &f64)| tr(mid_s).is_some_and(|t| place.rows.contains(&t));
    story.mid_s.iter().enumerate().filter(is_in).map(|(word, _)| word).collect()
}

/// The words that a vocabulary may be made of: those heard within the training units.
pub fn training_words(study: &Study, inputs: &Inputs, split: &Split) -> Vec<Vec<String>> {
    let words = |&unit: &usize| {
        let story = &inputs.stories[inputs.units[unit].story];
        words_of(study, inputs, unit).into_iter().map(|word| story.words[word].clone()).collect()
    };
    split.train.iter().map(words).collect()
}

/// Stories of some units, each once.
pub fn stories_of(units: &[Unit], some: &[usize]) -> Vec<usize> {
    let mut stories: Vec<usize> = Vec::new();
    for &unit in some {
        if !stories.contains(&units[unit].story) {
            stories.push(units[unit].story);
        }
    }
    stories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_gaps_and_the_last_one_takes_a_short_rest() {
        assert_eq!(cut(400, 60, 8), [0..60, 68..128, 136..196, 204..264, 272..332, 340..400]);
        // 29 TRs after the gap are less than half a block, 30 are not.
        assert_eq!(cut(60 + 8 + 30, 60, 8), [0..60, 68..98]);
        for n_trs in [60 + 8 + 29, 65, 60, 25] {
            assert_eq!(cut(n_trs, 60, 8), vec![0..n_trs; 1], "{n_trs} TRs");
        }
        assert_eq!(cut(7, 2, 0), [0..2, 2..4, 4..6, 6..7]);
    }
}
