//! STUDY.toml: what a user may say, checked once into a type that cannot be wrong.

mod bands;
mod bold;
mod copy;
mod encoder;
pub mod keys;
mod kinds;
mod language;
mod parse;
mod record;
mod section;
pub mod settings;
mod split;

pub use copy::COPIED;
pub use kinds::kind_of_keys;
pub use language::{Epoch, LanguageSpace, ModelSource};
pub use parse::{from_text, read};
pub use record::{hashed_settings, main_settings, settings_of_rows};
pub use settings::{
    AlphaConvention, BoldCleaning, BoldFiles, Censor, Columns, DelayProfile, FileRows, FileSpace,
    FirstTr, Folds, Inner, Member, ModelVariant, PhoneColumns, PhoneSpace, SpaceKind,
    SpaceSettings, SplitHow, Stability, Statistics, Study, Units, WordTime,
};
