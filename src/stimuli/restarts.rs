//! Sections of a story in one table, each with times from its own start.

/// A place where times begin again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Restart {
    /// Index of the onset.
    pub at: usize,
    /// The latest onset of the section in front.
    pub before_s: f64,
}

/// Entries that a section has at least.
const MIN_ENTRIES: usize = 3;

/// The places where onsets fall back by half of their section's length or more.
///
/// Both sections have at least 3 entries. A table whose order says nothing (every third entry or
/// more lies in front of the one before it) has sections of none: it is sorted.
pub fn find(onset_s: &[f64]) -> Vec<Restart> {
    let n_back = onset_s.windows(2).filter(|pair| pair[1] < pair[0]).count();
    if n_back == 0 || n_back * 3 > onset_s.len() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let (mut start, mut first_s, mut last_s) = (0, onset_s[0], onset_s[0]);
    for at in 1..onset_s.len() {
        let length_s = last_s - first_s;
        let is_back = onset_s[at] < onset_s[at - 1] && last_s - onset_s[at] >= 0.5 * length_s;
        // A few entries out of order come back up at once.
        let goes_on = onset_s[at..].iter().take(2).all(|&onset_s| onset_s < last_s);
        let is_long = at - start >= MIN_ENTRIES && onset_s.len() - at >= MIN_ENTRIES;
        if is_back && is_long && goes_on {
            found.push(Restart { at, before_s: last_s });
            (start, first_s, last_s) = (at, onset_s[at], onset_s[at]);
        }
        first_s = first_s.min(onset_s[at]);
        last_s = last_s.max(onset_s[at]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(onset_s: &[f64]) -> Vec<usize> {
        find(onset_s).into_iter().map(|restart| restart.at).collect()
    }

    #[test]
    fn sections_that_begin_again_are_found() {
        assert_eq!(at(&[0., 1., 2., 0.5, 1.5, 2.5]), [3]);
        let section: Vec<f64> = (0..40).map(|i| 0.3 * f64::from(i)).collect();
        let nine: Vec<f64> = (0..9).flat_map(|_| section.clone()).collect();
        assert_eq!(at(&nine).len(), 8);
        assert_eq!(find(&nine)[0], Restart { at: 40, before_s: 0.3 * 39.0 });
        // Two speakers, one below the other.
        let second: Vec<f64> = section.iter().map(|onset| onset + 0.2).collect();
        assert_eq!(at(&[section, second].concat()), [40]);
    }

    #[test]
    fn words_that_are_only_out_of_order_are_not() {
        assert!(at(&[3., 1., 1., 4.]).is_empty());
        assert!(at(&[0., 1., 2., 3., 2.5, 4., 5., 6., 7.]).is_empty());
        assert!(at(&[0., 1., 2., 3., 4., 0.5, 5., 6., 7.]).is_empty(), "one stray word");
        let shuffled: Vec<f64> = (0..50).map(|i| f64::from(i * 27 % 50)).collect();
        assert!(at(&shuffled).is_empty());
        assert!(at(&[]).is_empty() && at(&[1.0]).is_empty());
    }
}
