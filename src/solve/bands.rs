//! Bands of `voxelcast ridge`: which columns, which points, and the files they have of their own.

use std::path::{Path, PathBuf};

use super::tiles::SolvedTile;
use crate::backend::{BandSearch, Problem};
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyColumnsWriter};
use crate::ridge::{BandSampling, BandSpec};

/// Bands of a ridge.
#[derive(Debug, Clone)]
pub struct BandJob {
    /// Which column belongs to which band.
    pub columns: BandColumns,
    /// The points that are searched.
    pub points: BandPoints,
}

/// Which column belongs to which band.
#[derive(Debug, Clone)]
pub enum BandColumns {
    /// So many columns each, side by side.
    Counts(Vec<usize>),
    /// `(p)` labels; bands in the order of the labels.
    Ids(PathBuf),
}

/// The points that are searched.
#[derive(Debug, Clone)]
pub enum BandPoints {
    /// Sampled on the simplex.
    Sampled(BandSampling),
    /// `(n_points, n_bands)`, ≥ 0, the weights as they are.
    File(PathBuf),
}

impl BandJob {
    /// The bands of `p` columns.
    /// # Errors
    /// Exit 3 for files that do not fit; exit 2 for counts that do not add up.
    pub fn spec(&self, x: &Path, p: usize, memory_bytes: u64) -> Result<BandSpec> {
        let band_of = match &self.columns {
            BandColumns::Counts(counts) => counted(counts, x, p)?,
            BandColumns::Ids(path) => labelled(path, x, p)?,
        };
        let n_bands = band_of.iter().max().map_or(0, |last| last + 1);
        let weights = match &self.points {
            BandPoints::Sampled(sampling) => sampling.points(n_bands)?,
            BandPoints::File(path) => read_points(path, n_bands)?,
        };
        let kept_bytes = BandSpec::most_kept_bytes(memory_bytes);
        Ok(BandSpec { band_of, weights, is_search: true, kept_bytes })
    }

    /// Files that are read for the bands.
    pub fn files(&self) -> Vec<&PathBuf> {
        let ids = if let BandColumns::Ids(path) = &self.columns { Some(path) } else { None };
        let points = if let BandPoints::File(path) = &self.points { Some(path) } else { None };
        ids.into_iter().chain(points).collect()
    }
}

fn counted(counts: &[usize], x: &Path, p: usize) -> Result<Vec<usize>> {
    let sum = counts.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
    if sum != Some(p) || counts.contains(&0) {
        return Err(Error::Usage {
            place: "--bands".into(),
            problem: format!(
                "expected counts ≥ 1 that add up to the {p} columns of {}, got {counts:?}",
                x.display()
            ),
            hint: "--band-ids takes the band of each column".into(),
        });
    }
    let bands = counts.iter().enumerate();
    Ok(bands.flat_map(|(band, &n)| std::iter::repeat_n(band, n)).collect())
}

fn labelled(path: &Path, x: &Path, p: usize) -> Result<Vec<usize>> {
    let labels = npy::read_labels(path)?;
    if labels.len() != p {
        return Err(Error::Shape {
            what: path.display().to_string(),
            expected: format!("{p} labels, one a column of {}", x.display()),
            got: labels.len().to_string(),
            hint: "give every column the label of its band".into(),
        });
    }
    let mut names = labels.clone();
    names.sort_unstable();
    names.dedup();
    Ok(labels.iter().map(|label| names.partition_point(|name| name < label)).collect())
}

/// `(n_points, n_bands)` points of a file.
fn read_points(path: &Path, n_bands: usize) -> Result<Vec<f64>> {
    let points = npy::read_matrix_f64(path)?;
    let place = path.display().to_string();
    if points.ncols() != n_bands || points.nrows() == 0 {
        return Err(Error::Shape {
            what: place,
            expected: format!("at least one point of {n_bands} band weights"),
            got: format!("{:?}", points.dim()),
            hint: "one row a point, one column a band".into(),
        });
    }
    for (i, row) in points.rows().into_iter().enumerate() {
        let is_fine = row.iter().all(|w| *w >= 0.0 && w.is_finite()) && row.sum() > 0.0;
        if !is_fine {
            return Err(Error::Values {
                place,
                problem: format!("expected weights ≥ 0, not all 0, got {row} in row {i}"),
                hint: "a weight of 0 leaves its band out".into(),
            });
        }
    }
    Ok(points.iter().copied().collect())
}

/// What a search has found, voxel by voxel.
pub struct BandFiles {
    out: PathBuf,
    search: BandSearch,
    n_voxels: usize,
    /// `(n_bands, n_voxels)`.
    alphas: Vec<f64>,
    /// `(n_voxels)`; -1 for a dead voxel.
    point: Vec<i64>,
    /// `(n_bands, n_voxels)` each; without a test set empty.
    test: [Vec<f32>; 2],
}

impl BandFiles {
    /// Of the first model of a problem, if it is a search; and the file of its points' scores.
    /// # Errors
    /// `Error::Write`.
    pub fn create(
        out: &Path,
        problem: &Problem,
        n_voxels: usize,
        has_test: bool,
    ) -> Result<Option<(Self, NpyColumnsWriter<f32>)>> {
        let Some(search) = problem.models[0].search.clone() else { return Ok(None) };
        let scores =
            NpyColumnsWriter::create(&out.join("point_scores.npy"), search.n_points(), n_voxels)?;
        let n = search.n_bands * n_voxels;
        let part = || if has_test { vec![f32::NAN; n] } else { Vec::new() };
        let made = Self {
            out: out.to_owned(),
            n_voxels,
            alphas: vec![f64::NAN; n],
            point: vec![-1; n_voxels],
            test: [part(), part()],
            search,
        };
        Ok(Some((made, scores)))
    }

    /// Takes a tile.
    pub fn take(&mut self, tile: &SolvedTile<'_>, alphas: &[f64]) {
        let (model, width) = (&tile.models[0], tile.voxels.len());
        for (at, point) in tile.voxels.clone().zip(&model.bands.point) {
            self.point[at] = point.map_or(-1, |point| point as i64);
        }
        let chosen = self.search.chosen_alphas(model, alphas);
        let rows = self.alphas.chunks_exact_mut(self.n_voxels).zip(chosen.chunks_exact(width));
        rows.for_each(|(to, from)| to[tile.voxels.clone()].copy_from_slice(from));
        let found = [&tile.tests[0].band_correlation, &tile.tests[0].band_r2];
        for (to, from) in self.test.iter_mut().zip(found).filter(|(to, _)| !to.is_empty()) {
            for (to, from) in to.chunks_exact_mut(self.n_voxels).zip(from.chunks_exact(width)) {
                to[tile.voxels.clone()].copy_from_slice(from);
            }
        }
    }

    /// Writes `band_weights.npy`, `band_alphas.npy`, `best_point.npy`, and with a test set
    /// `band_correlation.npy` and `band_r2.npy`.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<()> {
        let (n_bands, n) = (self.search.n_bands, self.n_voxels);
        let file = |name: &str| self.out.join(name);
        let points = [self.search.n_points(), n_bands];
        npy::write(&file("band_weights.npy"), &points, &self.search.weights)?;
        npy::write(&file("band_alphas.npy"), &[n_bands, n], &self.alphas)?;
        npy::write(&file("best_point.npy"), &[n], &self.point)?;
        for (name, part) in ["band_correlation.npy", "band_r2.npy"].into_iter().zip(&self.test) {
            if !part.is_empty() {
                npy::write(&file(name), &[n_bands, n], part)?;
            }
        }
        Ok(())
    }
}
