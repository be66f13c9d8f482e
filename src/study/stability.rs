//! Other splits of a study, and fewer training stories, fitted from the same pass over BOLD.

use std::collections::HashMap;
use std::sync::Arc;

use faer::Par;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::features::{designs, word_spaces_of};
use super::inputs::{Inputs, Subject, writes_delays};
use super::kinds::vocabulary_space;
use super::models::ModelPlan;
use super::plan::{StudyPlan, plan};
use super::problem::{Known, KnownSpace, build_problem, load_spaces, path_settings};
use super::split::Split;
use super::word_space::WordSpace;
use crate::backend::{Block, FewFit, Fit, OtherFits, Problem, Shared, Space};
use crate::design::zscore::ZScoreMode;
use crate::error::{Error, Result};
use crate::features::bow::{BowSettings, Vocabulary};
use crate::matrix::StoryDesign;
use crate::resources::Resources;
use crate::ridge::Route;
use crate::ridge::folds::deal;
use crate::ridge::gram::lag_products;
use crate::stimuli::Story;
use crate::study::language::LanguageWork;
use crate::study_file::{Folds, SpaceKind, SpaceSettings, Study};

/// The extra splits of a study: random splits, then points of the learning curve.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtraSplits {
    /// All of them, in that order.
    pub splits: Vec<Split>,
    /// How many are random splits; the first has the study's seed plus 1.
    pub n_random: usize,
}

impl ExtraSplits {
    /// Those that `[stability]` asks for.
    ///
    /// A random split has as many test stories as the study's own; its folds are as many, dealt
    /// round-robin (or one a story). A point of the learning curve has the study's test stories and
    /// the first of its training stories, j/(points + 1) of them, at least one a fold.
    /// # Errors
    /// `Error::Usage` from dealing folds.
    pub fn new(study: &Study, own: &Split) -> Result<Self> {
        let n_stories = own.train.len() + own.test.len();
        let mut splits = Vec::new();
        for i in 1..=study.stability.splits as u64 {
            let mut order: Vec<usize> = (0..n_stories).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(study.seed.wrapping_add(i)));
            let train = order.split_off(own.test.len());
            splits.push(dealt(study, own, train, order)?);
        }
        let n_random = splits.len();
        let least = if study.folds == Folds::LeaveOneStoryOut { 2 } else { own.n_folds };
        let (n_train, points) = (own.train.len(), study.stability.learning_curve);
        let mut sizes: Vec<usize> =
            (1..=points).map(|j| (n_train * j / (points + 1)).max(least)).collect();
        sizes.dedup();
        for size in sizes.into_iter().filter(|&size| size < n_train) {
            splits.push(dealt(study, own, own.train[..size].to_vec(), own.test.clone())?);
        }
        Ok(Self { splits, n_random })
    }

    /// Rows that the fits' scores take: of a random split r over all test TRs and within each test
    /// story; of a point of the learning curve r over all test TRs.
    pub fn n_rows(&self) -> (usize, usize) {
        let of_splits = self.splits[..self.n_random].iter().map(|split| 1 + split.test.len());
        (of_splits.sum(), self.splits.len() - self.n_random)
    }
}

fn dealt(study: &Study, own: &Split, train: Vec<usize>, test: Vec<usize>) -> Result<Split> {
    let n_folds = match study.folds {
        Folds::LeaveOneStoryOut => train.len(),
        _ => own.n_folds,
    };
    Ok(Split { fold_of_train: deal(train.len(), n_folds)?, train, test, n_folds })
}

/// The study's own fit, of which the extra splits are variations.
#[derive(Clone, Copy)]
pub struct OwnFit<'a> {
    /// Its split.
    pub split: &'a Split,
    /// Its models, with the routes that were taken.
    pub plan: &'a StudyPlan,
    /// Its word rows.
    pub words: &'a [Option<WordSpace>],
}

/// Everything of the extra splits that does not depend on BOLD, for one subject's TR counts.
///
/// # Errors
/// Those of features and eigenproblems; `Error::TooLarge` if the fits do not fit half the memory.
pub fn stability_fits(
    study: &Study,
    inputs: &Inputs,
    subject: &Subject,
    own: OwnFit<'_>,
    work: &LanguageWork<'_>,
    others: &ExtraSplits,
    resources: Resources,
) -> Result<OtherFits> {
    let OwnFit { split: own_split, plan: own_plan, words } = own;
    let Resources { n_threads, memory_bytes } = resources;
    let alike = inputs.subjects.iter().filter(|s| s.has_trs_of(subject));
    let n_voxels = alike.map(|s| s.n_voxels).sum();
    let slots: Vec<usize> = own_split.train.iter().chain(&own_split.test).copied().collect();
    let order = slots.clone();
    let slot_of = |story: &usize| order.iter().position(|slot| slot == story);
    let words: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
    let trs = &subject.feature_trs;
    let stories = &inputs.stories;
    let is_fitted = |space: usize| own_plan.models.iter().any(|model| model.design == space);
    let is_written = writes_delays(study, std::slice::from_ref(subject));
    let unions = unions((study, is_written), stories, own_plan, others)?;
    // Spaces whose designs are another's in each split, and those of them with nothing in common.
    let differs = varying(study, is_written);
    let varies: Vec<bool> = differs.iter().zip(&unions).map(|(d, u)| *d && u.is_none()).collect();
    let all_words = unions.iter().zip(&words).map(|(union, own)| match union {
        Some(union) => Some(&union.words),
        None => *own,
    });
    let all_words: Vec<Option<&WordSpace>> = all_words.collect();
    let same = |space: usize| is_fitted(space) && !varies[space];
    let same = designs(study, stories, &all_words, own_split, trs, &same)?;
    let slots = slot_problem(study, subject, own_plan, &varies, same.clone(), slots)?;
    let known = match products_bytes(&slots) as u64 <= memory_bytes / 8 {
        true => known_products(study, own_plan, &varies, &slots, &slot_of),
        false => Known::new(),
    };
    let load = |((at, split), own_words): ((usize, &Split), Vec<Option<WordSpace>>)| {
        let words: Vec<Option<&WordSpace>> =
            own_words.iter().zip(&words).map(|(own, same)| own.as_ref().or(*same)).collect();
        let columns = |space: usize| unions[space].as_ref().map(|u| Arc::clone(&u.columns[at]));
        let mut known = known.clone();
        known.iter_mut().for_each(|(&space, known)| known.columns = columns(space));
        let wanted = |space: usize| is_fitted(space) && differs[space];
        let mut made = designs(study, stories, &words, split, trs, &wanted)?;
        for (made, same) in made.iter_mut().zip(&same) {
            if made.is_empty() {
                made.clone_from(same);
            }
        }
        // Each model's route is that of the study's own fit.
        let mut its_plan = plan(study, inputs, split, &words, resources)?;
        its_plan.keep_models_of(own_plan);
        // Also of a split with shorter test stories: its columns are those of the study's own.
        its_plan.inner = own_plan.inner;
        for (model, own) in its_plan.models.iter_mut().zip(&own_plan.models) {
            model.route = own.route;
        }
        let (mut problem, _) =
            build_problem(study, made, subject, split, &its_plan, Some((&known, n_voxels)))?;
        let shared = share(study, own_plan, &varies, &columns, &mut problem);
        let slots_of = |stories: &[usize]| stories.iter().filter_map(slot_of).collect();
        Ok(Fit { problem, train: slots_of(&split.train), test: slots_of(&split.test), shared })
    };
    let splits: Vec<(usize, &Split)> = others.splits.iter().enumerate().collect();
    let made = || {
        let (mut fits, mut bytes) = (Vec::<Fit>::new(), products_bytes(&slots));
        for splits in splits.chunks(n_threads.max(1)) {
            // One encoder after the other: a training uses all cores.
            let words = splits.iter().map(|(_, split)| split_words(study, inputs, split, work));
            let words = words.collect::<Result<Vec<_>>>()?;
            work.reporter.reuses_memory(true);
            let loaded = splits.par_iter().copied().zip(words).map(load);
            fits.extend(loaded.collect::<Result<Vec<_>>>()?);
            let new = &fits[fits.len() - splits.len()..];
            bytes += new.iter().map(|fit| problem_bytes(&fit.problem)).sum::<usize>();
            if bytes as u64 > memory_bytes / 2 {
                return Err(Error::TooLarge {
                    what: format!("{} of {} other fits", fits.len(), others.splits.len()),
                    needed: format!("{} MiB so far", bytes >> 20),
                    available: format!("{} MiB, half of the memory", memory_bytes >> 21),
                    hint: "raise --memory, or lower splits or learning_curve in [stability]".into(),
                });
            }
        }
        Ok(fits)
    };
    let fits = made();
    work.reporter.reuses_memory(false);
    let fits = fits?;
    Ok(OtherFits { slots, fits })
}

/// Whether a space's designs depend on which stories are trained on, or cannot be shared because
/// delays are written out.
pub fn varying(study: &Study, writes_delays: bool) -> Vec<bool> {
    let all = study.zscore == ZScoreMode::Train || writes_delays;
    let varies = |index: usize| {
        let depends = |&part: &usize| study.spaces[part].kind.depends_on_training();
        study.parts(index).iter().any(depends) || study.is_partly_delayed(index)
    };
    (0..study.spaces.len()).map(|index| all || varies(index)).collect()
}

/// What the splits' vocabularies of one bag of words have in common: each is some columns of a union
/// that is hardly larger, so that Gram matrices and XᵀY of the union serve all of them.
struct Union {
    words: WordSpace,
    /// A split's columns, in the order of its own vocabulary.
    columns: Vec<Arc<[usize]>>,
}

/// Largest number of a union's columns over the study's own.
pub const MOST_UNION: f64 = 1.25;

/// A union for each bag of words that stands alone, is standardised story by story, and has a model
/// on the Gram route.
fn unions(
    (study, is_written): (&Study, bool),
    stories: &[Story],
    plan: &StudyPlan,
    others: &ExtraSplits,
) -> Result<Vec<Option<Union>>> {
    let of_space = |(index, space): (usize, &SpaceSettings)| match &space.kind {
        SpaceKind::Bow(settings) if may_have_union(study, is_written) => {
            let on_gram = |m: &&ModelPlan| m.design == index && m.route == Route::Gram;
            let own = plan.models.iter().find(on_gram);
            own.map_or(Ok(None), |own| union(settings, stories, own.n_features, others))
        }
        _ => Ok(None),
    };
    study.spaces.iter().enumerate().map(of_space).collect()
}

/// Whether a word's column is the same whatever other stories are trained on.
pub fn may_have_union(study: &Study, writes_delays: bool) -> bool {
    study.zscore != ZScoreMode::Train && !writes_delays
}

fn union(
    settings: &BowSettings,
    stories: &[Story],
    n_own: usize,
    others: &ExtraSplits,
) -> Result<Option<Union>> {
    let of_split = |split: &Split| {
        Vocabulary::build(split.train.iter().map(|&s| stories[s].words.as_slice()), settings)
    };
    let of_splits = others.splits.iter().map(of_split).collect::<Result<Vec<_>>>()?;
    let (mut names, mut index) = (Vec::new(), HashMap::new());
    for name in of_splits.iter().flat_map(Vocabulary::names) {
        index.entry(name).or_insert_with(|| {
            names.push(name.clone());
            names.len() - 1
        });
    }
    if names.len() as f64 > MOST_UNION * n_own as f64 {
        return Ok(None);
    }
    let columns = of_splits.iter().map(|own| own.names().iter().map(|name| index[name]).collect());
    let columns = columns.collect();
    let words =
        vocabulary_space(&Vocabulary::of(names, settings.lowercase, settings.punctuation), stories);
    Ok(Some(Union { words, columns }))
}

/// Word rows of the spaces whose vocabulary or encoder is that of a split's training stories.
fn split_words(
    study: &Study,
    inputs: &Inputs,
    split: &Split,
    work: &LanguageWork<'_>,
) -> Result<Vec<Option<WordSpace>>> {
    let kinds = study.spaces.iter().map(|space| Some(&space.kind));
    let kinds = kinds.map(|kind| kind.filter(|kind| kind.depends_on_training()));
    word_spaces_of(kinds, &study.folder, &inputs.stories, &split.train, work)
}

/// Which of a fit's spaces have their XᵀY from the slots, and where there: those with equal columns
/// and a model on the Gram route. Their training rows are let go.
fn share(
    study: &Study,
    plan: &StudyPlan,
    varies: &[bool],
    columns: &dyn Fn(usize) -> Option<Arc<[usize]>>,
    problem: &mut Problem,
) -> Vec<Option<Shared>> {
    let mut shared = vec![None; problem.spaces.len()];
    let (mut at, mut next) = (0, 0);
    for space in fitted(study, plan) {
        // Where delays are written out there is one space per model, and none of them is shared.
        let models = plan.models.iter().filter(|model| model.design == space);
        let n_spaces = match study.is_partly_delayed(space) {
            true => models.count(),
            false => 1,
        };
        if is_shared(plan, varies, space) {
            shared[at] = Some(Shared { space: next, columns: columns(space) });
            problem.spaces[at].train.clear();
            problem.spaces[at].products.clear();
            next += 1;
        }
        at += n_spaces;
    }
    shared
}

/// Spaces that have models in the plan.
fn fitted<'a>(study: &Study, plan: &'a StudyPlan) -> impl Iterator<Item = usize> + use<'a> {
    let has_model = |&space: &usize| plan.models.iter().any(|model| model.design == space);
    (0..study.spaces.len()).filter(has_model)
}

fn is_shared(plan: &StudyPlan, varies: &[bool], space: usize) -> bool {
    let on_gram = |model: &ModelPlan| model.design == space && model.route == Route::Gram;
    !varies[space] && plan.models.iter().any(on_gram)
}

/// What the shared spaces' Gram matrices are made of, story by story: 2·n·d² flops for each
/// difference of delays, once for all fits.
fn known_products(
    study: &Study,
    plan: &StudyPlan,
    varies: &[bool],
    slots: &Problem,
    slot_of: &(dyn Fn(&usize) -> Option<usize> + Sync),
) -> Known {
    let shared = fitted(study, plan).filter(|&space| is_shared(plan, varies, space));
    let of_space = |(index, space): (usize, &Space)| {
        let product = |story: usize| {
            let design = slot_of(&story).map(|slot| &space.train[slot]);
            let design = design.expect("every story is a slot");
            Arc::new(lag_products(design, space.n_features, &space.delays, Par::Seq))
        };
        let products: Vec<_> = (0..slots.blocks.len()).into_par_iter().map(product).collect();
        (index, KnownSpace { products: products.into(), columns: None })
    };
    shared.zip(&slots.spaces).map(of_space).collect()
}

/// Bytes of [`known_products`].
fn products_bytes(slots: &Problem) -> usize {
    let of_space = |space: &Space| {
        let n = space.delays.len();
        let differences: std::collections::BTreeSet<u64> =
            (0..n * n).map(|i| space.delays[i / n].abs_diff(space.delays[i % n])).collect();
        differences.len() * space.n_features * space.n_features
    };
    let all: usize = slots.spaces.iter().map(of_space).sum();
    all * slots.blocks.len() * size_of::<f64>()
}

/// Every story as a fold of its own, over the shared spaces.
fn slot_problem(
    study: &Study,
    subject: &Subject,
    plan: &StudyPlan,
    varies: &[bool],
    mut designs: Vec<Vec<StoryDesign>>,
    slots: Vec<usize>,
) -> Result<Problem> {
    for (space, designs) in designs.iter_mut().enumerate() {
        if !is_shared(plan, varies, space) {
            designs.clear();
        }
    }
    let (n_trs, n_folds) = (subject.n_trs(), slots.len());
    let fold = |(fold, &story): (usize, &usize)| Block { fold, n_rows: n_trs[story] };
    let blocks = slots.iter().enumerate().map(fold).collect();
    let split = Split { train: slots, test: vec![], fold_of_train: vec![], n_folds };
    let (spaces, _) = load_spaces(study, designs, (subject, &split), plan, None)?;
    Ok(Problem::new(n_folds, blocks, spaces, path_settings(study)))
}

/// Bytes of a prepared fit: matrices of its models, and designs.
fn problem_bytes(problem: &Problem) -> usize {
    let cells = |design: &StoryDesign| {
        (design.density() * design.n_trs() as f64 * design.n_features() as f64) as usize
    };
    let designs = problem.spaces.iter().flat_map(|space| space.train.iter().chain(&space.test));
    let models = problem.models.iter().map(|model| {
        let folds: usize = model.folds.iter().map(|f| 2 * f.n_components * f.n_components).sum();
        let full = &model.full;
        let test: usize = full.test_rows.iter().map(|rows| rows.rows() * rows.depth()).sum();
        let few: usize = model.few.iter().map(FewFit::bytes).sum::<usize>() / size_of::<f32>();
        few + folds
            + full.into.rows() * full.into.depth()
            + full.back.rows() * full.back.depth()
            + test
    });
    (designs.map(cells).sum::<usize>() + models.sum::<usize>()) * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::study::split::split;

    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

    fn extra(lines: &str) -> (Split, ExtraSplits) {
        let text = format!(
            "[stories]\npath='w.tsv'\n[bold.s]\npath='{{story}}.npy'\n[[space]]\nkind='word_rate'\n\
             [split]\nn_test = 2\n{lines}"
        );
        let study = crate::study_file::from_text(&text, Path::new("."), "S.toml").unwrap();
        let own = split(&study, &NAMES).unwrap();
        let found = ExtraSplits::new(&study, &own).unwrap();
        (own, found)
    }

    #[test]
    fn a_random_split_holds_out_as_many_other_stories() {
        let (own, found) = extra("[stability]\nsplits = 20\n[ridge]\nfolds = 3");
        assert_eq!((found.n_random, found.splits.len()), (20, 20));
        for split in &found.splits {
            let mut all: Vec<usize> = split.train.iter().chain(&split.test).copied().collect();
            all.sort_unstable();
            assert_eq!(all, (0..12).collect::<Vec<_>>());
            assert_eq!((split.test.len(), split.n_folds), (own.test.len(), 3));
            assert_eq!(split.fold_of_train, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
        }
        let tests: std::collections::HashSet<&[usize]> =
            found.splits.iter().map(|split| split.test.as_slice()).collect();
        assert!(tests.len() > 10, "the seeds differ");
        assert_eq!(found.n_rows(), (20 * 3, 0));
        // One more split leaves those before as they are.
        let (_, more) = extra("[stability]\nsplits = 21\n[ridge]\nfolds = 3");
        assert_eq!(more.splits[..20], found.splits);
    }

    #[test]
    fn points_of_the_learning_curve_are_the_first_training_stories() {
        let (own, found) = extra("[stability]\nlearning_curve = 3\n[ridge]\nfolds = 3");
        let sizes: Vec<usize> = found.splits.iter().map(|split| split.train.len()).collect();
        // 10 training stories: 2 would be fewer than folds.
        assert_eq!((sizes.as_slice(), found.n_random), (&[3, 5, 7][..], 0));
        for split in &found.splits {
            assert_eq!(split.train, own.train[..split.train.len()]);
            assert_eq!(split.test, own.test);
        }
        assert_eq!(found.n_rows(), (0, 3));
        // Points that would be equal are one, and none has all stories.
        let (_, found) = extra("[stability]\nlearning_curve = 40\n[ridge]\nfolds = 9");
        let sizes: Vec<usize> = found.splits.iter().map(|split| split.train.len()).collect();
        assert_eq!(sizes, [9]);
    }

    #[test]
    fn leave_one_story_out_stays_that_in_every_fit() {
        let lines = "[stability]\nsplits = 1\nlearning_curve = 1\n[ridge]\nfolds = 'loso'";
        let (_, found) = extra(lines);
        for split in &found.splits {
            assert_eq!(split.n_folds, split.train.len());
            assert_eq!(split.fold_of_train, (0..split.n_folds).collect::<Vec<_>>());
        }
        assert_eq!(found.splits[1].train.len(), 5);
    }

    #[test]
    fn nothing_is_fitted_beside_the_study_unless_it_is_asked_for() {
        let (_, found) = extra("[ridge]\nfolds = 3");
        assert_eq!((found.n_rows(), found.splits.len()), ((0, 0), 0));
    }
}
