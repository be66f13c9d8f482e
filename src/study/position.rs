//! Whether a model knows where in its story a TR lies: its own ridge, with exp(−t/5) in place of a
//! voxel's BOLD, t the TRs since the first one kept. BOLD has a transient there, so such a model
//! predicts it without any meaning (Feghhi et al. 2024, arXiv 2406.01538).

use super::inputs::Subject;
use super::models::ModelPlan;
use super::split::Split;
use crate::backend::cpu::CpuEngine;
use crate::backend::{Engine, Problem};
use crate::error::Result;
use crate::report::ScoreRow;
use crate::results::mark::ModelFound;
use crate::study_file::{SpaceKind, Study};
use crate::warning::Warning;

/// TRs in which the transient falls to 1/e.
const TAU_TRS: f64 = 5.0;
/// A space is doubted above that r.
const DOUBTFUL: f64 = 0.3;
/// A space of positions is near the best one from that share of its mean r on.
const NEAR: f64 = 0.8;

/// r on the test stories, one a model; none for models that no warning is about, and where it is
/// not defined.
/// # Errors
/// Those of the engine.
pub fn position_scores(
    problem: &mut Problem,
    models: &[ModelPlan],
    subject: &Subject,
    split: &Split,
) -> Result<Vec<Option<f64>>> {
    // The others, and the permutation test, are left alone meanwhile.
    let permutations = problem.permutations.take();
    let all = std::mem::take(&mut problem.models);
    let meant: Vec<bool> = models.iter().map(|model| is_meant(models, model)).collect();
    let (own, others): (Vec<_>, Vec<_>) =
        all.into_iter().zip(&meant).partition(|(_, is_meant)| **is_meant);
    problem.models = own.into_iter().map(|(model, _)| model).collect();
    let found = if problem.models.is_empty() {
        Ok(Vec::new())
    } else {
        transient_scores(problem, subject, split)
    };
    let mut own = std::mem::take(&mut problem.models).into_iter();
    let mut others = others.into_iter().map(|(model, _)| model);
    let next = |&is_meant: &bool| if is_meant { own.next() } else { others.next() };
    problem.models = meant.iter().filter_map(next).collect();
    problem.permutations = permutations;
    let mut found = found?.into_iter();
    Ok(meant.iter().map(|&is_meant| is_meant.then(|| found.next()).flatten().flatten()).collect())
}

fn transient_scores(
    problem: &Problem,
    subject: &Subject,
    split: &Split,
) -> Result<Vec<Option<f64>>> {
    let transient = |&unit: &usize| -> Vec<f32> {
        let used = subject.used(unit).into_iter().flatten();
        used.map(|tr| (-(tr as f64) / TAU_TRS).exp() as f32).collect()
    };
    let mut engine = CpuEngine::new(problem);
    engine.begin(1)?;
    for (block, unit) in split.train.iter().enumerate() {
        engine.add_train(block, &transient(unit))?;
    }
    engine.solve()?;
    for (block, unit) in split.test.iter().enumerate() {
        engine.add_test(block, &transient(unit), None)?;
    }
    let (_, tests) = engine.results()?;
    let r = |r: f32| Some(f64::from(r)).filter(|r| r.is_finite());
    Ok(tests.iter().map(|test| r(test.correlation[0])).collect())
}

/// Spaces of positions alone that come near the best space.
pub fn rivals(study: &Study, summary: &[ScoreRow]) -> Option<Warning> {
    let is_position = |name: &str| {
        study.spaces.iter().any(|s| s.name == name && matches!(s.kind, SpaceKind::Position))
    };
    let best = |row: &ScoreRow| {
        let own = summary.iter().filter(|other| other.subject == row.subject);
        own.filter(|other| !is_position(&other.space))
            .map(|other| other.scores.mean)
            .fold(0.0, f64::max)
    };
    let is_near = |row: &&ScoreRow| {
        is_position(&row.space) && row.scores.mean > 0.0 && row.scores.mean >= NEAR * best(row)
    };
    let rivals = summary.iter().filter(is_near);
    let all: Vec<String> = rivals
        .map(|row| format!("{} {:.3} against {:.3}", row.subject, row.scores.mean, best(row)))
        .collect();
    (!all.is_empty()).then_some(Warning::PositionRivals { rivals: all })
}

/// Whether a model speaks for its space: the one without delays, where there is one.
fn is_meant(models: &[ModelPlan], model: &ModelPlan) -> bool {
    let has_plain = models.iter().any(|other| other.space == model.space && !other.is_lagged());
    model.is_reported() && (!has_plain || !model.is_lagged())
}

/// The spaces whose TR rows tell where in a story they lie.
pub fn doubts(models: &[ModelPlan], found: &[ModelFound]) -> Option<Warning> {
    let mut spaces: Vec<(String, f64)> = Vec::new();
    for (model, found) in models.iter().zip(found) {
        if let Some(r) = found.route.position.filter(|&r| r > DOUBTFUL && is_meant(models, model)) {
            spaces.push((model.name.clone(), r));
        }
    }
    (!spaces.is_empty()).then_some(Warning::Position { spaces })
}
