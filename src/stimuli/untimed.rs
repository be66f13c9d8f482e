//! Words that an aligner found no time for.

use super::error::StoriesError;
use super::marks::{Kind, kind};
use super::rules::{Untimed, WordRules};
use super::story::TimedWord;

/// The entries of a story that have times, with their places among all entries; and the number of
/// words that had none.
///
/// Interpolated words share the gap between the end of the timed entry in front (a mark counts: it
/// fills the time of a pause) and the onset of the next one. Words before the first timed entry or
/// behind the last are skipped in any case.
/// # Errors
/// [`StoriesError::Untimed`], if the rules want none.
pub fn timed_entries(
    story: &str,
    entries: Vec<TimedWord>,
    rules: &WordRules,
) -> Result<(Vec<(usize, TimedWord)>, usize), StoriesError> {
    let is_untimed_word =
        |entry: &TimedWord| entry.onset_s.is_none() && kind(&entry.word, rules) == Kind::Word;
    let n_untimed = entries.iter().filter(|entry| is_untimed_word(entry)).count();
    if let (Untimed::Error, Some(first)) =
        (rules.untimed, entries.iter().find(|entry| is_untimed_word(entry)))
    {
        let n_words = entries.iter().filter(|entry| kind(&entry.word, rules) == Kind::Word).count();
        return Err(StoriesError::Untimed {
            story: story.to_owned(),
            n_untimed,
            n_words,
            word: first.word.chars().take(40).collect(),
            line: first.line,
        });
    }
    let mut timed: Vec<(usize, TimedWord)> = Vec::with_capacity(entries.len());
    let mut waiting: Vec<(usize, TimedWord)> = Vec::new();
    for (place, entry) in entries.into_iter().enumerate() {
        if entry.onset_s.is_none() {
            if rules.untimed == Untimed::Interpolate && is_untimed_word(&entry) {
                waiting.push((place, entry));
            }
            continue;
        }
        if let (Some((_, before)), Some(until_s)) = (timed.last(), entry.onset_s) {
            let from_s = before.offset_s.min(until_s);
            let step_s = (until_s - from_s) / waiting.len().max(1) as f64;
            for (index, (place, mut word)) in waiting.drain(..).enumerate() {
                let onset_s = from_s + index as f64 * step_s;
                (word.onset_s, word.offset_s) = (Some(onset_s), onset_s + step_s);
                timed.push((place, word));
            }
        }
        waiting.clear(); // in front of the first timed entry
        timed.push((place, entry));
    }
    Ok((timed, n_untimed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, Option<f64>, f64)]) -> Vec<TimedWord> {
        let entry = |(line, &(word, onset_s, offset_s)): (u64, &(&str, Option<f64>, f64))| {
            TimedWord { story: 0, onset_s, offset_s, word: word.to_owned(), line }
        };
        (1..).zip(list).map(entry).collect()
    }

    const LIST: [(&str, Option<f64>, f64); 8] = [
        ("early", None, 0.0),
        ("a", Some(1.0), 1.5),
        ("b", None, 0.0),
        ("sil", None, 0.0),
        ("c", None, 0.0),
        ("d", Some(2.5), 3.0),
        ("sp", Some(3.0), 4.0),
        ("late", None, 0.0),
    ];

    fn by(untimed: Untimed) -> Result<(Vec<(usize, TimedWord)>, usize), StoriesError> {
        timed_entries("s", entries(&LIST), &WordRules { untimed, ..WordRules::default() })
    }

    #[test]
    fn untimed_words_are_skipped_and_counted() {
        let (timed, n) = by(Untimed::Skip).unwrap();
        let places: Vec<usize> = timed.iter().map(|(place, _)| *place).collect();
        assert_eq!((places, n), (vec![1, 5, 6], 4));
    }

    #[test]
    fn untimed_words_share_the_gap_between_timed_neighbours() {
        let (timed, n) = by(Untimed::Interpolate).unwrap();
        let found: Vec<_> = timed
            .iter()
            .map(|(p, w)| (*p, w.word.as_str(), w.onset_s.unwrap(), w.offset_s))
            .collect();
        let expected = [
            (1, "a", 1.0, 1.5),
            (2, "b", 1.5, 2.0),
            (4, "c", 2.0, 2.5),
            (5, "d", 2.5, 3.0),
            (6, "sp", 3.0, 4.0),
        ];
        assert_eq!((found.as_slice(), n), (&expected[..], 4));
        // Neighbours that overlap leave no gap.
        let overlap = entries(&[("a", Some(1.0), 3.0), ("b", None, 0.0), ("c", Some(2.0), 4.0)]);
        let rules = WordRules { untimed: Untimed::Interpolate, ..WordRules::default() };
        let (timed, _) = timed_entries("s", overlap, &rules).unwrap();
        assert_eq!((timed[1].1.onset_s, timed[1].1.offset_s), (Some(2.0), 2.0));
    }

    #[test]
    fn a_study_may_want_no_untimed_words() {
        let message = by(Untimed::Error).unwrap_err().to_string();
        assert!(
            message.contains("4 of 6 words have no onset (the first: \"early\", line or entry 1)")
        );
        let marks = entries(&[("a", Some(0.0), 1.0), ("[noise]", None, 0.0)]);
        let rules = WordRules { untimed: Untimed::Error, ..WordRules::default() };
        assert!(timed_entries("s", marks, &rules).is_ok());
    }
}
