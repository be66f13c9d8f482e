//! The tables that a finished study writes.

pub mod analysis;
pub mod bands;
pub mod beyond;
pub mod ceiling;
pub mod delays;
mod parcels;
pub mod preferred;
pub mod run_json;
pub mod scores;
pub mod stability;
