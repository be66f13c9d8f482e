//! Files of other programs: read to the values that those programs read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use voxelcast::io::matrix_file::{MatrixFile, Which};
use voxelcast::io::nifti::{Mask, MaskedBold, NiftiFile};
use voxelcast::stimuli::read_stories;

/// A golden file.
fn golden(case: &str, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case).join(file)
}

fn expected(case: &str) -> Value {
    let text = std::fs::read_to_string(golden(case, "expected.json")).expect("it is there");
    serde_json::from_str(&text).expect("it is whole")
}

/// Values of a JSON list, null for NaN.
fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect()
}

#[track_caller]
fn assert_same(got: &[f64], wanted: &[f64], what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!(got == wanted || (got.is_nan() && wanted.is_nan()), "{what} [{i}]: {got} {wanted}");
    }
}

#[test]
fn nibabels_images_through_a_mask_are_nibabels_values() {
    let expected = expected("nibabel");
    let wanted = &expected["mask"];
    let mut masks = Vec::new();
    for (name, affine) in [("mask.nii.gz", "affine"), ("mask_nifti2.nii", "affine_nifti2")] {
        let mask = Mask::read(&golden("nibabel", name)).expect("a mask");
        let positions: Vec<[usize; 3]> =
            serde_json::from_value(wanted["positions"].clone()).expect("positions");
        let found: Vec<_> = (0..mask.n_voxels()).map(|voxel| mask.position(voxel)).collect();
        assert_eq!(found, positions, "{name}");
        let rows = mask.grid().affine().expect("an affine");
        let lists: Vec<Vec<f64>> =
            serde_json::from_value(wanted[affine].clone()).expect("an affine");
        assert_eq!(rows.map(|row| row.to_vec()).to_vec(), lists, "{name}");
        masks.push(Arc::new(mask));
    }
    let files = expected["bold"].as_object().expect("an object");
    assert_eq!(files.len(), 18);
    for (name, values) in files {
        let path = golden("nibabel", name);
        let first = std::fs::read(&path).expect("it is there")[0];
        assert!(!name.contains("_be.nii") || name.ends_with("gz") || first == 0, "{name} is big");
        for mask in &masks {
            let bold = MaskedBold::open(&path, mask).expect("an image");
            let mut found = Vec::new();
            let mut take = |_, row: &[f64]| {
                found.extend_from_slice(row);
                Ok(())
            };
            bold.each_row(0..bold.n_rows(), &mut take).expect("whole");
            assert_same(&found, &numbers(values), name);
        }
    }
}

#[test]
fn affines_without_an_sform_are_nibabels() {
    let expected = expected("nibabel");
    let files = expected["affines"].as_object().expect("an object");
    assert_eq!(files.len(), 3);
    for (name, rows) in files {
        let file = NiftiFile::open(&golden("nibabel", name)).expect("an image");
        let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).expect("an affine");
        let found = file.grid().affine().expect("an affine");
        for (got, wanted) in found.iter().flatten().zip(rows.iter().flatten()) {
            assert!((got - wanted).abs() < 1e-6, "{name}: {found:?} {rows:?}");
        }
    }
}

#[test]
fn images_that_are_not_for_us_are_refused() {
    for (name, says) in [("refused_complex.nii", "complex"), ("refused_pair.hdr", ".hdr of a pair")]
    {
        let error = NiftiFile::open(&golden("nibabel", name)).expect_err("refused").to_string();
        assert!(error.contains(says), "{error}");
    }
    let mask = Arc::new(Mask::read(&golden("nibabel", "mask.nii.gz")).expect("a mask"));
    let error = MaskedBold::open(&golden("nibabel", "refused_5d.nii"), &mask).expect_err("refused");
    assert!(error.to_string().contains("(x, y, z, time)"), "{error}");
}

/// All values of an open matrix, after it was unpacked into `folder` if it must be.
fn all_values(mut matrix: MatrixFile, folder: &Path) -> Vec<f64> {
    matrix.unpack(folder, true).expect("whole");
    let (n, v) = (matrix.n_rows(), matrix.n_cols());
    let file = matrix.expect_tiles().expect("unpacked");
    // Two tiles, so that the second does not start at column 0.
    let mut values = vec![0f64; n * v];
    let wide = file.read_f64().expect("whole");
    for cols in [0..v / 2, v / 2..v] {
        let mut tile = vec![0f32; n * cols.len()];
        file.read_columns(0..n, cols.clone(), &mut tile).expect("inside");
        for (row, tile) in tile.chunks(cols.len()).enumerate() {
            for (col, &value) in cols.clone().zip(tile) {
                let wide = wide[[row, col]];
                assert!(value == wide as f32 || value.is_nan() && wide.is_nan(), "{row} {col}");
                values[row * v + col] = wide;
            }
        }
    }
    values
}

#[test]
fn hdf5_and_npz_hold_the_values_that_their_writers_read() {
    let expected = expected("hdf5");
    let shape: Vec<usize> = serde_json::from_value(expected["shape"].clone()).expect("a shape");
    let files = expected["values"].as_object().expect("an object");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let (mut n_by_position, mut n_packed) = (0, 0);
    for (name, values) in files {
        let (file, dataset) = match name.split_once('/') {
            Some((file, dataset)) => (file, dataset),
            None => (name.as_str(), "data"),
        };
        let path = golden("hdf5", file);
        let found = if dataset == "individual_repeats" {
            let slabs = MatrixFile::open_slabs(&path, dataset).expect("repeats");
            assert_eq!(slabs.len(), 4);
            slabs.into_iter().flat_map(|slab| all_values(slab, folder.path())).collect()
        } else {
            let which = Which { dataset, ..Which::default() };
            let matrix = MatrixFile::open(&path, &which).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!([matrix.n_rows(), matrix.n_cols()], shape[..], "{name}");
            let is_packed = matrix.tiles().is_none();
            n_by_position += usize::from(!is_packed);
            n_packed += usize::from(is_packed);
            all_values(matrix, folder.path())
        };
        assert_same(&found, &numbers(values), name);
    }
    assert!(n_by_position >= 9 && n_packed >= 10, "{n_by_position} {n_packed}");
    let left = std::fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!(left, 0, "scratch files have no names");
}

#[test]
fn hdf5_and_npz_that_are_not_for_us_are_refused() {
    for (name, says) in [
        ("refused_latest_chunked.h5", "h5repack OLD.h5 NEW.h5"),
        ("refused_no_data.h5", "no dataset \"data\", the file holds bold, more/x;"),
        ("refused_text.h5", "expected integers, f16, f32 or f64"),
        ("refused_complex.h5", "expected integers, f16, f32 or f64"),
        ("refused_3d.h5", "shape [4, 13, 37] has 3 dimensions"),
        ("refused_blosc.hf5", "h5repack -f GZIP=4"),
        ("refused_never_written.h5", "was never written"),
        ("refused_two.npz", "no array \"data\", the file holds a, b"),
    ] {
        let error = MatrixFile::open(&golden("hdf5", name), &Which::default()).expect_err(name);
        assert_eq!(error.exit_code(), 3);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(says), "{says:?} not in {text}");
    }
    let error = MatrixFile::open_slabs(&golden("hdf5", "h5py_f8.hf5"), "data").expect_err("2-D");
    assert!(error.to_string().contains("expected 3 axes"), "{error}");
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("x.mat");
    std::fs::write(&path, "MATLAB 5.0 MAT-file, Platform: GLNXA64").expect("written");
    let error = MatrixFile::open(&path, &Which::default()).expect_err("no MATLAB");
    assert!(error.to_string().contains("scipy.io.loadmat"), "{error}");
    let image = golden("nibabel", "mask.nii.gz");
    let error = MatrixFile::open(&image, &Which::default()).expect_err("no mask");
    assert!(error.to_string().contains("mask = "), "{error}");
}

#[test]
fn damaged_npz_arrays_are_refused() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let whole = std::fs::read(golden("hdf5", "savez_compressed.npz")).expect("it is there");
    let path = folder.path().join("a.npz");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x10;
    std::fs::write(&path, damaged).expect("written");
    let mut matrix = MatrixFile::open(&path, &Which::default()).expect("its header is whole");
    let error = matrix.unpack(folder.path(), false).expect_err("damaged").to_string();
    assert!(error.contains("a.npz") && error.contains("is damaged"), "{error}");
    std::fs::write(&path, &whole[..whole.len() - 30]).expect("written");
    let error = MatrixFile::open(&path, &Which::default()).expect_err("cut").to_string();
    assert!(error.contains("numpy.savez"), "{error}");
}

#[test]
fn textgrids_of_every_writer_and_encoding_give_huthlabs_words() {
    let expected = expected("textgrids");
    let words: Vec<(f64, f64, String)> =
        serde_json::from_value(expected["words"].clone()).expect("words");
    assert_eq!(words.len(), 5);
    let folder = golden("textgrids", "");
    let mut n_files = 0;
    for entry in std::fs::read_dir(&folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "TextGrid") {
            continue;
        }
        let (stories, warnings) = read_stories(&path).unwrap_or_else(|e| panic!("{e}"));
        assert!(warnings.is_empty());
        let [story] = &stories[..] else { panic!("one story a grid") };
        assert_eq!(story.name, path.file_stem().expect("a name").to_string_lossy());
        let onsets = story.onset_s.as_ref().expect("grids have onsets");
        let found: Vec<_> = onsets.iter().zip(&story.mid_s).zip(&story.words).collect();
        assert_eq!(found.len(), words.len(), "{}", path.display());
        for (((onset, mid), word), (start, end, wanted)) in found.into_iter().zip(&words) {
            assert_eq!((*onset, *mid, word), (*start, (start + end) / 2.0, wanted));
        }
        n_files += 1;
    }
    assert_eq!(n_files, 9);
    let (stories, _) = read_stories(&folder).expect("a folder of grids");
    assert_eq!(stories.len(), 9);
}

#[test]
fn no_changed_byte_of_an_hdf5_file_ends_in_a_panic() {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let path = folder.path().join("a.h5");
    let (mut n_whole, mut n_refused) = (0, 0);
    for name in ["h5py_gzip_shuffle.hdf5", "h5py_unlimited.h5", "pytables_zlib.hf5", "h5py_v110.h5"]
    {
        let whole = std::fs::read(golden("hdf5", name)).expect("it is there");
        // Every byte takes minutes; 7 visits every place of a number of 2, 4 or 8 bytes.
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= if at % 2 == 0 { 0xff } else { 0x10 };
            std::fs::write(&path, bytes).expect("written");
            let unpacked = MatrixFile::open(&path, &Which::default())
                .and_then(|mut matrix| matrix.unpack(folder.path(), false));
            match unpacked {
                Ok(()) => n_whole += 1,
                Err(error) => {
                    assert_eq!(error.exit_code(), 3, "{name} byte {at}: {error}");
                    n_refused += 1;
                }
            }
        }
    }
    println!("{n_whole} changes were in values or in nothing, {n_refused} were refused");
    assert!(n_whole > 100 && n_refused > 100, "{n_whole} {n_refused}");
}
