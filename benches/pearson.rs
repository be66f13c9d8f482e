//! Scores of predicted BOLD.

use criterion::{Criterion, Throughput};
use ndarray::Array2;
use pulp::Arch;
use voxelcast::backend::TestTile;
use voxelcast::backend::cpu::correlation::{PearsonSums, PredictedBlock};

use crate::data::{assert_near, problem, shared_id, to_panels};

pub fn bench(criterion: &mut Criterion) {
    let (data, arch) = (problem(), Arch::new());
    let v = data.problem.n_voxels;
    let mean = data.y.mean_axis(ndarray::Axis(0)).expect("there are rows");
    let bold = &data.y - &mean;
    // Half of the next voxel: something that correlates a little.
    let pred = Array2::from_shape_fn(bold.dim(), |(t, voxel)| {
        0.5 * bold[(t, (voxel + 1) % v)] + 0.1 * bold[(t, voxel)]
    });
    let (bold_panels, pred_panels) = (to_panels(bold.view()), to_panels(pred.view()));
    let bad = vec![false; v];
    let mut sums = PearsonSums::default();
    let mut score = || {
        let mut scores = TestTile::default();
        sums.begin(v, 1, false, &mut scores);
        let (n_rows, pred, bold) = (bold.nrows(), &pred_panels[..], &bold_panels[..]);
        let block = PredictedBlock { block: 0, n_rows, pred, bold, bad: &bad };
        sums.add(block, None, &mut scores, arch);
        sums.finish(&mut scores);
        scores.correlation
    };

    let found = score();
    for voxel in [0, 1, 63, 64, v - 1] {
        let centred = |column: ndarray::ArrayView1<'_, f32>| -> Vec<f64> {
            let mean = column.iter().map(|&x| f64::from(x)).sum::<f64>() / column.len() as f64;
            column.iter().map(|&x| f64::from(x) - mean).collect()
        };
        let (p, y) = (centred(pred.column(voxel)), centred(bold.column(voxel)));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let expected = dot(&p, &y) / (dot(&p, &p) * dot(&y, &y)).sqrt();
        assert_near(f64::from(found[voxel]), expected, 1.0, 1e-6);
    }

    let mut group = criterion.benchmark_group("pearson");
    group.throughput(Throughput::Bytes(2 * 4 * bold.len() as u64));
    group.bench_function(shared_id(), |bencher| bencher.iter(&mut score));
}
