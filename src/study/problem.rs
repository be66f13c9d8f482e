//! Designs to the problem that the tiles solve.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array2, Axis};

use super::inputs::{Subject, writes_delays};
use super::models::ModelPlan;
use super::plan::StudyPlan;
use super::split::Split;
use crate::backend::problem::LagProducts;
use crate::backend::{Block, PathSettings, Permutations, Problem, Space};
use crate::design::delays::delay;
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;
use crate::ridge::conditioning::Conditioning;
use crate::ridge::{ModelSpec, prepare};
use crate::study_file::{Statistics, Study};

/// What is known of Gram matrices, by space of the study.
pub type Known = HashMap<usize, KnownSpace>;

/// Of one space.
#[derive(Debug, Clone)]
pub struct KnownSpace {
    /// Story by story.
    pub products: Arc<[Arc<LagProducts>]>,
    /// As `Space::columns`.
    pub columns: Option<Arc<[usize]>>,
}

/// Eigenproblems of every model from the designs `[space][story]` of one subject's TR counts.
///
/// `known`: what is known of the Gram matrices, and the voxels of all subjects that the problem is
/// for; `None` for the study's own fit, which has weights and a permutation test if they are wanted
/// (single delays have neither).
pub fn build_problem(
    study: &Study,
    made: Vec<Vec<StoryDesign>>,
    subject: &Subject,
    split: &Split,
    plan: &StudyPlan,
    known: Option<(&Known, usize)>,
) -> Result<(Problem, Vec<Conditioning>)> {
    let n_trs = subject.n_trs();
    let blocks: Vec<Block> = split
        .train
        .iter()
        .zip(&split.fold_of_train)
        .map(|(&story, &fold)| Block { fold, n_rows: n_trs[story] })
        .collect();
    let test_blocks: Vec<usize> = split.test.iter().map(|&story| n_trs[story]).collect();
    let is_own = known.is_none();
    let products = known.map(|(products, _)| products);
    let (spaces, mut specs) = load_spaces(study, made, (subject, split), plan, products)?;
    let is_main = is_own && !plan.is_profile();
    specs.iter_mut().for_each(|spec| spec.wants_coef = is_main && study.weights);
    let few_voxels = known.map(|(_, n_voxels)| n_voxels);
    let settings = PathSettings { few_voxels, ..path_settings(study) };
    let (mut problem, prepared) =
        prepare(spaces, &specs, blocks, test_blocks, split.n_folds, settings)?;
    if let Some(edges) = plan.inner {
        problem.inner = split.test.iter().map(|&unit| subject.inner_rows(unit, edges)).collect();
    }
    let Statistics { permutations, block_trs, seed, .. } = study.statistics;
    problem.permutations = (is_main && permutations > 0)
        .then(|| Permutations::new(problem.n_test(), block_trs, permutations, seed));
    Ok((problem, prepared.conditioning))
}

/// How a study goes over its alphas.
pub fn path_settings(study: &Study) -> PathSettings {
    PathSettings {
        scorer: study.scorer,
        fit_intercept: study.fit_intercept,
        alpha_tolerance: study.alpha_tolerance,
        basis_tolerance: study.basis_tolerance,
        ..PathSettings::new(study.alphas.values().to_vec())
    }
}

/// One space for each of the study's that has models (one per model where delays are written out),
/// and the models.
pub fn load_spaces(
    study: &Study,
    made: Vec<Vec<StoryDesign>>,
    (subject, split): (&Subject, &Split),
    plan: &StudyPlan,
    known: Option<&Known>,
) -> Result<(Vec<Space>, Vec<ModelSpec>)> {
    let mut spaces: Vec<Space> = Vec::new();
    let mut specs = Vec::new();
    let is_own = known.is_none();
    for (index, designs) in made.into_iter().enumerate() {
        let models = || plan.models.iter().filter(|model| model.design == index);
        if models().next().is_none() || designs.is_empty() {
            continue;
        }
        if writes_delays(study, std::slice::from_ref(subject)) || study.is_partly_delayed(index) {
            for model in models() {
                let delayed = |units: &[usize]| match study.delays_cross_stories {
                    true => stacked_units(&designs, units, subject, model),
                    false => delayed_units(&designs, units, subject, model),
                };
                let space = Space {
                    delays: vec![0],
                    n_features: model.n_coefs,
                    train: delayed(&split.train)?,
                    test: delayed(&split.test)?,
                    ..Space::default()
                };
                specs.push(spec(spaces.len(), vec![0], model, model.delays.len(), is_own)?);
                spaces.push(space);
            }
            continue;
        }
        let mut designs: Vec<Option<StoryDesign>> = designs.into_iter().map(Some).collect();
        let mut pick = |units: &[usize]| -> Vec<StoryDesign> {
            units.iter().filter_map(|&unit| designs[subject.place(unit).file].take()).collect()
        };
        let (train, test) = (pick(&split.train), pick(&split.test));
        let mut delays: Vec<i64> = Vec::new();
        for model in models() {
            delays.extend(
                model.delays.iter().filter(|d| !delays.contains(d)).copied().collect::<Vec<_>>(),
            );
            specs.push(spec(spaces.len(), model.delays.clone(), model, 1, is_own)?);
        }
        let n_features = train.first().map_or(0, StoryDesign::n_features);
        let mut space = Space { delays, n_features, train, test, ..Space::default() };
        if let Some(known) = known.and_then(|known| known.get(&index)) {
            let of_story = |&story: &usize| Arc::clone(&known.products[story]);
            space.products = split.train.iter().map(of_story).collect();
            space.columns = known.columns.clone();
        }
        spaces.push(space);
    }
    Ok((spaces, specs))
}

/// `n_copies`: of the space's columns in its design. Other fits keep no eigenvectors of a search.
fn spec(
    space: usize,
    delays: Vec<i64>,
    model: &ModelPlan,
    n_copies: usize,
    is_own: bool,
) -> Result<ModelSpec> {
    let kept_bytes = if is_own { model.search_bytes } else { 0.0 };
    let bands = model.bands.as_ref().map(|bands| bands.spec(n_copies, kept_bytes));
    let bands = bands.transpose()?;
    Ok(ModelSpec { space, delays, route: model.route, wants_coef: false, bands })
}

/// Designs with their delays written out: the delayed columns, delay after delay, then those that
/// are `undelayed` (ranges of columns), once.
///
/// `crosses`: features run on from one story into the next, in the order of the designs.
/// # Errors
/// Those of delays.
pub fn written_delays(
    designs: &[&StoryDesign],
    delays: &[i64],
    undelayed: &[Range<usize>],
    crosses: bool,
) -> Result<Vec<StoryDesign>> {
    if undelayed.is_empty() {
        return all_delayed(designs, delays, crosses);
    }
    let is_undelayed = |column: &usize| undelayed.iter().any(|range| range.contains(column));
    let columns = |wanted: bool| -> Vec<StoryDesign> {
        let of_story = |x: &&StoryDesign| {
            let own: Vec<usize> =
                (0..x.n_features()).filter(|column| is_undelayed(column) == wanted).collect();
            StoryDesign::Dense(x.to_dense().select(Axis(1), &own))
        };
        designs.iter().map(of_story).collect()
    };
    let own = columns(false);
    let delayed = all_delayed(&own.iter().collect::<Vec<_>>(), delays, crosses)?;
    let pairs = delayed.into_iter().zip(columns(true));
    Ok(pairs.map(|(delayed, once)| StoryDesign::hstack(&[&delayed, &once])).collect())
}

fn all_delayed(
    designs: &[&StoryDesign],
    delays: &[i64],
    crosses: bool,
) -> Result<Vec<StoryDesign>> {
    let delayed = |x: &&StoryDesign| delay(x.to_dense().view(), delays).map(StoryDesign::Dense);
    match crosses {
        true => stack(designs, delays),
        false => designs.iter().map(delayed).collect(),
    }
}

/// The used rows of each unit, with delays written out over the whole of its story: a block's first
/// rows see the words before it.
fn delayed_units(
    designs: &[StoryDesign],
    units: &[usize],
    subject: &Subject,
    model: &ModelPlan,
) -> Result<Vec<StoryDesign>> {
    let mut made: Vec<Option<StoryDesign>> = units.iter().map(|_| None).collect();
    for (file, design) in designs.iter().enumerate() {
        let is_of_file = |at: &usize| subject.place(units[*at]).file == file;
        let own: Vec<usize> = (0..units.len()).filter(is_of_file).collect();
        let Some((last, others)) = own.split_last() else { continue };
        for delayed in written_delays(&[design], &model.delays, &model.undelayed, false)? {
            for &at in others {
                made[at] = Some(delayed.rows(&subject.used(units[at])));
            }
            made[*last] = Some(delayed.take_rows(&subject.used(units[*last])));
        }
    }
    Ok(made.into_iter().flatten().collect())
}

/// The same with stories stacked in the order of the units, which are stories.
fn stacked_units(
    designs: &[StoryDesign],
    units: &[usize],
    subject: &Subject,
    model: &ModelPlan,
) -> Result<Vec<StoryDesign>> {
    let stories: Vec<&StoryDesign> =
        units.iter().map(|&unit| &designs[subject.place(unit).file]).collect();
    let stacked = written_delays(&stories, &model.delays, &model.undelayed, true)?;
    let stacked = stacked.into_iter().zip(units);
    Ok(stacked.map(|(x, &unit)| x.take_rows(&subject.used(unit))).collect())
}

/// HuthLab's preset: stories stacked in their order, delayed as one, cut apart again.
/// # Errors
/// Those of delays.
fn stack(designs: &[&StoryDesign], delays: &[i64]) -> Result<Vec<StoryDesign>> {
    let dense: Vec<Array2<f32>> = designs.iter().map(|x| x.to_dense()).collect();
    let views: Vec<_> = dense.iter().map(|x| x.view()).collect();
    let joined = ndarray::concatenate(ndarray::Axis(0), &views).map_err(|e| Error::Numerical {
        what: "stacking stories".into(),
        problem: e.to_string(),
    })?;
    let delayed = delay(joined.view(), delays)?; // (n_trs of all stories, n_features * n_delays)
    let mut first = 0;
    let cut = dense.iter().map(|x| {
        let rows = delayed.slice(ndarray::s![first..first + x.nrows(), ..]);
        first += x.nrows();
        StoryDesign::Dense(rows.as_standard_layout().into_owned())
    });
    Ok(cut.collect())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn columns_that_are_not_delayed_stand_once_behind_those_that_are() {
        // Columns a, p, b; p is never delayed.
        let design = |x: Array2<f32>| StoryDesign::Dense(x);
        let designs = [
            design(array![[1., 10., 4.], [2., 20., 5.], [3., 30., 6.]]),
            design(array![[7., 70., 8.], [9., 90., 11.]]),
        ];
        let of = |delays: &[i64], crosses: bool| -> Vec<Array2<f32>> {
            let undelayed = std::slice::from_ref(&(1..2));
            let designs: Vec<&StoryDesign> = designs.iter().collect();
            let made = written_delays(&designs, delays, undelayed, crosses).unwrap();
            made.iter().map(StoryDesign::to_dense).collect()
        };
        let within = of(&[1, 2], false);
        assert_eq!(
            within[0],
            array![[0., 0., 0., 0., 10.], [1., 4., 0., 0., 20.], [2., 5., 1., 4., 30.]]
        );
        assert_eq!(within[1], array![[0., 0., 0., 0., 70.], [7., 8., 0., 0., 90.]]);
        assert_eq!(of(&[1, 2], true)[1], array![[3., 6., 2., 5., 70.], [7., 8., 3., 6., 90.]]);
        assert_eq!(of(&[0], false)[1], array![[7., 8., 70.], [9., 11., 90.]]);
    }
}
