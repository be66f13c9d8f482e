//! Where the arrays of one ridge go: to files, or to whoever asked.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, ArrayView2, s};

use super::bands::BandFiles;
use super::tiles::{SolvedTile, TileSink};
use crate::backend::{Problem, VoxelCounts};
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyColumnsWriter};
use crate::ridge::edges::AlphaEdges;
use crate::warning::Warning;

/// Where the arrays go.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Into files of this folder, which is made; or into memory.
    pub folder: Option<PathBuf>,
    /// Predicted test BOLD is wanted.
    pub predict: bool,
}

/// The arrays of a ridge; `(0, 0)` or empty where they went to files or were not wanted.
#[derive(Debug, Clone, Default)]
pub struct FittedArrays {
    /// `(n_alphas, n_voxels)` mean over folds.
    pub cv_scores: Array2<f32>,
    /// `(n_coefs, n_voxels)`.
    pub coef: Array2<f32>,
    /// `(n_test, n_voxels)`.
    pub predictions: Array2<f32>,
    /// `(n_voxels)`; NaN for a dead voxel.
    pub best_alpha: Vec<f64>,
    /// `(n_voxels)`.
    pub intercept: Vec<f32>,
    /// `(n_voxels)`.
    pub test_correlation: Vec<f32>,
}

/// A matrix that is written some columns at a time.
enum Columns {
    File(NpyColumnsWriter<f32>),
    Memory(Mutex<Array2<f32>>),
}

impl Columns {
    fn create(outputs: &Outputs, name: &str, n_rows: usize, n_cols: usize) -> Result<Self> {
        Ok(match &outputs.folder {
            Some(folder) => {
                Self::File(NpyColumnsWriter::create(&folder.join(name), n_rows, n_cols)?)
            }
            None => Self::Memory(Mutex::new(Array2::zeros((n_rows, n_cols)))),
        })
    }

    fn write(&self, cols: Range<usize>, data: &[f32]) -> Result<()> {
        match self {
            Self::File(file) => file.write_columns(cols, data),
            Self::Memory(matrix) => {
                let mut matrix = matrix.lock().unwrap_or_else(PoisonError::into_inner);
                let shape = (matrix.nrows(), cols.len());
                let data = ArrayView2::from_shape(shape, data).expect("as many rows as there are");
                matrix.slice_mut(s![.., cols]).assign(&data);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Array2<f32>> {
        match self {
            Self::File(file) => file.finish().map(|()| Array2::default((0, 0))),
            Self::Memory(matrix) => Ok(matrix.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

/// Results of all tiles; files have temporary names until all is written.
pub struct RidgeSink {
    outputs: Outputs,
    shift: Vec<f64>,
    alphas: Vec<f64>,
    cv_scores: Columns,
    coef: Columns,
    predictions: Option<Columns>,
    /// `(n_points, n_voxels)` of a search over bands.
    point_scores: Option<NpyColumnsWriter<f32>>,
    has_test: bool,
    found: Mutex<Found>,
}

/// What is known after the last tile.
pub struct Found {
    /// The arrays.
    pub arrays: FittedArrays,
    /// `(n_voxels)` CV score of the chosen alpha.
    pub top_scores: Vec<f32>,
    /// Voxels at the ends of the grid.
    pub edges: AlphaEdges,
    /// Voxels that could not be fitted.
    pub counts: VoxelCounts,
    /// Largest alpha-basis rank.
    pub basis_rank: usize,
    /// Largest share of a path that an alpha basis left out.
    pub basis_error: f64,
    bands: Option<BandFiles>,
}

impl Found {
    /// Voxels that were not fitted.
    pub fn n_dead(&self) -> usize {
        self.counts.n_constant + self.counts.n_not_finite
    }

    /// Voxels that are dead, and those at the ends of the grid.
    pub fn warnings(&self, place: &str) -> Vec<Warning> {
        let VoxelCounts { n_constant, n_not_finite } = self.counts;
        let (n_voxels, n_dead) = (self.top_scores.len(), self.n_dead());
        let dead = Warning::DeadVoxels { place: place.into(), n_constant, n_not_finite, n_voxels };
        let mut warnings = if n_dead > 0 { vec![dead] } else { Vec::new() };
        let edges = std::iter::once(("ridge".to_owned(), self.edges));
        warnings.extend(Warning::alpha_edges(place, edges, n_voxels - n_dead));
        warnings
    }
}

impl RidgeSink {
    /// For a prepared problem; `shift`: what was taken off the design's columns.
    ///
    /// Files: `alphas.npy`, `cv_scores.npy`, `best_alpha.npy`, `coef.npy`, `intercept.npy`, with a
    /// test set `test_correlation.npy` and, on request, `predictions.npy`; those of bands.
    /// # Errors
    /// `Error::Write`.
    pub fn create(
        outputs: &Outputs,
        problem: &Problem,
        n_test: usize,
        n_voxels: usize,
        shift: Vec<f64>,
    ) -> Result<Self> {
        let (mut bands, mut point_scores) = (None, None);
        if let Some(folder) = &outputs.folder {
            std::fs::create_dir_all(folder)
                .map_err(|source| Error::Write { path: folder.clone(), source })?;
            (bands, point_scores) =
                BandFiles::create(folder, problem, n_voxels, n_test > 0)?.unzip();
        }
        let alphas = problem.settings.alphas.clone();
        let matrix = |name: &str, n_rows| Columns::create(outputs, name, n_rows, n_voxels);
        let predictions = outputs.predict && n_test > 0;
        let nothing = vec![f32::NAN; n_voxels];
        Ok(Self {
            predictions: predictions.then(|| matrix("predictions.npy", n_test)).transpose()?,
            cv_scores: matrix("cv_scores.npy", alphas.len())?,
            coef: matrix("coef.npy", problem.n_coefs(&problem.models[0]))?,
            outputs: outputs.clone(),
            shift,
            alphas,
            point_scores,
            has_test: n_test > 0,
            found: Mutex::new(Found {
                arrays: FittedArrays {
                    best_alpha: vec![f64::NAN; n_voxels],
                    intercept: vec![0.0; n_voxels],
                    test_correlation: nothing.clone(),
                    ..FittedArrays::default()
                },
                top_scores: nothing,
                edges: AlphaEdges::default(),
                counts: VoxelCounts::default(),
                basis_rank: 0,
                basis_error: 0.0,
                bands,
            }),
        })
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After the last tile: files get their names.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<Found> {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        let arrays = &mut found.arrays;
        arrays.cv_scores = self.cv_scores.finish()?;
        arrays.coef = self.coef.finish()?;
        if let Some(matrix) = self.predictions {
            arrays.predictions = matrix.finish()?;
        }
        if let Some(file) = self.point_scores {
            file.finish()?;
        }
        found.bands.take().map_or(Ok(()), BandFiles::finish)?;
        if let Some(folder) = &self.outputs.folder {
            let n = [arrays.best_alpha.len()];
            npy::write(&folder.join("alphas.npy"), &[self.alphas.len()], &self.alphas)?;
            npy::write(&folder.join("best_alpha.npy"), &n, &arrays.best_alpha)?;
            npy::write(&folder.join("intercept.npy"), &n, &arrays.intercept)?;
            if self.has_test {
                npy::write(&folder.join("test_correlation.npy"), &n, &arrays.test_correlation)?;
            }
        }
        Ok(found)
    }
}

impl TileSink for RidgeSink {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let voxels = tile.voxels.clone();
        let width = voxels.len();
        let model = &tile.models[0];
        self.cv_scores.write(voxels.clone(), &model.cv_scores)?;
        self.coef.write(voxels.clone(), &model.coef)?;
        if let Some(file) = &self.point_scores {
            file.write_columns(voxels.clone(), &model.bands.scores)?;
        }
        let mut offsets = vec![0f64; width];
        for (shift, row) in self.shift.iter().zip(model.coef.chunks_exact(width)) {
            if *shift != 0.0 {
                offsets.iter_mut().zip(row).for_each(|(o, &w)| *o += shift * f64::from(w));
            }
        }
        let mut found = self.found();
        if let Some(bands) = &mut found.bands {
            bands.take(&tile, &self.alphas);
        }
        for (v, offset) in offsets.iter().enumerate() {
            let at = voxels.start + v;
            found.arrays.intercept[at] = (f64::from(model.intercept[v]) - offset) as f32;
            if let Some(best) = model.best[v] {
                let scores = (0..self.alphas.len()).map(|a| model.cv_scores[a * width + v]);
                found.edges.count(scores, best);
                found.arrays.best_alpha[at] = self.alphas[best];
                found.top_scores[at] = model.cv_scores[best * width + v];
            }
        }
        if self.has_test {
            let of_tile = &tile.tests[0].correlation;
            found.arrays.test_correlation[voxels].copy_from_slice(of_tile);
        }
        found.counts.n_constant += tile.counts.n_constant;
        found.counts.n_not_finite += tile.counts.n_not_finite;
        found.basis_rank = found.basis_rank.max(model.basis_rank);
        found.basis_error = found.basis_error.max(model.basis_error);
        Ok(())
    }

    fn wants_predictions(&self) -> bool {
        self.predictions.is_some()
    }

    fn write_predictions(
        &self,
        _: usize,
        _: usize,
        voxels: Range<usize>,
        bold: &[f32],
    ) -> Result<()> {
        match &self.predictions {
            Some(matrix) => matrix.write(voxels, bold),
            None => Ok(()),
        }
    }
}
