//! Where in its story a TR lies: columns that know no word.
//!
//! BOLD has a transient after a story's beginning and before its end, which features of words that
//! depend on their place in the story (positions, windows) can read off. These columns show how much
//! of a score that is.

use ndarray::Array2;

/// TRs in which a column falls to 1/e, counted from the first kept TR.
const AFTER_FIRST: [f64; 5] = [5.0, 10.0, 20.0, 40.0, 80.0];
/// The same, counted back from the last kept TR.
const BEFORE_LAST: [f64; 3] = [5.0, 10.0, 20.0];
/// Columns of the space.
pub const N_COLUMNS: usize = AFTER_FIRST.len() + BEFORE_LAST.len() + 2;

/// The columns for a story of `n_trs` kept TRs, `(n_trs, N_COLUMNS)`.
///
/// With t = 0, 1, … and u = n_trs − 1 − t: exp(−t/τ) for τ = 5, 10, 20, 40, 80; exp(−u/τ) for
/// τ = 5, 10, 20; t/n_trs; (t/n_trs)².
pub fn position(n_trs: usize) -> Array2<f64> {
    Array2::from_shape_fn((n_trs, N_COLUMNS), |(t, column)| {
        let (after, before) = (t as f64, (n_trs - 1 - t) as f64);
        let share = after / n_trs as f64;
        match column {
            0..5 => (-after / AFTER_FIRST[column]).exp(),
            5..8 => (-before / BEFORE_LAST[column - 5]).exp(),
            8 => share,
            _ => share * share,
        }
    })
}

/// Names of the columns.
pub fn names() -> Vec<String> {
    let after = AFTER_FIRST.iter().map(|tau| format!("exp(-t/{tau})"));
    let before = BEFORE_LAST.iter().map(|tau| format!("exp(-u/{tau})"));
    let share = ["t/T", "(t/T)^2"].into_iter().map(str::to_owned);
    after.chain(before).chain(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fall_from_either_end_and_rise_with_time() {
        let rows = position(11);
        assert_eq!(rows.dim(), (11, N_COLUMNS));
        let e = std::f64::consts::E;
        // The first TR, the last, and the one in the middle: t = u = 5.
        assert_eq!((rows[[0, 0]], rows[[0, 4]], rows[[10, 5]], rows[[0, 8]]), (1.0, 1.0, 1.0, 0.0));
        assert!((rows[[5, 0]] - 1.0 / e).abs() < 1e-15 && (rows[[5, 5]] - 1.0 / e).abs() < 1e-15);
        assert!((rows[[10, 1]] - 1.0 / e).abs() < 1e-15 && (rows[[0, 6]] - 1.0 / e).abs() < 1e-15);
        assert!((rows[[4, 3]] - (-0.1f64).exp()).abs() < 1e-15);
        assert_eq!((rows[[5, 8]], rows[[5, 9]]), (5.0 / 11.0, (5.0f64 / 11.0).powi(2)));
        assert_eq!((position(0).nrows(), names().len()), (0, N_COLUMNS));
    }
}
