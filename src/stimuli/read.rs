//! Files and folders to stories.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::entries::{FileWords, file_words};
use super::error::StoriesError;
use super::marks::{Kind, kind};
use super::restarts;
use super::rules::WordRules;
use super::story::{Source, Story, TimedWord};
use super::units::TimeUnit;
use super::untimed::timed_entries;
use crate::error::{Error, Result};
use crate::io::kinds;
use crate::io::text::Encoding;
use crate::io::{input, pickle};
use crate::warning::{Warning, named};

/// Stories, and what a user should know about how they were read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoriesRead {
    /// In the order of the file, or of their names in a folder.
    pub stories: Vec<Story>,
    /// Doubts.
    pub warnings: Vec<Warning>,
    /// What was guessed, one sentence each.
    pub notes: Vec<String>,
}

/// Reads stories from one table, transcript, lab pickle or TextGrid, or from a folder with one file
/// (or one folder of gentle's) per story.
///
/// What a file is follows from its content; only pickles must be called so. In a table the stories
/// come in the order of first appearance, and without a story column the file's stem is the story.
/// In a folder the TextGrids are read; where there are none the `.tsv` and `.csv` files, then
/// `STORY/align.csv` (or `.json`), then `.json`, then `.txt`; the stem is the story, and stories are
/// sorted by name. Marks are dropped by [`WordRules`]. Words out of order are sorted stably and give
/// a warning.
/// # Errors
/// `Error::Stories` for what [`StoriesError`] lists, those of the formats for the files' own
/// faults, `Error::Read` if one cannot be read.
pub fn read(path: &Path, rules: &WordRules) -> Result<StoriesRead> {
    let mut reader = Reader { rules, warnings: Vec::new(), said: Said::default() };
    let stories = if path.is_dir() {
        reader.folder(path)?
    } else if matches!(input::extension(path).as_str(), "pkl" | "pickle") && path.exists() {
        reader.pickle(path)?
    } else {
        let words = file_words(path, rules)?;
        reader.stories(path, words, &input::stem(path))?
    };
    if stories.is_empty() {
        return Err(at(path, StoriesError::NoStories));
    }
    let Reader { warnings, said, .. } = reader;
    let n_untimed: Vec<(String, usize)> =
        stories.iter().map(|story| (story.name.clone(), story.source.n_untimed)).collect();
    Ok(StoriesRead { notes: said.notes(&n_untimed), stories, warnings })
}

/// [`read`] under the default rules, without its notes.
/// # Errors
/// As [`read`].
pub fn read_stories(path: &Path) -> Result<(Vec<Story>, Vec<Warning>)> {
    read(path, &WordRules::default()).map(|read| (read.stories, read.warnings))
}

fn at(path: &Path, source: StoriesError) -> Error {
    Error::Stories { path: path.to_owned(), source }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What was guessed in the files of one reading.
#[derive(Default)]
struct Said {
    /// Tiers taken by their place, and how many grids have them.
    tiers: BTreeMap<(String, &'static str), usize>,
    /// Files that are not UTF-8.
    windows: Vec<String>,
    /// Tables without ends of words.
    no_ends: Vec<String>,
    /// Sentences about a folder.
    folder: Vec<String>,
    /// Sentences about single lines.
    slips: Vec<String>,
}

impl Said {
    fn notes(self, n_untimed: &[(String, usize)]) -> Vec<String> {
        let mut notes = self.folder;
        notes.extend(self.slips);
        for ((tier, place), n) in self.tiers {
            notes.push(format!(
                "{n} TextGrids: words are taken from tier {tier:?}, the {place}; set tier (--tier) \
                 if they are in another one"
            ));
        }
        if !self.windows.is_empty() {
            notes.push(format!(
                "not UTF-8, read as Windows-1252: {}; save them as UTF-8 if letters look wrong",
                named(&self.windows)
            ));
        }
        if !self.no_ends.is_empty() {
            notes.push(format!(
                "no column of ends or durations: each word counts at its onset ({})",
                named(&self.no_ends)
            ));
        }
        let without: Vec<&(String, usize)> = n_untimed.iter().filter(|(_, n)| *n > 0).collect();
        if !without.is_empty() {
            let total: usize = without.iter().map(|(_, n)| n).sum();
            let stories: Vec<String> =
                without.iter().map(|(story, n)| format!("{story}: {n}")).collect();
            notes.push(format!(
                "{total} words have no times in their files ({}); untimed (--untimed) says what \
                 becomes of them",
                named(&stories)
            ));
        }
        notes
    }
}

struct Reader<'a> {
    rules: &'a WordRules,
    warnings: Vec<Warning>,
    said: Said,
}

/// Files of a folder, by kind.
#[derive(Default)]
struct Folder {
    grids: Vec<PathBuf>,
    tables: Vec<PathBuf>,
    /// `STORY/align.csv` or `STORY/align.json`.
    aligned: Vec<PathBuf>,
    transcripts: Vec<PathBuf>,
    texts: Vec<PathBuf>,
    /// Of other kinds, by what they are.
    others: BTreeMap<&'static str, usize>,
}

impl Folder {
    fn read(folder: &Path) -> Result<Self> {
        let read_error = |source| Error::Read { path: folder.to_owned(), source };
        let mut found = Folder::default();
        for entry in std::fs::read_dir(folder).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            if file_name(&path).starts_with('.') {
                continue;
            }
            if path.is_dir() {
                let files = ["align.csv", "align.json"].map(|name| path.join(name));
                found.aligned.extend(
                    files.into_iter().find(|file| file.is_file() || kinds::is_dangling(file)),
                );
                continue;
            }
            match input::extension(&path).as_str() {
                "tsv" | "csv" => found.tables.push(path),
                "textgrid" => found.grids.push(path),
                "json" => found.transcripts.push(path),
                "txt" => found.texts.push(path),
                _ => {
                    if let Some(kind) = kinds::of_name(&path) {
                        *found.others.entry(kind.what()).or_default() += 1;
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The story that a file of a folder is.
fn story_of_file(path: &Path) -> String {
    let is_align = matches!(file_name(path).as_str(), "align.csv" | "align.json");
    match path.parent() {
        Some(folder) if is_align => file_name(folder),
        _ => input::stem(path),
    }
}

impl Reader<'_> {
    fn folder(&mut self, folder: &Path) -> Result<Vec<Story>> {
        let Folder { grids, tables, aligned, transcripts, texts, others } = Folder::read(folder)?;
        if !grids.is_empty() && !tables.is_empty() {
            let mut names: Vec<String> = tables.iter().map(|path| file_name(path)).collect();
            names.sort();
            self.said.folder.push(format!(
                "{}: the {} TextGrids are the stories, tables are passed over ({})",
                folder.display(),
                grids.len(),
                named(&names)
            ));
        }
        // The first file of a folder `align.csv` that lies in it directly is a table as any other.
        let found = [grids, tables, aligned, transcripts, texts];
        let mut files = found.into_iter().find(|files| !files.is_empty()).ok_or_else(|| {
            let found = others.into_iter().map(|(what, n)| format!("{n} × {what}")).collect();
            at(folder, StoriesError::NoTables { found })
        })?;
        let is_nested = |path: &Path| path.parent() != Some(folder);
        let story_of = |path: &Path| match is_nested(path) {
            true => story_of_file(path),
            false => input::stem(path),
        };
        files.sort_by_cached_key(|path| (story_of(path), path.clone()));
        for pair in files.windows(2) {
            let story = story_of(&pair[0]);
            if story == story_of(&pair[1]) {
                let (first, second) = (file_name(&pair[0]), file_name(&pair[1]));
                return Err(at(folder, StoriesError::DuplicateStory { story, first, second }));
            }
        }
        let by_column = self.rules.story_column.is_some();
        let mut stories: Vec<Story> = Vec::with_capacity(files.len());
        for path in &files {
            let mut words = file_words(path, self.rules)?;
            let n_stories = words.story_names.as_ref().map_or(1, Vec::len);
            if n_stories > 1 && !by_column {
                let file = file_name(path);
                return Err(at(folder, StoriesError::SeveralStories { file, n_stories }));
            }
            if !by_column {
                words.story_names = None; // in a folder the file's stem is the story
                words.words.iter_mut().for_each(|word| word.story = 0);
            }
            let more = self.stories(path, words, &story_of(path))?;
            let name = |story: &Story| story.name.clone();
            if let Some(twice) = more.iter().find(|new| stories.iter().any(|s| s.name == new.name))
            {
                let earlier = stories.iter().find(|s| s.name == twice.name);
                let first = earlier.map_or(String::new(), |s| file_name(&s.source.path));
                let (story, second) = (name(twice), file_name(path));
                return Err(at(folder, StoriesError::DuplicateStory { story, first, second }));
            }
            stories.extend(more);
        }
        Ok(stories)
    }

    /// The stories of one file; all of it is `stem` without a story column.
    fn stories(&mut self, path: &Path, words: FileWords, stem: &str) -> Result<Vec<Story>> {
        let FileWords { story_names, words, sections, tier, encoding, has_no_ends, wrong_ends } =
            words;
        for slip in wrong_ends {
            let file = file_name(path);
            self.said.slips.push(format!("{file}: {slip}; its onset is taken as its end"));
        }
        if let Some((name, Some(place))) = &tier {
            *self.said.tiers.entry((name.clone(), *place)).or_default() += 1;
        }
        if encoding == Encoding::Windows1252 {
            self.said.windows.push(file_name(path));
        }
        if has_no_ends {
            self.said.no_ends.push(file_name(path));
        }
        let names = story_names.unwrap_or_else(|| vec![stem.to_owned()]);
        let mut of_story: Vec<Vec<TimedWord>> = names.iter().map(|_| Vec::new()).collect();
        for word in words {
            of_story[word.story].push(word);
        }
        let mut stories = Vec::with_capacity(names.len());
        for (name, entries) in names.into_iter().zip(of_story) {
            let fail = |error| at(path, error);
            check_name(&name, entries.first().map_or(1, |entry| entry.line)).map_err(fail)?;
            if let Some(columns) = &sections {
                check_restarts(&name, &entries, columns).map_err(fail)?;
            }
            let source = Source {
                path: path.to_owned(),
                n_entries: entries.len(),
                tier: tier.as_ref().map(|(tier, _)| tier.clone()),
                is_table: sections.is_some(),
                unit: self.rules.time_unit,
                ..Source::default()
            };
            stories.push(self.story(name, entries, source).map_err(fail)?);
        }
        Ok(stories)
    }

    /// A story of its entries.
    fn story(
        &mut self,
        name: String,
        entries: Vec<TimedWord>,
        mut source: Source,
    ) -> Result<Story, StoriesError> {
        let n_entries = entries.len();
        let is_mark = |entry: &&TimedWord| kind(&entry.word, self.rules) == Kind::Mark;
        for mark in entries.iter().filter(is_mark) {
            *source.marks.entry(mark.word.to_lowercase()).or_default() += 1;
        }
        let (timed, n_untimed) = timed_entries(&name, entries, self.rules)?;
        source.n_untimed = n_untimed;
        let mut words: Vec<(usize, f64, TimedWord)> = Vec::with_capacity(timed.len());
        for (place, entry) in timed {
            match (kind(&entry.word, self.rules), entry.onset_s) {
                (Kind::Word, Some(onset_s)) => words.push((place, onset_s, entry)),
                _ => continue,
            }
        }
        check_not_empty(&name, words.len(), n_entries)?;
        self.warn_of_sentences(&name, words.iter().map(|(_, _, entry)| entry.word.as_str()));
        let onset_s: Vec<f64> = words.iter().map(|&(_, onset_s, _)| onset_s).collect();
        if self.warn_of_order(&name, &onset_s) {
            words.sort_by(|a, b| a.1.total_cmp(&b.1));
        }
        source.entries = words.iter().map(|&(place, _, _)| place).collect();
        source.lines = words.iter().map(|(_, _, entry)| entry.line).collect();
        Ok(Story {
            onset_s: Some(words.iter().map(|&(_, onset_s, _)| onset_s).collect()),
            // Not (a + b) / 2, which could overflow.
            mid_s: words.iter().map(|(_, onset_s, w)| 0.5 * onset_s + 0.5 * w.offset_s).collect(),
            words: words.into_iter().map(|(_, _, entry)| entry.word).collect(),
            tr_times_s: None,
            source,
            name,
        })
    }

    fn pickle(&mut self, path: &Path) -> Result<Vec<Story>> {
        let sequences = pickle::read_data_sequences(path)?;
        let mut seen = HashSet::new();
        let mut stories = Vec::with_capacity(sequences.len());
        for (index, sequence) in (1..).zip(sequences) {
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
            let mut story = self.sequence(sequence, index).map_err(|error| at(path, error))?;
            story.source.path = path.to_owned();
            stories.push(story);
        }
        Ok(stories)
    }

    /// A story of a pickle's DataSequence.
    pub(super) fn sequence(
        &mut self,
        sequence: pickle::PickledSequence,
        index: u64,
    ) -> Result<Story, StoriesError> {
        let pickle::PickledSequence { name, words, data_times_s, tr_times_s } = sequence;
        check_name(&name, index)?;
        let (n_words, n_times) = (words.len(), data_times_s.len());
        if n_words != n_times {
            return Err(StoriesError::Lengths { story: name, n_words, n_times });
        }
        let unit = self.rules.time_unit.unwrap_or(TimeUnit::SECONDS);
        let times: Vec<f64> = data_times_s.into_iter().map(|time| unit.to_seconds(time)).collect();
        check_finite(&name, "data_times", &times)?;
        check_finite(&name, "tr_times", &tr_times_s)?;
        if let Some(i) = (1..tr_times_s.len()).find(|&i| tr_times_s[i] <= tr_times_s[i - 1]) {
            let (before, value) = (tr_times_s[i - 1], tr_times_s[i]);
            return Err(StoriesError::TrTimes { story: name, index: i, before, value });
        }
        let mut source = Source::default();
        let mut timed: Vec<(usize, String, f64)> = Vec::with_capacity(n_words);
        for (word, mid_s) in words.into_iter().zip(times) {
            let what = kind(&word, self.rules);
            if what == Kind::Nothing {
                continue;
            }
            let place = source.n_entries;
            source.n_entries += 1;
            match what {
                Kind::Word => timed.push((place, word, mid_s)),
                _ => *source.marks.entry(word.trim().to_lowercase()).or_default() += 1,
            }
        }
        check_not_empty(&name, timed.len(), n_words)?;
        let mids: Vec<f64> = timed.iter().map(|&(_, _, mid_s)| mid_s).collect();
        if self.warn_of_order(&name, &mids) {
            timed.sort_by(|a, b| a.2.total_cmp(&b.2));
        }
        source.entries = timed.iter().map(|&(place, _, _)| place).collect();
        source.lines = source.entries.iter().map(|&place| place as u64 + 1).collect();
        let mid_s = timed.iter().map(|&(_, _, mid_s)| mid_s).collect();
        let words = timed.into_iter().map(|(_, word, _)| word).collect();
        let tr_times_s = (!tr_times_s.is_empty()).then_some(tr_times_s);
        Ok(Story { name, words, onset_s: None, mid_s, tr_times_s, source })
    }

    /// Warns of words out of order; whether there are any.
    fn warn_of_order(&mut self, story: &str, times: &[f64]) -> bool {
        let n_out_of_order = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
        if n_out_of_order > 0 {
            let story = story.to_owned();
            self.warnings.push(Warning::UnsortedWords { story, n_out_of_order });
        }
        n_out_of_order > 0
    }

    /// Warns of rows that hold more than a word each.
    fn warn_of_sentences<'w>(&mut self, story: &str, words: impl Iterator<Item = &'w str>) {
        let (mut n, mut n_with_blanks, mut example) = (0usize, 0usize, None);
        for word in words {
            n += 1;
            if word.contains(char::is_whitespace) {
                n_with_blanks += 1;
                example.get_or_insert(word);
            }
        }
        if let (Some(example), true) = (example, n_with_blanks * 5 > n) {
            let text = format!(
                "story {story:?}: {n_with_blanks} of {n} entries hold blanks (the first: {:?}); \
                 each should be one word with its own times",
                example.chars().take(40).collect::<String>()
            );
            self.warnings.push(Warning::Words { text });
        }
    }
}

/// Sections on top of each other.
fn check_restarts(
    story: &str,
    entries: &[TimedWord],
    columns: &[String],
) -> Result<(), StoriesError> {
    let (lines, onset_s): (Vec<u64>, Vec<f64>) =
        entries.iter().filter_map(|entry| Some((entry.line, entry.onset_s?))).unzip();
    let found = restarts::find(&onset_s);
    let Some(first) = found.first() else { return Ok(()) };
    Err(StoriesError::Restarts {
        story: story.to_owned(),
        n_restarts: found.len(),
        line: lines[first.at],
        before_s: first.before_s,
        onset_s: onset_s[first.at],
        columns: columns.to_vec(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::pickle::PickledSequence;

    fn sequence(words: &[&str], data_times_s: &[f64], tr_times_s: &[f64]) -> PickledSequence {
        PickledSequence {
            name: "s".to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            data_times_s: data_times_s.to_vec(),
            tr_times_s: tr_times_s.to_vec(),
        }
    }

    fn read_by(
        sequence: PickledSequence,
        rules: &WordRules,
    ) -> Result<(Story, Vec<Warning>), StoriesError> {
        let mut reader = Reader { rules, warnings: Vec::new(), said: Said::default() };
        let story = reader.sequence(sequence, 1)?;
        Ok((story, reader.warnings))
    }

    #[test]
    fn sequences_become_stories() {
        let rules = WordRules::default();
        let whole = sequence(&["b", "", "a", "{LG}", "{cg}"], &[2., 0., 1., 3., 4.], &[-9., -7.]);
        let (story, warnings) = read_by(whole.clone(), &rules).unwrap();
        assert_eq!(
            (&story.words[..], &story.mid_s[..]),
            (&["a".into(), "b".into()][..], &[1., 2.][..])
        );
        assert_eq!((story.onset_s, story.tr_times_s), (None, Some(vec![-9., -7.])));
        assert_eq!((story.source.n_entries, &story.source.entries[..]), (4, &[1, 0][..]));
        assert_eq!((story.source.n_untimed, warnings.len()), (0, 1));
        let marks: Vec<_> = story.source.marks.into_iter().collect();
        assert_eq!(marks, [("{cg}".to_owned(), 1), ("{lg}".to_owned(), 1)]);
        let (story, _) = read_by(sequence(&["b"], &[2.], &[]), &rules).unwrap();
        assert_eq!(story.tr_times_s, None);
        let rules = WordRules { time_unit: TimeUnit::of_setting("ms"), ..rules };
        assert_eq!(read_by(sequence(&["b"], &[2.], &[]), &rules).unwrap().0.mid_s, [0.002]);
    }

    #[test]
    fn every_fault_of_a_sequence_has_its_message() {
        for (bad, part) in [
            (sequence(&["a"], &[], &[]), "1 words but 0 data_times"),
            (sequence(&["a"], &[f64::NAN], &[]), "data_times[0] is NaN"),
            (sequence(&["a"], &[1.], &[1., f64::INFINITY]), "tr_times[1] is inf"),
            (sequence(&["a"], &[1.], &[1., 3., 3.]), "tr_times[2] is 3 s after 3 s"),
            (sequence(&["", "sp"], &[1., 2.], &[]), "no words (2 entries"),
            (
                PickledSequence { name: "a/b".into(), ..sequence(&["a"], &[1.], &[]) },
                "holds a slash",
            ),
        ] {
            let text = read_by(bad, &WordRules::default()).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
