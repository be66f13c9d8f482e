//! How a running command speaks: commands say what happens, the command line decides how.

use crate::warning::Warning;

/// Receives what a person may want to know while a command runs.
pub trait Reporter: Sync {
    /// A sentence about a choice that was made (device, solver).
    fn note(&self, text: &str);
    /// A step and how long it took, for `-v`.
    fn step(&self, text: &str);
    /// Doubtful but legal.
    fn warn(&self, warning: &Warning);
    /// Starts a bar over `total` units.
    fn start(&self, label: &str, total: u64);
    /// What stands beside the bar, where there is one.
    fn status(&self, _: &str) {}
    /// Units of the bar that are done.
    fn advance(&self, n: u64);
    /// Ends the bar.
    fn finish(&self);
    /// A training, or other work that makes the same blocks again and again, begins or has ended:
    /// memory that is freed meanwhile is taken again at once.
    fn reuses_memory(&self, _begins: bool) {}
}

/// Says nothing; for tests and embedding.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn note(&self, _: &str) {}
    fn step(&self, _: &str) {}
    fn warn(&self, _: &Warning) {}
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}
