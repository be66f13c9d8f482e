//! One file that is no pickle to its entries, by its content.

use std::path::Path;

use super::columns::{self, end_of};
use super::error::StoriesError;
use super::rules::WordRules;
use super::story::TimedWord;
use super::tiers;
use super::units::TimeUnit;
use crate::error::{Error, Result};
use crate::io::kinds::{self, FileKind};
use crate::io::text::{Encoding, decode};
use crate::io::{input, table, textgrid, transcript};

/// The entries of one file.
pub struct FileWords {
    /// Stories of the file; none: it is one.
    pub story_names: Option<Vec<String>>,
    /// In the order of the file.
    pub words: Vec<TimedWord>,
    /// Columns of a table that may tell sections apart; none for other files.
    pub sections: Option<Vec<String>>,
    /// The tier of a TextGrid, and its place where it was taken by that.
    pub tier: Option<(String, Option<&'static str>)>,
    /// Of the text.
    pub encoding: Encoding,
    /// A table without a column of ends or durations.
    pub has_no_ends: bool,
    /// Lines whose end lies before their onset.
    pub wrong_ends: Vec<table::TableError>,
}

/// Reads one file.
/// # Errors
/// As `read::read`.
pub fn file_words(path: &Path, rules: &WordRules) -> Result<FileWords> {
    let foreign = |kind| at(path, StoriesError::Foreign { kind });
    if kinds::is_dangling(path) {
        return Err(foreign(FileKind::AnnexPointer));
    }
    let by_name = kinds::of_name(path);
    // Archives that are opened only to be looked for texts in.
    if let Some(kind @ (FileKind::Npy | FileKind::Excel | FileKind::Document)) = by_name
        && path.is_file()
    {
        return Err(foreign(kind));
    }
    let bytes = table::read_bytes(path, table::MAX_BYTES)?;
    if let Some(kind) = kinds::of_content(&bytes) {
        return Err(foreign(kind));
    }
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).replace('\0', "");
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let extension = input::extension(path);
    let read = if extension == "textgrid" || head.starts_with("File type = \"oo") {
        grid_words(path, &bytes, rules)
    } else if extension == "json" || is_json(head) {
        transcript_words(path, &bytes, rules)
    } else {
        table_words(&bytes, rules).map_err(|source| Error::Table { path: path.to_owned(), source })
    };
    // A file that cannot be read and is called otherwise is what it is called.
    read.map_err(|error| by_name.map_or(error, foreign))
}

/// Whether a file is a table with columns of stories, words and onsets.
pub fn is_table_of_stories(path: &Path) -> bool {
    let bytes = table::read_bytes(path, table::MAX_BYTES).ok();
    let sheet = bytes.and_then(|bytes| table::parse(&bytes, table::MAX_BYTES).ok());
    sheet.is_some_and(|sheet| columns::has_stories(&sheet))
}

fn at(path: &Path, source: StoriesError) -> Error {
    Error::Stories { path: path.to_owned(), source }
}

/// An object, or a list of objects.
fn is_json(head: &str) -> bool {
    let next = |c: char| head.strip_prefix(c).map(|rest| rest.trim_start().chars().next());
    matches!(next('{'), Some(Some('"'))) || matches!(next('['), Some(Some('{')))
}

fn table_words(bytes: &[u8], rules: &WordRules) -> Result<FileWords, table::TableError> {
    let sheet = table::parse(bytes, table::MAX_BYTES)?;
    let found = columns::words(&sheet, rules)?;
    Ok(FileWords {
        story_names: found.story_names,
        words: found.words,
        sections: Some(found.sections),
        tier: None,
        encoding: sheet.encoding,
        has_no_ends: found.has_no_ends,
        wrong_ends: found.wrong_ends,
    })
}

fn grid_words(path: &Path, bytes: &[u8], rules: &WordRules) -> Result<FileWords> {
    let grid = textgrid::parse(bytes)
        .map_err(|source| Error::TextGrid { path: path.to_owned(), source })?;
    let chosen = tiers::choose(&grid.tiers, rules.tier.as_deref())
        .map_err(|source| at(path, StoriesError::Tier(source)))?;
    let tier = &grid.tiers[chosen.index];
    let unit = rules.time_unit.unwrap_or(TimeUnit::SECONDS);
    let word = |interval: &textgrid::Interval| TimedWord {
        story: 0,
        onset_s: Some(unit.to_seconds(interval.start_s)),
        offset_s: unit.to_seconds(interval.end_s),
        // As HuthLab's DataSequence.from_grid does.
        word: interval.text.to_lowercase(),
        line: interval.line,
    };
    let is_entry = |interval: &&textgrid::Interval| !matches!(interval.text.as_str(), "" | "n/a");
    let words: Vec<TimedWord> = tier.intervals.iter().filter(is_entry).map(word).collect();
    if let Some(word) = words.iter().find(|word| !word.offset_s.is_finite()) {
        let (index, end_s) = (word.line, word.offset_s);
        let (onset_s, word) = (word.onset_s.unwrap_or_default(), word.word.clone());
        return Err(at(path, StoriesError::EndBeforeStart { index, word, onset_s, end_s }));
    }
    Ok(FileWords {
        story_names: None,
        words,
        sections: None,
        tier: Some((tier.name.clone(), chosen.by_place)),
        encoding: grid.encoding,
        has_no_ends: false,
        wrong_ends: Vec::new(),
    })
}

fn transcript_words(path: &Path, bytes: &[u8], rules: &WordRules) -> Result<FileWords> {
    let fail = |source| Error::Transcript { path: path.to_owned(), source };
    if bytes.len() as u64 > transcript::MAX_BYTES {
        return Err(fail(transcript::TranscriptError::TooLarge { limit: transcript::MAX_BYTES }));
    }
    let (text, encoding) =
        decode(bytes).map_err(|_| fail(transcript::TranscriptError::Encoding))?;
    let unit = rules.time_unit.unwrap_or(TimeUnit::SECONDS);
    let mut words = Vec::new();
    for (index, spoken) in (1..).zip(transcript::parse(&text).map_err(fail)?) {
        if matches!(spoken.word.as_str(), "" | "n/a") {
            continue;
        }
        let onset_s = spoken.start.map(|start| unit.to_seconds(start));
        let end_s = spoken.end.map(|end| unit.to_seconds(end)).or(onset_s).unwrap_or_default();
        let offset_s = match onset_s {
            None => 0.0,
            Some(onset_s) => end_of(onset_s, end_s).ok_or_else(|| {
                let word = spoken.word.chars().take(40).collect();
                at(path, StoriesError::EndBeforeStart { index, word, onset_s, end_s })
            })?,
        };
        words.push(TimedWord { story: 0, onset_s, offset_s, word: spoken.word, line: index });
    }
    Ok(FileWords {
        story_names: None,
        words,
        sections: None,
        tier: None,
        encoding,
        has_no_ends: false,
        wrong_ends: Vec::new(),
    })
}
