//! Headers by hand: every way in which a file can be wrong, and round trips.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::error::Error;

const AFFINE: [[f64; 4]; 3] =
    [[2.0, 0.0, 0.0, -10.0], [0.0, 2.5, 0.0, 20.5], [0.0, 0.0, 3.0, 30.25]];

/// A whole little-endian f32 NIfTI-1 file whose values are 0, 1, 2, … in the file's order.
fn nifti(dim: &[i16], n_values: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    for (i, size) in dim.iter().enumerate() {
        put(40 + 2 * i, &size.to_le_bytes());
    }
    put(70, &16i16.to_le_bytes());
    put(72, &32i16.to_le_bytes());
    put(108, &352f32.to_le_bytes());
    for i in 0..4 {
        put(76 + 4 * i, &1f32.to_le_bytes());
    }
    put(344, b"n+1\0");
    bytes.extend((0..n_values).flat_map(|i| (i as f32).to_le_bytes()));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn rows(bold: &MaskedBold) -> Result<Vec<Vec<f64>>, Error> {
    let mut rows = Vec::new();
    bold.each_row(0..bold.n_rows(), &mut |row, values| {
        assert_eq!(row, rows.len());
        rows.push(values.to_vec());
        Ok(())
    })?;
    Ok(rows)
}

#[test]
fn columns_are_the_masks_voxels_in_c_order() {
    let folder = Folder::new();
    let mut mask = nifti(&[3, 2, 3, 2, 1, 1, 1, 1], 12);
    mask[352..356].copy_from_slice(&0f32.to_le_bytes()); // (0, 0, 0) is outside
    let mask = Arc::new(Mask::read(&folder.write("mask.nii", &mask)).unwrap());
    assert_eq!(mask.n_voxels(), 11);
    assert_eq!(mask.position(0), [0, 0, 1]);
    assert_eq!(mask.position(10), [1, 2, 1]);
    for (name, bytes) in [
        ("bold.nii", nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36)),
        ("bold.nii.gz", gzip(&nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36))),
    ] {
        let bold = MaskedBold::open(&folder.write(name, &bytes), &mask).unwrap();
        assert_eq!((bold.n_rows(), bold.n_cols()), (3, 11));
        for (t, row) in rows(&bold).unwrap().into_iter().enumerate() {
            for (v, value) in row.into_iter().enumerate() {
                let [x, y, z] = mask.position(v);
                assert_eq!(value, (x + 2 * (y + 3 * z) + 12 * t) as f64);
            }
        }
        let mut last = Vec::new();
        bold.each_row(2..3, &mut |row, values| {
            last.push((row, values[0]));
            Ok(())
        })
        .unwrap();
        assert_eq!(last, [(2, 30.0)]);
        assert!(bold.each_row(2..4, &mut |_, _| Ok(())).is_err());
    }
}

#[test]
fn what_is_written_is_read_again_with_its_affine() {
    let folder = Folder::new();
    for (version, name) in [(1, "a.nii"), (1, "a.nii.gz"), (2, "b.nii"), (2, "b.nii.gz")] {
        let mut grid = Grid::new([3, 2, 4], AFFINE);
        grid.version = version;
        let inside: Vec<f32> = (0..24).map(|i| f32::from(i % 3 != 0)).collect();
        let path = folder.0.path().join(name);
        write_volume(&path, &grid, &inside).unwrap();
        let mask = Mask::read(&path).unwrap();
        assert_eq!(mask.n_voxels(), 16);
        assert_eq!(mask.grid(), &grid);
        assert_eq!(mask.grid().affine().unwrap(), AFFINE);
        let scores: Vec<f32> = (0..16).map(|v| if v == 3 { f32::NAN } else { v as f32 }).collect();
        write_voxels(&path, &mask, &scores).unwrap();
        let volume = read_volume(&path).unwrap();
        let expected = inside.iter().scan(0, |voxel, &is_inside| {
            *voxel += usize::from(is_inside == 1.0);
            Some(if is_inside == 1.0 { scores[*voxel - 1] } else { 0.0 })
        });
        for (got, wanted) in volume.values.iter().zip(expected) {
            assert!(got.to_bits() == wanted.to_bits(), "{name}: {got} {wanted}");
        }
        let first = std::fs::read(&path).unwrap();
        write_voxels(&path, &mask, &scores).unwrap();
        assert!(std::fs::read(&path).unwrap() == first, "equal values give equal bytes");
        let error = write_voxels(&path, &mask, &scores[1..]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }));
        assert!(std::fs::read(&path).unwrap() == first, "what was there stays");
    }
    assert_eq!(std::fs::read_dir(folder.0.path()).unwrap().count(), 4);
}

#[test]
fn a_size_over_i16_is_written_as_nifti_2() {
    let folder = Folder::new();
    let path = folder.0.path().join("wide.nii.gz");
    let grid = Grid::new([40_000, 1, 1], AFFINE);
    write_volume(&path, &grid, &vec![1.0; 40_000]).unwrap();
    let mask = Mask::read(&path).unwrap();
    assert_eq!((mask.n_voxels(), mask.grid().version), (40_000, 2));
}

/// Opens a changed copy of a good 4-D file, reads all of it, and hands back what is said.
fn refusal(folder: &Folder, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36);
    change(&mut bytes);
    said(&folder.write("bad.nii", &bytes))
}

fn said(path: &Path) -> String {
    let open = || -> Result<(), Error> {
        let file = NiftiFile::open(path)?;
        file.check_dims(true)?;
        file.each_volume(0..file.n_volumes(), &[0], &mut |_, _| Ok(()))
    };
    let error = open().expect_err("a bad file");
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().contains("bad.nii"), "{error}");
    error.to_string()
}

#[test]
fn headers_that_lie_are_refused_each_with_its_reason() {
    let folder = Folder::new();
    let put = |at: usize, value: &'static [u8]| {
        move |bytes: &mut Vec<u8>| bytes[at..at + value.len()].copy_from_slice(value)
    };
    let says = |text: String, part: &str| assert!(text.contains(part), "{part:?} not in {text}");
    says(refusal(&folder, |bytes| bytes.truncate(0)), "ends at byte 0 of its 348");
    says(refusal(&folder, |bytes| bytes.truncate(347)), "ends at byte 347 of its 348");
    says(refusal(&folder, put(0, &[1, 2, 3, 4])), "expected 348 or 540");
    says(refusal(&folder, put(344, b"ni1\0")), ".hdr of a pair");
    says(refusal(&folder, put(344, b"xxxx")), "magic bytes");
    says(refusal(&folder, put(40, &[0, 0])), "their number is 0");
    says(refusal(&folder, put(40, &[8, 0])), "their number is 8");
    says(refusal(&folder, put(40, &[255, 255])), "their number is -1");
    says(refusal(&folder, put(42, &[0, 0])), "below 1");
    says(refusal(&folder, put(42, &[255, 255])), "below 1");
    says(refusal(&folder, put(70, &[32, 0])), "complex numbers");
    says(refusal(&folder, put(70, &[128, 0])), "colours");
    says(refusal(&folder, put(70, &[99, 0])), "no type of NIfTI");
    says(refusal(&folder, put(108, &[0, 0, 128, 63])), "start at byte 1,");
    says(refusal(&folder, put(108, &[0, 0, 192, 127])), "start at byte NaN");
    says(refusal(&folder, put(112, &[0, 0, 128, 63, 0, 0, 192, 127])), "scl_inter NaN");
    says(
        refusal(&folder, |bytes| {
            put(252, &[1, 0])(bytes);
            put(256, &[0, 0, 128, 63, 0, 0, 128, 63])(bytes);
        }),
        "over length 1",
    );
    says(
        refusal(&folder, |bytes| {
            put(254, &[1, 0])(bytes);
            put(280, &[0, 0, 192, 127])(bytes);
        }),
        "not finite",
    );
    says(refusal(&folder, |bytes| bytes.truncate(bytes.len() - 1)), "needs 144 bytes");
    says(
        refusal(&folder, |bytes| {
            put(40, &[5, 0])(bytes);
            put(50, &[2, 0])(bytes);
            bytes.extend([0; 144]);
        }),
        "expected (x, y, z, time)",
    );
}

#[test]
fn sizes_that_no_file_holds_are_refused_before_anything_is_allocated() {
    let folder = Folder::new();
    let huge = nifti(&[4, 32767, 32767, 32767, 32767, 1, 1, 1], 0);
    assert!(said(&folder.write("bad.nii", &huge)).contains("over 4294967295 voxels"));
    let most = nifti(&[7, 32767, 32767, 32767, 32767, 32767, 32767, 32767], 0);
    assert!(said(&folder.write("bad.nii", &most)).contains("overflows"));
    let wide = nifti(&[4, 1000, 1000, 1000, 300, 1, 1, 1], 0);
    assert!(said(&folder.write("bad.nii", &wide)).contains("needs 1200000000000 bytes"));
    assert!(said(&folder.write("bad.nii.gz", &gzip(&wide))).contains("of gzip can hold"));
}

#[test]
fn gzip_that_is_cut_or_short_is_told_apart() {
    let folder = Folder::new();
    let whole = nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36);
    let packed = gzip(&whole);
    let cut = folder.write("bad.nii.gz", &packed[..packed.len() - 12]);
    assert!(said(&cut).contains("cut short"));
    let mut damaged = packed.clone();
    let n = damaged.len();
    damaged[n - 6] ^= 1; // the CRC, which only the end of the stream shows
    assert!(said(&folder.write("bad.nii.gz", &damaged)).contains("damaged"));
    let short = folder.write("bad.nii.gz", &gzip(&whole[..whole.len() - 4]));
    assert!(said(&short).contains("the file has 140"));
    let empty = folder.write("bad.nii.gz", &gzip(&whole[..352]));
    assert!(said(&empty).contains("the file has 0"));
}

#[test]
fn no_changed_byte_of_a_header_ends_in_a_panic() {
    let folder = Folder::new();
    let whole = nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36);
    let (mut n_read, mut n_refused) = (0, 0);
    for at in 0..352 {
        for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            let file = NiftiFile::open(&folder.write("bad.nii", &bytes));
            let read = file
                .and_then(|file| file.each_volume(0..file.n_volumes(), &[0], &mut |_, _| Ok(())));
            match read {
                Ok(()) => n_read += 1,
                Err(error) => {
                    assert_eq!(error.exit_code(), 3);
                    n_refused += 1;
                }
            }
        }
    }
    assert!(n_read > 100 && n_refused > 50, "{n_read} {n_refused}");
}

#[test]
fn masks_that_are_none_and_images_beside_their_mask_are_refused() {
    let folder = Folder::new();
    let mask = |bytes: &[u8]| Mask::read(&folder.write("mask.nii", bytes));
    let said = |error: Error| error.to_string();
    let mut zero = nifti(&[3, 2, 3, 2, 1, 1, 1, 1], 12);
    zero[352..].fill(0);
    assert!(said(mask(&zero).unwrap_err()).contains("no voxel"));
    zero[352..356].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(said(mask(&zero).unwrap_err()).contains("1 voxels of NaN"));
    let long = nifti(&[4, 2, 3, 2, 3, 1, 1, 1], 36);
    assert!(said(mask(&long).unwrap_err()).contains("expected (x, y, z)"));
    let good = Arc::new(mask(&nifti(&[3, 2, 3, 2, 1, 1, 1, 1], 12)).unwrap());
    let image = |bytes: &[u8]| MaskedBold::open(&folder.write("bold.nii", bytes), &good);
    let other = nifti(&[4, 3, 2, 2, 3, 1, 1, 1], 36);
    assert!(said(image(&other).unwrap_err()).contains("grid [3, 2, 2], expected [2, 3, 2]"));
    let mut moved = long.clone();
    moved[254..256].copy_from_slice(&1i16.to_le_bytes());
    assert!(said(image(&moved).unwrap_err()).contains("affine differs"));
    let mut is_open = long;
    is_open.truncate(352 + 36 * 4);
    assert_eq!(image(&is_open).unwrap().n_rows(), 3);
}
