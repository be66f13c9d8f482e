//! What a causal model computes, out of config.json.

use serde_json::{Map, Value};

use crate::nn::ops::Activation;

/// What `model_type` of a causal model may be.
pub const MODEL_TYPES: &[&str] =
    &["llama", "mistral", "qwen2", "qwen3", "gemma", "gpt2", "opt", "gpt_neox"];

/// Whether a causal model of this `model_type` is read.
pub fn is_known(model_type: &str) -> bool {
    MODEL_TYPES.contains(&model_type)
}

/// How parameters are called and arranged in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Llama and what has its names: Mistral, Qwen2, Qwen3, Gemma.
    Llama,
    /// GPT-2: queries, keys and values in one matrix, matrices as (in, out).
    Gpt2,
    /// OPT.
    Opt,
    /// GPT-NeoX, Pythia: each head's query, key and value side by side.
    NeoX,
}

/// What is done to a vector before it enters a part of a block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// x / √(mean x² + eps) · weight.
    Rms {
        /// Added to the mean of squares.
        eps: f64,
        /// Added to the weight: 1 for Gemma.
        plus: f32,
    },
    /// (x − mean) / √(variance + eps) · weight + bias.
    Layer {
        /// Added to the variance.
        eps: f64,
    },
}

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// Attention, then the feed-forward, each with its norm in front.
    Serial,
    /// Both from the same vector.
    Parallel,
    /// Each with its norm behind the sum.
    PostNorm,
}

/// How a piece knows its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A table of vectors that are added; the first piece has row `first`.
    Learned {
        /// Row of a text's first piece.
        first: usize,
    },
    /// Queries and keys are turned, pairs (i, i + n) of a head's first 2n values by
    /// position · frequencies\[i\].
    Rotary {
        /// Radians from piece to piece, one per pair.
        frequencies: Vec<f32>,
    },
}

/// A causal model's sizes and switches, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Names and arrangement of parameters.
    pub family: Family,
    /// Pieces that it knows.
    pub vocab_size: usize,
    /// Values of a hidden state.
    pub width: usize,
    /// Blocks.
    pub n_layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Values of a head.
    pub head_size: usize,
    /// Values inside of a feed-forward.
    pub inner: usize,
    /// Most pieces of a row.
    pub max_length: usize,
    /// Of every block, and behind the last.
    pub norm: Norm,
    /// Where norms stand.
    pub residual: Residual,
    /// Whether there is a norm behind the last block.
    pub final_norm: bool,
    /// Of the feed-forward.
    pub activation: Activation,
    /// Whether the activation multiplies a second product of the same input.
    pub gated: bool,
    /// Whether queries and keys have an RMSNorm per head (Qwen3).
    pub qk_norm: bool,
    /// Places.
    pub positions: Positions,
    /// What embeddings are multiplied by.
    pub embedding_scale: f32,
    /// Per layer: a piece sees itself and so many pieces before it, less one; none, or no entry: all
    /// of them.
    pub windows: Vec<Option<usize>>,
    /// Whether scores of block i are also divided by i + 1 (a switch of GPT-2).
    pub scale_by_layer: bool,
    /// Whether scores are divided by the root of the head's size.
    pub scale_by_size: bool,
}

/// Keys of a config.json, `null` being as good as absent.
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A whole number up to 2^28.
    pub fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let whole = value.as_u64().filter(|&n| n <= 1 << 28);
        let wrong = || format!("{key}: expected a whole number up to 2^28, got {}", short(value));
        whole.map(|n| Some(n as usize)).ok_or_else(wrong)
    }

    pub fn size(&self, key: &str) -> Result<usize, String> {
        match self.whole(key)? {
            Some(0) | None => Err(format!("expected {key} above 0, got none")),
            Some(n) => Ok(n),
        }
    }

    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|x| x.is_finite());
        number.map(Some).ok_or_else(|| format!("{key}: expected a number, got {}", short(value)))
    }

    pub fn switch(&self, key: &str, default: bool) -> Result<bool, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value
            .as_bool()
            .ok_or_else(|| format!("{key}: expected true or false, got {}", short(value)))
    }

    pub fn text<'b>(&'b self, key: &str, default: &'b str) -> Result<&'b str, String> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_str().ok_or_else(|| format!("{key}: expected a text, got {}", short(value)))
    }

    fn map(&self, key: &str) -> Result<Option<Fields<'_>>, String> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let map = value.as_object().ok_or_else(|| format!("{key}: got {}", short(value)))?;
        Ok(Some(Fields(map)))
    }
}

/// A value as it is shown in a message.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

impl Config {
    /// The model that a config.json describes, `model_type` being one of [`MODEL_TYPES`].
    pub fn from_json(model_type: &str, json: &Map<String, Value>) -> Result<Self, String> {
        let fields = Fields(json);
        let config = match model_type {
            "gpt2" => gpt2(&fields)?,
            "opt" => opt(&fields)?,
            "gpt_neox" => neox(&fields)?,
            _ => llama(model_type, &fields)?,
        };
        config.checked()
    }

    /// Itself, if its sizes fit each other.
    pub(super) fn checked(self) -> Result<Self, String> {
        let Self { heads, kv_heads, head_size, n_layers, .. } = self;
        if heads == 0 || kv_heads == 0 || heads % kv_heads != 0 {
            return Err(format!(
                "expected heads of keys that divide heads of queries, got {kv_heads} and {heads}"
            ));
        }
        if head_size == 0 || head_size > 4096 || heads > 4096 || n_layers > 10_000 {
            return Err(format!(
                "expected heads of 1 to 4096 values, at most 4096 of them and 10,000 layers, got \
                 {head_size}, {heads} and {n_layers}"
            ));
        }
        if self.max_length == 0 || self.width == 0 || self.inner == 0 || self.vocab_size == 0 {
            return Err("expected sizes above 0".into());
        }
        if let Norm::Rms { eps, .. } | Norm::Layer { eps } = self.norm
            && !(0.0..1.0).contains(&eps)
        {
            return Err(format!("expected a norm's eps from 0 to 1, got {eps}"));
        }
        Ok(self)
    }

    /// The factor of scores in block `layer`.
    pub fn score_scale(&self, layer: usize) -> f32 {
        let size = if self.scale_by_size { (self.head_size as f32).sqrt() } else { 1.0 };
        let layer = if self.scale_by_layer { (layer + 1) as f32 } else { 1.0 };
        1.0 / (size * layer)
    }
}

/// Activation by its name in transformers.
fn activation(name: &str) -> Result<Activation, String> {
    Activation::named(name).ok_or_else(|| {
        format!(
            "expected the activation silu, gelu, gelu_new, gelu_pytorch_tanh or relu, got {name:?}"
        )
    })
}

fn llama(model_type: &str, fields: &Fields<'_>) -> Result<Config, String> {
    let is_gemma = model_type == "gemma";
    let (width, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
    let head_size = match fields.whole("head_dim")? {
        Some(size) => size,
        None if is_gemma => 256,
        None if model_type == "qwen3" => 128,
        None if width.is_multiple_of(heads) => width / heads,
        None => return Err(format!("expected heads that divide hidden_size {width}, got {heads}")),
    };
    let n_layers = fields.size("num_hidden_layers")?;
    let act = match fields.get("hidden_activation").is_some() {
        true => fields.text("hidden_activation", "")?,
        false => fields.text("hidden_act", if is_gemma { "gelu_pytorch_tanh" } else { "silu" })?,
    };
    // Early Gemma configurations say "gelu" and mean the form with tanh, as transformers reads them.
    let act = if is_gemma && act == "gelu" { "gelu_pytorch_tanh" } else { act };
    Ok(Config {
        family: Family::Llama,
        vocab_size: fields.size("vocab_size")?,
        width,
        n_layers,
        heads,
        kv_heads: fields.whole("num_key_value_heads")?.unwrap_or(match model_type {
            "mistral" => 8,
            "qwen2" | "qwen3" => 32,
            _ => heads,
        }),
        head_size,
        inner: fields.size("intermediate_size")?,
        max_length: fields.whole("max_position_embeddings")?.unwrap_or(2048),
        norm: Norm::Rms {
            eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6),
            plus: if is_gemma { 1.0 } else { 0.0 },
        },
        residual: Residual::Serial,
        final_norm: true,
        activation: activation(act)?,
        gated: true,
        qk_norm: model_type == "qwen3",
        positions: rotary(fields, head_size, 1.0)?,
        embedding_scale: if is_gemma { (width as f64).sqrt() as f32 } else { 1.0 },
        windows: windows(model_type, fields, n_layers)?,
        scale_by_layer: false,
        scale_by_size: true,
    })
}

/// How far back each layer sees.
fn windows(
    model_type: &str,
    fields: &Fields<'_>,
    n_layers: usize,
) -> Result<Vec<Option<usize>>, String> {
    let window = match model_type {
        "mistral" => fields.whole("sliding_window")?,
        "qwen2" | "qwen3" if fields.switch("use_sliding_window", false)? => {
            fields.whole("sliding_window")?
        }
        _ => None,
    };
    let Some(window) = window else { return Ok(Vec::new()) };
    if window == 0 {
        return Err("expected a sliding_window above 0, got 0".into());
    }
    let first = match model_type {
        "mistral" => 0,
        _ => fields.whole("max_window_layers")?.unwrap_or(0),
    };
    let kinds = fields.get("layer_types").and_then(Value::as_array);
    let is_sliding = |layer: usize| match kinds.and_then(|kinds| kinds.get(layer)) {
        Some(kind) => kind == "sliding_attention",
        None => layer >= first,
    };
    Ok((0..n_layers.min(10_000)).map(|layer| is_sliding(layer).then_some(window)).collect())
}

/// Rotary positions over a share of a head's values.
fn rotary(fields: &Fields<'_>, head_size: usize, share: f64) -> Result<Positions, String> {
    let nothing = Map::new();
    // transformers 5 writes rope_parameters, earlier ones rope_theta and rope_scaling.
    let parameters = match fields.map("rope_parameters")? {
        Some(parameters) => parameters,
        None => fields.map("rope_scaling")?.unwrap_or(Fields(&nothing)),
    };
    let theta = match parameters.number("rope_theta")? {
        Some(theta) => theta,
        None => match fields.number("rope_theta")? {
            Some(theta) => theta,
            None => fields.number("rotary_emb_base")?.unwrap_or(10_000.0),
        },
    };
    let share = parameters.number("partial_rotary_factor")?.unwrap_or(share);
    let kind = match parameters.get("rope_type").is_some() {
        true => parameters.text("rope_type", "default")?,
        false => parameters.text("type", "default")?,
    };
    let number = |key: &str| -> Result<f64, String> {
        let number = parameters.number(key)?.filter(|&x| x > 0.0);
        number.ok_or_else(|| format!("rope_type {kind:?}: expected {key} above 0, got none"))
    };
    let scaling = match kind {
        "default" => RotaryScaling::None,
        "linear" => RotaryScaling::Linear { factor: number("factor")? },
        "llama3" => RotaryScaling::Llama3 {
            factor: number("factor")?,
            low: number("low_freq_factor")?,
            high: number("high_freq_factor")?,
            length: number("original_max_position_embeddings")?,
        },
        other => {
            return Err(format!("expected rope_type default, linear or llama3, got {other:?}"));
        }
    };
    rotary_of(theta, (share * head_size as f64) as usize, head_size, scaling)
}

/// How frequencies of rotary positions are changed for longer texts.
#[derive(Debug, Clone, Copy)]
pub(super) enum RotaryScaling {
    None,
    /// Every frequency divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1's: waves longer than `length / low` pieces are divided by `factor`, those shorter
    /// than `length / high` are kept, those between are mixed.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        length: f64,
    },
}

/// Frequencies theta^(−2i/n) of the first `n` values of a head, in f32 as transformers has them.
pub(super) fn rotary_of(
    theta: f64,
    n: usize,
    head_size: usize,
    scaling: RotaryScaling,
) -> Result<Positions, String> {
    if n == 0 || !n.is_multiple_of(2) || n > head_size {
        return Err(format!("expected rotary values in pairs, up to {head_size}, got {n}"));
    }
    if head_size > 4096 {
        return Err(format!("expected heads of at most 4096 values, got {head_size}"));
    }
    if theta <= 0.0 {
        return Err(format!("expected rope_theta above 0, got {theta}"));
    }
    let frequency = |i: usize| {
        let plain = 1.0 / (theta as f32).powf((2 * i) as f32 / n as f32);
        match scaling {
            RotaryScaling::None => plain,
            RotaryScaling::Linear { factor } => plain / factor as f32,
            RotaryScaling::Llama3 { factor, low, high, length } => {
                let wave = std::f64::consts::TAU / f64::from(plain);
                let divided = f64::from(plain) / factor;
                let mixed = if wave > length / low {
                    divided
                } else if wave < length / high {
                    f64::from(plain)
                } else {
                    let share = (length / wave - low) / (high - low);
                    (1.0 - share) * divided + share * f64::from(plain)
                };
                mixed as f32
            }
        }
    };
    Ok(Positions::Rotary { frequencies: (0..n / 2).map(frequency).collect() })
}

fn gpt2(fields: &Fields<'_>) -> Result<Config, String> {
    let (width, heads) = (fields.size("n_embd")?, fields.size("n_head")?);
    let n_layers = fields.size("n_layer")?;
    if fields.switch("add_cross_attention", false)? {
        return Err("expected a model without cross-attention".into());
    }
    Ok(Config {
        family: Family::Gpt2,
        vocab_size: fields.size("vocab_size")?,
        width,
        n_layers,
        heads,
        kv_heads: heads,
        head_size: divided(width, heads, "n_embd")?,
        inner: fields.whole("n_inner")?.unwrap_or(4 * width),
        max_length: match fields.whole("n_positions")? {
            Some(n) => n,
            None => fields.size("n_ctx")?,
        },
        norm: Norm::Layer { eps: fields.number("layer_norm_epsilon")?.unwrap_or(1e-5) },
        residual: Residual::Serial,
        final_norm: true,
        activation: activation(fields.text("activation_function", "gelu_new")?)?,
        gated: false,
        qk_norm: false,
        positions: Positions::Learned { first: 0 },
        embedding_scale: 1.0,
        windows: Vec::new(),
        scale_by_layer: fields.switch("scale_attn_by_inverse_layer_idx", false)?,
        scale_by_size: fields.switch("scale_attn_weights", true)?,
    })
}

fn opt(fields: &Fields<'_>) -> Result<Config, String> {
    let (width, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
    let embedded = fields.whole("word_embed_proj_dim")?.unwrap_or(width);
    if embedded != width {
        return Err(format!(
            "expected word_embed_proj_dim = hidden_size = {width}, got {embedded}: models whose \
             embeddings are projected (opt-350m) are not read"
        ));
    }
    let is_pre_norm = fields.switch("do_layer_norm_before", true)?;
    let n_layers = fields.size("num_hidden_layers")?;
    if !fields.switch("layer_norm_elementwise_affine", true)? {
        return Err("expected layer_norm_elementwise_affine true, got false".into());
    }
    Ok(Config {
        family: Family::Opt,
        vocab_size: fields.size("vocab_size")?,
        width,
        n_layers,
        heads,
        kv_heads: heads,
        head_size: divided(width, heads, "hidden_size")?,
        inner: fields.size("ffn_dim")?,
        max_length: fields.size("max_position_embeddings")?,
        norm: Norm::Layer { eps: 1e-5 },
        residual: if is_pre_norm { Residual::Serial } else { Residual::PostNorm },
        final_norm: is_pre_norm && !fields.switch("_remove_final_layer_norm", false)?,
        activation: activation(fields.text("activation_function", "relu")?)?,
        gated: false,
        qk_norm: false,
        positions: Positions::Learned { first: 2 },
        embedding_scale: 1.0,
        windows: Vec::new(),
        scale_by_layer: false,
        scale_by_size: true,
    })
}

fn neox(fields: &Fields<'_>) -> Result<Config, String> {
    let (width, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
    let n_layers = fields.size("num_hidden_layers")?;
    let head_size = divided(width, heads, "hidden_size")?;
    let is_parallel = fields.switch("use_parallel_residual", true)?;
    Ok(Config {
        family: Family::NeoX,
        vocab_size: fields.size("vocab_size")?,
        width,
        n_layers,
        heads,
        kv_heads: heads,
        head_size,
        inner: fields.size("intermediate_size")?,
        max_length: fields.size("max_position_embeddings")?,
        norm: Norm::Layer { eps: fields.number("layer_norm_eps")?.unwrap_or(1e-5) },
        residual: if is_parallel { Residual::Parallel } else { Residual::Serial },
        final_norm: true,
        activation: activation(fields.text("hidden_act", "gelu")?)?,
        gated: false,
        qk_norm: false,
        positions: rotary(fields, head_size, fields.number("rotary_pct")?.unwrap_or(0.25))?,
        embedding_scale: 1.0,
        windows: Vec::new(),
        scale_by_layer: false,
        scale_by_size: true,
    })
}

fn divided(width: usize, heads: usize, name: &str) -> Result<usize, String> {
    if width.is_multiple_of(heads) {
        return Ok(width / heads);
    }
    Err(format!("expected heads that divide {name} = {width}, got {heads}"))
}
