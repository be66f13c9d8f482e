//! One model of a study, as planned.

use std::ops::Range;

use serde::Serialize;

use crate::error::Result;
use crate::results::ModelId;
use crate::results::names::{BAND_ALPHAS, BAND_CORRELATION, BAND_R2, TEST_R2, model_folder};
use crate::ridge::route::Sizes;
use crate::ridge::{BandSampling, BandSpec, Route};
use crate::study_file::{Columns, ModelVariant, SpaceKind, Study};

/// One model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelPlan {
    /// Index of its space in the study.
    #[serde(skip)]
    pub space: usize,
    /// Index of the space whose design it is fitted on: its own, or that of a whole partition.
    #[serde(skip)]
    pub design: usize,
    /// Which columns share an alpha.
    #[serde(skip)]
    pub bands: Option<ModelBands>,
    /// Of a model of two spaces together: the one, and the one that `[partition] beyond` names.
    #[serde(skip)]
    pub beyond: Option<(usize, usize)>,
    /// Name of its space.
    pub name: String,
    /// Plain or lagged.
    pub variant: ModelVariant,
    /// Delays in TRs.
    pub delays: Vec<i64>,
    /// A single delay of a space's profile.
    #[serde(skip)]
    pub is_profile: bool,
    /// Columns before delays.
    pub n_features: usize,
    /// Columns of the delayed design.
    pub n_coefs: usize,
    /// Columns of the design, before delays, that are never delayed while others are.
    #[serde(skip)]
    pub undelayed: Vec<Range<usize>>,
    /// Whether the delayed columns are written out: where delays cross stories, where TRs inside of
    /// a story are left out, and where only some columns are delayed.
    #[serde(skip)]
    pub is_stacked: bool,
    /// How it is solved.
    #[serde(skip)]
    pub route: Route,
    /// What its cost follows from.
    #[serde(skip)]
    pub sizes: Sizes,
    /// The route, why, and at what cost.
    pub solver: String,
    /// What eigenvectors of a search's points take; 0 where they are not kept.
    #[serde(skip)]
    pub search_bytes: f64,
}

/// Bands of a model: the spaces that its design combines.
#[derive(Debug, Clone)]
pub struct ModelBands {
    /// Their names.
    pub names: Vec<String>,
    /// Columns of each, before delays.
    pub widths: Vec<usize>,
    /// The search over their weights; none for a part of a partition.
    pub sampling: Option<BandSampling>,
    /// Which of them the model has: all of a search.
    pub kept: Vec<bool>,
    /// Which of them are never delayed while others are: their columns stand last, once.
    pub undelayed: Vec<bool>,
}

impl ModelBands {
    pub(super) fn of(study: &Study, index: usize, width: &dyn Fn(usize) -> usize) -> Option<Self> {
        let (parts, sampling, kept) =
            match (&study.spaces[index].kind, &study.spaces[index].columns) {
                (SpaceKind::Combine(parts), Columns::Banded(sampling)) => {
                    (parts, Some(sampling.clone()), vec![true; parts.len()])
                }
                (_, Columns::Part { of, kept }) => match &study.spaces[*of].kind {
                    SpaceKind::Combine(parts) => (parts, None, kept.clone()),
                    _ => return None,
                },
                _ => return None,
            };
        let design = match &study.spaces[index].columns {
            Columns::Part { of, .. } => *of,
            _ => index,
        };
        let is_apart = study.is_partly_delayed(design);
        let is_undelayed = |&part: &usize| is_apart && study.is_undelayed(part);
        Some(Self {
            undelayed: parts.iter().map(is_undelayed).collect(),
            names: parts.iter().map(|&part| study.spaces[part].name.clone()).collect(),
            widths: parts.iter().map(|&part| width(part)).collect(),
            sampling,
            kept,
        })
    }

    /// As the solver wants them, for a design whose columns are `n_copies` times those of the
    /// spaces.
    /// # Errors
    /// Those of the sampling.
    pub fn spec(&self, n_copies: usize, kept_bytes: f64) -> Result<BandSpec> {
        let columns = |undelayed: bool| -> Vec<usize> {
            let bands = self.widths.iter().enumerate();
            let own = bands.filter(|(band, _)| self.undelayed[*band] == undelayed);
            own.flat_map(|(band, &n)| std::iter::repeat_n(band, n)).collect()
        };
        let delayed = columns(false).repeat(n_copies);
        let weights = match &self.sampling {
            Some(sampling) => sampling.points(self.names.len())?,
            None => self.kept.iter().map(|&kept| f64::from(u8::from(kept))).collect(),
        };
        Ok(BandSpec {
            band_of: delayed.into_iter().chain(columns(true)).collect(),
            weights,
            is_search: self.sampling.is_some(),
            kept_bytes,
        })
    }
}

impl ModelPlan {
    /// A model of the user's: it stands in summary.csv and the tables beside it.
    pub fn is_reported(&self) -> bool {
        !self.is_part() && !self.is_profile && self.beyond.is_none()
    }

    /// A model of a variance partition: it stands in partition.csv alone.
    pub fn is_part(&self) -> bool {
        self.bands.as_ref().is_some_and(|bands| bands.sampling.is_none())
    }

    /// A search over band weights.
    pub fn is_banded(&self) -> bool {
        self.bands.as_ref().is_some_and(|bands| bands.sampling.is_some())
    }

    /// Files of a banded model, or of a part of a partition, and their rows.
    pub fn band_files(&self) -> impl Iterator<Item = (&'static str, usize)> + use<> {
        let n_bands = self.bands.as_ref().map_or(0, |bands| bands.names.len());
        let files: &[(&str, usize)] = match (self.is_banded(), self.is_part()) {
            (true, _) => &[(BAND_ALPHAS, 0), (BAND_CORRELATION, 0), (BAND_R2, 0)],
            (_, true) => &[(TEST_R2, 1)],
            _ => &[],
        };
        files.iter().map(move |&(name, rows)| (name, if rows == 0 { n_bands } else { rows }))
    }

    /// The model of one subject.
    /// # Errors
    /// Never for names that a study was read with.
    pub fn id(&self, subject: &str) -> Result<ModelId> {
        Ok(ModelId::new(subject, &self.name, self.is_lagged())?)
    }

    /// The folder under models/SUBJECT/, which is also what tables call it.
    pub fn folder(&self) -> String {
        model_folder(&self.name, self.is_lagged())
    }

    /// The column `lagged` of the tables.
    pub fn is_lagged(&self) -> bool {
        self.variant == ModelVariant::Lagged
    }
}

#[cfg(test)]
impl ModelPlan {
    /// For tests: a model of a space on the Gram route, with delays 1 to `n_delays`.
    pub fn of_width(space: usize, width: usize, n_delays: i64) -> Self {
        let delays: Vec<i64> = (1..=n_delays).collect();
        let n_coefs = width * delays.len();
        Self {
            space,
            design: space,
            bands: None,
            beyond: None,
            name: format!("space{space}"),
            variant: if n_delays > 1 { ModelVariant::Lagged } else { ModelVariant::Plain },
            delays,
            is_profile: false,
            n_features: width,
            n_coefs,
            undelayed: Vec::new(),
            is_stacked: false,
            route: Route::Gram,
            sizes: Sizes {
                n_rows: 1000,
                n_test: 100,
                n_coefs,
                n_voxels: 5000,
                n_folds: 5,
                n_threads: 2,
            },
            solver: "gram".into(),
            search_bytes: 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_that_are_not_delayed_have_their_columns_last_and_once() {
        let bands = |undelayed: [bool; 2]| ModelBands {
            names: vec!["position".into(), "glove".into()],
            widths: vec![2, 3],
            sampling: None,
            kept: vec![true, false],
            undelayed: undelayed.to_vec(),
        };
        let band_of = |undelayed| bands(undelayed).spec(2, 0.0).unwrap().band_of;
        assert_eq!(band_of([true, false]), [1, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(band_of([false, false]), [0, 0, 1, 1, 1, 0, 0, 1, 1, 1]);
        assert_eq!(bands([true, false]).spec(2, 0.0).unwrap().weights, [1.0, 0.0]);
    }
}
