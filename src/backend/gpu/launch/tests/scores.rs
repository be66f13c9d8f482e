//! Twins of `path.cu`, `refit.cu` and `correlation.cu`.

use super::*;
use crate::stats::{best_index, pearson_from_sums};

#[test]
fn sizes_and_scaled_components_of_every_block() {
    let Some(lane) = lane() else { return };
    for (width, block) in [(1, 1), (33, 32), (131, 64), (513, 512), (70, 512)] {
        for m in [1, 3, 4, 5, 37] {
            let z = random(17, m * width);
            let on_card = up(&lane, &z);
            let n_blocks = width.div_ceil(block);
            let mut sizes = empty::<f64>(&lane, n_blocks * m);
            let out = &mut sizes.first_mut(n_blocks * m);
            let norms: Vec<f64> = (0..m).map(|i| 0.5 + i as f64).collect();
            let mut inverses = empty::<f64>(&lane, width);
            let norms_on = up(&lane, &norms);
            let to = &mut inverses.first_mut(width);
            voxel_inverses(&lane, &on_card.all(), &norms_on.all(), to, (m, width)).unwrap();
            let square = |v: usize| -> f64 {
                (0..m).map(|i| (norms[i] * f64::from(z[i * width + v])).powi(2)).sum()
            };
            let wanted: Vec<f64> = (0..width).map(|v| 1.0 / square(v)).collect();
            near(&down(&lane, &inverses, width), &wanted, |v| 64.0 * EPS64 * wanted[v]);
            component_sizes(&lane, &on_card.all(), &inverses.all(), out, (m, width), block)
                .unwrap();
            let expected: Vec<f64> = (0..n_blocks * m)
                .map(|i| {
                    let first = i / m * block;
                    let row = &z[i % m * width + first..i % m * width + width.min(first + block)];
                    let of_voxels = row.iter().zip(&wanted[first..]);
                    of_voxels
                        .map(|(&x, inverse)| f64::from(x).powi(2) * inverse)
                        .sum::<f64>()
                        .sqrt()
                })
                .collect();
            near(&down(&lane, &sizes, n_blocks * m), &expected, |_| 512.0 * EPS64 * 23.0);

            let first = (n_blocks - 1) * block;
            let n = width - first;
            let entries = 2 * m + 1;
            let scales = random(18, entries);
            let components: Vec<u32> = (0..entries).map(|e| (e * 5 % m) as u32).collect();
            let mut out = empty::<f32>(&lane, entries * n);
            scale_slots(
                &lane,
                (&on_card.all(), m),
                (&up(&lane, &scales).all(), &up(&lane, &components).all()),
                &mut out.first_mut(entries * n),
                (first, n),
                width,
            )
            .unwrap();
            for (i, got) in down(&lane, &out, entries * n).into_iter().enumerate() {
                let (e, v) = (i / n, i % n);
                assert_eq!(got, scales[e] * z[components[e] as usize * width + first + v]);
            }
        }
    }
}

#[test]
fn numerators_of_few_and_many_alphas() {
    let Some(lane) = lane() else { return };
    for width in [1, 33, 131] {
        for (n_alphas, m) in [(1, 1), (8, 64), (9, 65), (20, 130), (3, 0)] {
            let (z, t) = (random(19, m * width), random(20, m * width));
            let (inverses, shifted) = (random(21, n_alphas * m), random(22, n_alphas * m));
            let n = n_alphas * width;
            let (mut numerators, mut offsets) = (empty::<f32>(&lane, n), empty::<f32>(&lane, n));
            let (z_on, t_on) = (up(&lane, &z), up(&lane, &t));
            let (inverses_on, shifted_on) = (up(&lane, &inverses), up(&lane, &shifted));
            let sum = |a: usize, term: &dyn Fn(usize) -> f64| (0..m).map(|i| term(a * m + i)).sum();
            for with_shift in [true, false] {
                path_numerators(
                    &lane,
                    (&z_on.all(), &t_on.all()),
                    Numerators {
                        inverses: &inverses_on.all(),
                        shifted: with_shift.then(|| shifted_on.all()).as_ref(),
                    },
                    &mut numerators.first_mut(n),
                    &mut offsets.first_mut(n),
                    (n_alphas, m, width),
                )
                .unwrap();
            }
            let (numerators, offsets) = (down(&lane, &numerators, n), down(&lane, &offsets, n));
            let expected: Vec<f64> = (0..n)
                .map(|i| {
                    let cell = |at: usize| at % m.max(1) * width + i % width;
                    sum(i / width, &|at| {
                        f64::from(inverses[at]) * f64::from(z[cell(at)]) * f64::from(t[cell(at)])
                    })
                })
                .collect();
            let moved: Vec<f64> = (0..n)
                .map(|i| {
                    sum(i / width, &|at| {
                        f64::from(shifted[at]) * f64::from(z[at % m.max(1) * width + i % width])
                    })
                })
                .collect();
            let bound = |_: usize| 66.0 * EPS32 * m as f64;
            near(&wide(&numerators), &expected, bound);
            near(&wide(&offsets), &moved, bound);
        }
    }
}

#[test]
fn squares_of_combined_images_pass_over_groups_that_have_ended() {
    let Some(lane) = lane() else { return };
    // Rows 3 … 3 + n of a factor; groups end at rows 5, 9 and 60 and have 2, 1 and 3 slots.
    let (ends, slots, n_slots) = (vec![5u32, 9, 60], vec![0u32, 2, 3, 6], 6);
    for (n_rows, n_alphas, n_voxels) in
        [(1usize, 1usize, 1), (17, 8, 33), (50, 9, 513), (16, 20, 131)]
    {
        let first_row = 3;
        let padded = n_alphas.next_multiple_of(PATH_ALPHAS);
        let mut images = random(23, n_rows * n_slots * n_voxels);
        let first_slot = |row: usize| match row + first_row {
            0..5 => 0,
            5..9 => 2,
            _ => 3,
        };
        // What is not there must not be seen.
        for row in 0..n_rows {
            for slot in 0..first_slot(row) {
                images[(row * n_slots + slot) * n_voxels..][..n_voxels].fill(f32::NAN);
            }
        }
        let mut coefs = vec![0f32; n_slots * padded];
        let values = random(24, n_slots * n_alphas);
        for slot in 0..n_slots {
            coefs[slot * padded..][..n_alphas]
                .copy_from_slice(&values[slot * n_alphas..][..n_alphas]);
        }
        let chunks = n_square_chunks(n_rows);
        let n = n_alphas * n_voxels;
        let mut squares = empty::<f32>(&lane, chunks * n);
        let on_card = up(&lane, &images);
        let piece = Squares { first_row, n_rows, n_slots, n_alphas, n_voxels };
        path_squares(
            &lane,
            &on_card.all(),
            &up(&lane, &coefs).all(),
            (&up(&lane, &ends).all(), &up(&lane, &slots).all()),
            &mut squares.first_mut(chunks * n),
            piece,
        )
        .unwrap();
        let mut totals = up(&lane, &vec![1f64; n]);
        let out = &mut totals.first_mut(n);
        add_squares(&lane, &squares.all(), out, (n_rows, n_alphas, n_voxels)).unwrap();
        let expected: Vec<f64> = (0..n)
            .map(|i| {
                let (a, v) = (i / n_voxels, i % n_voxels);
                let row_square = |row: usize| {
                    let combined: f64 = (first_slot(row)..n_slots)
                        .map(|s| {
                            let image = images[(row * n_slots + s) * n_voxels + v];
                            f64::from(coefs[s * padded + a]) * f64::from(image)
                        })
                        .sum();
                    combined * combined
                };
                1.0 + (0..n_rows).map(row_square).sum::<f64>()
            })
            .collect();
        near(&down(&lane, &totals, n), &expected, |i| 64.0 * EPS32 * expected[i]);

        // Slots that are the path itself.
        let images = random(25, n_rows * n_alphas * n_voxels);
        let out = &mut squares.first_mut(chunks * n);
        row_squares(&lane, &up(&lane, &images).all(), out, (n_rows, n_alphas, n_voxels)).unwrap();
        let mut totals = up(&lane, &vec![0f64; n]);
        let out = &mut totals.first_mut(n);
        add_squares(&lane, &squares.all(), out, (n_rows, n_alphas, n_voxels)).unwrap();
        let expected: Vec<f64> = (0..n)
            .map(|i| {
                let image =
                    |row: usize| images[(row * n_alphas + i / n_voxels) * n_voxels + i % n_voxels];
                (0..n_rows).map(|row| f64::from(image(row)).powi(2)).sum()
            })
            .collect();
        near(&down(&lane, &totals, n), &expected, |i| 32.0 * EPS32 * expected[i].max(1e-9));
    }
}

#[test]
fn scores_and_choices_follow_the_tie_rule() {
    let Some(lane) = lane() else { return };
    let (n_alphas, n_folds) = (5, 2);
    for (width, first, n) in [(1, 0, 1), (33, 0, 33), (131, 100, 31)] {
        let numerators = random(26, n_alphas * width);
        let offsets = random(27, n_alphas * width);
        let mut totals: Vec<f64> =
            random(28, n_alphas * n).iter().map(|&x| f64::from(x) + 1.5).collect();
        totals[0] = 0.0;
        let norm_squares = [1.0, 0.5, 2.0, 0.1, 3.0];
        let mut val_square: Vec<f64> =
            random(29, width).iter().map(|&x| f64::from(x) + 2.0).collect();
        val_square[width - 1] = 0.0;
        let delta = wide(&random(30, width));
        for is_r2 in [false, true] {
            let mut sums = up(&lane, &vec![0.25f64; n_alphas * width]);
            let (numerators_on, offsets_on) = (up(&lane, &numerators), up(&lane, &offsets));
            let (totals_on, norms_on) = (up(&lane, &totals), up(&lane, &norm_squares));
            let (square_on, delta_on) = (up(&lane, &val_square), up(&lane, &delta));
            let from = BlockScores {
                numerators: &numerators_on.all(),
                offsets: &offsets_on.all(),
                totals: &totals_on.all(),
                norm_squares: &norms_on.all(),
                val_square: &square_on.all(),
                delta: &delta_on.all(),
                n_val: 7.0,
                is_r2,
            };
            let out = &mut sums.first_mut(n_alphas * width);
            add_scores(&lane, from, out, n_alphas, (first, n), width).unwrap();
            let expected: Vec<f64> = (0..n_alphas * width)
                .map(|i| {
                    let (a, v) = (i / width, i % width);
                    if !(first..first + n).contains(&v) {
                        return 0.25;
                    }
                    let square = norm_squares[a] * totals[a * n + v - first];
                    let numerator = f64::from(numerators[i]);
                    let score = match (is_r2, val_square[v]) {
                        (_, 0.0) => 0.0,
                        (false, _) if square == 0.0 => 0.0,
                        (false, variation) => numerator / (square * variation).sqrt(),
                        (true, variation) => {
                            let shift = delta[v] - f64::from(offsets[i]);
                            1.0 - (variation - 2.0 * numerator + square + 7.0 * shift * shift)
                                / variation
                        }
                    };
                    0.25 + score
                })
                .collect();
            near(&down(&lane, &sums, n_alphas * width), &expected, |i| {
                32.0 * EPS64 * expected[i].abs().max(10.0)
            });
        }
    }
    // Two equal best scores, a tolerance, voxels scored in one fold of two, and dead ones.
    let width = 129;
    let steps = [0.2, 0.6, 0.6, 0.5, -0.1];
    let sums: Vec<f64> =
        (0..n_alphas * width).map(|i| steps[(i / width + i % width) % n_alphas]).collect();
    let flags: Vec<u8> =
        (0..width).map(|v| if v % 10 == 9 { [0, 3, 1][v % 3] } else { 2 }).collect();
    let val_square: Vec<f64> = (0..n_folds * width)
        .map(|i| if i % width == 7 || i == width + 3 { 0.0 } else { 1.0 })
        .collect();
    for tolerance in [0.0, 0.2, 0.9] {
        let mut cv = empty::<f32>(&lane, n_alphas * width);
        let mut best = empty::<i32>(&lane, width);
        select_alpha(
            &lane,
            &up(&lane, &sums).all(),
            &up(&lane, &val_square).all(),
            &up(&lane, &flags).all(),
            &mut cv.first_mut(n_alphas * width),
            &mut best.first_mut(width),
            tolerance,
            (n_alphas, n_folds, width),
        )
        .unwrap();
        let (cv, best) = (down(&lane, &cv, n_alphas * width), down(&lane, &best, width));
        for v in 0..width {
            let n_scored: f64 =
                (0..n_folds).map(|k| f64::from(u8::from(val_square[k * width + v] > 0.0))).sum();
            let is_dead = flags[v] != 2 || n_scored == 0.0;
            let scores: Vec<f32> = (0..n_alphas)
                .map(|a| if is_dead { f32::NAN } else { (sums[a * width + v] / n_scored) as f32 })
                .collect();
            let found: Vec<f32> = (0..n_alphas).map(|a| cv[a * width + v]).collect();
            assert!(
                scores
                    .iter()
                    .zip(&found)
                    .all(|(s, f)| s.to_bits() == f.to_bits() || s.is_nan() && f.is_nan())
            );
            let expected = best_index(scores.into_iter(), tolerance);
            assert_eq!(usize::try_from(best[v]).ok(), expected, "{v} {tolerance}");
        }
    }
}

#[test]
fn weights_shrink_and_intercepts_follow() {
    let Some(lane) = lane() else { return };
    for width in WIDTHS {
        let m = 6;
        let z = random(31, m * width);
        let eigvals: Vec<f64> = (0..m).map(|i| 10f64.powi(i as i32 - 3)).collect();
        let alphas = [0.1, 10.0];
        let best: Vec<i32> = (0..width).map(|v| v as i32 % 3 - 1).collect();
        let mut on_card = up(&lane, &z);
        let (best_on, alphas_on) = (up(&lane, &best), up(&lane, &alphas));
        let out = &mut on_card.first_mut(m * width);
        let eigvals_on = up(&lane, &eigvals);
        shrink(&lane, out, &eigvals_on.all(), &alphas_on.all(), &best_on.all(), (m, width))
            .unwrap();
        let expected: Vec<f64> = (0..m * width)
            .map(|i| match best[i % width] {
                -1 => 0.0,
                index => f64::from(z[i]) / (eigvals[i / width] + alphas[index as usize]),
            })
            .collect();
        near(&wide(&down(&lane, &on_card, m * width)), &expected, |i| EPS32 * expected[i].abs());

        let coef = random(32, m * width);
        let (x_means, means, shift) =
            (wide(&random(33, m)), wide(&random(34, width)), random(35, width));
        let coef_on = up(&lane, &coef);
        for (with_coef, fit) in [(true, true), (false, true), (true, false)] {
            let mut intercept = empty::<f32>(&lane, width);
            intercepts(
                &lane,
                with_coef.then(|| coef_on.all()).as_ref(),
                &up(&lane, &x_means).all(),
                (&up(&lane, &means).all(), &up(&lane, &shift).all()),
                &best_on.all(),
                &mut intercept.first_mut(width),
                fit,
                width,
            )
            .unwrap();
            let expected: Vec<f64> = (0..width)
                .map(|v| {
                    let offset = (0..m).map(|i| x_means[i] * f64::from(coef[i * width + v]));
                    let offset: f64 = if with_coef { offset.sum() } else { 0.0 };
                    let live = fit && best[v] >= 0;
                    if live { f64::from(shift[v]) + means[v] - offset } else { 0.0 }
                })
                .collect();
            near(&wide(&down(&lane, &intercept, width)), &expected, |_| EPS32 * 8.0);
        }
    }
}

#[test]
fn correlations_within_blocks_and_over_all() {
    let Some(lane) = lane() else { return };
    for width in WIDTHS {
        let flags: Vec<u8> = (0..width).map(|v| if v == 5 { 0 } else { 2 }).collect();
        let flags_on = up(&lane, &flags);
        let mut totals = up(&lane, &vec![0f64; 5 * width]);
        let mut sums = vec![[0f64; 5]; width];
        let mut n_total = 0;
        for (block, n_rows) in [1, 2, 70, 131].into_iter().enumerate() {
            let (pred, mut bold) = (
                random(36 + block as u64, n_rows * width),
                random(40 + block as u64, n_rows * width),
            );
            // A constant voxel, and one that is not finite in the third block.
            (0..n_rows).for_each(|t| bold[t * width] = 0.5);
            let chunks = n_chunks(n_rows);
            let mut part_flags = vec![2u8; chunks * width];
            let bad = width / 2;
            if block == 2 && width > 2 {
                part_flags[(chunks - 1) * width + bad] = 3;
            }
            let mut part = empty::<f64>(&lane, chunks * 5 * width);
            let mut block_r = empty::<f32>(&lane, width);
            let all = chunks * 5 * width;
            let (on_card, on_card_y) = (up(&lane, &pred), up(&lane, &bold));
            let out = &mut part.first_mut(all);
            pearson_sums(&lane, &on_card.all(), &on_card_y.all(), out, (n_rows, width)).unwrap();
            pearson_block(
                &lane,
                &part.all(),
                &flags_on.all(),
                &up(&lane, &part_flags).all(),
                &mut block_r.first_mut(width),
                &mut totals.first_mut(5 * width),
                (n_rows, n_rows, width),
            )
            .unwrap();
            n_total += n_rows;
            let mut expected = Vec::new();
            for v in 0..width {
                let mut s = [0f64; 5];
                for t in 0..n_rows {
                    let (p, y) = (f64::from(pred[t * width + v]), f64::from(bold[t * width + v]));
                    [p, p * p, y, y * y, p * y].iter().zip(&mut s).for_each(|(x, s)| *s += x);
                }
                let is_bad = v == 5 || block == 2 && width > 2 && v == bad;
                let r = pearson_from_sums(n_rows as f64, s[0], s[1], s[2], s[3], s[4]);
                expected.push(if is_bad { f64::NAN } else { r });
                let nan = |x: f64| if is_bad { f64::NAN } else { x };
                sums[v].iter_mut().zip(s).for_each(|(sum, s)| *sum += nan(s));
            }
            near(&wide(&down(&lane, &block_r, width)), &expected, |_| 4.0 * EPS32);
        }
        let mut r = empty::<f32>(&lane, width);
        let n = n_total as f64;
        pearson_total(&lane, &totals.all(), &mut r.first_mut(width), n, width).unwrap();
        let expected: Vec<f64> =
            sums.iter().map(|s| pearson_from_sums(n, s[0], s[1], s[2], s[3], s[4])).collect();
        near(&wide(&down(&lane, &r, width)), &expected, |_| 4.0 * EPS32);
    }
}
