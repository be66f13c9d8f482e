//! The problem that is timed: features as slow and collinear as those of speech, voxels that
//! follow them more or less. The same values on any number of threads.

use std::ops::Range;
use std::str::FromStr;

use faer::MatRef;
use ndarray::{Array2, s};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde::Serialize;

use super::dense::multiply;
use crate::backend::{Block, Space};
use crate::error::{Error, Result};
use crate::matrix::StoryDesign;

/// What the columns of the design are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DesignKind {
    /// Delays 1 to 4 of slow features, kept as un-delayed rows as `run` keeps them.
    Lagged,
    /// The same columns as one matrix, as `ridge` is given them.
    Formed,
    /// White noise as one matrix. Its eigenvalues are nearly equal, so the alpha basis is small:
    /// cheaper than anything real.
    White,
}

impl FromStr for DesignKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "lagged" => Ok(Self::Lagged),
            "formed" => Ok(Self::Formed),
            "white" => Ok(Self::White),
            _ => Err(Error::Usage {
                place: "--design".into(),
                problem: format!("expected lagged, formed or white, got {text:?}"),
                hint: "lagged is what run solves, formed what ridge solves".into(),
            }),
        }
    }
}

/// Sizes of the problem.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BenchProblem {
    /// Training rows.
    pub n_trs: usize,
    /// Columns over all delays.
    pub n_features: usize,
    /// Voxels.
    pub n_voxels: usize,
    /// Folds.
    pub n_folds: usize,
    /// Alphas, 10^0 … 10^6.
    pub n_alphas: usize,
    /// What the columns are.
    pub design: DesignKind,
}

impl BenchProblem {
    /// Delays whose columns stand side by side: 1 to 4 where the columns divide by four.
    pub fn lags(&self) -> &'static [i64] {
        match self.design {
            DesignKind::White => &[0],
            _ if self.n_features.is_multiple_of(4) => &[1, 2, 3, 4],
            _ => &[1],
        }
    }

    /// Bytes that making the problem takes at most.
    fn bytes(&self) -> f64 {
        let (n, p, v) = (self.n_trs as f64, self.n_features as f64, self.n_voxels as f64);
        let base = (p / self.lags().len() as f64).ceil();
        let chunk = v.min(CHUNK_VOXELS as f64);
        (n * p + 2.0 * n * base + base * base + n * v + 2.0 * p * chunk) * size_of::<f32>() as f64
    }

    /// Refuses a problem that does not fit into `available_bytes`, before any of it is made.
    /// # Errors
    /// `Error::TooLarge`.
    pub fn check_memory(&self, available_bytes: u64) -> Result<()> {
        let bytes = self.bytes();
        if bytes <= available_bytes as f64 {
            return Ok(());
        }
        Err(Error::TooLarge {
            what: format!(
                "a problem of {} TRs, {} features and {} voxels",
                self.n_trs, self.n_features, self.n_voxels
            ),
            needed: format!("{:.0} MiB", bytes / f64::from(1 << 20)),
            available: format!("{} MiB", available_bytes >> 20),
            hint: "lower --trs, --features or --voxels".into(),
        })
    }

    /// Rows of each story; story i is held out with fold i mod `n_folds`.
    ///
    /// As many stories a fold, about `STORY_TRS` rows each.
    pub fn stories(&self) -> Vec<Range<usize>> {
        let n = self.n_trs.div_ceil(STORY_TRS).next_multiple_of(self.n_folds.max(1));
        (0..n).map(|i| i * self.n_trs / n..(i + 1) * self.n_trs / n).collect()
    }
}

/// Rows of a story: the mean over the 101 stories of the lab is 344.
const STORY_TRS: usize = 344;
/// Autocorrelation of neighbouring rows of a feature.
const AR1: f32 = 0.7;
/// Powers of ten between the largest and the smallest direction of the features.
const DECADES: f32 = 2.0;
/// Signal in a voxel is this times the features' sum at most; noise has sd 1.
const MAX_STRENGTH: f32 = 0.5;
/// Voxels whose weights exist at a time.
const CHUNK_VOXELS: usize = 4096;

/// The problem in memory.
#[derive(Debug)]
pub struct Synthetic {
    /// Its sizes.
    pub problem: BenchProblem,
    /// Rows of each story.
    pub stories: Vec<Range<usize>>,
    /// One un-delayed matrix a story, `(n_story_trs, n_features / n_lags)`.
    pub base: Vec<Array2<f32>>,
    /// `(n_trs, n_features)` every column, lags delay-major, zeros in front of each story.
    pub x: Array2<f32>,
    /// `(n_trs, n_voxels)` BOLD.
    pub y: Array2<f32>,
}

impl Synthetic {
    /// Makes the problem, seeded.
    ///
    /// Features: AR(1) noise mixed by a square normal matrix whose rows shrink over two decades,
    /// z-scored by story. Voxels: their random sum over all columns times a strength that is
    /// uniform in 0 … 0.5, plus noise of sd 1 and a mean of sd 1. 2·n·p·V flops.
    pub fn new(problem: BenchProblem) -> Self {
        let stories = problem.stories();
        let n_base = problem.n_features / problem.lags().len();
        let is_white = problem.design == DesignKind::White;
        let mut mix = normal(n_base * n_base, &[1]);
        for (i, row) in mix.chunks_exact_mut(n_base).enumerate() {
            let share = i as f32 / (n_base - 1).max(1) as f32;
            row.iter_mut().for_each(|m| *m *= 10f32.powf(-DECADES * share));
        }
        let base: Vec<Array2<f32>> = (stories.par_iter().enumerate())
            .map(|(story, rows)| {
                let noise = normal(rows.len() * n_base, &[2, story as u64]);
                let values =
                    if is_white { noise } else { features(noise, rows.len(), n_base, &mix) };
                Array2::from_shape_vec((rows.len(), n_base), values).expect("rows × columns")
            })
            .collect();
        let mut x = Array2::zeros((problem.n_trs, problem.n_features));
        for (rows, base) in stories.iter().zip(&base) {
            for (lag, columns) in problem.lags().iter().zip((0..).step_by(n_base)) {
                let lag = (*lag as usize).min(rows.len());
                x.slice_mut(s![rows.start + lag..rows.end, columns..columns + n_base])
                    .assign(&base.slice(s![..rows.len() - lag, ..]));
            }
        }
        let y = bold(&problem, &stories, &x);
        Self { problem, stories, base, x, y }
    }

    /// Rows and fold of each block.
    pub fn blocks(&self) -> Vec<Block> {
        let fold = |i: usize| i % self.problem.n_folds;
        let block = |(i, rows): (usize, &Range<usize>)| Block { fold: fold(i), n_rows: rows.len() };
        self.stories.iter().enumerate().map(block).collect()
    }

    /// The design as the solver is given it, without test rows.
    pub fn space(&self) -> Space {
        let (delays, n_features, train) = match self.problem.design {
            DesignKind::Lagged => {
                let lags = self.problem.lags().to_vec();
                let n_base = self.problem.n_features / lags.len();
                (lags, n_base, self.base.iter().cloned().map(StoryDesign::Dense).collect())
            }
            DesignKind::Formed | DesignKind::White => {
                let cut = |rows: &Range<usize>| {
                    StoryDesign::Dense(self.x.slice(s![rows.clone(), ..]).to_owned())
                };
                (vec![0], self.problem.n_features, self.stories.iter().map(cut).collect())
            }
        };
        Space { delays, n_features, train, ..Space::default() }
    }
}

/// Slow, mixed, z-scored columns from white noise.
fn features(mut noise: Vec<f32>, n_trs: usize, n_base: usize, mix: &[f32]) -> Vec<f32> {
    for at in n_base..noise.len() {
        noise[at] += AR1 * noise[at - n_base];
    }
    let mut out = vec![0f32; n_trs * n_base];
    let shape = (n_trs, n_base, n_base);
    let noise = MatRef::from_row_major_slice(&noise, n_trs, n_base);
    let mix = MatRef::from_row_major_slice(mix, n_base, n_base);
    multiply(&mut out, shape, false, noise, mix);
    for column in 0..n_base {
        let values = || out[column..].iter().step_by(n_base).map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / n_trs as f64;
        let sd = (values().map(|x| (x - mean).powi(2)).sum::<f64>() / n_trs as f64).sqrt();
        let scale = if sd > 0.0 { 1.0 / sd } else { 0.0 };
        for value in out[column..].iter_mut().step_by(n_base) {
            *value = ((f64::from(*value) - mean) * scale) as f32;
        }
    }
    out
}

fn bold(problem: &BenchProblem, stories: &[Range<usize>], x: &Array2<f32>) -> Array2<f32> {
    let (p, v) = (problem.n_features, problem.n_voxels);
    let x = x.as_slice().expect("made in row-major order");
    let mut y = Array2::<f32>::zeros((problem.n_trs, v));
    let mut rest = y.as_slice_mut().expect("made in row-major order");
    let mut by_story = Vec::with_capacity(stories.len());
    for rows in stories {
        let (own, others) = rest.split_at_mut(rows.len() * v);
        by_story.push(own);
        rest = others;
    }
    for (chunk, start) in (0..v).step_by(CHUNK_VOXELS).enumerate() {
        let width = CHUNK_VOXELS.min(v - start);
        let mut rng = seeded(&[3, chunk as u64]);
        let strength: Vec<f32> = (0..width)
            .map(|_| rng.random_range(0.0..MAX_STRENGTH) / (p.max(1) as f32).sqrt())
            .collect();
        let mean = normal(width, &[4, chunk as u64]);
        let weights: Vec<f32> = (0..p)
            .into_par_iter()
            .flat_map_iter(|f| normal(width, &[5, chunk as u64, f as u64]))
            .collect();
        by_story.par_iter_mut().zip(stories).enumerate().for_each(|(story, (out, rows))| {
            let n = rows.len();
            let design = MatRef::from_row_major_slice(&x[rows.start * p..rows.end * p], n, p);
            let weights = MatRef::from_row_major_slice(&weights, p, width);
            multiply(&mut out[start..], (n, width, v), false, design, weights);
            let mut rng = seeded(&[6, chunk as u64, story as u64]);
            for row in out.chunks_exact_mut(v) {
                let voxels = row[start..start + width].iter_mut().zip(&strength).zip(&mean);
                for ((y, strength), mean) in voxels {
                    let noise: f32 = rng.sample(StandardNormal);
                    *y = *y * strength + mean + noise;
                }
            }
        });
    }
    y
}

/// A generator of its own for each place that needs one.
fn seeded(place: &[u64]) -> ChaCha8Rng {
    let mix = |seed: u64, &part: &u64| seed.wrapping_mul(0x1_0000_0001).wrapping_add(part);
    let seed = place.iter().fold(214, mix);
    ChaCha8Rng::seed_from_u64(seed)
}

fn normal(n: usize, place: &[u64]) -> Vec<f32> {
    let mut rng = seeded(place);
    (0..n).map(|_| rng.sample(StandardNormal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(design: DesignKind) -> BenchProblem {
        BenchProblem { n_trs: 700, n_features: 12, n_voxels: 5, n_folds: 3, n_alphas: 4, design }
    }

    #[test]
    fn the_problem_is_the_same_on_one_thread_and_on_three() {
        let on = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| Synthetic::new(problem(DesignKind::Lagged)))
        };
        let (one, three) = (on(1), on(3));
        assert_eq!(one.x, three.x);
        assert_eq!(one.y, three.y);
    }

    #[test]
    fn lags_stay_within_stories_and_the_formed_design_is_the_lagged_one() {
        let made = Synthetic::new(problem(DesignKind::Lagged));
        assert_eq!(made.stories.len(), 3);
        for (rows, base) in made.stories.iter().zip(&made.base) {
            for t in 0..rows.len() {
                for column in 0..12 {
                    let lag = column / 3 + 1;
                    let expected = if t < lag { 0.0 } else { base[(t - lag, column % 3)] };
                    assert_eq!(made.x[(rows.start + t, column)], expected);
                }
            }
        }
        let formed = Synthetic::new(problem(DesignKind::Formed));
        assert_eq!(made.x, formed.x);
        assert_eq!(made.y, formed.y);
        assert_ne!(made.x, Synthetic::new(problem(DesignKind::White)).x);
    }

    #[test]
    fn a_problem_larger_than_the_memory_is_refused() {
        let fits = problem(DesignKind::Lagged);
        fits.check_memory(1 << 20).unwrap();
        // x, the features behind it twice, BOLD, and a chunk of weights.
        let least = 4 * (700 * 12 + 700 * 3 + 700 * 5);
        assert_eq!(fits.check_memory(least).unwrap_err().exit_code(), 3);
        let huge = BenchProblem { n_trs: usize::MAX, n_features: usize::MAX, ..fits };
        let error = huge.check_memory(u64::MAX).unwrap_err();
        assert!(error.to_string().contains("--trs"), "{error}");
    }

    #[test]
    fn every_fold_has_as_many_stories_and_all_rows_have_one() {
        for (n_trs, n_folds) in [(10, 5), (344, 2), (8000, 5), (34_786, 20)] {
            let sizes = BenchProblem { n_trs, n_folds, ..problem(DesignKind::White) };
            let stories = sizes.stories();
            assert_eq!(stories.len() % n_folds, 0);
            assert_eq!(stories.iter().map(ExactSizeIterator::len).sum::<usize>(), n_trs);
            assert!(stories.iter().all(|rows| !rows.is_empty()));
        }
    }
}
