//! CSV tables: rows of `report::rows` in, the same rows out.

use std::fs::File;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::broken;
use crate::error::{Error, Result};
use crate::io::input::check_regular;
use crate::io::output::{write_bytes, write_or_remove};
use crate::report::data::Cells;

/// Largest table that is read, as of words.
const MAX_BYTES: u64 = 1 << 30;

/// The text of a table: a header from the names of the fields, one line per row.
///
/// # Errors
/// `Error::Numerical` for rows that are no structs of numbers and texts.
pub fn text<T: Serialize>(rows: &[T]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fail = |problem: String| Error::Numerical { what: "writing a table".into(), problem };
    for row in rows {
        writer.serialize(row).map_err(|error| fail(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| fail(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| fail(error.to_string()))
}

/// Writes a table; without rows the file is removed, if it is there.
/// # Errors
/// `Error::Write`.
pub fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    match rows {
        [] => write_or_remove(path, None),
        rows => write_bytes(path, text(rows)?.as_bytes()),
    }
}

/// The rows of a table, by the names in its header; other columns are left.
/// # Errors
/// `Error::Read`; `Error::Values` for a file that is no such table.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    check_regular(path, MAX_BYTES)?;
    let file = File::open(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    csv::Reader::from_reader(file)
        .deserialize()
        .collect::<Result<Vec<T>, csv::Error>>()
        .map_err(|error| broken(path, error))
}

/// The same; nothing where there is no such file.
/// # Errors
/// As [`read`].
pub fn read_if_there<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

/// A table as text.
/// # Errors
/// As [`read`].
pub fn read_cells(path: &Path) -> Result<Cells> {
    check_regular(path, MAX_BYTES)?;
    let fail = |error: csv::Error| broken(path, error);
    let mut reader = csv::Reader::from_path(path).map_err(fail)?;
    let header = reader.headers().map_err(fail)?.iter().map(str::to_owned).collect();
    let row = |record: Result<csv::StringRecord, csv::Error>| {
        record.map(|record| record.iter().map(str::to_owned).collect())
    };
    let rows = reader.records().map(row).collect::<Result<_, _>>().map_err(fail)?;
    Ok(Cells { header, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ScoreRow;
    use crate::report::rows::{Comparison, ScoreLine};
    use crate::scoring::Summary;

    #[test]
    fn a_table_is_written_as_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let row = Comparison {
            subject: "s1".into(),
            space_a: "a, \"b\"".into(),
            diff_mean: 1.0,
            ci_low: 1e-7,
            ci_high: f64::NAN,
            resamples: 5,
            ..Comparison::default()
        };
        write(&path, std::slice::from_ref(&row)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "subject,space_a,space_b,diff_mean,ci_low,ci_high,n_stories,resamples\n\
             s1,\"a, \"\"b\"\"\",,1,0.0000001,NaN,0,5\n"
        );
        let again: Vec<Comparison> = read(&path).unwrap();
        assert!(again[0].ci_high.is_nan() && again[0].ci_low == 1e-7);
        assert_eq!(again[0].space_a, row.space_a);
        write::<Comparison>(&path, &[]).unwrap();
        assert!(!path.exists() && read_if_there::<Comparison>(&path).unwrap().is_empty());
        assert_eq!(read::<Comparison>(&path).unwrap_err().exit_code(), 3);
        assert_eq!(read::<Comparison>(folder.path()).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn scores_have_a_story_where_they_are_of_one() {
        let scores = Summary::of(&[0.5]);
        let (subject, space) = ("s1".to_owned(), "bow".to_owned());
        let of = |story| ScoreRow {
            subject: subject.clone(),
            space: space.clone(),
            lagged: true,
            story,
            scores,
            inner: None,
        };
        let all = text(&[ScoreLine::from(&of(None))]).unwrap();
        assert_eq!(
            all,
            "subject,space,lagged,n_voxels,n_voxels_used,mean,median,top1,top5,top1_mean,top5_mean\n\
             s1,bow,true,1,1,0.5,0.5,0.5,0.5,0.5,0.5\n"
        );
        let one = text(&[ScoreLine::from(&of(Some("x".into())))]).unwrap();
        assert!(one.starts_with("subject,space,lagged,story,n_voxels,"), "{one}");
        assert!(one.ends_with("\ns1,bow,true,x,1,1,0.5,0.5,0.5,0.5,0.5,0.5\n"), "{one}");
    }
}
