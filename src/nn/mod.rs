//! Language models: word pieces, and the networks that read them.

pub mod tokenizer;
mod vocabulary;
