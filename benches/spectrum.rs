//! Eigenproblem and triangular factor of one fold.

use criterion::{Criterion, Throughput};
use faer::Par;
use voxelcast::backend::PathSettings;
use voxelcast::ridge::gram::{fold_moments, moments};
use voxelcast::ridge::spectrum::{components, primal_rotation};

use crate::data::{assert_near, problem, shared_id};

pub fn bench(criterion: &mut Criterion) {
    let data = problem();
    let space = data.space();
    let folds = fold_moments(&space, &data.blocks(), data.problem.n_folds, Par::Seq);
    let designs: Vec<_> = space.train.iter().collect();
    let all = moments(&designs, space.n_features, &space.delays, Par::Seq);
    let settings = PathSettings::new(vec![1.0]);
    let rotate = || {
        primal_rotation(all.view(), folds[0].view(), None, &components, &settings, Par::Seq)
            .expect("it converges")
    };

    let (rotation, _) = rotate();
    let n_train = (all.n_rows - folds[0].n_rows) as f64;
    let trace: f64 = (0..all.sums.len())
        .map(|i| {
            let sum = all.sums[i] - folds[0].sums[i];
            all.gram[(i, i)] - folds[0].gram[(i, i)] - sum * sum / n_train
        })
        .sum();
    assert_near(rotation.eigvals.iter().sum(), trace, 1.0, 1e-10);
    let largest = rotation.factor_norms.iter().fold(0.0_f64, |a, &b| a.max(b));
    for (j, norm) in rotation.factor_norms.iter().enumerate() {
        let square: f64 = (0..=j).map(|i| f64::from(rotation.factor.get(i, j)).powi(2)).sum();
        assert_near(square.sqrt(), *norm, largest, 1e-5);
    }

    let p = data.problem.n_features as f64;
    let mut group = criterion.benchmark_group("spectrum");
    group.throughput(Throughput::Elements(((9.0 + 4.0 + 1.0 / 3.0) * p.powi(3)) as u64));
    group.bench_function(shared_id(), |bencher| bencher.iter(rotate));
}
