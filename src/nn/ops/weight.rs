//! Matrices of parameters that are multiplied with again and again and never change.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Device, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::slice;
use super::products::{Panels, Strided, rows_times};

/// Most rows of one task, and fewest: below, the matrix would be read too often.
const ROWS: std::ops::RangeInclusive<usize> = 96..=288;

/// x · weightᵀ + bias, packed once where it is computed on the CPU.
#[derive(Debug)]
pub struct Weight {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Packed { panels: Panels, bias: Option<Vec<f32>> },
    Tensors { transposed: Tensor, bias: Option<Tensor> },
}

impl Weight {
    /// `rows`: (out, in), row by row; `bias`: (out).
    pub fn new(
        rows: Vec<f32>,
        n_in: usize,
        bias: Option<Vec<f32>>,
        device: &Device,
    ) -> Result<Self> {
        let n_out = rows.len() / n_in;
        if device.is_cpu() {
            let panels = Panels::of_transposed(Arch::new(), Strided::whole(&rows, n_in));
            return Ok(Self { form: Form::Packed { panels, bias } });
        }
        let weight = Tensor::from_vec(rows, (n_out, n_in), device)?;
        let bias = bias.map(|bias| Tensor::from_vec(bias, n_out, device)).transpose()?;
        Ok(Self { form: Form::Tensors { transposed: weight.t()?, bias } })
    }

    /// x · weightᵀ + bias, and `plus` added to it. x: (tokens, in), `plus`: (tokens, out).
    pub fn times(&self, x: &Tensor, plus: Option<&Tensor>) -> Result<Tensor> {
        match (&self.form, plus) {
            (Form::Packed { .. }, None) => x.apply_op1_no_bwd(self),
            (Form::Packed { .. }, Some(plus)) => x.apply_op2_no_bwd(plus, self),
            (Form::Tensors { transposed, bias }, plus) => {
                let mut out = x.matmul(transposed)?;
                if let Some(bias) = bias {
                    out = out.broadcast_add(bias)?;
                }
                plus.map_or(Ok(out.clone()), |plus| &out + plus)
            }
        }
    }

    fn packed(&self, x: &[f32], n: usize, plus: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let Form::Packed { panels, bias } = &self.form else {
            candle_core::bail!("expected tensors on the model's device");
        };
        let (n_in, n_out) = panels.shape();
        if x.len() != n * n_in || plus.is_some_and(|plus| plus.len() != n * n_out) {
            candle_core::bail!("expected rows of {n_in} numbers, got {} in {n} rows", x.len());
        }
        let mut out = plus.map_or_else(|| vec![0.0; n * n_out], <[f32]>::to_vec);
        let share = n.div_ceil(2 * rayon::current_num_threads());
        // A multiple of both forms' strips, so that no strip is filled up with zeros.
        let rows = share.clamp(*ROWS.start(), *ROWS.end()).next_multiple_of(48);
        let arch = Arch::new();
        let tasks = out.par_chunks_mut(rows * n_out).zip(x.par_chunks(rows * n_in));
        tasks.for_each(|(out, x)| {
            if let Some(bias) = bias {
                for row in out.chunks_exact_mut(n_out) {
                    row.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias);
                }
            }
            let add = bias.is_some() || plus.is_some();
            rows_times(arch, Strided::whole(x, n_in), panels, (out, n_out), add);
        });
        Ok((CpuStorage::F32(out), (n, n_out).into()))
    }
}

impl CustomOp1 for Weight {
    fn name(&self) -> &'static str {
        "weight"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.packed(slice(x, layout)?, layout.shape().dims2()?.0, None)
    }
}

impl CustomOp2 for Weight {
    fn name(&self) -> &'static str {
        "weight-plus"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        plus: &CpuStorage,
        plus_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let n = layout.shape().dims2()?.0;
        self.packed(slice(x, layout)?, n, Some(slice(plus, plus_layout)?))
    }
}
