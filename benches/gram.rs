//! Moments of every fold from lag blocks.

use criterion::{Criterion, Throughput};
use faer::Par;
use voxelcast::ridge::gram::fold_moments;

use crate::data::{assert_near, problem, shared_id};

pub fn bench(criterion: &mut Criterion) {
    let data = problem();
    let (space, blocks, n_folds) = (data.space(), data.blocks(), data.problem.n_folds);
    let moments = || fold_moments(&space, &blocks, n_folds, Par::rayon(0));

    let found = moments();
    let column = |c: usize| data.x.column(c).iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    for (i, j) in [(0, 0), (3, 70), (70, 3), (255, 64), (128, 255)] {
        let expected: f64 = column(i).iter().zip(column(j)).map(|(a, b)| a * b).sum();
        let sum: f64 = found.iter().map(|fold| fold.gram[(i, j)]).sum();
        assert_near(sum, expected, 1.0, 1e-9);
    }

    let (n, d) = (data.problem.n_trs, space.n_features);
    let flop = n * d * d * (2 * space.delays.len() - 1);
    let mut group = criterion.benchmark_group("gram");
    group.throughput(Throughput::Elements(flop as u64));
    group.bench_function(shared_id(), |bencher| bencher.iter(moments));
}
