//! From words to what a training sees.

use std::path::Path;

use crate::error::{Error, Result};
use crate::io::input::read_bytes;
use crate::nn::TrainSettings;
use crate::nn::examples::{cut, held_out};
use crate::nn::tokenizer::WordPieces;
use crate::nn::train::Corpus;

/// A text's name and its words.
pub type NamedWords<'a> = (&'a str, &'a [String]);

/// Texts, cut and masked.
#[derive(Debug)]
pub struct Prepared {
    /// Of the training text, or as given.
    pub tokenizer: WordPieces,
    /// Windows and validation.
    pub corpus: Corpus,
    /// blake3 over names and words.
    pub text_hash: String,
    /// Texts with words.
    pub n_texts: usize,
    /// Words of all texts.
    pub n_words: usize,
    /// Names of the texts held out; none of a single text, whose end is.
    pub held_out: Vec<String>,
}

/// Texts of a plain text file: separated by empty lines, named by their number.
///
/// # Errors
/// `Error::Read`; `Error::Values` for a file that is not UTF-8 or has no words.
pub fn read_text(path: &Path) -> Result<Vec<(String, Vec<String>)>> {
    let bytes = read_bytes(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let wrong = |problem: &str, hint: &str| Error::Values {
        place: path.display().to_string(),
        problem: problem.into(),
        hint: hint.into(),
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8", "convert it"))?;
    let mut texts: Vec<Vec<String>> = vec![Vec::new()];
    for line in text.trim_start_matches('\u{feff}').lines() {
        match (line.trim().is_empty(), texts.last_mut()) {
            (false, Some(text)) => text.extend(line.split_whitespace().map(str::to_owned)),
            _ => texts.push(Vec::new()),
        }
    }
    texts.retain(|text| !text.is_empty());
    if texts.is_empty() {
        return Err(wrong("has no words", "give a text"));
    }
    // Names sort in the order of the file.
    let named = texts.into_iter().enumerate().map(|(i, text)| (format!("text{:08}", i + 1), text));
    Ok(named.collect())
}

/// Holds texts out, trains or reads the tokenizer, cuts texts to pieces and windows.
///
/// Texts are sorted by name first: their order changes nothing. A tokenizer is trained on the
/// training texts alone.
/// # Errors
/// `Error::Values` for under two words, or text that cannot be masked; those of the tokenizer.
pub fn prepare(texts: &[NamedWords<'_>], settings: &TrainSettings) -> Result<Prepared> {
    let mut texts: Vec<NamedWords<'_>> =
        texts.iter().copied().filter(|(_, words)| !words.is_empty()).collect();
    texts.sort_by_key(|(name, _)| *name);
    let n_words: usize = texts.iter().map(|(_, words)| words.len()).sum();
    if n_words < 2 {
        return Err(Error::Values {
            place: "training text".into(),
            problem: format!("has {n_words} words, expected at least 2"),
            hint: "one is trained on and one is held out, at the very least".into(),
        });
    }
    let share = settings.val_fraction;
    let held = held_out(texts.len(), share, settings.seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (i, (_, words)) in texts.iter().enumerate() {
        match (texts.len(), held.contains(&i)) {
            (1, _) => {
                let (front, end) = words.split_at(cut(words.len(), share));
                train.push(front);
                validation.push(end);
            }
            (_, true) => validation.push(words),
            (_, false) => train.push(words),
        }
    }
    let tokenizer = match &settings.tokenizer {
        Some(path) => WordPieces::read(path)?,
        None => {
            let words = train.iter().copied().flatten().map(String::as_str);
            WordPieces::train(words, settings.vocab_size)?
        }
    };
    let pieces = |texts: &[&[String]]| -> Result<Vec<Vec<u32>>> {
        texts.iter().map(|words| Ok(tokenizer.pieces(words)?.ids)).collect()
    };
    let corpus = Corpus::new(&tokenizer, &pieces(&train)?, &pieces(&validation)?, settings)?;
    Ok(Prepared {
        corpus,
        tokenizer,
        text_hash: text_hash(&texts),
        n_texts: texts.len(),
        n_words,
        held_out: held.into_iter().map(|i| texts[i].0.to_owned()).collect(),
    })
}

/// blake3 over names and words, in the order given.
pub fn text_hash(texts: &[NamedWords<'_>]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for (name, words) in texts {
        add(name);
        add(&words.len().to_string());
        words.iter().for_each(|word| add(word));
    }
    hasher.finalize().to_hex().to_string()
}

/// Hash of texts in whatever order.
pub fn sorted_text_hash(texts: &[NamedWords<'_>]) -> String {
    let mut texts: Vec<NamedWords<'_>> =
        texts.iter().copied().filter(|(_, words)| !words.is_empty()).collect();
    texts.sort_by_key(|(name, _)| *name);
    text_hash(&texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn empty_lines_separate_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "\u{feff}one two\nthree\n\n \n\tfour\n").unwrap();
        let texts = read_text(&path).unwrap();
        assert_eq!(texts.len(), 2);
        assert_eq!(
            (texts[0].1.as_slice(), texts[1].1.as_slice()),
            (&words("one two three")[..], &words("four")[..])
        );
        for bad in [&b" \n\n"[..], b"", b"\xff\xfe"] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(read_text(&path).unwrap_err().exit_code(), 3);
        }
        assert_eq!(read_text(&folder.path().join("no")).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn the_order_of_texts_changes_nothing_and_held_out_words_are_in_no_vocabulary() {
        let texts: Vec<(String, Vec<String>)> = (0..10u32)
            .map(|i| {
                let letter = char::from_u32('a' as u32 + i).unwrap().to_string();
                (format!("t{i}"), words(&format!("{} xx yy", letter.repeat(3))))
            })
            .collect();
        let settings = TrainSettings { max_length: 16, ..TrainSettings::default() };
        let named: Vec<NamedWords<'_>> = texts.iter().map(|(n, w)| (&n[..], &w[..])).collect();
        let a = prepare(&named, &settings).unwrap();
        let b = prepare(&named.iter().rev().copied().collect::<Vec<_>>(), &settings).unwrap();
        assert_eq!((&a.text_hash, &a.held_out), (&b.text_hash, &b.held_out));
        assert_eq!(a.tokenizer.vocab_size(), b.tokenizer.vocab_size());
        assert_eq!(a.held_out.len(), 1);
        let (_, hidden) = texts.iter().find(|(name, _)| *name == a.held_out[0]).unwrap();
        assert_eq!(a.tokenizer.pieces(&hidden[..1]).unwrap().ids, [a.tokenizer.unk()]);
    }

    #[test]
    fn the_end_of_a_single_text_is_held_out() {
        let text = words("a b a b a b a b b b");
        let settings = TrainSettings { val_fraction: 0.2, ..TrainSettings::default() };
        let one = prepare(&[("t", &text)], &settings).unwrap();
        assert_eq!((one.n_texts, one.corpus.n_train_pieces), (1, 8));
        assert!(one.held_out.is_empty());
        let error = prepare(&[("t", &text[..1])], &settings).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("1 words"), "{error}");
    }
}
