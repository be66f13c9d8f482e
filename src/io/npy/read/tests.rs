//! Files written here byte by byte; the oracle reads them element by element.

use proptest::prelude::*;

use super::super::header::MAGIC;
use super::*;

/// A `.npy` file of any version with this dictionary and these data.
fn file_bytes(version: u8, dict: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[version, 0]);
    if version == 1 {
        bytes.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    } else {
        bytes.extend_from_slice(&(dict.len() as u32).to_le_bytes());
    }
    bytes.extend_from_slice(dict.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn dict(descr: &str, fortran: bool, shape: &str) -> String {
    let fortran = if fortran { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn temporary(bytes: &[u8]) -> tempfile::TempPath {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    file.into_temp_path()
}

fn refused(bytes: &[u8]) -> NpyError {
    let path = temporary(bytes);
    match NpyFile::open(&path) {
        Err(Error::Npy { path: named, source }) => {
            assert_eq!(named, &*path);
            source
        }
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn every_version_is_read() {
    let data: Vec<u8> = [1f32, 2., 3.].iter().flat_map(|v| v.to_le_bytes()).collect();
    for version in 1..=3 {
        let path = temporary(&file_bytes(version, &dict("<f4", false, "(3,)"), &data));
        let file = NpyFile::open(&path).unwrap();
        assert_eq!((file.shape(), file.n_rows(), file.n_cols()), (&[3][..], 3, 1));
        assert!(file.path() == &*path && !file.is_fortran());
        assert_eq!(read_vector_f64(&path).unwrap().to_vec(), [1., 2., 3.]);
        assert_eq!(read_matrix_f32(&path).unwrap().dim(), (3, 1));
        assert_eq!(read_matrix_f64(&path).unwrap().dim(), (3, 1));
    }
}

#[test]
fn what_is_no_npy_file_is_refused() {
    assert!(matches!(refused(b""), NpyError::NotNpy { .. }));
    assert!(refused(b"PK\x03\x04").to_string().contains("50 4B 03 04"));
    assert!(matches!(refused(b"\x93NUMPX\x01\x00"), NpyError::NotNpy { .. }));
    let mut bytes = file_bytes(1, &dict("<f4", false, "()"), &[0; 4]);
    bytes[6] = 4;
    assert!(matches!(refused(&bytes), NpyError::Version { major: 4, minor: 0 }));
    bytes[6] = 1;
    bytes[7] = 1;
    assert!(matches!(refused(&bytes), NpyError::Version { major: 1, minor: 1 }));
    let missing = NpyFile::open(Path::new("/no/such.npy")).unwrap_err();
    assert!(matches!(missing, Error::Read { .. }) && missing.exit_code() == 3);
    assert!(NpyFile::open(Path::new("/")).is_err());
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    for version in [1, 2] {
        let whole = file_bytes(version, &dict("<f4", false, "(2,)"), &[0; 8]);
        for cut in 1..whole.len() {
            let error = refused(&whole[..cut]);
            assert!(error.to_string().starts_with("truncated") || cut < 6, "{cut}: {error}");
            assert!(!matches!(error, NpyError::Header { .. }));
        }
    }
}

#[test]
fn lengths_that_lie_are_refused_before_anything_is_allocated() {
    let long = file_bytes(1, &dict("<f8", false, "(2,)"), &[0; 17]);
    assert!(matches!(refused(&long), NpyError::TrailingBytes { expected: 16, got: 17, .. }));
    assert!(refused(&long).to_string().contains("1 bytes too many"));
    let huge = file_bytes(1, &dict("<f8", false, "(1000000000000000, 100)"), &[0; 16]);
    assert!(matches!(refused(&huge), NpyError::Truncated { got: 16, .. }));
    let overflow = file_bytes(1, &dict("<f8", false, "(4294967296, 4294967296)"), &[0; 16]);
    assert!(matches!(refused(&overflow), NpyError::ShapeOverflow { .. }));
    let mut header = file_bytes(2, &dict("<f8", false, "(2,)"), &[0; 16]);
    header[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(refused(&header), NpyError::HeaderTooLong { .. }));
    assert!(matches!(refused(&file_bytes(1, "{}", &[])), NpyError::Header { .. }));
    let objects = file_bytes(1, &dict("|O", false, "(2,)"), b"\x80\x03.");
    assert!(matches!(refused(&objects), NpyError::Dtype { .. }));
}

#[test]
fn labels_of_every_integer_dtype_and_bool_are_read() {
    for (descr, data) in [
        ("|b1", vec![1, 0]),
        ("|i1", vec![1, 0]),
        ("|u1", vec![1, 0]),
        ("<i2", vec![1, 0, 0, 0]),
        (">u2", vec![0, 1, 0, 0]),
        ("<u4", vec![1, 0, 0, 0, 0, 0, 0, 0]),
        (">i4", vec![0, 0, 0, 1, 0, 0, 0, 0]),
        (">i8", vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("<u8", vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    ] {
        let path = temporary(&file_bytes(1, &dict(descr, false, "(2,)"), &data));
        assert_eq!(read_labels(&path).unwrap(), [1, 0], "{descr}");
        assert_eq!(read_array_f64(&path).unwrap().as_slice(), Some(&[1., 0.][..]), "{descr}");
        assert_eq!(read_matrix_f32(&path).unwrap().as_slice(), Some(&[1., 0.][..]), "{descr}");
    }
    let path = temporary(&file_bytes(1, &dict("<f4", false, "(2,)"), &[0; 8]));
    let message = read_labels(&path).unwrap_err().to_string();
    assert!(message.contains("<f4 holds no labels") && message.contains("astype"), "{message}");
    let path = temporary(&file_bytes(1, &dict("<u8", false, "(1,)"), &[255; 8]));
    assert!(read_labels(&path).unwrap_err().to_string().contains("18446744073709551615"));
    let path = temporary(&file_bytes(1, &dict("|i1", false, "(2, 1)"), &[0; 2]));
    let error = read_labels(&path).unwrap_err();
    assert!(matches!(error, Error::Npy { source: NpyError::Dims { .. }, .. }));
}

#[test]
fn wrong_numbers_of_dimensions_are_named() {
    let path =
        temporary(&file_bytes(1, &dict("|i1", true, "(2, 3, 2)"), &(0..12).collect::<Vec<_>>()));
    for message in [
        read_matrix_f32(&path).unwrap_err().to_string(),
        read_matrix_f64(&path).unwrap_err().to_string(),
        read_vector_f64(&path).unwrap_err().to_string(),
    ] {
        assert!(message.contains("[2, 3, 2] has 3 dimensions"), "{message}");
    }
    let array = read_array_f64(&path).unwrap();
    assert_eq!((array.shape(), array[[1, 2, 0]], array[[0, 1, 1]]), (&[2, 3, 2][..], 5., 8.));
    assert!(array.is_standard_layout());
    let scalar = temporary(&file_bytes(1, &dict("|i1", false, "()"), &[7]));
    assert_eq!(read_array_f64(&scalar).unwrap()[[]], 7.);
    assert!(read_matrix_f32(&scalar).is_err());
}

#[test]
fn tiles_outside_the_array_are_refused() {
    let path = temporary(&file_bytes(1, &dict("|i1", false, "(2, 3)"), &[0; 6]));
    let file = NpyFile::open(&path).unwrap();
    let mut out = [0.; 6];
    for (rows, cols, n) in [(0..3, 0..2, 6), (0..2, 2..4, 4), (0..2, 0..3, 5), (2..4, 0..0, 0)] {
        let error = file.read_columns(rows, cols, &mut out[..n]).unwrap_err();
        assert!(matches!(error, Error::Shape { .. }), "{error}");
    }
    file.read_columns(1..1, 0..3, &mut []).unwrap();
}

#[test]
fn a_file_cut_while_it_is_open_is_a_read_error() {
    let path = temporary(&file_bytes(1, &dict("<f4", false, "(2, 3)"), &[0; 24]));
    let file = NpyFile::open(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(80).unwrap();
    let error = file.read_columns(0..2, 0..3, &mut [0.; 6]).unwrap_err();
    assert!(matches!(error, Error::Read { .. }));
}

/// The element at (row, col), and its bytes in each dtype: small whole numbers are exact in all.
fn value(row: usize, col: usize) -> u8 {
    ((row * 31 + col * 7) % 120) as u8
}

fn element_bytes(descr: &str, value: u8) -> Vec<u8> {
    let mut bytes = match &descr[1..] {
        "b1" => vec![value & 1],
        "i1" | "u1" => vec![value],
        "i2" | "u2" => u16::from(value).to_le_bytes().to_vec(),
        "i4" | "u4" => u32::from(value).to_le_bytes().to_vec(),
        "i8" | "u8" => u64::from(value).to_le_bytes().to_vec(),
        "f4" => (f32::from(value) + 0.5).to_le_bytes().to_vec(),
        "f8" => (f64::from(value) + 0.5).to_le_bytes().to_vec(),
        other => panic!("no dtype {other}"),
    };
    if descr.starts_with('>') {
        bytes.reverse();
    }
    bytes
}

fn expected(descr: &str, value: u8) -> f32 {
    match &descr[1..] {
        "b1" => f32::from(value & 1),
        "f4" | "f8" => f32::from(value) + 0.5,
        _ => f32::from(value),
    }
}

const DESCRS: [&str; 16] = [
    "<f4", "<f4", "<f8", ">f4", ">f8", "|b1", "|i1", "|u1", "<i2", ">i2", "<u2", "<i4", ">u4",
    "<i8", ">i8", "<u8",
];

/// Writes a matrix by hand, reads `rows` x `cols` of it, compares element by element.
fn check_tile(
    descr: &str,
    fortran: bool,
    shape: (usize, usize),
    rows: Range<usize>,
    cols: Range<usize>,
) {
    let mut data = Vec::new();
    for outer in 0..if fortran { shape.1 } else { shape.0 } {
        for inner in 0..if fortran { shape.0 } else { shape.1 } {
            let (row, col) = if fortran { (inner, outer) } else { (outer, inner) };
            data.extend(element_bytes(descr, value(row, col)));
        }
    }
    let dict = dict(descr, fortran, &format!("({}, {})", shape.0, shape.1));
    let path = temporary(&file_bytes(1, &dict, &data));
    let file = NpyFile::open(&path).unwrap();
    assert_eq!(file.is_fortran(), fortran);
    assert_eq!(file.dtype().to_string(), descr);
    let mut tile = vec![f32::NAN; rows.len() * cols.len()];
    file.read_columns(rows.clone(), cols.clone(), &mut tile).unwrap();
    for (i, row) in rows.enumerate() {
        for (j, col) in cols.clone().enumerate() {
            let got = tile[i * cols.len() + j];
            assert_eq!(got, expected(descr, value(row, col)), "{descr} at ({row}, {col})");
        }
    }
    let whole = file.read_f64().unwrap();
    assert!(whole.is_standard_layout());
    for row in 0..shape.0 {
        for col in 0..shape.1 {
            assert_eq!(whole[[row, col]] as f32, expected(descr, value(row, col)));
        }
    }
}

proptest! {
    #[test]
    fn any_tile_of_any_file_equals_a_naive_read(
        descr in prop::sample::select(&DESCRS[..]),
        fortran: bool,
        shape in (0usize..40, 0usize..40),
        ends in prop::array::uniform4(0.0f64..=1.0),
    ) {
        let range = |n: usize, a: f64, b: f64| {
            let (a, b) = ((a * n as f64).round() as usize, (b * n as f64).round() as usize);
            a.min(b)..a.max(b)
        };
        let (rows, cols) = (range(shape.0, ends[0], ends[1]), range(shape.1, ends[2], ends[3]));
        check_tile(descr, fortran, shape, rows, cols);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), version in 0u8..4) {
        let header = [&MAGIC[..], &[version, 0]].concat();
        bytes.splice(0..0, header);
        let path = temporary(&bytes);
        if let Ok(file) = NpyFile::open(&path) {
            let _ = file.read_f64();
        }
    }
}

#[test]
fn tiles_larger_than_every_scratch_are_right() {
    for descr in ["<f4", "<f8", ">f4", "|u1"] {
        for fortran in [false, true] {
            check_tile(descr, fortran, (5_003, 37), 0..5_003, 0..37); // full
            check_tile(descr, fortran, (5_003, 37), 1..5_002, 1..36); // over small gaps
            check_tile(descr, fortran, (5_003, 37), 2..5_000, 30..33); // narrow
            check_tile(descr, fortran, (3, 70_001), 0..3, 1..70_000);
            check_tile(descr, fortran, (3, 70_001), 1..2, 5..69_999);
            check_tile(descr, fortran, (16_500, 3), 0..16_500, 0..2);
        }
    }
}

#[test]
fn rows_that_were_announced_read_the_same() {
    let data: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
    for (fortran, expected) in [(false, [1., 2., 4., 5.]), (true, [2., 4., 3., 5.])] {
        let path = temporary(&file_bytes(1, &dict("<f4", fortran, "(2, 3)"), &data));
        let file = NpyFile::open(&path).unwrap();
        file.expect_columns(0..2, 1..3);
        file.expect_columns(0..0, 0..0);
        // Beyond the end: the system has nothing to fetch, and nothing fails.
        file.expect_columns(0..200, 0..300);
        let mut out = [0f32; 4];
        file.read_columns(0..2, 1..3, &mut out).unwrap();
        assert_eq!(out, expected);
    }
}

#[test]
fn the_labs_own_arrays_are_read() {
    let Some(path) = crate::io::shared_data::path("ds003020_pcs/subject2/adollshouse.npy") else {
        return;
    };
    let bold = read_matrix_f32(&path).unwrap();
    assert_eq!(bold.dim(), (241, 50));
    let mean: f32 = bold.column(0).sum() / 241.;
    assert!(mean.abs() < 1e-4, "each component is z-scored within the story, mean {mean}");
}
