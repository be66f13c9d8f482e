//! Memory of a whole run, at most, and what its parts are.

use super::inputs::{Inputs, writes_delays};
use super::memory::{
    Matrices, designs_bytes, is_first, on_gram, rows, square_bytes, union_of, width,
};
use super::models::ModelPlan;
use super::plan::StudyPlan;
use super::split::Split;
use super::stability::{ExtraSplits, MOST_UNION, may_have_union, varying};
use super::word_space::WordSpace;
use crate::resources::Resources;
use crate::ridge::Route;
use crate::ridge::route::{Cost, Sizes};
use crate::solve::tiles::{MAX_TILE_VOXELS, MOST_TILE_BYTES};
use crate::study::story_bold::StoryBold;
use crate::study_file::{SpaceKind, Study};

/// The program, its stacks, the alignment check's sample and the report's page: 35 to 80 MiB were
/// measured.
const PROGRAM_BYTES: f64 = (96u64 << 20) as f64;
/// A word: its text and block, two times, twice while its table is read.
const WORD_BYTES: f64 = 200.0;
/// What a worker has beside its tile: blocks of 512 voxels of a few values a column.
const SCRATCH_BYTES: f64 = 512.0 * 16.0;

/// Memory of a whole run: the program, words, matrices, other fits and voxel tiles.
///
/// An upper bound: of four phases (language models read, which takes `reading`; a fit is prepared,
/// other fits are prepared, tiles are worked on) the largest, and what is always there.
pub fn most_bytes(
    study: &Study,
    inputs: &Inputs,
    plan: &StudyPlan,
    words: &[Option<WordSpace>],
    extra: &ExtraSplits,
    (reading, resources): (f64, Resources),
) -> f64 {
    let Resources { n_threads, .. } = resources;
    let n_words: usize = inputs.stories.iter().map(|story| story.words.len()).sum();
    let rows_of_words: f64 = words.iter().flatten().map(|space| space.bytes() as f64).sum();
    let widest = plan.models.iter().map(|model| model.n_features).max().unwrap_or(0);
    let own_rows = words.iter().flatten().map(WordSpace::most_rows).max().unwrap_or(0);
    let longest_story = inputs.stories.iter().map(|s| s.words.len()).max().unwrap_or(0);
    let longest_story = longest_story.max(own_rows);
    // A story a thread on its way from words to TRs, in f64.
    let in_flight = (n_threads * longest_story * widest * 2 * size_of::<f64>()) as f64;
    let always = PROGRAM_BYTES + n_words as f64 * WORD_BYTES + rows_of_words;
    let held = Matrices::of(&plan.models).held;
    let written = writes_delays(study, &inputs.subjects);
    let (extra_held, extra_setup) = extra_bytes((study, written), plan, extra, resources);
    let tiles = tiles_bytes(study, inputs, plan, extra, resources);
    let setup = (plan.setup_bytes + in_flight).max(held + extra_setup);
    always + setup.max(held + extra_held + tiles).max(reading)
}

/// Other fits: what they hold, and the most while they are prepared.
fn extra_bytes(
    (study, writes_delays): (&Study, bool),
    plan: &StudyPlan,
    extra: &ExtraSplits,
    resources: Resources,
) -> (f64, f64) {
    let Resources { n_threads, memory_bytes } = resources;
    if extra.splits.is_empty() {
        return (0.0, 0.0);
    }
    let (models, varies) = (&plan.models, varying(study, writes_delays));
    let first = |&(index, _): &(usize, &ModelPlan)| is_first(models, index);
    let spaces: Vec<&ModelPlan> =
        models.iter().enumerate().filter(first).map(|(_, model)| model).collect();
    let n_rows = models.first().map_or(0, |model| rows(model.sizes));
    let designs: f64 = spaces.iter().map(|space| designs_bytes(space, n_rows)).sum();
    let n_stories = extra.splits.iter().map(|s| s.train.len() + s.test.len()).max().unwrap_or(0);
    // A union of words may serve the bags of all splits.
    let growth = |space: &ModelPlan| match &study.spaces[space.design].kind {
        SpaceKind::Bow(_) if may_have_union(study, writes_delays) => MOST_UNION,
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
    let fits: f64 = extra.splits.iter().map(|split| fit_bytes(plan, &varies, split.n_folds)).sum();
    let held = designs + products + fits.min((memory_bytes / 2) as f64);
    let at_once = extra.splits.len().min(n_threads) as f64;
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
    extra: &ExtraSplits,
    resources: Resources,
) -> f64 {
    let Resources { n_threads, memory_bytes } = resources;
    let models = &plan.models;
    let n_trs = inputs.subjects.first().map_or(Vec::new(), super::inputs::Subject::n_trs);
    let files = || inputs.subjects.iter().flat_map(|subject| &subject.files);
    let longest = files().map(StoryBold::n_rows).max().unwrap_or(0);
    let n_folds = extra.splits.iter().map(|s| s.n_folds).max().unwrap_or(0).max(plan.n_folds);
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
    if !extra.splits.is_empty() {
        values += values + n_trs.len() * columns + plan.n_train + plan.n_test;
        // Scores of every split: r and R², r in each test story, and inner scores.
        let n_scored = if plan.inner.is_some() { 2 } else { 1 };
        let scores = |split: &Split| models.len() * (1 + n_scored * (1 + split.test.len()));
        values += extra.splits.iter().map(scores).sum::<usize>();
    }
    let n_voxels = plan.subjects.iter().map(|(_, n)| *n).max().unwrap_or(0);
    let at_once = n_voxels.next_multiple_of(32).min(n_threads * MAX_TILE_VOXELS);
    let cleaning = files().map(|bold| bold.cleaner().bytes());
    let cleaning = (cleaning.max().unwrap_or(0) * n_threads) as f64;
    let all = (values * size_of::<f32>()) as f64 * at_once as f64;
    let most = MOST_TILE_BYTES.min(plan.tile_budget(memory_bytes)) as f64;
    let widest = models.iter().map(|model| model.n_coefs).max().unwrap_or(0) as f64;
    all.min(most) + cleaning + n_threads as f64 * widest * SCRATCH_BYTES
}
