//! What a study will fit: shapes, routes, memory and time, before anything is computed.

use std::ops::Range;

use serde::Serialize;

use super::inputs::{Inputs, Subject, writes_delays};
use super::memory::Matrices;
use super::models::{ModelBands, ModelPlan};
use super::split::Split;
use super::word_space::WordSpace;
use crate::design::trim::Trim;
use crate::error::Result;
use crate::resources::Resources;
use crate::results::names::single_delay_name;
use crate::ridge::conditioning::Conditioning;
use crate::ridge::route::{Cost, Sizes, choose, instead};
use crate::ridge::{BandSpec, Route, Solver};
use crate::scoring::delays::LAST_DELAY;
use crate::study_file::{Columns, Inner, ModelVariant, SpaceKind, Study};
use crate::warning::Warning;

/// The whole study.
#[derive(Debug, Clone, Serialize)]
pub struct StudyPlan {
    /// Training TRs.
    pub n_train: usize,
    /// Test TRs.
    pub n_test: usize,
    /// Folds.
    pub n_folds: usize,
    /// Alphas.
    pub n_alphas: usize,
    /// TRs at the edges of each test story that inner scores leave out, where there are such scores.
    #[serde(skip)]
    pub inner: Option<Trim>,
    /// Subjects and their voxels.
    pub subjects: Vec<(String, usize)>,
    /// Models of each subject.
    pub models: Vec<ModelPlan>,
    /// Memory of matrices and designs while models are prepared, in bytes: an upper bound.
    pub setup_bytes: f64,
    /// What of it stays until the last tile.
    pub held_bytes: f64,
    /// Memory of the whole run, in bytes: an upper bound. Filled in once other fits are known.
    pub most_bytes: f64,
    /// A cautious estimate of the time, in seconds.
    pub seconds: f64,
    /// What of it models of single delays take, which no other fit repeats.
    #[serde(skip)]
    pub profile_seconds: f64,
}

impl StudyPlan {
    /// The same plan with some of its models.
    pub fn part(&self, keep: &[bool]) -> Self {
        let models = self.models.iter().zip(keep).filter(|(_, keep)| **keep);
        let models: Vec<ModelPlan> = models.map(|(model, _)| model.clone()).collect();
        let Matrices { setup, held } = Matrices::of(&models);
        Self { setup_bytes: setup, held_bytes: held, models, ..self.clone() }
    }

    /// The study's own models, or those of single delays, which have a pass over BOLD of their own.
    pub fn pass(&self, is_profile: bool) -> Self {
        let keep: Vec<bool> = self.models.iter().map(|m| m.is_profile == is_profile).collect();
        self.part(&keep)
    }

    /// Whether these are models of single delays.
    pub fn is_profile(&self) -> bool {
        self.models.iter().any(|model| model.is_profile)
    }

    /// The models that are `todo` in groups, in their order, whose matrices fit into what
    /// `memory_bytes` leave beside the tiles; one that does not is a group of its own. Each group
    /// is a pass over BOLD.
    pub fn groups(&self, todo: &[bool], memory_bytes: u64) -> Vec<Vec<bool>> {
        let memory = memory_bytes as f64;
        let room = (memory - LEAST_TILE_BYTES).max(memory / 2.0);
        let mut groups: Vec<Vec<bool>> = Vec::new();
        for index in (0..todo.len()).filter(|&index| todo[index]) {
            let mut wider = groups.last().cloned().unwrap_or_else(|| vec![false; todo.len()]);
            wider[index] = true;
            match groups.last_mut() {
                Some(group) if self.part(&wider).setup_bytes <= room => *group = wider,
                _ => groups.push((0..todo.len()).map(|other| other == index).collect()),
            }
        }
        groups
    }

    /// Memory that tiles may take: what the matrices that stay leave.
    pub fn tile_budget(&self, memory_bytes: u64) -> usize {
        (memory_bytes as f64 - self.held_bytes).max(LEAST_TILE_BYTES) as usize
    }

    /// Takes the TRs that were left out since this was planned off its numbers; routes stay.
    pub fn recount(&mut self, study: &Study, inputs: &Inputs, split: &Split) {
        (self.n_train, self.n_test) = count_trs(study, inputs, split);
        for model in &mut self.models {
            model.is_stacked =
                writes_delays(study, &inputs.subjects) || !model.undelayed.is_empty();
        }
        let Matrices { setup, held } = Matrices::of(&self.models);
        (self.setup_bytes, self.held_bytes) = (setup, held);
    }

    /// Leaves out models that the other plan does not have.
    pub fn keep_models_of(&mut self, other: &Self) {
        let is_there = |model: &ModelPlan| {
            other.models.iter().any(|o| o.name == model.name && o.variant == model.variant)
        };
        self.models.retain(is_there);
    }

    /// Takes svd for models that `auto` would solve by a route that cannot be trusted; whether it
    /// did. `conditioning`: what preparing each model found.
    pub fn fall_back_to_svd(
        &mut self,
        study: &Study,
        resources: Resources,
        conditioning: &[Conditioning],
    ) -> bool {
        let Resources { n_threads, memory_bytes } = resources;
        let mut any = false;
        for (model, known) in self.models.iter_mut().zip(conditioning) {
            if study.solver != Solver::Auto || model.bands.is_some() || !known.is_beyond_limit() {
                continue;
            }
            let memory = memory_bytes as f64;
            if let Some(solver) = instead(model.route, known, model.sizes, n_threads, memory) {
                (model.route, model.solver, any) = (Route::Svd, solver, true);
            }
        }
        let Matrices { setup, held } = Matrices::of(&self.models);
        (self.setup_bytes, self.held_bytes) = (setup, held);
        any
    }

    /// One warning about all models that are solved by a route that cannot be trusted.
    pub fn ill_conditioned(&self, study: &Study, conditioning: &[Conditioning]) -> Option<Warning> {
        let doubtful = || self.models.iter().zip(conditioning).filter(|(_, c)| c.is_beyond_limit());
        let (model, known) =
            doubtful().max_by(|a, b| a.1.score_error().total_cmp(&b.1.score_error()))?;
        let names = doubtful().map(|(model, _)| model.folder()).collect();
        Some(Warning::ill_conditioned(names, model.route, known, study.alphas.values()))
    }
}

/// Tiles have this much in any case.
const LEAST_TILE_BYTES: f64 = (64u64 << 20) as f64;

/// What is kept of the points of a search that take `bytes`: all of them, or nothing.
fn kept_bytes(bytes: f64, memory_bytes: u64) -> f64 {
    if bytes <= BandSpec::most_kept_bytes(memory_bytes) { bytes } else { 0.0 }
}

/// Plans a study whose word spaces are known.
///
/// # Errors
/// `Error::TooLarge` for a model that fits neither route's memory.
pub fn plan(
    study: &Study,
    inputs: &Inputs,
    split: &Split,
    spaces: &[Option<&WordSpace>],
    resources: Resources,
) -> Result<StudyPlan> {
    let Resources { n_threads, memory_bytes } = resources;
    let (n_train, n_test) = count_trs(study, inputs, split);
    let n_voxels = inputs.subjects.iter().map(|s| s.n_voxels).max().unwrap_or(0);
    let n_features = |index: usize| -> usize {
        let own = |i: usize| spaces[i].map_or(0, |space| space.n_features);
        match &study.spaces[index].kind {
            SpaceKind::Combine(parts) => parts.iter().map(|&part| own(part)).sum(),
            _ => own(index),
        }
    };
    let (mut models, mut profile) = (Vec::new(), Vec::new());
    let (mut seconds, mut profile_seconds) = (0.0, 0.0);
    for (index, space) in study.spaces.iter().enumerate().filter(|(_, space)| space.fit) {
        let width = n_features(index);
        let bands = ModelBands::of(study, index, &n_features);
        let design = match &space.columns {
            Columns::Part { of, .. } => *of,
            _ => index,
        };
        let undelayed = undelayed(study, design, &n_features);
        let n_once: usize = undelayed.iter().map(ExactSizeIterator::len).sum();
        let beyond = match space.columns {
            Columns::Beyond { space, base } => Some((space, base)),
            _ => None,
        };
        let variants = match study.is_undelayed(design) {
            true => &[ModelVariant::Plain][..],
            false if beyond.is_some() && study.variants.contains(&ModelVariant::Lagged) => {
                &[ModelVariant::Lagged][..]
            }
            false => &study.variants,
        };
        let own = variants.iter().map(|&variant| match variant {
            ModelVariant::Lagged => (space.name.clone(), variant, study.delays.clone()),
            ModelVariant::Plain => (space.name.clone(), variant, vec![0]),
        });
        for (name, variant, delays) in own.chain(single_delays(study, index)) {
            let is_profile = name != space.name;
            let bands = bands.clone().filter(|_| !is_profile);
            let solver = if bands.is_some() { Solver::Gram } else { study.solver };
            let n_coefs = (n_features(design) - n_once) * delays.len() + n_once;
            let sizes = Sizes {
                n_rows: n_train,
                n_test,
                n_coefs,
                n_voxels,
                n_folds: split.n_folds,
                n_threads,
            };
            let what = format!("space {:?}, {}", space.name, label(variant));
            let (route, solver) = choose(solver, sizes, n_threads, memory_bytes as f64, &what)?;
            let cost = Cost::of(route, sizes);
            let n_points = bands.as_ref().and_then(|b| b.sampling.as_ref()).map_or(1, |s| s.n_iter);
            let cost = n_points as f64
                * (cost.seconds(n_threads)
                    + cost.voxel_seconds(n_threads) * (inputs.subjects.len() as f64 - 1.0));
            seconds += cost; // of the profile too
            profile_seconds += if is_profile { cost } else { 0.0 };
            let models = if is_profile { &mut profile } else { &mut models };
            models.push(ModelPlan {
                space: index,
                design,
                bands,
                beyond,
                search_bytes: match n_points {
                    1 => 0.0,
                    n => kept_bytes(BandSpec::bytes(n, n_coefs, split.n_folds), memory_bytes),
                },
                name,
                variant,
                delays,
                is_profile,
                n_features: width,
                n_coefs,
                is_stacked: writes_delays(study, &inputs.subjects) || !undelayed.is_empty(),
                undelayed: undelayed.clone(),
                route,
                sizes,
                solver,
            });
        }
    }
    models.extend(profile);
    let Matrices { setup, held } = Matrices::of(&models);
    Ok(StudyPlan {
        n_train,
        n_test,
        n_folds: split.n_folds,
        n_alphas: study.alphas.values().len(),
        inner: inner_edges(study, inputs, split),
        subjects: inputs.subjects.iter().map(|s| (s.name.clone(), s.n_voxels)).collect(),
        setup_bytes: setup,
        held_bytes: held,
        most_bytes: 0.0,
        models,
        seconds,
        profile_seconds,
    })
}

/// Models of single delays behind a space's profile, with names of their own. A space whose columns
/// are not all delayed has none; a delay that the space has a model of alone is not fitted again.
fn single_delays(study: &Study, index: usize) -> Vec<(String, ModelVariant, Vec<i64>)> {
    let space = &study.spaces[index];
    let is_delayed = !study.is_undelayed(index) && !study.is_partly_delayed(index);
    let is_given = space.columns.is_given();
    if !study.statistics.delay_profile.has(&space.name) || !is_delayed || !is_given {
        return Vec::new();
    }
    let is_banded = matches!(space.columns, Columns::Banded(_));
    let has_plain = study.variants.contains(&ModelVariant::Plain) && !is_banded;
    let model = |delay| (single_delay_name(delay, &space.name), ModelVariant::Plain, vec![delay]);
    (0..=LAST_DELAY).filter(|&delay| delay > 0 || !has_plain).map(model).collect()
}

/// Columns of a space, before delays, that are never delayed while others are.
fn undelayed(
    study: &Study,
    space: usize,
    n_features: &dyn Fn(usize) -> usize,
) -> Vec<Range<usize>> {
    if !study.is_partly_delayed(space) {
        return Vec::new();
    }
    let mut end = 0;
    let mut of_part = |part: usize| {
        let start = end;
        end += n_features(part);
        study.is_undelayed(part).then_some(start..end)
    };
    study.parts(space).into_iter().filter_map(&mut of_part).collect()
}

/// What inner scores leave out of each test story; nothing without such scores.
fn inner_edges(study: &Study, inputs: &Inputs, split: &Split) -> Option<Trim> {
    match study.inner {
        Inner::Off => None,
        Inner::Edges(edges) => Some(edges),
        Inner::Auto => {
            let places = |subject: &'_ Subject| {
                let all = split.test.iter().filter_map(|&unit| subject.places[unit].clone());
                all.collect::<Vec<_>>()
            };
            let mut n_trs = inputs.subjects.iter().flat_map(places).map(|place| place.rows.len());
            let is_long = !study.units.by_block && n_trs.all(|n| n > Inner::MIN_TRS);
            is_long.then_some(Inner::EDGES)
        }
    }
}

/// TRs of the first subject to train on and to test; of the one with most of each where subjects have
/// stories of their own.
fn count_trs(study: &Study, inputs: &Inputs, split: &Split) -> (usize, usize) {
    let n_counted = if study.units.may_differ() { inputs.subjects.len() } else { 1 };
    let n_trs: Vec<Vec<usize>> =
        inputs.subjects.iter().take(n_counted).map(Subject::n_trs).collect();
    let count = |units: &[usize]| {
        let of = |n_trs: &Vec<usize>| units.iter().map(|&unit| n_trs[unit]).sum::<usize>();
        n_trs.iter().map(of).max().unwrap_or(0)
    };
    (count(&split.train), count(&split.test))
}

fn label(variant: ModelVariant) -> &'static str {
    match variant {
        ModelVariant::Lagged => "lagged",
        ModelVariant::Plain => "plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(models: Vec<ModelPlan>) -> StudyPlan {
        let Matrices { setup, held } = Matrices::of(&models);
        StudyPlan {
            n_train: 1000,
            n_test: 100,
            n_folds: 5,
            n_alphas: 10,
            inner: None,
            subjects: vec![("s1".into(), 5000)],
            models,
            setup_bytes: setup,
            held_bytes: held,
            most_bytes: 0.0,
            seconds: 0.0,
            profile_seconds: 0.0,
        }
    }

    #[test]
    fn models_share_a_pass_as_far_as_their_matrices_fit() {
        let plan = plan((0..4).map(|space| ModelPlan::of_width(space, 2000, 1)).collect());
        let all = [true; 4];
        let of = |keep: &[bool; 4]| plan.part(keep).setup_bytes;
        let memory = |matrices: f64| (matrices + LEAST_TILE_BYTES) as u64 + 1;
        assert_eq!(plan.groups(&all, memory(of(&all))), [all.to_vec()]);
        let two = of(&[true, true, false, false]);
        assert!(two < of(&[true, true, true, false]));
        let pairs = [[true, true, false, false], [false, false, true, true]];
        assert_eq!(plan.groups(&all, memory(two)), pairs.map(|group| group.to_vec()));
        // What fits nowhere is a group of its own, and nothing is left out.
        let alone: Vec<Vec<bool>> = (0..4).map(|i| (0..4).map(|j| i == j).collect()).collect();
        assert_eq!(plan.groups(&all, 0), alone);
        // Models that are done take no part.
        let todo = [false, true, false, true];
        assert_eq!(plan.groups(&todo, memory(two)), [todo.to_vec()]);
        assert_eq!(plan.groups(&[false; 4], memory(two)), Vec::<Vec<bool>>::new());
    }

    #[test]
    fn a_part_of_a_plan_has_the_memory_of_its_models() {
        let plan = plan(vec![
            ModelPlan::of_width(0, 50, 4),
            ModelPlan::of_width(1, 300, 1),
            ModelPlan::of_width(2, 20, 4),
        ]);
        let part = plan.part(&[true, false, true]);
        let names: Vec<&str> = part.models.iter().map(|model| model.name.as_str()).collect();
        assert_eq!(names, ["space0", "space2"]);
        let Matrices { setup, held } = Matrices::of(&part.models);
        assert_eq!((part.setup_bytes, part.held_bytes), (setup, held));
        assert!(part.held_bytes < plan.held_bytes && part.setup_bytes < plan.setup_bytes);
        // Tiles get what is held by nobody, and always something.
        let memory = 1u64 << 30;
        assert_eq!(plan.tile_budget(memory), (memory as f64 - plan.held_bytes) as usize);
        assert_eq!(plan.tile_budget(0), LEAST_TILE_BYTES as usize);
    }
}
