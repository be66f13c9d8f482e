//! A story as one text, cut into the pieces that a causal language model reads.
//!
//! Tokenizers of causal models see a word with the space in front of it, so words are joined by
//! single spaces and cut together; each piece then goes back to its word by where it ends.

use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer;
use tokenizers::models::ModelWrapper;

use super::files::{is_gguf, refuse_pointer};
use super::gguf;
use super::tokenizer::{Pieces, failed, from_json, read_bytes, unread};
use crate::error::{Error, Result};

/// A tokenizer of a causal language model.
#[derive(Debug, Clone)]
pub struct TextPieces {
    tokenizer: Tokenizer,
    vocab_size: usize,
    prefix: Vec<u32>,
    beginning: Vec<u32>,
    unk: Option<u32>,
    pad: u32,
}

impl TextPieces {
    /// Reads a `tokenizer.json`, the one in a folder, or the one inside a `.gguf` file.
    ///
    /// Truncation and padding that a tokenizer.json asks for are ignored.
    /// # Errors
    /// `Error::Read`; `Error::Values` if the file is no tokenizer that can be read.
    pub fn read(path: &Path) -> Result<Self> {
        if is_gguf(path) {
            let (tokenizer, (beginning, is_wanted)) = gguf::tokenizer(path)?;
            let prefix = beginning.filter(|_| is_wanted).into_iter().collect();
            return Self::new(tokenizer, Some(prefix), beginning)
                .map_err(|problem| unread(path, &problem));
        }
        let file = match path.is_dir() {
            true => path.join("tokenizer.json"),
            false => path.to_owned(),
        };
        if !file.exists() {
            return Err(no_tokenizer(path));
        }
        refuse_pointer(&file)?;
        let tokenizer =
            from_json(&read_bytes(&file)?).map_err(|problem| unread(&file, &problem))?;
        let beginning = beginning_of_folder(&file.with_file_name("config.json"));
        Self::new(tokenizer, None, beginning).map_err(|problem| unread(&file, &problem))
    }

    /// `prefix`: known special ids before a text; without them the tokenizer's own are looked up.
    /// `beginning`: what the model takes for the beginning of a text.
    fn new(
        mut tokenizer: Tokenizer,
        prefix: Option<Vec<u32>>,
        beginning: Option<u32>,
    ) -> Result<Self, String> {
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let vocabulary = tokenizer.get_vocab(true);
        let vocab_size = vocabulary.values().max().map_or(0, |&id| id as usize + 1);
        if vocab_size == 0 {
            return Err("expected pieces, got none".into());
        }
        let token = |name: &str| tokenizer.token_to_id(name);
        let unk = match tokenizer.get_model() {
            ModelWrapper::BPE(model) => model.unk_token.as_deref().and_then(token),
            ModelWrapper::WordPiece(model) => token(&model.unk_token),
            ModelWrapper::WordLevel(model) => token(&model.unk_token),
            ModelWrapper::Unigram(_) => token("<unk>"),
        };
        let pads = ["<pad>", "[PAD]", "<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"];
        let pad = pads.iter().find_map(|name| token(name));
        let any = vocabulary.values().min().copied().unwrap_or(0);
        let prefix = match prefix {
            Some(prefix) => prefix,
            None => own_prefix(&tokenizer)?,
        };
        let between = token("<|endoftext|>");
        let beginning = between.or(beginning.filter(|&id| (id as usize) < vocab_size));
        let beginning = match prefix.is_empty() {
            true => beginning.into_iter().collect(),
            false => prefix.clone(),
        };
        Ok(Self { vocab_size, prefix, beginning, unk, pad: pad.or(unk).unwrap_or(any), tokenizer })
    }

    /// Special ids that the tokenizer puts before a text: `<s>` of Llama 2, nothing for GPT-2.
    pub fn prefix(&self) -> &[u32] {
        &self.prefix
    }

    /// What stands before a text of one word: the prefix; or else the piece that stands between
    /// texts, `<|endoftext|>`; or else what the model's configuration calls the beginning of a text.
    ///
    /// Causal models keep the state of a row's first piece for themselves, as a place that later
    /// pieces attend to [Xiao et al. 2024, arXiv:2309.17453]: a word must not stand there.
    pub fn beginning(&self) -> &[u32] {
        &self.beginning
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Id of what stands for a text that cannot be cut; tokenizers on bytes have none.
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// An id to fill a row up with; a causal model does not see what stands behind a piece.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// The pieces of words joined by single spaces and cut as one text, without special tokens
    /// around them.
    ///
    /// A piece belongs to the first word that ends where the piece does, or later (in bytes of the
    /// joined text): a space goes with the word behind it. Several words can share a piece, which
    /// then is the first one's; words without a piece are possible.
    /// # Errors
    /// `Error::Values` if the tokenizer fails.
    pub fn story(&self, words: &[String]) -> Result<Pieces> {
        let text = words.join(" ");
        // Not encode_fast, which forgets where pieces stand.
        let cut = self.tokenizer.encode(text.as_str(), false).map_err(failed)?;
        let mut pieces = Pieces { ids: cut.get_ids().to_vec(), word: Vec::new() };
        let Some(mut end) = words.first().map(String::len) else {
            pieces.ids.clear();
            return Ok(pieces);
        };
        let mut word = 0;
        for &(_, piece_end) in cut.get_offsets() {
            while end < piece_end && word + 1 < words.len() {
                word += 1;
                end += 1 + words[word].len();
            }
            pieces.word.push(word as u32);
        }
        Ok(pieces)
    }
}

/// What stands before the pieces of "a" where special tokens are wanted.
fn own_prefix(tokenizer: &Tokenizer) -> Result<Vec<u32>, String> {
    let ids = |special| -> Result<Vec<u32>, String> {
        let cut = tokenizer.encode_fast("a", special).map_err(|error| error.to_string())?;
        Ok(cut.get_ids().to_vec())
    };
    let (plain, all) = (ids(false)?, ids(true)?);
    let at = all.windows(plain.len().max(1)).position(|window| window == plain);
    Ok(all[..at.unwrap_or(0)].to_vec())
}

/// `bos_token_id` of a config.json; the model's own reader tells what is wrong with the file.
fn beginning_of_folder(config: &Path) -> Option<u32> {
    let json: Value = serde_json::from_slice(&read_bytes(config).ok()?).ok()?;
    json["bos_token_id"].as_u64().and_then(|id| id.try_into().ok())
}

fn no_tokenizer(path: &Path) -> Error {
    let is_slow = ["vocab.json", "tokenizer.model", "spiece.model"];
    let is_slow = is_slow.iter().find(|name| path.join(name).exists());
    let (problem, hint) = match is_slow {
        Some(name) => (
            format!("expected tokenizer.json, got {name}, which is an older form"),
            format!(
                "write the new form with: python -c \"from transformers import AutoTokenizer as A; \
                 A.from_pretrained('{0}').save_pretrained('{0}')\"",
                path.display()
            ),
        ),
        None => (
            "expected a folder with tokenizer.json, found none".into(),
            "copy tokenizer.json from where the model came from".into(),
        ),
    };
    Error::Values { place: path.display().to_string(), problem, hint }
}

#[cfg(test)]
#[path = "text_pieces_tests.rs"]
mod tests;
