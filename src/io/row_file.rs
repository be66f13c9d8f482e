//! A whole matrix that was made elsewhere: in any format of `matrix_file`, or a tensor of a
//! safetensors file.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::file_kind::has_extension;
use super::matrix_file::{DATASET, MatrixFile, OpenedFiles, Which};
use super::npy::{Dtype, Kind, NpyFile};
use super::safetensors::{Tensor, read_tensors};
use crate::error::{Error, Result};

/// safetensors' own limit of a header.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// An open matrix whose header was checked; a vector is one column.
#[derive(Debug)]
pub struct RowFile {
    path: PathBuf,
    source: Source,
    /// Rows.
    pub n_rows: usize,
    /// Columns.
    pub n_cols: usize,
}

#[derive(Debug)]
enum Source {
    Matrix(MatrixFile),
    Tensor(NpyFile),
    /// The upper halves of f32.
    Bf16(NpyFile),
}

impl RowFile {
    /// Opens a matrix. `dataset`: its name in a file that holds several; none: `data`, or the only
    /// one.
    /// # Errors
    /// As [`MatrixFile::open`]; `Error::Values` for a tensor that is not there or is no matrix.
    pub fn open(path: &Path, dataset: Option<&str>, opened: &OpenedFiles) -> Result<RowFile> {
        let path = path.to_owned();
        if has_extension(&path, &["safetensors"]) {
            return open_tensor(path, dataset);
        }
        let dataset = dataset.unwrap_or(DATASET);
        let which = Which { dataset, opened: Some(opened), ..Which::default() };
        let file = MatrixFile::open(&path, &which)?;
        let (n_rows, n_cols) = (file.n_rows(), file.n_cols());
        Ok(RowFile { path, source: Source::Matrix(file), n_rows, n_cols })
    }

    /// All values, `(n_rows, n_cols)`; what is packed is unpacked in `folder`, which is made then.
    /// # Errors
    /// Those of the format; `Error::Write` for a disk that is full.
    pub fn read(self, folder: &Path) -> Result<Array2<f64>> {
        let RowFile { path, source, n_rows, n_cols } = self;
        let values = match source {
            Source::Matrix(mut file) => {
                if file.is_packed() {
                    std::fs::create_dir_all(folder)
                        .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
                    file.unpack(folder, true)?;
                }
                file.expect_tiles()?.read_f64()?
            }
            Source::Tensor(file) => file.read_f64()?,
            Source::Bf16(file) => {
                file.read_f64()?.mapv(|bits| f64::from(f32::from_bits((bits as u32) << 16)))
            }
        };
        let got = format!("{:?}", values.shape());
        values.into_shape_with_order((n_rows, n_cols)).map_err(|_| Error::Shape {
            what: path.display().to_string(),
            expected: format!("({n_rows}, {n_cols}) as its header said"),
            got,
            hint: "the file was changed while it was read".into(),
        })
    }
}

fn open_tensor(path: PathBuf, dataset: Option<&str>) -> Result<RowFile> {
    let tensors = read_tensors(&path, MAX_HEADER_BYTES, "the file is damaged: copy it again")?;
    let found = match (dataset, &tensors[..]) {
        (None, [only]) => Some(only),
        (wanted, all) => all.iter().find(|tensor| tensor.name == wanted.unwrap_or(DATASET)),
    };
    let wrong = |problem: String, hint: &str| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: hint.into(),
    };
    let Some(Tensor { name, dtype, shape, start, .. }) = found else {
        let names: Vec<String> = tensors.into_iter().map(|tensor| tensor.name).collect();
        let wanted = dataset.unwrap_or(DATASET);
        let problem =
            format!("no tensor {wanted:?}; the file holds {}", crate::warning::named(&names));
        return Err(wrong(problem, "name it: dataset = \"NAME\", {story} in it for one per story"));
    };
    let (n_rows, n_cols) = match shape[..] {
        [n_rows] => (n_rows, 1),
        [n_rows, n_cols] => (n_rows, n_cols),
        _ => {
            let problem = format!("tensor {name:?}: expected (rows, columns), got {shape:?}");
            return Err(wrong(problem, "reshape it before saving"));
        }
    };
    let kind = match dtype.as_str() {
        "F64" => Kind::F64,
        "F32" => Kind::F32,
        "F16" => Kind::F16,
        "I64" => Kind::I64,
        "I32" => Kind::I32,
        "I16" => Kind::I16,
        "I8" => Kind::I8,
        "U64" => Kind::U64,
        "U32" => Kind::U32,
        "U8" => Kind::U8,
        _ => Kind::U16,
    };
    let dtype_on_disk = Dtype { kind, big_endian: false };
    let file = NpyFile::at(&path, *start, dtype_on_disk, vec![n_rows, n_cols])?;
    let source = if dtype == "BF16" { Source::Bf16(file) } else { Source::Tensor(file) };
    Ok(RowFile { path, source, n_rows, n_cols })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safetensors(path: &Path, tensors: &[(&str, &str, &[usize], &[u8])]) {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, dtype, shape, bytes) in tensors {
            let offsets = [data.len(), data.len() + bytes.len()];
            let entry =
                serde_json::json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets });
            header.insert((*name).to_owned(), entry);
            data.extend_from_slice(bytes);
        }
        let text = serde_json::Value::Object(header).to_string();
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.extend(data);
        std::fs::write(path, bytes).unwrap();
    }

    fn read(path: &Path, dataset: Option<&str>) -> Result<Array2<f64>> {
        let file = RowFile::open(path, dataset, &OpenedFiles::default())?;
        let sides = (file.n_rows, file.n_cols);
        let rows = file.read(path.parent().unwrap())?;
        assert_eq!(rows.dim(), sides);
        Ok(rows)
    }

    #[test]
    fn tensors_of_every_float_are_read_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let f32s: Vec<u8> = [1f32, -2.5, 3.0, 0.1].iter().flat_map(|x| x.to_le_bytes()).collect();
        let f64s: Vec<u8> = [0.1f64, 7.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        // 1.5 and -2 as bf16 (the upper half of f32) and as f16.
        let (bf16, f16) = ([0xc0, 0x3f, 0x00, 0xc0], [0x00, 0x3e, 0x00, 0xc0]);
        safetensors(
            &path,
            &[
                ("single", "F32", &[2, 2], &f32s),
                ("double", "F64", &[2], &f64s),
                ("bf", "BF16", &[1, 2], &bf16),
                ("half", "F16", &[1, 2], &f16),
                ("cube", "U8", &[1, 2, 2], &[0; 4]),
            ],
        );
        let of = |name| read(&path, Some(name)).unwrap();
        assert_eq!(of("single"), ndarray::array![[1.0, -2.5], [3.0, f64::from(0.1f32)]]);
        assert_eq!(of("double"), ndarray::array![[0.1], [7.0]]);
        assert_eq!(
            (of("bf"), of("half")),
            (ndarray::array![[1.5, -2.0]], ndarray::array![[1.5, -2.0]])
        );
        for (name, says) in
            [(Some("no"), "no tensor \"no\""), (None, "single"), (Some("cube"), "[1, 2, 2]")]
        {
            let error = read(&path, name).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(says), "{error}");
        }
        safetensors(&path, &[("only", "F64", &[1, 2], &f64s)]);
        assert_eq!(read(&path, None).unwrap(), ndarray::array![[0.1, 7.0]]);
        safetensors(&path, &[("lies", "F64", &[9, 2], &f64s)]);
        assert_eq!(read(&path, None).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn npy_keeps_the_digits_of_f64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        crate::io::npy::write(&path, &[2, 1], &[0.1f64, 1.0 / 3.0]).unwrap();
        assert_eq!(read(&path, None).unwrap(), ndarray::array![[0.1], [1.0 / 3.0]]);
        crate::io::npy::write(&path, &[2], &[0.1f32, 2.0]).unwrap();
        assert_eq!(read(&path, None).unwrap(), ndarray::array![[f64::from(0.1f32)], [2.0]]);
    }
}
