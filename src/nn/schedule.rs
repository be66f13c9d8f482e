//! The learning rate at each step.

use serde::{Deserialize, Serialize};

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Stays.
    Constant,
    /// Falls on a line, to 0 after the last step.
    Linear,
    /// Falls on half a cosine, to 0 after the last step.
    Cosine,
}

/// Learning rate over the full one at `step` (from 0) of `n_steps`.
///
/// In the first `warmup` steps it is (step + 1) / warmup. Then, with t = (step − warmup) /
/// (n_steps − warmup), it is 1, 1 − t or (1 + cos πt) / 2.
pub fn rate(schedule: Schedule, warmup: usize, step: usize, n_steps: usize) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    let t = (step - warmup) as f64 / n_steps.saturating_sub(warmup).max(1) as f64;
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => (1.0 - t).max(0.0),
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * t.min(1.0)).cos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_on_a_line_to_the_full_one() {
        let rates: Vec<f64> = (0..5).map(|s| rate(Schedule::Constant, 4, s, 100)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0]);
        assert_eq!(rate(Schedule::Constant, 0, 0, 1), 1.0);
        assert_eq!(rate(Schedule::Constant, 0, 99, 100), 1.0);
    }

    #[test]
    fn a_decay_starts_at_the_full_rate_and_would_be_zero_after_the_last_step() {
        for (schedule, half) in [(Schedule::Linear, 0.5), (Schedule::Cosine, 0.5)] {
            assert_eq!(rate(schedule, 10, 10, 110), 1.0);
            assert!((rate(schedule, 10, 60, 110) - half).abs() < 1e-12);
            assert!(rate(schedule, 10, 110, 110).abs() < 1e-12);
            let rates: Vec<f64> = (10..110).map(|s| rate(schedule, 10, s, 110)).collect();
            assert!(rates.windows(2).all(|pair| pair[1] < pair[0] && pair[1] > 0.0));
        }
        // A quarter of the way: the two differ.
        assert!((rate(Schedule::Linear, 0, 25, 100) - 0.75).abs() < 1e-12);
        assert!((rate(Schedule::Cosine, 0, 25, 100) - 0.853_553_390_593_273_8).abs() < 1e-12);
    }

    #[test]
    fn a_warmup_longer_than_the_training_never_reaches_the_full_rate() {
        assert_eq!(rate(Schedule::Linear, 20, 9, 10), 0.5);
    }
}
