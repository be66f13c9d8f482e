//! What is taken off a story's BOLD before it is fitted: drifts, confounds, its mean and scale.

use std::fmt;
use std::str::FromStr;

use pulp::Arch;

use crate::error::{Error, Result};
use crate::product::vectorized::vectorized;

/// Slow drifts that are taken off BOLD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Detrend {
    /// Mean and slope.
    Linear,
    /// Discrete cosines slower than a cutoff in Hz, as fMRIPrep's and nilearn's; the mean stays.
    Cosine(f64),
}

impl FromStr for Detrend {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let cutoff = text.strip_prefix("cosine:").map(|hz| hz.trim().parse::<f64>());
        match (text, cutoff) {
            ("linear", _) => Ok(Detrend::Linear),
            (_, Some(Ok(hz))) if hz > 0.0 && hz.is_finite() => Ok(Detrend::Cosine(hz)),
            _ => Err(Error::Usage {
                place: "detrend".into(),
                problem: format!("expected cosine:HZ or linear, got {text:?}"),
                hint: "cosine:0.01 takes off drifts slower than 100 s".into(),
            }),
        }
    }
}

impl fmt::Display for Detrend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Detrend::Linear => f.write_str("linear"),
            Detrend::Cosine(hz) => write!(f, "cosine:{hz}"),
        }
    }
}

/// Voxels that are cleaned together.
const LANES: usize = 16;
type Lanes = [f64; LANES];

/// Cleans one story's BOLD, tile by tile: what is taken off is the same for all voxels.
///
/// Equals `nilearn.signal.clean(standardize = "zscore" or False)`: confounds and cosines are centred
/// over the rows that are kept, and the voxel's part in their span goes in one least squares.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleaner {
    n_rows: usize,
    n_columns: usize,
    /// `(n_rows, n_columns)`, orthonormal columns without a mean.
    basis: Vec<f64>,
    takes_mean: bool,
    zscore: bool,
    has_own_cosines: bool,
}

impl Cleaner {
    /// Changes nothing.
    pub fn none() -> Self {
        Self::new(0, &[], &[], (None, 1.0), false)
    }

    /// The cleaner of a story whose BOLD has `n_rows` rows after the trim, of which the `kept` ones
    /// are used (in their order).
    ///
    /// `confounds`: columns of `n_rows` finite values. A column that is constant over the kept rows,
    /// or made of others, does nothing. Cosines are those of all rows; a line is one over the kept
    /// rows. Where a confound is itself such a cosine (r > 0.9) no cosines are added, as nilearn does.
    /// Cost: n_rows * n_columns² flops; cleaning takes 4 * n_rows * n_columns flops per voxel.
    pub fn new(
        n_rows: usize,
        kept: &[usize],
        confounds: &[&[f64]],
        (detrend, tr_s): (Option<Detrend>, f64),
        zscore: bool,
    ) -> Self {
        let mut drifts = match detrend {
            Some(Detrend::Cosine(hz)) => cosines(n_rows, tr_s, hz),
            _ => Vec::new(),
        };
        let is_there = |a: &Vec<f64>| confounds.iter().any(|b| correlation(a, b) > 0.9);
        let has_own_cosines = drifts.iter().any(is_there);
        if has_own_cosines {
            drifts.clear();
        }
        let takes_mean = detrend == Some(Detrend::Linear);
        let columns = confounds.iter().copied().chain(drifts.iter().map(Vec::as_slice));
        let mut columns: Vec<Vec<f64>> =
            columns.map(|column| kept.iter().map(|&row| column[row]).collect()).collect();
        if takes_mean {
            columns.push((0..kept.len()).map(|row| row as f64).collect());
        }
        let columns = orthonormal(columns);
        let mut basis = vec![0.0; kept.len() * columns.len()];
        for (j, column) in columns.iter().enumerate() {
            for (row, value) in basis.chunks_exact_mut(columns.len().max(1)).zip(column) {
                row[j] = *value;
            }
        }
        let n_columns = columns.len();
        Self { n_rows: kept.len(), n_columns, basis, takes_mean, zscore, has_own_cosines }
    }

    /// Takes off the same, and leaves each voxel its scale.
    pub fn without_zscore(self) -> Self {
        Self { zscore: false, ..self }
    }

    /// Independent columns that are taken off, the mean not counted.
    pub fn n_columns(&self) -> usize {
        self.n_columns
    }

    /// Whether the confounds hold cosines that stand in place of those asked for.
    pub fn has_own_cosines(&self) -> bool {
        self.has_own_cosines
    }

    /// Whether BOLD stays as it is.
    pub fn is_identity(&self) -> bool {
        self.n_columns == 0 && !self.takes_mean && !self.zscore
    }

    /// Bytes of the cleaner, and of what cleaning a tile of any width needs beside it.
    pub fn bytes(&self) -> usize {
        let working = (self.n_rows + self.n_columns) * LANES;
        (self.basis.len() + working) * size_of::<f64>()
    }

    /// Cleans a tile of BOLD in place: the kept rows, `(n_rows, width)` row-major.
    ///
    /// Sums in f64. z-scores divide by the population's sd; a constant voxel becomes 0. A voxel with
    /// a NaN is NaN in all rows.
    pub fn clean(&self, bold: &mut [f32], width: usize) {
        if self.is_identity() || width == 0 {
            return;
        }
        let arch = Arch::new();
        let mut rows = vec![[0f64; LANES]; self.n_rows];
        let mut parts = vec![[0f64; LANES]; self.n_columns];
        for first in (0..width).step_by(LANES) {
            load(arch, &mut rows, bold, width, first);
            let means = center(arch, &mut rows);
            if self.n_columns > 0 {
                project(arch, &mut rows, &self.basis, &mut parts);
            }
            if self.zscore || self.takes_mean {
                scale(arch, &mut rows, &means, self.zscore);
            } else {
                rows.iter_mut().for_each(|row| (0..LANES).for_each(|v| row[v] += means[v]));
            }
            store(arch, &rows, bold, width, first);
        }
    }
}

/// Discrete cosines slower than `hz`, without the constant: floor(2 n TR hz) of them, of unit norm
/// (`nilearn/glm/first_level/design_matrix.py: create_cosine_drift`).
fn cosines(n_rows: usize, tr_s: f64, hz: f64) -> Vec<Vec<f64>> {
    let n = n_rows as f64;
    if n_rows < 2 {
        return Vec::new();
    }
    // As nilearn takes it from the times of first and last row, to the last bit.
    let tr_s = ((n - 1.0) * tr_s) / (n - 1.0);
    let order = ((2.0 * n * hz * tr_s).floor() as usize).min(n_rows - 1);
    let cosine = |k: usize, row: usize| {
        (2.0 / n).sqrt() * (std::f64::consts::PI / n * (row as f64 + 0.5) * k as f64).cos()
    };
    (1..=order).map(|k| (0..n_rows).map(|row| cosine(k, row)).collect()).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a_mean, b_mean) = (crate::stats::mean(a), crate::stats::mean(b));
    let mut sums = [0f64; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - a_mean, b - b_mean);
        sums[0] += a * a;
        sums[1] += b * b;
        sums[2] += a * b;
    }
    sums[2] / (sums[0] * sums[1]).sqrt()
}

/// Share of a column's norm below which what others leave of it is rounding.
const RANK_TOLERANCE: f64 = 1e-12;

/// An orthonormal basis of what the columns span once their means are off: Gram-Schmidt, largest
/// rest first, each column orthogonalised twice.
fn orthonormal(mut columns: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    columns.retain_mut(|column| {
        let mean = crate::stats::mean(column);
        let largest = column.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        column.iter_mut().for_each(|x| *x -= mean);
        let norm = dot(column, column).sqrt();
        let varies = norm > RANK_TOLERANCE * largest * (column.len() as f64).sqrt();
        column.iter_mut().for_each(|x| *x /= norm);
        varies
    });
    let mut basis: Vec<Vec<f64>> = Vec::new();
    while !columns.is_empty() {
        let rest = |column: &Vec<f64>| dot(column, column);
        let (at, most) = columns
            .iter()
            .map(rest)
            .enumerate()
            .fold((0, -1.0), |best, (i, rest)| if rest > best.1 { (i, rest) } else { best });
        if most.sqrt() <= RANK_TOLERANCE {
            break;
        }
        let mut next = columns.swap_remove(at);
        for _ in 0..2 {
            for earlier in &basis {
                let part = dot(earlier, &next);
                next.iter_mut().zip(earlier).for_each(|(x, e)| *x -= part * e);
            }
            let norm = dot(&next, &next).sqrt();
            next.iter_mut().for_each(|x| *x /= norm);
        }
        for column in &mut columns {
            let part = dot(&next, column);
            column.iter_mut().zip(&next).for_each(|(x, e)| *x -= part * e);
        }
        basis.push(next);
    }
    basis
}

vectorized! {
    /// Takes the means off; hands them back.
    fn center<'a>(rows: &'a mut [Lanes]) -> Lanes {
        let mut means = [0f64; LANES];
        for row in rows.iter() {
            for v in 0..LANES {
                means[v] += row[v];
            }
        }
        let n = rows.len().max(1) as f64;
        for mean in &mut means {
            *mean /= n;
        }
        for row in rows.iter_mut() {
            for v in 0..LANES {
                row[v] -= means[v];
            }
        }
        means
    }
}

vectorized! {
    /// rows − Q Qᵀ rows, for `basis` Q `(n_rows, n_columns)`.
    fn project<'a>(rows: &'a mut [Lanes], basis: &'a [f64], parts: &'a mut [Lanes]) {
        let n_columns = parts.len();
        // Two columns at a time, whose sums stay in registers.
        for (first, pair) in parts.chunks_mut(2).enumerate() {
            let (mut a, mut b) = ([0f64; LANES], [0f64; LANES]);
            let (at, last) = (2 * first, pair.len() - 1);
            for (row, basis) in rows.iter().zip(basis.chunks_exact(n_columns)) {
                let (q, r) = (basis[at], basis[at + last]);
                for v in 0..LANES {
                    a[v] += q * row[v];
                    b[v] += r * row[v];
                }
            }
            pair[last] = b;
            pair[0] = a;
        }
        for (row, basis) in rows.iter_mut().zip(basis.chunks_exact(parts.len())) {
            let mut sum = [0f64; LANES];
            for (part, q) in parts.iter().zip(basis) {
                for v in 0..LANES {
                    sum[v] += q * part[v];
                }
            }
            for v in 0..LANES {
                row[v] -= sum[v];
            }
        }
    }
}

vectorized! {
    /// Some voxels of BOLD of `width`, from `first` on; zeros where it has no more.
    fn load<'a>(rows: &'a mut [Lanes], bold: &'a [f32], width: usize, first: usize) {
        for (row, from) in rows.iter_mut().zip(bold.chunks_exact(width)) {
            match from[first..].first_chunk::<LANES>() {
                Some(from) => {
                    for v in 0..LANES {
                        row[v] = f64::from(from[v]);
                    }
                }
                None => {
                    *row = [0.0; LANES];
                    row.iter_mut().zip(&from[first..]).for_each(|(row, &y)| *row = f64::from(y));
                }
            }
        }
    }
}

vectorized! {
    /// The way back.
    fn store<'a>(rows: &'a [Lanes], bold: &'a mut [f32], width: usize, first: usize) {
        for (row, to) in rows.iter().zip(bold.chunks_exact_mut(width)) {
            match to[first..].first_chunk_mut::<LANES>() {
                Some(to) => {
                    for v in 0..LANES {
                        to[v] = row[v] as f32;
                    }
                }
                None => to[first..].iter_mut().zip(row).for_each(|(to, &y)| *to = y as f32),
            }
        }
    }
}

vectorized! {
    /// Mean 0, and with `zscore` population sd 1; all 0 where nothing but rounding varies.
    fn scale<'a>(rows: &'a mut [Lanes], means_before: &'a Lanes, zscore: bool) {
        let n = rows.len().max(1) as f64;
        let mut means = [0f64; LANES];
        for row in rows.iter() {
            for v in 0..LANES {
                means[v] += row[v];
            }
        }
        for mean in &mut means {
            *mean /= n;
        }
        let mut squares = [0f64; LANES];
        for row in rows.iter_mut() {
            for v in 0..LANES {
                row[v] -= means[v];
                squares[v] += row[v] * row[v];
            }
        }
        let mut factors = [0f64; LANES];
        for v in 0..LANES {
            let sd = (squares[v] / n).sqrt();
            let rounding = 64.0 * f64::EPSILON * means_before[v].abs().max(f64::MIN_POSITIVE);
            factors[v] = match sd <= rounding {
                true => 0.0,
                false if zscore => 1.0 / sd,
                false => 1.0,
            };
        }
        for row in rows.iter_mut() {
            for v in 0..LANES {
                row[v] *= factors[v];
            }
        }
    }
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;
