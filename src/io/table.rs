//! Tables as text: TSV, CSV with `,` or `;`, and R's with blanks, plain or gzip, in any encoding.
//!
//! Cells only: which column means what is `stimuli::columns`.

use std::io::Read;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord};

use super::input;
use super::text::{Encoding, decode};
use crate::error::{Error, Result};

/// The most a table may hold once unpacked: a million hours of speech are far below it.
pub const MAX_BYTES: u64 = 1 << 30;
/// A stated limit for the columns of a header.
const MAX_COLUMNS: usize = 10_000;

/// Why a table is refused; `Error::Table` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// No header line.
    #[error("the file is empty, expected a header line with onset, offset (or duration) and word")]
    Empty,
    /// More than a table of words can be.
    #[error("the table is over {limit} bytes; give one file per story")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// More columns than any table has.
    #[error("the header has {n_columns} columns, the limit is {limit}; is this a table of words?")]
    TooManyColumns {
        /// As found.
        n_columns: usize,
        /// The most that is read.
        limit: usize,
    },
    /// Half a character of UTF-16.
    #[error("the text is not whole UTF-16; save the table as UTF-8")]
    Encoding,
    /// A column that is needed is not in the header.
    #[error("no column {expected} in the header; it has {found}; add or rename the column")]
    MissingColumn {
        /// The column, with its other names.
        expected: String,
        /// The header as it was understood.
        found: String,
    },
    /// Two columns of one name.
    #[error("column \"{column}\" is there twice (columns {first} and {second}); rename one")]
    DuplicateColumn {
        /// In lower case.
        column: String,
        /// From 1.
        first: usize,
        /// From 1.
        second: usize,
    },
    /// A unit in a header that is not known.
    #[error(
        "column \"{column}\": unit \"{unit}\" is not known, expected s or ms; rename the column, \
         or set [stories] time_unit (--time-unit) to the seconds of one unit"
    )]
    Unit {
        /// The header's cell.
        column: String,
        /// What stands in its brackets.
        unit: String,
    },
    /// A line with more or fewer cells than the header.
    #[error("line {line}: {got} cells, expected {expected} as in the header; fix the line")]
    Cells {
        /// From 1.
        line: u64,
        /// As in the header.
        expected: usize,
        /// In the line.
        got: usize,
    },
    /// A time that is no number, or not finite.
    #[error("line {line}: {column} is \"{got}\", expected a finite number")]
    Number {
        /// From 1.
        line: u64,
        /// The column.
        column: String,
        /// As written.
        got: String,
    },
    /// Decimal points and decimal commas in one table.
    #[error(
        "line {line}: {column} is \"{got}\", other times have a decimal point; write all of them \
         with a point and no separator of thousands"
    )]
    DecimalComma {
        /// From 1.
        line: u64,
        /// The column.
        column: String,
        /// As written.
        got: String,
    },
    /// A word that ends before it starts.
    #[error(
        "line {line}: word \"{word}\" ends at {offset} s, before its onset at {onset} s; fix the line"
    )]
    OffsetBeforeOnset {
        /// From 1.
        line: u64,
        /// The word.
        word: String,
        /// Its start, in seconds.
        onset: f64,
        /// Its end, in seconds.
        offset: f64,
    },
    /// What the csv reader refuses besides.
    #[error("line {line}: {reason}")]
    Csv {
        /// From 1; 0 where it is not known.
        line: u64,
        /// Its reason.
        reason: String,
    },
}

/// The cells of a table, row after row; the first row is usually its header.
#[derive(Debug)]
pub struct Sheet {
    /// Cells without white space at their ends, one after the other.
    text: String,
    /// Where each cell ends.
    ends: Vec<usize>,
    /// Line of each row in the file, from 1.
    lines: Vec<u64>,
    n_columns: usize,
    /// The delimiter is a comma, so that none can stand in a number that is not quoted.
    pub is_comma: bool,
    /// How the file was stored.
    pub encoding: Encoding,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub struct SheetRow<'a> {
    sheet: &'a Sheet,
    row: usize,
}

impl<'a> SheetRow<'a> {
    /// From 1.
    pub fn line(self) -> u64 {
        self.sheet.lines[self.row]
    }

    /// A cell of a column below `n_columns`.
    pub fn cell(self, column: usize) -> &'a str {
        let at = self.row * self.sheet.n_columns + column;
        let start = if at == 0 { 0 } else { self.sheet.ends[at - 1] };
        &self.sheet.text[start..self.sheet.ends[at]]
    }
}

impl Sheet {
    /// Cells of a row, the same in each.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// All rows, the first one too.
    pub fn rows(&self) -> impl Iterator<Item = SheetRow<'_>> + Clone {
        (0..self.lines.len()).map(|row| SheetRow { sheet: self, row })
    }
}

/// Reads the bytes of a file, unpacked, at most `limit`; one more byte tells that it holds more.
/// # Errors
/// `Error::Read`, `Error::Input`.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input::open(path)?.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// The cells of a table.
///
/// The delimiter is what the first line has: a tab, else the more frequent one of `;` and `,`, else
/// blanks. In tab-separated files quotes are plain characters, because a word may be a lone `"`,
/// unless the header is quoted (R), or every cell with a quote is one that a spreadsheet would have
/// quoted. Elsewhere they quote. R's row names (one cell more than the header has) are left out.
/// # Errors
/// [`TableError`], with the line.
pub fn parse(bytes: &[u8], max_bytes: u64) -> Result<Sheet, TableError> {
    if bytes.len() as u64 > max_bytes {
        return Err(TableError::TooLarge { limit: max_bytes });
    }
    let (text, encoding) = decode(bytes).map_err(|_| TableError::Encoding)?;
    let first_line = text.split(['\n', '\r']).find(|line| !line.trim().is_empty());
    let first_line = first_line.ok_or(TableError::Empty)?;
    let delimiter = delimiter(first_line);
    let has_quotes = match delimiter {
        b'\t' => is_quoted_tsv(&text, first_line),
        _ => true,
    };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(has_quotes)
        .escape((has_quotes && matches!(delimiter, b'\t' | b' ')).then_some(b'\\'))
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut sheet = Sheet {
        text: String::new(),
        ends: Vec::new(),
        lines: Vec::new(),
        n_columns: 0,
        is_comma: delimiter == b',',
        encoding,
    };
    let mut record = StringRecord::new();
    let mut names = RowNames::None;
    loop {
        let more = reader.read_record(&mut record);
        if !more.map_err(|error| csv_error(text.as_bytes(), &error))? {
            return Ok(sheet);
        }
        let line = line_of(text.as_bytes(), record.position());
        let (n, n_rows) = (sheet.n_columns, sheet.lines.len());
        if n_rows == 0 {
            let n_columns = record.len();
            if n_columns > MAX_COLUMNS {
                return Err(TableError::TooManyColumns { n_columns, limit: MAX_COLUMNS });
            }
            sheet.n_columns = n_columns;
        } else if n_rows == 1 && record.len() == n + 1 {
            names = match record.get(n).is_some_and(|last| last.trim().is_empty()) {
                true => RowNames::EmptyLast,
                false => RowNames::First,
            };
        }
        let cells = match (names, n_rows) {
            (_, 0) | (RowNames::None, _) => 0..record.len(),
            (RowNames::First, _) => 1..record.len(),
            (RowNames::EmptyLast, _) => 0..record.len() - 1,
        };
        if n_rows > 0 && cells.len() != n {
            return Err(TableError::Cells { line, expected: n, got: record.len() });
        }
        for column in cells {
            sheet.text.push_str(record.get(column).unwrap_or_default().trim());
            sheet.ends.push(sheet.text.len());
        }
        sheet.lines.push(line);
    }
}

/// What stands in a row beyond the header's columns.
#[derive(Clone, Copy)]
enum RowNames {
    None,
    /// R's row names.
    First,
    /// A delimiter at the end of every line.
    EmptyLast,
}

fn delimiter(first_line: &str) -> u8 {
    let (mut is_inside, mut n_of) = (false, [0usize; 4]);
    for byte in first_line.trim().bytes() {
        match byte {
            b'"' => is_inside = !is_inside,
            b'\t' => n_of[0] += 1,
            b';' if !is_inside => n_of[1] += 1,
            b',' if !is_inside => n_of[2] += 1,
            b' ' if !is_inside => n_of[3] += 1,
            _ => {}
        }
    }
    match n_of {
        [tabs, ..] if tabs > 0 => b'\t',
        [_, semicolons, commas, _] if semicolons > commas => b';',
        [_, _, 0, blanks] if blanks > 0 => b' ',
        _ => b',',
    }
}

/// Whether a tab-separated file quotes its cells: R quotes the header too; a spreadsheet quotes just
/// what needs it, and then no cell has a quote that is not so.
fn is_quoted_tsv(text: &str, first_line: &str) -> bool {
    let is_whole = |cell: &str| cell.len() >= 2 && cell.starts_with('"') && cell.ends_with('"');
    if first_line.split('\t').any(|cell| is_whole(cell.trim())) {
        return true;
    }
    let mut any = false;
    for cell in text.split(['\t', '\n', '\r']).filter(|cell| cell.contains('"')) {
        let inside = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
        let needs_it = inside.is_some_and(|inside| {
            let bare = inside.replace("\"\"", "");
            !bare.contains('"') && (bare.len() < inside.len() || bare.contains(','))
        });
        if !needs_it {
            return false;
        }
        any = true;
    }
    any
}

/// The line of a record: the csv reader's position lies in front of the empty lines it skips.
fn line_of(bytes: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else {
        return 0;
    };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX).min(bytes.len());
    let skipped = bytes[start..].iter().take_while(|&&byte| byte == b'\n' || byte == b'\r');
    position.line() + skipped.filter(|&&byte| byte == b'\n').count() as u64
}

fn csv_error(bytes: &[u8], error: &csv::Error) -> TableError {
    TableError::Csv { line: line_of(bytes, error.position()), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<Vec<String>> {
        let sheet = parse(text.as_bytes(), MAX_BYTES).unwrap();
        let row =
            |row: SheetRow<'_>| (0..sheet.n_columns()).map(|c| row.cell(c).to_owned()).collect();
        sheet.rows().map(row).collect()
    }

    #[test]
    fn every_delimiter_and_quoting_gives_the_same_cells() {
        let expected = [["onset", "word"], ["0.5", "a"], ["1", "b, c"], ["2", "say \"x\""]];
        for text in [
            "onset\tword\n0.5\ta\n1\t\"b, c\"\n2\t\"say \"\"x\"\"\"\n",
            "\"onset\"\t\"word\"\r\n0.5\t\"a\"\r\n1\t\"b, c\"\r\n2\t\"say \\\"x\\\"\"\r\n",
            "onset,word\n0.5,a\n1,\"b, c\"\n2,\"say \"\"x\"\"\"",
            "onset;word;\n0.5;a;\n1;b, c;\n2;\"say \"\"x\"\"\";\n",
            "\"onset\" \"word\"\n\"1\" 0.5 \"a\"\n\"2\" 1 \"b, c\"\n\"3\" 2 \"say \\\"x\\\"\"\n",
            "onset\tword\n0.5\ta\t\n1\t\"b, c\"\t\n2\t\"say \"\"x\"\"\"\t\n",
        ] {
            let got: Vec<Vec<String>> = cells(text).into_iter().map(|r| r[..2].to_vec()).collect();
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn plain_quotes_stay_in_tsv_where_nobody_quoted() {
        assert_eq!(cells("a\tb\n\"\t1\n\"Hi,\"\t2\n")[1][0], "\"");
        assert_eq!(cells("a\tb\n\"Hi,\"\t1\nyou\"\t2\n")[1][0], "\"Hi,\"");
        assert_eq!(cells("a\tb\n\"Hi\"\t1\n")[1][0], "\"Hi\"");
    }

    #[test]
    fn lines_are_counted_from_one_and_faults_name_them() {
        let sheet = parse(b"\r\na,b\r\n0,1\r\n\r\n\"x\ny\",c\r\n2,d\r\n", MAX_BYTES).unwrap();
        assert_eq!(sheet.rows().map(SheetRow::line).collect::<Vec<_>>(), [2, 3, 5, 7]);
        let fault = |text: &str| parse(text.as_bytes(), MAX_BYTES).unwrap_err().to_string();
        assert!(fault("a,b\n\n\n0\n").contains("line 4: 1 cells, expected 2"));
        assert!(fault("a,b\n0,1,2\n0,1\n").contains("line 3: 2 cells"));
        assert!(fault("\n \n").contains("empty"));
        let wide = "a,".repeat(MAX_COLUMNS + 1);
        assert!(matches!(parse(wide.as_bytes(), 1 << 20), Err(TableError::TooManyColumns { .. })));
        assert!(matches!(parse(b"onset", 3), Err(TableError::TooLarge { limit: 3 })));
        assert!(matches!(parse(b"\xff\xfea", 9), Err(TableError::Encoding)));
    }
}
