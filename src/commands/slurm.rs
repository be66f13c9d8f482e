//! Job scripts of a sharded study for Slurm, and their submission.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::io::output::write_bytes;

/// What the jobs ask for.
#[derive(Debug, Clone)]
pub struct JobSettings {
    /// STUDY.toml.
    pub study: PathBuf,
    /// Output folder; the scripts and logs are in `slurm` below it.
    pub out: PathBuf,
    /// Tasks of the array.
    pub n_shards: usize,
    /// Cores of each job.
    pub cpus_per_task: usize,
    /// Memory of each job, as sbatch takes it.
    pub mem: Option<String>,
    /// Longest time, as sbatch takes it.
    pub time: Option<String>,
    /// Partition.
    pub partition: Option<String>,
    /// Cards of a shard's task.
    pub gpus: usize,
    /// Tasks at the same time.
    pub at_once: Option<usize>,
    /// Further options.
    pub more: Vec<String>,
    /// Language models come first, in a job of their own.
    pub has_language: bool,
    /// No job locks a folder.
    pub no_lock: bool,
}

/// A script of a job.
#[derive(Debug, Clone, Serialize)]
pub struct Script {
    /// features, shards or merge.
    pub name: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// A submitted job.
#[derive(Debug, Clone, Serialize)]
pub struct Job {
    /// features, shards or merge.
    pub name: &'static str,
    /// As sbatch gave it.
    pub id: String,
}

/// A killed task is tried again so often.
const MOST_RESTARTS: usize = 3;

/// Writes the scripts, each to start after the one before it.
/// # Errors
/// `Error::Write`; `Error::Read` where a path cannot be made absolute; `Error::Usage` for an option
/// of several lines.
pub fn compose(settings: &JobSettings) -> Result<Vec<Script>> {
    let folder = settings.out.join("slurm");
    std::fs::create_dir_all(&folder)
        .map_err(|source| Error::Write { path: folder.clone(), source })?;
    let program = std::env::current_exe()
        .map_err(|source| Error::Read { path: "the program's own path".into(), source })?;
    let study = std::path::absolute(&settings.study)
        .map_err(|source| Error::Read { path: settings.study.clone(), source })?;
    let (program, study, out) = (quoted(&program), quoted(&study), quoted(&settings.out));
    let n = settings.n_shards;
    let device = match settings.gpus {
        0 => "cpu".to_owned(),
        gpus => {
            let ordinals: Vec<String> = (0..gpus).map(|i| i.to_string()).collect();
            format!("cuda:{}", ordinals.join(","))
        }
    };
    let lock = if settings.no_lock { " --no-lock" } else { "" };
    let shard = format!(
        "{program} run {study} --out {out} --shard \"$SLURM_ARRAY_TASK_ID/{n}\" --device {device}{lock}"
    );
    let features = format!("{program} plan {study} --out {out} --shards {n} --features{lock}");
    let merge = format!("{program} merge {study} --out {out}{lock}");
    let mut scripts = Vec::new();
    let mut write = |name: &'static str, head: Vec<String>, command: &str| -> Result<()> {
        let path = folder.join(format!("{name}.sh"));
        let log = folder.join(if name == "shards" {
            "shard-%a.log".into()
        } else {
            format!("{name}.log")
        });
        let text = script(settings, (name, &log), head, command)?;
        write_bytes(&path, text.as_bytes())?;
        scripts.push(Script { name, path });
        Ok(())
    };
    if settings.has_language {
        write("features", vec![], &features)?;
    }
    let at_once = settings.at_once.map_or(String::new(), |n| format!("%{n}"));
    let mut head = vec![format!("--array=1-{n}{at_once}")];
    head.extend((settings.gpus > 0).then(|| format!("--gpus={}", settings.gpus)));
    write("shards", head, &shard)?;
    write("merge", vec![], &merge)?;
    Ok(scripts)
}

fn script(
    settings: &JobSettings,
    (name, log): (&str, &Path),
    head: Vec<String>,
    command: &str,
) -> Result<String> {
    let mut options = vec![
        format!("--job-name=voxelcast-{name}"),
        format!("--output={}", log_name(log)),
        "--open-mode=append".into(),
        "--requeue".into(),
        format!("--cpus-per-task={}", settings.cpus_per_task),
    ];
    options.extend(settings.mem.iter().map(|mem| format!("--mem={mem}")));
    options.extend(settings.time.iter().map(|time| format!("--time={time}")));
    options.extend(settings.partition.iter().map(|name| format!("--partition={name}")));
    options.extend(head);
    options.extend(settings.more.iter().cloned());
    if let Some(option) = options.iter().find(|option| option.contains(['\n', '\r'])) {
        return Err(Error::Usage {
            place: "voxelcast slurm".into(),
            problem: format!("expected options of one line each, got {option:?}"),
            hint: "give --sbatch several times".into(),
        });
    }
    let options: String = options.iter().map(|option| format!("#SBATCH {option}\n")).collect();
    Ok(format!(
        r#"#!/bin/bash
{options}
# Half of the job's memory is for matrices and tiles.
memory=()
if [ "${{SLURM_MEM_PER_NODE:-0}}" -gt 0 ]; then
    memory=(--memory "$((SLURM_MEM_PER_NODE / 2))M")
fi
{command} --threads {threads} "${{memory[@]}}"
code=$?
# A program that was killed goes on from its finished tiles; an error would only come again.
if [ "$code" -ge 128 ] && [ "$code" -ne 130 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {MOST_RESTARTS} ]; then
    echo "exit code $code: the task is queued again" >&2
    if [ -n "${{SLURM_ARRAY_JOB_ID:-}}" ]; then
        scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID" && sleep 60
    else
        scontrol requeue "$SLURM_JOB_ID" && sleep 60
    fi
fi
exit "$code"
"#,
        threads = settings.cpus_per_task
    ))
}

/// Submits scripts in their order, each after the one before has succeeded.
/// # Errors
/// `Error::Values` where there is no sbatch, or it refuses.
pub fn submit(scripts: &[Script]) -> Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::new();
    for Script { name, path } in scripts {
        let mut sbatch = Command::new("sbatch");
        sbatch.arg("--parsable");
        if let Some(before) = jobs.last() {
            sbatch.arg(format!("--dependency=afterok:{}", before.id));
            sbatch.arg("--kill-on-invalid-dep=yes");
        }
        let refused = |problem: String| Error::Values {
            place: "sbatch".into(),
            problem,
            hint: match jobs.is_empty() {
                true => format!("submit {} by hand where there is Slurm", path.display()),
                false => {
                    let ids: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
                    format!("job {} was submitted before; scancel takes it back", ids.join(", "))
                }
            },
        };
        let done = sbatch
            .arg(path)
            .output()
            .map_err(|error| refused(format!("cannot be started: {error}")))?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(refused(format!("refused {}: {said}", path.display())));
        }
        // With several clusters: ID;CLUSTER.
        let said = String::from_utf8_lossy(&done.stdout);
        let id = said.trim().split(';').next().unwrap_or_default().to_owned();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(refused(format!("expected a job's number, got {said:?}")));
        }
        jobs.push(Job { name, id });
    }
    Ok(jobs)
}

/// A path as one word of a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A log's path in a line of options: quotes for blanks, and % of folders doubled.
fn log_name(log: &Path) -> String {
    let folder = log.parent().map_or(String::new(), |folder| folder.display().to_string());
    let folder = folder.replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    let name = log.file_name().unwrap_or_default().to_string_lossy();
    format!("\"{folder}/{name}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        for path in ["plain/path-1.toml", "two words", "it's", "$HOME `x` \"y\"\n", "*", "~"] {
            let script = format!("printf %s {}", quoted(Path::new(path)));
            let said = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), path);
        }
    }

    #[test]
    fn a_logs_name_keeps_slurms_own_percent_alone() {
        let log = log_name(Path::new("/a 5%/shard-%a.log"));
        assert_eq!(log, "\"/a 5%%/shard-%a.log\"");
    }
}
