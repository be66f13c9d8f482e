//! Phones to rows: their rate, or which phone it is.

use std::collections::BTreeSet;

use crate::matrix::{Rows, SparseRows};

/// The different phones of some stories, sorted.
pub fn vocabulary<'a>(stories: impl IntoIterator<Item = &'a [String]>) -> Vec<String> {
    let different: BTreeSet<&String> = stories.into_iter().flatten().collect();
    different.into_iter().cloned().collect()
}

/// A 1 in the column of each phone, `(n_phones, n_columns)`; phones that have none are rows of zeros.
///
/// `vocabulary` is sorted.
pub fn identity(labels: &[String], vocabulary: &[String]) -> Rows {
    let mut rows = SparseRows::empty(vocabulary.len());
    for label in labels {
        let column = vocabulary.binary_search(label).ok();
        rows.push_row(column.map(|column| (column as u32, 1.0)));
    }
    Rows::Sparse(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phone_of_the_vocabulary_has_a_column() {
        let of = |labels: &[&str]| labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>();
        let (a, b) = (of(&["DH", "AH", "DH"]), of(&["B", "AH"]));
        let vocabulary = vocabulary([a.as_slice(), b.as_slice()]);
        assert_eq!(vocabulary, ["AH", "B", "DH"]);
        let Rows::Sparse(rows) = identity(&of(&["DH", "ZH", "AH"]), &vocabulary) else {
            panic!("phones are sparse")
        };
        assert_eq!(rows.to_dense(), ndarray::array![[0.0, 0.0, 1.0], [0.0; 3], [1.0, 0.0, 0.0]]);
    }
}
