//! How each family calls its parameters, and how they lie in its matrices.

use super::config::{Config, Family, Norm};
use super::weights::Weights;
use crate::error::Result;

/// A matrix (out, in), row by row, and its bias.
pub struct Matrix {
    pub rows: Vec<f32>,
    pub n_in: usize,
    pub bias: Option<Vec<f32>>,
}

/// Parameters of a norm.
pub struct NormValues {
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
}

/// Parameters of a block.
pub struct BlockValues {
    /// Of what attention reads.
    pub attention_norm: NormValues,
    /// Queries, keys and values below each other.
    pub qkv: Matrix,
    /// RMSNorms of each query and key.
    pub head_norms: Option<(Vec<f32>, Vec<f32>)>,
    pub out: Matrix,
    /// Of what the feed-forward reads.
    pub mlp_norm: NormValues,
    /// Gate and up below each other, or up alone.
    pub wide: Matrix,
    pub narrow: Matrix,
}

/// Where a model's files came from: names and some arrangements differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Safetensors,
    Gguf {
        /// Rows of queries and keys are in the order of pairs (2i, 2i + 1), as Llama's own code
        /// turns them (ggml-org/llama.cpp: convert_hf_to_gguf.py: LlamaModel.permute).
        permuted: bool,
    },
}

/// Parameters by the parts that a model asks for.
pub struct Layout<'a> {
    pub weights: &'a Weights,
    pub config: &'a Config,
    pub source: Source,
}

/// A name that every model of the family has.
pub fn anchor(family: Family) -> &'static str {
    match family {
        Family::Llama | Family::Opt => "embed_tokens.weight",
        Family::Gpt2 => "wte.weight",
        Family::NeoX => "embed_in.weight",
    }
}

impl Layout<'_> {
    /// Vectors of pieces, (pieces, width).
    pub fn embeddings(&self) -> Result<Vec<f32>> {
        let name = match self.source {
            Source::Gguf { .. } => "token_embd.weight",
            Source::Safetensors => anchor(self.config.family),
        };
        self.weights.read(name, &[self.config.vocab_size, self.config.width])
    }

    /// Vectors of places, (places, width).
    pub fn positions(&self, first: usize) -> Result<Vec<f32>> {
        let name = match (self.source, self.config.family) {
            (Source::Gguf { .. }, _) => "position_embd.weight",
            (_, Family::Opt) => "embed_positions.weight",
            _ => "wpe.weight",
        };
        self.weights.read(name, &[self.config.max_length + first, self.config.width])
    }

    /// The norm behind the last block.
    pub fn final_norm(&self) -> Result<NormValues> {
        self.norm(match (self.source, self.config.family) {
            (Source::Gguf { .. }, _) => "output_norm",
            (_, Family::Llama) => "norm",
            (_, Family::Gpt2) => "ln_f",
            (_, Family::Opt | Family::NeoX) => "final_layer_norm",
        })
    }

    /// A block's parameters.
    pub fn block(&self, i: usize) -> Result<BlockValues> {
        match (self.source, self.config.family) {
            (Source::Gguf { .. }, Family::Gpt2) => self.gguf_gpt2(&format!("blk.{i}")),
            (Source::Gguf { permuted }, _) => self.gguf_llama(&format!("blk.{i}"), permuted),
            (_, Family::Llama) => self.llama(&format!("layers.{i}")),
            (_, Family::Gpt2) => self.gpt2(&format!("h.{i}")),
            (_, Family::Opt) => self.opt(&format!("layers.{i}")),
            (_, Family::NeoX) => self.neox(&format!("layers.{i}")),
        }
    }

    fn norm(&self, name: &str) -> Result<NormValues> {
        let width = [self.config.width];
        let mut weight = self.weights.read(&format!("{name}.weight"), &width)?;
        let bias = match self.config.norm {
            Norm::Rms { plus, .. } => {
                weight.iter_mut().for_each(|weight| *weight += plus);
                None
            }
            Norm::Layer { .. } => Some(self.weights.read(&format!("{name}.bias"), &width)?),
        };
        Ok(NormValues { weight, bias })
    }

    /// A matrix (out, in), with the bias that is there.
    fn matrix(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let rows = self.weights.read(&format!("{name}.weight"), &[n_out, n_in])?;
        let bias = format!("{name}.bias");
        let has_bias = self.weights.has(&bias);
        let bias = has_bias.then(|| self.weights.read(&bias, &[n_out])).transpose()?;
        Ok(Matrix { rows, n_in, bias })
    }

    /// A matrix that is kept as (in, out).
    fn transposed(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrix> {
        let columns = self.weights.read(&format!("{name}.weight"), &[n_in, n_out])?;
        let mut rows = Vec::with_capacity(columns.len());
        for out in 0..n_out {
            rows.extend(columns[out..].iter().step_by(n_out));
        }
        let bias = Some(self.weights.read(&format!("{name}.bias"), &[n_out])?);
        Ok(Matrix { rows, n_in, bias })
    }

    /// Numbers of queries, and of keys or values.
    fn head_widths(&self) -> (usize, usize) {
        let Config { heads, kv_heads, head_size, .. } = *self.config;
        (heads * head_size, kv_heads * head_size)
    }

    fn llama(&self, place: &str) -> Result<BlockValues> {
        let Config { width, inner, head_size, qk_norm, .. } = *self.config;
        let (n_q, n_kv) = self.head_widths();
        let part = |name: &str, n_out, n_in| self.matrix(&format!("{place}.{name}"), n_out, n_in);
        let head_norm = |name: &str| {
            self.weights.read(&format!("{place}.self_attn.{name}.weight"), &[head_size])
        };
        let both = || -> Result<_> { Ok((head_norm("q_norm")?, head_norm("k_norm")?)) };
        let head_norms = qk_norm.then(both).transpose()?;
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.input_layernorm"))?,
            qkv: stacked([
                part("self_attn.q_proj", n_q, width)?,
                part("self_attn.k_proj", n_kv, width)?,
                part("self_attn.v_proj", n_kv, width)?,
            ]),
            head_norms,
            out: part("self_attn.o_proj", width, n_q)?,
            mlp_norm: self.norm(&format!("{place}.post_attention_layernorm"))?,
            wide: stacked([
                part("mlp.gate_proj", inner, width)?,
                part("mlp.up_proj", inner, width)?,
            ]),
            narrow: part("mlp.down_proj", width, inner)?,
        })
    }

    fn gguf_llama(&self, place: &str, permuted: bool) -> Result<BlockValues> {
        let Config { width, inner, head_size, qk_norm, .. } = *self.config;
        let (n_q, n_kv) = self.head_widths();
        let part = |name: &str, n_out, n_in| self.matrix(&format!("{place}.{name}"), n_out, n_in);
        let turned = |name: &str, n_out| -> Result<Matrix> {
            let mut matrix = part(name, n_out, width)?;
            if permuted {
                unpermute(&mut matrix.rows, head_size, width);
                if let Some(bias) = &mut matrix.bias {
                    unpermute(bias, head_size, 1);
                }
            }
            Ok(matrix)
        };
        let head_norm =
            |name: &str| self.weights.read(&format!("{place}.{name}.weight"), &[head_size]);
        let both = || -> Result<_> { Ok((head_norm("attn_q_norm")?, head_norm("attn_k_norm")?)) };
        let head_norms = qk_norm.then(both).transpose()?;
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.attn_norm"))?,
            qkv: stacked([
                turned("attn_q", n_q)?,
                turned("attn_k", n_kv)?,
                part("attn_v", n_kv, width)?,
            ]),
            head_norms,
            out: part("attn_output", width, n_q)?,
            mlp_norm: self.norm(&format!("{place}.ffn_norm"))?,
            wide: stacked([part("ffn_gate", inner, width)?, part("ffn_up", inner, width)?]),
            narrow: part("ffn_down", width, inner)?,
        })
    }

    fn gpt2(&self, place: &str) -> Result<BlockValues> {
        let Config { width, inner, .. } = *self.config;
        let part =
            |name: &str, n_out, n_in| self.transposed(&format!("{place}.{name}"), n_out, n_in);
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.ln_1"))?,
            qkv: part("attn.c_attn", 3 * width, width)?,
            head_norms: None,
            out: part("attn.c_proj", width, width)?,
            mlp_norm: self.norm(&format!("{place}.ln_2"))?,
            wide: part("mlp.c_fc", inner, width)?,
            narrow: part("mlp.c_proj", width, inner)?,
        })
    }

    fn gguf_gpt2(&self, place: &str) -> Result<BlockValues> {
        let Config { width, inner, .. } = *self.config;
        let part = |name: &str, n_out, n_in| self.matrix(&format!("{place}.{name}"), n_out, n_in);
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.attn_norm"))?,
            qkv: part("attn_qkv", 3 * width, width)?,
            head_norms: None,
            out: part("attn_output", width, width)?,
            mlp_norm: self.norm(&format!("{place}.ffn_norm"))?,
            wide: part("ffn_up", inner, width)?,
            narrow: part("ffn_down", width, inner)?,
        })
    }

    fn opt(&self, place: &str) -> Result<BlockValues> {
        let Config { width, inner, .. } = *self.config;
        let part = |name: &str, n_out, n_in| self.matrix(&format!("{place}.{name}"), n_out, n_in);
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.self_attn_layer_norm"))?,
            qkv: stacked([
                part("self_attn.q_proj", width, width)?,
                part("self_attn.k_proj", width, width)?,
                part("self_attn.v_proj", width, width)?,
            ]),
            head_norms: None,
            out: part("self_attn.out_proj", width, width)?,
            mlp_norm: self.norm(&format!("{place}.final_layer_norm"))?,
            wide: part("fc1", inner, width)?,
            narrow: part("fc2", width, inner)?,
        })
    }

    fn neox(&self, place: &str) -> Result<BlockValues> {
        let Config { width, inner, head_size, .. } = *self.config;
        let part = |name: &str, n_out, n_in| self.matrix(&format!("{place}.{name}"), n_out, n_in);
        let mut qkv = part("attention.query_key_value", 3 * width, width)?;
        qkv.rows = sorted_heads(&qkv.rows, head_size * width);
        qkv.bias = qkv.bias.map(|bias| sorted_heads(&bias, head_size));
        Ok(BlockValues {
            attention_norm: self.norm(&format!("{place}.input_layernorm"))?,
            qkv,
            head_norms: None,
            out: part("attention.dense", width, width)?,
            mlp_norm: self.norm(&format!("{place}.post_attention_layernorm"))?,
            wide: part("mlp.dense_h_to_4h", inner, width)?,
            narrow: part("mlp.dense_4h_to_h", width, inner)?,
        })
    }
}

/// Matrices of the same input below each other; a missing bias is zeros where others have one.
fn stacked<const N: usize>(parts: [Matrix; N]) -> Matrix {
    let n_in = parts.iter().map(|part| part.n_in).max().unwrap_or(1);
    let has_bias = parts.iter().any(|part| part.bias.is_some());
    let mut all = Matrix { rows: Vec::new(), n_in, bias: has_bias.then(Vec::new) };
    for part in parts {
        let n_out = part.rows.len() / n_in;
        all.rows.extend(part.rows);
        if let Some(bias) = &mut all.bias {
            bias.extend(part.bias.unwrap_or_else(|| vec![0.0; n_out]));
        }
    }
    all
}

/// Rows (head, [query, key, value], size) to ([query, key, value], head, size); `n`: numbers of
/// one head's part.
fn sorted_heads(rows: &[f32], n: usize) -> Vec<f32> {
    (0..3).flat_map(|part| rows[part * n..].chunks(n).step_by(3)).flatten().copied().collect()
}

/// Rows of a head in pairs (2i, 2i + 1) to pairs (i, i + size/2).
fn unpermute(rows: &mut [f32], head_size: usize, n_in: usize) {
    for head in rows.chunks_exact_mut(head_size * n_in) {
        let from = head.to_vec();
        for (i, row) in head.chunks_exact_mut(n_in).enumerate() {
            let (pair, side) = (i % (head_size / 2), i / (head_size / 2));
            row.copy_from_slice(&from[(2 * pair + side) * n_in..][..n_in]);
        }
    }
}
