//! From the text of STUDY.toml to a [`Study`].

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::bands;
use super::bold::{bold_cleaning, bold_files, repeats};
use super::keys::nearest;
use super::kinds::space_kind;
use super::language::{Listed, listed};
use super::section::{Section, at_least_one, at_most};
use super::settings::{
    AlphaConvention, BoldCleaning, BoldFiles, Columns, DelayProfile, Folds, Member, ModelVariant,
    SpaceKind, SpaceSettings, Stability, Statistics, Study, WordTime,
};
use super::split::{check_units, inner, split_how, units};
use crate::backend::Scorer;
use crate::design::delays::{MOST, check_delays, parse_delays};
use crate::design::tr_times::timing_fault;
use crate::design::trim::Trim;
use crate::design::zscore::ZScoreMode;
use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::results::is_free_name;
use crate::results::names::single_delay_name;
use crate::ridge::{AlphaGrid, BandSampling, Solver};
use crate::scoring::delays::LAST_DELAY;
use crate::stimuli::{TimeUnit, Untimed, WordRules};

/// Reads a study from a file.
///
/// # Errors
/// `Error::Read` (exit 3) if the file cannot be read; `Error::Usage` (exit 2) for everything
/// wrong inside it: unknown keys are named, with the nearest known one.
pub fn read(path: &Path) -> Result<Study> {
    let text = read_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    from_text(&text, folder, &path.display().to_string())
}

/// Reads a study from text; `folder` is what its paths are relative to, `name` what errors call it.
/// # Errors
/// As [`read`], without the reading.
pub fn from_text(text: &str, folder: &Path, name: &str) -> Result<Study> {
    let table: Table = toml::from_str(text).map_err(|error| Error::Usage {
        place: name.to_owned(),
        problem: error.to_string().trim_end().to_owned(),
        hint: "the file must be TOML".into(),
    })?;
    const SECTIONS: [&str; 12] = [
        "stories",
        "bold",
        "split",
        "design",
        "space",
        "encoder",
        "ridge",
        "bands",
        "partition",
        "statistics",
        "stability",
        "output",
    ];
    for key in table.keys() {
        if !SECTIONS.contains(&key.as_str()) {
            let hint = match nearest(key, SECTIONS.into_iter()) {
                Some(near) => format!("did you mean [{near}]?"),
                None => format!("known tables: {}", SECTIONS.join(", ")),
            };
            let problem = format!("unknown table or key {key:?}");
            return Err(Error::Usage { place: name.to_owned(), problem, hint });
        }
    }
    let parser = Parser { name, text, table: &table };
    parser.study(folder)
}

/// A subject's name, its BOLD, its single measurements, what to take of the files.
type SubjectBold = ((String, String), (Option<String>, BoldFiles, BoldCleaning));

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    table: &'a Table,
}

impl<'a> Parser<'a> {
    fn error(&self, place: &str, problem: String, hint: &str) -> Error {
        Error::Usage { place: format!("{}: {place}", self.name), problem, hint: hint.into() }
    }

    fn section(&self, kind: &'static str) -> Result<Section<'a>> {
        let table = match self.table.get(kind) {
            None => None,
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                let problem = format!("expected a table, got {}", other.type_str());
                return Err(self.error(&format!("[{kind}]"), problem, "write it as [NAME]"));
            }
        };
        Section::new(kind, format!("{}: [{kind}]", self.name), table)
    }

    fn study(&self, folder: &Path) -> Result<Study> {
        let stories = self.section("stories")?;
        let split = self.section("split")?;
        let design = self.section("design")?;
        let ridge = self.section("ridge")?;
        let output = self.section("output")?;
        let mut spaces = self.spaces()?;
        let partition = self.section("partition")?;
        bands::add_beyond(&partition, &mut spaces)?;
        bands::add_partition(&partition, &mut spaces)?;
        let (bold, more): (_, Vec<_>) = self.bold()?.into_iter().unzip();
        let (mut repeats, mut bold_files, mut bold_cleaning) = (vec![], vec![], vec![]);
        for (of_repeats, of_files, of_cleaning) in more {
            repeats.push(of_repeats);
            bold_files.push(of_files);
            bold_cleaning.push(of_cleaning);
        }
        let given_alphas = alphas(&ridge)?;
        let conventions =
            [("himalaya", AlphaConvention::Himalaya), ("huth", AlphaConvention::Huth)];
        let alpha_convention =
            ridge.word("alpha_convention", &conventions, AlphaConvention::Himalaya)?;
        let tr_s = positive(&design, "tr_s")?.unwrap_or(2.0);
        let first_tr_s = design.number("first_tr_s")?.unwrap_or(-9.0);
        if let Some(fault) = timing_fault(first_tr_s, tr_s) {
            return Err(self.error("[design]", fault, "both are in seconds"));
        }
        let study = Study {
            folder: folder.to_owned(),
            text: self.text.to_owned(),
            stories: PathBuf::from(stories.required_text("path")?),
            respdict: stories.text("respdict")?.map(PathBuf::from),
            words: word_rules(&stories)?,
            skip_missing: stories.word("missing", &[("error", false), ("skip", true)], false)?,
            exclude: stories.texts("exclude")?.unwrap_or_default(),
            bold,
            repeats,
            bold_files,
            bold_cleaning,
            split: split_how(&split)?,
            units: units(&split)?,
            inner: inner(&split)?,
            seed: split.count("seed")?.unwrap_or(214) as u64,
            tr_s,
            first_tr_s,
            trim: match design.text("trim")? {
                Some(text) => {
                    text.parse::<Trim>().map_err(|e| design.error("trim", "HEAD:TAIL", e))?
                }
                None => Trim::default(),
            },
            delays: delays(&design)?,
            variants: variants(&design)?,
            delays_cross_stories: design.word(
                "delay_preset",
                &[("story", false), ("huth-stacked", true)],
                false,
            )?,
            zscore: design.word(
                "zscore",
                &[
                    ("story", ZScoreMode::Story),
                    ("train", ZScoreMode::Train),
                    ("none", ZScoreMode::None),
                ],
                ZScoreMode::Story,
            )?,
            lanczos_window: match design.count("lanczos_window")? {
                None => 3,
                Some(window @ 1..=100) => window,
                Some(other) => return Err(design.error("lanczos_window", "1 to 100", other)),
            },
            cutoff_mult: positive(&design, "cutoff_mult")?.unwrap_or(1.0),
            time: design.word(
                "time",
                &[("mid", WordTime::Mid), ("onset", WordTime::Onset)],
                WordTime::Mid,
            )?,
            alignment_check: design.flag("alignment_check", true)?,
            spaces,
            alphas: match alpha_convention {
                AlphaConvention::Himalaya => given_alphas.clone(),
                AlphaConvention::Huth => given_alphas.clone().from_huth(),
            },
            given_alphas,
            alpha_convention,
            alpha_tolerance: share(&ridge, "alpha_tolerance")?.unwrap_or(0.0),
            basis_tolerance: share(&ridge, "basis_tolerance")?.unwrap_or(1e-5),
            folds: folds(&ridge)?,
            scorer: ridge.word(
                "scorer",
                &[("correlation", Scorer::Correlation), ("r2", Scorer::R2)],
                Scorer::Correlation,
            )?,
            solver: ridge.word(
                "solver",
                &[
                    ("auto", Solver::Auto),
                    ("gram", Solver::Gram),
                    ("svd", Solver::Svd),
                    ("dual", Solver::Dual),
                ],
                Solver::Auto,
            )?,
            fit_intercept: ridge.flag("fit_intercept", true)?,
            weights: output.flag("weights", false)?,
            statistics: statistics(&self.section("statistics")?)?,
            encoder: super::encoder::encoder(&self.section("encoder")?)?,
            bands: bands::sampling(&self.section("bands")?)?,
            stability: stability(&self.section("stability")?)?,
        };
        check_units(self.name, &study)?;
        self.check_single_delays(&study)?;
        Ok(study)
    }

    /// Models of single delays are of spaces that there are, and need names that no space has.
    fn check_single_delays(&self, study: &Study) -> Result<()> {
        let names = || study.spaces.iter().map(|space| space.name.as_str());
        let profile = &study.statistics.delay_profile;
        if let DelayProfile::Spaces(wanted) = profile
            && let Some(unknown) = wanted.iter().find(|wanted| names().all(|name| name != *wanted))
        {
            let near = nearest(unknown, names());
            let hint = near.map_or(String::new(), |near| format!("did you mean {near:?}?"));
            let problem = format!("no space is called {unknown:?}");
            return Err(self.error("[statistics], delay_profile", problem, &hint));
        }
        let singles = |space| (0..=LAST_DELAY).map(move |delay| single_delay_name(delay, space));
        let taken = names().flat_map(singles).find(|single| names().any(|name| name == single));
        match taken.filter(|_| *profile != DelayProfile::All(false)) {
            None => Ok(()),
            Some(taken) => {
                let problem = format!("{taken:?} is what delay_profile calls a model of its own");
                Err(self.error("[[space]]", problem, "give the space another name"))
            }
        }
    }

    /// Subjects with their BOLD, and what belongs to it.
    fn bold(&self) -> Result<Vec<SubjectBold>> {
        let none = "no subject; the study needs BOLD".to_owned();
        let hint = "write [bold.SUBJECT] with path = \"SUBJECT/{story}.npy\"";
        let Some(Value::Table(table)) = self.table.get("bold") else {
            return Err(self.error("[bold.SUBJECT]", none, hint));
        };
        let mut subjects = Vec::new();
        for (subject, value) in table {
            let Value::Table(table) = value else {
                let problem =
                    format!("expected a table for each subject, got {}", value.type_str());
                return Err(self.error(&format!("[bold], {subject}"), problem, hint));
            };
            check_name(&format!("{}: [bold.{subject}]", self.name), subject)?;
            let place = format!("{}: [bold.{subject}]", self.name);
            let section = Section::new("bold", place, Some(table))?;
            let path = section.required_text("path")?;
            let more =
                (repeats(&section, path)?, bold_files(&section, path)?, bold_cleaning(&section)?);
            subjects.push(((subject.clone(), path.to_owned()), more));
        }
        if subjects.is_empty() {
            return Err(self.error("[bold.SUBJECT]", none, hint));
        }
        Ok(subjects)
    }

    fn spaces(&self) -> Result<Vec<SpaceSettings>> {
        let hint = "write [[space]] with name and kind";
        let list = match self.table.get("space") {
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(Value::Table(_)) => {
                let problem = "expected a list of tables, got one table".to_owned();
                return Err(self.error("[space]", problem, "write [[space]] with double brackets"));
            }
            _ => return Err(self.error("[[space]]", "no feature space".to_owned(), hint)),
        };
        let mut spaces: Vec<SpaceSettings> = Vec::new();
        let mut combines: Vec<(usize, Vec<String>, String)> = Vec::new();
        let sampling = bands::sampling(&self.section("bands")?)?;
        for (index, value) in list.iter().enumerate() {
            let Value::Table(table) = value else {
                let problem = format!("expected a table, got {}", value.type_str());
                return Err(self.error("[[space]]", problem, hint));
            };
            let label = table.get("name").and_then(Value::as_str).map(|name| format!("\"{name}\""));
            let label = label.unwrap_or_else(|| format!("number {}", index + 1));
            let place = format!("{}: [[space]] {label}", self.name);
            let section = Section::new("space", place, Some(table))?;
            if let Some(parts) = section.texts("combine")? {
                combines.push((spaces.len(), parts, section.place.clone()));
            }
            let listed = listed(&section, table)?;
            if listed.is_empty() {
                spaces.push(one_space(&section, None, &spaces, &sampling)?);
            }
            for one in &listed {
                let section = Section::new("space", section.place.clone(), Some(&one.table))?;
                spaces.push(one_space(&section, Some(one), &spaces, &sampling)?);
            }
        }
        for (index, parts, place) in combines {
            let parts = parts
                .iter()
                .map(|part| self.combined_part(&spaces, index, part, &place))
                .collect::<Result<Vec<_>>>()?;
            spaces[index].kind = SpaceKind::Combine(parts);
        }
        if spaces.iter().all(|space| !space.fit) {
            let problem = "every space says fit = false".to_owned();
            return Err(self.error("[[space]]", problem, "at least one must be fitted"));
        }
        Ok(spaces)
    }

    fn combined_part(
        &self,
        spaces: &[SpaceSettings],
        own: usize,
        part: &str,
        place: &str,
    ) -> Result<usize> {
        let found = spaces.iter().position(|space| space.name == part);
        let problem = match found {
            Some(index) if index == own => format!("{part:?} combines itself"),
            Some(index) if matches!(spaces[index].kind, SpaceKind::Combine(_)) => {
                format!("{part:?} is itself a combination")
            }
            Some(index) => return Ok(index),
            None => format!("no space is called {part:?}"),
        };
        let names = spaces.iter().map(|space| space.name.as_str());
        let hint = match nearest(part, names.clone()) {
            Some(near) if found.is_none() => format!("did you mean {near:?}?"),
            _ => format!("spaces: {}", names.collect::<Vec<_>>().join(", ")),
        };
        Err(Error::Usage { place: format!("{place}, combine"), problem, hint })
    }
}

/// A `[[space]]`, or one of those that its lists ask for; the parts of a combination come later.
fn one_space(
    section: &Section<'_>,
    listed: Option<&Listed>,
    others: &[SpaceSettings],
    sampling: &BandSampling,
) -> Result<SpaceSettings> {
    let kind = space_kind(section)?;
    let family = match section.text("name")? {
        Some(name) => name.to_owned(),
        None if section.has("combine") => return Err(section.error("name", "a text", "nothing")),
        None => kind.label().to_owned(),
    };
    let name = family.clone() + &listed.map(Listed::suffix).unwrap_or_default();
    check_name(&section.place, &name)?;
    if name.ends_with("-lagged") {
        let expected = "a name that does not end in -lagged";
        return Err(section.error("name", expected, format!("{name:?}")));
    }
    if others.iter().any(|space| space.name == name) {
        let expected = "a name of its own for each space";
        return Err(section.error("name", expected, format!("{name:?} twice")));
    }
    let columns = match bands::is_banded(section)? {
        true => Columns::Banded(sampling.clone()),
        false => Columns::Alike,
    };
    let member = listed.map(|one| Member { family, layer: one.layer, past: one.past });
    Ok(SpaceSettings { name, kind, fit: section.flag("fit", true)?, columns, member })
}

/// Names become folders: letters, digits, `-`, `_`, `.`, and not `.` in front; no file of a results
/// folder, which would be in the folder's place.
fn check_name(place: &str, name: &str) -> Result<()> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name =
        !name.is_empty() && name.len() <= 100 && name.chars().all(fine) && !name.starts_with('.');
    let problem = match is_name {
        false => format!("expected a name of letters, digits, - _ and ., got {name:?}"),
        true if !is_free_name(name) => format!("{name:?} is the name of a file of the results"),
        true => return Ok(()),
    };
    Err(Error::Usage { place: place.to_owned(), problem, hint: "names become folders".into() })
}

fn word_rules(stories: &Section<'_>) -> Result<WordRules> {
    let expected = "\"s\", \"ms\" or the seconds of one unit, > 0";
    let time_unit = match stories.get("time_unit") {
        None => None,
        Some(value) => {
            let number = value.as_float().or_else(|| value.as_integer().map(|n| n as f64));
            let unit = match value.as_str() {
                Some(name @ ("s" | "ms")) => TimeUnit::of_name(name),
                Some(_) => None,
                None => number.and_then(TimeUnit::of_seconds),
            };
            Some(unit.ok_or_else(|| stories.error("time_unit", expected, value))?)
        }
    };
    let text = |name: &str| -> Result<Option<String>> {
        match stories.text(name)? {
            Some("") => Err(stories.error(name, "a text", "nothing")),
            other => Ok(other.map(str::to_owned)),
        }
    };
    Ok(WordRules {
        time_unit,
        story_column: text("story_column")?,
        not_words: stories.texts("not_words")?.unwrap_or_default(),
        keep_marks: stories.flag("keep_marks", false)?,
        untimed: stories.word("untimed", &Untimed::WORDS, Untimed::Skip)?,
        tier: text("tier")?,
    })
}

fn positive(section: &Section<'_>, name: &str) -> Result<Option<f64>> {
    match section.number(name)? {
        Some(value) if value <= 0.0 => Err(section.error(name, "a number > 0", value)),
        other => Ok(other),
    }
}

fn share(section: &Section<'_>, name: &str) -> Result<Option<f64>> {
    match section.number(name)? {
        Some(value) if !(0.0..1.0).contains(&value) => {
            Err(section.error(name, "0 or more and less than 1", value))
        }
        other => Ok(other),
    }
}

fn delays(design: &Section<'_>) -> Result<Vec<i64>> {
    const EXPECTED: &str = "a list of whole numbers, or \"FROM..TO\"";
    let delays = match design.get("delays") {
        None => return Ok(vec![1, 2, 3, 4]),
        Some(Value::String(range)) => parse_delays(range)
            .map_err(|_| design.error("delays", EXPECTED, format!("{range:?}")))?,
        Some(value) => match design.integers("delays") {
            Ok(list) => list.unwrap_or_default(),
            Err(_) => return Err(design.error("delays", EXPECTED, value)),
        },
    };
    check_delays(&delays).map_err(|e| design.error("delays", "different whole numbers", e))?;
    match delays.iter().find(|d| d.abs() > MOST) {
        Some(far) => Err(design.error("delays", &format!("delays of at most {MOST} TRs"), far)),
        None => Ok(delays),
    }
}

fn variants(design: &Section<'_>) -> Result<Vec<ModelVariant>> {
    let Some(names) = design.texts("variants")? else {
        return Ok(vec![ModelVariant::Lagged, ModelVariant::Plain]);
    };
    let mut variants = Vec::new();
    for name in &names {
        let variant = match name.as_str() {
            "lagged" => ModelVariant::Lagged,
            "plain" => ModelVariant::Plain,
            _ => return Err(design.error("variants", "lagged or plain", format!("{name:?}"))),
        };
        if variants.contains(&variant) {
            return Err(design.error("variants", "each variant once", format!("{name:?} twice")));
        }
        variants.push(variant);
    }
    if variants.is_empty() {
        return Err(design.error("variants", "lagged, plain or both", "an empty list"));
    }
    Ok(variants)
}

/// The grid as it is given.
fn alphas(ridge: &Section<'_>) -> Result<AlphaGrid> {
    Ok(match ridge.get("alphas") {
        None => AlphaGrid::logspace(0.0, 8.0, 17)?,
        Some(Value::String(text)) => {
            text.parse().map_err(|e| ridge.error("alphas", "a grid of alphas", e))?
        }
        Some(Value::Array(list)) => {
            let number = |value: &Value| {
                let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
                number.ok_or_else(|| ridge.error("alphas", "numbers", value))
            };
            let alphas = list.iter().map(number).collect::<Result<Vec<_>>>()?;
            AlphaGrid::new(alphas).map_err(|e| ridge.error("alphas", "a grid of alphas", e))?
        }
        Some(other) => return Err(ridge.error("alphas", "a text or a list of numbers", other)),
    })
}

fn folds(ridge: &Section<'_>) -> Result<Folds> {
    match ridge.get("folds") {
        None => Ok(Folds::Count(5)),
        Some(Value::String(text)) if text == "loso" => Ok(Folds::LeaveOneStoryOut),
        Some(Value::Integer(k)) if *k >= 2 => {
            Ok(Folds::Count(usize::try_from(*k).unwrap_or(usize::MAX)))
        }
        Some(Value::Array(lists)) if lists.len() >= 2 => {
            let folds = lists
                .iter()
                .map(|list| ridge.as_texts("folds", list))
                .collect::<Result<Vec<_>>>()?;
            match folds.iter().any(Vec::is_empty) {
                true => Err(ridge.error("folds", "stories in every fold", "an empty fold")),
                false => Ok(Folds::Names(folds)),
            }
        }
        Some(other) => Err(ridge.error(
            "folds",
            "a number ≥ 2, \"loso\" or at least two lists of names",
            other,
        )),
    }
}

fn statistics(section: &Section<'_>) -> Result<Statistics> {
    Ok(Statistics {
        permutations: at_most(section, "permutations", 1000, 100_000)?,
        block_trs: at_least_one(section, "block_trs")?.unwrap_or(10),
        q: match section.number("q")?.unwrap_or(0.05) {
            q if q > 0.0 && q < 1.0 => q,
            other => return Err(section.error("q", "more than 0 and less than 1", other)),
        },
        resamples: at_most(section, "resamples", 10_000, 1_000_000)?,
        seed: section.count("seed")?.unwrap_or(214) as u64,
        delay_profile: match section.get("delay_profile") {
            Some(Value::Array(_)) => {
                DelayProfile::Spaces(section.texts("delay_profile")?.unwrap_or_default())
            }
            _ => DelayProfile::All(section.flag("delay_profile", false)?),
        },
    })
}

fn stability(section: &Section<'_>) -> Result<Stability> {
    Ok(Stability {
        splits: at_most(section, "splits", 0, 1000)?,
        learning_curve: at_most(section, "learning_curve", 0, 100)?,
    })
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
