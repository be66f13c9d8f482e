//! Where the arrays of a pickled or joblib'd dictionary lie.
//!
//! The arrays of a plain file are read by position, from inside the pickle. A packed file (zlib or
//! gzip) is unpacked once, whichever of its arrays is wanted first.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::error::PickleError;
use super::feed::{Packed, Plain};
use super::globals;
use super::machine::{self, MAX_MADE};
use super::values::{Array, Bytes, Id, Pickle, Value};
use crate::error::{Error, Result};
use crate::io::input::open_file;
use crate::io::npy::{Dtype, NpyFile};

/// Dictionaries inside dictionaries that are followed.
const MAX_LEVELS: usize = 8;
/// Entries of all dictionaries of a file.
const MAX_ENTRIES: usize = 20_000;
/// A key is not longer: it is copied into the names of what is below it.
const MAX_KEY: usize = 512;

/// A file of named arrays.
#[derive(Debug)]
pub struct ArrayFile {
    path: PathBuf,
    arrays: Vec<Entry>,
    is_packed: bool,
    /// A packed file's bytes, once they are wanted.
    unpacked: Mutex<Option<File>>,
}

#[derive(Debug)]
struct Entry {
    /// Keys, joined by `/`; empty for a file that is one array.
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    is_fortran: bool,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// Byte of the (unpacked) file.
    At(u64),
    /// Short ones, and those that protocols 0 to 2 wrote as text.
    Held(Vec<u8>),
}

/// One array of a file.
#[derive(Debug, Clone)]
pub struct PickledArray {
    file: Arc<ArrayFile>,
    index: usize,
}

impl ArrayFile {
    /// Runs through a pickle, from byte `start` of the file on, and notes where its arrays are.
    ///
    /// Memory: what is no array, 64 MiB at most, and some 80 times that for its values. A packed
    /// file is unpacked as it is read, and thrown away.
    /// # Errors
    /// `Error::Read`; `Error::Pickle` for damage and for every class but arrays (nothing is
    /// executed).
    pub fn open(path: &Path, start: u64, is_packed: bool) -> Result<ArrayFile> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let pickle_error = |source| Error::Pickle { path: path.to_owned(), source };
        let pickle = if is_packed {
            let mut feed = Packed { stream: unpacking(path).map_err(read_error)?, position: 0 };
            machine::run_stream(&mut feed)
        } else {
            let file = open_file(path).map_err(read_error)?;
            machine::run_stream(&mut Plain::new(file, start).map_err(read_error)?)
        };
        let arrays = pickle.and_then(|pickle| arrays(&pickle)).map_err(pickle_error)?;
        Ok(ArrayFile { path: path.to_owned(), arrays, is_packed, unpacked: Mutex::new(None) })
    }

    /// The arrays' names; `""` where the file is one array.
    pub fn names(&self) -> Vec<String> {
        self.arrays.iter().map(|entry| entry.name.clone()).collect()
    }

    /// An array by its name; the only one of a file without a dictionary has any.
    /// # Errors
    /// `PickleError::NoArray`.
    pub fn array(self: &Arc<Self>, name: &str) -> Result<PickledArray> {
        let is_wanted = |entry: &Entry| entry.name == name || entry.name.is_empty();
        match self.arrays.iter().position(is_wanted) {
            Some(index) => Ok(PickledArray { file: Arc::clone(self), index }),
            None => {
                let source = PickleError::NoArray { name: name.to_owned(), keys: self.names() };
                Err(Error::Pickle { path: self.path.clone(), source })
            }
        }
    }

    /// The bytes of a packed file, in a file without a name in `folder`.
    fn unpacked(&self, folder: &Path) -> Result<File> {
        let read_error = |source| Error::Read { path: self.path.clone(), source };
        let write_error = |source| Error::Write { path: folder.to_owned(), source };
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*unpacked {
            return file.try_clone().map_err(read_error);
        }
        let mut stream = unpacking(&self.path).map_err(read_error)?;
        let mut file = tempfile::tempfile_in(folder).map_err(write_error)?;
        loop {
            let bytes = stream.fill_buf().map_err(read_error)?;
            if bytes.is_empty() {
                break;
            }
            file.write_all(bytes).map_err(write_error)?;
            let n = bytes.len();
            stream.consume(n);
        }
        let own = file.try_clone().map_err(read_error)?;
        *unpacked = Some(file);
        Ok(own)
    }
}

impl PickledArray {
    /// The file, as it was given.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.entry().shape
    }

    fn entry(&self) -> &Entry {
        &self.file.arrays[self.index]
    }

    /// The array where it lies, if it can be read there.
    /// # Errors
    /// `Error::Read`.
    pub fn in_place(&self) -> Result<Option<NpyFile>> {
        let entry = self.entry();
        let (Data::At(start), false) = (&entry.data, self.file.is_packed) else { return Ok(None) };
        let read_error = |source| Error::Read { path: self.path().to_owned(), source };
        let file = open_file(self.path()).map_err(read_error)?;
        self.array_in(file, *start).map(Some)
    }

    /// The array out of a packed file.
    /// # Errors
    /// Those of unpacking; `Error::Write` if the disk is full.
    pub fn unpack(&self, folder: &Path) -> Result<NpyFile> {
        let write_error = |source| Error::Write { path: folder.to_owned(), source };
        match &self.entry().data {
            Data::At(start) => self.array_in(self.file.unpacked(folder)?, *start),
            Data::Held(bytes) => {
                let mut file = tempfile::tempfile_in(folder).map_err(write_error)?;
                file.write_all(bytes).map_err(write_error)?;
                self.array_in(file, 0)
            }
        }
    }

    fn array_in(&self, file: File, start: u64) -> Result<NpyFile> {
        let Entry { dtype, shape, is_fortran, .. } = self.entry();
        let order = (shape.clone(), *is_fortran);
        NpyFile::of_ordered_elements(file, self.path(), start, *dtype, order)
    }
}

/// A packed file as a stream: gzip by its first two bytes, else zlib.
fn unpacking(path: &Path) -> std::io::Result<Box<dyn BufRead + Send>> {
    let mut file = BufReader::with_capacity(512 << 10, open_file(path)?);
    let is_gzip = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(match is_gzip {
        true => Box::new(BufReader::with_capacity(256 << 10, MultiGzDecoder::new(file))),
        false => Box::new(BufReader::with_capacity(256 << 10, ZlibDecoder::new(file))),
    })
}

/// Every array of numbers in the dictionary, and in those inside it; other values are passed over.
fn arrays(pickle: &Pickle<'_>) -> Result<Vec<Entry>, PickleError> {
    let mut found = Vec::new();
    let (mut n_entries, mut n_held) = (0, 0);
    let mut level: Vec<(String, Id)> = vec![(String::new(), root(pickle))];
    for _ in 0..MAX_LEVELS {
        let mut below = Vec::new();
        for (name, id) in level {
            match pickle.value(id) {
                Value::Dict(pairs) => {
                    n_entries += pairs.len();
                    if n_entries > MAX_ENTRIES {
                        let (limit, n_bytes) = (MAX_ENTRIES, pickle.buffer.len());
                        return Err(PickleError::Bomb { limit, n_bytes });
                    }
                    let named = |&(key, value): &(Id, Id)| {
                        let key = pickle.text(key).filter(|key| key.len() <= MAX_KEY)?;
                        if !matches!(pickle.value(value), Value::Dict(_) | Value::Array(_)) {
                            return None;
                        }
                        let name =
                            if name.is_empty() { key.into() } else { format!("{name}/{key}") };
                        Some((name, value))
                    };
                    below.extend(pairs.iter().filter_map(named));
                }
                Value::Array(array) => {
                    let entry = entry(pickle, &name, array)?;
                    // The same short array may be met again and again.
                    if let Some(Entry { data: Data::Held(bytes), .. }) = &entry {
                        n_held += bytes.len();
                    }
                    if n_held > MAX_MADE {
                        let n_bytes = pickle.buffer.len();
                        return Err(PickleError::Bomb { limit: MAX_MADE, n_bytes });
                    }
                    found.extend(entry);
                }
                _ => {}
            }
        }
        level = below;
    }
    // Of equal keys the last one counts, as in Python.
    let mut seen = std::collections::HashSet::new();
    let is_last: Vec<bool> =
        found.iter().rev().map(|entry: &Entry| seen.insert(entry.name.clone())).collect();
    let mut keep = is_last.into_iter().rev();
    found.retain(|_| keep.next() == Some(true));
    if found.is_empty() {
        return Err(PickleError::NoArrays { got: pickle.value(pickle.root).what() });
    }
    Ok(found)
}

/// The dictionary itself where `numpy.save` put it into an array of one object.
fn root(pickle: &Pickle<'_>) -> Id {
    let Value::Array(array) = pickle.value(pickle.root) else { return pickle.root };
    let is_object = array.dtype.is_some_and(|dtype| dtype.kind == b'O');
    match array.data.map(|data| pickle.value(data)) {
        Some(Value::List(items)) if is_object && items.len() == 1 => items[0],
        _ => pickle.root,
    }
}

/// An array of numbers; `None` for texts and objects.
fn entry(pickle: &Pickle<'_>, name: &str, array: &Array) -> Result<Option<Entry>, PickleError> {
    let Array { dtype: Some(dtype), shape, is_fortran, data: Some(data) } = array else {
        return Ok(None);
    };
    let code = format!(
        "{}{}{}",
        if dtype.big_endian { '>' } else { '<' },
        dtype.kind as char,
        dtype.n_bytes
    );
    let Ok(of_file) = Dtype::parse(&code) else { return Ok(None) };
    let (n_bytes, data) = match pickle.value(*data) {
        Value::Bytes(Bytes::Far(start, n)) => (*n, Data::At(*start)),
        _ => match globals::raw_bytes(pickle, *data) {
            Some(bytes) => (bytes.len() as u64, Data::Held(bytes.to_vec())),
            None => return Ok(None),
        },
    };
    let expected = shape
        .iter()
        .try_fold(dtype.n_bytes as u64, |n, &size| n.checked_mul(u64::try_from(size).ok()?));
    if expected != Some(n_bytes) {
        return Err(PickleError::Array {
            place: format!("array {name:?}"),
            problem: format!("shape {shape:?} of {of_file}, but {n_bytes} bytes"),
        });
    }
    let (name, shape) = (name.to_owned(), shape.clone());
    Ok(Some(Entry { name, dtype: of_file, shape, is_fortran: *is_fortran, data }))
}
