//! Tables beyond the scores: significance, comparisons, overlap, curves, stories.
//!
//! Everything is computed from what a finished subject has on disk, so that a resumed run gives
//! the same bytes.

use std::path::Path;

use super::ceiling::write_ceiling;
use super::parcels::named_rows;
use super::scores::{ScoredModel, read_models};
use super::stability::write_other_tables;
use crate::error::Result;
use crate::io::npy;
use crate::report::rows::{
    AlignmentPoint, Comparison, CvPoint, Overlap, Significance, StoryProperties,
};
use crate::results::names::{
    ALIGNMENT, BEST_ALPHA, CEILINGS, COLUMNS, COMPARISONS, CV_CURVE, CV_SCORES, OVERLAP, P_VALUES,
    PARCELS, SIGNIFICANCE, STORY_PROPERTIES,
};
use crate::results::{RunFolder, tables};
use crate::scoring::bootstrap::{story_bootstrap, story_differences};
use crate::scoring::overlap::{jaccard, top5};
use crate::scoring::significance::fdr_threshold;
use crate::stats::mean;
use crate::study::alignment::Checked;
use crate::study::inputs::{Inputs, Subject};
use crate::study::plan::StudyPlan;
use crate::study::split::{Split, Splits};
use crate::study::stability::ExtraSplits;
use crate::study::unit_words::words_of;
use crate::study_file::Study;

/// Writes significance.csv, comparisons.csv, overlap.csv, noise_ceiling.csv, cv_curve.csv,
/// story_properties.csv, alignment.csv, columns.csv, parcels.csv and the tables of the other fits; a
/// table that does not apply is not there.
///
/// # Errors
/// Those of the files.
pub fn write_tables(
    out: &Path,
    study: &Study,
    inputs: &Inputs,
    splits: &Splits,
    plan: &StudyPlan,
    (others, checked): (&ExtraSplits, Option<&Checked>),
) -> Result<()> {
    let (mut significance, mut comparisons, mut overlap) = (Vec::new(), Vec::new(), Vec::new());
    let (mut curve, mut ceilings) = (Vec::new(), Vec::new());
    let (mut columns, mut parcels) = (Vec::new(), Vec::new());
    for (index, subject) in inputs.subjects.iter().enumerate() {
        let models = read_models(out, &subject.name, plan)?;
        for model in &models {
            if study.statistics.permutations > 0 {
                significance.push(significance_row(study, &subject.name, model)?);
            }
            curve.extend(cv_curve(study, &subject.name, model)?);
        }
        comparisons.extend(comparison_rows(study, &subject.name, &models));
        overlap.extend(overlap_of_spaces(&subject.name, &models));
        let (names, scores) = named_rows(subject, &models)?;
        columns.extend(names);
        parcels.extend(scores);
        let own = (subject, splits.of(index));
        ceilings.extend(write_ceiling(out, inputs, own, &models, plan.inner)?);
    }
    let split = &splits.all;
    overlap.extend(write_other_tables(out, study, inputs, split, plan, others)?);
    let file = |name| RunFolder::at(out).file(name);
    tables::write(&file(SIGNIFICANCE), &significance)?;
    tables::write(&file(COMPARISONS), &comparisons)?;
    tables::write(&file(OVERLAP), &overlap)?;
    tables::write(&file(CEILINGS), &ceilings)?;
    tables::write(&file(CV_CURVE), &curve)?;
    tables::write(&file(COLUMNS), &columns)?;
    tables::write(&file(PARCELS), &parcels)?;
    tables::write(&file(STORY_PROPERTIES), &story_properties(study, inputs, split))?;
    tables::write(&file(ALIGNMENT), &alignment_rows(inputs, checked))
}

fn significance_row(study: &Study, subject: &str, model: &ScoredModel<'_>) -> Result<Significance> {
    let statistics = &study.statistics;
    let p = npy::read_vector_f64(&model.folder.join(P_VALUES))?.to_vec();
    let threshold = fdr_threshold(&p, statistics.q);
    Ok(Significance {
        subject: subject.to_owned(),
        space: model.plan.name.clone(),
        lagged: model.plan.is_lagged(),
        n_significant: p.iter().filter(|&&p| threshold.is_some_and(|most| p <= most)).count(),
        q: statistics.q,
        permutations: statistics.permutations as u64,
        n_voxels_used: p.iter().filter(|p| !p.is_nan()).count(),
        p_threshold: threshold.unwrap_or(f64::NAN),
        block_trs: statistics.block_trs,
    })
}

/// Pairs of models: those of one variant, and lagged against plain of one space.
fn pairs<'a, 'b>(
    models: &'b [ScoredModel<'a>],
) -> impl Iterator<Item = (&'b ScoredModel<'a>, &'b ScoredModel<'a>)> {
    models.iter().enumerate().flat_map(move |(i, a)| {
        models[i + 1..].iter().filter_map(move |b| {
            let same_variant = a.plan.variant == b.plan.variant;
            (same_variant || a.plan.space == b.plan.space).then_some((a, b))
        })
    })
}

fn comparison_rows(study: &Study, subject: &str, models: &[ScoredModel<'_>]) -> Vec<Comparison> {
    let statistics = &study.statistics;
    let row = |(a, b): (&ScoredModel<'_>, &ScoredModel<'_>)| {
        let differences = story_differences(&a.story_r, &b.story_r);
        let bootstrap = |of: &[f64]| story_bootstrap(of, statistics.resamples, statistics.seed);
        let found = bootstrap(&differences);
        let inner = a.inner.as_ref().zip(b.inner.as_ref());
        let inner = inner.map(|(a, b)| bootstrap(&story_differences(&a.story_r, &b.story_r)));
        Comparison {
            subject: subject.to_owned(),
            space_a: a.plan.folder(),
            space_b: b.plan.folder(),
            diff_mean: found.mean,
            ci_low: found.low,
            ci_high: found.high,
            n_stories: differences.iter().filter(|d| !d.is_nan()).count(),
            resamples: statistics.resamples,
            inner_diff_mean: inner.as_ref().map(|found| found.mean),
            inner_ci_low: inner.as_ref().map(|found| found.low),
            inner_ci_high: inner.as_ref().map(|found| found.high),
        }
    };
    pairs(models).map(row).collect()
}

fn overlap_of_spaces(subject: &str, models: &[ScoredModel<'_>]) -> Vec<Overlap> {
    let tops: Vec<Vec<bool>> = models.iter().map(|model| top5(&model.r)).collect();
    let mut rows = Vec::new();
    for (i, a) in models.iter().enumerate() {
        for (j, b) in models.iter().enumerate().skip(i + 1) {
            if a.plan.variant == b.plan.variant {
                rows.push(Overlap {
                    subject: subject.to_owned(),
                    kind: "spaces".into(),
                    a: a.plan.folder(),
                    b: b.plan.folder(),
                    jaccard: jaccard(&tops[i], &tops[j]),
                    model: String::new(),
                });
            }
        }
    }
    rows
}

/// Mean CV score of each alpha over live voxels, and how many voxels took it.
fn cv_curve(study: &Study, subject: &str, model: &ScoredModel<'_>) -> Result<Vec<CvPoint>> {
    let scores = npy::read_matrix_f32(&model.folder.join(CV_SCORES))?;
    let best = npy::read_vector_f64(&model.folder.join(BEST_ALPHA))?;
    let row = |(alpha, scores): (&f64, ndarray::ArrayView1<'_, f32>)| {
        let live: Vec<f64> = scores.iter().filter(|s| !s.is_nan()).map(|&s| f64::from(s)).collect();
        CvPoint {
            subject: subject.to_owned(),
            space: model.plan.name.clone(),
            lagged: model.plan.is_lagged(),
            alpha: *alpha,
            mean_cv_score: mean(&live),
            n_best: best.iter().filter(|&best| best == alpha).count(),
        }
    };
    Ok(study.alphas.values().iter().zip(scores.rows()).map(row).collect())
}

/// Length and speech of every story or block, as the first subject that has it heard it. The word rate is over the time from the first to the last
/// word; NaN for fewer than 2 words.
fn story_properties(study: &Study, inputs: &Inputs, split: &Split) -> Vec<StoryProperties> {
    let of_subjects: Vec<Vec<usize>> = inputs.subjects.iter().map(Subject::n_trs).collect();
    let row = |index: usize| {
        let unit = &inputs.units[index];
        let n_trs = of_subjects.iter().map(|n_trs| n_trs[index]).find(|&n| n > 0).unwrap_or(0);
        let mid_s = &inputs.stories[unit.story].mid_s;
        let words = words_of(study, inputs, index);
        let n_words = words.len();
        let span_s = match (words.first(), words.last()) {
            (Some(&first), Some(&last)) if mid_s[last] > mid_s[first] => mid_s[last] - mid_s[first],
            _ => f64::NAN,
        };
        StoryProperties {
            story: unit.name.clone(),
            n_trs: n_trs as u64,
            seconds: n_trs as f64 * study.tr_s,
            n_words: n_words as u64,
            words_per_s: n_words as f64 / span_s,
            role: if split.test.contains(&index) { "test" } else { "train" }.into(),
        }
    };
    (0..inputs.units.len()).map(row).collect()
}

fn alignment_rows(inputs: &Inputs, checked: Option<&Checked>) -> Vec<AlignmentPoint> {
    let curves = checked.iter().flat_map(|checked| inputs.subjects.iter().zip(&checked.curves));
    let rows = curves.flat_map(|(subject, curve)| {
        curve.shifts.iter().zip(&curve.mean_r).map(move |(&shift, &mean_r)| AlignmentPoint {
            subject: subject.name.clone(),
            shift,
            mean_r,
        })
    });
    rows.collect()
}
