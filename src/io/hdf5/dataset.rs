//! Finds a dataset, checks what it says of itself, unpacks chunks.

use std::io::Read;
use std::path::{Path, PathBuf};

use hdf5_pure::{DType, Dataset, Datatype, DatatypeByteOrder, Layout};

use super::error::Hdf5Error;
use crate::error::{Error, Result};
use crate::io::input::open_file;
use crate::io::npy::{Dtype, Kind, NpyFile};

/// No filter that is read packs better than this (deflate: 1032 to 1).
const MAX_RATIO: u64 = 1100;
/// Chunks that are unpacked together: each call of the reader looks through the chunk index again.
const BAND_BYTES: usize = 32 << 20;
/// Filters that are undone: deflate, shuffle, fletcher32, scale-offset, lzf.
const FILTERS: [u16; 5] = [1, 2, 3, 6, 32000];

/// A matrix in a file.
#[derive(Debug)]
pub enum Found {
    /// In one piece: read by position.
    Contiguous(NpyFile),
    /// In chunks, or inside a header.
    Packed(Packed),
}

/// A matrix that is unpacked before tiles of it are read.
#[derive(Debug, Clone)]
pub struct Packed {
    path: PathBuf,
    dataset: String,
    dtype: Dtype,
    n_rows: usize,
    n_cols: usize,
    /// Rows of the first axis that are unpacked together: whole chunks.
    band_rows: usize,
    /// One entry of the first of three axes, or the whole of two.
    slab: Option<usize>,
}

/// Opens a dataset of one or two axes; a vector is one column.
/// # Errors
/// `Error::Read`; `Error::Hdf5` for everything that [`Hdf5Error`] lists.
pub fn open_matrix(path: &Path, name: &str) -> Result<Found> {
    let opened = Opened::open(path, name)?;
    let (n_rows, n_cols) = match opened.shape[..] {
        [n_rows] => (n_rows, 1),
        [n_rows, n_cols] => (n_rows, n_cols),
        _ => return Err(opened.dims("1 or 2 axes (rows, columns)")),
    };
    opened.found(0, n_rows, n_cols, None)
}

/// Opens a dataset of three axes as so many matrices: `individual_repeats` of ds003020.
/// # Errors
/// As [`open_matrix`].
pub fn open_slabs(path: &Path, name: &str) -> Result<Vec<Found>> {
    let opened = Opened::open(path, name)?;
    let [n, n_rows, n_cols] = opened.shape[..] else {
        return Err(opened.dims("3 axes (repeats, rows, columns)"));
    };
    (0..n).map(|slab| opened.found(slab * n_rows * n_cols, n_rows, n_cols, Some(slab))).collect()
}

/// Whether the root of a file has a dataset of this name; false for files that cannot be read.
pub fn has_dataset(path: &Path, name: &str) -> bool {
    open_file(path).is_ok()
        && hdf5_pure::File::open_streaming(path)
            .is_ok_and(|file| file.dataset(name).is_ok_and(|dataset| dataset.shape().is_ok()))
}

struct Opened {
    path: PathBuf,
    name: String,
    shape: Vec<usize>,
    dtype: Dtype,
    /// Where the elements start, if they lie in one piece.
    start: Option<u64>,
    chunk_rows: usize,
}

impl Opened {
    fn open(path: &Path, name: &str) -> Result<Opened> {
        let at = |source| Error::Hdf5 { path: path.to_owned(), source };
        let n_file = check_signature(path)?;
        let file = hdf5_pure::File::open_streaming(path).map_err(|e| at(unreadable(&e)))?;
        let dataset = match file.dataset(name) {
            Ok(dataset) => dataset,
            Err(error) => return Err(at(no_dataset(&file, name, &error))),
        };
        let fail = |error: hdf5_pure::Error| at(unreadable(&error));
        let shape = dataset.shape().map_err(fail)?;
        let dtype = dtype_of(&dataset, name).map_err(at)?;
        let element = dtype.kind.n_bytes() as u64;
        // A side of 0 counts as 1: it must not hide sizes that no file has beside it.
        let product = |sizes: &[u64]| {
            let bytes = sizes.iter().try_fold(element, |n, &size| n.checked_mul(size.max(1)));
            bytes.unwrap_or(u64::MAX)
        };
        let storage = |problem: &str, hint| {
            let (name, problem) = (name.to_owned(), problem.to_owned());
            at(Hdf5Error::Storage { name, problem, hint })
        };
        let too_large = |expected| {
            let (name, shape) = (name.to_owned(), shape.clone());
            at(Hdf5Error::TooLarge { name, shape, expected, n_file })
        };
        let (mut start, mut chunk_rows, mut most) = (None, 0, n_file);
        match dataset.layout().map_err(fail)? {
            Layout::Contiguous { address: Some(address), .. } => start = Some(address),
            Layout::Contiguous { address: None, .. } => {
                return Err(storage("was never written", "write its values"));
            }
            Layout::Chunked { chunk_shape, .. } => {
                check_filters(&dataset, name).map_err(at)?;
                most = n_file.saturating_mul(MAX_RATIO);
                chunk_rows = chunk_shape.first().map_or(0, |&n| n as usize);
                // A chunk may reach past the end of a small dataset, but not without limit.
                let chunk = product(&chunk_shape);
                if chunk_rows == 0 || chunk > most {
                    return Err(too_large(chunk));
                }
                check_chunks(&dataset, &chunk_shape, n_file).map_err(at)?;
            }
            Layout::Compact { .. } => {}
            _ => return Err(storage("is virtual or of an unknown layout", "h5repack -l CONTI")),
        }
        let expected = product(&shape);
        if expected > most {
            return Err(too_large(expected));
        }
        let shape = shape.iter().map(|&n| n as usize).collect();
        Ok(Opened { path: path.into(), name: name.into(), shape, dtype, start, chunk_rows })
    }

    fn found(
        &self,
        first: usize,
        n_rows: usize,
        n_cols: usize,
        slab: Option<usize>,
    ) -> Result<Found> {
        if let Some(start) = self.start {
            // Past the end of any file if it overflows, which is refused.
            let start = start.saturating_add((first * self.dtype.kind.n_bytes()) as u64);
            let file = NpyFile::at(&self.path, start, self.dtype, vec![n_rows, n_cols])?;
            return Ok(Found::Contiguous(file));
        }
        let row_bytes = (n_cols * self.dtype.kind.n_bytes()).max(1);
        let n_chunks = (BAND_BYTES / row_bytes / self.chunk_rows.max(1)).max(1);
        // Data inside a header (no chunks) are a few rows at most.
        let band_rows =
            if self.chunk_rows == 0 { n_rows.max(1) } else { self.chunk_rows * n_chunks };
        Ok(Found::Packed(Packed {
            path: self.path.clone(),
            dataset: self.name.clone(),
            dtype: self.dtype,
            n_rows,
            n_cols,
            band_rows,
            slab,
        }))
    }

    fn dims(&self, expected: &'static str) -> Error {
        let shape = self.shape.iter().map(|&n| n as u64).collect();
        let source = Hdf5Error::Dims { name: self.name.clone(), shape, expected };
        Error::Hdf5 { path: self.path.clone(), source }
    }
}

impl Packed {
    /// As it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// The element type in the file.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Calls `take` with the bytes of all elements in C order, a band of chunks at a time.
    ///
    /// Memory: one band, whole rows of chunks of 32 MiB together, or one row of larger ones; the
    /// whole matrix where chunks are as high as it.
    /// # Errors
    /// `Hdf5Error::Unreadable` for damaged chunks, and those of `take`.
    pub fn each_band(&self, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let fail = |error: hdf5_pure::Error| self.error(unreadable(&error));
        let file = hdf5_pure::File::open_streaming(&self.path).map_err(fail)?;
        let dataset = file.dataset(&self.dataset).map_err(fail)?;
        let row_bytes = self.n_cols * self.dtype.kind.n_bytes();
        let mut read = |first: usize, n: usize, expected: usize| -> Result<()> {
            let bytes = dataset.read_raw_rows(first as u64, n as u64).map_err(fail)?;
            if bytes.len() != expected {
                let reason = format!("expected {expected} bytes, unpacked {}", bytes.len());
                return Err(self.error(Hdf5Error::Unreadable { reason }));
            }
            take(&bytes)
        };
        if let Some(slab) = self.slab {
            return read(slab, 1, self.n_rows * row_bytes);
        }
        for first in (0..self.n_rows).step_by(self.band_rows) {
            let n = self.band_rows.min(self.n_rows - first);
            read(first, n, n * row_bytes)?;
        }
        Ok(())
    }

    fn error(&self, source: Hdf5Error) -> Error {
        Error::Hdf5 { path: self.path.clone(), source }
    }
}

fn unreadable(error: &hdf5_pure::Error) -> Hdf5Error {
    Hdf5Error::Unreadable { reason: error.to_string().chars().take(200).collect() }
}

/// Length of a file that has HDF5's signature, at its start or behind a user block.
fn check_signature(path: &Path) -> Result<u64> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut file = open_file(path).map_err(read_error)?;
    let n_file = file.metadata().map_err(read_error)?.len();
    if hdf5_pure::is_hdf5(path).map_err(read_error)? {
        return Ok(n_file);
    }
    let mut start = Vec::with_capacity(4);
    file.by_ref().take(4).read_to_end(&mut start).map_err(read_error)?;
    let hex: Vec<String> = start.iter().map(|b| format!("{b:02X}")).collect();
    let found = if hex.is_empty() { "nothing".to_owned() } else { hex.join(" ") };
    Err(Error::Hdf5 { path: path.to_owned(), source: Hdf5Error::NotHdf5 { found } })
}

fn no_dataset(file: &hdf5_pure::File, name: &str, error: &hdf5_pure::Error) -> Hdf5Error {
    match file.root().datasets() {
        Ok(names) if !names.iter().any(|found| found == name) => {
            let found = match names.is_empty() {
                true => "none at its root".to_owned(),
                false => names.iter().take(8).cloned().collect::<Vec<_>>().join(", "),
            };
            Hdf5Error::NoDataset { name: name.to_owned(), found }
        }
        _ => unreadable(error),
    }
}

fn dtype_of(dataset: &Dataset, name: &str) -> Result<Dtype, Hdf5Error> {
    let dtype = dataset.dtype().map_err(|e| unreadable(&e))?;
    let kind = match dtype {
        DType::F32 => Kind::F32,
        DType::F64 => Kind::F64,
        DType::I8 => Kind::I8,
        DType::I16 => Kind::I16,
        DType::I32 => Kind::I32,
        DType::I64 => Kind::I64,
        DType::U8 => Kind::U8,
        DType::U16 => Kind::U16,
        DType::U32 => Kind::U32,
        DType::U64 => Kind::U64,
        other => {
            let dtype = other.to_string().chars().take(80).collect();
            return Err(Hdf5Error::Dtype { name: name.to_owned(), dtype });
        }
    };
    let order = match dataset.datatype().map_err(|e| unreadable(&e))? {
        Datatype::FixedPoint { byte_order, .. } | Datatype::FloatingPoint { byte_order, .. } => {
            byte_order
        }
        _ => DatatypeByteOrder::LittleEndian,
    };
    match order {
        DatatypeByteOrder::LittleEndian => Ok(Dtype { kind, big_endian: false }),
        DatatypeByteOrder::BigEndian => Ok(Dtype { kind, big_endian: kind.n_bytes() > 1 }),
        DatatypeByteOrder::Vax => {
            let dtype = "VAX floating point".to_owned();
            Err(Hdf5Error::Dtype { name: name.to_owned(), dtype })
        }
    }
}

/// The reader makes room for a stored chunk before it looks whether the file has one, and adds its
/// sides to where it begins before it looks whether that is inside.
fn check_chunks(dataset: &Dataset, sides: &[u64], n_file: u64) -> Result<(), Hdf5Error> {
    for chunk in dataset.chunks().map_err(|e| unreadable(&e))? {
        let (n, start) = (chunk.storage_size, chunk.address);
        if n > n_file.saturating_sub(start) {
            let reason = format!("a chunk of {n} bytes from byte {start} in {n_file} bytes");
            return Err(Hdf5Error::Unreadable { reason });
        }
        if chunk.offset.iter().zip(sides).any(|(first, side)| first.checked_add(*side).is_none()) {
            let reason = format!("a chunk that begins at {:?}", chunk.offset);
            return Err(Hdf5Error::Unreadable { reason });
        }
    }
    Ok(())
}

fn check_filters(dataset: &Dataset, name: &str) -> Result<(), Hdf5Error> {
    match dataset.filters().into_iter().find(|id| !FILTERS.contains(id)) {
        None => Ok(()),
        Some(id) => Err(Hdf5Error::Storage {
            name: name.to_owned(),
            problem: format!("is packed by filter {id}, gzip, lzf and shuffle are read"),
            hint: "h5repack -f GZIP=4 OLD.h5 NEW.h5",
        }),
    }
}
