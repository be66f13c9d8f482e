//! A causal model: pieces in, hidden states of every layer out.

use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::config::{Config, Norm, Positions, Residual};
use super::gguf_config;
use super::layout::{BlockValues, Layout, NormValues, Source, anchor};
use crate::error::{Error, Result};
use crate::io::input::read_text;
use crate::nn::batch::Batch;
use crate::nn::gguf;
use crate::nn::ops::{self, HeadNorms, Sight, Turns, Weight};
use crate::nn::pretrained::{HiddenStates, ModelShape, states_of};
use crate::nn::weights::{Matrix, Weights};

/// A decoder whose hidden states are those of transformers.
#[derive(Debug)]
pub struct CausalModel {
    config: Config,
    device: Device,
    /// (pieces, width), scaled; on the CPU, since a batch needs few rows of many.
    embeddings: Tensor,
    /// (places, width), where they are learned; on the CPU, too.
    places: Option<Tensor>,
    blocks: Vec<Block>,
    final_norm: Option<NormTensors>,
}

#[derive(Debug)]
struct NormTensors {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

#[derive(Debug)]
struct Block {
    attention_norm: NormTensors,
    qkv: Weight,
    head_norms: Option<(Vec<f32>, Vec<f32>)>,
    out: Weight,
    mlp_norm: NormTensors,
    wide: Weight,
    narrow: Weight,
}

fn wrong(path: &Path, problem: String) -> Error {
    Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "expected a causal model as transformers or llama.cpp writes it".into(),
    }
}

/// The configuration in a folder of transformers.
fn read_config(folder: &Path) -> Result<Config> {
    let path = folder.join("config.json");
    let text = read_text(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let json: Map<String, Value> =
        serde_json::from_str(&text).map_err(|error| wrong(&path, error.to_string()))?;
    let model_type = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
    Config::from_json(model_type, &json).map_err(|problem| wrong(&path, problem))
}

fn shape_of(config: &Config) -> ModelShape {
    ModelShape {
        n_layers: config.n_layers,
        width: config.width,
        max_length: config.max_length,
        is_causal: true,
    }
}

/// The size of the model in a folder, from its config.json.
/// # Errors
/// `Error::Read`; `Error::Values` for a configuration that is not read.
pub fn shape(folder: &Path) -> Result<ModelShape> {
    Ok(shape_of(&read_config(folder)?))
}

/// The size of the model in a GGUF file, from its metadata.
/// # Errors
/// As [`gguf::read`]; `Error::Values` for an architecture that is not read.
pub fn gguf_shape(path: &Path) -> Result<ModelShape> {
    let (config, _) =
        gguf_config::config(&gguf::read(path)?).map_err(|problem| wrong(path, problem))?;
    Ok(shape_of(&config))
}

impl CausalModel {
    /// Reads config.json and the safetensors files of a folder; the head is not read.
    ///
    /// The numbers are held once as f32; reading needs those of one block besides.
    /// # Errors
    /// `Error::Read`; `Error::Values` for a configuration or a file that is not read;
    /// `Error::Shape` for parameters that are missing or of another shape.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = read_config(folder)?;
        let weights = Weights::of_folder(folder, anchor(config.family))?;
        Self::new(config, Source::Safetensors, &weights, device)
    }

    /// Reads a GGUF file; numbers in few bits become f32.
    /// # Errors
    /// As [`Self::load`].
    pub fn load_gguf(path: &Path, device: &Device) -> Result<Self> {
        let file = gguf::read(path)?;
        let (mut config, source) =
            gguf_config::config(&file).map_err(|problem| wrong(path, problem))?;
        let weights = Weights::of_gguf(file)?;
        // Llama 3's changed frequencies, as divisors.
        if let Positions::Rotary { frequencies } = &mut config.positions
            && weights.has("rope_freqs.weight")
        {
            let divisors = weights.read("rope_freqs.weight", &[frequencies.len()])?;
            frequencies.iter_mut().zip(divisors).for_each(|(frequency, by)| *frequency /= by);
        }
        Self::new(config, source, &weights, device)
    }

    fn new(config: Config, source: Source, weights: &Weights, device: &Device) -> Result<Self> {
        let layout = Layout { weights, config: &config, source };
        let (width, scale) = (config.width, config.embedding_scale);
        let mut embeddings = layout.embeddings()?;
        if scale != 1.0 {
            embeddings.iter_mut().for_each(|x| *x *= scale);
        }
        let places = match config.positions {
            Positions::Learned { first } => {
                let places = layout.positions(first)?[first * width..].to_vec();
                Some(Tensor::from_vec(places, (config.max_length, width), &Device::Cpu)?)
            }
            Positions::Rotary { .. } => None,
        };
        let norm = |values: NormValues| -> Result<NormTensors> {
            let tensor = |values: Vec<f32>| Tensor::from_vec(values, width, device);
            let (Norm::Rms { eps, .. } | Norm::Layer { eps }) = config.norm;
            let bias = values.bias.map(tensor).transpose()?;
            Ok(NormTensors { weight: tensor(values.weight)?, bias, eps })
        };
        let matrix = |matrix: Matrix| matrix.on(device);
        let block = |i: usize| -> Result<Block> {
            let BlockValues { attention_norm, qkv, head_norms, out, mlp_norm, wide, narrow } =
                layout.block(i)?;
            Ok(Block {
                attention_norm: norm(attention_norm)?,
                qkv: matrix(qkv)?,
                head_norms,
                out: matrix(out)?,
                mlp_norm: norm(mlp_norm)?,
                wide: matrix(wide)?,
                narrow: matrix(narrow)?,
            })
        };
        Ok(Self {
            embeddings: Tensor::from_vec(embeddings, (config.vocab_size, width), &Device::Cpu)?,
            places,
            blocks: (0..config.n_layers).map(block).collect::<Result<_>>()?,
            final_norm: config
                .final_norm
                .then(|| layout.final_norm().and_then(norm))
                .transpose()?,
            device: device.clone(),
            config,
        })
    }

    /// Embeddings of pieces, and of places where these are learned, (tokens, width).
    fn embed(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let n = batch.rows * batch.length;
        let look_up = |table: &Tensor, ids: &[u32]| {
            table.index_select(&Tensor::from_slice(ids, n, &Device::Cpu)?, 0)
        };
        let mut x = look_up(&self.embeddings, &batch.ids)?;
        if let Some(places) = &self.places {
            let at: Vec<u32> = (0..n).map(|i| (i % batch.length) as u32).collect();
            x = (x + look_up(places, &at)?)?;
        }
        x.to_device(&self.device)
    }

    /// Shows `see` the embeddings and the state after each of `n_blocks` blocks, (tokens, width);
    /// the last one of all is behind the final norm.
    fn run(&self, batch: &Batch, n_blocks: usize, see: &mut dyn FnMut(&Tensor)) -> Result<()> {
        batch.check(self.config.max_length, self.config.vocab_size)?;
        let config = &self.config;
        let turns = match &config.positions {
            Positions::Rotary { frequencies } => Some(Turns::new(frequencies, batch.length)),
            Positions::Learned { .. } => None,
        };
        let mut x = self.embed(batch)?;
        for i in 0..n_blocks {
            see(&x);
            x = self.block(i, &x, batch.length, turns.as_ref())?;
        }
        match &self.final_norm {
            Some(norm) if n_blocks == self.blocks.len() => see(&normed(&x, norm)?),
            _ => see(&x),
        }
        Ok(())
    }

    fn block(
        &self,
        i: usize,
        x: &Tensor,
        length: usize,
        turns: Option<&Turns>,
    ) -> candle_core::Result<Tensor> {
        let (config, block) = (&self.config, &self.blocks[i]);
        let (Norm::Rms { eps, .. } | Norm::Layer { eps }) = config.norm;
        let norms = block.head_norms.as_ref();
        let sight = Sight {
            heads: config.heads,
            kv_heads: config.kv_heads,
            size: config.head_size,
            length,
            lengths: None,
            window: config.windows.get(i).copied().flatten(),
            scale: config.score_scale(i),
            turns,
            norms: norms.map(|(query, key)| HeadNorms { query, key, eps: eps as f32 }),
            distances: None,
        };
        // Attention and feed-forward of `read`, added to `plus`.
        let attention = |read: &Tensor, plus: &Tensor| {
            let mixed = ops::read_attention(&block.qkv.times(read, None)?, &sight)?;
            block.out.times(&mixed, Some(plus))
        };
        let mlp = |read: &Tensor, plus: &Tensor| {
            let wide = block.wide.times(read, None)?;
            let wide = match config.gated {
                true => ops::gated(&wide, config.activation)?,
                false => ops::activate(&wide, config.activation)?,
            };
            block.narrow.times(&wide, Some(plus))
        };
        match config.residual {
            Residual::Serial => {
                let x = attention(&normed(x, &block.attention_norm)?, x)?;
                mlp(&normed(&x, &block.mlp_norm)?, &x)
            }
            Residual::Parallel => {
                let mixed = attention(&normed(x, &block.attention_norm)?, x)?;
                mlp(&normed(x, &block.mlp_norm)?, &mixed)
            }
            Residual::PostNorm => {
                let x = normed(&attention(x, x)?, &block.attention_norm)?;
                normed(&mlp(&x, &x)?, &block.mlp_norm)
            }
        }
    }
}

fn normed(x: &Tensor, norm: &NormTensors) -> candle_core::Result<Tensor> {
    match &norm.bias {
        Some(bias) => ops::layer_norm(x, &norm.weight, bias, norm.eps),
        None => ops::rms_norm(x, &norm.weight, norm.eps),
    }
}

impl HiddenStates for CausalModel {
    fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn max_length(&self) -> usize {
        self.config.max_length
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        states_of(batch, self, layers, |n_blocks, see| self.run(batch, n_blocks, see))
    }
}
