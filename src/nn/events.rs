//! TensorBoard event files: records of scalar values, as bytes.
//!
//! A file is a row of TFRecords (tensorflow/tensorflow: core/lib/io/record_writer.h): length (u64),
//! its masked CRC-32C, the payload, its masked CRC-32C, little-endian. A payload is the protobuf
//! message `Event` (core/util/event.proto): wall_time = 1 (double), step = 2 (int64), file_version =
//! 3 (string), summary = 5, whose values = 1 have tag = 1 and simple_value = 2 (float).

/// The record that every file starts with.
pub fn header(wall_time_s: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time_s);
    put_bytes(&mut event, 3, b"brain.Event:2");
    record(&event)
}

/// A record of named values at a step.
pub fn scalars(wall_time_s: f64, step: u64, values: &[(&str, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut one = Vec::new();
        put_bytes(&mut one, 1, tag.as_bytes());
        put_float(&mut one, 2, *value);
        put_bytes(&mut summary, 1, &one);
    }
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time_s);
    if step > 0 {
        put_varint(&mut event, 2 << 3);
        put_varint(&mut event, step);
    }
    put_bytes(&mut event, 5, &summary);
    record(&event)
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let mut bytes = length.to_vec();
    bytes.extend(masked_crc(&length).to_le_bytes());
    bytes.extend(payload);
    bytes.extend(masked_crc(payload).to_le_bytes());
    bytes
}

/// Protobuf wire types (protobuf.dev, "Encoding"): 0 varint, 1 eight bytes, 2 length and bytes, 5
/// four bytes.
fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn put_double(to: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(to, field << 3 | 1);
    to.extend(value.to_le_bytes());
}

fn put_float(to: &mut Vec<u8>, field: u64, value: f32) {
    put_varint(to, field << 3 | 5);
    to.extend(value.to_le_bytes());
}

fn put_bytes(to: &mut Vec<u8>, field: u64, value: &[u8]) {
    put_varint(to, field << 3 | 2);
    put_varint(to, value.len() as u64);
    to.extend(value);
}

/// CRC-32C rotated and shifted, as TFRecords have it.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), bit by bit: records are a few dozen bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78; // reflected
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_has_the_values_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(&(0..32).rev().collect::<Vec<u8>>()), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn long_numbers_take_several_bytes() {
        let mut bytes = Vec::new();
        for value in [0, 127, 128, 300, u64::MAX] {
            put_varint(&mut bytes, value);
        }
        let max = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(bytes, [&[0, 127, 0x80, 1, 0xac, 2][..], &max].concat());
    }

    #[test]
    fn records_are_those_of_tensorboards_own_writer() {
        let golden = include_bytes!("../../tests/golden/tensorboard/events.out.tfevents.golden");
        let mut ours = header(1.5);
        ours.extend(scalars(2.25, 0, &[("loss/train", 8.125)]));
        ours.extend(scalars(3.5, 300, &[("loss/train", -0.1), ("lr", 1e-4)]));
        ours.extend(scalars(1.7e9, 5_000_000_000, &[("tokens_per_s", f32::MAX)]));
        assert_eq!(ours, golden);
    }
}
