//! Files that the crate's own writer makes, and what is left of them when they are damaged.

use super::*;
use crate::error::Error;

fn file(dir: &tempfile::TempDir, bytes: &[u8]) -> std::path::PathBuf {
    let path = dir.path().join("a.h5");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn contiguous() -> Vec<u8> {
    let mut builder = hdf5_pure::FileBuilder::new();
    let values: Vec<f64> = (0..60).map(f64::from).collect();
    builder.create_dataset("data").with_f64_data(&values).with_shape(&[6, 10]);
    builder.finish().unwrap()
}

#[test]
fn files_that_are_none_or_cut_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let said = |bytes: &[u8]| {
        let error = open_array(&file(&dir, bytes), "data").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        error.to_string()
    };
    assert!(said(b"").contains("starts with nothing"));
    assert!(said(b"\x93NUMPY").contains("starts with 93 4E 55 4D"));
    let whole = contiguous();
    assert!(said(&whole[..100]).contains("cannot be read"));
    let cut = said(&whole[..whole.len() - 8]);
    assert!(cut.contains("truncated") || cut.contains("cannot be read"), "{cut}");
    assert!(matches!(open_array(&dir.path().join("none"), "data"), Err(Error::Read { .. })));
}

#[test]
fn no_damaged_byte_ends_in_a_panic_or_in_values_beyond_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let whole = contiguous();
    let (mut n_open, mut n_refused) = (0, 0);
    for at in 0..whole.len() - 480 {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            match open_array(&file(&dir, &bytes), "data") {
                Ok(Found::Contiguous(matrix)) => {
                    assert!(matrix.n_elements() * matrix.dtype().kind.n_bytes() <= bytes.len());
                    let mut out = vec![0f32; matrix.n_elements()];
                    let (n, v) = (matrix.n_rows(), matrix.n_cols());
                    matrix.read_columns(0..n, 0..v, &mut out).unwrap();
                    n_open += 1;
                }
                Ok(Found::Packed(packed)) => {
                    let _ = packed.each_band(&mut |_| Ok(()));
                }
                Err(error) => {
                    assert_eq!(error.exit_code(), 3);
                    n_refused += 1;
                }
            }
        }
    }
    assert!(n_open > 0 && n_refused > 0, "{n_open} {n_refused}");
}

/// A file of `fuzz/seeds/hdf5`, by h5py.
fn seed(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/hdf5").join(name)
}

#[test]
fn issue_8_a_side_of_0_does_not_hide_sides_that_no_file_has() {
    for name in ["no_rows.h5", "no_columns.h5"] {
        let error = open_array(&seed(name), "data").unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("can hold"), "{error}");
    }
    let error = open_slabs(&seed("many_slabs.h5"), "individual_repeats").unwrap_err();
    assert!(error.to_string().contains("can hold"), "{error}");
}

#[test]
fn issue_8_a_chunk_behind_the_end_of_the_file_is_refused_before_there_is_room_for_it() {
    let error = open_array(&seed("found_chunk_behind_the_end.h5"), "data").unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("a chunk of"), "{error}");
    let error = open_array(&seed("found_chunk_behind_all_rows.h5"), "data").unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("a chunk that begins at"), "{error}");
}
