//! Where the BOLD of one subject lies, story by story: files of their own, several side by side, or
//! arrays of one file.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::pattern::{Bindings, found_paths, has_placeholder, matched_steps};
use crate::error::{Error, NpzError, PickleError, Result};
use crate::io::matrix_file::{DATASET, MatrixFile, OpenedFiles, Which, array_names};
use crate::io::nifti::Mask;

/// How hemispheres are called, left first.
const HEMISPHERES: [[&str; 2]; 2] = [["L", "R"], ["lh", "rh"]];

/// What a subject's files are called and how they are read: `[bold.SUBJECT]`, or flags.
#[derive(Debug, Clone)]
pub struct BoldSettings<'a> {
    /// What messages call it: `[bold.SUBJECT]`, or `--bold`.
    pub place: String,
    /// With placeholders.
    pub path: PathBuf,
    /// With placeholders; `None` where nothing was said.
    pub dataset: Option<&'a str>,
    /// Voxels of images.
    pub mask: Option<Arc<Mask>>,
    /// Files are (voxels, TRs).
    pub transpose: bool,
}

/// BOLD that a command is given by flags.
#[derive(Debug, Clone, Default)]
pub struct BoldFlags {
    /// With placeholders, `{subject}` among them.
    pub path: String,
    /// As `dataset` in `[bold.SUBJECT]`.
    pub dataset: Option<String>,
    /// As `mask` there; may hold `{subject}`.
    pub mask: Option<PathBuf>,
    /// As `transpose` there.
    pub transpose: bool,
}

impl BoldFlags {
    /// Whether it says which file, or array, is a story's.
    pub fn has_story(&self) -> bool {
        let dataset = self.dataset.as_deref().unwrap_or_default();
        self.path.contains("{story}") || dataset.contains("{story}")
    }

    /// One subject's files. `flag` is what messages call them.
    /// # Errors
    /// As [`BoldFinder::new`] and [`Mask::read`].
    pub fn finder(
        &self,
        flag: &str,
        subject: &str,
        stories: Vec<String>,
    ) -> Result<BoldFinder<'_>> {
        let of_subject = |path: &str| PathBuf::from(path.replace("{subject}", subject));
        let mask = self.mask.as_ref().map(|path| Mask::read(&of_subject(&path.to_string_lossy())));
        let settings = BoldSettings {
            place: flag.to_owned(),
            path: of_subject(&self.path),
            dataset: self.dataset.as_deref(),
            mask: mask.transpose()?.map(Arc::new),
            transpose: self.transpose,
        };
        BoldFinder::new(settings, stories)
    }
}

/// A subject's files.
pub struct BoldFinder<'a> {
    settings: BoldSettings<'a>,
    opened: OpenedFiles,
    /// Arrays of files that hold several.
    names: Mutex<HashMap<PathBuf, Arc<Vec<String>>>>,
    /// All stories, so that a file of one is not taken for that of another whose name it ends in.
    stories: Vec<String>,
}

/// One array of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: PathBuf,
    dataset: Option<String>,
    bound: Bindings,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.dataset {
            Some(dataset) => write!(f, "{}:{dataset}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

impl<'a> BoldFinder<'a> {
    /// # Errors
    /// `Error::Usage` where neither path nor dataset says where a story is; the arrays of the file
    /// are listed.
    pub fn new(settings: BoldSettings<'a>, stories: Vec<String>) -> Result<BoldFinder<'a>> {
        let finder = BoldFinder {
            settings,
            opened: OpenedFiles::default(),
            names: Mutex::default(),
            stories,
        };
        let has_story = |text: &str| text.contains("{story}");
        let BoldSettings { place, path, dataset, .. } = &finder.settings;
        if has_story(&path.to_string_lossy()) || dataset.is_some_and(has_story) {
            return Ok(finder);
        }
        let what = match (array_names(path, &finder.opened), dataset) {
            (Err(error), _) if path.symlink_metadata().is_ok() => return Err(error),
            (Ok(Some(names)), None) => format!(
                "expected {{story}} in path, or dataset to name each story's array of {}; it holds {}",
                path.display(),
                listed(&names)
            ),
            (_, Some(_)) => "expected {story} in path or in dataset, got it in neither".to_owned(),
            _ => format!("expected a path with {{story}} in it, got {:?}", path.display()),
        };
        Err(Error::Usage {
            place: place.clone(),
            problem: what,
            hint: "write path = \"FOLDER/{story}.npy\", or dataset = \"{story}\"".into(),
        })
    }

    /// Whether all stories are in one file, which may hold other things too.
    pub fn is_one_file(&self) -> bool {
        !self.pattern().contains("{story}")
    }

    fn pattern(&self) -> String {
        self.settings.path.to_string_lossy().into_owned()
    }

    /// Where a story's file is looked for.
    pub fn expected(&self, story: &str) -> String {
        let bound = Bindings::of(story, None);
        let path = bound.fill(&self.pattern());
        match self.settings.dataset {
            Some(dataset) if self.is_one_file() => format!("{path}:{}", bound.fill(dataset)),
            _ => path,
        }
    }

    /// What `{session}` stands for in a story's path or dataset.
    /// # Errors
    /// As [`BoldFinder::has`].
    pub fn session(&self, story: &str) -> Result<Option<String>> {
        let place = self.places(story)?.into_iter().next();
        Ok(place.and_then(|place| place.bound.session))
    }

    /// Whether there is BOLD of a story; with `is_fetched` a link whose data are not there is none.
    /// # Errors
    /// As [`BoldFinder::open`], for several sessions and for files whose arrays cannot be listed.
    pub fn has(&self, story: &str, is_fetched: bool) -> Result<bool> {
        let places = self.places(story)?;
        let is_file = |place: &Place| !is_fetched || place.path.is_file();
        Ok(!places.is_empty() && places.iter().all(is_file))
    }

    /// Every story that there is BOLD of.
    /// # Errors
    /// As [`BoldFinder::has`].
    pub fn stories_on_disk(&self) -> Result<BTreeSet<String>> {
        let mut stories = BTreeSet::new();
        let hemis: Vec<Option<String>> = match self.has_hemi() {
            true => HEMISPHERES.as_flattened().iter().map(|hemi| Some((*hemi).into())).collect(),
            false => vec![None],
        };
        let paths = hemis.into_iter().flat_map(|hemi| {
            found_paths(&self.settings.path, &Bindings { hemi, ..Bindings::default() })
        });
        for (path, bound) in paths {
            let found = match (bound.story.clone(), self.settings.dataset) {
                (None, Some(dataset)) => {
                    let names = self.array_names(&path)?;
                    let of = |name: &String| matched_steps(dataset, name, &bound)?.story;
                    names.iter().filter_map(of).collect()
                }
                (story, _) => story.into_iter().collect::<Vec<_>>(),
            };
            stories.extend(found);
        }
        Ok(stories)
    }

    /// Opens a story's matrix; hemispheres stand side by side, the left one first.
    /// # Errors
    /// `Error::Values` where there is none, or several sessions have it; those of the files;
    /// `Error::Usage` for a file of several arrays of which none was named.
    pub fn open(&self, story: &str) -> Result<MatrixFile> {
        let places = self.places(story)?;
        if places.is_empty() {
            return Err(Error::Values {
                place: format!("story {story:?}"),
                problem: format!("expected its BOLD at {}, found nothing", self.expected(story)),
                hint: format!("check the path in {}", self.settings.place),
            });
        }
        let open = |place: &Place| self.open_place(place);
        let mut files = places.iter().map(open).collect::<Result<Vec<_>>>()?;
        match files.len() {
            1 => Ok(files.remove(0)),
            _ => MatrixFile::side_by_side(files),
        }
    }

    /// Opens a file that the caller has found, as this subject's are.
    /// # Errors
    /// As [`BoldFinder::open`].
    pub fn open_path(&self, path: &Path, story: &str) -> Result<MatrixFile> {
        let bound = Bindings::of(story, None);
        let dataset = self.settings.dataset.map(|dataset| bound.fill(dataset));
        self.open_place(&Place { path: path.to_owned(), dataset, bound })
    }

    fn open_place(&self, place: &Place) -> Result<MatrixFile> {
        let which = Which {
            dataset: place.dataset.as_deref().unwrap_or(DATASET),
            mask: self.settings.mask.as_ref(),
            transpose: self.settings.transpose,
            may_repeat: true,
            opened: Some(&self.opened),
        };
        MatrixFile::open(&place.path, &which).map_err(|error| match (&error, &place.dataset) {
            (Error::Npz { source: NpzError::NoArray { members: names, .. }, .. }, None)
            | (Error::Pickle { source: PickleError::NoArray { keys: names, .. }, .. }, None) => {
                Error::Usage {
                    place: format!("{}, dataset", self.settings.place),
                    problem: format!(
                        "expected the name of an array, got none; {} holds {}",
                        place.path.display(),
                        listed(names)
                    ),
                    hint: "write dataset = \"NAME\"; with {story} in it for one array per story"
                        .into(),
                }
            }
            _ => error,
        })
    }

    fn has_hemi(&self) -> bool {
        let has_hemi = |text: &str| text.contains("{hemi}");
        has_hemi(&self.pattern()) || self.settings.dataset.is_some_and(has_hemi)
    }

    /// The arrays of a story: one, or one per hemisphere; empty where there is none.
    fn places(&self, story: &str) -> Result<Vec<Place>> {
        if !self.has_hemi() {
            return Ok(self.place(story, None)?.into_iter().collect());
        }
        for [left, right] in HEMISPHERES {
            let Some(left) = self.place(story, Some((left, None)))? else { continue };
            let session = left.bound.session.as_deref();
            let Some(right) = self.place(story, Some((right, session)))? else {
                return Err(Error::Values {
                    place: format!("story {story:?}"),
                    problem: format!("has a left hemisphere ({left}), but none called {right}"),
                    hint: "give both hemispheres, or write one of them in place of {hemi}".into(),
                });
            };
            return Ok(vec![left, right]);
        }
        Ok(Vec::new())
    }

    /// The one array of a story (and hemisphere, of a session).
    fn place(&self, story: &str, hemi: Option<(&str, Option<&str>)>) -> Result<Option<Place>> {
        let mut bound = Bindings::of(story, hemi.map(|(hemi, _)| hemi));
        bound.session = hemi.and_then(|(_, session)| session.map(str::to_owned));
        let mut found = Vec::new();
        for (path, bound) in found_paths(&self.settings.path, &bound) {
            if self.is_of_longer(&path.to_string_lossy(), &self.pattern(), story, &bound) {
                continue;
            }
            match self.settings.dataset {
                Some(dataset) if has_placeholder(dataset) => {
                    let names = self.array_names(&path)?;
                    for name in names.iter() {
                        let is_other = self.is_of_longer(name, dataset, story, &bound);
                        if let (Some(bound), false) =
                            (matched_steps(dataset, name, &bound), is_other)
                        {
                            let dataset = Some(name.clone());
                            found.push(Place { path: path.clone(), dataset, bound });
                        }
                    }
                }
                dataset => {
                    found.push(Place { path, dataset: dataset.map(str::to_owned), bound });
                }
            }
        }
        match found.len() {
            0 => Ok(None),
            1 => Ok(Some(found.remove(0))),
            n => {
                let places: Vec<String> = found.iter().map(ToString::to_string).collect();
                Err(Error::Values {
                    place: format!("story {story:?}"),
                    problem: format!("expected one session, got {n}: {}", places.join(", ")),
                    hint: "write the session in place of {session}, or move the others away".into(),
                })
            }
        }
    }

    /// Whether a name belongs to another story, whose own name is longer: `ses-1_my_play` is not
    /// session `ses-1_my` of `play` where there is a story `my_play`.
    fn is_of_longer(&self, name: &str, pattern: &str, story: &str, bound: &Bindings) -> bool {
        let is_free = pattern.contains("{session}") && pattern.contains("{story}");
        is_free
            && self.stories.iter().any(|other| {
                let mut of_other = Bindings::of(other, bound.hemi.as_deref());
                of_other.hemi.clone_from(&bound.hemi);
                other.len() > story.len() && matched_steps(pattern, name, &of_other).is_some()
            })
    }

    fn array_names(&self, path: &Path) -> Result<Arc<Vec<String>>> {
        let mut known = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = known.get(path) {
            return Ok(Arc::clone(names));
        }
        let names = array_names(path, &self.opened)?.ok_or_else(|| Error::Usage {
            place: format!("{}, dataset", self.settings.place),
            problem: format!("{} holds one matrix, and no arrays by name", path.display()),
            hint: "leave dataset out; path = \"FOLDER/{story}.npy\" names a file per story".into(),
        })?;
        let names = Arc::new(names);
        known.insert(path.to_owned(), Arc::clone(&names));
        Ok(names)
    }
}

/// Names in a sentence, the first of many.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "no arrays".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{}, … ({n} in all)", names[..SHOWN].join(", ")),
    }
}
