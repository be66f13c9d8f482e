//! Tests of `lanczos`, against the dense weight matrix in nested loops.

use ndarray::array;
use proptest::prelude::*;

use super::*;
use crate::design::tr_times::tr_times;

/// The formula word by word and TR by TR, and the sum of the absolute terms of every value.
fn naive(rows: &Array2<f64>, old: &[f64], new: &[f64], lanczos: &Lanczos) -> [Array2<f64>; 2] {
    let mut steps = 0.0;
    for pair in new.windows(2) {
        steps += pair[1] - pair[0];
    }
    let cutoff = 1.0 / (steps / (new.len() - 1) as f64) * lanczos.cutoff_mult;
    let w = lanczos.window as f64;
    let mut out = Array2::zeros((new.len(), rows.ncols()));
    let mut size = Array2::zeros(out.dim());
    for (r, tr) in new.iter().enumerate() {
        for (s, word) in old.iter().enumerate() {
            let t = (tr - word) * cutoff;
            let mut weight = w * (PI * t).sin() * (PI * t / w).sin() / (PI * PI * t * t);
            if t == 0.0 {
                weight = 1.0;
            }
            if t.abs() > w {
                weight = 0.0;
            }
            for f in 0..rows.ncols() {
                out[[r, f]] += weight * rows[[s, f]];
                size[[r, f]] += (weight * rows[[s, f]]).abs();
            }
        }
    }
    [out, size]
}

fn assert_naive(rows: &Array2<f64>, old: &[f64], new: &[f64], lanczos: &Lanczos) {
    let got = resample(rows.view(), old, new, lanczos).unwrap();
    let [expected, size] = naive(rows, old, new, lanczos);
    assert_eq!(got.dim(), expected.dim());
    for ((at, got), expected) in got.indexed_iter().zip(&expected) {
        // Both sum the same terms in another order; terms at |t| = w may fall on either side.
        let tolerance = 1e-12 * (1.0 + size[at]);
        assert!((got - expected).abs() <= tolerance, "{at:?}: {got} and {expected}, {lanczos:?}");
    }
}

/// Numbers without a pattern, the same on every machine.
fn noise(n: usize, seed: u64) -> impl Iterator<Item = f64> {
    (0..n as u64).map(move |i| {
        let mixed = (i + 1 + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 11) as f64
            / (1u64 << 53) as f64
    })
}

fn random_rows(n_rows: usize, n_features: usize) -> Array2<f64> {
    let values = noise(n_rows * n_features, 3).map(|u| 4.0 * u - 2.0).collect();
    Array2::from_shape_vec((n_rows, n_features), values).unwrap()
}

#[test]
fn banded_equals_dense_at_every_size() {
    for n_words in [0, 1, 2, 31, 32, 33, 101] {
        for n_features in [0, 1, 2, 31, 32, 33] {
            for n_trs in [2, 17, 32, 33] {
                let rows = random_rows(n_words, n_features);
                let old: Vec<f64> = noise(n_words, 9).map(|u| -12.0 + 80.0 * u).collect();
                assert_naive(
                    &rows,
                    &old,
                    &tr_times(-9.0, 2.0, n_trs).unwrap(),
                    &Lanczos::default(),
                );
            }
        }
    }
}

#[test]
fn window_and_cutoff_mult_each_change_the_result_as_the_formula_says() {
    let rows = random_rows(40, 3);
    let old: Vec<f64> = noise(40, 1).map(|u| 30.0 * u).collect();
    let new = tr_times(0.0, 1.5, 20).unwrap();
    let by_default = resample(rows.view(), &old, &new, &Lanczos::default()).unwrap();
    for lanczos in [
        Lanczos { window: 1, cutoff_mult: 1.0 },
        Lanczos { window: 5, cutoff_mult: 1.0 },
        Lanczos { window: 3, cutoff_mult: 0.7 },
        Lanczos { window: 3, cutoff_mult: 2.0 },
    ] {
        assert_naive(&rows, &old, &new, &lanczos);
        assert_ne!(by_default, resample(rows.view(), &old, &new, &lanczos).unwrap());
    }
}

#[test]
fn words_on_a_tr_count_there_once_and_nowhere_else() {
    let new = tr_times(0.0, 2.0, 9).unwrap();
    let rows = array![[5.0], [7.0], [11.0]];
    let got = resample(rows.view(), &[8.0, 2.0, 2.0], &new, &Lanczos::default()).unwrap();
    for tr in 0..9 {
        let expected = [0.0, 18.0, 0.0, 0.0, 5.0][tr.min(4) * usize::from(tr <= 4)];
        // sin of a multiple of pi, at most 3 pi, is off by that many roundings of pi.
        let noise = 23.0 * 3.0 * f64::EPSILON;
        assert!((got[[tr, 0]] - expected).abs() <= noise, "TR {tr}: {}", got[[tr, 0]]);
    }
}

#[test]
fn words_a_hair_from_a_tr_have_the_weight_one() {
    for distance in [1e-300, 1e-160, 1e-12, -1e-12] {
        let got =
            resample(array![[1.0]].view(), &[distance], &[0.0, 2.0], &Lanczos::default()).unwrap();
        assert_eq!(got[[0, 0]], 1.0, "{distance}");
    }
}

#[test]
fn irregular_and_descending_tr_times_follow_the_formula_too() {
    let rows = random_rows(31, 2);
    let old: Vec<f64> = noise(31, 5).map(|u| 20.0 * u).collect();
    for new in [vec![0.0, 1.0, 4.0, 4.5, 13.0], vec![20.0, 15.0, 3.0]] {
        assert_naive(&rows, &old, &new, &Lanczos::default());
    }
}

#[test]
fn rows_in_f32_and_in_column_order_give_the_same_values() {
    let rows = random_rows(33, 7).mapv(|x| x as f32);
    let old: Vec<f64> = noise(33, 2).map(|u| 40.0 * u).collect();
    let new = tr_times(0.0, 2.0, 20).unwrap();
    let expected = resample(rows.mapv(f64::from).view(), &old, &new, &Lanczos::default()).unwrap();
    assert_eq!(resample(rows.view(), &old, &new, &Lanczos::default()).unwrap(), expected);
    let mut columns = Array2::zeros((7, 33));
    columns.assign(&rows.t());
    assert_eq!(resample(columns.t(), &old, &new, &Lanczos::default()).unwrap(), expected);
}

fn message(rows: usize, old: &[f64], new: &[f64], lanczos: &Lanczos) -> (u8, String) {
    let rows = Array2::<f64>::zeros((rows, 1));
    let error = resample(rows.view(), old, new, lanczos).unwrap_err();
    (error.exit_code(), error.to_string())
}

#[test]
fn each_way_to_be_wrong_has_its_message() {
    let (old, new, lanczos) = ([0.5, 1.5], [0.0, 2.0, 4.0], Lanczos::default());
    let cases = [
        (3, message(3, &old, &new, &lanczos), "one for each of 2 times, got 3"),
        (3, message(2, &old, &new[..1], &lanczos), "at least 2, whose distance"),
        (3, message(2, &old, &[], &lanczos), "got 0"),
        (
            3,
            message(2, &[0.5, f64::NAN], &new, &lanczos),
            "time of row 1: expected seconds, got NaN",
        ),
        (3, message(2, &old, &[0.0, f64::INFINITY], &lanczos), "TR time 1: expected seconds"),
        (3, message(2, &old, &[3.0, 4.0, 3.0], &lanczos), "3 times from 3 s to 3 s"),
        (2, message(2, &old, &new, &Lanczos { window: 0, ..lanczos }), "lanczos window"),
        (2, message(2, &old, &new, &Lanczos { cutoff_mult: 0.0, ..lanczos }), "cutoff_mult"),
        (2, message(2, &old, &new, &Lanczos { cutoff_mult: f64::NAN, ..lanczos }), "got NaN"),
    ];
    for (exit_code, (got_code, got), expected) in cases {
        assert_eq!(exit_code, got_code, "{got}");
        assert!(got.contains(expected), "{got}");
    }
}

proptest! {
    #[test]
    fn banded_equals_dense(
        old in prop::collection::vec(-20.0..120.0f64, 0..60),
        first in -20.0..20.0f64,
        step in 0.3..4.0f64,
        n_trs in 2..40usize,
        window in 1..6usize,
        cutoff_mult in 0.3..3.0f64,
    ) {
        let rows = random_rows(old.len(), 3);
        assert_naive(&rows, &old, &tr_times(first, step, n_trs).unwrap(), &Lanczos { window, cutoff_mult });
    }

    #[test]
    fn unsorted_words_give_the_same_as_sorted(
        old in prop::collection::vec(0.0..60.0f64, 1..60),
    ) {
        let rows = random_rows(old.len(), 3);
        let new = tr_times(0.0, 2.0, 30).unwrap();
        let mut order: Vec<usize> = (0..old.len()).collect();
        order.sort_by(|&a, &b| old[a].total_cmp(&old[b]));
        let sorted_rows = rows.select(ndarray::Axis(0), &order);
        let sorted: Vec<f64> = order.iter().map(|&i| old[i]).collect();
        let lanczos = Lanczos::default();
        prop_assert_eq!(
            resample(rows.view(), &old, &new, &lanczos).unwrap(),
            resample(sorted_rows.view(), &sorted, &new, &lanczos).unwrap()
        );
    }

    #[test]
    fn sparse_rows_give_what_dense_rows_give(
        words in prop::collection::vec((0.0..60.0f64, 0..11u32), 0..60),
    ) {
        let mut rows = SparseRows::<f32>::empty(13);
        for (i, &(_, col)) in words.iter().enumerate() {
            rows.push_row([(col, 1.0f32), (col + 2, -0.5)].into_iter().take(i % 3));
        }
        let old: Vec<f64> = words.iter().map(|word| word.0).collect();
        let new = tr_times(1.0, 2.0, 33).unwrap();
        let sparse = resample_sparse(&rows, &old, &new, &Lanczos::default()).unwrap();
        let dense = resample(rows.to_dense().view(), &old, &new, &Lanczos::default()).unwrap();
        prop_assert!(sparse.n_entries() <= dense.len());
        for (sparse, dense) in sparse.to_dense().iter().zip(&dense) {
            prop_assert!((sparse - dense).abs() <= 1e-13);
        }
    }
}
