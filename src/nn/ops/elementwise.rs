//! Operations on single numbers of the CPU: GELU and dropout.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{slice, values};
use super::math::{normal_density, normal_share};
use super::{Dropout, kept};
use crate::product::vectorized::vectorized;

/// Numbers of one task.
const BLOCK: usize = 1 << 14;

/// x · Φ(x).
pub struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut out = vec![0.0; x.len()];
        let arch = Arch::new();
        out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(out, x)| {
            gelu_forward(arch, x, out);
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let (x_values, gradient) = (values(x)?, values(&gradient)?);
        let mut out = vec![0.0; x_values.len()];
        let arch = Arch::new();
        let blocks = x_values.par_chunks(BLOCK).zip(gradient.par_chunks(BLOCK));
        out.par_chunks_mut(BLOCK).zip(blocks).for_each(|(out, (x, gradient))| {
            gelu_backward(arch, x, gradient, out);
        });
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

vectorized! {
    fn gelu_forward<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * normal_share(x);
        }
    }
}

vectorized! {
    fn gelu_backward<'a>(x: &'a [f32], gradient: &'a [f32], out: &'a mut [f32]) {
        for ((out, &x), &gradient) in out.iter_mut().zip(x).zip(gradient) {
            *out = gradient * x.mul_add(normal_density(x), normal_share(x));
        }
    }
}

/// residual + dropout(x).
pub struct DropoutAdd(pub Dropout);

impl CustomOp2 for DropoutAdd {
    fn name(&self) -> &'static str {
        "dropout-add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, residual) = (slice(x, x_layout)?, slice(residual, residual_layout)?);
        Ok((CpuStorage::F32(self.0.apply(x, Some(residual))), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let dropped = self.0.apply(&values(&gradient)?, None);
        Ok((Some(Tensor::from_vec(dropped, x.shape(), x.device())?), Some(gradient)))
    }
}

/// dropout(x).
pub struct DropoutOp(pub Dropout);

impl CustomOp1 for DropoutOp {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.0.apply(slice(x, layout)?, None)), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let dropped = self.0.apply(&values(&gradient)?, None);
        Ok(Some(Tensor::from_vec(dropped, x.shape(), x.device())?))
    }
}

impl Dropout {
    /// dropout(x), and what is added to it.
    fn apply(&self, x: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let mut out = residual.map_or_else(|| vec![0.0; x.len()], <[f32]>::to_vec);
        let arch = Arch::new();
        out.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).enumerate().for_each(|(i, (out, x))| {
            add_kept(arch, *self, (i * BLOCK) as u32, x, out);
        });
        out
    }
}

vectorized! {
    fn add_kept<'a>(dropout: Dropout, first: u32, x: &'a [f32], out: &'a mut [f32]) {
        let Dropout { p, seed } = dropout;
        let (kept, scale) = (kept(seed, p), (1.0 / (1.0 - p)) as f32);
        for (i, (out, &x)) in out.iter_mut().zip(x).enumerate() {
            let factor = if kept(first.wrapping_add(i as u32)) { scale } else { 0.0 };
            *out = x.mul_add(factor, *out);
        }
    }
}
