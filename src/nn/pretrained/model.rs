//! A BERT-like model: pieces in, hidden states of every layer out.

use std::path::Path;

use candle_core::{Device, Tensor};

use super::config::{self, Config};
use super::hidden_states::{HiddenStates, states_of};
use super::layout::{Affine, Block, Embeddings, Parameters, anchor};
use crate::error::Result;
use crate::nn::batch::Batch;
use crate::nn::ops::{self, Rows};
use crate::nn::weights::Weights;

/// A pretrained model that sees both ways.
#[derive(Debug)]
pub struct Pretrained {
    config: Config,
    device: Device,
    embeddings: Embeddings,
    /// Each once, however many layers share it.
    blocks: Vec<Block>,
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
        Ok(Self {
            embeddings: parameters.embeddings()?,
            blocks: (0..config.n_blocks()).map(|i| parameters.block(i)).collect::<Result<_>>()?,
            device: device.clone(),
            config,
        })
    }

    /// Shows `see` the embeddings and the state after each of `n_layers` layers, (tokens, width).
    fn run(&self, batch: &Batch, n_layers: usize, see: &mut dyn FnMut(&Tensor)) -> Result<()> {
        batch.check(self.max_length(), self.config.vocab_size)?;
        let mut x = self.embed(batch)?;
        see(&x);
        for &block in &self.config.blocks[..n_layers] {
            x = self.block(&self.blocks[block], &x, batch)?;
            see(&x);
        }
        Ok(())
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
        let mut sum = (look_up(words, &batch.ids)? + look_up(positions, &at)?)?;
        if let Some(row) = types {
            sum = sum.broadcast_add(row)?;
        }
        let x = self.normed(&sum, norm)?;
        match projection {
            Some(projection) => projection.times(&x, None),
            None => Ok(x),
        }
    }

    fn block(&self, block: &Block, x: &Tensor, batch: &Batch) -> candle_core::Result<Tensor> {
        let Config { heads, activation, .. } = self.config;
        let rows = Rows { rows: batch.rows, length: batch.length, attended: &batch.attended };
        let mixed = ops::attention(&block.qkv.times(x, None)?, heads, rows, None)?;
        let x = self.normed(&block.attention_out.times(&mixed, Some(x))?, &block.attention_norm)?;
        let wide = ops::activate(&block.wide.times(&x, None)?, activation)?;
        self.normed(&block.narrow.times(&wide, Some(&x))?, &block.mlp_norm)
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
