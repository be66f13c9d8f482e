//! One step of Adam, in place on the CPU: each number of weight, moments and gradient is read once.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{slice, values};
use crate::product::vectorized::vectorized;

/// Numbers of one task.
const BLOCK: usize = 1 << 14;

/// g = gradient · gradient_scale, m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g²,
/// w ← keep · w − rate · m / (√(v / second) + eps).
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// What gradients are cut to.
    pub gradient_scale: f64,
    /// Decay of m.
    pub beta1: f64,
    /// Decay of v.
    pub beta2: f64,
    /// What weight decay leaves of a weight.
    pub keep: f64,
    /// Learning rate over 1 − β₁ᵗ.
    pub rate: f64,
    /// 1 − β₂ᵗ.
    pub second: f64,
    /// Added to the root.
    pub eps: f64,
}

/// m and v of one parameter.
#[derive(Debug)]
pub enum Moments {
    /// On the CPU, to be changed in place.
    Host {
        /// m.
        first: Vec<f32>,
        /// v.
        second: Vec<f32>,
    },
    /// On another device.
    Device {
        /// m.
        first: Tensor,
        /// v.
        second: Tensor,
    },
}

impl Moments {
    /// Before the first step of a parameter.
    pub fn zeros(weight: &Var) -> Result<Self> {
        let zeros = weight.zeros_like()?;
        Self::of(&zeros, &zeros)
    }

    /// Of given tensors.
    pub fn of(first: &Tensor, second: &Tensor) -> Result<Self> {
        if !first.device().is_cpu() {
            return Ok(Self::Device { first: first.clone(), second: second.clone() });
        }
        let host = |tensor: &Tensor| tensor.flatten_all()?.to_vec1();
        Ok(Self::Host { first: host(first)?, second: host(second)? })
    }

    /// Both as tensors in the parameter's shape.
    pub fn to_tensors(&self, weight: &Var) -> Result<[Tensor; 2]> {
        let tensor = |values: &[f32]| Tensor::from_slice(values, weight.shape(), weight.device());
        match self {
            Self::Host { first, second } => Ok([tensor(first)?, tensor(second)?]),
            Self::Device { first, second } => Ok([first.clone(), second.clone()]),
        }
    }

    /// One step of the parameter.
    pub fn step(&mut self, weight: &Var, gradient: &Tensor, adam: Adam) -> Result<()> {
        match self {
            Self::Host { first, second } => {
                let op = InPlace { adam, moments: RefCell::new((first, second)) };
                weight.inplace_op2(&gradient.contiguous()?, &op)
            }
            Self::Device { first, second } => {
                let Adam { gradient_scale, beta1, beta2, keep, rate, second: share, eps } = adam;
                let g = (gradient * gradient_scale)?;
                *first = ((&*first * beta1)? + (&g * (1.0 - beta1))?)?;
                *second = ((&*second * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
                let step = ((&*first * rate)? / ((&*second * (1.0 / share))?.sqrt()? + eps)?)?;
                weight.set(&((weight.as_tensor() * keep)? - step)?)
            }
        }
    }
}

/// Σ x² of a tensor, in f64 on the CPU.
pub fn sum_of_squares(x: &Tensor) -> Result<f64> {
    if !x.device().is_cpu() {
        return Ok(f64::from(x.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    let x = x.contiguous()?;
    let x = values(&x)?;
    let arch = Arch::new();
    // Blocks are summed in their order, on any number of threads.
    let blocks: Vec<f64> = x.par_chunks(BLOCK).map(|x| block_of_squares(arch, x)).collect();
    Ok(blocks.iter().sum())
}

vectorized! {
    fn block_of_squares<'a>(x: &'a [f32]) -> f64 {
        let mut lanes = [0.0f64; 8];
        let (whole, rest) = x.as_chunks::<8>();
        for chunk in whole {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += f64::from(x) * f64::from(x);
            }
        }
        let rest: f64 = rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        lanes.iter().sum::<f64>() + rest
    }
}

/// A step of the tensor that candle hands out to be written.
struct InPlace<'a> {
    adam: Adam,
    moments: RefCell<(&'a mut Vec<f32>, &'a mut Vec<f32>)>,
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        weight: &mut CpuStorage,
        weight_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let gradient = slice(gradient, gradient_layout)?;
        let CpuStorage::F32(weight) = weight else { candle_core::bail!("expected f32") };
        let Some((start, end)) = weight_layout.contiguous_offsets() else {
            candle_core::bail!("expected a contiguous tensor, got {weight_layout:?}");
        };
        let (first, second) = &mut *self.moments.borrow_mut();
        let (adam, arch) = (self.adam, Arch::new());
        let blocks = weight[start..end].par_chunks_mut(BLOCK).zip(first.par_chunks_mut(BLOCK));
        let blocks = blocks.zip(second.par_chunks_mut(BLOCK)).zip(gradient.par_chunks(BLOCK));
        blocks.for_each(|(((weight, first), second), gradient)| {
            step_block(arch, adam, weight, first, second, gradient);
        });
        Ok(())
    }
}

vectorized! {
    fn step_block<'a>(
        adam: Adam,
        weight: &'a mut [f32],
        first: &'a mut [f32],
        second: &'a mut [f32],
        gradient: &'a [f32],
    ) {
        let scale = adam.gradient_scale as f32;
        let (beta1, beta2) = (adam.beta1 as f32, adam.beta2 as f32);
        let (new1, new2) = ((1.0 - adam.beta1) as f32, (1.0 - adam.beta2) as f32);
        let (keep, rate) = (adam.keep as f32, adam.rate as f32);
        let (inverse, eps) = ((1.0 / adam.second) as f32, adam.eps as f32);
        let numbers = weight.iter_mut().zip(first).zip(second).zip(gradient);
        for (((weight, first), second), gradient) in numbers {
            let g = gradient * scale;
            *first = first.mul_add(beta1, new1 * g);
            *second = second.mul_add(beta2, new2 * (g * g));
            let step = *first / ((*second * inverse).sqrt() + eps);
            *weight = weight.mul_add(keep, -(rate * step));
        }
    }
}
