//! XᵀY of one voxel tile over all stories; and a general product of the same size.

use criterion::{Criterion, Throughput};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::Arch;
use voxelcast::backend::cpu::xty::{add_xty, pack};
use voxelcast::product::packed::Packed;
use voxelcast::product::panels::{PANEL, PanelRow, PanelRows};

use crate::data::{assert_near, problem, shared_id, to_panels};

pub fn bench(criterion: &mut Criterion) {
    let data = problem();
    let (space, arch) = (data.space(), Arch::new());
    let (n, p, v) = (data.problem.n_trs, data.problem.n_features, data.problem.n_voxels);
    let rows =
        |rows: &std::ops::Range<usize>| to_panels(data.y.slice(ndarray::s![rows.clone(), ..]));
    let bold: Vec<Vec<PanelRow>> = data.stories.iter().map(rows).collect();
    let mut packed = Packed::default();
    let mut add = |out: &mut [PanelRow]| {
        out.fill([0.0; PANEL]);
        for (design, bold) in space.train.iter().zip(&bold) {
            let y = PanelRows::whole(bold, design.n_trs());
            pack(design, n, &mut packed, arch);
            add_xty(design, &packed, &space.delays, y, out, arch);
        }
    };
    let (x, y) = (data.x.as_slice(), data.y.as_slice());
    let (x, y) = x.zip(y).expect("both are row-major");
    let x = MatRef::from_row_major_slice(x, n, p);
    let y = MatRef::from_row_major_slice(y, n, v);
    let general = |out: &mut [f32]| {
        let out = MatMut::from_row_major_slice_mut(out, p, v);
        matmul(out, Accum::Replace, x.transpose(), y, 1.0, Par::Seq);
    };

    let mut out = vec![[0f32; PANEL]; p * v / PANEL];
    let mut rows = vec![0f32; p * v];
    add(&mut out);
    general(&mut rows);
    for (feature, voxel) in [(0, 0), (1, 511), (100, 3), (255, 1023), (64, 700)] {
        let pairs = data.x.column(feature).into_iter().zip(data.y.column(voxel));
        let (mut expected, mut size) = (0.0, 0.0);
        for (&x, &y) in pairs {
            expected += f64::from(x) * f64::from(y);
            size += (f64::from(x) * f64::from(y)).abs();
        }
        let found = out[voxel / PANEL * p + feature][voxel % PANEL];
        assert_near(f64::from(found), expected, size, 1e-5);
        assert_near(f64::from(rows[feature * v + voxel]), expected, size, 1e-5);
    }

    let flop = Throughput::Elements(2 * (n * p * v) as u64);
    let mut group = criterion.benchmark_group("xty");
    group.throughput(flop.clone());
    group.bench_function(shared_id(), |bencher| bencher.iter(|| add(&mut out)));
    group.finish();
    let mut group = criterion.benchmark_group("xty-general");
    group.throughput(flop);
    group.bench_function(shared_id(), |bencher| bencher.iter(|| general(&mut rows)));
}
