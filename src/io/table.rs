//! Tables of timed words: TSV or CSV with a header line, plain or gzip.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::input;
use crate::error::{Error, Result};

/// The most a table may hold once unpacked: a million hours of speech are far below it.
const MAX_BYTES: u64 = 1 << 30;
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
    #[error("the table is over {limit} bytes; give one file a story")]
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
    /// A column that is needed is not in the header.
    #[error("no column {expected} in the header; it has {found}; add or rename the column")]
    MissingColumn {
        /// The column, with its other names.
        expected: &'static str,
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
    /// A line with more or fewer cells than the header.
    #[error("line {line}: {got} cells, expected {expected} as in the header; mend the line")]
    Cells {
        /// From 1.
        line: u64,
        /// As in the header.
        expected: u64,
        /// In the line.
        got: u64,
    },
    /// Bytes that are no text.
    #[error("line {line}: column \"{column}\" is not UTF-8; save the table as UTF-8")]
    NotUtf8 {
        /// From 1.
        line: u64,
        /// The column.
        column: &'static str,
    },
    /// A time that is no number, or not finite.
    #[error("line {line}: {column} is \"{got}\", expected a finite number of seconds")]
    Number {
        /// From 1.
        line: u64,
        /// The column.
        column: &'static str,
        /// As written.
        got: String,
    },
    /// A word that ends before it starts.
    #[error(
        "line {line}: word \"{word}\" ends at {offset_s} s, before its onset at {onset_s} s; \
         mend the line"
    )]
    OffsetBeforeOnset {
        /// From 1.
        line: u64,
        /// The word.
        word: String,
        /// Its start.
        onset_s: f64,
        /// Its end.
        offset_s: f64,
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

/// One word with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedWord {
    /// Index into [`WordTable::story_names`]; 0 without a story column.
    pub story: usize,
    /// Start, finite.
    pub onset_s: f64,
    /// End, finite, not before the start.
    pub offset_s: f64,
    /// As written, without white space at its ends; may be empty.
    pub word: String,
    /// Line in the file, from 1.
    pub line: u64,
}

/// A table as it was read, rows in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct WordTable {
    /// The distinct values of the column `story` in order of first appearance, if there is one.
    pub story_names: Option<Vec<String>>,
    /// One a line.
    pub words: Vec<TimedWord>,
}

/// The columns that are used, as indices.
struct Columns {
    story: Option<usize>,
    onset: usize,
    end: usize,
    end_is_duration: bool,
    word: usize,
}

/// Reads a table of timed words.
///
/// The delimiter is a tab if the header line has one, otherwise a comma. In tab-separated files
/// quotes are plain characters, because a word may be a lone `"`; in CSV they quote. Header names
/// in any case; `story` is optional, `onset`, `offset` (else `duration`), `word` (else `text`)
/// are not, other columns are ignored. A byte order mark is skipped, empty lines too.
/// # Errors
/// `Error::Table` with the line, `Error::Read` if the file cannot be read.
pub fn read(path: &Path) -> Result<WordTable> {
    let mut bytes = Vec::new();
    input::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    parse(&bytes, MAX_BYTES).map_err(|source| Error::Table { path: path.to_owned(), source })
}

fn parse(bytes: &[u8], max_bytes: u64) -> Result<WordTable, TableError> {
    if bytes.len() as u64 > max_bytes {
        return Err(TableError::TooLarge { limit: max_bytes });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first_line = bytes.split(|&b| b == b'\n').find(|line| !line.trim_ascii().is_empty());
    let is_tsv = first_line.ok_or(TableError::Empty)?.contains(&b'\t');
    let mut reader = ReaderBuilder::new()
        .delimiter(if is_tsv { b'\t' } else { b',' })
        .quoting(!is_tsv)
        .has_headers(false)
        .from_reader(bytes);
    let mut record = ByteRecord::new();
    reader.read_byte_record(&mut record).map_err(|e| csv_error(bytes, &e))?;
    let columns = find_columns(&record)?;

    let mut story_names: Vec<String> = Vec::new();
    let mut story_of_name: HashMap<String, usize> = HashMap::new();
    let mut words = Vec::new();
    while reader.read_byte_record(&mut record).map_err(|e| csv_error(bytes, &e))? {
        let line = line_of(bytes, record.position());
        let cell = |index: usize, column: &'static str| {
            let bytes = record.get(index).unwrap_or_default().trim_ascii();
            std::str::from_utf8(bytes).map_err(|_| TableError::NotUtf8 { line, column })
        };
        let number = |index: usize, column: &'static str| {
            let text = cell(index, column)?;
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(value),
                _ => {
                    let got = text.chars().take(40).collect();
                    Err(TableError::Number { line, column, got })
                }
            }
        };
        let word = cell(columns.word, "word")?.to_owned();
        let onset_s = number(columns.onset, "onset")?;
        let offset_s = if columns.end_is_duration {
            onset_s + number(columns.end, "duration")?
        } else {
            number(columns.end, "offset")?
        };
        if offset_s < onset_s || !offset_s.is_finite() {
            return Err(TableError::OffsetBeforeOnset { line, word, onset_s, offset_s });
        }
        let story = match columns.story {
            None => 0,
            Some(index) => {
                let name = cell(index, "story")?;
                match story_of_name.get(name) {
                    Some(&story) => story,
                    None => {
                        story_names.push(name.to_owned());
                        story_of_name.insert(name.to_owned(), story_names.len() - 1);
                        story_names.len() - 1
                    }
                }
            }
        };
        words.push(TimedWord { story, onset_s, offset_s, word, line });
    }
    Ok(WordTable { story_names: columns.story.map(|_| story_names), words })
}

fn find_columns(header: &ByteRecord) -> Result<Columns, TableError> {
    if header.len() > MAX_COLUMNS {
        let (n_columns, limit) = (header.len(), MAX_COLUMNS);
        return Err(TableError::TooManyColumns { n_columns, limit });
    }
    let names: Vec<String> = header
        .iter()
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_lowercase())
        .collect();
    let find = |name: &str| -> Result<Option<usize>, TableError> {
        let mut found = (0..names.len()).filter(|&i| names[i] == name);
        match (found.next(), found.next()) {
            (Some(first), Some(second)) => Err(TableError::DuplicateColumn {
                column: name.to_owned(),
                first: first + 1,
                second: second + 1,
            }),
            (first, _) => Ok(first),
        }
    };
    let missing = |expected| {
        let found: String = names.join(", ").chars().take(200).collect();
        TableError::MissingColumn { expected, found }
    };
    let onset = find("onset")?.ok_or_else(|| missing("\"onset\""))?;
    let (end, end_is_duration) = match (find("offset")?, find("duration")?) {
        (Some(offset), _) => (offset, false),
        (None, Some(duration)) => (duration, true),
        (None, None) => return Err(missing("\"offset\" or \"duration\"")),
    };
    let word = match (find("word")?, find("text")?) {
        (Some(word), _) => word,
        (None, Some(text)) => text,
        (None, None) => return Err(missing("\"word\" or \"text\"")),
    };
    Ok(Columns { story: find("story")?, onset, end, end_is_duration, word })
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
    let line = line_of(bytes, error.position());
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            TableError::Cells { line, expected: *expected_len, got: *len }
        }
        _ => TableError::Csv { line, reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Result<WordTable, TableError> {
        parse(text.as_bytes(), MAX_BYTES)
    }

    fn rows(text: &str) -> Vec<(usize, f64, f64, String)> {
        let words = table(text).unwrap().words;
        words.into_iter().map(|w| (w.story, w.onset_s, w.offset_s, w.word)).collect()
    }

    #[test]
    fn tsv_and_csv_give_the_same_rows() {
        let expected = [
            (0, 0.5, 1.0, "The".to_owned()),
            (1, 2.0, 2.25, "end".to_owned()),
            (0, 1.0, 1.5, "a".to_owned()),
        ];
        for text in [
            "story\tonset\toffset\tword\ns\t.5\t1\tThe\nt\t2\t2.25\tend\ns\t1\t1.5\ta\n",
            "\u{feff}Word,STORY,junk,Onset,Offset\r\nThe,s,,0.5,1\r\n\r\nend,t,x,2,2.25\r\na,s,,1,1.5",
            "story\tonset\tduration\ttext\ns\t.5\t.5\tThe\nt\t2\t.25\tend\ns\t1\t5e-1\ta\n",
            "\n\nstory,onset,offset,duration,text,word\ns,.5,1,n/a,x,\"The\"\nt, 2,2.25,,y,end\ns,1,1.5,,z,a \n",
        ] {
            assert_eq!(rows(text), expected, "{text}");
            assert_eq!(table(text).unwrap().story_names.unwrap(), ["s", "t"]);
        }
    }

    #[test]
    fn a_lone_quote_is_a_word_in_tsv_and_quotes_quote_in_csv() {
        let words = rows("onset\toffset\tword\n0\t1\t\"\n1\t2\tb\n");
        assert_eq!((words[0].3.as_str(), words.len()), ("\"", 2));
        let words = rows("onset,offset,word\n0,1,\"a, \"\"b\"\"\"\n");
        assert_eq!(words[0].3, "a, \"b\"");
        assert_eq!(table("onset\toffset\tword\n").unwrap().story_names, None);
    }

    #[test]
    fn lines_are_counted_from_one() {
        let words = table("onset,offset,word\n0,1,\"a\nb\"\n\n1,2,c\n").unwrap().words;
        assert_eq!(words.iter().map(|w| w.line).collect::<Vec<_>>(), [2, 5]);
        let words = table("\r\nonset,offset,word\r\n0,1,a\r\n\r\n1,2,c\r\n").unwrap().words;
        assert_eq!(words.iter().map(|w| w.line).collect::<Vec<_>>(), [3, 5]);
        let message = table("onset,offset,word\n\n\n0,1\n").unwrap_err().to_string();
        assert!(message.contains("line 4: 2 cells"), "{message}");
    }

    #[test]
    fn every_fault_names_its_line_and_column() {
        for (text, part) in [
            ("", "empty"),
            ("\n \n", "empty"),
            ("offset,word\n", "no column \"onset\" in the header; it has offset, word"),
            ("onset,word\n", "\"offset\" or \"duration\""),
            ("onset,offset\n", "\"word\" or \"text\""),
            ("onset,offset,word,Word\n", "\"word\" is there twice (columns 3 and 4)"),
            ("onset,offset,word\n0,1,a\n0,1\n", "line 3: 2 cells, expected 3"),
            ("onset,offset,word\n0,x,a\n", "line 2: offset is \"x\""),
            ("onset,offset,word\nnan,1,a\n", "line 2: onset is \"nan\""),
            ("onset,duration,word\n0,inf,a\n", "line 2: duration is \"inf\""),
            ("onset,offset,word\n,1,a\n", "line 2: onset is \"\""),
            ("onset,offset,word\n2,1,a\n", "line 2: word \"a\" ends at 1 s, before its onset at 2"),
            ("onset,duration,word\n2,-1,a\n", "before its onset"),
            ("onset,duration,word\n1e308,1e308,a\n", "before its onset"),
        ] {
            let message = table(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        let message = parse(b"onset,offset,word\n0,1,\xff\n", MAX_BYTES).unwrap_err().to_string();
        assert!(message.contains("line 2: column \"word\" is not UTF-8"), "{message}");
        let wide = "a,".repeat(MAX_COLUMNS + 1);
        assert!(matches!(table(&wide), Err(TableError::TooManyColumns { .. })));
        assert!(matches!(parse(b"onset", 3), Err(TableError::TooLarge { limit: 3 })));
    }

    #[test]
    fn a_read_table_carries_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words.tsv");
        std::fs::write(&path, "a\tb\n").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("words.tsv: no column"), "{error}");
        assert_eq!(error.exit_code(), 3);
        assert!(matches!(read(&dir.path().join("none.tsv")), Err(Error::Read { .. })));
    }

    #[test]
    fn the_labs_words_are_all_read() {
        let Some(path) = crate::io::shared_data::path("ds003020_pcs/words.tsv.gz") else { return };
        let table = read(&path).unwrap();
        assert_eq!(table.words.len(), 185_826);
        assert_eq!(table.story_names.unwrap().len(), 101);
    }
}
