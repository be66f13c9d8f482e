//! Readers of matrices.

use std::path::Path;
use std::sync::Arc;

use voxelcast::io::matrix_file::{MatrixFile, OpenedFiles, Which, array_names};
use voxelcast::io::nifti::{self, CiftiFile, Mask, MaskedBold, NiftiFile};
use voxelcast::io::npy::{self, NpyFile};

use super::{answer, bounded, file, folder};

/// Voxels of a volume that are read; more would make a run slow, and the header was checked.
const MAX_VOXELS: usize = 1 << 20;

/// Whole, as labels, as columns; what was read is written and read again.
pub fn npy(data: &[u8]) -> bool {
    let path = file("input.npy", data);
    bounded(data.len(), 32, || {
        let Some(array) = answer(NpyFile::open(&path)) else { return false };
        let n_bytes = array.n_elements() * array.dtype().kind.n_bytes();
        assert!(n_bytes <= data.len(), "{:?} in {} bytes", array.shape(), data.len());
        answer(array.read_labels());
        let Some(values) = answer(array.read_f64()) else { return false };
        let copy = folder().join("copy.npy");
        let values: Vec<f64> = values.into_iter().collect();
        npy::write(&copy, array.shape(), &values).expect("it can be written");
        let again = npy::read_array_f64(&copy).expect("it was written");
        assert_eq!(again.shape(), array.shape());
        assert!(again.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits()));
        if answer(array.check_matrix()).is_some() {
            columns_are_parts_of_the_whole(&array);
        }
        true
    })
}

/// A matrix read column by column is the matrix read at once.
fn columns_are_parts_of_the_whole(array: &NpyFile) {
    let (n_rows, n_cols) = (array.n_rows(), array.n_cols());
    // A matrix without rows may say that it has any number of columns.
    if n_rows == 0 || n_rows.checked_mul(n_cols).is_none_or(|n| n > 1 << 22) {
        return;
    }
    let mut whole = vec![0f32; n_rows * n_cols];
    if answer(array.read_columns(0..n_rows, 0..n_cols, &mut whole)).is_none() {
        return;
    }
    let mut column = vec![0f32; n_rows];
    for at in [0, n_cols / 2, n_cols.saturating_sub(1)].into_iter().filter(|&at| at < n_cols) {
        answer(array.read_columns(0..n_rows, at..at + 1, &mut column)).expect("it was read before");
        let of_whole = whole.iter().skip(at).step_by(n_cols);
        assert!(column.iter().zip(of_whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{at}");
    }
}

/// One array of an archive: found, unpacked, read in columns.
pub fn npz(data: &[u8]) -> bool {
    matrix("input.npz", data, "data", 64)
}

/// A dataset of one or two axes, and the slabs of one with three.
pub fn hdf5(data: &[u8]) -> bool {
    let is_read = matrix("input.h5", data, "data", 2000);
    let path = file("input.h5", data);
    bounded(data.len(), 4000, || {
        let slabs = answer(MatrixFile::open_slabs(&path, "individual_repeats"));
        for mut slab in slabs.into_iter().flatten().take(4) {
            unpack(&mut slab);
        }
    });
    is_read
}

fn matrix(name: &str, data: &[u8], dataset: &str, factor: usize) -> bool {
    let path = file(name, data);
    bounded(data.len(), factor, || {
        let which = Which { dataset, may_repeat: true, ..Which::default() };
        answer(MatrixFile::open(&path, &which)).is_some_and(|mut matrix| unpack(&mut matrix))
    })
}

fn unpack(matrix: &mut MatrixFile) -> bool {
    let shape = (matrix.n_rows(), matrix.n_cols());
    if answer(matrix.unpack(&folder(), true)).is_none() {
        return false;
    }
    assert_eq!(shape, (matrix.n_rows(), matrix.n_cols()), "as the header said");
    match matrix.tiles() {
        Some(tiles) => columns_are_parts_of_the_whole(tiles),
        None => repeats_have_one_shape(matrix),
    }
    true
}

/// The mean of repeats is a matrix, and each of them is one of its shape.
fn repeats_have_one_shape(matrix: &MatrixFile) {
    let shape = (matrix.n_rows(), matrix.n_cols());
    let repeats = answer(matrix.repeats()).expect("there are files");
    assert_eq!(Some(repeats.len()), matrix.n_repeats());
    assert!(repeats.iter().all(|repeat| (repeat.n_rows(), repeat.n_cols()) == shape));
    if shape.0 > 0 && shape.1 > 0 {
        answer(matrix.read_columns(0..1, 0..1, &mut [0f32]));
    }
}

/// One value per vertex and TR.
pub fn gifti(data: &[u8]) -> bool {
    // A row of zlib inside base64 unpacks to 1,100 times its length, on disk.
    matrix("input.func.gii", data, "data", 64)
}

/// Time series of grayordinates or parcels.
pub fn cifti(data: &[u8]) -> bool {
    let is_read = matrix("input.dtseries.nii", data, "data", 64);
    // A name takes a String, a number in the file two bytes.
    let path = file("input.dtseries.nii", data);
    bounded(data.len(), 300 * 1100, || answer(CiftiFile::column_names(&path)));
    is_read
}

/// Dictionaries of arrays by pickle and `numpy.save`.
pub fn dicts(data: &[u8]) -> bool {
    named_arrays("input.pkl", data, 300)
}

/// The same by joblib, plain or packed: a packed one is run through at its unpacked length.
pub fn joblib(data: &[u8]) -> bool {
    named_arrays("input.jbl", data, 300 * 1100)
}

fn named_arrays(name: &str, data: &[u8], factor: usize) -> bool {
    let path = file(name, data);
    bounded(data.len(), factor, || {
        let opened = OpenedFiles::default();
        let Some(Some(names)) = answer(array_names(&path, &opened)) else { return false };
        let mut is_read = false;
        for dataset in names.iter().take(4) {
            let opened = Some(&opened);
            let which = Which { dataset, may_repeat: true, opened, ..Which::default() };
            let matrix = answer(MatrixFile::open(&path, &which));
            is_read |= matrix.is_some_and(|mut matrix| unpack(&mut matrix));
        }
        is_read
    })
}

/// As a mask, as one volume, as BOLD through itself; a volume is written and read again.
pub fn nifti(data: &[u8]) -> bool {
    let path = file("input.nii", data);
    let Some(image) = bounded(data.len(), 1, || answer(NiftiFile::open(&path))) else {
        return false;
    };
    let n_voxels = image.grid().n_voxels();
    let is_gzip = data.starts_with(&[0x1f, 0x8b]);
    assert!(is_gzip || n_voxels * image.n_volumes() <= data.len(), "{:?}", image.shape());
    if n_voxels > MAX_VOXELS || image.n_volumes() > 1000 {
        return false;
    }
    bounded(n_voxels, 64, || {
        if let Some(mask) = answer(Mask::read(&path)) {
            let mask = Arc::new(mask);
            assert!(mask.n_voxels() <= n_voxels);
            mask.position(mask.n_voxels() - 1);
            rows(&path, &mask);
        }
        let Some(volume) = answer(nifti::read_volume(&path)) else { return false };
        let copy = folder().join("copy.nii");
        if volume.grid.affine().is_ok() {
            nifti::write_volume(&copy, &volume.grid, &volume.values).expect("it can be written");
            let again = nifti::read_volume(&copy).expect("it was written").values;
            assert!(again.iter().zip(&volume.values).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
        true
    })
}

fn rows(path: &Path, mask: &Arc<Mask>) {
    let Some(bold) = answer(MaskedBold::open(path, mask)) else { return };
    let mut n_rows = 0;
    answer(bold.each_row(0..bold.n_rows(), &mut |_, row| {
        assert_eq!(row.len(), mask.n_voxels());
        n_rows += 1;
        Ok(())
    }));
    assert!(n_rows <= bold.n_rows());
}
