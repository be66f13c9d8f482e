//! Elements of every dtype, in either byte order, as f32 and f64.

use super::header::{Dtype, Kind};

/// One element from its bytes in either order.
pub(super) fn element<T: bytemuck::Pod>(bytes: &[u8], big_endian: bool) -> T {
    let mut native = [0u8; 8];
    let native = &mut native[..size_of::<T>()];
    native.copy_from_slice(bytes);
    if big_endian != cfg!(target_endian = "big") {
        native.reverse();
    }
    bytemuck::pod_read_unaligned(native)
}

/// Elements of any dtype as f32.
pub(in crate::io) fn decode(dtype: Dtype, bytes: &[u8], out: &mut [f32]) {
    macro_rules! convert {
        ($type:ty) => {{
            const N: usize = size_of::<$type>();
            let elements = bytes.as_chunks::<N>().0.iter().zip(out);
            if dtype.big_endian {
                elements.for_each(|(bytes, out)| *out = <$type>::from_be_bytes(*bytes) as f32);
            } else {
                elements.for_each(|(bytes, out)| *out = <$type>::from_le_bytes(*bytes) as f32);
            }
        }};
    }
    match dtype.kind {
        Kind::Bool => bytes.iter().zip(out).for_each(|(&b, out)| *out = f32::from(b != 0)),
        Kind::I8 => convert!(i8),
        Kind::I16 => convert!(i16),
        Kind::I32 => convert!(i32),
        Kind::I64 => convert!(i64),
        Kind::U8 => convert!(u8),
        Kind::U16 => convert!(u16),
        Kind::U32 => convert!(u32),
        Kind::U64 => convert!(u64),
        Kind::F16 => bytes.as_chunks::<2>().0.iter().zip(out).for_each(|(&bytes, out)| {
            let bits = if dtype.big_endian {
                u16::from_be_bytes(bytes)
            } else {
                u16::from_le_bytes(bytes)
            };
            *out = f16_to_f32(bits);
        }),
        Kind::F32 => convert!(f32),
        Kind::F64 => convert!(f64),
    }
}

/// Elements of any dtype as f64.
pub(super) fn decode_f64(dtype: Dtype, bytes: &[u8], out: &mut [f64]) {
    macro_rules! convert {
        ($type:ty) => {
            for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(size_of::<$type>())) {
                *value = element::<$type>(bytes, dtype.big_endian) as f64;
            }
        };
    }
    match dtype.kind {
        Kind::Bool => out.iter_mut().zip(bytes).for_each(|(v, &b)| *v = f64::from(b != 0)),
        Kind::I8 => convert!(i8),
        Kind::I16 => convert!(i16),
        Kind::I32 => convert!(i32),
        Kind::I64 => convert!(i64),
        Kind::U8 => convert!(u8),
        Kind::U16 => convert!(u16),
        Kind::U32 => convert!(u32),
        Kind::U64 => convert!(u64),
        Kind::F16 => out.iter_mut().zip(bytes.chunks_exact(2)).for_each(|(value, bytes)| {
            *value = f64::from(f16_to_f32(element::<u16>(bytes, dtype.big_endian)));
        }),
        Kind::F32 => convert!(f32),
        Kind::F64 => convert!(f64),
    }
}

/// A half as f32, exactly: every half is one. Payloads of NaN are kept, as NumPy keeps them.
pub(in crate::io) fn f16_to_f32(bits: u16) -> f32 {
    let (sign, exponent, fraction) =
        (u32::from(bits >> 15) << 31, u32::from(bits >> 10) & 0x1f, u32::from(bits) & 0x3ff);
    match exponent {
        // 0 and the subnormal halves, multiples of 2^-24.
        0 => f32::from_bits(sign | (fraction as f32 * 2f32.powi(-24)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
