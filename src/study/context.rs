//! The one road from a study file to a plan: what a run, a shard, a merge or a dry run knows before
//! any BOLD is read.
//!
//! [`open`] reads stories and BOLD headers and draws the split; [`OpenStudy::plan`] adds features,
//! repeated splits and the plan.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::bold::noticed::notice;
use super::features::word_spaces;
use super::fingerprint::{InputHashes, Stamps, model_fingerprint};
use super::footprint::most_bytes;
use super::inputs::{Inputs, read_inputs};
use super::kinds::check_trs;
use super::language::{LanguageWork, language_device, reading_bytes};
use super::plan::{StudyPlan, plan};
use super::split::Splits;
use super::stability::ExtraSplits;
use super::units::stories_of;
use super::word_space::WordSpace;
use crate::backend::device::Device;
use crate::error::{Error, Result};
use crate::nn::{self, TrainSettings};
use crate::reporter::Reporter;
use crate::resources::{Resources, peak_bytes};
use crate::results::RunFolder;
use crate::results::earlier::check_place;
use crate::results::lock::Locking;
use crate::study_file::Study;
use crate::warning::Warning;

/// How a study is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Results folder.
    pub out: PathBuf,
    /// Replace results of other settings or inputs.
    pub force: bool,
    /// Plan only.
    pub dry_run: bool,
    /// Whether folders are locked.
    pub locking: Locking,
    /// Threads and memory of this process.
    pub resources: Resources,
    /// Where tiles are solved.
    pub device: Device,
    /// Whether `device` was left to the program.
    pub device_is_auto: bool,
}

/// Who is told what happens, and what stops it.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// Notes, steps, warnings, bars.
    pub reporter: &'a dyn Reporter,
    /// Set by Ctrl-C.
    pub cancel: &'a AtomicBool,
}

/// Seconds of each step of a run, told as they end.
pub struct StepClock<'a> {
    reporter: &'a dyn Reporter,
    start: Instant,
    since: Instant,
    /// Steps that ended, in order.
    pub steps: Vec<(String, f64)>,
}

impl<'a> StepClock<'a> {
    /// Starts the first step.
    pub fn new(session: Session<'a>) -> Self {
        let now = Instant::now();
        Self { reporter: session.reporter, start: now, since: now, steps: Vec::new() }
    }

    /// Ends a step and starts the next.
    pub fn step(&mut self, name: &str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        let peak = peak_bytes() >> 20;
        self.reporter.step(&format!("{name}: {seconds:.2} s, peak memory {peak} MiB"));
        self.steps.push((name.to_owned(), seconds));
    }

    /// Since the clock was started.
    pub fn total_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

/// A study whose stories are read and whose BOLD headers are checked.
pub struct OpenStudy<'a> {
    /// Its settings.
    pub study: &'a Study,
    /// How it is run.
    pub options: &'a RunOptions,
    /// Stories and open BOLD files.
    pub inputs: Inputs,
    /// Test stories and folds.
    pub splits: Splits,
    session: Session<'a>,
}

/// Reads stories and headers, and draws the split; computes nothing.
/// # Errors
/// Those of the inputs and the split; `Error::Usage` if results would lie among the stories.
pub fn open<'a>(
    study: &'a Study,
    options: &'a RunOptions,
    session: Session<'a>,
) -> Result<OpenStudy<'a>> {
    let inputs = read_inputs(study)?;
    let splits = Splits::of_study(study, &inputs)?;
    check_place(&options.out, &study.path(&study.stories))?;
    Ok(OpenStudy { study, options, inputs, splits, session })
}

impl<'a> OpenStudy<'a> {
    /// What every subject's BOLD files look like; taken before they are hashed.
    pub fn stamps(&self) -> Vec<Stamps> {
        self.inputs.subjects.iter().map(Stamps::of).collect()
    }

    /// What the study's language models need.
    /// # Errors
    /// As [`language_device`].
    pub fn language(&self) -> Result<Language<'a>> {
        let OpenStudy { study, options, session, .. } = self;
        let is_needed =
            study.spaces.iter().any(|space| space.kind.language().is_some()) && !options.dry_run;
        let device = if is_needed {
            language_device(&options.device, options.device_is_auto, session.reporter)?
        } else {
            nn::Device::Cpu
        };
        Ok(Language {
            cache: RunFolder::at(&options.out).cache(),
            encoder: study.encoder(),
            device,
            is_plan: options.dry_run,
            locking: options.locking,
            session: *session,
        })
    }

    /// Word rows of every space, repeated splits, and the plan.
    ///
    /// `resources`: what routes are chosen by; those of the shards' plan where there are shards.
    /// # Errors
    /// Those of vector files, checkpoints and routes.
    pub fn plan(
        self,
        hashes: InputHashes,
        stamps: Vec<Stamps>,
        resources: Resources,
    ) -> Result<StudyContext<'a>> {
        let language = self.language()?;
        let OpenStudy { study, options, mut inputs, splits, session } = self;
        let split = &splits.all;
        let test = stories_of(&inputs.units, &split.test);
        let test = test.iter().map(|&story| inputs.stories[story].name.as_str());
        let mut warnings = inputs.warnings.clone();
        warnings.extend(Warning::repeat_averaged(test));
        let words = word_spaces(study, &inputs, split, &mut warnings, &language.work())?;
        for space in words.iter().flatten() {
            check_trs(study, &inputs, space)?;
            inputs.notes.extend(space.notes.iter().cloned());
        }
        let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
        let mut plan = plan(study, &inputs, split, &borrowed, resources)?;
        let extra = ExtraSplits::new(study, split)?;
        // Each extra split costs less than the study's own fit: cautious.
        plan.seconds += (plan.seconds - plan.profile_seconds) * extra.splits.len() as f64;
        let none = ExtraSplits { splits: Vec::new(), n_random: 0 };
        let passes = [(plan.pass(false), &extra), (plan.pass(true), &none)];
        let work = (reading_bytes(study, &inputs.stories, resources.n_threads)?, resources);
        let bytes = passes
            .iter()
            .map(|(plan, extra)| most_bytes(study, &inputs, plan, &words, extra, work));
        plan.most_bytes = bytes.fold(0.0, f64::max);
        Ok(StudyContext {
            study,
            options: options.clone(),
            inputs,
            splits,
            words,
            plan,
            extra,
            hashes,
            stamps,
            resources,
            language,
            warnings,
            session,
        })
    }
}

/// Everything that fitting needs of a study.
pub struct StudyContext<'a> {
    /// Its settings.
    pub study: &'a Study,
    /// How it is run; a shard's results go to a folder of its own.
    pub options: RunOptions,
    /// Stories and BOLD, which may be unpacked after planning.
    pub inputs: Inputs,
    /// Test stories and folds.
    pub splits: Splits,
    /// Word rows of every space; `None` for a combination.
    pub words: Vec<Option<WordSpace>>,
    /// All models, as planned.
    pub plan: StudyPlan,
    /// Repeated splits and points of the learning curve.
    pub extra: ExtraSplits,
    /// Of everything that is read.
    pub hashes: InputHashes,
    /// What every subject's files looked like when they were hashed.
    pub stamps: Vec<Stamps>,
    /// What routes are chosen by.
    pub resources: Resources,
    /// How language models work.
    pub language: Language<'a>,
    /// Doubts so far.
    pub warnings: Vec<Warning>,
    /// Who is told, and what stops it.
    pub session: Session<'a>,
}

impl StudyContext<'_> {
    /// What each model of a subject depends on, in the order of the plan.
    pub fn fingerprints(&self, index: usize) -> Vec<String> {
        let Self { study, inputs, splits, extra, hashes, .. } = self;
        let split = splits.of(index);
        let of_model = |model| model_fingerprint(study, inputs, index, split, extra, model, hashes);
        self.plan.models.iter().map(of_model).collect()
    }

    /// Looks over the BOLD of some subjects, which must be unpacked: leaves out TRs without values,
    /// and hands back what is doubtful.
    /// # Errors
    /// As `bold::noticed::notice`.
    pub fn notice(&mut self, subjects: Range<usize>) -> Result<Vec<Warning>> {
        let Inputs { stories, subjects: all, .. } = &mut self.inputs;
        let warnings = notice(&mut all[subjects], stories)?;
        check_blocks(&self.inputs, &self.splits)?;
        self.plan.recount(self.study, &self.inputs, &self.splits.all);
        Ok(warnings)
    }
}

/// Asks that every block of a subject's split still has TRs.
fn check_blocks(inputs: &Inputs, splits: &Splits) -> Result<()> {
    for (index, subject) in inputs.subjects.iter().enumerate() {
        let (split, n_trs) = (splits.of(index), subject.n_trs());
        let empty = split.train.iter().chain(&split.test).find(|&&unit| n_trs[unit] == 0);
        if let Some(&unit) = empty {
            return Err(Error::Values {
                place: format!("[bold.{}]", subject.name),
                problem: format!(
                    "{:?} has no TRs left: all of them are censored or NaN in every voxel",
                    inputs.units[unit].name
                ),
                hint: "set a longer block_trs in [split]".into(),
            });
        }
    }
    Ok(())
}

/// What a [`LanguageWork`] borrows.
pub struct Language<'a> {
    cache: PathBuf,
    encoder: TrainSettings,
    device: nn::Device,
    is_plan: bool,
    locking: Locking,
    session: Session<'a>,
}

impl Language<'_> {
    /// How language models work in this run.
    pub fn work(&self) -> LanguageWork<'_> {
        LanguageWork {
            cache: &self.cache,
            device: &self.device,
            encoder: Some(&self.encoder),
            is_plan: self.is_plan,
            locking: self.locking,
            reporter: self.session.reporter,
            cancel: self.session.cancel,
        }
    }
}
