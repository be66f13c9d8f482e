//! Which words were heard within a unit.

use super::inputs::Inputs;
use super::split::Split;
use crate::design::tr_times::FeatureTrs;
use crate::stimuli::Story;
use crate::study_file::Study;

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
