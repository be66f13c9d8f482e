//! One shard: the tiles of its voxels, and a manifest of what it wrote.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::Serialize;

use super::finished::{FileHash, MANIFEST, Manifest, PartFound, hash_files};
use super::layout::{ShardId, shard_folder};
use super::plan::{Part, ShardPlan, check_number, plan_shards, planned};
use crate::backend::device::cpu_kind;
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::reporter::Reporter;
use crate::resources::peak_bytes;
use crate::results::folder::{check_place, lock_folder, remove_leftovers};
use crate::study::bold::unpack::unpack;
use crate::study::features::{WordSpace, word_space, word_spaces};
use crate::study::fingerprint::{Stamps, hash_inputs};
use crate::study::fit::{Choices, Fitting, StudyKnown, StudyParts, Task};
use crate::study::inputs::{Inputs, read_inputs};
use crate::study::plan::{ModelPlan, plan};
use crate::study::run::RunOptions;
use crate::study::split::split;
use crate::study::stability::Others;
use crate::study_file::Study;

/// What a shard's run has to say.
#[derive(Debug, Clone, Serialize)]
pub struct ShardResults {
    /// From 1.
    pub shard: usize,
    /// Of how many.
    pub n_shards: usize,
    /// Its folder.
    pub folder: PathBuf,
    /// Its voxels, over all subjects.
    pub n_voxels: usize,
    /// Files that it wrote, and their bytes.
    pub n_files: usize,
    /// See `n_files`.
    pub n_bytes: u64,
    /// Seconds of this run.
    pub seconds: f64,
    /// Nothing had to be done: it was finished before, and its files are what they were.
    pub was_done: bool,
}

/// Fits the voxels of one shard; goes on where an earlier run of it stopped.
///
/// `options.out` is the study's folder, the shard's is below it.
/// # Errors
/// As [`run`](fn@crate::study::run); `Error::Usage` for another number of shards than was
/// planned; `Error::Values` if the plan is of other settings or inputs; `Error::Locked` if another
/// process does this shard.
pub fn run_shard(
    study: &Study,
    id: ShardId,
    options: &RunOptions,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<ShardResults> {
    let clock = Instant::now();
    let mut inputs = read_inputs(study)?;
    check_place(&options.out, &study.path(&study.stories))?;
    let shards = agreed_plan(study, id, &inputs, options, reporter, cancel)?;
    let folder = shard_folder(&options.out, id);
    let _lock = lock_folder(&folder)?;
    let voxels = shards.voxels(id.i, &inputs);
    let own = subjects_of(&voxels);
    // The clock of every file is read before its bytes.
    let stamps: Vec<Stamps> = inputs.subjects.iter().map(Stamps::of).collect();
    shards.check(&options.out, study, &hash_inputs(study, &inputs, &own)?, &own)?;
    remove_leftovers(&folder);

    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let split = split(study, &names)?;
    let language = options.language(study, reporter)?;
    let work = language.work(reporter, cancel);
    let words = word_spaces(study, &inputs.stories, &split, &mut Vec::new(), &work)?;
    let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
    let Choices { n_threads, memory_bytes } = shards.choices;
    let plan = plan(study, &inputs, &split, &borrowed, n_threads, memory_bytes)?;
    let others = Others::new(study, &split)?;
    let own_options = RunOptions { out: folder.clone(), ..options.clone() };
    let known = StudyKnown {
        study,
        options: &own_options,
        split: &split,
        plan: &plan,
        words: &words,
        work: &work,
        others: &others,
        hashes: &shards.inputs,
        stamps: &stamps,
        choices: shards.choices,
    };
    let task = Task::Part(&voxels);
    let results = |files: &[FileHash], was_done| ShardResults {
        shard: id.i,
        n_shards: id.n,
        folder: folder.clone(),
        n_voxels: voxels.iter().map(ExactSizeIterator::len).sum(),
        n_files: files.len(),
        n_bytes: files.iter().map(|file| file.n_bytes).sum(),
        seconds: clock.elapsed().as_secs_f64(),
        was_done,
    };
    if let Some(manifest) = Manifest::read(&folder) {
        let parts = StudyParts { known, inputs: &inputs, task };
        let planned = shards.shards[id.i - 1].parts.iter().cloned();
        let wanted: Vec<_> =
            planned.zip(own.clone().map(|index| parts.fingerprints(index))).collect();
        match manifest.fault(&folder, &wanted) {
            None => return Ok(results(&manifest.files, true)),
            Some(fault) => reporter.note(&format!("shard {id} {fault}: it is done again")),
        }
        manifest.forget(&folder)?;
    }
    let scratch = folder.join(".partial");
    fs::create_dir_all(&scratch)
        .map_err(|source| Error::Write { path: scratch.clone(), source })?;
    unpack(&mut inputs.subjects[own.clone()], &inputs.stories, &scratch, reporter, cancel)?;
    let mut fitting = Fitting::new(StudyParts { known, inputs: &inputs, task });
    let mut found = Vec::new();
    let mut mark = |name: &str, reporter: &dyn Reporter| reporter.step(name);
    for index in own {
        let models = fitting.fit(index, reporter, cancel, &mut mark)?;
        found.push(PartFound {
            part: Part {
                subject: inputs.subjects[index].name.clone(),
                start: voxels[index].start,
                end: voxels[index].end,
            },
            folders: plan.models.iter().map(ModelPlan::folder).collect(),
            models,
        });
    }
    let files = hash_files(&folder, &found)?;
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let manifest = Manifest {
        shard: id.i,
        n_shards: id.n,
        version: env!("CARGO_PKG_VERSION").into(),
        commit: env!("VOXELCAST_COMMIT").into(),
        host: host.trim().into(),
        cpu: cpu_kind().into(),
        device: options.device.to_string(),
        threads: options.n_threads,
        seconds: clock.elapsed().as_secs_f64(),
        stages_s: fitting.stages.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect(),
        peak_memory_bytes: peak_bytes(),
        parts: found,
        files,
    };
    write_json(&folder.join(MANIFEST), &manifest)?;
    let _ = fs::remove_dir_all(&scratch);
    Ok(results(&manifest.files, false))
}

/// The plan that is there, or one made now from this process's threads and memory.
fn agreed_plan(
    study: &Study,
    id: ShardId,
    inputs: &Inputs,
    options: &RunOptions,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<ShardPlan> {
    if let Some(plan) = planned(&options.out)? {
        check_number(&options.out, &plan, id.n)?;
        return Ok(plan);
    }
    let choices = Choices { n_threads: options.n_threads, memory_bytes: options.memory_bytes };
    plan_shards(study, inputs, (&options.out, id.n), (choices, false), reporter, cancel)
}

/// Subjects that a shard works on: neighbours, since shards are cut from one line of voxels.
fn subjects_of(voxels: &[Range<usize>]) -> Range<usize> {
    let has_voxels = |part: &Range<usize>| !part.is_empty();
    let first = voxels.iter().position(has_voxels).unwrap_or(0);
    let last = voxels.iter().rposition(has_voxels).unwrap_or(0);
    first..last + 1
}

/// Trains the study's encoders and computes its language models' vectors, into the folder's cache,
/// where every shard finds them. Encoders of other splits are left to the first shard that needs
/// them.
/// # Errors
/// Those of language models.
pub fn make_features(
    study: &Study,
    inputs: &Inputs,
    options: &RunOptions,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<()> {
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let split = split(study, &names)?;
    let language = options.language(study, reporter)?;
    let work = language.work(reporter, cancel);
    for space in study.spaces.iter().filter(|space| space.kind.is_language()) {
        word_space(&space.kind, &study.folder, &inputs.stories, &split.train, &work)?;
    }
    Ok(())
}
