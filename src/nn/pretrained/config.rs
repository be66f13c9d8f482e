//! What a BERT-like model computes, out of config.json.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::distances::MPNET_BUCKETS;
use super::hidden_states::ModelShape;
use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::nn::ops::Activation;

/// What `model_type` of a config.json may be.
pub const MODEL_TYPES: &[&str] = &[
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "distilbert",
    "electra",
    "albert",
    "mpnet",
    "modernbert",
    "deberta-v2",
    "megatron-bert",
];

/// How parameters are called and arranged in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// BERT and what has its names: RoBERTa and its kin, ELECTRA.
    Bert,
    /// DistilBERT.
    DistilBert,
    /// ALBERT: layers share parameters.
    Albert,
    /// MPNet: scores get a number for each bucket of distances.
    Mpnet,
    /// ModernBERT: rotary positions, and layers that see their neighbours alone.
    ModernBert,
    /// DeBERTa v2 and v3: distances have keys and queries of their own.
    Deberta,
}

impl Family {
    /// Whether scores are products of queries and keys alone, over the root of a head's size.
    pub fn has_plain_scores(self) -> bool {
        !matches!(self, Self::Mpnet | Self::ModernBert | Self::Deberta)
    }
}

/// Rotary positions of ModernBERT, and how far its layers see.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    /// Radians from piece to piece, one per pair of a head's values: in layers that see all.
    pub full: Vec<f32>,
    /// The same in layers with a window.
    pub sliding: Vec<f32>,
    /// For each layer, from which distance on a piece is not seen.
    pub windows: Vec<Option<usize>>,
}

/// Buckets of distances for DeBERTa's disentangled attention [He et al. 2021, eq. 4].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disentangled {
    /// Half of the rows of the table of distances.
    pub buckets: usize,
    /// Where the last bucket ends.
    pub max_distance: usize,
}

/// A BERT-like model's sizes and switches, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names and arrangement of parameters.
    pub family: Family,
    /// Pieces that it knows.
    pub vocab_size: usize,
    /// Values of an embedding.
    pub embedding_width: usize,
    /// Whether a matrix makes hidden states of embeddings.
    pub has_projection: bool,
    /// Values of a hidden state.
    pub width: usize,
    /// Heads of a block; they divide the width.
    pub heads: usize,
    /// Rows of the table of positions, or most pieces of a row where there is none.
    pub n_positions: usize,
    /// Row of a text's first piece in that table.
    pub first_position: usize,
    /// Added to the variance in every LayerNorm.
    pub eps: f64,
    /// Of the feed-forward.
    pub activation: Activation,
    /// For each layer, which block's parameters it has.
    pub blocks: Vec<usize>,
    /// ALBERT: blocks of a group; others: 1.
    pub blocks_per_group: usize,
    /// Whether the feed-forward's activation multiplies a second product; norms stand in front of
    /// a block's parts then, and one behind the last block.
    pub is_modern: bool,
    /// Whether norms, matrices of attention and those of the feed-forward have a bias.
    pub has_bias: Biases,
    /// ModernBERT alone.
    pub rotary: Option<Rotary>,
    /// DeBERTa alone.
    pub disentangled: Option<Disentangled>,
    /// Factor of the scores.
    pub score_scale: f32,
}

/// Which parameters have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    pub norm: bool,
    pub attention: bool,
    pub mlp: bool,
}

/// The part of config.json that decides what is computed; some families have names of their own.
#[derive(Debug, Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    #[serde(alias = "dim")]
    hidden_size: usize,
    embedding_size: Option<usize>,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(alias = "norm_eps")]
    layer_norm_eps: Option<f64>,
    #[serde(alias = "activation", alias = "hidden_activation")]
    hidden_act: Option<String>,
    position_embedding_type: Option<String>,
    pad_token_id: Option<u32>,
    num_hidden_groups: Option<usize>,
    inner_group_num: Option<usize>,
    relative_attention_num_buckets: Option<usize>,
    relative_attention: Option<bool>,
    #[serde(default)]
    pos_att_type: Value,
    max_relative_positions: Option<i64>,
    position_buckets: Option<i64>,
    norm_rel_ebd: Option<String>,
    share_att_key: Option<bool>,
    position_biased_input: Option<bool>,
    type_vocab_size: Option<usize>,
    conv_kernel_size: Option<usize>,
    norm_bias: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    local_attention: Option<usize>,
    global_attn_every_n_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    rope_parameters: Value,
    #[serde(default)]
    rope_scaling: Value,
    #[serde(default = "global_theta")]
    global_rope_theta: Value,
    #[serde(default = "local_theta")]
    local_rope_theta: Value,
}

fn global_theta() -> Value {
    160_000.into()
}

fn local_theta() -> Value {
    10_000.into()
}

fn wrong(place: &Path, problem: String) -> Error {
    Error::Values {
        place: place.display().to_string(),
        problem,
        hint: format!(
            "expected a checkpoint folder as save_pretrained of transformers writes it: config.json \
             (model_type {}), model.safetensors, tokenizer.json or vocab.txt",
            MODEL_TYPES.join(", ")
        ),
    }
}

/// The configuration in a folder.
/// # Errors
/// `Error::Read`; `Error::Values` for a configuration that is not read.
pub fn read(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let raw: Raw = serde_json::from_str(&text).map_err(|error| wrong(&path, error.to_string()))?;
    raw.checked().map_err(|problem| wrong(&path, problem))
}

/// The size of a BERT-like checkpoint's model, without opening the weights.
/// # Errors
/// As [`read`].
pub fn shape(folder: &Path) -> Result<ModelShape> {
    let config = read(folder)?;
    Ok(ModelShape {
        n_layers: config.blocks.len(),
        width: config.width,
        max_length: config.max_length(),
        is_causal: false,
    })
}

impl Config {
    /// Most pieces of a row.
    pub fn max_length(&self) -> usize {
        self.n_positions - self.first_position
    }

    /// Different blocks in the files.
    pub fn n_blocks(&self) -> usize {
        self.blocks.iter().max().map_or(0, |last| last + 1)
    }
}

impl Raw {
    /// What is wrong, or what is computed.
    fn checked(self) -> Result<Config, String> {
        let model_type = self.model_type.as_str();
        if !MODEL_TYPES.contains(&model_type) {
            let known = MODEL_TYPES.join(", ");
            return Err(format!("expected a model_type of {known}, got {model_type:?}"));
        }
        if let Some(kind) = &self.position_embedding_type
            && kind != "absolute"
        {
            return Err(format!("expected position_embedding_type \"absolute\", got {kind:?}"));
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) {
            return Err(format!("expected heads that divide hidden_size = {width}, got {heads}"));
        }
        let family = match model_type {
            "distilbert" => Family::DistilBert,
            "albert" => Family::Albert,
            "mpnet" => Family::Mpnet,
            "modernbert" => Family::ModernBert,
            "deberta-v2" => Family::Deberta,
            _ => Family::Bert,
        };
        let embedding_width = match model_type {
            "electra" | "albert" => self.embedding_size.unwrap_or(128),
            _ => width,
        };
        let n_positions = self.max_position_embeddings;
        let sizes = [self.vocab_size, width, embedding_width, n_positions];
        if sizes.iter().any(|&size| size == 0 || size > 1 << 28) {
            return Err(format!("expected sizes from 1 to 2^28, got {sizes:?}"));
        }
        // RoBERTa's positions begin behind that of the padding, which MPNet's code fixes at 1.
        let first_position = match model_type {
            "mpnet" => 2,
            "roberta" | "xlm-roberta" | "camembert" => self.pad_token_id.unwrap_or(0) as usize + 1,
            _ => 0,
        };
        if n_positions < first_position + 3 {
            return Err(format!(
                "expected room for 3 pieces, got max_position_embeddings = {n_positions}, the first \
                 of which is {first_position}"
            ));
        }
        if family == Family::Mpnet
            && let Some(n) = self.relative_attention_num_buckets
            && n != MPNET_BUCKETS
        {
            return Err(format!("expected relative_attention_num_buckets 32, got {n}"));
        }
        let (blocks, blocks_per_group) = self.blocks(family)?;
        let is_modern = family == Family::ModernBert;
        let disentangled = self.disentangled(family)?;
        let has = |switch: Option<bool>| !is_modern || switch.unwrap_or(false);
        Ok(Config {
            family,
            vocab_size: self.vocab_size,
            embedding_width,
            has_projection: family == Family::Albert || embedding_width != width,
            width,
            heads,
            n_positions,
            first_position,
            eps: self.layer_norm_eps.unwrap_or(match family {
                Family::ModernBert => 1e-5,
                Family::Deberta => 1e-7,
                _ => 1e-12,
            }),
            activation: self.activation(family)?,
            blocks,
            blocks_per_group,
            is_modern,
            has_bias: Biases {
                norm: has(self.norm_bias),
                attention: has(self.attention_bias),
                mlp: has(self.mlp_bias),
            },
            rotary: if is_modern { Some(self.rotary(width / heads)?) } else { None },
            disentangled,
            // Scores of DeBERTa are sums of three products.
            score_scale: 1.0
                / ((width / heads * if family == Family::Deberta { 3 } else { 1 }) as f32).sqrt(),
        })
    }

    /// Buckets of DeBERTa, whose switches must be those of v3: no other checkpoints are about that
    /// have no convolution.
    fn disentangled(&self, family: Family) -> Result<Option<Disentangled>, String> {
        if family != Family::Deberta {
            return Ok(None);
        }
        if let Some(size) = self.conv_kernel_size.filter(|&size| size > 0) {
            return Err(format!("expected no convolution, got conv_kernel_size = {size}"));
        }
        let mut kinds: Vec<&str> = match &self.pos_att_type {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kinds => kinds.as_str().unwrap_or_default().split('|').map(str::trim).collect(),
        };
        kinds.sort_unstable();
        let expected = [
            ("relative_attention = true", self.relative_attention == Some(true)),
            ("share_att_key = true", self.share_att_key == Some(true)),
            ("pos_att_type p2c|c2p", kinds == ["c2p", "p2c"]),
            ("norm_rel_ebd layer_norm", self.norm_rel_ebd.as_deref() == Some("layer_norm")),
            ("position_biased_input = false", self.position_biased_input == Some(false)),
            ("type_vocab_size = 0", self.type_vocab_size.unwrap_or(0) == 0),
            ("no embedding_size", self.embedding_size.is_none_or(|n| n == self.hidden_size)),
        ];
        if let Some((switch, _)) = expected.iter().find(|(_, is_so)| !is_so) {
            return Err(format!("expected {switch}, as DeBERTa-v3 has it, got another value"));
        }
        let above_0 = |n: Option<i64>| n.filter(|&n| n > 0).map(|n| n as usize);
        let max_distance = above_0(self.max_relative_positions);
        let max_distance = max_distance.unwrap_or(self.max_position_embeddings);
        let buckets = above_0(self.position_buckets).unwrap_or(0);
        if buckets < 4 || buckets / 2 + 1 >= max_distance || max_distance > 1 << 24 {
            return Err(format!(
                "expected position_buckets from 4 to twice max_relative_positions (at most 2^24), \
                 got {buckets} and {max_distance}"
            ));
        }
        Ok(Some(Disentangled { buckets, max_distance }))
    }

    /// Rotary positions and windows; `rope_parameters` and `layer_types` are transformers 5's names.
    fn rotary(&self, head_size: usize) -> Result<Rotary, String> {
        if !head_size.is_multiple_of(2) || head_size > 4096 {
            return Err(format!("expected heads of an even size up to 4096, got {head_size}"));
        }
        if !self.rope_scaling.is_null() {
            return Err(format!("expected no rope_scaling, got {}", self.rope_scaling));
        }
        let frequencies = |kind: &str, older: &Value| -> Result<Vec<f32>, String> {
            let parameters = &self.rope_parameters[kind];
            let rope_type = parameters["rope_type"].as_str().unwrap_or("default");
            if rope_type != "default" {
                return Err(format!("expected rope_type \"default\", got {rope_type:?}"));
            }
            let theta = parameters.get("rope_theta").unwrap_or(older);
            let known = theta.as_f64().filter(|&theta| theta > 0.0 && theta.is_finite());
            let theta = known
                .ok_or_else(|| format!("expected a rope_theta of {kind} above 0, got {theta}"))?;
            let frequency = |i: usize| 1.0 / (theta as f32).powf((2 * i) as f32 / head_size as f32);
            Ok((0..head_size / 2).map(frequency).collect())
        };
        // Both ways so many pieces, and itself.
        let window = self.local_attention.unwrap_or(128) / 2 + 1;
        let every = self.global_attn_every_n_layers.unwrap_or(3);
        let n = self.num_hidden_layers;
        let windows = match &self.layer_types {
            None if every == 0 => {
                return Err("expected global_attn_every_n_layers above 0, got 0".into());
            }
            None => (0..n).map(|i| (i % every != 0).then_some(window)).collect(),
            Some(kinds) if kinds.len() != n => {
                return Err(format!("expected {n} layer_types, got {}", kinds.len()));
            }
            Some(kinds) => {
                let window = |kind: &String| match kind.as_str() {
                    "full_attention" => Ok(None),
                    "sliding_attention" => Ok(Some(window)),
                    _ => Err(format!(
                        "expected layer_types full_attention or sliding_attention, got {kind:?}"
                    )),
                };
                kinds.iter().map(window).collect::<Result<_, _>>()?
            }
        };
        Ok(Rotary {
            full: frequencies("full_attention", &self.global_rope_theta)?,
            sliding: frequencies("sliding_attention", &self.local_rope_theta)?,
            windows,
        })
    }

    fn activation(&self, family: Family) -> Result<Activation, String> {
        let default = if family == Family::Albert { "gelu_new" } else { "gelu" };
        let name = self.hidden_act.as_deref().unwrap_or(default);
        let known = Activation::named(name).filter(|known| *known != Activation::Silu);
        known.ok_or_else(|| format!("expected hidden_act gelu, gelu_new or relu, got {name:?}"))
    }

    /// For each layer the block whose parameters it has, and how many blocks are in a group.
    ///
    /// ALBERT repeats each group of blocks for its share of `num_hidden_layers`, and every pass
    /// through a block counts as a layer, as in hidden_states of transformers 5.
    fn blocks(&self, family: Family) -> Result<(Vec<usize>, usize), String> {
        let n = self.num_hidden_layers;
        let (groups, inner) = match family {
            Family::Albert => {
                (self.num_hidden_groups.unwrap_or(1), self.inner_group_num.unwrap_or(1))
            }
            _ => (n, 1),
        };
        if inner == 0 || n.checked_mul(inner).is_none_or(|layers| layers > 10_000) {
            return Err(format!("expected at most 10,000 layers, got {n} times {inner}"));
        }
        if groups > n || (groups == 0 && n > 0) {
            return Err(format!("expected 1 to {n} num_hidden_groups, got {groups}"));
        }
        // transformers: models/albert/modeling_albert.py: AlbertTransformer.forward, in f64 there.
        let group = |layer: usize| (layer as f64 / (n as f64 / groups as f64)) as usize;
        let blocks = (0..n * inner).map(|i| group(i / inner) * inner + i % inner).collect();
        Ok((blocks, inner))
    }
}
