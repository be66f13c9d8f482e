//! One table of STUDY.toml: typed look-ups, and an error for what nobody asked for.

use toml::{Table, Value};

use super::keys::{nearest, of_section};
use crate::error::{Error, Result};

/// A table with its name as the user sees it.
pub(crate) struct Section<'a> {
    /// Section in the list of keys.
    kind: &'static str,
    /// As in the file: `[ridge]`, `[[space]] "glove"`.
    pub place: String,
    table: Option<&'a Table>,
}

impl<'a> Section<'a> {
    /// A table, or nothing where it is not given. Unknown keys are an error here.
    pub fn new(kind: &'static str, place: String, table: Option<&'a Table>) -> Result<Self> {
        for name in table.into_iter().flat_map(Table::keys) {
            if of_section(kind).all(|key| key.name != name) {
                let hint = match nearest(name, of_section(kind).map(|key| key.name)) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => {
                        let known: Vec<_> = of_section(kind).map(|key| key.name).collect();
                        format!("known keys: {}", known.join(", "))
                    }
                };
                let problem = format!("unknown key {name:?}");
                return Err(Error::Usage { place, problem, hint });
            }
        }
        Ok(Self { kind, place, table })
    }

    /// An error about one key of this table.
    pub fn error(&self, name: &str, expected: &str, got: impl std::fmt::Display) -> Error {
        let range = of_section(self.kind).find(|key| key.name == name);
        let hint = range.map_or(String::new(), |key| format!("{}: {}", key.range, key.meaning));
        Error::Usage {
            place: format!("{}, {name}", self.place),
            problem: format!("expected {expected}, got {got}"),
            hint,
        }
    }

    /// The raw value.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        debug_assert!(of_section(self.kind).any(|key| key.name == name), "{name} is a key");
        self.table.and_then(|table| table.get(name))
    }

    /// True if the key is given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        let wrong = |value: &Value| self.error(name, "a text", value);
        self.get(name).map(|value| value.as_str().ok_or_else(|| wrong(value))).transpose()
    }

    pub fn required_text(&self, name: &str) -> Result<&'a str> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.error(name, "a text", "nothing"))
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(name, "true or false", value)),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
        match number.filter(|n| n.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(name, "a number", value)),
        }
    }

    pub fn count(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_integer().and_then(|i| usize::try_from(i).ok()) {
            Some(count) => Ok(Some(count)),
            None => Err(self.error(name, "a whole number ≥ 0", value)),
        }
    }

    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        self.as_texts(name, value).map(Some)
    }

    pub fn as_texts(&self, name: &str, value: &Value) -> Result<Vec<String>> {
        let wrong = || self.error(name, "a list of texts", value);
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong = || self.error(name, "a list of whole numbers", value);
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().map(|item| item.as_integer().ok_or_else(wrong)).collect::<Result<_>>().map(Some)
    }

    pub fn word<T: Copy>(&self, name: &str, words: &[(&str, T)], default: T) -> Result<T> {
        let Some(text) = self.text(name)? else { return Ok(default) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.error(name, &format!("one of {}", known.join(", ")), format!("{text:?}"))
        })
    }
}

/// A whole number from 1 on.
pub(crate) fn at_least_one(section: &Section<'_>, name: &str) -> Result<Option<usize>> {
    match section.count(name)? {
        Some(0) => Err(section.error(name, "at least 1", 0)),
        other => Ok(other),
    }
}

/// A whole number up to `most`.
pub(crate) fn at_most(
    section: &Section<'_>,
    name: &str,
    default: usize,
    most: usize,
) -> Result<usize> {
    match section.count(name)? {
        Some(n) if n > most => Err(section.error(name, &format!("at most {most}"), n)),
        other => Ok(other.unwrap_or(default)),
    }
}
