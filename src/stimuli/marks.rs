//! What stands among words and is none: pauses, noises, tags.

use super::rules::WordRules;

/// Marks whatever stands around them: HuthLab's, and those of forced aligners.
///
/// Source of the first seven: HuthLab/deep-fMRI-dataset: encoding/ridge_utils/dsutils.py:
/// DEFAULT_BAD_WORDS. `#` is the Penn aligner's and EasyAlign's, `sil` and `spn` are Kaldi's and MFA's.
const BARE: [&str; 10] =
    ["sentence_start", "sentence_end", "br", "lg", "ls", "ns", "sp", "#", "sil", "spn"];

/// What a row's text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Heard by the subject.
    Word,
    /// Nothing was written, or `n/a`: never a word.
    Nothing,
    /// Something that is no word.
    Mark,
}

/// Whether a text, without blanks around it, is a mark rather than a word.
///
/// Case is ignored. A mark is one of `BARE` (also in braces), or stands wholly inside `{}`,
/// `<>` or `[]`: `<eps>`, `<unk>`, `<p:>`, `[sil]`, `{cg}`.
pub fn is_mark(text: &str) -> bool {
    BARE.contains(&inside_braces(text).to_lowercase().as_str()) || is_enclosed(text)
}

/// The kind of a text under the study's rules.
pub fn kind(text: &str, rules: &WordRules) -> Kind {
    let text = text.trim();
    if text.is_empty() || text == "n/a" {
        return Kind::Nothing;
    }
    let is_listed = |listed: &String| {
        let listed = listed.trim().to_lowercase();
        listed == text.to_lowercase() || listed == inside_braces(text).to_lowercase()
    };
    match rules.not_words.iter().any(is_listed) || (!rules.keep_marks && is_mark(text)) {
        true => Kind::Mark,
        false => Kind::Word,
    }
}

/// As HuthLab compares: without braces, which need not pair.
fn inside_braces(text: &str) -> &str {
    text.trim_matches(['{', '}']).trim()
}

/// Whether nothing stands outside brackets: `{a}`, `<a> <b>`, `{}`.
fn is_enclosed(text: &str) -> bool {
    let mut rest = text.trim();
    while let Some(open) = rest.chars().next() {
        let close = match open {
            '{' => '}',
            '<' => '>',
            '[' => ']',
            _ => return false,
        };
        let Some(end) = rest.find(close) else { return false };
        rest = rest[end + 1..].trim_start();
    }
    !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_every_aligner_are_no_words() {
        for mark in [
            "sentence_start",
            "Sentence_End",
            "br",
            "LG",
            "{ls}",
            "NS",
            "sp",
            "{NS}",
            "#",
            "sil",
            "SIL",
            "spn",
            "<eps>",
            "<UNK>",
            "<sil>",
            "<p:>",
            "<usb>",
            "<nib>",
            "[sil]",
            "[UNK]",
            "{sl}",
            "{CG}",
            "{ig}",
            "{um}",
            "<laugh>",
            "[noise 2]",
            "{}",
            "[ ]",
            "{LG}{NS}",
        ] {
            assert!(is_mark(mark), "{mark}");
        }
        for word in [
            "sl", "cg", "ig", "brr", "s", "n/a", "NA", "nan", "null", "a<b", "[a] b", "b [a]",
            "f{ns}", "<", "<3", "unk", "eps",
        ] {
            assert!(!is_mark(word), "{word}");
        }
    }

    #[test]
    fn a_study_adds_marks_and_may_keep_them() {
        let rules = WordRules::default();
        assert_eq!(kind(" ", &rules), Kind::Nothing);
        assert_eq!(kind("n/a", &rules), Kind::Nothing);
        assert_eq!(kind("N/A", &rules), Kind::Word);
        assert_eq!(kind("{cg}", &rules), Kind::Mark);
        let more = WordRules { not_words: vec!["Um".into()], ..WordRules::default() };
        assert_eq!([kind("um", &more), kind("{UM}", &more)], [Kind::Mark; 2]);
        assert_eq!([kind("umm", &more), kind("um", &rules)], [Kind::Word; 2]);
        // HuthLab's parity: their seven alone.
        let huth = WordRules { keep_marks: true, not_words: vec!["ns".into()], ..more };
        assert_eq!([kind("{NS}", &huth), kind("ns", &huth)], [Kind::Mark; 2]);
        assert_eq!([kind("{cg}", &huth), kind("#", &huth)], [Kind::Word; 2]);
        assert_eq!([kind("", &huth), kind("n/a", &huth)], [Kind::Nothing; 2]);
    }
}
