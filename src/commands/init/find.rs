//! Walks a folder: words, BOLD by subject, counts, vectors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Dataset;
use super::bids::find_bids;
use super::files::{Files, SubjectFiles, Vectors, Words, file_name, walk};
use crate::error::{Error, Result};
use crate::io::hdf5::has_dataset;
use crate::io::input;
use crate::io::matrix_file::{MatrixFile, Which, is_hdf5};
use crate::stimuli::is_table_of_stories;

/// Measurements of a repeated story, in ds003020's HDF5 files.
pub const REPEATS: &str = "individual_repeats";

/// Looks for everything a study of this kind of dataset needs.
/// # Errors
/// `Error::Read` for a folder that cannot be read; `Error::Values` without words or BOLD.
pub fn find_files(dataset: Dataset, folder: &Path, named: &[String]) -> Result<Files> {
    let walked = walk(folder)?;
    let mut not_found = Vec::new();
    if walked.n_dangling > 0 {
        not_found.push(format!(
            "{} files are links or pointers to data that are not here (git-annex, DataLad, git-lfs): \
             get them with `datalad get` or `git lfs pull` first",
            walked.n_dangling
        ));
    }
    let words = match dataset {
        Dataset::Bids => return find_bids(folder, &walked, not_found),
        Dataset::Ds003020 => textgrids(&walked.files),
        Dataset::Lab => lab_words(folder, &walked.files)?,
    };
    let has_links = walked.n_dangling > 0;
    let links: Option<String> = not_found.first().cloned();
    let missing = |what: &str, hint: &str| {
        let links = links.as_ref().map_or(String::new(), |links| format!(" ({links})"));
        Error::Values {
            place: folder.display().to_string(),
            problem: format!("found no {what}{links}"),
            hint: hint.into(),
        }
    };
    let words = words.ok_or_else(|| match dataset {
        Dataset::Ds003020 => missing("TextGrids", "they are in derivative/TextGrids"),
        Dataset::Lab | Dataset::Bids => missing(
            "raw_text.pkl, no words.tsv and no one table of words and onsets",
            "give the folder that holds it and the subjects' folders",
        ),
    })?;
    let mut subjects = subjects(dataset, &walked.files);
    let others = keep_subjects(&mut subjects, named);
    if subjects.is_empty() && !others.is_empty() {
        let names: Vec<String> = others.into_iter().map(|other| other.0).collect();
        return Err(missing(
            &format!("folder that is called as a subject (there are {})", named_of(&names)),
            "subjects are called sub-*, subject*, S1, UTS*; name others: --subject NAME",
        ));
    }
    // A mask or word vectors among other files make no subject.
    let others: Vec<String> = others.into_iter().filter(|(_, n)| *n > 1).map(|o| o.0).collect();
    if !others.is_empty() {
        not_found.push(format!(
            "a subject in {}: subjects are called sub-*, subject*, S1, UTS*, and the files of one have \
             as many columns each; others are named by --subject",
            named_of(&others)
        ));
    }
    if subjects.is_empty() {
        return Err(match dataset {
            Dataset::Ds003020 => missing(
                "folder of .hf5 files",
                "BOLD is in derivative/preprocessed_data/SUBJECT: download one at least",
            ),
            Dataset::Lab | Dataset::Bids => {
                missing("folder of .npy files", "BOLD is in subject2/ and subject3/: copy it there")
            }
        });
    }
    let is_respdict = |path: &&PathBuf| file_name(path).to_lowercase() == "respdict.json";
    let respdict = walked.files.iter().find(is_respdict).cloned();
    if dataset == Dataset::Ds003020 && respdict.is_none() {
        let what = "respdict.json: TRs are counted from the rows of the BOLD and the trim";
        not_found.push(what.into());
    }
    let vectors = Vectors::find(&walked.files, &mut not_found);
    let words = Words::There(words);
    Ok(Files { words, respdict, subjects, timing: None, vectors, not_found, has_links })
}

/// The folder with most TextGrids.
fn textgrids(files: &[PathBuf]) -> Option<PathBuf> {
    let mut n_of_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for path in files.iter().filter(|path| input::extension(path) == "textgrid") {
        *n_of_folder.entry(path.parent()?).or_default() += 1;
    }
    n_of_folder.into_iter().max_by_key(|&(_, n)| n).map(|(folder, _)| folder.to_owned())
}

/// raw_text.pkl, else words.tsv, else the only table of words and onsets, else the only pickle.
fn lab_words(folder: &Path, files: &[PathBuf]) -> Result<Option<PathBuf>> {
    let named = |wanted: &[&str]| {
        let is_it = |path: &&PathBuf| wanted.contains(&file_name(path).to_lowercase().as_str());
        files.iter().find(is_it).cloned()
    };
    if let Some(path) = named(&["raw_text.pkl", "raw_text.pickle", "raw_text.pkl.gz"]) {
        return Ok(Some(path));
    }
    if let Some(path) = named(&["words.tsv", "words.tsv.gz", "words.csv", "words.csv.gz"]) {
        return Ok(Some(path));
    }
    let tables: Vec<&PathBuf> = files.iter().filter(|path| is_word_table(path)).collect();
    match tables[..] {
        [] => {}
        [only] => return Ok(Some(only.clone())),
        [first, second, ..] => {
            return Err(Error::Values {
                place: folder.display().to_string(),
                problem: format!(
                    "found {} tables of words, among them {} and {}",
                    tables.len(),
                    first.display(),
                    second.display()
                ),
                hint: "name the one with all words words.tsv".into(),
            });
        }
    }
    let is_pickle = |path: &&PathBuf| matches!(input::extension(path).as_str(), "pkl" | "pickle");
    let pickles: Vec<&PathBuf> = files.iter().filter(is_pickle).collect();
    match pickles[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        _ => Err(Error::Values {
            place: folder.display().to_string(),
            problem: format!("found {} pickles and no raw_text.pkl", pickles.len()),
            hint: "name the one with the words raw_text.pkl".into(),
        }),
    }
}

/// A table whose header names stories, words and onsets.
fn is_word_table(path: &Path) -> bool {
    matches!(input::extension(path).as_str(), "tsv" | "csv") && is_table_of_stories(path)
}

/// Folders with a file a story: HDF5 for ds003020, `.npy` for the lab.
fn subjects(dataset: Dataset, files: &[PathBuf]) -> Vec<SubjectFiles> {
    let is_bold = |path: &&PathBuf| match dataset {
        Dataset::Ds003020 => is_hdf5(path),
        Dataset::Lab | Dataset::Bids => path.extension().is_some_and(|e| e == "npy"),
    };
    let mut of_folder: BTreeMap<(PathBuf, String), SubjectFiles> = BTreeMap::new();
    for path in files.iter().filter(is_bold) {
        let (Some(folder), Some(extension)) = (path.parent(), path.extension()) else {
            continue;
        };
        let extension = format!(".{}", extension.to_string_lossy());
        let subject =
            of_folder.entry((folder.to_owned(), extension.clone())).or_insert_with(|| {
                let found = SubjectFiles::new(file_name(folder), folder.to_owned());
                SubjectFiles { after: extension, ..found }
            });
        let story = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if is_hdf5(path) && has_dataset(path, REPEATS) {
            subject.repeated.push(story.clone());
        }
        subject.stories.insert(story);
    }
    of_folder.into_values().collect()
}

/// Keeps folders that are subjects by their names, or that are `named`, and whose files have as many
/// columns each. Hands back the others' names and how many files they have.
fn keep_subjects(subjects: &mut Vec<SubjectFiles>, named: &[String]) -> Vec<(String, usize)> {
    let mut others = Vec::new();
    subjects.retain(|subject| {
        let is_named = named.contains(&subject.name);
        let is_one = match named.is_empty() {
            true => looks_like_a_subject(&subject.name) && has_equal_columns(subject),
            false => is_named,
        };
        if !is_one {
            others.push((subject.name.clone(), subject.stories.len()));
        }
        is_one
    });
    others.sort();
    others.dedup_by(|a, b| a.0 == b.0);
    others
}

fn named_of(names: &[String]) -> String {
    crate::warning::named(names)
}

/// `sub-*`, `subject*`, `S` and a number, `UTS*`, in any case.
fn looks_like_a_subject(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    name.starts_with("sub-")
        || name.starts_with("subject")
        || name.starts_with("uts")
        || name.strip_prefix('s').is_some_and(is_number)
}

/// Whether the headers of a subject's files say one number of columns; files that cannot be read are
/// left to `check`.
fn has_equal_columns(subject: &SubjectFiles) -> bool {
    let columns = |story: &String| {
        let path = subject.folder.join(subject.pattern().replace("{story}", story));
        MatrixFile::open(&path, &Which { may_repeat: true, ..Which::default() })
            .ok()
            .map(|file| file.n_cols())
    };
    let mut found: Vec<usize> = subject.stories.iter().filter_map(columns).collect();
    found.sort_unstable();
    // A stray file or two does not make a folder of BOLD another one.
    let Some(&middle) = found.get(found.len() / 2) else {
        return true;
    };
    10 * found.iter().filter(|&&n| n == middle).count() >= 9 * found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_subjects_by_their_names() {
        for name in ["sub-01", "subject2", "Subject3", "S1", "s12", "UTS03"] {
            assert!(looks_like_a_subject(name), "{name}");
        }
        for name in ["glove", "embeddings", "results", "s", "stories", "S1_old", "bert"] {
            assert!(!looks_like_a_subject(name), "{name}");
        }
    }
}
