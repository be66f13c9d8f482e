//! Which pieces an encoder has to guess: BERT's 80/10/10 masking (Devlin et al. 2019, 3.1).

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, Targets};
use crate::error::{Error, Result};

/// What masking has to know of a vocabulary.
#[derive(Debug, Clone)]
pub struct MaskRules {
    mask: u32,
    is_special: Vec<bool>,
    ordinary: Vec<u32>,
}

impl MaskRules {
    /// `mask` is put in place of pieces; special pieces are never masked and never put in.
    ///
    /// # Errors
    /// `Error::Values` for a vocabulary without ordinary pieces.
    pub fn new(vocab_size: usize, mask: u32, is_special: impl Fn(u32) -> bool) -> Result<Self> {
        let is_special: Vec<bool> = (0..vocab_size as u32).map(is_special).collect();
        let ordinary: Vec<u32> =
            (0..vocab_size as u32).filter(|&id| !is_special[id as usize]).collect();
        if ordinary.is_empty() {
            return Err(Error::Values {
                place: "tokenizer".into(),
                problem: format!("none of its {vocab_size} pieces is an ordinary one"),
                hint: "give another tokenizer, or more text".into(),
            });
        }
        Ok(Self { mask, is_special, ordinary })
    }

    /// Whether a piece may have to be guessed.
    pub fn is_ordinary(&self, id: u32) -> bool {
        self.is_special.get(id as usize).is_some_and(|special| !special)
    }

    /// Number of pieces that may have to be guessed.
    pub fn n_ordinary(&self) -> usize {
        self.ordinary.len()
    }
}

/// Chooses each ordinary piece with probability `p` and hides it: 80 % become the mask, 10 % a
/// random ordinary piece, 10 % stay. Returns where they are and what they were.
///
/// Row i draws from `generator(i)`, so a row's masks do not depend on its batch; only where a whole
/// batch has no target, one of its ordinary pieces becomes one (with the first row's generator).
/// Empty only if the batch has no ordinary piece.
pub fn mask(
    batch: &mut Batch,
    p: f64,
    rules: &MaskRules,
    generator: impl Fn(usize) -> ChaCha8Rng,
) -> Targets {
    let mut targets = Targets::default();
    for row in 0..batch.rows {
        let mut rng = generator(row);
        for at in row * batch.length..(row + 1) * batch.length {
            if is_maskable(batch, at, rules) && rng.random::<f64>() < p {
                hide(batch, at, rules, &mut rng, &mut targets);
            }
        }
    }
    if targets.positions.is_empty() {
        let all: Vec<usize> =
            (0..batch.ids.len()).filter(|&at| is_maskable(batch, at, rules)).collect();
        let mut rng = generator(0);
        if let Some(&at) = all.choose(&mut rng) {
            hide(batch, at, rules, &mut rng, &mut targets);
        }
    }
    targets
}

fn is_maskable(batch: &Batch, at: usize, rules: &MaskRules) -> bool {
    batch.attended[at] && rules.is_ordinary(batch.ids[at])
}

fn hide(
    batch: &mut Batch,
    at: usize,
    rules: &MaskRules,
    rng: &mut ChaCha8Rng,
    targets: &mut Targets,
) {
    targets.positions.push(at as u32);
    targets.labels.push(batch.ids[at]);
    match rng.random::<f64>() {
        u if u < 0.8 => batch.ids[at] = rules.mask,
        u if u < 0.9 => {
            batch.ids[at] = rules.ordinary[rng.random_range(0..rules.ordinary.len())];
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::seeds::{Purpose, generator};

    const MASK: u32 = 4;

    fn rules() -> MaskRules {
        MaskRules::new(1000, MASK, |id| id < 5).unwrap()
    }

    /// Rows with `[CLS]`, pieces, `[SEP]` and padding.
    fn batch(rows: usize, length: usize) -> Batch {
        let row = |r: usize| {
            let pieces = (0..length - 2 - r % 3).map(|i| 5 + ((r * 31 + i * 7) % 995) as u32);
            std::iter::once(2).chain(pieces).chain([3]).collect()
        };
        Batch::padded(&(0..rows).map(row).collect::<Vec<Vec<u32>>>(), 0)
    }

    fn masked(batch: &Batch, p: f64, seed: u64, step: usize) -> (Batch, Targets) {
        let mut masked = batch.clone();
        let targets =
            mask(&mut masked, p, &rules(), |row| generator(seed, Purpose::Mask, 1, step + row));
        (masked, targets)
    }

    #[test]
    fn fifteen_percent_are_chosen_and_split_eighty_ten_ten() {
        let plain = batch(400, 100);
        let (hidden, targets) = masked(&plain, 0.15, 7, 0);
        let n_ordinary = plain.ids.iter().filter(|&&id| id >= 5).count() as f64;
        let n = targets.positions.len() as f64;
        // Four standard deviations of a binomial.
        let near =
            |got: f64, p: f64, n: f64| (got - p * n).abs() < 4.0 * (p * (1.0 - p) * n).sqrt();
        assert!(near(n, 0.15, n_ordinary), "{n} of {n_ordinary}");
        let at = |i: usize| hidden.ids[targets.positions[i] as usize];
        let count = |f: &dyn Fn(usize) -> bool| (0..targets.labels.len()).filter(|&i| f(i)).count();
        let n_mask = count(&|i| at(i) == MASK) as f64;
        let n_same = count(&|i| at(i) == targets.labels[i]) as f64;
        assert!(near(n_mask, 0.8, n), "{n_mask} masks of {n}");
        assert!(near(n_same, 0.1 + 0.1 / 995.0, n), "{n_same} unchanged of {n}");
    }

    #[test]
    fn labels_are_what_stood_there_and_nothing_else_changes() {
        let plain = batch(50, 40);
        let (hidden, targets) = masked(&plain, 0.3, 1, 0);
        let mut restored = hidden.clone();
        for (&at, &label) in targets.positions.iter().zip(&targets.labels) {
            assert!(plain.attended[at as usize] && label >= 5);
            assert!(hidden.ids[at as usize] == MASK || hidden.ids[at as usize] >= 5);
            restored.ids[at as usize] = label;
        }
        assert_eq!(restored, plain);
        assert!(targets.positions.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn masks_follow_the_seed_and_a_row_not_its_batch() {
        let plain = batch(20, 40);
        let whole = masked(&plain, 0.15, 3, 0);
        assert_eq!(whole, masked(&plain, 0.15, 3, 0));
        assert_ne!(whole.1, masked(&plain, 0.15, 4, 0).1);
        assert_ne!(whole.1, masked(&plain, 0.15, 3, 100).1);
        let second = Batch {
            rows: 10,
            ids: plain.ids[400..].to_vec(),
            types: plain.types[400..].to_vec(),
            attended: plain.attended[400..].to_vec(),
            ..plain
        };
        assert_eq!(masked(&second, 0.15, 3, 10).0.ids, whole.0.ids[400..]);
    }

    #[test]
    fn a_batch_has_a_target_as_long_as_it_has_an_ordinary_piece() {
        for seed in 0..20 {
            let (_, targets) = masked(&batch(2, 5), 1e-9, seed, 0);
            assert_eq!(targets.positions.len(), 1);
        }
        let mut special = Batch::padded(&[vec![2, 1, 1, 3]], 0);
        let before = special.clone();
        let targets = mask(&mut special, 0.9, &rules(), |row| generator(0, Purpose::Mask, 0, row));
        assert!(targets.positions.is_empty());
        assert_eq!(special, before);
    }

    #[test]
    fn a_vocabulary_of_special_pieces_is_refused() {
        assert_eq!(MaskRules::new(5, MASK, |_| true).unwrap_err().exit_code(), 3);
    }
}
