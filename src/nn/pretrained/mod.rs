//! Pretrained checkpoints of the BERT family: word pieces in, hidden states of every layer out.
//!
//! `config` turns a config.json into one `Config` that cannot be wrong; `layout` knows how
//! each family calls its parameters, `distances` which row of a table a distance has; `model`
//! computes; `hidden_states` is what every language model offers.
//!
//! ```text
//! x = norm(words + positions + types) (· projection + bias)
//! x = norm(x + attention(x)); x = norm(x + mlp(x))                  post-norm
//! x = x + attention(norm(x)); x = x + mlp(norm(x))                  pre-norm (ModernBERT)
//! ```
//! Sources: Devlin et al. 2019 (arXiv:1810.04805); ELECTRA, Clark et al. 2020 (arXiv:2003.10555);
//! ALBERT, Lan et al. 2020 (arXiv:1909.11942); MPNet, Song et al. 2020 (arXiv:2004.09297);
//! ModernBERT, Warner et al. 2024 (arXiv:2412.13663); DeBERTa, He et al. 2021 (arXiv:2006.03654,
//! v3: arXiv:2111.09543).
//!
//! candle-transformers has some of these models, but gives the last layer only, so the blocks are
//! put together here out of the encoder's own operations (`ops`).

mod config;
mod distances;
mod hidden_states;
mod layout;
mod model;

pub(super) use config::{MODEL_TYPES, shape};
pub(super) use hidden_states::states_of;
pub use hidden_states::{HiddenStates, ModelShape};
pub use model::Pretrained;
