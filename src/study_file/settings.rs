//! A study, checked.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::language::{LanguageSpace, ModelSource};
use crate::backend::Scorer;
use crate::design::clean::Detrend;
use crate::design::trim::Trim;
use crate::design::zscore::ZScoreMode;
use crate::features::windows::Reading;
use crate::nn::TrainSettings;
use crate::results::brain::PlaceFiles;
use crate::ridge::{AlphaGrid, BandSampling, Solver};
use crate::stimuli::WordRules;

/// Everything STUDY.toml says, with defaults filled in. Paths are as the file gives them,
/// relative to its folder; [`Study::path`] resolves them.
#[derive(Debug, Clone)]
pub struct Study {
    /// Folder of STUDY.toml.
    pub folder: PathBuf,
    /// What was read there.
    pub text: String,
    /// Timed words.
    pub stories: PathBuf,
    /// Raw TR counts.
    pub respdict: Option<PathBuf>,
    /// How words are read.
    pub words: WordRules,
    /// Leave out stories without words or BOLD instead of failing.
    pub skip_missing: bool,
    /// Stories left out.
    pub exclude: Vec<String>,
    /// Subjects and their BOLD, `{story}` in the path.
    pub bold: Vec<(String, String)>,
    /// Per subject, its single measurements: `{story}` and `{repeat}` in the path, or the name of
    /// an HDF5 dataset `(n_repeats, n_trs, n_voxels)` in the story's own file.
    pub repeats: Vec<Option<String>>,
    /// Per subject, what to take of its files.
    pub bold_files: Vec<BoldFiles>,
    /// Per subject, what is cut and taken off, and when its first TR was.
    pub bold_cleaning: Vec<BoldCleaning>,
    /// How test stories are taken.
    pub split: SplitHow,
    /// What is held out together, and whether every subject has stories of its own.
    pub units: Units,
    /// Test scores without the TRs near the edges of a story.
    pub inner: Inner,
    /// Seed of the shuffle.
    pub seed: u64,
    /// Repetition time.
    pub tr_s: f64,
    /// Middle of the first TR.
    pub first_tr_s: f64,
    /// Feature TRs cut.
    pub trim: Trim,
    /// Delays of lagged models.
    pub delays: Vec<i64>,
    /// Models of each space.
    pub variants: Vec<ModelVariant>,
    /// HuthLab's stacked delays: features run on from one story into the next.
    pub delays_cross_stories: bool,
    /// Standardisation.
    pub zscore: ZScoreMode,
    /// Lobes of the Lanczos window.
    pub lanczos_window: usize,
    /// Lanczos cutoff over the TR rate.
    pub cutoff_mult: f64,
    /// Which moment of a word counts.
    pub time: WordTime,
    /// Look for the HRF first.
    pub alignment_check: bool,
    /// Feature spaces.
    pub spaces: Vec<SpaceSettings>,
    /// The grid, as weights of ‖w‖².
    pub alphas: AlphaGrid,
    /// The grid as it was given.
    pub given_alphas: AlphaGrid,
    /// How it was meant.
    pub alpha_convention: AlphaConvention,
    /// See `PathSettings`.
    pub alpha_tolerance: f64,
    /// See `PathSettings`.
    pub basis_tolerance: f64,
    /// Folds.
    pub folds: Folds,
    /// Validation score.
    pub scorer: Scorer,
    /// Route.
    pub solver: Solver,
    /// Centre by training means.
    pub fit_intercept: bool,
    /// Write weights.
    pub weights: bool,
    /// Significance and confidence.
    pub statistics: Statistics,
    /// How encoders are trained.
    pub encoder: TrainSettings,
    /// The search of banded spaces.
    pub bands: BandSampling,
    /// Other splits, fewer stories.
    pub stability: Stability,
}

/// What to take of a subject's BOLD files, and where its voxels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoldFiles {
    /// Dataset of HDF5, array of `.npz` or of a pickled dictionary; `{story}` in it where a file
    /// holds several stories. `None`: the usual one.
    pub dataset: Option<String>,
    /// Files are (voxels, TRs).
    pub transpose: bool,
    /// NIfTI image whose voxels that are not 0 are the BOLD's, in C order over (x, y, z).
    pub mask: Option<PathBuf>,
    /// `.npy` table of row, column and voxel of a flat map.
    pub pixels: Option<PathBuf>,
}

/// What is cut and taken off a subject's BOLD, and when its first TR was. The default does nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BoldCleaning {
    /// Rows cut before anything else; none by default.
    pub trim: Option<Trim>,
    /// Each voxel to mean 0 and sd 1 within each story, after all else.
    pub zscore: bool,
    /// Slow drifts that are taken off.
    pub detrend: Option<Detrend>,
    /// Tables of confounds, `{story}` in the path.
    pub confounds: Option<String>,
    /// Which of their columns are regressed out, shell patterns allowed; `None`: all.
    pub confound_columns: Option<Vec<String>>,
    /// Which TRs are left out.
    pub censor: Option<Censor>,
    /// When the first TR was.
    pub first_tr: FirstTr,
}

/// Where TRs that are left out are marked by values other than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Censor {
    /// Columns of the confounds, shell patterns allowed.
    Column(String),
    /// Files of one column, `{story}` in the path.
    File(String),
}

/// The middle of a subject's first TR relative to the sound.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum FirstTr {
    /// As `[design]` says.
    #[default]
    Design,
    /// In seconds, for all stories.
    At(f64),
    /// A table with columns story and first_tr_s.
    Table(PathBuf),
}

/// How test scores are held against chance.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `permutations` | 1000 | permutations of test blocks; 0: no p-values | 0…100,000 |
/// | `block_trs` | 10 | TRs of a block | ≥ 1 |
/// | `q` | 0.05 | false discovery rate | 0 < q < 1 |
/// | `resamples` | 10,000 | bootstrap samples of test stories; 0: no intervals | 0…1,000,000 |
/// | `seed` | 214 | of both | |
/// | `delay_profile` | false | what each delay from 0 to 8 TRs predicts alone | |
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Permutations of test blocks.
    pub permutations: usize,
    /// TRs of a block.
    pub block_trs: usize,
    /// False discovery rate.
    pub q: f64,
    /// Bootstrap samples.
    pub resamples: usize,
    /// Of permutations and resamples.
    pub seed: u64,
    /// Fit models of single delays too.
    pub delay_profile: DelayProfile,
}

/// Which spaces have models of single delays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DelayProfile {
    /// All of them, or none.
    All(bool),
    /// By name.
    Spaces(Vec<String>),
}

impl DelayProfile {
    /// Whether a space has them.
    pub fn has(&self, space: &str) -> bool {
        match self {
            Self::All(all) => *all,
            Self::Spaces(names) => names.iter().any(|name| name == space),
        }
    }
}

/// Fits beside the study's own, from the same pass over BOLD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stability {
    /// Further random splits.
    pub splits: usize,
    /// Points of the learning curve.
    pub learning_curve: usize,
}

impl Study {
    /// A path of the file, relative to its folder.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// How encoders are trained; the tokenizer's path is resolved.
    pub fn encoder(&self) -> TrainSettings {
        let tokenizer = self.encoder.tokenizer.as_ref().map(|path| self.path(path));
        TrainSettings { tokenizer, ..self.encoder.clone() }
    }

    /// Where the voxels of each subject are.
    pub fn place_files(&self) -> impl Iterator<Item = PlaceFiles<'_>> {
        self.bold.iter().zip(&self.bold_files).map(|((subject, _), files)| PlaceFiles {
            subject,
            folder: &self.folder,
            mask: files.mask.as_deref(),
            pixels: files.pixels.as_deref(),
        })
    }

    /// The same study with what was left to language models filled in. `readings`: of each space that one makes.
    pub fn resolved(&self, readings: &[Option<Reading>]) -> Self {
        let mut study = self.clone();
        for (space, reading) in study.spaces.iter_mut().zip(readings) {
            if let (Some(space), Some(reading)) = (space.kind.language_mut(), reading) {
                space.reading = reading.settings();
            }
        }
        study.encoder.stride = Some(self.encoder.stride_pieces());
        study
    }

    /// The spaces whose columns a space has: those that it combines, or itself.
    pub fn parts(&self, space: usize) -> Vec<usize> {
        match &self.spaces[space].kind {
            SpaceKind::Combine(parts) => parts.clone(),
            _ => vec![space],
        }
    }

    /// Whether no column of a space is ever delayed: it has no lagged model.
    pub fn is_undelayed(&self, space: usize) -> bool {
        self.parts(space).iter().all(|&part| self.spaces[part].kind == SpaceKind::Position)
    }

    /// Whether a space has columns that are delayed beside others that never are.
    pub fn is_partly_delayed(&self, space: usize) -> bool {
        let parts = self.parts(space);
        let is_position = |part: &usize| self.spaces[*part].kind == SpaceKind::Position;
        parts.iter().any(is_position) && !parts.iter().all(is_position)
    }

    /// A subject's BOLD file of one story.
    pub fn bold_path(&self, pattern: &str, story: &str) -> PathBuf {
        self.folder.join(pattern.replace("{story}", story))
    }
}

/// How test stories are taken.
#[derive(Debug, Clone, PartialEq)]
pub enum SplitHow {
    /// A share of the shuffled stories.
    Fraction(f64),
    /// So many of the shuffled stories.
    Count(usize),
    /// By name.
    Names(Vec<String>),
}

/// Whether test scores are given once more without the TRs near the edges of each test story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inner {
    /// Without the first 40 and the last 20, where all test stories are longer than 120 TRs.
    Auto,
    /// Not at all.
    Off,
    /// Without so many.
    Edges(Trim),
}

impl Inner {
    /// The edges that `Auto` leaves out.
    pub const EDGES: Trim = Trim { head: 40, tail: 20 };
    /// `Auto` needs more TRs than that in every test story.
    pub const MIN_TRS: usize = 120;
}

/// What is held out together, and by whom.
///
/// | name | default | meaning | range |
/// |---|---|---|---|
/// | `own` | false | each subject is fitted with all stories that it heard | |
/// | `by_block` | false | blocks of TRs are held out in place of whole stories | |
/// | `block_trs` | 60 | TRs of a block | 2…100,000 |
/// | `gap_trs` | 8 | TRs between two blocks that nobody uses | 0…10,000 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// Each subject is fitted with all stories that it heard.
    pub own: bool,
    /// Blocks of TRs are held out in place of whole stories.
    pub by_block: bool,
    /// TRs of a block.
    pub block_trs: usize,
    /// TRs between two blocks that nobody uses.
    pub gap_trs: usize,
}

impl Units {
    /// Whole stories that all subjects heard.
    pub const SHARED_STORIES: Units =
        Units { own: false, by_block: false, block_trs: 60, gap_trs: 8 };

    /// Whether subjects may have units that others lack.
    pub fn may_differ(&self) -> bool {
        self.own || self.by_block
    }
}

/// How alphas are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlphaConvention {
    /// Weights of ‖w‖².
    Himalaya,
    /// Their roots, as in ridge_utils.
    Huth,
}

/// Folds of training stories.
#[derive(Debug, Clone, PartialEq)]
pub enum Folds {
    /// Dealt round-robin.
    Count(usize),
    /// One story a fold.
    LeaveOneStoryOut,
    /// By name.
    Names(Vec<Vec<String>>),
}

/// Which delays a model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelVariant {
    /// The study's delays.
    Lagged,
    /// Delay 0 alone.
    Plain,
}

/// Which moment of a word counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WordTime {
    /// Between onset and offset.
    Mid,
    /// Onset.
    Onset,
}

/// A feature space.
#[derive(Debug, Clone, PartialEq)]
pub struct SpaceSettings {
    /// Folder name under models/.
    pub name: String,
    /// What it is made of.
    pub kind: SpaceKind,
    /// Has models of its own.
    pub fit: bool,
    /// What its columns share.
    pub columns: Columns,
    /// Where a list of layers or of pasts asked for it.
    pub member: Option<Member>,
}

/// One of the spaces that a list asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of the `[[space]]` with the list.
    pub family: String,
    /// Hidden state, where `layer` is a list.
    pub layer: Option<usize>,
    /// Pieces before a word, where `past` is a list.
    pub past: Option<usize>,
}

/// What the columns of a space share in its models.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Columns {
    /// One alpha.
    #[default]
    Alike,
    /// One alpha a band, the bands being the spaces that are combined.
    Banded(BandSampling),
    /// One alpha; a space together with the one that `[partition] beyond` names.
    Beyond {
        /// Index of the space.
        space: usize,
        /// Index of the one that `beyond` names.
        base: usize,
    },
    /// One alpha; a part of a variance partition. `of`: the space with all columns; `kept`: which of
    /// the spaces that it combines are in the model.
    Part {
        /// Index of the space with all columns.
        of: usize,
        /// One a space that it combines.
        kept: Vec<bool>,
    },
}

impl Columns {
    /// Whether the space is the study's, and not one that a partition made.
    pub fn is_given(&self) -> bool {
        !matches!(self, Self::Beyond { .. } | Self::Part { .. })
    }
}

/// What makes a word's row of numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum SpaceKind {
    /// Counts over the training stories' vocabulary.
    Bow(crate::features::bow::BowSettings),
    /// word2vec file.
    Word2Vec(PathBuf),
    /// GloVe file.
    Glove(PathBuf),
    /// Hidden states of a pretrained checkpoint.
    Bert(LanguageSpace),
    /// Hidden states of an encoder of ours.
    Encoder(LanguageSpace),
    /// Hidden states of a causal language model.
    Lm(LanguageSpace),
    /// Words per TR.
    WordRate,
    /// Letters of the word.
    WordLength,
    /// HuthLab's english1000 vectors.
    Eng1000(PathBuf),
    /// Numeric columns of the word table.
    Column(Vec<String>),
    /// Phones of the TextGrids.
    Phones(PhoneSpace),
    /// Where in the story a TR lies.
    Position,
    /// Rows from files.
    File(FileSpace),
    /// Indices of other spaces, side by side.
    Combine(Vec<usize>),
}

/// Rows that were made elsewhere, one matrix per story.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSpace {
    /// Their files; `{story}` here or in `dataset`.
    pub path: String,
    /// Array of a file that holds several.
    pub dataset: Option<String>,
    /// What a row belongs to.
    pub rows: FileRows,
    /// Text file of column names.
    pub names: Option<PathBuf>,
}

/// What a row of a file belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRows {
    /// A word.
    Words,
    /// A TR.
    Trs,
    /// A moment; files of seconds, `{story}` here or in the dataset.
    Times(String),
}

impl FileRows {
    /// As written in a study.
    pub fn label(&self) -> &'static str {
        match self {
            FileRows::Words => "words",
            FileRows::Trs => "trs",
            FileRows::Times(_) => "times",
        }
    }
}

/// What of the phones makes columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneSpace {
    /// Rate or identity.
    pub what: PhoneColumns,
    /// Their tier; by its name if none.
    pub tier: Option<String>,
}

/// Columns of a space of phones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PhoneColumns {
    /// Phones per TR.
    #[default]
    Rate,
    /// One per phone of the training stories.
    Identity,
}

impl PhoneColumns {
    /// As written in a study.
    pub const WORDS: [(&str, PhoneColumns); 2] =
        [("rate", PhoneColumns::Rate), ("identity", PhoneColumns::Identity)];
}

impl SpaceKind {
    /// The language model that makes its rows, if one does.
    pub fn language(&self) -> Option<&LanguageSpace> {
        match self {
            SpaceKind::Bert(space) | SpaceKind::Encoder(space) | SpaceKind::Lm(space) => {
                Some(space)
            }
            _ => None,
        }
    }

    fn language_mut(&mut self) -> Option<&mut LanguageSpace> {
        match self {
            SpaceKind::Bert(space) | SpaceKind::Encoder(space) | SpaceKind::Lm(space) => {
                Some(space)
            }
            _ => None,
        }
    }

    /// Whether a word's row depends on which stories are trained on.
    pub fn depends_on_training(&self) -> bool {
        match self {
            SpaceKind::Bow(_) => true,
            SpaceKind::Encoder(space) => !matches!(space.model, ModelSource::Folder(_)),
            SpaceKind::Phones(space) => space.what == PhoneColumns::Identity,
            _ => false,
        }
    }

    /// The checkpoint that the study names, if it names one.
    pub fn model_folder(&self) -> Option<&Path> {
        match &self.language()?.model {
            ModelSource::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// As written in the file.
    pub fn label(&self) -> &'static str {
        match self {
            SpaceKind::Bow(_) => "bow",
            SpaceKind::Word2Vec(_) => "word2vec",
            SpaceKind::Glove(_) => "glove",
            SpaceKind::Bert(_) => "bert",
            SpaceKind::Encoder(_) => "encoder",
            SpaceKind::Lm(_) => "lm",
            SpaceKind::WordRate => "word_rate",
            SpaceKind::WordLength => "word_length",
            SpaceKind::Eng1000(_) => "eng1000",
            SpaceKind::Column(_) => "column",
            SpaceKind::Phones(_) => "phones",
            SpaceKind::Position => "position",
            SpaceKind::File(_) => "file",
            SpaceKind::Combine(_) => "combine",
        }
    }
}
