//! A subject's results on disk, tile by tile, so that a killed run goes on where it was.
//!
//! While a subject runs, its files grow under `.partial/SUBJECT/`; a line is added to
//! `tiles.jsonl` there after each tile's data. When all tiles are in, the files take their names
//! under `models/SUBJECT/`.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::plan::ModelPlan;
use crate::backend::VoxelCounts;
use crate::error::{Error, Result};
use crate::io::npy::{self, NpyColumnsWriter, NpyFile};
use crate::io::safetensors::ColumnsWriter;
use crate::pipeline::output::write_or_remove;
use crate::pipeline::tiles::{SolvedTile, TileSink, tiles};
use crate::ridge::edges::AlphaEdges;
use crate::scoring::significance::{fdr_threshold, p_value, significant};
use crate::study::Statistics;

/// A finished tile, one line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Line {
    start: usize,
    end: usize,
    n_constant: usize,
    n_not_finite: usize,
    /// Per model.
    edges: Vec<AlphaEdges>,
    basis_rank: usize,
    basis_error: f64,
}

/// One model's open files.
struct ModelFiles {
    folder: PathBuf,
    cv_scores: NpyColumnsWriter<f32>,
    story_correlation: NpyColumnsWriter<f32>,
    /// Rows: best alpha, test correlation, p-value.
    scalars: NpyColumnsWriter<f64>,
    weights: Option<ColumnsWriter>,
    /// r of every random split: over all its test TRs, then within each of its test stories.
    stability: Option<NpyColumnsWriter<f32>>,
    /// r at every point of the learning curve.
    learning: Option<NpyColumnsWriter<f32>>,
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
    journal: Mutex<(File, Vec<Line>)>,
}

/// What the tiles of a subject add up to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SubjectFound {
    /// Voxels that could not be fitted.
    pub n_constant: usize,
    /// Voxels with NaN or infinities.
    pub n_not_finite: usize,
    /// Per model: voxels at the ends of the grid.
    pub edges: Vec<AlphaEdges>,
    /// Largest rank of the alpha basis.
    pub basis_rank: usize,
    /// Largest share of a path outside the alpha basis.
    pub basis_error: f64,
}

/// Sizes of a subject's results.
#[derive(Debug, Clone, Copy)]
pub struct Sizes<'a> {
    /// Voxels.
    pub n_voxels: usize,
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

/// File of the random splits' scores, and of the learning curve's.
pub const STABILITY: &str = "stability_correlation.npy";
/// See [`STABILITY`].
pub const LEARNING: &str = "learning_correlation.npy";

impl SubjectSink {
    /// Opens the files of a subject, those of an unfinished run included.
    /// # Errors
    /// `Error::Write`; files of another shape.
    pub fn open(out: &Path, subject: &str, models: &[ModelPlan], sizes: Sizes<'_>) -> Result<Self> {
        let partial = out.join(".partial").join(subject);
        discard_torn(&partial, models, &sizes)?;
        let mut files = Vec::new();
        for model in models {
            let folder = out.join("models").join(subject).join(model.folder());
            let unfinished = partial.join(model.folder());
            for folder in [&folder, &unfinished] {
                fs::create_dir_all(folder)
                    .map_err(|source| Error::Write { path: folder.clone(), source })?;
            }
            let (v, n_alphas) = (sizes.n_voxels, sizes.alphas.len());
            let weights = sizes.weights.then(|| {
                let last = folder.join("weights.safetensors");
                ColumnsWriter::resume(
                    &unfinished.join("weights.safetensors"),
                    &last,
                    &[("weights", model.n_coefs), ("intercept", 1)],
                    v,
                )
            });
            let rows = |name: &str, n_rows: usize| match n_rows {
                0 => write_or_remove(&folder.join(name), None).map(|()| None),
                n_rows => resume(&unfinished, &folder, name, n_rows, v).map(Some),
            };
            files.push(ModelFiles {
                stability: rows(STABILITY, sizes.n_split_rows)?,
                learning: rows(LEARNING, sizes.n_learning_rows)?,
                cv_scores: resume(&unfinished, &folder, "cv_scores.npy", n_alphas, v)?,
                story_correlation: resume(
                    &unfinished,
                    &folder,
                    "story_correlation.npy",
                    sizes.n_test_stories,
                    v,
                )?,
                scalars: resume(&unfinished, &unfinished, "scalars.npy", N_SCALARS, v)?,
                weights: weights.transpose()?,
                folder,
            });
        }
        let path = partial.join("tiles.jsonl");
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
        let n_random = sizes.n_random;
        Ok(Self { models: files, partial, alphas, statistics, n_random, journal })
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
        gaps(done, n_voxels, |len| tiles(len, width, block_voxels, n_workers))
    }

    /// Gives every file its final name.
    /// # Errors
    /// `Error::Write`.
    pub fn finish(self) -> Result<SubjectFound> {
        let (_, lines) =
            self.journal.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for model in self.models {
            let scalars = npy::read_matrix_f64(model.scalars.partial_path())?;
            drop(model.scalars);
            let best: Vec<f64> = scalars.row(BEST_ALPHA).to_vec();
            let test: Vec<f32> = scalars.row(TEST_CORRELATION).iter().map(|&r| r as f32).collect();
            npy::write(&model.folder.join("best_alpha.npy"), &[best.len()], &best)?;
            npy::write(&model.folder.join("test_correlation.npy"), &[test.len()], &test)?;
            if self.statistics.permutations > 0 {
                let p: Vec<f64> = scalars.row(P_VALUE).to_vec();
                let found = significant(&p, fdr_threshold(&p, self.statistics.q));
                npy::write(&model.folder.join("p_values.npy"), &[p.len()], &p)?;
                npy::write(&model.folder.join("significant.npy"), &[p.len()], &found)?;
            } else {
                write_or_remove(&model.folder.join("p_values.npy"), None)?;
                write_or_remove(&model.folder.join("significant.npy"), None)?;
            }
            model.cv_scores.finish()?;
            model.story_correlation.finish()?;
            if let Some(weights) = model.weights {
                weights.finish()?;
            }
            for others in [model.stability, model.learning].into_iter().flatten() {
                others.finish()?;
            }
        }
        fs::remove_dir_all(&self.partial)
            .map_err(|source| Error::Write { path: self.partial.clone(), source })?;
        let n_models = lines.iter().map(|line| line.edges.len()).max().unwrap_or(0);
        let mut edges = vec![AlphaEdges::default(); n_models];
        for line in &lines {
            edges.iter_mut().zip(&line.edges).for_each(|(sum, &one)| sum.add(one));
        }
        Ok(SubjectFound {
            n_constant: lines.iter().map(|line| line.n_constant).sum(),
            n_not_finite: lines.iter().map(|line| line.n_not_finite).sum(),
            edges,
            basis_rank: lines.iter().map(|line| line.basis_rank).max().unwrap_or(0),
            basis_error: lines.iter().map(|line| line.basis_error).fold(0.0, f64::max),
        })
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
fn discard_torn(partial: &Path, models: &[ModelPlan], sizes: &Sizes<'_>) -> Result<()> {
    let needed = ["cv_scores.npy", "story_correlation.npy", "scalars.npy"];
    let needed = needed
        .into_iter()
        .chain(sizes.weights.then_some("weights.safetensors"))
        .chain((sizes.n_split_rows > 0).then_some(STABILITY))
        .chain((sizes.n_learning_rows > 0).then_some(LEARNING));
    let is_whole = models.iter().all(|model| {
        let folder = partial.join(model.folder());
        needed.clone().all(|name| folder.join(name).is_file())
    });
    match partial.join("tiles.jsonl").exists() && !is_whole {
        false => Ok(()),
        true => fs::remove_dir_all(partial)
            .map_err(|source| Error::Write { path: partial.to_owned(), source }),
    }
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
        let mut line = Line {
            start: voxels.start,
            end: voxels.end,
            n_constant,
            n_not_finite,
            edges: Vec::new(),
            basis_rank: 0,
            basis_error: 0.0,
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
            line.edges.push(edges);
            line.basis_rank = line.basis_rank.max(model.basis_rank);
            line.basis_error = line.basis_error.max(model.basis_error);
        }
        let mut journal = self.journal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        journal
            .0
            .write_all(text.as_bytes())
            .map_err(|source| Error::Write { path: self.partial.join("tiles.jsonl"), source })?;
        journal.1.push(line);
        Ok(())
    }
}

/// A finished model's test scores: over all test TRs, and story by story.
/// # Errors
/// Those of the files.
pub fn read_scores(folder: &Path) -> Result<(Vec<f32>, Vec<Vec<f32>>)> {
    let total = NpyFile::open(&folder.join("test_correlation.npy"))?;
    let mut all = vec![0f32; total.n_elements()];
    let n = all.len();
    total.read_columns(0..n, 0..1, &mut all)?;
    let stories = npy::read_matrix_f32(&folder.join("story_correlation.npy"))?;
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
