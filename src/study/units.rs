//! What is held out or trained on as one: a story, or a block of its TRs.

use std::ops::Range;

use super::story_bold::StoryBold;
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

/// Where a subject has each unit; none for one that it did not hear.
pub type Places = Vec<Option<Place>>;

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
/// `subjects`: the stories that each heard, and a file for each. Subjects may have scanned a story for
/// different times: each has its own blocks.
/// # Errors
/// `Error::Values` for fewer than 3 units.
pub fn lay_out(
    study: &Study,
    stories: &[Story],
    subjects: &[(&[usize], &[StoryBold])],
) -> Result<(Vec<Unit>, Vec<Places>)> {
    let Units { by_block, block_trs, gap_trs, .. } = study.units;
    let mut units = Vec::new();
    let mut all: Vec<Places> = vec![Vec::new(); subjects.len()];
    for (index, story) in stories.iter().enumerate() {
        let places = |(heard, files): &(&[usize], &[StoryBold])| -> Places {
            let Ok(file) = heard.binary_search(&index) else { return Vec::new() };
            let (bold, n_trs) = (&files[file], files[file].n_trs());
            let place = |rows: Range<usize>| {
                (!bold.used_in(&rows).is_empty()).then_some(Place { file, rows })
            };
            match by_block {
                true => cut(n_trs, block_trs, gap_trs).into_iter().map(place).collect(),
                false => vec![place(0..n_trs)],
            }
        };
        let found: Vec<Places> = subjects.iter().map(places).collect();
        let n = found.iter().map(Vec::len).max().unwrap_or(0);
        for (all, mut places) in all.iter_mut().zip(found) {
            places.resize(n, None);
            all.extend(places);
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
    Ok((units, all))
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
