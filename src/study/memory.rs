//! How much memory a study takes, at most: from shapes alone, before anything is allocated.

use super::features::WordSpace;
use super::inputs::Inputs;
use super::plan::{ModelPlan, StudyPlan};
use super::stability::{MOST_UNION, Others, may_have_union, varying};
use crate::ridge::Route;
use crate::ridge::route::{Cost, Sizes};
use crate::solve::tiles::{MAX_TILE_VOXELS, MOST_TILE_BYTES};
use crate::study_file::{SpaceKind, Study};

/// The program, its stacks, the alignment check's sample and the report's page: 35 to 80 MiB were
/// measured.
const PROGRAM_BYTES: f64 = (96u64 << 20) as f64;
/// A word: its text and block, two times, twice while its table is read.
const WORD_BYTES: f64 = 200.0;
/// What a worker has beside its tile: blocks of 512 voxels of a few values a column.
const SCRATCH_BYTES: f64 = 512.0 * 16.0;

/// Matrices and designs of some models, in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrices {
    /// While they are prepared: the most.
    pub setup: f64,
    /// Until the last tile.
    pub held: f64,
}

impl Matrices {
    /// Of models that are prepared together: designs and Gram matrices of each space once, what a
    /// model keeps for each, and what the largest eigenproblems take.
    pub fn of(models: &[ModelPlan]) -> Self {
        let mut sums = Matrices { setup: 0.0, held: 0.0 };
        let mut most_work = 0f64;
        for (index, model) in models.iter().enumerate() {
            let cost = Cost::of(model.route, model.sizes);
            sums.held += cost.kept_bytes + model.search_bytes;
            let mut work = cost.bytes - cost.kept_bytes;
            let union = union_of(models, model);
            if model.route == Route::Gram && width(model) * union == model.n_coefs {
                // Its folds' Gram matrices are the space's.
                work -= model.sizes.n_folds as f64 * square_bytes(model.n_coefs);
            }
            most_work = most_work.max(work);
            if is_first(models, index) {
                sums.held += designs_bytes(model, rows(model.sizes));
                // Products by difference of delays come before their sums.
                let columns = (width(model) * union, width(model));
                let grams = model.sizes.n_folds as f64 * square_bytes(columns.0);
                let is_gram = models.iter().any(|m| m.design == model.design && on_gram(m));
                let products = 2.0 * union as f64 * square_bytes(columns.1);
                sums.setup += if is_gram { grams + products } else { 0.0 };
            }
        }
        sums.setup += sums.held + most_work;
        sums
    }
}

fn square_bytes(columns: usize) -> f64 {
    columns as f64 * columns as f64 * size_of::<f64>() as f64
}

/// Columns of a model's design at one delay.
fn width(model: &ModelPlan) -> usize {
    model.n_coefs / model.delays.len().max(1)
}

fn rows(sizes: Sizes) -> usize {
    sizes.n_rows + sizes.n_test
}

fn on_gram(model: &ModelPlan) -> bool {
    model.route == Route::Gram
}

fn is_first(models: &[ModelPlan], index: usize) -> bool {
    models[index].is_stacked || models[..index].iter().all(|m| m.design != models[index].design)
}

/// Different delays of all models of a model's space; 1 where delays are columns of the design.
fn union_of(models: &[ModelPlan], model: &ModelPlan) -> usize {
    let of_space = models.iter().filter(|m| m.design == model.design);
    let delays: std::collections::BTreeSet<i64> =
        of_space.flat_map(|m| m.delays.iter().copied()).collect();
    delays.len()
}

/// f32 rows of a space's design; delayed where delays cross stories.
fn designs_bytes(model: &ModelPlan, n_rows: usize) -> f64 {
    let columns = if model.is_stacked { model.n_coefs } else { width(model) };
    n_rows as f64 * columns as f64 * size_of::<f32>() as f64
}

/// Memory of a whole run: the program, words, matrices, other fits and voxel tiles.
///
/// An upper bound: of three phases (a fit is prepared, other fits are prepared, tiles are worked
/// on) the largest, and what is always there.
pub fn most_bytes(
    study: &Study,
    inputs: &Inputs,
    plan: &StudyPlan,
    words: &[Option<WordSpace>],
    others: &Others,
    (n_threads, memory_bytes): (usize, u64),
) -> f64 {
    let n_words: usize = inputs.stories.iter().map(|story| story.words.len()).sum();
    let rows_of_words: f64 = words.iter().flatten().map(|space| space.bytes() as f64).sum();
    let widest = plan.models.iter().map(|model| model.n_features).max().unwrap_or(0);
    let longest_story = inputs.stories.iter().map(|s| s.words.len()).max().unwrap_or(0);
    // A story a thread on its way from words to TRs, in f64.
    let in_flight = (n_threads * longest_story * widest * 2 * size_of::<f64>()) as f64;
    let always = PROGRAM_BYTES + n_words as f64 * WORD_BYTES + rows_of_words;
    let held = Matrices::of(&plan.models).held;
    let (other_held, other_setup) = others_bytes(study, plan, others, n_threads, memory_bytes);
    let tiles = tiles_bytes(study, inputs, plan, others, (n_threads, memory_bytes));
    let setup = (plan.setup_bytes + in_flight).max(held + other_setup);
    always + setup.max(held + other_held + tiles)
}

/// Other fits: what they hold, and the most while they are prepared.
fn others_bytes(
    study: &Study,
    plan: &StudyPlan,
    others: &Others,
    n_threads: usize,
    memory_bytes: u64,
) -> (f64, f64) {
    if others.splits.is_empty() {
        return (0.0, 0.0);
    }
    let (models, varies) = (&plan.models, varying(study));
    let first = |&(index, _): &(usize, &ModelPlan)| is_first(models, index);
    let spaces: Vec<&ModelPlan> =
        models.iter().enumerate().filter(first).map(|(_, model)| model).collect();
    let n_rows = models.first().map_or(0, |model| rows(model.sizes));
    let designs: f64 = spaces.iter().map(|space| designs_bytes(space, n_rows)).sum();
    let n_stories = others.splits.iter().map(|s| s.train.len() + s.test.len()).max().unwrap_or(0);
    // A union of words may serve the bags of all splits.
    let growth = |space: &ModelPlan| match &study.spaces[space.design].kind {
        SpaceKind::Bow(_) if may_have_union(study) => MOST_UNION,
        _ if varies[space.design] => 0.0,
        _ => 1.0,
    };
    let of_space = |space: &&ModelPlan| {
        let square = square_bytes(width(space)) * growth(space).powi(2);
        union_of(models, space) as f64 * square * n_stories as f64
    };
    let is_solved_by_gram =
        |space: &&&ModelPlan| models.iter().any(|m| m.design == space.design && on_gram(m));
    let products: f64 = spaces.iter().filter(is_solved_by_gram).map(of_space).sum();
    let products = if products <= (memory_bytes / 8) as f64 { products } else { 0.0 };
    let fits: f64 = others.splits.iter().map(|split| fit_bytes(plan, &varies, split.n_folds)).sum();
    let held = designs + products + fits.min((memory_bytes / 2) as f64);
    let at_once = others.splits.len().min(n_threads) as f64;
    (held, held + at_once * plan.setup_bytes)
}

/// One other fit, solved with eigenvectors or without.
fn fit_bytes(plan: &StudyPlan, varies: &[bool], n_folds: usize) -> f64 {
    let of_model = |(index, model): (usize, &ModelPlan)| {
        let sizes = Sizes { n_folds, ..model.sizes };
        let square = square_bytes(model.n_coefs);
        let few = if on_gram(model) { (2.0 * n_folds as f64 + 1.0) * square } else { 0.0 };
        let n_rows = if varies[model.design] { rows(sizes) } else { sizes.n_test };
        let own = if is_first(&plan.models, index) { designs_bytes(model, n_rows) } else { 0.0 };
        own + few.max(Cost::of(model.route, sizes).kept_bytes)
    };
    plan.models.iter().enumerate().map(of_model).sum()
}

/// All tiles that are worked on at once; the values of a voxel as `CpuEngine::tile_bytes` counts
/// them.
fn tiles_bytes(
    study: &Study,
    inputs: &Inputs,
    plan: &StudyPlan,
    others: &Others,
    (n_threads, memory_bytes): (usize, u64),
) -> f64 {
    let models = &plan.models;
    let n_trs = inputs.subjects.first().map_or(Vec::new(), super::inputs::Subject::n_trs);
    let longest = n_trs.iter().copied().max().unwrap_or(0);
    let n_folds = others.splits.iter().map(|s| s.n_folds).max().unwrap_or(0).max(plan.n_folds);
    let mut values = 4 * longest;
    let mut columns = 0;
    for (index, model) in models.iter().enumerate() {
        let is_dual = model.route == Route::Dual;
        let n_fitted = if is_dual { plan.n_train } else { model.n_coefs };
        values += n_fitted + 2 * plan.n_alphas;
        values += if study.weights { 2 * model.n_coefs } else { 0 };
        values += if model.route == Route::Svd { n_folds * (model.n_coefs + 1) } else { 0 };
        if on_gram(model) && is_first(models, index) {
            columns += width(model) * union_of(models, model);
        }
    }
    values += n_folds * columns;
    if models.iter().any(|model| model.route == Route::Dual) {
        values += plan.n_train;
    }
    if study.statistics.permutations > 0 {
        values += (1 + models.len()) * plan.n_test;
    }
    if !others.splits.is_empty() {
        values += values + n_trs.len() * columns + plan.n_train + plan.n_test;
    }
    let n_voxels = plan.subjects.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let at_once = n_voxels.next_multiple_of(32).min(n_threads * MAX_TILE_VOXELS);
    let all = (values * size_of::<f32>()) as f64 * at_once as f64;
    let most = MOST_TILE_BYTES.min(plan.tile_budget(memory_bytes)) as f64;
    let widest = models.iter().map(|model| model.n_coefs).max().unwrap_or(0) as f64;
    all.min(most) + n_threads as f64 * widest * SCRATCH_BYTES
}
