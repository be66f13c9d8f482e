//! Pretrained checkpoints of the BERT family: word pieces in, hidden states of every layer out.
//!
//! Embeddings → LayerNorm → post-norm blocks [Devlin et al. 2019, arXiv:1810.04805; Vaswani et al.
//! 2017, §3.1]. candle-transformers has these models, but gives the last layer only, so the blocks
//! are put together here out of the encoder's own operations (`ops`). Parameters bear
//! transformers' names.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::batch::Batch;
use super::model::Encoder;
use super::ops::{self, Activation, Rows, Weight};
use super::weights::{Matrix, Weights};
use crate::error::{Error, Result};
use crate::io::input::read_text;

/// What `model_type` of a config.json may be.
pub(super) const MODEL_TYPES: &str =
    "bert, roberta, xlm-roberta, camembert, distilbert or megatron-bert";

/// A language model that says what it makes of word pieces, layer by layer.
pub trait HiddenStates: Send + Sync {
    /// Number of layers above the embeddings: hidden states are 0 to this.
    fn n_layers(&self) -> usize;
    /// Values of a hidden state.
    fn width(&self) -> usize;
    /// Most pieces of a row, special tokens included.
    fn max_length(&self) -> usize;
    /// Number of pieces it knows.
    fn vocab_size(&self) -> usize;
    /// Hidden states `layers`, in their order, (rows, length, width) each, from one pass and without
    /// dropout; 0 is the embeddings.
    /// # Errors
    /// `Error::Shape` for a batch, `Error::Usage` for a layer that does not fit the model.
    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>>;
}

impl HiddenStates for Encoder {
    fn n_layers(&self) -> usize {
        self.config().num_hidden_layers
    }

    fn width(&self) -> usize {
        self.config().hidden_size
    }

    fn max_length(&self) -> usize {
        self.config().max_position_embeddings
    }

    fn vocab_size(&self) -> usize {
        self.config().vocab_size
    }

    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        last_of(layers, self.n_layers())?;
        let states = self.hidden_states(batch)?;
        Ok(layers.iter().map(|&layer| states[layer].detach()).collect())
    }
}

/// The highest of `layers`, none of which may be above `n_layers`.
fn last_of(layers: &[usize], n_layers: usize) -> Result<usize> {
    let last = layers.iter().copied().max().unwrap_or(0);
    match last > n_layers {
        true => Err(Error::Usage {
            place: "layer".into(),
            problem: format!("expected 0 (embeddings) to {n_layers}, got {last}"),
            hint: "layers are counted as in hidden_states of transformers".into(),
        }),
        false => Ok(last),
    }
}

/// The states of `layers` that `run` shows on its way through so many blocks, (tokens, width) each
/// and the embeddings first.
pub(super) fn states_of(
    batch: &Batch,
    model: &dyn HiddenStates,
    layers: &[usize],
    run: impl FnOnce(usize, &mut dyn FnMut(&Tensor)) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let last = last_of(layers, model.n_layers())?;
    let mut states = vec![None; last + 1];
    let mut layer = 0;
    run(last, &mut |state| {
        if layers.contains(&layer) {
            states[layer] = Some(state.clone());
        }
        layer += 1;
    })?;
    let shape = (batch.rows, batch.length, model.width());
    let kept = layers.iter().filter_map(|&layer| states[layer].as_ref());
    kept.map(|state| Ok(state.reshape(shape)?)).collect()
}

/// What can be known of a model's size without opening its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Layers above the embeddings.
    pub n_layers: usize,
    /// Values of a hidden state.
    pub width: usize,
    /// Most pieces of a row, special tokens included.
    pub max_length: usize,
    /// Whether a piece's state knows nothing of the pieces behind it.
    pub is_causal: bool,
}

/// The size of a BERT-like checkpoint's model, without opening the weights.
pub(super) fn bert_shape(folder: &Path) -> Result<ModelShape> {
    let config: Config = read_config(folder)?;
    checked(&config).map_err(|problem| wrong(&folder.join("config.json"), problem))?;
    Ok(ModelShape {
        n_layers: config.num_hidden_layers,
        width: config.hidden_size,
        max_length: config.max_position_embeddings - config.first_position(),
        is_causal: false,
    })
}

/// The part of config.json that decides what is computed; DistilBERT has names of its own.
#[derive(Debug, Clone, Deserialize)]
struct Config {
    model_type: String,
    vocab_size: usize,
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    max_position_embeddings: usize,
    #[serde(default = "small")]
    layer_norm_eps: f64,
    #[serde(default = "gelu", alias = "activation")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    pad_token_id: Option<u32>,
}

impl Config {
    fn pad(&self) -> usize {
        self.pad_token_id.unwrap_or(0) as usize
    }

    /// Position of a row's first piece: RoBERTa's begin behind that of the padding.
    fn first_position(&self) -> usize {
        match self.model_type.as_str() {
            "roberta" | "xlm-roberta" | "camembert" => self.pad() + 1,
            _ => 0,
        }
    }
}

fn small() -> f64 {
    1e-12
}

fn gelu() -> String {
    "gelu".into()
}

fn absolute() -> String {
    "absolute".into()
}

fn wrong(place: &Path, problem: String) -> Error {
    Error::Values {
        place: place.display().to_string(),
        problem,
        hint: format!(
            "expected a checkpoint folder as save_pretrained of transformers writes it: \
             config.json (model_type {MODEL_TYPES}), model.safetensors, tokenizer.json or vocab.txt"
        ),
    }
}

fn read_config<T: serde::de::DeserializeOwned>(folder: &Path) -> Result<T> {
    let path = folder.join("config.json");
    let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    serde_json::from_str(&text).map_err(|error| wrong(&path, error.to_string()))
}

/// A pretrained model of post-norm blocks.
#[derive(Debug)]
pub struct Pretrained {
    config: Config,
    activation: Activation,
    /// Position of a row's first piece in the table.
    first_position: usize,
    device: Device,
    words: Tensor,
    positions: Tensor,
    /// DistilBERT has none.
    types: Option<Tensor>,
    norm: Affine,
    blocks: Vec<Block>,
}

/// Parameters of a LayerNorm.
#[derive(Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

#[derive(Debug)]
struct Block {
    qkv: Weight,
    attention_out: Weight,
    attention_norm: Affine,
    wide: Weight,
    narrow: Weight,
    norm: Affine,
}

/// Names of a block's parts: query, key, value, attention out and its LayerNorm, feed-forward in,
/// out and its LayerNorm.
const BERT_PARTS: [&str; 8] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
];
const DISTILBERT_PARTS: [&str; 8] = [
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
];

impl Pretrained {
    /// Reads `config.json` and the safetensors files of a folder; any float type becomes f32.
    ///
    /// Parameters are found with and without a prefix (`bert.`), LayerNorms as `weight` and `bias`
    /// or as `gamma` and `beta`; heads are not looked at.
    /// # Errors
    /// `Error::Read` for a missing file; `Error::Values` for another kind of model and for files
    /// that are damaged; `Error::Shape` for tensors that do not fit config.json.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config: Config = read_config(folder)?;
        let path = folder.join("config.json");
        let activation = checked(&config).map_err(|problem| wrong(&path, problem))?;
        let weights = Weights::of_folder(folder, "embeddings.word_embeddings.weight")?;
        let parameters = Parameters { weights: &weights, width: config.hidden_size, device };
        let is_distilbert = config.model_type == "distilbert";
        let types = match is_distilbert {
            true => None,
            false => Some(parameters.first_row("embeddings.token_type_embeddings.weight")?),
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|i| match is_distilbert {
                true => parameters.block(&format!("transformer.layer.{i}"), &DISTILBERT_PARTS),
                false => parameters.block(&format!("encoder.layer.{i}"), &BERT_PARTS),
            })
            .collect::<Result<_>>()?;
        let table = |name: &str, rows: usize| {
            parameters.table(&format!("embeddings.{name}_embeddings.weight"), rows)
        };
        Ok(Self {
            activation,
            first_position: config.first_position(),
            device: device.clone(),
            words: table("word", config.vocab_size)?,
            positions: table("position", config.max_position_embeddings)?,
            types,
            norm: parameters.norm("embeddings.LayerNorm")?,
            blocks,
            config,
        })
    }

    /// Shows `see` the embeddings and the state after each of `n_blocks` blocks, (tokens, width).
    fn run(&self, batch: &Batch, n_blocks: usize, see: &mut dyn FnMut(&Tensor)) -> Result<()> {
        batch.check(self.max_length(), self.config.vocab_size)?;
        let eps = self.config.layer_norm_eps;
        let rows = Rows { rows: batch.rows, length: batch.length, attended: &batch.attended };
        let normed = |x: &Tensor, n: &Affine| ops::layer_norm(x, &n.weight, &n.bias, eps);
        let mut x = normed(&self.embed(batch)?, &self.norm)?;
        see(&x);
        for block in &self.blocks[..n_blocks] {
            let heads = self.config.num_attention_heads;
            let mixed = ops::attention(&block.qkv.times(&x, None)?, heads, rows, None)?;
            x = normed(&block.attention_out.times(&mixed, Some(&x))?, &block.attention_norm)?;
            let wide = ops::activate(&block.wide.times(&x, None)?, self.activation)?;
            x = normed(&block.narrow.times(&wide, Some(&x))?, &block.norm)?;
            see(&x);
        }
        Ok(())
    }

    /// Sum of the embeddings of piece, position and token type 0, (tokens, width).
    fn embed(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let n = batch.rows * batch.length;
        let first = self.first_position;
        let positions: Vec<u32> = (0..n).map(|i| (first + i % batch.length) as u32).collect();
        let look_up = |table: &Tensor, ids: &[u32]| {
            table.index_select(&Tensor::from_slice(ids, n, &self.device)?, 0)
        };
        let sum = (look_up(&self.words, &batch.ids)? + look_up(&self.positions, &positions)?)?;
        match &self.types {
            Some(row) => sum.broadcast_add(row),
            None => Ok(sum),
        }
    }
}

impl HiddenStates for Pretrained {
    fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn max_length(&self) -> usize {
        self.config.max_position_embeddings - self.first_position
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        states_of(batch, self, layers, |n_blocks, see| self.run(batch, n_blocks, see))
    }
}

/// What is wrong with a configuration, or its activation.
fn checked(config: &Config) -> Result<Activation, String> {
    let Config { model_type, hidden_act, position_embedding_type, .. } = config;
    if !MODEL_TYPES.split([',', ' ']).any(|known| known == model_type && known != "or") {
        return Err(format!("expected model_type {MODEL_TYPES}, got {model_type:?}"));
    }
    if position_embedding_type != "absolute" {
        return Err(format!(
            "expected position_embedding_type \"absolute\", got {position_embedding_type:?}"
        ));
    }
    let (h, heads) = (config.hidden_size, config.num_attention_heads);
    if heads == 0 || h == 0 || !h.is_multiple_of(heads) {
        return Err(format!("expected heads that divide hidden_size = {h}, got {heads}"));
    }
    let sizes = [config.vocab_size, h, config.num_hidden_layers, config.max_position_embeddings];
    if sizes.iter().any(|&size| size > 1 << 28) {
        return Err(format!("expected sizes up to 2^28, got {sizes:?}"));
    }
    if config.max_position_embeddings < config.pad() + 4 {
        return Err(format!(
            "expected room for 3 pieces, got max_position_embeddings = {} (pad_token_id = {})",
            config.max_position_embeddings,
            config.pad()
        ));
    }
    let activation = Activation::named(hidden_act).filter(|known| *known != Activation::Silu);
    activation
        .ok_or_else(|| format!("expected hidden_act gelu, gelu_new or relu, got {hidden_act:?}"))
}

/// A checkpoint's parameters, by the parts that a model of this width asks for.
struct Parameters<'a> {
    weights: &'a Weights,
    width: usize,
    device: &'a Device,
}

impl Parameters<'_> {
    /// (rows, width).
    fn table(&self, name: &str, rows: usize) -> Result<Tensor> {
        let values = self.weights.read(name, &[rows, self.width])?;
        Ok(Tensor::from_vec(values, (rows, self.width), self.device)?)
    }

    /// Row 0 of a table: texts are of token type 0.
    fn first_row(&self, name: &str) -> Result<Tensor> {
        let expected = format!("[n, {}]", self.width);
        match *self.weights.shape(name, &expected)? {
            [rows, width] if rows > 0 && width == self.width => {
                Ok(self.table(name, rows)?.get(0)?)
            }
            ref other => Err(self.weights.is_not(name, &expected, other)),
        }
    }

    /// A LayerNorm, whose parameters old checkpoints call gamma and beta.
    fn norm(&self, name: &str) -> Result<Affine> {
        let is_old = self.weights.has(&format!("{name}.gamma"));
        let (weight, bias) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
        let vector = |part: &str| -> Result<Tensor> {
            let values = self.weights.read(&format!("{name}.{part}"), &[self.width])?;
            Ok(Tensor::from_vec(values, self.width, self.device)?)
        };
        Ok(Affine { weight: vector(weight)?, bias: vector(bias)? })
    }

    /// A matrix (out, in) with its bias.
    fn matrix(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let rows = self.weights.read(&format!("{name}.weight"), &[n_out, n_in])?;
        let bias = Some(self.weights.read(&format!("{name}.bias"), &[n_out])?);
        Ok(Matrix { rows, n_in, bias })
    }

    fn block(&self, place: &str, parts: &[&str; 8]) -> Result<Block> {
        let [query, key, value, out, out_norm, wide, narrow, norm] =
            parts.map(|part| format!("{place}.{part}"));
        let h = self.width;
        let three = [query, key, value].into_iter().map(|name| self.matrix(&name, h, h));
        let qkv = Matrix::stacked(three.collect::<Result<_>>()?);
        let bias = format!("{wide}.bias");
        let expected = "one bias a unit";
        let f = match *self.weights.shape(&bias, expected)? {
            [f] => f,
            ref other => return Err(self.weights.is_not(&bias, expected, other)),
        };
        Ok(Block {
            qkv: qkv.on(self.device)?,
            attention_out: self.matrix(&out, h, h)?.on(self.device)?,
            attention_norm: self.norm(&out_norm)?,
            wide: self.matrix(&wide, f, h)?.on(self.device)?,
            narrow: self.matrix(&narrow, h, f)?.on(self.device)?,
            norm: self.norm(&norm)?,
        })
    }
}
