//! Operations put together from candle's own: for every device, and what the fused ones are tested
//! against.

use candle_core::{D, Result, Tensor};

use super::{Activation, Dropout, Rows, Sight};

pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? as f64;
    let centred = x.broadcast_sub(&(x.sum_keepdim(D::Minus1)? / width)?)?;
    let variance = (centred.sqr()?.sum_keepdim(D::Minus1)? / width)?;
    let normal = centred.broadcast_div(&(variance + f64::from(eps as f32))?.sqrt()?)?;
    normal.broadcast_mul(weight)?.broadcast_add(bias)
}

pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)? as f64;
    let mean = (x.sqr()?.sum_keepdim(D::Minus1)? / width)?;
    x.broadcast_div(&(mean + f64::from(eps as f32))?.sqrt()?)?.broadcast_mul(weight)
}

pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}

pub fn gated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let n = x.dim(1)? / 2;
    activate(&x.narrow(1, 0, n)?.contiguous()?, activation)? * x.narrow(1, n, n)?
}

pub fn read_attention(qkv: &Tensor, sight: &Sight<'_>) -> Result<Tensor> {
    let Sight { heads, kv_heads, size, length, .. } = *sight;
    let device = qkv.device();
    let b = qkv.dim(0)? / length;
    let part = |first: usize, n: usize| -> Result<Tensor> {
        let x = qkv.narrow(1, first * size, n * size)?;
        x.reshape((b, length, n, size))?.transpose(1, 2)?.contiguous()
    };
    let (mut q, mut k) = (part(0, heads)?, part(heads, kv_heads)?);
    if let Some(norms) = sight.norms {
        let weight = |weight: &[f32]| Tensor::from_slice(weight, size, device);
        q = rms_norm(&q, &weight(norms.query)?, f64::from(norms.eps))?;
        k = rms_norm(&k, &weight(norms.key)?, f64::from(norms.eps))?;
    }
    if let Some(turns) = sight.turns {
        let n = turns.n;
        let table = |x: &[f32]| Tensor::from_slice(&x[..length * n], (1, 1, length, n), device);
        let (cos, sin) = (table(&turns.cos)?, table(&turns.sin)?);
        let turn = |x: &Tensor| -> Result<Tensor> {
            let (low, high) = (x.narrow(3, 0, n)?, x.narrow(3, n, n)?);
            let new_low = (low.broadcast_mul(&cos)? - high.broadcast_mul(&sin)?)?;
            let new_high = (high.broadcast_mul(&cos)? + low.broadcast_mul(&sin)?)?;
            if 2 * n == size {
                return Tensor::cat(&[new_low, new_high], 3);
            }
            Tensor::cat(&[new_low, new_high, x.narrow(3, 2 * n, size - 2 * n)?], 3)
        };
        (q, k) = (turn(&q)?, turn(&k)?);
    }
    // Heads of queries that share keys one after the other: (row, key head, query, key).
    let group = heads / kv_heads;
    let q = q.reshape((b, kv_heads, group * length, size))?;
    let scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(sight.scale))?;
    let n_hidden = if sight.lengths.is_some() { b } else { 1 };
    let hidden = (0..n_hidden * length * length).map(|i| {
        let (query, key) = (i / length % length, i % length);
        let is_seen = sight.seen(i / (length * length)).keys(query).contains(&key);
        if is_seen { 0.0 } else { f32::MIN }
    });
    let shape = (n_hidden, 1, 1, length, length);
    let hidden = Tensor::from_vec(hidden.collect::<Vec<f32>>(), shape, device)?;
    let mut scores = scores.reshape((b, kv_heads, group, length, length))?;
    if let Some(distances) = &sight.distances {
        let row = |i: usize| distances.rows[i % length + length - 1 - i / length];
        let rows: Vec<u32> = (0..length * length).map(row).collect();
        let rows = Tensor::from_vec(rows, length * length, device)?;
        if let Some(bias) = distances.bias {
            let bias = Tensor::from_slice(bias, (bias.len() / heads, heads), device)?;
            let added = bias.index_select(&rows, 0)?.t()?;
            scores = scores.broadcast_add(&added.reshape((1, heads, 1, length, length))?)?;
        }
        if let Some([keys, queries]) = distances.vectors {
            let rows = rows.reshape((1, 1, length, length))?;
            let rows = rows.broadcast_as((b, heads, length, length))?.contiguous()?;
            // Products of x with each row of a table, (row, head, token, row of the table).
            let products = |x: &Tensor, table: &[f32]| -> Result<Tensor> {
                let shape = (table.len() / heads / size, heads, size);
                let table = Tensor::from_slice(table, shape, device)?.permute((1, 2, 0))?;
                // Strides of a single token may be any; a reshape sets them right.
                let x = x.reshape((b, heads, length, size))?;
                x.broadcast_matmul(&table.contiguous()?.unsqueeze(0)?)
            };
            let of_query = products(&q, keys)?.gather(&rows, 3)?;
            let of_key = products(&k, queries)?.gather(&rows.t()?.contiguous()?, 3)?.t()?;
            let added = ((of_query + of_key)? * f64::from(sight.scale))?.reshape(scores.shape())?;
            scores = (scores + added)?;
        }
    }
    let scores = scores.broadcast_add(&hidden)?;
    let weights = below_largest(&scores)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    let weights = weights.reshape((b, kv_heads, group * length, length))?;
    let mixed = weights.matmul(&part(heads + kv_heads, kv_heads)?)?;
    let mixed = mixed.reshape((b, heads, length, size))?.transpose(1, 2)?;
    mixed.reshape((b * length, heads * size))
}

pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

pub fn embed(
    (words, positions, types): (&Tensor, &Tensor, &Tensor),
    ids: &[u32],
    type_ids: &[u32],
    length: usize,
) -> Result<Tensor> {
    let n = ids.len();
    let places: Vec<u32> = (0..n).map(|i| (i % length) as u32).collect();
    let look_up = |table: &Tensor, ids: &[u32]| {
        table.index_select(&Tensor::from_slice(ids, n, table.device())?, 0)
    };
    look_up(words, ids)? + look_up(positions, &places)? + look_up(types, type_ids)?
}

pub fn dropout(x: &Tensor, Dropout { p, seed }: Dropout) -> Result<Tensor> {
    let scale = (1.0 / (1.0 - p)) as f32;
    let kept = super::kept(seed, p);
    let mask: Vec<f32> =
        (0..x.elem_count()).map(|i| if kept(i as u32) { scale } else { 0.0 }).collect();
    x * Tensor::from_vec(mask, x.shape(), x.device())?
}

pub fn attention(
    qkv: &Tensor,
    heads: usize,
    rows: Rows<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let Rows { rows: b, length, attended } = rows;
    let width = qkv.dim(1)? / 3;
    let size = width / heads;
    let qkv = qkv.reshape((b, length, 3, heads, size))?.permute((2, 0, 3, 1, 4))?;
    let part = |i: usize| qkv.get(i)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = (q.matmul(&k.t()?)? * (1.0 / (size as f64).sqrt()))?;
    let hidden: Vec<f32> = attended.iter().map(|&a| if a { 0.0 } else { f32::MIN }).collect();
    let hidden = Tensor::from_vec(hidden, (b, 1, 1, length), qkv.device())?;
    let weights = below_largest(&scores.broadcast_add(&hidden)?)?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    let weights = match dropout {
        Some(dropout) => self::dropout(&weights, dropout)?,
        None => weights,
    };
    let mixed = weights.matmul(&v)?;
    mixed.transpose(1, 2)?.reshape((b * length, width))
}

/// x − the row's largest, through which no gradient goes: in a softmax it cancels.
fn below_largest(x: &Tensor) -> Result<Tensor> {
    x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())
}

pub fn mlm_loss(x: &Tensor, table: &Tensor, bias: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let labels = Tensor::from_slice(labels, (labels.len(), 1), x.device())?;
    let scores = below_largest(&linear(x, table, bias)?)?;
    let log_sums = scores.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (log_sums - scores.gather(&labels, 1)?)?.mean_all()
}
