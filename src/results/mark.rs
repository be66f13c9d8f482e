//! The mark of a finished model, `.done.json` beside its files: what it was made from, and what is
//! known of it beyond its arrays. It is taken away before the first of the files is replaced and
//! written after the last, so that a marked model is whole.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::names::{
    BEST_ALPHA, CV_SCORES, DONE, INNER_CORRELATION, MODEL, SCALARS, STORY_CORRELATION,
    STORY_INNER_CORRELATION, TEST_CORRELATION, WEIGHTS,
};
use super::read_json;
use crate::error::Result;
use crate::io::output::{write_json, write_or_remove};
use crate::report::record::SubjectVoxels;
use crate::ridge::Route;
use crate::ridge::conditioning::Conditioning;
use crate::ridge::edges::AlphaEdges;

/// Largest mark that is read.
const MAX_BYTES: u64 = 16 << 20;

/// How a model was solved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTaken {
    /// The route.
    pub route: Route,
    /// The route, why, and at what cost.
    pub solver: String,
    /// Of the training design.
    pub conditioning: Conditioning,
    /// How well it tells where in a story a TR lies: r on the test stories.
    #[serde(default)]
    pub position: Option<f64>,
}

/// A finished model of a subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelFound {
    /// What its numbers depend on.
    pub fingerprint: String,
    /// Voxels that could not be fitted; the same for all models of a subject.
    pub n_constant: usize,
    /// Voxels with NaN or infinities.
    pub n_not_finite: usize,
    /// Voxels at the ends of the grid.
    pub edges: AlphaEdges,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest share of a path outside the alpha basis.
    pub basis_error: f64,
    /// How it was solved.
    pub route: RouteTaken,
}

impl ModelFound {
    /// Whether it can be of so many voxels.
    pub fn fits(&self, n_voxels: usize) -> bool {
        let AlphaEdges { n_low, n_high, n_plateau } = self.edges;
        let at_ends = n_low.saturating_add(n_high).saturating_add(n_plateau);
        let used = n_voxels.checked_sub(self.n_constant);
        let used = used.and_then(|left| left.checked_sub(self.n_not_finite));
        used.is_some_and(|used| at_ends <= used)
    }
}

/// What the tiles of a subject's models add up to.
pub fn subject_voxels(models: &[ModelFound]) -> SubjectVoxels {
    SubjectVoxels {
        n_constant: models.first().map_or(0, |model| model.n_constant),
        n_not_finite: models.first().map_or(0, |model| model.n_not_finite),
        edges: models.iter().map(|model| model.edges).collect(),
        basis_rank: models.iter().map(|model| model.basis_rank).max().unwrap_or(0),
        basis_error: models.iter().map(|model| model.basis_error).fold(0.0, f64::max),
    }
}

/// Files that a finished model must have; of a shard's part of it with `is_part`.
pub fn needed(weights: bool, has_inner: bool, is_part: bool) -> Vec<&'static str> {
    let mut names = vec![STORY_CORRELATION, CV_SCORES];
    match is_part {
        true => names.push(SCALARS),
        false => names.extend([TEST_CORRELATION, BEST_ALPHA]),
    }
    names.extend(has_inner.then_some(STORY_INNER_CORRELATION));
    names.extend((has_inner && !is_part).then_some(INNER_CORRELATION));
    names.extend(weights.then_some(WEIGHTS));
    names.extend((weights && !is_part).then_some(MODEL));
    names
}

/// What an earlier run left of the model in `folder`, if that is still right: of the same
/// fingerprint and so many voxels, and all `needed` files are there.
pub fn finished<'a>(
    folder: &Path,
    wanted: &str,
    n_voxels: usize,
    mut needed: impl Iterator<Item = &'a str>,
) -> Option<ModelFound> {
    let found: ModelFound = read_json(&folder.join(DONE), MAX_BYTES).ok()?;
    let is_whole = needed.all(|name| folder.join(name).is_file());
    (found.fingerprint == wanted && found.fits(n_voxels) && is_whole).then_some(found)
}

/// Marks a model whose files all have their names.
pub fn mark(folder: &Path, found: &ModelFound) -> Result<()> {
    write_json(&folder.join(DONE), found)
}

/// The model's files are about to be replaced: what says that they are whole goes first.
pub fn unmark(folder: &Path) -> Result<()> {
    write_or_remove(&folder.join(DONE), None)?;
    write_or_remove(&folder.join(MODEL), None)
}
