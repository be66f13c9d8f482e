//! Word rows to TR rows.

use std::f64::consts::PI;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use ndarray::Array2;
use voxelcast::design::lanczos::{Lanczos, resample};

use crate::data::{assert_near, id};

pub fn bench(criterion: &mut Criterion) {
    let (n_words, n_trs, n_features) = (6000, 1000, 300);
    let rows = Array2::from_shape_fn((n_words, n_features), |(i, f)| {
        ((i * 37 + f * 61) % 101) as f32 / 50.0 - 1.0
    });
    let words: Vec<f64> = (0..n_words).map(|i| i as f64 / 3.0 + (i % 7) as f64 / 40.0).collect();
    let trs: Vec<f64> = (0..n_trs).map(|t| 2.0 * t as f64).collect();
    let lanczos = Lanczos::default();

    let found = resample(rows.view(), &words, &trs, &lanczos).expect("valid times");
    for tr in [0, 1, 499, n_trs - 1] {
        for feature in [0, 7, n_features - 1] {
            let weight = |word: f64| match (trs[tr] - word) / 2.0 {
                0.0 => 1.0,
                t if t.abs() > 3.0 => 0.0,
                t => 3.0 * (PI * t).sin() * (PI * t / 3.0).sin() / (PI * t).powi(2),
            };
            let terms = words.iter().enumerate();
            let expected: f64 =
                terms.map(|(i, &word)| weight(word) * f64::from(rows[(i, feature)])).sum();
            assert_near(found[(tr, feature)], expected, 1.0, 1e-12);
        }
    }

    let mut group = criterion.benchmark_group("lanczos");
    group.throughput(Throughput::Bytes(rows.len() as u64 * 4));
    group.bench_function(id(n_trs, n_features, n_words), |bencher| {
        bencher.iter(|| resample(black_box(rows.view()), &words, &trs, &lanczos));
    });
}
