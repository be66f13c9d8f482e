//! Tables of confounds: a column a nuisance regressor, a row a TR.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use csv::ReaderBuilder;

use super::input;
use crate::error::{Error, Result};

/// fMRIPrep's largest tables are a few megabytes.
const MAX_BYTES: u64 = 256 << 20;
const MAX_COLUMNS: usize = 10_000;

/// A table of confounds as it was read.
#[derive(Debug, Clone)]
pub struct Confounds {
    path: PathBuf,
    names: Vec<String>,
    /// Columns; NaN where a cell is `n/a` or no number.
    columns: Vec<Vec<f64>>,
    n_rows: usize,
}

impl Confounds {
    /// Reads a TSV, or a CSV, with a header line; also `.gz`. A table of one column may do without a
    /// header.
    /// # Errors
    /// `Error::Read`; `Error::Values` for a table that is too large, empty, or of uneven lines.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::Values {
            place: path.display().to_string(),
            problem,
            hint: "expected a table of confounds: a header line, then one line per TR".into(),
        };
        let text = read_text(path)?;
        let mut names: Vec<String> = Vec::new();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for line in records(&text) {
            let line = line.map_err(|error| wrong(format!("is no table: {error}")))?;
            let cells = line.iter().map(String::from_utf8_lossy);
            if columns.is_empty() {
                if line.len() > MAX_COLUMNS {
                    return Err(wrong(format!(
                        "has {} columns, the limit is {MAX_COLUMNS}",
                        line.len()
                    )));
                }
                columns = vec![Vec::new(); line.len()];
                let is_header = line.len() > 1 || cells.clone().all(|c| c.parse::<f64>().is_err());
                names = match is_header {
                    true => cells.map(|cell| cell.trim_matches('"').to_owned()).collect(),
                    false => vec![String::new()],
                };
                if is_header {
                    continue;
                }
                columns[0].push(number(&String::from_utf8_lossy(&line[0])));
                continue;
            }
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(number(&cell)));
        }
        let n_rows = columns.first().map_or(0, Vec::len);
        if n_rows == 0 {
            return Err(wrong("has no rows".into()));
        }
        Ok(Self { path: path.to_owned(), names, columns, n_rows })
    }

    /// Rows below the header.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Rows `rows` of the columns that any of the patterns names, in the table's order, each with its
    /// name; all columns without patterns.
    ///
    /// `*`, `?` and `[0-4]` in a pattern stand for what they do in a shell; a pattern with none of
    /// them must be a column of the table. A value that is missing in the first row of a difference
    /// between rows (fMRIPrep's derivatives and displacements) is 0.
    /// # Errors
    /// `Error::Values` for a column that is not there, and for a value that is missing in `rows`.
    pub fn values(
        &self,
        patterns: Option<&[String]>,
        rows: Range<usize>,
    ) -> Result<Vec<(String, Vec<f64>)>> {
        for pattern in patterns.unwrap_or_default().iter().filter(|p| !is_pattern(p)) {
            if !self.names.contains(pattern) {
                return Err(self.no_column(pattern));
            }
        }
        let is_wanted = |name: &str| {
            patterns.is_none_or(|patterns| patterns.iter().any(|p| p == name || matches(p, name)))
        };
        let mut found = Vec::new();
        for (name, column) in self.names.iter().zip(&self.columns).filter(|(n, _)| is_wanted(n)) {
            let mut values = column[rows.clone()].to_vec();
            if rows.start == 0 && is_difference(name) && values.first().is_some_and(|x| x.is_nan())
            {
                values[0] = 0.0;
            }
            if let Some(at) = values.iter().position(|x| !x.is_finite()) {
                return Err(Error::Values {
                    place: self.path.display().to_string(),
                    problem: format!(
                        "column {name:?} has no number in row {} (n/a?); a confound needs one for \
                         every TR",
                        rows.start + at + 1
                    ),
                    hint: "fill it, or leave the column out of confound_columns".into(),
                });
            }
            found.push((name.clone(), values));
        }
        Ok(found)
    }

    /// The error about a column that the table does not have.
    pub fn no_column(&self, name: &str) -> Error {
        let shown: Vec<&str> = self.names.iter().take(8).map(String::as_str).collect();
        Error::Values {
            place: self.path.display().to_string(),
            problem: format!("no column {name:?}"),
            hint: format!(
                "its {} columns: {}{}",
                self.names.len(),
                shown.join(", "),
                if self.names.len() > shown.len() { ", …" } else { "" }
            ),
        }
    }
}

/// The numbers of one column by the names in another, of a table with a header line.
/// # Errors
/// `Error::Read`; `Error::Values` for a column that is not there, a name that is there twice, and a
/// cell that is no number.
pub fn read_named(path: &Path, key: &str, value: &str) -> Result<BTreeMap<String, f64>> {
    let text = read_text(path)?;
    let wrong = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: format!("expected a table with columns {key} and {value}"),
    };
    let mut found = BTreeMap::new();
    let mut columns = None;
    for (line, record) in (1..).zip(records(&text)) {
        let record = record.map_err(|error| wrong(format!("is no table: {error}")))?;
        let cells: Vec<_> = record.iter().map(String::from_utf8_lossy).collect();
        let Some((name_at, value_at)) = columns else {
            let find = |name: &str| {
                let at = cells.iter().position(|cell| cell.eq_ignore_ascii_case(name));
                at.ok_or_else(|| wrong(format!("no column {name:?}")))
            };
            columns = Some((find(key)?, find(value)?));
            continue;
        };
        let number = cells[value_at].parse::<f64>().ok().filter(|x| x.is_finite());
        let number = number.ok_or_else(|| {
            wrong(format!("line {line}: expected a number, got {:?}", cells[value_at]))
        })?;
        if found.insert(cells[name_at].to_string(), number).is_some() {
            return Err(wrong(format!("line {line}: {:?} is there twice", cells[name_at])));
        }
    }
    Ok(found)
}

/// A whole table, without a byte order mark.
fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mut source = input::open(path)?.take(MAX_BYTES + 1);
    source
        .read_to_end(&mut text)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::Values {
            place: path.display().to_string(),
            problem: format!("is over {MAX_BYTES} bytes"),
            hint: "a table has one line per TR, or one per story".into(),
        });
    }
    if text.starts_with(b"\xef\xbb\xbf") {
        text.drain(..3);
    }
    Ok(text)
}

/// Lines of cells; tabs if the first line has one, else commas.
fn records(text: &[u8]) -> csv::ByteRecordsIntoIter<&[u8]> {
    let first = text.split(|&b| b == b'\n').next().unwrap_or_default();
    let delimiter = if first.contains(&b'\t') { b'\t' } else { b',' };
    let mut builder = ReaderBuilder::new();
    builder.delimiter(delimiter).has_headers(false).trim(csv::Trim::All);
    builder.from_reader(text).into_byte_records()
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or(f64::NAN)
}

/// Whether a column's first row has nothing to be compared with.
fn is_difference(name: &str) -> bool {
    name.contains("derivative")
        || ["framewise_displacement", "dvars", "std_dvars", "rmsd"].contains(&name)
}

/// Whether a name stands for several columns.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether `name` is what a shell's `pattern` of `*`, `?` and `[…]` names.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stood, and how far the name had come then.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let one = match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            None if n == name.len() => return true,
            Some(_) if n < name.len() => one_char(&pattern[p..], name[n]),
            _ => None,
        };
        match (one, star) {
            (Some(width), _) => (p, n) = (p + width, n + 1),
            (None, Some((at, from))) if from < name.len() => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// Whether the head of a pattern, which is no `*`, stands for a character: how long the head is.
fn one_char(pattern: &[char], c: char) -> Option<usize> {
    if pattern[0] == '[' {
        // A `]` right behind the bracket is one of the characters.
        if let Some(end) = (2..pattern.len()).find(|&i| pattern[i] == ']') {
            let set = &pattern[1..end];
            let (is_not, set) = match set {
                ['!' | '^', rest @ ..] if !rest.is_empty() => (true, rest),
                _ => (false, set),
            };
            let mut is_in = false;
            let mut i = 0;
            while i < set.len() {
                match set.get(i + 1..i + 3) {
                    Some(['-', last]) => {
                        is_in |= (set[i]..=*last).contains(&c);
                        i += 3;
                    }
                    _ => {
                        is_in |= set[i] == c;
                        i += 1;
                    }
                }
            }
            return (is_in != is_not).then_some(end + 1);
        }
    }
    (pattern[0] == '?' || pattern[0] == c).then_some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_what_they_do_in_a_shell() {
        for (pattern, yes, no) in [
            ("trans_*", vec!["trans_x", "trans_", "trans_x_derivative1"], vec!["rot_x", "trans"]),
            (
                "a_comp_cor_0[0-4]",
                vec!["a_comp_cor_00", "a_comp_cor_04"],
                vec!["a_comp_cor_05", "a_comp_cor_0", "a_comp_cor_000"],
            ),
            (
                "*_derivative?",
                vec!["x_derivative1", "_derivative2"],
                vec!["x_derivative", "x_derivative1_power2"],
            ),
            ("[!rt]*", vec!["csf"], vec!["rot_x", "trans_x", ""]),
            ("rot_[xyz]", vec!["rot_x", "rot_z"], vec!["rot_w", "rot_xy"]),
            ("*a*b*", vec!["ab", "xaybz", "aab"], vec!["ba", "a"]),
            ("[a", vec!["[a"], vec!["a"]),
            ("[]]", vec!["]"], vec!["["]),
            ("", vec![""], vec!["x"]),
        ] {
            yes.iter().for_each(|name| assert!(matches(pattern, name), "{pattern} {name}"));
            no.iter().for_each(|name| assert!(!matches(pattern, name), "{pattern} {name}"));
        }
        assert!(!matches(&"*a".repeat(2000), &"a".repeat(1500)), "in time");
    }

    fn read(text: &str) -> Result<Confounds> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.tsv");
        std::fs::write(&path, text).unwrap();
        Confounds::read(&path)
    }

    #[test]
    fn columns_are_chosen_by_name_and_missing_values_refused() {
        let table =
            read("a\tb_derivative1\ta2\tbad\r\n1\tn/a\t3\tn/a\r\n4\t5\t6\t7\r\n-1e-3\t0\t9\tx\r\n")
                .unwrap();
        assert_eq!(table.n_rows(), 3);
        let named = |patterns: &[&str], rows: Range<usize>| {
            let patterns: Vec<String> = patterns.iter().map(|&p| p.to_owned()).collect();
            table.values(Some(&patterns), rows)
        };
        let found = named(&["a2", "a*", "a"], 0..3).unwrap();
        assert_eq!(
            found,
            [("a".into(), vec![1.0, 4.0, -1e-3]), ("a2".into(), vec![3.0, 6.0, 9.0])]
        );
        assert_eq!(named(&["*derivative1"], 0..3).unwrap()[0].1, [0.0, 5.0, 0.0]);
        assert_eq!(named(&["bad"], 1..2).unwrap()[0].1, [7.0], "rows that are cut do not count");
        assert!(named(&["z*"], 0..3).unwrap().is_empty());
        for (patterns, says) in
            [(["bad"], "\"bad\" has no number in row 1"), (["c"], "no column \"c\"")]
        {
            let error = named(&patterns, 0..3).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(says), "{error}");
        }
        let error = table.values(None, 0..3).unwrap_err();
        assert!(error.to_string().contains("row 1"), "all columns are wanted: {error}");
    }

    #[test]
    fn numbers_are_looked_up_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.tsv");
        let named = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_named(&path, "story", "first_tr_s")
        };
        let found = named("first_tr_s\tStory\n-9\ta\n0.5\tb c\n").unwrap();
        assert_eq!(found, BTreeMap::from([("a".into(), -9.0), ("b c".into(), 0.5)]));
        for (text, says) in [
            ("story,first\na,1\n", "no column \"first_tr_s\""),
            ("story,first_tr_s\na,x\n", "line 2: expected a number, got \"x\""),
            ("story,first_tr_s\na,1\na,2\n", "line 3: \"a\" is there twice"),
        ] {
            let error = named(text).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn one_column_needs_no_header_and_commas_will_do() {
        let all = |text: &str| read(text).unwrap().values(None, 0..2).unwrap();
        assert_eq!(all("0\n1\n"), [(String::new(), vec![0.0, 1.0])]);
        assert_eq!(all("marks\n0\n1\n"), [("marks".to_owned(), vec![0.0, 1.0])]);
        assert_eq!(all("\u{feff}x,y\n0,2\n1,3\n")[1], ("y".to_owned(), vec![2.0, 3.0]));
        for text in ["", "a\tb\n", "a\tb\n1\t2\n3\n"] {
            assert_eq!(read(text).unwrap_err().exit_code(), 3, "{text:?}");
        }
    }
}
