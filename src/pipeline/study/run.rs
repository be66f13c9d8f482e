//! The study from start to end.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::{Value, json};

use super::alignment;
use super::analysis::write_tables;
use super::fingerprint::{combined, hash_inputs, settings_text};
use super::folder::{finished, lock_folder, start_partial};
use super::inputs::{Subject, read_inputs};
use super::load::load_problem;
use super::others::{Others, load_others};
use super::plan::{StudyPlan, plan};
use super::results::{read_tables, settings_json, space_infos};
use super::sink::{Sizes, SubjectFound, SubjectSink};
use super::source::SubjectSource;
use super::spaces::{WordSpace, designs, word_spaces};
use super::split::{Split, split};
use crate::backend::device::Device;
use crate::backend::{OtherFits, Problem, n_workers};
use crate::error::Result;
use crate::pipeline::language::{LanguageWork, publish_model};
use crate::pipeline::memory::peak_bytes;
use crate::pipeline::output::{write_bytes, write_json};
use crate::pipeline::report::write_page;
use crate::pipeline::reporter::Reporter;
use crate::pipeline::tiles::{StageSeconds, TileRun, run_tiles, tile_width};
use crate::report::{ScoreRow, csv};
use crate::ridge::conditioning::Conditioning;
use crate::study::Study;
use crate::warning::Warning;

/// How a study is run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Output folder.
    pub out: PathBuf,
    /// Replace results of other settings or inputs.
    pub force: bool,
    /// Plan only.
    pub dry_run: bool,
    /// Threads.
    pub n_threads: usize,
    /// Memory for matrices and tiles, in bytes.
    pub memory_bytes: u64,
    /// Where the tiles are solved.
    pub device: Device,
}

/// What a study found; arrays are in files.
#[derive(Debug, Clone)]
pub enum StudyResults {
    /// `--dry-run`.
    Planned(Box<StudyPlan>),
    /// Everything is on disk.
    Finished {
        /// One row a model.
        summary: Vec<ScoreRow>,
        /// run.json.
        run: Box<Value>,
        /// Nothing had to be done: the same run was finished before.
        was_done: bool,
    },
}

/// Runs a study.
///
/// # Errors
/// Input errors before anything is computed; `Error::Locked` if another process writes to the same
/// folder; `Error::Interrupted` after Ctrl-C: the next run goes on from the finished tiles.
pub fn run(
    study: &Study,
    options: &RunOptions,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<StudyResults> {
    let clock = Instant::now();
    let mut timings: Vec<(String, f64)> = Vec::new();
    let mut since = Instant::now();
    let mut mark = |name: &str, reporter: &dyn Reporter| {
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        let peak = peak_bytes() >> 20;
        reporter.step(&format!("{name}: {seconds:.2} s, peak memory {peak} MiB"));
        timings.push((name.to_owned(), seconds));
    };
    let inputs = read_inputs(study)?;
    let names: Vec<&str> = inputs.stories.iter().map(|story| story.name.as_str()).collect();
    let split = split(study, &names)?;
    let mut warnings = inputs.warnings.clone();
    warnings.extend(Warning::repeat_averaged(split.test.iter().map(|&s| names[s])));
    mark("inputs", reporter);

    let lock = if options.dry_run { None } else { Some(lock_folder(&options.out)?) };
    let hashes = hash_inputs(study, &inputs)?;
    let fingerprint = combined(&settings_text(study), &hashes);
    if let (false, Some(results)) =
        (options.dry_run, finished(&options.out, options.force, &fingerprint, &hashes)?)
    {
        if !options.out.join("report.html").exists() {
            write_page(&options.out)?;
        }
        return Ok(results);
    }
    mark("hashes", reporter);

    let cache = options.out.join(".cache");
    let encoder = study.encoder();
    let work = LanguageWork {
        cache: &cache,
        encoder: Some(&encoder),
        is_plan: options.dry_run,
        reporter,
        cancel,
    };
    let words = word_spaces(study, &inputs.stories, &split, &mut warnings, &work)?;
    let borrowed: Vec<Option<&WordSpace>> = words.iter().map(Option::as_ref).collect();
    let (n_threads, memory) = (options.n_threads, options.memory_bytes);
    let mut plan = plan(study, &inputs, &split, &borrowed, n_threads, memory)?;
    let others = Others::new(study, &split)?;
    // Each other fit costs less than the study's own: cautious.
    plan.seconds *= 1.0 + others.splits.len() as f64;
    for model in &plan.models {
        reporter.step(&format!("{}: {} columns, {}", model.folder(), model.n_coefs, model.solver));
    }
    if options.dry_run {
        return Ok(StudyResults::Planned(Box::new(plan)));
    }
    for (space, words) in study.spaces.iter().zip(&words) {
        if let Some(model) = words.as_ref().and_then(|words| words.encoder.as_ref()) {
            publish_model(model, &options.out.join("models/encoder").join(&space.name))?;
        }
    }
    mark("features", reporter);

    let checked = match study.alignment_check {
        true => alignment::check(study, &inputs, &split, &words, options.n_threads, cancel)?,
        false => None,
    };
    let verdict = checked.as_ref().and_then(|checked| checked.verdict.as_ref());
    warnings.extend(verdict.and_then(|verdict| alignment::warning(study, verdict)));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    mark("alignment", reporter);

    start_partial(&options.out, &fingerprint)?;
    let mut prepared: Option<Prepared> = None;
    let mut is_warned = false;
    let (mut stages, mut found) = (StageSeconds::new(), Vec::new());
    for subject in &inputs.subjects {
        let same = prepared.as_ref().is_some_and(|p| p.n_feature_trs == subject.n_feature_trs);
        if !same {
            drop(prepared.take());
            let load = |plan: &StudyPlan| -> Result<(Problem, Vec<Conditioning>)> {
                let trs = &subject.n_feature_trs;
                let made = designs(study, &inputs.stories, &borrowed, &split, trs, &|_| true)?;
                load_problem(study, made, subject, &split, plan, None)
            };
            let (mut problem, mut conditioning) = load(&plan)?;
            if plan.avoid_squares(study, n_threads, memory, &conditioning) {
                drop(problem);
                (problem, conditioning) = load(&plan)?;
            }
            let doubt = plan.ill_conditioned(study, &conditioning).filter(|_| !is_warned);
            doubt.iter().for_each(|warning| reporter.warn(warning));
            is_warned |= doubt.is_some();
            warnings.extend(doubt);
            mark("prepare", reporter);
            let mut other = None;
            if !others.splits.is_empty() {
                let limits = (n_threads, memory);
                let own = (&split, &plan);
                let made = (&words[..], &work);
                other = Some(load_others(study, &inputs, subject, own, made, &others, limits)?);
                mark("prepare other fits", reporter);
            }
            let n_feature_trs = subject.n_feature_trs.clone();
            prepared = Some(Prepared { n_feature_trs, problem, conditioning, other });
        }
        let Some(prepared) = &prepared else { continue };
        let run = SubjectRun { study, options, split: &split, plan: &plan, others: &others };
        let solved = run.run(subject, prepared, reporter, cancel)?;
        add_stages(&mut stages, solved.1);
        let used = subject.n_voxels - solved.0.n_constant - solved.0.n_not_finite;
        let mut more = Vec::new();
        if used < subject.n_voxels {
            more.push(Warning::DeadVoxels {
                place: subject.name.clone(),
                n_constant: solved.0.n_constant,
                n_not_finite: solved.0.n_not_finite,
                n_voxels: subject.n_voxels,
            });
        }
        let edges = plan.models.iter().map(|model| model.folder()).zip(solved.0.edges.clone());
        more.extend(Warning::alpha_edges(&subject.name, edges, used));
        more.iter().for_each(|warning| reporter.warn(warning));
        warnings.extend(more);
        found.push(solved.0);
        mark(&format!("tiles {}", subject.name), reporter);
    }

    let (summary, stories) = read_tables(&options.out, &inputs, &split, &plan)?;
    let more = (&others, checked.as_ref());
    write_tables(&options.out, study, &inputs, &split, &plan, more)?;
    mark("tables", reporter);
    let named = |list: &[usize]| list.iter().map(|&s| names[s]).collect::<Vec<_>>();
    let folds: Vec<Vec<&str>> = (0..split.n_folds)
        .map(|k| {
            let mut fold = named(&split.train);
            let mut folds = split.fold_of_train.iter();
            fold.retain(|_| folds.next() == Some(&k));
            fold
        })
        .collect();
    let conditioning = prepared.map_or(Vec::new(), |prepared| prepared.conditioning);
    timings.push(("total".into(), clock.elapsed().as_secs_f64()));
    let document = json!({
        "schema": "voxelcast.run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": options.device.to_string(),
        "threads": options.n_threads,
        "seed": study.seed,
        "split": { "train": named(&split.train), "test": named(&split.test) },
        "folds": folds,
        "stability": others.splits[..others.n_random].iter().zip(1..).map(|(other, i)| json!({
            "split": i, "seed": study.seed.wrapping_add(i),
            "train": named(&other.train), "test": named(&other.test),
        })).collect::<Vec<_>>(),
        "solver": plan.models.iter().map(|m| (m.folder(), json!(m.solver))).collect::<serde_json::Map<_, _>>(),
        "warnings": warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "alignment": checked.as_ref().map(|checked| json!({
            "space": checked.space,
            "subjects": inputs.subjects.iter().zip(&checked.curves)
                .map(|(s, curve)| (s.name.clone(), json!(curve))).collect::<serde_json::Map<_, _>>(),
            "verdict": checked.verdict,
        })),
        "settings": settings_json(study),
        "alphas": study.alphas.values(),
        "n_train_trs": plan.n_train,
        "n_test_trs": plan.n_test,
        "subjects": plan.subjects.iter().map(|(s, v)| (s.clone(), json!(v))).collect::<serde_json::Map<_, _>>(),
        "spaces": space_infos(study, &words),
        "models": plan.models.iter().zip(&conditioning).map(|(model, known)| json!({
            "folder": model.folder(), "delays": model.delays, "n_features": model.n_features,
            "n_coefs": model.n_coefs, "condition": known.condition,
            "score_error": known.score_error(),
        })).collect::<Vec<_>>(),
        "voxels": inputs.subjects.iter().zip(&found)
            .map(|(s, found)| (s.name.clone(), json!(found))).collect::<serde_json::Map<_, _>>(),
        "fingerprint": fingerprint,
        "inputs": hashes,
        "timings_s": timings.iter().map(|(n, s)| (n.clone(), json!(s))).collect::<serde_json::Map<_, _>>(),
        "tile_stages_s": stages.iter().map(|(n, s)| ((*n).to_owned(), json!(s))).collect::<serde_json::Map<_, _>>(),
        "peak_memory_bytes": peak_bytes(),
    });
    write_bytes(&options.out.join("summary.csv"), csv::summary(&summary).as_bytes())?;
    write_bytes(&options.out.join("stories.csv"), csv::stories(&stories).as_bytes())?;
    write_json(&options.out.join("summary.json"), &summary)?;
    write_json(&options.out.join("run.json"), &document)?;
    let _ = fs::remove_dir_all(options.out.join(".partial"));
    write_page(&options.out)?;
    drop(lock);
    Ok(StudyResults::Finished { summary, run: Box::new(document), was_done: false })
}

/// What is prepared for subjects of equal TR counts.
struct Prepared {
    n_feature_trs: Vec<usize>,
    problem: Problem,
    conditioning: Vec<Conditioning>,
    other: Option<OtherFits>,
}

/// What every subject's tiles need of the study.
struct SubjectRun<'a> {
    study: &'a Study,
    options: &'a RunOptions,
    split: &'a Split,
    plan: &'a StudyPlan,
    others: &'a Others,
}

impl SubjectRun<'_> {
    fn run(
        &self,
        subject: &Subject,
        prepared: &Prepared,
        reporter: &dyn Reporter,
        cancel: &AtomicBool,
    ) -> Result<(SubjectFound, StageSeconds)> {
        let Self { study, options, split, plan, others } = *self;
        let Prepared { problem, other, .. } = prepared;
        // A subject that an earlier run finished: its files have their names.
        let done = options.out.join(".partial").join(format!("{}.done.json", subject.name));
        let earlier = fs::read_to_string(&done).ok();
        if let Some(found) = earlier.and_then(|text| serde_json::from_str(&text).ok()) {
            reporter.note(&format!("{}: was done before", subject.name));
            return Ok((found, StageSeconds::new()));
        }
        let (n_split_rows, n_learning_rows) = others.n_rows();
        let sizes = Sizes {
            n_voxels: subject.n_voxels,
            n_test_stories: split.test.len(),
            alphas: study.alphas.values(),
            weights: study.weights,
            statistics: &study.statistics,
            n_random: others.n_random,
            n_split_rows,
            n_learning_rows,
        };
        let sink = SubjectSink::open(&options.out, &subject.name, &plan.models, sizes)?;
        let budget = tile_budget(options, plan);
        let (device, n_threads) = (&options.device, options.n_threads);
        let (n_voxels, other) = (subject.n_voxels, other.as_ref());
        let width = tile_width(problem, device, n_voxels, n_threads, budget, other)?;
        let block = problem.settings.block_voxels;
        let missing = sink.missing(n_voxels, width, block, n_workers(device, n_threads));
        let n_missing: usize = missing.iter().map(std::ops::Range::len).sum();
        if n_missing < subject.n_voxels {
            let done = subject.n_voxels - n_missing;
            reporter.note(&format!("{}: {done} voxels were done before", subject.name));
        }
        reporter.start(&subject.name, n_missing as u64);
        let progress = |n: usize| reporter.advance(n as u64);
        let note = |text: &str| reporter.note(text);
        let run = TileRun { device, n_threads, cancel, progress: &progress, note: &note, other };
        let source = SubjectSource { subject, split };
        let stages = run_tiles(problem, &source, &sink, &missing, &run)?;
        reporter.finish();
        let found = sink.finish()?;
        write_json(&done, &found)?;
        Ok((found, stages))
    }
}

/// Memory that tiles may take: what the matrices leave, at most a gibibyte, since wider tiles gain
/// nothing.
fn tile_budget(options: &RunOptions, plan: &StudyPlan) -> usize {
    const MOST: f64 = (1u64 << 30) as f64;
    const LEAST: f64 = (64u64 << 20) as f64;
    (options.memory_bytes as f64 - plan.setup_bytes).clamp(LEAST, MOST) as usize
}

fn add_stages(total: &mut StageSeconds, more: StageSeconds) {
    if total.is_empty() {
        *total = more;
    } else {
        total.iter_mut().zip(more).for_each(|(sum, (_, seconds))| sum.1 += seconds);
    }
}
