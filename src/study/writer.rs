//! A subject's files of results, written tile by tile.
//!
//! While a subject runs, its files grow under `.partial/SUBJECT/`, with a [`Journal`] of the tiles
//! that are done. When all tiles are in, the files take their names under `models/SUBJECT/`, and
//! each model gets its mark.

mod join;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use blake3::Hasher;
use bytemuck::cast_slice;
use rayon::prelude::*;

use super::journal::{Journal, Tile, TileModel};
use super::models::ModelPlan;
use crate::backend::{BandSearch, ModelTile, TestTile, VoxelCounts};
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyColumnsWriter, NpyError};
use crate::io::output::{PartialFile, sync_all, sync_folder, write_json, write_or_remove};
use crate::io::safetensors::ColumnsWriter;
use crate::reporter::Reporter;
use crate::results::mark::{self, ModelFound, RouteTaken};
use crate::results::names::{
    BEST_ALPHA as BEST_ALPHA_FILE, CV_SCORES, DONE, INNER_CORRELATION, JOURNAL,
    LEARNING_CORRELATION, LEARNING_INNER_CORRELATION, MODEL, Name, P_VALUES, SCALARS, SIGNIFICANT,
    STABILITY_CORRELATION, STABILITY_INNER_CORRELATION, STORY_CORRELATION, STORY_INNER_CORRELATION,
    TEST_CORRELATION as TEST_CORRELATION_FILE, TILES_OF, WEIGHTS,
};
use crate::results::saved::SavedModel;
use crate::results::{RunFolder, read_json};
use crate::ridge::edges::AlphaEdges;
use crate::scoring::significance::{fdr_threshold, p_value, significant};
use crate::solve::tiles::{SolvedTile, TileSink, tiles};

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
    /// As `story_correlation`, over inner TRs.
    story_inner: Option<NpyColumnsWriter<f32>>,
    /// Rows: best alpha, test correlation, p-value, inner correlation.
    scalars: NpyColumnsWriter<f64>,
    weights: Option<ColumnsWriter>,
    /// Files of `Sizes::other_files` that have rows, in that order.
    others: Vec<(&'static str, NpyColumnsWriter<f32>)>,
    /// What a search over bands chose.
    search: Option<BandSearch>,
    /// Files of `ModelPlan::band_files`, in that order.
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
const INNER: usize = 3;
const N_SCALARS: usize = 4;

/// Where a subject's tiles go.
pub struct SubjectWriter {
    models: Vec<ModelFiles>,
    partial: PathBuf,
    alphas: Vec<f64>,
    tests: Tests,
    n_random: usize,
    /// Voxel of the files' first column.
    first_voxel: usize,
    is_part: bool,
    /// Its tiles count voxels from there.
    journal: Journal,
}

/// The permutation test of every voxel.
#[derive(Debug, Clone, Copy)]
pub struct Tests {
    /// Permutations; 0 for no test.
    pub permutations: usize,
    /// False discovery rate among a model's voxels.
    pub q: f64,
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
    /// They are scored without their edges too.
    pub has_inner: bool,
    /// The grid.
    pub alphas: &'a [f64],
    /// Write weights.
    pub weights: bool,
    /// How scores are held against chance.
    pub tests: Tests,
    /// Other fits that are random splits; the first ones.
    pub n_random: usize,
    /// Rows of their scores.
    pub n_split_rows: usize,
    /// Rows of the learning curve's scores.
    pub n_learning_rows: usize,
}

impl Sizes<'_> {
    /// Files of the other fits' scores, and their rows; none where there is no such file.
    fn other_files(&self) -> [(&'static str, usize); 4] {
        let inner = |n_rows| if self.has_inner { n_rows } else { 0 };
        [
            (STABILITY_CORRELATION, self.n_split_rows),
            (STABILITY_INNER_CORRELATION, inner(self.n_split_rows)),
            (LEARNING_CORRELATION, self.n_learning_rows),
            (LEARNING_INNER_CORRELATION, inner(self.n_learning_rows)),
        ]
    }
}

/// A model's rows in a file of the other fits: of random splits r over all test TRs, then within each
/// test story; of points of the learning curve r over all test TRs.
fn other_rows(
    name: &str,
    (random, points): (&[Vec<TestTile>], &[Vec<TestTile>]),
    model: usize,
) -> Vec<f32> {
    type Rows = fn(&TestTile) -> [&[f32]; 2];
    let (fits, rows): (_, Rows) = match name {
        STABILITY_CORRELATION => (random, |test| [&test.correlation, &test.block_correlation]),
        STABILITY_INNER_CORRELATION => {
            (random, |test| [&test.inner_correlation, &test.block_inner_correlation])
        }
        LEARNING_CORRELATION => (points, |test| [&test.correlation, &[]]),
        _ => (points, |test| [&test.inner_correlation, &[]]),
    };
    fits.iter().flat_map(|tests| rows(&tests[model])).flatten().copied().collect()
}

/// Largest list of fingerprints that is read.
const MAX_BYTES: u64 = 16 << 20;

impl SubjectWriter {
    /// Opens the files of a subject, those of an unfinished run of the same models included. Tiles
    /// of that run which are not on the disk as they were written are noted and done again.
    ///
    /// `models`: those that are to be fitted.
    /// # Errors
    /// `Error::Write`, `Error::Read`.
    pub fn open(
        out: &Path,
        subject: &str,
        models: &[ModelJob<'_>],
        sizes: Sizes<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Self> {
        let run = RunFolder::at(out);
        let partial = run.partial_subject(&Name::new(subject)?);
        discard_others(&partial, models)?;
        let place = (&run, subject);
        let mut files = None;
        if !is_torn(&partial, models, &sizes) {
            start(&partial, models)?;
            files = match open_models(place, &partial, models, &sizes) {
                Err(error) if is_other_file(&error) => None,
                other => Some(other?),
            };
        }
        let files = match files {
            Some(files) => files,
            None => {
                reporter.note(&format!(
                    "note: {subject}: files of the unfinished run are gone or damaged: its tiles are \
                     done again"
                ));
                remove(&partial)?;
                start(&partial, models)?;
                open_models(place, &partial, models, &sizes)?
            }
        };
        let owner = serde_json::to_string(&fingerprints(models)).unwrap_or_default();
        let is_whole = |tile: &Tile| {
            hash_tile(&files, tile.start..tile.end).is_ok_and(|hash| hash == tile.data)
        };
        let (journal, damage) =
            Journal::open(&partial.join(JOURNAL), &owner, sizes.n_voxels, &is_whole)?;
        damage.note().iter().for_each(|note| reporter.note(&format!("note: {subject}: {note}")));
        let alphas = sizes.alphas.to_vec();
        let Sizes { tests, n_random, first_voxel, is_part, .. } = sizes;
        Ok(Self { models: files, partial, alphas, tests, n_random, first_voxel, is_part, journal })
    }

    /// Tiles of at most `width` voxels over what is not done yet. Done tiles stay as they are,
    /// whatever width they were done with.
    pub fn missing_tiles(
        &self,
        n_voxels: usize,
        width: usize,
        block_voxels: usize,
        n_workers: usize,
    ) -> Vec<Range<usize>> {
        let cut = |len| tiles(len, width, block_voxels, n_workers);
        let missing = self.journal.missing_tiles(n_voxels, cut);
        let first = self.first_voxel;
        missing.into_iter().map(|tile| first + tile.start..first + tile.end).collect()
    }

    /// Throws the subject's tiles away.
    /// # Errors
    /// `Error::Write`.
    pub fn discard(self) -> Result<()> {
        remove(&self.partial)
    }

    /// Gives every file its final name, and marks each model as done.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<()> {
        let tiles = self.journal.into_tiles();
        let tests = (!self.is_part).then_some(self.tests);
        self.models
            .into_par_iter()
            .enumerate()
            .try_for_each(|(index, model)| model.finish(index, &tiles, tests))?;
        remove(&self.partial)
    }
}

/// One file for each of the scalars, and what follows from all voxels' p-values.
fn write_scalars(
    folder: &Path,
    scalars: NpyColumnsWriter<f64>,
    has_inner: bool,
    tests: Tests,
) -> Result<()> {
    let all = npy::read_matrix_f64(scalars.partial_path())?;
    drop(scalars);
    let best: Vec<f64> = all.row(BEST_ALPHA).to_vec();
    let test: Vec<f32> = all.row(TEST_CORRELATION).iter().map(|&r| r as f32).collect();
    npy::write(&folder.join(BEST_ALPHA_FILE), &[best.len()], &best)?;
    npy::write(&folder.join(TEST_CORRELATION_FILE), &[test.len()], &test)?;
    match has_inner {
        true => {
            let inner: Vec<f32> = all.row(INNER).iter().map(|&r| r as f32).collect();
            npy::write(&folder.join(INNER_CORRELATION), &[inner.len()], &inner)?;
        }
        false => write_or_remove(&folder.join(INNER_CORRELATION), None)?,
    }
    if tests.permutations == 0 {
        write_or_remove(&folder.join(P_VALUES), None)?;
        return write_or_remove(&folder.join(SIGNIFICANT), None);
    }
    let p: Vec<f64> = all.row(P_VALUE).to_vec();
    let found = significant(&p, fdr_threshold(&p, tests.q));
    npy::write(&folder.join(P_VALUES), &[p.len()], &p)?;
    npy::write(&folder.join(SIGNIFICANT), &[p.len()], &found)
}

impl ModelFiles {
    /// The unfinished files.
    fn partials(&self) -> impl Iterator<Item = &PartialFile> {
        let own =
            [self.cv_scores.partial(), self.story_correlation.partial(), self.scalars.partial()];
        let more = self.story_inner.iter().chain(self.others.iter().map(|(_, file)| file));
        own.into_iter()
            .chain(more.map(NpyColumnsWriter::partial))
            .chain(self.weights.as_ref().map(ColumnsWriter::partial))
            .chain(self.bands.iter().map(|(_, file)| file.partial()))
    }

    /// Gives the files their names and, when all have theirs, the model its mark; model `index` of
    /// the `tiles`. `tests`: none for a shard's part, whose scalars are left to the merge.
    fn finish(self, index: usize, tiles: &[Tile], tests: Option<Tests>) -> Result<()> {
        match tests {
            None => self.scalars.finish()?,
            Some(tests) => {
                write_scalars(&self.folder, self.scalars, self.story_inner.is_some(), tests)?;
            }
        }
        self.cv_scores.finish()?;
        self.story_correlation.finish()?;
        self.weights.map_or(Ok(()), ColumnsWriter::finish)?;
        for file in self.story_inner.into_iter().chain(self.others.into_iter().map(|(_, f)| f)) {
            file.finish()?;
        }
        for (_, file) in self.bands {
            file.finish()?;
        }
        if let Some(saved) = &self.saved {
            write_json(&self.folder.join(MODEL), saved)?;
        }
        let mut found = ModelFound {
            fingerprint: self.fingerprint,
            n_constant: tiles.iter().map(|tile| tile.n_constant).sum(),
            n_not_finite: tiles.iter().map(|tile| tile.n_not_finite).sum(),
            edges: AlphaEdges::default(),
            basis_rank: 0,
            basis_error: 0.0,
            route: self.route,
        };
        for tile in tiles.iter().filter_map(|tile| tile.models.get(index)) {
            found.edges.add(tile.edges);
            found.basis_rank = found.basis_rank.max(tile.basis_rank);
            found.basis_error = found.basis_error.max(tile.basis_error);
        }
        // The mark must not reach the disk before the names of the files do.
        sync_folder(&self.folder)?;
        mark::mark(&self.folder, &found)
    }

    /// What a banded model, or a part of a partition, has of its own.
    fn write_bands(
        &self,
        voxels: Range<usize>,
        model: &ModelTile,
        test: &TestTile,
        alphas: &[f64],
        hasher: &mut Hasher,
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
            write(file, &voxels, rows, hasher)?;
        }
        Ok(())
    }
}

/// Writes a tile's columns of one file, and hashes them.
fn write<T: npy::Element>(
    file: &NpyColumnsWriter<T>,
    cols: &Range<usize>,
    data: &[T],
    hasher: &mut Hasher,
) -> Result<()> {
    file.write_columns(cols.clone(), data)?;
    hasher.update(cast_slice(data));
    Ok(())
}

/// The hash of a tile's data as they are in the files: in the order in which they are written.
fn hash_tile(models: &[ModelFiles], cols: Range<usize>) -> Result<String> {
    let mut hasher = Hasher::new();
    let mut take = |bytes: &[u8]| {
        hasher.update(bytes);
    };
    for files in models {
        for (_, file) in &files.others {
            file.read_back(cols.clone(), &mut take)?;
        }
        for (_, file) in &files.bands {
            file.read_back(cols.clone(), &mut take)?;
        }
        files.cv_scores.read_back(cols.clone(), &mut take)?;
        files.story_correlation.read_back(cols.clone(), &mut take)?;
        if let Some(inner) = &files.story_inner {
            inner.read_back(cols.clone(), &mut take)?;
        }
        files.scalars.read_back(cols.clone(), &mut take)?;
        if let Some(weights) = &files.weights {
            weights.read_back(0, cols.clone(), &mut take)?;
            weights.read_back(1, cols.clone(), &mut take)?;
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// Opens the files of every model, or makes them.
fn open_models(
    (run, subject): (&RunFolder, &str),
    partial: &Path,
    models: &[ModelJob<'_>],
    sizes: &Sizes<'_>,
) -> Result<Vec<ModelFiles>> {
    let open = |job: &ModelJob<'_>| {
        let folder = run.model(&job.plan.id(subject)?);
        open_model(folder, &partial.join(job.plan.folder()), job, sizes)
    };
    models.par_iter().map(open).collect()
}

fn open_model(
    folder: PathBuf,
    unfinished: &Path,
    job: &ModelJob<'_>,
    sizes: &Sizes<'_>,
) -> Result<ModelFiles> {
    for folder in [&folder, unfinished] {
        fs::create_dir_all(folder)
            .map_err(|source| Error::Write { path: folder.to_owned(), source })?;
    }
    // From here on the files of an earlier fit are replaced one by one.
    let was_marked = folder.join(DONE).exists();
    mark::unmark(&folder)?;
    if was_marked {
        sync_folder(&folder)?;
    }
    let (v, n_alphas) = (sizes.n_voxels, sizes.alphas.len());
    if !sizes.weights {
        write_or_remove(&folder.join(WEIGHTS), None)?;
    }
    let weights = sizes.weights.then(|| {
        let tensors = [("weights", job.plan.n_coefs), ("intercept", 1)];
        ColumnsWriter::resume(&unfinished.join(WEIGHTS), &folder.join(WEIGHTS), &tensors, v)
    });
    let rows = |name: &str, n_rows: usize| match n_rows {
        0 => write_or_remove(&folder.join(name), None).map(|()| None),
        n_rows => resume(unfinished, &folder, name, n_rows, v).map(Some),
    };
    let bands = job
        .plan
        .band_files()
        .map(|(name, n)| resume(unfinished, &folder, name, n, v).map(|file| (name, file)));
    let others = sizes
        .other_files()
        .map(|(name, n_rows)| rows(name, n_rows).map(|file| file.map(|file| (name, file))));
    let others = others.into_iter().filter_map(Result::transpose);
    let n_stories = sizes.n_test_stories;
    Ok(ModelFiles {
        bands: bands.collect::<Result<_>>()?,
        search: job.search.cloned(),
        others: others.collect::<Result<_>>()?,
        cv_scores: resume(unfinished, &folder, CV_SCORES, n_alphas, v)?,
        story_correlation: resume(unfinished, &folder, STORY_CORRELATION, n_stories, v)?,
        story_inner: rows(STORY_INNER_CORRELATION, if sizes.has_inner { n_stories } else { 0 })?,
        scalars: resume(
            unfinished,
            if sizes.is_part { &folder } else { unfinished },
            SCALARS,
            N_SCALARS,
            v,
        )?,
        weights: weights.transpose()?,
        n_coefs: job.plan.n_coefs,
        fingerprint: job.fingerprint.clone(),
        route: job.route.clone(),
        saved: job.saved.clone(),
        folder,
    })
}

/// Whether an unfinished file is there but is not one that this run wrote.
fn is_other_file(error: &Error) -> bool {
    matches!(error, Error::Npy { source: NpyError::OtherPartial { .. }, .. } | Error::Shape { .. })
}

/// Whether there is a journal and not all of its files: a run that was cut while files got their
/// names, or files that were removed, leave a journal of tiles whose data have moved away.
fn is_torn(partial: &Path, models: &[ModelJob<'_>], sizes: &Sizes<'_>) -> bool {
    let needed = [CV_SCORES, STORY_CORRELATION, SCALARS];
    let needed = needed
        .into_iter()
        .chain(sizes.weights.then_some(WEIGHTS))
        .chain(sizes.has_inner.then_some(STORY_INNER_CORRELATION))
        .chain(sizes.other_files().into_iter().filter_map(|(name, n)| (n > 0).then_some(name)));
    let is_whole = models.iter().all(|model| {
        let folder = partial.join(model.plan.folder());
        let own = model.plan.band_files().map(|(name, _)| name);
        needed.clone().chain(own).all(|name| folder.join(name).is_file())
    });
    partial.join(JOURNAL).exists() && !is_whole
}

fn remove(partial: &Path) -> Result<()> {
    fs::remove_dir_all(partial).map_err(|source| Error::Write { path: partial.to_owned(), source })
}

/// Forgets the tiles of a subject that are of other models, or of models of other settings or
/// inputs.
fn discard_others(partial: &Path, models: &[ModelJob<'_>]) -> Result<()> {
    let earlier: Option<BTreeMap<String, String>> =
        read_json(&partial.join(TILES_OF), MAX_BYTES).ok();
    match earlier == Some(fingerprints(models)) || !partial.exists() {
        true => Ok(()),
        false => remove(partial),
    }
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

impl TileSink for SubjectWriter {
    fn write(&self, tile: SolvedTile<'_>) -> Result<()> {
        let SolvedTile { voxels, models, tests, others, counts } = tile;
        let VoxelCounts { n_not_finite, n_constant } = counts;
        let width = voxels.len();
        let voxels = voxels.start - self.first_voxel..voxels.end - self.first_voxel;
        let mut hasher = Hasher::new();
        let mut counts = Vec::new();
        for (index, ((files, model), test)) in self.models.iter().zip(models).zip(tests).enumerate()
        {
            for (name, file) in &files.others {
                let fits = others.split_at(self.n_random.min(others.len()));
                write(file, &voxels, &other_rows(name, fits, index), &mut hasher)?;
            }
            files.write_bands(voxels.clone(), model, test, &self.alphas, &mut hasher)?;
            write(&files.cv_scores, &voxels, &model.cv_scores, &mut hasher)?;
            write(&files.story_correlation, &voxels, &test.block_correlation, &mut hasher)?;
            if let Some(file) = &files.story_inner {
                write(file, &voxels, &test.block_inner_correlation, &mut hasher)?;
            }
            let mut scalars = vec![f64::NAN; N_SCALARS * width];
            let mut edges = AlphaEdges::default();
            for v in 0..width {
                let r = test.correlation[v];
                scalars[TEST_CORRELATION * width + v] = f64::from(r);
                if let Some(&r) = test.inner_correlation.get(v) {
                    scalars[INNER * width + v] = f64::from(r);
                }
                if let Some(&n) = test.n_at_least.get(v) {
                    scalars[P_VALUE * width + v] = p_value(r, n, self.tests.permutations);
                }
                if let Some(best) = model.best[v] {
                    scalars[BEST_ALPHA * width + v] = self.alphas[best];
                    let scores = (0..self.alphas.len()).map(|a| model.cv_scores[a * width + v]);
                    edges.count(scores, best);
                }
            }
            write(&files.scalars, &voxels, &scalars, &mut hasher)?;
            if let Some(weights) = &files.weights {
                weights.write_columns(0, voxels.clone(), &model.coef)?;
                weights.write_columns(1, voxels.clone(), &model.intercept)?;
                hasher.update(cast_slice(&model.coef)).update(cast_slice(&model.intercept));
            }
            let (basis_rank, basis_error) = (model.basis_rank, model.basis_error);
            counts.push(TileModel { edges, basis_rank, basis_error });
        }
        sync_all(&self.models.iter().flat_map(ModelFiles::partials).collect::<Vec<_>>())?;
        self.journal.add(Tile {
            start: voxels.start,
            end: voxels.end,
            n_constant,
            n_not_finite,
            models: counts,
            data: hasher.finalize().to_hex().to_string(),
        })
    }
}

#[cfg(test)]
mod tests;
