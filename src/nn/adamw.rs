//! AdamW: moments of the gradient, and weight decay apart from them.
//!
//! [Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2], as `torch.optim.AdamW` has it:
//! ```text
//! m ← β₁m + (1 − β₁)g    v ← β₂v + (1 − β₂)g²
//! w ← w − lr·decay·w − lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + ε)
//! ```

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

use super::model::Encoder;
use super::ops::{Adam, Moments, sum_of_squares};
use crate::error::{Error, Result};

/// How weights follow their gradients.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamWSettings {
    /// Share of a matrix that is taken off at each step, times the learning rate. Biases and
    /// LayerNorms do not decay.
    pub weight_decay: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Longest gradient; a longer one is scaled down to it.
    pub max_grad_norm: Option<f64>,
}

impl Default for AdamWSettings {
    fn default() -> Self {
        Self { weight_decay: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8, max_grad_norm: None }
    }
}

/// The optimiser's own memory.
#[derive(Debug)]
pub struct AdamW {
    settings: AdamWSettings,
    moments: Vec<Moments>,
    n_steps: usize,
}

impl AdamW {
    /// Before the first step.
    /// # Errors
    /// `Error::Tensor` if memory is short.
    pub fn new(encoder: &Encoder, settings: &AdamWSettings) -> Result<Self> {
        let parameters = encoder.parameters().iter();
        let moments: candle_core::Result<_> =
            parameters.map(|(_, var)| Moments::zeros(var)).collect();
        Ok(Self { settings: settings.clone(), moments: moments?, n_steps: 0 })
    }

    /// One step of every parameter; returns the gradient's length before it was cut.
    /// # Errors
    /// `Error::Numerical` for a gradient that is not finite: no weight is touched then.
    pub fn step(&mut self, encoder: &Encoder, gradients: &GradStore, lr: f64) -> Result<f64> {
        let mut sum = 0.0;
        for (_, var) in encoder.parameters() {
            if let Some(gradient) = gradients.get(var) {
                sum += sum_of_squares(gradient)?;
            }
        }
        let norm = sum.sqrt();
        if !norm.is_finite() {
            return Err(Error::Numerical {
                what: format!("training step {}", self.n_steps + 1),
                problem: format!(
                    "the gradient's length is {norm}: lower the learning rate (now {lr}), or clip \
                     gradients"
                ),
            });
        }
        self.n_steps += 1;
        let AdamWSettings { weight_decay, beta1, beta2, eps, max_grad_norm } = self.settings;
        let n = self.n_steps as i32;
        let (first, second) = (1.0 - beta1.powi(n), 1.0 - beta2.powi(n));
        for ((_, var), moments) in encoder.parameters().iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(var) else { continue };
            let adam = Adam {
                gradient_scale: max_grad_norm.map_or(1.0, |max| (max / norm).min(1.0)),
                beta1,
                beta2,
                keep: 1.0 - if var.rank() > 1 { lr * weight_decay } else { 0.0 },
                rate: lr / first,
                second,
                eps,
            };
            moments.step(var, gradient, adam)?;
        }
        Ok(norm)
    }

    /// Everything it remembers: `first.NAME` and `second.NAME` for every parameter, `n_steps`.
    /// # Errors
    /// `Error::Tensor`.
    pub fn state(&self, encoder: &Encoder) -> Result<Vec<(String, Tensor)>> {
        let n_steps = Tensor::from_slice(&[self.n_steps as i64], 1, &Device::Cpu)?;
        let mut state = vec![("n_steps".to_owned(), n_steps)];
        for ((name, var), moments) in encoder.parameters().iter().zip(&self.moments) {
            let [first, second] = moments.to_tensors(var)?;
            state.push((format!("first.{name}"), first));
            state.push((format!("second.{name}"), second));
        }
        Ok(state)
    }

    /// Goes on from what [`AdamW::state`] gave.
    /// # Errors
    /// `Error::Shape` for a tensor that is missing or of another shape.
    pub fn set_state(&mut self, encoder: &Encoder, state: &HashMap<String, Tensor>) -> Result<()> {
        let get = |name: &str, shape: &[usize]| {
            let found = state.get(name);
            found.filter(|tensor| tensor.dims() == shape).ok_or_else(|| Error::Shape {
                what: format!("{name} of a training's checkpoint"),
                expected: format!("{shape:?}"),
                got: found.map_or("none".into(), |tensor| format!("{:?}", tensor.dims())),
                hint: "remove the training's folder and start again".into(),
            })
        };
        self.n_steps = get("n_steps", &[1])?.to_vec1::<i64>()?[0].max(0) as usize;
        for ((name, var), moments) in encoder.parameters().iter().zip(&mut self.moments) {
            let get = |which: &str| get(&format!("{which}.{name}"), var.dims());
            *moments = Moments::of(get("first")?, get("second")?)?;
        }
        Ok(())
    }
}
