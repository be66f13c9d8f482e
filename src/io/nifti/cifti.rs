//! CIFTI-2 time series: a row per TR, a column per grayordinate (`.dtseries.nii`) or parcel
//! (`.ptseries.nii`). No mask: the file itself says what its columns are.
//!
//! The series of one grayordinate lies in one piece, so plain files are read by position. Source:
//! CIFTI-2 specification (NITRC), sections "File format" and "XML".

use std::fs::File;
use std::io::{BufRead, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::columns::{ColumnNames, read_names};
use super::error::NiftiError;
use super::header::{Header, Kind as Stored};
use super::read::{Fault, read_header};
use crate::error::{Error, Result};
use crate::io::input;
use crate::io::npy::{Dtype, Kind, NpyFile, decode};
use crate::io::xml::{Tag, Xml, attribute};

/// Code of the XML among the header's extensions.
const XML_CODE: i32 = 32;
/// The XML of 91,282 grayordinates is 2 MB.
const MAX_XML: u64 = 64 << 20;
/// Bytes that are converted at a time.
const STEP_BYTES: usize = 1 << 20;

/// A file whose header and axes were checked.
#[derive(Debug, Clone)]
pub struct CiftiFile {
    path: PathBuf,
    header: Header,
    axes: Axes,
    is_gzip: bool,
}

/// What the XML says of the two axes.
#[derive(Debug, Clone, Default, PartialEq)]
struct Axes {
    /// Which of them are TRs: 0 is the one that moves fastest in the file.
    series: Option<usize>,
    n_trs: Option<usize>,
    tr_s: Option<f64>,
    /// Columns that the other axis has.
    n_columns: Option<usize>,
}

const SCALARS: &str = "these are maps of scalars, no time series";
const LABELS: &str = "these are labels, no time series";

impl CiftiFile {
    /// Opens a file and checks its header and XML; the values stay on disk.
    /// # Errors
    /// `Error::Read`; `Error::Nifti` for everything wrong inside.
    pub fn open(path: &Path) -> Result<CiftiFile> {
        let mut start = [0; 2];
        let is_gzip = input::open_file(path).and_then(|mut f| f.read_exact(&mut start)).is_ok()
            && start == [0x1f, 0x8b];
        let (header, xml) = read_start(path)?;
        let refuse = |problem: String| refused(path, problem);
        match header.intent {
            // 3000, "unknown", is what nibabel writes where nobody named the intent: the XML decides.
            3000 | 3002 | 3004 => {}
            3001 | 3003 | 3005 => return Err(refuse("this is a matrix of connectivity".into())),
            3006 | 3008 => return Err(refuse(SCALARS.into())),
            3007 => return Err(refuse(LABELS.into())),
            code => return Err(refuse(format!("intent {code} is no time series"))),
        }
        let [1, 1, 1, 1, _, _] = header.shape[..] else {
            return Err(refuse(format!(
                "expected sizes [1, 1, 1, 1, TRs, columns], got {:?}",
                header.shape
            )));
        };
        let axes = match xml {
            Some(xml) => read_axes(&xml).map_err(refuse)?,
            None => Axes::default(),
        };
        let file = CiftiFile { path: path.to_owned(), header, axes, is_gzip };
        let (trs, columns) = file.sides();
        let checks = [("TRs", trs, file.axes.n_trs), ("columns", columns, file.axes.n_columns)];
        for (what, got, said) in checks {
            if let Some(expected) = said.filter(|&n| n != got) {
                return Err(refuse(format!(
                    "expected {expected} {what} as the XML says, got {got}"
                )));
            }
        }
        Ok(file)
    }

    /// Whether TRs move fastest in the file, as they do but in files of other programs.
    fn is_series_first(&self) -> bool {
        self.axes.series != Some(1)
    }

    /// TRs and columns.
    fn sides(&self) -> (usize, usize) {
        let (fast, slow) = (self.header.shape[4], self.header.shape[5]);
        if self.is_series_first() { (fast, slow) } else { (slow, fast) }
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `[n_trs, n_columns]`.
    pub fn shape(&self) -> Vec<usize> {
        let (trs, columns) = self.sides();
        vec![trs, columns]
    }

    /// Repetition time that the file says, if it says one.
    pub fn tr_s(&self) -> Option<f64> {
        self.axes.tr_s
    }

    /// What the columns of a file are called, if it says that of all of them.
    /// # Errors
    /// As [`CiftiFile::open`].
    pub fn column_names(path: &Path) -> Result<Option<ColumnNames>> {
        let n_columns = CiftiFile::open(path)?.sides().1;
        let Some(xml) = read_start(path)?.1 else { return Ok(None) };
        let found = read_names(without_padding(&xml))
            .map_err(|error| refused(path, format!("its XML is damaged ({error})")))?;
        Ok(Some(found).filter(|found| found.names.len() == n_columns))
    }

    /// The values where they lie, if they can be read there.
    /// # Errors
    /// `Error::Read`; `NpyError::Truncated` if they reach past the file's end.
    pub fn in_place(&self) -> Result<Option<NpyFile>> {
        let is_scaled = (self.header.slope, self.header.inter) != (1.0, 0.0);
        if self.is_gzip || is_scaled {
            return Ok(None);
        }
        let file = input::open_file(&self.path)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        self.matrix(file, self.header.data_start, self.dtype()).map(Some)
    }

    /// Writes all values into `scratch` as f32 and opens it; errors go on naming the file.
    /// # Errors
    /// `Error::Read` for damaged gzip, `NiftiError::Truncated`, `Error::Write` if the disk is full.
    pub fn unpack(&self, scratch: File) -> Result<NpyFile> {
        let read_error = |source| Error::Read { path: self.path.clone(), source };
        let write_error = |source| Error::Write { path: self.path.clone(), source };
        let mut reader = input::open(&self.path)?;
        let skip = self.header.data_start;
        std::io::copy(&mut reader.by_ref().take(skip), &mut std::io::sink()).map_err(read_error)?;
        let mut out = BufWriter::with_capacity(1 << 20, &scratch);
        let (dtype, n_bytes) = (self.dtype(), self.header.kind.n_bytes());
        let (slope, inter) = (self.header.slope, self.header.inter);
        let expected = self.header.n_data_bytes();
        let (mut raw, mut values) = (Vec::new(), Vec::new());
        let mut got = 0;
        while got < expected {
            let n = (expected - got).min(STEP_BYTES as u64);
            raw.clear();
            reader.by_ref().take(n).read_to_end(&mut raw).map_err(read_error)?;
            got += raw.len() as u64;
            if (raw.len() as u64) < n {
                let (shape, dtype) = (self.header.shape.clone(), self.header.kind.name());
                let source = NiftiError::Truncated { shape, dtype, expected, got };
                return Err(Error::Nifti { path: self.path.clone(), source });
            }
            values.resize(raw.len() / n_bytes, 0f32);
            decode(dtype, &raw, &mut values);
            for value in &mut values {
                *value = (f64::from(*value) * slope + inter) as f32;
            }
            out.write_all(bytemuck::cast_slice(&values)).map_err(write_error)?;
        }
        // To the end of a gzip file, which checks its CRC.
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(read_error)?;
        out.flush().map_err(write_error)?;
        drop(out);
        self.matrix(scratch, 0, Dtype::native(Kind::F32))
    }

    /// `(TRs, columns)`, whichever of them moves fastest.
    fn matrix(&self, file: File, start: u64, dtype: Dtype) -> Result<NpyFile> {
        let order = (self.shape(), self.is_series_first());
        NpyFile::of_ordered_elements(file, &self.path, start, dtype, order)
    }

    fn dtype(&self) -> Dtype {
        let kind = match self.header.kind {
            Stored::U8 => Kind::U8,
            Stored::I8 => Kind::I8,
            Stored::I16 => Kind::I16,
            Stored::U16 => Kind::U16,
            Stored::I32 => Kind::I32,
            Stored::U32 => Kind::U32,
            Stored::I64 => Kind::I64,
            Stored::U64 => Kind::U64,
            Stored::F32 => Kind::F32,
            Stored::F64 => Kind::F64,
        };
        Dtype { kind, big_endian: self.header.big_endian && kind.n_bytes() > 1 }
    }
}

fn refused(path: &Path, problem: String) -> Error {
    Error::Nifti { path: path.to_owned(), source: NiftiError::Cifti { problem } }
}

/// A file's header, and its XML where it has some.
fn read_start(path: &Path) -> Result<(Header, Option<Vec<u8>>)> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let mut reader = input::open(path)?;
    let header = read_header(&mut reader).map_err(|fault| match fault {
        Fault::Io(source) => read_error(source),
        Fault::Nifti(source) => Error::Nifti { path: path.to_owned(), source },
    })?;
    let xml = extension(&mut reader, &header).map_err(read_error)?;
    Ok((header, xml))
}

/// Extensions are filled up with zeros.
fn without_padding(xml: &[u8]) -> &[u8] {
    let end = xml.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &xml[..end]
}

/// The XML among the extensions that stand between byte 540 and the data.
fn extension(reader: &mut dyn BufRead, header: &Header) -> std::io::Result<Option<Vec<u8>>> {
    let mut left = header.data_start.saturating_sub(540 + 4);
    let mut flag = [0; 4];
    reader.read_exact(&mut flag)?;
    if flag[0] == 0 {
        return Ok(None);
    }
    while left >= 8 {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            if header.big_endian { i32::from_be_bytes(bytes) } else { i32::from_le_bytes(bytes) }
        };
        let (size, code) = (u64::try_from(number(0)).unwrap_or(0), number(4));
        if size < 8 || size > left || size > MAX_XML {
            return Ok(None);
        }
        left -= size;
        let mut content = reader.take(size - 8);
        if code == XML_CODE {
            let mut xml = Vec::new();
            content.read_to_end(&mut xml)?;
            return Ok(Some(xml));
        }
        std::io::copy(&mut content, &mut std::io::sink())?;
    }
    Ok(None)
}

/// The two axes out of the XML.
fn read_axes(xml: &[u8]) -> std::result::Result<Axes, String> {
    let mut xml = Xml::new(without_padding(xml));
    let mut axes = Axes::default();
    // Of the map that is open: whether it is the one of columns.
    let mut is_columns = false;
    while let Some(tag) = xml.tag().map_err(|error| format!("its XML is damaged ({error})"))? {
        let Tag::Start(name, attributes) = tag else { continue };
        let get = |name: &str| attribute(&attributes, name).unwrap_or_default();
        match name.as_str() {
            "MatrixIndicesMap" => {
                let kind = get("IndicesMapToDataType");
                let axis = get("AppliesToMatrixDimension");
                is_columns = kind != "CIFTI_INDEX_TYPE_SERIES";
                if is_columns {
                    axes.n_columns = None;
                    if kind.ends_with("SCALARS") {
                        return Err(SCALARS.into());
                    }
                    if kind.ends_with("LABELS") {
                        return Err(LABELS.into());
                    }
                    if !kind.ends_with("BRAIN_MODELS") && !kind.ends_with("PARCELS") {
                        return Err(format!("its columns are {kind}, expected grayordinates"));
                    }
                    continue;
                }
                axes.series = match axis {
                    "0" => Some(0),
                    "1" => Some(1),
                    other => return Err(format!("its series are on axis {other:?}")),
                };
                axes.n_trs = get("NumberOfSeriesPoints").parse().ok();
                let step: Option<f64> = get("SeriesStep").parse().ok();
                let exponent: i32 = get("SeriesExponent").parse().unwrap_or(0);
                let step = step.map(|step| step * 10f64.powi(exponent.clamp(-30, 30)));
                let is_time = matches!(get("SeriesUnit"), "SECOND" | "");
                axes.tr_s = step.filter(|s| is_time && s.is_finite() && *s > 0.0);
            }
            "BrainModel" if is_columns => {
                let n: usize = get("IndexCount").parse().unwrap_or(0);
                axes.n_columns = Some(axes.n_columns.unwrap_or(0).saturating_add(n));
            }
            "Parcel" if is_columns => {
                axes.n_columns = Some(axes.n_columns.unwrap_or(0).saturating_add(1));
            }
            _ => {}
        }
    }
    Ok(axes)
}
