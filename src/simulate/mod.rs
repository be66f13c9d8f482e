//! A study whose truth is known: demo stories spoken at a natural rate, and BOLD made from them.
//!
//! - `demo_assets`: the stories and word vectors inside the binary.
//! - `speech`: text → words with onsets and offsets.
//! - `settings`: what the simulated brain is like, checked once.
//! - `hrf`: the haemodynamic response.
//! - `tuning`: every voxel's weights and true correlation.
//! - `drive`: features z-scored, convolved and trimmed.
//! - `bold`: features → BOLD, story by story, and the truth behind it.
//! - `recovery`: how much of the truth a fitted model found.
//!
//! Matrices in, matrices out. Knows nothing of files, of ridge or of how features are made.

pub mod bold;
pub mod demo_assets;
mod drive;
pub mod hrf;
pub mod recovery;
pub mod settings;
pub mod speech;
pub mod tuning;

pub use bold::{Truth, simulate};
pub use recovery::{DelayRecovery, Recovery, chance_threshold, delay_recovery, recovery};
pub use settings::{Checked, SimulateSettings};
pub use speech::{SpeechSettings, TimedWord, speak};
