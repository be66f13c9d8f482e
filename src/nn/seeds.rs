//! One generator for each thing that is random in a training, made anew wherever it is needed:
//! nothing depends on how many numbers were drawn before, so a training can go on from any step.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a generator is for; each has a family of streams of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Which stories are held out.
    HoldOut = 1,
    /// Order of the windows in an epoch.
    Order = 2,
    /// Masks of a training window.
    Mask = 3,
    /// Masks of a validation window.
    ValidationMask = 4,
    /// Dropout of a step.
    Dropout = 5,
}

/// The generator of `purpose` in `epoch` (below 2^24) at `step` (below 2^32): ChaCha8 with the key
/// `seed`, stream `purpose · 2^56 + epoch · 2^32 + step`.
pub fn generator(seed: u64, purpose: Purpose, epoch: usize, step: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((purpose as u64) << 56) | ((epoch as u64) << 32) | step as u64);
    rng
}

/// A seed of dropout for one step.
pub fn dropout_seed(seed: u64, epoch: usize, step: usize) -> u64 {
    generator(seed, Purpose::Dropout, epoch, step).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_purpose_epoch_and_step_has_numbers_of_its_own() {
        let mut seen = std::collections::HashSet::new();
        for seed in [0, 1] {
            for purpose in [Purpose::HoldOut, Purpose::Order, Purpose::Mask, Purpose::Dropout] {
                for (epoch, step) in [(0, 0), (0, 1), (1, 0), (200, 70)] {
                    let mut rng = generator(seed, purpose, epoch, step);
                    assert!(seen.insert(rng.next_u64()), "{seed} {purpose:?} {epoch} {step}");
                    let again = generator(seed, purpose, epoch, step).next_u64();
                    assert!(seen.contains(&again));
                }
            }
        }
    }
}
