//! The mark of a finished model, `.done.json` beside its files: what it was made from, and what is
//! known of it beyond its arrays. It is taken away before the first of the files is replaced and
//! written after the last, so that a marked model is whole.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::io::output::{write_json, write_or_remove};
use crate::results::saved::{MODEL, WEIGHTS};
use crate::ridge::Route;
use crate::ridge::conditioning::Conditioning;
use crate::ridge::edges::AlphaEdges;

/// The mark's name.
pub const MARK: &str = ".done.json";
/// Best alpha, test correlation and p-value of a part's voxels, three rows.
pub const SCALARS: &str = "scalars.npy";

/// How a model was solved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteTaken {
    /// The route.
    pub route: Route,
    /// The route, why, and at what cost.
    pub solver: String,
    /// Of the training design.
    pub conditioning: Conditioning,
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

/// What the tiles of a subject add up to, as run.json has it.
#[derive(Debug, Clone, Serialize)]
pub struct SubjectFound {
    /// Voxels that could not be fitted.
    pub n_constant: usize,
    /// Voxels with NaN or infinities.
    pub n_not_finite: usize,
    /// Per model: voxels at the ends of the grid.
    pub edges: Vec<AlphaEdges>,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest share of a path outside the alpha basis.
    pub basis_error: f64,
}

impl SubjectFound {
    /// Of all models of one subject.
    pub fn of(models: &[ModelFound]) -> Self {
        Self {
            n_constant: models.first().map_or(0, |model| model.n_constant),
            n_not_finite: models.first().map_or(0, |model| model.n_not_finite),
            edges: models.iter().map(|model| model.edges).collect(),
            basis_rank: models.iter().map(|model| model.basis_rank).max().unwrap_or(0),
            basis_error: models.iter().map(|model| model.basis_error).fold(0.0, f64::max),
        }
    }
}

/// Files that a finished model must have; of a shard's part of it with `is_part`.
pub fn needed(weights: bool, is_part: bool) -> Vec<&'static str> {
    let mut names = vec!["story_correlation.npy", "cv_scores.npy"];
    match is_part {
        true => names.push(SCALARS),
        false => names.extend(["test_correlation.npy", "best_alpha.npy"]),
    }
    names.extend(weights.then_some(WEIGHTS));
    names.extend((weights && !is_part).then_some(MODEL));
    names
}

/// What an earlier run left of the model in `folder`, if that is still right: of the same
/// fingerprint, and all `needed` files are there.
pub fn finished<'a>(
    folder: &Path,
    wanted: &str,
    mut needed: impl Iterator<Item = &'a str>,
) -> Option<ModelFound> {
    let found: ModelFound =
        serde_json::from_str(&fs::read_to_string(folder.join(MARK)).ok()?).ok()?;
    let is_whole = needed.all(|name| folder.join(name).is_file());
    (found.fingerprint == wanted && is_whole).then_some(found)
}

/// `(n_bands, n_voxels)` weight of each band's ‖w‖².
pub const BAND_ALPHAS: &str = "band_alphas.npy";
/// `(n_bands, n_voxels)` parts of the test correlation.
pub const BAND_CORRELATION: &str = "band_correlation.npy";
/// `(n_bands, n_voxels)` parts of the centred test R².
pub const BAND_R2: &str = "band_r2.npy";
/// `(1, n_voxels)` test R².
pub const TEST_R2: &str = "test_r2.npy";

/// Marks a model whose files all have their names.
pub fn mark(folder: &Path, found: &ModelFound) -> Result<()> {
    write_json(&folder.join(MARK), found)
}

/// The model's files are about to be replaced: what says that they are whole goes first.
pub fn unmark(folder: &Path) -> Result<()> {
    write_or_remove(&folder.join(MARK), None)?;
    write_or_remove(&folder.join(MODEL), None)
}
