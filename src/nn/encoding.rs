//! How numbers lie in files of weights: floats, and blocks of small whole numbers with a scale.
//!
//! The blocks are those of ggml (ggml-org/ggml: src/ggml-common.h: block_q4_0 and the like;
//! src/ggml-quants.c: dequantize_row_*), little-endian, scales as f16. What is written below is
//! value = scale · q (− or + minimum).

/// The form of a tensor's numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Encoding {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// Numbers of a block of the K kinds.
const K: usize = 256;

impl Encoding {
    /// The one that GGUF files give this number, or its name there if it is not read.
    pub fn of_gguf(number: u32) -> Result<Self, String> {
        const UNREAD: [(u32, &str); 21] = [
            (9, "Q8_1"),
            (10, "Q2_K"),
            (11, "Q3_K"),
            (15, "Q8_K"),
            (16, "IQ2_XXS"),
            (17, "IQ2_XS"),
            (18, "IQ3_XXS"),
            (19, "IQ1_S"),
            (20, "IQ4_NL"),
            (21, "IQ3_S"),
            (22, "IQ2_S"),
            (23, "IQ4_XS"),
            (24, "I8"),
            (25, "I16"),
            (26, "I32"),
            (27, "I64"),
            (28, "F64"),
            (29, "IQ1_M"),
            (34, "TQ1_0"),
            (35, "TQ2_0"),
            (39, "MXFP4"),
        ];
        Ok(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            other => {
                let name = UNREAD.iter().find(|(number, _)| *number == other);
                return Err(name.map_or_else(|| format!("{other}"), |(_, name)| (*name).to_owned()));
            }
        })
    }

    /// The one of a safetensors file's dtype.
    pub fn of_safetensors(dtype: &str) -> Option<Self> {
        match dtype {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Numbers of a block, and its bytes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 2 + 16),
            Self::Q4_1 => (32, 4 + 16),
            Self::Q5_0 => (32, 2 + 4 + 16),
            Self::Q5_1 => (32, 4 + 4 + 16),
            Self::Q8_0 => (32, 2 + 32),
            Self::Q4K => (K, 4 + 12 + K / 2),
            Self::Q5K => (K, 4 + 12 + K / 8 + K / 2),
            Self::Q6K => (K, K / 2 + K / 4 + 16 + 2),
        }
    }

    /// Bytes of `n` numbers; none if they are no whole blocks, or too many.
    pub fn n_bytes(self, n: u64) -> Option<u64> {
        let (numbers, bytes) = self.block();
        let is_whole = n.is_multiple_of(numbers as u64);
        is_whole.then(|| (n / numbers as u64).checked_mul(bytes as u64)).flatten()
    }

    /// The numbers of whole blocks: `out` has as many as `bytes` hold.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let (numbers, size) = self.block();
        let blocks = bytes.chunks_exact(size).zip(out.chunks_exact_mut(numbers));
        match self {
            Self::F32 => blocks.for_each(|(b, out)| out[0] = f32_at(b)),
            Self::F16 => blocks.for_each(|(b, out)| out[0] = f16_at(b, 0)),
            Self::Bf16 => {
                blocks.for_each(|(b, out)| out[0] = f32::from_bits(u32::from(u16_at(b, 0)) << 16));
            }
            Self::Q4_0 => blocks.for_each(|(b, out)| {
                let scale = f16_at(b, 0);
                halves(&b[2..], out, |q, _| scale * (f32::from(q) - 8.0));
            }),
            Self::Q4_1 => blocks.for_each(|(b, out)| {
                let (scale, least) = (f16_at(b, 0), f16_at(b, 2));
                halves(&b[4..], out, |q, _| scale * f32::from(q) + least);
            }),
            Self::Q5_0 => blocks.for_each(|(b, out)| {
                let (scale, high) = (f16_at(b, 0), u32_at(b, 2));
                let whole = |q: u8, i: usize| q | ((high >> i) as u8 & 1) << 4;
                halves(&b[6..], out, |q, i| scale * (f32::from(whole(q, i)) - 16.0));
            }),
            Self::Q5_1 => blocks.for_each(|(b, out)| {
                let (scale, least, high) = (f16_at(b, 0), f16_at(b, 2), u32_at(b, 4));
                let whole = |q: u8, i: usize| q | ((high >> i) as u8 & 1) << 4;
                halves(&b[8..], out, |q, i| scale * f32::from(whole(q, i)) + least);
            }),
            Self::Q8_0 => blocks.for_each(|(b, out)| {
                let scale = f16_at(b, 0);
                out.iter_mut().zip(&b[2..]).for_each(|(x, &q)| *x = scale * f32::from(q as i8));
            }),
            Self::Q4K => blocks.for_each(|(b, out)| k4(b, out)),
            Self::Q5K => blocks.for_each(|(b, out)| k5(b, out)),
            Self::Q6K => blocks.for_each(|(b, out)| k6(b, out)),
        }
    }
}

/// 32 numbers of four bits: the lower halves of 16 bytes, then their upper halves.
fn halves(bytes: &[u8], out: &mut [f32], value: impl Fn(u8, usize) -> f32) {
    for (i, &byte) in bytes[..16].iter().enumerate() {
        out[i] = value(byte & 15, i);
        out[i + 16] = value(byte >> 4, i + 16);
    }
}

/// Six-bit scale and minimum of the `i`-th of eight parts of a block, out of 12 bytes.
fn six_bits(b: &[u8], i: usize) -> (f32, f32) {
    let (scale, least) = match i {
        0..4 => (b[i] & 63, b[i + 4] & 63),
        _ => ((b[i + 4] & 15) | (b[i - 4] >> 6) << 4, (b[i + 4] >> 4) | (b[i] >> 6) << 4),
    };
    (f32::from(scale), f32::from(least))
}

/// d · scale · q − dmin · minimum, 32 numbers a part.
fn k4(b: &[u8], out: &mut [f32]) {
    let (d, least) = (f16_at(b, 0), f16_at(b, 2));
    for (i, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = six_bits(&b[4..16], i);
        let bytes = &b[16 + i / 2 * 32..][..32];
        for (x, &byte) in out.iter_mut().zip(bytes) {
            let q = if i % 2 == 0 { byte & 15 } else { byte >> 4 };
            *x = d * scale * f32::from(q) - least * minimum;
        }
    }
}

/// As [`k4`] with a fifth bit in 32 further bytes.
fn k5(b: &[u8], out: &mut [f32]) {
    let (d, least) = (f16_at(b, 0), f16_at(b, 2));
    for (i, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = six_bits(&b[4..16], i);
        let (high, bytes) = (&b[16..48], &b[48 + i / 2 * 32..][..32]);
        for ((x, &byte), &high) in out.iter_mut().zip(bytes).zip(high) {
            let q = if i % 2 == 0 { byte & 15 } else { byte >> 4 };
            let q = q | (high >> i & 1) << 4;
            *x = d * scale * f32::from(q) - least * minimum;
        }
    }
}

/// d · scale · (q − 32), 16 numbers a part, scales of eight bits.
fn k6(b: &[u8], out: &mut [f32]) {
    let (low, high, scales, d) = (&b[..128], &b[128..192], &b[192..208], f16_at(b, 208));
    for (at, x) in out.iter_mut().enumerate() {
        // Two halves of 128 numbers; in each, quarters of 32.
        let (half, quarter, i) = (at / 128, at % 128 / 32, at % 32);
        let byte = low[half * 64 + quarter % 2 * 32 + i];
        let q = if quarter < 2 { byte & 15 } else { byte >> 4 };
        let q = q | (high[half * 32 + i] >> (2 * quarter) & 3) << 4;
        let scale = f32::from(scales[at / 16] as i8);
        *x = d * scale * (f32::from(q) - 32.0);
    }
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn f32_at(b: &[u8]) -> f32 {
    f32::from_bits(u32_at(b, 0))
}

/// An IEEE half-precision number.
fn f16_at(b: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16_at(b, at));
    let (sign, exponent, fraction) = (bits >> 15 << 31, bits >> 10 & 31, bits & 1023);
    match exponent {
        // Subnormal: fraction · 2⁻²⁴.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        31 => f32::from_bits(sign | 255 << 23 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn every_half_precision_number_is_read() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let tensor = Tensor::from_raw_buffer(&bytes, DType::F16, &[1], &Device::Cpu).unwrap();
            let theirs: Vec<f32> = tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
            let ours = f16_at(&bytes, 0);
            assert!(ours.to_bits() == theirs[0].to_bits() || ours.is_nan() && theirs[0].is_nan());
        }
    }

    /// Blocks that candle wrote are read as candle reads them.
    #[test]
    fn blocks_are_read_as_another_reader_does() {
        let n = 3 * 512;
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) * (0.01 + (i / 64) as f32 * 0.003);
        let values: Vec<f32> = (0..n).map(value).collect();
        let tensor = Tensor::from_vec(values, (3, 512), &Device::Cpu).unwrap();
        for (number, kind) in [
            (2, GgmlDType::Q4_0),
            (3, GgmlDType::Q4_1),
            (6, GgmlDType::Q5_0),
            (7, GgmlDType::Q5_1),
            (8, GgmlDType::Q8_0),
            (12, GgmlDType::Q4K),
            (13, GgmlDType::Q5K),
            (14, GgmlDType::Q6K),
        ] {
            let encoding = Encoding::of_gguf(number).unwrap();
            let packed = QTensor::quantize(&tensor, kind).unwrap();
            let theirs = packed.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
            let theirs: Vec<f32> = theirs.to_vec1().unwrap();
            let bytes = packed.data().unwrap();
            assert_eq!(encoding.n_bytes(n as u64), Some(bytes.len() as u64), "{kind:?}");
            let mut ours = vec![0.0; n];
            encoding.decode(&bytes, &mut ours);
            for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!(
                    (a - b).abs() <= 2.0 * f32::EPSILON * b.abs().max(1.0),
                    "{kind:?} {i}: {a} {b}"
                );
            }
        }
        assert_eq!(Encoding::of_gguf(10), Err("Q2_K".to_owned()));
        assert_eq!(Encoding::Q4_0.n_bytes(33), None);
        assert_eq!(Encoding::F32.n_bytes(u64::MAX), None);
    }
}
