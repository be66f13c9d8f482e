//! Which rows are held out together.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Folds of `n` items dealt round-robin: item i goes to fold i mod k.
/// # Errors
/// `Error::Usage` for fewer than 2 folds or more folds than items.
pub fn deal(n: usize, k: usize) -> Result<Vec<usize>> {
    if k < 2 || k > n {
        return Err(Error::Usage {
            place: "folds".into(),
            problem: format!("expected 2 to {n} folds (the number of training stories), got {k}"),
            hint: "each fold needs a story of its own to hold out".into(),
        });
    }
    Ok((0..n).map(|i| i % k).collect())
}

/// How groups of rows become folds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealt {
    /// To so many folds, in order of first appearance: group i goes to fold i mod k.
    RoundRobin(usize),
    /// Every group is a fold: leave one story out.
    OneEach,
}

/// Fold index of each row from its group's label, and the folds' labels 0 to k − 1.
/// # Errors
/// As [`deal`] and [`from_labels`].
pub fn from_groups(groups: &[i64], dealt: Dealt, place: &str) -> Result<(Vec<usize>, Vec<i64>)> {
    let mut index_of = HashMap::new();
    let of_row: Vec<usize> = groups
        .iter()
        .map(|group| {
            let next = index_of.len();
            *index_of.entry(group).or_insert(next)
        })
        .collect();
    let folds = match dealt {
        Dealt::RoundRobin(k) => deal(index_of.len(), k)?,
        Dealt::OneEach => (0..index_of.len()).collect(),
    };
    let labels: Vec<i64> = of_row.into_iter().map(|group| folds[group] as i64).collect();
    from_labels(&labels, place)
}

/// Fold index of each row from arbitrary integer labels, and the labels in increasing order.
/// # Errors
/// `Error::Values` for fewer than 2 labels, or a fold with fewer than 2 rows (no correlation).
pub fn from_labels(labels: &[i64], place: &str) -> Result<(Vec<usize>, Vec<i64>)> {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    let fail = |problem: String, hint: &str| Error::Values {
        place: place.into(),
        problem,
        hint: hint.into(),
    };
    if names.len() < 2 {
        let problem = format!("expected at least 2 folds, got {}", names.len());
        return Err(fail(problem, "give the rows of each fold a label of their own"));
    }
    let mut counts = vec![0usize; names.len()];
    let folds: Vec<usize> = labels
        .iter()
        .map(|label| {
            let fold = names.partition_point(|name| name < label);
            counts[fold] += 1;
            fold
        })
        .collect();
    if let Some(k) = counts.iter().position(|&n| n < 2) {
        let problem = format!("fold {} has {} row, expected at least 2", names[k], counts[k]);
        return Err(fail(problem, "a correlation needs two rows; use fewer folds"));
    }
    Ok((folds, names))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_dealt_round_robin() {
        assert_eq!(deal(7, 3).unwrap(), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(deal(3, 3).unwrap(), [0, 1, 2]);
        for k in [0, 1, 4] {
            let error = deal(3, k).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("got {k}")));
        }
    }

    #[test]
    fn groups_are_dealt_in_order_of_first_appearance() {
        let groups = [40, 40, -1, -1, 40, 7, 7, -1, 3, 3];
        let two = from_groups(&groups, Dealt::RoundRobin(2), "g.npy").unwrap();
        assert_eq!(two, (vec![0, 0, 1, 1, 0, 0, 0, 1, 1, 1], vec![0, 1]));
        let each = from_groups(&groups, Dealt::OneEach, "g.npy").unwrap();
        assert_eq!(each, (vec![0, 0, 1, 1, 0, 2, 2, 1, 3, 3], vec![0, 1, 2, 3]));
        let error = from_groups(&groups, Dealt::RoundRobin(5), "g.npy").unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("expected 2 to 4 folds"), "{error}");
        let error = from_groups(&[1, 1, 2], Dealt::OneEach, "g.npy").unwrap_err();
        assert!(error.to_string().starts_with("g.npy: fold 1 has 1 row"), "{error}");
    }

    #[test]
    fn labels_may_be_any_integers_in_any_order() {
        let (folds, names) = from_labels(&[7, -3, 7, 100, -3, 100], "f.npy").unwrap();
        assert_eq!(names, [-3, 7, 100]);
        assert_eq!(folds, [1, 0, 1, 2, 0, 2]);
        assert!(from_labels(&[1, 1], "f.npy").unwrap_err().to_string().contains("got 1"));
        let error = from_labels(&[1, 1, 2], "f.npy").unwrap_err();
        assert!(error.to_string().contains("fold 2 has 1 row"), "{error}");
        assert_eq!(error.exit_code(), 3);
    }
}
