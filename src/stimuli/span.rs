//! A story's words against its scan: the one comparison that tells a wrong unit, a wrong TR and half
//! a transcript.

use std::ops::Range;

use super::story::Story;
use crate::error::{Error, Result};
use crate::warning::{Warning, named};

/// When a story's words were, and when its scan was.
#[derive(Debug, Clone, PartialEq)]
pub struct StorySpan {
    /// The story.
    pub story: String,
    /// Its words.
    pub n_words: usize,
    /// Start of the first word, end of the last one.
    pub words_s: (f64, f64),
    /// Middle of the last word.
    pub last_word_s: f64,
    /// Middle of the first and of the last TR that is kept.
    pub scan_s: (f64, f64),
    /// From TR to TR.
    pub tr_s: f64,
    /// Words whose middle lies in the scan.
    pub n_inside: usize,
}

/// Last word over last TR, as a median over the stories, that is not doubted.
const RATIO: std::ops::RangeInclusive<f64> = 0.85..=1.05;
/// Words per second of a story that are not doubted.
const RATE: std::ops::RangeInclusive<f64> = 0.5..=8.0;
/// Sampling rates of sound and of the stimulus channel of EEG and MEG files, in Hz.
const RATES_HZ: [f64; 17] = [
    100.0, 125.0, 128.0, 200.0, 250.0, 256.0, 500.0, 512.0, 1024.0, 2048.0, 8000.0, 11_025.0,
    16_000.0, 22_050.0, 24_000.0, 44_100.0, 48_000.0,
];

impl StorySpan {
    /// The span of a story whose kept TRs have their middles from `scan_s.0` to `scan_s.1`.
    pub fn new(story: &Story, scan_s: (f64, f64), tr_s: f64) -> Self {
        let scan = scan_s.0 - 0.5 * tr_s..=scan_s.1 + 0.5 * tr_s;
        StorySpan {
            story: story.name.clone(),
            n_words: story.words.len(),
            words_s: story.words_s(),
            last_word_s: story.mid_s.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            scan_s,
            tr_s,
            n_inside: story.mid_s.iter().filter(|&mid_s| scan.contains(mid_s)).count(),
        }
    }

    /// The span of a story of whose TRs the non-empty range `kept` is kept; where it brings no TR
    /// times, TR 0 is at `first_tr_s`.
    pub fn of_trs(story: &Story, kept: Range<usize>, first_tr_s: f64, tr_s: f64) -> Self {
        let (first, last) = (kept.start, kept.end.saturating_sub(1));
        match &story.tr_times_s {
            Some(times) => {
                let scan_s = (times[first], times[last]);
                let n_steps = last.saturating_sub(first).max(1);
                StorySpan::new(story, scan_s, (scan_s.1 - scan_s.0) / n_steps as f64)
            }
            None => {
                let at = |tr: usize| first_tr_s + tr as f64 * tr_s;
                StorySpan::new(story, (at(first), at(last)), tr_s)
            }
        }
    }

    /// Last word over last TR; `None` where the scan ends before the sound begins.
    pub fn ratio(&self) -> Option<f64> {
        (self.scan_s.1 > 0.0).then(|| self.last_word_s / self.scan_s.1)
    }

    /// Words per second from the first word to the last.
    pub fn words_per_s(&self) -> Option<f64> {
        let (first, last) = self.words_s;
        (last > first).then(|| self.n_words as f64 / (last - first))
    }
}

/// A unit of times that would fit.
#[derive(Debug, Clone, PartialEq)]
struct Unit {
    name: String,
    /// What `time_unit` should be.
    setting: String,
}

/// The unit in which the last word would lie just before the last TR, and the first one in the
/// first half of the scan, if it is not seconds.
fn likely_unit(span: &StorySpan) -> Option<Unit> {
    let (first, last, end_s) = (span.words_s.0, span.last_word_s, span.scan_s.1);
    let fits = |seconds: f64| {
        end_s > 0.0 && RATIO.contains(&(last * seconds / end_s)) && first * seconds < 0.5 * end_s
    };
    if (0.99..1.01).contains(&span.tr_s) || !fits(span.tr_s) {
        // The rate that puts the last word closest to the last TR without passing it.
        let gap = |hz: &f64| {
            let ratio = last / hz / end_s;
            if ratio <= 1.0 { 1.0 - ratio } else { ratio }
        };
        let rates = RATES_HZ.into_iter().filter(|hz| fits(1.0 / hz));
        let samples = rates.min_by(|a, b| gap(a).total_cmp(&gap(b))).map(|hz| Unit {
            name: format!("samples at {hz} Hz"),
            setting: (1.0 / hz).to_string(),
        });
        // Times in ms are much more frequent than samples at 1024 Hz, which fit as well.
        return match fits(1e-3) {
            false => samples,
            true => Some(Unit {
                name: "ms".into(),
                setting: samples.map_or("\"ms\"".into(), |other| {
                    format!("\"ms\" (or {} for {})", other.setting, other.name)
                }),
            }),
        };
    }
    Some(Unit { name: "TRs".into(), setting: span.tr_s.to_string() })
}

impl Unit {
    fn hint(&self) -> String {
        format!("they would fit in {}: set time_unit = {}", self.name, self.setting)
    }
}

/// Refuses stories of which fewer than half of the words lie in their scan.
///
/// # Errors
/// `Error::Values` with the story, both spans and the unit that would fit.
pub fn check_spans(spans: &[StorySpan]) -> Result<()> {
    let is_off = |span: &&StorySpan| 2 * span.n_inside < span.n_words;
    let Some(span) = spans.iter().find(is_off) else { return Ok(()) };
    let n_off = spans.iter().filter(is_off).count();
    let more = match n_off {
        1 => String::new(),
        n => format!(" (so in {n} of {} stories)", spans.len()),
    };
    let hint = likely_unit(span).map_or_else(
        || {
            "check first_tr_s, tr_s and trim, and that the words' times are seconds from the start \
             of the sound (time_unit)"
                .to_owned()
        },
        |unit| unit.hint(),
    );
    Err(Error::Values {
        place: format!("story {:?}", span.story),
        problem: format!(
            "{} of its {} words lie in its scan: words run from {} to {} s, the TRs kept from {} \
             to {} s{more}",
            span.n_inside,
            span.n_words,
            rounded(span.words_s.0),
            rounded(span.words_s.1),
            rounded(span.scan_s.0),
            rounded(span.scan_s.1),
        ),
        hint,
    })
}

/// Doubts about stories whose words lie in their scans.
///
/// `is_scan_known`: the TRs are those of a recording, and not made to end with the last word.
pub fn warn_of_spans(spans: &[StorySpan], is_scan_known: bool) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut by_ratio: Vec<(f64, &StorySpan)> =
        spans.iter().filter_map(|span| Some((span.ratio()?, span))).collect();
    by_ratio.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Of two in the middle the one nearer to 1 would hide a doubt as well as the other.
    if let (true, Some(&(ratio, span))) = (is_scan_known, by_ratio.get(by_ratio.len() / 2))
        && !RATIO.contains(&median(&by_ratio))
    {
        let what = match likely_unit(span) {
            Some(unit) => unit.hint(),
            None if ratio < 1.0 => {
                "is a part of the transcripts missing, or are tr_s and first_tr_s others?".into()
            }
            None => "check trim, tr_s, first_tr_s and time_unit".into(),
        };
        warnings.push(Warning::Timing {
            text: format!(
                "the words end at {:.2} of the scan (median of {} stories; {:?}: last word {} s, \
                 last TR {} s), expected 0.85 to 1.05; {what}",
                median(&by_ratio),
                by_ratio.len(),
                span.story,
                rounded(span.last_word_s),
                rounded(span.scan_s.1),
            ),
        });
    }
    for (is_odd, how, what) in [
        (
            (&|rate| rate < *RATE.start()) as &dyn Fn(f64) -> bool,
            "under 0.5",
            "are these whole sentences, or times in another unit than seconds (time_unit)?",
        ),
        (&|rate| rate > *RATE.end(), "over 8", "are these phones, or words more than once?"),
    ] {
        let odd: Vec<(&StorySpan, f64)> = spans
            .iter()
            .filter_map(|span| Some((span, span.words_per_s()?)))
            .filter(|&(_, rate)| is_odd(rate))
            .collect();
        if odd.is_empty() {
            continue;
        }
        let stories: Vec<String> =
            odd.iter().map(|(span, rate)| format!("{}: {}", span.story, rounded(*rate))).collect();
        warnings.push(Warning::Timing {
            text: format!(
                "{} of {} stories have {how} words per second ({}), expected 0.5 to 8; {what}",
                odd.len(),
                spans.len(),
                named(&stories)
            ),
        });
    }
    warnings
}

fn median(sorted: &[(f64, &StorySpan)]) -> f64 {
    let (low, high) = (sorted[(sorted.len() - 1) / 2].0, sorted[sorted.len() / 2].0);
    0.5 * low + 0.5 * high
}

/// Two decimals where they tell something.
fn rounded(value: f64) -> String {
    match value.abs() {
        size if size > 0.0 && size < 1e-2 => format!("{value:.1e}"),
        size if size < 1e3 => format!("{value:.2}"),
        size if size < 1e15 => format!("{value:.0}"),
        _ => format!("{value:e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A story of two words per second from 0.5 s to `last_s`, times as `factor` makes them.
    fn story(last_s: f64, factor: f64) -> Story {
        let n = (2.0 * last_s) as usize;
        let onset: Vec<f64> = (1..=n).map(|i| 0.5 * i as f64 * factor).collect();
        Story {
            name: "play".into(),
            words: vec!["a".into(); n],
            mid_s: onset.iter().map(|onset| onset + 0.1 * factor).collect(),
            onset_s: Some(onset),
            ..Story::default()
        }
    }

    fn span(last_s: f64, factor: f64, tr_s: f64) -> StorySpan {
        StorySpan::new(&story(last_s, factor), (-9.0, 240.0), tr_s)
    }

    #[test]
    fn a_right_story_is_silent() {
        for last_s in [238.0, 210.0, 250.0] {
            let spans = vec![span(last_s, 1.0, 2.0); 3];
            check_spans(&spans).unwrap();
            assert_eq!(warn_of_spans(&spans, true), []);
        }
    }

    #[test]
    fn wrong_units_are_named() {
        for (factor, name, setting) in [
            (1e3, "in ms:", "\"ms\""),
            (512.0, "in samples at 512 Hz:", "0.001953125"),
            (1024.0, "\"ms\" (or 0.0009765625 for samples", "1024 Hz"),
            (44_100.0, "in samples at 44100 Hz:", "0.0000226757"),
        ] {
            let error = check_spans(&[span(238.0, factor, 2.0)]).unwrap_err();
            assert_eq!(error.exit_code(), 3);
            let text = error.to_string();
            assert!(text.contains("story \"play\"") && text.contains("words lie in its scan"));
            assert!(text.contains(name) && text.contains(setting), "{text}");
            assert!(text.contains("-9.00 to 240.00 s"), "{text}");
        }
        // TRs of 2 s: everything lies in the scan.
        let spans = [span(238.0, 0.5, 2.0)];
        check_spans(&spans).unwrap();
        let text = warn_of_spans(&spans, true)[0].to_string();
        assert!(
            text.starts_with("timing: ") && text.contains("in TRs: set time_unit = 2"),
            "{text}"
        );
        assert!(text.contains("last word 119") && text.contains("last TR 240.00 s"), "{text}");
        // TRs of 0.4 s: most do not.
        let text = check_spans(&[span(238.0, 2.5, 0.4)]).unwrap_err().to_string();
        assert!(text.contains("in TRs: set time_unit = 0.4"), "{text}");
        // A clock of the session or of the epoch fits no unit.
        for start in [5e4, 1.7e9] {
            let mut late = story(238.0, 1.0);
            late.mid_s.iter_mut().for_each(|time| *time += start);
            late.onset_s.iter_mut().flatten().for_each(|time| *time += start);
            let late = StorySpan::new(&late, (-9.0, 240.0), 2.0);
            let text = check_spans(&[span(238.0, 1.0, 2.0), late]).unwrap_err().to_string();
            assert!(text.contains("0 of its 476 words") && text.contains("first_tr_s"), "{text}");
            assert!(!text.contains("would fit"), "{text}");
        }
    }

    #[test]
    fn half_a_transcript_and_odd_rates_are_doubted() {
        let half = vec![span(119.0, 1.0, 1.0); 5];
        let text = warn_of_spans(&half, true)[0].to_string();
        assert!(text.contains("0.50 of the scan (median of 5 stories"), "{text}");
        assert!(text.contains("transcripts missing"), "{text}");
        assert_eq!(warn_of_spans(&half, false), [], "the scan was made to fit");
        // One short transcript among many is none.
        let mut spans = vec![span(238.0, 1.0, 2.0); 5];
        spans.push(half[0].clone());
        assert_eq!(warn_of_spans(&spans, true), []);
        let mut sparse = span(238.0, 1.0, 2.0);
        sparse.n_words = 30;
        let mut dense = sparse.clone();
        dense.n_words = 4000;
        let texts: Vec<String> =
            warn_of_spans(&[sparse, dense], true).iter().map(ToString::to_string).collect();
        assert!(texts[0].contains("1 of 2 stories have under 0.5 words per second (play: 0.13)"));
        assert!(texts[1].contains("over 8 words per second (play: 16.83)"), "{texts:?}");
    }
}
