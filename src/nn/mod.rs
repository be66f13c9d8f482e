//! Language models: a BERT-style encoder trained from scratch by masked language modelling, and
//! pretrained checkpoints; the word pieces that they read.
//!
//! Tensors and their gradients are candle's; what a training step spends its time on is fused into
//! operations of our own on the CPU (`ops`). `f32` throughout.
//!
//! Training: `settings` → `examples` (windows) → `masking` → `train` (step by step, with `schedule`
//! and `seeds`), `checkpoint` keeps it, `events` is what TensorBoard reads.

pub mod adamw;
pub mod batch;
pub mod checkpoint;
pub mod config;
pub mod events;
pub mod examples;
pub mod masking;
pub mod model;
mod ops;
pub mod pretrained;
pub mod schedule;
pub mod seeds;
pub mod settings;
#[cfg(test)]
mod tests;
pub mod tokenizer;
pub mod train;
mod vocabulary;

pub use adamw::{AdamW, AdamWSettings};
pub use batch::{Batch, Targets};
pub use config::EncoderConfig;
pub use model::Encoder;
pub use pretrained::Pretrained;
pub use settings::TrainSettings;
pub use tokenizer::{Pieces, WordPieces};
