//! GIFTI: one value per vertex and TR, as fMRIPrep, FreeSurfer and Connectome Workbench write it.
//!
//! One array per TR, or one array of two axes; in base64, in base64 of zlib, or as text. Nothing of
//! it can be read by position: [`GiftiFile::unpack`] writes the values one after the other. Source:
//! GIFTI Surface Data Format 1.0, section 2.3 (DataArray).

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::input;
use super::npy::{Dtype, Kind, NpyFile, decode};
use super::xml::{Tag, Xml, XmlError, attribute};
use crate::error::{Error, Result};

/// No deflate stream unpacks to more than this many times its length.
const MAX_RATIO: u64 = 1100;
/// Arrays of a file: one per TR.
const MAX_ARRAYS: usize = 1_000_000;

/// Why a GIFTI file is refused; `Error::Gifti` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GiftiError {
    /// No XML, or XML of something else.
    #[error(
        "the GIFTI file cannot be read ({problem}); write it again, with nibabel or wb_command"
    )]
    Damaged {
        /// What is wrong, and where.
        problem: String,
    },
    /// The arrays are a surface, or labels of its vertices.
    #[error(
        "holds {what}, expected one value per vertex and TR (.func.gii); give the functional file"
    )]
    NotFunctional {
        /// In words.
        what: &'static str,
    },
    /// Something about an array that is not read.
    #[error("data array {index}: {problem}; write it again, with nibabel or wb_command")]
    Array {
        /// Counted from 1.
        index: usize,
        /// What is wrong: expected and got.
        problem: String,
    },
    /// The file cannot hold what it says.
    #[error(
        "{n_arrays} arrays of shape {shape:?} need {expected} bytes, more than {n_file} bytes of file \
         can hold; the file is damaged"
    )]
    TooLarge {
        /// As the file says.
        n_arrays: usize,
        /// Of one array.
        shape: Vec<usize>,
        /// Bytes they would take, the largest number if that overflows.
        expected: u64,
        /// Length of the file.
        n_file: u64,
    },
    /// Another number of arrays than the file says.
    #[error("expected {expected} data arrays, as the file says, got {got}; copy the file again")]
    Count {
        /// As the file says.
        expected: usize,
        /// That are there.
        got: usize,
    },
}

/// How the numbers of an array are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Ascii,
    Base64,
    Zlib,
}

/// What the tag of an array says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ArrayTag {
    shape: Vec<usize>,
    dtype: Dtype,
    is_column_major: bool,
    encoding: Encoding,
}

/// A file whose first array was looked at.
#[derive(Debug, Clone)]
pub struct GiftiFile {
    path: PathBuf,
    n_arrays: usize,
    first: ArrayTag,
}

impl GiftiFile {
    /// Reads up to the first array; what follows is read by [`GiftiFile::unpack`].
    /// # Errors
    /// `Error::Read`; `Error::Gifti` for everything that [`GiftiError`] lists.
    pub fn open(path: &Path) -> Result<GiftiFile> {
        let at = |source| Error::Gifti { path: path.to_owned(), source };
        let n_file = std::fs::metadata(path)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?
            .len();
        let is_gzip = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let mut xml = Xml::new(input::open(path)?);
        let (n_arrays, first) = read_head(&mut xml).map_err(at)?;
        let file = GiftiFile { path: path.to_owned(), n_arrays, first };
        let element = file.first.dtype.kind.n_bytes() as u64;
        let sizes = || file.first.shape.iter().chain([&n_arrays]);
        let expected = sizes().try_fold(element, |n, &size| n.checked_mul(size.max(1) as u64));
        let unpacked = n_file.saturating_mul(if is_gzip { MAX_RATIO } else { 1 });
        let most = match file.first.encoding {
            // A digit and a blank, of an element of up to 8 bytes.
            Encoding::Ascii => unpacked.saturating_mul(element),
            Encoding::Base64 => unpacked,
            Encoding::Zlib => unpacked.saturating_mul(MAX_RATIO),
        };
        match expected {
            Some(expected) if expected <= most => Ok(file),
            _ => Err(at(GiftiError::TooLarge {
                n_arrays,
                shape: file.first.shape,
                expected: expected.unwrap_or(u64::MAX),
                n_file,
            })),
        }
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One array of two axes, of which the file does not say what they are: vertices come first in
    /// GIFTI, but not in every file.
    pub fn is_one_matrix(&self) -> bool {
        self.n_arrays == 1 && self.first.shape.len() == 2
    }

    /// The axes as they will lie in memory order: `(n_trs, n_vertices)` of one array per TR, those of
    /// the array where there is one.
    pub fn shape(&self) -> Vec<usize> {
        match self.is_one_matrix() {
            true => self.first.shape.clone(),
            false => vec![self.n_arrays, self.first.shape[0]],
        }
    }

    /// Writes all values into `scratch` as f32 and opens it; errors go on naming the GIFTI file.
    ///
    /// Memory: buffers. A file is read from its start to its end.
    /// # Errors
    /// `Error::Gifti` for damage; `Error::Write` if the disk is full.
    pub fn unpack(&self, scratch: File) -> Result<NpyFile> {
        let at = |source| Error::Gifti { path: self.path.clone(), source };
        let mut out = BufWriter::with_capacity(1 << 20, &scratch);
        let mut xml = Xml::new(input::open(&self.path)?);
        let mut n_read = 0;
        while let Some(tag) = xml.tag().map_err(|error| at(damaged(&error)))? {
            let Tag::Start(name, attributes) = tag else { continue };
            if name != "DataArray" {
                continue;
            }
            n_read += 1;
            let tag = array_tag(n_read, &attributes).map_err(at)?;
            if tag.shape != self.first.shape || n_read > self.n_arrays {
                let problem = format!("expected shape {:?}, got {:?}", self.first.shape, tag.shape);
                return Err(at(match n_read > self.n_arrays {
                    true => GiftiError::Count { expected: self.n_arrays, got: n_read },
                    false => GiftiError::Array { index: n_read, problem },
                }));
            }
            self.read_array(&mut xml, n_read, &tag, &mut out)?;
        }
        if n_read != self.n_arrays {
            return Err(at(GiftiError::Count { expected: self.n_arrays, got: n_read }));
        }
        let write_error = |source| Error::Write { path: self.path.clone(), source };
        out.flush().map_err(write_error)?;
        drop(out);
        let order = (self.shape(), self.is_one_matrix() && self.first.is_column_major);
        let dtype = Dtype::native(Kind::F32);
        NpyFile::of_ordered_elements(scratch, &self.path, 0, dtype, order)
    }

    /// The values of one array, up to the end of its data.
    fn read_array(
        &self,
        xml: &mut Xml<Box<dyn BufRead + Send>>,
        index: usize,
        tag: &ArrayTag,
        out: &mut dyn Write,
    ) -> Result<()> {
        let at = |source| Error::Gifti { path: self.path.clone(), source };
        let array_error = |problem: String| at(GiftiError::Array { index, problem });
        loop {
            match xml.tag().map_err(|error| at(damaged(&error)))? {
                Some(Tag::Start(name, _)) if name == "Data" => break,
                Some(Tag::End(name)) if name != "DataArray" => {}
                Some(Tag::Start(..)) => {}
                _ => return Err(array_error("it has no data".into())),
            }
        }
        let n_values: usize = tag.shape.iter().product();
        let mut values = Values::new(out, tag.dtype, n_values);
        let read = match tag.encoding {
            Encoding::Ascii => {
                let mut text = AsciiNumbers::default();
                let read = xml.text_then_tag(&mut |bytes| text.take(bytes, &mut values));
                read.and_then(|_| Ok(text.finish(&mut values)?))
            }
            Encoding::Base64 => {
                let mut base64 = Base64::default();
                let read = xml.text_then_tag(&mut |bytes| base64.take(bytes, &mut values));
                read.map(drop)
            }
            Encoding::Zlib => {
                let mut base64 = Base64::default();
                let mut zlib = flate2::write::ZlibDecoder::new(&mut values);
                let read = xml.text_then_tag(&mut |bytes| base64.take(bytes, &mut zlib));
                read.and_then(|_| Ok(zlib.finish().map(drop)?))
            }
        };
        let (n_found, disk) = values.finish();
        if let Some(source) = disk {
            return Err(Error::Write { path: self.path.clone(), source });
        }
        match read {
            Err(error) => Err(array_error(error.to_string())),
            Ok(()) if n_found != n_values => {
                Err(array_error(format!("expected {n_values} values, got {n_found}")))
            }
            Ok(()) => Ok(()),
        }
    }
}

fn damaged(error: &XmlError) -> GiftiError {
    GiftiError::Damaged { problem: error.to_string() }
}

/// The number of arrays and the first one's tag.
fn read_head(
    xml: &mut Xml<Box<dyn BufRead + Send>>,
) -> std::result::Result<(usize, ArrayTag), GiftiError> {
    let other = |problem: &str| GiftiError::Damaged { problem: problem.to_owned() };
    let mut n_arrays = None;
    while let Some(tag) = xml.tag().map_err(|error| damaged(&error))? {
        let Tag::Start(name, attributes) = tag else { continue };
        match (name.as_str(), n_arrays) {
            ("GIFTI", None) => {
                let count = attribute(&attributes, "NumberOfDataArrays");
                let count = count.and_then(|text| text.parse().ok());
                n_arrays = count.filter(|n| (1..=MAX_ARRAYS).contains(n));
                if n_arrays.is_none() {
                    return Err(other("NumberOfDataArrays is no number of arrays"));
                }
            }
            ("DataArray", Some(n)) => {
                let first = array_tag(1, &attributes)?;
                let n_sides = first.shape.len();
                if n_sides > 2 || (n_sides == 2 && n > 1) {
                    let problem =
                        format!("expected one axis, or one array of two, got {:?}", first.shape);
                    return Err(GiftiError::Array { index: 1, problem });
                }
                return Ok((n, first));
            }
            (_, None) => return Err(other("it does not begin with <GIFTI>")),
            _ => {}
        }
    }
    Err(other("it has no data array"))
}

fn array_tag(
    index: usize,
    attributes: &[(String, String)],
) -> std::result::Result<ArrayTag, GiftiError> {
    let array = |problem: String| GiftiError::Array { index, problem };
    let get = |name: &str| attribute(attributes, name).unwrap_or_default();
    match get("Intent") {
        "NIFTI_INTENT_POINTSET" | "NIFTI_INTENT_TRIANGLE" => {
            return Err(GiftiError::NotFunctional { what: "the geometry of a surface" });
        }
        "NIFTI_INTENT_LABEL" => {
            return Err(GiftiError::NotFunctional { what: "labels of vertices" });
        }
        _ => {}
    }
    let kind = match get("DataType") {
        "NIFTI_TYPE_FLOAT32" => Kind::F32,
        "NIFTI_TYPE_FLOAT64" => Kind::F64,
        "NIFTI_TYPE_UINT8" => Kind::U8,
        "NIFTI_TYPE_INT8" => Kind::I8,
        "NIFTI_TYPE_INT16" => Kind::I16,
        "NIFTI_TYPE_UINT16" => Kind::U16,
        "NIFTI_TYPE_INT32" => Kind::I32,
        "NIFTI_TYPE_UINT32" => Kind::U32,
        "NIFTI_TYPE_INT64" => Kind::I64,
        "NIFTI_TYPE_UINT64" => Kind::U64,
        other => return Err(array(format!("its data type {other:?} is not read"))),
    };
    let encoding = match get("Encoding") {
        "ASCII" => Encoding::Ascii,
        "Base64Binary" => Encoding::Base64,
        "GZipBase64Binary" => Encoding::Zlib,
        "ExternalFileBinary" => {
            let name: String = get("ExternalFileName").chars().take(100).collect();
            return Err(array(format!("its values are in another file ({name})")));
        }
        other => return Err(array(format!("its encoding {other:?} is not read"))),
    };
    let big_endian = match get("Endian") {
        "BigEndian" => kind.n_bytes() > 1,
        "LittleEndian" | "" => false,
        other => return Err(array(format!("its byte order {other:?} is not read"))),
    };
    let n_sides: usize = get("Dimensionality").parse().unwrap_or(0);
    if !(1..=6).contains(&n_sides) {
        return Err(array("it does not say how many axes it has".into()));
    }
    let side = |axis: usize| {
        let side: Option<usize> = get(&format!("Dim{axis}")).parse().ok();
        side.filter(|&n| n > 0).ok_or_else(|| array(format!("Dim{axis} is no size")))
    };
    let mut shape = (0..n_sides).map(side).collect::<std::result::Result<Vec<_>, _>>()?;
    while shape.len() > 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    let is_column_major = get("ArrayIndexingOrder") == "ColumnMajorOrder";
    Ok(ArrayTag { shape, dtype: Dtype { kind, big_endian }, is_column_major, encoding })
}

/// Bytes of elements in, f32 out; more than were announced is an error.
struct Values<'a> {
    out: &'a mut dyn Write,
    dtype: Dtype,
    n_left: usize,
    n_found: usize,
    /// Bytes that make no whole element yet.
    rest: Vec<u8>,
    values: Vec<f32>,
    /// The disk's error, which is not the file's.
    disk: Option<io::Error>,
}

impl<'a> Values<'a> {
    fn new(out: &'a mut dyn Write, dtype: Dtype, n_values: usize) -> Self {
        let (rest, values) = (Vec::new(), Vec::new());
        Values { out, dtype, n_left: n_values, n_found: 0, rest, values, disk: None }
    }

    fn put(&mut self, values: &[f32]) -> io::Result<()> {
        self.n_left = self.n_left.checked_sub(values.len()).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "more values than its shape has")
        })?;
        self.n_found += values.len();
        if let Err(error) = self.out.write_all(bytemuck::cast_slice(values)) {
            let again = io::Error::new(error.kind(), "the disk");
            self.disk = Some(error);
            return Err(again);
        }
        Ok(())
    }

    fn finish(self) -> (usize, Option<io::Error>) {
        let n_cut = usize::from(!self.rest.is_empty());
        (self.n_found + n_cut, self.disk)
    }
}

impl Write for Values<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let width = self.dtype.kind.n_bytes();
        let mut given = std::mem::take(&mut self.rest);
        given.extend_from_slice(bytes);
        let n_whole = given.len() / width;
        let mut values = std::mem::take(&mut self.values);
        values.resize(n_whole, 0.0);
        decode(self.dtype, &given[..n_whole * width], &mut values);
        let put = self.put(&values);
        self.values = values;
        given.drain(..n_whole * width);
        self.rest = given;
        put.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// base64 in, bytes out; blanks and line ends are passed over.
#[derive(Default)]
struct Base64 {
    bits: u32,
    n_bits: u32,
    is_over: bool,
    bytes: Vec<u8>,
}

impl Base64 {
    fn take(&mut self, text: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        for &character in text {
            let value = match character {
                b'A'..=b'Z' => character - b'A',
                b'a'..=b'z' => character - b'a' + 26,
                b'0'..=b'9' => character - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => {
                    self.is_over = true;
                    continue;
                }
                _ if character.is_ascii_whitespace() => continue,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no base64")),
            };
            if self.is_over {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "base64 behind its end"));
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.n_bits += 6;
            if self.n_bits >= 8 {
                self.n_bits -= 8;
                bytes.push((self.bits >> self.n_bits) as u8);
                self.bits &= (1 << self.n_bits) - 1;
            }
        }
        let written = out.write_all(&bytes);
        self.bytes = bytes;
        written
    }
}

/// Numbers as text, with blanks between them.
#[derive(Default)]
struct AsciiNumbers {
    rest: Vec<u8>,
}

impl AsciiNumbers {
    /// Longest number: more is no number.
    const MAX_DIGITS: usize = 400;

    fn take(&mut self, text: &[u8], out: &mut Values<'_>) -> io::Result<()> {
        let Some(end) = text.iter().rposition(u8::is_ascii_whitespace) else {
            self.rest.extend_from_slice(text);
            return match self.rest.len() > Self::MAX_DIGITS {
                true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no number")),
                false => Ok(()),
            };
        };
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(&text[..end]);
        self.rest = text[end + 1..].to_vec();
        numbers(&whole, out)
    }

    fn finish(self, out: &mut Values<'_>) -> io::Result<()> {
        numbers(&self.rest, out)
    }
}

fn numbers(text: &[u8], out: &mut Values<'_>) -> io::Result<()> {
    let no_number = || io::Error::new(io::ErrorKind::InvalidData, "it is no list of numbers");
    let text = std::str::from_utf8(text).map_err(|_| no_number())?;
    let values: Option<Vec<f32>> = text
        .split_ascii_whitespace()
        .map(|number| number.parse::<f64>().ok().map(|x| x as f32))
        .collect();
    out.put(&values.ok_or_else(no_number)?)
}
