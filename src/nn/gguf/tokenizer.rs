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

/// The tokenizer of a GGUF file, and the special ids that stand before a text.
/// # Errors
/// As [`read`]; `Error::Values` for a kind of tokenizer that is not read.
pub fn tokenizer(path: &Path) -> Result<(Tokenizer, Vec<u32>)> {
    let file = read(path)?;
    let json = json_of(&file)?;
    let bytes = serde_json::to_vec(&json).map_err(|error| damaged(path, error.to_string()))?;
    let tokenizer =
        from_json(&bytes).map_err(|problem| damaged(path, format!("its tokenizer: {problem}")))?;
    let prefix = prefix(&file).map_err(|problem| damaged(path, problem))?;
    Ok((tokenizer, prefix))
}

fn rules(file: &Gguf) -> Result<&str, String> {
    Ok(file.text("tokenizer.ggml.pre")?.unwrap_or("default"))
}

/// The id of the beginning of a text, if texts are to begin with it.
fn prefix(file: &Gguf) -> Result<Vec<u32>, String> {
    let is_wanted = match file.metadata.get("tokenizer.ggml.add_bos_token") {
        Some(Meta::Switch(is_wanted)) => *is_wanted,
        _ => rules(file)? == "llama-bpe",
    };
    let Some(id) = file.whole("tokenizer.ggml.bos_token_id")?.filter(|_| is_wanted) else {
        return Ok(Vec::new());
    };
    let n = match file.metadata.get("tokenizer.ggml.tokens") {
        Some(Meta::Texts(tokens)) => tokens.len(),
        _ => 0,
    };
    if id >= n {
        return Err(format!("tokenizer.ggml.bos_token_id: expected one of {n} tokens, got {id}"));
    }
    Ok(vec![id as u32])
}

/// A tokenizer.json of it.
fn json_of(file: &Gguf) -> Result<Value> {
    let wrong = |problem: String| damaged(&file.path, problem);
    let unread = |problem: String| Error::Values {
        place: file.path.display().to_string(),
        problem,
        hint: "take the model's safetensors folder, whose tokenizer.json is read".into(),
    };
    match file.text("tokenizer.ggml.model").map_err(wrong)? {
        Some("gpt2") => {}
        Some(other) => {
            return Err(unread(format!(
                "expected a tokenizer on bytes (tokenizer.ggml.model \"gpt2\"), got {other:?}"
            )));
        }
        None => return Err(unread("holds no tokenizer (tokenizer.ggml.model)".into())),
    }
    let on_bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let split = |pattern: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, on_bytes(false)]})
    };
    let rules = rules(file).map_err(wrong)?;
    let parts = match rules {
        "gpt-2" | "default" => on_bytes(true),
        "smollm" => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            json!({"type": "Sequence", "pretokenizers": [digits, on_bytes(true)]})
        }
        "llama-bpe" => split(LLAMA_3),
        "qwen2" => split(QWEN_2),
        other => {
            return Err(unread(format!("expected tokenizer.ggml.pre {RULES}, got {other:?}")));
        }
    };
    let texts = |key: &str| match file.metadata.get(key) {
        Some(Meta::Texts(texts)) => Ok(texts),
        _ => Err(wrong(format!("holds no list of texts {key}"))),
    };
    let (tokens, merges) = (texts("tokenizer.ggml.tokens")?, texts("tokenizer.ggml.merges")?);
    let kinds = match file.metadata.get("tokenizer.ggml.token_type") {
        Some(Meta::Wholes(kinds)) => &kinds[..],
        _ => &[],
    };
    let mut vocabulary = Map::new();
    let mut added = Vec::new();
    for (id, token) in tokens.iter().enumerate() {
        vocabulary.insert(token.clone(), id.into());
        if let Some(&kind @ (CONTROL | USER_DEFINED)) = kinds.get(id)
            && !token.is_empty()
        {
            added.push(json!({"id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": kind == CONTROL}));
        }
    }
    let is_composed = rules == "qwen2";
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": is_composed.then(|| json!({"type": "NFC"})),
        "pre_tokenizer": parts,
        "post_processor": on_bytes(true),
        "decoder": on_bytes(true),
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges,
            "ignore_merges": rules == "llama-bpe", "byte_fallback": false, "fuse_unk": false},
    }))
}
