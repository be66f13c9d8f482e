//! `voxelcast encoder embed`: hidden states of a text's first window.

use std::path::Path;

use candle_core::Device;

use crate::error::{Error, Result};
use crate::io::input::open_file;
use crate::io::npy;
use crate::nn::tokenizer::WordPieces;
use crate::nn::{Batch, Encoder};

/// What is to be embedded.
#[derive(Debug, Clone, Copy)]
pub struct EmbedJob<'a> {
    /// A trained encoder's folder.
    pub model: &'a Path,
    /// A plain text file.
    pub text: &'a Path,
    /// Hidden state: 0 the embeddings, 1 behind the first block, …; none: the last.
    pub layer: Option<usize>,
    /// Where to compute.
    pub device: &'a Device,
    /// `(n_tokens, hidden)` f32 .npy, the two special ones included.
    pub out: &'a Path,
}

/// Writes hidden states of the first window, without dropout; returns tokens and width.
///
/// # Errors
/// Those of the files; `Error::Usage` for a layer that is not there.
pub fn embed(job: &EmbedJob<'_>) -> Result<(usize, usize)> {
    let encoder = Encoder::load(job.model, job.device)?;
    let tokenizer = WordPieces::read(&job.model.join("tokenizer.json"))?;
    let text = open_file(job.text)
        .and_then(std::io::read_to_string)
        .map_err(|source| Error::Read { path: job.text.to_owned(), source })?;
    let mut ids = tokenizer.text(&text)?;
    let longest = encoder.config().max_position_embeddings;
    if ids.len() > longest {
        ids.truncate(longest - 1);
        ids.push(tokenizer.sep());
    }
    let n_tokens = ids.len();
    let states = encoder.hidden_states(&Batch::padded(&[ids], tokenizer.pad()))?;
    let layer = job.layer.unwrap_or(states.len() - 1);
    let state = states.get(layer).ok_or_else(|| Error::Usage {
        place: "--layer".into(),
        problem: format!("expected 0 to {}, got {layer}", states.len() - 1),
        hint: "0 is the embeddings, the last is behind the final LayerNorm".into(),
    })?;
    let width = encoder.config().hidden_size;
    npy::write(job.out, &[n_tokens, width], &state.flatten_all()?.to_vec1::<f32>()?)?;
    Ok((n_tokens, width))
}
