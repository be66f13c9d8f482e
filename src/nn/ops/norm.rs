//! LayerNorm and RMSNorm of the CPU.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{slice, sum_over, values};
use crate::product::vectorized::vectorized;

/// Rows of one task.
const ROWS: usize = 64;

/// LayerNorm over the last dimension; the variance gets this much more.
pub struct LayerNorm(pub f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        let x = slice(x, x_layout)?;
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        let mut out = vec![0.0; x.len()];
        let (arch, block) = (Arch::new(), ROWS * weight.len());
        out.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(out, x)| {
            forward(arch, self.0, x, weight, bias, out);
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
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
        let (x_values, w, g) = (values(x)?, values(weight)?, values(&gradient)?);
        let (n, width) = (x_values.len(), w.len());
        let (arch, block) = (Arch::new(), ROWS * width);
        let mut out = vec![0.0; n];
        let blocks = x_values.par_chunks(block).zip(g.par_chunks(block));
        out.par_chunks_mut(block).zip(blocks).for_each(|(out, (x, gradient))| {
            backward_x(arch, self.0, x, &w, gradient, out);
        });
        let sums = sum_over(n / width, 2 * width, |rows, sums| {
            let cells = rows.start * width..rows.end * width;
            let (x, gradient) = (&x_values[cells.clone()], &g[cells]);
            backward_weights(arch, self.0, x, gradient, sums);
        });
        let (weights, biases) = sums.split_at(width);
        Ok((
            Some(Tensor::from_vec(out, x.shape(), x.device())?),
            Some(Tensor::from_slice(weights, weight.shape(), x.device())?),
            Some(Tensor::from_slice(biases, bias.shape(), x.device())?),
        ))
    }
}

/// x / √(mean x² + eps) · weight over the last dimension [Zhang & Sennrich 2019, arXiv:1910.07467].
pub struct RmsNorm(pub f32);

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
        let mut out = vec![0.0; x.len()];
        let (arch, block) = (Arch::new(), ROWS * weight.len());
        out.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(out, x)| {
            forward_rms(arch, self.0, x, weight, out);
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

vectorized! {
    fn forward_rms<'a>(eps: f32, x: &'a [f32], weight: &'a [f32], out: &'a mut [f32]) {
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let scale = rms_scale(x, eps);
            for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * weight;
            }
        }
    }
}

/// 1 / √(mean x² + eps).
#[inline(always)]
pub(super) fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (sum(x.len(), |i| x[i] * x[i]) / x.len() as f32 + eps).sqrt()
}

/// Σ f(i) over a row in 16 lanes.
#[inline(always)]
fn sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let whole = n / 16 * 16;
    for start in (0..whole).step_by(16) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let rest: f32 = (whole..n).map(&f).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Mean and 1 / √(variance + eps) of a row.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len();
    let mean = sum(n, |i| row[i]) / n as f32;
    let variance = sum(n, |i| (row[i] - mean) * (row[i] - mean)) / n as f32;
    (mean, 1.0 / (variance + eps).sqrt())
}

vectorized! {
    fn forward<'a>(eps: f32, x: &'a [f32], weight: &'a [f32], bias: &'a [f32], out: &'a mut [f32]) {
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, eps);
            for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
                *out = ((x - mean) * scale).mul_add(weight, bias);
            }
        }
    }
}

vectorized! {
    /// With x̂ the normalised row and q = gradient · weight:
    /// (q − mean(q) − x̂·mean(q·x̂)) / √(variance + eps).
    fn backward_x<'a>(
        eps: f32,
        x: &'a [f32],
        weight: &'a [f32],
        gradient: &'a [f32],
        out: &'a mut [f32],
    ) {
        let width = weight.len();
        let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
        for ((x, gradient), out) in rows.zip(out.chunks_exact_mut(width)) {
            let (mean, scale) = moments(x, eps);
            let (gradient, weight) = (&gradient[..width], &weight[..width]);
            let q_mean = sum(width, |i| gradient[i] * weight[i]) / width as f32;
            let product = |i: usize| gradient[i] * weight[i] * ((x[i] - mean) * scale);
            let slope = sum(width, product) / width as f32;
            for (i, out) in out.iter_mut().enumerate() {
                let normed = (x[i] - mean) * scale;
                *out = scale * (gradient[i] * weight[i] - q_mean - normed * slope);
            }
        }
    }
}

vectorized! {
    fn backward_weights<'a>(eps: f32, x: &'a [f32], gradient: &'a [f32], sums: &'a mut [f32]) {
        let width = sums.len() / 2;
        let (weights, biases) = sums.split_at_mut(width);
        for (x, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact(width)) {
            let (mean, scale) = moments(x, eps);
            let sums = weights.iter_mut().zip(biases.iter_mut());
            for (((weight, bias), &x), &gradient) in sums.zip(x).zip(gradient) {
                *weight += gradient * ((x - mean) * scale);
                *bias += gradient;
            }
        }
    }
}
