//! One fold's path over the alphas: the alpha basis, and the scores of a block of voxels.

use criterion::{Criterion, Throughput};
use faer::Par;
use pulp::Arch;
use voxelcast::backend::basis::alpha_basis;
use voxelcast::backend::cpu::gemm::{Rows, gemm};
use voxelcast::backend::cpu::path::{FoldBold, PathScratch, add_fold_scores};
use voxelcast::backend::cpu::xty::add_xty;
use voxelcast::backend::{PathSettings, Rotate};
use voxelcast::ridge::AlphaGrid;
use voxelcast::ridge::gram::{fold_moments, moments};
use voxelcast::ridge::spectrum::primal_rotation;

use crate::data::{assert_near, id, problem};

pub fn bench(criterion: &mut Criterion) {
    let (data, arch) = (problem(), Arch::new());
    let (space, blocks) = (data.space(), data.blocks());
    let (n_folds, n_alphas) = (data.problem.n_folds, data.problem.n_alphas);
    let folds = fold_moments(&space, &blocks, n_folds, Par::Seq);
    let designs: Vec<_> = space.train.iter().collect();
    let all = moments(&designs, space.n_features, &space.delays, Par::Seq);
    let (rotation, _) = primal_rotation(&all, &folds[0], true, Par::Seq).expect("it converges");
    let alphas = AlphaGrid::logspace(0.0, 6.0, n_alphas).expect("a grid");
    let settings = PathSettings::new(alphas.values().to_vec());

    // z and t of the first block of voxels; centring does not change what this costs.
    let (p, m, width) = (data.problem.n_features, rotation.n_components, settings.block_voxels);
    let (mut train, mut val) = (vec![0f32; p * width], vec![0f32; p * width]);
    for ((design, block), rows) in space.train.iter().zip(&blocks).zip(&data.stories) {
        let bold = data.y.slice(ndarray::s![rows.clone(), ..width]);
        let bold: Vec<f32> = bold.iter().copied().collect();
        let out = if block.fold == 0 { &mut val } else { &mut train };
        add_xty(design, &space.delays, &bold, width, out, arch);
    }
    let Rotate::Primal { q, .. } = &rotation.rotate else { panic!("a primal rotation") };
    let rotate = |xty: &[f32]| {
        let mut out = vec![0f32; m * width];
        let shape = (m, width, width);
        gemm(&mut out, shape, false, Rows::new(q, p, m).t(), Rows::new(xty, p, width));
        out
    };
    let (z, t) = (rotate(&train), rotate(&val));
    let norm = |row: &[f32]| row.iter().map(|&z| f64::from(z).powi(2)).sum::<f64>().sqrt();
    let weights: Vec<f64> =
        z.chunks_exact(width).zip(&rotation.factor_norms).map(|(z, f)| f * norm(z)).collect();
    let basis_at = |tolerance: f64| {
        alpha_basis(&rotation.eigvals, &weights, alphas.values(), tolerance).expect("it converges")
    };
    let (val_square, delta) = (vec![folds[0].n_rows as f64; width], vec![0.0; width]);
    let mut scratch = PathScratch::default();
    let mut scores = |basis: &_, sums: &mut Vec<f64>| {
        sums.clear();
        sums.resize(n_alphas * width, 0.0);
        let bold = FoldBold { val_square: &val_square, delta: &delta };
        add_fold_scores(&rotation, basis, &settings, &z, &t, width, bold, &mut scratch, sums, arch);
    };

    let basis = basis_at(settings.basis_tolerance);
    let (mut found, mut exact) = (Vec::new(), Vec::new());
    scores(&basis, &mut found);
    scores(&basis_at(0.0), &mut exact);
    for (&found, &exact) in found.iter().zip(&exact) {
        assert_near(found, exact, 1.0, 1e-4);
    }

    let shared = id(data.problem.n_trs, p, width);
    let mut group = criterion.benchmark_group("basis");
    group.throughput(Throughput::Elements((m * n_alphas) as u64));
    group.bench_function(&shared, |bencher| bencher.iter(|| basis_at(settings.basis_tolerance)));
    group.finish();
    let (r, m) = (basis.rank, m);
    let flop = width * (r * m * m + r * (r + 1) * (m + n_alphas) + 2 * n_alphas * m);
    let mut group = criterion.benchmark_group("path");
    group.throughput(Throughput::Elements(flop as u64));
    group.bench_function(&shared, |bencher| bencher.iter(|| scores(&basis, &mut found)));
}
