//! What run.json says of a finished study, and the copy of the study beside it.

use crate::error::Result;
use crate::io::input::read_small_text;
use crate::io::output::write_bytes;
use crate::report::record::{
    AlignmentInfo, AlignmentVerdict, ByName, InputHash, ModelInfo, RepeatedSplit, RunInfo, SCHEMA,
    SpaceInfo, SplitNames, SubjectSplit, SubjectVoxels, finite,
};
use crate::reporter::Reporter;
use crate::resources::peak_bytes;
use crate::results::RunFolder;
use crate::results::names::STUDY;
use crate::ridge::conditioning::Conditioning;
use crate::solve::tiles::StageSeconds;
use crate::study::alignment::Checked;
use crate::study::context::StudyContext;
use crate::study::inputs::Subject;
use crate::study::plan::StudyPlan;
use crate::study::shards::FinishedShards;
use crate::study::split::Split;
use crate::study::word_space::WordSpace;
use crate::study::words::words_json;
use crate::study_file::{COPIED, Study, main_settings};
use crate::warning::Warning;

/// Largest STUDY.toml that is compared.
const MAX_BYTES: u64 = 16 << 20;

/// What a finished study knows.
pub struct Known<'a> {
    /// What it knew before its BOLD was read.
    pub context: &'a StudyContext<'a>,
    /// Models with the routes that were taken.
    pub plan: &'a StudyPlan,
    /// Of each model's design.
    pub conditioning: &'a [Conditioning],
    /// The alignment check.
    pub checked: Option<&'a Checked>,
    /// What became of each subject's voxels.
    pub voxels: Vec<SubjectVoxels>,
    /// Doubts.
    pub warnings: &'a [Warning],
    /// What was assumed.
    pub notes: Vec<String>,
    /// One hash over settings and inputs.
    pub fingerprint: String,
    /// Everything that was read.
    pub hashes: Vec<InputHash>,
    /// Seconds of each step.
    pub timings: Vec<(String, f64)>,
    /// Seconds of each stage of the tiles.
    pub stages: StageSeconds,
    /// Bytes of BOLD that were read, in f32.
    pub bold_bytes_read: u64,
    /// Where shards ran, of a study in shards.
    pub shards: Option<&'a FinishedShards>,
}

/// run.json.
pub fn record(known: Known<'_>) -> RunInfo {
    let Known { context, plan, shards, .. } = known;
    let StudyContext { study, options, inputs, splits, extra, words, .. } = context;
    let split = &splits.all;
    let named = |list: &[usize]| -> Vec<String> {
        list.iter().map(|&unit| inputs.units[unit].name.clone()).collect()
    };
    let folds = |split: &Split| -> Vec<Vec<String>> {
        let fold = |k: usize| {
            let own = split.train.iter().zip(&split.fold_of_train).filter(|(_, fold)| **fold == k);
            named(&own.map(|(&unit, _)| unit).collect::<Vec<_>>())
        };
        (0..split.n_folds).map(fold).collect()
    };
    let own_split = |(index, subject): (usize, &Subject)| {
        let (split, n_trs) = (splits.of(index), subject.n_trs());
        let count = |units: &[usize]| units.iter().map(|&unit| n_trs[unit]).sum();
        let own = SubjectSplit {
            train: named(&split.train),
            test: named(&split.test),
            folds: folds(split),
            n_train_trs: count(&split.train),
            n_test_trs: count(&split.test),
        };
        (subject.name.clone(), own)
    };
    let subject_splits = match study.units.own || splits.differ() {
        true => inputs.subjects.iter().enumerate().map(own_split).collect(),
        false => ByName::default(),
    };
    let repeated = extra.splits[..extra.n_random].iter().zip(1..).map(|(other, i)| {
        let (train, test) = (named(&other.train), named(&other.test));
        RepeatedSplit { split: i, seed: study.seed.wrapping_add(i), train, test }
    });
    let subjects = || inputs.subjects.iter().map(|subject| subject.name.clone());
    let readings: Vec<_> =
        words.iter().map(|words| words.as_ref().and_then(|words| words.reading)).collect();
    let models = plan.models.iter().zip(known.conditioning).map(|(model, known)| ModelInfo {
        folder: model.folder(),
        delays: model.delays.clone(),
        n_features: model.n_features,
        n_coefs: model.n_coefs,
        condition: finite(known.condition),
        score_error: finite(known.score_error()),
        route: Some(model.route),
    });
    let own = known.stages.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds));
    RunInfo {
        schema: SCHEMA.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        commit: env!("VOXELCAST_COMMIT").into(),
        device: shards.map_or_else(|| options.device.to_string(), FinishedShards::device),
        threads: options.resources.n_threads,
        seed: study.seed,
        split: SplitNames { train: named(&split.train), test: named(&split.test) },
        folds: folds(split),
        subject_splits,
        stability: repeated.collect(),
        solver: plan.models.iter().map(|m| (m.folder(), m.solver.clone())).collect(),
        warnings: known.warnings.iter().map(ToString::to_string).collect(),
        notes: known.notes,
        words: words_json(&inputs.words),
        alignment: known.checked.map(|checked| AlignmentInfo {
            space: checked.space.clone(),
            subjects: subjects().zip(checked.curves.iter().map(Into::into)).collect(),
            verdict: checked.verdict.as_ref().map(AlignmentVerdict::from),
        }),
        settings: main_settings(study),
        study: serde_json::to_value(study.resolved(&readings)).unwrap_or_default(),
        alphas: study.alphas.values().to_vec(),
        n_train_trs: plan.n_train,
        n_test_trs: plan.n_test,
        subjects: plan.subjects.iter().cloned().collect(),
        spaces: space_infos(study, words),
        models: models.collect(),
        voxels: subjects().zip(known.voxels).collect(),
        fingerprint: known.fingerprint,
        inputs: known.hashes,
        timings_s: known.timings.into_iter().collect(),
        tile_stages_s: match shards {
            Some(shards) => shards.stages().into_iter().collect(),
            None => own.collect(),
        },
        bold_bytes_read: known.bold_bytes_read,
        peak_memory_bytes: peak_bytes().max(shards.map_or(0, FinishedShards::peak_bytes)),
        shards: shards.map(FinishedShards::about).unwrap_or_default(),
    }
}

/// What run.json says of each space.
fn space_infos(study: &Study, words: &[Option<WordSpace>]) -> Vec<SpaceInfo> {
    let width = |i: usize| words[i].as_ref().map_or(0, |space| space.n_features);
    let info = |(i, space): (usize, &crate::study_file::SpaceSettings)| SpaceInfo {
        name: space.name.clone(),
        kind: space.kind.label().into(),
        n_features: study.parts(i).into_iter().map(width).sum(),
        coverage: words[i].as_ref().and_then(|space| space.coverage.clone()),
    };
    let all = study.spaces.iter().enumerate();
    all.filter(|(_, space)| space.columns.is_given()).map(info).collect()
}

/// Copies the study into the results folder, so that it can be run again from there. A STUDY.toml
/// that voxelcast did not copy is left alone.
/// # Errors
/// `Error::Write`.
pub fn keep_study(study: &Study, out: &RunFolder, reporter: &dyn Reporter) -> Result<()> {
    let path = out.file(STUDY);
    let there = read_small_text(&path, MAX_BYTES).unwrap_or_default();
    if there == study.text && path.exists() {
        return Ok(()); // It is the file that was run, or the demo's.
    }
    if path.exists() && !there.starts_with(COPIED) {
        reporter.note(&format!("{} is another study: it is left as it is", path.display()));
        return Ok(());
    }
    match study.copied_text() {
        Some(text) => write_bytes(&path, text.as_bytes()),
        None => {
            reporter.note("a path of the study is not UTF-8: STUDY.toml is not copied");
            Ok(())
        }
    }
}
