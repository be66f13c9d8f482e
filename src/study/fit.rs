//! Subject after subject: what is done already, the problem of what is not, its tiles.

use std::fs;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::bold::source::SubjectSource;
use super::features::{WordSpace, designs};
use super::fingerprint::{InputHashes, Stamps, model_fingerprint};
use super::inputs::{Inputs, Subject};
use super::plan::{ModelPlan, StudyPlan};
use super::problem::load_problem;
use super::run::RunOptions;
use super::saving::saved_model;
use super::shards::FinishedShards;
use super::sink::{ModelJob, Sizes, SubjectSink};
use super::split::Split;
use super::stability::{Others, load_others};
use crate::backend::device::Device;
use crate::backend::{OtherFits, Problem, n_workers};
use crate::error::{Error, Result};
use crate::reporter::Reporter;
use crate::results::mark::{self, ModelFound, RouteTaken, SubjectFound};
use crate::ridge::conditioning::Conditioning;
use crate::solve::tiles::{StageSeconds, TileRun, run_tiles, tile_width};
use crate::study::language::LanguageWork;
use crate::study_file::Study;
use crate::warning::Warning;

/// What is known of a study beside its files of BOLD, which may be unpacked meanwhile.
#[derive(Clone, Copy)]
pub struct StudyKnown<'a> {
    /// Its settings.
    pub study: &'a Study,
    /// How it is run.
    pub options: &'a RunOptions,
    /// Test stories and folds.
    pub split: &'a Split,
    /// All of its models, as planned.
    pub plan: &'a StudyPlan,
    /// Word rows of every space.
    pub words: &'a [Option<WordSpace>],
    /// How language models work.
    pub work: &'a LanguageWork<'a>,
    /// Other fits of the same BOLD.
    pub others: &'a Others,
    /// Of everything it reads.
    pub hashes: &'a InputHashes,
    /// What every subject's files looked like when they were hashed.
    pub stamps: &'a [Stamps],
    /// What routes are chosen by.
    pub choices: Choices,
}

/// What fitting needs of a study.
#[derive(Clone, Copy)]
pub struct StudyParts<'a> {
    /// All but what follows.
    pub known: StudyKnown<'a>,
    /// Stories and BOLD.
    pub inputs: &'a Inputs,
    /// What is done with the tiles.
    pub task: Task<'a>,
}

/// What is done with the tiles of a subject.
#[derive(Clone, Copy)]
pub enum Task<'a> {
    /// All of them, here.
    Whole,
    /// Those of a shard: its voxels of every subject.
    Part(&'a [Range<usize>]),
    /// None: shards did them.
    Join(&'a FinishedShards),
}

impl Task<'_> {
    fn is_part(&self) -> bool {
        matches!(self, Task::Part(_))
    }

    /// Voxels of a subject that are worked on.
    fn voxels(&self, index: usize, subject: &Subject) -> Range<usize> {
        match self {
            Task::Part(voxels) => voxels[index].clone(),
            Task::Whole | Task::Join(_) => 0..subject.n_voxels,
        }
    }
}

/// What `auto` chooses routes by, so that all shards choose the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Threads.
    pub n_threads: usize,
    /// Memory for matrices and tiles.
    pub memory_bytes: u64,
}

impl StudyParts<'_> {
    /// What each model of a subject depends on; a shard's part of it on its voxels too.
    pub fn fingerprints(&self, index: usize) -> Vec<String> {
        let StudyParts { known, inputs, task } = *self;
        let StudyKnown { study, split, others, hashes, .. } = known;
        let of_model = |model| {
            let whole = model_fingerprint(study, (inputs, index), (split, others), model, hashes);
            match task {
                Task::Part(voxels) => of_part(&whole, &voxels[index]),
                Task::Whole | Task::Join(_) => whole,
            }
        };
        known.plan.models.iter().map(of_model).collect()
    }
}

/// The fingerprint of some voxels of a model.
pub fn of_part(model: &str, voxels: &Range<usize>) -> String {
    format!("{model} {}..{}", voxels.start, voxels.end)
}

/// The subjects of a study being fitted.
pub struct Fitting<'a> {
    parts: StudyParts<'a>,
    /// The plan with the routes that were taken for the last subject.
    pub plan: StudyPlan,
    /// Of the last subject's designs, one entry a model.
    pub conditioning: Vec<Conditioning>,
    /// Seconds of each stage so far.
    pub stages: StageSeconds,
    prepared: Option<Prepared>,
    /// Whether a route that cannot be trusted was told of, and whether that is among the warnings.
    is_told: bool,
    is_warned: bool,
}

/// What is prepared for subjects of equal TR counts that lack the same models.
struct Prepared {
    n_feature_trs: Vec<usize>,
    todo: Vec<bool>,
    /// The models that are fitted.
    plan: StudyPlan,
    problem: Problem,
    conditioning: Vec<Conditioning>,
    other: Option<OtherFits>,
}

impl<'a> Fitting<'a> {
    /// Nothing is fitted yet.
    pub fn new(parts: StudyParts<'a>) -> Self {
        let plan = parts.known.plan.clone();
        let (conditioning, stages) = (Vec::new(), StageSeconds::new());
        Self { parts, plan, conditioning, stages, prepared: None, is_told: false, is_warned: false }
    }

    /// Fits what is missing of one subject; what was found, and warnings about it.
    ///
    /// `mark` is told the name of each step that is done.
    /// # Errors
    /// Those of features, eigenproblems, BOLD and results; `Error::Interrupted`; `Error::Values`
    /// if a file of BOLD was changed meanwhile.
    pub fn run(
        &mut self,
        index: usize,
        reporter: &dyn Reporter,
        cancel: &AtomicBool,
        mark: &mut dyn FnMut(&str, &dyn Reporter),
    ) -> Result<(SubjectFound, Vec<Warning>)> {
        let subject = &self.parts.inputs.subjects[index];
        let done = self.fit(index, reporter, cancel, mark)?;
        let found = SubjectFound::of(&done);
        let mut warnings = self.take_routes(&done, reporter);
        let more = self.doubts(subject, &found);
        more.iter().for_each(|warning| reporter.warn(warning));
        warnings.extend(more);
        mark(&format!("tiles {}", subject.name), reporter);
        Ok((found, warnings))
    }

    /// Fits what is missing of one subject's models; what is known of each of them.
    /// # Errors
    /// As [`run`](Self::run).
    pub fn fit(
        &mut self,
        index: usize,
        reporter: &dyn Reporter,
        cancel: &AtomicBool,
        mark: &mut dyn FnMut(&str, &dyn Reporter),
    ) -> Result<Vec<ModelFound>> {
        let StudyParts { known: StudyKnown { study, options, .. }, inputs, task } = self.parts;
        let subject = &inputs.subjects[index];
        let models = options.out.join("models").join(&subject.name);
        let all = &self.parts.known.plan.models;
        let fingerprints = self.parts.fingerprints(index);
        let needed = mark::needed(study.weights, task.is_part());
        let finished = || {
            let pairs = all.iter().zip(&fingerprints);
            pairs.map(|(model, hash)| {
                let own = model.band_files().map(|(name, _)| name);
                let needed = needed.iter().copied().chain(own);
                mark::finished(&models.join(model.folder()), hash, needed)
            })
        };
        let done: Vec<Option<ModelFound>> = finished().collect();
        let todo: Vec<bool> = done.iter().map(Option::is_none).collect();
        let n_todo = todo.iter().filter(|&&todo| todo).count();
        if n_todo < all.len() {
            let left = match n_todo {
                0 => "was done before".to_owned(),
                n => format!("{} of {} models were done before", all.len() - n, all.len()),
            };
            reporter.note(&format!("{}: {left}", subject.name));
        }
        if let (Task::Join(shards), true) = (task, n_todo > 0) {
            self.join(index, shards, &todo)?;
            return Ok(finished().flatten().collect());
        }
        // What cards do not know is done on the CPU.
        let on_host = |m: &ModelPlan| options.device != Device::Cpu && m.bands.is_some();
        let groups: Vec<Vec<bool>> = [false, true]
            .into_iter()
            .flat_map(|host| {
                let own = todo.iter().zip(all).map(|(&todo, m)| todo && on_host(m) == host);
                self.parts.known.plan.groups(&own.collect::<Vec<_>>(), options.memory_bytes)
            })
            .collect();
        if all.iter().any(on_host) {
            let note =
                "banded models and parts of a partition run on the CPU, in a pass of their own";
            reporter.note(note);
        }
        if groups.len() > 1 + usize::from(all.iter().any(on_host)) {
            reporter.note(&format!(
                "{}: the matrices of {n_todo} models do not fit --memory together: {} passes over \
                 BOLD",
                subject.name,
                groups.len()
            ));
        }
        for group in &groups {
            self.prepare(subject, group, reporter, mark)?;
            self.solve(index, &fingerprints, reporter, cancel)?;
        }
        Ok(finished().flatten().collect())
    }

    /// Puts together what shards found of a subject's models.
    fn join(&self, index: usize, shards: &FinishedShards, todo: &[bool]) -> Result<()> {
        let StudyParts { known: StudyKnown { study, options, .. }, inputs, .. } = self.parts;
        let subject = &inputs.subjects[index];
        let found = shards.found(&subject.name);
        let models = self.parts.known.plan.models.iter().enumerate().filter(|(at, _)| todo[*at]);
        let mut jobs = Vec::new();
        for (at, plan) in models {
            jobs.push(ModelJob {
                plan,
                fingerprint: self.parts.fingerprints(index)[at].clone(),
                route: found[at].route.clone(),
                search: None,
                saved: match study.weights {
                    true => Some(saved_model(&self.parts, subject, plan)?),
                    false => None,
                },
            });
        }
        let sizes = self.sizes(0..subject.n_voxels);
        // Tiles of a merge that was cut, or of a run: copied again.
        let unfinished = options.out.join(".partial").join(&subject.name);
        if unfinished.is_dir() {
            fs::remove_dir_all(&unfinished)
                .map_err(|source| Error::Write { path: unfinished, source })?;
        }
        let sink = SubjectSink::open(&options.out, &subject.name, &jobs, sizes)?;
        shards.add_to(&sink, &subject.name, todo)?;
        sink.finish()
    }

    fn sizes(&self, voxels: Range<usize>) -> Sizes<'a> {
        let StudyParts { known: StudyKnown { study, split, others, .. }, task, .. } = self.parts;
        let (n_split_rows, n_learning_rows) = others.n_rows();
        Sizes {
            first_voxel: voxels.start,
            n_voxels: voxels.len(),
            is_part: task.is_part(),
            n_test_stories: split.test.len(),
            alphas: study.alphas.values(),
            weights: study.weights,
            statistics: &study.statistics,
            n_random: others.n_random,
            n_split_rows,
            n_learning_rows,
        }
    }

    /// Eigenproblems of the models that are to be done, unless they are those of the subject before.
    fn prepare(
        &mut self,
        subject: &Subject,
        todo: &[bool],
        reporter: &dyn Reporter,
        mark: &mut dyn FnMut(&str, &dyn Reporter),
    ) -> Result<()> {
        let StudyParts { known, inputs, .. } = self.parts;
        let StudyKnown { study, split, words, work, others, choices, .. } = known;
        let is_same = |p: &Prepared| p.n_feature_trs == subject.n_feature_trs && p.todo == todo;
        if self.prepared.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        drop(self.prepared.take());
        let limits = (choices.n_threads, choices.memory_bytes);
        let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
        let load = |plan: &StudyPlan| -> Result<(Problem, Vec<Conditioning>)> {
            let trs = &subject.n_feature_trs;
            let wanted = |space: usize| plan.models.iter().any(|model| model.design == space);
            let made = designs(study, &inputs.stories, &borrowed, split, trs, &wanted)?;
            load_problem(study, made, subject, split, plan, None)
        };
        let mut plan = self.parts.known.plan.part(todo);
        let (mut problem, mut conditioning) = load(&plan)?;
        if plan.avoid_squares(study, limits.0, limits.1, &conditioning) {
            drop(problem);
            (problem, conditioning) = load(&plan)?;
        }
        let doubt = plan.ill_conditioned(study, &conditioning).filter(|_| !self.is_told);
        doubt.iter().for_each(|doubt| reporter.warn(doubt));
        self.is_told |= doubt.is_some();
        mark("prepare", reporter);
        let mut other = None;
        if !others.splits.is_empty() {
            let own = (split, &plan);
            other = Some(load_others(study, inputs, subject, own, (words, work), others, limits)?);
            mark("prepare other fits", reporter);
        }
        let (n_feature_trs, todo) = (subject.n_feature_trs.clone(), todo.to_vec());
        self.prepared = Some(Prepared { n_feature_trs, todo, plan, problem, conditioning, other });
        Ok(())
    }

    /// Routes and conditioning of all models of a subject; a warning about them, once a study.
    fn take_routes(&mut self, done: &[ModelFound], reporter: &dyn Reporter) -> Vec<Warning> {
        for (model, done) in self.plan.models.iter_mut().zip(done) {
            (model.route, model.solver) = (done.route.route, done.route.solver.clone());
        }
        self.conditioning = done.iter().map(|done| done.route.conditioning.clone()).collect();
        let doubt = self.plan.ill_conditioned(self.parts.known.study, &self.conditioning);
        let doubt = doubt.filter(|_| !self.is_warned);
        doubt.iter().filter(|_| !self.is_told).for_each(|doubt| reporter.warn(doubt));
        self.is_warned |= doubt.is_some();
        doubt.into_iter().collect()
    }

    /// The tiles of the models that are prepared.
    fn solve(
        &mut self,
        index: usize,
        fingerprints: &[String],
        reporter: &dyn Reporter,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let StudyParts { known, inputs, task } = self.parts;
        let StudyKnown { study, options, split, stamps, .. } = known;
        let subject = &inputs.subjects[index];
        let Some(prepared) = &self.prepared else { return Ok(()) };
        let mut jobs = Vec::new();
        let hashes = fingerprints.iter().zip(&prepared.todo).filter(|(_, todo)| **todo);
        let known = prepared.plan.models.iter().zip(&prepared.conditioning);
        let searches = prepared.problem.models.iter().map(|model| model.search.as_ref());
        for (((plan, conditioning), (fingerprint, _)), search) in known.zip(hashes).zip(searches) {
            let (solver, conditioning) = (plan.solver.clone(), conditioning.clone());
            jobs.push(ModelJob {
                plan,
                fingerprint: fingerprint.clone(),
                route: RouteTaken { route: plan.route, solver, conditioning },
                search,
                saved: match study.weights && !task.is_part() {
                    true => Some(saved_model(&self.parts, subject, plan)?),
                    false => None,
                },
            });
        }
        let voxels = task.voxels(index, subject);
        let sizes = self.sizes(voxels.clone());
        let sink = SubjectSink::open(&options.out, &subject.name, &jobs, sizes)?;
        let problem = &prepared.problem;
        let budget = prepared.plan.tile_budget(options.memory_bytes);
        let is_host = prepared.plan.models.iter().any(|model| model.bands.is_some());
        let device = if is_host { &Device::Cpu } else { &options.device };
        let n_threads = options.n_threads;
        let (n_voxels, other) = (voxels.len(), prepared.other.as_ref());
        let width = tile_width(problem, device, n_voxels, n_threads, budget, other)?;
        let block = problem.settings.block_voxels;
        let missing = sink.missing(n_voxels, width, block, n_workers(device, n_threads));
        let n_missing: usize = missing.iter().map(std::ops::Range::len).sum();
        if n_missing < n_voxels {
            let done = n_voxels - n_missing;
            reporter.note(&format!("{}: {done} voxels were done before", subject.name));
        }
        reporter.start(&subject.name, n_missing as u64);
        let progress = |n: usize| reporter.advance(n as u64);
        let note = |text: &str| reporter.note(text);
        let other = other.map(|other| (other, budget));
        let run = TileRun { device, n_threads, cancel, progress: &progress, note: &note, other };
        let source = SubjectSource { subject, split };
        let stages = run_tiles(problem, &source, &sink, &missing, &run)?;
        reporter.finish();
        if let Some(file) = stamps[index].first_changed(&Stamps::of(subject)) {
            sink.discard()?;
            return Err(Error::Values {
                place: file.display().to_string(),
                problem: "was changed while the run was reading it".into(),
                hint: "nothing of this subject is kept; run again when the file is as it should be"
                    .into(),
            });
        }
        sink.finish()?;
        add_stages(&mut self.stages, stages);
        Ok(())
    }

    /// Voxels that are dead, alphas at the ends of the grid.
    fn doubts(&self, subject: &Subject, found: &SubjectFound) -> Vec<Warning> {
        let used = subject.n_voxels - found.n_constant - found.n_not_finite;
        let mut doubts = Vec::new();
        if used < subject.n_voxels {
            doubts.push(Warning::DeadVoxels {
                place: subject.name.clone(),
                n_constant: found.n_constant,
                n_not_finite: found.n_not_finite,
                n_voxels: subject.n_voxels,
            });
        }
        let folders = self.plan.models.iter().map(|model| model.folder());
        doubts.extend(Warning::alpha_edges(&subject.name, folders.zip(found.edges.clone()), used));
        doubts
    }
}

fn add_stages(total: &mut StageSeconds, more: StageSeconds) {
    if total.is_empty() {
        *total = more;
    } else {
        total.iter_mut().zip(more).for_each(|(sum, (_, seconds))| sum.1 += seconds);
    }
}
