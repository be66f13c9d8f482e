//! What a result depends on: settings and inputs, hashed, so that a resumed or repeated run knows
//! whether it is the same.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::inputs::{Inputs, Subject};
use super::language::model_files;
use super::models::ModelPlan;
use super::split::Split;
use super::stability::ExtraSplits;
use crate::error::Result;
use crate::nn::TrainSettings;
use crate::results::hash::{InputHash, hash_file};
use crate::ridge::BandSampling;
use crate::stimuli::Story;
use crate::study::story_bold::StoryBold;
use crate::study_file::{
    BoldCleaning, BoldFiles, Censor, DelayProfile, FileRows, FileSpace, FirstTr, ModelSource,
    SpaceKind, Statistics, Study, hashed_settings, settings_of_rows,
};

/// Hashes of everything the study reads, by what depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputHashes {
    /// Stories and TR counts: every model.
    words: Vec<InputHash>,
    /// Files of each space of the study: its models, and those that combine it.
    spaces: Vec<Vec<InputHash>>,
    /// BOLD of each subject, in the order of the stories, and its mask: its models.
    bold: Vec<Vec<InputHash>>,
    /// Single measurements and flat map of each subject: the noise ceiling and the pictures alone.
    beside: Vec<Vec<InputHash>>,
}

impl InputHashes {
    /// All of them, in the order of the study's file.
    pub fn all(&self) -> Vec<InputHash> {
        let per_subject = self.bold.iter().zip(&self.beside).flat_map(|(a, b)| a.iter().chain(b));
        self.words.iter().chain(self.spaces.iter().flatten()).chain(per_subject).cloned().collect()
    }

    /// These without the BOLD of other subjects.
    pub fn of_subjects(&self, wanted: &Range<usize>) -> Self {
        let keep = |all: &[Vec<InputHash>]| {
            let kept = |(at, of_one): (usize, &Vec<InputHash>)| match wanted.contains(&at) {
                true => of_one.clone(),
                false => Vec::new(),
            };
            all.iter().enumerate().map(kept).collect()
        };
        Self { bold: keep(&self.bold), beside: keep(&self.beside), ..self.clone() }
    }
}

/// Hashes everything the study reads, of BOLD that of the `wanted` subjects.
/// # Errors
/// `Error::Read`.
pub fn hash_inputs(study: &Study, inputs: &Inputs, wanted: &Range<usize>) -> Result<InputHashes> {
    let mut hashes =
        InputHashes { words: hash_path(study, &study.stories)?, ..InputHashes::default() };
    if let Some(respdict) = &study.respdict {
        hashes.words.extend(hash_path(study, respdict)?);
    }
    let mut of_models: HashMap<Vec<PathBuf>, Vec<InputHash>> = HashMap::new();
    for space in &study.spaces {
        hashes.spaces.push(match &space.kind {
            SpaceKind::Word2Vec(path) | SpaceKind::Glove(path) | SpaceKind::Eng1000(path) => {
                hash_path(study, path)?
            }
            SpaceKind::File(space) => hash_rows(study, inputs, space)?,
            SpaceKind::Bert(space) | SpaceKind::Encoder(space) | SpaceKind::Lm(space) => {
                let files: Vec<PathBuf> = match &space.model {
                    ModelSource::Folder(model) => model_files(&study.folder, model),
                    ModelSource::Trained(_) | ModelSource::Untrained => {
                        study.encoder.tokenizer.iter().cloned().collect()
                    }
                };
                // Layers of one model share its files.
                match of_models.get(&files) {
                    Some(known) => known.clone(),
                    None => {
                        let hashes = files.iter().map(|file| hash_path(study, file));
                        let hashes: Vec<_> =
                            hashes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
                        of_models.entry(files).or_insert(hashes).clone()
                    }
                }
            }
            // Tables and TextGrids are hashed as the stories'.
            SpaceKind::Bow(_)
            | SpaceKind::WordRate
            | SpaceKind::WordLength
            | SpaceKind::Column(_)
            | SpaceKind::Phones(_)
            | SpaceKind::Position
            | SpaceKind::Combine(_) => Vec::new(),
        });
    }
    for (at, (subject, files)) in inputs.subjects.iter().zip(&study.bold_files).enumerate() {
        if !wanted.contains(&at) {
            hashes.bold.push(Vec::new());
            hashes.beside.push(Vec::new());
            continue;
        }
        // One file may hold many stories.
        let mut paths: Vec<&Path> = Vec::new();
        let all = subject.files.iter().flat_map(|bold| bold.file.paths());
        let mut seen = HashSet::new();
        paths.extend(all.filter(|path| seen.insert(*path)));
        let first_trs = match &study.bold_cleaning[at].first_tr {
            FirstTr::Table(path) => Some(study.path(path)),
            _ => None,
        };
        paths.extend(subject.files.iter().flat_map(StoryBold::tables));
        paths.extend(first_trs.as_deref());
        let hash = |path: &Path| {
            let label = path.strip_prefix(&study.folder).unwrap_or(path).display().to_string();
            hash_file(path, &label)
        };
        let mut bold: Vec<InputHash> = paths.into_iter().map(hash).collect::<Result<_>>()?;
        if let Some(mask) = &files.mask {
            bold.extend(hash_path(study, mask)?);
        }
        hashes.bold.push(bold);
        let repeats = subject.repeats.iter().zip(&subject.files);
        let own = repeats
            .flat_map(|(repeats, mean)| repeats.iter().filter(|file| file.path() != mean.path()));
        let own = own.flat_map(|bold| bold.file.paths());
        let mut beside: Vec<InputHash> = own.map(hash).collect::<Result<_>>()?;
        if let Some(pixels) = &files.pixels {
            beside.extend(hash_path(study, pixels)?);
        }
        hashes.beside.push(beside);
    }
    Ok(hashes)
}

/// Every file of a space whose rows were made elsewhere, each once.
fn hash_rows(study: &Study, inputs: &Inputs, space: &FileSpace) -> Result<Vec<InputHash>> {
    let times = match &space.rows {
        FileRows::Times(times) => Some(times),
        FileRows::Words | FileRows::Trs => None,
    };
    let fill = |text: &String, story: &Story| PathBuf::from(text.replace("{story}", &story.name));
    let patterns: Vec<&String> = [Some(&space.path), times].into_iter().flatten().collect();
    let of_stories = inputs.stories.iter();
    let paths = of_stories.flat_map(|story| patterns.iter().map(|text| fill(text, story)));
    let mut seen = HashSet::new();
    let different = paths.chain(space.names.clone()).filter(|path| seen.insert(path.clone()));
    let there = different.filter(|path| study.path(path).is_file()).collect::<Vec<_>>();
    let hashes = there.iter().map(|path| hash_path(study, path)).collect::<Result<Vec<_>>>()?;
    Ok(hashes.into_iter().flatten().collect())
}

/// A file, the archive that a member is in, or every file of a folder.
fn hash_path(study: &Study, relative: &Path) -> Result<Vec<InputHash>> {
    let path = study.path(relative);
    let label = relative.display().to_string();
    if let Some(file) = path.ancestors().find(|file| file.is_file()) {
        return Ok(vec![hash_file(file, &label)?]);
    }
    let Ok(entries) = fs::read_dir(&path) else { return Ok(Vec::new()) };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    let name = |file: &Path| file.file_name().map_or(String::new(), |n| n.to_string_lossy().into());
    files.iter().map(|file| hash_file(file, &format!("{label}/{}", name(file)))).collect()
}

/// What the numbers of one subject's model depend on, as one hash: settings, stories and their
/// split, the files of its space, the subject's BOLD, the planned route.
///
/// A setting that is not known to leave the numbers alone counts.
pub fn model_fingerprint(
    study: &Study,
    inputs: &Inputs,
    subject: usize,
    split: &Split,
    extra: &ExtraSplits,
    model: &ModelPlan,
    hashes: &InputHashes,
) -> String {
    let plain = Study {
        folder: PathBuf::new(),
        stories: PathBuf::new(),
        respdict: None,
        bold: vec![(String::new(), String::new())],
        repeats: vec![None],
        bold_files: vec![BoldFiles {
            dataset: study.bold_files[subject].dataset.clone(),
            transpose: study.bold_files[subject].transpose,
            mask: None,
            pixels: None,
        }],
        bold_cleaning: vec![without_paths(&study.bold_cleaning[subject])],
        variants: vec![model.variant],
        encoder: TrainSettings::default(),
        bands: BandSampling::default(),
        spaces: Vec::new(),
        alignment_check: false,
        statistics: Statistics {
            resamples: 0,
            delay_profile: DelayProfile::All(false),
            ..study.statistics.clone()
        },
        ..study.clone()
    };
    let names: Vec<&str> = inputs.units.iter().map(|unit| unit.name.as_str()).collect();
    let trs = &inputs.subjects[subject].feature_trs;
    let own = model.design;
    let parts = study.parts(own);
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: String| {
        hasher.update(text.as_bytes());
    };
    add(settings_text(&plain));
    add(format!("{names:?} {trs:?} {split:?} {extra:?} {:?} {}", model.delays, model.route));
    if let Some(bands) = &model.bands {
        add(json(&(&bands.sampling, &bands.kept)));
    }
    for &part in &parts {
        add(json(&settings_of_rows(study, part)));
        if let SpaceKind::Encoder(space) = &study.spaces[part].kind
            && !matches!(space.model, ModelSource::Folder(_))
        {
            add(json(&TrainSettings { tokenizer: None, ..study.encoder() }));
        }
        hashes.spaces[part].iter().for_each(|hash| add(hash.blake3.clone()));
    }
    hashes.words.iter().chain(&hashes.bold[subject]).for_each(|hash| add(hash.blake3.clone()));
    hasher.finalize().to_hex().to_string()
}

/// The fingerprint of some voxels of a model.
pub fn of_voxels(model: &str, voxels: &Range<usize>) -> String {
    format!("{model} {}..{}", voxels.start, voxels.end)
}

/// Where tables are is nothing to a model: what they hold is hashed.
fn without_paths(cleaning: &BoldCleaning) -> BoldCleaning {
    BoldCleaning {
        confounds: cleaning.confounds.as_ref().map(|_| String::new()),
        censor: match &cleaning.censor {
            Some(Censor::File(_)) => Some(Censor::File(String::new())),
            other => other.clone(),
        },
        first_tr: match &cleaning.first_tr {
            FirstTr::Table(_) => FirstTr::Table(PathBuf::new()),
            other => other.clone(),
        },
        ..cleaning.clone()
    }
}

/// What a file looks like from outside: enough to see that it was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stamps(Vec<(PathBuf, Option<(u64, SystemTime)>)>);

impl Stamps {
    /// Those of a subject's BOLD.
    pub fn of(subject: &Subject) -> Self {
        let stamp = |path: &Path| {
            let about = fs::metadata(path).ok()?;
            Some((about.len(), about.modified().ok()?))
        };
        let paths = subject.files.iter().flat_map(|bold| bold.file.paths());
        Self(paths.map(|path| (path.to_owned(), stamp(path))).collect())
    }

    /// The first file that looks otherwise now.
    pub fn first_changed(&self, now: &Self) -> Option<PathBuf> {
        let pairs = self.0.iter().zip(&now.0);
        pairs.filter(|(before, now)| before != now).map(|(before, _)| before.0.clone()).next()
    }
}

/// The settings as text: what run.json says of the study, before models' own values are filled in.
pub fn settings_text(study: &Study) -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), hashed_settings(study))
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("settings are numbers, texts and lists of them")
}

/// One hash over settings and inputs.
pub fn combined(settings: &str, inputs: &[InputHash]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(settings.as_bytes());
    for input in inputs {
        hasher.update(input.path.as_bytes());
        hasher.update(input.blake3.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::tr_times::FeatureTrs;
    use crate::study::split::split;
    use crate::study::units::Unit;

    const SPACES: &str = "[[space]]\nname='g'\nkind='glove'\nvectors='g.txt'\n\
                          [[space]]\nkind='word_rate'\n[[space]]\nname='both'\n\
                          combine=['g','word_rate']\n";

    /// Everything that a fingerprint is made of.
    struct Parts {
        lines: &'static str,
        spaces: &'static str,
        names: Vec<&'static str>,
        n_trs: Vec<Vec<usize>>,
        model: ModelPlan,
        hashes: InputHashes,
    }

    impl Parts {
        fn new() -> Self {
            let hash =
                |name: &str| InputHash { path: name.into(), n_bytes: 1, blake3: name.into() };
            let hashes = InputHashes {
                words: vec![hash("words")],
                spaces: vec![vec![hash("g.txt")], vec![], vec![]],
                bold: vec![vec![hash("bold0")], vec![hash("bold1")]],
                beside: vec![vec![hash("flat map")], vec![]],
            };
            let n_trs = vec![vec![30, 31, 32, 33], vec![30, 31, 32, 33]];
            let names = vec!["a", "b", "c", "d"];
            Self {
                lines: "",
                spaces: SPACES,
                names,
                n_trs,
                model: ModelPlan::of_width(0, 50, 4),
                hashes,
            }
        }

        /// Of subject 0.
        fn fingerprint(&self) -> String {
            let text = format!(
                "[stories]\npath='w.tsv'\n[bold.s0]\npath='s0/{{story}}.npy'\n[bold.s1]\n\
                 path='s1/{{story}}.npy'\n{}\n[ridge]\nfolds=2\n{}",
                self.spaces, self.lines
            );
            let study = crate::study_file::from_text(&text, Path::new("."), "S.toml").unwrap();
            let story = |name: &&str| Story {
                name: (*name).to_owned(),
                words: vec!["w".into()],
                onset_s: None,
                mid_s: vec![0.0],
                ..Story::default()
            };
            let subject = |(i, n_trs): (usize, &Vec<usize>)| Subject {
                name: format!("s{i}"),
                heard: vec![],
                files: vec![],
                repeats: vec![],
                places: vec![],
                n_voxels: 7,
                feature_trs: n_trs.iter().map(|&n| FeatureTrs { n, first_s: -9.0 }).collect(),
            };
            let inputs = Inputs {
                stories: self.names.iter().map(story).collect(),
                units: (0..self.names.len())
                    .map(|story| Unit { name: self.names[story].to_owned(), story })
                    .collect(),
                subjects: self.n_trs.iter().enumerate().map(subject).collect(),
                words: vec![],
                warnings: vec![],
                notes: vec![],
            };
            let split = split(&study, &self.names).unwrap();
            let extra = ExtraSplits::new(&study, &split).unwrap();
            model_fingerprint(&study, &inputs, 0, &split, &extra, &self.model, &self.hashes)
        }
    }

    #[test]
    fn what_changes_numbers_changes_the_fingerprint() {
        let base = Parts::new().fingerprint();
        assert_eq!(Parts::new().fingerprint(), base);
        type Change = fn(&mut Parts);
        let changes: &[(&str, Change)] = &[
            ("alphas", |p| p.lines = "alphas='logspace(0,3,4)'"),
            ("scorer", |p| p.lines = "scorer='r2'"),
            ("trim", |p| p.lines = "[design]\ntrim='0:0'"),
            ("tr_s", |p| p.lines = "[design]\ntr_s=1.5"),
            ("seed of the split", |p| p.lines = "[split]\nseed=5"),
            ("permutations", |p| p.lines = "[statistics]\npermutations=7"),
            ("weights", |p| p.lines = "[output]\nweights=true"),
            ("repeated splits", |p| p.lines = "[stability]\nsplits=1"),
            ("a story's name", |p| p.names[0] = "aa"),
            ("TRs of the subject", |p| p.n_trs[0][3] = 40),
            ("delays", |p| p.model.delays = vec![1, 2, 3, 5]),
            ("route", |p| p.model.route = crate::ridge::Route::Svd),
            ("words", |p| p.hashes.words[0].blake3.push('x')),
            ("the space's vectors", |p| p.hashes.spaces[0][0].blake3.push('x')),
            ("the subject's BOLD", |p| p.hashes.bold[0][0].blake3.push('x')),
        ];
        let mut all = vec![base];
        for (what, change) in changes {
            let mut parts = Parts::new();
            change(&mut parts);
            let now = parts.fingerprint();
            assert!(!all.contains(&now), "{what} changes the fingerprint");
            all.push(now);
        }
    }

    #[test]
    fn what_changes_no_number_of_the_model_leaves_it() {
        let base = Parts::new().fingerprint();
        type Change = fn(&mut Parts);
        let changes: &[(&str, Change)] = &[
            ("the other subject's BOLD", |p| p.hashes.bold[1][0].blake3.push('x')),
            ("the other subject's TRs", |p| p.n_trs[1][0] = 99),
            ("the flat map", |p| p.hashes.beside[0][0].blake3.push('x')),
            ("where vectors are", |p| p.hashes.spaces[0][0].path = "elsewhere".into()),
            ("another space", |p| {
                p.spaces = "[[space]]\nname='g'\nkind='glove'\nvectors='x.txt'\n"
            }),
            ("resamples", |p| p.lines = "[statistics]\nresamples=77"),
            ("the profile of delays", |p| p.lines = "[statistics]\ndelay_profile=true"),
            ("the alignment check", |p| p.lines = "[design]\nalignment_check=false"),
            ("an encoder that it does not use", |p| p.lines = "[encoder]\nlayers=1"),
        ];
        for (what, change) in changes {
            let mut parts = Parts::new();
            change(&mut parts);
            assert_eq!(parts.fingerprint(), base, "{what}");
        }
    }

    #[test]
    fn a_combination_depends_on_all_of_its_spaces() {
        let fingerprint = |vectors: &str| {
            let mut parts = Parts::new();
            parts.model = ModelPlan::of_width(2, 51, 4);
            parts.hashes.spaces[0][0].blake3 = vectors.into();
            parts.fingerprint()
        };
        assert_ne!(fingerprint("one"), fingerprint("two"));
        let mut alone = Parts::new();
        alone.model = ModelPlan::of_width(1, 1, 4);
        let before = alone.fingerprint();
        alone.hashes.spaces[0][0].blake3.push('x');
        assert_eq!(alone.fingerprint(), before, "word rate has no vectors");
    }
}
