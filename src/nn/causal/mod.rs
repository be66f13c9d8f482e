//! Causal language models: one decoder block with switches.
//!
//! `config` turns a config.json, and `gguf_config` a GGUF file's metadata, into one [`Config`] that
//! cannot be wrong; `nn::weights` finds parameters by name in safetensors files or in a GGUF file;
//! `layout` knows how each family calls and arranges them; `model` computes.
//!
//! ```text
//! x = embedding (· √width) (+ position)
//! x = x + attention(norm(x)); x = x + mlp(norm(x))                  serial (Llama, GPT-2, …)
//! x = x + attention(norm₁(x)) + mlp(norm₂(x))                       parallel (GPT-NeoX)
//! x = norm(x + attention(x)); x = norm(x + mlp(x))                  post-norm (OPT-350M)
//! ```
//! Sources: rotary positions, Su et al. 2021 (arXiv:2104.09864); RMSNorm, Zhang & Sennrich 2019
//! (arXiv:1910.07467); grouped heads, Ainslie et al. 2023 (arXiv:2305.13245); gated MLP, Shazeer
//! 2020 (arXiv:2002.05202); parallel residual, Wang & Komatsuzaki 2021 (GPT-J).

mod config;
mod gguf_config;
mod layout;
mod model;

pub use config::{Config, MODEL_TYPES, is_known};
pub use model::{CausalModel, gguf_shape, shape};
