//! report.html and figure files.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::folder::RunFolder;
use super::load;
use super::names::REPORT;
use crate::error::{Error, Result};
use crate::io::output::write_bytes;
use crate::report::data::Results;
use crate::report::figures::paint::Painter;
use crate::report::figures::standalone;
use crate::report::page::page;
use crate::report::sections::{figures, sections};

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The page.
    pub report: PathBuf,
    /// Its bytes.
    pub n_bytes: usize,
    /// Its sections.
    pub sections: Vec<String>,
    /// Figure files.
    pub figures: Vec<PathBuf>,
    /// Results per voxel as NIfTI files.
    pub nifti: Vec<PathBuf>,
}

/// Writes `report.html` into the folder of a finished run.
/// # Errors
/// Those of [`load`]; `Error::Write`.
pub fn write_page(out: &Path) -> Result<(Written, Results)> {
    let results = load(out)?;
    let text = page(&results)?;
    let report = RunFolder::at(out).file(REPORT);
    write_bytes(&report, text.as_bytes())?;
    let titles = sections(&results).iter().map(|s| s.title.to_owned()).collect();
    let written = Written { report, n_bytes: text.len(), sections: titles, ..Written::default() };
    Ok((written, results))
}

/// Writes every figure as `NAME.svg` and `NAME.png`; returns the paths.
/// # Errors
/// `Error::Write`.
pub fn write_figures(results: &Results, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    let painter = Painter::default();
    let mut paths = Vec::new();
    for (figure, title) in figures(&sections(results)) {
        let svg = standalone::file(figure, title)?;
        let path = folder.join(format!("{}.svg", figure.id));
        write_bytes(&path, svg.as_bytes())?;
        paths.push(path);
        let path = folder.join(format!("{}.png", figure.id));
        write_bytes(&path, &painter.png(&svg, &figure.rasters)?)?;
        paths.push(path);
    }
    Ok(paths)
}
