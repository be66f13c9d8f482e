//! Tests of `story_design`: both routes against each other, and against an independent program.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use proptest::prelude::*;

use super::*;
use crate::design::delays::delay;
use crate::design::tr_times::tr_times;
use crate::features::bow::{BowSettings, Vocabulary};
use crate::features::word_rate::word_rate;
use crate::matrix::{SPARSE_MAX_DENSITY, SparseRows};

fn one_hot(columns: &[u32], n_cols: usize) -> SparseRows {
    let mut rows = SparseRows::empty(n_cols);
    for &col in columns {
        rows.push_row([(col, 1.0)]);
    }
    rows
}

fn sparse_design(density: f64, n_cols: usize) -> StoryDesign {
    let mut rows = SparseRows::empty(n_cols);
    let n_stored = (density * n_cols as f64) as u32;
    for i in 0..5u32 {
        rows.push_row((0..n_stored).map(|col| (col, (i + col) as f32)));
    }
    StoryDesign::Sparse { rows, center: (0..n_cols).map(|col| col as f32 / 8.0).collect() }
}

fn as_columns(parts: &[&StoryDesign]) -> Array2<f32> {
    let columns: Vec<Vec<f32>> = parts
        .iter()
        .flat_map(|part| {
            part.to_dense().columns().into_iter().map(|c| c.to_vec()).collect::<Vec<_>>()
        })
        .collect();
    Array2::from_shape_fn((5, columns.len()), |(r, f)| columns[f][r])
}

#[test]
fn spaces_side_by_side_keep_their_columns_in_order() {
    let dense = StoryDesign::Dense(Array2::from_shape_fn((5, 2), |(r, f)| (r * 2 + f) as f32));
    let (thin, thick) = (sparse_design(0.02, 100), sparse_design(0.5, 10));
    let parts = [&dense, &thin, &thick, &dense];
    for first in parts {
        for second in parts {
            let both = StoryDesign::hstack(&[first, second]);
            assert_eq!(both.to_dense(), as_columns(&[first, second]));
            assert_eq!(both.n_trs(), 5);
            assert_eq!(both.n_features(), first.n_features() + second.n_features());
        }
    }
    assert_eq!(StoryDesign::hstack(&parts).to_dense(), as_columns(&parts));
}

#[test]
fn what_is_thin_stays_sparse_and_what_is_thick_becomes_dense() {
    let dense = StoryDesign::Dense(Array2::ones((5, 2)));
    let (thin, thick) = (sparse_design(0.02, 100), sparse_design(0.5, 100));
    let is_sparse =
        |parts: &[&StoryDesign]| matches!(StoryDesign::hstack(parts), StoryDesign::Sparse { .. });
    assert!(is_sparse(&[&thin, &dense]) && is_sparse(&[&dense, &thin, &thin]));
    assert!(!is_sparse(&[&thin, &thick]) && !is_sparse(&[&dense, &dense]));
    assert!(is_sparse(&[&thick]), "a single part is not touched");
    let joint = StoryDesign::hstack(&[&thin, &dense]).density();
    assert!((joint - 4.0 / 102.0).abs() < 1e-12 && joint < SPARSE_MAX_DENSITY);
    assert_eq!(StoryDesign::hstack(&[]).n_features(), 0);
}

#[test]
fn every_option_changes_the_design() {
    let columns: Vec<u32> = (0..60).map(|i| (i * i) % 5).collect();
    let mid_s: Vec<f64> = (0..60).map(|i| 0.9 * f64::from(i)).collect();
    let times = tr_times(0.0, 2.0, 28).unwrap();
    let by_default = (Lanczos::default(), Trim { head: 2, tail: 3 }, ZScore::Story);
    for rows in [Rows::Sparse(one_hot(&columns, 5)), Rows::Dense(one_hot(&columns, 5).to_dense())] {
        let design = |times: &[f64], (lanczos, trim, how): &(Lanczos, Trim, ZScore)| {
            story_design(&rows, &mid_s, times, lanczos, *trim, how).unwrap().to_dense()
        };
        let base = design(&times, &by_default);
        assert_eq!(base.dim(), (23, 5));
        let (lanczos, trim, how) = by_default.clone();
        let window = Lanczos { window: 2, ..lanczos };
        let cutoff = Lanczos { cutoff_mult: 0.5, ..lanczos };
        assert_ne!(base, design(&times, &(window, trim, how.clone())));
        assert_ne!(base, design(&times, &(cutoff, trim, how.clone())));
        assert_ne!(base, design(&times, &(lanczos, Trim { head: 3, tail: 2 }, how.clone())));
        assert_ne!(base, design(&times, &(lanczos, trim, ZScore::None)));
        assert_ne!(base, design(&tr_times(0.5, 2.0, 28).unwrap(), &by_default));
    }
}

#[test]
fn a_story_without_words_is_zeros() {
    let times = tr_times(-9.0, 2.0, 20).unwrap();
    for rows in [Rows::Sparse(one_hot(&[], 3)), Rows::Dense(Array2::zeros((0, 3)))] {
        let design =
            story_design(&rows, &[], &times, &Lanczos::default(), Trim::HUTH, &ZScore::Story);
        assert_eq!(design.unwrap().to_dense(), Array2::<f32>::zeros((5, 3)));
    }
}

#[test]
fn rows_and_words_that_differ_in_number_are_refused() {
    let rows = Rows::Dense(array![[1.0f32], [2.0]]);
    let times = tr_times(0.0, 2.0, 20).unwrap();
    let error =
        story_design(&rows, &[1.0], &times, &Lanczos::default(), Trim::HUTH, &ZScore::Story);
    assert_eq!(error.unwrap_err().exit_code(), 3);
}

proptest! {
    #[test]
    fn the_sparse_route_equals_the_dense_route(
        words in prop::collection::vec((0.0..80.0f64, 0..23u32), 0..120),
    ) {
        let (mid_s, columns): (Vec<f64>, Vec<u32>) = words.into_iter().unzip();
        let rows = one_hot(&columns, 23);
        let times = tr_times(0.0, 2.0, 41).unwrap();
        let design = |rows: &Rows| {
            story_design(rows, &mid_s, &times, &Lanczos::default(), Trim::LAB, &ZScore::Story)
                .unwrap()
        };
        let dense = design(&Rows::Dense(rows.to_dense())).to_dense();
        let sparse = design(&Rows::Sparse(rows));
        let StoryDesign::Sparse { center, .. } = &sparse else { panic!("sparse stays sparse") };
        for ((at, sparse), dense) in sparse.to_dense().indexed_iter().zip(&dense) {
            // Rounding of value, centre and difference; 1e-6 for the centres of real words.
            let tolerance = 2.0 * f32::EPSILON * (dense.abs() + center[at.1].abs()) + 1e-12;
            prop_assert!((sparse - dense).abs() <= tolerance, "{at:?}: {sparse} and {dense}");
        }
    }
}

// --- golden: NumPy in f64 on real words (golden_bow400.py, beside the data) ----------------------

/// Words with their mid times of every story.
type Stories = BTreeMap<String, (Vec<String>, Vec<f64>)>;

fn real_data() -> Option<PathBuf> {
    crate::io::shared_data::path("ds003020_pcs")
}

fn read_stories(path: &Path) -> Stories {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut stories = Stories::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let (words, mid_s) = stories.entry(fields[0].to_owned()).or_default();
        words.push(fields[4].to_owned());
        let [onset_s, offset_s]: [f64; 2] = [fields[2], fields[3]].map(|s| s.parse().unwrap());
        mid_s.push((onset_s + offset_s) / 2.0);
    }
    stories
}

#[test]
fn golden_bow400_design_is_that_of_numpy() {
    let Some(dir) = real_data() else { return };
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("golden_bow400.json")).unwrap()).unwrap();
    let names = |key: &str| -> Vec<String> { serde_json::from_value(golden[key].clone()).unwrap() };
    let stories = read_stories(&dir.join("words.tsv.gz"));
    let table = std::fs::read_to_string(dir.join("stories.tsv")).unwrap();
    let n_bold_trs: BTreeMap<&str, usize> = table
        .lines()
        .skip(1)
        .map(|line| line.split('\t').collect::<Vec<_>>())
        .map(|fields| (fields[0], fields[2].parse().unwrap()))
        .collect();

    let training = names("train");
    // The other program counts words as they are written.
    let settings = BowSettings {
        max_words: Some(400),
        punctuation: crate::stimuli::spelling::Punctuation::Keep,
        ..BowSettings::default()
    };
    let words = training.iter().map(|story| stories[story].0.as_slice());
    let vocabulary = Vocabulary::build(words, &settings).unwrap();
    assert_eq!(vocabulary.names(), names("vocab"));

    for (story, checks) in golden["x_checks"].as_object().unwrap() {
        let (words, mid_s) = &stories[story];
        let times = tr_times(-9.0, 2.0, n_bold_trs[story.as_str()] + 15).unwrap();
        let design = |rows: &Rows| {
            story_design(rows, mid_s, &times, &Lanczos::default(), Trim::HUTH, &ZScore::Story)
                .unwrap()
        };
        let bow = design(&Rows::Sparse(vocabulary.words_to_rows(words)));
        let joint = StoryDesign::hstack(&[&bow, &design(&word_rate(words.len()))]);
        let x = delay(joint.to_dense().view(), &[1, 2, 3, 4]).unwrap().mapv(f64::from);
        assert_eq!(x.dim(), (n_bold_trs[story.as_str()], 1604));
        let got = [x.sum(), (&x * &x).sum(), x[[20, 400]]];
        for (got, expected) in got.iter().zip(checks.as_array().unwrap()) {
            let expected = expected.as_f64().unwrap();
            let off = (got - expected).abs() / expected.abs();
            assert!(off <= 1e-6, "{story}: {got} instead of {expected}, {off:e} off");
        }
    }
}
