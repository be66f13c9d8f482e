//! A results folder: its lock, marks and files, and what they hold when read back.

pub mod brain;
pub mod folder;
pub mod hash;
mod load;
pub mod mark;
mod page;
pub mod saved;

pub use load::load;
pub use page::{Written, write_figures, write_page};
