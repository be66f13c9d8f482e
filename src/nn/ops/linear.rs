//! x · weightᵀ + bias of the CPU.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{slice, sum_over, values};
use super::products::{Panels, Strided, columns_times, rows_times, with_panels};

/// Rows of one task.
const ROWS: usize = 256;

/// weight: (out, in).
pub struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, n_in) = x_layout.shape().dims2()?;
        let (n_out, _) = weight_layout.shape().dims2()?;
        let x = slice(x, x_layout)?;
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let arch = Arch::new();
        let mut right = Panels::default();
        right.fill_transposed(arch, Strided::whole(weight, n_in));
        let mut out = vec![0.0; n * n_out];
        out.par_chunks_mut(ROWS * n_out).zip(x.par_chunks(ROWS * n_in)).for_each(|(out, x)| {
            for row in out.chunks_exact_mut(n_out) {
                row.copy_from_slice(bias);
            }
            rows_times(arch, Strided::whole(x, n_in), &right, (out, n_out), true);
        });
        Ok((CpuStorage::F32(out), (n, n_out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (n, n_in) = x.dims2()?;
        let n_out = weight.dim(0)?;
        let (xs, w, g) = (values(x)?, values(weight)?, values(&gradient)?);
        let arch = Arch::new();
        let mut right = Panels::default();
        right.fill(arch, Strided::whole(&w, n_in));
        let mut out = vec![0.0; n * n_in];
        out.par_chunks_mut(ROWS * n_in).zip(g.par_chunks(ROWS * n_out)).for_each(|(out, g)| {
            rows_times(arch, Strided::whole(g, n_out), &right, (out, n_in), false);
        });
        // The matrix and behind it the bias.
        let sums = sum_over(n.div_ceil(ROWS), n_out * (n_in + 1), |blocks, sums| {
            let (matrix, biases) = sums.split_at_mut(n_out * n_in);
            for block in blocks {
                let rows = block * ROWS..((block + 1) * ROWS).min(n);
                let x = &xs[rows.start * n_in..rows.end * n_in];
                let g = &g[rows.start * n_out..rows.end * n_out];
                with_panels(|right| {
                    right.fill(arch, Strided::whole(x, n_in));
                    columns_times(arch, (g, n_out), right, (&mut *matrix, n_in), true);
                });
                for row in g.chunks_exact(n_out) {
                    for (sum, g) in biases.iter_mut().zip(row) {
                        *sum += g;
                    }
                }
            }
        });
        let (matrix, biases) = sums.split_at(n_out * n_in);
        Ok((
            Some(Tensor::from_vec(out, x.shape(), x.device())?),
            Some(Tensor::from_slice(matrix, weight.shape(), x.device())?),
            Some(Tensor::from_slice(biases, bias.shape(), x.device())?),
        ))
    }
}
