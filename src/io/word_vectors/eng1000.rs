//! HuthLab's english1000sm.hf5: `data` (dimensions, words) and `vocab` (words).
//!
//! Source: HuthLab/deep-fMRI-dataset: encoding/ridge_utils/SemanticModel.py: SemanticModel.load.

use std::collections::HashMap;
use std::path::Path;

use super::{MAX_DIM, VectorFormat, WordVectors};
use crate::error::{Error, Result};
use crate::io::hdf5;
use crate::io::matrix_file::{MatrixFile, Which};

/// Reads the vectors of the wanted words. A word that is there twice has its first vector.
///
/// Memory: the vocabulary, one row of `data`, and the wanted vectors; compressed data are unpacked
/// into a file without a name in the system's folder for temporary files.
/// # Errors
/// `Error::Hdf5`; `Error::Shape` where `data` does not have one column per word.
pub fn read(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<WordVectors> {
    let vocabulary = hdf5::read_texts(path, "vocab")?;
    let mut data = MatrixFile::open(path, &Which::default())?;
    let (dim, n_words) = (data.n_rows(), data.n_cols());
    if n_words != vocabulary.len() || !(1..=MAX_DIM).contains(&dim) {
        return Err(Error::Shape {
            what: format!("data of {}", path.display()),
            expected: format!("(1 to {MAX_DIM} dimensions, {} words of vocab)", vocabulary.len()),
            got: format!("({dim}, {n_words})"),
            hint: "give HuthLab's english1000sm.hf5, or a file laid out as it".into(),
        });
    }
    data.unpack(&std::env::temp_dir(), false)?;
    let mut columns: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut column_of: HashMap<&str, usize> = HashMap::new();
    let mut n_duplicates = 0;
    for (column, word) in vocabulary.iter().enumerate().filter(|(_, word)| wanted(word)) {
        match column_of.contains_key(word.as_str()) {
            true => n_duplicates += 1,
            false => {
                column_of.insert(word, columns.len());
                columns.push((column, Vec::with_capacity(dim)));
            }
        }
    }
    let mut row = vec![0f32; n_words];
    for at in 0..dim {
        data.read_columns(at..at + 1, 0..n_words, &mut row)?;
        columns.iter_mut().for_each(|(column, vector)| vector.push(row[*column]));
    }
    let vectors = column_of
        .into_iter()
        .map(|(word, at)| (word.to_owned(), std::mem::take(&mut columns[at].1)))
        .collect();
    Ok(WordVectors {
        format: VectorFormat::Eng1000,
        dim,
        n_in_file: n_words,
        n_damaged: 0,
        first_short: None,
        n_declared: None,
        n_duplicates,
        vectors,
    })
}
