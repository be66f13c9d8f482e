//! Which rows are held out together.

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
