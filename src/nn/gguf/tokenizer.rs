//! The tokenizer inside of a GGUF file, as one that the `tokenizers` crate reads.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use super::reader::{Gguf, Meta, damaged, read};
use crate::error::{Error, Result};
use crate::nn::tokenizer::from_json;

/// What `tokenizer.ggml.pre` may be.
const RULES: &str = "smollm, gpt-2, llama-bpe, qwen2 or default";

/// Parts of words of Llama 3 and of Qwen 2: contractions, letters, digits, punctuation, spaces.
const LLAMA_3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Kinds of tokens (ggml-org/llama.cpp: include/llama.h: llama_token_type).
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// The tokenizer of a GGUF file, the id of the beginning of a text, and whether every text has it.
/// # Errors
/// As [`read`]; `Error::Values` for a kind of tokenizer that is not read.
pub fn tokenizer(path: &Path) -> Result<(Tokenizer, (Option<u32>, bool))> {
    let file = read(path)?;
    let json = json_of(&file)?;
    let bytes = serde_json::to_vec(&json).map_err(|error| damaged(path, error.to_string()))?;
    let tokenizer =
        from_json(&bytes).map_err(|problem| damaged(path, format!("its tokenizer: {problem}")))?;
    let beginning = beginning(&file).map_err(|problem| damaged(path, problem))?;
    Ok((tokenizer, beginning))
}

fn rules(file: &Gguf) -> Result<&str, String> {
    Ok(file.text("tokenizer.ggml.pre")?.unwrap_or("default"))
}

/// The id of the beginning of a text, if there is one, and whether every text is to begin with it.
fn beginning(file: &Gguf) -> Result<(Option<u32>, bool), String> {
    let is_wanted = match file.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Meta::Switch(is_wanted)) => *is_wanted,
        _ => rules(file)? == "llama-bpe" || file.text("tokenizer.ggml.model")? == Some("llama"),
    };
    let Some(id) = file.whole("tokenizer.ggml.bos_token_id")? else {
        return Ok((None, false));
    };
    let n = match file.metadata.get("tokenizer.ggml.tokens") {
        Some(Meta::Texts(tokens)) => tokens.len(),
        _ => 0,
    };
    if id >= n {
        return Err(format!("tokenizer.ggml.bos_token_id: expected one of {n} tokens, got {id}"));
    }
    Ok((Some(id as u32), is_wanted))
}

/// What every tokenizer in a GGUF file has.
struct Tokens<'a> {
    texts: &'a [String],
    kinds: &'a [i64],
}

impl Tokens<'_> {
    /// Ids by their texts.
    fn vocabulary(&self) -> Map<String, Value> {
        self.texts.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect()
    }

    /// Tokens that are found in a text before it is cut.
    fn added(&self) -> Vec<Value> {
        let tokens = self.texts.iter().zip(self.kinds).enumerate();
        let is_added = |kind: i64| [CONTROL, USER_DEFINED].contains(&kind);
        let added = tokens.filter(|(_, (token, kind))| is_added(**kind) && !token.is_empty());
        added
            .map(|(id, (token, kind))| {
                json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": *kind == CONTROL})
            })
            .collect()
    }
}

/// A tokenizer.json of it.
fn json_of(file: &Gguf) -> Result<Value> {
    let wrong = |problem: String| damaged(&file.path, problem);
    let unread = |problem: String| Error::Values {
        place: file.path.display().to_string(),
        problem,
        hint: "take the model's safetensors folder, whose tokenizer.json is read".into(),
    };
    let kind = file.text("tokenizer.ggml.model").map_err(wrong)?;
    let Some(kind @ ("gpt2" | "llama")) = kind else {
        let kind: String = kind.unwrap_or("none").chars().take(40).collect();
        let expected = "expected a tokenizer (tokenizer.ggml.model) \"gpt2\" or \"llama\"";
        return Err(unread(format!("{expected}, got {kind:?}")));
    };
    let Some(Meta::Texts(texts)) = file.metadata.get("tokenizer.ggml.tokens") else {
        return Err(wrong("holds no list of texts tokenizer.ggml.tokens".into()));
    };
    let kinds = match file.metadata.get("tokenizer.ggml.token_type") {
        Some(Meta::Wholes(kinds)) => &kinds[..],
        _ => &[],
    };
    let tokens = Tokens { texts, kinds };
    if kind == "llama" {
        return sentence_pieces(file, &tokens).map_err(wrong);
    }
    let Some(Meta::Texts(merges)) = file.metadata.get("tokenizer.ggml.merges") else {
        return Err(wrong("holds no list of texts tokenizer.ggml.merges".into()));
    };
    let rules = rules(file).map_err(wrong)?;
    let Some(parts) = parts(rules) else {
        let rules: String = rules.chars().take(40).collect();
        return Err(unread(format!("expected tokenizer.ggml.pre {RULES}, got {rules:?}")));
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": (rules == "qwen2").then(|| json!({"type": "NFC"})),
        "pre_tokenizer": parts,
        "post_processor": on_bytes(true),
        "decoder": on_bytes(true),
        "model": {"type": "BPE", "vocab": tokens.vocabulary(), "merges": merges,
            "ignore_merges": rules == "llama-bpe", "byte_fallback": false, "fuse_unk": false},
    }))
}

fn on_bytes(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": use_regex})
}

/// How a text is cut before pieces are joined, by the name that llama.cpp gives it.
fn parts(rules: &str) -> Option<Value> {
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
            "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, on_bytes(false)]})
    };
    Some(match rules {
        "gpt-2" | "default" => on_bytes(true),
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            json!({"type": "Sequence", "pretokenizers": [digits, on_bytes(true)]})
        }
        "llama-bpe" => split(LLAMA_3),
        "qwen2" => split(QWEN_2),
        _ => return None,
    })
}

/// Longest token, in bytes, that is thought of as two joined ones.
const LONGEST_JOINED: usize = 256;

/// A tokenizer of SentencePiece's BPE kind: of all neighbours whose joined text is a token, those of
/// the best score are joined first (google/sentencepiece: src/bpe_model.cc).
fn sentence_pieces(file: &Gguf, tokens: &Tokens<'_>) -> Result<Value, String> {
    let Some(Meta::Numbers(scores)) = file.metadata.get("tokenizer.ggml.scores") else {
        return Err("holds no list of numbers tokenizer.ggml.scores".into());
    };
    let (n, n_scores) = (tokens.texts.len(), scores.len());
    if n_scores != n {
        return Err(format!("tokenizer.ggml.scores: expected {n}, one per token, got {n_scores}"));
    }
    let vocabulary = tokens.vocabulary();
    let mut joined: Vec<(f32, &str, &str)> = Vec::new();
    for (id, (token, &score)) in tokens.texts.iter().zip(scores).enumerate() {
        if tokens.kinds.get(id) == Some(&CONTROL) || token.len() > LONGEST_JOINED {
            continue;
        }
        let splits = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let known =
            splits.filter(|(l, r)| vocabulary.contains_key(*l) && vocabulary.contains_key(*r));
        joined.extend(known.map(|(left, right)| (score, left, right)));
    }
    joined.sort_by(|a, b| {
        let lengths = (b.1.len(), b.2.len()).cmp(&(a.1.len(), a.2.len()));
        b.0.total_cmp(&a.0).then(lengths)
    });
    let merges: Vec<Value> = joined.iter().map(|(_, left, right)| json!([left, right])).collect();
    let begins_with_space = match file.metadata.get("tokenizer.ggml.add_space_prefix") {
        Some(Meta::Switch(is_wanted)) => *is_wanted,
        _ => true,
    };
    let mut normalizers =
        vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    if begins_with_space {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
    }
    let unknown = file.whole("tokenizer.ggml.unknown_token_id")?.unwrap_or(0);
    let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
    Ok(json!({
        "version": "1.0",
        "added_tokens": tokens.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence",
            "decoders": [replace, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": true,
            "fuse_unk": true, "unk_token": tokens.texts.get(unknown)},
    }))
}
