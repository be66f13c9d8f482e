//! How each family calls its parameters, and how they lie in its matrices.

use super::config::{Config, Family, Norm};
use crate::error::Result;
use crate::nn::weights::{Matrix, Weights};

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

/// What a block's parts are called.
struct Names {
    /// Before a block's number.
    blocks: &'static str,
    attention_norm: &'static str,
    /// All in one matrix, or one each.
    qkv: &'static [&'static str],
    /// Weights of the norms of queries and keys, where there are such.
    head_norms: [&'static str; 2],
    out: &'static str,
    mlp_norm: &'static str,
    /// The gate, where there is one, and what it multiplies.
    wide: [&'static str; 2],
    narrow: &'static str,
    /// Whether matrices are kept as (in, out).
    is_transposed: bool,
}

impl Names {
    fn of(source: Source, family: Family) -> Self {
        match (source, family) {
            (Source::Gguf { .. }, _) => Self {
                blocks: "blk",
                attention_norm: "attn_norm",
                qkv: match family {
                    Family::Gpt2 => &["attn_qkv"],
                    _ => &["attn_q", "attn_k", "attn_v"],
                },
                head_norms: ["attn_q_norm.weight", "attn_k_norm.weight"],
                out: "attn_output",
                mlp_norm: "ffn_norm",
                wide: ["ffn_gate", "ffn_up"],
                narrow: "ffn_down",
                is_transposed: false,
            },
            (_, Family::Llama) => Self {
                blocks: "layers",
                attention_norm: "input_layernorm",
                qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                head_norms: ["self_attn.q_norm.weight", "self_attn.k_norm.weight"],
                out: "self_attn.o_proj",
                mlp_norm: "post_attention_layernorm",
                wide: ["mlp.gate_proj", "mlp.up_proj"],
                narrow: "mlp.down_proj",
                is_transposed: false,
            },
            (_, Family::Gpt2) => Self {
                blocks: "h",
                attention_norm: "ln_1",
                qkv: &["attn.c_attn"],
                head_norms: [""; 2],
                out: "attn.c_proj",
                mlp_norm: "ln_2",
                wide: ["", "mlp.c_fc"],
                narrow: "mlp.c_proj",
                is_transposed: true,
            },
            (_, Family::Opt) => Self {
                blocks: "layers",
                attention_norm: "self_attn_layer_norm",
                qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
                head_norms: [""; 2],
                out: "self_attn.out_proj",
                mlp_norm: "final_layer_norm",
                wide: ["", "fc1"],
                narrow: "fc2",
                is_transposed: false,
            },
            (_, Family::NeoX) => Self {
                blocks: "layers",
                attention_norm: "input_layernorm",
                qkv: &["attention.query_key_value"],
                head_norms: [""; 2],
                out: "attention.dense",
                mlp_norm: "post_attention_layernorm",
                wide: ["", "mlp.dense_h_to_4h"],
                narrow: "mlp.dense_4h_to_h",
                is_transposed: false,
            },
        }
    }
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
        let names = Names::of(self.source, self.config.family);
        let Config { heads, kv_heads, head_size, width, inner, qk_norm, gated, .. } = *self.config;
        let place = |name: &str| format!("{}.{i}.{name}", names.blocks);
        let part = |name: &str, n_out: usize, n_in: usize| match names.is_transposed {
            true => self.transposed(&place(name), n_out, n_in),
            false => self.weights.matrix(&place(name), n_out, n_in),
        };
        let (n_q, n_kv) = (heads * head_size, kv_heads * head_size);
        let qkv = match names.qkv {
            [all] => {
                let mut all = part(all, n_q + 2 * n_kv, width)?;
                if self.config.family == Family::NeoX {
                    all.rows = sorted_heads(&all.rows, head_size * width);
                    all.bias = all.bias.map(|bias| sorted_heads(&bias, head_size));
                }
                all
            }
            names => {
                let sizes = [n_q, n_kv, n_kv];
                let parts = names.iter().zip(sizes).map(|(name, n_out)| part(name, n_out, width));
                let mut parts: Vec<Matrix> = parts.collect::<Result<_>>()?;
                if self.source == (Source::Gguf { permuted: true }) {
                    parts[..2].iter_mut().for_each(|matrix| unpermute(matrix, head_size));
                }
                Matrix::stacked(parts)
            }
        };
        let head_norm = |name: &str| self.weights.read(&place(name), &[head_size]);
        let [query, key] = names.head_norms;
        let both = || -> Result<_> { Ok((head_norm(query)?, head_norm(key)?)) };
        let wide = names.wide.iter().skip(usize::from(!gated)).map(|name| part(name, inner, width));
        Ok(BlockValues {
            attention_norm: self.norm(&place(names.attention_norm))?,
            qkv,
            head_norms: qk_norm.then(both).transpose()?,
            out: part(names.out, width, n_q)?,
            mlp_norm: self.norm(&place(names.mlp_norm))?,
            wide: Matrix::stacked(wide.collect::<Result<_>>()?),
            narrow: part(names.narrow, width, inner)?,
        })
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
}

/// Rows (head, [query, key, value], size) to ([query, key, value], head, size); `n`: numbers of
/// one head's part.
fn sorted_heads(rows: &[f32], n: usize) -> Vec<f32> {
    (0..3).flat_map(|part| rows[part * n..].chunks(n).step_by(3)).flatten().copied().collect()
}

/// Rows of a head in pairs (2i, 2i + 1) to pairs (i, i + size/2), and its bias.
fn unpermute(matrix: &mut Matrix, head_size: usize) {
    let turn = |rows: &mut [f32], n_in: usize| {
        for head in rows.chunks_exact_mut(head_size * n_in) {
            let from = head.to_vec();
            for (i, row) in head.chunks_exact_mut(n_in).enumerate() {
                let (pair, side) = (i % (head_size / 2), i / (head_size / 2));
                row.copy_from_slice(&from[(2 * pair + side) * n_in..][..n_in]);
            }
        }
    };
    turn(&mut matrix.rows, matrix.n_in);
    if let Some(bias) = &mut matrix.bias {
        turn(bias, 1);
    }
}
