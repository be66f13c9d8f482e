//! The study from start to end.

use std::fs;
use std::path::Path;

use super::alignment;
use super::bold::unpack::unpack;
use super::context::{RunOptions, Session, StepClock, StudyContext, open};
use super::fingerprint::{InputHashes, combined, hash_inputs, settings_text};
use super::fit::{Mode, SubjectFitter};
use super::inputs::Inputs;
use super::language::publish_model;
use super::models::ModelPlan;
use super::plan::StudyPlan;
use super::position;
use super::shards::{FinishedShards, ShardId, ShardPlan, planned, verify};
use super::tables::analysis::write_tables;
use super::tables::bands::write_band_tables;
use super::tables::beyond::write_beyond;
use super::tables::delays::write_delay_tables;
use super::tables::preferred::write_preferred;
use super::tables::run_json::{Known, keep_study, record};
use super::tables::scores::read_tables;
use crate::error::{Error, Result};
use crate::io::output::{sync_folder, write_json};
use crate::report::ScoreRow;
use crate::report::record::RunInfo;
use crate::report::rows::ScoreLine;
use crate::results::earlier::{Earlier, finished, start_partial};
use crate::results::lock::lock_folder;
use crate::results::names::{REPORT, STORIES, SUMMARY, SUMMARY_JSON};
use crate::results::{self, Name, RunFolder, brain, remove_leftovers, tables, write_page};
use crate::study_file::Study;

/// What a study found; arrays are in files.
#[derive(Debug, Clone)]
pub enum StudyResults {
    /// `--dry-run`.
    Planned(Box<StudyPlan>),
    /// Everything is on disk.
    Finished {
        /// One row a model.
        summary: Vec<ScoreRow>,
        /// run.json.
        run: Box<RunInfo>,
        /// Nothing had to be done: the same run was finished before.
        was_done: bool,
    },
}

/// Runs a study.
///
/// # Errors
/// Input errors before anything is computed; `Error::Locked` if another process writes to the same
/// folder; `Error::Interrupted` after Ctrl-C: the next run goes on from the finished tiles.
pub fn run(study: &Study, options: &RunOptions, session: Session<'_>) -> Result<StudyResults> {
    run_or_merge(study, options, None, session)
}

/// Puts together what the shards of a study found, then does all that needs every voxel, as [`run`]
/// does.
///
/// `again`: the command that does one shard, and the one that merges.
/// # Errors
/// Those of [`run`]; `Error::Values` without a plan, if it is of other settings or inputs, or if a
/// shard is missing or damaged.
pub fn merge(
    study: &Study,
    options: &RunOptions,
    again: &dyn Fn(Option<ShardId>) -> String,
    session: Session<'_>,
) -> Result<StudyResults> {
    run_or_merge(study, options, Some(again), session)
}

fn run_or_merge(
    study: &Study,
    options: &RunOptions,
    again: Option<&dyn Fn(Option<ShardId>) -> String>,
    session: Session<'_>,
) -> Result<StudyResults> {
    let Session { reporter, cancel } = session;
    let mut clock = StepClock::new(session);
    let opened = open(study, options, session)?;
    clock.step("inputs");

    let folder = RunFolder::at(&options.out);
    let lock =
        if options.dry_run { None } else { Some(lock_folder(&options.out, options.locking)?) };
    let stamps = opened.stamps();
    let everyone = 0..opened.inputs.subjects.len();
    let by_use = hash_inputs(study, &opened.inputs, &everyone)?;
    let hashes = by_use.all();
    let fingerprint = combined(&settings_text(study), &hashes);
    let earlier = match options.dry_run {
        true => None,
        false => finished(&folder, options.force, &fingerprint, &hashes, reporter)?,
    };
    if let Some(Earlier { summary, run }) = earlier {
        if !folder.file(REPORT).exists() {
            write_page(&options.out)?;
        }
        return Ok(StudyResults::Finished { summary, run: Box::new(run), was_done: true });
    }
    let planned = || planned_here(study, &opened.inputs, &options.out, &by_use);
    let sharded = again.map(|_| planned()).transpose()?;
    clock.step("hashes");

    let resources = sharded.as_ref().map_or(options.resources, |shards| shards.choices);
    let mut context = opened.plan(by_use, stamps, resources)?;
    let plan = &context.plan;
    for model in plan.models.iter().filter(|model| !model.is_profile) {
        reporter.step(&format!("{}: {} columns, {}", model.folder(), model.n_coefs, model.solver));
    }
    if options.dry_run {
        return Ok(StudyResults::Planned(Box::new(context.plan)));
    }
    for (space, words) in study.spaces.iter().zip(&context.words) {
        if let Some(model) = words.as_ref().and_then(|words| words.encoder.as_ref()) {
            publish_model(model, &folder.encoder(&Name::new(&space.name)?))?;
        }
    }
    clock.step("features");

    let shards = match (&sharded, again) {
        (Some(shards), Some(again)) => Some(verify(&options.out, shards, &context, again)?),
        _ => None,
    };
    if shards.is_some() {
        clock.step("shards");
    }
    for subject in &context.inputs.subjects {
        for model in &context.plan.models {
            remove_leftovers(&folder.model(&model.id(&subject.name)?));
        }
        remove_leftovers(&folder.subject(&Name::new(&subject.name)?));
    }
    remove_leftovers(&options.out);
    start_partial(&folder, &hashes, reporter)?;
    let scratch = folder.partial();
    let inputs = &mut context.inputs;
    if unpack(&mut inputs.subjects, &inputs.stories, &scratch, reporter, cancel)? {
        clock.step("unpack");
    }
    let mut warnings = std::mem::take(&mut context.warnings);
    warnings.extend(context.notice(everyone)?);
    clock.step("bold");
    let StudyContext { inputs, splits, words, extra, .. } = &context;
    let n_threads = options.resources.n_threads;

    let checked = match study.alignment_check {
        true => alignment::check(study, inputs, splits, words, n_threads, cancel)?,
        false => None,
    };
    let verdict = checked.as_ref().and_then(|checked| checked.verdict.as_ref());
    warnings.extend(verdict.and_then(|verdict| alignment::warning(study, verdict)));
    warnings.extend(shards.as_ref().and_then(FinishedShards::doubts));
    inputs.notes.iter().for_each(|note| reporter.note(&format!("note: {note}")));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    clock.step("alignment");

    let mode = shards.as_ref().map_or(Mode::Study, Mode::Merge);
    let mut fitter = SubjectFitter::new(&context, mode);
    let mut found = Vec::new();
    for index in 0..inputs.subjects.len() {
        let (of_subject, more) = fitter.run(index, &mut clock)?;
        warnings.extend(more);
        found.push(of_subject);
    }
    for index in 0..inputs.subjects.len() {
        fitter.fit_delays(index, &mut clock)?;
    }
    let SubjectFitter { plan, conditioning, stages, bold_bytes_read, .. } = fitter;

    // Models of a partition and single delays are no models of the user's: each has a table of its own.
    let reported = plan.part(&plan.models.iter().map(ModelPlan::is_reported).collect::<Vec<_>>());
    let (summary, stories) = read_tables(&options.out, inputs, splits, &reported)?;
    let rivals = position::rivals(study, &summary);
    rivals.iter().for_each(|warning| reporter.warn(warning));
    warnings.extend(rivals);
    let more = (extra, checked.as_ref());
    write_tables(&options.out, study, inputs, splits, &reported, more)?;
    write_band_tables(&options.out, &plan)?;
    write_beyond(&options.out, study, &plan)?;
    write_preferred(&options.out, study, &plan, &summary)?;
    let cut_off = write_delay_tables(&options.out, study, &plan)?;
    cut_off.iter().for_each(|warning| reporter.warn(warning));
    warnings.extend(cut_off);
    let plan = plan.pass(false);
    brain::keep(&folder, study.place_files())?;
    keep_study(study, &folder, reporter)?;
    clock.step("tables");
    let total = ("total".to_owned(), clock.total_s());
    let run = record(Known {
        context: &context,
        plan: &plan,
        conditioning: &conditioning,
        checked: checked.as_ref(),
        voxels: found,
        warnings: &warnings,
        notes: inputs.notes.clone(),
        fingerprint,
        hashes,
        timings: clock.steps.into_iter().chain([total]).collect(),
        stages,
        bold_bytes_read,
        shards: shards.as_ref(),
    });
    let lines = |rows: &[ScoreRow]| rows.iter().map(ScoreLine::from).collect::<Vec<_>>();
    tables::write(&folder.file(SUMMARY), &lines(&summary))?;
    tables::write(&folder.file(STORIES), &lines(&stories))?;
    write_json(&folder.file(SUMMARY_JSON), &summary)?;
    // run.json says that all files are there: their names are on the disk before it.
    sync_folder(folder.path())?;
    results::record::write(&folder, &run)?;
    sync_folder(folder.path())?;
    let _ = fs::remove_dir_all(folder.partial());
    write_page(&options.out)?;
    drop(lock);
    Ok(StudyResults::Finished { summary, run: Box::new(run), was_done: false })
}

/// The plan of the shards in an output folder, of these settings and inputs.
fn planned_here(
    study: &Study,
    inputs: &Inputs,
    out: &Path,
    hashes: &InputHashes,
) -> Result<ShardPlan> {
    let Some(shards) = planned(out)? else {
        return Err(Error::Values {
            place: out.display().to_string(),
            problem: "no shards were planned here".into(),
            hint: "`voxelcast plan STUDY.toml --shards N` plans them, for the same --out".into(),
        });
    };
    shards.check(out, (study, inputs), hashes, &(0..usize::MAX))?;
    Ok(shards)
}
