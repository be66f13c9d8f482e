//! Numeric columns of the tables that stories were read from.

use std::collections::BTreeMap;
use std::path::Path;

use super::columns::NumberColumns;
use super::story::Story;
use crate::error::{Error, Result};
use crate::io::table;

/// For each story and each of its words the numbers in the columns of these names; `None` where
/// nothing or `n/a` stands.
///
/// A table is read once, however many stories it holds.
/// # Errors
/// `Error::Values` for a story that comes from no table; `Error::Table` for a column that is not
/// there and for a text that is no number, with its line.
pub fn read_numbers(stories: &[Story], names: &[String]) -> Result<Vec<Vec<Vec<Option<f64>>>>> {
    let mut of_file: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (index, story) in stories.iter().enumerate() {
        if !story.source.is_table {
            return Err(Error::Values {
                place: format!("story {:?}", story.name),
                problem: format!(
                    "expected a table with the columns {}, its words are from {}, which is none",
                    names.join(", "),
                    story.source.path.display()
                ),
                hint: "kind = \"column\" needs .tsv or .csv tables; give rows of other words with \
                       kind = \"file\""
                    .into(),
            });
        }
        of_file.entry(&story.source.path).or_default().push(index);
    }
    let mut found = vec![Vec::new(); stories.len()];
    for (path, indices) in of_file {
        let fail = |source| Error::Table { path: path.to_owned(), source };
        let bytes = table::read_bytes(path, table::MAX_BYTES)?;
        let sheet = table::parse(&bytes, table::MAX_BYTES).map_err(fail)?;
        let mut columns = NumberColumns::find(&sheet, names).map_err(fail)?;
        for index in indices {
            let lines = stories[index].source.lines.iter();
            found[index] =
                lines.map(|&line| columns.at(line)).collect::<Result<_, _>>().map_err(fail)?;
        }
    }
    Ok(found)
}
