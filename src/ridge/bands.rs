//! Points of a search over band weights, and their eigenproblems from one set of Gram matrices.
//!
//! With D = diag √γ the design of a point is XD: its Gram matrices are DGD, its XᵀY is D(XᵀY), so
//! that no point reads a row again. For DGD = QΛQᵀ the engine is given QᵀD in place of Qᵀ.
//!
//! Search and choice are those of Dupré la Tour, Eickenberg, Nunez-Elizalde, Gallant 2022
//! (NeuroImage 264: 119728) as himalaya has them (`ridge/_random_search.py`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use faer::{Mat, MatRef, Par};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};
use rayon::prelude::*;
use serde::Serialize;

use super::conditioning::Conditioning;
use super::gram::{FoldMoments, center, mirror};
use super::spectrum::{Eigen, eigen, primal_rotation};
use crate::backend::{FoldPath, FullFit, PathSettings, PointFolds, Points, Rotate, Rotation};
use crate::error::{Error, Result};
use crate::product::packed::Packed;

/// How points are sampled.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `n_iter` | 100 | points | ≥ 1 |
/// | `concentration` | [0.1, 1.0] | of the Dirichlet distributions, taken in turn | > 0 |
/// | `seed` | 214 | of the samples | |
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BandSampling {
    /// Points.
    pub n_iter: usize,
    /// Concentrations, taken in turn; 1 is uniform on the simplex, less is nearer to its corners.
    pub concentration: Vec<f64>,
    /// Of the samples.
    pub seed: u64,
}

impl Default for BandSampling {
    fn default() -> Self {
        Self { n_iter: 100, concentration: vec![0.1, 1.0], seed: 214 }
    }
}

impl BandSampling {
    /// The setting that cannot be, and why.
    pub fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        let bad = self.concentration.iter().find(|c| !(c.is_finite() && **c >= 0.01));
        match (self.n_iter, bad) {
            (1..=1_000_000, None) if !self.concentration.is_empty() => Ok(()),
            (1..=1_000_000, bad) => {
                let got = bad.map_or("none".to_owned(), f64::to_string);
                Err(("concentration", format!("expected numbers ≥ 0.01, got {got}")))
            }
            (n, _) => Err(("n_iter", format!("expected 1 to 1000000 points, got {n}"))),
        }
    }

    /// `(n_iter, n_bands)` points on the simplex, row-major; the first has equal weights.
    /// # Errors
    /// `Error::Usage` for a concentration that is not positive.
    pub fn points(&self, n_bands: usize) -> Result<Vec<f64>> {
        let gamma = |&c: &f64| {
            Gamma::new(c, 1.0).map_err(|_| Error::Usage {
                place: "concentration".into(),
                problem: format!("expected a number > 0, got {c}"),
                hint: "1 samples the weights uniformly, less favours few bands".into(),
            })
        };
        let gammas = self.concentration.iter().map(gamma).collect::<Result<Vec<_>>>()?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut points = vec![1.0 / n_bands as f64; n_bands];
        for gamma in gammas.iter().cycle().take(self.n_iter).skip(1) {
            // Samples of a small concentration can all underflow.
            let (sample, sum) = loop {
                let sample = (0..n_bands).map(|_| gamma.sample(&mut random));
                let sample: Vec<f64> = sample.collect();
                match sample.iter().sum::<f64>() {
                    0.0 => continue,
                    sum => break (sample, sum),
                }
            };
            points.extend(sample.iter().map(|weight| weight / sum));
        }
        Ok(points)
    }
}

/// Bands of a model to be prepared.
#[derive(Debug, Clone, PartialEq)]
pub struct BandSpec {
    /// `(n_features)` band of each un-delayed column, from 0.
    pub band_of: Vec<usize>,
    /// `(n_points, n_bands)` row-major, ≥ 0. A band of weight 0 is left out.
    pub weights: Vec<f64>,
    /// Each voxel chooses among the points. Otherwise there is one, and an ordinary model of it.
    pub is_search: bool,
    /// Eigenvectors of all points are kept if they take no more; otherwise each tile solves them
    /// anew.
    pub kept_bytes: f64,
}

impl BandSpec {
    /// Bands.
    pub fn n_bands(&self) -> usize {
        self.band_of.iter().max().map_or(0, |last| last + 1)
    }

    /// Points.
    pub fn n_points(&self) -> usize {
        self.weights.len() / self.n_bands().max(1)
    }

    /// What eigenvectors of all points may take of the memory: a quarter.
    pub fn most_kept_bytes(memory_bytes: u64) -> f64 {
        memory_bytes as f64 / 4.0
    }

    /// Bytes of all points' eigenvectors for `n_coefs` columns and `n_folds` folds.
    pub fn bytes(n_points: usize, n_coefs: usize, n_folds: usize) -> f64 {
        // Two matrices a fold and two for the refit, of six bytes a cell on tile units.
        (n_points * (2 * n_folds + 2)) as f64 * (n_coefs as f64).powi(2) * 6.0
    }
}

/// The Gram matrices that all points are made of.
#[derive(Debug)]
pub struct ScaledGram {
    folds: Vec<FoldMoments>,
    all: FoldMoments,
    /// `(n_coefs)`.
    band_of_coef: Vec<usize>,
    n_bands: usize,
    weights: Vec<f64>,
    settings: PathSettings,
    x_means: Vec<f64>,
    is_kept: bool,
    /// One a point, filled where points are kept.
    kept: Vec<Option<Arc<PointFolds>>>,
    full: Vec<Mutex<Option<Arc<FullFit>>>>,
}

/// The columns of a point that are not left out, and their scales.
struct Scaled<'a> {
    /// Of all columns; 0 for one that is left out.
    scales: &'a [f64],
    /// Position among those that are not left out.
    place: Vec<Option<usize>>,
}

impl ScaledGram {
    /// Of a model's moments; and the worst conditioning of the points that are solved here: all of
    /// them where they are kept, the first otherwise.
    /// # Errors
    /// `Error::Numerical` from the decompositions.
    pub fn new(
        folds: Vec<FoldMoments>,
        all: FoldMoments,
        spec: &BandSpec,
        settings: &PathSettings,
        is_wide: bool,
    ) -> Result<(Self, Conditioning)> {
        let n_coefs = all.gram.nrows();
        let band_of_coef = spec.band_of.iter().copied().cycle().take(n_coefs).collect();
        let n_points = spec.n_points();
        let is_kept =
            !spec.is_search || BandSpec::bytes(n_points, n_coefs, folds.len()) <= spec.kept_bytes;
        let mut made = Self {
            x_means: super::spectrum::x_means(all.view()),
            folds,
            all,
            band_of_coef,
            n_bands: spec.n_bands(),
            weights: spec.weights.clone(),
            settings: settings.clone(),
            is_kept,
            kept: Vec::new(),
            full: (0..n_points).map(|_| Mutex::new(None)).collect(),
        };
        let par = if is_wide { Par::rayon(0) } else { Par::Seq };
        let solved: Vec<(PointFolds, Conditioning)> = match (is_kept, is_wide) {
            (false, _) => vec![made.solve(0, par)?],
            (true, true) => (0..n_points).map(|i| made.solve(i, par)).collect::<Result<_>>()?,
            (true, false) => {
                let points = (0..n_points).into_par_iter().with_max_len(1);
                points.map(|point| made.solve(point, par)).collect::<Result<_>>()?
            }
        };
        let mut worst = Conditioning::direct(&[], settings.alphas.len());
        for (folds, known) in solved {
            worst = worst.max(known);
            made.kept.extend(is_kept.then(|| Some(Arc::new(folds))));
        }
        Ok((made, worst))
    }

    /// Points.
    pub fn n_points(&self) -> usize {
        self.full.len()
    }

    fn scales(&self, point: usize) -> Vec<f64> {
        let weights = &self.weights[point * self.n_bands..(point + 1) * self.n_bands];
        self.band_of_coef.iter().map(|&band| weights[band].sqrt()).collect()
    }

    /// One point in cross-validation, and what is known of its training Gram matrices.
    fn solve(&self, point: usize, par: Par) -> Result<(PointFolds, Conditioning)> {
        let scales = self.scales(point);
        let scaled = Scaled::new(&scales);
        let all = scaled.moments(&self.all);
        let fold = |k: &FoldMoments| -> Result<(Rotation, FoldPath, Conditioning)> {
            let (rotation, known) = scaled.rotation(&all, k, &self.settings, par)?;
            let path = FoldPath::new(&rotation, &self.settings)?;
            Ok((rotation, path, known))
        };
        let solved: Vec<(Rotation, FoldPath, Conditioning)> = match par {
            Par::Seq => {
                self.folds.par_iter().with_max_len(1).map(fold).collect::<Result<Vec<_>>>()?
            }
            Par::Rayon(_) => self.folds.iter().map(fold).collect::<Result<Vec<_>>>()?,
        };
        let mut worst = Conditioning::direct(&[], self.settings.alphas.len());
        let mut found = PointFolds { folds: Vec::new(), paths: Vec::new() };
        for (rotation, path, known) in solved {
            found.folds.push(rotation);
            found.paths.push(path);
            worst = worst.max(known);
        }
        Ok((found, worst))
    }

    /// One point on all training rows.
    fn solve_full(&self, point: usize) -> Result<FullFit> {
        let scales = self.scales(point);
        let scaled = Scaled::new(&scales);
        let mut all = scaled.moments(&self.all);
        if self.settings.fit_intercept {
            center(all.gram.as_mut(), &all.sums, all.n_rows);
        }
        mirror(all.gram.as_mut());
        let Eigen { vectors, values } = eigen(all.gram.as_ref(), Par::Seq, "a scaled Gram matrix")?;
        Ok(FullFit {
            eigvals: values,
            into: scaled.components(vectors.as_ref()),
            back: scaled.back(vectors.as_ref()),
            x_means: self.x_means.clone(),
            test_rows: Vec::new(),
        })
    }

    /// The only point as a model of its own: rotations and paths of its folds, and the refit.
    /// # Errors
    /// `Error::Numerical` from the decompositions.
    pub fn into_single(self) -> Result<(Vec<Rotation>, Vec<FoldPath>, FullFit)> {
        let full = self.solve_full(0)?;
        let kept = self.kept.into_iter().flatten().next();
        let kept = kept.and_then(|kept| Arc::try_unwrap(kept).ok());
        let PointFolds { folds, paths } = kept.expect("a single point is kept");
        Ok((folds, paths, full))
    }
}

impl Points for ScaledGram {
    fn folds(&self, point: usize) -> Result<Arc<PointFolds>> {
        match self.kept.get(point) {
            Some(Some(folds)) => Ok(Arc::clone(folds)),
            _ => Ok(Arc::new(self.solve(point, Par::Seq)?.0)),
        }
    }

    fn full(&self, point: usize, waits: bool) -> Result<Option<Arc<FullFit>>> {
        if !self.is_kept {
            return self.solve_full(point).map(|full| Some(Arc::new(full)));
        }
        let mut slot: MutexGuard<'_, Option<Arc<FullFit>>> = match self.full[point].try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::WouldBlock) if !waits => return Ok(None),
            Err(_) => self.full[point].lock().unwrap_or_else(PoisonError::into_inner),
        };
        if slot.is_none() {
            *slot = Some(Arc::new(self.solve_full(point)?));
        }
        Ok(slot.clone())
    }
}

impl<'a> Scaled<'a> {
    fn new(scales: &'a [f64]) -> Self {
        let mut next = 0..;
        let place = scales.iter().map(|&s| if s > 0.0 { next.next() } else { None }).collect();
        Self { scales, place }
    }

    fn live(&self) -> Vec<usize> {
        (0..self.scales.len()).filter(|&i| self.place[i].is_some()).collect()
    }

    /// DGD and D(sums) of the columns that are not left out.
    fn moments(&self, from: &FoldMoments) -> FoldMoments {
        let live = self.live();
        let cell = |i: usize, j: usize| {
            self.scales[live[i]] * self.scales[live[j]] * from.gram[(live[i], live[j])]
        };
        FoldMoments {
            gram: Mat::from_fn(live.len(), live.len(), cell),
            sums: live.iter().map(|&i| self.scales[i] * from.sums[i]).collect(),
            n_rows: from.n_rows,
        }
    }

    /// One fold, for unscaled XᵀY. `all`: the point's moments of all rows.
    fn rotation(
        &self,
        all: &FoldMoments,
        fold: &FoldMoments,
        settings: &PathSettings,
        par: Par,
    ) -> Result<(Rotation, Conditioning)> {
        let into = |vectors: MatRef<'_, f64>| self.components(vectors);
        let own = self.moments(fold);
        let (mut rotation, known) =
            primal_rotation(all.view(), own.view(), None, &into, settings, par)?;
        if let Rotate::Primal { val_sums, .. } = &mut rotation.rotate {
            val_sums.clone_from(&fold.sums);
        }
        Ok((rotation, known))
    }

    /// QᵀD over all columns.
    fn components(&self, vectors: MatRef<'_, f64>) -> Packed {
        Packed::from_fn(vectors.ncols(), self.scales.len(), |i, j| {
            self.place[j].map_or(0.0, |at| (vectors[(at, i)] * self.scales[j]) as f32)
        })
    }

    /// DQ over all columns.
    fn back(&self, vectors: MatRef<'_, f64>) -> Packed {
        Packed::from_fn(self.scales.len(), vectors.ncols(), |j, i| {
            self.place[j].map_or(0.0, |at| (vectors[(at, i)] * self.scales[j]) as f32)
        })
    }
}
