//! Files of other programs: read to the values that those programs read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use voxelcast::io::nifti::{Mask, MaskedBold, NiftiFile};

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
