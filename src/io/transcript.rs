//! Transcripts as aligners write them in JSON: gentle's, WhisperX's and Whisper's.

use serde::Deserialize;

/// What a transcript may hold.
pub const MAX_BYTES: u64 = 256 << 20;

/// Why a transcript is refused; `Error::Transcript` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscriptError {
    /// No JSON, or not of this form.
    #[error(
        "not a transcript of gentle, WhisperX or Whisper ({reason}); expected \
         {{\"words\": [{{\"word\", \"start\", \"end\"}}]}} or such words in \"segments\""
    )]
    Json {
        /// What serde says.
        reason: String,
    },
    /// Larger than any.
    #[error("the transcript is over {limit} bytes; give one file per story")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// Sentences with times, words without.
    #[error(
        "its {n_segments} segments hold no words with times; run Whisper with \
         --word_timestamps True, or WhisperX without --no_align"
    )]
    NoWords {
        /// Segments of the file.
        n_segments: usize,
    },
    /// A time that cannot be.
    #[error("word {index} (\"{word}\"): {field} is {value}, expected a finite number of seconds")]
    Time {
        /// From 1.
        index: u64,
        /// The word.
        word: String,
        /// `start` or `end`.
        field: &'static str,
        /// As written.
        value: f64,
    },
    /// UTF-16 with half a character.
    #[error("the text is not whole UTF-16; save it as UTF-8")]
    Encoding,
}

/// One word of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct SpokenWord {
    /// Without blanks around it.
    pub word: String,
    /// Start, where the aligner found one.
    pub start: Option<f64>,
    /// End, where it found one.
    pub end: Option<f64>,
}

#[derive(Deserialize)]
struct Word {
    word: Option<String>,
    text: Option<String>,
    start: Option<f64>,
    end: Option<f64>,
}

#[derive(Deserialize)]
struct Segment {
    words: Option<Vec<Word>>,
}

#[derive(Deserialize)]
struct Document {
    segments: Option<Vec<Segment>>,
    words: Option<Vec<Word>>,
}

/// The words of a transcript, in its order: those of `segments[].words[]` where there are segments
/// with words (`word_segments` and `words` repeat them), else `words[]`. A list of segments or of
/// words without anything around it is read too.
/// # Errors
/// [`TranscriptError`].
pub fn parse(text: &str) -> Result<Vec<SpokenWord>, TranscriptError> {
    let fail = |error: serde_json::Error| TranscriptError::Json { reason: error.to_string() };
    let document = match text.trim_start().starts_with('[') {
        false => serde_json::from_str::<Document>(text).map_err(fail)?,
        true => match serde_json::from_str::<Vec<Segment>>(text) {
            Ok(segments) if segments.iter().any(|segment| segment.words.is_some()) => {
                Document { segments: Some(segments), words: None }
            }
            _ => {
                Document { segments: None, words: Some(serde_json::from_str(text).map_err(fail)?) }
            }
        },
    };
    let segments = document.segments.unwrap_or_default();
    let n_segments = segments.len();
    let spoken: Vec<Word> = segments.into_iter().filter_map(|s| s.words).flatten().collect();
    let words = match (spoken.is_empty(), document.words) {
        (true, Some(words)) => words,
        (true, None) if n_segments > 0 => return Err(TranscriptError::NoWords { n_segments }),
        (true, None) => {
            let reason = "it has neither segments nor words".to_owned();
            return Err(TranscriptError::Json { reason });
        }
        (false, _) => spoken,
    };
    let mut found = Vec::with_capacity(words.len());
    for (index, Word { word, text, start, end }) in (1..).zip(words) {
        let word = word.or(text).unwrap_or_default().trim().to_owned();
        for (field, value) in [("start", start), ("end", end)] {
            if let Some(value) = value.filter(|value| !value.is_finite()) {
                return Err(TranscriptError::Time { index, word, field, value });
            }
        }
        found.push(SpokenWord { word, start, end });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<(String, Option<f64>, Option<f64>)> {
        parse(text).unwrap().into_iter().map(|w| (w.word, w.start, w.end)).collect()
    }

    #[test]
    fn every_aligners_form_gives_the_same_words() {
        let expected = [
            ("So".to_owned(), Some(0.5), Some(0.75)),
            ("1990".to_owned(), None, None),
            ("ends.".to_owned(), Some(1.5), Some(2.0)),
        ];
        let whisperx = r#"{"segments": [
            {"start": 0.5, "end": 0.75, "text": " So", "words": [
                {"word": "So", "start": 0.5, "end": 0.75, "score": 0.9}]},
            {"start": 1, "end": 2, "text": " 1990 ends.", "words": [
                {"word": "1990"}, {"word": "ends.", "start": 1.5, "end": 2, "score": 0.4}]}],
            "word_segments": [{"word": "So", "start": 0.5, "end": 0.75}], "language": "en"}"#;
        let whisper = r#"{"text": "So 1990 ends.", "segments": [{"id": 0, "tokens": [1, 2],
            "words": [{"word": " So", "start": 0.5, "end": 0.75, "probability": 0.9},
            {"word": " 1990", "start": null, "end": null}, {"word": " ends.", "start": 1.5, "end": 2.0}]}]}"#;
        let gentle = r#"{"transcript": "So 1990 ends.", "words": [
            {"alignedWord": "so", "case": "success", "start": 0.5, "end": 0.75, "word": "So",
             "startOffset": 0, "endOffset": 2, "phones": [{"duration": 0.1, "phone": "s_B"}]},
            {"case": "not-found-in-audio", "startOffset": 3, "endOffset": 7, "word": "1990"},
            {"alignedWord": "<unk>", "case": "success", "start": 1.5, "end": 2, "word": "ends."}]}"#;
        let list = r#" [{"text": "So", "start": 0.5, "end": 0.75}, {"text": "1990"},
            {"text": "ends.", "start": 1.5, "end": 2}]"#;
        let segments = r#"[{"words": [{"word": "So", "start": 0.5, "end": 0.75}, {"word": "1990"},
            {"word": "ends.", "start": 1.5, "end": 2}]}]"#;
        for text in [whisperx, whisper, gentle, list, segments] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn other_json_says_what_is_expected() {
        let fault = |text: &str| parse(text).unwrap_err().to_string();
        assert!(fault("{\"a\": 1}").contains("neither segments nor words"));
        assert!(
            fault("{\"words\": 3}").contains("not a transcript of gentle, WhisperX or Whisper")
        );
        let segments = r#"{"segments": [{"start": 0, "end": 1, "text": "a"}]}"#;
        assert!(
            fault(segments).contains("1 segments hold no words")
                && fault(segments).contains("--word_timestamps")
        );
        assert!(fault("{\"words\": [{\"word\": \"a\", \"start\": \"x\"}]}").contains("line 1"));
        assert!(fault("{").contains("EOF"));
    }
}
