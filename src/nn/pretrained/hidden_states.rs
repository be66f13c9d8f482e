//! What every language model offers: hidden states of the layers that are asked for.

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::nn::batch::Batch;
use crate::nn::model::Encoder;

/// A language model that says what it makes of word pieces, layer by layer.
pub trait HiddenStates: Send + Sync {
    /// Number of layers above the embeddings: hidden states are 0 to this.
    fn n_layers(&self) -> usize;
    /// Values of a hidden state.
    fn width(&self) -> usize;
    /// Most pieces of a row, special tokens included.
    fn max_length(&self) -> usize;
    /// Number of pieces it knows.
    fn vocab_size(&self) -> usize;
    /// Hidden states `layers`, in their order, (rows, length, width) each, from one pass and without
    /// dropout; 0 is the embeddings.
    /// # Errors
    /// `Error::Shape` for a batch, `Error::Usage` for a layer that does not fit the model.
    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>>;
}

impl HiddenStates for Encoder {
    fn n_layers(&self) -> usize {
        self.config().num_hidden_layers
    }

    fn width(&self) -> usize {
        self.config().hidden_size
    }

    fn max_length(&self) -> usize {
        self.config().max_position_embeddings
    }

    fn vocab_size(&self) -> usize {
        self.config().vocab_size
    }

    fn states(&self, batch: &Batch, layers: &[usize]) -> Result<Vec<Tensor>> {
        last_of(layers, self.n_layers())?;
        let states = self.hidden_states(batch)?;
        Ok(layers.iter().map(|&layer| states[layer].detach()).collect())
    }
}

/// The highest of `layers`, none of which may be above `n_layers`.
fn last_of(layers: &[usize], n_layers: usize) -> Result<usize> {
    let last = layers.iter().copied().max().unwrap_or(0);
    match last > n_layers {
        true => Err(Error::Usage {
            place: "layer".into(),
            problem: format!("expected 0 (embeddings) to {n_layers}, got {last}"),
            hint: "layers are counted as in hidden_states of transformers".into(),
        }),
        false => Ok(last),
    }
}

/// The states of `layers` that `run` shows on its way through so many blocks, (tokens, width) each
/// and the embeddings first.
pub fn states_of(
    batch: &Batch,
    model: &dyn HiddenStates,
    layers: &[usize],
    run: impl FnOnce(usize, &mut dyn FnMut(&Tensor)) -> Result<()>,
) -> Result<Vec<Tensor>> {
    let last = last_of(layers, model.n_layers())?;
    let mut states = vec![None; last + 1];
    let mut layer = 0;
    run(last, &mut |state| {
        if layers.contains(&layer) {
            states[layer] = Some(state.clone());
        }
        layer += 1;
    })?;
    let shape = (batch.rows, batch.length, model.width());
    let kept = layers.iter().filter_map(|&layer| states[layer].as_ref());
    kept.map(|state| Ok(state.reshape(shape)?)).collect()
}

/// What can be known of a model's size without opening its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelShape {
    /// Layers above the embeddings.
    pub n_layers: usize,
    /// Values of a hidden state.
    pub width: usize,
    /// Most pieces of a row, special tokens included.
    pub max_length: usize,
    /// Whether a piece's state knows nothing of the pieces behind it.
    pub is_causal: bool,
}
