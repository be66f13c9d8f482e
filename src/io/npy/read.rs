//! Reads tiles of a `.npy` file into the caller's slices, by position.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, ArrayD, IxDyn, ShapeBuilder};

use super::decode::{decode, decode_f64, element};
use super::error::NpyError;
use super::header::{self, Dtype, Header, Kind};
use super::start::{read_header, read_header_text};
use crate::error::{Error, Result};
use crate::io::input::open_file;

/// Bytes of the scratch through which elements go that cannot be read straight into place.
const SCRATCH_BYTES: usize = 256 << 10;
/// Columns transposed together from Fortran order: one cache line of f32 in a row of the output.
const FORTRAN_COLS: usize = 16;
/// Two row segments this close are read as one: a read of the gap is cheaper than another call.
const MAX_GAP_BYTES: usize = 4 << 10;

/// An open `.npy` file whose header was checked against the file's length.
///
/// Reading takes `&self` and uses positioned reads, so threads can share it.
#[derive(Debug)]
pub struct NpyFile {
    file: File,
    path: PathBuf,
    header: Header,
    data_start: u64,
}

impl NpyFile {
    /// Opens a file and reads its header; the data stay on disk.
    /// # Errors
    /// `Error::Read` if it cannot be opened, `Error::Npy` for everything wrong inside.
    pub fn open(path: &Path) -> Result<NpyFile> {
        NpyFile::open_part(path, 0, None)
    }

    /// The same for a `.npy` file that lies inside another one: `n_bytes` from byte `start` on.
    pub(in crate::io) fn open_part(
        path: &Path,
        start: u64,
        n_bytes: Option<u64>,
    ) -> Result<NpyFile> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut file = open_file(path).map_err(read_error)?;
        let n_file = file.metadata().map_err(read_error)?.len();
        let n_left = n_file.saturating_sub(start);
        file.seek(SeekFrom::Start(start)).map_err(read_error)?;
        let n_part = n_bytes.unwrap_or(n_left);
        let (header, n_header) = read_header(path, n_part, &mut file.by_ref().take(n_part))?;
        if n_part > n_left {
            let (shape, dtype) = (header.shape, header.dtype.to_string());
            let (expected, got) = (n_part - n_header, n_left.saturating_sub(n_header));
            let source = NpyError::Truncated { shape, dtype, expected, got };
            return Err(Error::Npy { path: path.to_owned(), source });
        }
        Ok(NpyFile { file, path: path.to_owned(), header, data_start: start + n_header })
    }

    /// The shape of a `.npy` file of `n_bytes` that comes as a stream, from its header.
    pub(in crate::io) fn peek(
        path: &Path,
        n_bytes: u64,
        stream: &mut dyn Read,
    ) -> Result<Vec<usize>> {
        Ok(read_header(path, n_bytes, stream)?.0.shape)
    }

    /// A whole `.npy` file without a name of its own; errors name `path`, where it came from.
    pub(in crate::io) fn of_scratch(mut file: File, path: &Path) -> Result<NpyFile> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let n_file = file.metadata().map_err(read_error)?.len();
        file.seek(SeekFrom::Start(0)).map_err(read_error)?;
        let (header, data_start) = read_header(path, n_file, &mut file)?;
        Ok(NpyFile { file, path: path.to_owned(), header, data_start })
    }

    /// Elements without a header, in C order from byte `data_start` of the file at `path` on.
    /// # Errors
    /// `Error::Read`; `NpyError::Truncated` if they reach past the file's end.
    pub(in crate::io) fn at(
        path: &Path,
        data_start: u64,
        dtype: Dtype,
        shape: Vec<usize>,
    ) -> Result<NpyFile> {
        let file =
            open_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        NpyFile::of_elements(file, path, data_start, dtype, shape)
    }

    /// As [`NpyFile::at`], of an open file; errors name `path`.
    pub(in crate::io) fn of_elements(
        file: File,
        path: &Path,
        data_start: u64,
        dtype: Dtype,
        shape: Vec<usize>,
    ) -> Result<NpyFile> {
        NpyFile::of_ordered_elements(file, path, data_start, dtype, (shape, false))
    }

    /// The same in C or Fortran order: `(shape, is_fortran)`.
    pub(in crate::io) fn of_ordered_elements(
        file: File,
        path: &Path,
        data_start: u64,
        dtype: Dtype,
        (shape, is_fortran): (Vec<usize>, bool),
    ) -> Result<NpyFile> {
        let n_file =
            file.metadata().map_err(|source| Error::Read { path: path.to_owned(), source })?.len();
        let header = Header { dtype, is_fortran, shape };
        let at = |source| Error::Npy { path: path.to_owned(), source };
        let expected = header.n_data_bytes().map_err(at)?;
        let got = n_file.saturating_sub(data_start);
        if expected > got {
            let (shape, dtype) = (header.shape, header.dtype.to_string());
            return Err(at(NpyError::Truncated { shape, dtype, expected, got }));
        }
        Ok(NpyFile { file, path: path.to_owned(), header, data_start })
    }

    /// A `.npy` header whose array holds Python objects: where the pickle behind it starts.
    /// `None` for any other array.
    /// # Errors
    /// As [`NpyFile::open`], for the header alone.
    pub(in crate::io) fn object_start(path: &Path) -> Result<Option<u64>> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let mut file = open_file(path).map_err(read_error)?;
        let n_file = file.metadata().map_err(read_error)?.len();
        let (text, data_start) = read_header_text(path, n_file, &mut file)?;
        Ok(header::is_object(&text).then_some(data_start))
    }

    /// Another handle on the same array.
    /// # Errors
    /// `Error::Read` where the system has no more files.
    pub fn try_clone(&self) -> Result<NpyFile> {
        let file = self
            .file
            .try_clone()
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        let (path, header) = (self.path.clone(), self.header.clone());
        Ok(NpyFile { file, path, header, data_start: self.data_start })
    }

    /// The array with its axes in the opposite order; nothing is moved on disk.
    pub fn transposed(mut self) -> NpyFile {
        if self.header.shape.len() > 1 {
            self.header.shape.reverse();
            self.header.is_fortran = !self.header.is_fortran;
        }
        self
    }

    /// The entries along the first of three axes as matrices of their own.
    /// # Errors
    /// `NpyError::Dims` unless 3-D and in C order: in Fortran order an entry is no run of elements.
    pub fn slabs(&self) -> Result<Vec<NpyFile>> {
        const EXPECTED: &str = "3 (repeats, rows, columns) in C order";
        const HINT: &str = "save it with numpy.ascontiguousarray";
        self.check_dims(3..=3, EXPECTED, HINT)?;
        if self.header.is_fortran {
            let shape = self.header.shape.clone();
            return Err(self.error(NpyError::Dims { shape, expected: EXPECTED, hint: HINT }));
        }
        let [n, n_rows, n_cols] = self.header.shape[..] else { return Ok(Vec::new()) };
        let n_bytes = (n_rows * n_cols * self.dtype().kind.n_bytes()) as u64;
        let slab = |index: usize| {
            let mut slab = self.try_clone()?;
            slab.header.shape = vec![n_rows, n_cols];
            slab.data_start += index as u64 * n_bytes;
            Ok(slab)
        };
        (0..n).map(slab).collect()
    }

    /// As it was given to `open`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The element type on disk.
    pub fn dtype(&self) -> Dtype {
        self.header.dtype
    }

    /// True if the first index moves fastest on disk.
    pub fn is_fortran(&self) -> bool {
        self.header.is_fortran
    }

    /// The first size; 1 for a 0-D array.
    pub fn n_rows(&self) -> usize {
        self.header.shape.first().copied().unwrap_or(1)
    }

    /// The second size; 1 for a vector, the product of all further sizes above 2-D.
    pub fn n_cols(&self) -> usize {
        self.header.shape.iter().skip(1).product() // n_data_bytes checked the product
    }

    /// Elements of the whole array.
    pub fn n_elements(&self) -> usize {
        self.header.shape.iter().product()
    }

    /// Asks for 1-D or 2-D.
    /// # Errors
    /// `NpyError::Dims` with the shape.
    pub fn check_matrix(&self) -> Result<()> {
        self.check_dims(1..=2, "1 or 2 (rows, columns)", "reshape it before saving")
    }

    fn check_dims(
        &self,
        wanted: std::ops::RangeInclusive<usize>,
        expected: &'static str,
        hint: &'static str,
    ) -> Result<()> {
        if wanted.contains(&self.header.shape.len()) {
            return Ok(());
        }
        Err(self.error(NpyError::Dims { shape: self.header.shape.clone(), expected, hint }))
    }

    fn error(&self, source: NpyError) -> Error {
        Error::Npy { path: self.path.clone(), source }
    }

    /// Fills `out` with rows × cols of a 1-D or 2-D array, row-major, as f32.
    ///
    /// `out`: `(rows.len(), cols.len())`, C order. Any dtype on disk (f64 and integers are
    /// rounded to f32), C or Fortran order, either byte order. A C-order f32 file at its full
    /// width is one read straight into `out`; a narrower tile is one read a row; other dtypes go
    /// through a scratch of at most 256 KiB; Fortran order is read by column segments and
    /// transposed 16 columns at a time.
    /// # Errors
    /// `NpyError::Dims` above 2-D; `Error::Shape` for ranges outside the array or an `out` of
    /// another length; `Error::Read` if the file got shorter since it was opened.
    pub fn read_columns(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        self.check_matrix()?;
        let (n_rows, n_cols) = (rows.len(), cols.len());
        if rows.end > self.n_rows()
            || cols.end > self.n_cols()
            || n_rows.checked_mul(n_cols) != Some(out.len())
        {
            return Err(Error::Shape {
                what: format!("tile of {}", self.path.display()),
                expected: format!("inside {} x {}", self.n_rows(), self.n_cols()),
                got: format!("rows {rows:?}, columns {cols:?}, {} values", out.len()),
                hint: "ask for rows and columns that are there".to_owned(),
            });
        }
        if out.is_empty() {
            return Ok(());
        }
        if self.header.is_fortran && self.header.shape.len() == 2 && self.n_rows() > 1 {
            return self.read_columns_fortran(rows, cols, out);
        }
        let width = self.n_cols();
        if n_cols == width || n_rows == 1 {
            // Also one row of any width: its segment is contiguous.
            return self.read_run(rows.start * width + cols.start, out);
        }
        let gap = (width - n_cols) * self.dtype().kind.n_bytes();
        if gap <= MAX_GAP_BYTES && gap <= n_cols * self.dtype().kind.n_bytes() {
            return self.read_columns_over_gaps(rows, cols, out);
        }
        for (row, out) in rows.zip(out.chunks_exact_mut(n_cols)) {
            self.read_run(row * width + cols.start, out)?;
        }
        Ok(())
    }

    /// Tells the system that these rows and columns will be read soon, so that it may begin to
    /// fetch them; nothing waits for it, and nothing is wrong where it cannot.
    pub fn expect_columns(&self, rows: Range<usize>, cols: Range<usize>) {
        let (runs, across, step) = match self.header.is_fortran {
            false => (rows, cols, self.n_cols()),
            true => (cols, rows, self.n_rows()),
        };
        let n_bytes = self.dtype().kind.n_bytes() as u64;
        let Some(len) = NonZeroU64::new(across.len() as u64 * n_bytes) else { return };
        for run in runs {
            let at = self.data_start + (run * step + across.start) as u64 * n_bytes;
            let _ = rustix::fs::fadvise(&self.file, at, Some(len), rustix::fs::Advice::WillNeed);
        }
    }

    /// Elements that lie together on disk, from element `start`.
    fn read_run(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let dtype = self.dtype();
        if dtype.kind == Kind::F32 && dtype.is_native() {
            return self.read_bytes(start, bytemuck::cast_slice_mut(out));
        }
        let n_bytes = dtype.kind.n_bytes();
        let step = SCRATCH_BYTES / n_bytes;
        let mut scratch = vec![0u8; step.min(out.len()) * n_bytes];
        for (i, out) in out.chunks_mut(step).enumerate() {
            let bytes = &mut scratch[..out.len() * n_bytes];
            self.read_bytes(start + i * step, bytes)?;
            decode(dtype, bytes, out);
        }
        Ok(())
    }

    /// Nearly full rows: whole rows go through the scratch, many in one read.
    fn read_columns_over_gaps(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        let dtype = self.dtype();
        let (width, n_cols, n_bytes) = (self.n_cols(), cols.len(), dtype.kind.n_bytes());
        let step = (SCRATCH_BYTES / (width * n_bytes)).max(1);
        let mut scratch = vec![0u8; step.min(rows.len()) * width * n_bytes];
        for (i, out) in out.chunks_mut(step * n_cols).enumerate() {
            let n_read = out.len() / n_cols;
            let bytes = &mut scratch[..n_read * width * n_bytes];
            self.read_bytes((rows.start + i * step) * width, bytes)?;
            for (bytes, out) in
                bytes.chunks_exact(width * n_bytes).zip(out.chunks_exact_mut(n_cols))
            {
                decode(dtype, &bytes[cols.start * n_bytes..cols.end * n_bytes], out);
            }
        }
        Ok(())
    }

    fn read_columns_fortran(
        &self,
        rows: Range<usize>,
        cols: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        let dtype = self.dtype();
        let (height, n_cols, n_bytes) = (self.n_rows(), cols.len(), dtype.kind.n_bytes());
        let step = (SCRATCH_BYTES / (FORTRAN_COLS * n_bytes)).min(rows.len());
        let mut bytes = vec![0u8; step * FORTRAN_COLS * n_bytes];
        let mut block = vec![0f32; step * FORTRAN_COLS];
        for first_row in (0..rows.len()).step_by(step) {
            let n = step.min(rows.len() - first_row);
            for first_col in (0..n_cols).step_by(FORTRAN_COLS) {
                let m = FORTRAN_COLS.min(n_cols - first_col);
                let start = (cols.start + first_col) * height + rows.start + first_row;
                let bytes = &mut bytes[..n * m * n_bytes];
                if n == height {
                    self.read_bytes(start, bytes)?; // whole columns lie together
                } else {
                    for (col, bytes) in bytes.chunks_exact_mut(n * n_bytes).enumerate() {
                        self.read_bytes(start + col * height, bytes)?;
                    }
                }
                let block = &mut block[..n * m];
                decode(dtype, bytes, block);
                let out = &mut out[first_row * n_cols..];
                for (row, out) in out.chunks_mut(n_cols).take(n).enumerate() {
                    for (col, out) in out[first_col..first_col + m].iter_mut().enumerate() {
                        *out = block[col * n + row];
                    }
                }
            }
        }
        Ok(())
    }

    /// Fills `bytes` from element `start` of the file.
    fn read_bytes(&self, start: usize, bytes: &mut [u8]) -> Result<()> {
        let offset = self.data_start + (start * self.dtype().kind.n_bytes()) as u64;
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|source| Error::Read { path: self.path.clone(), source })
    }

    /// The whole array in memory, element order as on disk.
    fn read_all(&self) -> Result<Vec<u8>> {
        // n_data_bytes equals what the file holds, so this is no larger than the file.
        let mut bytes = vec![0u8; self.n_elements() * self.dtype().kind.n_bytes()];
        self.read_bytes(0, &mut bytes)?;
        Ok(bytes)
    }

    /// The whole array as f64 in logical (C) order, of any number of dimensions.
    ///
    /// Integers beyond 2^53 are rounded. For small files: memory is file + 8 bytes an element.
    /// # Errors
    /// `Error::Read` if the file got shorter since it was opened.
    pub fn read_f64(&self) -> Result<ArrayD<f64>> {
        let mut values = vec![0f64; self.n_elements()];
        decode_f64(self.dtype(), &self.read_all()?, &mut values);
        let shape = IxDyn(&self.header.shape).set_f(self.header.is_fortran);
        let array = ArrayD::from_shape_vec(shape, values)
            .expect("as many values as the shape has elements");
        Ok(if self.header.is_fortran { array.as_standard_layout().into_owned() } else { array })
    }

    /// Elements of a vector as f64.
    /// # Errors
    /// `Error::Read` if the file got shorter since it was opened; `Error::Shape` past its end.
    pub(in crate::io) fn read_range_f64(&self, range: Range<usize>) -> Result<Vec<f64>> {
        let bytes = self.read_range(range.clone())?;
        let mut values = vec![0f64; range.len()];
        decode_f64(self.dtype(), &bytes, &mut values);
        Ok(values)
    }

    /// Elements of a vector of signed integers.
    /// # Errors
    /// As [`NpyFile::read_range_f64`]; `NpyError::LabelDtype` for other dtypes.
    pub(in crate::io) fn read_range_i64(&self, range: Range<usize>) -> Result<Vec<i64>> {
        let bytes = self.read_range(range)?;
        let big = self.dtype().big_endian;
        Ok(match self.dtype().kind {
            Kind::I32 => bytes.chunks_exact(4).map(|b| i64::from(element::<i32>(b, big))).collect(),
            Kind::I64 => bytes.chunks_exact(8).map(|b| element::<i64>(b, big)).collect(),
            _ => return Err(self.error(NpyError::LabelDtype { dtype: self.dtype().to_string() })),
        })
    }

    fn read_range(&self, range: Range<usize>) -> Result<Vec<u8>> {
        if range.end > self.n_elements() {
            return Err(Error::Shape {
                what: format!("elements of {}", self.path.display()),
                expected: format!("at most {}", self.n_elements()),
                got: format!("{range:?}"),
                hint: "the file is damaged: copy it again".to_owned(),
            });
        }
        let mut bytes = vec![0; range.len() * self.dtype().kind.n_bytes()];
        self.read_bytes(range.start, &mut bytes)?;
        Ok(bytes)
    }

    /// Integer or bool labels of a 1-D file.
    /// # Errors
    /// `NpyError::LabelDtype` for floats, `NpyError::Dims` unless 1-D, `LabelTooLarge` over i64.
    pub fn read_labels(&self) -> Result<Vec<i64>> {
        self.check_dims(1..=1, "1 (one label a row)", "save it with .ravel()")?;
        let dtype = self.dtype();
        if dtype.kind.is_float() {
            return Err(self.error(NpyError::LabelDtype { dtype: dtype.to_string() }));
        }
        let bytes = self.read_all()?;
        let elements = bytes.chunks_exact(dtype.kind.n_bytes());
        let big = dtype.big_endian;
        Ok(match dtype.kind {
            Kind::Bool => elements.map(|b| i64::from(b[0] != 0)).collect(),
            Kind::I8 => elements.map(|b| i64::from(element::<i8>(b, big))).collect(),
            Kind::I16 => elements.map(|b| i64::from(element::<i16>(b, big))).collect(),
            Kind::I32 => elements.map(|b| i64::from(element::<i32>(b, big))).collect(),
            Kind::I64 => elements.map(|b| element::<i64>(b, big)).collect(),
            Kind::U8 => elements.map(|b| i64::from(element::<u8>(b, big))).collect(),
            Kind::U16 => elements.map(|b| i64::from(element::<u16>(b, big))).collect(),
            Kind::U32 => elements.map(|b| i64::from(element::<u32>(b, big))).collect(),
            Kind::U64 => {
                let label = |(index, bytes)| {
                    let value = element::<u64>(bytes, big);
                    i64::try_from(value)
                        .map_err(|_| self.error(NpyError::LabelTooLarge { index, value }))
                };
                elements.enumerate().map(label).collect::<Result<_>>()?
            }
            Kind::F16 | Kind::F32 | Kind::F64 => unreachable!("floats were refused above"),
        })
    }
}

/// A whole small file as f64, any number of dimensions, in C order.
/// # Errors
/// As [`NpyFile::open`].
pub fn read_array_f64(path: &Path) -> Result<ArrayD<f64>> {
    NpyFile::open(path)?.read_f64()
}

/// A whole 2-D file as f64 `(n_rows, n_cols)`; a vector becomes one column.
/// # Errors
/// As [`NpyFile::open`]; `NpyError::Dims` unless 1-D or 2-D.
pub fn read_matrix_f64(path: &Path) -> Result<Array2<f64>> {
    let file = NpyFile::open(path)?;
    file.check_matrix()?;
    let shape = (file.n_rows(), file.n_cols());
    let array = file.read_f64()?;
    Ok(array.into_shape_with_order(shape).expect("rows times columns elements in C order"))
}

/// A whole 2-D file as f32 `(n_rows, n_cols)`; a vector becomes one column.
/// # Errors
/// As [`NpyFile::open`]; `NpyError::Dims` unless 1-D or 2-D.
pub fn read_matrix_f32(path: &Path) -> Result<Array2<f32>> {
    let file = NpyFile::open(path)?;
    file.check_matrix()?;
    let (n_rows, n_cols) = (file.n_rows(), file.n_cols());
    let mut values = vec![0f32; n_rows * n_cols];
    file.read_columns(0..n_rows, 0..n_cols, &mut values)?;
    Ok(Array2::from_shape_vec((n_rows, n_cols), values).expect("the vector was made that long"))
}

/// A whole 1-D file as f64.
/// # Errors
/// As [`NpyFile::open`]; `NpyError::Dims` unless 1-D.
pub fn read_vector_f64(path: &Path) -> Result<Array1<f64>> {
    let file = NpyFile::open(path)?;
    file.check_dims(1..=1, "1 (a vector)", "save it with .ravel()")?;
    Ok(Array1::from_iter(file.read_f64()?))
}

/// Labels of any integer or bool dtype, 1-D.
/// # Errors
/// As [`NpyFile::open`] and [`NpyFile::read_labels`].
pub fn read_labels(path: &Path) -> Result<Vec<i64>> {
    NpyFile::open(path)?.read_labels()
}

#[cfg(test)]
mod tests;
