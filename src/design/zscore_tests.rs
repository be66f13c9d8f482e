//! Tests of `zscore`.

use ndarray::{Axis, array, concatenate};
use proptest::prelude::*;

use super::*;

/// `(x - mean) / sd` with nested loops; 0 for columns of a single value.
fn naive(rows: &Array2<f64>, statistics_of: &Array2<f64>) -> Array2<f64> {
    let mut out = Array2::zeros(rows.dim());
    for f in 0..rows.ncols() {
        let n = statistics_of.nrows() as f64;
        let mut mean = 0.0;
        for r in 0..statistics_of.nrows() {
            mean += statistics_of[[r, f]] / n;
        }
        let mut variance = 0.0;
        for r in 0..statistics_of.nrows() {
            variance += (statistics_of[[r, f]] - mean).powi(2) / n;
        }
        let first = statistics_of[[0, f]];
        if statistics_of.column(f).iter().any(|&x| x != first) {
            for r in 0..rows.nrows() {
                out[[r, f]] = (rows[[r, f]] - mean) / variance.sqrt();
            }
        }
    }
    out
}

fn sparse(rows: &Array2<f64>) -> TrRows {
    let mut out = SparseRows::empty(rows.ncols());
    for row in rows.rows() {
        out.push_row((0u32..).zip(row.iter().copied()).filter(|&(_, x)| x != 0.0));
    }
    TrRows::Sparse(out)
}

/// How far a cell `z` of `design` may be off in f32.
///
/// A dense cell is rounded once, by 2^-24 of `z`. A sparse one is the difference of two rounded
/// numbers, the value `z + c` and the centre `c`, and is rounded itself: 2^-24 (2 |z| + 2 |c|),
/// at most. Twice that leaves room for the f64 of the oracle.
fn rounding(design: &StoryDesign, f: usize, z: f64) -> f64 {
    let center = match design {
        StoryDesign::Dense(_) => 0.0,
        StoryDesign::Sparse { center, .. } => f64::from(center[f].abs()),
    };
    2.0 * f64::from(f32::EPSILON) * (z.abs() + center)
}

fn assert_close(design: &StoryDesign, expected: &Array2<f64>) {
    let got = design.to_dense();
    assert_eq!(got.dim(), expected.dim());
    for ((at, &got), &expected) in got.indexed_iter().zip(expected) {
        let tolerance = rounding(design, at.1, expected) + 1e-12;
        assert!((f64::from(got) - expected).abs() <= tolerance, "{at:?}: {got} and {expected}");
    }
}

/// Mostly zeros, one column of zeros, one constant column.
fn rows_of(values: &[f64], n_features: usize) -> Array2<f64> {
    let n_trs = values.len() / n_features;
    let mut rows = Array2::from_shape_fn((n_trs, n_features + 2), |(r, f)| {
        let x = values[(r * n_features + f).min(values.len() - 1)];
        if x < 0.5 { 0.0 } else { x }
    });
    rows.column_mut(n_features).fill(0.0);
    rows.column_mut(n_features + 1).fill(0.1);
    rows
}

proptest! {
    #[test]
    fn each_column_has_mean_0_and_sd_1_on_both_routes(
        values in prop::collection::vec(-1.0..3.0f64, 14..200),
    ) {
        let rows = rows_of(&values, 7);
        let expected = naive(&rows, &rows);
        for rows in [TrRows::Dense(rows.clone()), sparse(&rows)] {
            let design = zscore(&rows, &ZScore::Story).unwrap();
            assert_close(&design, &expected);
            let dense = design.to_dense().mapv(f64::from);
            for (f, column) in dense.columns().into_iter().enumerate() {
                let n_trs = column.len() as f64;
                let mean = column.sum() / n_trs;
                let sd = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n_trs).sqrt();
                // Both are averages over cells, so no further off than the worst of them.
                let largest = column.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
                let tolerance = 2.0 * rounding(&design, f, largest) + 1e-12;
                prop_assert!(mean.abs() <= tolerance, "mean {mean}");
                let constant = column.iter().all(|&x| x == 0.0);
                prop_assert!(constant || (sd - 1.0).abs() <= tolerance, "sd {sd}");
            }
        }
    }

    #[test]
    fn merged_statistics_are_those_of_all_rows(
        values in prop::collection::vec(-1.0..3.0f64, 21..200),
        cut in 0.0..1.0f64,
    ) {
        let rows = rows_of(&values, 7);
        let at = (cut * rows.nrows() as f64) as usize;
        let (head, tail) = rows.view().split_at(Axis(0), at);
        let whole = ColumnStats::of_dense(rows.view());
        let mut merged = ColumnStats::empty(9);
        merged.merge(&ColumnStats::of_dense(head)).unwrap();
        merged.merge(&ColumnStats::of(&sparse(&tail.to_owned()))).unwrap();
        prop_assert_eq!(merged.n_trs(), whole.n_trs());
        for (merged, whole) in merged.mean().iter().zip(whole.mean()) {
            prop_assert!((merged - whole).abs() < 1e-14);
        }
        for (merged, whole) in merged.sd().iter().zip(whole.sd()) {
            prop_assert!((merged - whole).abs() < 1e-14);
        }
    }
}

#[test]
fn training_statistics_scale_every_story_alike() {
    let first = rows_of(&[1.0, 0.0, 2.0, 0.7, 0.9, 1.1, 3.0, 0.0], 2);
    let second = rows_of(&[5.0, 0.0, 0.0, 2.5], 2);
    let mut stats = ColumnStats::of(&TrRows::Dense(first.clone()));
    stats.merge(&ColumnStats::of(&sparse(&second))).unwrap();
    let both = concatenate![Axis(0), first, second];
    let how = ZScore::Train(stats.scaling());
    for story in [first, second] {
        let expected = naive(&story, &both);
        assert_close(&zscore(&TrRows::Dense(story.clone()), &how).unwrap(), &expected);
        assert_close(&zscore(&sparse(&story), &how).unwrap(), &expected);
    }
}

#[test]
fn every_mode_changes_the_result() {
    let rows = rows_of(&[1.0, 0.0, 2.0, 0.7, 0.9, 1.1, 3.0, 0.0], 2);
    let other = ColumnStats::of_dense((&rows * 2.0 + 1.0).view()).scaling();
    for rows in [TrRows::Dense(rows.clone()), sparse(&rows)] {
        let dense = |how| zscore(&rows, how).unwrap().to_dense();
        let [none, story, train] =
            [&ZScore::None, &ZScore::Story, &ZScore::Train(other.clone())].map(dense);
        assert!(none != story && story != train && train != none);
        assert_eq!(none[[2, 0]], 0.9);
    }
}

#[test]
fn constancy_does_not_depend_on_the_unit() {
    for unit in [1e-30, 1.0, 1e30] {
        let rows = array![[0.1, 1.0], [0.1, 1.0 + 1e-9], [0.1, 1.0]] * unit;
        let design = zscore(&TrRows::Dense(rows), &ZScore::Story).unwrap().to_dense();
        assert!(design.column(0).iter().all(|&x| x == 0.0), "{unit}");
        assert!((design[[1, 1]] - std::f32::consts::SQRT_2).abs() < 1e-4, "{unit}");
    }
}

#[test]
fn a_large_centre_costs_a_sparse_column_digits_and_a_dense_one_none() {
    for gap in [1.0, 1e-2, 1e-4] {
        let rows = array![[3.0], [3.0 + gap], [3.0 + gap / 3.0]];
        let expected = naive(&rows, &rows);
        for rows in [sparse(&rows), TrRows::Dense(rows)] {
            assert_close(&zscore(&rows, &ZScore::Story).unwrap(), &expected);
        }
    }
}

#[test]
fn a_single_tr_is_constant() {
    let rows = array![[3.0, 0.0]];
    for rows in [sparse(&rows), TrRows::Dense(rows)] {
        let design = zscore(&rows, &ZScore::Story).unwrap();
        assert_eq!(design.to_dense(), array![[0.0f32, 0.0]]);
    }
}

#[test]
fn statistics_of_another_space_are_a_data_error() {
    let rows = TrRows::Dense(Array2::zeros((3, 2)));
    let how = ZScore::Train(ColumnStats::empty(5).scaling());
    let error = zscore(&rows, &how).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("expected 2 features, got 5"), "{error}");
    assert!(ColumnStats::of(&rows).merge(&ColumnStats::empty(3)).is_err());
}

#[test]
fn modes_are_read_by_name() {
    for (name, mode) in
        [("story", ZScoreMode::Story), ("train", ZScoreMode::Train), ("none", ZScoreMode::None)]
    {
        assert_eq!(name.parse::<ZScoreMode>().unwrap(), mode);
    }
    assert_eq!(ZScoreMode::default(), ZScoreMode::Story);
    let error = "Story".parse::<ZScoreMode>().unwrap_err();
    assert_eq!(error.exit_code(), 2);
}
