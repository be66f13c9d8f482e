//! The study from start to end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ndarray::Array2;
use serde_json::{Value, json};

use super::alignment;
use super::fingerprint::{InputHash, combined, difference, hash_file};
use super::inputs::{Inputs, Subject, read_inputs};
use super::plan::{StudyPlan, plan};
use super::sink::{Sizes, SubjectFound, SubjectSink, read_scores};
use super::source::SubjectSource;
use super::spaces::{SpaceInfo, WordSpace, designs, word_spaces};
use super::split::{Split, split};
use crate::backend::{Block, PathSettings, Problem, Space};
use crate::design::delays::delay;
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;
use crate::pipeline::memory::peak_bytes;
use crate::pipeline::output::{write_bytes, write_json};
use crate::pipeline::reporter::Reporter;
use crate::pipeline::tiles::{StageSeconds, TileRun, run_tiles, tile_width};
use crate::report::{ScoreRow, csv};
use crate::ridge::conditioning::Conditioning;
use crate::ridge::{ModelSpec, prepare};
use crate::scoring::Summary;
use crate::study::{SpaceKind, Study};
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
    /// Device, for run.json.
    pub device: String,
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
    if let (false, Some(results)) = (options.dry_run, finished(options, &fingerprint, &hashes)?) {
        return Ok(results);
    }
    mark("hashes", reporter);

    let words = word_spaces(study, &inputs.stories, &split, &mut warnings)?;
    let mut plan = plan(study, &inputs, &split, &words, options.n_threads, options.memory_bytes)?;
    for model in &plan.models {
        reporter.step(&format!("{}: {} columns, {}", model.folder(), model.n_coefs, model.solver));
    }
    if options.dry_run {
        return Ok(StudyResults::Planned(Box::new(plan)));
    }
    mark("features", reporter);

    let checked = match study.alignment_check {
        true => alignment::check(study, &inputs, &split, &words)?,
        false => None,
    };
    let verdict = checked.as_ref().and_then(|checked| checked.verdict.as_ref());
    warnings.extend(verdict.and_then(|verdict| alignment::warning(study, verdict)));
    warnings.iter().for_each(|warning| reporter.warn(warning));
    mark("alignment", reporter);

    start_partial(options, &fingerprint)?;
    let mut prepared: Option<(Vec<usize>, Problem, Vec<Conditioning>)> = None;
    let mut is_warned = false;
    let (mut stages, mut found) = (StageSeconds::new(), Vec::new());
    for subject in &inputs.subjects {
        let same = prepared.as_ref().is_some_and(|(counts, _, _)| *counts == subject.n_feature_trs);
        if !same {
            drop(prepared.take());
            let load = |plan: &StudyPlan| -> Result<(Problem, Vec<Conditioning>)> {
                let trs = &subject.n_feature_trs;
                let made = designs(study, &inputs.stories, &words, &split, trs)?;
                load_problem(study, made, subject, &split, plan)
            };
            let (mut problem, mut conditioning) = load(&plan)?;
            if plan.avoid_squares(study, options.n_threads, options.memory_bytes, &conditioning) {
                drop(problem);
                (problem, conditioning) = load(&plan)?;
            }
            let doubt = plan.ill_conditioned(study, &conditioning).filter(|_| !is_warned);
            doubt.iter().for_each(|warning| reporter.warn(warning));
            is_warned |= doubt.is_some();
            warnings.extend(doubt);
            prepared = Some((subject.n_feature_trs.clone(), problem, conditioning));
            mark("prepare", reporter);
        }
        let Some((_, problem, _)) = &prepared else { continue };
        let solved =
            run_subject(study, options, subject, &split, problem, &plan, reporter, cancel)?;
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

    let (summary, stories) = read_tables(options, &inputs, &split, &plan)?;
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
    let conditioning = prepared.map_or(Vec::new(), |(_, _, conditioning)| conditioning);
    timings.push(("total".into(), clock.elapsed().as_secs_f64()));
    let document = json!({
        "schema": "voxelcast.run/1",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("VOXELCAST_COMMIT"),
        "device": options.device,
        "threads": options.n_threads,
        "seed": study.seed,
        "split": { "train": named(&split.train), "test": named(&split.test) },
        "folds": folds,
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
    drop(lock);
    Ok(StudyResults::Finished { summary, run: Box::new(document), was_done: false })
}

#[allow(clippy::too_many_arguments)]
fn run_subject(
    study: &Study,
    options: &RunOptions,
    subject: &Subject,
    split: &Split,
    problem: &Problem,
    plan: &StudyPlan,
    reporter: &dyn Reporter,
    cancel: &AtomicBool,
) -> Result<(SubjectFound, StageSeconds)> {
    // A subject that an earlier run finished: its files have their names.
    let done = options.out.join(".partial").join(format!("{}.done.json", subject.name));
    let earlier = fs::read_to_string(&done).ok();
    if let Some(found) = earlier.and_then(|text| serde_json::from_str(&text).ok()) {
        reporter.note(&format!("{}: was done before", subject.name));
        return Ok((found, StageSeconds::new()));
    }
    let sizes = Sizes {
        n_voxels: subject.n_voxels,
        n_test_stories: split.test.len(),
        alphas: study.alphas.values(),
        weights: study.weights,
    };
    let sink = SubjectSink::open(&options.out, &subject.name, &plan.models, sizes)?;
    let budget = tile_budget(options, plan);
    let width = tile_width(problem, subject.n_voxels, options.n_threads, budget)?;
    let missing = sink.missing(subject.n_voxels, width);
    let n_missing: usize = missing.iter().map(std::ops::Range::len).sum();
    if n_missing < subject.n_voxels {
        let done = subject.n_voxels - n_missing;
        reporter.note(&format!("{}: {done} voxels were done before", subject.name));
    }
    reporter.start(&subject.name, n_missing as u64);
    let progress = |n: usize| reporter.advance(n as u64);
    let run = TileRun { n_workers: options.n_threads, cancel, progress: &progress };
    let source = SubjectSource { subject, split };
    let stages = run_tiles(problem, &source, &sink, &missing, &run)?;
    reporter.finish();
    let found = sink.finish()?;
    write_json(&done, &found)?;
    Ok((found, stages))
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

/// Eigenproblems of every model from the designs `[space][story]` of one subject's TR counts.
fn load_problem(
    study: &Study,
    made: Vec<Vec<StoryDesign>>,
    subject: &Subject,
    split: &Split,
    plan: &StudyPlan,
) -> Result<(Problem, Vec<Conditioning>)> {
    let n_trs = subject.n_trs();
    let blocks: Vec<Block> = split
        .train
        .iter()
        .zip(&split.fold_of_train)
        .map(|(&story, &fold)| Block { fold, n_rows: n_trs[story] })
        .collect();
    let test_blocks: Vec<usize> = split.test.iter().map(|&story| n_trs[story]).collect();
    let mut spaces: Vec<Space> = Vec::new();
    let mut specs = Vec::new();
    for (index, designs) in made.into_iter().enumerate() {
        let mut designs: Vec<Option<StoryDesign>> = designs.into_iter().map(Some).collect();
        let models = || plan.models.iter().filter(|model| model.space == index);
        if models().next().is_none() {
            continue;
        }
        let mut pick = |stories: &[usize]| -> Vec<StoryDesign> {
            stories.iter().filter_map(|&story| designs[story].take()).collect()
        };
        let (train, test) = (pick(&split.train), pick(&split.test));
        if study.delays_cross_stories {
            for model in models() {
                let stacked = |designs: &[StoryDesign]| stack(designs, &model.delays);
                let space = Space {
                    delays: vec![0],
                    n_features: model.n_coefs,
                    train: stacked(&train)?,
                    test: stacked(&test)?,
                    ..Space::default()
                };
                specs.push(spec(study, spaces.len(), vec![0], model.route));
                spaces.push(space);
            }
            continue;
        }
        let mut delays: Vec<i64> = Vec::new();
        for model in models() {
            delays.extend(
                model.delays.iter().filter(|d| !delays.contains(d)).copied().collect::<Vec<_>>(),
            );
            specs.push(spec(study, spaces.len(), model.delays.clone(), model.route));
        }
        let n_features = train.first().map_or(0, StoryDesign::n_features);
        spaces.push(Space { delays, n_features, train, test, ..Space::default() });
    }
    let settings = PathSettings {
        scorer: study.scorer,
        fit_intercept: study.fit_intercept,
        alpha_tolerance: study.alpha_tolerance,
        basis_tolerance: study.basis_tolerance,
        ..PathSettings::new(study.alphas.values().to_vec())
    };
    let (problem, prepared) =
        prepare(spaces, &specs, blocks, test_blocks, split.n_folds, settings)?;
    Ok((problem, prepared.conditioning))
}

fn spec(study: &Study, space: usize, delays: Vec<i64>, route: crate::ridge::Route) -> ModelSpec {
    ModelSpec { space, delays, route, wants_coef: study.weights }
}

/// HuthLab's preset: stories stacked in their order, delayed as one, cut apart again.
fn stack(designs: &[StoryDesign], delays: &[i64]) -> Result<Vec<StoryDesign>> {
    let dense: Vec<Array2<f32>> = designs.iter().map(StoryDesign::to_dense).collect();
    let views: Vec<_> = dense.iter().map(|x| x.view()).collect();
    let joined = ndarray::concatenate(ndarray::Axis(0), &views).map_err(|e| Error::Numerical {
        what: "stacking stories".into(),
        problem: e.to_string(),
    })?;
    let delayed = delay(joined.view(), delays)?; // (n_trs of all stories, n_features * n_delays)
    let mut first = 0;
    let cut = dense.iter().map(|x| {
        let rows = delayed.slice(ndarray::s![first..first + x.nrows(), ..]);
        first += x.nrows();
        StoryDesign::Dense(rows.as_standard_layout().into_owned())
    });
    Ok(cut.collect())
}

fn read_tables(
    options: &RunOptions,
    inputs: &Inputs,
    split: &Split,
    plan: &StudyPlan,
) -> Result<(Vec<ScoreRow>, Vec<ScoreRow>)> {
    let (mut summary, mut stories) = (Vec::new(), Vec::new());
    for subject in &inputs.subjects {
        for model in &plan.models {
            let folder = options.out.join("models").join(&subject.name).join(model.folder());
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

fn space_infos(study: &Study, words: &[Option<WordSpace>]) -> Vec<SpaceInfo> {
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

/// The settings as text, without the folder they were read from.
fn settings_text(study: &Study) -> String {
    let plain = Study { folder: PathBuf::new(), ..study.clone() };
    format!("{} {plain:?}", env!("CARGO_PKG_VERSION"))
}

fn settings_json(study: &Study) -> Value {
    json!({
        "stories": study.stories, "bold": study.bold.iter().map(|(s, p)| (s.clone(), json!(p))).collect::<serde_json::Map<_, _>>(),
        "tr_s": study.tr_s, "first_tr_s": study.first_tr_s, "trim": study.trim.to_string(),
        "delays": study.delays, "variants": study.variants,
        "delay_preset": if study.delays_cross_stories { "huth-stacked" } else { "story" },
        "zscore": format!("{:?}", study.zscore).to_lowercase(),
        "lanczos_window": study.lanczos_window, "cutoff_mult": study.cutoff_mult,
        "time": format!("{:?}", study.time).to_lowercase(),
        "scorer": format!("{:?}", study.scorer).to_lowercase(),
        "fit_intercept": study.fit_intercept, "alpha_tolerance": study.alpha_tolerance,
        "basis_tolerance": study.basis_tolerance, "weights": study.weights,
    })
}

fn hash_inputs(study: &Study, inputs: &Inputs) -> Result<Vec<InputHash>> {
    let mut hashes = Vec::new();
    let mut add = |relative: &Path| -> Result<()> {
        let path = study.path(relative);
        let label = relative.display().to_string();
        if path.is_dir() {
            let mut files: Vec<PathBuf> = fs::read_dir(&path)
                .map_err(|source| Error::Read { path: path.clone(), source })?
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_file())
                .collect();
            files.sort();
            for file in files {
                let name = file.file_name().map_or(String::new(), |n| n.to_string_lossy().into());
                hashes.push(hash_file(&file, &format!("{label}/{name}"))?);
            }
        } else if path.is_file() {
            hashes.push(hash_file(&path, &label)?);
        }
        Ok(())
    };
    add(&study.stories)?;
    if let Some(respdict) = &study.respdict {
        add(respdict)?;
    }
    for space in &study.spaces {
        if let SpaceKind::Word2Vec(path) | SpaceKind::Glove(path) = &space.kind {
            add(path)?;
        }
    }
    for (subject, (_, pattern)) in inputs.subjects.iter().zip(&study.bold) {
        for (story, file) in inputs.stories.iter().zip(&subject.files) {
            hashes.push(hash_file(file.path(), &pattern.replace("{story}", &story.name))?);
        }
    }
    Ok(hashes)
}

/// The results of the same run, if it was finished before.
///
/// # Errors
/// `Error::Values` (exit 3) if the folder holds results of another run and `--force` is not given.
fn finished(
    options: &RunOptions,
    fingerprint: &str,
    hashes: &[InputHash],
) -> Result<Option<StudyResults>> {
    let path = options.out.join("run.json");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(None) };
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    if document["fingerprint"] == *fingerprint {
        let summary = fs::read_to_string(options.out.join("summary.json")).unwrap_or_default();
        if let Ok(summary) = serde_json::from_str(&summary) {
            let run = Box::new(document);
            return Ok(Some(StudyResults::Finished { summary, run, was_done: true }));
        }
        return Ok(None);
    }
    if options.force {
        let _ = fs::remove_file(&path);
        return Ok(None);
    }
    let old: Vec<InputHash> =
        serde_json::from_value(document["inputs"].clone()).unwrap_or_default();
    Err(Error::Values {
        place: options.out.display().to_string(),
        problem: format!("holds results of another run ({})", difference(&old, hashes)),
        hint: "give another --out, or --force to replace them".into(),
    })
}

/// Unfinished tiles of other settings or inputs are thrown away; those of this run are kept.
fn start_partial(options: &RunOptions, fingerprint: &str) -> Result<()> {
    let folder = options.out.join(".partial");
    let path = folder.join("fingerprint");
    if fs::read_to_string(&path).is_ok_and(|old| old == fingerprint) {
        return Ok(());
    }
    let fail = |source| Error::Write { path: folder.clone(), source };
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(fail)?;
    }
    fs::create_dir_all(&folder).map_err(fail)?;
    write_bytes(&path, fingerprint.as_bytes())
}

/// Takes the folder for this process; it is free again when the file is dropped.
fn lock_folder(out: &Path) -> Result<fs::File> {
    use std::io::{Seek, Write};
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    let path = out.join(".lock");
    let fail = |source| Error::Write { path: path.clone(), source };
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = match holder.trim() {
                "" => "another process".to_owned(),
                named => named.to_owned(),
            };
            return Err(Error::Locked { path: out.to_owned(), holder });
        }
        Err(fs::TryLockError::Error(source)) => return Err(fail(source)),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("process {} on {}\n", std::process::id(), host.trim());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(fail)?;
    Ok(file)
}
