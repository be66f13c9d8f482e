use std::path::{Path, PathBuf};

use super::*;
use crate::io::confounds::Confounds;
use crate::io::npy;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/nilearn_clean").join(file)
}

fn spread(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let n = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / n;
    (values.map(|y| (y - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[test]
fn bold_is_cleaned_as_nilearn_cleans_it() {
    let text = std::fs::read_to_string(golden("cases.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tr_s = about["tr_s"].as_f64().unwrap();
    let bold = npy::read_matrix_f32(&golden("bold.npy")).unwrap();
    for case in about["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let trim: crate::design::trim::Trim = case["trim"].as_str().unwrap().parse().unwrap();
        let rows = trim.kept(bold.nrows()).unwrap();
        let texts = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
        };
        let file = Confounds::read(&golden("confounds.tsv")).unwrap();
        let wanted = texts(&case["confound_columns"]);
        let columns = file.values(Some(&wanted), rows.clone()).unwrap();
        let detrend = case["detrend"].as_str().filter(|text| *text != "none");
        let detrend = detrend.map(|text| text.parse::<Detrend>().unwrap());
        let marks = case["censor"].as_str().map(|name| {
            let marks = file.values(Some(&[name.to_owned()]), rows.clone()).unwrap();
            marks[0].1.clone()
        });
        let is_kept = |row: &usize| marks.as_ref().is_none_or(|marks| marks[*row] == 0.0);
        let kept: Vec<usize> = (0..rows.len()).filter(is_kept).collect();
        let zscore = case["zscore"] == "story";
        let columns: Vec<&[f64]> = columns.iter().map(|(_, column)| column.as_slice()).collect();
        let cleaner = Cleaner::new(rows.len(), &kept, &columns, (detrend, tr_s), zscore);
        assert_eq!(cleaner.has_own_cosines(), name == "own_cosines");
        let wanted = npy::read_matrix_f64(&golden(&format!("{name}.npy"))).unwrap();
        assert_eq!(wanted.dim(), (kept.len(), bold.ncols()), "{name}");
        // Tiles of one voxel, of a few, of more than there are lanes.
        for copies in [1, 4] {
            let width = bold.ncols() * copies;
            let mut tile: Vec<f32> = kept
                .iter()
                .flat_map(|&row| bold.row(rows.start + row).to_vec().repeat(copies))
                .collect();
            cleaner.clean(&mut tile, width);
            for v in 0..width {
                let wanted = wanted.column(v % bold.ncols());
                let most = 1e-5 * spread(wanted.iter().copied());
                for (row, wanted) in wanted.iter().enumerate() {
                    let got = f64::from(tile[row * width + v]);
                    assert!((got - wanted).abs() <= most, "{name}: {row}, {v}: {got} {wanted}");
                }
            }
        }
    }
}

#[test]
fn there_are_as_many_cosines_as_nilearn_makes() {
    assert_eq!(cosines(250, 2.0, 0.01).len(), 10);
    assert_eq!(cosines(300, 1.5, 1.0 / 128.0).len(), 7);
    assert_eq!(cosines(20, 2.0, 0.01).len(), 0);
    assert_eq!(cosines(20, 2.0, 9.0).len(), 19, "no more than there are");
    assert!(cosines(1, 2.0, 9.0).is_empty() && cosines(0, 2.0, 9.0).is_empty());
}

#[test]
fn constant_and_missing_voxels_stay_what_they_are() {
    let slope: Vec<f64> = (0..40).map(f64::from).collect();
    let kept: Vec<usize> = (0..40).collect();
    for columns in [vec![], vec![slope.as_slice()]] {
        let cleaner = Cleaner::new(40, &kept, &columns, (Some(Detrend::Cosine(0.05)), 2.0), true);
        let mut bold: Vec<f32> = (0..40)
            .flat_map(|t| [12_345.678, if t == 7 { f32::NAN } else { 1.0 }, (t as f32).sin()])
            .collect();
        cleaner.clean(&mut bold, 3);
        let column = |v: usize| bold[v..].iter().step_by(3);
        assert!(column(0).all(|&y| y == 0.0), "{:?}", &bold[..6]);
        assert!(column(1).all(|y| y.is_nan()));
        assert!((spread(column(2).map(|&y| f64::from(y))) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn nothing_asked_for_changes_nothing() {
    let cleaner = Cleaner::new(3, &[0, 1, 2], &[&[4.0; 3]], (None, 2.0), false);
    assert!(cleaner.is_identity());
    let mut bold = vec![0.1, 1e30, -3.0];
    cleaner.clean(&mut bold, 1);
    assert_eq!(bold, [0.1, 1e30, -3.0]);
}

#[test]
fn detrends_are_read_and_refused() {
    assert_eq!("cosine:0.01".parse::<Detrend>().unwrap(), Detrend::Cosine(0.01));
    assert_eq!("linear".parse::<Detrend>().unwrap(), Detrend::Linear);
    for text in
        ["", "cosine", "cosine:", "cosine:0", "cosine:-1", "cosine:nan", "cosine:inf", "quadratic"]
    {
        let error = text.parse::<Detrend>().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    assert_eq!(Detrend::Cosine(0.01).to_string(), "cosine:0.01");
}
