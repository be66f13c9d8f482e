//! `voxelcast simulate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::features::{kind, timing};
use super::settings::usage;
use super::{Context, Output};
use crate::commands::simulate::{SimulateJob, run};
use crate::error::Result;
use crate::features::bow::BowSettings;
use crate::simulate::settings::SimulateSettings;

/// `voxelcast simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// Features that drive the voxels: bow, word2vec, glove, word_rate or word_length
    #[arg(long, default_value = "glove")]
    pub kind: String,
    /// Word vectors, for word2vec and glove
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// Voxels of each subject
    #[arg(long, default_value_t = 3000)]
    pub voxels: usize,
    /// Subjects
    #[arg(long, default_value_t = 2)]
    pub subjects: usize,
    /// Share of voxels that hold noise only
    #[arg(long, default_value_t = 0.4)]
    pub noise_share: f64,
    /// Lag-1 autocorrelation of the noise
    #[arg(long, default_value_t = 0.3, allow_hyphen_values = true)]
    pub noise_ar1: f64,
    /// Smallest true r of a signal voxel
    #[arg(long, default_value_t = 0.05)]
    pub r_low: f64,
    /// Largest true r
    #[arg(long, default_value_t = 0.6)]
    pub r_high: f64,
    /// Clusters of tuning
    #[arg(long, default_value_t = 6)]
    pub topics: usize,
    /// Peak of the response in seconds after a word
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS")]
    pub hrf_peak_s: f64,
    /// Share of voxels whose response comes later than that of the others
    #[arg(long, default_value_t = 0.0)]
    pub late_share: f64,
    /// TRs by which it comes later
    #[arg(long, default_value_t = 2, value_name = "TRS")]
    pub late_trs: usize,
    /// Share of voxels with a transient exp(-t/5 TRs) at the beginning of every story
    #[arg(long, default_value_t = 0.0)]
    pub edge_share: f64,
    /// Its height in sd of the voxel's BOLD
    #[arg(long, default_value_t = 1.0, value_name = "SD")]
    pub edge_size: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 214)]
    pub seed: u64,
    /// Repetition time in seconds
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub tr_s: f64,
    /// Middle of the first TR in seconds
    #[arg(long, default_value_t = -9.0, value_name = "SECONDS", allow_hyphen_values = true)]
    pub first_tr_s: f64,
    /// TRs cut from the features at head and tail
    #[arg(long, default_value = "10:5", value_name = "HEAD:TAIL")]
    pub trim: String,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Writes BOLD with a known truth.
pub fn simulate(args: &SimulateArgs, context: &Context) -> Result<Output> {
    let (tr_s, first_tr_s) = timing(args.tr_s, args.first_tr_s)?;
    let settings = SimulateSettings {
        n_voxels: args.voxels,
        tr_s,
        noise_share: args.noise_share,
        noise_ar1: args.noise_ar1,
        r_low: args.r_low,
        r_high: args.r_high,
        n_topics: args.topics,
        hrf_peak_s: args.hrf_peak_s,
        late_share: args.late_share,
        late_trs: args.late_trs,
        edge_share: args.edge_share,
        edge_size: args.edge_size,
        seed: args.seed,
        ..SimulateSettings::default()
    };
    if args.subjects == 0 {
        return Err(usage("--subjects", "expected at least 1, got 0".into(), ""));
    }
    let job = SimulateJob {
        stories: args.stories.clone(),
        kind: kind(&args.kind, args.vectors.as_ref(), BowSettings::default())?,
        n_subjects: args.subjects,
        settings,
        first_tr_s,
        trim: args.trim.parse()?,
        out: args.out.clone(),
    };
    let simulated = run(&job, &context.console)?;
    let n_trs: usize = simulated.stories.iter().map(|(_, n)| n).sum();
    let text = format!(
        "{} subjects of {} voxels, {} stories, {n_trs} TRs\n{}\n",
        simulated.subjects.len(),
        simulated.n_voxels,
        simulated.stories.len(),
        args.out.join("STUDY.toml").display()
    );
    let document =
        json!({ "schema": "voxelcast.simulate/1", "out": args.out, "simulated": simulated });
    Ok(Output { document, text })
}
