//! The operations of an encoder, each with its gradient, and those of models that are only read.
//!
//! Hidden states are (tokens, width), rows of a batch one after the other. Every operation has a
//! form *composed* of candle's own operations: it runs on every device, and the tests hold the
//! fused form of the CPU to it.

mod adam;
mod attention;
mod composed;
mod elementwise;
mod embed;
mod gate;
mod head;
mod host;
mod linear;
mod math;
mod norm;
mod products;
#[cfg(test)]
mod reading_tests;
mod sight;
#[cfg(test)]
mod tests;
mod weight;

pub use adam::{Adam, Moments, sum_of_squares};
pub use gate::Activation;
pub use sight::{Distances, HeadNorms, Sight, Turns};
pub use weight::{Weight, number_bytes};

use candle_core::{Result, Tensor};

/// Dropout of one place: share that is set to 0 and the seed of which.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Share.
    pub p: f64,
    /// Seed of this place in this step.
    pub seed: u64,
}

/// The rows of a batch as attention sees them.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Tokens of a row.
    pub length: usize,
    /// Whether a token is there, (rows, length).
    pub attended: &'a [bool],
}

/// words[ids[i]] + positions[i mod length] + types[types[i]] for every token, (tokens, width).
pub fn embed(
    (words, positions, types): (&Tensor, &Tensor, &Tensor),
    ids: &[u32],
    type_ids: &[u32],
    length: usize,
) -> Result<Tensor> {
    if !words.device().is_cpu() {
        return composed::embed((words, positions, types), ids, type_ids, length);
    }
    let op = embed::Embed { ids: ids.to_vec(), types: type_ids.to_vec(), length };
    words.apply_op3(positions, types, op)
}

/// (x − mean) / √(variance + eps) · weight + bias over the last dimension.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::layer_norm(x, weight, bias, eps);
    }
    x.apply_op3(weight, bias, norm::LayerNorm(eps as f32))
}

/// x / √(mean x² + eps) · weight over the last dimension, without a gradient.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::rms_norm(x, weight, eps);
    }
    x.apply_op2_no_bwd(weight, &norm::RmsNorm(eps as f32))
}

/// f(x) for every number, without a gradient.
pub fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::activate(x, activation);
    }
    x.apply_op1_no_bwd(&gate::Gate { activation, is_gated: false })
}

/// f(gate) · up, without a gradient. `x`: (tokens, 2 · n), gate and up side by side.
pub fn gated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::gated(x, activation);
    }
    x.apply_op1_no_bwd(&gate::Gate { activation, is_gated: true })
}

/// Attention with rotary positions, windows and distances, without a gradient.
///
/// `qkv`: (tokens, (heads + 2 · kv_heads) · size), queries, keys and values side by side.
pub fn read_attention(qkv: &Tensor, sight: &Sight<'_>) -> Result<Tensor> {
    if !qkv.device().is_cpu() {
        return composed::read_attention(qkv, sight);
    }
    qkv.apply_op1_no_bwd(sight)
}

/// x · weightᵀ + bias; weight: (out, in).
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::linear(x, weight, bias);
    }
    x.apply_op3(weight, bias, linear::Linear)
}

/// x · Φ(x), with the error function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() { x.apply_op1(elementwise::Gelu) } else { x.gelu_erf() }
}

/// x with a share of its values set to 0 and the others scaled up.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout.filter(|dropout| dropout.p > 0.0) {
        None => Ok(x.clone()),
        Some(dropout) if x.device().is_cpu() => x.apply_op1(elementwise::DropoutOp(dropout)),
        Some(dropout) => composed::dropout(x, dropout),
    }
}

/// residual + dropout(x).
pub fn dropout_add(x: &Tensor, residual: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    match dropout.filter(|dropout| dropout.p > 0.0) {
        None => x + residual,
        Some(dropout) if x.device().is_cpu() => {
            x.apply_op2(residual, elementwise::DropoutAdd(dropout))
        }
        Some(dropout) => composed::dropout(x, dropout)? + residual,
    }
}

/// softmax(q·kᵀ/√d) · v within each row and head, weights dropped out.
///
/// `qkv`: (tokens, 3 · width), queries, keys and values side by side, heads side by side in each.
pub fn attention(
    qkv: &Tensor,
    heads: usize,
    rows: Rows<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let dropout = dropout.filter(|dropout| dropout.p > 0.0);
    if !qkv.device().is_cpu() {
        return composed::attention(qkv, heads, rows, dropout);
    }
    let attended = rows.attended.to_vec();
    qkv.apply_op1(attention::Attention { heads, length: rows.length, attended, dropout })
}

/// Mean of −ln p(label), p = softmax(x · tableᵀ + bias). x: (n, width), table: (pieces, width).
pub fn mlm_loss(x: &Tensor, table: &Tensor, bias: &Tensor, labels: &[u32]) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return composed::mlm_loss(x, table, bias, labels);
    }
    x.apply_op3(table, bias, head::MlmLoss::new(labels))
}

/// Which values of a place dropout keeps: a hash of seed and index, so that any thread can ask for
/// any of them, and the backward pass asks again.
#[inline(always)]
fn kept(seed: u64, p: f64) -> impl Fn(u32) -> bool + Copy {
    let border = (p * f64::from(u32::MAX)) as u32;
    let (low, high) = (seed as u32, (seed >> 32) as u32);
    move |index| hash(index ^ low, high) >= border
}

/// 32 bits that look random: two multiplications and three shifts, no state
/// (Wellons, "Prospecting for hash functions", the function called lowbias32).
#[inline(always)]
fn hash(index: u32, key: u32) -> u32 {
    let mut x = index.wrapping_add(key);
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}
