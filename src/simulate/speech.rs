//! Text to words with onsets and offsets, at the rate of a person telling a story.

use super::settings::{Checked, between};
use crate::error::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// One spoken word, lower case, without punctuation; apostrophes inside it are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct TimedWord {
    /// The word.
    pub word: String,
    /// Where it starts, in seconds of the story.
    pub onset_s: f64,
    /// Where it ends.
    pub offset_s: f64,
}

/// How a story is spoken.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `words_per_min` | 190 | mean rate over a story, pauses included | 60 … 400 |
/// | `first_onset_s` | 0.5 | silence before the first word | 0 … 60 |
/// | `jitter` | 0.25 | sd of log(duration) around the syllables' estimate | 0 … 1 |
/// | `comma_pause_s` | 0.25 | mean pause at a comma, semicolon, colon or dash | 0 … 5 |
/// | `sentence_pause_s` | 0.55 | mean pause at the end of a sentence | 0 … 5 |
/// | `paragraph_pause_s` | 0.9 | mean pause at an empty line | 0 … 10 |
///
/// The pauses are those of English at 190 words a minute; at another rate they scale with the
/// words.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the table above is the documentation of the fields")]
pub struct SpeechSettings {
    pub words_per_min: f64,
    pub first_onset_s: f64,
    pub jitter: f64,
    pub comma_pause_s: f64,
    pub sentence_pause_s: f64,
    pub paragraph_pause_s: f64,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        SpeechSettings {
            words_per_min: 190.0,
            first_onset_s: 0.5,
            jitter: 0.25,
            comma_pause_s: 0.25,
            sentence_pause_s: 0.55,
            paragraph_pause_s: 0.9,
        }
    }
}

impl SpeechSettings {
    /// The settings, every one inside its range.
    ///
    /// # Errors
    /// `Error::Usage` names the first setting outside its range.
    pub fn check(self) -> Result<Checked<Self>> {
        between("words_per_min", self.words_per_min, 60.0, 400.0)?;
        between("first_onset_s", self.first_onset_s, 0.0, 60.0)?;
        between("jitter", self.jitter, 0.0, 1.0)?;
        between("comma_pause_s", self.comma_pause_s, 0.0, 5.0)?;
        between("sentence_pause_s", self.sentence_pause_s, 0.0, 5.0)?;
        between("paragraph_pause_s", self.paragraph_pause_s, 0.0, 10.0)?;
        Ok(Checked::new(self))
    }
}

/// What stands between a word and the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Break {
    None,
    Comma,
    Sentence,
    Paragraph,
}

/// Seconds of a word: a constant and a share for every syllable, at an unstretched rate.
///
/// Articulation of 4.5 to 5 syllables a second is usual for English; the exact numbers do not
/// matter, because a story is stretched to `words_per_min` as a whole.
const WORD_S: f64 = 0.08;
const SYLLABLE_S: f64 = 0.15;

/// The text's words in time order, one after the other without overlap.
///
/// Duration = (0.08 + 0.15 · syllables) s · e^(jitter · z), z ~ N(0, 1), syllables counted as groups
/// of vowels; pauses, with the same kind of jitter, at punctuation. Words and pauses are then
/// stretched together so that the story runs at `words_per_min` from the first onset to the last
/// offset. Hyphens and dashes separate words, digits are part of them. The same text, settings
/// and seed give the same bits. An empty text gives no words.
pub fn speak(text: &str, settings: &Checked<SpeechSettings>, seed: u64) -> Vec<TimedWord> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut jitter = |mean_s: f64| {
        let z: f64 = StandardNormal.sample(&mut rng);
        // exp(s z) has mean exp(s² / 2): divided out, so that `mean_s` is the mean.
        mean_s * (settings.jitter * z - 0.5 * settings.jitter.powi(2)).exp()
    };
    let mut now_s = 0.0;
    let mut spoken: Vec<TimedWord> = Vec::new();
    let mut end_s = 0.0;
    for (word, after) in words_with_breaks(text) {
        let onset_s = now_s;
        now_s += jitter(WORD_S + SYLLABLE_S * n_syllables(&word) as f64);
        end_s = now_s;
        spoken.push(TimedWord { word, onset_s, offset_s: now_s });
        now_s += match after {
            Break::None => 0.0,
            Break::Comma => jitter(settings.comma_pause_s),
            Break::Sentence => jitter(settings.sentence_pause_s),
            Break::Paragraph => jitter(settings.paragraph_pause_s),
        };
    }
    let wanted_s = spoken.len() as f64 * 60.0 / settings.words_per_min;
    let stretch = if end_s > 0.0 { wanted_s / end_s } else { 1.0 };
    for word in &mut spoken {
        word.onset_s = settings.first_onset_s + word.onset_s * stretch;
        word.offset_s = settings.first_onset_s + word.offset_s * stretch;
    }
    spoken
}

/// The words of a text, each with the longest break between it and the next.
fn words_with_breaks(text: &str) -> Vec<(String, Break)> {
    let mut words: Vec<(String, Break)> = Vec::new();
    let mut current = String::new();
    let mut n_line_ends = 0;
    // A line end closes the last word.
    for c in text.chars().chain(['\n']) {
        let c = if c == '\u{2019}' { '\'' } else { c };
        if c.is_alphanumeric() || c == '\'' {
            current.extend(c.to_lowercase());
            n_line_ends = 0;
            continue;
        }
        let word = current.trim_matches('\'');
        if !word.is_empty() {
            words.push((word.to_owned(), Break::None));
        }
        current.clear();
        n_line_ends += usize::from(c == '\n');
        let after = match c {
            '.' | '!' | '?' => Break::Sentence,
            ',' | ';' | ':' | '\u{2013}' | '\u{2014}' => Break::Comma,
            '\n' if n_line_ends >= 2 => Break::Paragraph,
            _ => Break::None,
        };
        if let Some(last) = words.last_mut() {
            last.1 = last.1.max(after);
        }
    }
    words
}

/// Syllables as groups of vowels, a final silent e apart; at least one.
fn n_syllables(word: &str) -> usize {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let mut n_groups = 0;
    let mut inside = false;
    for c in word.chars() {
        n_groups += usize::from(is_vowel(c) && !inside);
        inside = is_vowel(c);
    }
    let silent_e = word.ends_with('e') && !word.ends_with("le") && !word.ends_with("ee");
    if silent_e && n_groups > 1 {
        n_groups -= 1;
    }
    n_groups.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::demo_assets;

    fn defaults() -> Checked<SpeechSettings> {
        SpeechSettings::default().check().unwrap()
    }

    fn words(text: &str) -> Vec<String> {
        speak(text, &defaults(), 1).into_iter().map(|w| w.word).collect()
    }

    #[test]
    fn words_are_lower_case_without_punctuation_and_keep_inner_apostrophes() {
        let text = "Don't, he said. 'It\u{2019}s a well-known \u{2014} ... road'!\n\nBOYS' 3 hats";
        let expected =
            ["don't", "he", "said", "it's", "a", "well", "known", "road", "boys", "3", "hats"];
        assert_eq!(words(text), expected);
        assert!(words("").is_empty());
        assert!(words(" ... ''\n").is_empty());
    }

    #[test]
    fn every_story_runs_at_the_rate_asked_for_without_overlap() {
        for (name, text) in demo_assets::stories() {
            for words_per_min in [150.0, 190.0] {
                let settings = SpeechSettings { words_per_min, ..SpeechSettings::default() };
                let spoken = speak(text, &settings.check().unwrap(), 7);
                assert_eq!(spoken[0].onset_s, 0.5);
                let length_s = spoken.last().unwrap().offset_s - spoken[0].onset_s;
                let rate = spoken.len() as f64 * 60.0 / length_s;
                assert!((rate - words_per_min).abs() < 1e-9, "{name}: {rate}");
                assert!(spoken.iter().all(|w| w.offset_s > w.onset_s));
                assert!(spoken.windows(2).all(|w| w[1].onset_s >= w[0].offset_s), "{name}");
            }
        }
    }

    #[test]
    fn long_words_take_longer_and_punctuation_pauses() {
        // No jitter: every number is the model's own.
        let settings = SpeechSettings { jitter: 0.0, ..SpeechSettings::default() }.check().unwrap();
        let spoken = speak("a sea, family. road\n\nroad road", &settings, 1);
        let gaps: Vec<f64> = spoken.windows(2).map(|w| w[1].onset_s - w[0].offset_s).collect();
        let stretch = gaps[1] / 0.25;
        for (gap, expected) in gaps.iter().zip([0.0, 0.25, 0.55, 0.9, 0.0]) {
            assert!((gap - expected * stretch).abs() < 1e-12, "{gaps:?}");
        }
        let durations: Vec<f64> = spoken.iter().map(|w| w.offset_s - w.onset_s).collect();
        assert!(durations[2] > durations[1], "family has three syllables, sea has one");
        assert_eq!(
            ["made", "table", "tree", "the", "family", "x"].map(n_syllables),
            [1, 2, 1, 1, 3, 1]
        );
    }

    #[test]
    fn jitter_has_the_spread_asked_for_and_comes_from_the_seed() {
        let text = "road ".repeat(4000);
        let log_durations = |jitter: f64, seed: u64| -> Vec<f64> {
            let settings = SpeechSettings { jitter, ..SpeechSettings::default() }.check().unwrap();
            speak(&text, &settings, seed).iter().map(|w| (w.offset_s - w.onset_s).ln()).collect()
        };
        let x = log_durations(0.25, 3);
        let mean = x.iter().sum::<f64>() / 4000.0;
        let sd = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
        // The standard error of an sd from n normal numbers is sd / sqrt(2 n); four of them.
        assert!((sd - 0.25).abs() < 4.0 * 0.25 / (2.0f64 * 4000.0).sqrt(), "{sd}");
        assert_eq!(x, log_durations(0.25, 3));
        assert_ne!(x, log_durations(0.25, 4));
    }

    #[test]
    fn settings_outside_their_range_are_refused() {
        let default = SpeechSettings::default;
        for bad in [
            SpeechSettings { words_per_min: 0.0, ..default() },
            SpeechSettings { first_onset_s: -1.0, ..default() },
            SpeechSettings { jitter: f64::NAN, ..default() },
            SpeechSettings { comma_pause_s: -0.1, ..default() },
            SpeechSettings { sentence_pause_s: 9.0, ..default() },
            SpeechSettings { paragraph_pause_s: 99.0, ..default() },
        ] {
            assert_eq!(bad.check().unwrap_err().exit_code(), 2);
        }
    }
}
