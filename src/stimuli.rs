//! Stories: timed words, from the tables and pickles that people bring.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::io::table::WordTable;
use crate::io::{input, pickle, table, textgrid};
use crate::warning::Warning;

/// HuthLab's transcript marks that are no words, compared without `{}` and in lower case.
///
/// Source: HuthLab/deep-fMRI-dataset: encoding/ridge_utils/dsutils.py: DEFAULT_BAD_WORDS.
const BAD_WORDS: [&str; 8] = ["", "sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp"];

/// Why stories are refused; `Error::Stories` adds the file or folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoriesError {
    /// A folder without a table.
    #[error(
        "the folder holds no .tsv, .csv or .txt tables and no TextGrids (plain or .gz), expected \
         one a story"
    )]
    NoTables,
    /// A file with a header and nothing else.
    #[error("the file holds no stories, expected at least one; check the path")]
    NoStories,
    /// Two files or keys of one name.
    #[error("story \"{story}\" is there twice ({first} and {second}); remove or rename one")]
    DuplicateStory {
        /// The story.
        story: String,
        /// File or key.
        first: String,
        /// File or key.
        second: String,
    },
    /// Nothing but marks and empty words.
    #[error(
        "story \"{story}\" has no words ({n_dropped} entries that are no words); \
         give its words, or leave it out"
    )]
    EmptyStory {
        /// The story.
        story: String,
        /// Entries that were dropped.
        n_dropped: usize,
    },
    /// A name that cannot be part of a file's name.
    #[error(
        "story name \"{story}\" (line or entry {index}) cannot name files: it {problem}; rename it"
    )]
    BadName {
        /// As written.
        story: String,
        /// From 1.
        index: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// Several stories in one file of a folder.
    #[error(
        "{file} has a column story with {n_stories} stories, in a folder each file is one story; \
         give the file's own path, or split it"
    )]
    SeveralStories {
        /// The file's name.
        file: String,
        /// Distinct values in the column.
        n_stories: usize,
    },
    /// Words and their times differ in number.
    #[error("story \"{story}\": {n_words} words but {n_times} data_times; save the story again")]
    Lengths {
        /// The story.
        story: String,
        /// Entries of `data`.
        n_words: usize,
        /// Entries of `data_times`.
        n_times: usize,
    },
    /// A time that is NaN or infinite.
    #[error("story \"{story}\": {field}[{index}] is {value}, expected a finite number of seconds")]
    NotFinite {
        /// The story.
        story: String,
        /// `data_times` or `tr_times`.
        field: &'static str,
        /// From 0.
        index: usize,
        /// NaN or infinity.
        value: f64,
    },
    /// TR times that do not go forward.
    #[error(
        "story \"{story}\": tr_times[{index}] is {value} s after {before} s, expected strictly \
         increasing times; save the story again"
    )]
    TrTimes {
        /// The story.
        story: String,
        /// From 0.
        index: usize,
        /// The time in front.
        before: f64,
        /// This time.
        value: f64,
    },
}

/// One narrated stimulus.
///
/// `words`, `mid_s` and `onset_s` have one entry a word, in the order of their times. Every story
/// has at least one word; all times are finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// Its name, fit to be a file's name.
    pub name: String,
    /// In the order of their onsets (of their middles without onsets); case as written.
    pub words: Vec<String>,
    /// Start of each word; lab pickles have none.
    pub onset_s: Option<Vec<f64>>,
    /// Middle of each word.
    pub mid_s: Vec<f64>,
    /// Middle of each TR, strictly increasing; tables have none.
    pub tr_times_s: Option<Vec<f64>>,
}

/// Reads stories from one table, a lab pickle, a TextGrid, or a folder with one table or TextGrid
/// a story.
///
/// A `.pkl` or `.pickle` (or `.gz` of one) is a pickle, a `.TextGrid` a TextGrid, any other file a
/// table: stories in the order of first appearance, and without a column `story` the file's stem is
/// the story. In a folder the `.tsv` and `.csv` files are read; where there are none the TextGrids,
/// where there are none of those either the `.txt` files; the stem is the story, and stories are sorted by name. Empty words and HuthLab's marks
/// (`BAD_WORDS`) are dropped. Words out of order are sorted stably and give a warning.
/// # Errors
/// `Error::Stories` for what [`StoriesError`] lists, `Error::Table` and `Error::Pickle` for the
/// files' own faults, `Error::Read` if one cannot be read.
pub fn read_stories(path: &Path) -> Result<(Vec<Story>, Vec<Warning>)> {
    let mut warnings = Vec::new();
    let stories = if path.is_dir() {
        read_folder(path, &mut warnings)?
    } else if matches!(input::extension(path).as_str(), "pkl" | "pickle") {
        read_pickle(path, &mut warnings)?
    } else {
        from_table(read_words(path)?, &input::stem(path), &mut warnings).map_err(|e| at(path, e))?
    };
    if stories.is_empty() {
        return Err(at(path, StoriesError::NoStories));
    }
    Ok((stories, warnings))
}

fn at(path: &Path, source: StoriesError) -> Error {
    Error::Stories { path: path.to_owned(), source }
}

fn read_folder(folder: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<Story>> {
    let read_error = |source| Error::Read { path: folder.to_owned(), source };
    let mut tables = Vec::new();
    let mut grids = Vec::new();
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read_error)? {
        let path = entry.map_err(read_error)?.path();
        if path.is_dir() || file_name(&path).starts_with('.') {
            continue;
        }
        match input::extension(&path).as_str() {
            "tsv" | "csv" => tables.push(path),
            "textgrid" => grids.push(path),
            "txt" => texts.push(path),
            _ => {}
        }
    }
    let found = [tables, grids, texts].into_iter().find(|files| !files.is_empty());
    let mut files = found.ok_or_else(|| at(folder, StoriesError::NoTables))?;
    files.sort_by_cached_key(|path| (input::stem(path), path.clone()));
    for pair in files.windows(2) {
        let story = input::stem(&pair[0]);
        if story == input::stem(&pair[1]) {
            let (first, second) = (file_name(&pair[0]), file_name(&pair[1]));
            return Err(at(folder, StoriesError::DuplicateStory { story, first, second }));
        }
    }
    let mut stories = Vec::with_capacity(files.len());
    for path in &files {
        let mut table = read_words(path)?;
        let n_stories = table.story_names.as_ref().map_or(1, Vec::len);
        if n_stories > 1 {
            let file = file_name(path);
            return Err(at(folder, StoriesError::SeveralStories { file, n_stories }));
        }
        table.story_names = None; // in a folder the file's stem is the story
        let read = from_table(table, &input::stem(path), warnings);
        stories.extend(read.map_err(|e| at(path, e))?);
    }
    Ok(stories)
}

fn read_words(path: &Path) -> Result<WordTable> {
    match input::extension(path).as_str() {
        "textgrid" => textgrid::read_words(path),
        _ => table::read(path),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The stories of one table; all of it is `stem` without a story column.
fn from_table(
    table: WordTable,
    stem: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Story>, StoriesError> {
    let names = table.story_names.unwrap_or_else(|| vec![stem.to_owned()]);
    let mut rows_of_story: Vec<Vec<table::TimedWord>> = names.iter().map(|_| Vec::new()).collect();
    for row in table.words {
        rows_of_story[row.story].push(row);
    }
    let mut stories = Vec::with_capacity(names.len());
    for (name, rows) in names.into_iter().zip(rows_of_story) {
        check_name(&name, rows.first().map_or(1, |row| row.line))?;
        let n_rows = rows.len();
        let mut rows: Vec<_> = rows.into_iter().filter(|row| is_word(&row.word)).collect();
        check_not_empty(&name, rows.len(), n_rows)?;
        let onset_s: Vec<f64> = rows.iter().map(|row| row.onset_s).collect();
        if let Some(order) = order_in_time(&name, &onset_s, warnings) {
            rows = order.into_iter().map(|row| rows[row].clone()).collect();
        }
        stories.push(Story {
            onset_s: Some(rows.iter().map(|row| row.onset_s).collect()),
            // Not (a + b) / 2, which could overflow.
            mid_s: rows.iter().map(|row| 0.5 * row.onset_s + 0.5 * row.offset_s).collect(),
            words: rows.into_iter().map(|row| row.word).collect(),
            tr_times_s: None,
            name,
        });
    }
    Ok(stories)
}

fn read_pickle(path: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<Story>> {
    let sequences = pickle::read_data_sequences(path)?;
    let mut seen = HashSet::new();
    let mut stories = Vec::with_capacity(sequences.len());
    for (index, sequence) in sequences.into_iter().enumerate() {
        let index = index as u64 + 1;
        if !seen.insert(sequence.name.clone()) {
            return Err(at(
                path,
                StoriesError::DuplicateStory {
                    story: sequence.name,
                    first: "an earlier key".to_owned(),
                    second: format!("key {index} of the dict"),
                },
            ));
        }
        stories.push(from_sequence(sequence, index, warnings).map_err(|e| at(path, e))?);
    }
    Ok(stories)
}

fn from_sequence(
    sequence: pickle::PickledSequence,
    index: u64,
    warnings: &mut Vec<Warning>,
) -> Result<Story, StoriesError> {
    let pickle::PickledSequence { name, words, data_times_s, tr_times_s } = sequence;
    check_name(&name, index)?;
    let (n_words, n_times) = (words.len(), data_times_s.len());
    if n_words != n_times {
        return Err(StoriesError::Lengths { story: name, n_words, n_times });
    }
    check_finite(&name, "data_times", &data_times_s)?;
    check_finite(&name, "tr_times", &tr_times_s)?;
    if let Some(i) = (1..tr_times_s.len()).find(|&i| tr_times_s[i] <= tr_times_s[i - 1]) {
        let (before, value) = (tr_times_s[i - 1], tr_times_s[i]);
        return Err(StoriesError::TrTimes { story: name, index: i, before, value });
    }
    let mut timed: Vec<(String, f64)> =
        words.into_iter().zip(data_times_s).filter(|(word, _)| is_word(word)).collect();
    check_not_empty(&name, timed.len(), n_words)?;
    let mid_s: Vec<f64> = timed.iter().map(|&(_, mid_s)| mid_s).collect();
    if let Some(order) = order_in_time(&name, &mid_s, warnings) {
        timed = order.into_iter().map(|word| timed[word].clone()).collect();
    }
    let (words, mid_s) = timed.into_iter().unzip();
    let tr_times_s = (!tr_times_s.is_empty()).then_some(tr_times_s);
    Ok(Story { name, words, onset_s: None, mid_s, tr_times_s })
}

/// False for empty words and HuthLab's marks.
fn is_word(word: &str) -> bool {
    let bare = word.trim().trim_matches(['{', '}']).trim().to_lowercase();
    !BAD_WORDS.contains(&bare.as_str())
}

fn check_not_empty(story: &str, n_words: usize, n_entries: usize) -> Result<(), StoriesError> {
    if n_words > 0 {
        return Ok(());
    }
    Err(StoriesError::EmptyStory { story: story.to_owned(), n_dropped: n_entries })
}

fn check_finite(story: &str, field: &'static str, times: &[f64]) -> Result<(), StoriesError> {
    match times.iter().position(|time| !time.is_finite()) {
        None => Ok(()),
        Some(index) => {
            let (story, value) = (story.to_owned(), times[index]);
            Err(StoriesError::NotFinite { story, field, index, value })
        }
    }
}

/// Stories name files of the output and fill `{story}` in paths.
fn check_name(story: &str, index: u64) -> Result<(), StoriesError> {
    check_story_name(story).map_err(|problem| {
        let story = story.chars().take(60).collect();
        StoriesError::BadName { story, index, problem }
    })
}

/// Whether a story can have this name; what is wrong with it.
/// # Errors
/// A predicate, such as "is empty".
pub fn check_story_name(story: &str) -> Result<(), &'static str> {
    if story.is_empty() {
        Err("is empty")
    } else if story == "." || story == ".." {
        Err("means a folder")
    } else if story.contains(['/', '\\']) {
        Err("holds a slash")
    } else if story.chars().any(char::is_control) {
        Err("holds a control character")
    } else if story.len() > 200 {
        Err("is over 200 bytes long")
    } else {
        Ok(())
    }
}

/// The stable order of the words in time, with a warning, or `None` if they are in order.
fn order_in_time(story: &str, times: &[f64], warnings: &mut Vec<Warning>) -> Option<Vec<usize>> {
    let n_out_of_order = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    if n_out_of_order == 0 {
        return None;
    }
    warnings.push(Warning::UnsortedWords { story: story.to_owned(), n_out_of_order });
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&a, &b| times[a].total_cmp(&times[b]));
    Some(order)
}

#[cfg(test)]
mod tests;
