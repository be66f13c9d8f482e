//! The permutation test on BOLD whose truth is known: chance alone, and planted voxels.

use ndarray::Array2;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use voxelcast::backend::cpu::CpuEngine;
use voxelcast::backend::{Block, Engine, PathSettings, Permutations, Space};
use voxelcast::matrix::StoryDesign;
use voxelcast::ridge::{ModelSpec, Route, prepare};
use voxelcast::scoring::significance::p_value;

use super::naive::kolmogorov_smirnov;
use super::workbench::{normal, seeded};

const N_TRAIN: usize = 400;
const N_TEST: usize = 607;
const N_PERMUTATIONS: usize = 1000;

/// A stationary AR(1) series of variance 1.
fn ar1(rng: &mut ChaCha8Rng, n: usize, phi: f64) -> Vec<f64> {
    let mut x: f64 = rng.sample(StandardNormal);
    (0..n)
        .map(|_| {
            let now = x;
            x = phi * x + (1.0 - phi * phi).sqrt() * rng.sample::<f64, _>(StandardNormal);
            now
        })
        .collect()
}

/// p-values of every voxel: a model of these features, trained on the first rows.
fn p_values(x: &Array2<f32>, y: &Array2<f32>, block_trs: usize) -> Vec<f64> {
    let rows = |m: &Array2<f32>, range: std::ops::Range<usize>| {
        m.slice(ndarray::s![range, ..]).as_standard_layout().into_owned()
    };
    let half = N_TRAIN / 2;
    let design = |range| StoryDesign::Dense(rows(x, range));
    let space = Space {
        delays: vec![0],
        n_features: x.ncols(),
        train: vec![design(0..half), design(half..N_TRAIN)],
        test: vec![design(N_TRAIN..N_TRAIN + N_TEST)],
        ..Space::default()
    };
    let spec = ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: false };
    let blocks = vec![Block { fold: 0, n_rows: half }, Block { fold: 1, n_rows: half }];
    let settings = PathSettings::new(vec![1.0, 100.0]);
    let (mut problem, _) =
        prepare(vec![space], &[spec], blocks, vec![N_TEST], 2, settings).expect("it converges");
    problem.permutations = Some(Permutations::new(N_TEST, block_trs, N_PERMUTATIONS, 9));
    let mut engine = CpuEngine::new(&problem);
    let bold = |range| rows(y, range).into_raw_vec_and_offset().0;
    engine.begin(y.ncols()).expect("it starts");
    engine.add_train(0, &bold(0..half)).expect("added");
    engine.add_train(1, &bold(half..N_TRAIN)).expect("added");
    engine.solve().expect("solved");
    engine.add_test(0, &bold(N_TRAIN..N_TRAIN + N_TEST), None).expect("added");
    let (_, tests) = engine.results().expect("there");
    let counts = tests[0].correlation.iter().zip(&tests[0].n_at_least);
    counts.map(|(&r, &n)| p_value(r, n, N_PERMUTATIONS)).collect()
}

/// Distance of a discrete uniform distribution from the continuous one, and the 1 % point of the
/// Kolmogorov–Smirnov distance of `n` values.
fn critical(n: usize) -> f64 {
    1.0 / (N_PERMUTATIONS as f64 + 1.0) + 1.628 / (n as f64).sqrt()
}

#[test]
fn chance_alone_gives_uniform_p_values() {
    let n_voxels = 3000;
    for (seed, block_trs) in [(51, 10), (52, 1), (53, 60)] {
        let rng = &mut seeded(seed);
        let x = normal(rng, N_TRAIN + N_TEST, 5);
        let y = normal(rng, N_TRAIN + N_TEST, n_voxels);
        let p = p_values(&x, &y, block_trs);
        let distance = kolmogorov_smirnov(&p);
        println!("blocks of {block_trs}: distance {distance:.4}, {:.4} at 1 %", critical(n_voxels));
        assert!(distance < critical(n_voxels), "blocks of {block_trs}: {distance}");
    }
}

/// Voxels share one feature, so that the prediction is the feature itself, up to a scale: r of a
/// voxel is that of feature and BOLD. Both are AR(1), as language features and BOLD are.
fn planted(seed: u64, r: f64, phi: (f64, f64), n_voxels: usize) -> (Array2<f32>, Array2<f32>) {
    let rng = &mut seeded(seed);
    let n = N_TRAIN + N_TEST;
    // A voxel's own feature would need a model of its own; one feature a study is enough.
    let feature = ar1(rng, n, phi.0);
    let mut y = Array2::zeros((n, n_voxels));
    for mut voxel in y.columns_mut() {
        let noise = ar1(rng, n, phi.1);
        for ((y, x), e) in voxel.iter_mut().zip(&feature).zip(noise) {
            *y = (r * x + (1.0 - r * r).sqrt() * e) as f32;
        }
    }
    (Array2::from_shape_fn((n, 1), |(t, _)| feature[t] as f32), y)
}

/// Upper tail of the standard normal distribution at `z`, by integration.
fn upper_tail(z: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let step = 1e-3;
    (0..((12.0 - z) / step) as usize).map(|i| step * density(z + (i as f64 + 0.5) * step)).sum()
}

#[test]
fn planted_voxels_are_found_at_the_power_that_their_r_predicts() {
    // At an uncorrected p of 0.05. The spread of r under chance is √((1 + φφ')/(1 − φφ')/n);
    // around a planted r it is smaller by 1 − r² or so. A prediction may come out with the wrong
    // sign where the training data say so: a planted r of 0.1 and more is learned from 400 rows.
    let (phi, n_voxels, n_studies) = ((0.8f64, 0.4f64), 100, 12);
    let inflation = ((1.0 + phi.0 * phi.1) / (1.0 - phi.0 * phi.1)).sqrt();
    let sd = inflation / (N_TEST as f64).sqrt();
    for r in [0.1, 0.15, 0.2, 0.3] {
        let found: usize = (0..n_studies)
            .map(|study| {
                let (x, y) = planted(60 + study, r, phi, n_voxels);
                p_values(&x, &y, 20).iter().filter(|&&p| p <= 0.05).count()
            })
            .sum();
        let n = (n_voxels as u64 * n_studies) as f64;
        let share = found as f64 / n;
        // Learned with the right sign.
        let sign = 1.0 - upper_tail(r / (inflation / (N_TRAIN as f64).sqrt()));
        let power = sign * upper_tail((1.645 * sd - r) / (sd * (1.0 - r * r)));
        println!("planted r {r}: found {share:.3}, predicted {power:.3}");
        // Voxels of one study share the feature, whose own variance over the test rows moves r by
        // a few percent: 4 binomial standard deviations of half as many voxels, and 0.02.
        let bound = 4.0 * (power * (1.0 - power) / (n / 2.0)).sqrt() + 0.02;
        assert!((share - power).abs() < bound, "r {r}: {share} {power} ± {bound}");
    }
}
