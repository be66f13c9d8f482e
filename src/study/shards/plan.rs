//! What all shards of a study agree on: how it is cut, what it reads, what routes are chosen by.

use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::layout::{MOST_SHARDS, cut};
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::resources::Resources;
use crate::results::hash::changed_files;
use crate::results::lock::{Locking, wait_for_turn};
use crate::results::names::{LOCK, SHARD_PLAN};
use crate::results::{RunFolder, read_json};
use crate::study::context::Session;
use crate::study::fingerprint::{InputHashes, combined, hash_inputs, settings_text};
use crate::study::inputs::Inputs;
use crate::study_file::Study;

const SCHEMA: &str = "voxelcast.shards/1";
/// Largest plan that is read.
const MAX_BYTES: u64 = 256 << 20;

/// `shards/plan.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShardPlan {
    /// Its form.
    pub schema: String,
    /// Of the program that planned.
    pub version: String,
    /// What routes are chosen by.
    pub choices: Resources,
    /// A hash of all settings and the version.
    pub settings: String,
    /// Which voxels are whose.
    pub shards: Vec<PlannedShard>,
    /// Of everything that is read.
    pub inputs: InputHashes,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedShard {
    /// From 1.
    pub shard: usize,
    /// Its voxels.
    pub parts: Vec<Part>,
    /// All of them.
    pub n_voxels: usize,
    /// f32 values of BOLD that it reads, in bytes.
    pub bold_bytes: u64,
}

/// Voxels of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub subject: String,
    /// The first voxel.
    pub start: usize,
    /// The one after the last.
    pub end: usize,
}

impl ShardPlan {
    /// Voxels of every subject that one shard has; `shard` counts from 1.
    pub fn voxels(&self, shard: usize, inputs: &Inputs) -> Vec<Range<usize>> {
        let parts = &self.shards[shard - 1].parts;
        let of_subject = |name: &str| parts.iter().find(|part| part.subject == name);
        let voxels = |name: &str| of_subject(name).map_or(0..0, |part| part.start..part.end);
        inputs.subjects.iter().map(|subject| voxels(&subject.name)).collect()
    }

    /// Refuses shards of other settings or inputs than those of now; only `hashed` subjects'
    /// BOLD was looked at.
    /// # Errors
    /// `Error::Values`.
    pub fn check(
        &self,
        out: &Path,
        (study, inputs): (&Study, &Inputs),
        now: &InputHashes,
        hashed: &Range<usize>,
    ) -> Result<()> {
        let planned = self.inputs.of_subjects(hashed);
        let why = match changed_files(&planned.all(), &now.all()) {
            Some(changed) => changed,
            None if self.settings != settings_hash(study) => {
                let version = env!("CARGO_PKG_VERSION");
                match self.version == version {
                    true => "the settings differ".into(),
                    false => format!("version {} planned, this is {version}", self.version),
                }
            }
            None if planned != *now => "the inputs differ".into(),
            None if cut_study(inputs, self.shards.len())? != self.shards => {
                "it cuts them elsewhere".into()
            }
            None => return Ok(()),
        };
        Err(Error::Values {
            place: RunFolder::at(out).shards().join(SHARD_PLAN).display().to_string(),
            problem: format!("its shards are of another study ({why})"),
            hint: "give another --out, or `voxelcast plan --force`: what is still right in the \
                   shards is kept"
                .into(),
        })
    }
}

fn settings_hash(study: &Study) -> String {
    combined(&settings_text(study), &[])
}

/// The plan in an output folder, if there is one.
/// # Errors
/// `Error::Values` for a file that is no plan.
pub fn planned(out: &Path) -> Result<Option<ShardPlan>> {
    let path = RunFolder::at(out).shards().join(SHARD_PLAN);
    if !path.exists() {
        return Ok(None);
    }
    let broken = |problem: String| Error::Values {
        place: path.display().to_string(),
        problem,
        hint: "remove it, and plan again".into(),
    };
    let plan: ShardPlan = read_json(&path, MAX_BYTES)?;
    let is_numbered = plan.shards.iter().zip(1..).all(|(shard, i)| shard.shard == i);
    match plan.schema == SCHEMA && is_numbered && plan.shards.len() <= MOST_SHARDS {
        true => Ok(Some(plan)),
        false => Err(broken(format!("expected {SCHEMA}, got {}", plan.schema))),
    }
}

/// How a study is cut into shards.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions<'a> {
    /// The study's results folder.
    pub out: &'a Path,
    /// How many shards.
    pub n_shards: usize,
    /// What every shard chooses its routes by.
    pub resources: Resources,
    /// Whether the shards' folder is locked meanwhile.
    pub locking: Locking,
    /// Replace another plan.
    pub force: bool,
}

/// Makes the plan of an output folder, or takes the one that is there and cuts into as many.
///
/// With `force` another one is replaced.
/// # Errors
/// `Error::Usage` for another number of shards than was planned, or more than blocks;
/// `Error::Values` for a plan of other settings or inputs; those of hashing.
pub fn plan_shards(
    study: &Study,
    inputs: &Inputs,
    options: &PlanOptions<'_>,
    session: Session<'_>,
) -> Result<ShardPlan> {
    let PlanOptions { out, n_shards, resources, force, .. } = *options;
    let folder = RunFolder::at(out).shards();
    let _turn = wait_for_turn(&folder, LOCK, options.locking, session.reporter, session.cancel)?;
    let all = 0..inputs.subjects.len();
    if let (Some(plan), false) = (planned(out)?, force) {
        check_number(out, &plan, n_shards)?;
        plan.check(out, (study, inputs), &hash_inputs(study, inputs, &all)?, &all)?;
        return Ok(plan);
    }
    let plan = ShardPlan {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        choices: resources,
        settings: settings_hash(study),
        shards: cut_study(inputs, n_shards)?,
        inputs: hash_inputs(study, inputs, &all)?,
    };
    write_json(&folder.join(SHARD_PLAN), &plan)?;
    Ok(plan)
}

/// # Errors
/// `Error::Usage` for another number of shards than was planned.
pub fn check_number(out: &Path, plan: &ShardPlan, n_shards: usize) -> Result<()> {
    let n = plan.shards.len();
    if n == n_shards {
        return Ok(());
    }
    Err(Error::Usage {
        place: RunFolder::at(out).shards().display().to_string(),
        problem: format!("the study is planned in {n} shards, got {n_shards}"),
        hint: format!("say {n}, give another --out, or `voxelcast plan --force`"),
    })
}

fn cut_study(inputs: &Inputs, n_shards: usize) -> Result<Vec<PlannedShard>> {
    let n_voxels: Vec<usize> = inputs.subjects.iter().map(|subject| subject.n_voxels).collect();
    let shards = cut(&n_voxels, n_shards)?;
    let n_trs: Vec<usize> = inputs.subjects.iter().map(|s| s.n_trs().iter().sum()).collect();
    let describe = |(shard, voxels): (usize, Vec<Range<usize>>)| {
        let own = || inputs.subjects.iter().zip(&voxels).filter(|(_, part)| !part.is_empty());
        let part = |(subject, part): (&crate::study::Subject, &Range<usize>)| Part {
            subject: subject.name.clone(),
            start: part.start,
            end: part.end,
        };
        let values = voxels.iter().zip(&n_trs).map(|(part, trs)| part.len() * trs);
        PlannedShard {
            shard: shard + 1,
            parts: own().map(part).collect(),
            n_voxels: voxels.iter().map(ExactSizeIterator::len).sum(),
            bold_bytes: (values.sum::<usize>() * size_of::<f32>()) as u64,
        }
    };
    Ok(shards.into_iter().enumerate().map(describe).collect())
}
