//! A subject's results on disk, tile by tile, so that a killed run goes on where it was.
//!
//! While a subject runs, its files grow under `.partial/SUBJECT/`; a line is added to
//! `tiles.jsonl` there after each tile's data. When all tiles are in, the files take their names
//! under `models/SUBJECT/`, and each model gets its mark (`done`).

mod join;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::models::ModelPlan;
use crate::backend::{BandSearch, ModelTile, TestTile, VoxelCounts};
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyColumnsWriter, NpyFile};
use crate::io::output::{write_json, write_or_remove};
use crate::io::safetensors::ColumnsWriter;
use crate::results::mark::{self, ModelFound, RouteTaken};
use crate::results::names::{
    BEST_ALPHA as BEST_ALPHA_FILE, CV_SCORES, JOURNAL, LEARNING_CORRELATION, MODEL, Name, P_VALUES,
    SCALARS, SIGNIFICANT, STABILITY_CORRELATION, STORY_CORRELATION,
    TEST_CORRELATION as TEST_CORRELATION_FILE, TILES_OF, WEIGHTS,
};
use crate::results::saved::SavedModel;
use crate::results::{RunFolder, read_json};
use crate::ridge::edges::AlphaEdges;
use crate::scoring::significance::{fdr_threshold, p_value, significant};
use crate::solve::tiles::{SolvedTile, TileSink, tiles};
use crate::study_file::Statistics;

/// A finished tile, one line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    start: usize,
    end: usize,
    n_constant: usize,
    n_not_finite: usize,
    models: Vec<ModelLine>,
}

/// What a tile adds to one model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct ModelLine {
    edges: AlphaEdges,
    basis_rank: usize,
    basis_error: f64,
}

/// One model's open files.
struct ModelFiles {
    folder: PathBuf,
    /// Columns of its design.
    n_coefs: usize,
    /// What the model depends on.
    fingerprint: String,
    /// How it is solved.
    route: RouteTaken,
    /// What it needs to predict.
    saved: Option<SavedModel>,
    cv_scores: NpyColumnsWriter<f32>,
    story_correlation: NpyColumnsWriter<f32>,
    /// Rows: best alpha, test correlation, p-value.
    scalars: NpyColumnsWriter<f64>,
    weights: Option<ColumnsWriter>,
    /// r of every random split: over all its test TRs, then within each of its test stories.
    stability: Option<NpyColumnsWriter<f32>>,
    /// r at every point of the learning curve.
    learning: Option<NpyColumnsWriter<f32>>,
    /// What a search over bands chose.
    search: Option<BandSearch>,
    /// Files of `mark::band_files`, in that order.
    bands: Vec<(&'static str, NpyColumnsWriter<f64>)>,
}

/// A model that is to be fitted.
pub struct ModelJob<'a> {
    /// Which.
    pub plan: &'a ModelPlan,
    /// What its numbers depend on.
    pub fingerprint: String,
    /// How it is solved.
    pub route: RouteTaken,
    /// Its search over bands.
    pub search: Option<&'a BandSearch>,
    /// What it needs beside its weights to predict, if they are wanted.
    pub saved: Option<SavedModel>,
}

/// Rows of `scalars`.
const BEST_ALPHA: usize = 0;
const TEST_CORRELATION: usize = 1;
const P_VALUE: usize = 2;
const N_SCALARS: usize = 3;

/// Where a subject's tiles go.
pub struct SubjectSink {
    models: Vec<ModelFiles>,
    partial: PathBuf,
    alphas: Vec<f64>,
    statistics: Statistics,
    n_random: usize,
    /// Voxel of the files' first column.
    first_voxel: usize,
    is_part: bool,
    /// Lines count voxels from there.
    journal: Mutex<(File, Vec<Line>)>,
}

/// Sizes of a subject's results.
#[derive(Debug, Clone, Copy)]
pub struct Sizes<'a> {
    /// The first voxel.
    pub first_voxel: usize,
    /// Voxels from there on.
    pub n_voxels: usize,
    /// They are a shard's part of the subject: what needs all voxels is left to the merge.
    pub is_part: bool,
    /// Test stories.
    pub n_test_stories: usize,
    /// The grid.
    pub alphas: &'a [f64],
    /// Write weights.
    pub weights: bool,
    /// How scores are held against chance.
    pub statistics: &'a Statistics,
    /// Other fits that are random splits; the first ones.
    pub n_random: usize,
    /// Rows of their scores.
    pub n_split_rows: usize,
    /// Rows of the learning curve's scores.
    pub n_learning_rows: usize,
}

/// Largest list of fingerprints that is read.
const MAX_BYTES: u64 = 16 << 20;

impl SubjectSink {
    /// Opens the files of a subject, those of an unfinished run of the same models included.
    ///
    /// `models`: those that are to be fitted.
    /// # Errors
    /// `Error::Write`; files of another shape.
    pub fn open(
        out: &Path,
        subject: &str,
        models: &[ModelJob<'_>],
        sizes: Sizes<'_>,
    ) -> Result<Self> {
        let run = RunFolder::at(out);
        let partial = run.partial_subject(&Name::new(subject)?);
        discard_others(&partial, models)?;
        discard_torn(&partial, models, &sizes)?;
        let mut files = Vec::new();
        for ModelJob { plan: model, fingerprint, route, search, saved } in models {
            let folder = run.model(&model.id(subject)?);
            let unfinished = partial.join(model.folder());
            for folder in [&folder, &unfinished] {
                fs::create_dir_all(folder)
                    .map_err(|source| Error::Write { path: folder.clone(), source })?;
            }
            // From here on the files of an earlier fit are replaced one by one.
            mark::unmark(&folder)?;
            let (v, n_alphas) = (sizes.n_voxels, sizes.alphas.len());
            if !sizes.weights {
                write_or_remove(&folder.join(WEIGHTS), None)?;
            }
            let weights = sizes.weights.then(|| {
                let last = folder.join(WEIGHTS);
                ColumnsWriter::resume(
                    &unfinished.join(WEIGHTS),
                    &last,
                    &[("weights", model.n_coefs), ("intercept", 1)],
                    v,
                )
            });
            let rows = |name: &str, n_rows: usize| match n_rows {
                0 => write_or_remove(&folder.join(name), None).map(|()| None),
                n_rows => resume(&unfinished, &folder, name, n_rows, v).map(Some),
            };
            let bands = model
                .band_files()
                .map(|(name, n)| resume(&unfinished, &folder, name, n, v).map(|file| (name, file)));
            files.push(ModelFiles {
                bands: bands.collect::<Result<_>>()?,
                search: search.cloned(),
                stability: rows(STABILITY_CORRELATION, sizes.n_split_rows)?,
                learning: rows(LEARNING_CORRELATION, sizes.n_learning_rows)?,
                cv_scores: resume(&unfinished, &folder, CV_SCORES, n_alphas, v)?,
                story_correlation: resume(
                    &unfinished,
                    &folder,
                    STORY_CORRELATION,
                    sizes.n_test_stories,
                    v,
                )?,
                scalars: resume(
                    &unfinished,
                    if sizes.is_part { &folder } else { &unfinished },
                    SCALARS,
                    N_SCALARS,
                    v,
                )?,
                weights: weights.transpose()?,
                n_coefs: model.n_coefs,
                fingerprint: fingerprint.clone(),
                route: route.clone(),
                saved: saved.clone(),
                folder,
            });
        }
        let path = partial.join(JOURNAL);
        let fail = |source| Error::Write { path: path.clone(), source };
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).open(&path).map_err(fail)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(fail)?;
        // A line cut short by a kill is a tile that is not done.
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n").map_err(fail)?;
        }
        let journal = Mutex::new((file, lines));
        let (alphas, statistics) = (sizes.alphas.to_vec(), sizes.statistics.clone());
        let Sizes { n_random, first_voxel, is_part, .. } = sizes;
        Ok(Self {
            models: files,
            partial,
            alphas,
            statistics,
            n_random,
            first_voxel,
            is_part,
            journal,
        })
    }

    /// Tiles of at most `width` voxels over what is not done yet. Done tiles stay as they are,
    /// whatever width they were done with.
    pub fn missing(
        &self,
        n_voxels: usize,
        width: usize,
        block_voxels: usize,
        n_workers: usize,
    ) -> Vec<Range<usize>> {
        let journal = self.journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let done = journal.1.iter().map(|line| (line.start, line.end)).collect();
        let missing = gaps(done, n_voxels, |len| tiles(len, width, block_voxels, n_workers));
        let first = self.first_voxel;
        missing.into_iter().map(|tile| first + tile.start..first + tile.end).collect()
    }

    /// A tile's data are written.
    fn add_line(&self, line: Line) -> Result<()> {
        let mut journal = self.journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        journal
            .0
            .write_all(text.as_bytes())
            .map_err(|source| Error::Write { path: self.partial.join(JOURNAL), source })?;
        journal.1.push(line);
        Ok(())
    }

    /// Throws the subject's tiles away.
    /// # Errors
    /// `Error::Write`.
    pub fn discard(self) -> Result<()> {
        fs::remove_dir_all(&self.partial)
            .map_err(|source| Error::Write { path: self.partial.clone(), source })
    }

    /// Gives every file its final name, and marks each model as done.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<()> {
        let (_, lines) =
            self.journal.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (index, model) in self.models.into_iter().enumerate() {
            if self.is_part {
                model.scalars.finish()?;
            } else {
                write_scalars(&model.folder, model.scalars, &self.statistics)?;
            }
            model.cv_scores.finish()?;
            model.story_correlation.finish()?;
            if let Some(weights) = model.weights {
                weights.finish()?;
            }
            for others in [model.stability, model.learning].into_iter().flatten() {
                others.finish()?;
            }
            let mut found = ModelFound {
                fingerprint: model.fingerprint,
                n_constant: lines.iter().map(|line| line.n_constant).sum(),
                n_not_finite: lines.iter().map(|line| line.n_not_finite).sum(),
                edges: AlphaEdges::default(),
                basis_rank: 0,
                basis_error: 0.0,
                route: model.route,
            };
            for line in lines.iter().filter_map(|line| line.models.get(index)) {
                found.edges.add(line.edges);
                found.basis_rank = found.basis_rank.max(line.basis_rank);
                found.basis_error = found.basis_error.max(line.basis_error);
            }
            for (_, file) in model.bands {
                file.finish()?;
            }
            if let Some(saved) = &model.saved {
                write_json(&model.folder.join(MODEL), saved)?;
            }
            mark::mark(&model.folder, &found)?;
        }
        fs::remove_dir_all(&self.partial)
            .map_err(|source| Error::Write { path: self.partial.clone(), source })
    }
}

/// One file for each of the scalars, and what follows from all voxels' p-values.
fn write_scalars(
    folder: &Path,
    scalars: NpyColumnsWriter<f64>,
    statistics: &Statistics,
) -> Result<()> {
    let all = npy::read_matrix_f64(scalars.partial_path())?;
    drop(scalars);
    let best: Vec<f64> = all.row(BEST_ALPHA).to_vec();
    let test: Vec<f32> = all.row(TEST_CORRELATION).iter().map(|&r| r as f32).collect();
    npy::write(&folder.join(BEST_ALPHA_FILE), &[best.len()], &best)?;
    npy::write(&folder.join(TEST_CORRELATION_FILE), &[test.len()], &test)?;
    if statistics.permutations == 0 {
        write_or_remove(&folder.join(P_VALUES), None)?;
        return write_or_remove(&folder.join(SIGNIFICANT), None);
    }
    let p: Vec<f64> = all.row(P_VALUE).to_vec();
    let found = significant(&p, fdr_threshold(&p, statistics.q));
    npy::write(&folder.join(P_VALUES), &[p.len()], &p)?;
    npy::write(&folder.join(SIGNIFICANT), &[p.len()], &found)
}

impl ModelFiles {
    /// What a banded model, or a part of a partition, has of its own.
    fn write_bands(
        &self,
        voxels: Range<usize>,
        model: &ModelTile,
        test: &TestTile,
        alphas: &[f64],
    ) -> Result<()> {
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect();
        let rows: Vec<Vec<f64>> = match &self.search {
            None => vec![wide(&test.r2)],
            Some(search) => {
                let chosen = search.chosen_alphas(model, alphas);
                vec![chosen, wide(&test.band_correlation), wide(&test.band_r2)]
            }
        };
        for ((_, file), rows) in self.bands.iter().zip(&rows) {
            file.write_columns(voxels.clone(), rows)?;
        }
        Ok(())
    }
}

/// What `cut` makes of the gaps between the `done` tiles, which do not overlap.
fn gaps(
    mut done: Vec<(usize, usize)>,
    n_voxels: usize,
    cut: impl Fn(usize) -> Vec<Range<usize>>,
) -> Vec<Range<usize>> {
    done.sort_unstable();
    done.push((n_voxels, n_voxels));
    let (mut missing, mut first) = (Vec::new(), 0);
    for (start, end) in done {
        let gap = cut(start.saturating_sub(first));
        missing.extend(gap.into_iter().map(|tile| first + tile.start..first + tile.end));
        first = first.max(end);
    }
    missing
}

/// Forgets the tiles of a subject whose files are not all there: a run that was cut while files
/// got their names (or were removed) leaves a journal of tiles whose data have moved away.
fn discard_torn(partial: &Path, models: &[ModelJob<'_>], sizes: &Sizes<'_>) -> Result<()> {
    let needed = [CV_SCORES, STORY_CORRELATION, SCALARS];
    let needed = needed
        .into_iter()
        .chain(sizes.weights.then_some(WEIGHTS))
        .chain((sizes.n_split_rows > 0).then_some(STABILITY_CORRELATION))
        .chain((sizes.n_learning_rows > 0).then_some(LEARNING_CORRELATION));
    let is_whole = models.iter().all(|model| {
        let folder = partial.join(model.plan.folder());
        let own = model.plan.band_files().map(|(name, _)| name);
        needed.clone().chain(own).all(|name| folder.join(name).is_file())
    });
    if partial.join(JOURNAL).exists() && !is_whole {
        let fail = |source| Error::Write { path: partial.to_owned(), source };
        fs::remove_dir_all(partial).map_err(fail)?;
    }
    start(partial, models)
}

/// Forgets the tiles of a subject that are of other models, or of models of other settings or
/// inputs.
fn discard_others(partial: &Path, models: &[ModelJob<'_>]) -> Result<()> {
    let earlier: Option<BTreeMap<String, String>> =
        read_json(&partial.join(TILES_OF), MAX_BYTES).ok();
    if earlier == Some(fingerprints(models)) || !partial.exists() {
        return Ok(());
    }
    fs::remove_dir_all(partial).map_err(|source| Error::Write { path: partial.to_owned(), source })
}

/// Says whose tiles will be here, before there are any.
fn start(partial: &Path, models: &[ModelJob<'_>]) -> Result<()> {
    fs::create_dir_all(partial)
        .map_err(|source| Error::Write { path: partial.to_owned(), source })?;
    write_json(&partial.join(TILES_OF), &fingerprints(models))
}

fn fingerprints(models: &[ModelJob<'_>]) -> BTreeMap<String, String> {
    models.iter().map(|model| (model.plan.folder(), model.fingerprint.clone())).collect()
}

fn resume<T: npy::Element>(
    partial: &Path,
    last: &Path,
    name: &str,
    rows: usize,
    cols: usize,
) -> Result<NpyColumnsWriter<T>> {
    NpyColumnsWriter::resume(&partial.join(name), &last.join(name), rows, cols)
}

impl TileSink for SubjectSink {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let SolvedTile { voxels, models, tests, others, counts } = tile;
        let VoxelCounts { n_not_finite, n_constant } = counts;
        let width = voxels.len();
        let voxels = voxels.start - self.first_voxel..voxels.end - self.first_voxel;
        let mut line = Line {
            start: voxels.start,
            end: voxels.end,
            n_constant,
            n_not_finite,
            models: Vec::new(),
        };
        for (index, ((files, model), test)) in self.models.iter().zip(models).zip(tests).enumerate()
        {
            let (random, points) = others.split_at(self.n_random.min(others.len()));
            if let Some(file) = &files.stability {
                let rows = random.iter().flat_map(|tests| {
                    let test = &tests[index];
                    test.correlation.iter().chain(&test.block_correlation).copied()
                });
                file.write_columns(voxels.clone(), &rows.collect::<Vec<f32>>())?;
            }
            if let Some(file) = &files.learning {
                let rows = points.iter().flat_map(|tests| tests[index].correlation.iter().copied());
                file.write_columns(voxels.clone(), &rows.collect::<Vec<f32>>())?;
            }
            files.write_bands(voxels.clone(), model, test, &self.alphas)?;
            files.cv_scores.write_columns(voxels.clone(), &model.cv_scores)?;
            files.story_correlation.write_columns(voxels.clone(), &test.block_correlation)?;
            let mut scalars = vec![f64::NAN; N_SCALARS * width];
            let mut edges = AlphaEdges::default();
            for v in 0..width {
                let r = test.correlation[v];
                scalars[TEST_CORRELATION * width + v] = f64::from(r);
                if let Some(&n) = test.n_at_least.get(v) {
                    scalars[P_VALUE * width + v] = p_value(r, n, self.statistics.permutations);
                }
                if let Some(best) = model.best[v] {
                    scalars[BEST_ALPHA * width + v] = self.alphas[best];
                    let scores = (0..self.alphas.len()).map(|a| model.cv_scores[a * width + v]);
                    edges.count(scores, best);
                }
            }
            files.scalars.write_columns(voxels.clone(), &scalars)?;
            if let Some(weights) = &files.weights {
                weights.write_columns(0, voxels.clone(), &model.coef)?;
                weights.write_columns(1, voxels.clone(), &model.intercept)?;
            }
            let (basis_rank, basis_error) = (model.basis_rank, model.basis_error);
            line.models.push(ModelLine { edges, basis_rank, basis_error });
        }
        self.add_line(line)
    }
}

/// A finished model's test scores: over all test TRs, and story by story.
/// # Errors
/// Those of the files.
pub fn read_scores(folder: &Path) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    let total = NpyFile::open(&folder.join(TEST_CORRELATION_FILE))?;
    let mut all = vec![0f32; total.n_elements()];
    let n = all.len();
    total.read_columns(0..n, 0..1, &mut all)?;
    let stories = npy::read_matrix_f32(&folder.join(STORY_CORRELATION))?;
    Ok((all, stories.rows().into_iter().map(|row| row.to_vec()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_stays_done_when_tiles_get_another_width() {
        let cut = |width| move |len| tiles(len, width, 2, 1);
        assert_eq!(gaps(vec![], 10, cut(4)), [0..2, 2..6, 6..10]);
        assert_eq!(gaps(vec![(4, 8), (0, 2)], 10, cut(8)), [2..4, 8..10]);
        assert!(gaps(vec![(0, 10)], 10, cut(4)).is_empty());
        assert_eq!(gaps(vec![(6, 10)], 10, cut(4)), [0..2, 2..6]);
    }
}
