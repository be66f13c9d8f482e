//! What a trained encoder depends on, so that its folder is gone on with, returned as it is, or
//! refused.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::nn::TrainSettings;
use crate::results::hash::hash_file;
use crate::results::names::TRAIN;

/// Settings as train.json keeps them: a tokenizer's file by its content, the stride in numbers.
///
/// # Errors
/// `Error::Read` if the tokenizer cannot be.
pub fn settings_json(settings: &TrainSettings) -> Result<Map<String, Value>> {
    let resolved = TrainSettings { stride: Some(settings.stride_pieces()), ..settings.clone() };
    let Ok(Value::Object(mut map)) = serde_json::to_value(&resolved) else {
        return Ok(Map::new()); // A struct of numbers and texts is an object.
    };
    if let Some(path) = &settings.tokenizer {
        let file = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.clone(),
        };
        let hash = hash_file(&file, "")?.blake3;
        map.insert("tokenizer".into(), format!("blake3:{hash}").into());
        map.remove("vocab_size"); // Its own.
    }
    Ok(map)
}

/// train.json of this training if it is finished in `out`; nothing where it is not, or not there.
///
/// # Errors
/// `Error::Values` (exit 3) for a folder with a training of other settings or text, which are
/// named, or with a model that no training here made.
pub fn finished(
    out: &Path,
    settings: &Map<String, Value>,
    text_hash: &str,
) -> Result<Option<Value>> {
    let refuse = |problem: String| {
        Err(Error::Values {
            place: out.display().to_string(),
            problem,
            hint: "give another --out".into(),
        })
    };
    let Ok(text) = read_text(out.join(TRAIN)) else {
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            if out.join(name).exists() {
                return refuse(format!("holds a {name} and no train.json: another model"));
            }
        }
        return Ok(None);
    };
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    let differences = differences(&document["settings"], settings);
    if !differences.is_empty() {
        return refuse(format!("holds a training of other settings: {}", differences.join(", ")));
    }
    if document["text"]["blake3"] != *text_hash {
        return refuse("holds a training on another text".into());
    }
    Ok((document["finished"] == true).then_some(document))
}

/// Names and values that are not the same.
fn differences(old: &Value, new: &Map<String, Value>) -> Vec<String> {
    let empty = Map::new();
    let old = old.as_object().unwrap_or(&empty);
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("{name} was {}, is {}", text(old.get(name)), text(new.get(name))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::text::{sorted_text_hash, text_hash};

    #[test]
    fn a_hash_tells_words_from_their_borders() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (a, b) = (words("ab c"), words("a bc"));
        assert_ne!(text_hash(&[("x", &a)]), text_hash(&[("x", &b)]));
        assert_ne!(text_hash(&[("x", &a)]), text_hash(&[("y", &a)]));
        assert_ne!(text_hash(&[("x", &a[..1]), ("y", &a[1..])]), text_hash(&[("x", &a)]));
        let (one, other) = ([("x", &a[..]), ("y", &b[..])], [("y", &b[..]), ("x", &a[..])]);
        assert_ne!(text_hash(&one), text_hash(&other));
        assert_eq!(sorted_text_hash(&one), sorted_text_hash(&other));
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let settings = TrainSettings::default();
        let old = Value::Object(settings_json(&settings).unwrap());
        let same = TrainSettings { stride: Some(128), ..settings.clone() };
        assert!(differences(&old, &settings_json(&same).unwrap()).is_empty());
        let other = TrainSettings { heads: 4, lr: 1e-3, ..settings };
        let found = differences(&old, &settings_json(&other).unwrap());
        assert_eq!(found, ["heads was 2, is 4", "lr was 0.0001, is 0.001"]);
    }

    #[test]
    fn a_tokenizer_counts_by_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            let tokenizer = Some(folder.path().join(name));
            settings_json(&TrainSettings { tokenizer, ..TrainSettings::default() }).unwrap()
        };
        assert_eq!(file("a", "x"), file("b", "x"));
        assert_ne!(file("a", "x"), file("b", "y"));
    }
}
