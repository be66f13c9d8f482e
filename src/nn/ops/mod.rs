//! The operations of an encoder, each with its gradient.
//!
//! Hidden states are (tokens, width), rows of a batch one after the other. Every operation has a
//! form *composed* of candle's own operations: it runs on every device, and the tests hold the
//! fused form of the CPU to it.

mod composed;

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

/// (x − mean) / √(variance + eps) · weight + bias over the last dimension.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    composed::layer_norm(x, weight, bias, eps)
}

/// x · weightᵀ + bias; weight: (out, in).
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    composed::linear(x, weight, bias)
}

/// x · Φ(x), with the error function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// x with a share of its values set to 0 and the others scaled up.
pub fn dropout(x: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    composed::dropout(x, dropout)
}

/// residual + dropout(x).
pub fn dropout_add(x: &Tensor, residual: &Tensor, dropout: Option<Dropout>) -> Result<Tensor> {
    composed::dropout(x, dropout)? + residual
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
    composed::attention(qkv, heads, rows, dropout)
}

/// Mean of −ln p(label), p = softmax(x · tableᵀ + bias). x: (n, width), table: (pieces, width).
pub fn mlm_loss(x: &Tensor, table: &Tensor, bias: &Tensor, labels: &[u32]) -> Result<Tensor> {
    composed::mlm_loss(x, table, bias, labels)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_its_share_and_differs_from_seed_to_seed() {
        let n = 200_000;
        for (p, seed) in [(0.1, 3), (0.5, u64::MAX / 3), (0.9, 1 << 40)] {
            let kept = kept(seed, p);
            let share = (0..n).filter(|&i| !kept(i)).count() as f64 / f64::from(n);
            let sd = (p * (1.0 - p) / f64::from(n)).sqrt();
            assert!((share - p).abs() < 4.0 * sd, "{share} dropped, expected {p}");
            let other = super::kept(seed + (1 << 32), p);
            let both = (0..n).filter(|&i| !kept(i) && !other(i)).count() as f64 / f64::from(n);
            assert!((both - p * p).abs() < 5.0 * p * sd.max(1e-3), "{both} by both seeds");
        }
        assert!((0..n).all(kept(7, 0.0)));
    }
}
