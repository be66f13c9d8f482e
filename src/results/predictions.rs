//! predictions.json: what a folder of predictions holds.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::names::{ModelId, Name, PREDICTIONS, check_story};
use super::{broken, read_json};
use crate::error::{Error, Result};
use crate::io::output::write_json;

/// The `schema` of predictions.json.
pub const SCHEMA: &str = "voxelcast.predictions/1";
/// Largest predictions.json that is read.
const MAX_BYTES: u64 = 64 << 20;

/// predictions.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictions {
    /// [`SCHEMA`].
    pub schema: String,
    /// Whether each voxel's intercept is in.
    pub intercept: bool,
    /// Models, in the order of their folders.
    pub models: Vec<PredictedModel>,
    /// Names of the stories and their rows, in order.
    pub stories: Vec<(String, usize)>,
    /// Repetition time of the models' studies; the first one's where they differ.
    #[serde(default)]
    pub tr_s: Option<f64>,
}

/// One model's predictions: `(n_trs, n_voxels)` f32 in `SUBJECT/SPACE[-lagged]/STORY.npy`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictedModel {
    /// Whose BOLD.
    pub subject: Name,
    /// Name of the space.
    pub space: Name,
    /// With delays.
    pub lagged: bool,
    /// The folder, which follows from the three above.
    pub folder: PathBuf,
    /// Columns of each file.
    pub n_voxels: usize,
    /// Share of the words without a row of their own, the worst of the model's spaces.
    pub oov_share: f64,
}

impl PredictedModel {
    /// Which model.
    /// # Errors
    /// Never for names that were checked.
    pub fn id(&self) -> Result<ModelId> {
        Ok(ModelId::new(self.subject.as_str(), self.space.as_str(), self.lagged)?)
    }
}

/// Where a story's predictions are, below a folder of predictions.
pub fn story_file(folder: &Path, model: &ModelId, story: &str) -> PathBuf {
    folder.join(model.path()).join(format!("{story}.npy"))
}

/// Writes predictions.json.
/// # Errors
/// `Error::Write`.
pub fn write(folder: &Path, found: &Predictions) -> Result<()> {
    write_json(&folder.join(PREDICTIONS), found)
}

/// predictions.json of a folder.
/// # Errors
/// `Error::Read` and `Error::Values` for what `voxelcast predict` did not write.
pub fn read(folder: &Path) -> Result<Predictions> {
    let path = folder.join(PREDICTIONS);
    if !path.exists() {
        return Err(Error::Values {
            place: folder.display().to_string(),
            problem: format!("holds no {PREDICTIONS}"),
            hint: "give the output folder of voxelcast predict".into(),
        });
    }
    let found: Predictions = read_json(&path, MAX_BYTES)?;
    if found.schema != SCHEMA {
        return Err(broken(&path, format!("expected {SCHEMA}, got {:?}", found.schema)));
    }
    for (story, _) in &found.stories {
        check_story(story).map_err(|problem| broken(&path, problem))?;
    }
    for model in &found.models {
        let id = model.id()?;
        if model.folder != id.path() {
            let problem = format!("expected the folder {id}, got {:?}", model.folder);
            return Err(broken(&path, problem));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Predictions {
        let id = ModelId::new("s1", "glove", true).unwrap();
        Predictions {
            schema: SCHEMA.into(),
            intercept: true,
            models: vec![PredictedModel {
                subject: id.subject().clone(),
                space: id.space().clone(),
                lagged: true,
                folder: id.path(),
                n_voxels: 3,
                oov_share: 0.0,
            }],
            stories: vec![("a, b".into(), 4)],
            tr_s: Some(2.0),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &made()).unwrap();
        assert_eq!(read(folder.path()).unwrap(), made());
    }

    #[test]
    fn folders_and_names_that_lead_elsewhere_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut value = serde_json::to_value(made()).unwrap();
        for (place, bad) in [
            ("/models/0/folder", "/tmp"),
            ("/models/0/folder", "../s1/glove-lagged"),
            ("/models/0/folder", "s1/glove"),
            ("/models/0/subject", ".."),
            ("/models/0/space", "a/b"),
            ("/stories/0/0", "../a"),
            ("/schema", "voxelcast.predictions/2"),
        ] {
            let good = std::mem::replace(value.pointer_mut(place).unwrap(), bad.into());
            write_json(&folder.path().join(PREDICTIONS), &value).unwrap();
            assert_eq!(read(folder.path()).unwrap_err().exit_code(), 3, "{place} {bad}");
            *value.pointer_mut(place).unwrap() = good;
        }
    }
}
