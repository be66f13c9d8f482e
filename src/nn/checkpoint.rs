//! An unfinished training in one file: whole or absent, so that it can be stopped at any moment.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::model::save_tensors;
use crate::error::{Error, Result};
use crate::io::input::read_bytes;

/// The tensor that holds the state's JSON.
const STATE: &str = "state";

/// What a checkpoint holds.
#[derive(Debug)]
pub struct Checkpoint {
    /// By name.
    pub tensors: HashMap<String, Tensor>,
    /// The rest, as JSON.
    pub state: String,
}

/// Writes a safetensors file with the tensors, and `state` as the bytes of one more.
///
/// # Errors
/// `Error::Write`; `Error::Tensor`.
pub fn write(path: &Path, tensors: &[(String, Tensor)], state: &str) -> Result<()> {
    let state = Tensor::from_slice(state.as_bytes(), state.len(), &Device::Cpu)?;
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    save_tensors(tensors.chain([(STATE, &state)]), path)
}

/// Reads a checkpoint; none where there is no file.
///
/// # Errors
/// `Error::Read`; `Error::Values` for a damaged file.
pub fn read(path: &Path, device: &Device) -> Result<Option<Checkpoint>> {
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
    };
    let load = || -> candle_core::Result<Checkpoint> {
        let mut tensors = candle_core::safetensors::load_buffer(&bytes, device)?;
        let state = tensors.remove(STATE).ok_or_else(|| candle_core::Error::msg("no state"))?;
        let state = String::from_utf8(state.to_vec1::<u8>()?).map_err(candle_core::Error::wrap)?;
        Ok(Checkpoint { tensors, state })
    };
    load().map(Some).map_err(|error| damaged(path, &error.to_string()))
}

/// A checkpoint that cannot be gone on from.
pub fn damaged(path: &Path, problem: &str) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: format!("is no whole checkpoint ({problem})"),
        hint: "remove it, and the training starts again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(read(&path, &Device::Cpu).unwrap().is_none());
        let values = [0.1f32, -0.0, f32::MIN_POSITIVE / 8.0, f32::MAX];
        let tensors = [
            ("a".to_owned(), Tensor::from_slice(&values, (2, 2), &Device::Cpu).unwrap()),
            ("b".to_owned(), Tensor::from_slice(&[7i64], 1, &Device::Cpu).unwrap()),
        ];
        write(&path, &tensors, "{\"epoch\":3}").unwrap();
        let Checkpoint { tensors, state } = read(&path, &Device::Cpu).unwrap().unwrap();
        assert_eq!(state, "{\"epoch\":3}");
        let back = tensors["a"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(back.map_bits(), values.to_vec().map_bits());
        assert_eq!(tensors["b"].to_vec1::<i64>().unwrap(), [7]);
    }

    trait Bits {
        fn map_bits(&self) -> Vec<u32>;
    }

    impl Bits for Vec<f32> {
        fn map_bits(&self) -> Vec<u32> {
            self.iter().map(|x| x.to_bits()).collect()
        }
    }

    #[test]
    fn whoever_may_read_other_files_may_read_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| {
            let about = std::fs::metadata(folder.path().join(name)).unwrap();
            std::os::unix::fs::PermissionsExt::mode(&about.permissions())
        };
        std::fs::write(folder.path().join("usual"), "").unwrap();
        write(&folder.path().join("checkpoint"), &[], "{}").unwrap();
        assert_eq!(mode("checkpoint"), mode("usual"));
    }

    #[test]
    fn a_file_cut_short_at_any_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let tensor = Tensor::from_slice(&[1f32; 8], 8, &Device::Cpu).unwrap();
        write(&path, &[("a".to_owned(), tensor)], "{}").unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = read(&path, &Device::Cpu).unwrap_err();
            assert_eq!(error.exit_code(), 3, "{length} bytes");
            assert!(error.to_string().contains("starts again"));
        }
    }
}
