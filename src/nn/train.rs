//! Training step by step: what a step, an epoch and a stopped training are. Reads no clock, opens
//! no file.

use std::collections::HashMap;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::adamw::{AdamW, AdamWSettings};
use super::batch::{Batch, Targets};
use super::examples::{Cutting, Examples, order, unigram_loss};
use super::masking::{MaskRules, mask};
use super::model::Encoder;
use super::schedule::rate;
use super::seeds::{Purpose, dropout_seed, generator};
use super::settings::{TrainSettings, VALIDATION_P};
use super::tokenizer::WordPieces;
use crate::error::{Error, Result};

/// Text as a training sees it.
#[derive(Debug)]
pub struct Corpus {
    rules: MaskRules,
    pad: u32,
    vocab_size: usize,
    train: Examples,
    validation: Vec<(Batch, Targets)>,
    /// Mean −ln p of the validation's targets under the training pieces' frequencies.
    pub unigram_loss: f64,
    /// Pieces to be guessed in validation.
    pub n_validation_targets: usize,
    /// Pieces of the training texts, those that no window shows included.
    pub n_train_pieces: usize,
}

impl Corpus {
    /// Windows, and the validation's masks, which stay the same all the time: window i of the
    /// held-out texts draws from a generator of its own.
    ///
    /// `train`, `validation`: pieces of each text, without special ones.
    /// # Errors
    /// `Error::Values` where nothing can be masked on one side.
    pub fn new(
        tokenizer: &WordPieces,
        train: &[Vec<u32>],
        validation: &[Vec<u32>],
        settings: &TrainSettings,
    ) -> Result<Self> {
        let vocab_size = tokenizer.vocab_size();
        let rules = MaskRules::new(vocab_size, tokenizer.mask(), |id| tokenizer.is_special(id))?;
        let cutting = Cutting {
            max_length: settings.max_length,
            stride: settings.stride_pieces(),
            which: settings.windows,
            cls: tokenizer.cls(),
            sep: tokenizer.sep(),
        };
        let counts = cutting.counts(train, vocab_size);
        let n_train_pieces = train.iter().map(Vec::len).sum();
        let train = cutting.examples(train, &rules);
        if train.rows.is_empty() {
            return Err(Error::Values {
                place: "training text".into(),
                problem: "no piece of it can be masked".into(),
                hint: "give more text, or a tokenizer that knows its words".into(),
            });
        }
        // No piece of the held-out texts counts twice, but for the last window of a text.
        let side_by_side = Cutting { stride: settings.max_length - 2, ..cutting };
        let rows = side_by_side.examples(validation, &rules).rows;
        let validation: Vec<(Batch, Targets)> = rows
            .chunks(settings.batch)
            .enumerate()
            .map(|(i, rows)| {
                let mut batch = Batch::padded(rows, tokenizer.pad());
                let targets = mask(&mut batch, VALIDATION_P, &rules, |row| {
                    let window = i * settings.batch + row;
                    generator(settings.seed, Purpose::ValidationMask, 0, window)
                });
                (batch, targets)
            })
            .collect();
        let labels: Vec<u32> =
            validation.iter().flat_map(|(_, targets)| targets.labels.iter().copied()).collect();
        Ok(Self {
            unigram_loss: unigram_loss(&counts, &rules, &labels)?,
            n_validation_targets: labels.len(),
            n_train_pieces,
            rules,
            pad: tokenizer.pad(),
            vocab_size,
            train,
            validation,
        })
    }

    /// Windows of an epoch.
    pub fn n_windows(&self) -> usize {
        self.train.rows.len()
    }
}

/// Where a training stands; with the tensors of [`Trainer::tensors`] all that it depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Epochs that are finished.
    pub epoch: usize,
    /// Steps done in the one that is not.
    pub step: usize,
    /// Sum over its targets of −ln p, with dropout, as the weights were then.
    pub loss_sum: f64,
    /// Its targets so far.
    pub n_targets: usize,
    /// The epoch with the smallest validation loss.
    pub best: Option<EpochLosses>,
    /// The last one that is finished.
    pub last: Option<EpochLosses>,
}

/// Losses of a finished epoch, nats a piece.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochLosses {
    /// From 1.
    pub epoch: usize,
    /// Mean over the epoch's targets, with dropout, each as the weights were then.
    pub train_loss: f64,
    /// Over the held-out targets after the epoch, without dropout.
    pub val_loss: f64,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub struct StepDone {
    /// Mean over its targets.
    pub loss: f64,
    /// Pieces that went in, special ones included, padding not.
    pub n_tokens: usize,
    /// Learning rate.
    pub lr: f64,
}

/// A training between two steps.
#[derive(Debug)]
pub struct Trainer<'a> {
    corpus: &'a Corpus,
    settings: &'a TrainSettings,
    encoder: Encoder,
    optimiser: AdamW,
    state: State,
    /// Parameters at the best epoch.
    best: Vec<Tensor>,
    /// Windows of the current epoch in their order.
    order: Vec<usize>,
}

impl<'a> Trainer<'a> {
    /// Before the first step.
    /// # Errors
    /// `Error::Tensor` if memory is short.
    pub fn new(corpus: &'a Corpus, settings: &'a TrainSettings, device: &Device) -> Result<Self> {
        let config = settings.config(corpus.vocab_size, corpus.pad);
        let encoder = Encoder::new(&config, device, settings.seed)?;
        let optimiser = AdamW::new(
            &encoder,
            &AdamWSettings {
                weight_decay: settings.weight_decay,
                max_grad_norm: (settings.clip > 0.0).then_some(settings.clip),
                ..AdamWSettings::default()
            },
        )?;
        let order = order(corpus.n_windows(), settings.seed, 1);
        let state = State::default();
        Ok(Self { corpus, settings, encoder, optimiser, state, best: Vec::new(), order })
    }

    /// The encoder as it stands.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Where the training stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.corpus.n_windows().div_ceil(self.settings.batch)
    }

    /// Steps done.
    pub fn steps_done(&self) -> usize {
        self.state.epoch * self.steps_per_epoch() + self.state.step
    }

    /// Whether `patience` ended it before all epochs.
    pub fn stopped_early(&self) -> bool {
        let since = |best: EpochLosses| self.state.epoch - best.epoch;
        self.settings.patience > 0
            && self.state.epoch < self.settings.epochs
            && self.state.best.is_some_and(|best| since(best) >= self.settings.patience)
    }

    /// Whether no epoch is left.
    pub fn is_finished(&self) -> bool {
        self.state.epoch >= self.settings.epochs || self.stopped_early()
    }

    /// Whether all steps of the current epoch are done.
    pub fn is_at_epoch_end(&self) -> bool {
        self.state.step >= self.steps_per_epoch()
    }

    /// Trains on the next batch of the epoch.
    /// # Errors
    /// `Error::Numerical` if loss or gradient is not finite: no weight is touched then.
    pub fn step(&mut self) -> Result<StepDone> {
        let TrainSettings { seed, batch, p_mlm, schedule, warmup, epochs, .. } = *self.settings;
        let (epoch, step) = (self.state.epoch + 1, self.state.step);
        let first = step * batch;
        let windows = &self.order[first..(first + batch).min(self.order.len())];
        let rows: Vec<Vec<u32>> =
            windows.iter().map(|&w| self.corpus.train.rows[w].clone()).collect();
        let mut input = Batch::padded(&rows, self.corpus.pad);
        let targets = mask(&mut input, p_mlm, &self.corpus.rules, |row| {
            generator(seed, Purpose::Mask, epoch, first + row)
        });
        let dropout = Some(dropout_seed(seed, epoch, step));
        let loss = self.encoder.mlm_loss(&input, &targets, dropout)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Err(Error::Numerical {
                what: format!("training, epoch {epoch}, step {}", step + 1),
                problem: format!("the loss is {value}: lower --lr, or set --clip"),
            });
        }
        let n_steps = epochs * self.steps_per_epoch();
        let lr = self.settings.lr * rate(schedule, warmup, self.steps_done(), n_steps);
        let gradients = loss.backward()?;
        self.optimiser.step(&self.encoder, &gradients, lr)?;
        let n = targets.labels.len();
        self.state.step += 1;
        self.state.loss_sum += value * n as f64;
        self.state.n_targets += n;
        let n_tokens = input.attended.iter().filter(|&&there| there).count();
        Ok(StepDone { loss: value, n_tokens, lr })
    }

    /// Validates after the last step of an epoch, and keeps the weights if they are the best so
    /// far.
    /// # Errors
    /// `Error::Numerical` for a loss that is not finite.
    pub fn finish_epoch(&mut self) -> Result<EpochLosses> {
        let losses = EpochLosses {
            epoch: self.state.epoch + 1,
            train_loss: self.state.loss_sum / self.state.n_targets.max(1) as f64,
            val_loss: self.validate()?,
        };
        if self.state.best.is_none_or(|best| losses.val_loss < best.val_loss) {
            self.state.best = Some(losses);
            let copies: candle_core::Result<_> =
                self.encoder.parameters().iter().map(|(_, var)| var.as_tensor().copy()).collect();
            self.best = copies?;
        }
        self.state = State {
            epoch: losses.epoch,
            last: Some(losses),
            best: self.state.best,
            ..State::default()
        };
        self.order = order(self.corpus.n_windows(), self.settings.seed, losses.epoch + 1);
        Ok(losses)
    }

    /// Mean −ln p over the held-out targets, without dropout.
    /// # Errors
    /// `Error::Numerical` for a loss that is not finite.
    pub fn validate(&self) -> Result<f64> {
        let (mut sum, mut n) = (0.0, 0);
        for (batch, targets) in &self.corpus.validation {
            let loss = self.encoder.mlm_loss(batch, targets, None)?.to_scalar::<f32>()?;
            sum += f64::from(loss) * targets.labels.len() as f64;
            n += targets.labels.len();
        }
        let loss = sum / n as f64;
        if loss.is_finite() {
            return Ok(loss);
        }
        Err(Error::Numerical {
            what: format!("validation after epoch {}", self.state.epoch + 1),
            problem: format!("the loss is {loss}: lower --lr, or set --clip"),
        })
    }

    /// Everything but [`Trainer::state`]: parameters, the best ones, the optimiser's memory.
    /// # Errors
    /// `Error::Tensor`.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (i, (name, var)) in self.encoder.parameters().iter().enumerate() {
            tensors.push((format!("now.{name}"), var.as_tensor().clone()));
            if let Some(best) = self.best.get(i) {
                tensors.push((format!("best.{name}"), best.clone()));
            }
        }
        let remembered = self.optimiser.state(&self.encoder)?;
        tensors.extend(
            remembered.into_iter().map(|(name, tensor)| (format!("optimiser.{name}"), tensor)),
        );
        Ok(tensors)
    }

    /// Goes on from a state and its tensors.
    /// # Errors
    /// `Error::Shape` for a tensor that is missing or of another shape, `Error::Values` for a state
    /// that cannot be.
    pub fn restore(&mut self, state: State, tensors: &HashMap<String, Tensor>) -> Result<()> {
        if state.step > self.steps_per_epoch() || state.epoch > self.settings.epochs {
            return Err(Error::Values {
                place: "a training's checkpoint".into(),
                problem: format!("epoch {}, step {} cannot be", state.epoch, state.step),
                hint: "remove the training's folder and start again".into(),
            });
        }
        set_parameters(&self.encoder, "now.", tensors)?;
        if state.best.is_some() {
            self.best = named(&self.encoder, "best.", tensors)?;
        }
        let remembered = tensors
            .iter()
            .filter_map(|(name, tensor)| {
                Some((name.strip_prefix("optimiser.")?.to_owned(), tensor.clone()))
            })
            .collect();
        self.optimiser.set_state(&self.encoder, &remembered)?;
        self.order = order(self.corpus.n_windows(), self.settings.seed, state.epoch + 1);
        self.state = state;
        Ok(())
    }

    /// Puts the best epoch's weights in place of the last one's.
    /// # Errors
    /// `Error::Tensor`.
    pub fn take_best(&mut self) -> Result<()> {
        for ((_, var), best) in self.encoder.parameters().iter().zip(&self.best) {
            var.set(best)?;
        }
        Ok(())
    }
}

fn set_parameters(
    encoder: &Encoder,
    prefix: &str,
    tensors: &HashMap<String, Tensor>,
) -> Result<()> {
    let values = named(encoder, prefix, tensors)?;
    for ((_, var), value) in encoder.parameters().iter().zip(&values) {
        var.set(value)?;
    }
    Ok(())
}

/// A tensor of each parameter's shape, by the parameter's name behind a prefix.
fn named(
    encoder: &Encoder,
    prefix: &str,
    tensors: &HashMap<String, Tensor>,
) -> Result<Vec<Tensor>> {
    let find = |(name, var): &(String, candle_core::Var)| {
        let found = tensors.get(&format!("{prefix}{name}"));
        found.filter(|tensor| tensor.dims() == var.dims()).cloned().ok_or_else(|| Error::Shape {
            what: format!("{prefix}{name} of a training's checkpoint"),
            expected: format!("{:?}", var.dims()),
            got: found.map_or("none".into(), |tensor| format!("{:?}", tensor.dims())),
            hint: "remove the training's folder and start again".into(),
        })
    };
    encoder.parameters().iter().map(find).collect()
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
