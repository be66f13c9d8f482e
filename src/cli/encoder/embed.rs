//! `voxelcast encoder embed`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::Output;
use crate::encoder::{EmbedJob, embed};
use crate::error::Result;
use crate::nn::Device;

/// `voxelcast encoder embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    /// Folder of a trained encoder
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Plain text, UTF-8
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Hidden state: 0 embeddings, 1 behind the first block, … [default: last]
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// Result, (n_tokens, hidden) f32 .npy, the two special ones included
    #[arg(long, value_name = "X.npy")]
    pub out: PathBuf,
}

pub fn embed_command(args: &EmbedArgs, device: &Device) -> Result<Output> {
    let EmbedArgs { model, text, layer, out } = args;
    let (n_tokens, width) = embed(&EmbedJob { model, text, layer: *layer, device, out })?;
    let document = json!({
        "schema": "voxelcast.encoder_embed/1", "out": out, "n_tokens": n_tokens, "hidden": width,
    });
    let text = format!("{n_tokens} tokens, {width} columns\n{}\n", out.display());
    Ok(Output { document, text })
}
