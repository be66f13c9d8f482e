//! What can be typed: every flag once, with its unit and default.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};

use crate::results::lock::Locking;

/// Voxelwise brain encoding models: timed words and BOLD in, scored models out.
#[derive(Debug, Parser)]
#[command(name = "voxelcast", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags of every command.
    #[command(flatten)]
    pub common: Common,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// One JSON document with the results on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Name each step with its shapes and seconds
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Where to compute: auto, cpu, cuda, cuda:N or cuda:N,M
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Products that only denominators of CV scores need, on cuda: f32 or tf32
    #[arg(long, global = true, default_value = "f32", value_name = "PRECISION")]
    pub precision: String,
    /// Threads [default: all cores]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Memory that matrices and tiles may take, such as 2G or 800M [default: half of what is free]
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole study on stories inside the program, with simulated BOLD whose truth is known
    Demo(DemoArgs),
    /// The whole study: stories and BOLD in, scored models out
    Run(RunArgs),
    /// Cut a study into shards for several machines
    Plan(super::cluster_args::PlanArgs),
    /// Put the shards of a study together
    Merge(super::cluster_args::MergeArgs),
    /// Job scripts of a sharded study for a Slurm cluster
    Slurm(super::cluster_args::SlurmArgs),
    /// Predicted BOLD of new stories, from the saved weights of a run
    Predict(PredictArgs),
    /// Predicted against measured BOLD: r per voxel, and tables
    Score(ScoreArgs),
    /// Read every header and check every count of a study; compute nothing
    Check(CheckArgs),
    /// Write a ready, commented STUDY.toml from what lies in a folder
    Init(InitArgs),
    /// Cross-validated ridge with one alpha per voxel, from .npy, .npz or HDF5 files
    Ridge(RidgeArgs),
    /// Lanczos-resample the rows of an array from word times to TR times
    Resample(ResampleArgs),
    /// Delay the rows of an array: columns [d1 all features, d2 all features, …]
    Delay(DelayArgs),
    /// Word rows and TR rows of a feature space, as .npy files
    Features(FeaturesArgs),
    /// Encoders trained from scratch by masked language modelling
    #[cfg(feature = "language")]
    #[command(subcommand)]
    Encoder(super::encoder_args::EncoderCommand),
    /// BOLD with a known truth for your stories, and a study over it
    Simulate(SimulateArgs),
    /// Time cross-validated ridge on this machine, stage by stage
    Bench(BenchArgs),
    /// List the devices that can be used, and say why one cannot
    Devices,
    /// Scores, alphas and weights of a finished run as one .npz
    Export(ExportArgs),
    /// The report of a finished run again, and its figures as files
    Report(ReportArgs),
    /// What a finished run was, and what came out, in ten lines
    Show(super::show::ShowArgs),
}

/// `voxelcast ridge`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which rows").args(["fold_ids", "groups"]).required(true)))]
pub struct RidgeArgs {
    /// Design, (n, p): .npy, .npz (scipy's sparse ones too), HDF5, pickle; FILE:DATASET names one
    /// of several arrays
    #[arg(long, value_name = "X.npy")]
    pub x: PathBuf,
    /// BOLD, (n, V), in the same formats
    #[arg(long, value_name = "Y.npy")]
    pub y: PathBuf,
    /// Fold of each row, (n) .npy, any integers
    #[arg(long, value_name = "F.npy", conflicts_with = "folds")]
    pub fold_ids: Option<PathBuf>,
    /// Story (or other group) of each row, (n) .npy, any integers; --folds deals them to folds
    #[arg(long, value_name = "G.npy", requires = "folds")]
    pub groups: Option<PathBuf>,
    /// Folds of whole groups: K, dealt round-robin in order of first appearance, or loso, one each
    #[arg(long, value_name = "K|loso", requires = "groups")]
    pub folds: Option<String>,
    /// Alphas: logspace(FROM,TO,N) in powers of ten, or a list such as 1,10,100
    #[arg(long, default_value = "logspace(0,8,17)")]
    pub alphas: String,
    /// Test design, (n_test, p) .npy
    #[arg(long, value_name = "X.npy", requires = "y_test")]
    pub x_test: Option<PathBuf>,
    /// Test BOLD, (n_test, V) .npy
    #[arg(long, value_name = "Y.npy", requires = "x_test")]
    pub y_test: Option<PathBuf>,
    /// Validation score: correlation or r2
    #[arg(long, default_value = "correlation")]
    pub scorer: String,
    /// Route: auto, gram, svd or dual
    #[arg(long, default_value = "auto")]
    pub solver: String,
    /// How the alphas are meant: himalaya (weights of the squared norm) or huth (their roots)
    #[arg(long, default_value = "himalaya", value_name = "CONVENTION")]
    pub alpha_convention: String,
    /// Take the smallest alpha within this share of the best score
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub alpha_tolerance: f64,
    /// Largest relative error of a denominator from the alpha basis; below 1e-6 exact and slow
    #[arg(long, default_value_t = 1e-5, value_name = "ERROR")]
    pub basis_tolerance: f64,
    /// Do not centre by training means
    #[arg(long)]
    pub no_intercept: bool,
    /// Bands with an alpha each: columns of each band, side by side, such as 512,300
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', conflicts_with = "band_ids")]
    pub bands: Option<Vec<usize>>,
    /// Bands with an alpha each: band of each column, (p) .npy, any integers
    #[arg(long, value_name = "B.npy")]
    pub band_ids: Option<PathBuf>,
    /// Points of the search over band weights, (n_points, n_bands) .npy, in place of --n-iter
    #[arg(long, value_name = "G.npy", conflicts_with_all = ["n_iter", "seed", "concentration"])]
    pub band_weights: Option<PathBuf>,
    /// Points of the search over band weights, sampled on the simplex [default: 100]
    #[arg(long, value_name = "N")]
    pub n_iter: Option<usize>,
    /// Seed of the sampled points [default: 214]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Concentrations of the Dirichlet samples, taken in turn [default: 0.1,1]
    #[arg(long, value_name = "C,C,…", value_delimiter = ',')]
    pub concentration: Option<Vec<f64>>,
    /// Write predicted test BOLD
    #[arg(long, requires = "x_test")]
    pub predict: bool,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// How words are read: `[stories]` of a study.
#[derive(Debug, Clone, Args)]
pub struct WordArgs {
    /// Tier of TextGrids with the words [default: the one called words, ORT, …]
    #[arg(long, value_name = "NAME")]
    pub tier: Option<String>,
    /// Unit of the words' times: s, ms, or the seconds of one unit [default: s]
    #[arg(long, value_name = "UNIT", allow_hyphen_values = true)]
    pub time_unit: Option<String>,
    /// Column of a table that tells stories apart [default: story]
    #[arg(long, value_name = "HEADER")]
    pub story_column: Option<String>,
    /// Further texts that are no words, comma-separated
    #[arg(long, value_name = "TEXT,…", value_delimiter = ',')]
    pub not_words: Vec<String>,
    /// Keep pauses, noises and tags as words, except those of --not-words
    #[arg(long)]
    pub keep_marks: bool,
    /// Words without an onset: skip, interpolate or error
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    pub untimed: String,
}

/// `voxelcast run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
    /// Output folder [default: STUDY.results beside the study]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Folds of whole training stories, instead of the study's: K, or loso for one story each
    #[arg(long, value_name = "K|loso")]
    pub folds: Option<String>,
    /// Print shapes, memory and an estimate of the time; fit nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Replace results of other settings or inputs in the output folder
    #[arg(long)]
    pub force: bool,
    /// Do one shard of the study, the I-th of N; see voxelcast plan
    #[arg(long, value_name = "I/N", conflicts_with_all = ["folds", "dry_run", "force"])]
    pub shard: Option<String>,
    /// Locks.
    #[command(flatten)]
    pub lock: LockArgs,
}

/// Whether folders are locked.
#[derive(Debug, Default, Args)]
pub struct LockArgs {
    /// Lock no folder, for file systems without file locks; let no other voxelcast use the output
    /// folder meanwhile
    #[arg(long)]
    pub no_lock: bool,
}

impl LockArgs {
    /// The choice.
    pub fn locking(&self) -> Locking {
        if self.no_lock { Locking::Off } else { Locking::On }
    }
}

/// `voxelcast predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// Output folder of a run whose study sets weights = true, or a folder below its models/
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// A story to predict; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub story: Vec<String>,
    /// A subject; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub subject: Vec<String>,
    /// A space, or a model's folder such as glove-lagged; several times for several [default: all]
    #[arg(long, value_name = "NAME")]
    pub space: Vec<String>,
    /// TRs of every story before the trim, respdict.json, or the path of BOLD with {story} in it
    /// [default: the study's, for its stories; up to the last word, for others]
    #[arg(long, value_name = "N|FILE|PATTERN")]
    pub n_trs: Option<String>,
    /// How BOLD of --n-trs is read
    #[command(flatten)]
    pub bold: BoldArgs,
    /// Leave the intercepts out: what is written varies about 0, and keeps digits where the BOLD's
    /// mean is large
    #[arg(long)]
    pub no_intercept: bool,
    /// How words are read
    #[command(flatten)]
    pub words: WordArgs,
    /// What is cut and taken off BOLD.
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// Where the word vectors of the study are now, if they were moved
    #[arg(long, value_name = "[SPACE=]FILE")]
    pub vectors: Vec<String>,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// What `[bold.SUBJECT]` says in a study.
#[derive(Debug, Args)]
pub struct BoldArgs {
    /// Dataset of HDF5, array of .npz, pickle or joblib; with {story} where one file holds all
    /// stories
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Mask of NIfTI images, may hold {subject}
    #[arg(long, value_name = "MASK.nii")]
    pub mask: Option<PathBuf>,
    /// The BOLD's files are (voxels, TRs)
    #[arg(long)]
    pub transpose: bool,
}

/// What is cut and taken off BOLD, as the keys of [bold.SUBJECT] of the same names do.
#[derive(Debug, Args)]
pub struct CleaningArgs {
    /// Rows cut from the BOLD's head and tail, before anything else [default: 0:0]
    #[arg(long, value_name = "HEAD:TAIL")]
    pub trim: Option<String>,
    /// story: each voxel to mean 0 and sd 1 within each story [default: none]
    #[arg(long, value_name = "none|story")]
    pub zscore: Option<String>,
    /// Slow drifts taken off each story [default: none]
    #[arg(long, value_name = "cosine:HZ|linear")]
    pub detrend: Option<String>,
    /// Tables of confounds that are regressed out: a path with {story}
    #[arg(long, value_name = "PATTERN")]
    pub confounds: Option<String>,
    /// Columns of the confounds, names or patterns with commas [default: all]
    #[arg(long, value_name = "NAMES", requires = "confounds")]
    pub confound_columns: Option<String>,
    /// Column of the confounds, or path with {story}, whose TRs other than 0 are left out
    #[arg(long, value_name = "COLUMN|PATTERN")]
    pub censor: Option<String>,
}

/// `voxelcast score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Output folder of voxelcast predict
    #[arg(long, value_name = "DIR")]
    pub predictions: PathBuf,
    /// Measured BOLD: a path with {story}, and {subject} where there are several
    #[arg(long, value_name = "PATTERN")]
    pub bold: String,
    /// How it is read
    #[command(flatten)]
    pub reading: BoldArgs,
    /// What is cut and taken off BOLD.
    #[command(flatten)]
    pub cleaning: CleaningArgs,
    /// A story to score; several times for several [default: all that were predicted]
    #[arg(long, value_name = "NAME")]
    pub story: Vec<String>,
    /// Output folder of arrays and tables [default: none are written]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `voxelcast check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The study
    #[arg(value_name = "STUDY.toml")]
    pub study: PathBuf,
}

/// `voxelcast init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The dataset's folder; it is searched, 6 folders deep
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Its layout: lab (raw_text.pkl, subject*/*.npy), ds003020 (TextGrids, respdict.json, .hf5)
    /// or bids (sub-*/func/*_desc-preproc_bold.nii.gz, words in stimuli/ or events.tsv)
    #[arg(long, value_name = "DATASET")]
    pub dataset: String,
    /// A folder that is a subject; several times for several [default: sub-*, subject*, S1, UTS*]
    #[arg(long, value_name = "NAME")]
    pub subject: Vec<String>,
    /// The new file; never overwritten
    #[arg(long, value_name = "STUDY.toml", default_value = "STUDY.toml")]
    pub out: PathBuf,
}

/// `voxelcast demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Output folder
    #[arg(long, value_name = "DIR", default_value = "voxelcast-demo")]
    pub out: PathBuf,
    /// Replace results of another version
    #[arg(long)]
    pub force: bool,
}

/// `voxelcast resample`.
#[derive(Debug, Args)]
pub struct ResampleArgs {
    /// Rows, (n_old, d) .npy
    #[arg(long, value_name = "D.npy")]
    pub data: PathBuf,
    /// Time of each row in seconds, (n_old) .npy
    #[arg(long, value_name = "A.npy", allow_hyphen_values = true)]
    pub old_times: PathBuf,
    /// Times to resample to in seconds, (n_new) .npy
    #[arg(long, value_name = "B.npy")]
    pub new_times: PathBuf,
    /// Lobes of the Lanczos window
    #[arg(long, default_value_t = 3)]
    pub window: usize,
    /// Cutoff as a multiple of the rate of the new times
    #[arg(long, default_value_t = 1.0)]
    pub cutoff_mult: f64,
    /// Result, (n_new, d) f64 .npy
    #[arg(long, value_name = "O.npy")]
    pub out: PathBuf,
}

/// `voxelcast delay`.
#[derive(Debug, Args)]
pub struct DelayArgs {
    /// Rows, (n, d) .npy
    #[arg(long, value_name = "X.npy")]
    pub x: PathBuf,
    /// Delays in rows, comma-separated
    #[arg(long, default_value = "1,2,3,4", allow_hyphen_values = true)]
    pub delays: String,
    /// Group of each row, (n) .npy, any integers: delays never cross from one to another
    #[arg(long, value_name = "G.npy")]
    pub groups: Option<PathBuf>,
    /// Result, (n, n_delays · d) .npy
    #[arg(long, value_name = "O.npy")]
    pub out: PathBuf,
}

/// `voxelcast features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// bow, word2vec, glove, bert, encoder or word_rate
    #[arg(long)]
    pub kind: String,
    /// Word vectors, for word2vec and glove
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// Checkpoint folder, for bert and encoder
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// bert, encoder: hidden state, 0 is the embeddings [default: the last]
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// bert, encoder: both, or past: vectors from words up to the word alone [default: both]
    #[arg(long, value_name = "both|past")]
    pub context: Option<String>,
    /// bert, encoder: word pieces of a window [default: the model's longest, at most 512; past: 64]
    #[arg(long, value_name = "PIECES")]
    pub context_window: Option<usize>,
    /// bert, encoder: pieces from window to window [default: half of it]
    #[arg(long, value_name = "PIECES")]
    pub context_stride: Option<usize>,
    /// Repetition time in seconds, for stories without TR times
    #[arg(long, default_value_t = 2.0, value_name = "SECONDS")]
    pub tr_s: f64,
    /// Middle of the first TR in seconds
    #[arg(long, default_value_t = -9.0, value_name = "SECONDS", allow_hyphen_values = true)]
    pub first_tr_s: f64,
    /// TRs of every story, or respdict.json [default: up to the last word]
    #[arg(long, value_name = "N|FILE")]
    pub n_trs: Option<String>,
    /// Lobes of the Lanczos window
    #[arg(long, default_value_t = 3)]
    pub window: usize,
    /// Lanczos cutoff as a multiple of the TR rate
    #[arg(long, default_value_t = 1.0)]
    pub cutoff_mult: f64,
    /// bow: leave out words that occur less often
    #[arg(long, default_value_t = 1)]
    pub min_count: usize,
    /// bow: keep the most frequent words only
    #[arg(long, value_name = "N")]
    pub max_words: Option<usize>,
    /// bow: do not count words in lower case
    #[arg(long)]
    pub keep_case: bool,
    /// bow, encoder: strip or keep punctuation at the ends of words [default: strip]
    #[arg(long, value_name = "strip|keep")]
    pub punctuation: Option<String>,
    /// How words are read
    #[command(flatten)]
    pub words: WordArgs,
    /// Output folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `voxelcast simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Timed words: a table, raw_text.pkl, a TextGrid, a .json transcript, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub stories: PathBuf,
    /// Features that drive the voxels: bow, word2vec, glove or word_rate
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

/// `voxelcast bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Training rows
    #[arg(long, default_value_t = 8000)]
    pub trs: usize,
    /// Columns of the design, over all delays
    #[arg(long, default_value_t = 512)]
    pub features: usize,
    /// Voxels
    #[arg(long, default_value_t = 8000)]
    pub voxels: usize,
    /// Folds
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// Alphas, from 10^0 to 10^6
    #[arg(long, default_value_t = 20)]
    pub alphas: usize,
    /// lagged (slow features at delays 1 to 4, as run has them), formed (the same as one matrix,
    /// as ridge has them) or white (noise: an easy case)
    #[arg(long, default_value = "lagged")]
    pub design: String,
    /// Route: auto, gram or dual
    #[arg(long, default_value = "auto")]
    pub solver: String,
    /// Times that the whole is solved; the quickest counts
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub repeats: usize,
}

/// `voxelcast export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Output folder of a finished run
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// The new file: SUBJECT/MODEL/scores, best_alphas, cv_scores, …, coef_ where weights were saved
    #[arg(long, value_name = "OUT.npz")]
    pub npz: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub force: bool,
}

/// `voxelcast report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Output folder of a finished run; report.html is written there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Write each figure as SVG and PNG too
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// Write each voxel's r, alpha, p-value and significance as .nii.gz too; the study names masks
    #[arg(long, value_name = "DIR")]
    pub nifti: Option<PathBuf>,
}
