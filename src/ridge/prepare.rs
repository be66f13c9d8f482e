//! From designs to a problem that an engine can solve.

use std::sync::Arc;

use faer::{Mat, Par};
use rayon::prelude::*;

use super::bands::{BandSpec, ScaledGram};
use super::conditioning::Conditioning;
use super::few::{few_fit, few_fold, few_full, is_cheaper};
use super::gram::{FoldMoments, MomentsView, fold_moments};
use super::kernel::{dual_full, dual_rotation, kernel};
use super::route::{Route, SHARED_EIGEN};
use super::spectrum::{components, primal_full, primal_rotation, x_means};
use super::svd::{delayed_fold, factor_folds, solve_svd};
use crate::backend::{
    BandSearch, Block, FewFit, FoldPath, FullFit, Model, PathSettings, Problem, Rotation, Space,
};
use crate::error::Result;
use crate::matrix::StoryDesign;

/// A model to be prepared.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// Index into the spaces.
    pub space: usize,
    /// Delays in the order of the weights' rows; all of them delays of the space.
    pub delays: Vec<i64>,
    /// How it is solved.
    pub route: Route,
    /// Whether weights are wanted.
    pub wants_coef: bool,
    /// Bands with a weight each; on the Gram route alone.
    pub bands: Option<BandSpec>,
}

/// What the preparation found, beside the problem.
#[derive(Debug, Clone, Default)]
pub struct Prepared {
    /// Per model: the worst of its folds.
    pub conditioning: Vec<Conditioning>,
}

/// Gram matrices and eigenproblems of every model; nothing here depends on BOLD.
///
/// # Errors
/// `Error::Numerical` from the decompositions.
pub fn prepare(
    mut spaces: Vec<Space>,
    specs: &[ModelSpec],
    blocks: Vec<Block>,
    test_blocks: Vec<usize>,
    n_folds: usize,
    settings: PathSettings,
) -> Result<(Problem, Prepared)> {
    let all_cores = Par::rayon(0);
    let mut moments: Vec<Option<Vec<FoldMoments>>> = Vec::new();
    for (s, space) in spaces.iter().enumerate() {
        let primal = specs.iter().any(|spec| spec.space == s && spec.route == Route::Gram);
        moments.push(primal.then(|| fold_moments(space, &blocks, n_folds, all_cores)));
    }
    let mut models = Vec::with_capacity(specs.len());
    let mut conditioning = Vec::with_capacity(specs.len());
    for spec in specs {
        let space = &spaces[spec.space];
        if spec.route == Route::Svd {
            let p = space.n_features * spec.delays.len();
            let par = if p > SHARED_EIGEN { all_cores } else { Par::Seq };
            let center = settings.fit_intercept;
            let factored = factor_folds(space, &spec.delays, &blocks, n_folds, center, par);
            let (folds, full) =
                solve_svd(&factored, space, &spec.delays, &settings, p > SHARED_EIGEN)?;
            let (folds, worst) = parted(folds, settings.alphas.len());
            conditioning.push(worst);
            models.push(Model {
                space: spaces.len(),
                delays: vec![0],
                paths: paths(&folds, &settings)?,
                folds,
                full,
                few: None,
                search: None,
                wants_coef: spec.wants_coef,
            });
            spaces.push(factored.space);
            continue;
        }
        if let (Some(bands), Some(moments)) = (&spec.bands, &moments[spec.space]) {
            let (model, worst) = banded(moments, space, spec, bands, &settings)?;
            models.push(model);
            conditioning.push(worst);
            continue;
        }
        let Solved { folds, full, few } = match (spec.route, &moments[spec.space]) {
            (Route::Gram, Some(folds)) => solve_primal(folds, space, spec, &blocks, &settings)?,
            _ => solve_dual(space, spec, &blocks, n_folds, &settings)?,
        };
        let (folds, worst) = parted(folds, settings.alphas.len());
        conditioning.push(worst);
        models.push(Model {
            space: spec.space,
            delays: picked(&spaces[spec.space], spec),
            paths: paths(&folds, &settings)?,
            folds,
            full,
            few,
            search: None,
            wants_coef: spec.wants_coef,
        });
    }
    // Svd models read their own space: the rows of a space that no other model uses can go.
    for (s, space) in spaces.iter_mut().enumerate() {
        if models.iter().all(|model| model.space != s) {
            *space = Space { delays: vec![], ..Space::default() };
        }
    }
    let problem =
        Problem { test_blocks, models, ..Problem::new(n_folds, blocks, spaces, settings) };
    Ok((problem, Prepared { conditioning }))
}

/// The same from the moments of each fold's rows, without the rows: one model, on the Gram route.
///
/// # Errors
/// `Error::Numerical` from the decompositions.
pub fn prepare_moments(
    folds: &[FoldMoments],
    settings: PathSettings,
) -> Result<(Problem, Conditioning)> {
    let blocks = folds.iter().enumerate();
    let blocks: Vec<Block> =
        blocks.map(|(fold, moments)| Block { fold, n_rows: moments.n_rows }).collect();
    let n_features = folds[0].sums.len();
    let space = Space { delays: vec![0], n_features, ..Space::default() };
    let (route, wants_coef) = (Route::Gram, true);
    let spec = ModelSpec { space: 0, delays: vec![0], route, wants_coef, bands: None };
    let Solved { folds: solved, full, few } =
        solve_primal(folds, &space, &spec, &blocks, &settings)?;
    let (rotations, worst) = parted(solved, settings.alphas.len());
    let model = Model {
        space: 0,
        delays: vec![0],
        paths: paths(&rotations, &settings)?,
        folds: rotations,
        full,
        few,
        search: None,
        wants_coef,
    };
    let models = vec![model];
    let problem = Problem { models, ..Problem::new(folds.len(), blocks, vec![space], settings) };
    Ok((problem, worst))
}

/// A model, solved in one of two ways: with eigenvectors, or `few` and nothing in `folds`.
struct Solved {
    folds: Vec<(Rotation, Conditioning)>,
    full: FullFit,
    few: Option<FewFit>,
}

/// The rotations, and the worst of what is known of them.
fn parted(folds: Vec<(Rotation, Conditioning)>, n_alphas: usize) -> (Vec<Rotation>, Conditioning) {
    let (rotations, known): (Vec<_>, Vec<_>) = folds.into_iter().unzip();
    let worst = known.into_iter().fold(Conditioning::direct(&[], n_alphas), Conditioning::max);
    (rotations, worst)
}

fn solve_primal(
    union: &[FoldMoments],
    space: &Space,
    spec: &ModelSpec,
    blocks: &[Block],
    settings: &PathSettings,
) -> Result<Solved> {
    let picked: Vec<usize> = picked(space, spec);
    let d = space.n_features;
    // A model whose delays stand side by side in its space reads that space's moments: no copies.
    let first = picked.first().copied().unwrap_or(0);
    let delays = first..first + picked.len();
    let own: Option<Vec<FoldMoments>> = (!picked.iter().copied().eq(delays.clone()))
        .then(|| union.iter().map(|fold| select(fold, &picked, d)).collect());
    let folds: Vec<MomentsView<'_>> = match &own {
        Some(own) => own.iter().map(FoldMoments::view).collect(),
        None => union.iter().map(|f| f.columns(delays.start * d..delays.end * d)).collect(),
    };
    let all = total(&folds);
    let all = all.view();
    let center = settings.fit_intercept;
    let val_rows = |k: usize| {
        // Fewer rows than half the columns: they are the smaller factor, where there are any.
        let is_short = 2 * folds[k].n_rows < all.gram.nrows() && !space.train.is_empty();
        is_short.then(|| delayed_fold(space, &spec.delays, blocks, k, 0))
    };
    if is_cheaper(settings, all.gram.nrows())
        && let Some(few) = solve_few(&folds, all, &val_rows, settings)?
    {
        let full = FullFit { x_means: x_means(all), ..FullFit::default() };
        return Ok(Solved { folds: Vec::new(), full, few: Some(few) });
    }
    let rotation = |k: usize, par: Par| {
        primal_rotation(all, folds[k], val_rows(k), &components, settings, par)
    };
    if all.gram.nrows() > SHARED_EIGEN {
        let par = Par::rayon(0);
        let full = primal_full(all, center, par)?;
        let rotations = (0..folds.len()).map(|k| rotation(k, par)).collect::<Result<_>>()?;
        return Ok(Solved { folds: rotations, full, few: None });
    }
    let (full, rotations) = rayon::join(
        || primal_full(all, center, Par::Seq),
        || {
            (0..folds.len())
                .into_par_iter()
                .with_max_len(1)
                .map(|k| rotation(k, Par::Seq))
                .collect::<Result<Vec<_>>>()
        },
    );
    Ok(Solved { folds: rotations?, full: full?, few: None })
}

/// A model of bands: one point as any other model, more of them as a search.
fn banded(
    union: &[FoldMoments],
    space: &Space,
    spec: &ModelSpec,
    bands: &BandSpec,
    settings: &PathSettings,
) -> Result<(Model, Conditioning)> {
    let picked = picked(space, spec);
    let folds = union.iter().map(|fold| select(fold, &picked, space.n_features));
    let folds: Vec<FoldMoments> = folds.collect();
    let views: Vec<MomentsView<'_>> = folds.iter().map(FoldMoments::view).collect();
    let all = total(&views);
    let full = FullFit { x_means: x_means(all.view()), ..FullFit::default() };
    let is_wide = all.gram.nrows() > SHARED_EIGEN;
    let (gram, worst) = ScaledGram::new(folds, all, bands, settings, is_wide)?;
    let mut model = Model {
        space: spec.space,
        delays: picked,
        folds: Vec::new(),
        paths: Vec::new(),
        full,
        few: None,
        search: None,
        wants_coef: spec.wants_coef,
    };
    if !bands.is_search {
        (model.folds, model.paths, model.full) = gram.into_single()?;
    } else {
        model.search = Some(BandSearch {
            band_of: bands.band_of.clone(),
            n_bands: bands.n_bands(),
            weights: bands.weights.clone(),
            points: Arc::new(gram),
        });
    }
    Ok((model, worst))
}

/// Without eigenvectors; `None` where they are needed.
fn solve_few(
    folds: &[MomentsView<'_>],
    all: MomentsView<'_>,
    val_rows: &(dyn Fn(usize) -> Option<Mat<f64>> + Sync),
    settings: &PathSettings,
) -> Result<Option<FewFit>> {
    let fold = |k: usize| few_fold(all, folds[k], val_rows(k), settings, Par::Seq);
    let (full, folds) = rayon::join(
        || few_full(all, settings, Par::Seq),
        || (0..folds.len()).into_par_iter().with_max_len(1).map(fold).collect::<Result<_>>(),
    );
    Ok(few_fit(folds?, full?))
}

fn paths(folds: &[Rotation], settings: &PathSettings) -> Result<Vec<FoldPath>> {
    folds.par_iter().map(|rotation| FoldPath::new(rotation, settings)).collect()
}

/// Indices of a model's delays among those of its space.
fn picked(space: &Space, spec: &ModelSpec) -> Vec<usize> {
    let position = |delay: &i64| space.delays.iter().position(|have| have == delay);
    let all = spec.delays.iter().map(position).collect::<Option<_>>();
    all.expect("a model's delays are delays of its space")
}

/// The moments of some of a space's delays, in the order given.
fn select(union: &FoldMoments, picked: &[usize], d: usize) -> FoldMoments {
    let p = picked.len() * d;
    let mut gram = Mat::<f64>::zeros(p, p);
    for (j, &from_j) in picked.iter().enumerate() {
        for (i, &from_i) in picked.iter().enumerate() {
            let block = union.gram.submatrix(from_i * d, from_j * d, d, d);
            gram.as_mut().submatrix_mut(i * d, j * d, d, d).copy_from(block);
        }
    }
    let sums = picked.iter().flat_map(|&from| &union.sums[from * d..(from + 1) * d]);
    FoldMoments { gram, sums: sums.copied().collect(), n_rows: union.n_rows }
}

fn total(folds: &[MomentsView<'_>]) -> FoldMoments {
    let first = folds[0];
    let mut all = FoldMoments {
        gram: first.gram.to_owned(),
        sums: first.sums.to_vec(),
        n_rows: first.n_rows,
    };
    for fold in &folds[1..] {
        all.gram += fold.gram;
        all.sums.iter_mut().zip(fold.sums).for_each(|(a, b)| *a += b);
        all.n_rows += fold.n_rows;
    }
    all
}

fn solve_dual(
    space: &Space,
    spec: &ModelSpec,
    blocks: &[Block],
    n_folds: usize,
    settings: &PathSettings,
) -> Result<Solved> {
    let par = Par::rayon(0);
    let center = settings.fit_intercept;
    let train: Vec<&StoryDesign> = space.train.iter().collect();
    let n_coefs = space.n_features * spec.delays.len();
    let all = kernel(&train, &train, &spec.delays);
    let rotations = (0..n_folds)
        .map(|fold| dual_rotation(all.as_ref(), blocks, fold, n_coefs, settings, par))
        .collect::<Result<_>>()?;
    let test = space.test.iter().map(|x| kernel(&[x], &train, &spec.delays)).collect();
    let means = column_means(space, &spec.delays);
    let full = dual_full(all, test, means, center, par)?;
    Ok(Solved { folds: rotations, full, few: None })
}

/// Means of the delayed columns over all training rows, without a Gram.
fn column_means(space: &Space, delays: &[i64]) -> Vec<f64> {
    let n: usize = space.train.iter().map(StoryDesign::n_trs).sum();
    let mut means = Vec::with_capacity(delays.len() * space.n_features);
    for &delay in delays {
        let mut sums = vec![0.0; space.n_features];
        for design in &space.train {
            let rows = crate::backend::cpu::xty::delayed_rows(design.n_trs(), delay);
            let first = (rows.start as i64 - delay) as usize;
            design.add_column_sums(first..first + rows.len(), &mut sums);
        }
        means.extend(sums.into_iter().map(|s| s / n.max(1) as f64));
    }
    means
}
