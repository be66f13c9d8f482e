//! Praat's TextGrid: long, short and chronological text files, in UTF-8, UTF-16 or Latin-1.
//!
//! The long and the short form hold the same strings and numbers in the same order; what else
//! stands in the long one (`xmin =`, `intervals [1]:`) is for people. So one reader of free-standing
//! tokens reads all forms, as Praat does. Tiers are read each for itself: they may overlap.
//!
//! Source: Praat manual, "TextGrid file formats".

use super::text::{Encoding, decode};

/// Far more than a day of phones.
const MAX_BYTES: usize = 256 << 20;
const MAX_TIERS: usize = 10_000;

/// Why a TextGrid is refused; `Error::TextGrid` adds the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextGridError {
    /// Not one of the three forms.
    #[error(
        "not a TextGrid text file: it starts with {start:?}; in Praat: Save as text file \
         (binary TextGrids are not read)"
    )]
    NotTextGrid {
        /// The first characters.
        start: String,
    },
    /// More than any grid.
    #[error("the TextGrid is over {limit} bytes; give one story a file")]
    TooLarge {
        /// The most that is read.
        limit: u64,
    },
    /// UTF-16 with half a character.
    #[error("the text is not whole UTF-16; save it as UTF-8")]
    Encoding,
    /// The file ends too early.
    #[error("truncated: the file ends where {expected} is expected; copy it again")]
    Truncated {
        /// What was to come, and of which tier.
        expected: String,
    },
    /// Something else than what must come.
    #[error("line {line}: expected {expected}, got {got}; save it again from Praat")]
    Unexpected {
        /// From 1.
        line: u64,
        /// What must come.
        expected: String,
        /// What is there.
        got: String,
    },
    /// A number of tiers, entries or a tier that cannot be.
    #[error("line {line}: {what} is {got}, expected {expected}; the file is damaged")]
    Number {
        /// From 1.
        line: u64,
        /// Which number.
        what: &'static str,
        /// As written.
        got: f64,
        /// In words.
        expected: String,
    },
}

/// One tier of intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// As in the file.
    pub name: String,
    /// In the file's order, also those without text.
    pub intervals: Vec<Interval>,
}

/// One interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Start in seconds.
    pub start_s: f64,
    /// End in seconds, not before the start.
    pub end_s: f64,
    /// Its label, without white space at its ends.
    pub text: String,
    /// Line in the file, from 1.
    pub line: u64,
}

/// The interval tiers of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// In the file's order; point tiers are passed over.
    pub tiers: Vec<Tier>,
    /// How the file was stored.
    pub encoding: Encoding,
}

/// Reads a grid.
/// # Errors
/// [`TextGridError`], with the line.
pub fn parse(bytes: &[u8]) -> Result<Grid, TextGridError> {
    if bytes.len() > MAX_BYTES {
        return Err(TextGridError::TooLarge { limit: MAX_BYTES as u64 });
    }
    let (text, encoding) = decode(bytes).map_err(|_| TextGridError::Encoding)?;
    Ok(Grid { tiers: parse_text(&text)?, encoding })
}

fn parse_text(text: &str) -> Result<Vec<Tier>, TextGridError> {
    let start = || text.chars().take(40).collect();
    let mut tokens = Tokens { rest: text, line: 1, has_space: true };
    match tokens.next()? {
        Some((Token::Text(form), _)) if form == "Praat chronological TextGrid text file" => {
            chronological(&mut tokens)
        }
        Some((Token::Text(form), _)) if form.starts_with("ooTextFile") => match tokens.next()? {
            Some((Token::Text(class), _)) if class == "TextGrid" => one_by_one(&mut tokens),
            _ => Err(TextGridError::NotTextGrid { start: start() }),
        },
        _ => Err(TextGridError::NotTextGrid { start: start() }),
    }
}

/// The long and the short form: a tier with all its entries, then the next.
fn one_by_one(tokens: &mut Tokens<'_>) -> Result<Vec<Tier>, TextGridError> {
    tokens.number("the start of the grid")?;
    tokens.number("the end of the grid")?;
    let has_tiers = tokens.token("<exists>")?;
    if !matches!(has_tiers, (Token::Flag(true), _)) {
        return Ok(Vec::new());
    }
    let n_tiers = tokens.count("the number of tiers", MAX_TIERS)?;
    let mut tiers = Vec::new();
    for _ in 0..n_tiers {
        let (is_interval, name) = tier_header(tokens)?;
        let n = tokens.count("the number of entries", MAX_BYTES)?;
        let mut intervals = Vec::new();
        for _ in 0..n {
            let interval = entry(tokens, is_interval, &name)?;
            intervals.push(interval);
        }
        if is_interval {
            tiers.push(Tier { name, intervals });
        }
    }
    Ok(tiers)
}

/// The chronological form: the tiers' names, then entries of all tiers by their start.
fn chronological(tokens: &mut Tokens<'_>) -> Result<Vec<Tier>, TextGridError> {
    tokens.number("the start of the grid")?;
    tokens.number("the end of the grid")?;
    let n_tiers = tokens.count("the number of tiers", MAX_TIERS)?;
    let mut tiers: Vec<(bool, Tier)> = Vec::new();
    for _ in 0..n_tiers {
        let (is_interval, name) = tier_header(tokens)?;
        tiers.push((is_interval, Tier { name, intervals: Vec::new() }));
    }
    while let Some((token, line)) = tokens.next()? {
        let Token::Number(got) = token else {
            let (expected, got) = ("the number of a tier".to_owned(), token.said());
            return Err(TextGridError::Unexpected { line, expected, got });
        };
        let index = (1..=tiers.len()).find(|&i| i as f64 == got);
        let Some((is_interval, tier)) = index.and_then(|i| tiers.get_mut(i - 1)) else {
            let expected = format!("1 to {}", tiers.len());
            return Err(TextGridError::Number { line, what: "a tier", got, expected });
        };
        let interval = entry(tokens, *is_interval, &tier.name)?;
        tier.intervals.push(interval);
    }
    Ok(tiers.into_iter().filter(|(is_interval, _)| *is_interval).map(|(_, tier)| tier).collect())
}

/// Whether it is an interval tier, and its name.
fn tier_header(tokens: &mut Tokens<'_>) -> Result<(bool, String), TextGridError> {
    let (class, line) = tokens.text("the class of a tier")?;
    let is_interval = match class.as_str() {
        "IntervalTier" => true,
        "TextTier" => false,
        _ => {
            let expected = "\"IntervalTier\" or \"TextTier\"".to_owned();
            return Err(TextGridError::Unexpected { line, expected, got: format!("{class:?}") });
        }
    };
    let (name, _) = tokens.text("the name of a tier")?;
    tokens.number("the start of a tier")?;
    tokens.number("the end of a tier")?;
    Ok((is_interval, name))
}

fn entry(
    tokens: &mut Tokens<'_>,
    is_interval: bool,
    tier: &str,
) -> Result<Interval, TextGridError> {
    let what = || format!("an entry of tier {tier:?}");
    let (start_s, line) = tokens.number(&what())?;
    let end_s = if is_interval { tokens.number(&what())?.0 } else { start_s };
    // Up to a millisecond is a rounding.
    if start_s - end_s > 1e-3 + 1e-9 {
        let expected = format!("{start_s} (its start) or later");
        return Err(TextGridError::Number {
            line,
            what: "the end of an interval",
            got: end_s,
            expected,
        });
    }
    let (text, _) = tokens.text(&what())?;
    let end_s = end_s.max(start_s);
    Ok(Interval { start_s, end_s, text: text.trim().to_owned(), line })
}

/// What counts in a Praat text file: quoted texts, free-standing numbers and flags.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Text(String),
    Number(f64),
    /// `<exists>` or `<absent>`.
    Flag(bool),
}

impl Token {
    fn said(&self) -> String {
        match self {
            Token::Text(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
            Token::Number(number) => number.to_string(),
            Token::Flag(exists) => if *exists { "<exists>" } else { "<absent>" }.to_owned(),
        }
    }
}

struct Tokens<'a> {
    rest: &'a str,
    line: u64,
    /// Whether white space is in front of `rest`: only then does a number stand free.
    has_space: bool,
}

impl Tokens<'_> {
    /// The next token and its line.
    fn next(&mut self) -> Result<Option<(Token, u64)>, TextGridError> {
        while let Some(first) = self.rest.chars().next() {
            let line = self.line;
            if first == '"' {
                return self.quoted().map(|text| Some((Token::Text(text), line)));
            }
            if first == '!' && self.has_space {
                let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
                continue;
            }
            if first.is_whitespace() {
                self.advance(first);
                continue;
            }
            let is_free = self.has_space;
            let end = self.rest.find(|c: char| c.is_whitespace() || c == '"');
            let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            (self.rest, self.has_space) = (rest, false);
            match word {
                "<exists>" => return Ok(Some((Token::Flag(true), line))),
                "<absent>" => return Ok(Some((Token::Flag(false), line))),
                _ => {}
            }
            // NaN and infinity are words, not numbers.
            let looks_so = word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
            if let (true, true, Ok(number)) = (is_free, looks_so, word.parse::<f64>())
                && number.is_finite()
            {
                return Ok(Some((Token::Number(number), line)));
            }
        }
        Ok(None)
    }

    fn advance(&mut self, c: char) {
        self.line += u64::from(c == '\n');
        self.has_space = c.is_whitespace();
        self.rest = &self.rest[c.len_utf8()..];
    }

    /// A text in quotes; two quotes inside are one.
    fn quoted(&mut self) -> Result<String, TextGridError> {
        let line = self.line;
        self.advance('"');
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            self.advance(c);
            if c != '"' {
                text.push(c);
            } else if self.rest.starts_with('"') {
                text.push('"');
                self.advance('"');
            } else {
                return Ok(text);
            }
        }
        let expected = format!("the quote that closes the one of line {line}");
        Err(TextGridError::Truncated { expected })
    }

    fn token(&mut self, expected: &str) -> Result<(Token, u64), TextGridError> {
        self.next()?.ok_or_else(|| TextGridError::Truncated { expected: expected.to_owned() })
    }

    fn text(&mut self, expected: &str) -> Result<(String, u64), TextGridError> {
        match self.token(expected)? {
            (Token::Text(text), line) => Ok((text, line)),
            (other, line) => Err(TextGridError::Unexpected {
                line,
                expected: format!("the text of {expected}"),
                got: other.said(),
            }),
        }
    }

    fn number(&mut self, expected: &str) -> Result<(f64, u64), TextGridError> {
        match self.token(expected)? {
            (Token::Number(number), line) => Ok((number, line)),
            (other, line) => Err(TextGridError::Unexpected {
                line,
                expected: format!("the number of {expected}"),
                got: other.said(),
            }),
        }
    }

    fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, TextGridError> {
        let (got, line) = self.number(what)?;
        if got.fract() == 0.0 && (0.0..=limit as f64).contains(&got) {
            return Ok(got as usize);
        }
        let expected = format!("a whole number up to {limit}");
        Err(TextGridError::Number { line, what, got, expected })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "File type = \"ooTextFile short\"\n\"TextGrid\"\n\n0\n2.5\n<exists>\n2\n\
        \"IntervalTier\"\n\"phone\"\n0\n2.5\n2\n0\n1.5\n\"AH0\"\n1\n2.5\n\"sp\"\n\
        \"IntervalTier\"\n\"word\"\n0\n2.5\n2\n0\n1.5\n\"A \"\"B\"\"\"\n1.5\n2.5\n\"{LG}\"\n";

    fn refused(text: &str) -> String {
        parse_text(text).unwrap_err().to_string()
    }

    #[test]
    fn tiers_overlap_and_quotes_are_doubled() {
        let tiers = parse_text(SHORT).unwrap();
        assert_eq!(tiers.len(), 2);
        assert_eq!(tiers[0].intervals[1].start_s, 1.0);
        let first = &tiers[1].intervals[0];
        let expected = (0.0, 1.5, "A \"B\"", 24);
        assert_eq!((first.start_s, first.end_s, first.text.as_str(), first.line), expected);
    }

    #[test]
    fn encodings_are_told_and_half_characters_refused() {
        let grid = parse(&[b"\xef\xbb\xbf", SHORT.as_bytes()].concat()).unwrap();
        assert_eq!((grid.tiers.len(), grid.encoding), (2, Encoding::Utf8));
        let windows: Vec<u8> = SHORT.bytes().map(|b| if b == b'B' { 0x92 } else { b }).collect();
        let grid = parse(&windows).unwrap();
        assert_eq!(grid.tiers[1].intervals[0].text, "A \"’\"");
        assert_eq!(grid.encoding, Encoding::Windows1252);
        assert!(matches!(parse(b"\xff\xfea"), Err(TextGridError::Encoding)));
    }

    #[test]
    fn an_end_up_to_a_millisecond_early_is_the_start() {
        let text = SHORT.replace("1.5\n2.5\n\"{LG}", "1.5\n1.4995\n\"{LG}");
        assert_eq!(parse_text(&text).unwrap()[1].intervals[1].end_s, 1.5);
    }

    #[test]
    fn grids_that_lie_are_refused_with_their_line() {
        assert!(refused("").contains("not a TextGrid"));
        assert!(refused("onset\toffset\tword\n").contains("starts with \"onset"));
        assert!(refused("ooBinaryFile\u{8}TextGrid").contains("binary"));
        assert!(refused("File type = \"ooTextFile\"\n\"Pitch\"\n").contains("not a TextGrid"));
        for (cut, says) in [
            (SHORT.len() - 3, "the quote that closes"),
            (SHORT.len() - 9, "an entry of tier \"word\""),
            (SHORT.find("\"word").unwrap(), "the name of a tier"),
            (SHORT.find("\"IntervalTier").unwrap(), "the class of a tier"),
        ] {
            assert!(refused(&SHORT[..cut]).contains(says), "{cut}: {}", refused(&SHORT[..cut]));
        }
        let says = |from: &str, to: &str, part: &str| {
            let text = refused(&SHORT.replacen(from, to, 1));
            assert!(text.contains(part), "{part:?} not in {text}");
        };
        says("<exists>\n2", "<exists>\n-2", "line 7: the number of tiers is -2");
        says("<exists>\n2", "<exists>\n1.5", "is 1.5, expected a whole number");
        says("<exists>\n2", "<exists>\n3", "ends where the class of a tier");
        says("\"IntervalTier\"", "\"Tier\"", "line 8: expected \"IntervalTier\"");
        says("1.5\n\"AH0\"", "\"AH0\"", "line 14: expected the number of an entry");
        says("1.5\n2.5\n\"{LG}\"", "1.5\n1.25\n\"{LG}\"", "the end of an interval is 1.25");
        says("0\n2.5\n2\n0", "0\n2.5\n99999999999999\n0", "the number of entries");
    }

    #[test]
    fn a_grid_cut_anywhere_is_refused() {
        let last_quote = SHORT.trim_end().len();
        for cut in 0..last_quote {
            assert!(parse_text(&SHORT[..cut]).is_err(), "cut at {cut}");
        }
        assert!(parse_text(&SHORT[..last_quote]).is_ok());
    }

    #[test]
    fn a_chronological_grid_keeps_its_tiers_apart() {
        let text = "\"Praat chronological TextGrid text file\"\n0 2.5   ! Time domain.\n\
            3   ! Number of tiers.\n\"IntervalTier\" \"phone\" 0 2.5\n\
            \"IntervalTier\" \"word\" 0 2.5\n\"TextTier\" \"bell\" 0 2.5\n\n\
            ! phone:\n1 0 1.5\n\"AH0\"\n\n! word:\n2 0 1.5\n\"HI\"\n\n! bell:\n3 1.25\n\"ring\"\n\n\
            ! phone:\n1 1.5 2.5\n\"sp\"\n\n! word:\n2 1.5 2.5\n\"you!\"\n";
        let tiers = parse_text(text).unwrap();
        assert_eq!(tiers.len(), 2);
        let words: Vec<_> = tiers[1].intervals.iter().map(|i| i.text.as_str()).collect();
        assert_eq!(words, ["HI", "you!"]);
        assert!(
            refused(&text.replace("3 1.25", "4 1.25")).contains("a tier is 4, expected 1 to 3")
        );
        assert!(refused(&text.replace("3 1.25", "")).contains("the number of a tier"));
    }
}
