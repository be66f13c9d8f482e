//! FIR delays: the features of earlier TRs beside those of now.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView2, s};

use crate::error::{Error, Result};

/// The delayed design, `(n_trs, n_delays * n_features)`, of one story.
///
/// `x`: `(n_trs, n_features)`. Columns are delay-major, `[d1 all features, d2 all features, …]`;
/// row `t` holds `x[t - d]` for delay `d`, and zeros where that lies outside of the story. A
/// positive delay means that the word came before the BOLD; negative ones look ahead.
/// Cost: `n_delays` copies of `x`.
/// # Errors
/// `Error::Usage` as [`check_delays`]; `Error::TooLarge` if the result has no size in memory.
pub fn delay<T: Copy + Default>(x: ArrayView2<'_, T>, delays: &[i64]) -> Result<Array2<T>> {
    let mut out = zeros(x.dim(), delays)?;
    for (mut block, &d) in blocks(&mut out, x.ncols(), delays) {
        let (n_trs, shift) = (x.nrows(), usize::try_from(d.unsigned_abs()).unwrap_or(usize::MAX));
        if shift >= n_trs {
            continue;
        }
        if d >= 0 {
            block.slice_mut(s![shift.., ..]).assign(&x.slice(s![..n_trs - shift, ..]));
        } else {
            block.slice_mut(s![..n_trs - shift, ..]).assign(&x.slice(s![shift.., ..]));
        }
    }
    Ok(out)
}

/// The delayed design of several stories, whose rows need not be contiguous.
///
/// `groups`: `(n_trs)`, the story of each row, any labels. The rows of one label are taken in
/// order, as if they were one matrix by themselves, and their delayed rows go where they came from:
/// no delay crosses from one label to another. One label for all is the preset `huth-stacked`.
/// # Errors
/// As [`delay`]; `Error::Shape` if there is not one label per row.
pub fn delay_groups<T: Copy + Default>(
    x: ArrayView2<'_, T>,
    delays: &[i64],
    groups: &[i64],
) -> Result<Array2<T>> {
    if groups.len() != x.nrows() {
        return Err(Error::Shape {
            what: "groups".to_owned(),
            expected: format!("one label for each of {} rows", x.nrows()),
            got: groups.len().to_string(),
            hint: "give the story of every row".to_owned(),
        });
    }
    let mut out = zeros(x.dim(), delays)?;
    for rows in rows_of_groups(groups) {
        for (mut block, &d) in blocks(&mut out, x.ncols(), delays) {
            for (i, &row) in rows.iter().enumerate() {
                let source = i64::try_from(i).ok().and_then(|i| i.checked_sub(d));
                let source = source.and_then(|source| usize::try_from(source).ok());
                if let Some(&source) = source.and_then(|source| rows.get(source)) {
                    block.row_mut(row).assign(&x.row(source));
                }
            }
        }
    }
    Ok(out)
}

/// Delays from text: whole numbers and ranges with both ends, as `1..4` or `0,2..5`.
///
/// # Errors
/// What is wrong with it, as "expected …, got …"; [`MOST`] bounds a range's ends.
pub fn parse_delays(text: &str) -> std::result::Result<Vec<i64>, String> {
    let wrong = |part: &str| format!("expected whole numbers or FROM..TO, got {part:?}");
    let number = |part: &str| part.trim().parse::<i64>().map_err(|_| wrong(part));
    let mut delays = Vec::new();
    for part in text.split(',') {
        let Some((first, last)) = part.split_once("..") else {
            delays.push(number(part)?);
            continue;
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last || first < -MOST || last > MOST {
            return Err(format!("expected FROM..TO from -{MOST} to {MOST}, got {part:?}"));
        }
        delays.extend(first..=last);
    }
    Ok(delays)
}

/// The longest delay of a study, and the furthest end of a range, in TRs.
pub const MOST: i64 = 1000;

/// Delays that a design can be made of: at least one, none of them twice.
///
/// # Errors
/// `Error::Usage` otherwise.
pub fn check_delays(delays: &[i64]) -> Result<()> {
    let twice = delays.iter().enumerate().find(|&(i, d)| delays[..i].contains(d));
    let problem = match twice {
        _ if delays.is_empty() => "expected at least one delay in TRs, got none".to_owned(),
        Some((_, d)) => format!("expected every delay once, got {d} twice"),
        None => return Ok(()),
    };
    Err(Error::Usage {
        place: "delays".to_owned(),
        problem,
        hint: "1,2,3,4 is usual at a repetition time of 2 s, 0 alone for no lag".to_owned(),
    })
}

/// Each delay with its block of columns.
fn blocks<'a, T>(
    out: &'a mut Array2<T>,
    n_features: usize,
    delays: &'a [i64],
) -> impl Iterator<Item = (ndarray::ArrayViewMut2<'a, T>, &'a i64)> {
    // A chunk size of 0 is refused by ndarray; there is nothing to copy then.
    out.axis_chunks_iter_mut(ndarray::Axis(1), n_features.max(1)).zip(delays)
}

fn zeros<T: Copy + Default>(
    (n_trs, n_features): (usize, usize),
    delays: &[i64],
) -> Result<Array2<T>> {
    check_delays(delays)?;
    let n_cols = n_features.checked_mul(delays.len());
    let n_bytes = n_cols
        .and_then(|n_cols| n_cols.checked_mul(n_trs))
        .and_then(|n_cells| n_cells.checked_mul(size_of::<T>()));
    match (n_cols, n_bytes) {
        (Some(n_cols), Some(n_bytes)) if n_bytes <= isize::MAX as usize => {
            Ok(Array2::from_elem((n_trs, n_cols), T::default()))
        }
        _ => Err(Error::TooLarge {
            what: format!("delaying {n_trs} TRs x {n_features} features by {} TRs", delays.len()),
            needed: "more than the address space".to_owned(),
            available: format!("{} bytes", isize::MAX),
            hint: "give fewer delays".to_owned(),
        }),
    }
}

/// The rows of each label in order, labels in order of their first row.
fn rows_of_groups(groups: &[i64]) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<i64, usize> = HashMap::new();
    for (row, &label) in groups.iter().enumerate() {
        let group = *known.entry(label).or_insert_with(|| {
            rows.push(Vec::new());
            rows.len() - 1
        });
        rows[group].push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, array};
    use proptest::prelude::*;

    use super::*;

    /// `out[t, i * n_features + f] = x[t - delays[i], f]`, one number at a time.
    fn naive(x: &Array2<f64>, delays: &[i64]) -> Array2<f64> {
        let (n_trs, n_features) = x.dim();
        let mut out = Array2::zeros((n_trs, n_features * delays.len()));
        for t in 0..n_trs as i64 {
            for (i, d) in delays.iter().enumerate() {
                for f in 0..n_features {
                    if t - d >= 0 && t - d < n_trs as i64 {
                        out[[t as usize, i * n_features + f]] = x[[(t - d) as usize, f]];
                    }
                }
            }
        }
        out
    }

    fn counting(n_trs: usize, n_features: usize) -> Array2<f64> {
        Array2::from_shape_fn((n_trs, n_features), |(t, f)| (t * n_features + f + 1) as f64)
    }

    #[test]
    fn columns_are_delay_major_and_filled_with_zeros() {
        let x = array![[1.0f32, 10.0], [2.0, 20.0], [3.0, 30.0]];
        let expected = array![
            [0.0, 0.0, 0.0, 0.0, 2.0, 20.0],
            [1.0, 10.0, 0.0, 0.0, 3.0, 30.0],
            [2.0, 20.0, 1.0, 10.0, 0.0, 0.0]
        ];
        assert_eq!(delay(x.view(), &[1, 2, -1]).unwrap(), expected);
    }

    #[test]
    fn delays_equal_nested_loops_at_every_size() {
        for n_trs in [0, 1, 2, 31, 32, 33, 101] {
            for n_features in [0, 1, 2, 7, 32] {
                let x = counting(n_trs, n_features);
                let groups = vec![3; n_trs];
                for delays in [&[0][..], &[1, 2, 3, 4], &[4, -8, 16, 0], &[31, -31, 32], &[999]] {
                    let expected = naive(&x, delays);
                    assert_eq!(delay(x.view(), delays).unwrap(), expected);
                    let stacked = delay_groups(x.view(), delays, &groups).unwrap();
                    assert_eq!(stacked, expected, "one group is huth-stacked");
                }
            }
        }
    }

    #[test]
    fn delays_at_the_ends_of_their_range_give_zeros() {
        let x = counting(5, 2);
        let delays = [i64::MIN, i64::MAX];
        assert_eq!(delay(x.view(), &delays).unwrap(), Array2::<f64>::zeros((5, 4)));
        assert_eq!(delay_groups(x.view(), &delays, &[0; 5]).unwrap(), Array2::<f64>::zeros((5, 4)));
    }

    #[test]
    fn a_label_that_comes_back_goes_on_where_it_stopped() {
        let x = array![[1.0], [2.0], [3.0], [4.0], [5.0]];
        let got = delay_groups(x.view(), &[1], &[7, -1, 7, -1, 7]).unwrap();
        assert_eq!(got, array![[0.0], [0.0], [1.0], [2.0], [3.0]]);
        assert_ne!(got, delay_groups(x.view(), &[1], &[7; 5]).unwrap());
    }

    proptest! {
        #[test]
        fn delays_never_cross_the_edge_of_a_story(
            groups in prop::collection::vec(-2..3i64, 0..60),
            first in -9..9i64,
            step in 1..7i64,
            n_delays in 1..5i64,
        ) {
            let delays: Vec<i64> = (0..n_delays).map(|i| first + i * step).collect();
            let x = counting(groups.len(), 3);
            let got = delay_groups(x.view(), &delays, &groups).unwrap();
            for label in -2..3 {
                let rows: Vec<usize> =
                    (0..groups.len()).filter(|&row| groups[row] == label).collect();
                let alone = naive(&x.select(Axis(0), &rows), &delays);
                prop_assert_eq!(got.select(Axis(0), &rows), alone);
            }
        }
    }

    #[test]
    fn delays_that_cannot_be_meant_are_usage_errors() {
        let x = counting(3, 2);
        for (delays, problem) in
            [(&[][..], "got none"), (&[1, 2, 1], "got 1 twice"), (&[0, 0], "got 0 twice")]
        {
            for error in [
                delay(x.view(), delays).unwrap_err(),
                delay_groups(x.view(), delays, &[0, 0, 1]).unwrap_err(),
                check_delays(delays).unwrap_err(),
            ] {
                assert_eq!(error.exit_code(), 2);
                assert!(error.to_string().contains(problem), "{error}");
            }
        }
    }

    #[test]
    fn ranges_hold_both_ends() {
        assert_eq!(parse_delays("1..4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(parse_delays("-1..1, 5"), Ok(vec![-1, 0, 1, 5]));
        assert_eq!(parse_delays("3..3"), Ok(vec![3]));
        assert_eq!(parse_delays("1, 2,7"), Ok(vec![1, 2, 7]));
        let far = "1..9000000000000000000";
        for bad in ["", "1...4", "4..1", "1..", "..4", "1-4", "1:4", "a..b", "1..=4", "1.5", far] {
            assert!(parse_delays(bad).unwrap_err().contains("got"), "{bad}");
        }
    }

    #[test]
    fn groups_of_another_length_are_a_data_error() {
        let error = delay_groups(counting(3, 2).view(), &[1], &[0, 0]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("one label for each of 3 rows, got 2"), "{error}");
    }

    #[test]
    fn a_result_beyond_the_address_space_is_refused() {
        let x = ArrayView2::<f64>::from_shape((1 << 40, 0), &[]).unwrap();
        assert_eq!(delay(x, &[1, 2]).unwrap().dim(), (1 << 40, 0));
        let one = [1.0f64];
        let wide = ndarray::aview1(&one);
        let wide = wide.broadcast((1 << 29, 1 << 29)).unwrap();
        let error = delay(wide, &[0, 1, 2, 3, 4, 5, 6, 7]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
    }
}
