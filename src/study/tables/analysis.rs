//! Tables beyond the scores: significance, comparisons, overlap, curves, stories.
//!
//! Everything is computed from what a finished subject has on disk, so that a resumed run gives
//! the same bytes.

use std::path::{Path, PathBuf};

use super::ceiling::{self, write_ceiling};
use super::stability::write_other_tables;
use crate::error::Result;
use crate::io::npy;
use crate::io::output::write_or_remove;
use crate::report::csv::table;
use crate::scoring::bootstrap::{story_bootstrap, story_differences};
use crate::scoring::overlap::{jaccard, top5};
use crate::scoring::significance::fdr_threshold;
use crate::stats::mean;
use crate::study::alignment::Checked;
use crate::study::inputs::Inputs;
use crate::study::models::ModelPlan;
use crate::study::plan::StudyPlan;
use crate::study::sink::read_scores;
use crate::study::split::Split;
use crate::study::stability::ExtraSplits;
use crate::study_file::Study;

/// Rows of a table, as text.
pub type Rows = Vec<Vec<String>>;

/// One model of one subject.
pub struct ScoredModel<'a> {
    /// Which.
    pub plan: &'a ModelPlan,
    /// Where its files are.
    pub folder: PathBuf,
    /// Over all test TRs.
    pub r: Vec<f32>,
    /// Within each test story.
    pub story_r: Vec<Vec<f32>>,
}

/// Every model of one subject, from its files.
pub fn read_models<'a>(
    out: &Path,
    subject: &str,
    plan: &'a StudyPlan,
) -> Result<Vec<ScoredModel<'a>>> {
    let read = |plan: &'a ModelPlan| -> Result<ScoredModel<'a>> {
        let folder = out.join("models").join(subject).join(plan.folder());
        let (r, story_r) = read_scores(&folder)?;
        Ok(ScoredModel { plan, folder, r, story_r })
    };
    plan.models.iter().map(read).collect()
}

/// Writes significance.csv, comparisons.csv, overlap.csv, noise_ceiling.csv, cv_curve.csv, story_properties.csv,
/// alignment.csv and the tables of the other fits; a table that does not apply is not there.
///
/// # Errors
/// Those of the files.
pub fn write_tables(
    out: &Path,
    study: &Study,
    inputs: &Inputs,
    split: &Split,
    plan: &StudyPlan,
    (others, checked): (&ExtraSplits, Option<&Checked>),
) -> Result<()> {
    let [mut significance, mut comparisons, mut overlap, mut curve, mut ceilings] =
        [const { Rows::new() }; 5];
    for subject in &inputs.subjects {
        let models = read_models(out, &subject.name, plan)?;
        for model in &models {
            if study.statistics.permutations > 0 {
                significance.push(significance_row(study, &subject.name, model)?);
            }
            curve.extend(cv_curve(study, &subject.name, model)?);
        }
        comparisons.extend(comparison_rows(study, &subject.name, &models));
        overlap.extend(overlap_of_spaces(&subject.name, &models));
        ceilings.extend(write_ceiling(out, inputs, subject, split, &models)?);
    }
    overlap.extend(write_other_tables(out, study, inputs, split, plan, others)?);
    let write = |name: &str, header: &str, rows: &Rows| {
        let text = (!rows.is_empty()).then(|| table(header, rows));
        write_or_remove(&out.join(name), text.as_deref())
    };
    write(
        "significance.csv",
        "subject,space,lagged,n_significant,q,permutations,n_voxels_used,p_threshold,block_trs",
        &significance,
    )?;
    write(
        "comparisons.csv",
        "subject,space_a,space_b,diff_mean,ci_low,ci_high,n_stories,resamples",
        &comparisons,
    )?;
    write("overlap.csv", "subject,kind,a,b,jaccard,model", &overlap)?;
    write("noise_ceiling.csv", ceiling::HEADER, &ceilings)?;
    write("cv_curve.csv", "subject,space,lagged,alpha,mean_cv_score,n_best", &curve)?;
    write(
        "story_properties.csv",
        "story,n_trs,seconds,n_words,words_per_s,role",
        &story_properties(study, inputs, split),
    )?;
    write("alignment.csv", "subject,shift,mean_r", &alignment_rows(inputs, checked))
}

/// The columns that name a model.
pub fn named(subject: &str, model: &ModelPlan) -> Vec<String> {
    vec![subject.to_owned(), model.name.clone(), model.is_lagged().to_string()]
}

fn significance_row(study: &Study, subject: &str, model: &ScoredModel<'_>) -> Result<Vec<String>> {
    let statistics = &study.statistics;
    let p = npy::read_vector_f64(&model.folder.join("p_values.npy"))?.to_vec();
    let threshold = fdr_threshold(&p, statistics.q);
    let used = p.iter().filter(|p| !p.is_nan()).count();
    let n = p.iter().filter(|&&p| threshold.is_some_and(|most| p <= most)).count();
    let mut row = named(subject, model.plan);
    row.extend([
        n.to_string(),
        statistics.q.to_string(),
        statistics.permutations.to_string(),
        used.to_string(),
        threshold.unwrap_or(f64::NAN).to_string(),
        statistics.block_trs.to_string(),
    ]);
    Ok(row)
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

fn comparison_rows(study: &Study, subject: &str, models: &[ScoredModel<'_>]) -> Rows {
    let statistics = &study.statistics;
    let row = |(a, b): (&ScoredModel<'_>, &ScoredModel<'_>)| {
        let differences = story_differences(&a.story_r, &b.story_r);
        let n_stories = differences.iter().filter(|d| !d.is_nan()).count();
        let found = story_bootstrap(&differences, statistics.resamples, statistics.seed);
        let mut row = vec![subject.to_owned(), a.plan.folder(), b.plan.folder()];
        row.extend([found.mean, found.low, found.high].map(|x| x.to_string()));
        row.extend([n_stories, statistics.resamples].map(|n| n.to_string()));
        row
    };
    pairs(models).map(row).collect()
}

fn overlap_of_spaces(subject: &str, models: &[ScoredModel<'_>]) -> Rows {
    let tops: Vec<Vec<bool>> = models.iter().map(|model| top5(&model.r)).collect();
    let mut rows = Rows::new();
    for (i, a) in models.iter().enumerate() {
        for (j, b) in models.iter().enumerate().skip(i + 1) {
            if a.plan.variant == b.plan.variant {
                let found = jaccard(&tops[i], &tops[j]).to_string();
                let names = [a.plan.folder(), b.plan.folder(), found, String::new()];
                rows.push(
                    [subject.to_owned(), "spaces".to_owned()].into_iter().chain(names).collect(),
                );
            }
        }
    }
    rows
}

/// Mean CV score of each alpha over live voxels, and how many voxels took it.
fn cv_curve(study: &Study, subject: &str, model: &ScoredModel<'_>) -> Result<Rows> {
    let scores = npy::read_matrix_f32(&model.folder.join("cv_scores.npy"))?;
    let best = npy::read_vector_f64(&model.folder.join("best_alpha.npy"))?;
    let row = |(alpha, scores): (&f64, ndarray::ArrayView1<'_, f32>)| {
        let live: Vec<f64> = scores.iter().filter(|s| !s.is_nan()).map(|&s| f64::from(s)).collect();
        let n_best = best.iter().filter(|&best| best == alpha).count();
        let mut row = named(subject, model.plan);
        row.extend([alpha.to_string(), mean(&live).to_string(), n_best.to_string()]);
        row
    };
    Ok(study.alphas.values().iter().zip(scores.rows()).map(row).collect())
}

/// Length and speech of every story. The word rate is over the time from the first to the last
/// word; NaN for fewer than 2 words.
fn story_properties(study: &Study, inputs: &Inputs, split: &Split) -> Rows {
    let n_trs = inputs.subjects.first().map_or(Vec::new(), |subject| subject.n_trs());
    let row = |(index, n_trs): (usize, usize)| {
        let story = &inputs.stories[index];
        let n_words = story.words.len();
        let span_s = match (story.mid_s.first(), story.mid_s.last()) {
            (Some(first), Some(last)) if last > first => last - first,
            _ => f64::NAN,
        };
        let role = if split.test.contains(&index) { "test" } else { "train" };
        vec![
            story.name.clone(),
            n_trs.to_string(),
            (n_trs as f64 * study.tr_s).to_string(),
            n_words.to_string(),
            (n_words as f64 / span_s).to_string(),
            role.to_owned(),
        ]
    };
    n_trs.into_iter().enumerate().map(row).collect()
}

fn alignment_rows(inputs: &Inputs, checked: Option<&Checked>) -> Rows {
    let curves = checked.iter().flat_map(|checked| inputs.subjects.iter().zip(&checked.curves));
    let rows = curves.flat_map(|(subject, curve)| {
        curve
            .shifts
            .iter()
            .zip(&curve.mean_r)
            .map(move |(shift, r)| vec![subject.name.clone(), shift.to_string(), r.to_string()])
    });
    rows.collect()
}
