//! A study written out as STUDY.toml is laid out: every key under its table, with the value that
//! holds. run.json keeps it, and fingerprints hash it.

use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::language::{Epoch, LanguageSpace, ModelSource};
use super::settings::{
    AlphaConvention, BoldCleaning, Censor, Columns, FileRows, FileSpace, FirstTr, Folds, Inner,
    ModelVariant, PhoneColumns, PhoneSpace, SpaceKind, SpaceSettings, SplitHow, Stability,
    Statistics, Study, Units, WordTime,
};
use crate::backend::Scorer;
use crate::design::trim::Trim;
use crate::design::zscore::ZScoreMode;
use crate::features::windows::ContextSettings;
use crate::io::matrix_file::DATASET;
use crate::nn::TrainSettings;
use crate::report::record::ByName;
use crate::ridge::{BandSampling, Solver};
use crate::stimuli::spelling::Punctuation;
use crate::stimuli::{Untimed, WordRules};

/// Keys that a space's kind does not have are left out; those that were not given and have no
/// default are null.
#[derive(Serialize)]
struct Record<'a> {
    stories: Stories<'a>,
    bold: ByName<Bold<'a>>,
    split: Split<'a>,
    design: Design<'a>,
    space: Vec<Space<'a>>,
    encoder: &'a TrainSettings,
    ridge: Ridge<'a>,
    bands: &'a BandSampling,
    partition: Partition<'a>,
    statistics: &'a Statistics,
    stability: Stability,
    output: Output,
}

#[derive(Serialize)]
struct Stories<'a> {
    path: &'a Path,
    respdict: Option<&'a Path>,
    missing: &'static str,
    exclude: &'a [String],
    #[serde(flatten)]
    words: Words<'a>,
}

/// How words are read.
#[derive(Serialize)]
struct Words<'a> {
    time_unit: Value,
    story_column: Option<&'a str>,
    not_words: &'a [String],
    keep_marks: bool,
    untimed: &'static str,
    tier: Option<&'a str>,
}

impl<'a> Words<'a> {
    fn of(rules: &'a WordRules) -> Self {
        let WordRules { time_unit, story_column, not_words, keep_marks, untimed, tier } = rules;
        Self {
            time_unit: match time_unit.map_or(1.0, |unit| unit.to_seconds(1.0)) {
                1.0 => "s".into(),
                0.001 => "ms".into(),
                seconds => seconds.into(),
            },
            story_column: story_column.as_deref(),
            not_words,
            keep_marks: *keep_marks,
            untimed: label(&Untimed::WORDS, *untimed),
            tier: tier.as_deref(),
        }
    }
}

/// The word of a setting.
fn label<T: PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

#[derive(Serialize)]
struct Bold<'a> {
    path: &'a str,
    mask: Option<&'a Path>,
    pixels: Option<&'a Path>,
    dataset: &'a str,
    transpose: bool,
    repeats: Option<&'a str>,
    trim: String,
    detrend: Option<String>,
    confounds: Option<&'a str>,
    confound_columns: Option<&'a [String]>,
    censor: Option<&'a str>,
    zscore: &'static str,
    first_tr_s: Option<Value>,
}

#[derive(Serialize)]
struct Split<'a> {
    test_fraction: Option<f64>,
    n_test: Option<usize>,
    test: Option<&'a [String]>,
    seed: u64,
    /// Left out of what is hashed where it is the default, so that older results stay known.
    #[serde(flatten)]
    units: Option<UnitsRecord>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<String>,
}

#[derive(Serialize)]
struct UnitsRecord {
    stories: &'static str,
    unit: &'static str,
    block_trs: usize,
    gap_trs: usize,
}

impl UnitsRecord {
    fn of(units: Units) -> Self {
        let Units { own, by_block, block_trs, gap_trs } = units;
        Self {
            stories: if own { "own" } else { "shared" },
            unit: if by_block { "block" } else { "story" },
            block_trs,
            gap_trs,
        }
    }
}

#[derive(Serialize)]
struct Design<'a> {
    tr_s: f64,
    first_tr_s: f64,
    trim: String,
    delays: &'a [i64],
    variants: &'a [ModelVariant],
    delay_preset: &'static str,
    zscore: ZScoreMode,
    lanczos_window: usize,
    cutoff_mult: f64,
    time: WordTime,
    alignment_check: bool,
}

#[derive(Serialize, Default)]
struct Space<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    combine: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    banded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_words: Option<Option<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lowercase: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    punctuation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trained: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    #[serde(flatten)]
    reading: Option<&'a ContextSettings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<Option<&'a Path>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<PhoneColumns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_tier: Option<Option<&'a str>>,
    fit: bool,
}

#[derive(Serialize)]
struct Ridge<'a> {
    alphas: &'a [f64],
    alpha_convention: AlphaConvention,
    alpha_tolerance: f64,
    folds: &'a Folds,
    scorer: Scorer,
    solver: Solver,
    fit_intercept: bool,
    basis_tolerance: f64,
}

#[derive(Serialize)]
struct Partition<'a> {
    spaces: Option<Vec<&'a str>>,
    beyond: Option<&'a str>,
}

#[derive(Serialize)]
struct Output {
    weights: bool,
}

impl Serialize for Study {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Record::of(self).serialize(to)
    }
}

/// The settings as a fingerprint sees them.
pub fn hashed_settings(study: &Study) -> String {
    let mut record = Record::of(study);
    if study.units == Units::SHARED_STORIES {
        record.split.units = None;
    }
    if study.inner == Inner::Auto {
        record.split.inner = None;
    }
    serde_json::to_string(&record).expect("settings are numbers, texts and lists of them")
}

impl<'a> Record<'a> {
    fn of(study: &'a Study) -> Self {
        // No `..`: a setting that is added is written down, or does not compile.
        let Study {
            folder: _,
            text: _,
            stories,
            words,
            respdict,
            skip_missing,
            exclude,
            bold,
            repeats,
            bold_files,
            bold_cleaning,
            split,
            units,
            inner,
            seed,
            tr_s,
            first_tr_s,
            trim,
            delays,
            variants,
            delays_cross_stories,
            zscore,
            lanczos_window,
            cutoff_mult,
            time,
            alignment_check,
            spaces,
            alphas: _, // what follows from the two below
            given_alphas,
            alpha_convention,
            alpha_tolerance,
            basis_tolerance,
            folds,
            scorer,
            solver,
            fit_intercept,
            weights,
            statistics,
            encoder,
            bands,
            stability,
        } = study;
        let subjects = bold.iter().zip(repeats).zip(bold_files).zip(bold_cleaning);
        let bold = subjects.map(|((((subject, path), repeats), files), cleaning)| {
            let BoldCleaning { trim, zscore, detrend, confounds, confound_columns, .. } = cleaning;
            let of_subject = Bold {
                path,
                mask: files.mask.as_deref(),
                pixels: files.pixels.as_deref(),
                dataset: files.dataset.as_deref().unwrap_or(DATASET),
                transpose: files.transpose,
                repeats: repeats.as_deref(),
                trim: trim.unwrap_or(Trim::NONE).to_string(),
                detrend: detrend.map(|detrend| detrend.to_string()),
                confounds: confounds.as_deref(),
                confound_columns: confound_columns.as_deref(),
                censor: cleaning.censor.as_ref().map(|censor| match censor {
                    Censor::Column(text) | Censor::File(text) => text.as_str(),
                }),
                zscore: if *zscore { "story" } else { "none" },
                first_tr_s: match &cleaning.first_tr {
                    FirstTr::Design => None,
                    FirstTr::At(first) => Some(json!(first)),
                    FirstTr::Table(path) => Some(json!(path)),
                },
            };
            (subject.as_str(), of_subject)
        });
        let (test_fraction, n_test, test) = match split {
            SplitHow::Fraction(share) => (Some(*share), None, None),
            SplitHow::Count(n) => (None, Some(*n), None),
            SplitHow::Names(names) => (None, None, Some(names.as_slice())),
        };
        let name = |&space: &usize| spaces[space].name.as_str();
        let parts = spaces.iter().find_map(|space| match (&space.kind, &space.columns) {
            (SpaceKind::Combine(parts), Columns::Part { kept, .. }) if kept.iter().all(|&k| k) => {
                Some(parts.iter().map(name).collect())
            }
            _ => None,
        });
        let beyond = spaces.iter().find_map(|space| match &space.columns {
            Columns::Beyond { base, .. } => Some(name(base)),
            _ => None,
        });
        let is_written = |space: &&SpaceSettings| space.columns.is_given();
        Self {
            stories: Stories {
                path: stories,
                respdict: respdict.as_deref(),
                missing: if *skip_missing { "skip" } else { "error" },
                exclude,
                words: Words::of(words),
            },
            bold: bold.collect(),
            split: Split {
                test_fraction,
                n_test,
                test,
                seed: *seed,
                units: Some(UnitsRecord::of(*units)),
                inner: Some(match inner {
                    Inner::Auto => "auto".into(),
                    Inner::Off => "none".into(),
                    Inner::Edges(edges) => edges.to_string(),
                }),
            },
            design: Design {
                tr_s: *tr_s,
                first_tr_s: *first_tr_s,
                trim: trim.to_string(),
                delays,
                variants,
                delay_preset: if *delays_cross_stories { "huth-stacked" } else { "story" },
                zscore: *zscore,
                lanczos_window: *lanczos_window,
                cutoff_mult: *cutoff_mult,
                time: *time,
                alignment_check: *alignment_check,
            },
            space: spaces.iter().filter(is_written).map(|space| Space::of(space, name)).collect(),
            encoder,
            ridge: Ridge {
                alphas: given_alphas.values(),
                alpha_convention: *alpha_convention,
                alpha_tolerance: *alpha_tolerance,
                folds,
                scorer: *scorer,
                solver: *solver,
                fit_intercept: *fit_intercept,
                basis_tolerance: *basis_tolerance,
            },
            bands,
            partition: Partition { spaces: parts, beyond },
            statistics,
            stability: *stability,
            output: Output { weights: *weights },
        }
    }
}

impl<'a> Space<'a> {
    fn of(space: &'a SpaceSettings, name: impl Fn(&usize) -> &'a str) -> Self {
        let SpaceSettings { name: own, kind, fit, columns, member: _ } = space;
        let base = Self { name: own, fit: *fit, kind: Some(kind.label()), ..Self::default() };
        match kind {
            SpaceKind::Bow(bow) => Self {
                min_count: Some(bow.min_count),
                max_words: Some(bow.max_words),
                lowercase: Some(bow.lowercase),
                punctuation: Some(label(&Punctuation::WORDS, bow.punctuation)),
                ..base
            },
            SpaceKind::Word2Vec(path) | SpaceKind::Glove(path) | SpaceKind::Eng1000(path) => {
                Self { vectors: Some(path), ..base }
            }
            SpaceKind::File(FileSpace { path, dataset, rows, names }) => Self {
                path: Some(path),
                dataset: Some(dataset.as_deref()),
                rows: Some(rows.label()),
                times: Some(match rows {
                    FileRows::Times(times) => Some(times),
                    FileRows::Words | FileRows::Trs => None,
                }),
                names: Some(names.as_deref()),
                ..base
            },
            SpaceKind::Column(columns) => Self { columns: Some(columns), ..base },
            SpaceKind::Phones(PhoneSpace { what, tier }) => {
                Self { what: Some(*what), phone_tier: Some(tier.as_deref()), ..base }
            }
            SpaceKind::Bert(LanguageSpace { model, reading, punctuation: _ })
            | SpaceKind::Lm(LanguageSpace { model, reading, punctuation: _ }) => {
                let ModelSource::Folder(folder) = model else { return base };
                Self { model: Some(folder), reading: Some(reading), ..base }
            }
            SpaceKind::Encoder(LanguageSpace { model, reading, punctuation }) => {
                let punctuation = punctuation.map(|how| label(&Punctuation::WORDS, how));
                let base = Self { reading: Some(reading), punctuation, ..base };
                match model {
                    ModelSource::Folder(folder) => Self { model: Some(folder), ..base },
                    ModelSource::Trained(epoch) => {
                        Self { trained: Some(true), epoch: Some(*epoch), ..base }
                    }
                    ModelSource::Untrained => Self { trained: Some(false), ..base },
                }
            }
            SpaceKind::WordRate | SpaceKind::WordLength | SpaceKind::Position => base,
            SpaceKind::Combine(parts) => Self {
                kind: None,
                combine: Some(parts.iter().map(name).collect()),
                banded: Some(matches!(columns, Columns::Banded(_))),
                ..base
            },
        }
    }
}

impl Serialize for Folds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Folds::Count(k) => k.serialize(to),
            Folds::LeaveOneStoryOut => "loso".serialize(to),
            Folds::Names(lists) => lists.serialize(to),
        }
    }
}

/// Settings that decide a space's rows: not its name, and not where its files are, which are known by
/// their content.
pub fn settings_of_rows(study: &Study, index: usize) -> Value {
    let name = |&space: &usize| study.spaces[space].name.as_str();
    let space = Space::of(&study.spaces[index], name);
    // Of files only which of them there are: names of columns are written into model.json.
    let names = space.names.map(|names| names.map(|_| Path::new("")));
    json!(Space {
        name: "",
        vectors: None,
        model: None,
        path: None,
        times: None,
        names,
        fit: true,
        ..space
    })
}

/// The main settings in one flat list, as run.json has had them since its first version.
pub fn main_settings(study: &Study) -> Map<String, Value> {
    let bold = study.bold.iter().map(|(subject, path)| (subject.clone(), path.clone().into()));
    let settings = json!({
        "stories": study.stories,
        "bold": bold.collect::<Map<_, Value>>(),
        "tr_s": study.tr_s, "first_tr_s": study.first_tr_s, "trim": study.trim.to_string(),
        "delays": study.delays, "variants": study.variants,
        "delay_preset": if study.delays_cross_stories { "huth-stacked" } else { "story" },
        "zscore": study.zscore, "lanczos_window": study.lanczos_window,
        "cutoff_mult": study.cutoff_mult, "time": study.time, "folds": study.folds,
        "scorer": study.scorer, "fit_intercept": study.fit_intercept,
        "alpha_tolerance": study.alpha_tolerance, "basis_tolerance": study.basis_tolerance,
        "weights": study.weights, "statistics": study.statistics, "stability": study.stability,
    });
    match settings {
        Value::Object(map) => map,
        _ => Map::new(), // An object is an object.
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use crate::study_file::from_text;
    use crate::study_file::keys::keys;

    /// Every kind of space, and every table.
    const STUDY: &str = r#"
        [stories]
        path = "w.tsv"
        [bold.s1]
        path = "{story}.npy"
        [[space]]
        kind = "glove"
        vectors = "v.txt"
        [[space]]
        kind = "bow"
        max_words = 7
        [[space]]
        kind = "bert"
        model = "m"
        layer = 3
        [[space]]
        kind = "encoder"
        epoch = "last"
        [[space]]
        name = "both"
        combine = ["glove", "bow"]
        banded = true
        [[space]]
        kind = "file"
        path = "f/{story}.npy"
        rows = "times"
        times = "t/{story}.npy"
        [[space]]
        name = "surprisal"
        kind = "column"
        columns = ["surprisal"]
        [[space]]
        kind = "phones"
        [[space]]
        kind = "lm"
        model = "m.gguf"
        past = [32]
        [partition]
        spaces = ["bow", "glove"]
        beyond = "surprisal"
        [ridge]
        alphas = [1, 2, 3]
        alpha_convention = "huth"
        folds = "loso"
    "#;

    #[test]
    fn every_key_of_a_study_file_is_in_the_record() {
        let study = from_text(STUDY, Path::new("."), "S.toml").unwrap();
        let record = serde_json::to_value(&study).unwrap();
        for key in keys() {
            let tables: Vec<&Value> = match key.section {
                "bold" => vec![&record["bold"]["s1"]],
                "space" => record["space"].as_array().unwrap().iter().collect(),
                section => vec![&record[section]],
            };
            let has = |table: &&Value| table.as_object().is_some_and(|t| t.contains_key(key.name));
            assert!(tables.iter().any(has), "[{}] {}", key.section, key.name);
        }
        let spaces = &record["space"];
        assert_eq!((&spaces[0]["vectors"], &spaces[1]["max_words"]), (&"v.txt".into(), &7.into()));
        assert_eq!((&spaces[2]["layer"], &spaces[3]["epoch"]), (&3.into(), &"last".into()));
        assert_eq!(spaces[4]["combine"], serde_json::json!(["glove", "bow"]));
        assert_eq!(
            (&spaces[5]["times"], &spaces[5]["names"]),
            (&"t/{story}.npy".into(), &Value::Null)
        );
        assert_eq!(
            (&spaces[6]["columns"][0], &spaces[7]["what"]),
            (&"surprisal".into(), &"rate".into())
        );
        assert_eq!(
            (&spaces[8]["name"], &spaces[8]["window"], &spaces[8]["pool"]),
            (&"lm.past32".into(), &64.into(), &"last".into())
        );
        assert_eq!(spaces.as_array().unwrap().len(), 9, "parts of the partition are no spaces");
        let partition = serde_json::json!({"spaces": ["bow", "glove"], "beyond": "surprisal"});
        assert_eq!(record["partition"], partition);
        assert_eq!(record["ridge"]["alphas"], serde_json::json!([1.0, 2.0, 3.0]));
        assert_eq!(
            (&record["ridge"]["folds"], &record["split"]["n_test"]),
            (&"loso".into(), &Value::Null)
        );
    }

    #[test]
    fn a_default_that_is_written_down_changes_nothing() {
        let write = |lines: &str| {
            let study = from_text(&format!("{STUDY}{lines}"), Path::new("."), "S.toml").unwrap();
            serde_json::to_string(&study).unwrap()
        };
        assert_eq!(write(""), write("[statistics]\nq = 0.05\n[bands]\nseed = 214"));
        assert_ne!(write(""), write("[bands]\nseed = 215"));
    }
}
