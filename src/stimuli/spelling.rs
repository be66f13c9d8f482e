//! The forms of a word: as it was written, with plain quotes, and without punctuation at its ends.

use std::borrow::Cow;

use unicode_normalization_alignments::UnicodeNormalization;

/// What becomes of punctuation at the ends of words that are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Punctuation {
    /// Taken off; a word of punctuation alone is none.
    #[default]
    Strip,
    /// Kept.
    Keep,
}

impl Punctuation {
    /// As written in a study.
    pub const WORDS: [(&str, Punctuation); 2] =
        [("strip", Punctuation::Strip), ("keep", Punctuation::Keep)];

    /// The form of a word under which it is counted; `None` for punctuation alone, if it is taken
    /// off.
    pub fn counted(self, word: &str) -> Option<Cow<'_, str>> {
        match self {
            Punctuation::Keep => Some(plain(word)),
            Punctuation::Strip => {
                let bare = bare(word);
                bare.contains(char::is_alphanumeric).then_some(bare)
            }
        }
    }

    /// The form of a word that a tokenizer cuts: as [`Self::counted`], but every word has one.
    pub fn read(self, word: &str) -> Cow<'_, str> {
        self.counted(word).unwrap_or_else(|| plain(word))
    }
}

/// Forms of a word, in the order in which they are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it was written.
    Written,
    /// NFC, with typographic quotes made plain.
    Plain,
    /// The same without punctuation at its ends.
    Bare,
}

/// All forms of a word, each once, in order.
pub fn forms(word: &str) -> impl Iterator<Item = (Form, Cow<'_, str>)> {
    let second = Some(plain(word)).filter(|form| form != word);
    let third = Some(bare(word))
        .filter(|form| !form.is_empty() && form != word && second.as_ref() != Some(form));
    std::iter::once((Form::Written, Cow::Borrowed(word)))
        .chain(second.map(|form| (Form::Plain, form)))
        .chain(third.map(|form| (Form::Bare, form)))
}

/// NFC with plain quotes.
pub fn plain(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        return Cow::Borrowed(word);
    }
    Cow::Owned(word.nfc().map(|(c, _)| plain_quote(c)).collect())
}

fn plain_quote(c: char) -> char {
    match c {
        '‘' | '’' | '‚' | '‛' | 'ʼ' | '′' | '‹' | '›' | '＇' => '\'',
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' | '＂' => '"',
        other => other,
    }
}

/// The plain form without quotes (apostrophes too), brackets and `. , ; : ? ! …` at its ends, and
/// without what other scripts have in their place.
pub fn bare(word: &str) -> Cow<'_, str> {
    match plain(word) {
        Cow::Borrowed(word) => Cow::Borrowed(word.trim_matches(is_end)),
        Cow::Owned(word) => Cow::Owned(word.trim_matches(is_end).to_owned()),
    }
}

fn is_end(c: char) -> bool {
    "'\"`´()[]{}<>.,;:?!…¿¡。，、；：？！「」『』《》（）".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_made_plain_and_ends_lose_punctuation() {
        for (word, second, third) in [
            ("don’t", "don't", "don't"),
            ("“Hello,”", "\"Hello,\"", "Hello"),
            ("cafe\u{301}…", "café…", "café"),
            ("(dogs')", "(dogs')", "dogs"),
            ("U.S.A.", "U.S.A.", "U.S.A"),
            ("ak-47s", "ak-47s", "ak-47s"),
            ("well-", "well-", "well-"),
            ("?!", "?!", ""),
            ("'tis", "'tis", "tis"),
            ("«oui»", "\"oui\"", "oui"),
            ("don't!", "don't!", "don't"),
        ] {
            assert_eq!((plain(word).as_ref(), bare(word).as_ref()), (second, third), "{word}");
        }
    }

    #[test]
    fn forms_come_in_order_and_each_once() {
        let of =
            |word| forms(word).map(|(form, text)| (form, text.into_owned())).collect::<Vec<_>>();
        assert_eq!(of("dog"), [(Form::Written, "dog".to_owned())]);
        assert_eq!(of("dog."), [(Form::Written, "dog.".into()), (Form::Bare, "dog".into())]);
        assert_eq!(of("I’m"), [(Form::Written, "I’m".into()), (Form::Plain, "I'm".into())]);
        assert_eq!(of("“I’m”").len(), 3);
        assert_eq!(of("..."), [(Form::Written, "...".to_owned())], "nothing is no form");
    }

    #[test]
    fn punctuation_alone_is_not_counted_unless_kept() {
        let counted = |how: Punctuation, word| how.counted(word).map(Cow::into_owned);
        assert_eq!(counted(Punctuation::Strip, "“Dog.”"), Some("Dog".to_owned()));
        for word in ["--", "…", "?", "-", "\""] {
            assert_eq!(counted(Punctuation::Strip, word), None, "{word}");
        }
        assert_eq!(counted(Punctuation::Keep, "dog."), Some("dog.".to_owned()));
        assert_eq!(counted(Punctuation::Keep, "don’t"), Some("don't".to_owned()));
        assert_eq!(Punctuation::Strip.read("…"), "…");
    }
}
