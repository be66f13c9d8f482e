//! The tables that a finished study writes.

pub mod analysis;
pub mod bands;
pub mod ceiling;
pub mod delays;
pub mod run_json;
pub mod scores;
pub mod stability;
