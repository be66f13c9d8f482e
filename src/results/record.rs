//! Reading and writing run.json.

use super::folder::RunFolder;
use super::names::{ModelId, Name, RUN, check_story};
use super::{broken, read_json};
use crate::error::{Error, Result};
use crate::io::output::write_json;
use crate::report::record::{RunInfo, SCHEMA};

/// Largest run.json that is read.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// Writes run.json: the run is finished.
/// # Errors
/// `Error::Write`.
pub fn write(folder: &RunFolder, run: &RunInfo) -> Result<()> {
    write_json(&folder.file(RUN), run)
}

/// run.json of a finished run.
///
/// Names of subjects, models and stories are such as can name a file.
/// # Errors
/// `Error::Values` where no run was finished, and for a damaged file.
pub fn read(folder: &RunFolder) -> Result<RunInfo> {
    let path = folder.file(RUN);
    if !path.exists() {
        return Err(Error::Values {
            place: folder.path().display().to_string(),
            problem: format!("holds no finished run (no {RUN})"),
            hint: "give the output folder of voxelcast run, after the run has finished".into(),
        });
    }
    let run: RunInfo = read_json(&path, MAX_BYTES)?;
    check(&run).map_err(|problem| broken(&path, problem))?;
    Ok(run)
}

fn check(run: &RunInfo) -> Result<(), String> {
    if run.schema != SCHEMA {
        return Err(format!("expected {SCHEMA}, got {:?}", run.schema));
    }
    for subject in run.subjects.names().chain(run.voxels.names()) {
        Name::new(subject).map_err(|bad| bad.to_string())?;
    }
    for model in &run.models {
        ModelId::of_folder("s", &model.folder).map_err(|bad| bad.to_string())?;
    }
    let splits = run.stability.iter().flat_map(|split| split.train.iter().chain(&split.test));
    let of_subjects =
        run.subject_splits.0.iter().flat_map(|(_, own)| {
            own.train.iter().chain(&own.test).chain(own.folds.iter().flatten())
        });
    let own = run.split.train.iter().chain(&run.split.test).chain(of_subjects);
    own.chain(run.folds.iter().flatten()).chain(splits).try_for_each(|story| check_story(story))
}

/// Every model of a finished run, subject after subject.
/// # Errors
/// `Error::Values` for names that are none.
pub fn models(run: &RunInfo) -> Result<Vec<ModelId>> {
    let of_subject = |subject| run.models.iter().map(move |model| (subject, &model.folder));
    let all = run.subjects.names().flat_map(of_subject);
    all.map(|(subject, folder)| Ok(ModelId::of_folder(subject, folder)?)).collect()
}
