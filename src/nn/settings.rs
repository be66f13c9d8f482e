//! What a training is asked for, checked once.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::EncoderConfig;
use super::examples::Windows;
use super::schedule::Schedule;
use crate::error::{Error, Result};

/// Everything a trained encoder depends on besides its text.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `tokenizer` | none | tokenizer.json or vocab.txt; none: trained on the training text | file |
/// | `vocab_size` | 8192 | word pieces of a trained tokenizer, at most | 6…2^20 |
/// | `epochs` | 200 | passes over the training windows | 1…100,000 |
/// | `batch` | 32 | windows of a step | 1…65,536 |
/// | `hidden` | 128 | width of a hidden state | 1…65,536 |
/// | `heads` | 2 | attention heads; they divide `hidden` | 1…65,536 |
/// | `layers` | 2 | blocks | 1…1,000 |
/// | `intermediate` | 256 | width inside the feed-forward | 1…65,536 |
/// | `max_length` | 256 | pieces of a window, the two special ones included | 3…65,536 |
/// | `windows` | all | windows over the whole story, or the first alone | |
/// | `stride` | half of `max_length` | pieces between the starts of two windows | 1…`max_length` − 2 |
/// | `lr` | 1e-4 | AdamW's learning rate | > 0 |
/// | `weight_decay` | 0.01 | AdamW's decay of matrices | ≥ 0 |
/// | `dropout` | 0.1 | share of values set to 0 in training | 0 ≤ p < 1 |
/// | `p_mlm` | 0.15 | share of pieces to be guessed in training | 0 < p < 1 |
/// | `schedule` | constant | learning rate after the warm-up | constant, linear, cosine |
/// | `warmup` | 0 | steps in which the learning rate rises | ≥ 0 |
/// | `clip` | 1.0 | largest norm of a gradient; 0: any | ≥ 0 |
/// | `val_fraction` | 0.1 | share of the stories held out, at least one | 0 < f < 1 |
/// | `patience` | 0 | epochs without a better validation loss before it stops; 0: never | ≥ 0 |
/// | `seed` | 214 | of weights, masks, dropout, order and held-out stories | |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// tokenizer.json or vocab.txt.
    pub tokenizer: Option<PathBuf>,
    /// Pieces of a trained tokenizer.
    pub vocab_size: usize,
    /// Passes over the training windows.
    pub epochs: usize,
    /// Windows of a step.
    pub batch: usize,
    /// Width of a hidden state.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks.
    pub layers: usize,
    /// Width inside the feed-forward.
    pub intermediate: usize,
    /// Pieces of a window.
    pub max_length: usize,
    /// All windows or the first.
    pub windows: Windows,
    /// Pieces between the starts of two windows; none: half of `max_length`.
    pub stride: Option<usize>,
    /// Learning rate.
    pub lr: f64,
    /// Decay of matrices.
    pub weight_decay: f64,
    /// Share of values set to 0.
    pub dropout: f64,
    /// Share of pieces to be guessed in training; validation always masks [`VALIDATION_P`].
    pub p_mlm: f64,
    /// Learning rate after the warm-up.
    pub schedule: Schedule,
    /// Steps of the warm-up.
    pub warmup: usize,
    /// Largest norm of a gradient; 0: any.
    pub clip: f64,
    /// Share of the stories held out.
    pub val_fraction: f64,
    /// Epochs without a better validation loss; 0: never stop early.
    pub patience: usize,
    /// Of everything random.
    pub seed: u64,
}

/// Share of pieces masked in validation, whatever `p_mlm` is: losses of trainings can be compared.
pub const VALIDATION_P: f64 = 0.15;

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            tokenizer: None,
            vocab_size: 8192,
            epochs: 200,
            batch: 32,
            hidden: 128,
            heads: 2,
            layers: 2,
            intermediate: 256,
            max_length: 256,
            windows: Windows::All,
            stride: None,
            lr: 1e-4,
            weight_decay: 0.01,
            dropout: 0.1,
            p_mlm: 0.15,
            schedule: Schedule::Constant,
            warmup: 0,
            clip: 1.0,
            val_fraction: 0.1,
            patience: 0,
            seed: 214,
        }
    }
}

impl TrainSettings {
    /// Pieces between the starts of two windows.
    pub fn stride_pieces(&self) -> usize {
        self.stride.unwrap_or((self.max_length / 2).max(1))
    }

    /// Whether such a training can be; `place` makes of a field's name what the user wrote.
    ///
    /// # Errors
    /// `Error::Usage` for the first field outside its range.
    pub fn check(&self, place: &dyn Fn(&str) -> String) -> Result<()> {
        const WIDE: usize = 1 << 16;
        let counts = [
            ("vocab_size", self.vocab_size, 6, 1 << 20),
            ("epochs", self.epochs, 1, 100_000),
            ("batch", self.batch, 1, WIDE),
            ("hidden", self.hidden, 1, WIDE),
            ("heads", self.heads, 1, WIDE),
            ("layers", self.layers, 1, 1000),
            ("intermediate", self.intermediate, 1, WIDE),
            ("max_length", self.max_length, 3, WIDE),
            ("stride", self.stride_pieces(), 1, self.max_length.saturating_sub(2)),
        ];
        for (name, value, least, most) in counts {
            if !(least..=most).contains(&value) {
                let hint = match name {
                    "stride" => "[CLS] and [SEP] take two pieces of --max-length",
                    _ => "see --help",
                };
                return Err(wrong(place(name), format!("{least} to {most}"), value, hint));
            }
        }
        if !self.hidden.is_multiple_of(self.heads) {
            let expected = format!("a divisor of hidden = {}", self.hidden);
            return Err(wrong(place("heads"), expected, self.heads, "heads share the width"));
        }
        let shares = [
            ("p_mlm", self.p_mlm, self.p_mlm > 0.0 && self.p_mlm < 1.0, "0 < p < 1"),
            ("dropout", self.dropout, (0.0..1.0).contains(&self.dropout), "0 ≤ p < 1"),
            (
                "val_fraction",
                self.val_fraction,
                self.val_fraction > 0.0 && self.val_fraction < 1.0,
                "0 < f < 1",
            ),
            ("lr", self.lr, self.lr > 0.0 && self.lr.is_finite(), "a number > 0"),
            (
                "weight_decay",
                self.weight_decay,
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "a number ≥ 0",
            ),
            ("clip", self.clip, self.clip >= 0.0 && self.clip.is_finite(), "a number ≥ 0"),
        ];
        for (name, value, is_right, expected) in shares {
            if !is_right {
                return Err(wrong(place(name), expected.to_owned(), value, "see --help"));
            }
        }
        Ok(())
    }

    /// The shape of the encoder over a vocabulary.
    pub fn config(&self, vocab_size: usize, pad: u32) -> EncoderConfig {
        EncoderConfig {
            vocab_size,
            hidden_size: self.hidden,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            intermediate_size: self.intermediate,
            max_position_embeddings: self.max_length,
            hidden_dropout_prob: self.dropout,
            attention_probs_dropout_prob: self.dropout,
            pad_token_id: pad,
            ..EncoderConfig::default()
        }
    }
}

fn wrong(place: String, expected: String, got: impl std::fmt::Display, hint: &str) -> Error {
    Error::Usage { place, problem: format!("expected {expected}, got {got}"), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl Fn(&mut TrainSettings), parts: &[&str]) {
        let mut settings = TrainSettings::default();
        change(&mut settings);
        let error = settings.check(&|name| format!("<{name}>")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} in {error}");
        }
    }

    #[test]
    fn every_field_has_its_range() {
        TrainSettings::default().check(&str::to_owned).unwrap();
        refused(|s| s.vocab_size = 5, &["<vocab_size>", "got 5"]);
        refused(|s| s.epochs = 0, &["<epochs>"]);
        refused(|s| s.batch = 0, &["<batch>"]);
        refused(|s| s.hidden = 0, &["<hidden>"]);
        refused(|s| s.heads = 0, &["<heads>"]);
        refused(|s| s.heads = 3, &["<heads>", "divisor of hidden = 128, got 3"]);
        refused(|s| s.layers = 0, &["<layers>"]);
        refused(|s| s.intermediate = 0, &["<intermediate>"]);
        refused(|s| s.max_length = 2, &["<max_length>"]);
        refused(|s| s.stride = Some(255), &["<stride>", "1 to 254"]);
        refused(|s| s.stride = Some(0), &["<stride>"]);
        for bad in [0.0, 1.0, -0.1, f64::NAN] {
            refused(|s| s.p_mlm = bad, &["<p_mlm>", "0 < p < 1"]);
            refused(|s| s.val_fraction = bad, &["<val_fraction>"]);
        }
        for bad in [-0.1, 1.0, f64::NAN] {
            refused(|s| s.dropout = bad, &["<dropout>"]);
        }
        for bad in [0.0, -1e-4, f64::INFINITY, f64::NAN] {
            refused(|s| s.lr = bad, &["<lr>"]);
        }
        refused(|s| s.weight_decay = -1.0, &["<weight_decay>"]);
        refused(|s| s.clip = f64::NAN, &["<clip>"]);
    }

    #[test]
    fn the_stride_follows_the_length_unless_given() {
        let settings = TrainSettings { max_length: 64, ..TrainSettings::default() };
        settings.check(&str::to_owned).unwrap();
        assert_eq!(settings.stride_pieces(), 32);
        let shortest = TrainSettings { max_length: 3, ..settings };
        assert_eq!(shortest.stride_pieces(), 1);
        shortest.check(&str::to_owned).unwrap();
    }
}
