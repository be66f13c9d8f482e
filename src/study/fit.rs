//! Subject after subject: what is done already, the problem of what is not, its tiles.

use std::fs;
use std::ops::Range;

use super::bold::source::SubjectSource;
use super::context::{Session, StepClock, StudyContext};
use super::features::designs;
use super::fingerprint::{Stamps, of_voxels};
use super::inputs::Subject;
use super::models::ModelPlan;
use super::plan::StudyPlan;
use super::position::{self, position_scores};
use super::problem::build_problem;
use super::saving::saved_model;
use super::shards::FinishedShards;
use super::stability::{OwnFit, stability_fits};
use super::word_space::WordSpace;
use super::writer::{ModelJob, Sizes, SubjectWriter, Tests};
use crate::backend::device::Device;
use crate::backend::{OtherFits, Problem, n_workers};
use crate::error::{Error, Result};
use crate::report::record::SubjectVoxels;
use crate::results::mark::{self, ModelFound, RouteTaken, subject_voxels};
use crate::results::{Name, RunFolder};
use crate::ridge::conditioning::Conditioning;
use crate::solve::tiles::{StageSeconds, TileRun, run_tiles, tile_width};
use crate::warning::Warning;

/// Whose tiles are solved here.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    /// All of the study's.
    Study,
    /// A shard's: its voxels of every subject.
    Shard(&'a [Range<usize>]),
    /// Nobody's: shards solved them, their columns are put together.
    Merge(&'a FinishedShards),
}

impl Mode<'_> {
    fn is_part(&self) -> bool {
        matches!(self, Mode::Shard(_))
    }

    /// Voxels of a subject that are worked on.
    fn voxels(&self, index: usize, subject: &Subject) -> Range<usize> {
        match self {
            Mode::Shard(voxels) => voxels[index].clone(),
            Mode::Study | Mode::Merge(_) => 0..subject.n_voxels,
        }
    }
}

/// The subjects of a study being fitted.
pub struct SubjectFitter<'a> {
    context: &'a StudyContext<'a>,
    mode: Mode<'a>,
    /// The plan with the routes that were taken for the last subject.
    pub plan: StudyPlan,
    /// Of the last subject's designs, one entry a model.
    pub conditioning: Vec<Conditioning>,
    /// Seconds of each stage so far.
    pub stages: StageSeconds,
    /// Bytes of BOLD that were read so far, in f32.
    pub bold_bytes_read: u64,
    prepared: Option<Prepared>,
    /// Whether a route that cannot be trusted was told of, and whether that is among the warnings.
    reported_doubt: bool,
    warned: bool,
}

/// What is prepared for subjects of equal TR counts that lack the same models.
struct Prepared {
    /// The subject it was made for.
    subject: usize,
    todo: Vec<bool>,
    /// The models that are fitted.
    plan: StudyPlan,
    problem: Problem,
    conditioning: Vec<Conditioning>,
    /// Of each model: how well it tells where in a story a TR lies.
    position: Vec<Option<f64>>,
    other: Option<OtherFits>,
}

impl<'a> SubjectFitter<'a> {
    /// Nothing is fitted yet.
    pub fn new(context: &'a StudyContext<'a>, mode: Mode<'a>) -> Self {
        Self {
            context,
            mode,
            plan: context.plan.clone(),
            conditioning: Vec::new(),
            stages: StageSeconds::new(),
            bold_bytes_read: 0,
            prepared: None,
            reported_doubt: false,
            warned: false,
        }
    }

    /// What each model of a subject depends on; a shard's part of it on its voxels too.
    pub fn fingerprints(&self, index: usize) -> Vec<String> {
        let whole = self.context.fingerprints(index);
        match self.mode {
            Mode::Shard(voxels) => whole.iter().map(|m| of_voxels(m, &voxels[index])).collect(),
            Mode::Study | Mode::Merge(_) => whole,
        }
    }

    /// Fits what is missing of one subject; what was found, and warnings about it.
    ///
    /// # Errors
    /// Those of features, eigenproblems, BOLD and results; `Error::Interrupted`; `Error::Values`
    /// if a file of BOLD was changed meanwhile.
    pub fn run(
        &mut self,
        index: usize,
        clock: &mut StepClock<'_>,
    ) -> Result<(SubjectVoxels, Vec<Warning>)> {
        let subject = &self.context.inputs.subjects[index];
        let done = self.fit(index, clock)?;
        let found = subject_voxels(&done);
        let mut warnings = self.take_routes(&done);
        let mut more = self.doubts(subject, &found);
        if index == 0 {
            more.extend(position::doubts(&self.plan.models, &done));
        }
        more.iter().for_each(|warning| self.context.session.reporter.warn(warning));
        warnings.extend(more);
        clock.step(&format!("tiles {}", subject.name));
        Ok((found, warnings))
    }

    /// Fits what is missing of one subject's own models; what is known of each of them.
    /// # Errors
    /// As [`run`](Self::run).
    pub fn fit(&mut self, index: usize, clock: &mut StepClock<'_>) -> Result<Vec<ModelFound>> {
        self.fit_pass(index, false, clock)
    }

    /// The same of its models of single delays, which the plan has after all others. Best called
    /// when the own models of all subjects are done: what they are prepared with is let go.
    /// # Errors
    /// As [`run`](Self::run).
    pub fn fit_delays(
        &mut self,
        index: usize,
        clock: &mut StepClock<'_>,
    ) -> Result<Vec<ModelFound>> {
        let found = self.fit_pass(index, true, clock)?;
        if !found.is_empty() {
            clock.step(&format!("single delays {}", self.context.inputs.subjects[index].name));
        }
        Ok(found)
    }

    fn fit_pass(
        &mut self,
        index: usize,
        is_profile: bool,
        clock: &mut StepClock<'_>,
    ) -> Result<Vec<ModelFound>> {
        let StudyContext { study, options, inputs, session, plan, .. } = self.context;
        let (mode, reporter) = (self.mode, session.reporter);
        let subject = &inputs.subjects[index];
        let models = RunFolder::at(&options.out).subject(&Name::new(&subject.name)?);
        let n_voxels = mode.voxels(index, subject).len();
        let all = &plan.models;
        let fingerprints = self.fingerprints(index);
        let weights = study.weights && !is_profile;
        let needed = mark::needed(weights, plan.inner.is_some(), mode.is_part());
        let finished = || {
            let pairs = all.iter().zip(&fingerprints);
            let own = pairs.filter(|(model, _)| model.is_profile == is_profile);
            own.map(|(model, hash)| {
                let own = model.band_files().map(|(name, _)| name);
                let needed = needed.iter().copied().chain(own);
                mark::finished(&models.join(model.folder()), hash, n_voxels, needed)
            })
        };
        let done: Vec<bool> = finished().map(|found| found.is_some()).collect();
        let mut is_done = done.iter();
        let todo = all.iter().map(|model| {
            model.is_profile == is_profile && is_done.next().is_some_and(|&is_done| !is_done)
        });
        let todo: Vec<bool> = todo.collect();
        let n_todo = todo.iter().filter(|&&todo| todo).count();
        if n_todo < done.len() {
            let what = if is_profile { "models of single delays" } else { "models" };
            let left = match n_todo {
                0 if is_profile => "models of single delays were done before".to_owned(),
                0 => "was done before".to_owned(),
                n => format!("{} of {} {what} were done before", done.len() - n, done.len()),
            };
            reporter.note(&format!("{}: {left}", subject.name));
        }
        if let (Mode::Merge(shards), true) = (mode, n_todo > 0) {
            self.join(index, shards, &todo, is_profile)?;
            return Ok(finished().flatten().collect());
        }
        // What cards do not know is done on the CPU.
        let on_host = |m: &ModelPlan| options.device != Device::Cpu && m.bands.is_some();
        let groups: Vec<Vec<bool>> = [false, true]
            .into_iter()
            .flat_map(|host| {
                let own = todo.iter().zip(all).map(|(&todo, m)| todo && on_host(m) == host);
                plan.groups(&own.collect::<Vec<_>>(), options.resources.memory_bytes)
            })
            .collect();
        if !is_profile && all.iter().any(on_host) {
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
            self.prepare(index, group, clock)?;
            self.solve(index, &fingerprints)?;
        }
        Ok(finished().flatten().collect())
    }

    /// Puts together what shards found of a subject's models.
    fn join(
        &self,
        index: usize,
        shards: &FinishedShards,
        todo: &[bool],
        is_profile: bool,
    ) -> Result<()> {
        let StudyContext { study, options, inputs, plan, session, .. } = self.context;
        let subject = &inputs.subjects[index];
        let found = shards.found(&subject.name);
        let fingerprints = self.fingerprints(index);
        let models = plan.models.iter().enumerate().filter(|(at, _)| todo[*at]);
        let mut jobs = Vec::new();
        for (at, plan) in models {
            jobs.push(ModelJob {
                plan,
                fingerprint: fingerprints[at].clone(),
                route: found[at].route.clone(),
                search: None,
                saved: match study.weights && !is_profile {
                    true => Some(saved_model(self.context, subject, plan)?),
                    false => None,
                },
            });
        }
        let sizes = self.sizes(index, 0..subject.n_voxels, is_profile);
        // Tiles of a merge that was cut, or of a run: copied again.
        let run = RunFolder::at(&options.out);
        let unfinished = run.partial_subject(&Name::new(&subject.name)?);
        if unfinished.is_dir() {
            fs::remove_dir_all(&unfinished)
                .map_err(|source| Error::Write { path: unfinished, source })?;
        }
        let writer =
            SubjectWriter::open(&options.out, &subject.name, &jobs, sizes, session.reporter)?;
        shards.add_to(&writer, &subject.name, todo)?;
        writer.finish()
    }

    /// Single delays have no weights, no permutation test and no other fits.
    fn sizes(&self, index: usize, voxels: Range<usize>, is_profile: bool) -> Sizes<'a> {
        let StudyContext { study, splits, extra, .. } = self.context;
        let (n_split_rows, n_learning_rows) = if is_profile { (0, 0) } else { extra.n_rows() };
        Sizes {
            first_voxel: voxels.start,
            n_voxels: voxels.len(),
            is_part: self.mode.is_part(),
            n_test_stories: splits.of(index).test.len(),
            has_inner: self.context.plan.inner.is_some(),
            alphas: study.alphas.values(),
            weights: study.weights && !is_profile,
            tests: Tests {
                permutations: if is_profile { 0 } else { study.statistics.permutations },
                q: study.statistics.q,
            },
            n_random: if is_profile { 0 } else { extra.n_random },
            n_split_rows,
            n_learning_rows,
        }
    }

    /// Eigenproblems of the models that are to be done, unless they are those of the subject before.
    fn prepare(&mut self, index: usize, todo: &[bool], clock: &mut StepClock<'_>) -> Result<()> {
        let StudyContext { study, inputs, splits, words, extra, session, .. } = self.context;
        let split = splits.of(index);
        let resources = self.context.resources;
        let subject = &inputs.subjects[index];
        let is_same =
            |p: &Prepared| inputs.subjects[p.subject].has_trs_of(subject) && p.todo == todo;
        if self.prepared.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        drop(self.prepared.take());
        let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
        let load = |plan: &StudyPlan| -> Result<(Problem, Vec<Conditioning>)> {
            let trs = &subject.feature_trs;
            let wanted = |space: usize| plan.models.iter().any(|model| model.design == space);
            let made = designs(study, &inputs.stories, &borrowed, split, trs, &wanted)?;
            build_problem(study, made, subject, split, plan, None)
        };
        let mut plan = self.context.plan.part(todo);
        let (mut problem, mut conditioning) = load(&plan)?;
        if plan.fall_back_to_svd(study, resources, &conditioning) {
            drop(problem);
            (problem, conditioning) = load(&plan)?;
        }
        let is_profile = plan.is_profile();
        let doubt = plan.ill_conditioned(study, &conditioning);
        let doubt = doubt.filter(|_| !is_profile && !self.reported_doubt);
        doubt.iter().for_each(|doubt| session.reporter.warn(doubt));
        self.reported_doubt |= doubt.is_some();
        // Warned of by the first subject.
        let position = match index {
            0 if !is_profile => position_scores(&mut problem, &plan.models, subject, split)?,
            _ => vec![None; plan.models.len()],
        };
        clock.step("prepare");
        let mut other = None;
        if !extra.splits.is_empty() && !is_profile {
            let own = OwnFit { split, plan: &plan, words };
            let work = self.context.language.work();
            other = Some(stability_fits(study, inputs, subject, own, &work, extra, resources)?);
            clock.step("prepare other fits");
        }
        let (subject, todo) = (index, todo.to_vec());
        self.prepared =
            Some(Prepared { subject, todo, plan, problem, conditioning, position, other });
        Ok(())
    }

    /// Routes and conditioning of all models of a subject; a warning about them, once a study.
    fn take_routes(&mut self, done: &[ModelFound]) -> Vec<Warning> {
        let StudyContext { study, session, .. } = self.context;
        for (model, done) in self.plan.models.iter_mut().zip(done) {
            (model.route, model.solver) = (done.route.route, done.route.solver.clone());
        }
        self.conditioning = done.iter().map(|done| done.route.conditioning.clone()).collect();
        let doubt = self.plan.ill_conditioned(study, &self.conditioning);
        let doubt = doubt.filter(|_| !self.warned);
        doubt
            .iter()
            .filter(|_| !self.reported_doubt)
            .for_each(|doubt| session.reporter.warn(doubt));
        self.warned |= doubt.is_some();
        doubt.into_iter().collect()
    }

    /// The tiles of the models that are prepared.
    fn solve(&mut self, index: usize, fingerprints: &[String]) -> Result<()> {
        let StudyContext { study, options, inputs, splits, stamps, session, .. } = self.context;
        let Session { reporter, cancel } = *session;
        let (mode, resources) = (self.mode, options.resources);
        let subject = &inputs.subjects[index];
        let Some(prepared) = &self.prepared else { return Ok(()) };
        let is_profile = prepared.plan.is_profile();
        let mut jobs = Vec::new();
        let hashes = fingerprints.iter().zip(&prepared.todo).filter(|(_, todo)| **todo);
        let known = prepared.plan.models.iter().zip(&prepared.conditioning);
        let known = known.zip(&prepared.position);
        let searches = prepared.problem.models.iter().map(|model| model.search.as_ref());
        for ((((plan, conditioning), &position), (fingerprint, _)), search) in
            known.zip(hashes).zip(searches)
        {
            let (solver, conditioning) = (plan.solver.clone(), conditioning.clone());
            // Also where the first subject's problem is another's, so that shards say the same.
            let position = position.filter(|_| index == 0);
            jobs.push(ModelJob {
                plan,
                fingerprint: fingerprint.clone(),
                route: RouteTaken { route: plan.route, solver, conditioning, position },
                search,
                saved: match study.weights && !mode.is_part() && !is_profile {
                    true => Some(saved_model(self.context, subject, plan)?),
                    false => None,
                },
            });
        }
        let voxels = mode.voxels(index, subject);
        let sizes = self.sizes(index, voxels.clone(), is_profile);
        let writer = SubjectWriter::open(&options.out, &subject.name, &jobs, sizes, reporter)?;
        let problem = &prepared.problem;
        let budget = prepared.plan.tile_budget(resources.memory_bytes);
        let is_host = prepared.plan.models.iter().any(|model| model.bands.is_some());
        let device = if is_host { &Device::Cpu } else { &options.device };
        let n_threads = resources.n_threads;
        let (n_voxels, other) = (voxels.len(), prepared.other.as_ref());
        let width = tile_width(problem, device, n_voxels, n_threads, budget, other)?;
        let block = problem.settings.block_voxels;
        let missing = writer.missing_tiles(n_voxels, width, block, n_workers(device, n_threads));
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
        let source = SubjectSource { subject, split: splits.of(index), n_bytes: 0.into() };
        let stages = run_tiles(problem, &source, &writer, &missing, &run)?;
        reporter.finish();
        if let Some(file) = stamps[index].first_changed(&Stamps::of(subject)) {
            writer.discard()?;
            return Err(Error::Values {
                place: file.display().to_string(),
                problem: "was changed while the run was reading it".into(),
                hint: "nothing of this subject is kept; run again when the file is as it should be"
                    .into(),
            });
        }
        writer.finish()?;
        add_stages(&mut self.stages, stages);
        self.bold_bytes_read += source.n_bytes.into_inner();
        Ok(())
    }

    /// Voxels that are dead, alphas at the ends of the grid.
    fn doubts(&self, subject: &Subject, found: &SubjectVoxels) -> Vec<Warning> {
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
