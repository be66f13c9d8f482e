//! The report of a finished run: its folder in, a page and figures out.

mod load;
mod write;

pub use load::load;
pub use write::{Written, write_figures, write_page};
