//! Words to word pieces, as everybody's BERT checkpoints cut them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::ModelWrapper;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

use super::vocabulary;
use crate::error::{Error, Result};
use crate::io::input;
use crate::io::output::PartialFile;

/// Special tokens of a trained vocabulary; their ids are 0 to 4.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// The same in tokenizers of the RoBERTa kind.
const SPECIAL_ROBERTA: [&str; 5] = ["<pad>", "<unk>", "<s>", "</s>", "<mask>"];
/// A tokenizer larger than this is none: bert-base's has 0.5 MB, multilingual ones 20 MB.
const LARGEST_FILE: u64 = 256 << 20;

/// A tokenizer whose pieces know the words they came from.
#[derive(Debug, Clone)]
pub struct WordPieces {
    tokenizer: Tokenizer,
    vocab_size: usize,
    /// In the order of [`SPECIAL`].
    special: [u32; 5],
    /// Ids of all special tokens, sorted.
    all_special: Vec<u32>,
}

/// The pieces of some words, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pieces {
    /// Ids, without special tokens around them.
    pub ids: Vec<u32>,
    /// For each piece the index of its word. A word of nothing but control characters has none.
    pub word: Vec<u32>,
}

impl WordPieces {
    /// Reads a `tokenizer.json`, a `vocab.txt`, or the one that is in a folder.
    ///
    /// Truncation and padding that a tokenizer.json asks for are ignored. A vocab.txt, one piece a
    /// line, is cut by the rules of BERT: lower case without accents, unless a
    /// `tokenizer_config.json` beside it says `"do_lower_case": false`.
    /// # Errors
    /// `Error::Read`; `Error::Values` if the file is no tokenizer, or lacks a special token.
    pub fn read(path: &Path) -> Result<Self> {
        let file = match path.is_dir() {
            true => file_in(path)?,
            false => path.to_owned(),
        };
        let bytes = read_bytes(&file)?;
        let tokenizer = match file.extension().is_some_and(|ext| ext == "json") {
            true => from_json(&bytes).map_err(|problem| unread(&file, &problem))?,
            false => from_vocabulary(&file, &bytes)?,
        };
        Self::new(tokenizer).map_err(|problem| unread(&file, &problem))
    }

    /// Learns a WordPiece vocabulary of at most `vocab_size` pieces from words.
    ///
    /// `[PAD] [UNK] [CLS] [SEP] [MASK]` are 0 to 4; then all characters, then joined pieces, the
    /// most frequent first. Words are lower-cased and lose their accents, as in BERT's uncased
    /// models. The same words, in any order, give the same vocabulary.
    /// # Errors
    /// `Error::Values` if there are no words; `Error::Usage` if `vocab_size` is under the number of
    /// pieces that the characters alone need.
    pub fn train<'a>(words: impl Iterator<Item = &'a str>, vocab_size: usize) -> Result<Self> {
        let mut written: BTreeMap<&str, u64> = BTreeMap::new();
        words.for_each(|word| *written.entry(word).or_default() += 1);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for (word, n) in written {
            for part in parts(word).map_err(|problem| unread(Path::new("words"), &problem))? {
                *counts.entry(part).or_default() += n;
            }
        }
        if counts.is_empty() {
            return Err(Error::Values {
                place: "training words of the tokenizer".into(),
                problem: "expected words, got none".into(),
                hint: "give stories with words, or a tokenizer".into(),
            });
        }
        let n_pieces = vocab_size.saturating_sub(SPECIAL.len());
        let pieces = vocabulary::train(&counts, n_pieces).map_err(|needed| Error::Usage {
            place: "vocab_size".into(),
            problem: format!(
                "expected at least {} (5 special tokens, and each character of the words at the \
                 beginning and inside of a word), got {vocab_size}",
                needed + SPECIAL.len()
            ),
            hint: "take a larger vocabulary".into(),
        })?;
        let special = SPECIAL.iter().map(|&token| token.to_owned());
        let lines: Vec<String> = special.chain(pieces).collect();
        let tokenizer = bert_tokenizer(lines.join("\n").as_bytes(), true);
        tokenizer
            .and_then(Self::new)
            .map_err(|problem| unread(Path::new("trained vocabulary"), &problem))
    }

    fn new(mut tokenizer: Tokenizer) -> Result<Self, String> {
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        begin_words_with_a_space(&mut tokenizer);
        let special = special_tokens(&tokenizer)?;
        let mut all_special = special.to_vec();
        let added = tokenizer.get_added_tokens_decoder();
        all_special.extend(added.iter().filter(|(_, token)| token.special).map(|(id, _)| *id));
        all_special.sort_unstable();
        all_special.dedup();
        let vocabulary = tokenizer.get_vocab(true);
        let vocab_size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        Ok(Self { tokenizer, vocab_size, special, all_special })
    }

    /// Writes a `tokenizer.json` that `transformers` opens; whole or absent.
    /// # Errors
    /// `Error::Write`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = self.to_json(path)?;
        let partial = PartialFile::create(path)?;
        partial.file().write_all(text.as_bytes()).map_err(|source| partial.write_error(source))?;
        partial.finish()
    }

    fn to_json(&self, path: &Path) -> Result<String> {
        self.tokenizer.to_string(true).map_err(|error| Error::Write {
            path: path.to_owned(),
            source: std::io::Error::other(error.to_string()),
        })
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Id of the token that fills a row up.
    pub fn pad(&self) -> u32 {
        self.special[0]
    }

    /// Id of what stands for a word that cannot be cut.
    pub fn unk(&self) -> u32 {
        self.special[1]
    }

    /// Id of the token in front of a window.
    pub fn cls(&self) -> u32 {
        self.special[2]
    }

    /// Id of the token behind a window.
    pub fn sep(&self) -> u32 {
        self.special[3]
    }

    /// Id of the token that hides a piece.
    pub fn mask(&self) -> u32 {
        self.special[4]
    }

    /// True for ids that stand for no part of a word.
    pub fn is_special(&self, id: u32) -> bool {
        self.all_special.binary_search(&id).is_ok()
    }

    /// The pieces of words, each word cut by itself, no special tokens around them.
    /// # Errors
    /// `Error::Values` if the tokenizer fails on a word.
    pub fn pieces(&self, words: &[String]) -> Result<Pieces> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Not encode_fast, which forgets the words.
        let cut = self.tokenizer.encode(words, false).map_err(failed)?;
        let word = cut.get_word_ids().iter().map(|word| word.unwrap_or_default()).collect();
        Ok(Pieces { ids: cut.get_ids().to_vec(), word })
    }

    /// The pieces of a text between `[CLS]` and `[SEP]`.
    /// # Errors
    /// `Error::Values` if the tokenizer fails on it.
    pub fn text(&self, text: &str) -> Result<Vec<u32>> {
        let cut = self.tokenizer.encode_fast(text, false).map_err(failed)?;
        Ok([&[self.cls()], cut.get_ids(), &[self.sep()]].concat())
    }
}

pub(super) fn failed(error: tokenizers::Error) -> Error {
    Error::Values {
        place: "tokenizer".into(),
        problem: format!("a text could not be cut into pieces: {error}"),
        hint: "check that the tokenizer is whole and belongs to the model".into(),
    }
}

pub(super) fn unread(path: &Path, problem: &str) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem: format!("is no tokenizer that can be read: {problem}"),
        hint: "give a tokenizer.json of Hugging Face's tokenizers, or a vocab.txt of BERT".into(),
    }
}

fn file_in(folder: &Path) -> Result<PathBuf> {
    let found = ["tokenizer.json", "vocab.txt"]
        .map(|name| folder.join(name))
        .into_iter()
        .find(|p| p.is_file());
    found.ok_or_else(|| {
        let source = std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "expected tokenizer.json or vocab.txt in this folder, found neither",
        );
        Error::Read { path: folder.to_owned(), source }
    })
}

pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    let read_error = |source| Error::Read { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(read_error)?.len();
    if length > LARGEST_FILE {
        let problem = format!("{length} bytes, expected at most {LARGEST_FILE}");
        return Err(unread(path, &problem));
    }
    input::read_bytes(path).map_err(read_error)
}

/// The tokenizer of a tokenizer.json.
///
/// `tokenizers` 0.23 panics on damaged files: on JSON that is none inside of a decoder
/// (`decoders/mod.rs: expect("Helper")`), and on a normalizer's table that cannot be unpacked.
pub(super) fn from_json(bytes: &[u8]) -> Result<Tokenizer, String> {
    serde_json::from_slice::<serde_json::Value>(bytes).map_err(|error| error.to_string())?;
    match std::panic::catch_unwind(|| Tokenizer::from_bytes(bytes)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(_) => Err("the file is damaged".to_owned()),
    }
}

/// The tokenizer of a vocab.txt.
fn from_vocabulary(path: &Path, bytes: &[u8]) -> Result<Tokenizer> {
    let config = path.with_file_name("tokenizer_config.json");
    let is_cased = input::read_bytes(config)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .is_some_and(|config| config["do_lower_case"] == false);
    bert_tokenizer(bytes, !is_cased).map_err(|problem| unread(path, &problem))
}

fn normalizer(lowercase: bool) -> BertNormalizer {
    BertNormalizer::new(true, true, None, lowercase)
}

/// BERT's rules around a vocabulary, one piece a line, that holds the special tokens.
fn bert_tokenizer(lines: &[u8], lowercase: bool) -> Result<Tokenizer, String> {
    let vocabulary = WordPiece::read_bytes(lines).map_err(|error| error.to_string())?;
    let id = |name: &str| {
        let missing = || format!("{} lines, expected {name} among them", vocabulary.len());
        vocabulary.get(name).map(|&id| (name.to_owned(), id)).ok_or_else(missing)
    };
    SPECIAL.iter().try_for_each(|name| id(name).map(drop))?;
    let (cls, sep) = (id("[CLS]")?, id("[SEP]")?);
    let model = WordPiece::builder().vocab(vocabulary).build().map_err(|e| e.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer(lowercase))).map_err(|error| error.to_string())?;
    tokenizer
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(BertProcessing::new(sep, cls)))
        .with_decoder(Some(Decoder::default()));
    let special = SPECIAL.map(|name| AddedToken::from(name, true));
    tokenizer.add_special_tokens(special).map_err(|error| error.to_string())?;
    Ok(tokenizer)
}

/// Ids in the order of [`SPECIAL`].
///
/// What the tokenizer itself puts around a text says which names it goes by: MPNet's vocabulary holds
/// both sets, ALBERT's some of each.
fn special_tokens(tokenizer: &Tokenizer) -> Result<[u32; 5], String> {
    let id = |name: &str| tokenizer.token_to_id(name);
    let around = tokenizer.encode_fast("", true).ok();
    let around = around.and_then(|ids| <[u32; 2]>::try_from(ids.get_ids()).ok());
    let cls = around.and_then(|[cls, _]| tokenizer.id_to_token(cls));
    let is_roberta = match cls {
        Some(cls) => cls.starts_with('<'),
        None => SPECIAL.iter().any(|name| id(name).is_none()),
    };
    let mut names =
        [(SPECIAL, SPECIAL_ROBERTA), (SPECIAL_ROBERTA, SPECIAL)][usize::from(is_roberta)];
    if let ModelWrapper::WordPiece(model) = tokenizer.get_model()
        && id(&model.unk_token).is_some()
    {
        names.0[1] = &model.unk_token;
    }
    let mut special = [0; 5];
    for (i, special) in special.iter_mut().enumerate() {
        let (first, second) = (names.0[i], names.1[i]);
        *special = id(first)
            .or_else(|| id(second))
            .ok_or_else(|| format!("expected the token {first} or {second}, found neither"))?;
    }
    if let Some([cls, sep]) = around {
        (special[2], special[3]) = (cls, sep);
    }
    Ok(special)
}

/// Tokenizers on bytes (RoBERTa's) know a word by the space in front of it.
fn begin_words_with_a_space(tokenizer: &mut Tokenizer) {
    if let Some(PreTokenizerWrapper::ByteLevel(bytes)) = tokenizer.get_pre_tokenizer() {
        let bytes = bytes.add_prefix_space(true);
        tokenizer.with_pre_tokenizer(Some(bytes));
    }
}

/// What BERT's uncased rules make of a word before it is cut into pieces.
fn parts(word: &str) -> Result<Vec<String>, String> {
    let mut normalized = NormalizedString::from(word);
    normalizer(true).normalize(&mut normalized).map_err(|error| error.to_string())?;
    let mut parts = PreTokenizedString::from(normalized);
    BertPreTokenizer.pre_tokenize(&mut parts).map_err(|error| error.to_string())?;
    let splits = parts.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(splits.into_iter().map(|(text, ..)| text.to_owned()).collect())
}
