//! Language models: a BERT-style encoder trained from scratch by masked language modelling, and
//! pretrained checkpoints, BERT-like (`pretrained`) or causal (`causal`); the pieces of words
//! (`tokenizer`) or of a whole text (`text_pieces`) that they read. `open` finds out which kind a
//! folder or a GGUF file is.
//!
//! Tensors and their gradients are candle's; what a training step spends its time on is fused into
//! operations of our own on the CPU (`ops`). `f32` throughout.
//!
//! Training: `settings` → `examples` (windows) → `masking` → `train` (step by step, with `schedule`
//! and `seeds`), `checkpoint` keeps it, `events` is what TensorBoard reads.
//!
//! Without the feature `language` only settings and plain data are left: no tensor, no tokenizer.

#[cfg(feature = "language")]
pub mod adamw;
pub mod batch;
#[cfg(feature = "cuda")]
#[cfg(test)]
mod card_tests;
#[cfg(feature = "language")]
pub mod causal;
#[cfg(feature = "language")]
pub mod checkpoint;
pub mod config;
#[cfg(feature = "language")]
mod encoding;
pub mod events;
pub mod examples;
#[cfg(feature = "language")]
mod files;
#[cfg(feature = "language")]
pub mod gguf;
pub mod masking;
#[cfg(feature = "language")]
pub mod model;
#[cfg(feature = "language")]
mod open;
#[cfg(feature = "language")]
mod ops;
#[cfg(feature = "language")]
pub mod pretrained;
pub mod schedule;
pub mod seeds;
pub mod settings;
#[cfg(feature = "language")]
#[cfg(test)]
mod tests;
#[cfg(feature = "language")]
pub mod text_pieces;
#[cfg(feature = "language")]
pub mod tokenizer;
#[cfg(feature = "language")]
pub mod train;
#[cfg(feature = "language")]
mod vocabulary;
#[cfg(feature = "language")]
mod weights;

/// Where language models compute.
#[cfg(feature = "language")]
pub use candle_core::Device;

/// Where language models would compute, in a build that has none.
#[cfg(not(feature = "language"))]
#[derive(Debug, Clone)]
pub enum Device {
    /// On the CPU.
    Cpu,
}

#[cfg(feature = "language")]
pub use adamw::{AdamW, AdamWSettings};
pub use batch::{Batch, Targets};
pub use config::EncoderConfig;
#[cfg(feature = "language")]
pub use model::Encoder;
#[cfg(feature = "language")]
pub use open::{open, open_bytes, shape};
#[cfg(feature = "language")]
pub use pretrained::{ModelShape, Pretrained};
pub use settings::TrainSettings;
#[cfg(feature = "language")]
pub use text_pieces::TextPieces;
#[cfg(feature = "language")]
pub use tokenizer::{Pieces, WordPieces};
