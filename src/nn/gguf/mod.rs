//! GGUF files: metadata, where tensors lie, and the tokenizer inside.
//!
//! Layout (ggml-org/ggml: docs/gguf.md), little-endian: `GGUF`, version, number of tensors, number
//! of keys; keys with their values; name, dimensions (fastest first), encoding and offset of each
//! tensor; padding to the alignment; the data. Nothing is allocated that the file is too short for.

mod reader;
mod tokenizer;

pub use reader::{Entry, Gguf, Meta, read};
pub use tokenizer::tokenizer;
