//! Every key of STUDY.toml: default, meaning, range. The one list behind the documentation, the
//! check for unknown keys and the hint to the nearest known one.

mod spaces;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Table it stands in; `space` for each `[[space]]`, `bold` for each `[bold.SUBJECT]`.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What holds where it is not given; "required" where it must be.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Which values it may take.
    pub range: &'static str,
}

const fn key(
    section: &'static str,
    name: &'static str,
    default: &'static str,
    range: &'static str,
    meaning: &'static str,
) -> Key {
    Key { section, name, default, meaning, range }
}

/// All keys, in the order of the documentation.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    [BEFORE_SPACES, spaces::KEYS, AFTER_SPACES].into_iter().flatten()
}

/// Those in front of `[[space]]`.
const BEFORE_SPACES: &[Key] = &[
    key(
        "stories",
        "path",
        "required",
        "file or folder",
        "timed words: a table (.tsv, .csv, also .gz), raw_text.pkl, a TextGrid, a transcript (.json), or a folder with one of them per story",
    ),
    key(
        "stories",
        "time_unit",
        "\"s\"",
        "s, ms, or seconds > 0",
        "unit of the words' times; a number is the seconds of one unit (samples at 512 Hz: 0.001953125)",
    ),
    key(
        "stories",
        "story_column",
        "\"story\"",
        "header",
        "column of a table that tells stories (runs, sections) apart",
    ),
    key("stories", "not_words", "[]", "texts", "further texts that are no words, in any case"),
    key(
        "stories",
        "keep_marks",
        "false",
        "true, false",
        "true: keep pauses, noises and tags as words, except those of not_words",
    ),
    key(
        "stories",
        "untimed",
        "\"skip\"",
        "skip, interpolate, error",
        "words without an onset: leave out, place between their timed neighbours, or refuse",
    ),
    key("stories", "tier", "by its name", "tier of a TextGrid", "tier with the words"),
    key(
        "stories",
        "respdict",
        "none",
        "file",
        "JSON of story → raw TR count; 5 are taken off to give the TRs of the features",
    ),
    key(
        "stories",
        "missing",
        "\"error\"",
        "error, skip",
        "what to do with a story that has words but no BOLD, or BOLD but no words",
    ),
    key("stories", "exclude", "[]", "story names", "stories left out of the study"),
    key(
        "bold",
        "path",
        "required",
        "path with {story}, {session}, {hemi}",
        "this subject's BOLD, (n_trs, n_voxels) per story: .npy, .npz, HDF5 (.hf5, .h5, .hdf, MATLAB 7.3), pickle or joblib, 4-D NIfTI with mask, GIFTI (.func.gii), CIFTI (.dtseries.nii, .ptseries.nii); {session} is any text, {hemi} L then R (or lh, rh), side by side; {story} may stand in dataset instead",
    ),
    key(
        "bold",
        "mask",
        "required by NIfTI",
        ".nii or .nii.gz",
        "image whose voxels that are not 0 are the BOLD's columns, in C order over (x, y, z); also for pictures and `report --nifti`",
    ),
    key(
        "bold",
        "pixels",
        "none",
        ".npy, (n_pixels, 3)",
        "row, column and voxel of each pixel of a flat map, counted from 0; drawn in place of the mask's slices",
    ),
    key(
        "bold",
        "dataset",
        "\"data\"",
        "name, may hold {story}, {session}",
        "dataset of HDF5 files, array of .npz files and of pickled dicts; with {story} in it one file holds all stories (ses-01/{story} in groups); (n_repeats, n_trs, n_voxels) is averaged and gives the noise ceiling",
    ),
    key("bold", "transpose", "false", "true, false", "files are (n_voxels, n_trs)"),
    key(
        "bold",
        "repeats",
        "none",
        "path with {story} and {repeat}, or a dataset",
        "each measurement of a story that was heard several times, repeat 1, 2, …, in another folder than path, which holds their mean; or the dataset (n_repeats, n_trs, n_voxels) of the HDF5 files of path",
    ),
    key(
        "bold",
        "trim",
        "\"0:0\"",
        "HEAD:TAIL, lab, huth",
        "rows cut from the BOLD's head and tail, before anything else",
    ),
    key(
        "bold",
        "detrend",
        "none",
        "cosine:HZ, linear",
        "slow drifts taken off each story: cosines slower than HZ (cosine:0.01 as fMRIPrep and nilearn), or mean and slope",
    ),
    key(
        "bold",
        "confounds",
        "none",
        "path with {story}",
        "table of confounds (.tsv, .csv), one row per row of the BOLD file, {session} as in path; regressed out together with detrend, as nilearn.signal.clean does",
    ),
    key(
        "bold",
        "confound_columns",
        "all columns",
        "names or patterns",
        "columns of confounds that are regressed out, such as [\"trans_*\", \"a_comp_cor_0[0-4]\"]; [] for none",
    ),
    key(
        "bold",
        "censor",
        "none",
        "column or path with {story}",
        "column of confounds (or file of one column) whose TRs other than 0 are left out of every sum and score",
    ),
    key(
        "bold",
        "zscore",
        "\"none\"",
        "none, story",
        "story: each voxel to mean 0 and sd 1 within each story, after trim and cleaning",
    ),
    key(
        "bold",
        "first_tr_s",
        "[design]'s",
        "s, or path",
        "middle of this subject's first TR relative to the sound; or a table with columns story and first_tr_s",
    ),
    key(
        "split",
        "test_fraction",
        "0.2",
        "0 < f < 1",
        "share of the stories held out for the test, rounded to whole stories",
    ),
    key("split", "n_test", "none", "≥ 1", "number of test stories, instead of test_fraction"),
    key(
        "split",
        "test",
        "none",
        "story names",
        "the test stories by name, instead of test_fraction; blocks too, or all of a story by its name",
    ),
    key(
        "split",
        "seed",
        "214",
        "≥ 0",
        "seed of the shuffle: order of the training stories, and the test stories unless named",
    ),
    key(
        "split",
        "stories",
        "\"shared\"",
        "shared, own",
        "shared: stories that all subjects have; own: each subject with all stories it heard, tested on the test stories among them",
    ),
    key(
        "split",
        "unit",
        "\"story\"",
        "story, block",
        "what is held out as one: a story, or a block of TRs, so that one or two stories suffice; blocks are called STORY:1, STORY:2, …",
    ),
    key(
        "split",
        "inner",
        "\"40:20\" where all test stories have more than 120 TRs",
        "HEAD:TAIL, auto, none",
        "every test score once more without the first HEAD and the last TAIL TRs of each test story: what is left of a model that knows where in a story a TR lies",
    ),
    key("split", "block_trs", "60", "2 to 100000 TRs", "unit = \"block\": length of a block"),
    key(
        "split",
        "gap_trs",
        "8",
        "0 to 10000 TRs",
        "unit = \"block\": TRs between two blocks that nobody uses, at least the longest delay",
    ),
    key("design", "tr_s", "2.0", "> 0 s", "repetition time"),
    key(
        "design",
        "first_tr_s",
        "-9.0",
        "s",
        "middle of the first TR relative to the sound; not used where the stories bring TR times",
    ),
    key(
        "design",
        "trim",
        "\"10:5\"",
        "HEAD:TAIL, lab, huth",
        "TRs of the features cut at head and tail so that they pair with the BOLD's rows; lab is 5:10, huth 10:5",
    ),
    key(
        "design",
        "delays",
        "[1, 2, 3, 4]",
        "TRs, a list or \"FROM..TO\"",
        "delays of the lagged models; positive: the word came before the BOLD; \"1..4\" is [1, 2, 3, 4]",
    ),
    key(
        "design",
        "variants",
        "[\"lagged\", \"plain\"]",
        "lagged, plain",
        "models fitted for each space; plain has delay 0 alone",
    ),
    key(
        "design",
        "delay_preset",
        "\"story\"",
        "story, huth-stacked",
        "huth-stacked: features run on from one story into the next, as in HuthLab's code",
    ),
    key(
        "design",
        "zscore",
        "\"story\"",
        "story, train, none",
        "standardise features within each story, with training statistics, or not",
    ),
    key("design", "lanczos_window", "3", "1 to 100", "lobes of the Lanczos window"),
    key("design", "cutoff_mult", "1.0", "> 0", "Lanczos cutoff as a multiple of the TR rate"),
    key("design", "time", "\"mid\"", "mid, onset", "which moment of a word counts"),
    key(
        "design",
        "alignment_check",
        "true",
        "true, false",
        "look for the HRF in un-lagged correlations before fitting",
    ),
];

/// Those behind `[[space]]` and `[encoder]`.
const AFTER_SPACES: &[Key] = &[
    key(
        "ridge",
        "alphas",
        "\"logspace(0,8,17)\"",
        "> 0, increasing",
        "grid of the weight of ‖w‖²: logspace(FROM,TO,N) or a list",
    ),
    key(
        "ridge",
        "alpha_convention",
        "\"himalaya\"",
        "himalaya, huth",
        "huth: the grid is meant as ridge_utils means it and is squared",
    ),
    key(
        "ridge",
        "alpha_tolerance",
        "0.0",
        "0 ≤ t < 1",
        "take the smallest alpha whose score is within this share of the best",
    ),
    key(
        "ridge",
        "folds",
        "5",
        "2 to stories, loso, lists of names",
        "folds of whole training stories; loso leaves one story out at a time",
    ),
    key(
        "ridge",
        "scorer",
        "\"correlation\"",
        "correlation, r2",
        "validation score that chooses alphas",
    ),
    key("ridge", "solver", "\"auto\"", "auto, gram, svd, dual", "route to the solution"),
    key(
        "ridge",
        "fit_intercept",
        "true",
        "true, false",
        "centre by training means inside each fold",
    ),
    key(
        "ridge",
        "basis_tolerance",
        "1e-5",
        "0 ≤ t < 1",
        "largest relative error of a denominator from the alpha basis; below 1e-6 exact and slow",
    ),
    key(
        "bands",
        "n_iter",
        "100",
        "1 to 1000000",
        "points of the search over band weights, the first of equal weights",
    ),
    key(
        "bands",
        "concentration",
        "[0.1, 1.0]",
        "≥ 0.01",
        "concentrations of the Dirichlet samples, taken in turn: 1 is uniform, less favours few bands",
    ),
    key("bands", "seed", "214", "≥ 0", "seed of the samples"),
    key(
        "partition",
        "spaces",
        "none",
        "2 to 4 space names",
        "unique and shared variance of these spaces: a ridge of every subset of them (docs/banded.md)",
    ),
    key(
        "partition",
        "beyond",
        "none",
        "a space",
        "the part of every other space beyond this one, often low_level: one more model a space, of both together (docs/banded.md)",
    ),
    key(
        "statistics",
        "permutations",
        "1000",
        "0 to 100000",
        "permutations of blocks of test TRs behind each voxel's p-value; 0: no p-values",
    ),
    key(
        "statistics",
        "block_trs",
        "10",
        "≥ 1",
        "test TRs that are permuted together: longer than the BOLD's memory",
    ),
    key(
        "statistics",
        "q",
        "0.05",
        "0 < q < 1",
        "share of false discoveries among a model's significant voxels (Benjamini–Hochberg)",
    ),
    key(
        "statistics",
        "resamples",
        "10000",
        "0 to 1000000",
        "bootstrap samples of test stories behind each confidence interval; 0: no intervals",
    ),
    key("statistics", "seed", "214", "≥ 0", "seed of permutations and resamples"),
    key(
        "statistics",
        "delay_profile",
        "false",
        "true, false, space names",
        "for every space (or those named) and voxel the r of each delay from 0 to 8 TRs alone, and the best delay; nine small models more for each space, in a pass over BOLD of their own",
    ),
    key(
        "stability",
        "splits",
        "0",
        "0 to 1000",
        "further random splits, fitted and tested as the study's own; split i has seed split.seed + i",
    ),
    key(
        "stability",
        "learning_curve",
        "0",
        "0 to 100",
        "points of the learning curve below all training stories, each fitted and tested",
    ),
    key(
        "output",
        "weights",
        "false",
        "true, false",
        "write weights.safetensors and model.json beside each model's scores, for predict",
    ),
];

/// The keys of one section.
pub fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    keys().filter(move |key| key.section == section)
}

/// The table of README: one line a key.
pub fn markdown() -> String {
    let mut text =
        String::from("| table | key | default | values | meaning |\n|---|---|---|---|---|\n");
    for Key { section, name, default, meaning, range } in keys() {
        let table = match *section {
            "bold" => "[bold.SUBJECT]".to_owned(),
            "space" => "[[space]]".to_owned(),
            other => format!("[{other}]"),
        };
        text += &format!("| `{table}` | `{name}` | {default} | {range} | {meaning} |\n");
    }
    text
}

/// The nearest of `names` to `wrong`, if it is near enough to be meant.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wrong.to_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&lower, name), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_in_readme_is_this_list() {
        let readme = include_str!("../../README.md");
        let (_, rest) = readme.split_once("<!-- keys -->\n").expect("README marks its table");
        let (table, _) = rest.split_once("<!-- end of keys -->").expect("and its end");
        let wanted = markdown();
        assert!(table == wanted, "put this between the marks of README.md:\n{wanted}");
    }

    #[test]
    fn every_key_is_listed_once_and_fits_a_table() {
        for key in keys() {
            let same = |other: &&Key| (other.section, other.name) == (key.section, key.name);
            assert_eq!(keys().filter(same).count(), 1, "{}", key.name);
            for cell in [key.default, key.range, key.meaning] {
                assert!(!cell.is_empty() && !cell.contains(['|', '\n']), "{}", key.name);
            }
        }
    }
}
