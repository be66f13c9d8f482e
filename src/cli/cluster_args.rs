//! Flags of `voxelcast plan`, `merge` and `slurm`.

use std::path::PathBuf;

use clap::Args;

use super::args::LockArgs;

/// What is cut, and where.
#[derive(Debug, Args)]
pub struct CutArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Parts of about as many voxels, whole blocks of 512
    #[arg(long, value_name = "N")]
    pub shards: usize,
    /// Output folder, on a file system that all machines share [default: STUDY.results beside the
    /// study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace a plan of another number of shards, or of other settings or inputs
    #[arg(long)]
    pub force: bool,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// `voxelcast plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What is cut, and where.
    #[command(flatten)]
    pub cut: CutArgs,
    /// Train encoders and compute the vectors of language models now, so that no shard has to
    #[arg(long)]
    pub features: bool,
}

/// `voxelcast merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Output folder of its shards [default: STUDY.results beside the study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace results of other settings or inputs in the output folder
    #[arg(long)]
    pub force: bool,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// `voxelcast slurm`.
#[derive(Debug, Args)]
pub struct SlurmArgs {
    /// What is cut, and where.
    #[command(flatten)]
    pub cut: CutArgs,
    /// Cores of a task
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub cpus_per_task: usize,
    /// Memory of a task, such as 8G; half of it is for matrices and tiles [default: the cluster's]
    #[arg(long, value_name = "SIZE")]
    pub mem: Option<String>,
    /// Longest time of a task, such as 2:00:00 [default: the partition's]
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// Partition [default: the cluster's]
    #[arg(long, value_name = "NAME")]
    pub partition: Option<String>,
    /// Cards of a shard's task; the merge needs none
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub gpus: usize,
    /// Tasks that run at the same time, at most [default: as the cluster can]
    #[arg(long, value_name = "N")]
    pub at_once: Option<usize>,
    /// A further option of every job, such as --account=lab; several times for several
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Submit the jobs, the merge after all shards
    #[arg(long)]
    pub submit: bool,
}
