//! What the card itself needs for one XᵀY: the yardstick of `bench`.

use std::sync::Arc;

use super::launch::{Card, Gemm, Lane};
use crate::error::Result;

/// Columns of Y that are multiplied at a time.
const MOST_COLUMNS: usize = 16_384;
/// Repeats; the quickest counts.
const REPEATS: usize = 5;

/// Seconds of one cuBLAS SGEMM XᵀY, `x` `(n_rows, n_features)`, `y` `(n_rows, n_voxels)`, both in
/// device memory already; of wide problems by so many columns at a time.
/// # Errors
/// `Error::Device`, `Error::DeviceMemory`.
pub fn xty_seconds(ordinal: usize, x: &[f32], y: &[f32], n_rows: usize) -> Result<f64> {
    let lane = Lane::new(&Arc::new(Card::open(ordinal)?))?;
    let (p, n_voxels) = (x.len() / n_rows.max(1), y.len() / n_rows.max(1));
    let width = n_voxels.clamp(1, MOST_COLUMNS);
    let columns: Vec<f32> =
        y.chunks_exact(n_voxels.max(1)).flat_map(|row| &row[..width]).copied().collect();
    let (x, y) = (lane.upload("a design", x)?, lane.upload("BOLD", &columns)?);
    let mut out = lane.alloc::<f32>("X'Y", &[p, width])?;
    lane.zero(&mut out.first_mut(p * width))?;
    let gemm = Gemm::add_transposed(p, width, n_rows);
    let mut best = f64::INFINITY;
    // The first one also loads cuBLAS's kernels.
    for _ in 0..=REPEATS {
        let start = lane.moment()?;
        lane.gemm(gemm, &x.all(), &y.all(), &mut out.first_mut(p * width))?;
        best = best.min(lane.between(&start, &lane.moment()?)?.as_secs_f64());
    }
    Ok(best * n_voxels as f64 / width as f64)
}
