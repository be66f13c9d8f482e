//! STUDY.toml: what a user may say, checked once into a type that cannot be wrong.

mod bands;
mod encoder;
pub mod keys;
mod language;
mod parse;
mod section;
pub mod settings;

pub use parse::{from_text, read};
pub use settings::{
    BoldFiles, Columns, Epoch, Folds, LanguageSpace, ModelSource, ModelVariant, SpaceKind,
    SpaceSettings, SplitHow, Stability, Statistics, Study, WordTime,
};
