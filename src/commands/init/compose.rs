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

/// In a study of the stories that all its subjects have, a subject with less than this share of the
/// stories that the others have is commented out.
const MIN_SHARE: f64 = 0.9;
/// Two folds to train on and one story to test: a subject with fewer stories is commented out.
const MIN_STORIES: usize = 3;
/// Share of the stories in the test.
const TEST_SHARE: f64 = 0.2;

/// What the study will be.
pub struct Plan {
    files: Files,
    /// A file or folder.
    words: PathBuf,
    /// Name in the study and whether it is part of it, one a subject found.
    subjects: Vec<(String, bool)>,
    /// Stories with words and BOLD: of every subject, or of some where each has stories of its own.
    pub n_paired: usize,
    /// Where subjects heard different stories: those of the test.
    own_test: Option<Vec<String>>,
    /// As many as the subject with the fewest training stories has, at most 5.
    n_folds: usize,
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
    dataset: Dataset,
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
    let all_heard: Vec<BTreeSet<String>> = files
        .subjects
        .iter()
        .map(|subject| subject.stories.intersection(&names).cloned().collect())
        .collect();
    let is_own = dataset != Dataset::Lab && all_heard.iter().any(|own| *own != all_heard[0]);
    let is_in = |s: &SubjectFiles| match is_own {
        true => n_both(s) >= MIN_STORIES,
        false => n_both(s) as f64 >= MIN_SHARE * most as f64,
    };
    let of_study = files.subjects.iter().zip(&all_heard).filter(|(subject, _)| is_in(subject));
    let heard: Vec<BTreeSet<String>> = of_study.map(|(_, own)| own.clone()).collect();
    let paired: BTreeSet<String> = match is_own {
        true => heard.iter().flatten().cloned().collect(),
        false => names.iter().filter(|n| heard.iter().all(|h| h.contains(*n))).cloned().collect(),
    };
    let repeated: BTreeSet<&String> = files.subjects.iter().flat_map(|s| &s.repeated).collect();
    let own_test = is_own.then(|| test_of_all(&heard, &paired, &repeated));
    let n_train = match &own_test {
        None => paired.len().saturating_sub(n_test(paired.len())),
        Some(test) => {
            let n_train =
                |own: &BTreeSet<String>| own.iter().filter(|story| !test.contains(story)).count();
            heard.iter().map(n_train).min().unwrap_or(0).max(2)
        }
    };
    if most == 0 || paired.len() < 3 {
        return Err(Error::Values {
            place: words.display().to_string(),
            problem: format!(
                "expected at least 3 stories with words and BOLD, got {} ({} with words)",
                paired.len(),
                names.len()
            ),
            hint: "BOLD files are called as the stories are; a study of one or two stories needs \
                   unit = \"block\" in [split]"
                .into(),
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
        let note = match (is_in(subject), is_own) {
            (true, _) => "",
            (false, true) => ", commented out: too few to be split",
            (false, false) => ", commented out: the others have more",
        };
        found.push(format!("{name}: BOLD of {n} of them{note}"));
        let without: Vec<String> = names.difference(&subject.stories).cloned().collect();
        if !without.is_empty() && is_in(subject) && !is_own {
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
    let uneven = |s: &SubjectFiles| match is_own {
        true => !s.stories.is_subset(&paired),
        false => s.stories != paired,
    };
    let is_uneven = files.has_links
        || names != paired
        || files.subjects.iter().filter(|s| is_in(s)).any(uneven);
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
        own_test,
        n_folds: n_train.min(5),
        is_uneven,
        has_tr_times,
        has_phones,
        respdict,
        found,
        not_found,
    })
}

impl Plan {
    /// The table of first TRs beside a study at `out`, and its text: where they differ by story.
    pub fn first_trs(&self, out: &Path) -> Option<(PathBuf, String)> {
        let by_story = &self.files.timing.as_ref()?.by_story;
        let lines = by_story.iter().map(|(story, first)| format!("{story}\t{}\n", first + 0.0));
        let text = format!("story\tfirst_tr_s\n{}", lines.collect::<String>());
        (!by_story.is_empty()).then(|| (out.with_extension("first_trs.tsv"), text))
    }
}

/// Test stories such that every subject heard one: those that most heard first, of them those that
/// were heard several times; then more that all heard, up to a fifth of the fewest stories.
fn test_of_all(
    heard: &[BTreeSet<String>],
    stories: &BTreeSet<String>,
    repeated: &BTreeSet<&String>,
) -> Vec<String> {
    let fewest = heard.iter().map(BTreeSet::len).min().unwrap_or(0);
    let mut test: Vec<String> = Vec::new();
    loop {
        let is_left = |own: &&BTreeSet<String>| test.iter().all(|story| !own.contains(story));
        let left: Vec<&BTreeSet<String>> = heard.iter().filter(is_left).collect();
        let asked: Vec<&BTreeSet<String>> = match left.is_empty() {
            true => heard.iter().collect(),
            false => left.clone(),
        };
        let n_heard = |story: &&String| asked.iter().filter(|own| own.contains(*story)).count();
        let others = stories.iter().filter(|story| !test.contains(story));
        let best = others.max_by_key(|story| {
            (n_heard(story), repeated.contains(story), std::cmp::Reverse(*story))
        });
        let is_enough = left.is_empty() && test.len() >= n_test(fewest);
        match best.filter(|story| !is_enough && (!left.is_empty() || n_heard(story) == heard.len()))
        {
            Some(story) => test.push(story.clone()),
            None => return test,
        }
    }
}

fn n_test(n_stories: usize) -> usize {
    ((n_stories as f64 * TEST_SHARE).round() as usize).max(1)
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
pub fn text(
    dataset: Dataset,
    plan: &Plan,
    first_trs: Option<&Path>,
    base: &Path,
) -> Result<String> {
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
                match plan.own_test {
                    Some(_) => format!(
                        "# {name} has {} stories: too few, but for unit = \"block\" in [split].",
                        files.stories.len()
                    ),
                    None => format!(
                        "# {name} has {} stories: with it, all others are left out.",
                        files.stories.len()
                    ),
                },
            );
        }
        line(&mut text, format!("{hash}[bold.{}]", key(name)));
        line(&mut text, format!("{hash}path = {}", quoted(&pattern)));
        if let Some(mask) = &files.mask {
            let mask = quoted(&relative(mask, base)?);
            line(&mut text, format!("{hash}mask = {mask}   # for all stories"));
        }
        if dataset == Dataset::Bids {
            line(&mut text, format!("{hash}zscore = \"story\"   # each voxel within each story"));
        }
        if let Some(table) = first_trs {
            let table = quoted(&relative(table, base)?);
            line(&mut text, format!("{hash}first_tr_s = {table}   # of each story"));
        }
        if let Some(confounds) = &files.confounds {
            let confounds = quoted(&format!("{}/{confounds}", relative(&files.folder, base)?));
            line(&mut text, "# detrend = \"cosine:0.01\"   # slow drifts; and head motion:".into());
            line(&mut text, format!("# confounds = {confounds}"));
            line(
                &mut text,
                "# confound_columns = [\"trans_?\", \"rot_?\", \"a_comp_cor_0[0-4]\"]".into(),
            );
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
    match &plan.own_test {
        None => text += SPLIT,
        Some(test) => {
            let test: Vec<String> = test.iter().map(|story| quoted(story)).collect();
            let _ = write!(
                text,
                "\n[split]\nstories = \"own\"          # each subject with all stories that it heard\n\
                 test = [{}]   # every subject heard one of them at least\nseed = 214\n",
                test.join(", ")
            );
        }
    }
    line(&mut text, design(dataset, plan.has_tr_times, plan.files.timing.as_ref()));
    spaces(&mut text, plan, base)?;
    text += &ridge(plan.n_folds);
    Ok(text)
}

const SPLIT: &str = "
[split]
test_fraction = 0.2      # whole stories; or n_test = 19, or test = [\"story\", \"…\"]
seed = 214
";

fn ridge(n_folds: usize) -> String {
    format!(
        "\n[ridge]\n\
         alphas = \"logspace(0,8,17)\"   # weights of the squared norm, one chosen for each voxel\n\
         folds = {n_folds}                     # of whole training stories\n\n\
         # [statistics]\n\
         # delay_profile = true        # what each delay from 0 to 8 TRs predicts alone, per voxel\n\n\
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
    text += "delays = \"1..4\"          # TRs, both ends included; or a list\n";
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
         # [[space]]\n# name = \"both\"\n# combine = [\"{combined}\", \"word_rate\"]\n\n\
         [partition]\nbeyond = \"low_level\"   # what each space adds to it; costs one more model a space\n"
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
