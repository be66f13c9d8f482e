//! An encoder's shape, as `config.json` of a MegatronBert checkpoint says it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The part of `config.json` that decides what an encoder computes. Names are transformers'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// Word pieces.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Blocks.
    pub num_hidden_layers: usize,
    /// Heads of each block; they share the width.
    pub num_attention_heads: usize,
    /// Width between the two layers of a feed-forward.
    pub intermediate_size: usize,
    /// Longest row.
    pub max_position_embeddings: usize,
    /// Token types.
    pub type_vocab_size: usize,
    /// Share of hidden values that dropout sets to 0 in training.
    pub hidden_dropout_prob: f64,
    /// Share of attention weights that dropout sets to 0 in training.
    pub attention_probs_dropout_prob: f64,
    /// Added to the variance in every LayerNorm.
    pub layer_norm_eps: f64,
    /// The piece that fills rows up.
    pub pad_token_id: u32,
}

impl Default for EncoderConfig {
    /// The paper's encoder over bert-base-uncased's word pieces.
    fn default() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 128,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            intermediate_size: 256,
            max_position_embeddings: 256,
            type_vocab_size: 2,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
        }
    }
}

impl EncoderConfig {
    /// Whether such an encoder can be; `place` is named where not.
    /// # Errors
    /// `Error::Usage` for sizes of 0, heads that do not divide the width and dropout outside
    /// [0, 1).
    pub fn check(&self, place: &str) -> Result<()> {
        let wrong = |problem: String, hint: &str| Error::Usage {
            place: place.to_owned(),
            problem,
            hint: hint.to_owned(),
        };
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        for (name, size) in sizes {
            // Far above any encoder, far below what overflows a product of two.
            if !(1..=1 << 28).contains(&size) {
                return Err(wrong(
                    format!("{name}: expected 1 to 2^28, got {size}"),
                    "give a size",
                ));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(wrong(
                format!(
                    "expected heads that divide hidden = {}, got {}",
                    self.hidden_size, self.num_attention_heads
                ),
                "heads share the width of a hidden state in equal parts",
            ));
        }
        for (name, p) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            ("attention_probs_dropout_prob", self.attention_probs_dropout_prob),
        ] {
            if !(0.0..1.0).contains(&p) {
                return Err(wrong(
                    format!("{name}: expected 0 ≤ p < 1, got {p}"),
                    "give the share that is set to 0",
                ));
            }
        }
        Ok(())
    }

    /// Numbers to be learnt.
    pub fn n_parameters(&self) -> usize {
        let (h, f) = (self.hidden_size, self.intermediate_size);
        let tables = self.vocab_size + self.max_position_embeddings + self.type_vocab_size;
        let block = 4 * h * (h + 1) + 2 * h * f + f + h + 4 * h;
        tables * h + self.num_hidden_layers * block + 2 * h + h * (h + 1) + 2 * h + self.vocab_size
    }
}

/// `config.json` whole: what transformers wants besides.
#[cfg(feature = "language")]
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConfigFile {
    /// `["MegatronBertForMaskedLM"]`.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// `megatron-bert`.
    pub model_type: String,
    /// `gelu`, the one with the error function.
    pub hidden_act: String,
    /// Whether the head's matrix is the table of word pieces.
    #[serde(default = "yes")]
    pub tie_word_embeddings: bool,
    /// The rest.
    #[serde(flatten)]
    pub encoder: EncoderConfig,
}

#[cfg(feature = "language")]
fn yes() -> bool {
    true
}

#[cfg(feature = "language")]
impl ConfigFile {
    /// For a checkpoint of ours.
    pub fn of(encoder: &EncoderConfig) -> Self {
        Self {
            architectures: vec!["MegatronBertForMaskedLM".to_owned()],
            model_type: "megatron-bert".to_owned(),
            hidden_act: "gelu".to_owned(),
            tie_word_embeddings: true,
            encoder: encoder.clone(),
        }
    }
}
