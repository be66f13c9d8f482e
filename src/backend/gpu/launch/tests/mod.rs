//! Every kernel against a plain twin in f64, on a card or on the stand-in libraries.
//!
//! A bound is n roundings of the precision in which the kernel adds, relative to the sum of the
//! absolute values that it adds.

mod scores;

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const EPS32: f64 = f32::EPSILON as f64;
const EPS64: f64 = f64::EPSILON;
const WIDTHS: [usize; 7] = [1, 31, 32, 33, 127, 131, 513];

/// A lane of the first card; without one a loud line, or a failure where a card is required.
#[allow(clippy::print_stderr)]
fn lane() -> Option<Lane> {
    let card = check_libraries().and_then(|()| match n_cards()? {
        0 => Err("no card".to_owned()),
        _ => Card::open(0).map_err(|error| error.to_string()),
    });
    match card {
        Ok(card) => Some(Lane::new(&Arc::new(card)).expect("a lane opens")),
        Err(why) => {
            let required = std::env::var("VOXELCAST_REQUIRE").is_ok_and(|v| v == "cuda");
            assert!(!required, "VOXELCAST_REQUIRE=cuda: {why}");
            eprintln!("SKIPPED: CUDA kernels: {why}");
            None
        }
    }
}

fn random(seed: u64, n: usize) -> Vec<f32> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

fn up<T: Value>(lane: &Lane, values: &[T]) -> Buffer<T> {
    lane.upload("test", values).expect("it fits")
}

fn down<T: Value>(lane: &Lane, from: &Buffer<T>, n: usize) -> Vec<T> {
    let mut found = Vec::new();
    lane.read_vec(&from.first(n), n, &mut found).expect("it can be read");
    found
}

fn empty<T: Value>(lane: &Lane, n: usize) -> Buffer<T> {
    lane.alloc("test", &[n]).expect("it fits")
}

/// `got` within `bound` of each expected value.
#[track_caller]
fn near(got: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len());
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let both_nan = g.is_nan() && e.is_nan();
        assert!(both_nan || (g - e).abs() <= bound(i), "{i}: {g} {e}, bound {}", bound(i));
    }
}

#[test]
fn voxels_are_shifted_masked_and_summed() {
    let Some(lane) = lane() else { return };
    for (seed, width) in WIDTHS.into_iter().enumerate() {
        for n_rows in [1, 63, 64, 65, 131] {
            let mut bold: Vec<f32> =
                random(seed as u64, n_rows * width).iter().map(|x| 100.0 + x).collect();
            if width > 2 {
                bold[width - 1] = f32::NAN;
                bold[n_rows * width - 2] = f32::INFINITY;
                (0..n_rows).for_each(|t| bold[t * width] = 7.0);
            }
            let (raw, shape) = (up(&lane, &bold), (n_rows, width));
            let (mut shift, mut first) = (empty::<f32>(&lane, width), empty::<f32>(&lane, width));
            let mut y = empty::<f32>(&lane, n_rows * width);
            let chunks = n_chunks(n_rows);
            let mut part = empty::<f64>(&lane, chunks * 2 * width);
            let mut part_flags = empty::<u8>(&lane, chunks * width);
            let (mut sums, mut squares) =
                (up(&lane, &vec![1.0; width]), up(&lane, &vec![2.0; width]));
            let mut flags = up(&lane, &vec![0u8; width]);
            let n = n_rows * width;
            let all = &raw.first(n);
            first_means(
                &lane,
                all,
                &mut shift.first_mut(width),
                &mut first.first_mut(width),
                shape,
            )
            .unwrap();
            add_voxels(
                &lane,
                all,
                &shift.first(width),
                &first.first(width),
                &mut y.first_mut(n),
                &mut part.first_mut(chunks * 2 * width),
                &mut part_flags.first_mut(chunks * width),
                shape,
            )
            .unwrap();
            merge_voxels(
                &lane,
                &part.all(),
                &part_flags.all(),
                &mut sums.first_mut(width),
                &mut squares.first_mut(width),
                &mut flags.first_mut(width),
                n_rows,
                width,
            )
            .unwrap();
            let (shift, y) = (down(&lane, &shift, width), down(&lane, &y, n));
            let (sums, squares) = (down(&lane, &sums, width), down(&lane, &squares, width));
            let flags = down(&lane, &flags, width);
            for v in 0..width {
                let column: Vec<f32> = (0..n_rows).map(|t| bold[t * width + v]).collect();
                let finite: Vec<f64> =
                    column.iter().filter(|x| x.is_finite()).map(|&x| f64::from(x)).collect();
                let mean = match finite.len() {
                    0 => 0.0,
                    n => finite.iter().sum::<f64>() / n as f64,
                };
                assert!((f64::from(shift[v]) - mean).abs() <= EPS32 * mean.abs());
                let (mut sum, mut square) = (1.0, 2.0);
                for (t, &x) in column.iter().enumerate() {
                    let expected = if x.is_finite() { x - shift[v] } else { 0.0 };
                    assert_eq!(y[t * width + v], expected);
                    sum += f64::from(expected);
                    square += f64::from(expected).powi(2);
                }
                let bound = 2.0 * n_rows as f64 * EPS64 * (square + n_rows as f64);
                assert!((sums[v] - sum).abs() <= bound && (squares[v] - square).abs() <= bound);
                let is_bad = column.iter().any(|x| !x.is_finite());
                // NaN differs from everything, itself included.
                #[allow(clippy::float_cmp)]
                let varies = column.iter().any(|&x| x != column[0]);
                assert_eq!(flags[v] & 1 != 0, is_bad, "{width} {v}");
                assert_eq!(flags[v] & 2 != 0, varies, "{width} {v}");
            }
        }
    }
}

#[test]
fn moments_of_folds_are_those_of_the_cpu_engine() {
    let Some(lane) = lane() else { return };
    for width in WIDTHS {
        for fit in [true, false] {
            let rows = [5.0, 11.0, 3.0];
            let k = rows.len();
            let sums = wide(&random(1, k * width));
            let squares: Vec<f64> =
                random(2, k * width).iter().map(|&x| f64::from(x) + 3.0).collect();
            let shift = random(3, width);
            // Voxels 0 mod 3: constant over all; 1 mod 3: fine; 2 mod 3: not finite.
            let flags: Vec<u8> = (0..width).map(|v| [0, 2, 3][v % 3]).collect();
            let mut out: Vec<Buffer<f64>> =
                [k + 1, k, k, k].iter().map(|n| empty(&lane, n * width)).collect();
            let [means, val_means, val_square, delta] = &mut out[..] else { unreachable!() };
            let moments = Moments {
                means: means.first_mut((k + 1) * width),
                val_means: val_means.first_mut(k * width),
                val_square: val_square.first_mut(k * width),
                delta: delta.first_mut(k * width),
            };
            fold_moments(
                &lane,
                &up(&lane, &sums).first(k * width),
                &up(&lane, &squares).first(k * width),
                &up(&lane, &shift).first(width),
                &up(&lane, &flags).first(width),
                &up(&lane, &rows).first(k),
                moments,
                fit,
                width,
            )
            .unwrap();
            let n_all: f64 = rows.iter().sum();
            let mut expected: [Vec<f64>; 4] = Default::default();
            for f in 0..=k {
                for v in 0..width {
                    let all: f64 = (0..k).map(|f| sums[f * width + v]).sum();
                    let own = if f < k { sums[f * width + v] } else { 0.0 };
                    let n = if f < k { rows[f] } else { 0.0 };
                    let mean = if fit { (all - own) / (n_all - n) } else { -f64::from(shift[v]) };
                    expected[0].push(mean);
                    if f < k {
                        expected[1].push(own / n);
                        let live = v % 3 == 1;
                        let variation = squares[f * width + v] - own * own / n;
                        expected[2].push(if live { variation } else { 0.0 });
                        expected[3].push(own / n - mean);
                    }
                }
            }
            for (found, expected) in out.iter().zip(expected) {
                near(&down(&lane, found, expected.len()), &expected, |_| 16.0 * EPS64 * 4.0);
            }
        }
    }
}

#[test]
fn delays_shift_centre_and_scale_within_the_block() {
    let Some(lane) = lane() else { return };
    for (n_rows, n_features) in [(1, 1), (7, 3), (8, 129), (9, 43), (33, 31)] {
        for delays in [vec![0], vec![1, 2, 3, 4], vec![-2, 40, 0]] {
            let x = random(4, n_rows * n_features);
            let (center, scale) = (random(5, n_features), random(6, n_features));
            let shape = DelayShape { n_rows, n_features, n_delays: delays.len() };
            let n = n_rows * n_features * delays.len();
            for (with_center, with_scale) in [(false, false), (true, false), (true, true)] {
                let mut tile = empty::<f32>(&lane, n);
                let (on_card, on_card_scale) = (up(&lane, &center), up(&lane, &scale));
                delay(
                    &lane,
                    &up(&lane, &x).all(),
                    &up(&lane, &delays).all(),
                    with_center.then(|| on_card.all()).as_ref(),
                    with_scale.then(|| on_card_scale.all()).as_ref(),
                    &mut tile.first_mut(n),
                    shape,
                )
                .unwrap();
                let found = down(&lane, &tile, n);
                for (i, &got) in found.iter().enumerate() {
                    let (t, column) = (i / (n / n_rows), i % (n / n_rows));
                    let f = column % n_features;
                    let from = t as i64 - delays[column / n_features];
                    let off = if with_center { center[f] } else { 0.0 };
                    let factor = if with_scale { scale[f] } else { 1.0 };
                    let expected = match from {
                        0.. if (from as usize) < n_rows => {
                            (x[from as usize * n_features + f] - off) * factor
                        }
                        _ => 0.0,
                    };
                    assert_eq!(got, expected, "{i}");
                }
            }
        }
    }
}

#[test]
fn sparse_rows_are_written_out() {
    let Some(lane) = lane() else { return };
    let (n_rows, n_features) = (37, 301);
    let mut dense = vec![0f32; n_rows * n_features];
    let (mut indptr, mut indices, mut values) = (vec![0u64], Vec::new(), Vec::new());
    for t in 0..n_rows {
        for f in (t % 5..n_features).step_by(1 + t) {
            let value = (t * 7 + f) as f32 + 0.5;
            dense[t * n_features + f] = value;
            indices.push(f as u32);
            values.push(value);
        }
        indptr.push(indices.len() as u64);
    }
    let mut out = empty::<f32>(&lane, dense.len());
    let csr = (up(&lane, &indptr), up(&lane, &indices), up(&lane, &values));
    let csr = (&csr.0.all(), &csr.1.all(), &csr.2.all());
    densify(&lane, csr, &mut out.first_mut(dense.len()), (n_rows, n_features)).unwrap();
    assert_eq!(down(&lane, &out, dense.len()), dense);
}

#[test]
fn products_are_row_major_with_strides_transposes_and_batches() {
    let Some(lane) = lane() else { return };
    for (rows, cols, depth) in [(1, 1, 1), (5, 33, 7), (31, 2, 64), (64, 129, 65)] {
        let (a, b, c) = (random(7, rows * depth), random(8, depth * cols), random(9, rows * cols));
        let plain = |i: usize, j: usize| -> f64 {
            (0..depth).map(|k| f64::from(a[i * depth + k]) * f64::from(b[k * cols + j])).sum()
        };
        let expected: Vec<f64> = (0..rows * cols).map(|i| plain(i / cols, i % cols)).collect();
        let bound = |_: usize| 4.0 * depth as f64 * EPS32;
        let (on_card, on_card_b) = (up(&lane, &a), up(&lane, &b));
        let mut out = empty::<f32>(&lane, rows * cols);
        let gemm = Gemm::new(rows, cols, depth);
        lane.gemm(gemm, &on_card.all(), &on_card_b.all(), &mut out.first_mut(rows * cols)).unwrap();
        near(&wide(&down(&lane, &out, rows * cols)), &expected, bound);
        // Aᵀ added to what is there.
        let at: Vec<f32> = (0..depth * rows).map(|i| a[i % rows * depth + i / rows]).collect();
        let mut sum = up(&lane, &c);
        let gemm = Gemm::add_transposed(rows, cols, depth);
        let at = up(&lane, &at);
        lane.gemm(gemm, &at.all(), &on_card_b.all(), &mut sum.first_mut(rows * cols)).unwrap();
        let with: Vec<f64> = expected.iter().zip(&c).map(|(e, &c)| e + f64::from(c)).collect();
        near(&wide(&down(&lane, &sum, rows * cols)), &with, bound);
        // The same A three times, three B, C with a gap between rows.
        let many = random(10, 3 * depth * cols);
        let ldc = cols + 3;
        let mut out = up(&lane, &vec![9f32; 3 * rows * ldc]);
        let gemm = Gemm { ldc, ..Gemm::new(rows, cols, depth) };
        let batch = Batch { n: 3, stride_a: 0, stride_b: depth * cols, stride_c: rows * ldc };
        let b = up(&lane, &many);
        let all = 3 * rows * ldc;
        lane.gemm_batch(gemm, batch, &on_card.all(), &b.all(), &mut out.first_mut(all)).unwrap();
        let found = wide(&down(&lane, &out, all));
        for (at, &got) in found.iter().enumerate() {
            let (n, i, j) = (at / (rows * ldc), at / ldc % rows, at % ldc);
            if j >= cols {
                assert!((got - 9.0).abs() < f64::EPSILON, "the gap is left alone");
                continue;
            }
            let right = &many[n * depth * cols..];
            let expected: f64 = (0..depth)
                .map(|k| f64::from(a[i * depth + k]) * f64::from(right[k * cols + j]))
                .sum();
            assert!((got - expected).abs() <= bound(0), "{n} {i} {j}: {got} {expected}");
        }
    }
    // Without depth a product is zero.
    let mut out = up(&lane, &[5f32; 6]);
    let one = up(&lane, &[1f32]);
    lane.gemm(Gemm::new(2, 3, 0), &one.all(), &one.all(), &mut out.first_mut(6)).unwrap();
    assert_eq!(down(&lane, &out, 6), [0.0; 6]);
}

#[test]
fn statistics_are_added_centred_gathered_and_stacked() {
    let Some(lane) = lane() else { return };
    for width in WIDTHS {
        let (n_folds, n_columns) = (3, 8);
        let columns: Vec<u64> = vec![6, 7, 2, 3, 0];
        let p = columns.len();
        let xty = random(11, n_folds * n_columns * width);
        let at =
            |k: usize, c: u64, v: usize| f64::from(xty[(k * n_columns + c as usize) * width + v]);
        let (on_card, on_columns) = (up(&lane, &xty), up(&lane, &columns));
        let mut total = empty::<f32>(&lane, p * width);
        let extents = (n_folds, n_columns, width);
        let whole = total.len();
        total_xty(&lane, &on_card.all(), &on_columns.all(), &mut total.first_mut(whole), extents)
            .unwrap();
        let expected: Vec<f64> = (0..p * width)
            .map(|i| (0..n_folds).map(|k| at(k, columns[i / width], i % width)).sum())
            .collect();
        near(&wide(&down(&lane, &total, p * width)), &expected, |_| 3.0 * EPS32 * 3.0);

        let (val_sums, x_means) = (wide(&random(12, p)), wide(&random(13, p)));
        let (train_means, val_means) = (wide(&random(14, width)), wide(&random(15, width)));
        let (mut train, mut val) = (empty::<f32>(&lane, p * width), empty::<f32>(&lane, p * width));
        let fold = n_columns * width..2 * n_columns * width;
        center_xty(
            &lane,
            (&on_card.part(fold), n_columns),
            &on_columns.all(),
            &total.all(),
            (&up(&lane, &val_sums).all(), &up(&lane, &x_means).all()),
            (&up(&lane, &train_means).all(), &up(&lane, &val_means).all()),
            &mut train.first_mut(p * width),
            &mut val.first_mut(p * width),
            20.0,
            width,
        )
        .unwrap();
        let (mut centred, mut own) = (Vec::new(), Vec::new());
        for (i, &column) in columns.iter().enumerate() {
            for v in 0..width {
                let x = at(1, column, v);
                let train_sum = x_means[i] * 20.0 - val_sums[i];
                centred.push(expected[i * width + v] - x - train_sum * train_means[v]);
                own.push(x - val_sums[i] * val_means[v]);
            }
        }
        near(&wide(&down(&lane, &train, p * width)), &centred, |_| 4.0 * EPS32 * 25.0);
        near(&wide(&down(&lane, &val, p * width)), &own, |_| 4.0 * EPS32 * 2.0);

        let means = up(&lane, &train_means);
        center_total(
            &lane,
            &mut total.first_mut(p * width),
            &up(&lane, &x_means).all(),
            &means.all(),
            20.0,
            width,
        )
        .unwrap();
        let refit: Vec<f64> = (0..p * width)
            .map(|i| expected[i] - 20.0 * x_means[i / width] * train_means[i % width])
            .collect();
        near(&wide(&down(&lane, &total, p * width)), &refit, |_| 4.0 * EPS32 * 23.0);

        let n_rows = n_folds * n_columns;
        let index: Vec<u64> = vec![5, 0, 23, 7];
        let mut out = empty::<f32>(&lane, 4 * width);
        let rows = (&on_card.all(), n_rows);
        let taken = &mut out.first_mut(4 * width);
        center_rows(&lane, rows, &up(&lane, &index).all(), &means.all(), taken, width).unwrap();
        for (i, got) in down(&lane, &out, 4 * width).into_iter().enumerate() {
            let raw = xty[index[i / width] as usize * width + i % width];
            assert_eq!(got, raw - train_means[i % width] as f32);
        }

        let source: Vec<i64> = vec![-1, -3, 8, 0];
        let fold_rows = [4.0, 9.0, 25.0];
        let sums = wide(&random(16, n_folds * width));
        let taken = &mut out.first_mut(4 * width);
        stack_rows(
            &lane,
            rows,
            &up(&lane, &sums).all(),
            &up(&lane, &fold_rows).all(),
            &means.all(),
            &up(&lane, &source).all(),
            taken,
            width,
        )
        .unwrap();
        let expected: Vec<f64> = (0..4 * width)
            .map(|i| {
                let v = i % width;
                match source[i / width] {
                    from @ 0.. => f64::from(xty[from as usize * width + v]),
                    from => {
                        let k = (-1 - from) as usize;
                        fold_rows[k].sqrt() * (sums[k * width + v] / fold_rows[k] - train_means[v])
                    }
                }
            })
            .collect();
        near(&wide(&down(&lane, &out, 4 * width)), &expected, |_| 2.0 * EPS32 * 6.0);
    }
}
