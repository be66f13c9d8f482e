//! What each kind of space makes of the stories.

use std::collections::HashMap;
use std::path::Path;

use super::inputs::Inputs;
use super::named_files::{NamedFile, NamedFiles, read_rows};
use super::word_space::{Moments, RowSource, RowsAt, WordSpace};
use crate::error::{Error, Result};
use crate::features::bow::Vocabulary;
use crate::features::column::column_rows;
use crate::features::coverage::CoverageCounts;
use crate::features::file::rows_of_words;
use crate::features::static_vectors::{VectorFormat, look_up, wanted_words};
use crate::features::word_length::word_length;
use crate::features::word_rate::word_rate;
use crate::features::{phones, position};
use crate::io::input::read_text;
use crate::io::matrix_file::OpenedFiles;
use crate::io::row_file::RowFile;
use crate::io::word_vectors;
use crate::matrix::Rows;
use crate::stimuli::spelling::Form;
use crate::stimuli::{Phones, Story, read_numbers, read_phones};
use crate::study_file::{FileRows, FileSpace, PhoneColumns, PhoneSpace, SpaceKind, Study};
use crate::warning::{Warning, named};

/// Words per TR.
pub fn rate_space(stories: &[Story]) -> WordSpace {
    let rows = stories.iter().map(|story| word_rate(story.words.len())).collect();
    WordSpace::new(1, RowSource::Stored(rows))
}

/// Letters of the word.
pub fn length_space(stories: &[Story]) -> WordSpace {
    let rows = stories.iter().map(|story| word_length(&story.words)).collect();
    WordSpace::new(1, RowSource::Stored(rows))
}

/// Where in the story a TR lies.
pub fn position_space() -> WordSpace {
    WordSpace {
        at: RowsAt::Trs,
        names: Some(position::names()),
        ..WordSpace::new(position::N_COLUMNS, RowSource::Position)
    }
}

/// A bag of words over a vocabulary.
pub fn vocabulary_space(vocabulary: &Vocabulary, stories: &[Story]) -> WordSpace {
    let mut counts = CoverageCounts::default();
    for story in stories {
        vocabulary.count(&story.words, &mut counts);
    }
    let rows = stories.iter().map(|s| Rows::Sparse(vocabulary.words_to_rows(&s.words)));
    WordSpace {
        coverage: Some(counts.coverage()),
        names: Some(vocabulary.names().to_vec()),
        ..WordSpace::new(vocabulary.n_features(), RowSource::Stored(rows.collect()))
    }
}

/// Numeric columns of the tables that the stories were read from.
/// # Errors
/// As `read_numbers`.
pub fn column_space(columns: &[String], stories: &[Story]) -> Result<WordSpace> {
    let mut all = Vec::with_capacity(stories.len());
    let mut missing = vec![(0, Vec::new()); columns.len()];
    for (story, values) in stories.iter().zip(read_numbers(stories, columns)?) {
        let (rows, n_missing) = column_rows(&values, columns.len());
        all.push(rows);
        for ((n, names), n_here) in missing.iter_mut().zip(n_missing).filter(|(_, n)| *n > 0) {
            *n += n_here;
            names.push(format!("{}: {n_here}", story.name));
        }
    }
    let lacks = columns.iter().zip(&missing).filter(|(_, (n, _))| *n > 0);
    let note = |(column, (n, names)): (&String, &(usize, Vec<String>))| {
        format!("column {column:?}: {n} words have no number and count as 0 ({})", named(names))
    };
    Ok(WordSpace {
        notes: lacks.map(note).collect(),
        names: Some(columns.to_vec()),
        ..WordSpace::new(columns.len(), RowSource::Stored(all))
    })
}

/// Phones of the TextGrids, at their own times; columns of those of the training stories.
/// # Errors
/// As `read_phones`; `Error::Values` where the training stories have none.
pub fn phone_space(space: &PhoneSpace, stories: &[Story], train: &[usize]) -> Result<WordSpace> {
    let all = phones_of(space, stories)?;
    let vocabulary = phones::vocabulary(train.iter().map(|&story| all[story].labels.as_slice()));
    if vocabulary.is_empty() {
        return Err(Error::Values {
            place: "phones".into(),
            problem: "expected phones in the training stories, got silence alone".into(),
            hint: "name the tier that holds them: phone_tier (--phone-tier)".into(),
        });
    }
    Ok(phone_space_of(space.what, vocabulary, all))
}

/// Phones as columns of a known vocabulary.
/// # Errors
/// As `read_phones`.
pub fn known_phones(
    space: &PhoneSpace,
    vocabulary: Vec<String>,
    stories: &[Story],
) -> Result<WordSpace> {
    Ok(phone_space_of(space.what, vocabulary, phones_of(space, stories)?))
}

fn phones_of(space: &PhoneSpace, stories: &[Story]) -> Result<Vec<Phones>> {
    stories.iter().map(|story| read_phones(story, space.tier.as_deref())).collect()
}

fn phone_space_of(what: PhoneColumns, vocabulary: Vec<String>, all: Vec<Phones>) -> WordSpace {
    let rows = |labels: &[String]| match what {
        PhoneColumns::Rate => word_rate(labels.len()),
        PhoneColumns::Identity => phones::identity(labels, &vocabulary),
    };
    let rows = RowSource::Stored(all.iter().map(|story| rows(&story.labels)).collect());
    let moments = all.into_iter();
    let at = moments.map(|p| Moments { onset_s: Some(p.onset_s), mid_s: p.mid_s }).collect();
    let base = match what {
        PhoneColumns::Rate => WordSpace::new(1, rows),
        PhoneColumns::Identity => {
            let n_columns = vocabulary.len();
            WordSpace { names: Some(vocabulary), ..WordSpace::new(n_columns, rows) }
        }
    };
    WordSpace { at: RowsAt::Times(at), ..base }
}

/// Rows of files that were made elsewhere; the counts of words and of moments are compared, those of
/// TRs are compared by [`WordSpace::check_trs`].
///
/// `scratch`: a folder, made if it is needed, where packed files are unpacked when rows are read.
/// # Errors
/// `Error::Values` for a story without a file; `Error::Shape` for counts and columns that do not fit.
pub fn file_space(
    space: &FileSpace,
    folder: &Path,
    stories: &[Story],
    scratch: &Path,
) -> Result<WordSpace> {
    let opened = OpenedFiles::default();
    let mut files: Vec<NamedFile> = Vec::with_capacity(stories.len());
    let mut moments = Vec::new();
    for story in stories {
        let in_story = |error: Error| error.in_story(&story.name);
        let file = open_file(space, folder, story, &opened).map_err(in_story)?;
        if let Some(first) = files.first().filter(|first| first.n_cols != file.n_cols) {
            return Err(in_story(Error::Shape {
                what: format!("columns of {}", file.path.display()),
                expected: format!("{} as in {}", first.n_cols, first.path.display()),
                got: file.n_cols.to_string(),
                hint: "all stories of a space have the same columns".into(),
            }));
        }
        if let FileRows::Times(times) = &space.rows {
            let path = folder.join(times.replace("{story}", &story.name));
            let times =
                read_rows(&path, file.dataset.as_deref(), &opened, scratch).map_err(in_story)?;
            if times.len() != file.n_rows {
                return Err(in_story(Error::Shape {
                    what: format!("rows of {}", file.path.display()),
                    expected: format!("{} (the times in {})", times.len(), path.display()),
                    got: file.n_rows.to_string(),
                    hint: "give the seconds of each row".into(),
                }));
            }
            moments.push(Moments { onset_s: None, mid_s: times.into_iter().collect() });
        }
        files.push(file);
    }
    let n_features = files.first().map_or(0, |file| file.n_cols);
    let names = space.names.as_ref().map(|names| column_names(&folder.join(names), n_features));
    let files = NamedFiles { files, opened, scratch: scratch.to_owned() };
    Ok(WordSpace {
        at: match space.rows {
            FileRows::Words => RowsAt::Words,
            FileRows::Trs => RowsAt::Trs,
            FileRows::Times(_) => RowsAt::Times(moments),
        },
        names: names.transpose()?,
        ..WordSpace::new(n_features, RowSource::Named(files))
    })
}

fn open_file(
    space: &FileSpace,
    folder: &Path,
    story: &Story,
    opened: &OpenedFiles,
) -> Result<NamedFile> {
    let fill = |text: &String| text.replace("{story}", &story.name);
    let (path, dataset) = (folder.join(fill(&space.path)), space.dataset.as_ref().map(fill));
    if path.symlink_metadata().is_err() {
        return Err(Error::Values {
            place: space.path.clone(),
            problem: format!("expected its rows at {}, found nothing", path.display()),
            hint: "check path of the space; {story} stands for the story's name".into(),
        });
    }
    let file = RowFile::open(&path, dataset.as_deref(), opened)?;
    let (n_rows, n_cols) = (file.n_rows, file.n_cols);
    if n_rows == 0 || n_cols == 0 {
        return Err(Error::Shape {
            what: path.display().to_string(),
            expected: "(rows, columns)".into(),
            got: format!("({n_rows}, {n_cols})"),
            hint: "write a matrix with a row per word, TR or moment".into(),
        });
    }
    let of_words =
        match space.rows {
            FileRows::Words => Some(rows_of_words(n_rows, story).ok_or_else(|| {
                Error::Shape {
                what: format!("rows of {}", path.display()),
                expected: format!(
                    "{} (words) or {} (with the marks and the words without times)",
                    story.words.len(),
                    story.source.n_entries
                ),
                got: n_rows.to_string(),
                hint: "give a row per word, or say what rows are: rows = \"trs\", rows = \"times\""
                    .into(),
            }
            })?),
            FileRows::Trs | FileRows::Times(_) => None,
        };
    Ok(NamedFile { path, dataset, n_rows, n_cols, of_words })
}

/// One name a line.
fn column_names(path: &Path, n_columns: usize) -> Result<Vec<String>> {
    let text = read_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    match names.len() == n_columns {
        true => Ok(names),
        false => Err(Error::Shape {
            what: format!("lines of {}", path.display()),
            expected: format!("{n_columns}, one per column"),
            got: names.len().to_string(),
            hint: "write the name of each column on a line of its own".into(),
        }),
    }
}

/// Opens what spaces read of files that were made elsewhere, of tables and of TextGrids, and compares
/// all counts; hands back notes.
/// # Errors
/// As [`file_space`], [`column_space`], and those of phones; `Error::Shape` for rows of TRs.
pub fn check_spaces(study: &Study, inputs: &Inputs, train: &[usize]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let stories = &inputs.stories;
    for space in &study.spaces {
        let made = match &space.kind {
            SpaceKind::File(file) => {
                file_space(file, &study.folder, stories, &std::env::temp_dir())?
            }
            SpaceKind::Column(columns) => column_space(columns, stories)?,
            SpaceKind::Phones(phones) => phone_space(phones, stories, train)?,
            _ => continue,
        };
        check_trs(study, inputs, &made)?;
        notes.extend(made.notes);
    }
    Ok(notes)
}

/// [`WordSpace::check_trs`] of all stories of all subjects.
/// # Errors
/// As there, with the story's name.
pub fn check_trs(study: &Study, inputs: &Inputs, space: &WordSpace) -> Result<()> {
    for subject in &inputs.subjects {
        for (index, (story, trs)) in inputs.stories.iter().zip(&subject.feature_trs).enumerate() {
            if trs.n == 0 {
                continue; // Not heard.
            }
            let kept = study.trim.kept(trs.n);
            let checked = kept.and_then(|kept| space.check_trs(index, trs.n, &kept));
            checked.map_err(|error| error.in_story(&story.name))?;
        }
    }
    Ok(())
}

/// The words' vectors of a file.
/// # Errors
/// Those of the file; `Error::Values` if it knows none of the words.
pub fn vector_space(path: &Path, format: VectorFormat, stories: &[Story]) -> Result<WordSpace> {
    let wanted = wanted_words(stories.iter().map(|story| story.words.as_slice()), format);
    let file = word_vectors::read(path, None, &|word| wanted.contains(word))?;
    space_of_vectors(path, format, stories, file)
}

/// HuthLab's english1000 vectors, looked up as GloVe's are.
/// # Errors
/// As [`vector_space`].
pub fn eng1000_space(path: &Path, stories: &[Story]) -> Result<WordSpace> {
    let format = VectorFormat::Glove;
    let wanted = wanted_words(stories.iter().map(|story| story.words.as_slice()), format);
    let file = word_vectors::eng1000::read(path, &|word| wanted.contains(word))?;
    space_of_vectors(path, format, stories, file)
}

fn space_of_vectors(
    path: &Path,
    format: VectorFormat,
    stories: &[Story],
    file: word_vectors::WordVectors,
) -> Result<WordSpace> {
    let mut counts = CoverageCounts::default();
    let mut forms: HashMap<&str, Option<Form>> = HashMap::new();
    for story in stories {
        let mut oov: Vec<&String> = Vec::new();
        for word in &story.words {
            let form = *forms
                .entry(word)
                .or_insert_with(|| look_up(word, &file.vectors, format).map(|(form, _)| form));
            match form {
                Some(form) => counts.add_found(form),
                None => oov.push(word),
            }
        }
        counts.add_story(story.words.len(), &oov);
    }
    let coverage = counts.coverage();
    if coverage.n_oov == coverage.n_words {
        return Err(Error::Values {
            place: path.display().to_string(),
            problem: format!(
                "expected vectors of the words heard, found none of {} (the file holds {} words)",
                coverage.n_words, file.n_in_file
            ),
            hint: "check that it is the right file, of the right language and case".into(),
        });
    }
    let warnings = vector_warnings(path, &file);
    Ok(WordSpace {
        coverage: Some(coverage),
        warnings,
        ..WordSpace::new(file.dim, RowSource::Vectors(file.vectors, format))
    })
}

/// What is odd about a file of vectors.
fn vector_warnings(path: &Path, file: &word_vectors::WordVectors) -> Vec<Warning> {
    let name = path.display();
    let mut warnings = Vec::new();
    if let Some(declared) = file.n_declared {
        let n = file.n_in_file;
        let text = format!(
            "{name}: the header counts {declared} vectors, the file holds {n}; if nobody shortened \
             it, download it again"
        );
        warnings.push(Warning::Vectors { text });
    }
    if let Some((line, got)) = file.first_short {
        let text = format!(
            "{name}: line {line} has {got} numbers, the others have {}; {} such lines are left out",
            file.dim, file.n_damaged
        );
        warnings.push(Warning::Vectors { text });
    }
    warnings
}
