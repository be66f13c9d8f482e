//! How each family calls its parameters, and how they are read.

use candle_core::{Device, Tensor};

use super::config::{Config, Family};
use crate::error::Result;
use crate::nn::ops::Weight;
use crate::nn::weights::{Matrix, Weights};

/// What a family's parameters are called.
struct Names {
    words: &'static str,
    positions: &'static str,
    /// DistilBERT has none.
    types: Option<&'static str>,
    norm: &'static str,
    /// Makes hidden states of embeddings, where these have another width.
    projection: &'static str,
    /// Before a block's number.
    blocks: &'static str,
    qkv: [&'static str; 3],
    out: &'static str,
    attention_norm: &'static str,
    wide: &'static str,
    narrow: &'static str,
    mlp_norm: &'static str,
}

const BERT: Names = Names {
    words: "embeddings.word_embeddings.weight",
    positions: "embeddings.position_embeddings.weight",
    types: Some("embeddings.token_type_embeddings.weight"),
    norm: "embeddings.LayerNorm",
    projection: "embeddings_project",
    blocks: "encoder.layer",
    qkv: ["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    wide: "intermediate.dense",
    narrow: "output.dense",
    mlp_norm: "output.LayerNorm",
};
const DISTILBERT: Names = Names {
    types: None,
    blocks: "transformer.layer",
    qkv: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    wide: "ffn.lin1",
    narrow: "ffn.lin2",
    mlp_norm: "output_layer_norm",
    ..BERT
};
const ALBERT: Names = Names {
    projection: "encoder.embedding_hidden_mapping_in",
    blocks: "encoder.albert_layer_groups",
    qkv: ["attention.query", "attention.key", "attention.value"],
    out: "attention.dense",
    attention_norm: "attention.LayerNorm",
    wide: "ffn",
    narrow: "ffn_output",
    mlp_norm: "full_layer_layer_norm",
    ..BERT
};

fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::DistilBert => &DISTILBERT,
        Family::Albert => &ALBERT,
    }
}

/// A name that every model of the family has.
pub fn anchor(family: Family) -> &'static str {
    names(family).words
}

/// Parameters of a LayerNorm.
#[derive(Debug)]
pub struct Affine {
    pub weight: Tensor,
    pub bias: Tensor,
}

/// Parameters of the embeddings.
#[derive(Debug)]
pub struct Embeddings {
    /// (pieces, embedding width).
    pub words: Tensor,
    /// (positions, embedding width).
    pub positions: Tensor,
    /// (embedding width): that of token type 0.
    pub types: Option<Tensor>,
    pub norm: Affine,
    pub projection: Option<Weight>,
}

/// Parameters of a block.
#[derive(Debug)]
pub struct Block {
    pub qkv: Weight,
    pub attention_out: Weight,
    pub attention_norm: Affine,
    pub wide: Weight,
    pub narrow: Weight,
    pub mlp_norm: Affine,
}

/// A checkpoint's parameters, by the parts that a model asks for.
pub struct Parameters<'a> {
    pub weights: &'a Weights,
    pub config: &'a Config,
    pub device: &'a Device,
}

impl Parameters<'_> {
    pub fn embeddings(&self) -> Result<Embeddings> {
        let names = names(self.config.family);
        let Config { vocab_size, embedding_width, width, n_positions, .. } = *self.config;
        let projection = match self.config.has_projection {
            true => Some(self.matrix(names.projection, width, embedding_width)?.on(self.device)?),
            false => None,
        };
        Ok(Embeddings {
            types: names.types.map(|name| self.first_row(name)).transpose()?,
            words: self.table(names.words, vocab_size)?,
            positions: self.table(names.positions, n_positions)?,
            norm: self.norm(names.norm, embedding_width)?,
            projection,
        })
    }

    pub fn block(&self, i: usize) -> Result<Block> {
        let names = names(self.config.family);
        let place = match self.config.family {
            Family::Albert => {
                let n = self.config.blocks_per_group;
                format!("{}.{}.albert_layers.{}", names.blocks, i / n, i % n)
            }
            _ => format!("{}.{i}", names.blocks),
        };
        let name = |part: &str| format!("{place}.{part}");
        let h = self.config.width;
        let three = names.qkv.iter().map(|part| self.matrix(&name(part), h, h));
        let qkv = Matrix::stacked(three.collect::<Result<_>>()?);
        let wide = name(names.wide);
        let f = self.n_rows(&format!("{wide}.weight"), h)?;
        Ok(Block {
            qkv: qkv.on(self.device)?,
            attention_out: self.matrix(&name(names.out), h, h)?.on(self.device)?,
            attention_norm: self.norm(&name(names.attention_norm), h)?,
            wide: self.matrix(&wide, f, h)?.on(self.device)?,
            narrow: self.matrix(&name(names.narrow), h, f)?.on(self.device)?,
            mlp_norm: self.norm(&name(names.mlp_norm), h)?,
        })
    }

    /// Rows of a matrix of this width, at least one.
    fn n_rows(&self, name: &str, width: usize) -> Result<usize> {
        let expected = format!("[n, {width}]");
        match *self.weights.shape(name, &expected)? {
            [rows, found] if rows > 0 && found == width => Ok(rows),
            ref other => Err(self.weights.is_not(name, &expected, other)),
        }
    }

    /// (rows, embedding width).
    fn table(&self, name: &str, rows: usize) -> Result<Tensor> {
        let shape = (rows, self.config.embedding_width);
        let values = self.weights.read(name, &[shape.0, shape.1])?;
        Ok(Tensor::from_vec(values, shape, self.device)?)
    }

    /// Row 0 of a table: texts are of token type 0.
    fn first_row(&self, name: &str) -> Result<Tensor> {
        let rows = self.n_rows(name, self.config.embedding_width)?;
        Ok(self.table(name, rows)?.get(0)?)
    }

    /// A LayerNorm, whose parameters old checkpoints call gamma and beta.
    fn norm(&self, name: &str, width: usize) -> Result<Affine> {
        let is_old = self.weights.has(&format!("{name}.gamma"));
        let (weight, bias) = if is_old { ("gamma", "beta") } else { ("weight", "bias") };
        let vector = |part: &str| -> Result<Tensor> {
            let values = self.weights.read(&format!("{name}.{part}"), &[width])?;
            Ok(Tensor::from_vec(values, width, self.device)?)
        };
        Ok(Affine { weight: vector(weight)?, bias: vector(bias)? })
    }

    /// A matrix (out, in) with its bias.
    fn matrix(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let rows = self.weights.read(&format!("{name}.weight"), &[n_out, n_in])?;
        let bias = Some(self.weights.read(&format!("{name}.bias"), &[n_out])?);
        Ok(Matrix { rows, n_in, bias })
    }
}
