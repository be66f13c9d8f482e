//! Which tier of a TextGrid holds the words.

use crate::io::textgrid::Tier;

use super::marks::is_mark;

/// Why no tier is taken.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum TierError {
    /// There is none to choose from.
    #[error("the TextGrid has no interval tier; give a grid with a tier of words")]
    None,
    /// The tier that was asked for is not there.
    #[error("there is no tier {wanted:?}; the interval tiers are {}", tiers.join(", "))]
    Unknown {
        /// As set.
        wanted: String,
        /// Tiers with sample labels.
        tiers: Vec<String>,
    },
    /// Several tiers may hold the words.
    #[error(
        "cannot tell which tier holds the words, {} would fit: set tier (--tier) to one of {}",
        fit.join(" and "), tiers.join(", ")
    )]
    Several {
        /// Names of those that would fit.
        fit: Vec<String>,
        /// Tiers with sample labels.
        tiers: Vec<String>,
    },
    /// No name of a word tier, and too many to go by the place.
    #[error(
        "cannot tell which tier holds the words: set tier (--tier) to one of {}", tiers.join(", ")
    )]
    Unnamed {
        /// Tiers with sample labels.
        tiers: Vec<String>,
    },
    /// No tier, or several, are called as those of phones are.
    #[error(
        "cannot tell which tier holds the phones: set phone_tier (--phone-tier) to one of {}",
        tiers.join(", ")
    )]
    Phones {
        /// Tiers with sample labels.
        tiers: Vec<String>,
    },
    /// The tier that its place would choose holds something else.
    #[error(
        "the {place}, {name:?}, looks like {what}, not like words; set tier (--tier) to one of {}",
        tiers.join(", ")
    )]
    NotWords {
        /// Its place.
        place: &'static str,
        /// Its name.
        name: String,
        /// Phones or sentences.
        what: &'static str,
        /// Tiers with sample labels.
        tiers: Vec<String>,
    },
}

/// A tier and why it was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Index among the interval tiers.
    pub index: usize,
    /// Its place, where its name did not say that it holds words.
    pub by_place: Option<&'static str>,
}

/// Names of word tiers, in the order of preference; `* - words` comes last.
const NAMES: [&str; 5] = ["word", "words", "ort", "ort-mau", "kan"];

/// Chooses the tier of words: the one that is wanted; else by its name; else the second of two
/// (HuthLab's: phones, words) or the only one, unless its labels say otherwise.
/// # Errors
/// [`TierError`], with the tiers and three labels of each.
pub fn choose(tiers: &[Tier], wanted: Option<&str>) -> Result<Chosen, TierError> {
    if tiers.is_empty() {
        return Err(TierError::None);
    }
    let listed = || tiers.iter().map(described).collect();
    let one_of = |found: Vec<usize>| match found[..] {
        [] => Ok(None),
        [index] => Ok(Some(Chosen { index, by_place: None })),
        _ => {
            let fit = found.iter().map(|&i| format!("{:?}", tiers[i].name)).collect();
            Err(TierError::Several { fit, tiers: listed() })
        }
    };
    let named = |is_it: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..tiers.len()).filter(|&i| is_it(&bare_name(&tiers[i].name))).collect()
    };
    if let Some(wanted) = wanted {
        let exact: Vec<usize> = (0..tiers.len()).filter(|&i| tiers[i].name == wanted).collect();
        let found = match exact.is_empty() {
            true => named(&|name| name == bare_name(wanted)),
            false => exact,
        };
        let unknown = || TierError::Unknown { wanted: wanted.to_owned(), tiers: listed() };
        return one_of(found)?.ok_or_else(unknown);
    }
    for known in NAMES {
        if let Some(chosen) = one_of(named(&|name| name == known))? {
            return Ok(chosen);
        }
    }
    let of_speaker = |name: &str| {
        name.rsplit_once(" - ").is_some_and(|(_, last)| matches!(last.trim(), "word" | "words"))
    };
    if let Some(chosen) = one_of(named(&of_speaker))? {
        return Ok(chosen);
    }
    let (index, place) = match tiers.len() {
        1 => (0, "only interval tier"),
        2 => (1, "second of two interval tiers"),
        _ => return Err(TierError::Unnamed { tiers: listed() }),
    };
    match not_words(&tiers[index]) {
        None => Ok(Chosen { index, by_place: Some(place) }),
        Some(what) => {
            let name = tiers[index].name.clone();
            Err(TierError::NotWords { place, name, what, tiers: listed() })
        }
    }
}

/// Names of phone tiers, in the order of preference; `* - phones` comes last.
const PHONE_NAMES: [&str; 7] =
    ["phone", "phones", "phoneme", "phonemes", "mau", "segment", "segments"];

/// Chooses the tier of phones: the one that is wanted, else by its name. `words`: the words' tier,
/// whose speaker's phones are taken where there are several speakers.
/// # Errors
/// [`TierError`], with the tiers and three labels of each.
pub fn choose_phones(
    tiers: &[Tier],
    wanted: Option<&str>,
    words: &str,
) -> Result<usize, TierError> {
    if wanted.is_some() {
        return choose(tiers, wanted).map(|chosen| chosen.index);
    }
    let find = |is_it: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..tiers.len()).filter(|&i| is_it(&bare_name(&tiers[i].name))).collect()
    };
    let is_phones = |last: &str| matches!(last.trim(), "phone" | "phones");
    let speaker = bare_name(words).rsplit_once(" - ").map(|(speaker, _)| speaker.to_owned());
    let of_speaker = |name: &str| {
        name.rsplit_once(" - ").is_some_and(|(own, last)| {
            is_phones(last) && speaker.as_deref().is_none_or(|speaker| speaker == own)
        })
    };
    let named = PHONE_NAMES.iter().map(|&known| find(&|name| name == known));
    let found = named.chain([find(&of_speaker)]).find(|found| !found.is_empty());
    match found.as_deref() {
        Some(&[index]) => Ok(index),
        _ => Err(TierError::Phones { tiers: tiers.iter().map(described).collect() }),
    }
}

/// A name without quotes and blanks around it, in lower case.
fn bare_name(name: &str) -> String {
    let is_around = |c: char| c.is_whitespace() || "'\"‘’“”«»".contains(c);
    name.trim_matches(is_around).to_lowercase()
}

/// A tier's name and its first three labels.
fn described(tier: &Tier) -> String {
    let labels: Vec<String> = labels(tier)
        .take(3)
        .map(|label| format!("{:?}", label.chars().take(20).collect::<String>()))
        .collect();
    format!(
        "{:?} ({})",
        tier.name,
        if labels.is_empty() { "empty".into() } else { labels.join(", ") }
    )
}

/// Labels that are no marks.
fn labels(tier: &Tier) -> impl Iterator<Item = &str> {
    let texts = tier.intervals.iter().map(|interval| interval.text.as_str());
    texts.filter(|text| !text.is_empty() && !is_mark(text))
}

/// What a tier's labels look like, if not like words: phones are one or two Latin letters, or
/// ARPAbet with its stress digits; sentences have blanks.
fn not_words(tier: &Tier) -> Option<&'static str> {
    let labels: Vec<&str> = labels(tier).collect();
    let share = |is_it: &dyn Fn(&str) -> bool| {
        labels.iter().filter(|label| is_it(label)).count() as f64 / labels.len().max(1) as f64
    };
    let mut lengths: Vec<usize> = labels.iter().map(|label| label.chars().count()).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).copied().unwrap_or(usize::MAX);
    if (median <= 2 && share(&is_latin) > 0.5) || share(&is_arpabet_vowel) > 0.1 {
        return Some("phones");
    }
    (share(&|label| label.contains(char::is_whitespace)) > 0.2).then_some("sentences")
}

/// Latin letters and those of phonetic alphabets; a label without letters (SAMPA's `@`) too.
fn is_latin(label: &str) -> bool {
    label.chars().filter(|c| c.is_alphabetic()).all(|c| {
        matches!(c, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{36f}' | '\u{1d00}'..='\u{1dbf}' | 'θ' | 'β' | 'χ')
    })
}

/// `AH0`, `iy1`.
pub(super) fn is_arpabet_vowel(label: &str) -> bool {
    matches!(label.as_bytes(), [a, b, b'0'..=b'2'] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::textgrid::Interval;

    fn tier(name: &str, labels: &str) -> Tier {
        let interval = |text: &str| Interval {
            start_s: 0.0,
            end_s: 1.0,
            text: text.replace('_', " "),
            line: 1,
        };
        Tier { name: name.into(), intervals: labels.split(' ').map(interval).collect() }
    }

    fn chosen(names: &[(&str, &str)], wanted: Option<&str>) -> Result<Chosen, TierError> {
        choose(&names.iter().map(|(name, labels)| tier(name, labels)).collect::<Vec<_>>(), wanted)
    }

    fn by_name(names: &[&str]) -> usize {
        let tiers: Vec<_> = names.iter().map(|&name| (name, "they went home")).collect();
        let found = chosen(&tiers, None).unwrap();
        assert_eq!(found.by_place, None);
        found.index
    }

    #[test]
    fn names_of_word_tiers_are_known_in_order() {
        assert_eq!(by_name(&["Words", "phones"]), 0);
        assert_eq!(by_name(&["phone", "word", "WORDS"]), 1);
        assert_eq!(by_name(&["MAU", "KAN-MAU", "ORT-MAU"]), 2);
        assert_eq!(by_name(&["KAN-MAU", "KAN", "ORT"]), 2);
        assert_eq!(by_name(&["TRN", " \"kan\" ", "MAU"]), 1);
        assert_eq!(by_name(&["speaker - phones", "speaker - words", "notes"]), 1);
        assert_eq!(by_name(&["a - words", "b - words", "'Word'"]), 2);
    }

    #[test]
    fn two_speakers_are_refused_with_both_names() {
        let tiers = [("ann - words", "hi you all"), ("bob - words", "yes dear"), ("x", "a")];
        let message = chosen(&tiers, None).unwrap_err().to_string();
        assert!(message.contains("\"ann - words\" and \"bob - words\" would fit"), "{message}");
        assert!(message.contains("\"ann - words\" (\"hi\", \"you\", \"all\")"), "{message}");
        assert_eq!(chosen(&tiers, Some("bob - words")).unwrap().index, 1);
    }

    #[test]
    fn tiers_of_phones_are_known_by_name_and_of_the_words_speaker() {
        let phones = |names: &[&str], wanted: Option<&str>, words: &str| {
            let tiers: Vec<Tier> = names.iter().map(|name| tier(name, "DH AH0")).collect();
            choose_phones(&tiers, wanted, words)
        };
        assert_eq!(phones(&["phone", "word"], None, "word"), Ok(0));
        assert_eq!(phones(&["ORT", "MAU"], None, "ORT"), Ok(1));
        let speakers = ["ann - words", "ann - phones", "bob - words", "bob - phones"];
        assert_eq!(phones(&speakers, None, "bob - words"), Ok(3));
        assert_eq!(phones(&speakers[..2], None, "ann - words"), Ok(1));
        assert_eq!(phones(&["a", "b"], Some("b"), "a"), Ok(1));
        let error = phones(&["a", "b"], None, "a").unwrap_err().to_string();
        assert!(error.contains("--phone-tier") && error.contains("\"b\" (\"DH\""), "{error}");
        assert!(matches!(phones(&["a"], Some("c"), "a"), Err(TierError::Unknown { .. })));
        assert!(phones(&speakers, None, "words").is_err(), "which of the two is meant");
    }

    #[test]
    fn the_wanted_tier_is_taken_whatever_it_holds() {
        let tiers = [("Word", "hi you"), ("Phon", "HH AY1 Y UW1"), ("word", "x y")];
        assert_eq!(chosen(&tiers, Some("word")).unwrap().index, 2);
        assert_eq!(chosen(&tiers, Some(" phon")).unwrap().index, 1);
        let message = chosen(&tiers, Some("words")).unwrap_err().to_string();
        assert!(message.contains("no tier \"words\"") && message.contains("\"Phon\" (\"HH\""));
        assert!(matches!(chosen(&tiers, None), Err(TierError::Several { .. })), "one name twice");
    }

    #[test]
    fn a_place_is_trusted_only_where_labels_look_like_words() {
        let words = "they went home and slept";
        for (tiers, index) in [
            (&[("a", "x"), ("b", words)][..], 1),
            (&[("only", words)], 0),
            (&[("only", "a I to go on at it")], 0),
            (&[("字", "我 们 去 家 里")], 0),
        ] {
            match chosen(tiers, None) {
                Ok(found) => assert!(found.index == index && found.by_place.is_some()),
                Err(TierError::NotWords { what, .. }) => {
                    assert!(what == "phones" && tiers[0].1.starts_with("a I"), "{tiers:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        for (labels, what) in [
            ("HH AY1 DH EH1 R", "phones"),
            ("h aɪ ð ɛ ə", "phones"),
            ("DHEY1 WENT AH0 sil HOWM IY2", "phones"),
            ("@ E~ 6: {  n", "phones"),
            ("they_went_home and_slept well", "sentences"),
        ] {
            let error = chosen(&[("p", words), ("q", labels)], None).unwrap_err().to_string();
            assert!(error.contains(&format!("\"q\", looks like {what}")), "{labels}: {error}");
            assert!(error.contains("\"p\" (\"they\", \"went\", \"home\")"), "{error}");
        }
        assert!(matches!(
            chosen(&[("a", ""), ("b", ""), ("c", "")], None),
            Err(TierError::Unnamed { .. })
        ));
        assert!(matches!(chosen(&[], None), Err(TierError::None)));
    }
}
