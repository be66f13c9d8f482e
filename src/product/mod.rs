//! Matrix products that `backend`, `nn` and `ridge` multiply with.
//!
//! `panels` how BOLD is laid out, `packed` left factors, `multiply` their products, `amx` the same on
//! tile units, `vectorized` loops compiled for each instruction set.

pub mod amx;
pub mod multiply;
pub mod packed;
pub mod panels;
pub(crate) mod vectorized;
