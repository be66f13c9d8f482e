//! A BERT-like model: pieces in, hidden states of every layer out.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::config::{self, Config, Disentangled};
use super::distances::{deberta_bucket, mpnet_bucket};
use super::hidden_states::{HiddenStates, states_of};
use super::layout::{Affine, Block, Embeddings, Parameters, anchor};
use crate::error::Result;
use crate::nn::batch::Batch;
use crate::nn::ops::{self, Distances, Rows, Sight, Turns};
use crate::nn::weights::Weights;

/// A pretrained model that sees both ways.
#[derive(Debug)]
pub struct Pretrained {
    config: Config,
    device: Device,
    embeddings: Embeddings,
    /// Each once, however many layers share it.
    blocks: Vec<Block>,
    /// MPNet: what scores get, (buckets, heads).
    distance_bias: Option<Vec<f32>>,
    /// ModernBERT: behind the last block.
    final_norm: Option<Affine>,
}

/// What all layers share about a batch.
struct Places<'a> {
    batch: &'a Batch,
    /// Pieces of each row.
    lengths: Vec<usize>,
    /// Rotary positions of layers that see all, and of those with a window.
    turns: Option<[Turns; 2]>,
    /// Row of the table for each distance, from 1 − length on.
    distances: Option<Vec<u32>>,
}

impl Pretrained {
    /// Reads `config.json` and the safetensors files of a folder; any float type becomes f32.
    ///
    /// Parameters are found with and without a prefix (`bert.`), LayerNorms as `weight` and `bias`
    /// or as `gamma` and `beta`; heads are not looked at.
    /// # Errors
    /// `Error::Read` for a missing file; `Error::Values` for another kind of model and for files
    /// that are damaged; `Error::Shape` for tensors that do not fit config.json.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = config::read(folder)?;
        let weights = Weights::of_folder(folder, anchor(config.family))?;
        let parameters = Parameters { weights: &weights, config: &config, device };
        let distances = parameters.distances()?;
        let block = |i: usize| parameters.block(i, distances.as_ref());
        Ok(Self {
            embeddings: parameters.embeddings()?,
            blocks: (0..config.n_blocks()).map(block).collect::<Result<_>>()?,
            distance_bias: parameters.distance_bias()?,
            final_norm: parameters.final_norm()?,
            device: device.clone(),
            config,
        })
    }

    /// Shows `see` the embeddings and the state after each of `n_layers` layers, (tokens, width);
    /// the last one of all is behind the final norm.
    fn run(&self, batch: &Batch, n_layers: usize, see: &mut dyn FnMut(&Tensor)) -> Result<()> {
        batch.check(self.max_length(), self.config.vocab_size)?;
        let places = self.places(batch);
        let mut x = self.embed(batch)?;
        for layer in 0..n_layers {
            see(&x);
            x = self.layer(layer, &x, &places)?;
        }
        match &self.final_norm {
            Some(norm) if n_layers == self.config.blocks.len() => see(&self.normed(&x, norm)?),
            _ => see(&x),
        }
        Ok(())
    }

    fn places<'a>(&self, batch: &'a Batch) -> Places<'a> {
        let n = batch.length;
        let row_length = |row: &[bool]| row.iter().filter(|&&there| there).count();
        let turns = |frequencies: &Vec<f32>| Turns::new(frequencies, n);
        let all = 1 - n as i64..n as i64;
        let distances = match self.config.disentangled {
            Some(Disentangled { buckets, max_distance }) => {
                let bucket = |distance: i64| deberta_bucket(-distance, buckets, max_distance);
                Some(all.map(bucket).collect())
            }
            None => self.distance_bias.as_ref().map(|_| all.map(mpnet_bucket).collect()),
        };
        Places {
            batch,
            lengths: batch.attended.chunks(n).map(row_length).collect(),
            turns: self.config.rotary.as_ref().map(|r| [&r.full, &r.sliding].map(turns)),
            distances,
        }
    }

    /// Embeddings of pieces, positions and token type 0 together, as a hidden state.
    fn embed(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let Embeddings { words, positions, types, norm, projection } = &self.embeddings;
        let n = batch.rows * batch.length;
        let look_up = |table: &Tensor, ids: &[u32]| {
            table.index_select(&Tensor::from_slice(ids, n, &self.device)?, 0)
        };
        let first = self.config.first_position;
        let at: Vec<u32> = (0..n).map(|i| (first + i % batch.length) as u32).collect();
        let mut sum = look_up(words, &batch.ids)?;
        if let Some(positions) = positions {
            sum = (sum + look_up(positions, &at)?)?;
        }
        if let Some(row) = types {
            sum = sum.broadcast_add(row)?;
        }
        let x = self.normed(&sum, norm)?;
        match projection {
            Some(projection) => projection.times(&x, None),
            None => Ok(x),
        }
    }

    fn layer(&self, layer: usize, x: &Tensor, places: &Places<'_>) -> candle_core::Result<Tensor> {
        let block = &self.blocks[self.config.blocks[layer]];
        let attention = |read: &Tensor| {
            let mixed = self.attention(layer, &block.qkv.times(read, None)?, places)?;
            block.attention_out.times(&mixed, Some(x))
        };
        let mlp = |read: &Tensor, plus: &Tensor| {
            let wide = block.wide.times(read, None)?;
            let wide = match self.config.is_modern {
                true => ops::gated(&wide, self.config.activation)?,
                false => ops::activate(&wide, self.config.activation)?,
            };
            block.narrow.times(&wide, Some(plus))
        };
        let attention_norm = |x: &Tensor| match &block.attention_norm {
            Some(norm) => self.normed(x, norm),
            None => Ok(x.clone()),
        };
        if self.config.is_modern {
            let x = attention(&attention_norm(x)?)?;
            return mlp(&self.normed(&x, &block.mlp_norm)?, &x);
        }
        let x = attention_norm(&attention(x)?)?;
        self.normed(&mlp(&x, &x)?, &block.mlp_norm)
    }

    /// What tokens take from each other in a layer, heads side by side, (tokens, width).
    fn attention(
        &self,
        layer: usize,
        qkv: &Tensor,
        places: &Places<'_>,
    ) -> candle_core::Result<Tensor> {
        let Config { heads, width, score_scale, .. } = self.config;
        let block = &self.blocks[self.config.blocks[layer]];
        let Batch { rows, length, ref attended, .. } = *places.batch;
        if self.config.family.has_plain_scores() {
            return ops::attention(qkv, heads, Rows { rows, length, attended }, None);
        }
        let size = width / heads;
        let window = self.config.rotary.as_ref().and_then(|rotary| rotary.windows[layer]);
        let turns = places.turns.as_ref().map(|[full, sliding]| match window {
            Some(_) => sliding,
            None => full,
        });
        let distances = |rows| Distances {
            rows,
            heads,
            bias: self.distance_bias.as_deref(),
            vectors: block.distances.as_ref().map(|vectors| vectors.each_ref().map(Vec::as_slice)),
        };
        let sight = Sight {
            heads,
            kv_heads: heads,
            size,
            length,
            lengths: Some(&places.lengths),
            window,
            scale: score_scale,
            turns,
            norms: None,
            distances: places.distances.as_deref().map(distances),
        };
        ops::read_attention(qkv, &sight)
    }

    fn normed(&self, x: &Tensor, norm: &Affine) -> candle_core::Result<Tensor> {
        ops::layer_norm(x, &norm.weight, &norm.bias, self.config.eps)
    }
}

impl HiddenStates for Pretrained {
    fn n_layers(&self) -> usize {
        self.config.blocks.len()
    }

    fn width(&self) -> usize {
        self.config.width
    }

    fn max_length(&self) -> usize {
        self.config.max_length()
    }

    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        states_of(batch, self, layers, |n_layers, see| self.run(batch, n_layers, see))
    }
}
