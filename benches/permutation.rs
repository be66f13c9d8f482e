//! The block permutation test of one panel of voxels.

use criterion::{Criterion, Throughput};
use pulp::Arch;
use voxelcast::backend::Permutations;
use voxelcast::backend::cpu::permutation::{PermuteScratch, center, n_at_least};
use voxelcast::product::panels::{PANEL, PanelRow};

const N_TRS: usize = 6000;
const N_PERMUTATIONS: usize = 1000;

pub fn bench(criterion: &mut Criterion) {
    let orders = Permutations::new(N_TRS, 10, N_PERMUTATIONS, 1);
    // No structure: every rank of a voxel's own r among its permutations is as likely.
    let mixed = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 7) % 2048) as f32 / 1024.0 - 1.0;
    let rows = |seed: usize| -> Vec<PanelRow> {
        let value = |t: usize, v: usize| mixed((t * PANEL + v) * 2 + seed);
        (0..N_TRS).map(|t| std::array::from_fn(|v| value(t, v))).collect()
    };
    let (mut pred, mut bold) = (rows(1), rows(2));
    center(&mut pred);
    center(&mut bold);
    let mut scratch = PermuteScratch::default();
    let mut test = || n_at_least(Arch::new(), &orders, &pred, &bold, &mut scratch);

    let counts = test();
    for v in [0, 7, PANEL - 1] {
        let dot = |order: &dyn Fn(usize) -> usize| -> f64 {
            (0..N_TRS).map(|t| f64::from(pred[order(t)][v]) * f64::from(bold[t][v])).sum()
        };
        let own = dot(&|t| t);
        let exact = orders.rows().filter(|row| dot(&|t| row[t / 10] as usize * 10 + t % 10) >= own);
        // A permutation may be nearer to the voxel's own r than f32 sums can tell.
        assert!(exact.count().abs_diff(counts[v] as usize) <= 1, "voxel {v}");
    }

    let mut group = criterion.benchmark_group("permutation");
    let n_blocks = orders.n_blocks;
    let flops = PANEL * n_blocks * (2 * N_TRS + N_PERMUTATIONS);
    group.throughput(Throughput::Elements(flops as u64));
    let id = format!("cpu/{N_TRS} x {N_PERMUTATIONS} x {PANEL}");
    group.bench_function(id, |bencher| bencher.iter(&mut test));
}
