//! The study from start to end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};

use super::alignment;
use super::bold::unpack::unpack;
use super::features::{WordSpace, word_spaces};
use super::fingerprint::{InputHashes, Stamps, combined, hash_inputs, settings_text};
use super::fit::{Choices, Fitting, StudyKnown, StudyParts, Task};
use super::inputs::read_inputs;
use super::memory::most_bytes;
use super::plan::{StudyPlan, plan};
use super::shards::{FinishedShards, ShardId, ShardPlan, planned, verify};
use super::split::split;
use super::stability::Others;
use super::tables::analysis::write_tables;
use super::tables::bands::write_band_tables;
use super::tables::scores::{read_tables, settings_json, space_infos};
use crate::backend::device::Device;
use crate::encoder::language_device;
use crate::error::{Error, Result};
use crate::io::output::{write_bytes, write_json};
use crate::nn::TrainSettings;
use crate::report::{ScoreRow, csv};
use crate::reporter::Reporter;
use crate::resources::peak_bytes;
use crate::results::brain;
use crate::results::folder::{
    Earlier, check_place, finished, lock_folder, remove_leftovers, start_partial,
};
use crate::results::write_page;
use crate::study::language::{LanguageWork, publish_model};
use crate::study_file::Study;
use crate::warning::Warning;

/// How a study is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Output folder.
    pub out: PathBuf,
    /// Replace results of other settings or inputs.
    pub force: bool,
    /// Plan only.
    pub dry_run: bool,
    /// Threads.
    pub n_threads: usize,
    /// Memory for matrices and tiles, in bytes.
    pub memory_bytes: u64,
    /// Where the tiles are solved.
    pub device: Device,
    /// The choice was left to the program.
    pub device_is_auto: bool,
}

impl RunOptions {
    /// What the study's language models need.
    /// # Errors
    /// As [`language_device`].
    pub fn language(&self, study: &Study, reporter: &dyn Reporter) -> Result<Language> {
        let is_needed = study.spaces.iter().any(|space| space.kind.is_language()) && !self.dry_run;
        let device = match is_needed {
            true => language_device(&self.device, self.device_is_auto, reporter)?,
            false => candle_core::Device::Cpu,
        };
        let (cache, encoder) = (self.out.join(".cache"), study.encoder());
        Ok(Language { cache, encoder, device, is_plan: self.dry_run })
    }
}

/// What a [`LanguageWork`] borrows.
pub struct Language {
    cache: PathBuf,
    encoder: TrainSettings,
    device: candle_core::Device,
    is_plan: bool,
}

impl Language {
    /// The work.
    pub fn work<'a>(
        &'a self,
        reporter: &'a dyn Reporter,
        cancel: &'a AtomicBool,
    ) -> LanguageWork<'a> {
        LanguageWork {
            cache: &self.cache,
            device: &self.device,
            encoder: Some(&self.encoder),
            is_plan: self.is_plan,
            reporter,
            cancel,
        }
    }
}

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
pub fn run(
    study: &Study,
    options: &RunOptions,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<StudyResults> {
    run_or_merge(study, options, None, (reporter, cancel))
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
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<StudyResults> {
    run_or_merge(study, options, Some(again), (reporter, cancel))
}

fn run_or_merge(
    study: &Study,
    options: &RunOptions,
    again: Option<&dyn Fn(Option<ShardId>) -> String>,
    (reporter, cancel): (&dyn Reporter, &AtomicBool),
) -> Result<StudyResults> {
    let clock = Instant::now();
    let mut timings: Vec<(String, f64)> = Vec::new();
    let mut since = Instant::now();
    let mut mark = |name: &str, reporter: &dyn Reporter| {
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        let peak = peak_bytes() >> 20;
        reporter.step(&format!("{name}: {seconds:.2} s, peak memory {peak} MiB"));
        timings.push((name.to_owned(), seconds));
    };
    let mut inputs = read_inputs(study)?;
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let split = split(study, &names)?;
    let mut warnings = inputs.warnings.clone();
    warnings.extend(Warning::repeat_averaged(split.test.iter().map(|&s| names[s])));
    mark("inputs", reporter);

    check_place(&options.out, &study.path(&study.stories))?;
    let lock = if options.dry_run { None } else { Some(lock_folder(&options.out)?) };
    let stamps: Vec<Stamps> = inputs.subjects.iter().map(Stamps::of).collect();
    let everyone = 0..inputs.subjects.len();
    let by_use = hash_inputs(study, &inputs, &everyone)?;
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
    mark("hashes", reporter);

    let language = options.language(study, reporter)?;
    let work = language.work(reporter, cancel);
    let words = word_spaces(study, &inputs.stories, &split, &mut warnings, &work)?;
    let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
    let own = Choices { n_threads: options.n_threads, memory_bytes: options.memory_bytes };
    let choices = sharded.as_ref().map_or(own, |shards| shards.choices);
    let Choices { n_threads, memory_bytes } = choices;
    let mut plan = plan(study, &inputs, &split, &borrowed, n_threads, memory_bytes)?;
    let others = Others::new(study, &split)?;
    // Each other fit costs less than the study's own: cautious.
    plan.seconds *= 1.0 + others.splits.len() as f64;
    plan.most_bytes = most_bytes(study, &inputs, &plan, &words, &others, (n_threads, memory_bytes));
    for model in &plan.models {
        reporter.step(&format!("{}: {} columns, {}", model.folder(), model.n_coefs, model.solver));
    }
    if options.dry_run {
        return Ok(StudyResults::Planned(Box::new(plan)));
    }
    for (space, words) in study.spaces.iter().zip(&words) {
        if let Some(model) = words.as_ref().and_then(|words| words.encoder.as_ref()) {
            publish_model(model, &options.out.join("models/encoder").join(&space.name))?;
        }
    }
    mark("features", reporter);

    let known = StudyKnown {
        study,
        options,
        split: &split,
        plan: &plan,
        words: &words,
        work: &work,
        others: &others,
        hashes: &by_use,
        stamps: &stamps,
        choices,
    };
    let parts = StudyParts { known, inputs: &inputs, task: Task::Whole };
    let shards = match (&sharded, again) {
        (Some(shards), Some(again)) => Some(verify(&options.out, shards, &parts, again)?),
        _ => None,
    };
    if shards.is_some() {
        mark("shards", reporter);
    }
    let models = options.out.join("models");
    let subjects = inputs.subjects.iter().map(|subject| models.join(&subject.name));
    for folder in subjects {
        plan.models.iter().for_each(|model| remove_leftovers(&folder.join(model.folder())));
        remove_leftovers(&folder);
    }
    remove_leftovers(&options.out);
    start_partial(&options.out, &hashes, reporter)?;
    let scratch = options.out.join(".partial");
    if unpack(&mut inputs.subjects, &inputs.stories, &scratch, reporter, cancel)? {
        mark("unpack", reporter);
    }

    let checked = match study.alignment_check {
        true => alignment::check(study, &inputs, &split, &words, options.n_threads, cancel)?,
        false => None,
    };
    let verdict = checked.as_ref().and_then(|checked| checked.verdict.as_ref());
    warnings.extend(verdict.and_then(|verdict| alignment::warning(study, verdict)));
    warnings.extend(shards.as_ref().and_then(FinishedShards::doubts));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    mark("alignment", reporter);

    let task = shards.as_ref().map_or(Task::Whole, Task::Join);
    let mut fitting = Fitting::new(StudyParts { known, inputs: &inputs, task });
    let mut found = Vec::new();
    for index in 0..inputs.subjects.len() {
        let (of_subject, more) = fitting.run(index, reporter, cancel, &mut mark)?;
        warnings.extend(more);
        found.push(of_subject);
    }
    let Fitting { plan, conditioning, stages, .. } = fitting;

    // Parts of a partition are no spaces of the study: they have a table of their own.
    let told = plan.part(&plan.models.iter().map(|model| !model.is_part()).collect::<Vec<_>>());
    let (summary, stories) = read_tables(&options.out, &inputs, &split, &told)?;
    let more = (&others, checked.as_ref());
    write_tables(&options.out, study, &inputs, &split, &told, more)?;
    write_band_tables(&options.out, &plan)?;
    brain::keep(study, &options.out)?;
    mark("tables", reporter);
    let named = |list: &[usize]| list.iter().map(|&s| names[s]).collect::<Vec<_>>();
    let folds: Vec<Vec<&str>> = (0..split.n_folds)
        .map(|k| {
            let mut fold = named(&split.train);
            let mut folds = split.fold_of_train.iter();
            fold.retain(|_| folds.next() == Some(&k));
            fold
        })
        .collect();
    timings.push(("total".into(), clock.elapsed().as_secs_f64()));
    let mut document = json!({
        "schema": "voxelcast.run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": shards.as_ref().map_or(options.device.to_string(), FinishedShards::device),
        "threads": options.n_threads,
        "seed": study.seed,
        "split": { "train": named(&split.train), "test": named(&split.test) },
        "folds": folds,
        "stability": others.splits[..others.n_random].iter().zip(1..).map(|(other, i)| json!({
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
        "spaces": space_infos(study, &words),
        "models": plan.models.iter().zip(&conditioning).map(|(model, known)| json!({
            "folder": model.folder(), "delays": model.delays, "n_features": model.n_features,
            "n_coefs": model.n_coefs, "condition": known.condition,
            "score_error": known.score_error(),
        })).collect::<Vec<_>>(),
        "voxels": inputs.subjects.iter().zip(&found)
            .map(|(s, found)| (s.name.clone(), json!(found))).collect::<serde_json::Map<_, _>>(),
        "fingerprint": fingerprint,
        "inputs": hashes,
        "timings_s": timings.iter().map(|(n, s)| (n.clone(), json!(s))).collect::<serde_json::Map<_, _>>(),
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
