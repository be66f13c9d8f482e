//! The 348 bytes of NIfTI-1 and the 540 bytes of NIfTI-2, checked.
//!
//! Source of every offset: nifti1.h and nifti2.h of nifti.nimh.nih.gov.

use super::error::NiftiError;
use super::grid::Grid;

/// Bytes of a NIfTI-1 header.
pub(super) const BYTES_1: usize = 348;
/// Bytes of a NIfTI-2 header.
pub(super) const BYTES_2: usize = 540;
/// More is no extension but damage.
const MAX_OFFSET: f64 = (1u64 << 30) as f64;

/// The voxel types that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

impl Kind {
    pub(super) fn n_bytes(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::I32 | Kind::U32 | Kind::F32 => 4,
            Kind::I64 | Kind::U64 | Kind::F64 => 8,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::U8 => "uint8",
            Kind::I8 => "int8",
            Kind::I16 => "int16",
            Kind::U16 => "uint16",
            Kind::I32 => "int32",
            Kind::U32 => "uint32",
            Kind::I64 => "int64",
            Kind::U64 => "uint64",
            Kind::F32 => "float32",
            Kind::F64 => "float64",
        }
    }

    fn from_code(code: i16) -> Result<Kind, NiftiError> {
        let what = match code {
            2 => return Ok(Kind::U8),
            4 => return Ok(Kind::I16),
            8 => return Ok(Kind::I32),
            16 => return Ok(Kind::F32),
            64 => return Ok(Kind::F64),
            256 => return Ok(Kind::I8),
            512 => return Ok(Kind::U16),
            768 => return Ok(Kind::U32),
            1024 => return Ok(Kind::I64),
            1280 => return Ok(Kind::U64),
            1 => "single bits",
            32 | 1792 | 2048 => "complex numbers",
            128 | 2304 => "colours",
            1536 => "long double",
            _ => "no type of NIfTI",
        };
        Err(NiftiError::Datatype { code, what })
    }
}

/// A checked header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub grid: Grid,
    /// All sizes, trailing ones taken off, at least three.
    pub shape: Vec<usize>,
    pub kind: Kind,
    pub big_endian: bool,
    pub data_start: u64,
    /// Value = slope · stored + inter.
    pub slope: f64,
    pub inter: f64,
    /// Repetition time, where the header says one.
    pub tr_s: Option<f64>,
    pub intent: i32,
}

impl Header {
    /// Bytes of the voxels.
    pub(super) fn n_data_bytes(&self) -> u64 {
        // `shape` was checked against overflow when it was read.
        self.shape.iter().product::<usize>() as u64 * self.kind.n_bytes() as u64
    }

    /// Volumes of a 4-D image; 1 in 3-D.
    pub(super) fn n_volumes(&self) -> usize {
        self.shape.get(3).copied().unwrap_or(1)
    }
}

/// What the first four bytes say.
pub(super) fn length(first: [u8; 4]) -> Result<usize, NiftiError> {
    match (i32::from_le_bytes(first), i32::from_be_bytes(first)) {
        (348, _) | (_, 348) => Ok(BYTES_1),
        (540, _) | (_, 540) => Ok(BYTES_2),
        (got, _) => Err(NiftiError::NotNifti {
            problem: format!("it starts with the number {got}, expected 348 or 540"),
        }),
    }
}

/// Numbers at fixed places.
struct Fields<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

macro_rules! number {
    ($($name:ident),*) => {
        $(fn $name(&self, at: usize) -> $name {
            let mut bytes = [0u8; size_of::<$name>()];
            bytes.copy_from_slice(&self.bytes[at..at + size_of::<$name>()]);
            if self.big_endian { $name::from_be_bytes(bytes) } else { $name::from_le_bytes(bytes) }
        })*
    };
}

impl Fields<'_> {
    number!(i16, i32, i64, f32, f64);

    fn f32s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|i| f64::from(self.f32(at + 4 * i)))
    }

    fn f64s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|i| self.f64(at + 8 * i))
    }
}

/// Reads a header of `length` bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, NiftiError> {
    match bytes.len() {
        BYTES_1 => parse_1(bytes),
        _ => parse_2(bytes),
    }
}

fn parse_1(bytes: &[u8]) -> Result<Header, NiftiError> {
    let f = Fields { bytes, big_endian: bytes[..4] == 348i32.to_be_bytes() };
    check_magic(&bytes[344..348], b"n+1\0")?;
    let raw = Raw {
        version: 1,
        dim: std::array::from_fn(|i| i64::from(f.i16(40 + 2 * i))),
        datatype: f.i16(70),
        pixdim: f.f32s(76),
        pixdim_4: f64::from(f.f32(92)),
        intent: i32::from(f.i16(68)),
        offset: f64::from(f.f32(108)),
        slope: f64::from(f.f32(112)),
        inter: f64::from(f.f32(116)),
        units: bytes[123],
        qform_code: i32::from(f.i16(252)),
        sform_code: i32::from(f.i16(254)),
        qform: f.f32s(256),
        sform: [f.f32s(280), f.f32s(296), f.f32s(312)],
    };
    raw.check(f.big_endian)
}

fn parse_2(bytes: &[u8]) -> Result<Header, NiftiError> {
    let f = Fields { bytes, big_endian: bytes[..4] == 540i32.to_be_bytes() };
    check_magic(&bytes[4..12], b"n+2\0\r\n\x1a\n")?;
    let raw = Raw {
        version: 2,
        dim: std::array::from_fn(|i| f.i64(16 + 8 * i)),
        datatype: f.i16(12),
        pixdim: f.f64s(104),
        pixdim_4: f.f64(136),
        intent: f.i32(504),
        offset: f.i64(168) as f64,
        slope: f.f64(176),
        inter: f.f64(184),
        units: f.i32(500).to_le_bytes()[0],
        qform_code: f.i32(344),
        sform_code: f.i32(348),
        qform: f.f64s(352),
        sform: [f.f64s(400), f.f64s(432), f.f64s(464)],
    };
    raw.check(f.big_endian)
}

fn check_magic(found: &[u8], expected: &[u8]) -> Result<(), NiftiError> {
    if found == expected {
        return Ok(());
    }
    let problem = match found.starts_with(b"ni") {
        true => "it is the .hdr of a pair of .hdr and .img".to_owned(),
        false => format!("its magic bytes are {found:02x?}"),
    };
    Err(NiftiError::NotNifti { problem })
}

/// A header as it was written.
struct Raw {
    version: u8,
    dim: [i64; 8],
    datatype: i16,
    pixdim: [f64; 4],
    pixdim_4: f64,
    intent: i32,
    offset: f64,
    slope: f64,
    inter: f64,
    units: u8,
    qform_code: i32,
    sform_code: i32,
    qform: [f64; 6],
    sform: [[f64; 4]; 3],
}

impl Raw {
    fn check(self, big_endian: bool) -> Result<Header, NiftiError> {
        let shape = self.shape()?;
        let kind = Kind::from_code(self.datatype)?;
        shape
            .iter()
            .try_fold(kind.n_bytes() as u64, |n, &size| n.checked_mul(size as u64))
            .filter(|&n| n <= i64::MAX as u64)
            .ok_or_else(|| self.dims("their size in bytes overflows".into()))?;
        let least = if self.version == 1 { 352 } else { 544 };
        let data_start = match self.offset {
            0.0 => least,
            offset if offset >= least as f64 && offset <= MAX_OFFSET && offset.fract() == 0.0 => {
                offset as u64
            }
            offset => return Err(NiftiError::Offset { offset, least }),
        };
        // A slope of 0 or NaN means: no scaling (nibabel does the same).
        let (slope, inter) = match self.slope.is_finite() && self.slope != 0.0 {
            false => (1.0, 0.0),
            true if self.inter.is_finite() => (self.slope, self.inter),
            true => return Err(NiftiError::Scale { slope: self.slope, inter: self.inter }),
        };
        let grid = Grid {
            shape: [shape[0], shape[1], shape[2]],
            version: self.version,
            pixdim: self.pixdim,
            qform_code: self.qform_code,
            sform_code: self.sform_code,
            qform: self.qform,
            sform: self.sform,
            units: self.units,
        };
        grid.affine()?;
        let (tr_s, intent) = (self.tr_s(), self.intent);
        Ok(Header { grid, shape, kind, big_endian, data_start, slope, inter, tr_s, intent })
    }

    /// pixdim[4] in seconds. A number without a unit is seconds, or milliseconds where no scanner is
    /// that slow; 0, and a 1 without a unit, are what programs write that do not know.
    fn tr_s(&self) -> Option<f64> {
        const LONGEST_S: f64 = 100.0;
        let value = self.pixdim_4;
        let seconds = match self.units & 0x38 {
            0 if value == 1.0 => return None,
            0 if value > LONGEST_S => value * 1e-3,
            0 | 8 => value,
            16 => value * 1e-3,
            24 => value * 1e-6,
            _ => return None, // hertz, parts per million, radians
        };
        (seconds.is_finite() && seconds > 0.0).then_some(seconds)
    }

    fn shape(&self) -> Result<Vec<usize>, NiftiError> {
        let n_dims = usize::try_from(self.dim[0]).ok().filter(|n| (1..=7).contains(n));
        let n_dims = n_dims.ok_or_else(|| self.dims(format!("their number is {}", self.dim[0])))?;
        let size = |&size: &i64| {
            let size = usize::try_from(size).ok().filter(|&size| size > 0);
            size.ok_or_else(|| self.dims("a size is below 1".into()))
        };
        let mut shape = self.dim[1..=n_dims].iter().map(size).collect::<Result<Vec<_>, _>>()?;
        while shape.len() > 3 && shape.last() == Some(&1) {
            shape.pop();
        }
        shape.resize(shape.len().max(3), 1);
        // (x, y, z, 1, time): images of vectors of one, as ANTs and older SPM write them.
        if shape.len() == 5 && shape[3] == 1 {
            shape.remove(3);
        }
        Ok(shape)
    }

    fn dims(&self, problem: String) -> NiftiError {
        NiftiError::Dims { dim: self.dim.to_vec(), problem }
    }
}
