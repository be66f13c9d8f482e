//! The tied head of masked language modelling and its loss, in one operation of the CPU.
//!
//! Scores of every piece at every target are (n, pieces): 150 MB at 1,229 targets and 30,522
//! pieces. They are made chunk by chunk, once for the softmax's sum and once more for the gradient,
//! and never stand in memory whole.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{add_all, part_size, slice, values};
use super::math::exp;
use super::products::{Panels, Strided, columns_times, layout, multiply, rows_times};
use crate::product::packed::Packed;
use crate::product::vectorized::vectorized;

/// Pieces of a chunk, and targets of a block: its scores take 256 KiB.
const CHUNK: usize = 256;

/// Mean of −ln p(label), p = softmax(x · tableᵀ + bias).
pub struct MlmLoss {
    /// One a row of x.
    pub labels: Vec<u32>,
    /// ln Σ exp(score) of every row, from the forward pass.
    log_sums: OnceLock<Vec<f32>>,
}

impl MlmLoss {
    /// With a label a row.
    pub fn new(labels: &[u32]) -> Self {
        Self { labels: labels.to_vec(), log_sums: OnceLock::new() }
    }
}

/// x in blocks of rows, as left factors of the scores.
fn packed(arch: Arch, x: &[f32], width: usize) -> Vec<Packed> {
    let block = |x: &[f32]| {
        let mut packed = Packed::default();
        packed.fill_rows(layout(), (x, width), (x.len() / width, width), arch);
        packed
    };
    x.par_chunks(CHUNK * width).map(block).collect()
}

/// One row's largest score so far and Σ exp(score − largest).
#[derive(Clone, Copy)]
struct Sum {
    largest: f32,
    sum: f32,
}

impl Sum {
    const NOTHING: Self = Self { largest: f32::MIN, sum: 0.0 };

    #[inline(always)]
    fn join(self, other: Self) -> Self {
        let largest = self.largest.max(other.largest);
        let scaled = |part: Self| part.sum * exp(part.largest - largest);
        Self { largest, sum: scaled(self) + scaled(other) }
    }
}

impl CustomOp3 for MlmLoss {
    fn name(&self) -> &'static str {
        "mlm-loss"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, width) = x_layout.shape().dims2()?;
        let (x, table) = (slice(x, x_layout)?, slice(table, table_layout)?);
        let bias = slice(bias, bias_layout)?;
        let arch = Arch::new();
        let blocks = packed(arch, x, width);
        let size = part_size(bias.len(), CHUNK);
        let parts: Vec<Vec<Sum>> = table
            .par_chunks(size * width)
            .zip(bias.par_chunks(size))
            .map(|(table, bias)| {
                let mut sums = vec![Sum::NOTHING; n];
                let mut right = Panels::default();
                let mut scores = vec![0.0; CHUNK * CHUNK];
                for (table, bias) in table.chunks(CHUNK * width).zip(bias.chunks(CHUNK)) {
                    right.fill_transposed(arch, Strided::whole(table, width));
                    for (left, sums) in blocks.iter().zip(sums.chunks_mut(CHUNK)) {
                        let scores = &mut scores[..left.rows() * bias.len()];
                        multiply(arch, left, &right, (&mut *scores, bias.len()), false);
                        add_scores(arch, scores, bias, sums);
                    }
                }
                sums
            })
            .collect();
        let log_sum = |i: usize| {
            let sum = parts.iter().fold(Sum::NOTHING, |sum, part| sum.join(part[i]));
            sum.largest + sum.sum.ln()
        };
        let log_sums: Vec<f32> = (0..n).map(log_sum).collect();
        let loss = |(i, &label): (usize, &u32)| {
            let label = label as usize;
            let rows = x[i * width..][..width].iter().zip(&table[label * width..][..width]);
            let score: f64 = rows.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
            f64::from(log_sums[i]) - score - f64::from(bias[label])
        };
        let mean = self.labels.iter().enumerate().map(loss).sum::<f64>() / n as f64;
        // A second forward pass of the same operation would find the same.
        let _ = self.log_sums.set(log_sums);
        Ok((CpuStorage::F32(vec![mean as f32]), ().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        table: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(log_sums) = self.log_sums.get() else {
            candle_core::bail!("backward before forward");
        };
        let (n, width) = x.dims2()?;
        let (xs, rows, biases) = (values(x)?, values(table)?, values(bias)?);
        let scale = gradient.to_scalar::<f32>()? / n as f32;
        let arch = Arch::new();
        let blocks: Vec<Block> = packed(arch, &xs, width)
            .into_par_iter()
            .enumerate()
            .map(|(b, left)| {
                let rows = b * CHUNK..b * CHUNK + left.rows();
                let mut right = Panels::default();
                let x = &xs[rows.start * width..rows.end * width];
                right.fill(arch, Strided::whole(x, width));
                let (log_sums, labels) = (&log_sums[rows.clone()], &self.labels[rows]);
                Block { left, right, log_sums, labels }
            })
            .collect();
        let size = part_size(biases.len(), CHUNK);
        let mut table_out = vec![0.0; rows.len()];
        let mut bias_out = vec![0.0; biases.len()];
        let parts = rows.par_chunks(size * width).zip(biases.par_chunks(size));
        let outs = table_out.par_chunks_mut(size * width).zip(bias_out.par_chunks_mut(size));
        let x_parts: Vec<Vec<f32>> = parts
            .zip(outs)
            .enumerate()
            .map(|(part, ((table, bias), (table_out, bias_out)))| {
                let mut x_out = vec![0.0; n * width];
                let mut work = Work::default();
                let chunks = table.chunks(CHUNK * width).zip(bias.chunks(CHUNK));
                let outs = table_out.chunks_mut(CHUNK * width).zip(bias_out.chunks_mut(CHUNK));
                for (c, (chunk, out)) in chunks.zip(outs).enumerate() {
                    let first = (part * size + c * CHUNK) as u32;
                    work.chunk(arch, &blocks, (first, width, scale), chunk, out, &mut x_out);
                }
                x_out
            })
            .collect();
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(add_all(x_parts), x.shape(), device)?),
            Some(Tensor::from_vec(table_out, table.shape(), device)?),
            Some(Tensor::from_vec(bias_out, bias.shape(), device)?),
        ))
    }
}

/// Some targets.
struct Block<'a> {
    left: Packed,
    right: Panels,
    log_sums: &'a [f32],
    labels: &'a [u32],
}

/// What a thread works with.
#[derive(Default)]
struct Work {
    scores: Vec<f32>,
    transposed: Panels,
    table: Panels,
}

impl Work {
    /// One chunk of pieces, from piece `first` on: its part of every gradient.
    fn chunk(
        &mut self,
        arch: Arch,
        blocks: &[Block<'_>],
        (first, width, scale): (u32, usize, f32),
        (table, bias): (&[f32], &[f32]),
        (table_out, bias_out): (&mut [f32], &mut [f32]),
        x_out: &mut [f32],
    ) {
        let Self { scores, transposed, table: natural } = self;
        let n_pieces = bias.len();
        transposed.fill_transposed(arch, Strided::whole(table, width));
        natural.fill(arch, Strided::whole(table, width));
        scores.resize(CHUNK * n_pieces, 0.0);
        for (block, x_out) in blocks.iter().zip(x_out.chunks_mut(CHUNK * width)) {
            let scores = &mut scores[..block.left.rows() * n_pieces];
            multiply(arch, &block.left, transposed, (&mut *scores, n_pieces), false);
            let Block { log_sums, labels, .. } = *block;
            slopes(arch, scores, bias, (log_sums, labels), first, scale, bias_out);
            rows_times(arch, Strided::whole(scores, n_pieces), natural, (x_out, width), true);
            let out = (&mut *table_out, width);
            columns_times(arch, (scores, n_pieces), &block.right, out, true);
        }
    }
}

vectorized! {
    fn add_scores<'a>(scores: &'a mut [f32], bias: &'a [f32], sums: &'a mut [Sum]) {
        for (scores, sum) in scores.chunks_exact_mut(bias.len()).zip(sums) {
            for (score, bias) in scores.iter_mut().zip(bias) {
                *score += bias;
            }
            let (whole, rest) = scores.as_chunks::<16>();
            let mut lanes = [f32::MIN; 16];
            for chunk in whole {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane = if x > *lane { x } else { *lane };
                }
            }
            let largest = lanes.iter().chain(rest).fold(f32::MIN, |a, &b| a.max(b));
            let mut lanes = [0.0; 16];
            for chunk in whole {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane += exp(x - largest);
                }
            }
            let rest: f32 = rest.iter().map(|&x| exp(x - largest)).sum();
            *sum = sum.join(Sum { largest, sum: lanes.iter().sum::<f32>() + rest });
        }
    }
}

vectorized! {
    /// Scores to their gradients: (p − 1 at the label) · scale. `targets`: log sums and labels.
    fn slopes<'a>(
        scores: &'a mut [f32],
        bias: &'a [f32],
        targets: (&'a [f32], &'a [u32]),
        first: u32,
        scale: f32,
        bias_out: &'a mut [f32],
    ) {
        let (log_sums, labels) = targets;
        let rows = scores.chunks_exact_mut(bias.len()).zip(log_sums.iter().zip(labels));
        for (scores, (&log_sum, &label)) in rows {
            for (score, bias) in scores.iter_mut().zip(bias) {
                *score = scale * exp(*score + bias - log_sum);
            }
            if let Some(score) = label.checked_sub(first).and_then(|at| scores.get_mut(at as usize))
            {
                *score -= scale;
            }
            for (out, score) in bias_out.iter_mut().zip(&*scores) {
                *out += score;
            }
        }
    }
}
