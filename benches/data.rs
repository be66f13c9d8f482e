//! The problem that the stages share, and how their ids are written.

use std::sync::OnceLock;

use ndarray::ArrayView2;
use voxelcast::commands::bench::{BenchProblem, DesignKind, Synthetic};
use voxelcast::product::panels::{PANEL, PanelRow, n_panels};

/// 2,000 TRs × 256 columns (64 at delays 1 to 4) × 1,024 voxels, 5 folds, 20 alphas.
pub fn problem() -> &'static Synthetic {
    static MADE: OnceLock<Synthetic> = OnceLock::new();
    MADE.get_or_init(|| {
        Synthetic::new(BenchProblem {
            n_trs: 2000,
            n_features: 256,
            n_voxels: 1024,
            n_folds: 5,
            n_alphas: 20,
            design: DesignKind::Lagged,
        })
    })
}

/// BOLD as the engine has it: panels of 32 voxels, row after row.
pub fn to_panels(bold: ArrayView2<'_, f32>) -> Vec<PanelRow> {
    let (n_rows, n_voxels) = bold.dim();
    let mut panels = vec![[0f32; PANEL]; n_panels(n_voxels) * n_rows];
    for ((t, voxel), &value) in bold.indexed_iter() {
        panels[voxel / PANEL * n_rows + t][voxel % PANEL] = value;
    }
    panels
}

/// `cpu/n_trs x n_features x n_voxels`.
pub fn id(n_trs: usize, n_features: usize, n_voxels: usize) -> String {
    format!("cpu/{n_trs}x{n_features}x{n_voxels}")
}

/// The id of the shared problem.
pub fn shared_id() -> String {
    let sizes = problem().problem;
    id(sizes.n_trs, sizes.n_features, sizes.n_voxels)
}

/// Fails unless `found` is `expected` within `share` of the larger of `expected` and `scale`.
#[track_caller]
pub fn assert_near(found: f64, expected: f64, scale: f64, share: f64) {
    let bound = share * expected.abs().max(scale);
    assert!((found - expected).abs() <= bound, "{found} is not {expected} within {bound:.1e}");
}
