//! Goes over the volumes of an image, one in memory at a time.

use std::io::{BufRead, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::NiftiError;
use super::grid::Grid;
use super::header::{self, Header, Kind};
use crate::error::{Error, Result};
use crate::io::input;
use crate::io::input::open_file;

/// No deflate stream unpacks to more than this many times its length (1032 by its format).
const MAX_GZIP_RATIO: u64 = 1100;

/// An image whose header was checked against the file's length.
#[derive(Debug, Clone)]
pub struct NiftiFile {
    path: PathBuf,
    header: Header,
}

/// One volume in memory.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Where its voxels are.
    pub grid: Grid,
    /// `(x, y, z)` in C order, slope and intercept applied.
    pub values: Vec<f32>,
}

impl NiftiFile {
    /// Opens an image and checks its header; the voxels stay on disk.
    /// # Errors
    /// `Error::Read` if it cannot be opened, `Error::Nifti` for everything wrong inside.
    pub fn open(path: &Path) -> Result<NiftiFile> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let nifti_error = |source| Error::Nifti { path: path.to_owned(), source };
        let mut start = Vec::with_capacity(2);
        let file = open_file(path).map_err(read_error)?;
        let n_file = file.metadata().map_err(read_error)?.len();
        file.take(2).read_to_end(&mut start).map_err(read_error)?;
        let is_gzip = start == [0x1f, 0x8b];
        let mut reader = input::open(path)?;
        let header = read_header(&mut reader).map_err(|fault| match fault {
            Fault::Io(source) => read_error(source),
            Fault::Nifti(source) => nifti_error(source),
        })?;
        let expected = header.n_data_bytes();
        let (shape, dtype) = (header.shape.clone(), header.kind.name());
        if !is_gzip && n_file.saturating_sub(header.data_start) < expected {
            let got = n_file.saturating_sub(header.data_start);
            return Err(nifti_error(NiftiError::Truncated { shape, dtype, expected, got }));
        }
        if is_gzip && expected / MAX_GZIP_RATIO > n_file {
            return Err(nifti_error(NiftiError::GzipTooShort { shape, dtype, expected, n_file }));
        }
        Ok(NiftiFile { path: path.to_owned(), header })
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its voxels are.
    pub fn grid(&self) -> &Grid {
        &self.header.grid
    }

    /// All sizes, ones at the end taken off, at least three.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// Volumes of a 4-D image; 1 in 3-D.
    pub fn n_volumes(&self) -> usize {
        self.header.n_volumes()
    }

    /// Repetition time that the header says, if it says one.
    pub fn tr_s(&self) -> Option<f64> {
        self.header.tr_s
    }

    /// Asks for 3-D, or 4-D with time last.
    /// # Errors
    /// `NiftiError::Shape`.
    pub fn check_dims(&self, is_4d: bool) -> Result<()> {
        let n = self.header.shape.len();
        let (is_right, expected, hint) = match is_4d {
            true => (n <= 4, "(x, y, z, time)", "give one run as a 4-D image"),
            false => (n == 3, "(x, y, z)", "give one volume, such as a mask"),
        };
        if is_right {
            return Ok(());
        }
        let shape = self.header.shape.clone();
        Err(self.error(NiftiError::Shape { shape, expected, hint }))
    }

    pub(super) fn error(&self, source: NiftiError) -> Error {
        Error::Nifti { path: self.path.clone(), source }
    }

    /// Calls `take` with the values at `offsets` of each of `volumes`, in order: slope and
    /// intercept applied in f64.
    ///
    /// `offsets`: places in a volume as the file has them, x fastest. Memory: one volume. A gzip
    /// file is unpacked from its start; after the last volume its end is read too, which checks
    /// its CRC.
    /// # Errors
    /// `Error::Read` for damaged gzip, `NiftiError::Truncated` if the file ends too early, and
    /// those of `take`.
    pub fn each_volume(
        &self,
        volumes: Range<usize>,
        offsets: &[u32],
        take: &mut dyn FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let read_error = |source| Error::Read { path: self.path.clone(), source };
        let n_bytes = self.header.grid.n_voxels() * self.header.kind.n_bytes();
        let mut reader = input::open(&self.path)?;
        let mut at = self.header.data_start + (volumes.start * n_bytes) as u64;
        let skipped = std::io::copy(&mut reader.by_ref().take(at), &mut std::io::sink());
        self.check_length(at, skipped.map_err(read_error)?)?;
        let mut raw = vec![0u8; n_bytes];
        let mut values = vec![0f64; offsets.len()];
        let is_last = volumes.end == self.n_volumes();
        for volume in volumes {
            let n_read = fill(&mut reader, &mut raw).map_err(read_error)?;
            self.check_length(at + n_bytes as u64, at + n_read as u64)?;
            at += n_bytes as u64;
            self.header.decode(&raw, offsets, &mut values);
            take(volume, &values)?;
        }
        if is_last {
            std::io::copy(&mut reader, &mut std::io::sink()).map_err(read_error)?;
        }
        Ok(())
    }

    /// The file must have `expected` bytes up to here.
    fn check_length(&self, expected: u64, got: u64) -> Result<()> {
        if got == expected {
            return Ok(());
        }
        let Header { shape, kind, data_start, .. } = &self.header;
        let (shape, dtype, expected) = (shape.clone(), kind.name(), self.header.n_data_bytes());
        let got = got.saturating_sub(*data_start);
        Err(self.error(NiftiError::Truncated { shape, dtype, expected, got }))
    }
}

/// Reads the first volume of an image.
/// # Errors
/// As [`NiftiFile::open`]; `NiftiError::Shape` for a 4-D image.
pub fn read_volume(path: &Path) -> Result<Volume> {
    let file = NiftiFile::open(path)?;
    file.check_dims(false)?;
    let grid = file.grid().clone();
    let offsets: Vec<u32> = c_order(&grid).collect();
    let mut found = Vec::new();
    file.each_volume(0..1, &offsets, &mut |_, values| {
        found = values.iter().map(|&value| value as f32).collect();
        Ok(())
    })?;
    Ok(Volume { grid, values: found })
}

/// Places in the file (x fastest) of all voxels in C order over (x, y, z).
pub(super) fn c_order(grid: &Grid) -> impl Iterator<Item = u32> + use<> {
    let [n_x, n_y, n_z] = grid.shape;
    let place = move |x, y, z| (x + n_x * (y + n_y * z)) as u32;
    (0..n_x).flat_map(move |x| (0..n_y).flat_map(move |y| (0..n_z).map(move |z| place(x, y, z))))
}

pub(super) enum Fault {
    Io(std::io::Error),
    Nifti(NiftiError),
}

pub(super) fn read_header(reader: &mut dyn BufRead) -> std::result::Result<Header, Fault> {
    let mut bytes = vec![0; 4];
    let n_read = fill(reader, &mut bytes).map_err(Fault::Io)?;
    let short = |n_bytes, expected| Fault::Nifti(NiftiError::TruncatedHeader { n_bytes, expected });
    if n_read < 4 {
        return Err(short(n_read, header::BYTES_1));
    }
    let first = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let length = header::length(first).map_err(Fault::Nifti)?;
    bytes.resize(length, 0);
    let n_read = fill(reader, &mut bytes[4..]).map_err(Fault::Io)? + 4;
    if n_read < length {
        return Err(short(n_read, length));
    }
    let header = header::parse(&bytes).map_err(Fault::Nifti)?;
    if u32::try_from(header.grid.n_voxels()).is_err() {
        let dim = header.shape.iter().map(|&size| size as i64).collect();
        let problem = format!("a volume has over {} voxels", u32::MAX);
        return Err(Fault::Nifti(NiftiError::Dims { dim, problem }));
    }
    Ok(header)
}

/// Reads until `out` is full or the stream ends; how much was read.
fn fill(reader: &mut (impl Read + ?Sized), out: &mut [u8]) -> std::io::Result<usize> {
    let mut n_read = 0;
    while n_read < out.len() {
        match reader.read(&mut out[n_read..]) {
            Ok(0) => break,
            Ok(n) => n_read += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_read)
}

impl Header {
    /// Values at `offsets` of a volume's bytes.
    fn decode(&self, raw: &[u8], offsets: &[u32], out: &mut [f64]) {
        let (slope, inter) = (self.slope, self.inter);
        let is_scaled = (slope, inter) != (1.0, 0.0);
        macro_rules! convert {
            ($type:ty) => {{
                let stored = raw.as_chunks::<{ size_of::<$type>() }>().0;
                for (value, &at) in out.iter_mut().zip(offsets) {
                    let bytes = stored[at as usize];
                    let number = match self.big_endian {
                        true => <$type>::from_be_bytes(bytes),
                        false => <$type>::from_le_bytes(bytes),
                    } as f64;
                    *value = if is_scaled { number * slope + inter } else { number };
                }
            }};
        }
        match self.kind {
            Kind::U8 => convert!(u8),
            Kind::I8 => convert!(i8),
            Kind::I16 => convert!(i16),
            Kind::U16 => convert!(u16),
            Kind::I32 => convert!(i32),
            Kind::U32 => convert!(u32),
            Kind::I64 => convert!(i64),
            Kind::U64 => convert!(u64),
            Kind::F32 => convert!(f32),
            Kind::F64 => convert!(f64),
        }
    }
}
