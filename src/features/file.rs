//! Which rows of a file that was made elsewhere belong to which word or TR.

use std::ops::Range;

use crate::stimuli::Story;

/// For each word of a story its row among `n_rows`; `None` where they cannot be the story's.
///
/// As many rows as words are those of the words, in the order of their times. As many as the file of
/// the story has entries (words, marks that were dropped, words without times) are those of the
/// entries, in the order of the file.
pub fn rows_of_words(n_rows: usize, story: &Story) -> Option<Vec<usize>> {
    match n_rows {
        n if n == story.words.len() => Some((0..n).collect()),
        n if n == story.source.n_entries => Some(story.source.entries.clone()),
        _ => None,
    }
}

/// The rows, of `n_rows`, of the TRs that are `kept` of a story's `n_trs`; `None` where they are
/// neither as many as are kept nor as many as there are before the trim.
pub fn rows_of_trs(n_rows: usize, n_trs: usize, kept: &Range<usize>) -> Option<Range<usize>> {
    match n_rows {
        n if n == n_trs => Some(kept.clone()),
        n if n == kept.len() => Some(0..n),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stimuli::Source;

    #[test]
    fn rows_are_those_of_the_words_or_of_all_entries() {
        let source = Source { n_entries: 4, entries: vec![2, 0], ..Source::default() };
        let story = Story { words: vec!["a".into(), "b".into()], source, ..Story::default() };
        assert_eq!(rows_of_words(2, &story), Some(vec![0, 1]));
        assert_eq!(rows_of_words(4, &story), Some(vec![2, 0]));
        assert_eq!((rows_of_words(3, &story), rows_of_words(0, &story)), (None, None));
    }

    #[test]
    fn rows_of_trs_are_trimmed_if_they_are_all() {
        let kept = 10..15;
        assert_eq!(rows_of_trs(20, 20, &kept), Some(10..15));
        assert_eq!(rows_of_trs(5, 20, &kept), Some(0..5));
        assert_eq!(rows_of_trs(6, 20, &kept), None);
        assert_eq!(rows_of_trs(5, 5, &(0..5)), Some(0..5));
    }
}
