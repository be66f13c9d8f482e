//! safetensors files written in column tiles.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Map, json};

use super::output::PartialFile;
use crate::error::{Error, Result};

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Rows and columns.
    pub shape: Vec<usize>,
    /// Byte of the file where it starts.
    pub start: u64,
    /// Its length.
    pub n_bytes: u64,
}

/// The f32 tensors of a file that [`ColumnsWriter`] wrote, in its order.
/// # Errors
/// `Error::Read`; `Error::Values` for a header that does not fit the file.
pub fn read_header(path: &Path) -> Result<Vec<Tensor>> {
    /// Names and sizes of a few matrices.
    const MAX_HEADER_BYTES: u64 = 1 << 20;
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let broken = |problem: &str| Error::Values {
        place: path.display().to_string(),
        problem: format!("is no safetensors file of f32 matrices: {problem}"),
        hint: "run the study again".into(),
    };
    let file = File::open(path).map_err(read_error)?;
    let n_file = file.metadata().map_err(read_error)?.len();
    let mut length = [0u8; 8];
    file.read_exact_at(&mut length, 0).map_err(read_error)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER_BYTES.min(n_file.saturating_sub(8)) {
        return Err(broken("its header is longer than the file"));
    }
    let mut text = vec![0u8; length as usize];
    file.read_exact_at(&mut text, 8).map_err(read_error)?;
    let header: Map<String, serde_json::Value> =
        serde_json::from_slice(&text).map_err(|_| broken("its header is not JSON"))?;
    let mut tensors = Vec::new();
    for (name, about) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let shape: Vec<usize> = serde_json::from_value(about["shape"].clone())
            .map_err(|_| broken("a shape is missing"))?;
        let [from, to]: [u64; 2] = serde_json::from_value(about["data_offsets"].clone())
            .map_err(|_| broken("offsets are missing"))?;
        let n_values = shape.iter().try_fold(4u64, |n, &size| n.checked_mul(size as u64));
        let is_inside = to.checked_add(8 + length).is_some_and(|end| end <= n_file);
        if about["dtype"] != "F32" || to.checked_sub(from) != n_values || !is_inside {
            return Err(broken("a tensor does not fit its shape or the file"));
        }
        tensors.push(Tensor { name, shape, start: 8 + length + from, n_bytes: to - from });
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
        Ok(())
    }

    /// Gives the file its final name.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<()> {
        self.partial.finish()
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
    }
}
