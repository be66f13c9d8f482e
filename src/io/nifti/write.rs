//! Writes one volume of f32, gzipped if its name ends in `.gz`.

use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::grid::Grid;
use super::header::{BYTES_1, BYTES_2};
use super::mask::Mask;
use crate::error::{Error, Result};
use crate::io::output::PartialFile;

const FLOAT32: i16 = 16;

/// Writes one value a voxel into the mask's grid, 0 elsewhere; NaN stays NaN.
///
/// `values`: one for each of the mask's voxels, in its order.
/// # Errors
/// `Error::Shape` for another number of values, `Error::Write` otherwise.
pub fn write_voxels(path: &Path, mask: &Mask, values: &[f32]) -> Result<()> {
    check_length(path, mask.n_voxels(), values.len())?;
    let mut volume = vec![0f32; mask.grid().n_voxels()];
    for (&at, &value) in mask.offsets().iter().zip(values) {
        volume[at as usize] = value;
    }
    write_in_file_order(path, mask.grid(), &volume)
}

/// Writes a whole volume, `(x, y, z)` in C order.
/// # Errors
/// As [`write_voxels`].
pub fn write_volume(path: &Path, grid: &Grid, values: &[f32]) -> Result<()> {
    check_length(path, grid.n_voxels(), values.len())?;
    let mut volume = vec![0f32; values.len()];
    for (at, &value) in super::read::c_order(grid).zip(values) {
        volume[at as usize] = value;
    }
    write_in_file_order(path, grid, &volume)
}

fn check_length(path: &Path, expected: usize, got: usize) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!("values for {}", path.display()),
        expected: format!("{expected}, one a voxel"),
        got: got.to_string(),
        hint: "give the mask that the results were made with".into(),
    })
}

/// `volume`: x fastest. The file is whole or absent; equal values give equal bytes.
fn write_in_file_order(path: &Path, grid: &Grid, volume: &[f32]) -> Result<()> {
    let partial = PartialFile::create(path)?;
    let is_gzip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
    let mut head = header(grid);
    head.extend([0; 4]); // no extensions
    head.extend(volume.iter().flat_map(|value| value.to_le_bytes()));
    let write = || -> std::io::Result<()> {
        let mut file = partial.file();
        if !is_gzip {
            return file.write_all(&head);
        }
        let mut packed = GzEncoder::new(BufWriter::new(file), Compression::default());
        packed.write_all(&head)?;
        packed.finish()?.flush()
    };
    write().map_err(|source| partial.write_error(source))?;
    partial.finish()
}

/// A little-endian header of the grid's own version; sizes over NIfTI-1's i16 make it NIfTI-2.
fn header(grid: &Grid) -> Vec<u8> {
    let fits_1 = grid.shape.iter().all(|&size| i16::try_from(size).is_ok());
    if grid.version == 1 && fits_1 { header_1(grid) } else { header_2(grid) }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn header_1(grid: &Grid) -> Vec<u8> {
    let mut bytes = vec![0u8; BYTES_1];
    let mut i16s = |at: usize, value: i16| put(&mut bytes, at, &value.to_le_bytes());
    i16s(40, 3);
    for (i, &size) in grid.shape.iter().enumerate() {
        i16s(42 + 2 * i, i16::try_from(size).unwrap_or(i16::MAX));
    }
    (4..8).for_each(|i| i16s(40 + 2 * i, 1));
    i16s(70, FLOAT32);
    i16s(72, 32);
    i16s(252, grid.qform_code as i16);
    i16s(254, grid.sform_code as i16);
    put(&mut bytes, 0, &348i32.to_le_bytes());
    let mut f32s = |at: usize, values: &[f64]| {
        for (i, &value) in values.iter().enumerate() {
            put(&mut bytes, at + 4 * i, &(value as f32).to_le_bytes());
        }
    };
    f32s(76, &grid.pixdim);
    f32s(108, &[352.0, 1.0, 0.0]); // where the data start, slope, intercept
    f32s(256, &grid.qform);
    (0..3).for_each(|row| f32s(280 + 16 * row, &grid.sform[row]));
    bytes[123] = grid.units;
    put(&mut bytes, 344, b"n+1\0");
    bytes
}

fn header_2(grid: &Grid) -> Vec<u8> {
    let mut bytes = vec![0u8; BYTES_2];
    put(&mut bytes, 0, &540i32.to_le_bytes());
    put(&mut bytes, 4, b"n+2\0\r\n\x1a\n");
    put(&mut bytes, 12, &FLOAT32.to_le_bytes());
    put(&mut bytes, 14, &32i16.to_le_bytes());
    let sizes = grid.shape.iter().map(|&size| size as i64);
    let dim = std::iter::once(3).chain(sizes).chain([1; 4]);
    for (i, size) in dim.enumerate() {
        put(&mut bytes, 16 + 8 * i, &size.to_le_bytes());
    }
    put(&mut bytes, 168, &544i64.to_le_bytes());
    let mut f64s = |at: usize, values: &[f64]| {
        for (i, &value) in values.iter().enumerate() {
            put(&mut bytes, at + 8 * i, &value.to_le_bytes());
        }
    };
    f64s(104, &grid.pixdim);
    f64s(176, &[1.0, 0.0]);
    f64s(352, &grid.qform);
    (0..3).for_each(|row| f64s(400 + 32 * row, &grid.sform[row]));
    put(&mut bytes, 344, &grid.qform_code.to_le_bytes());
    put(&mut bytes, 348, &grid.sform_code.to_le_bytes());
    put(&mut bytes, 500, &i32::from(grid.units).to_le_bytes());
    bytes
}
