//! Other fits of the same rows: another split into training and test blocks, fewer blocks.

use std::sync::Arc;

use super::problem::Problem;

/// Fits beside a problem's own that see the same BOLD, of which each block passes once.
///
/// The blocks of the main problem, training blocks and then test blocks, are *slots*. What a space
/// whose designs are the same in every fit knows of BOLD is summed once for every slot; a fold of a
/// fit is a sum over slots.
#[derive(Debug)]
pub struct OtherFits {
    /// Every slot as a fold of its own; the spaces that all fits share; no models.
    pub slots: Problem,
    /// The fits.
    pub fits: Vec<Fit>,
}

/// One other fit.
#[derive(Debug)]
pub struct Fit {
    /// Its folds, models, designs. The training designs of shared spaces are not needed.
    pub problem: Problem,
    /// The slot of each of its training blocks.
    pub train: Vec<usize>,
    /// The slot of each of its test blocks.
    pub test: Vec<usize>,
    /// Per space of its problem: where `OtherFits::slots` has it, if it is shared.
    pub shared: Vec<Option<Shared>>,
}

/// A fit's space that is a space of the slots, or some of its columns.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Index into the slots' spaces.
    pub space: usize,
    /// Which of its un-delayed columns, in the fit's order; `None`: all of them.
    pub columns: Option<Arc<[usize]>>,
}
