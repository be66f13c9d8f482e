//! The study from start to end.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::alignment;
use super::bold::unpack::unpack;
use super::context::{RunOptions, Session, StepClock, StudyContext, open};
use super::fingerprint::{InputHashes, combined, hash_inputs, settings_text};
use super::fit::{Mode, SubjectFitter};
use super::language::publish_model;
use super::plan::StudyPlan;
use super::shards::{FinishedShards, ShardId, ShardPlan, planned, verify};
use super::tables::analysis::write_tables;
use super::tables::bands::write_band_tables;
use super::tables::scores::{read_tables, settings_json, space_infos};
use crate::error::{Error, Result};
use crate::io::output::{write_bytes, write_json};
use crate::report::{ScoreRow, csv};
use crate::resources::peak_bytes;
use crate::results::folder::{Earlier, finished, lock_folder, remove_leftovers, start_partial};
use crate::results::{brain, write_page};
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
        run: Box<Value>,
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

    let lock = if options.dry_run { None } else { Some(lock_folder(&options.out)?) };
    let stamps = opened.stamps();
    let everyone = 0..opened.inputs.subjects.len();
    let by_use = hash_inputs(study, &opened.inputs, &everyone)?;
    let hashes = by_use.all();
    let fingerprint = combined(&settings_text(study), &hashes);
    let earlier = match options.dry_run {
        true => None,
        false => finished(&options.out, options.force, &fingerprint, &hashes, reporter)?,
    };
    if let Some(Earlier { summary, run }) = earlier {
        if !options.out.join("report.html").exists() {
            write_page(&options.out)?;
        }
        return Ok(StudyResults::Finished { summary, run: Box::new(run), was_done: true });
    }
    let sharded = again.map(|_| planned_here(study, &options.out, &by_use)).transpose()?;
    clock.step("hashes");

    let resources = sharded.as_ref().map_or(options.resources, |shards| shards.choices);
    let mut context = opened.plan(by_use, stamps, resources)?;
    let plan = &context.plan;
    for model in &plan.models {
        reporter.step(&format!("{}: {} columns, {}", model.folder(), model.n_coefs, model.solver));
    }
    if options.dry_run {
        return Ok(StudyResults::Planned(Box::new(context.plan)));
    }
    for (space, words) in study.spaces.iter().zip(&context.words) {
        if let Some(model) = words.as_ref().and_then(|words| words.encoder.as_ref()) {
            publish_model(model, &options.out.join("models/encoder").join(&space.name))?;
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
    let models = options.out.join("models");
    let subjects = context.inputs.subjects.iter().map(|subject| models.join(&subject.name));
    for folder in subjects {
        context.plan.models.iter().for_each(|model| remove_leftovers(&folder.join(model.folder())));
        remove_leftovers(&folder);
    }
    remove_leftovers(&options.out);
    start_partial(&options.out, &hashes, reporter)?;
    let scratch = options.out.join(".partial");
    let inputs = &mut context.inputs;
    if unpack(&mut inputs.subjects, &inputs.stories, &scratch, reporter, cancel)? {
        clock.step("unpack");
    }
    let mut warnings = std::mem::take(&mut context.warnings);
    let StudyContext { inputs, split, words, extra, .. } = &context;
    let n_threads = options.resources.n_threads;

    let checked = match study.alignment_check {
        true => alignment::check(study, inputs, split, words, n_threads, cancel)?,
        false => None,
    };
    let verdict = checked.as_ref().and_then(|checked| checked.verdict.as_ref());
    warnings.extend(verdict.and_then(|verdict| alignment::warning(study, verdict)));
    warnings.extend(shards.as_ref().and_then(FinishedShards::doubts));
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
    let SubjectFitter { plan, conditioning, stages, .. } = fitter;

    // Parts of a partition are no spaces of the study: they have a table of their own.
    let reported = plan.part(&plan.models.iter().map(|model| !model.is_part()).collect::<Vec<_>>());
    let (summary, stories) = read_tables(&options.out, inputs, split, &reported)?;
    let more = (extra, checked.as_ref());
    write_tables(&options.out, study, inputs, split, &reported, more)?;
    write_band_tables(&options.out, &plan)?;
    brain::keep(study, &options.out)?;
    clock.step("tables");
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let named = |list: &[usize]| list.iter().map(|&s| names[s]).collect::<Vec<_>>();
    let folds: Vec<Vec<&str>> = (0..split.n_folds)
        .map(|k| {
            let mut fold = named(&split.train);
            let mut folds = split.fold_of_train.iter();
            fold.retain(|_| folds.next() == Some(&k));
            fold
        })
        .collect();
    let total = ("total".to_owned(), clock.total_s());
    let timings = clock.steps.iter().chain([&total]);
    let mut document = json!({
        "schema": "voxelcast.run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": shards.as_ref().map_or(options.device.to_string(), FinishedShards::device),
        "threads": n_threads,
        "seed": study.seed,
        "split": { "train": named(&split.train), "test": named(&split.test) },
        "folds": folds,
        "stability": extra.splits[..extra.n_random].iter().zip(1..).map(|(other, i)| json!({
            "split": i, "seed": study.seed.wrapping_add(i),
            "train": named(&other.train), "test": named(&other.test),
        })).collect::<Vec<_>>(),
        "solver": plan.models.iter().map(|m| (m.folder(), json!(m.solver))).collect::<serde_json::Map<_, _>>(),
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "alignment": checked.as_ref().map(|checked| json!({
            "space": checked.space,
            "subjects": inputs.subjects.iter().zip(&checked.curves)
                .map(|(s, curve)| (s.name.clone(), json!(curve))).collect::<serde_json::Map<_, _>>(),
            "verdict": checked.verdict,
        })),
        "settings": settings_json(study),
        "alphas": study.alphas.values(),
        "n_train_trs": plan.n_train,
        "n_test_trs": plan.n_test,
        "subjects": plan.subjects.iter().map(|(s, v)| (s.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "spaces": space_infos(study, words),
        "models": plan.models.iter().zip(&conditioning).map(|(model, known)| json!({
            "folder": model.folder(), "delays": model.delays, "n_features": model.n_features,
            "n_coefs": model.n_coefs, "condition": known.condition,
            "score_error": known.score_error(),
        })).collect::<Vec<_>>(),
        "voxels": inputs.subjects.iter().zip(&found)
            .map(|(s, found)| (s.name.clone(), json!(found))).collect::<serde_json::Map<_, _>>(),
        "fingerprint": fingerprint,
        "inputs": hashes,
        "timings_s": timings.map(|(n, s)| (n.clone(), json!(s))).collect::<serde_json::Map<_, _>>(),
        "tile_stages_s": stages.iter().map(|(n, s)| ((*n).to_owned(), json!(s))).collect::<serde_json::Map<_, _>>(),
        "peak_memory_bytes": peak_bytes(),
    });
    if let Some(shards) = &shards {
        document["shards"] = shards.about();
        document["tile_stages_s"] = named_seconds(&shards.stages());
        document["peak_memory_bytes"] = json!(peak_bytes().max(shards.peak_bytes()));
    }
    write_bytes(&options.out.join("summary.csv"), csv::summary(&summary).as_bytes())?;
    write_bytes(&options.out.join("stories.csv"), csv::stories(&stories).as_bytes())?;
    write_json(&options.out.join("summary.json"), &summary)?;
    write_json(&options.out.join("run.json"), &document)?;
    let _ = fs::remove_dir_all(options.out.join(".partial"));
    write_page(&options.out)?;
    drop(lock);
    Ok(StudyResults::Finished { summary, run: Box::new(document), was_done: false })
}

fn named_seconds(seconds: &[(String, f64)]) -> Value {
    seconds.iter().map(|(n, s)| (n.clone(), json!(s))).collect::<serde_json::Map<_, _>>().into()
}

/// The plan of the shards in an output folder, of these settings and inputs.
fn planned_here(study: &Study, out: &Path, hashes: &InputHashes) -> Result<ShardPlan> {
    let Some(shards) = planned(out)? else {
        return Err(Error::Values {
            place: out.display().to_string(),
            problem: "no shards were planned here".into(),
            hint: "`voxelcast plan STUDY.toml --shards N` plans them, for the same --out".into(),
        });
    };
    shards.check(out, study, hashes, &(0..usize::MAX))?;
    Ok(shards)
}
