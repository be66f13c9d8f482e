//! What a study reads: every header is opened and every count checked, nothing is computed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::design::tr_times::{FeatureTrs, check_pairing, timing_fault};
use crate::design::trim::Trim;
use crate::error::{Error, Result};
use crate::io::confounds::read_named;
use crate::io::hdf5::has_dataset;
use crate::io::input::read_text;
use crate::io::matrix_file::MatrixFile;
use crate::io::nifti::Mask;
use crate::results::brain;
use crate::stimuli::{StoriesRead, Story, read};
use crate::study::bold::checks::{Expected, check_direction, check_tr};
use crate::study::bold::files::{BoldFinder, BoldSettings};
use crate::study::story_bold::{CleaningRules, StoryBold, check_patterns};
use crate::study::units::{Place, Places, Unit, lay_out};
use crate::study::words::{StoryWords, words_and_scans};
use crate::study_file::{BoldCleaning, FirstTr, ModelVariant, Study};
use crate::warning::Warning;

/// A study's stories and BOLD files, paired.
pub struct Inputs {
    /// Sorted by name; each has words, and BOLD of every subject (of one at least, where subjects
    /// have stories of their own).
    pub stories: Vec<Story>,
    /// What is held out as one: stories, or blocks of them in their order.
    pub units: Vec<Unit>,
    /// In the order of the file.
    pub subjects: Vec<Subject>,
    /// Each story's words, and its scan as the first subject that heard it did.
    pub words: Vec<StoryWords>,
    /// Found on the way.
    pub warnings: Vec<Warning>,
    /// What was guessed, in sentences.
    pub notes: Vec<String>,
}

/// One subject's BOLD.
pub struct Subject {
    /// Name in tables and folders.
    pub name: String,
    /// Stories that it heard.
    pub heard: Vec<usize>,
    /// One open file for each of them.
    pub files: Vec<StoryBold>,
    /// Single measurements of each of them; none for a story heard once.
    pub repeats: Vec<Vec<StoryBold>>,
    /// Where each unit is in the files; none for one that it did not hear.
    pub places: Places,
    /// Columns, the same in every file.
    pub n_voxels: usize,
    /// TRs of each story's features before the trim; 0 of a story that it did not hear.
    pub feature_trs: Vec<FeatureTrs>,
}

impl Subject {
    /// TRs of each unit that are used.
    pub fn n_trs(&self) -> Vec<usize> {
        (0..self.places.len())
            .map(|unit| self.used(unit).iter().map(Range::len).sum::<usize>())
            .collect()
    }

    /// TRs of a unit that are used, counted after the trim of its story.
    pub fn used(&self, unit: usize) -> Vec<Range<usize>> {
        let place = self.places[unit].as_ref();
        place.map_or(Vec::new(), |place| self.files[place.file].used_in(&place.rows))
    }

    /// Where a unit is that the subject has.
    pub fn place(&self, unit: usize) -> &Place {
        self.places[unit].as_ref().expect("a subject's split holds units that it has")
    }

    /// Rows of a unit's used TRs that are not among the first and the last ones of its scan.
    pub fn inner_rows(&self, unit: usize, edges: Trim) -> Range<usize> {
        let Range { start, end } = self.place(unit).rows;
        let used = self.used(unit);
        let n_before = |tr: usize| -> usize {
            used.iter().map(|rows| rows.end.min(tr).saturating_sub(rows.start)).sum()
        };
        let first = n_before(start + edges.head);
        first..n_before(end.saturating_sub(edges.tail)).max(first)
    }

    /// Cleaned BOLD of a unit's used TRs.
    /// # Errors
    /// As [`StoryBold::read`].
    pub fn read(&self, unit: usize, voxels: Range<usize>, out: &mut [f32]) -> Result<()> {
        let place = self.place(unit);
        self.files[place.file].read_in(&place.rows, voxels, out)
    }

    /// Voxels of a unit that will be read soon.
    pub fn expect(&self, unit: usize, voxels: Range<usize>) {
        self.files[self.place(unit).file].expect(voxels);
    }

    /// Whether TRs inside of a story are left out.
    pub fn is_cut(&self) -> bool {
        self.files.iter().any(StoryBold::is_cut)
    }

    /// Whether designs of another subject are this one's too: the same TRs, the same of them used.
    pub fn has_trs_of(&self, other: &Subject) -> bool {
        let mut used = self.files.iter().zip(&other.files);
        self.heard == other.heard
            && self.feature_trs == other.feature_trs
            && used.all(|(a, b)| a.used() == b.used())
    }
}

/// Whether delayed columns are written out: where delays cross stories, and where TRs inside of a
/// story are left out (blocks are cut from it), since the TR before the one that follows is none of
/// the design's rows then.
pub fn writes_delays(study: &Study, subjects: &[Subject]) -> bool {
    study.delays_cross_stories || study.units.by_block || subjects.iter().any(Subject::is_cut)
}

/// Raw TRs that respdict.json counts beyond those of the features.
pub const RESPDICT_EXTRA: usize = 5;

/// Opens everything and checks that it fits together.
///
/// # Errors
/// Exit 3, each with its message: a story without BOLD or BOLD without words (unless
/// `missing = "skip"`), rows that do not pair, voxel counts that differ, files that lie.
pub fn read_inputs(study: &Study) -> Result<Inputs> {
    let StoriesRead { mut stories, mut warnings, mut notes } =
        read(&study.path(&study.stories), &study.words)?;
    stories.sort_by(|a, b| a.name.cmp(&b.name));
    for name in &study.exclude {
        if stories.iter().all(|story| story.name != *name) {
            return Err(Error::Usage {
                place: "[stories], exclude".into(),
                problem: format!("no story is called {name:?}"),
                hint: format!("stories are those of {}", study.stories.display()),
            });
        }
    }
    stories.retain(|story| !study.exclude.contains(&story.name));
    let respdict =
        study.respdict.as_ref().map(|path| read_respdict(&study.path(path))).transpose()?;
    let names: Vec<String> = stories.iter().map(|story| story.name.clone()).collect();
    let (finders, of_masks) = finders(study, &names)?;
    notes.extend(of_masks);
    let heard = drop_unpaired(study, &finders, &mut stories, &mut warnings)?;
    if stories.is_empty() || (stories.len() < 3 && !study.units.by_block) {
        return Err(Error::Values {
            place: study.stories.display().to_string(),
            problem: format!("expected at least 3 stories with BOLD, got {}", stories.len()),
            hint: "two folds to train on and one story to test; with one or two stories set \
                   unit = \"block\" in [split]"
                .into(),
        });
    }
    let open = |((index, finder), heard): ((usize, &BoldFinder<'_>), Vec<usize>)| {
        let all = stories.as_slice();
        let (mut subject, note) =
            open_subject(study, index, finder, (all, heard), respdict.as_ref())?;
        let stories: Vec<&Story> = subject.heard.iter().map(|&story| &all[story]).collect();
        match &study.repeats[index] {
            Some(pattern) if pattern.contains("{story}") => {
                subject.repeats = open_repeats(study, &subject, pattern, finder, &stories)?;
            }
            Some(dataset) => subject.repeats = open_repeat_dataset(&subject, dataset, &stories)?,
            None => {}
        }
        Ok((subject, note))
    };
    let opened = finders.iter().enumerate().zip(heard).map(open).collect::<Result<Vec<_>>>()?;
    let (mut subjects, guessed): (Vec<Subject>, Vec<_>) = opened.into_iter().unzip();
    notes.extend(guessed.into_iter().flatten());
    for (subject, files) in subjects.iter().zip(study.place_files()) {
        brain::check(&files, subject.n_voxels)?;
    }
    let files: Vec<_> = subjects.iter().map(|s| (&s.heard[..], &s.files[..])).collect();
    let (units, places) = lay_out(study, &stories, &files)?;
    subjects.iter_mut().zip(places).for_each(|(subject, places)| subject.places = places);
    notes.extend(short_gap(study));
    let n_trs: Vec<&[FeatureTrs]> = subjects.iter().map(|s| s.feature_trs.as_slice()).collect();
    let (words, doubts) = words_and_scans(study, &stories, &n_trs)?;
    warnings.extend(doubts);
    Ok(Inputs { stories, units, subjects, words, warnings, notes })
}

/// Says that the gap between blocks is shorter than the delays reach.
fn short_gap(study: &Study) -> Option<String> {
    let gap = study.units.gap_trs;
    let is_lagged = study.variants.contains(&ModelVariant::Lagged);
    let longest = study.delays.iter().map(|delay| delay.unsigned_abs()).max();
    let longest = longest.filter(|&n| study.units.by_block && is_lagged && n > gap as u64)?;
    Some(format!(
        "gap_trs = {gap} is shorter than the longest delay, {longest} TRs: words of a block reach \
         the BOLD of the next one"
    ))
}

/// Each subject's files, and notes about their masks.
fn finders<'a>(study: &'a Study, stories: &[String]) -> Result<(Vec<BoldFinder<'a>>, Vec<String>)> {
    let mut notes = Vec::new();
    let mut found = Vec::with_capacity(study.bold.len());
    for ((subject, path), files) in study.bold.iter().zip(&study.bold_files) {
        let mask = files.mask.as_ref().map(|path| Mask::read(&study.path(path))).transpose()?;
        if let Some(mask) = mask.as_ref().filter(|mask| mask.n_other() > 0) {
            notes.push(format!(
                "{subject}: {} of the {} voxels of the mask {} are neither 0 nor 1: all that are not \
                 0 are taken",
                mask.n_other(),
                mask.n_voxels(),
                mask.path().display()
            ));
        }
        let settings = BoldSettings {
            place: format!("[bold.{subject}]"),
            path: study.folder.join(path),
            dataset: files.dataset.as_deref(),
            mask: mask.map(Arc::new),
            transpose: files.transpose,
        };
        found.push(BoldFinder::new(settings, stories.to_vec())?);
    }
    Ok((found, notes))
}

/// Stories without BOLD of every subject (of any, where subjects have stories of their own), and
/// BOLD without words: an error, or left out. Hands back which stories each subject heard.
fn drop_unpaired(
    study: &Study,
    finders: &[BoldFinder<'_>],
    stories: &mut Vec<Story>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<Vec<usize>>> {
    let names: BTreeSet<&str> = stories.iter().map(|story| story.name.as_str()).collect();
    let mut without_bold: BTreeSet<String> = BTreeSet::new();
    let mut first_missing: Option<(String, String)> = None;
    let mut without_words: BTreeSet<String> = BTreeSet::new();
    let mut heard: Vec<BTreeSet<String>> = Vec::new();
    for ((subject, _), finder) in study.bold.iter().zip(finders) {
        let mut own = BTreeSet::new();
        for name in &names {
            if finder.has(name, study.skip_missing)? {
                own.insert((*name).to_owned());
            } else {
                without_bold.insert((*name).to_owned());
                first_missing.get_or_insert((subject.clone(), finder.expected(name)));
            }
        }
        if study.units.own && own.is_empty() {
            return Err(Error::Values {
                place: format!("[bold.{subject}]"),
                problem: format!(
                    "expected BOLD of a story that has words, at {}, found none",
                    finder.expected(names.first().copied().unwrap_or_default())
                ),
                hint: "check the path in [bold]".into(),
            });
        }
        let mut found = finder.stories_on_disk()?;
        found.retain(|name| !names.contains(name.as_str()) && !study.exclude.contains(name));
        if finder.is_one_file() && !found.is_empty() {
            // What is no story there (voxels' numbers, masks) has other columns, or is no matrix.
            let a_story = names.iter().find(|name| own.contains(**name));
            let columns = |name: &str| finder.open(name).map(|file| file.n_cols()).ok();
            let wanted = a_story.and_then(|name| columns(name));
            found.retain(|name| wanted.is_some() && columns(name) == wanted);
        }
        without_words.extend(found);
        heard.push(own);
    }
    if study.units.own {
        // Some subject heard it.
        without_bold.retain(|name| heard.iter().all(|own| !own.contains(name)));
        first_missing = without_bold
            .first()
            .and_then(|name| Some(("any subject".into(), finders.first()?.expected(name))));
    }
    if let (Some((subject, path)), false) = (first_missing, study.skip_missing) {
        let n = without_bold.len();
        return Err(Error::Values {
            place: format!("story {:?}", without_bold.first().map_or("", |n| n)),
            problem: format!(
                "expected BOLD of {subject} at {}, found no file ({n} of {} stories have words but no BOLD)",
                path,
                names.len()
            ),
            hint: "check the path in [bold], name the stories in [stories] exclude, or set missing = \"skip\"; stories = \"own\" in [split] fits each subject with the stories it heard".into(),
        });
    }
    if let (Some(name), false) = (without_words.first(), study.skip_missing) {
        return Err(Error::Values {
            place: format!("story {name:?}"),
            problem: format!(
                "has BOLD but no words in {} ({} such stories)",
                study.stories.display(),
                without_words.len()
            ),
            hint: "add its words, name it in [stories] exclude, or set missing = \"skip\"".into(),
        });
    }
    if !without_bold.is_empty() || !without_words.is_empty() {
        stories.retain(|story| !without_bold.contains(&story.name));
        warnings.push(Warning::StoriesSkipped {
            without_bold: without_bold.into_iter().collect(),
            without_words: without_words.into_iter().collect(),
        });
    }
    let indices = |own: &BTreeSet<String>| {
        (0..stories.len()).filter(|&story| own.contains(&stories[story].name)).collect()
    };
    Ok(heard.iter().map(indices).collect())
}

/// Opens a subject's files; a note says what was guessed about them.
fn open_subject(
    study: &Study,
    index: usize,
    finder: &BoldFinder<'_>,
    (all, heard): (&[Story], Vec<usize>),
    respdict: Option<&BTreeMap<String, usize>>,
) -> Result<(Subject, Option<String>)> {
    let name = &study.bold[index].0;
    let stories: Vec<&Story> = heard.iter().map(|&story| &all[story]).collect();
    let cleaning = &study.bold_cleaning[index];
    let (folder, tr_s) = (study.folder.as_path(), study.tr_s);
    let rules = CleaningRules { cleaning, folder, tr_s, finder: Some(finder) };
    let first_trs = first_trs(study, cleaning)?;
    // Rows that the file has beyond those that pair with the features.
    let n_more = cleaning.trim.map_or(0, Trim::n_cut);
    let open = |story: &&Story| finder.open(&story.name);
    let mut opened = stories.iter().map(open).collect::<Result<Vec<_>>>()?;
    let expected = |story: &&Story| {
        let counts = respdict.and_then(|counts| counts.get(&story.name));
        let counts = counts.map(|raw| raw.saturating_sub(RESPDICT_EXTRA));
        let n_trs = story.tr_times_s.as_ref().map(Vec::len).or(counts);
        let n_cut = study.trim.n_cut();
        let n_rows = n_trs.map(|n| n.saturating_sub(n_cut).saturating_add(n_more));
        Ok(Expected::of(story, n_rows, (study.tr_s, first_trs(&story.name)?), n_cut))
    };
    let expected: Vec<Expected> = stories.iter().map(expected).collect::<Result<_>>()?;
    let transpose = study.bold_files[index].transpose;
    let note = check_direction(name, &mut opened, &expected, transpose)?;
    let mut files: Vec<StoryBold> = Vec::with_capacity(stories.len());
    let mut feature_trs = vec![FeatureTrs { n: 0, first_s: 0.0 }; all.len()];
    for ((story, &index), file) in stories.iter().zip(&heard).zip(opened) {
        let path = file.path().to_owned();
        check_tr(&file, story_tr_s(story, study.tr_s), &story.name)?;
        let first = files.first().map_or(file.n_cols(), StoryBold::n_cols);
        if file.n_cols() != first || first == 0 || file.n_rows() == 0 {
            return Err(Error::Shape {
                what: format!("BOLD of {name}, story {:?} ({})", story.name, path.display()),
                expected: format!("(n_trs, {}) as in the subject's other stories", first.max(1)),
                got: format!("({}, {})", file.n_rows(), file.n_cols()),
                hint: "all stories of a subject have the same voxels".into(),
            });
        }
        check_has_values(&file, name, &story.name)?;
        let bold = StoryBold::open(file, (name, &story.name), rules)?;
        let n_trs = match (&story.tr_times_s, respdict) {
            (Some(times), _) => times.len(),
            (None, None) => bold.n_trs().saturating_add(study.trim.n_cut()),
            (None, Some(counts)) => {
                let raw = *counts.get(&story.name).ok_or_else(|| Error::Values {
                    place: format!("story {:?}", story.name),
                    problem: "has no TR count in respdict".into(),
                    hint: "complete the file, or leave respdict out: the BOLD's rows count then"
                        .into(),
                })?;
                raw.saturating_sub(RESPDICT_EXTRA)
            }
        };
        check_pairing(&story.name, n_trs, study.trim, &path, bold.n_trs())?;
        files.push(bold);
        feature_trs[index] = FeatureTrs { n: n_trs, first_s: first_trs(&story.name)? };
    }
    check_patterns(&files, name, cleaning)?;
    let n_voxels = files.first().map_or(0, StoryBold::n_cols);
    let repeats = files.iter().map(|_| Vec::new()).collect();
    let (name, places) = (name.to_owned(), Vec::new());
    Ok((Subject { name, heard, files, repeats, places, n_voxels, feature_trs }, note))
}

/// The repetition time that counts for a story: the spacing of its own TR times, else the design's.
fn story_tr_s(story: &Story, design_s: f64) -> f64 {
    match story.tr_times_s.as_deref() {
        Some(times @ [first, .., last]) => (last - first) / (times.len() - 1) as f64,
        _ => design_s,
    }
}

/// When a story's first TR was.
type FirstTrOf = Box<dyn Fn(&str) -> Result<f64>>;

fn first_trs(study: &Study, cleaning: &BoldCleaning) -> Result<FirstTrOf> {
    let path = match &cleaning.first_tr {
        FirstTr::Table(path) => study.path(path),
        FirstTr::At(first) => return Ok(same_for_all(*first)),
        FirstTr::Design => return Ok(same_for_all(study.first_tr_s)),
    };
    let table = read_named(&path, "story", "first_tr_s")?;
    if let Some(fault) = table.values().find_map(|&first| timing_fault(first, 1.0)) {
        let hint = "first_tr_s is in seconds".into();
        return Err(Error::Values { place: path.display().to_string(), problem: fault, hint });
    }
    Ok(Box::new(move |story| {
        table.get(story).copied().ok_or_else(|| Error::Values {
            place: path.display().to_string(),
            problem: format!("expected a line for story {story:?}, found none"),
            hint: "give every story its first_tr_s".into(),
        })
    }))
}

fn same_for_all(first_s: f64) -> FirstTrOf {
    Box::new(move |_| Ok(first_s))
}

/// The single measurements of every story that has them: repeats 1, 2, … as far as there are files.
fn open_repeats(
    study: &Study,
    subject: &Subject,
    pattern: &str,
    finder: &BoldFinder<'_>,
    stories: &[&Story],
) -> Result<Vec<Vec<StoryBold>>> {
    let mut all: Vec<Vec<StoryBold>> = Vec::with_capacity(stories.len());
    for (story, mean) in stories.iter().zip(&subject.files) {
        let mut files = Vec::new();
        for repeat in 1.. {
            let path =
                study.bold_path(&pattern.replace("{repeat}", &format!("{repeat}")), &story.name);
            if !path.is_file() {
                break;
            }
            let file = finder.open_path(&path, &story.name)?;
            check_repeat(&file, &mean.file, repeat, &story.name)?;
            files.push(mean.repeat(file));
        }
        all.push(files);
    }
    if all.iter().all(|files| files.len() < 2) {
        return Err(Error::Values {
            place: format!("[bold.{}], repeats", subject.name),
            problem: format!(
                "expected 2 or more repeats of a story, found none ({})",
                study.bold_path(&pattern.replace("{repeat}", "1"), &stories[0].name).display()
            ),
            hint: "repeats are counted from 1: STORY.1.npy, STORY.2.npy, …".into(),
        });
    }
    Ok(all)
}

/// The repeats that stand beside each story's mean in its HDF5 file.
fn open_repeat_dataset(
    subject: &Subject,
    dataset: &str,
    stories: &[&Story],
) -> Result<Vec<Vec<StoryBold>>> {
    let mut all: Vec<Vec<StoryBold>> = Vec::with_capacity(stories.len());
    for (story, mean) in stories.iter().zip(&subject.files) {
        let mut files = Vec::new();
        if has_dataset(mean.path(), dataset) {
            files = MatrixFile::open_slabs(mean.path(), dataset)?;
        }
        for (repeat, file) in (1..).zip(&files) {
            check_repeat(file, &mean.file, repeat, &story.name)?;
        }
        all.push(files.into_iter().map(|file| mean.repeat(file)).collect());
    }
    if all.iter().all(|files| files.len() < 2) {
        return Err(Error::Values {
            place: format!("[bold.{}], repeats", subject.name),
            problem: format!("no file has a dataset {dataset:?} of 2 or more repeats"),
            hint: "leave repeats out, or name the dataset (n_repeats, n_trs, n_voxels)".into(),
        });
    }
    Ok(all)
}

fn check_repeat(file: &MatrixFile, mean: &MatrixFile, repeat: usize, story: &str) -> Result<()> {
    if (file.n_rows(), file.n_cols()) == (mean.n_rows(), mean.n_cols()) {
        return Ok(());
    }
    Err(Error::Shape {
        what: format!("repeat {repeat} of story {story:?} ({})", file.path().display()),
        expected: format!("({}, {}) as in path", mean.n_rows(), mean.n_cols()),
        got: format!("({}, {})", file.n_rows(), file.n_cols()),
        hint: "path holds the mean of the repeats: same rows, same voxels".into(),
    })
}

/// Asks that a story's BOLD is not all NaN; a packed file is asked once it is unpacked.
/// # Errors
/// `Error::Values`; those of reading.
pub fn check_has_values(file: &MatrixFile, subject: &str, story: &str) -> Result<()> {
    if file.is_packed() || has_finite_value(file)? {
        return Ok(());
    }
    Err(Error::Values {
        place: format!("story {story:?}"),
        problem: format!(
            "expected BOLD of {subject}, got {} rows of nothing but NaN or infinities in {}",
            file.n_rows(),
            file.path().display()
        ),
        hint: "make the file again, or name the story in [stories] exclude".into(),
    })
}

/// Whether any value is a number; one short read for a file that is as it should be.
fn has_finite_value(file: &MatrixFile) -> Result<bool> {
    const COLUMNS: usize = 256;
    let mut values = vec![0f32; COLUMNS.min(file.n_cols())];
    for row in 0..file.n_rows() {
        for start in (0..file.n_cols()).step_by(COLUMNS) {
            let columns = start..(start + COLUMNS).min(file.n_cols());
            let values = &mut values[..columns.len()];
            file.read_columns(row..row + 1, columns, values)?;
            if values.iter().any(|value| value.is_finite()) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Story → raw TR count.
/// # Errors
/// `Error::Read`; `Error::Values` if it is not a JSON object of whole numbers.
pub fn read_respdict(path: &Path) -> Result<BTreeMap<String, usize>> {
    let text = read_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| Error::Values {
        place: path.display().to_string(),
        problem: format!("expected a JSON object of story names and TR counts, got: {error}"),
        hint: "as ds003020's respdict.json: {\"story\": 256, …}".into(),
    })
}
