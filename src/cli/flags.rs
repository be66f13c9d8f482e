//! Flags that several commands share, and what they mean.

use std::path::PathBuf;

use clap::Args;

use super::settings::usage;
use crate::error::Result;
use crate::results::lock::Locking;
use crate::stimuli::{TimeUnit, Untimed, WordRules};
use crate::study::BoldFlags;
use crate::study_file::{BoldCleaning, Censor};

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

/// The rules of reading words.
/// # Errors
/// Usage errors for a unit or a word that is none.
pub fn word_rules(args: &WordArgs) -> Result<WordRules> {
    let time_unit = match &args.time_unit {
        None => None,
        Some(text) => Some(TimeUnit::of_setting(text).ok_or_else(|| {
            let problem = format!("expected s, ms or the seconds of one unit, > 0, got {text:?}");
            usage("--time-unit", problem, "samples at 512 Hz: 0.001953125")
        })?),
    };
    let untimed = Untimed::WORDS.iter().find(|(word, _)| *word == args.untimed);
    let (_, untimed) = untimed.ok_or_else(|| {
        let problem = format!("expected skip, interpolate or error, got {:?}", args.untimed);
        usage("--untimed", problem, "what becomes of words without an onset")
    })?;
    Ok(WordRules {
        time_unit,
        story_column: args.story_column.clone(),
        not_words: args.not_words.clone(),
        keep_marks: args.keep_marks,
        untimed: *untimed,
        tier: args.tier.clone(),
    })
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

/// What a command is told of BOLD.
pub fn bold_flags(path: &str, args: &BoldArgs) -> BoldFlags {
    BoldFlags {
        path: path.to_owned(),
        dataset: args.dataset.as_ref().map(|name| name.trim_start_matches('/').to_owned()),
        mask: args.mask.clone(),
        transpose: args.transpose,
    }
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

/// Flags as the keys of `[bold.SUBJECT]`.
pub fn cleaning(args: &CleaningArgs) -> Result<BoldCleaning> {
    let with_story = |flag: &str, text: &Option<String>| match text {
        Some(text) if !text.contains("{story}") => {
            let problem = format!("expected {{story}} in the path, got {text:?}");
            Err(usage(flag, problem, "such as 'confounds/{story}.tsv'"))
        }
        text => Ok(text.clone()),
    };
    let confounds = with_story("--confounds", &args.confounds)?;
    let censor = match &args.censor {
        Some(text) if text.contains("{story}") => Some(Censor::File(text.clone())),
        Some(text) if confounds.is_some() => Some(Censor::Column(text.clone())),
        Some(text) => {
            let problem = format!("expected --confounds with the column, or a path, got {text:?}");
            return Err(usage("--censor", problem, "a path has {story} in it"));
        }
        None => None,
    };
    let zscore = match args.zscore.as_deref() {
        None | Some("none") => false,
        Some("story") => true,
        Some(other) => {
            return Err(usage("--zscore", format!("expected none or story, got {other:?}"), ""));
        }
    };
    let columns = args.confound_columns.as_ref();
    let names = |text: &String| text.split(',').map(|name| name.trim().to_owned()).collect();
    Ok(BoldCleaning {
        trim: args.trim.as_deref().map(str::parse).transpose()?,
        zscore,
        detrend: match args.detrend.as_deref() {
            None | Some("none") => None,
            Some(text) => Some(text.parse()?),
        },
        confounds,
        confound_columns: columns.map(names),
        censor,
        ..BoldCleaning::default()
    })
}
