//! `kind` of a `[[space]]`, and the keys that each kind has.

use super::language;
use super::section::Section;
use super::section::at_least_one;
use super::settings::{FileRows, FileSpace, PhoneColumns, PhoneSpace, SpaceKind};
use crate::error::Result;
use crate::features::bow::BowSettings;
use crate::stimuli::spelling::Punctuation;

const BOW: &[&str] = &["min_count", "max_words", "lowercase", "punctuation"];
const FILE: &[&str] = &["path", "dataset", "rows", "times", "names"];
const PHONES: &[&str] = &["what", "phone_tier"];
const VECTORS: &[&str] = &["vectors"];
const COLUMN: &[&str] = &["columns"];

/// A kind from the keys of a `[[space]]`; `place` is what errors call it.
/// # Errors
/// `Error::Usage`.
pub fn kind_of_keys(place: &str, keys: &toml::Table) -> Result<SpaceKind> {
    space_kind(&Section::new("space", place.to_owned(), Some(keys))?)
}

/// What makes a space's rows; a combination's parts are filled in later.
pub(crate) fn space_kind(section: &Section<'_>) -> Result<SpaceKind> {
    if section.has("combine") {
        if section.has("kind") {
            return Err(section.error("combine", "either kind or combine", "both"));
        }
        if section.texts("combine")?.is_none_or(|parts| parts.is_empty()) {
            return Err(section.error("combine", "names of spaces", "an empty list"));
        }
        return Ok(SpaceKind::Combine(Vec::new()));
    }
    let kind = section.required_text("kind")?;
    let vectors = || section.required_text("vectors");
    let (made, allowed): (SpaceKind, &[&str]) = match kind {
        "bow" => (SpaceKind::Bow(bow(section)?), BOW),
        "word2vec" => (SpaceKind::Word2Vec(vectors()?.into()), VECTORS),
        "glove" => (SpaceKind::Glove(vectors()?.into()), VECTORS),
        "eng1000" => (SpaceKind::Eng1000(vectors()?.into()), VECTORS),
        "bert" => (SpaceKind::Bert(language::bert(section)?), language::BERT_KEYS),
        "encoder" => (SpaceKind::Encoder(language::encoder(section)?), language::ENCODER_KEYS),
        "lm" => (SpaceKind::Lm(language::lm(section)?), language::LM_KEYS),
        "word_rate" => (SpaceKind::WordRate, &[]),
        "word_length" => (SpaceKind::WordLength, &[]),
        "phones" => (SpaceKind::Phones(phones(section)?), PHONES),
        "column" => (SpaceKind::Column(columns(section)?), COLUMN),
        "position" => (SpaceKind::Position, &[]),
        "file" => (SpaceKind::File(file(section)?), FILE),
        other => {
            let expected = "one of bow, word2vec, glove, eng1000, bert, encoder, lm, word_rate, \
                            word_length, phones, column, position, file";
            return Err(section.error("kind", expected, format!("{other:?}")));
        }
    };
    let of_kinds = [BOW, VECTORS, &language::KEYS, PHONES, COLUMN, FILE];
    let is_stray = |key: &&&str| section.has(key) && !allowed.contains(*key);
    match of_kinds.into_iter().flatten().find(is_stray) {
        None => Ok(made),
        Some(key) => Err(section.error(key, &format!("no such key for kind = {kind:?}"), "one")),
    }
}

fn bow(section: &Section<'_>) -> Result<BowSettings> {
    Ok(BowSettings {
        min_count: at_least_one(section, "min_count")?.unwrap_or(1),
        max_words: at_least_one(section, "max_words")?,
        lowercase: section.flag("lowercase", true)?,
        punctuation: section.word("punctuation", &Punctuation::WORDS, Punctuation::Strip)?,
    })
}

fn phones(section: &Section<'_>) -> Result<PhoneSpace> {
    let tier = match section.text("phone_tier")? {
        Some("") => return Err(section.error("phone_tier", "the name of a tier", "nothing")),
        other => other.map(str::to_owned),
    };
    let what = section.word("what", &PhoneColumns::WORDS, PhoneColumns::Rate)?;
    Ok(PhoneSpace { what, tier })
}

fn columns(section: &Section<'_>) -> Result<Vec<String>> {
    let names = section.texts("columns")?.unwrap_or_default();
    if names.is_empty() {
        return Err(section.error("columns", "names of columns", "none"));
    }
    match (1..names.len()).find(|&i| names[..i].contains(&names[i])) {
        None => Ok(names),
        Some(i) => {
            Err(section.error("columns", "each column once", format!("{:?} twice", names[i])))
        }
    }
}

fn file(section: &Section<'_>) -> Result<FileSpace> {
    let path = section.required_text("path")?;
    let dataset = section.text("dataset")?;
    let has_story = |text: &str| text.contains("{story}");
    let in_dataset = dataset.is_some_and(has_story);
    if !has_story(path) && !in_dataset {
        let got = format!("{path:?}");
        return Err(section.error("path", "{story} in path or in dataset", got));
    }
    let times = section.text("times")?;
    let rows = match (section.text("rows")?.unwrap_or("words"), times) {
        ("words", None) => FileRows::Words,
        ("trs", None) => FileRows::Trs,
        ("times", None) => return Err(section.error("times", "files of seconds", "nothing")),
        ("times", Some(times)) if times == path => {
            return Err(section.error("times", "files of seconds of their own", "path again"));
        }
        ("times", Some(times)) if has_story(times) || in_dataset => {
            FileRows::Times(times.to_owned())
        }
        ("times", Some(times)) => {
            return Err(section.error("times", "a path with {story}", format!("{times:?}")));
        }
        ("words" | "trs", Some(_)) => {
            return Err(section.error("times", "rows = \"times\" beside it", "other rows"));
        }
        (other, _) => {
            let expected = "one of words, trs, times";
            return Err(section.error("rows", expected, format!("{other:?}")));
        }
    };
    Ok(FileSpace {
        path: path.to_owned(),
        dataset: dataset.map(str::to_owned),
        rows,
        names: section.text("names")?.map(Into::into),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::study_file::{SpaceSettings, from_text};

    /// The kind of the one space of a study.
    pub fn kind(lines: &str) -> Result<SpaceKind> {
        spaces(lines).map(|spaces| spaces[0].kind.clone())
    }

    /// The spaces that one `[[space]]` asks for.
    pub fn spaces(lines: &str) -> Result<Vec<SpaceSettings>> {
        let text =
            format!("[stories]\npath='w.tsv'\n[bold.s]\npath='{{story}}.npy'\n[[space]]\n{lines}");
        from_text(&text, Path::new("."), "S.toml").map(|study| study.spaces)
    }

    #[test]
    fn every_key_of_a_kind_reaches_its_setting() {
        let file = |rows| FileSpace {
            path: "f/{story}.h5".into(),
            dataset: Some("x".into()),
            rows,
            names: Some("n.txt".into()),
        };
        let keys = "kind='file'\npath='f/{story}.h5'\ndataset='x'\nnames='n.txt'\n";
        for (lines, rows) in [
            ("", FileRows::Words),
            ("rows='words'", FileRows::Words),
            ("rows='trs'", FileRows::Trs),
            ("rows='times'\ntimes='t/{story}.npy'", FileRows::Times("t/{story}.npy".into())),
        ] {
            let found = kind(&format!("{keys}{lines}")).unwrap();
            assert_eq!(found, SpaceKind::File(file(rows)), "{lines}");
        }
        let phones = kind("kind='phones'\nwhat='identity'\nphone_tier='MAU'").unwrap();
        let space = PhoneSpace { what: PhoneColumns::Identity, tier: Some("MAU".into()) };
        assert_eq!(phones, SpaceKind::Phones(space));
        assert!(phones.depends_on_training());
        assert!(!kind("kind='phones'").unwrap().depends_on_training());
        let columns = kind("kind='column'\ncolumns=['a', 'b']").unwrap();
        assert_eq!(columns, SpaceKind::Column(vec!["a".into(), "b".into()]));
        let vectors = kind("kind='eng1000'\nvectors='e.hf5'").unwrap();
        assert_eq!(vectors, SpaceKind::Eng1000("e.hf5".into()));
        assert_eq!(kind("kind='word_length'").unwrap(), SpaceKind::WordLength);
        assert_eq!(kind("kind='position'").unwrap(), SpaceKind::Position);
    }

    #[test]
    fn what_a_kind_cannot_be_is_named() {
        for (lines, says) in [
            ("kind='file'", "path: expected a text, got nothing"),
            ("kind='file'\npath='x.npy'", "expected {story} in path or in dataset"),
            ("kind='file'\npath='{story}'\nrows='trs'\ntimes='{story}'", "rows = \"times\" beside"),
            ("kind='file'\npath='{story}'\nrows='times'", "expected files of seconds"),
            ("kind='file'\npath='{story}'\nrows='times'\ntimes='t'", "a path with {story}"),
            ("kind='file'\npath='{story}'\nrows='row'", "one of words, trs, times"),
            ("kind='column'", "names of columns, got none"),
            ("kind='column'\ncolumns=['a','a']", "\"a\" twice"),
            ("kind='phones'\nwhat='all'", "one of rate, identity"),
            ("kind='eng1000'", "vectors: expected a text"),
            ("kind='position'\nrows='trs'", "no such key for kind = \"position\""),
            ("kind='word_length'\nvectors='v'", "no such key for kind = \"word_length\""),
            ("kind='glove'\nvectors='v'\ncolumns=['a']", "no such key for kind = \"glove\""),
        ] {
            let error = kind(lines).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(says), "{lines}: {error}");
        }
    }
}
