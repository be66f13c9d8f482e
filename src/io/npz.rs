//! One array of NumPy's `.npz`: a zip of `.npy` files, stored (`savez`) or deflated
//! (`savez_compressed`).

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::npy::{NpyFile, start_of_stream};
use super::pickle::listed;
use super::zip_directory::too_many_members;
use crate::error::{Error, Result};
use crate::io::input::open_file;

/// Why a `.npz` is refused; `Error::Npz` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// The zip's directory is damaged, or the file is none.
    #[error("the .npz cannot be read ({reason}); write it again with numpy.savez")]
    Zip {
        /// What the zip reader said.
        reason: String,
    },
    /// The array is not there, or it is not said which one is meant.
    #[error(
        "no array {name:?}, the file holds {}; name the one that is meant (key dataset in \
         [bold.SUBJECT])",
        listed(members)
    )]
    NoArray {
        /// As wanted.
        name: String,
        /// Arrays of the file.
        members: Vec<String>,
    },
    /// Encrypted, or packed in a way that NumPy does not.
    #[error("array {name:?} is {how}; write it again with numpy.savez")]
    Member {
        /// The array.
        name: String,
        /// Why it cannot be read.
        how: String,
    },
    /// A sparse matrix that is damaged, or of a form that is not read.
    #[error(
        "the sparse matrix {problem}; save it with scipy.sparse.save_npz(\"x.npz\", x.tocsr())"
    )]
    Sparse {
        /// What is wrong.
        problem: String,
    },
    /// The unpacked array has not the length or the CRC that the zip says.
    #[error("array {name:?} is damaged ({what}); copy the file again")]
    Damaged {
        /// The array.
        name: String,
        /// What does not fit.
        what: String,
    },
}

/// One array.
#[derive(Debug)]
pub enum Found {
    /// Stored: read by position.
    Stored(NpyFile),
    /// Deflated: unpacked first.
    Deflated(Deflated),
}

/// A deflated array whose header was read.
#[derive(Debug, Clone)]
pub struct Deflated {
    path: PathBuf,
    name: String,
    start: u64,
    n_packed: u64,
    n_bytes: u64,
    crc: u32,
    /// The sizes, outermost first, as its header says.
    pub shape: Vec<usize>,
}

/// Opens the array `name`; `data` also means the only array of a file, whatever its name.
/// # Errors
/// `Error::Read`, `Error::Npz`, and `Error::Npy` for the array itself.
pub fn open(path: &Path, name: &str) -> Result<Found> {
    let at = |source| Error::Npz { path: path.to_owned(), source };
    let mut zip = archive(path)?;
    let members = arrays(&zip);
    let name = match &members[..] {
        [only] if name == "data" => only.clone(),
        _ if members.iter().any(|member| member == name) => name.to_owned(),
        _ => return Err(at(NpzError::NoArray { name: name.to_owned(), members })),
    };
    let found = locate(path, &mut zip, &name)?;
    if found.method == CompressionMethod::Stored {
        return NpyFile::open_part(path, found.start, Some(found.n_bytes)).map(Found::Stored);
    }
    let Member { start, n_packed, n_bytes, crc, .. } = found;
    let shape = Vec::new();
    let mut found = Deflated { path: path.to_owned(), name, start, n_packed, n_bytes, crc, shape };
    found.shape = found.peek()?;
    Ok(Found::Deflated(found))
}

/// Where an array lies in the archive.
struct Member {
    method: CompressionMethod,
    start: u64,
    n_packed: u64,
    n_bytes: u64,
    crc: u32,
}

fn locate(path: &Path, zip: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Member> {
    let at = |source| Error::Npz { path: path.to_owned(), source };
    // A damaged directory can list a name and not find it.
    let index = zip.index_for_name(&format!("{name}.npy")).ok_or_else(|| {
        at(NpzError::Zip { reason: format!("its directory does not find {name:?}") })
    })?;
    let entry = zip.by_index_raw(index).map_err(|e| at(NpzError::Zip { reason: e.to_string() }))?;
    let member = |how: String| at(NpzError::Member { name: name.to_owned(), how });
    let method = entry.compression();
    if entry.encrypted() {
        return Err(member("encrypted".into()));
    }
    if !matches!(method, CompressionMethod::Stored | CompressionMethod::Deflated) {
        return Err(member(format!("compressed with {method}")));
    }
    let start = entry.data_start().ok_or_else(|| member("without data".into()))?;
    let (n_packed, n_bytes, crc) = (entry.compressed_size(), entry.size(), entry.crc32());
    Ok(Member { method, start, n_packed, n_bytes, crc })
}

/// dtype and the first bytes of an array's data, whatever its dtype: of texts and short vectors.
pub(in crate::io) fn start_of(path: &Path, name: &str, most: u64) -> Result<(String, Vec<u8>)> {
    let found = locate(path, &mut archive(path)?, name)?;
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut file = open_file(path).map_err(read_error)?;
    file.seek(SeekFrom::Start(found.start)).map_err(read_error)?;
    let packed = BufReader::new(file).take(found.n_packed);
    match found.method {
        CompressionMethod::Stored => start_of_stream(path, &mut { packed }, most),
        _ => start_of_stream(path, &mut DeflateDecoder::new(packed), most),
    }
}

/// The arrays of a file, sorted.
/// # Errors
/// `Error::Read`, `NpzError::Zip`.
pub fn names(path: &Path) -> Result<Vec<String>> {
    Ok(arrays(&archive(path)?))
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>> {
    let at = |reason| Error::Npz { path: path.to_owned(), source: NpzError::Zip { reason } };
    let file = open_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if let Some(reason) = too_many_members(&file) {
        return Err(at(reason));
    }
    ZipArchive::new(BufReader::new(file)).map_err(|error| at(error.to_string()))
}

fn arrays(zip: &ZipArchive<BufReader<File>>) -> Vec<String> {
    let mut members: Vec<String> = zip
        .file_names()
        .flatten()
        .filter_map(|f| f.strip_suffix(".npy").map(str::to_owned))
        .collect();
    members.sort();
    members
}

impl Deflated {
    fn reader(&self) -> Result<impl Read> {
        let read_error = |source| Error::Read { path: self.path.clone(), source };
        let mut file = open_file(&self.path).map_err(read_error)?;
        file.seek(SeekFrom::Start(self.start)).map_err(read_error)?;
        let packed = BufReader::with_capacity(512 << 10, file).take(self.n_packed);
        Ok(DeflateDecoder::new(packed))
    }

    fn damaged(&self, what: String) -> Error {
        let source = NpzError::Damaged { name: self.name.clone(), what };
        Error::Npz { path: self.path.clone(), source }
    }

    /// As it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The shape that the header says, after its length was compared with the zip's.
    fn peek(&self) -> Result<Vec<usize>> {
        NpyFile::peek(&self.path, self.n_bytes, &mut self.reader()?)
    }

    /// Unpacks the array into `scratch` and opens it there; errors go on naming the `.npz`.
    /// # Errors
    /// `NpzError::Damaged`; `Error::Write` if the disk is full.
    pub fn unpack(&self, scratch: File) -> Result<NpyFile> {
        let write_error = |source| Error::Write { path: self.path.clone(), source };
        let mut crc = flate2::Crc::new();
        let (mut n_read, mut buffer) = (0u64, vec![0u8; 256 << 10]);
        let mut reader = self.reader()?;
        let mut out = BufWriter::new(&scratch);
        loop {
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return Err(self.damaged(error.to_string())),
            };
            n_read += n as u64;
            if n_read > self.n_bytes {
                break;
            }
            crc.update(&buffer[..n]);
            out.write_all(&buffer[..n]).map_err(write_error)?;
        }
        out.flush().map_err(write_error)?;
        drop(out);
        if n_read != self.n_bytes {
            let what = format!("expected {} bytes, got {n_read} or more", self.n_bytes);
            return Err(self.damaged(what));
        }
        if crc.sum() != self.crc {
            return Err(self.damaged("its CRC-32 does not match".into()));
        }
        NpyFile::of_scratch(scratch, &self.path)
    }
}
