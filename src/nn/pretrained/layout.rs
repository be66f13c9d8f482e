//! How each family calls its parameters, and how they are read.

use candle_core::{Device, Tensor};

use super::config::{Config, Disentangled, Family};
use super::distances::MPNET_BUCKETS;
use crate::error::Result;
use crate::nn::ops::{self, Weight};
use crate::nn::weights::{Matrix, Weights};

/// What a family's parameters are called.
struct Names {
    words: &'static str,
    positions: Option<&'static str>,
    types: Option<&'static str>,
    norm: &'static str,
    /// Makes hidden states of embeddings, where these have another width.
    projection: &'static str,
    /// Before a block's number.
    blocks: &'static str,
    /// All in one matrix, or one each.
    qkv: &'static [&'static str],
    out: &'static str,
    attention_norm: &'static str,
    wide: &'static str,
    narrow: &'static str,
    mlp_norm: &'static str,
}

const BERT: Names = Names {
    words: "embeddings.word_embeddings.weight",
    positions: Some("embeddings.position_embeddings.weight"),
    types: Some("embeddings.token_type_embeddings.weight"),
    norm: "embeddings.LayerNorm",
    projection: "embeddings_project",
    blocks: "encoder.layer",
    qkv: &["attention.self.query", "attention.self.key", "attention.self.value"],
    out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    wide: "intermediate.dense",
    narrow: "output.dense",
    mlp_norm: "output.LayerNorm",
};
const DISTILBERT: Names = Names {
    types: None,
    blocks: "transformer.layer",
    qkv: &["attention.q_lin", "attention.k_lin", "attention.v_lin"],
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
    qkv: &["attention.query", "attention.key", "attention.value"],
    out: "attention.dense",
    attention_norm: "attention.LayerNorm",
    wide: "ffn",
    narrow: "ffn_output",
    mlp_norm: "full_layer_layer_norm",
    ..BERT
};

const MPNET: Names = Names {
    types: None,
    qkv: &["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    out: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..BERT
};
const DEBERTA: Names = Names {
    positions: None,
    types: None,
    qkv: &["attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj"],
    ..BERT
};
const MODERNBERT: Names = Names {
    words: "embeddings.tok_embeddings.weight",
    positions: None,
    types: None,
    norm: "embeddings.norm",
    projection: "",
    blocks: "layers",
    qkv: &["attn.Wqkv"],
    out: "attn.Wo",
    attention_norm: "attn_norm",
    wide: "mlp.Wi",
    narrow: "mlp.Wo",
    mlp_norm: "mlp_norm",
};

fn names(family: Family) -> &'static Names {
    match family {
        Family::Bert => &BERT,
        Family::DistilBert => &DISTILBERT,
        Family::Albert => &ALBERT,
        Family::Mpnet => &MPNET,
        Family::ModernBert => &MODERNBERT,
        Family::Deberta => &DEBERTA,
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
    pub positions: Option<Tensor>,
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
    /// ModernBERT's first block has none.
    pub attention_norm: Option<Affine>,
    pub wide: Weight,
    pub narrow: Weight,
    pub mlp_norm: Affine,
    /// DeBERTa: keys and queries of distances, (2 · buckets, width) each.
    pub distances: Option<[Vec<f32>; 2]>,
}

/// A checkpoint's parameters, by the parts that a model asks for.
pub struct Parameters<'a> {
    pub weights: &'a Weights,
    pub config: &'a Config,
    pub device: &'a Device,
}

impl Parameters<'_> {
    /// MPNet's numbers for each bucket and head, (buckets, heads).
    pub fn distance_bias(&self) -> Result<Option<Vec<f32>>> {
        let shape = [MPNET_BUCKETS, self.config.heads];
        let name = "encoder.relative_attention_bias.weight";
        let is_there = self.config.family == Family::Mpnet;
        is_there.then(|| self.weights.read(name, &shape)).transpose()
    }

    /// The norm behind the last block.
    pub fn final_norm(&self) -> Result<Option<Affine>> {
        let width = self.config.width;
        self.config.is_modern.then(|| self.norm("final_norm", width)).transpose()
    }

    pub fn embeddings(&self) -> Result<Embeddings> {
        let names = names(self.config.family);
        let Config { vocab_size, embedding_width, width, n_positions, .. } = *self.config;
        let projection = match self.config.has_projection {
            true => {
                let matrix = self.matrix(names.projection, (width, embedding_width), true)?;
                Some(matrix.on(self.device)?)
            }
            false => None,
        };
        Ok(Embeddings {
            types: names.types.map(|name| self.first_row(name)).transpose()?,
            words: self.table(names.words, vocab_size)?,
            positions: names.positions.map(|name| self.table(name, n_positions)).transpose()?,
            norm: self.norm(names.norm, embedding_width)?,
            projection,
        })
    }

    /// DeBERTa's vectors of distances, (2 · buckets, width), which every block reads.
    pub fn distances(&self) -> Result<Option<Tensor>> {
        let Some(Disentangled { buckets, .. }) = self.config.disentangled else { return Ok(None) };
        let table = self.table("encoder.rel_embeddings.weight", 2 * buckets)?;
        let norm = self.norm("encoder.LayerNorm", self.config.width)?;
        Ok(Some(ops::layer_norm(&table, &norm.weight, &norm.bias, self.config.eps)?))
    }

    /// `distances`: of [`Self::distances`].
    pub fn block(&self, i: usize, distances: Option<&Tensor>) -> Result<Block> {
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
        let biases = self.config.has_bias;
        let shape = (3 * h / names.qkv.len(), h);
        let qkv = names.qkv.iter().map(|part| self.matrix(&name(part), shape, biases.attention));
        let qkv = Matrix::stacked(qkv.collect::<Result<_>>()?);
        let wide = name(names.wide);
        let n_wide = self.n_rows(&format!("{wide}.weight"), h)?;
        // Two halves, one of which multiplies the other.
        let inner = if self.config.is_modern { n_wide / 2 } else { n_wide };
        let has_attention_norm = !self.config.is_modern || i > 0;
        let attention_norm =
            has_attention_norm.then(|| self.norm(&name(names.attention_norm), h)).transpose()?;
        let on_device = |part: &str, shape: (usize, usize), has_bias: bool| -> Result<Weight> {
            Ok(self.matrix(&name(part), shape, has_bias)?.on(self.device)?)
        };
        // Distances go through the matrices of the tokens' own keys and queries.
        let of_distances = |x: &Tensor| -> Result<[Vec<f32>; 2]> {
            let of = |part: &str| -> Result<Vec<f32>> {
                let found = on_device(part, (h, h), biases.attention)?.times(x, None)?;
                Ok(found.flatten_all()?.to_vec1()?)
            };
            Ok([of(DEBERTA.qkv[1])?, of(DEBERTA.qkv[0])?])
        };
        Ok(Block {
            distances: distances.map(of_distances).transpose()?,
            qkv: qkv.on(self.device)?,
            attention_out: on_device(names.out, (h, h), biases.attention)?,
            attention_norm,
            wide: on_device(names.wide, (n_wide, h), biases.mlp)?,
            narrow: on_device(names.narrow, (h, inner), biases.mlp)?,
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
        let read = |part: &str| self.weights.read(&format!("{name}.{part}"), &[width]);
        let bias = match self.config.has_bias.norm {
            true => read(bias)?,
            false => vec![0.0; width],
        };
        let vector = |values: Vec<f32>| Tensor::from_vec(values, width, self.device);
        Ok(Affine { weight: vector(read(weight)?)?, bias: vector(bias)? })
    }

    /// A matrix (out, in), with its bias where it has one.
    fn matrix(&self, name: &str, shape: (usize, usize), has_bias: bool) -> Result<Matrix> {
        let (n_out, n_in) = shape;
        let rows = self.weights.read(&format!("{name}.weight"), &[n_out, n_in])?;
        let bias = has_bias.then(|| self.weights.read(&format!("{name}.bias"), &[n_out]));
        Ok(Matrix { rows, n_in, bias: bias.transpose()? })
    }
}
