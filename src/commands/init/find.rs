//! Walks a folder: words, BOLD by subject, counts, vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Dataset;
use super::bids::find_bids;
use crate::error::{Error, Result};
use crate::io::hdf5::has_dataset;
use crate::io::input;
use crate::io::kinds::{self, FileKind};
use crate::io::matrix_file::{MatrixFile, Which, is_hdf5};

/// Folders below the given one that are looked into.
const MAX_DEPTH: usize = 6;
/// Entries that are looked at.
const MAX_ENTRIES: usize = 500_000;
/// Measurements of a repeated story, in ds003020's HDF5 files.
pub const REPEATS: &str = "individual_repeats";

/// What lies in a folder.
#[derive(Debug)]
pub struct Files {
    /// Where the stories' words come from.
    pub words: Words,
    /// Raw TR counts.
    pub respdict: Option<PathBuf>,
    /// Sorted by name.
    pub subjects: Vec<SubjectFiles>,
    /// What the images say about time; none where the dataset's own rule counts.
    pub timing: Option<Timing>,
    /// Files of word vectors.
    pub vectors: Vectors,
    /// Sentences about what is not there.
    pub not_found: Vec<String>,
}

/// Words as they are, or to be written beside STUDY.toml.
#[derive(Debug)]
pub enum Words {
    /// A folder of TextGrids or tables, a pickle or a table.
    There(PathBuf),
    /// The text of a table.
    Made(String),
}

/// Keys of `[design]`.
#[derive(Debug)]
pub struct Timing {
    /// Repetition time.
    pub tr_s: f64,
    /// Middle of the first TR.
    pub first_tr_s: f64,
    /// HEAD:TAIL.
    pub trim: &'static str,
    /// Behind first_tr_s.
    pub note: String,
}

/// Files of word vectors.
#[derive(Debug)]
pub struct Vectors {
    /// GloVe text.
    pub glove: Option<PathBuf>,
    /// word2vec, binary.
    pub word2vec: Option<PathBuf>,
}

/// One folder with a file a story.
#[derive(Debug)]
pub struct SubjectFiles {
    /// Its name, before it is made fit for a key.
    pub name: String,
    /// Of its files.
    pub folder: PathBuf,
    /// File names before the story.
    pub before: String,
    /// And behind it, with the extension and its dot.
    pub after: String,
    /// What stands between.
    pub stories: BTreeSet<String>,
    /// Stories whose file holds its repeats too.
    pub repeated: Vec<String>,
    /// Voxels of images.
    pub mask: Option<PathBuf>,
}

impl SubjectFiles {
    /// A folder without files yet.
    pub fn new(name: String, folder: PathBuf) -> Self {
        Self {
            name,
            folder,
            before: String::new(),
            after: String::new(),
            stories: BTreeSet::new(),
            repeated: Vec::new(),
            mask: None,
        }
    }

    /// Name of a file with `{story}` in it.
    pub fn pattern(&self) -> String {
        format!("{}{{story}}{}", self.before, self.after)
    }
}

impl Vectors {
    /// Files whose names say so.
    pub fn find(files: &[PathBuf], not_found: &mut Vec<String>) -> Self {
        // Names as their sources and gensim-data give them: glove.6B.300d.txt, glove.6B.zip,
        // glove-wiki-gigaword-300.gz; GoogleNews-vectors-negative300.bin.gz,
        // word2vec-google-news-300.gz, crawl-300d-2M.vec.zip, fasttext-wiki-news-subwords-300.gz.
        let is_vectors = |name: &str| {
            [".txt", ".vec", ".bin", ".gz", ".zip"].iter().any(|end| name.ends_with(end))
        };
        let find = |parts: &[&str], not: &str| {
            let is_it = |path: &&PathBuf| {
                let name = file_name(path).to_lowercase();
                is_vectors(&name)
                    && !(name.ends_with(".bin") && name.contains("fasttext"))
                    && !name.contains(not)
                    && parts.iter().any(|part| name.contains(part))
                    // A zip of several files does not say which one is meant.
                    && (!name.ends_with(".zip") || input::open(path).is_ok())
            };
            files.iter().find(is_it).cloned()
        };
        let glove = find(&["glove"], "readme");
        let known = ["word2vec", "googlenews", "fasttext", "crawl-300d", "wiki-news-300d", ".vec"];
        let word2vec = find(&known, "glove");
        if glove.is_none() && word2vec.is_none() {
            let what = "word vectors (glove*, GoogleNews*, word2vec*, *.vec): their spaces are commented \
                        out";
            not_found.push(what.into());
        }
        Self { glove, word2vec }
    }
}

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
            "raw_text.pkl and no words.tsv",
            "give the folder that holds it and the subjects' folders",
        ),
    })?;
    let mut subjects = subjects(dataset, &walked.files);
    let others = keep_subjects(&mut subjects, named);
    if subjects.is_empty() && !others.is_empty() {
        return Err(missing(
            &format!("folder that is called as a subject (there are {})", named_of(&others)),
            "subjects are called sub-*, subject*, S1, UTS*; name others: --subject NAME",
        ));
    }
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
    Ok(Files { words, respdict, subjects, timing: None, vectors, not_found })
}

/// Every file of a folder.
pub struct Walked {
    /// Sorted.
    pub files: Vec<PathBuf>,
    /// Links to nothing, and files that only name their data.
    n_dangling: usize,
}

/// Whether a file stands for data that git-annex or git-lfs did not fetch.
fn is_pointer(path: &Path) -> bool {
    const MAX_BYTES: u64 = 1024;
    if std::fs::metadata(path).is_ok_and(|about| about.len() > MAX_BYTES) {
        return false;
    }
    let kind = input::read_bytes(path).ok().and_then(|bytes| kinds::of_content(&bytes));
    matches!(kind, Some(FileKind::AnnexPointer | FileKind::LfsPointer))
}

fn walk(folder: &Path) -> Result<Walked> {
    let mut walked = Walked { files: Vec::new(), n_dangling: 0 };
    let mut folders = vec![(folder.to_owned(), 0)];
    let mut n_entries = 0;
    while let Some((folder, depth)) = folders.pop() {
        let read_error = |source| Error::Read { path: folder.clone(), source };
        for entry in std::fs::read_dir(&folder).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            n_entries += 1;
            if n_entries > MAX_ENTRIES {
                return Err(Error::Values {
                    place: folder.display().to_string(),
                    problem: format!("looked at {MAX_ENTRIES} files and is not through"),
                    hint: "give the dataset's own folder".into(),
                });
            }
            if file_name(&path).starts_with('.') {
                continue;
            }
            if path.is_file() {
                match is_pointer(&path) {
                    true => walked.n_dangling += 1,
                    false => walked.files.push(path),
                }
            } else if path.is_dir() {
                // Links to folders could lead round in circles.
                if depth < MAX_DEPTH && (depth == 0 || !path.is_symlink()) {
                    folders.push((path, depth + 1));
                }
            } else {
                walked.n_dangling += 1;
            }
        }
    }
    walked.files.sort();
    Ok(walked)
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The folder with most TextGrids.
fn textgrids(files: &[PathBuf]) -> Option<PathBuf> {
    let mut n_of_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for path in files.iter().filter(|path| input::extension(path) == "textgrid") {
        *n_of_folder.entry(path.parent()?).or_default() += 1;
    }
    n_of_folder.into_iter().max_by_key(|&(_, n)| n).map(|(folder, _)| folder.to_owned())
}

/// raw_text.pkl, else a table of words, else the only pickle.
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
/// columns each. Hands back the others' names.
fn keep_subjects(subjects: &mut Vec<SubjectFiles>, named: &[String]) -> Vec<String> {
    let mut others = Vec::new();
    subjects.retain(|subject| {
        let is_named = named.contains(&subject.name);
        let is_one = match named.is_empty() {
            true => looks_like_a_subject(&subject.name) && has_equal_columns(subject),
            false => is_named,
        };
        if !is_one {
            others.push(subject.name.clone());
        }
        is_one
    });
    others.sort();
    others.dedup();
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
