//! Writes `.npy` files that are whole or absent, at once or in column tiles.

use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::NpyError;
use super::header::{self, Dtype, Kind};
use crate::error::{Error, Result};
use crate::io::output::PartialFile;

/// A number that can be written: f32, f64, i32, i64, u8, bool.
pub trait Element: bytemuck::NoUninit + Send + Sync {
    /// Its NumPy kind.
    const KIND: Kind;
}

macro_rules! elements {
    ($($type:ty => $kind:ident),*) => {
        $(impl Element for $type { const KIND: Kind = Kind::$kind; })*
    };
}
elements!(f32 => F32, f64 => F64, i32 => I32, i64 => I64, u8 => U8, bool => Bool);

/// Writes `data` (C order) as a `.npy` file of version 1.0, byte for byte as `numpy.save` does.
///
/// The file is written under a temporary name and renamed: a failed write leaves what was there.
/// # Errors
/// `Error::Shape` if `data` has not the shape's number of elements, `Error::Write` otherwise.
pub fn write<T: Element>(path: &Path, shape: &[usize], data: &[T]) -> Result<()> {
    check_length(path, shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)), data.len())?;
    let partial = PartialFile::create(path)?;
    let header = header::format(Dtype::native(T::KIND), shape);
    let mut file = partial.file();
    file.write_all(&header)
        .and_then(|()| file.write_all(bytemuck::cast_slice(data)))
        .map_err(|source| partial.write_error(source))?;
    partial.finish()
}

/// The header of a C-order `.npy` file, for a file that is written elsewhere.
pub fn header(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    header::format(dtype, shape)
}

/// The same with NumPy's own name of the dtype, such as `<U12`.
pub fn header_of(descr: &str, shape: &[usize]) -> Vec<u8> {
    header::format_descr(descr, shape)
}

fn check_length(path: &Path, expected: Option<usize>, got: usize) -> Result<()> {
    if expected == Some(got) {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!("values for {}", path.display()),
        expected: expected.map_or("a possible shape".to_owned(), |n| format!("{n} values")),
        got: format!("{got} values"),
        hint: "this is a fault of voxelcast, please report it".to_owned(),
    })
}

/// A 2-D `.npy` file written in column tiles, from any thread, in any order.
///
/// The file has its full length from the start (sparse where the system can); what is never
/// written is 0. [`finish`](Self::finish) gives it its final name.
#[derive(Debug)]
pub struct NpyColumnsWriter<T: Element> {
    partial: PartialFile,
    n_rows: usize,
    n_cols: usize,
    data_start: u64,
    element: PhantomData<T>,
}

impl<T: Element> NpyColumnsWriter<T> {
    /// Starts a file under a temporary name; dropped unfinished, it is removed.
    /// # Errors
    /// `Error::Write`; `Error::Npy` if the sizes overflow.
    pub fn create(final_path: &Path, n_rows: usize, n_cols: usize) -> Result<Self> {
        let (header, n_bytes) = layout::<T>(final_path, n_rows, n_cols)?;
        let partial = PartialFile::create(final_path)?;
        start(partial.file(), &header, n_bytes).map_err(|source| partial.write_error(source))?;
        let data_start = header.len() as u64;
        Ok(NpyColumnsWriter { partial, n_rows, n_cols, data_start, element: PhantomData })
    }

    /// Goes on with the unfinished file at `partial_path`, or starts it there.
    ///
    /// The file is kept when this is dropped; which columns it already holds is for the caller to
    /// remember.
    /// # Errors
    /// `NpyError::OtherPartial` if the file there has another shape, dtype or length;
    /// `Error::Write` otherwise.
    pub fn resume(
        partial_path: &Path,
        final_path: &Path,
        n_rows: usize,
        n_cols: usize,
    ) -> Result<Self> {
        let (header, n_bytes) = layout::<T>(partial_path, n_rows, n_cols)?;
        let data_start = header.len() as u64;
        if !partial_path.exists() {
            // Under a third name first: a run killed here must not leave a short partial file.
            let new = PartialFile::create(partial_path)?;
            start(new.file(), &header, n_bytes).map_err(|source| new.write_error(source))?;
            new.finish()?;
        }
        let partial = PartialFile::reopen(partial_path, final_path)?;
        let read_error = |source| Error::Read { path: partial_path.to_owned(), source };
        let n_file = partial.file().metadata().map_err(read_error)?.len();
        let mut found = vec![0; header.len().min(usize::try_from(n_file).unwrap_or(usize::MAX))];
        partial.file().read_exact_at(&mut found, 0).map_err(read_error)?;
        if found != header || n_file != n_bytes {
            let text: String = String::from_utf8_lossy(found.get(10..).unwrap_or_default())
                .trim_end()
                .chars()
                .take(120)
                .collect();
            return Err(Error::Npy {
                path: partial_path.to_owned(),
                source: NpyError::OtherPartial {
                    expected: format!(
                        "({n_rows}, {n_cols}) of {}, {n_bytes} bytes",
                        Dtype::native(T::KIND)
                    ),
                    got: format!("{text:?}, {n_file} bytes"),
                },
            });
        }
        Ok(NpyColumnsWriter { partial, n_rows, n_cols, data_start, element: PhantomData })
    }

    /// Whether the unfinished file stays when this is dropped.
    pub fn keep_on_drop(mut self, keep: bool) -> Self {
        self.partial.set_keep_on_drop(keep);
        self
    }

    /// The unfinished file.
    pub fn partial(&self) -> &PartialFile {
        &self.partial
    }

    /// Where the unfinished file is.
    pub fn partial_path(&self) -> &Path {
        self.partial.path()
    }

    /// Rows of the file.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Columns of the file.
    pub fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Writes a tile: `data` is `(n_rows, cols.len())`, row-major.
    ///
    /// One write at full width, otherwise one a row. Threads may write different columns at the
    /// same time.
    /// # Errors
    /// `Error::Shape` if the tile does not fit, `Error::Write` if the disk refuses.
    pub fn write_columns(&self, cols: Range<usize>, data: &[T]) -> Result<()> {
        let inside = cols.start <= cols.end && cols.end <= self.n_cols;
        let expected = if inside { self.n_rows.checked_mul(cols.len()) } else { None };
        check_length(self.partial.final_path(), expected, data.len())?;
        if data.is_empty() {
            return Ok(());
        }
        if cols.len() == self.n_cols {
            self.write_at(0, data)?;
        } else {
            for (row, data) in data.chunks_exact(cols.len()).enumerate() {
                self.write_at(row * self.n_cols + cols.start, data)?;
            }
        }
        self.partial.mark_written();
        Ok(())
    }

    /// Hands the bytes of a tile to `take`, row by row: those that `write_columns` was given.
    /// # Errors
    /// `Error::Read`.
    pub fn read_back(&self, cols: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let bytes_of = |n: usize| n * size_of::<T>();
        let start = self.data_start + bytes_of(cols.start) as u64;
        let rows = (self.n_rows, bytes_of(self.n_cols) as u64);
        self.partial.read_pieces(start, rows, bytes_of(cols.len()), take)
    }

    fn write_at(&self, start: usize, data: &[T]) -> Result<()> {
        let offset = self.data_start + (start * size_of::<T>()) as u64;
        self.partial
            .file()
            .write_all_at(bytemuck::cast_slice(data), offset)
            .map_err(|source| self.partial.write_error(source))
    }

    /// Gives the file its final name.
    /// # Errors
    /// `Error::Write` if the rename fails.
    pub fn finish(self) -> Result<()> {
        self.partial.finish()
    }
}

/// The header and the length of the whole file.
fn layout<T: Element>(path: &Path, n_rows: usize, n_cols: usize) -> Result<(Vec<u8>, u64)> {
    let dtype = Dtype::native(T::KIND);
    let shape = vec![n_rows, n_cols];
    let header = header::format(dtype, &shape);
    let n_data = header::Header { dtype, is_fortran: false, shape }
        .n_data_bytes()
        .map_err(|source| Error::Npy { path: path.to_owned(), source })?;
    let n_bytes = n_data + header.len() as u64;
    Ok((header, n_bytes))
}

fn start(file: &File, header: &[u8], n_bytes: u64) -> std::io::Result<()> {
    file.set_len(n_bytes)?;
    file.write_all_at(header, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::npy::{read_array_f64, read_labels, read_matrix_f32};

    #[test]
    fn a_written_file_is_numpys_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, &[2, 2], &[1f32, 2., 3., 4.]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut expected =
            b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
                .to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        for value in [1f32, 2., 3., 4.] {
            expected.extend_from_slice(&value.to_le_bytes());
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_element_type_is_written_with_its_dtype() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        write(&path, &[3], &[true, false, true]).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [1, 0, 1]);
        write(&path, &[2], &[i64::MIN, 7]).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [i64::MIN, 7]);
        write(&path, &[2], &[-5i32, 7]).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [-5, 7]);
        write(&path, &[2], &[255u8, 7]).unwrap();
        assert_eq!(read_labels(&path).unwrap(), [255, 7]);
        write(&path, &[], &[0.1f64]).unwrap();
        assert_eq!(read_array_f64(&path).unwrap()[[]], 0.1);
        write::<f32>(&path, &[0, 3], &[]).unwrap();
        assert_eq!(read_matrix_f32(&path).unwrap().dim(), (0, 3));
    }

    #[test]
    fn data_of_another_length_are_refused_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        assert!(matches!(write(&path, &[2, 2], &[1f32; 3]), Err(Error::Shape { .. })));
        assert!(matches!(write(&path, &[usize::MAX, 2], &[1f32; 3]), Err(Error::Shape { .. })));
        let none = dir.path().join("none/a.npy");
        assert!(matches!(write(&none, &[1], &[1f32]), Err(Error::Write { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn column_tiles_from_threads_make_the_whole_matrix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let (n_rows, n_cols) = (7, 33);
        let writer = NpyColumnsWriter::<f32>::create(&path, n_rows, n_cols).unwrap();
        std::thread::scope(|scope| {
            for cols in [0..1, 1..20, 20..33, 33..33] {
                let writer = &writer;
                scope.spawn(move || {
                    let tile: Vec<f32> = (0..n_rows)
                        .flat_map(|row| cols.clone().map(move |col| (row * 100 + col) as f32))
                        .collect();
                    writer.write_columns(cols, &tile).unwrap();
                });
            }
        });
        assert!(!path.exists());
        assert_eq!((writer.n_rows(), writer.n_cols()), (n_rows, n_cols));
        writer.finish().unwrap();
        let read = read_matrix_f32(&path).unwrap();
        assert!(read.indexed_iter().all(|((row, col), &v)| v == (row * 100 + col) as f32));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn tiles_that_do_not_fit_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let writer = NpyColumnsWriter::<f64>::create(&path, 2, 3).unwrap();
        #[allow(clippy::reversed_empty_ranges)]
        for (cols, n) in [(0..4, 8), (0..2, 3), (2..1, 0)] {
            assert!(matches!(writer.write_columns(cols, &vec![0.; n]), Err(Error::Shape { .. })));
        }
        writer.write_columns(0..3, &[1.; 6]).unwrap();
        drop(writer);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(NpyColumnsWriter::<f64>::create(&path, usize::MAX, 3).is_err());
    }

    #[test]
    fn an_unfinished_file_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let (part, path) = (dir.path().join("a.partial"), dir.path().join("a.npy"));
        let writer = NpyColumnsWriter::<f32>::resume(&part, &path, 2, 2).unwrap();
        writer.write_columns(0..1, &[1., 3.]).unwrap();
        let mut bytes = Vec::new();
        writer.read_back(0..1, &mut |row| bytes.extend_from_slice(row)).unwrap();
        assert_eq!(bytes, bytemuck::cast_slice::<f32, u8>(&[1., 3.]));
        drop(writer);
        assert!(part.exists());
        let writer = NpyColumnsWriter::<f32>::resume(&part, &path, 2, 2).unwrap();
        writer.write_columns(1..2, &[2., 4.]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read_matrix_f32(&path).unwrap(), ndarray::array![[1., 2.], [3., 4.]]);
        assert!(!part.exists());
        drop(NpyColumnsWriter::<f32>::resume(&part, &path, 2, 2).unwrap().keep_on_drop(false));
        assert!(!part.exists());
    }

    #[test]
    fn an_unfinished_file_of_another_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (part, path) = (dir.path().join("a.partial"), dir.path().join("a.npy"));
        drop(NpyColumnsWriter::<f32>::resume(&part, &path, 2, 2).unwrap());
        let refused = |n_rows: usize| {
            let error = NpyColumnsWriter::<f32>::resume(&part, &path, n_rows, 2).unwrap_err();
            assert!(matches!(error, Error::Npy { source: NpyError::OtherPartial { .. }, .. }));
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains("a.partial"), "{error}");
        };
        refused(3);
        assert!(NpyColumnsWriter::<f64>::resume(&part, &path, 2, 2).is_err());
        File::options().write(true).open(&part).unwrap().set_len(140).unwrap();
        refused(2);
        std::fs::write(&part, b"x").unwrap();
        refused(2);
    }
}
