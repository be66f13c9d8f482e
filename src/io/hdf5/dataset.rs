//! Finds a dataset, checks what it says of itself, unpacks chunks.

use std::io::Read;
use std::path::{Path, PathBuf};

use hdf5_pure::{ChunkIndex, DType, Dataset, Datatype, DatatypeByteOrder, Layout};

use super::error::Hdf5Error;
use super::names::{names, soft_link};
use crate::error::{Error, Result};
use crate::io::input::open_file;
use crate::io::npy::{Dtype, Kind, NpyFile};

/// No filter that is read packs better than this (deflate: 1032 to 1).
const MAX_RATIO: u64 = 1100;
/// Chunks that are unpacked together: each call of the reader looks through the chunk index again.
const BAND_BYTES: usize = 32 << 20;
const REPACK: &str = "h5repack OLD.h5 NEW.h5";
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
    /// Of what is unpacked: two or three axes.
    shape: Vec<usize>,
    /// Rows of the first axis that are unpacked together: whole chunks.
    band_rows: usize,
    /// One entry of the first of three axes, or the whole of two.
    slab: Option<usize>,
}

/// Opens a dataset of one to three axes; a vector is one column.
/// # Errors
/// `Error::Read`; `Error::Hdf5` for everything that [`Hdf5Error`] lists.
pub fn open_array(path: &Path, name: &str) -> Result<Found> {
    let opened = Opened::open(path, name)?;
    let shape = match opened.shape[..] {
        [n_rows] => vec![n_rows, 1],
        [_, _] | [_, _, _] => opened.shape.clone(),
        _ => return Err(opened.dims("1 or 2 axes (rows, columns), or 3 (repeats, rows, columns)")),
    };
    opened.found(0, shape, None)
}

/// Opens a dataset of three axes as so many matrices: `individual_repeats` of ds003020.
/// # Errors
/// As [`open_array`].
pub fn open_slabs(path: &Path, name: &str) -> Result<Vec<Found>> {
    let opened = Opened::open(path, name)?;
    let [n, n_rows, n_cols] = opened.shape[..] else {
        return Err(opened.dims("3 axes (repeats, rows, columns)"));
    };
    let shape = vec![n_rows, n_cols];
    (0..n).map(|slab| opened.found(slab * n_rows * n_cols, shape.clone(), Some(slab))).collect()
}

/// Whether the root of a file has a dataset of this name; false for files that cannot be read.
pub fn has_dataset(path: &Path, name: &str) -> bool {
    open_file(path).is_ok()
        && hdf5_pure::File::open_streaming(path)
            .is_ok_and(|file| file.dataset(name).is_ok_and(|dataset| dataset.shape().is_ok()))
}

/// The texts of a dataset, of fixed or variable length; bytes are taken as UTF-8.
/// # Errors
/// `Error::Read`; `Error::Hdf5` for a dataset that is not there, holds no texts, or promises more
/// than the file can hold.
pub fn read_texts(path: &Path, name: &str) -> Result<Vec<String>> {
    let at = |source| Error::Hdf5 { path: path.to_owned(), source };
    let n_file = check_signature(path)?;
    let file = hdf5_pure::File::open_streaming(path).map_err(|e| at(unreadable(&e)))?;
    let dataset = file.dataset(name).map_err(|error| at(no_dataset(path, name, &error)))?;
    let fail = |error: hdf5_pure::Error| at(unreadable(&error));
    let shape = dataset.shape().map_err(fail)?;
    let dtype = dataset.dtype().map_err(fail)?;
    if !matches!(dtype, DType::String | DType::VariableLengthString) {
        let found = dtype.to_string().chars().take(80).collect::<String>();
        let reason = format!("dataset {name:?} holds {found}, expected texts");
        return Err(at(Hdf5Error::Unreadable { reason }));
    }
    let mut most = n_file;
    if let Layout::Chunked { chunk_shape, .. } = dataset.layout().map_err(fail)? {
        check_filters(&dataset, name).map_err(at)?;
        check_chunks(&dataset, &chunk_shape, n_file).map_err(at)?;
        most = n_file.saturating_mul(MAX_RATIO);
    }
    let element = dataset.element_size().map_err(fail)?;
    let expected = shape.iter().try_fold(element.max(1), |n, &size| n.checked_mul(size));
    match expected.filter(|&expected| expected <= most) {
        Some(_) => dataset.read_string().map_err(fail),
        None => {
            let expected = expected.unwrap_or(u64::MAX);
            let name = name.to_owned();
            Err(at(Hdf5Error::TooLarge { name, shape, expected, n_file }))
        }
    }
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
            Err(error) => return Err(at(no_dataset(path, name, &error))),
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
                let error = dataset.read_raw_rows(0, 1).err().map(|error| error.to_string());
                return Err(match error.is_some_and(|error| error.contains("external")) {
                    true => storage("lies in other files (external storage)", REPACK),
                    false => storage("was never written", "write its values"),
                });
            }
            Layout::Chunked { index: ChunkIndex::BTreeV2, .. } => {
                const WHAT: &str = "finds its chunks by a B-tree of version 2 (two axes that may \
                                    grow, libver \"latest\"), which is not read";
                return Err(storage(WHAT, REPACK));
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
            Layout::Virtual => {
                const WHAT: &str = "is virtual: its values are in other files";
                return Err(storage(WHAT, "in Python: read it with h5py and save it"));
            }
            _ => return Err(storage("has an unknown layout", "h5repack -l CONTI")),
        }
        let expected = product(&shape);
        if expected > most {
            return Err(too_large(expected));
        }
        let shape = shape.iter().map(|&n| n as usize).collect();
        Ok(Opened { path: path.into(), name: name.into(), shape, dtype, start, chunk_rows })
    }

    fn found(&self, first: usize, shape: Vec<usize>, slab: Option<usize>) -> Result<Found> {
        if let Some(start) = self.start {
            // Past the end of any file if it overflows, which is refused.
            let start = start.saturating_add((first * self.dtype.kind.n_bytes()) as u64);
            return NpyFile::at(&self.path, start, self.dtype, shape).map(Found::Contiguous);
        }
        let row_bytes = row_elements(&shape).saturating_mul(self.dtype.kind.n_bytes()).max(1);
        let n_chunks = (BAND_BYTES / row_bytes / self.chunk_rows.max(1)).max(1);
        let band_rows = match (self.chunk_rows, shape.len()) {
            // Data inside a header (no chunks) are a few rows at most.
            (0, _) => shape[0].max(1),
            // A repeat at a time: a chunk may span all of them.
            (_, 3) => 1,
            (chunk_rows, _) => chunk_rows * n_chunks,
        };
        let (path, dataset, dtype) = (self.path.clone(), self.name.clone(), self.dtype);
        Ok(Found::Packed(Packed { path, dataset, dtype, shape, band_rows, slab }))
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

    /// The sizes, outermost first: two, or three with the repeats in front.
    pub fn shape(&self) -> &[usize] {
        &self.shape
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
        let row_bytes = row_elements(&self.shape) * self.dtype.kind.n_bytes();
        let mut read = |first: usize, n: usize, expected: usize| -> Result<()> {
            let bytes = dataset.read_raw_rows(first as u64, n as u64).map_err(fail)?;
            if bytes.len() != expected {
                let reason = format!("expected {expected} bytes, unpacked {}", bytes.len());
                return Err(self.error(Hdf5Error::Unreadable { reason }));
            }
            take(&bytes)
        };
        if let Some(slab) = self.slab {
            return read(slab, 1, self.shape[0] * row_bytes);
        }
        for first in (0..self.shape[0]).step_by(self.band_rows) {
            let n = self.band_rows.min(self.shape[0] - first);
            read(first, n, n * row_bytes)?;
        }
        Ok(())
    }

    fn error(&self, source: Hdf5Error) -> Error {
        Error::Hdf5 { path: self.path.clone(), source }
    }
}

/// Elements of one entry of the first axis.
fn row_elements(shape: &[usize]) -> usize {
    shape[1..].iter().product()
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

fn no_dataset(path: &Path, name: &str, error: &hdf5_pure::Error) -> Hdf5Error {
    if let Some(target) = soft_link(path, name) {
        return Hdf5Error::SoftLink { name: name.to_owned(), target };
    }
    match names(path) {
        Ok(names) if !names.iter().any(|found| found == name.trim_start_matches('/')) => {
            Hdf5Error::NoDataset { name: name.to_owned(), names }
        }
        _ => unreadable(error),
    }
}

/// IEEE's half, and not another float of two bytes (bfloat16).
fn is_half(datatype: &Datatype) -> bool {
    matches!(
        datatype,
        Datatype::FloatingPoint { size: 2, layout, .. }
            if layout.exponent_size == 5 && layout.mantissa_size == 10 && layout.exponent_bias == 15
    )
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
        DType::Other(ref other) if is_half(other) => Kind::F16,
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
            problem: format!(
                "is packed by {} (filter {id}); gzip, lzf and shuffle are read",
                filter_name(id)
            ),
            hint: "h5repack -f GZIP=4 OLD.h5 NEW.h5",
        }),
    }
}

/// Source: the HDF Group's list of registered filters.
fn filter_name(id: u16) -> &'static str {
    match id {
        4 => "szip",
        5 => "n-bit",
        305 => "LZO",
        307 => "bzip2",
        32001 => "Blosc",
        32004 => "LZ4",
        32008 => "bitshuffle",
        32013 => "ZFP",
        32015 => "Zstandard",
        32017 => "SZ",
        32026 => "Blosc2",
        _ => "a filter that is not known here",
    }
}
