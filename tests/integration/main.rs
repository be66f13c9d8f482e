//! Tests of the whole program, through its command line and its public functions.
//!
//! | module | what belongs there |
//! |---|---|
//! | `naive` | oracles in f64, shared with nothing: ridge by SVD, Pearson, Lanczos, statistics |
//! | `workbench` | temporary folders, random data, files written by hand, runs of the binary |
//! | `ridge_command` | `voxelcast ridge` against the oracle; its flags and its files |
//! | `ridge_refusals` | what `voxelcast ridge` refuses: exit code, message, nothing written |
//! | `solvers` | gram, svd and dual against each other and the oracle; when gram is not trusted |
//! | `banded` | bands with an alpha each: against himalaya and ordinary ridge; partitions |
//! | `beyond` | what each space predicts beyond another one |
//! | `brain` | masks and flat maps: pictures in the report, NIfTI files, refusals |
//! | `bench_command` | `voxelcast bench`: what it prints, its flags |
//! | `bids` | `init` on a BIDS derivative |
//! | `bold_files` | BOLD of pickle, joblib, SciPy, h5py and nibabel: values, one study in every form |
//! | `datasets` | studies on HDF5, NIfTI, `.npz`, TextGrids; `init` and `export` |
//! | `delays` | ranges of delays, models of single delays, planted late responses and story edges |
//! | `docs` | README and docs/: commands, flags, keys and links that exist |
//! | `formats` | files of other programs: nibabel, h5py, PyTables, NumPy, TextGrid writers |
//! | `golden` | values of other programs (himalaya, scikit-learn, NumPy, gensim) |
//! | `study_command` | `voxelcast run` and `check`: outputs, settings, resume, lock |
//! | `units` | subjects with stories of their own, blocks of TRs in place of stories |
//! | `inner` | scores without the edges of the test stories, everywhere a score stands |
//! | `failing_reads` | which tiles are kept when a read of BOLD fails |
//! | `faults` | kills, signals, full disks, files cut short, two runs at once, memory, odd names |
//! | `shards` | a study in shards: bytes of one machine, lost and damaged shards, refusals |
//! | `slurm` | the same on a real Slurm, with a task killed at work |
//! | `changed_inputs` | inputs and settings that change between runs, or while one runs |
//! | `cleaning` | BOLD that is cut and cleaned on the way to the fit, and what is noticed in it |
//! | `predict` | `voxelcast predict` and `score`: against the run's own scores; refusals |
//! | `statistics` | what a study computes beyond scores: significance, comparisons, other splits |
//! | `null_and_planted` | the permutation test on BOLD whose truth is known |
//! | `fold_flags` | `--folds` of `run` and `ridge`, `--groups` |
//! | `encoder_command` | `voxelcast encoder`: training, going on bit for bit, sweeps, embedding |
//! | `memory` | what a run keeps in memory, and what it must not |
//! | `devices` | which device is taken and why; `ridge` on a card or its stand-in |
//! | `fuzz_smoke` | the bodies of the fuzz targets over seeds and mutations |
//! | `record` | run.json, the copy of STUDY.toml, `show` |
//! | `kinds` | columns of tables, english1000, phones, positions |
//! | `kinds_files` | rows from files: of words, TRs and times; new stories |
//! | `hostile_results` | result files that lie: exit 3, nothing outside the folder is touched |
//! | `hostile` | every wrong input of a study: exit code, message, nothing written |
//! | `architecture` | imports point the right way; where `unsafe` and printing may stand |
//! | `standins` | the stand-in CUDA libraries: what they compute, and every mistake they stop at |
//! | `report` | report.html: numbers, self-containment, refusals; figure files |
//! | `report_made` | pages of made-up results: hostile names, one of everything, very many |
//! | `bert_family` | pretrained checkpoints against transformers, layer by layer |
//! | `causal` | causal checkpoints and their tokenizers against transformers; what is refused |
//! | `lm_spaces` | causal models as features: windows, lists of layers and pasts, what voxels prefer |
//! | `language_spaces` | `bert` and `encoder` as features: vectors, windows, cache, spaces of a study |
//! | `words_command` | words as other programs write them; wrong times, tiers, sections |
//! | `word_pieces` | tokenizers against transformers; training a vocabulary |
//! | `real_data` | reference results on real BOLD, where the data are there |

mod architecture;
mod banded;
mod bench_command;
#[cfg(feature = "language")]
mod bert_family;
mod beyond;
mod bids;
mod bold_files;
mod brain;
#[cfg(feature = "language")]
mod causal;
mod changed_inputs;
mod cleaning;
mod damage;
mod datasets;
mod delays;
mod devices;
mod docs;
#[cfg(feature = "language")]
mod encoder_command;
mod failing_reads;
mod faults;
mod fold_flags;
mod formats;
mod fuzz_smoke;
mod golden;
mod hostile;
mod hostile_results;
mod inner;
mod kinds;
mod kinds_files;
#[cfg(feature = "language")]
mod language_spaces;
mod lm_spaces;
mod memory;
mod naive;
mod null_and_planted;
mod predict;
mod real_data;
mod record;
mod report;
mod report_made;
mod ridge_command;
mod ridge_refusals;
mod shards;
mod slurm;
mod solvers;
mod standins;
mod statistics;
mod study_command;
mod units;
#[cfg(feature = "language")]
mod word_pieces;
mod words_command;
mod workbench;
