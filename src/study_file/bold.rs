//! `[bold.SUBJECT]`: how a subject's files are read, and what is done to their values.

use std::path::{Path, PathBuf};

use toml::Value;

use super::section::Section;
use super::settings::{BoldCleaning, BoldFiles, Censor, FirstTr};
use crate::design::clean::Detrend;
use crate::design::tr_times::timing_fault;
use crate::design::trim::Trim;
use crate::error::Result;
use crate::io::matrix_file::{is_cifti, is_hdf5, is_nifti};

/// Single measurements: files of their own, or a dataset of the HDF5 files of `path`.
pub(super) fn repeats(section: &Section<'_>, path: &str) -> Result<Option<String>> {
    let Some(text) = section.text("repeats")? else { return Ok(None) };
    let is_dataset = is_hdf5(Path::new(path)) && !text.contains(['{', '.']) && !text.is_empty();
    if !is_dataset && (!text.contains("{story}") || !text.contains("{repeat}")) {
        let expected = "a path with {story} and {repeat} in it, or a dataset of the HDF5 files";
        return Err(section.error("repeats", expected, format!("{text:?}")));
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn bold_files(section: &Section<'_>, path: &str) -> Result<BoldFiles> {
    let mask = section.text("mask")?.map(PathBuf::from);
    if mask.is_none() && is_nifti(Path::new(path)) && !is_cifti(Path::new(path)) {
        return Err(section.error("mask", "a NIfTI mask for NIfTI images", "nothing"));
    }
    let dataset = section.text("dataset")?.map(|name| name.trim_start_matches('/').to_owned());
    if dataset.as_ref().is_some_and(String::is_empty) {
        return Err(section.error("dataset", "the name of a dataset or array", "nothing"));
    }
    let transpose = section.flag("transpose", false)?;
    let pixels = section.text("pixels")?.map(PathBuf::from);
    Ok(BoldFiles { dataset, transpose, mask, pixels })
}

/// What is cut and taken off a subject's BOLD.
pub(super) fn bold_cleaning(section: &Section<'_>) -> Result<BoldCleaning> {
    let trim = match section.text("trim")? {
        Some(text) => {
            Some(text.parse::<Trim>().map_err(|e| section.error("trim", "HEAD:TAIL", e))?)
        }
        None => None,
    };
    let detrend = match section.text("detrend")? {
        None | Some("none") => None,
        Some(text) => Some(text.parse::<Detrend>().map_err(|_| {
            section.error("detrend", "cosine:HZ, linear or none", format!("{text:?}"))
        })?),
    };
    let with_story = |name: &str| -> Result<Option<String>> {
        match section.text(name)? {
            Some(text) if !text.contains("{story}") => {
                Err(section.error(name, "a path with {story} in it", format!("{text:?}")))
            }
            text => Ok(text.map(str::to_owned)),
        }
    };
    let confounds = with_story("confounds")?;
    let confound_columns = section.texts("confound_columns")?;
    if confound_columns.is_some() && confounds.is_none() {
        let got = "confound_columns without confounds";
        return Err(section.error("confound_columns", "confounds = \"…{story}….tsv\" too", got));
    }
    let censor = match section.text("censor")? {
        None => None,
        Some("") => return Err(section.error("censor", "a column or a path", "nothing")),
        Some(text) if text.contains("{story}") => Some(Censor::File(text.to_owned())),
        Some(text) if confounds.is_some() => Some(Censor::Column(text.to_owned())),
        Some(text) => {
            let expected = "confounds, whose column it is, or a path with {story} in it";
            return Err(section.error("censor", expected, format!("{text:?}")));
        }
    };
    let first_tr = match section.get("first_tr_s") {
        None => FirstTr::Design,
        Some(Value::String(path)) if !path.is_empty() => FirstTr::Table(PathBuf::from(path)),
        Some(_) => match section.number("first_tr_s") {
            Ok(Some(first)) => match timing_fault(first, 1.0) {
                Some(fault) => return Err(section.error("first_tr_s", "seconds", fault)),
                None => FirstTr::At(first),
            },
            _ => {
                let got = section.get("first_tr_s").map_or(String::new(), Value::to_string);
                return Err(section.error("first_tr_s", "seconds, or a table's path", got));
            }
        },
    };
    let zscore = section.word("zscore", &[("none", false), ("story", true)], false)?;
    Ok(BoldCleaning { trim, zscore, detrend, confounds, confound_columns, censor, first_tr })
}
