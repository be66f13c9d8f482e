//! safetensors files written in column tiles.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, json};

use super::output::PartialFile;
use crate::error::{Error, Result};
use crate::io::input::open_file;

/// A header lists a handful of tensors.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// As the header has it: `F32`.
    pub dtype: String,
    /// Rows and columns.
    pub shape: Vec<usize>,
    /// Byte of the file where it starts.
    pub start: u64,
    /// Its length.
    pub n_bytes: u64,
}

/// A tensor as the header has it.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The f32 tensors of a file that [`ColumnsWriter`] wrote, in its order; the header was checked
/// against the file's length.
/// # Errors
/// `Error::Read` if it cannot be opened; `Error::Values` if the header lies or is damaged.
pub fn read_header(path: &Path) -> Result<Vec<Tensor>> {
    let hint = "the file is damaged or cut short: run the study again";
    let tensors = read_tensors(path, MAX_HEADER_BYTES, hint)?;
    match tensors.iter().find(|tensor| tensor.dtype != "F32") {
        None => Ok(tensors),
        Some(Tensor { name, dtype, .. }) => Err(Error::Values {
            place: path.display().to_string(),
            problem: format!("tensor {name:?}: expected F32, got {dtype}"),
            hint: hint.into(),
        }),
    }
}

/// The tensors of any file; each lies inside of it and has as many bytes as its shape asks for.
/// Those of dtypes that hold no plain numbers are left out.
/// # Errors
/// As [`read_header`]; `hint` says what to do about a damaged file.
pub fn read_tensors(path: &Path, max_header: u64, hint: &str) -> Result<Vec<Tensor>> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let broken = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: hint.into(),
    };
    let file = open_file(path).map_err(fail)?;
    let n_bytes = file.metadata().map_err(fail)?.len();
    let mut length = [0; 8];
    file.read_exact_at(&mut length, 0).map_err(fail)?;
    let n_header = u64::from_le_bytes(length);
    if n_header > max_header || n_header + 8 > n_bytes {
        return Err(broken(format!(
            "expected a header of at most {max_header} bytes inside of {n_bytes}, got {n_header}"
        )));
    }
    let mut header = vec![0; n_header as usize];
    file.read_exact_at(&mut header, 8).map_err(fail)?;
    let header: Map<String, serde_json::Value> =
        serde_json::from_slice(&header).map_err(|error| broken(error.to_string()))?;
    let n_data = n_bytes - 8 - n_header;
    let mut tensors = Vec::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let Entry { dtype, shape, data_offsets: [start, end] } =
            serde_json::from_value(entry).map_err(|error| broken(format!("{name:?}: {error}")))?;
        let size = match dtype.as_str() {
            "F64" | "I64" | "U64" => 8,
            "F32" | "I32" | "U32" => 4,
            "F16" | "BF16" | "I16" | "U16" => 2,
            "I8" | "U8" => 1,
            _ => continue,
        };
        let n_wanted = shape.iter().try_fold(size, |n: u64, &size| n.checked_mul(size as u64));
        if end > n_data || n_wanted != end.checked_sub(start) {
            return Err(broken(format!(
                "tensor {name:?}: expected {shape:?} of {dtype} inside of {n_data} bytes, got byte \
                 {start} to {end}"
            )));
        }
        let (start, n_bytes) = (8 + n_header + start, end - start);
        tensors.push(Tensor { name, dtype, shape, start, n_bytes });
    }
    Ok(tensors)
}

/// f32 matrices `(rows, n_cols)` in one file, written in column tiles from any thread.
///
/// Layout (huggingface/safetensors, README, "Format"): 8 bytes with the length of the header,
/// the header as JSON padded with spaces, the tensors one after the other. The whole file has its
/// length from the start; what is never written is 0.
#[derive(Debug)]
pub struct ColumnsWriter {
    partial: PartialFile,
    starts: Vec<(u64, usize)>,
    n_cols: usize,
}

impl ColumnsWriter {
    /// Goes on with the unfinished file at `partial_path`, or starts it there.
    /// # Errors
    /// `Error::Write`; `Error::Shape` if the file there is of another layout.
    pub fn resume(
        partial_path: &Path,
        final_path: &Path,
        tensors: &[(&str, usize)],
        n_cols: usize,
    ) -> Result<Self> {
        let mut header = Map::new();
        let mut first = 0u64;
        let mut offsets = Vec::new();
        for &(name, rows) in tensors {
            let end = first + (rows * n_cols * size_of::<f32>()) as u64;
            let entry =
                json!({ "dtype": "F32", "shape": [rows, n_cols], "data_offsets": [first, end] });
            header.insert(name.to_owned(), entry);
            offsets.push((first, rows));
            first = end;
        }
        let mut text = serde_json::Value::Object(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut start = (text.len() as u64).to_le_bytes().to_vec();
        start.extend(text);
        let data_start = start.len() as u64;
        if !partial_path.exists() {
            let new = PartialFile::create(partial_path)?;
            new.file()
                .set_len(data_start + first)
                .and_then(|()| new.file().write_all_at(&start, 0))
                .map_err(|source| new.write_error(source))?;
            new.finish()?;
        }
        let partial = PartialFile::reopen(partial_path, final_path)?;
        if !same_start(partial.file(), &start, data_start + first) {
            return Err(Error::Shape {
                what: partial_path.display().to_string(),
                expected: format!("{} bytes, as this run writes it", data_start + first),
                got: "another layout".into(),
                hint: "remove the folder of the unfinished run".into(),
            });
        }
        let starts = offsets.into_iter().map(|(at, rows)| (data_start + at, rows)).collect();
        Ok(Self { partial, starts, n_cols })
    }

    /// Writes some columns of one tensor; `data`: `(rows, cols.len())` row-major.
    /// # Errors
    /// `Error::Write`; `Error::Shape` if the data does not fill the columns.
    pub fn write_columns(&self, tensor: usize, cols: Range<usize>, data: &[f32]) -> Result<()> {
        let (start, rows) = self.starts[tensor];
        if data.len() != rows * cols.len() || cols.end > self.n_cols {
            return Err(Error::Shape {
                what: self.partial.final_path().display().to_string(),
                expected: format!("{rows} rows of columns {cols:?}"),
                got: format!("{} values", data.len()),
                hint: "this is a fault of voxelcast, please report it".into(),
            });
        }
        for (row, data) in data.chunks_exact(cols.len().max(1)).enumerate() {
            let at = start + ((row * self.n_cols + cols.start) * size_of::<f32>()) as u64;
            self.partial
                .file()
                .write_all_at(bytemuck::cast_slice(data), at)
                .map_err(|source| self.partial.write_error(source))?;
        }
        self.partial.mark_written();
        Ok(())
    }

    /// Hands the bytes of some columns of one tensor to `take`, row by row: those that
    /// `write_columns` was given.
    /// # Errors
    /// `Error::Read`.
    pub fn read_back(
        &self,
        tensor: usize,
        cols: Range<usize>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let (start, n_rows) = self.starts[tensor];
        let bytes_of = |n: usize| n * size_of::<f32>();
        let start = start + bytes_of(cols.start) as u64;
        let rows = (n_rows, bytes_of(self.n_cols) as u64);
        self.partial.read_pieces(start, rows, bytes_of(cols.len()), take)
    }

    /// The unfinished file.
    pub fn partial(&self) -> &PartialFile {
        &self.partial
    }

    /// Gives the file its final name.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<()> {
        self.partial.finish()
    }
}

/// f32 matrices of a file that voxelcast wrote, read in column tiles.
#[derive(Debug)]
pub struct ColumnsReader {
    file: File,
    path: PathBuf,
    tensors: Vec<Tensor>,
}

impl ColumnsReader {
    /// Opens a file and reads its header; the data stay on disk.
    /// # Errors
    /// As [`read_header`].
    pub fn open(path: &Path) -> Result<Self> {
        let tensors = read_header(path)?;
        let fail = |source| Error::Read { path: path.to_owned(), source };
        Ok(Self { file: open_file(path).map_err(fail)?, path: path.to_owned(), tensors })
    }

    /// Some columns of a tensor `(n_rows, n_cols)`, `(n_rows, cols.len())` row-major.
    /// # Errors
    /// `Error::Shape` if there is no such f32 tensor; `Error::Read`.
    pub fn read_columns(
        &self,
        name: &str,
        (n_rows, n_cols): (usize, usize),
        cols: Range<usize>,
    ) -> Result<Vec<f32>> {
        let info = self.tensors.iter().find(|tensor| tensor.name == name);
        let found = info.filter(|info| info.shape == [n_rows, n_cols] && cols.end <= n_cols);
        let Some(found) = found else {
            return Err(Error::Shape {
                what: format!("{name:?} of {}", self.path.display()),
                expected: format!("({n_rows}, {n_cols}) of f32"),
                got: info.map_or("nothing".into(), |info| format!("{:?}", info.shape)),
                hint: "the file is of another model: run the study again".into(),
            });
        };
        let mut out = vec![0f32; n_rows * cols.len()];
        for (row, out) in out.chunks_exact_mut(cols.len().max(1)).enumerate() {
            let at = found.start + ((row * n_cols + cols.start) * size_of::<f32>()) as u64;
            self.file
                .read_exact_at(bytemuck::cast_slice_mut(out), at)
                .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        }
        Ok(out)
    }
}

fn same_start(file: &File, start: &[u8], n_bytes: u64) -> bool {
    let mut found = vec![0; start.len()];
    file.metadata().is_ok_and(|about| about.len() == n_bytes)
        && file.read_exact_at(&mut found, 0).is_ok()
        && found == start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safetensors_crate_reads_what_was_written_in_tiles() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, last) = (folder.path().join("p"), folder.path().join("w.safetensors"));
        let open = || ColumnsWriter::resume(&partial, &last, &[("w", 3), ("b", 1)], 5).unwrap();
        open().write_columns(0, 0..2, &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]).unwrap();
        let writer = open(); // a second run goes on
        writer
            .write_columns(0, 2..5, &[2.0, 3.0, 4.0, 12.0, 13.0, 14.0, 22.0, 23.0, 24.0])
            .unwrap();
        writer.write_columns(1, 0..5, &[5.0, 6.0, 7.0, 8.0, 9.0]).unwrap();
        let mut bytes = Vec::new();
        writer.read_back(0, 1..3, &mut |row| bytes.extend_from_slice(row)).unwrap();
        assert_eq!(bytes, bytemuck::cast_slice::<f32, u8>(&[1., 2., 11., 12., 21., 22.]));
        assert!(writer.write_columns(1, 4..6, &[0.0; 2]).is_err());
        writer.finish().unwrap();
        let bytes = std::fs::read(&last).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let weights = tensors.tensor("w").unwrap();
        assert_eq!(weights.shape(), [3, 5]);
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        let values: Vec<f32> = weights.data().chunks_exact(4).map(number).collect();
        let expected: Vec<f32> = (0..15).map(|i| (i / 5 * 10 + i % 5) as f32).collect();
        assert_eq!(values, expected);
        assert_eq!(tensors.tensor("b").unwrap().shape(), [1, 5]);
        assert!(!partial.exists());

        let reader = ColumnsReader::open(&last).unwrap();
        assert_eq!(reader.read_columns("w", (3, 5), 1..3).unwrap(), [1., 2., 11., 12., 21., 22.]);
        assert_eq!(reader.read_columns("b", (1, 5), 0..5).unwrap(), [5., 6., 7., 8., 9.]);
        for (name, shape, cols) in [("w", (3, 4), 0..1), ("no", (3, 5), 0..1), ("b", (1, 5), 4..6)]
        {
            let error = reader.read_columns(name, shape, cols).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{error}");
        }
    }

    #[test]
    fn a_file_that_lies_about_itself_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (partial, path) = (folder.path().join("p"), folder.path().join("w.safetensors"));
        ColumnsWriter::resume(&partial, &path, &[("w", 3)], 5).unwrap().finish().unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut long_header = whole.clone();
        long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let mut no_json = whole.clone();
        no_json[8] = b'x';
        for bytes in [&whole[..whole.len() - 1], &whole[..4], &long_header, &no_json] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(ColumnsReader::open(&path).unwrap_err().exit_code(), 3);
        }
    }
}
