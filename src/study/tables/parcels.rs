//! Names of columns, of BOLD that has them, and the scores of parcels by their names.

use super::scores::ScoredModel;
use crate::error::Result;
use crate::report::rows::{ColumnName, ParcelScore};
use crate::study::inputs::Subject;

/// One subject's rows of columns.csv and parcels.csv; none of BOLD whose columns have no names.
/// # Errors
/// Those of the BOLD's first file.
pub fn named_rows(
    subject: &Subject,
    models: &[ScoredModel<'_>],
) -> Result<(Vec<ColumnName>, Vec<ParcelScore>)> {
    let first = subject.files.first();
    let Some(found) = first.map(|bold| bold.file.column_names()).transpose()?.flatten() else {
        return Ok((Vec::new(), Vec::new()));
    };
    let score = |model: &ScoredModel<'_>, column: usize, parcel: &String| ParcelScore {
        subject: subject.name.clone(),
        space: model.plan.name.clone(),
        lagged: model.plan.is_lagged(),
        parcel: parcel.clone(),
        r: model.r[column],
        inner_r: model.inner.as_ref().map(|inner| inner.r[column]),
    };
    let of_parcels = models.iter().filter(|_| found.are_parcels).flat_map(|model| {
        found.names.iter().enumerate().map(move |(column, name)| score(model, column, name))
    });
    let scores = of_parcels.collect();
    let name = |(column, name)| ColumnName { subject: subject.name.clone(), column, name };
    Ok((found.names.into_iter().enumerate().map(name).collect(), scores))
}
