//! Matrices of parameters that are multiplied with again and again and never change.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Device, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::slice;
use super::products::{self, Panels, Strided, rows_times};

/// Most rows of one task, and fewest: below, the matrix would be read too often.
const ROWS: std::ops::RangeInclusive<usize> = 96..=288;

/// x · weightᵀ + bias, packed once where it is computed on the CPU.
///
/// Another device holds bf16 or f16 where these are the same numbers, as of most checkpoints, and
/// makes f32 of them for each product: sums are those of f32.
#[derive(Debug)]
pub struct Weight {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Packed { panels: Panels, bias: Option<Vec<f32>> },
    Tensors { rows: Tensor, bias: Option<Tensor> },
}

/// Bytes that a number of a packed matrix takes.
pub fn number_bytes() -> usize {
    products::layout().cell_bytes()
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
        let rows = shortest(rows, (n_out, n_in))?.to_device(device)?;
        let bias = bias.map(|bias| Tensor::from_vec(bias, n_out, device)).transpose()?;
        Ok(Self { form: Form::Tensors { rows, bias } })
    }

    /// x · weightᵀ + bias, and `plus` added to it. x: (tokens, in), `plus`: (tokens, out).
    pub fn times(&self, x: &Tensor, plus: Option<&Tensor>) -> Result<Tensor> {
        match (&self.form, plus) {
            (Form::Packed { .. }, None) => x.apply_op1_no_bwd(self),
            (Form::Packed { .. }, Some(plus)) => x.apply_op2_no_bwd(plus, self),
            (Form::Tensors { rows, bias }, plus) => {
                let mut out = x.matmul(&rows.to_dtype(DType::F32)?.t()?)?;
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

/// A matrix on the CPU in the shortest type that holds each of its numbers as it is.
fn shortest(values: Vec<f32>, shape: (usize, usize)) -> Result<Tensor> {
    let is_bf16 = values.iter().all(|x| x.to_bits().trailing_zeros() >= 16);
    let whole = Tensor::from_vec(values, shape, &Device::Cpu)?;
    if is_bf16 {
        return whole.to_dtype(DType::BF16);
    }
    let half = whole.to_dtype(DType::F16)?;
    let is_same = half.to_dtype(DType::F32)?.eq(&whole)?.min_all()?.to_scalar::<u8>()? == 1;
    Ok(if is_same { half } else { whole })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_held_in_the_shortest_type_that_changes_none() {
        let of = |values: &[f32]| {
            let held = shortest(values.to_vec(), (1, values.len())).unwrap();
            let back: Vec<f32> =
                held.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(back, values);
            held.dtype()
        };
        assert_eq!(
            of(&[0.0, -1.5, f32::from_bits(0x7f61_0000), f32::from_bits(0x0001_0000)]),
            DType::BF16
        );
        assert_eq!(of(&[0.0, -1.5, 1.0 + 1.0 / 1024.0, 65504.0, 2f32.powi(-24)]), DType::F16);
        assert_eq!(of(&[1.0 + 1.0 / 1024.0, 65536.0]), DType::F32, "too large for f16");
        assert_eq!(of(&[1.0 + 1.0 / 4096.0]), DType::F32);
    }
}
