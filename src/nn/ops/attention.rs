//! Attention of the CPU: one task a row of the batch, its scores in the second-level cache.
//!
//! Nothing is kept for the backward pass: it makes scores and weights again.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use pulp::Arch;
use rayon::prelude::*;

use super::host::{slice, values};
use super::math::exp;
use super::products::{Panels, Strided, columns_times, rows_times};
use super::{Dropout, kept};
use crate::product::vectorized::vectorized;

/// As `ops::attention`.
pub struct Attention {
    /// Heads, side by side in queries, keys and values.
    pub heads: usize,
    /// Tokens of a row.
    pub length: usize,
    /// Whether a token is there, (rows, length).
    pub attended: Vec<bool>,
    /// Of the weights.
    pub dropout: Option<Dropout>,
}

/// One row and head: (length, size) each, `stride` apart.
#[derive(Clone, Copy)]
struct Head<'a> {
    q: Strided<'a>,
    k: Strided<'a>,
    v: Strided<'a>,
}

impl Attention {
    fn width(&self, layout: &Shape) -> Result<usize> {
        Ok(layout.dims2()?.1 / 3)
    }

    /// `qkv`: the rows of one row of the batch.
    fn head<'a>(&self, qkv: &'a [f32], width: usize, head: usize) -> Head<'a> {
        let size = width / self.heads;
        let part = |i: usize| Strided {
            data: &qkv[i * width + head * size..],
            stride: 3 * width,
            rows: self.length,
            cols: size,
        };
        Head { q: part(0), k: part(1), v: part(2) }
    }

    /// Attention weights of a row and head before dropout, (length, length).
    fn weights(
        &self,
        arch: Arch,
        row: usize,
        Head { q, k, .. }: Head<'_>,
        keys: &mut Panels,
        weights: &mut [f32],
    ) {
        let length = self.length;
        keys.fill_transposed(arch, k);
        rows_times(arch, q, keys, (weights, length), false);
        let attended = &self.attended[row * length..(row + 1) * length];
        let scale = 1.0 / (q.cols as f32).sqrt();
        softmax(arch, scale, attended, weights);
    }

    /// Dropout of a row's and head's weights, in terms of which of the batch's weights they are.
    fn drop(&self, arch: Arch, row: usize, head: usize, weights: &mut [f32]) {
        if let Some(dropout) = self.dropout.filter(|dropout| dropout.p > 0.0) {
            let first = (row * self.heads + head) * self.length * self.length;
            drop_weights(arch, dropout, first as u32, weights);
        }
    }
}

/// What one thread works with.
#[derive(Default)]
struct Scratch {
    weights: Vec<f32>,
    dropped: Vec<f32>,
    slopes: Vec<f32>,
    right: Panels,
}

impl Scratch {
    fn new(length: usize) -> Self {
        let n = length * length;
        Self {
            weights: vec![0.0; n],
            dropped: vec![0.0; n],
            slopes: vec![0.0; n],
            ..Self::default()
        }
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = self.width(layout.shape())?;
        let qkv = slice(qkv, layout)?;
        let (arch, length, size) = (Arch::new(), self.length, width / self.heads);
        let mut out = vec![0.0; qkv.len() / 3];
        let rows = out.par_chunks_mut(length * width).zip(qkv.par_chunks(3 * length * width));
        rows.enumerate().for_each_init(
            || Scratch::new(length),
            |scratch, (row, (out, qkv))| {
                let Scratch { weights, right, .. } = scratch;
                for h in 0..self.heads {
                    let head = self.head(qkv, width, h);
                    self.weights(arch, row, head, right, weights);
                    self.drop(arch, row, h, weights);
                    right.fill(arch, head.v);
                    let out = (&mut out[h * size..], width);
                    rows_times(arch, Strided::whole(weights, length), right, out, false);
                }
            },
        );
        let n = out.len() / width;
        Ok((CpuStorage::F32(out), (n, width).into()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let width = self.width(qkv.shape())?;
        let (all, g) = (values(qkv)?, values(&gradient)?);
        let (arch, length) = (Arch::new(), self.length);
        let mut out = vec![0.0; all.len()];
        let rows = all.par_chunks(3 * length * width).zip(g.par_chunks(length * width));
        out.par_chunks_mut(3 * length * width).zip(rows).enumerate().for_each_init(
            || Scratch::new(length),
            |scratch, (row, (out, (qkv, gradient)))| {
                for h in 0..self.heads {
                    self.head_backward(arch, (row, h), (qkv, gradient, width), scratch, out);
                }
            },
        );
        Ok(Some(Tensor::from_vec(out, qkv.shape(), qkv.device())?))
    }
}

impl Attention {
    /// Gradients of one head's queries, keys and values into `out`, (length, 3 · width).
    ///
    /// With P the weights, D the dropout's factors and G the gradient of the output:
    /// ```text
    /// ∂v = (P∘D)ᵀ G    S = P ∘ (D∘(G vᵀ) − rowsum(P∘D∘(G vᵀ)))/√d    ∂q = S k    ∂k = Sᵀ q
    /// ```
    fn head_backward(
        &self,
        arch: Arch,
        (row, h): (usize, usize),
        (qkv, gradient, width): (&[f32], &[f32], usize),
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let Scratch { weights, dropped, slopes, right } = scratch;
        let (length, size, stride) = (self.length, width / self.heads, 3 * width);
        let head = self.head(qkv, width, h);
        let g = Strided { data: &gradient[h * size..], stride: width, rows: length, cols: size };
        self.weights(arch, row, head, right, weights);
        dropped.copy_from_slice(weights);
        self.drop(arch, row, h, dropped);
        let at = |part: usize| (part * width + h * size, stride);

        right.fill(arch, g);
        let (v, stride) = at(2);
        columns_times(arch, (dropped, length), right, (&mut out[v..], stride), false);
        right.fill_transposed(arch, head.v);
        rows_times(arch, g, right, (&mut *slopes, length), false);
        self.drop(arch, row, h, slopes);
        let scale = 1.0 / (size as f32).sqrt();
        slopes_of_scores(arch, scale, length, weights, slopes);
        right.fill(arch, head.k);
        let (q, stride) = at(0);
        rows_times(arch, Strided::whole(slopes, length), right, (&mut out[q..], stride), false);
        right.fill(arch, head.q);
        let (k, stride) = at(1);
        columns_times(arch, (slopes, length), right, (&mut out[k..], stride), false);
    }
}

vectorized! {
    fn softmax<'a>(scale: f32, attended: &'a [bool], weights: &'a mut [f32]) {
        let some_hidden = attended.contains(&false);
        for row in weights.chunks_exact_mut(attended.len()) {
            if some_hidden {
                for (score, &attended) in row.iter_mut().zip(attended) {
                    *score = if attended { *score } else { f32::NEG_INFINITY };
                }
            }
            let largest =
                fold(row, f32::NEG_INFINITY, |largest, x| if x > largest { x } else { largest });
            for score in row.iter_mut() {
                *score = exp((*score - largest) * scale);
            }
            let inverse = 1.0 / fold(row, 0.0, |sum, x| sum + x);
            for weight in row.iter_mut() {
                *weight *= inverse;
            }
        }
    }
}

/// `f` over a row in 16 lanes, and over the lanes.
#[inline(always)]
pub(super) fn fold(row: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 16];
    let (whole, rest) = row.as_chunks::<16>();
    for chunk in whole {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, x);
        }
    }
    let lanes = lanes.into_iter().fold(start, &f);
    rest.iter().copied().fold(lanes, f)
}

vectorized! {
    fn drop_weights<'a>(dropout: Dropout, first: u32, weights: &'a mut [f32]) {
        let Dropout { p, seed } = dropout;
        let (kept, scale) = (kept(seed, p), (1.0 / (1.0 - p)) as f32);
        for (i, weight) in weights.iter_mut().enumerate() {
            *weight *= if kept(first.wrapping_add(i as u32)) { scale } else { 0.0 };
        }
    }
}

vectorized! {
    /// `slopes`: gradients of the weights before dropout, to be those of the scores.
    fn slopes_of_scores<'a>(scale: f32, length: usize, weights: &'a [f32], slopes: &'a mut [f32]) {
        let rows = weights.chunks_exact(length).zip(slopes.chunks_exact_mut(length));
        for (weights, slopes) in rows {
            let mut lanes = [0.0; 16];
            let (w, s) = (weights.as_chunks::<16>(), slopes.as_chunks::<16>());
            for (w, s) in w.0.iter().zip(s.0) {
                for ((lane, w), s) in lanes.iter_mut().zip(w).zip(s) {
                    *lane += w * s;
                }
            }
            let rest: f32 = w.1.iter().zip(s.1).map(|(w, s)| w * s).sum();
            let mean = lanes.iter().sum::<f32>() + rest;
            for (slope, &weight) in slopes.iter_mut().zip(weights) {
                *slope = scale * weight * (*slope - mean);
            }
        }
    }
}
