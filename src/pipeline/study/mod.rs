//! `voxelcast run`: stories and BOLD in, scored models out.
//!
//! inputs (open, check) → split → spaces (words to designs) → alignment → problem → tiles → tables
//! → analysis

mod alignment;
mod analysis;
mod band_tables;
mod ceiling;
mod done;
mod fingerprint;
mod fitting;
mod folder;
mod inputs;
mod load;
mod other_tables;
mod others;
mod plan;
mod results;
mod run;
mod saving;
mod sink;
mod source;
mod spaces;
mod split;
mod unpack;

pub use fingerprint::{InputHash, hash_file};
pub(crate) use folder::lock_folder;
pub use inputs::{Inputs, RESPDICT_EXTRA, Subject, read_inputs, read_respdict};
pub use load::stack;
pub use plan::{ModelPlan, StudyPlan, plan};
pub use run::{RunOptions, StudyResults, run};
pub use spaces::{
    Timing, WordSpace, rate_space, side_by_side, standardised, vector_space, vocabulary_space,
    word_space,
};
pub use split::{Split, split};
