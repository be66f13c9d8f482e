//! Numbers that stand beside the words in their table.

use ndarray::Array2;

use crate::matrix::Rows;

/// Rows of a story's numbers, `(n_words, n_columns)`, and how many values each column lacks: these
/// are 0.
pub fn column_rows(values: &[Vec<Option<f64>>], n_columns: usize) -> (Rows, Vec<usize>) {
    let mut rows = Array2::zeros((values.len(), n_columns));
    let mut n_missing = vec![0; n_columns];
    for (mut row, values) in rows.rows_mut().into_iter().zip(values) {
        for ((cell, value), n) in row.iter_mut().zip(values).zip(&mut n_missing) {
            match value {
                Some(value) => *cell = *value as f32,
                None => *n += 1,
            }
        }
    }
    (Rows::Dense(rows), n_missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_number_is_0_and_counted() {
        let values = [vec![Some(1.5), None], vec![None, None], vec![Some(-2.0), Some(3.0)]];
        let (rows, n_missing) = column_rows(&values, 2);
        let Rows::Dense(rows) = rows else { panic!("numbers are dense") };
        assert_eq!(rows, ndarray::array![[1.5, 0.0], [0.0, 0.0], [-2.0, 3.0]]);
        assert_eq!(n_missing, [1, 2]);
    }
}
