//! Activations of causal models on the CPU, and their product with a second input.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::Arch;
use rayon::prelude::*;

use super::host::slice;
use super::math::{exp, normal_share};
use crate::product::vectorized::vectorized;

/// Rows of one task.
const ROWS: usize = 16;

/// What happens between the layers of a feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x), with the error function.
    Gelu,
    /// x · Φ(x), Φ by tanh: x · σ(2·√(2/π)·(x + 0.044715·x³)).
    GeluTanh,
    /// max(x, 0).
    Relu,
}

impl Activation {
    /// By its name in transformers.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            _ => return None,
        })
    }
}

/// f(x), or f(first half of a row) · second half.
pub struct Gate {
    /// f.
    pub activation: Activation,
    /// Whether rows are two halves.
    pub is_gated: bool,
}

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, width) = layout.shape().dims2()?;
        let x = slice(x, layout)?;
        let inner = if self.is_gated { width / 2 } else { width };
        let mut out = vec![0.0; n * inner];
        let arch = Arch::new();
        let rows = out.par_chunks_mut(ROWS * inner).zip(x.par_chunks(ROWS * width));
        rows.for_each(|(out, x)| {
            for (out, x) in out.chunks_exact_mut(inner).zip(x.chunks_exact(width)) {
                let (x, up) = x.split_at(inner);
                match self.activation {
                    Activation::Silu => silu(arch, x, out),
                    Activation::Gelu => gelu(arch, x, out),
                    Activation::GeluTanh => gelu_tanh(arch, x, out),
                    Activation::Relu => relu(arch, x, out),
                }
                if self.is_gated {
                    times(arch, up, out);
                }
            }
        });
        Ok((CpuStorage::F32(out), (n, inner).into()))
    }
}

vectorized! {
    fn silu<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x / (1.0 + exp(-x));
        }
    }
}

vectorized! {
    fn gelu<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x * normal_share(x);
        }
    }
}

vectorized! {
    fn gelu_tanh<'a>(x: &'a [f32], out: &'a mut [f32]) {
        const SLOPE: f32 = 1.595_769; // 2·√(2/π)
        for (out, &x) in out.iter_mut().zip(x) {
            let inner = SLOPE * x.mul_add(0.044_715 * x * x, x);
            *out = x / (1.0 + exp(-inner));
        }
    }
}

vectorized! {
    fn relu<'a>(x: &'a [f32], out: &'a mut [f32]) {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = x.max(0.0);
        }
    }
}

vectorized! {
    fn times<'a>(up: &'a [f32], out: &'a mut [f32]) {
        for (out, &up) in out.iter_mut().zip(up) {
            *out *= up;
        }
    }
}
