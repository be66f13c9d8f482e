//! A voxel tile from BOLD to scores and weights.

use criterion::{Criterion, Throughput};
use voxelcast::backend::cpu::CpuEngine;
use voxelcast::backend::{Engine, PathSettings};
use voxelcast::ridge::{AlphaGrid, ModelSpec, Route, prepare};

use crate::data::{assert_near, problem, shared_id};

pub fn bench(criterion: &mut Criterion) {
    let data = problem();
    let sizes = data.problem;
    let (space, blocks) = (data.space(), data.blocks());
    let spec = ModelSpec {
        space: 0,
        delays: space.delays.clone(),
        route: Route::Gram,
        wants_coef: true,
        bands: None,
    };
    let alphas = AlphaGrid::logspace(0.0, 6.0, sizes.n_alphas).expect("a grid");
    let settings = PathSettings::new(alphas.values().to_vec());
    let (loaded, _) = prepare(vec![space], &[spec], blocks, vec![], sizes.n_folds, settings)
        .expect("it converges");
    let mut engine = CpuEngine::new(&loaded);
    let rows = |rows: &std::ops::Range<usize>| {
        data.y.slice(ndarray::s![rows.clone(), ..]).iter().copied().collect()
    };
    let bold: Vec<Vec<f32>> = data.stories.iter().map(rows).collect();
    let mut solve = || {
        engine.begin(sizes.n_voxels).expect("a tile");
        for (block, rows) in bold.iter().enumerate() {
            engine.add_train(block, rows).expect("it fits");
        }
        engine.solve().expect("it converges")[0].clone()
    };

    // At the minimum Xᵀ(y − Xw − intercept) = alpha w, and the residual has mean 0.
    let found = solve();
    let n_voxels = sizes.n_voxels;
    for voxel in [0, 511, n_voxels - 1] {
        let alpha = alphas.values()[found.best[voxel].expect("the voxel varies")];
        let weight = |f: usize| f64::from(found.coef[f * n_voxels + voxel]);
        let intercept = f64::from(found.intercept[voxel]);
        let residual: Vec<f64> = (data.x.rows().into_iter().zip(data.y.column(voxel)))
            .map(|(x, &y)| {
                let pred: f64 = x.iter().enumerate().map(|(f, &x)| f64::from(x) * weight(f)).sum();
                f64::from(y) - pred - intercept
            })
            .collect();
        let size = residual.iter().map(|r| r * r).sum::<f64>().sqrt();
        assert_near(residual.iter().sum(), 0.0, size, 1e-3);
        for feature in [0, 63, 64, 255] {
            let column = data.x.column(feature);
            let product: f64 = column.iter().zip(&residual).map(|(&x, r)| f64::from(x) * r).sum();
            let norm = column.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            assert_near(product, alpha * weight(feature), norm * size, 1e-4);
        }
    }

    let mut group = criterion.benchmark_group("tile");
    group.throughput(Throughput::Elements(n_voxels as u64));
    group.bench_function(shared_id(), |bencher| bencher.iter(&mut solve));
}
