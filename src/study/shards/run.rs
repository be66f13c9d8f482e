//! One shard: the tiles of its voxels, and a manifest of what it wrote.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde::Serialize;

use super::finished::{FileHash, Manifest, PartFound, hash_files};
use super::layout::ShardId;
use super::plan::{Part, PlanOptions, ShardPlan, check_number, plan_shards, planned};
use crate::backend::device::cpu_kind;
use crate::error::{Error, Result};
use crate::io::output::{sync_folder, write_json};
use crate::resources::peak_bytes;
use crate::results::lock::lock_folder;
use crate::results::names::MANIFEST;
use crate::results::{RunFolder, remove_leftovers};
use crate::study::bold::unpack::unpack;
use crate::study::context::{OpenStudy, RunOptions, Session, StepClock, open};
use crate::study::features::word_spaces_of;
use crate::study::fingerprint::hash_inputs;
use crate::study::fit::{Mode, SubjectFitter};
use crate::study::models::ModelPlan;
use crate::study::units::stories_of;
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
    session: Session<'_>,
) -> Result<ShardResults> {
    let mut clock = StepClock::new(session);
    let opened = open(study, options, session)?;
    let shards = agreed_plan(&opened, id, session)?;
    let run_folder = RunFolder::at(&options.out).shard(id.i, id.n);
    let folder = run_folder.path().to_owned();
    let _lock = lock_folder(&folder, options.locking)?;
    let voxels = shards.voxels(id.i, &opened.inputs);
    let own = subjects_of(&voxels);
    // The clock of every file is read before its bytes.
    let stamps = opened.stamps();
    let hashes = hash_inputs(study, &opened.inputs, &own)?;
    shards.check(&options.out, (study, &opened.inputs), &hashes, &own)?;
    remove_leftovers(&folder);

    let mut context = opened.plan(shards.inputs.clone(), stamps, shards.choices)?;
    context.options.out = folder.clone();
    let mode = Mode::Shard(&voxels);
    let results = |clock: &StepClock<'_>, files: &[FileHash], was_done| ShardResults {
        shard: id.i,
        n_shards: id.n,
        folder: folder.clone(),
        n_voxels: voxels.iter().map(ExactSizeIterator::len).sum(),
        n_files: files.len(),
        n_bytes: files.iter().map(|file| file.n_bytes).sum(),
        seconds: clock.total_s(),
        was_done,
    };
    if let Some(manifest) = Manifest::read(&folder) {
        let fitter = SubjectFitter::new(&context, mode);
        let planned = shards.shards[id.i - 1].parts.iter().cloned();
        let wanted: Vec<_> =
            planned.zip(own.clone().map(|index| fitter.fingerprints(index))).collect();
        match manifest.fault(&folder, &wanted) {
            None => return Ok(results(&clock, &manifest.files, true)),
            Some(fault) => session.reporter.note(&format!("shard {id} {fault}: it is done again")),
        }
        manifest.forget(&folder)?;
    }
    let scratch = run_folder.partial();
    fs::create_dir_all(&scratch)
        .map_err(|source| Error::Write { path: scratch.clone(), source })?;
    let inputs = &mut context.inputs;
    let Session { reporter, cancel } = session;
    unpack(&mut inputs.subjects[own.clone()], &inputs.stories, &scratch, reporter, cancel)?;
    // The merge says what is noticed.
    context.notice(own.clone())?;
    let mut fitter = SubjectFitter::new(&context, mode);
    let mut found = Vec::new();
    for index in own.clone() {
        let models = fitter.fit(index, &mut clock)?;
        found.push(PartFound {
            part: Part {
                subject: context.inputs.subjects[index].name.clone(),
                start: voxels[index].start,
                end: voxels[index].end,
            },
            folders: context.plan.models.iter().map(ModelPlan::folder).collect(),
            models,
        });
    }
    for (index, found) in own.zip(&mut found) {
        found.models.extend(fitter.fit_delays(index, &mut clock)?);
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
        threads: options.resources.n_threads,
        seconds: clock.total_s(),
        stages_s: fitter.stages.iter().map(|(name, s)| ((*name).to_owned(), *s)).collect(),
        peak_memory_bytes: peak_bytes(),
        parts: found,
        files,
    };
    sync_folder(&folder)?;
    write_json(&folder.join(MANIFEST), &manifest)?;
    sync_folder(&folder)?;
    let _ = fs::remove_dir_all(&scratch);
    Ok(results(&clock, &manifest.files, false))
}

/// The plan that is there, or one made now from this process's threads and memory.
fn agreed_plan(opened: &OpenStudy<'_>, id: ShardId, session: Session<'_>) -> Result<ShardPlan> {
    let options = opened.options;
    if let Some(plan) = planned(&options.out)? {
        check_number(&options.out, &plan, id.n)?;
        return Ok(plan);
    }
    let how = PlanOptions {
        out: &options.out,
        n_shards: id.n,
        resources: options.resources,
        locking: options.locking,
        force: false,
    };
    plan_shards(opened.study, &opened.inputs, &how, session)
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
pub fn make_features(opened: &OpenStudy<'_>) -> Result<()> {
    let OpenStudy { study, inputs, splits, .. } = opened;
    let train = stories_of(&inputs.units, &splits.all.train);
    let language = opened.language()?;
    let kinds = study.spaces.iter().map(|space| Some(&space.kind));
    let kinds = kinds.map(|kind| kind.filter(|kind| kind.language().is_some()));
    word_spaces_of(kinds, &study.folder, &inputs.stories, &train, &language.work()).map(drop)
}
