//! Shards that are done: what each wrote, whether it is still there, and all of them together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout::ShardId;
use super::plan::{Part, ShardPlan};
use crate::error::{Error, Result};
use crate::io::output::write_or_remove;
use crate::report::record::ShardInfo;
use crate::results::hash::{Extent, hash};
use crate::results::mark::{ModelFound, unmark};
use crate::results::names::{MANIFEST, MODELS};
use crate::results::{ModelId, Name, RunFolder, read_json};
use crate::study::context::StudyContext;
use crate::study::fingerprint::of_voxels;
use crate::study::writer::SubjectWriter;
use crate::warning::Warning;

/// Largest manifest that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What a finished shard says of itself; written last.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// From 1.
    pub shard: usize,
    /// Of how many.
    pub n_shards: usize,
    /// Of the program.
    pub version: String,
    /// Of the program.
    pub commit: String,
    /// Where it ran.
    pub host: String,
    /// Instructions that f32 products took there.
    pub cpu: String,
    /// Where its tiles were solved.
    pub device: String,
    /// Threads.
    pub threads: usize,
    /// Of the run that finished it.
    pub seconds: f64,
    /// Of its tiles, summed over threads.
    pub stages_s: Vec<(String, f64)>,
    /// Largest resident memory.
    pub peak_memory_bytes: u64,
    /// What it found.
    pub parts: Vec<PartFound>,
    /// Everything that it wrote.
    pub files: Vec<FileHash>,
}

/// Voxels of one subject, and what is known of each model over them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PartFound {
    /// Which voxels.
    #[serde(flatten)]
    pub part: Part,
    /// Folder of each model below `models/SUBJECT`.
    pub folders: Vec<String>,
    /// In the order of the study's models.
    pub models: Vec<ModelFound>,
}

/// A file of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Below the shard's folder.
    pub path: PathBuf,
    /// Its length.
    pub n_bytes: u64,
    /// Of all of it, hexadecimal.
    pub blake3: String,
}

impl Manifest {
    /// The manifest in a shard's folder; none for a shard that is not finished, or for a manifest
    /// that says what cannot be, or names files elsewhere.
    pub fn read(folder: &Path) -> Option<Self> {
        let manifest: Self = read_json(&folder.join(MANIFEST), MAX_BYTES).ok()?;
        let can_be = |found: &PartFound| {
            let n_voxels = found.part.end.checked_sub(found.part.start);
            let id = |folder| ModelId::of_folder(&found.part.subject, folder).is_ok();
            n_voxels.is_some_and(|n| found.models.iter().all(|model| model.fits(n)))
                && found.models.len() == found.folders.len()
                && found.folders.iter().all(|folder| id(folder))
        };
        let is_own = |file: &FileHash| is_model_file(&file.path);
        let is_right = manifest.parts.iter().all(can_be) && manifest.files.iter().all(is_own);
        is_right.then_some(manifest)
    }

    /// Why the shard cannot be taken: other voxels, models of other settings or inputs, files
    /// that are gone or not what they were. `wanted`: its parts, with each model's fingerprint.
    pub fn fault(&self, folder: &Path, wanted: &[(Part, Vec<String>)]) -> Option<String> {
        let is_same = |(found, (part, models)): (&PartFound, &(Part, Vec<String>))| {
            found.part == *part && found.models.iter().map(|m| &m.fingerprint).eq(models)
        };
        let pairs = self.parts.iter().zip(wanted);
        if self.parts.len() != wanted.len() || !pairs.into_iter().all(is_same) {
            return Some("is of other settings or inputs".into());
        }
        let path = self.damaged(folder).next()?;
        Some(format!("{} is gone or damaged", path.display()))
    }

    /// Files that are not what they were.
    fn damaged(&self, folder: &Path) -> impl Iterator<Item = &Path> {
        let is_whole =
            move |file: &&FileHash| hash_file(folder, &file.path).is_ok_and(|now| now == **file);
        self.files.iter().filter(move |file| !is_whole(file)).map(|file| file.path.as_path())
    }

    /// Takes the marks off the manifest and off each model with a damaged file, so that these are
    /// fitted again.
    /// # Errors
    /// `Error::Write`.
    pub fn forget(&self, folder: &Path) -> Result<()> {
        write_or_remove(&folder.join(MANIFEST), None)?;
        for path in self.damaged(folder) {
            if let Some(model) = folder.join(path).parent().filter(|model| model.is_dir()) {
                unmark(model)?;
            }
        }
        Ok(())
    }
}

/// Hashes of all files of a shard's models.
/// # Errors
/// `Error::Read`.
pub fn hash_files(folder: &Path, parts: &[PartFound]) -> Result<Vec<FileHash>> {
    let mut files = Vec::new();
    for found in parts {
        for model in &found.folders {
            let id = ModelId::of_folder(&found.part.subject, model)?;
            let model = Path::new(MODELS).join(id.path());
            let full = folder.join(&model);
            let fail = |source| Error::Read { path: full.clone(), source };
            let mut names = Vec::new();
            for entry in fs::read_dir(&full).map_err(fail)? {
                names.push(entry.map_err(fail)?.file_name());
            }
            names.sort();
            for name in names {
                files.push(hash_file(folder, &model.join(name))?);
            }
        }
    }
    Ok(files)
}

fn hash_file(folder: &Path, path: &Path) -> Result<FileHash> {
    let (n_bytes, hash) = hash(&folder.join(path), Extent::Whole)?;
    Ok(FileHash { path: path.to_owned(), n_bytes, blake3: hash.to_hex().to_string() })
}

/// `models/SUBJECT/MODEL/FILE`, in plain names.
fn is_model_file(path: &Path) -> bool {
    let parts: Option<Vec<&str>> = path
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let [models, subject, model, _] = parts.as_deref().unwrap_or_default() else { return false };
    *models == MODELS && ModelId::of_folder(subject, model).is_ok()
}

/// All shards of a study, each of them whole.
pub struct FinishedShards {
    out: PathBuf,
    manifests: Vec<Manifest>,
}

/// Checks that every shard is there, of these settings and inputs, and whole.
///
/// `context`: the study as one machine would fit it. `again`: the command that does one shard, and
/// the one that merges.
/// # Errors
/// `Error::Values` (exit 3) that names each shard which is not, and what to run.
pub fn verify(
    out: &Path,
    plan: &ShardPlan,
    context: &StudyContext<'_>,
    again: &dyn Fn(Option<ShardId>) -> String,
) -> Result<FinishedShards> {
    let n = plan.shards.len();
    let subjects = &context.inputs.subjects;
    let whole: Vec<Vec<String>> = (0..subjects.len()).map(|at| context.fingerprints(at)).collect();
    let wanted = |part: &Part| {
        let at = subjects.iter().position(|subject| subject.name == part.subject);
        let models = at.map_or(&[][..], |at| &whole[at]);
        let voxels = part.start..part.end;
        (part.clone(), models.iter().map(|model| of_voxels(model, &voxels)).collect())
    };
    let (mut manifests, mut faults) = (Vec::new(), Vec::new());
    for planned in &plan.shards {
        let id = ShardId { i: planned.shard, n };
        let folder = RunFolder::at(out).shard(id.i, id.n);
        let Some(manifest) = Manifest::read(folder.path()) else {
            faults.push((id, "is not finished".to_owned()));
            continue;
        };
        let wanted: Vec<_> = planned.parts.iter().map(wanted).collect();
        match manifest.fault(folder.path(), &wanted) {
            Some(why) => faults.push((id, why)),
            None if (manifest.shard, manifest.n_shards) != (id.i, id.n) => {
                faults.push((
                    id,
                    format!("says that it is {}/{}", manifest.shard, manifest.n_shards),
                ));
            }
            None => manifests.push(manifest),
        }
    }
    if faults.is_empty() {
        return same_routes(FinishedShards { out: out.to_owned(), manifests });
    }
    let list: Vec<String> = faults.iter().map(|(id, why)| format!("{id} {why}")).collect();
    let commands: Vec<String> =
        faults.iter().map(|(id, _)| again(Some(*id))).chain([again(None)]).collect();
    Err(Error::Values {
        place: RunFolder::at(out).shards().display().to_string(),
        problem: format!("{} of {n} shards cannot be merged ({})", faults.len(), list.join("; ")),
        hint: format!("run\n    {}", commands.join("\n    ")),
    })
}

/// # Errors
/// `Error::Values` where shards solved one model by different routes.
fn same_routes(shards: FinishedShards) -> Result<FinishedShards> {
    let parts = || shards.manifests.iter().flat_map(|m| m.parts.iter().map(move |p| (m.shard, p)));
    for (shard, found) in parts() {
        let Some((first, other)) = parts().find(|(_, p)| p.part.subject == found.part.subject)
        else {
            continue;
        };
        for ((a, b), folder) in other.models.iter().zip(&found.models).zip(&found.folders) {
            let (a, b) = (a.route.route, b.route.route);
            if a != b {
                let subject = &found.part.subject;
                return Err(Error::Values {
                    place: format!("{subject}, {folder}"),
                    problem: format!("shard {first} took {a}, shard {shard} took {b}"),
                    hint: "set [ridge] solver, so that all shards take the same".into(),
                });
            }
        }
    }
    Ok(shards)
}

impl FinishedShards {
    fn parts<'a>(
        &'a self,
        subject: &'a str,
    ) -> impl Iterator<Item = (&'a Manifest, &'a PartFound)> {
        let of_shard = |shard: &'a Manifest| shard.parts.iter().map(move |part| (shard, part));
        let all = self.manifests.iter().flat_map(of_shard);
        all.filter(move |(_, found)| found.part.subject == subject)
    }

    /// What the first part of a subject knows of each model: its route is that of all parts.
    pub fn found(&self, subject: &str) -> &[ModelFound] {
        let mut all = self.manifests.iter().flat_map(|shard| &shard.parts);
        all.find(|found| found.part.subject == subject).map_or(&[], |found| &found.models)
    }

    /// Copies a subject's columns of the models that are `todo`.
    /// # Errors
    /// Those of the files.
    pub fn add_to(&self, writer: &SubjectWriter, subject: &str, todo: &[bool]) -> Result<()> {
        for (shard, found) in self.parts(subject) {
            let shard = RunFolder::at(&self.out).shard(shard.shard, shard.n_shards);
            let folder = shard.subject(&Name::new(subject)?);
            let models = found.models.iter().zip(todo).filter(|(_, todo)| **todo);
            let models: Vec<&ModelFound> = models.map(|(model, _)| model).collect();
            writer.add_part(&folder, found.part.start..found.part.end, &models)?;
        }
        Ok(())
    }

    fn distinct(&self, of: fn(&Manifest) -> &str) -> Vec<&str> {
        self.manifests.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Where the shards were solved.
    pub fn device(&self) -> String {
        self.distinct(|shard| &shard.device).join(", ")
    }

    /// Shards of different processors or devices are not bit for bit those of one machine.
    pub fn doubts(&self) -> Option<Warning> {
        let kinds = [self.distinct(|shard| &shard.cpu), self.distinct(|shard| &shard.device)];
        let kinds = kinds.into_iter().find(|kinds| kinds.len() > 1)?;
        Some(Warning::MixedShards { kinds: kinds.join(", ") })
    }

    /// Where and how long each ran, for run.json.
    pub fn about(&self) -> Vec<ShardInfo> {
        let about = |shard: &Manifest| ShardInfo {
            shard: shard.shard,
            host: shard.host.clone(),
            cpu: shard.cpu.clone(),
            device: shard.device.clone(),
            threads: shard.threads,
            commit: shard.commit.clone(),
            seconds: shard.seconds,
            peak_memory_bytes: shard.peak_memory_bytes,
        };
        self.manifests.iter().map(about).collect()
    }

    /// Seconds of every stage of the tiles, over all shards.
    pub fn stages(&self) -> Vec<(String, f64)> {
        let mut total: Vec<(String, f64)> = Vec::new();
        for (name, seconds) in self.manifests.iter().flat_map(|shard| &shard.stages_s) {
            match total.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += seconds,
                None => total.push((name.clone(), *seconds)),
            }
        }
        total
    }

    /// Largest resident memory of any shard.
    pub fn peak_bytes(&self) -> u64 {
        self.manifests.iter().map(|shard| shard.peak_memory_bytes).max().unwrap_or(0)
    }
}
