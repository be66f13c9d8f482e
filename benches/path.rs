//! One fold's path over the alphas: the alpha basis, and the scores of a block of voxels.

use criterion::{Criterion, Throughput};
use faer::Par;
use pulp::Arch;
use voxelcast::backend::basis::{AlphaBasis, Form};
use voxelcast::backend::cpu::path::{FoldBold, PathScratch, add_fold_scores};
use voxelcast::backend::cpu::xty::{add_xty, pack};
use voxelcast::backend::rotation::FoldPath;
use voxelcast::backend::{PathSettings, Rotate};
use voxelcast::product::multiply::multiply_panels;
use voxelcast::product::packed::Packed;
use voxelcast::product::panels::{PANEL, PanelRow, PanelRows, n_panels};
use voxelcast::ridge::AlphaGrid;
use voxelcast::ridge::gram::{fold_moments, moments};
use voxelcast::ridge::spectrum::{components, primal_rotation};

use crate::data::{assert_near, id, problem, to_panels};

pub fn bench(criterion: &mut Criterion) {
    let (data, arch) = (problem(), Arch::new());
    let (space, blocks) = (data.space(), data.blocks());
    let (n_folds, n_alphas) = (data.problem.n_folds, data.problem.n_alphas);
    let folds = fold_moments(&space, &blocks, n_folds, Par::Seq);
    let designs: Vec<_> = space.train.iter().collect();
    let all = moments(&designs, space.n_features, &space.delays, Par::Seq);
    let alphas = AlphaGrid::logspace(0.0, 6.0, n_alphas).expect("a grid");
    let settings = PathSettings::new(alphas.values().to_vec());
    let (rotation, _) =
        primal_rotation(all.view(), folds[0].view(), None, &components, &settings, Par::Seq)
            .expect("it converges");

    // z and t of the first block of voxels; centring does not change what this costs.
    let (p, m, width) = (data.problem.n_features, rotation.n_components, settings.block_voxels);
    let panels = n_panels(width);
    let (mut train, mut val) = (vec![[0f32; PANEL]; panels * p], vec![[0f32; PANEL]; panels * p]);
    let mut packed = Packed::default();
    for ((design, block), rows) in space.train.iter().zip(&blocks).zip(&data.stories) {
        let bold = to_panels(data.y.slice(ndarray::s![rows.clone(), ..width]));
        let out = if block.fold == 0 { &mut val } else { &mut train };
        let bold = PanelRows::whole(&bold, block.n_rows);
        pack(design, data.problem.n_trs, &mut packed, arch);
        add_xty(design, &packed, &space.delays, bold, out, arch);
    }
    let Rotate::Primal { q, .. } = &rotation.rotate else { panic!("a primal rotation") };
    let rotate = |xty: &[PanelRow]| {
        let mut out = vec![[0f32; PANEL]; panels * m];
        multiply_panels(arch, q, xty, &mut out, panels);
        out
    };
    let (z, t) = (rotate(&train), rotate(&val));
    let norm = |i: usize| {
        let rows = z.iter().skip(i).step_by(m).flatten();
        rows.map(|&z| f64::from(z).powi(2)).sum::<f64>().sqrt()
    };
    let weights: Vec<f64> =
        rotation.factor_norms.iter().enumerate().map(|(i, f)| f * norm(i)).collect();
    let exact = PathSettings { basis_tolerance: 0.0, ..settings.clone() };
    let [path, exact] = [&settings, &exact].map(|s| FoldPath::new(&rotation, s).expect("a path"));
    let bold = FoldBold { val_square: [folds[0].n_rows as f64; PANEL], delta: [0.0; PANEL] };
    let mut scratch = PathScratch::default();
    let mut scores = |path: &FoldPath, basis: &AlphaBasis, sums: &mut [[f64; PANEL]]| {
        sums.fill([0.0; PANEL]);
        scratch.load(basis);
        let panels = z.chunks_exact(m).zip(t.chunks_exact(m)).zip(sums.chunks_exact_mut(n_alphas));
        for ((z, t), sums) in panels {
            add_fold_scores(
                &rotation,
                path,
                basis,
                &settings,
                z,
                t,
                &bold,
                &mut scratch,
                sums,
                arch,
            );
        }
    };

    let (mut basis, mut all_alphas) = (AlphaBasis::default(), AlphaBasis::default());
    basis.fit(&path.groups, &weights).expect("it converges");
    all_alphas.fit(&exact.groups, &weights).expect("it converges");
    assert_eq!((all_alphas.form, basis.form), (Form::Path, Form::Squares));
    let mut sums = vec![[0f64; PANEL]; panels * n_alphas];
    let mut expected = sums.clone();
    scores(&path, &basis, &mut sums);
    scores(&exact, &all_alphas, &mut expected);
    for (&found, &expected) in sums.iter().flatten().zip(expected.iter().flatten()) {
        assert_near(found, expected, 1.0, 1e-4);
    }

    let shared = id(data.problem.n_trs, p, width);
    let mut group = criterion.benchmark_group("basis");
    group.throughput(Throughput::Elements((m * n_alphas) as u64));
    group.bench_function(&shared, |bencher| bencher.iter(|| basis.fit(&path.groups, &weights)));
    group.finish();
    let mut group = criterion.benchmark_group("path");
    group.throughput(Throughput::Elements((width * n_alphas) as u64));
    group.bench_function(&shared, |bencher| {
        bencher.iter(|| scores(&path, &basis, &mut sums));
    });
}
