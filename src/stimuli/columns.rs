//! Which column of a table means what, and its rows as timed words.

use std::collections::HashMap;

use super::rules::WordRules;
use super::story::TimedWord;
use super::units::TimeUnit;
use crate::io::table::{Sheet, SheetRow, TableError};

/// Names of columns, in the order of preference, as [`bare`] makes them.
const WORD: [&str; 5] = ["word", "text", "label", "token", "words"];
const ONSET: [&str; 11] = [
    "onset",
    "start",
    "begin",
    "xmin",
    "tmin",
    "starttime",
    "begintime",
    "onsettime",
    "wordonset",
    "wordstart",
    "wordbegin",
];
const END: [&str; 10] = [
    "offset",
    "end",
    "stop",
    "xmax",
    "tmax",
    "endtime",
    "stoptime",
    "offsettime",
    "wordoffset",
    "wordend",
];
const DURATION: [&str; 3] = ["duration", "dur", "wordduration"];
/// Columns that a table with sections may tell them apart by.
const SECTION: [&str; 4] = ["story", "run", "section", "segment"];

/// An end this much before its onset is a rounding.
const ROUNDING_S: f64 = 1e-3 + 1e-9;

/// One end less than a second before its onset in so many rows is a slip of the aligner; more, or
/// further, are a wrong column.
const MANY_ROWS: usize = 200;
/// See [`MANY_ROWS`].
const SLIP_S: f64 = 1.0;

/// The words of a table, before marks are dropped.
#[derive(Debug)]
pub struct TableWords {
    /// Values of the column that tells stories apart, in order of first appearance.
    pub story_names: Option<Vec<String>>,
    /// Rows that may be words: empty ones, `n/a` and phones are left out.
    pub words: Vec<TimedWord>,
    /// Columns that could be `story_column`, as the header has them.
    pub sections: Vec<String>,
    /// No column gives a word's end.
    pub has_no_ends: bool,
    /// Words whose end lies before their onset, few enough to be slips: they end at their onset.
    pub wrong_ends: Vec<TableError>,
}

/// A column of times and its own unit, if its header names one.
#[derive(Debug, Clone, Copy)]
struct Times {
    column: usize,
    unit: Option<TimeUnit>,
}

#[derive(Debug)]
struct Columns {
    word: usize,
    onset: Times,
    end: Option<Times>,
    duration: Option<Times>,
    story: Option<usize>,
    /// MFA's `Type`: rows of phones stand among the words.
    kind: Option<usize>,
}

/// Reads the words of a table.
///
/// A table without a header is gentle's (word, aligned word, start, end) if its four columns look
/// so.
/// # Errors
/// [`TableError`] with line and column.
pub fn words(sheet: &Sheet, rules: &WordRules) -> Result<TableWords, TableError> {
    let mut rows = sheet.rows();
    let columns = match is_gentle(sheet) {
        true => Columns {
            word: 0,
            onset: Times { column: 2, unit: None },
            end: Some(Times { column: 3, unit: None }),
            duration: None,
            story: None,
            kind: None,
        },
        false => {
            rows.next();
            Header::of(sheet)?.columns(rules)?
        }
    };
    let mut numbers =
        Numbers { is_comma: sheet.is_comma, unit: rules.time_unit, ..Numbers::default() };
    let mut story_names: Vec<String> = Vec::new();
    let mut story_of_name: HashMap<&str, usize> = HashMap::new();
    let (mut words, mut wrong_ends) = (Vec::new(), Vec::new());
    for row in rows {
        let word = row.cell(columns.word);
        let kind = columns.kind.map(|column| row.cell(column).to_lowercase());
        if matches!(word, "" | "n/a") || matches!(kind.as_deref(), Some("phones" | "phone")) {
            continue;
        }
        let (onset_s, offset_s) = match times(&columns, row, word, &mut numbers) {
            Err(slip @ TableError::OffsetBeforeOnset { onset, offset, .. })
                if onset - offset < SLIP_S =>
            {
                wrong_ends.push(slip);
                (Some(onset), onset)
            }
            other => other?,
        };
        let story = match columns.story {
            None => 0,
            Some(column) => *story_of_name.entry(row.cell(column)).or_insert_with(|| {
                story_names.push(row.cell(column).to_owned());
                story_names.len() - 1
            }),
        };
        words.push(TimedWord { story, onset_s, offset_s, word: word.to_owned(), line: row.line() });
    }
    if wrong_ends.len() * MANY_ROWS > words.len() {
        return Err(wrong_ends.remove(0));
    }
    let sections = match sheet.rows().next() {
        Some(header) if columns.story.is_none() => (0..sheet.n_columns())
            .map(|column| header.cell(column))
            .filter(|name| SECTION.contains(&bare(name).0.as_str()))
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    Ok(TableWords {
        story_names: columns.story.map(|_| story_names),
        words,
        sections,
        has_no_ends: columns.end.is_none() && columns.duration.is_none(),
        wrong_ends,
    })
}

/// Whether the header names stories, words and onsets.
pub fn has_stories(sheet: &Sheet) -> bool {
    let columns = Header::of(sheet).and_then(|header| header.columns(&WordRules::default()));
    columns.is_ok_and(|columns| columns.story.is_some())
}

/// Numbers that stand in columns of a table beside its words.
pub struct NumberColumns<'a> {
    rows: HashMap<u64, SheetRow<'a>>,
    columns: Vec<(usize, &'a str, Numbers)>,
}

impl<'a> NumberColumns<'a> {
    /// Finds the columns of these names, in any case.
    /// # Errors
    /// `TableError::MissingColumn`; `TableError::Empty`.
    pub fn find(sheet: &'a Sheet, names: &'a [String]) -> Result<Self, TableError> {
        let header = Header::of(sheet)?;
        let find = |name: &'a String| match header.position(name) {
            Some(column) => {
                let numbers = Numbers { is_comma: sheet.is_comma, ..Numbers::default() };
                Ok((column, name.as_str(), numbers))
            }
            None => Err(header.missing(&format!("{name:?} (columns of the space, --columns)"))),
        };
        let columns = names.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self { rows: sheet.rows().skip(1).map(|row| (row.line(), row)).collect(), columns })
    }

    /// The numbers of the row at a line of the file; `None` where nothing, `n/a`, `NA` or `NaN`
    /// stands.
    /// # Errors
    /// `TableError::Number` for another text.
    pub fn at(&mut self, line: u64) -> Result<Vec<Option<f64>>, TableError> {
        let Some(&row) = self.rows.get(&line) else {
            return Ok(vec![None; self.columns.len()]);
        };
        let number = |(column, name, numbers): &mut (usize, &str, Numbers)| {
            if row.cell(*column).eq_ignore_ascii_case("nan") {
                return Ok(None);
            }
            let times = Times { column: *column, unit: Some(TimeUnit::SECONDS) };
            numbers.seconds(row, times, name)
        };
        self.columns.iter_mut().map(number).collect()
    }
}

/// Onset and end of a row in seconds; without an onset neither counts.
fn times(
    columns: &Columns,
    row: SheetRow<'_>,
    word: &str,
    numbers: &mut Numbers,
) -> Result<(Option<f64>, f64), TableError> {
    let onset_s = numbers.seconds(row, columns.onset, "onset")?;
    let end_s = columns.end.map(|end| numbers.seconds(row, end, "offset")).transpose()?.flatten();
    let duration_s =
        columns.duration.map(|duration| numbers.seconds(row, duration, "duration")).transpose()?;
    let Some(onset_s) = onset_s else { return Ok((None, 0.0)) };
    let end_s = end_s.unwrap_or_else(|| onset_s + duration_s.flatten().unwrap_or(0.0));
    match end_of(onset_s, end_s) {
        Some(end_s) => Ok((Some(onset_s), end_s)),
        None => Err(TableError::OffsetBeforeOnset {
            line: row.line(),
            word: word.chars().take(40).collect(),
            onset: onset_s,
            offset: end_s,
        }),
    }
}

/// The end of a word that begins at `onset_s`: the onset itself if it lies up to 1 ms in front of
/// it, none if it lies further in front or is not finite.
pub fn end_of(onset_s: f64, end_s: f64) -> Option<f64> {
    match end_s.is_finite() && onset_s - end_s <= ROUNDING_S {
        true => Some(end_s.max(onset_s)),
        false => None,
    }
}

/// How numbers are written in this table.
#[derive(Default)]
struct Numbers {
    is_comma: bool,
    /// Of columns without a unit.
    unit: Option<TimeUnit>,
    has_point: bool,
    has_decimal_comma: bool,
}

impl Numbers {
    /// A time in seconds; `None` where nothing, `n/a` or R's `NA` stands.
    fn seconds(
        &mut self,
        row: SheetRow<'_>,
        times: Times,
        name: &str,
    ) -> Result<Option<f64>, TableError> {
        let text = row.cell(times.column);
        if matches!(text, "" | "n/a" | "N/A" | "NA") {
            return Ok(None);
        }
        let got = || text.chars().take(40).collect();
        let (line, column) = (row.line(), name.to_owned());
        let has_comma = !self.is_comma && text.contains(',');
        self.has_point |= text.contains('.');
        self.has_decimal_comma |= has_comma;
        if self.has_decimal_comma && self.has_point {
            return Err(TableError::DecimalComma { line, column, got: got() });
        }
        let number =
            if has_comma { text.replacen(',', ".", 1).parse() } else { text.parse::<f64>() };
        let unit = times.unit.or(self.unit).unwrap_or(TimeUnit::SECONDS);
        match number.map(|number| unit.to_seconds(number)) {
            Ok(seconds) if seconds.is_finite() => Ok(Some(seconds)),
            _ => Err(TableError::Number { line, column, got: got() }),
        }
    }
}

/// A header's name as it is compared: in lower case, without blanks, underscores, points and
/// hyphens, and without brackets at its end; and what stands in these.
fn bare(name: &str) -> (String, Option<String>) {
    let name = name.trim().to_lowercase();
    let brackets = [('(', ')'), ('[', ']')].into_iter().find_map(|(open, close)| {
        let (before, unit) = name.strip_suffix(close)?.rsplit_once(open)?;
        Some((before.to_owned(), unit.trim().to_owned()))
    });
    let (name, unit) = match brackets {
        Some((before, unit)) => (before, Some(unit)),
        None => (name, None),
    };
    let is_kept = |c: &char| !c.is_whitespace() && !matches!(c, '_' | '-' | '.');
    (name.chars().filter(is_kept).collect(), unit)
}

/// `onset_ms`, `start_s`: the name without its last part, if that is a unit.
fn with_unit(name: &str) -> Option<(String, TimeUnit)> {
    let (before, last) = name.trim().rsplit_once(['_', '.', '-', ' '])?;
    let is_unit = matches!(last.to_lowercase().as_str(), "s" | "sec" | "seconds" | "ms" | "msec");
    Some((bare(before).0, TimeUnit::of_name(last).filter(|_| is_unit)?))
}

struct Header<'a> {
    names: Vec<&'a str>,
}

impl<'a> Header<'a> {
    fn of(sheet: &'a Sheet) -> Result<Self, TableError> {
        let header = sheet.rows().next().ok_or(TableError::Empty)?;
        Ok(Header { names: (0..sheet.n_columns()).map(|column| header.cell(column)).collect() })
    }

    fn columns(&self, rules: &WordRules) -> Result<Columns, TableError> {
        let onset = self.times(&ONSET, rules)?.ok_or_else(|| self.missing("onset (or start)"))?;
        let word = self.first(&WORD)?.ok_or_else(|| self.missing("word (or text)"))?;
        let story = match &rules.story_column {
            None => self.first(&["story"])?,
            Some(wanted) => Some(self.wanted(wanted)?),
        };
        Ok(Columns {
            word,
            onset,
            end: self.times(&END, rules)?,
            duration: self.times(&DURATION, rules)?,
            story,
            kind: self.names.iter().position(|name| bare(name).0 == "type"),
        })
    }

    /// The column of the first of these names that is there.
    fn first(&self, names: &[&str]) -> Result<Option<usize>, TableError> {
        for &name in names {
            let mut found = (0..self.names.len()).filter(|&i| bare(self.names[i]).0 == name);
            if let Some(first) = found.next() {
                return match found.next() {
                    None => Ok(Some(first)),
                    Some(second) => {
                        let (first, second) = (first + 1, second + 1);
                        Err(TableError::DuplicateColumn { column: name.to_owned(), first, second })
                    }
                };
            }
        }
        Ok(None)
    }

    fn times(&self, names: &[&str], rules: &WordRules) -> Result<Option<Times>, TableError> {
        if let Some(column) = self.first(names)? {
            let unit = match bare(self.names[column]).1 {
                None => None,
                Some(unit) => match (TimeUnit::of_name(&unit), rules.time_unit) {
                    (Some(unit), _) => Some(unit),
                    (None, Some(set)) => Some(set),
                    (None, None) => {
                        let column = self.names[column].to_owned();
                        return Err(TableError::Unit { column, unit });
                    }
                },
            };
            return Ok(Some(Times { column, unit }));
        }
        let found = |name: &&str| {
            (0..self.names.len()).find_map(|column| {
                let (bare, unit) = with_unit(self.names[column])?;
                (bare == **name).then_some(Times { column, unit: Some(unit) })
            })
        };
        Ok(names.iter().find_map(found))
    }

    /// The column that a study names.
    fn wanted(&self, wanted: &str) -> Result<usize, TableError> {
        self.position(wanted).ok_or_else(|| {
            self.missing(&format!("{wanted:?} ([stories] story_column, --story-column)"))
        })
    }

    /// The column of this name, else of one that differs in case, blanks and the like.
    fn position(&self, wanted: &str) -> Option<usize> {
        let exact = self.names.iter().position(|name| *name == wanted.trim());
        exact.or_else(|| self.names.iter().position(|name| bare(name).0 == bare(wanted).0))
    }

    fn missing(&self, expected: &str) -> TableError {
        let names: Vec<String> = self.names.iter().map(|name| format!("\"{name}\"")).collect();
        let found: String = names.join(", ").chars().take(200).collect();
        TableError::MissingColumn { expected: expected.to_owned(), found }
    }
}

/// Whether the table has no header but gentle's four columns: the last two are times or both empty
/// (not aligned), in all of the first rows, and some of them are times.
fn is_gentle(sheet: &Sheet) -> bool {
    const N_ROWS: usize = 200;
    if sheet.n_columns() != 4 {
        return false;
    }
    let is_time = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
    let mut n_timed = 0;
    for row in sheet.rows().take(N_ROWS) {
        match (is_time(row.cell(2)), is_time(row.cell(3))) {
            (true, true) if !is_time(row.cell(1)) => n_timed += 1,
            (false, false) if row.cell(2).is_empty() && row.cell(3).is_empty() => {}
            _ => return false,
        }
    }
    n_timed > 0
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
