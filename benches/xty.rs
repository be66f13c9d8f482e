//! XᵀY of one voxel tile over all stories.

use criterion::{Criterion, Throughput};
use pulp::Arch;
use voxelcast::backend::cpu::xty::add_xty;

use crate::data::{assert_near, problem, shared_id};

pub fn bench(criterion: &mut Criterion) {
    let data = problem();
    let (space, arch) = (data.space(), Arch::new());
    let (p, v) = (data.problem.n_features, data.problem.n_voxels);
    let bold = data.y.as_slice().expect("BOLD is row-major");
    let add = |out: &mut [f32]| {
        out.fill(0.0);
        for (design, rows) in space.train.iter().zip(&data.stories) {
            let bold = &bold[rows.start * v..rows.end * v];
            add_xty(design, &space.delays, bold, v, out, arch);
        }
    };

    let mut out = vec![0f32; p * v];
    add(&mut out);
    for (feature, voxel) in [(0, 0), (1, 511), (100, 3), (255, 1023), (64, 700)] {
        let pairs = data.x.column(feature).into_iter().zip(data.y.column(voxel));
        let (mut expected, mut size) = (0.0, 0.0);
        for (&x, &y) in pairs {
            expected += f64::from(x) * f64::from(y);
            size += (f64::from(x) * f64::from(y)).abs();
        }
        assert_near(f64::from(out[feature * v + voxel]), expected, size, 1e-5);
    }

    let mut group = criterion.benchmark_group("xty");
    group.throughput(Throughput::Elements(2 * (data.problem.n_trs * p * v) as u64));
    group.bench_function(shared_id(), |bencher| bencher.iter(|| add(&mut out)));
}
