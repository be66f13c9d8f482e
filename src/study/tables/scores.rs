//! What is written at the end: rows of the tables, and parts of run.json.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::Result;
use crate::report::ScoreRow;
use crate::scoring::Summary;
use crate::study::features::{SpaceInfo, WordSpace};
use crate::study::inputs::Inputs;
use crate::study::plan::StudyPlan;
use crate::study::sink::read_scores;
use crate::study::split::Split;
use crate::study_file::{Folds, SpaceKind, Study};

/// Rows of summary.csv and stories.csv, from the files of every model.
/// # Errors
/// Those of the files.
pub fn read_tables(
    out: &Path,
    inputs: &Inputs,
    split: &Split,
    plan: &StudyPlan,
) -> Result<(Vec<ScoreRow>, Vec<ScoreRow>)> {
    let (mut summary, mut stories) = (Vec::new(), Vec::new());
    for subject in &inputs.subjects {
        for model in &plan.models {
            let folder = out.join("models").join(&subject.name).join(model.folder());
            let (all, by_story) = read_scores(&folder)?;
            let row = |story: Option<usize>, scores: &[f32]| ScoreRow {
                subject: subject.name.clone(),
                space: model.name.clone(),
                lagged: model.is_lagged(),
                story: story.map(|s| inputs.stories[s].name.clone()),
                scores: Summary::of(scores),
            };
            summary.push(row(None, &all));
            stories.extend(split.test.iter().zip(&by_story).map(|(&s, r)| row(Some(s), r)));
        }
    }
    Ok((summary, stories))
}

/// What run.json says of each space.
pub fn space_infos(study: &Study, words: &[Option<WordSpace>]) -> Vec<SpaceInfo> {
    let width = |i: usize| words[i].as_ref().map_or(0, |space| space.n_features);
    study
        .spaces
        .iter()
        .enumerate()
        .map(|(i, space)| SpaceInfo {
            name: space.name.clone(),
            kind: space.kind.label(),
            n_features: match &space.kind {
                SpaceKind::Combine(parts) => parts.iter().map(|&part| width(part)).sum(),
                _ => width(i),
            },
            coverage: words[i].as_ref().and_then(|space| space.coverage.clone()),
        })
        .collect()
}

/// The settings that run.json records.
pub fn settings_json(study: &Study) -> Value {
    json!({
        "stories": study.stories, "bold": study.bold.iter().map(|(s, p)| (s.clone(), json!(p))).collect::<serde_json::Map<_, _>>(),
        "tr_s": study.tr_s, "first_tr_s": study.first_tr_s, "trim": study.trim.to_string(),
        "delays": study.delays, "variants": study.variants,
        "delay_preset": if study.delays_cross_stories { "huth-stacked" } else { "story" },
        "zscore": format!("{:?}", study.zscore).to_lowercase(),
        "lanczos_window": study.lanczos_window, "cutoff_mult": study.cutoff_mult,
        "time": format!("{:?}", study.time).to_lowercase(),
        "folds": match &study.folds {
            Folds::Count(k) => json!(k),
            Folds::LeaveOneStoryOut => json!("loso"),
            Folds::Names(lists) => json!(lists),
        },
        "scorer": format!("{:?}", study.scorer).to_lowercase(),
        "fit_intercept": study.fit_intercept, "alpha_tolerance": study.alpha_tolerance,
        "basis_tolerance": study.basis_tolerance, "weights": study.weights,
        "statistics": study.statistics, "stability": study.stability,
    })
}
