//! What was found as the text of a STUDY.toml.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::Dataset;
use super::files::{Files, SubjectFiles, Timing};
use super::find::REPEATS;
use crate::error::{Error, Result};
use crate::study::read_respdict;
use crate::warning::named;

/// A subject with less than this share of the stories that the others have is commented out: a
/// study takes the stories that all its subjects have.
const MIN_SHARE: f64 = 0.9;

/// What the study will be.
pub struct Plan {
    files: Files,
    /// A file or folder.
    words: PathBuf,
    /// Name in the study and whether it is part of it, one a subject found.
    subjects: Vec<(String, bool)>,
    /// Words and BOLD of every subject of the study.
    pub n_paired: usize,
    /// Some stories lack words, or BOLD of some subject.
    is_uneven: bool,
    has_tr_times: bool,
    has_phones: bool,
    respdict: Option<PathBuf>,
    /// Sentences.
    pub found: Vec<String>,
    /// Sentences.
    pub not_found: Vec<String>,
}

/// Chooses subjects and pairs stories; `names` are those with words, in `words`, which may have TR
/// times, and phones beside the words.
pub fn plan(
    files: Files,
    words: PathBuf,
    names: Vec<String>,
    (has_tr_times, has_phones): (bool, bool),
) -> Result<Plan> {
    let names: BTreeSet<String> = names.into_iter().collect();
    // A folder of results or designs has files of other names.
    let n_both = |s: &SubjectFiles| s.stories.intersection(&names).count();
    let mut files = files;
    files.subjects.retain(|subject| n_both(subject) > 0);
    let most = files.subjects.iter().map(n_both).max().unwrap_or(0);
    let is_in = |s: &SubjectFiles| n_both(s) as f64 >= MIN_SHARE * most as f64;
    let mut paired = names.clone();
    for subject in files.subjects.iter().filter(|s| is_in(s)) {
        paired = paired.intersection(&subject.stories).cloned().collect();
    }
    if most == 0 || paired.len() < 3 {
        return Err(Error::Values {
            place: words.display().to_string(),
            problem: format!(
                "expected at least 3 stories with words and BOLD, got {} ({} with words)",
                paired.len(),
                names.len()
            ),
            hint: "BOLD files are called as the stories are".into(),
        });
    }
    let mut found = vec![format!("{} stories with words: {}", names.len(), words.display())];
    let mut not_found = files.not_found.clone();
    let mut subjects: Vec<(String, bool)> = Vec::new();
    for subject in &files.subjects {
        let mut name = safe_name(&subject.name);
        while subjects.iter().any(|(other, _)| *other == name) {
            name.push('b');
        }
        let n = n_both(subject);
        let note = if is_in(subject) { "" } else { ", commented out: the others have more" };
        found.push(format!("{name}: BOLD of {n} of them{note}"));
        let without: Vec<String> = names.difference(&subject.stories).cloned().collect();
        if !without.is_empty() && is_in(subject) {
            let n = without.len();
            not_found.push(format!("BOLD of {name} for {n} stories ({})", named(&without)));
        }
        found.extend(subject.mask.iter().map(|mask| format!("{name}: mask {}", mask.display())));
        subjects.push((name, is_in(subject)));
    }
    let with_bold: BTreeSet<&String> =
        files.subjects.iter().filter(|s| is_in(s)).flat_map(|s| &s.stories).collect();
    let without: Vec<String> =
        with_bold.into_iter().filter(|story| !names.contains(*story)).cloned().collect();
    if !without.is_empty() {
        let n = without.len();
        not_found.push(format!("words of {n} stories that have BOLD ({})", named(&without)));
    }
    let uneven = |s: &SubjectFiles| s.stories != paired;
    let is_uneven = names != paired || files.subjects.iter().filter(|s| is_in(s)).any(uneven);
    let mut respdict = None;
    if let Some(path) = files.respdict.clone().filter(|_| !has_tr_times) {
        let counts = read_respdict(&path)?;
        match paired.iter().find(|name| !counts.contains_key(*name)) {
            None => {
                found.push(format!("TR counts: {}", path.display()));
                respdict = Some(path);
            }
            Some(name) => not_found.push(format!(
                "the TR count of {name:?} in respdict.json, which is left out: TRs are counted \
                 from the rows of the BOLD"
            )),
        }
    }
    let vectors = &files.vectors;
    for (kind, path) in [
        ("GloVe", &vectors.glove),
        ("word2vec", &vectors.word2vec),
        ("english1000", &vectors.eng1000),
    ] {
        found.extend(path.iter().map(|path| format!("{kind} vectors: {}", path.display())));
    }
    if has_phones {
        found.push("phones beside the words of the TextGrids".into());
    }
    let n_paired = paired.len();
    Ok(Plan {
        files,
        words,
        subjects,
        n_paired,
        is_uneven,
        has_tr_times,
        has_phones,
        respdict,
        found,
        not_found,
    })
}

/// The name in letters, digits, `-`, `_` and `.`.
fn safe_name(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let name: String = name.chars().map(keep).collect();
    match name.trim_start_matches('.').is_empty() {
        true => "subject".to_owned(),
        false => name,
    }
}

/// The study's text; paths are relative to `base` where they lie below it.
pub fn text(dataset: Dataset, plan: &Plan, base: &Path) -> Result<String> {
    let mut text = String::from(
        "# Made by `voxelcast init`. Every key is in README.md; what is commented out is an example.\n\
         # voxelcast check STUDY.toml   reads every header and compares every count\n\
         # voxelcast run STUDY.toml     fits, scores, writes report.html\n\n",
    );
    let line = |text: &mut String, line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    line(&mut text, "[stories]".into());
    line(&mut text, format!("path = {}", quoted(&relative(&plan.words, base)?)));
    if let Some(respdict) = &plan.respdict {
        let path = quoted(&relative(respdict, base)?);
        line(&mut text, format!("respdict = {path}   # raw TRs of each story"));
    }
    if plan.is_uneven {
        line(
            &mut text,
            "missing = \"skip\"   # stories without words, or without BOLD of a subject".into(),
        );
    }
    line(&mut text, "# exclude = [\"story\"]   # stories to leave out".into());
    for (files, (name, is_in)) in plan.files.subjects.iter().zip(&plan.subjects) {
        let hash = if *is_in { "" } else { "# " };
        let pattern = relative(&files.folder, base)?;
        let pattern = format!("{pattern}/{}", files.pattern());
        line(&mut text, String::new());
        if !is_in {
            line(
                &mut text,
                format!(
                    "# {name} has {} stories: with it, all others are left out.",
                    files.stories.len()
                ),
            );
        }
        line(&mut text, format!("{hash}[bold.{}]", key(name)));
        line(&mut text, format!("{hash}path = {}", quoted(&pattern)));
        if let Some(mask) = &files.mask {
            let mask = quoted(&relative(mask, base)?);
            line(&mut text, format!("{hash}mask = {mask}   # for all stories"));
        }
        if !files.repeated.is_empty() {
            let stories = files.repeated.join(", ");
            line(
                &mut text,
                format!(
                    "{hash}repeats = {REPEATS:?}   # the noise ceiling, if in the test: {stories}"
                ),
            );
        }
    }
    text += SPLIT;
    line(&mut text, design(dataset, plan.has_tr_times, plan.files.timing.as_ref()));
    spaces(&mut text, plan, base)?;
    text += &ridge(plan.n_paired);
    Ok(text)
}

const SPLIT: &str = "
[split]
test_fraction = 0.2      # whole stories; or n_test = 19, or test = [\"story\", \"…\"]
seed = 214
";

/// As many folds as there are training stories for, at most 5.
fn ridge(n_stories: usize) -> String {
    let n_test = ((n_stories as f64 * 0.2).round() as usize).max(1);
    let n_folds = (n_stories - n_test).min(5);
    format!(
        "\n[ridge]\n\
         alphas = \"logspace(0,8,17)\"   # weights of the squared norm, one chosen for each voxel\n\
         folds = {n_folds}                     # of whole training stories\n\n\
         # [output]\n\
         # weights = true              # weights.safetensors of every model: (columns × voxels), can be large\n"
    )
}

fn design(dataset: Dataset, has_tr_times: bool, timing: Option<&Timing>) -> String {
    let mut text = String::from("\n[design]\n");
    if let Some(Timing { tr_s, first_tr_s, note, .. }) = timing {
        let first = first_tr_s + 0.0;
        let _ = writeln!(
            text,
            "tr_s = {tr_s:?}               # s\nfirst_tr_s = {first:?}        # s, middle of the first TR: {note}"
        );
    } else if !has_tr_times {
        text += "tr_s = 2.0               # s\n\
                 first_tr_s = -9.0        # s, middle of the first TR: the sound starts 10 s after the first trigger\n";
    }
    let trim = timing.map_or("10:5", |timing| timing.trim);
    let why = match dataset {
        Dataset::Lab => {
            ", first and last. The handout's 5:10\n\
             \x20                        # puts them 10 s off; the alignment check warns of it"
        }
        Dataset::Ds003020 => ", first and last, as in HuthLab's code",
        Dataset::Bids => ", first and last: volumes that were cut from the images",
    };
    let _ = writeln!(text, "trim = {:17} # TRs cut from the features{why}", format!("{trim:?}"));
    text += "delays = [1, 2, 3, 4]    # TRs\n";
    text
}

fn spaces(text: &mut String, plan: &Plan, base: &Path) -> Result<()> {
    let mut combined = "bow";
    let examples = [
        ("eng1000", &plan.files.vectors.eng1000, "english1000sm.hf5"),
        ("word2vec", &plan.files.vectors.word2vec, "GoogleNews-vectors-negative300.bin.gz"),
        ("glove", &plan.files.vectors.glove, "glove.6B.300d.txt"),
    ];
    for (kind, path, example) in examples {
        let hash = if path.is_some() { "" } else { "# " };
        let path = path.as_ref().map(|path| relative(path, base)).transpose()?;
        let path = quoted(path.as_deref().unwrap_or(example));
        combined = if hash.is_empty() { kind } else { combined };
        let _ = writeln!(
            text,
            "{hash}[[space]]\n{hash}name = \"{kind}\"\n{hash}kind = \"{kind}\"\n{hash}vectors = {path}\n"
        );
    }
    let (phones, and_phones) = match plan.has_phones {
        true => (
            "[[space]]\nname = \"phones\"          # phones per TR; what = \"identity\": which they are\n\
             kind = \"phones\"\n\n",
            ", \"phones\"",
        ),
        false => ("", ""),
    };
    let _ = write!(
        text,
        "[[space]]\nname = \"bow\"             # counts of words\nkind = \"bow\"\n\
         max_words = 300          # the most frequent: 1,200 columns with 4 delays; without it all words\n\n\
         # Low-level controls, and all of them in one model: what a space adds to them is its own.\n\
         [[space]]\nname = \"word_rate\"       # words per TR\n\
         kind = \"word_rate\"\n\n\
         [[space]]\nname = \"word_length\"     # letters of the words\n\
         kind = \"word_length\"\n\n\
         {phones}\
         [[space]]\nname = \"position\"        # where in the story a TR lies: knows no word\n\
         kind = \"position\"\n\n\
         [[space]]\nname = \"low_level\"\n\
         combine = [\"word_rate\", \"word_length\", \"position\"{and_phones}]\n\n\
         # [[space]]\n# name = \"both\"\n# combine = [\"{combined}\", \"word_rate\"]\n"
    );
    Ok(())
}

/// A TOML text, with every escape that it needs.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A bare key, or a quoted one if it has a dot.
fn key(name: &str) -> String {
    if name.contains('.') { quoted(name) } else { name.to_owned() }
}

/// The path from `base` where it lies below it, else from the root.
fn relative(path: &Path, base: &Path) -> Result<String> {
    let whole = |path: &Path| {
        path.canonicalize().map_err(|source| Error::Read { path: path.to_owned(), source })
    };
    let (path, base) = (whole(path)?, whole(base)?);
    let path = path.strip_prefix(&base).unwrap_or(&path);
    let text = path.to_str().ok_or_else(|| Error::Values {
        place: path.display().to_string(),
        problem: "is not UTF-8, as TOML is".into(),
        hint: "rename it".into(),
    })?;
    Ok(if text.is_empty() { ".".to_owned() } else { text.to_owned() })
}
