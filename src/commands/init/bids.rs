//! A BIDS derivative: preprocessed images, their masks, and words from stimuli or events.
//!
//! Source of names and columns: BIDS 1.10, "Derivatives: imaging" and "Task events".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::files::{Files, SubjectFiles, Timing, Vectors, Walked, Words, file_name};
use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::io::matrix_file::{MatrixFile, Which};
use crate::io::nifti::NiftiFile;
use crate::io::{input, table};
use crate::stimuli::{StoriesError, Story, WordRules, read};

/// Entities that stand behind task and run, in the order of BIDS.
const AFTER_RUN: [&str; 10] = [
    "_hemi-", "_echo-", "_part-", "_chunk-", "_space-", "_cohort-", "_res-", "_den-", "_label-",
    "_desc-",
];
const MASK: &str = "_desc-brain_mask";

/// Everything of a derivative; `walked`: all files below `folder`.
/// # Errors
/// `Error::Values` without images, a subject's mask, or words; those of tables of events.
pub fn find_bids(folder: &Path, walked: &Walked, mut not_found: Vec<String>) -> Result<Files> {
    let subjects = subjects(folder, &walked.files, &mut not_found)?;
    let stories: BTreeSet<String> =
        subjects.iter().flat_map(|subject| subject.stories.iter().cloned()).collect();
    let sidecars = sidecars(&subjects, &walked.files)?;
    let tr_s = repetition_time(&sidecars, &subjects, &mut not_found)?;
    let events = events(&subjects, &walked.files, &stories);
    let start_s = start_time(&sidecars, &mut not_found);
    let first_tr_s = start_s.unwrap_or(tr_s / 2.0);
    let (note, by_story) = (String::new(), Vec::new());
    let mut timing = Timing { tr_s, first_tr_s, trim: "0:0", note, by_story };
    let words = match stimuli(&walked.files, &stories) {
        Some(words) => {
            timing.of_stimuli(&events, &stories, &mut not_found)?;
            Words::There(words)
        }
        None => {
            let text = words_of_events(&events)?.ok_or_else(|| no_words(folder, &stories))?;
            timing.note = "words are timed from the first volume, as events are".into();
            Words::Made(text)
        }
    };
    let vectors = Vectors::find(&walked.files, &mut not_found);
    Ok(Files {
        words,
        respdict: None,
        subjects,
        timing: Some(timing),
        vectors,
        not_found,
        has_links: walked.n_dangling > 0,
    })
}

fn no_words(folder: &Path, stories: &BTreeSet<String>) -> Error {
    let some: Vec<&str> = stories.iter().take(4).map(String::as_str).collect();
    Error::Values {
        place: folder.display().to_string(),
        problem: format!(
            "found BOLD of {} stories ({}, …) and no words of them",
            stories.len(),
            some.join(", ")
        ),
        hint: "put one table (onset, offset, word) or TextGrid a story into stimuli/, called as \
               the task is: stimuli/TASK.tsv; or give events.tsv a column word"
            .into(),
    }
}

/// `sub-01_task-{story}_space-S_desc-preproc_bold.nii.gz`, cut at the story: what stands between
/// `task-` and the entities behind the run.
fn cut(name: &str) -> Option<(&str, &str, &str)> {
    if is_surface(name) {
        let start = name.find("_task-")? + "_task-".len();
        let ends = AFTER_RUN.iter().chain(&["_bold."]).filter_map(|end| name[start..].find(end));
        let end = ends.min()?;
        return Some((&name[..start], &name[start..start + end], &name[start + end..]));
    }
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".nii")?;
    if !stem.ends_with("_bold") || !stem.contains("_desc-") {
        return None;
    }
    let start = name.find("_task-")? + "_task-".len();
    let end = AFTER_RUN.iter().filter_map(|entity| name[start..].find(entity)).min()?;
    Some((&name[..start], &name[start..start + end], &name[start + end..]))
}

/// GIFTI, a file per hemisphere, or CIFTI.
fn is_surface(name: &str) -> bool {
    name.ends_with(".func.gii") || name.ends_with(".dtseries.nii")
}

/// One group of files a subject: of one folder, space and description.
fn subjects(
    folder: &Path,
    files: &[PathBuf],
    not_found: &mut Vec<String>,
) -> Result<Vec<SubjectFiles>> {
    let mut groups: BTreeMap<(PathBuf, String, String), BTreeSet<String>> = BTreeMap::new();
    for path in files {
        let name = file_name(path);
        let (Some((before, story, after)), Some(parent)) = (cut(&name), path.parent()) else {
            continue;
        };
        // Both hemispheres are one file of the study's.
        let after = after.replace("_hemi-L", "_hemi-{hemi}").replace("_hemi-R", "_hemi-{hemi}");
        let key = (parent.to_owned(), before.to_owned(), after);
        groups.entry(key).or_default().insert(story.to_owned());
    }
    // Volumes before surfaces, cleaned before preprocessed before other descriptions, then the most
    // stories, then the first by name.
    let rank = |after: &str, stories: &BTreeSet<String>| {
        let is_clean = ["_desc-clean", "_desc-denoised"].iter().any(|desc| after.contains(desc));
        let is_preproc = after.contains("_desc-preproc_");
        (!is_surface(after), u8::from(is_preproc) + 2 * u8::from(is_clean), stories.len())
    };
    let mut best: BTreeMap<String, SubjectFiles> = BTreeMap::new();
    let mut n_of_subject: BTreeMap<String, usize> = BTreeMap::new();
    for ((parent, before, after), stories) in groups {
        let name = before.split('_').next().unwrap_or_default().to_owned();
        *n_of_subject.entry(name.clone()).or_default() += stories.len();
        let is_better =
            best.get(&name).is_none_or(|b| rank(&after, &stories) > rank(&b.after, &b.stories));
        if is_better {
            let mask = mask(files, &parent, &before, &after, &stories);
            let confounds = confounds(files, &parent, &before, &after, &stories);
            let own = SubjectFiles::new(name.clone(), parent);
            let found = SubjectFiles { before, after, mask, confounds, ..own };
            best.insert(name, SubjectFiles { stories, ..found });
        }
    }
    if best.is_empty() {
        return Err(no_images(folder, files));
    }
    for (name, subject) in &best {
        let left = n_of_subject[name] - subject.stories.len();
        if left > 0 {
            not_found.push(format!(
                "a place for {left} more images of {name}: a study takes one folder, space and \
                 description per subject, here {}; write {{session}} into path for other sessions",
                subject.folder.join(subject.pattern()).display()
            ));
        }
        if subject.mask.is_none() && !is_surface(&subject.after) {
            return Err(Error::Values {
                place: subject.folder.display().to_string(),
                problem: format!("found no {}*{MASK}.nii.gz", subject.before),
                hint: "a mask in the images' grid says which voxels are fitted: fMRIPrep writes \
                       one beside each image"
                    .into(),
            });
        }
    }
    Ok(best.into_values().collect())
}

fn no_images(folder: &Path, files: &[PathBuf]) -> Error {
    let is = |end: &str| files.iter().any(|path| file_name(path).ends_with(end));
    let what = if is("_bold.nii.gz") || is("_bold.nii") {
        " (there are raw ones, without desc- in their names)"
    } else {
        ""
    };
    Error::Values {
        place: folder.display().to_string(),
        problem: format!("found no sub-*_task-*_desc-preproc_bold.nii.gz{what}"),
        hint: "give the folder of a BIDS derivative with volumes, as fMRIPrep writes them".into(),
    }
}

/// The first story's mask beside the images; else any of the subject in the same space.
fn mask(
    files: &[PathBuf],
    parent: &Path,
    before: &str,
    after: &str,
    stories: &BTreeSet<String>,
) -> Option<PathBuf> {
    let (space, rest) = after.split_once("_desc-")?;
    let extension = &rest[rest.find(".nii")?..];
    let beside = |story: &String| parent.join(format!("{before}{story}{space}{MASK}{extension}"));
    let subject = before.split('_').next()?;
    let is_it = |path: &&PathBuf| {
        let name = file_name(path);
        name.starts_with(subject) && name.contains(&format!("{space}{MASK}.nii"))
    };
    let in_files = |path: &PathBuf| files.binary_search(path).is_ok();
    stories.iter().map(beside).find(in_files).or_else(|| files.iter().find(is_it).cloned())
}

/// Confounds beside images that are not cleaned yet, as fMRIPrep calls them now and did before.
fn confounds(
    files: &[PathBuf],
    parent: &Path,
    before: &str,
    after: &str,
    stories: &BTreeSet<String>,
) -> Option<String> {
    if ["_desc-clean", "_desc-denoised"].iter().any(|desc| after.contains(desc)) {
        return None;
    }
    let ends = ["_desc-confounds_timeseries.tsv", "_desc-confounds_regressors.tsv"];
    let is_there = |end: &&&str| {
        let of_story = |story: &String| parent.join(format!("{before}{story}{end}"));
        stories.iter().all(|story| files.binary_search(&of_story(story)).is_ok())
    };
    ends.iter().find(is_there).map(|end| format!("{before}{{story}}{end}"))
}

#[derive(Deserialize)]
struct Sidecar {
    #[serde(rename = "RepetitionTime")]
    repetition_time: Option<f64>,
    #[serde(rename = "StartTime")]
    start_time: Option<f64>,
}

/// The JSON files of the images that the study reads, and of no others: a run at rest may have another
/// repetition time.
fn sidecars(subjects: &[SubjectFiles], files: &[PathBuf]) -> Result<Vec<(PathBuf, Sidecar)>> {
    let mut found = Vec::new();
    for subject in subjects {
        for story in &subject.stories {
            // Of both hemispheres the left one's; of its own description, else of the image's raw
            // name.
            let after = subject.after.replace("{hemi}", "L");
            let stem = after.split(".func.gii").next().unwrap_or_default();
            let stem = stem.split(".dtseries").next().and_then(|s| s.split(".nii").next());
            let own = format!("{}{story}{}.json", subject.before, stem.unwrap_or_default());
            let raw = format!("{}{story}_bold.json", subject.before);
            let is = |path: &&PathBuf, name: &str| file_name(path) == name;
            let beside = files.iter().find(|path| is(path, &own));
            let Some(path) = beside.or_else(|| files.iter().find(|path| is(path, &raw))) else {
                continue;
            };
            let text =
                read_text(path).map_err(|source| Error::Read { path: path.clone(), source })?;
            if let Ok(sidecar) = serde_json::from_str(&text) {
                found.push((path.clone(), sidecar));
            }
        }
    }
    Ok(found)
}

/// RepetitionTime of the images' JSON files, which must agree; else that of a header.
fn repetition_time(
    sidecars: &[(PathBuf, Sidecar)],
    subjects: &[SubjectFiles],
    not_found: &mut Vec<String>,
) -> Result<f64> {
    let mut found: Option<f64> = None;
    for (path, sidecar) in sidecars {
        let Some(tr_s) = sidecar.repetition_time else {
            continue;
        };
        if !tr_s.is_finite() || tr_s <= 0.0 || found.is_some_and(|f| (f - tr_s).abs() > 1e-6) {
            return Err(Error::Values {
                place: path.display().to_string(),
                problem: format!(
                    "RepetitionTime is {tr_s} s, others have {:?}",
                    found.unwrap_or(tr_s)
                ),
                hint: "a study has one repetition time: give a folder of images that share it"
                    .into(),
            });
        }
        found = Some(tr_s);
    }
    let found = found.or_else(|| subjects.iter().find_map(tr_of_header));
    if found.is_none() {
        let what = "RepetitionTime in the images' JSON files or headers: tr_s = 2.0 in STUDY.toml is \
                    a guess";
        not_found.push(what.into());
    }
    Ok(found.unwrap_or(2.0))
}

fn tr_of_header(subject: &SubjectFiles) -> Option<f64> {
    let story = subject.stories.first()?;
    let path = subject.folder.join(format!("{}{story}{}", subject.before, subject.after));
    match is_surface(&subject.after) {
        true => MatrixFile::open(&path, &Which::default()).ok()?.tr_s(),
        false => NiftiFile::open(&path).ok()?.tr_s(),
    }
}

/// StartTime of the images' JSON files: the moment of each volume that its values belong to.
fn start_time(sidecars: &[(PathBuf, Sidecar)], not_found: &mut Vec<String>) -> Option<f64> {
    let times = sidecars.iter().filter_map(|(_, sidecar)| sidecar.start_time);
    let mut times: Vec<f64> = times.filter(|time| time.is_finite()).collect();
    times.sort_by(f64::total_cmp);
    let (first, last) = (times.first().copied()?, times.last().copied()?);
    if last - first > 0.05 {
        not_found.push(format!(
            "one StartTime: the images' JSON files say {first} to {last} s; first_tr_s takes the first"
        ));
    }
    Some(first)
}

/// The folder, or the table words.tsv, with words of most stories.
fn stimuli(files: &[PathBuf], stories: &BTreeSet<String>) -> Option<PathBuf> {
    let mut n_of_folder: BTreeMap<&Path, usize> = BTreeMap::new();
    for path in files {
        // gentle's, as in ds002345: stimuli/gentle/STORY/align.csv.
        if let (Some(folder), "align.csv" | "align.json") = (path.parent(), &file_name(path)[..])
            && stories.contains(&file_name(folder))
        {
            *n_of_folder.entry(folder.parent()?).or_default() += 1;
            continue;
        }
        let is_text = matches!(input::extension(path).as_str(), "textgrid" | "tsv" | "csv");
        if is_text && stories.contains(&input::stem(path)) {
            *n_of_folder.entry(path.parent()?).or_default() += 1;
        }
    }
    let folder =
        n_of_folder.into_iter().max_by_key(|&(_, n)| n).map(|(folder, _)| folder.to_owned());
    let names = ["words.tsv", "words.tsv.gz", "words.csv", "words.csv.gz"];
    folder.or_else(|| files.iter().find(|p| names.contains(&file_name(p).as_str())).cloned())
}

/// Story → its events.tsv, of the first subject that has one; the raw dataset's count too.
fn events(
    subjects: &[SubjectFiles],
    files: &[PathBuf],
    stories: &BTreeSet<String>,
) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for subject in subjects {
        for path in files {
            let name = file_name(path);
            let story = name
                .strip_suffix("_events.tsv")
                .and_then(|name| name.split_once("_task-"))
                .filter(|(start, _)| start.split('_').next() == Some(&subject.name))
                .map(|(_, story)| story.to_owned());
            if let Some(story) = story.filter(|story| stories.contains(story)) {
                found.entry(story).or_insert_with(|| path.clone());
            }
        }
    }
    found
}

/// A table of words from events that have a column word (or text); `None` where none has.
fn words_of_events(events: &BTreeMap<String, PathBuf>) -> Result<Option<String>> {
    let mut text = String::from("story\tonset\toffset\tword\n");
    let mut any = false;
    // Marks are told apart when the table is read.
    let rules = WordRules { keep_marks: true, ..WordRules::default() };
    for (story, path) in events {
        let stories = match read(path, &rules) {
            Ok(read) => read.stories,
            Err(Error::Table { source: table::TableError::MissingColumn { .. }, .. })
            | Err(Error::Stories { source: StoriesError::EmptyStory { .. }, .. }) => continue,
            Err(error) => return Err(error),
        };
        for Story { words, onset_s, mid_s, .. } in &stories {
            let onset_s = onset_s.as_ref().unwrap_or(mid_s);
            for ((word, onset), mid) in words.iter().zip(onset_s).zip(mid_s) {
                any = true;
                // To a microsecond: the middle was halved.
                let offset = ((2.0 * mid - onset) * 1e6).round() / 1e6;
                let _ = writeln!(text, "{story}\t{onset}\t{offset}\t{word}");
            }
        }
    }
    Ok(any.then_some(text))
}

impl Timing {
    /// Words timed from the sound: when it starts in the scan, from events of one line.
    fn of_stimuli(
        &mut self,
        events: &BTreeMap<String, PathBuf>,
        stories: &BTreeSet<String>,
        not_found: &mut Vec<String>,
    ) -> Result<()> {
        let (mut onsets, mut by_story) = (Vec::new(), Vec::new());
        for (story, path) in events {
            let onset = only_onset(path)?;
            onsets.extend(onset);
            by_story.extend(onset.map(|onset| (story.clone(), self.first_tr_s - onset)));
        }
        let first = onsets.first().copied();
        match first {
            Some(first) if onsets.iter().all(|onset| (onset - first).abs() < 0.05) => {
                self.first_tr_s -= first;
                self.note =
                    format!("the sound starts {first} s after the first volume (events.tsv)");
            }
            Some(_) => {
                self.note = "of runs whose sound starts with the first volume".into();
                let lacking = stories.len() - by_story.len();
                if lacking > 0 {
                    not_found.push(format!(
                        "when the sound of {lacking} stories starts: the table of first TRs lacks \
                         them"
                    ));
                }
                self.by_story = by_story;
            }
            None => {
                self.note = "set it if the sound did not start with the first volume".into();
                not_found.push(
                    "when the sound starts (an events.tsv of one line): first_tr_s takes it to \
                     start with the first volume"
                        .into(),
                );
            }
        }
        Ok(())
    }
}

/// When the sound starts: the onset of the first event that names a file (`stim_file`), else of the
/// only event.
fn only_onset(path: &Path) -> Result<Option<f64>> {
    let text = read_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let Some(header) = lines.next() else {
        return Ok(None);
    };
    let column = |wanted: &str| header.split('\t').position(|name| name.trim() == wanted);
    let cell = |line: &str, column: Option<usize>| {
        column.and_then(|column| line.split('\t').nth(column)).map(|cell| cell.trim().to_owned())
    };
    let events: Vec<&str> = lines.collect();
    let sound = column("stim_file");
    let names_a_file =
        |line: &&&str| cell(line, sound).is_some_and(|file| !file.is_empty() && file != "n/a");
    let event = events.iter().find(names_a_file).or(match &events[..] {
        [only] => Some(only),
        _ => None,
    });
    let onset = event.and_then(|line| cell(line, column("onset"))?.parse().ok());
    Ok(onset.filter(|onset: &f64| onset.is_finite()))
}
