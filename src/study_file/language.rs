//! The keys of `bert` and `encoder` spaces.

use super::section::Section;
use super::settings::{Epoch, LanguageSpace, ModelSource};
use crate::error::Result;
use crate::features::contextual::{Context, ContextSettings};
use crate::stimuli::spelling::Punctuation;

/// Keys of an `encoder` space.
pub(crate) const KEYS: [&str; 7] =
    ["model", "layer", "context", "window", "stride", "trained", "epoch"];
/// All of them.
pub(crate) const ENCODER_KEYS: &[&str] =
    &["model", "layer", "context", "window", "stride", "trained", "epoch", "punctuation"];
/// Those of a `bert` space.
pub(crate) const BERT_KEYS: &[&str] = &["model", "layer", "context", "window", "stride"];

/// A pretrained checkpoint.
pub(crate) fn bert(section: &Section<'_>) -> Result<LanguageSpace> {
    let model = ModelSource::Folder(section.required_text("model")?.into());
    Ok(LanguageSpace { model, reading: reading(section)?, punctuation: None })
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
    Ok(LanguageSpace { model, reading: reading(section)?, punctuation: Some(punctuation) })
}

fn reading(section: &Section<'_>) -> Result<ContextSettings> {
    let contexts = [("both", Context::Both), ("past", Context::Past)];
    let settings = ContextSettings {
        layer: section.count("layer")?,
        context: section.word("context", &contexts, Context::Both)?,
        window: section.count("window")?,
        stride: section.count("stride")?,
    };
    if let (Context::Past, Some(stride)) = (settings.context, settings.stride) {
        let expected = "no stride with context = \"past\": every word has a window of its own";
        return Err(section.error("stride", expected, stride));
    }
    // What the model allows is known when it is opened.
    let range = |name: &str, value: Option<usize>, least: usize| match value {
        Some(n) if !(least..=1 << 16).contains(&n) => {
            Err(section.error(name, &format!("{least} to {}", 1 << 16), n))
        }
        _ => Ok(()),
    };
    range("window", settings.window, 3)?;
    range("stride", settings.stride, 1)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use crate::features::contextual::{Context, ContextSettings};
    use crate::stimuli::spelling::Punctuation;
    use crate::study_file::kinds::tests::kind;
    use crate::study_file::{Epoch, LanguageSpace, ModelSource, SpaceKind};

    #[test]
    fn every_key_of_a_language_space_reaches_its_setting() {
        let found = kind("kind='bert'\nmodel='m'\nlayer=0\ncontext='both'\nwindow=64\nstride=9");
        let reading = ContextSettings {
            layer: Some(0),
            context: Context::Both,
            window: Some(64),
            stride: Some(9),
        };
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
            let reading = ContextSettings { context, ..ContextSettings::default() };
            let punctuation = Some(Punctuation::Strip);
            let space = LanguageSpace { model, reading, punctuation };
            assert_eq!(found, SpaceKind::Encoder(space), "{lines}");
        }
        let kept = kind("kind='encoder'\npunctuation='keep'").unwrap();
        assert!(matches!(kept, SpaceKind::Encoder(s) if s.punctuation == Some(Punctuation::Keep)));
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
        ] {
            let error = kind(lines).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{lines}");
            assert!(error.to_string().contains(says), "{lines}: {error}");
        }
    }
}
