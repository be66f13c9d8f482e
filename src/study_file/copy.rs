//! The text of a study for another folder: the same study, with paths that resolve from anywhere.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::language::ModelSource;
use super::parse::from_text;
use super::settings::{FileRows, Folds, SpaceKind, Study};

/// How a copy begins. A STUDY.toml that begins otherwise is not voxelcast's to replace.
pub const COPIED: &str = "# The study of these results, as voxelcast ran it; paths are absolute.\n";

/// Keys that hold paths or patterns of paths: table and name.
const PATHS: [(&str, &str); 12] = [
    ("stories", "path"),
    ("stories", "respdict"),
    ("bold", "path"),
    ("bold", "mask"),
    ("bold", "pixels"),
    ("bold", "repeats"),
    ("space", "vectors"),
    ("space", "model"),
    ("space", "path"),
    ("space", "times"),
    ("space", "names"),
    ("encoder", "tokenizer"),
];

impl Study {
    /// The same study with absolute paths. None where one is not UTF-8, which TOML cannot hold.
    pub fn absolute(&self) -> Option<Self> {
        let mut study = self.clone();
        let path = |path: &mut PathBuf| -> Option<()> {
            *path = absolute(&self.folder, path.to_str()?)?.into();
            Some(())
        };
        let pattern = |text: &mut String| -> Option<()> {
            *text = absolute(&self.folder, text)?;
            Some(())
        };
        path(&mut study.stories)?;
        let files = study.bold_files.iter_mut().flat_map(|f| [&mut f.mask, &mut f.pixels]);
        let more = [&mut study.respdict, &mut study.encoder.tokenizer];
        files.chain(more).flatten().try_for_each(path)?;
        for ((_, bold), repeats) in study.bold.iter_mut().zip(&mut study.repeats) {
            pattern(bold)?;
            // Without {story} it is the name of a dataset.
            repeats.iter_mut().filter(|text| text.contains("{story}")).try_for_each(pattern)?;
        }
        for space in &mut study.spaces {
            match &mut space.kind {
                SpaceKind::Word2Vec(vectors)
                | SpaceKind::Glove(vectors)
                | SpaceKind::Eng1000(vectors) => path(vectors)?,
                SpaceKind::File(space) => {
                    pattern(&mut space.path)?;
                    space.names.iter_mut().try_for_each(path)?;
                    if let FileRows::Times(times) = &mut space.rows {
                        pattern(times)?;
                    }
                }
                SpaceKind::Bert(space) | SpaceKind::Encoder(space) | SpaceKind::Lm(space) => {
                    if let ModelSource::Folder(folder) = &mut space.model {
                        path(folder)?;
                    }
                }
                SpaceKind::Bow(_)
                | SpaceKind::WordRate
                | SpaceKind::WordLength
                | SpaceKind::Column(_)
                | SpaceKind::Phones(_)
                | SpaceKind::Position
                | SpaceKind::Combine(_) => {}
            }
        }
        Some(study)
    }

    /// Its text with absolute paths, and with the folds of now. The user's comments stay where that can
    /// be. None where a path is not UTF-8.
    pub fn copied_text(&self) -> Option<String> {
        let wanted = serde_json::to_string(&self.absolute()?).ok()?;
        let is_same = |text: &String| {
            from_text(text, Path::new(""), "")
                .is_ok_and(|copy| serde_json::to_string(&copy).is_ok_and(|copy| copy == wanted))
        };
        let edited =
            self.edited_text().filter(is_same).or_else(|| self.written_again().filter(is_same))?;
        Some(format!("{COPIED}{edited}"))
    }

    /// The text with other values in the places of those that change.
    fn edited_text(&self) -> Option<String> {
        let own = self.text.strip_prefix(COPIED).unwrap_or(&self.text);
        let table = DeTable::parse(own).ok()?;
        let mut changes: Vec<(Range<usize>, String)> = Vec::new();
        let mut change = |section: &str, table: &DeTable<'_>| -> Option<()> {
            for (name, value) in table.iter() {
                let Some(given) = value.get_ref().as_str() else { continue };
                let path = absolute(&self.folder, given)?;
                if is_path(section, name.get_ref(), Some(given)) && path != given {
                    changes.push((value.span(), Value::String(path).to_string()));
                }
            }
            Some(())
        };
        for (section, value) in table.get_ref().iter() {
            let section = section.get_ref().as_ref();
            match (section, value.get_ref()) {
                ("bold", DeValue::Table(subjects)) => {
                    subjects
                        .iter()
                        .filter_map(|(_, subject)| as_table(subject))
                        .try_for_each(|t| change(section, t))?;
                }
                ("space", DeValue::Array(spaces)) => {
                    spaces.iter().filter_map(as_table).try_for_each(|t| change(section, t))?;
                }
                (_, DeValue::Table(table)) => change(section, table)?,
                _ => {}
            }
        }
        let ridge = table.get_ref().get("ridge");
        let folds = ridge.and_then(as_table).and_then(|ridge| ridge.get("folds"));
        let mut text = own.to_owned();
        match (folds, ridge) {
            (Some(folds), _) if from_text(own, &self.folder, "").ok()?.folds != self.folds => {
                changes.push((folds.span(), self.folds_text()));
            }
            (None, None) if self.folds != Folds::Count(5) => {
                text += &format!("\n[ridge]\nfolds = {}\n", self.folds_text());
            }
            _ => {}
        }
        changes.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, value) in changes {
            text.replace_range(span, &value);
        }
        Some(text)
    }

    /// The text written again from its values, without comments.
    fn written_again(&self) -> Option<String> {
        let mut table: toml::Table = toml::from_str(&self.text).ok()?;
        let change = |section: &str, table: &mut toml::Table| -> Option<()> {
            for (name, value) in table.iter_mut() {
                if is_path(section, name, value.as_str()) {
                    *value = Value::String(absolute(&self.folder, value.as_str()?)?);
                }
            }
            Some(())
        };
        for (section, value) in &mut table {
            match (section.as_str(), value) {
                ("bold", Value::Table(subjects)) => {
                    subjects
                        .iter_mut()
                        .filter_map(|(_, s)| s.as_table_mut())
                        .try_for_each(|t| change("bold", t))?;
                }
                ("space", Value::Array(spaces)) => {
                    spaces
                        .iter_mut()
                        .filter_map(Value::as_table_mut)
                        .try_for_each(|t| change("space", t))?;
                }
                (section, Value::Table(table)) => change(section, table)?,
                _ => {}
            }
        }
        let folds =
            toml::from_str::<toml::Table>(&format!("folds = {}", self.folds_text())).ok()?;
        let ridge = table.entry("ridge").or_insert_with(|| Value::Table(toml::Table::new()));
        ridge.as_table_mut()?.extend(folds);
        toml::to_string(&table).ok()
    }

    fn folds_text(&self) -> String {
        match &self.folds {
            Folds::Count(k) => k.to_string(),
            Folds::LeaveOneStoryOut => "\"loso\"".into(),
            Folds::Names(lists) => Value::from(lists.clone()).to_string(),
        }
    }
}

fn as_table<'a, 'i>(value: &'a Spanned<DeValue<'i>>) -> Option<&'a DeTable<'i>> {
    match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

fn is_path(section: &str, name: &str, value: Option<&str>) -> bool {
    let is_dataset = name == "repeats" && value.is_some_and(|text| !text.contains("{story}"));
    PATHS.contains(&(section, name)) && value.is_some() && !is_dataset
}

/// A path or pattern from anywhere; nothing of it needs to be there.
fn absolute(folder: &Path, path: &str) -> Option<String> {
    std::path::absolute(folder.join(path)).ok()?.into_os_string().into_string().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDY: &str = "# mine\n[stories]\npath = \"../w.tsv\" # words\n[bold.s1]\n\
        path = '/data/{story}.hf5'\nrepeats = \"each\"\n[bold.s2]\npath = \"b/{story}.npy\"\n\
        repeats = \"r/{story}.{repeat}.npy\"\n[[space]]\nkind = \"glove\"\nvectors = \"v.txt\"\n\
        [[space]]\nkind = \"word_rate\"\n[[space]]\nkind = \"file\"\npath = \"f/{story}.npy\"\n\
        rows = \"times\"\ntimes = \"t/{story}.npy\"\nnames = \"n.txt\"\n\
        [encoder]\ntokenizer = \"t.json\"\n";

    fn study(text: &str) -> Study {
        from_text(text, Path::new("/a/b"), "S.toml").unwrap()
    }

    #[test]
    fn a_copy_is_the_same_study_from_anywhere_with_its_comments() {
        let copy = study(STUDY).copied_text().unwrap();
        let wanted = STUDY
            .replace("\"../w.tsv\"", "\"/a/b/../w.tsv\"")
            .replace("\"b/{story}", "\"/a/b/b/{story}")
            .replace("\"r/{story}", "\"/a/b/r/{story}")
            .replace("\"v.txt\"", "\"/a/b/v.txt\"")
            .replace("\"f/{story}", "\"/a/b/f/{story}")
            .replace("\"t/{story}", "\"/a/b/t/{story}")
            .replace("\"n.txt\"", "\"/a/b/n.txt\"")
            .replace("\"t.json\"", "\"/a/b/t.json\"");
        assert_eq!(copy, format!("{COPIED}{wanted}"));
        let again = from_text(&copy, Path::new("/elsewhere"), "S.toml").unwrap();
        assert_eq!(again.copied_text().unwrap(), copy, "a copy of a copy");
    }

    #[test]
    fn folds_of_the_command_line_are_those_of_the_copy() {
        for ridge in ["", "[ridge]\nfolds = 3 # few\n", "[ridge]\nsolver = \"svd\"\n"] {
            for folds in [Folds::Count(7), Folds::LeaveOneStoryOut, Folds::Count(5)] {
                let mut study = study(&format!("{STUDY}{ridge}"));
                study.folds = folds;
                let copy = study.copied_text().unwrap();
                let again = from_text(&copy, Path::new("/"), "S.toml").unwrap();
                assert_eq!(again.folds, study.folds, "{ridge:?}");
                assert_eq!(
                    copy.contains("# mine"),
                    !ridge.contains("svd") || study.folds == Folds::Count(5)
                );
            }
        }
    }
}
