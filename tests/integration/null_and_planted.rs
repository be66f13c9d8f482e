//! The permutation test on BOLD whose truth is known: chance alone, and planted voxels.

use std::path::Path;

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
use super::workbench::{normal, read_vector, seeded};

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
    let spec =
        ModelSpec { space: 0, delays: vec![0], route: Route::Gram, wants_coef: false, bands: None };
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

/// The z that a share `p` of the standard normal distribution exceeds.
fn upper_quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..40 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > p { low = middle } else { high = middle }
    }
    low
}

/// The demo's folder: the share of planted voxels with small p-values is what the simulation's own
/// numbers predict, and noise voxels keep to the level.
///
/// A voxel was planted with r (`asked_r`). A model of p columns on n rows learns its signal up to
/// a = √(n s/(n s + p)), s = r²/(1 − r²), and is tested at a · r. Under chance r has the standard
/// deviation of two AR(1) series, √((1 + φφ')/(1 − φφ')/n_test): φ = 0.8 for a prediction (an HRF's),
/// φ' that of signal and noise (0.3) in their shares.
pub fn demo_finds_what_was_planted(out: &Path) {
    const N_VOXELS: usize = 3000;
    const COLUMNS: f64 = 4.0 * 32.0;
    let run = std::fs::read_to_string(out.join("run.json")).expect("it is there");
    let run: serde_json::Value = serde_json::from_str(&run).expect("JSON");
    let n = |name: &str| run[name].as_f64().expect("a number");
    let (n_train, n_test) = (n("n_train_trs"), n("n_test_trs"));
    // The normal distribution once: steps of 0.01.
    let tail: Vec<f64> = (0..=1600).map(|i| upper_tail(f64::from(i) / 100.0 - 8.0)).collect();
    let tail = |z: f64| tail[((z.clamp(-8.0, 8.0) + 8.0) * 100.0).round() as usize];
    let mut table = csv::Reader::from_path(out.join("significance.csv")).expect("it is there");
    let rows: Vec<std::collections::HashMap<String, String>> =
        table.deserialize().map(|row| row.expect("it is a table")).collect();
    for subject in ["subject1", "subject2"] {
        let truth = out.join("data/truth").join(subject);
        let asked = read_vector(&truth.join("asked_r.npy"), N_VOXELS);
        let is_noise = read_vector(&truth.join("is_noise.npy"), N_VOXELS);
        // A later response outlasts the model's delays, an edge is neither signal nor AR(1).
        let [is_late, has_edge] =
            ["is_late.npy", "has_edge.npy"].map(|name| read_vector(&truth.join(name), N_VOXELS));
        let is_usual = |v: &usize| is_late[*v] == 0.0 && has_edge[*v] == 0.0;
        let model = out.join("models").join(subject).join("glove-lagged");
        let p = read_vector(&model.join("p_values.npy"), N_VOXELS);
        let significant = read_vector(&model.join("significant.npy"), N_VOXELS);
        let row = rows.iter().find(|row| {
            row["subject"] == subject && row["space"] == "glove" && row["lagged"] == "true"
        });
        let threshold: f64 =
            row.expect("the model is listed")["p_threshold"].parse().expect("a number");
        let (noise_voxels, signal_voxels): (Vec<usize>, Vec<usize>) =
            (0..N_VOXELS).filter(is_usual).partition(|&v| is_noise[v] != 0.0);
        for level in [0.05, threshold, 0.01] {
            let z = upper_quantile(level);
            let share = |voxels: &[usize]| {
                let n_found = voxels.iter().filter(|&&v| p[v] <= level).count();
                (n_found as f64 / voxels.len() as f64, voxels.len() as f64)
            };
            let power = |&v: &usize| {
                let square = asked[v] * asked[v];
                let information = n_train * square / (1.0 - square);
                let r = asked[v] * (information / (information + COLUMNS)).sqrt();
                let product = 0.8 * (0.8 * square + 0.3 * (1.0 - square));
                let sd = ((1.0 + product) / (1.0 - product) / n_test).sqrt();
                tail((z * sd - r) / (sd * (1.0 - r * r)))
            };
            let (found, n_signal) = share(&signal_voxels);
            let predicted = signal_voxels.iter().map(power).sum::<f64>() / n_signal;
            // Neighbours share most of their tuning, and all voxels the test stories: 3 binomial
            // standard deviations of half as many voxels, and 0.02 for the formula.
            let bound = 3.0 * (predicted * (1.0 - predicted) / (n_signal / 2.0)).sqrt() + 0.02;
            assert!((found - predicted).abs() < bound, "{subject} {level}: {found} {predicted}");
            let (alarms, n_noise) = share(&noise_voxels);
            let bound = 3.0 * (level * (1.0 - level) / n_noise).sqrt() + 0.005;
            assert!((alarms - level).abs() < bound, "{subject} {level}: {alarms} of noise voxels");
        }
        for v in 0..N_VOXELS {
            assert_eq!(significant[v] != 0.0, p[v] <= threshold, "{subject} voxel {v}");
        }
    }
}
