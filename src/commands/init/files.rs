//! The files of a folder, and what `init` makes of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::input;
use crate::io::kinds::{self, FileKind};
use crate::io::matrix_file::is_hdf5;

/// Folders below the given one that are looked into.
const MAX_DEPTH: usize = 6;
/// Entries that are looked at.
const MAX_ENTRIES: usize = 500_000;

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
    /// Whether some data are links that were not fetched.
    pub has_links: bool,
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
    /// Middle of the first TR by story, where it differs.
    pub by_story: Vec<(String, f64)>,
}

/// Files of word vectors.
#[derive(Debug)]
pub struct Vectors {
    /// GloVe text.
    pub glove: Option<PathBuf>,
    /// word2vec, binary.
    pub word2vec: Option<PathBuf>,
    /// HuthLab's english1000sm.hf5.
    pub eng1000: Option<PathBuf>,
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
    /// Name of a table of confounds, `{story}` in it.
    pub confounds: Option<String>,
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
            confounds: None,
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
        let is_eng1000 = |path: &&PathBuf| {
            let name = file_name(path).to_lowercase();
            name.contains("english1000") && is_hdf5(path)
        };
        let eng1000 = files.iter().find(is_eng1000).cloned();
        if glove.is_none() && word2vec.is_none() && eng1000.is_none() {
            let what = "word vectors (glove*, GoogleNews*, word2vec*, *.vec, english1000*.hf5): their \
                        spaces are commented out";
            not_found.push(what.into());
        }
        Self { glove, word2vec, eng1000 }
    }
}

/// Every file of a folder.
pub struct Walked {
    /// Sorted.
    pub files: Vec<PathBuf>,
    /// Links to nothing, and files that only name their data.
    pub n_dangling: usize,
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

/// Every file below a folder; names that begin with a dot are left out.
/// # Errors
/// `Error::Read`; `Error::Values` for a folder of too many files.
pub fn walk(folder: &Path) -> Result<Walked> {
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
