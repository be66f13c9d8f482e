//! Language models: a BERT-style encoder trained from scratch by masked language modelling.
//!
//! Tensors and their gradients are candle's; what a training step spends its time on is fused into
//! operations of our own on the CPU (`ops`). `f32` throughout.

pub mod adamw;
pub mod batch;
pub mod config;
pub mod model;
mod ops;
#[cfg(test)]
mod tests;
pub mod tokenizer;
mod vocabulary;

pub use adamw::{AdamW, AdamWSettings};
pub use batch::{Batch, Targets};
pub use config::EncoderConfig;
pub use model::Encoder;
