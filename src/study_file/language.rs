//! The keys of `bert`, `encoder` and `lm` spaces.

use std::path::PathBuf;

use serde::Serialize;
use toml::{Table, Value};

use super::section::Section;
use crate::error::Result;
use crate::features::windows::{Context, ContextSettings, Pool, WindowSettings};
use crate::stimuli::spelling::Punctuation;

/// Word vectors out of a language model.
#[derive(Debug, Clone, PartialEq)]
pub struct LanguageSpace {
    /// The model.
    pub model: ModelSource,
    /// Which of its hidden states, read how.
    pub reading: ContextSettings,
    /// How its tokenizer reads words; none: as they are written.
    pub punctuation: Option<Punctuation>,
}

/// Where a language model comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ModelSource {
    /// A checkpoint: a folder, or a `.gguf` file.
    Folder(PathBuf),
    /// `[encoder]`, trained on the training stories of the split, as it was after an epoch.
    Trained(Epoch),
    /// The same before the first step: what the architecture and the tokenizer give by themselves.
    Untrained,
}

/// Which weights of a training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Epoch {
    /// Those of the smallest validation loss.
    #[default]
    Best,
    /// Those it ended with.
    Last,
}

/// All keys of the three kinds.
pub(crate) const KEYS: [&str; 9] =
    ["model", "layer", "context", "window", "stride", "trained", "epoch", "past", "pool"];
/// Those of an `encoder` space.
pub(crate) const ENCODER_KEYS: &[&str] =
    &["model", "layer", "context", "window", "stride", "trained", "epoch", "punctuation"];
/// Those of a `bert` space.
pub(crate) const BERT_KEYS: &[&str] = &["model", "layer", "context", "window", "stride"];
/// Those of an `lm` space.
pub(crate) const LM_KEYS: &[&str] = &["model", "layer", "past", "window", "pool"];

/// A pretrained checkpoint.
pub(crate) fn bert(section: &Section<'_>) -> Result<LanguageSpace> {
    let model = ModelSource::Folder(section.required_text("model")?.into());
    Ok(LanguageSpace { model, reading: both_ways(section)?, punctuation: None })
}

/// An encoder of ours: from a folder, trained on the training stories, or untrained.
pub(crate) fn encoder(section: &Section<'_>) -> Result<LanguageSpace> {
    let epochs = [("best", Epoch::Best), ("last", Epoch::Last)];
    let epoch = section.word("epoch", &epochs, Epoch::Best)?;
    if section.has("epoch") && (section.has("model") || !section.flag("trained", true)?) {
        let expected = "no epoch without a training; a model's folder has its last epoch in last/";
        return Err(section.error("epoch", expected, "one"));
    }
    let model = match (section.text("model")?, section.flag("trained", true)?) {
        (Some(_), _) if section.has("trained") => {
            return Err(section.error("trained", "either model or trained", "both"));
        }
        (Some(folder), _) => ModelSource::Folder(folder.into()),
        (None, true) => ModelSource::Trained(epoch),
        (None, false) => ModelSource::Untrained,
    };
    let punctuation = section.word("punctuation", &Punctuation::WORDS, Punctuation::Strip)?;
    Ok(LanguageSpace { model, reading: both_ways(section)?, punctuation: Some(punctuation) })
}

/// A causal checkpoint.
pub(crate) fn lm(section: &Section<'_>) -> Result<LanguageSpace> {
    let model = ModelSource::Folder(section.required_text("model")?.into());
    let past = section.count("past")?.unwrap_or(WindowSettings::PAST);
    let window = section.count("window")?;
    let pool = section.word("pool", &Pool::WORDS, Pool::Last)?;
    if let (0, Some(window)) = (past, window) {
        let expected = "no window with past = 0: every word is read alone";
        return Err(section.error("window", expected, window));
    }
    in_range(section, "past", Some(past), 0)?;
    in_range(section, "window", window, past + 1)?;
    let windows = WindowSettings::Causal { past, window, pool };
    let reading = ContextSettings { layer: section.count("layer")?, windows };
    Ok(LanguageSpace { model, reading, punctuation: None })
}

fn both_ways(section: &Section<'_>) -> Result<ContextSettings> {
    let context = section.word("context", &Context::WORDS, Context::Both)?;
    let (window, stride) = (section.count("window")?, section.count("stride")?);
    if let (Context::Past, Some(stride)) = (context, stride) {
        let expected = "no stride with context = \"past\": every word has a window of its own";
        return Err(section.error("stride", expected, stride));
    }
    in_range(section, "window", window, 3)?;
    in_range(section, "stride", stride, 1)?;
    let windows = WindowSettings::BothWays { context, window, stride };
    Ok(ContextSettings { layer: section.count("layer")?, windows })
}

/// What the model allows is known when it is opened.
fn in_range(section: &Section<'_>, name: &str, value: Option<usize>, least: usize) -> Result<()> {
    const MOST: usize = 1 << 16;
    match value {
        Some(n) if !(least..=MOST).contains(&n) => {
            Err(section.error(name, &format!("{least} to {MOST}"), n))
        }
        _ => Ok(()),
    }
}

/// One of the spaces that lists of a `[[space]]` ask for.
pub(crate) struct Listed {
    /// The table with a number in each list's place.
    pub table: Table,
    /// Where `layer` is a list.
    pub layer: Option<usize>,
    /// Where `past` is a list.
    pub past: Option<usize>,
}

impl Listed {
    /// The space's name behind that of the `[[space]]`.
    pub fn suffix(&self) -> String {
        let layer = self.layer.map(|layer| format!(".L{layer}")).unwrap_or_default();
        layer + &self.past.map(|past| format!(".past{past}")).unwrap_or_default()
    }
}

/// The spaces that `layer` and `past` ask for where they are lists; none where neither is one.
///
/// In a list of pasts a window is 2 · `past` where none is given, so that a word sees between
/// `past` and 2 · `past` pieces.
/// # Errors
/// `Error::Usage` for a list that is empty, or in which a number stands twice.
pub(crate) fn listed(section: &Section<'_>, table: &Table) -> Result<Vec<Listed>> {
    let list = |name: &str| -> Result<Vec<Option<usize>>> {
        let is_list = table.get(name).is_some_and(Value::is_array);
        let Some(numbers) = section.integers(name).ok().flatten().filter(|_| is_list) else {
            return match is_list {
                true => Err(section.error(name, "whole numbers ≥ 0", &table[name])),
                false => Ok(vec![None]),
            };
        };
        let is_new = |i: usize| !numbers[..i].contains(&numbers[i]);
        let are_fine = !numbers.is_empty() && (0..numbers.len()).all(is_new);
        let counts = numbers.iter().map(|&n| usize::try_from(n).ok());
        match counts.collect::<Option<Vec<usize>>>().filter(|_| are_fine) {
            Some(counts) => Ok(counts.into_iter().map(Some).collect()),
            None => Err(section.error(name, "whole numbers ≥ 0, each once", &table[name])),
        }
    };
    let (layers, pasts) = (list("layer")?, list("past")?);
    if (&layers[..], &pasts[..]) == (&[None], &[None]) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (&layer, &past) in layers.iter().flat_map(|l| pasts.iter().map(move |p| (l, p))) {
        let mut table = table.clone();
        let mut put =
            |name: &str, n: usize| table.insert(name.to_owned(), Value::Integer(n as i64));
        layer.map(|layer| put("layer", layer));
        if let Some(past) = past {
            put("past", past);
            if past > 0 && !section.has("window") {
                put("window", 2 * past);
            }
        }
        found.push(Listed { table, layer, past });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::features::windows::{Context, ContextSettings, Pool, WindowSettings};
    use crate::stimuli::spelling::Punctuation;
    use crate::study_file::kinds::tests::{kind, spaces};
    use crate::study_file::{Epoch, LanguageSpace, Member, ModelSource, SpaceKind};

    #[test]
    fn every_key_of_a_language_space_reaches_its_setting() {
        let found = kind("kind='bert'\nmodel='m'\nlayer=0\ncontext='both'\nwindow=64\nstride=9");
        let (context, window, stride) = (Context::Both, Some(64), Some(9));
        let windows = WindowSettings::BothWays { context, window, stride };
        let reading = ContextSettings { layer: Some(0), windows };
        let model = ModelSource::Folder("m".into());
        assert_eq!(
            found.unwrap(),
            SpaceKind::Bert(LanguageSpace { model, reading, punctuation: None })
        );
        for (lines, model, context) in [
            ("", ModelSource::Trained(Epoch::Best), Context::Both),
            ("trained=true", ModelSource::Trained(Epoch::Best), Context::Both),
            ("epoch='last'", ModelSource::Trained(Epoch::Last), Context::Both),
            ("trained=false\ncontext='past'", ModelSource::Untrained, Context::Past),
            ("model='a/b'", ModelSource::Folder("a/b".into()), Context::Both),
        ] {
            let found = kind(&format!("kind='encoder'\n{lines}")).unwrap();
            let windows = WindowSettings::BothWays { context, window: None, stride: None };
            let reading = ContextSettings { layer: None, windows };
            let punctuation = Some(Punctuation::Strip);
            let space = LanguageSpace { model, reading, punctuation };
            assert_eq!(found, SpaceKind::Encoder(space), "{lines}");
        }
        let kept = kind("kind='encoder'\npunctuation='keep'").unwrap();
        assert!(matches!(kept, SpaceKind::Encoder(s) if s.punctuation == Some(Punctuation::Keep)));
    }

    #[test]
    fn lists_of_layers_and_pasts_are_a_space_each() {
        let causal = |layer, past, window, pool| {
            let windows = WindowSettings::Causal { past, window, pool };
            ContextSettings { layer, windows }
        };
        let found = kind("kind='lm'\nmodel='m'\nlayer=3\npast=5\nwindow=9\npool='mean'").unwrap();
        let wanted = causal(Some(3), 5, Some(9), Pool::Mean);
        assert_eq!(found.language().unwrap().reading, wanted);
        let found = kind("kind='lm'\nmodel='m.gguf'").unwrap();
        assert_eq!(found.language().unwrap().reading, causal(None, 64, None, Pool::Last));

        let all = spaces("name='x'\nkind='lm'\nmodel='m'\nlayer=[8,4]\npast=[0,16]").unwrap();
        let names: Vec<&str> = all.iter().map(|space| space.name.as_str()).collect();
        assert_eq!(names, ["x.L8.past0", "x.L8.past16", "x.L4.past0", "x.L4.past16"]);
        let last = &all[3];
        let wanted = causal(Some(4), 16, Some(32), Pool::Last);
        assert_eq!(last.kind.language().unwrap().reading, wanted);
        let member = Member { family: "x".into(), layer: Some(4), past: Some(16) };
        assert_eq!(last.member.as_ref(), Some(&member));
        let alone = causal(Some(4), 0, None, Pool::Last);
        assert_eq!(all[2].kind.language().unwrap().reading, alone);

        let all = spaces("kind='lm'\nmodel='m'\nlayer=2\npast=[64]\nwindow=100").unwrap();
        assert_eq!(all[0].name, "lm.past64");
        let wanted = causal(Some(2), 64, Some(100), Pool::Last);
        assert_eq!(all[0].kind.language().unwrap().reading, wanted);
        let all = spaces("kind='bert'\nmodel='m'\nlayer=[1]").unwrap();
        assert_eq!((all.len(), all[0].name.as_str()), (1, "bert.L1"));
    }

    #[test]
    fn what_a_language_space_cannot_be_is_named() {
        for (lines, says) in [
            ("kind='bert'", "model: expected a text, got nothing"),
            ("kind='bert'\nmodel='m'\ntrained=false", "no such key for kind = \"bert\""),
            ("kind='encoder'\nmodel='m'\ntrained=false", "either model or trained"),
            ("kind='encoder'\nmodel='m'\nepoch='last'", "no epoch without a training"),
            ("kind='encoder'\ntrained=false\nepoch='last'", "no epoch without a training"),
            ("kind='encoder'\nepoch='first'", "one of best, last"),
            ("kind='encoder'\nvectors='v'", "no such key for kind = \"encoder\""),
            ("kind='encoder'\ncontext='future'", "one of both, past"),
            ("kind='encoder'\ncontext='past'\nstride=4", "a window of its own"),
            ("kind='encoder'\nwindow=2", "expected 3 to 65536, got 2"),
            ("kind='encoder'\nstride=0", "expected 1 to 65536, got 0"),
            ("kind='encoder'\nlayer=-1", "a whole number"),
            ("kind='bert'\nmodel='m'\npunctuation='keep'", "no such key for kind = \"bert\""),
            ("kind='glove'\nvectors='v'\nlayer=2", "no such key for kind = \"glove\""),
            ("kind='glove'\nvectors='v'\nlayer=[2]", "no such key for kind = \"glove\""),
            ("kind='lm'", "model: expected a text, got nothing"),
            ("kind='lm'\nmodel='m'\nstride=2", "no such key for kind = \"lm\""),
            ("kind='bert'\nmodel='m'\npast=2", "no such key for kind = \"bert\""),
            ("kind='lm'\nmodel='m'\npool='first'", "one of last, mean"),
            ("kind='lm'\nmodel='m'\npast=0\nwindow=9", "no window with past = 0"),
            ("kind='lm'\nmodel='m'\npast=[0, 8]\nwindow=9", "no window with past = 0"),
            ("kind='lm'\nmodel='m'\npast=64\nwindow=64", "expected 65 to 65536, got 64"),
            ("kind='lm'\nmodel='m'\nlayer=[]", "whole numbers ≥ 0, each once"),
            ("kind='lm'\nmodel='m'\nlayer=[3, 3]", "each once"),
            ("kind='lm'\nmodel='m'\npast=[-1]", "whole numbers ≥ 0"),
            ("kind='lm'\nmodel='m'\npast=['a']", "whole numbers ≥ 0"),
        ] {
            let error = kind(lines).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{lines}");
            assert!(error.to_string().contains(says), "{lines}: {error}");
        }
    }
}
