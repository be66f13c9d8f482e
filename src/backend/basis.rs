//! A few vectors that span the ridge path over every alpha.
//!
//! b(a) = z/(λ + a) is smooth in a, and the smoother the less λ varies. So the components are cut
//! into *groups* of neighbouring eigenvalues; within one, the rows w/(λ + a) over all alphas, where
//! w is the size each component really has in the denominator (√diag M · rms z), span a space of
//! numerical rank 3 to 5, where all components together need about 16. With D̂ the rows scaled to
//! length 1 and, in each group, D̂ = U S Vᵀ, only F(uⱼ/w ∘ z) are products of the size of F: the
//! images of the group's few *slots*. F b(a) of every alpha is a combination of all images.
//!
//! Up to 24 alphas these combinations are formed and squared, row by row. More of them are
//! combinations of about 18 orthonormal ones: those are formed, and every ‖F b(a)‖² is a quadratic
//! form in their inner products.
//!
//! The rank decays with exp(−π²/log 16γ), γ the ratio of a group's eigenvalues (Beckermann,
//! Townsend 2017, SIAM J. Matrix Anal. Appl. 38: 1227, Cauchy-like matrices). What does not depend
//! on BOLD, the groups and the shape of 1/(λ + a) in each, is made once a fold ([`AlphaGroups`]);
//! a block of voxels then costs small matrices only ([`AlphaBasis::fit`]).

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};

use crate::error::{Error, Result};
use crate::product::packed::{Layout, Packed, STRIP};

/// Components below which the path itself is used: it is cheap there, and errors of a few
/// components do not average out.
const FEW_COMPONENTS: usize = 128;

/// Weights below this share of the largest count as this share: a component that seems to vanish
/// may still matter to a single voxel.
const WEIGHT_FLOOR: f64 = 1e-7;

/// Tolerances below this are met by the path itself: squared weights resolve no less.
const LEAST_TOLERANCE: f64 = 1e-6;

/// Relative error of 1/(λ + a) within a group before any voxel is seen.
const SHAPE_TOLERANCE: f64 = 1e-8;

/// Alphas up to which F b(a) is formed for each: two strips of a product.
const MOST_COMBINED: usize = 2 * STRIP;

/// A multiply-add of a product in chunks over one in f32.
const CHUNKS_COST: f64 = 0.25;

/// Pieces that groups are made of, and alphas that are looked at to make them.
const MOST_PIECES: usize = 16;
const SAMPLED_ALPHAS: usize = 16;

/// Neighbouring components and the shape of their paths: 1/(λᵢ + a) = Σₖ `shapes[i,k]` · `paths[k,a]`.
#[derive(Debug, Clone)]
pub struct Group {
    /// Which components.
    pub components: Range<usize>,
    /// `(n_components, rank)` row-major.
    shapes: Vec<f64>,
    /// `(rank, n_alphas)` row-major.
    paths: Vec<f64>,
    rank: usize,
}

/// What the cost of groups depends on.
#[derive(Debug, Clone, Copy)]
pub struct FactorShape {
    /// Rows of the factor; `None` for an upper triangle.
    pub n_rows: Option<usize>,
    /// Borders of groups are borders of its strips.
    pub layout: Layout,
}

/// The groups of one fold; none where the path itself is used.
#[derive(Debug, Clone, Default)]
pub struct AlphaGroups {
    groups: Vec<Group>,
    eigvals: Vec<f64>,
    alphas: Vec<f64>,
    tolerance: f64,
}

impl AlphaGroups {
    /// Groups for `eigvals` (decreasing) that make the path cheapest.
    ///
    /// `sizes`: `(n_components)` the size of each component that is expected in a denominator, up
    /// to a factor. `n_rows`: rows of a factor that is not triangular. `tolerance` 0 (or below
    /// 1e-6), fewer than 3 alphas or 128 components: no groups, the path itself.
    /// # Errors
    /// `Error::Numerical` if a decomposition does not converge.
    pub fn new(
        eigvals: &[f64],
        sizes: &[f64],
        factor: FactorShape,
        alphas: &[f64],
        tolerance: f64,
    ) -> Result<Self> {
        let mut made = Self {
            groups: Vec::new(),
            eigvals: eigvals.to_vec(),
            alphas: alphas.to_vec(),
            tolerance,
        };
        if tolerance < LEAST_TOLERANCE || alphas.len() < 3 || eigvals.len() < FEW_COMPONENTS {
            return Ok(made);
        }
        for components in cut(eigvals, sizes, factor, alphas, tolerance)? {
            made.groups.push(group(eigvals, components, alphas)?);
        }
        Ok(made)
    }
}

impl AlphaGroups {
    /// Most slots that a basis of these groups can have, and most scales.
    pub fn most_slots(&self) -> (usize, usize) {
        if self.groups.is_empty() {
            return (self.alphas.len(), self.alphas.len() * self.eigvals.len());
        }
        let sizes = self.groups.iter().map(|g| (g.rank, g.rank * g.components.len()));
        // The path itself is taken where no weight is left.
        let path = (self.alphas.len(), self.alphas.len() * self.eigvals.len());
        sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1)).max(path)
    }
}

/// How denominators come from a basis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// The slots are the path itself, one an alpha: their squares.
    #[default]
    Path,
    /// `combine` gives F b(a) of every alpha: their squares.
    Squares,
    /// `combine` gives fewer vectors than alphas: quadratic forms in their inner products.
    Pairs,
}

/// Vectors and coefficients of the path of one block of voxels.
#[derive(Debug, Clone, Default)]
pub struct AlphaBasis {
    /// Components of each group, and its vectors (*slots*).
    pub groups: Vec<(Range<usize>, Range<usize>)>,
    /// Slot by slot, one number for each component of its group: multiply z by these.
    pub scales: Vec<f32>,
    /// What is done with the slots' images.
    pub form: Form,
    /// `(n_alphas or fewer, n_slots)`: from the slots' images to F b(a), or to vectors that span
    /// them. Unused for `Form::Path`.
    pub combine: Packed,
    /// `(n_vectors, n_alphas)`: coefficients of the path in the combined vectors. `Form::Pairs`
    /// alone.
    pub coefficients: Vec<Vec<f64>>,
    /// `(n_alphas)`: ‖F b‖ is this times the root of the form.
    pub norms: Vec<f64>,
    /// Largest share of a row of D̂ that the basis leaves out.
    pub truncation: f64,
    /// Slots of all groups.
    pub rank: usize,
}

impl AlphaBasis {
    /// Vectors over all groups.
    pub fn n_slots(&self) -> usize {
        self.groups.last().map_or(0, |(_, slots)| slots.end)
    }

    /// The smallest basis of these groups in which every row of D̂ is represented to within the
    /// groups' tolerance, for `weights` `(n_components)`.
    ///
    /// # Errors
    /// `Error::Numerical` if a small eigenproblem does not converge.
    pub fn fit(&mut self, groups: &AlphaGroups, weights: &[f64]) -> Result<()> {
        let largest = weights.iter().fold(0.0_f64, |a, &b| a.max(b));
        if groups.groups.is_empty() || largest == 0.0 {
            self.take_path(groups);
            return Ok(());
        }
        let n_alphas = groups.alphas.len();
        let floor = largest * WEIGHT_FLOOR;
        let mut squares = vec![0.0; n_alphas];
        let mut scaled = Vec::with_capacity(groups.groups.len());
        for group in &groups.groups {
            let own = &weights[group.components.clone()];
            let gram = weighted_gram(group, own, floor);
            for (square, column) in squares.iter_mut().zip(0..) {
                *square += quadratic_form(&gram, &group.paths, group.rank, n_alphas, column);
            }
            scaled.push(gram);
        }
        self.norms.clear();
        self.norms.extend(squares.iter().map(|s| s.sqrt()));
        self.groups.clear();
        self.scales.clear();
        let mut candidates = Candidates { n_alphas, ..Candidates::default() };
        for (index, (group, gram)) in groups.groups.iter().zip(&scaled).enumerate() {
            candidates.add_group(index, group, gram, &self.norms)?;
        }
        // More alphas than are combined: half of the error is left to that step.
        let share = if n_alphas <= MOST_COMBINED { 1.0 } else { 0.5 };
        let (kept, truncation) = candidates.keep(share * groups.tolerance);
        self.truncation = truncation;
        let mut coefficients: Vec<&[f64]> = Vec::new();
        for (index, group) in groups.groups.iter().enumerate() {
            let first = self.n_slots();
            let mut n = 0;
            for &i in kept.iter().filter(|&&i| candidates.vectors[i].group == index) {
                let vector = &candidates.vectors[i].vector;
                self.scales.extend(
                    group.shapes.chunks_exact(group.rank).map(|shape| {
                        shape.iter().zip(vector).map(|(p, q)| p * q).sum::<f64>() as f32
                    }),
                );
                coefficients.push(candidates.coefficients(i));
                n += 1;
            }
            self.groups.push((group.components.clone(), first..first + n));
        }
        self.rank = self.n_slots();
        if n_alphas <= MOST_COMBINED {
            self.form = Form::Squares;
            self.combine
                .fill(Layout::Strips, n_alphas, self.rank, |a, slot| coefficients[slot][a] as f32);
            return Ok(());
        }
        self.form = Form::Pairs;
        let few = orthonormal(&coefficients, n_alphas, groups.tolerance);
        self.truncation = self.truncation.hypot(few.left_out);
        self.combine.fill(Layout::Strips, few.vectors.len(), self.rank, |j, slot| {
            few.vectors[j][slot] as f32
        });
        self.coefficients = few.coefficients;
        Ok(())
    }

    /// The path itself.
    fn take_path(&mut self, groups: &AlphaGroups) {
        let (m, n_alphas) = (groups.eigvals.len(), groups.alphas.len());
        self.scales.clear();
        for alpha in &groups.alphas {
            // Scaled by alpha, so that a squared norm stays inside f32 for any grid.
            self.scales.extend(groups.eigvals.iter().map(|l| (alpha / (l + alpha)) as f32));
        }
        self.groups = vec![(0..m, 0..n_alphas)];
        self.norms.clear();
        self.norms.extend(groups.alphas.iter().map(|alpha| 1.0 / alpha));
        (self.form, self.truncation, self.rank) = (Form::Path, 0.0, n_alphas);
    }
}

/// Σ w² shapeᵀ shape, `(rank, rank)`.
fn weighted_gram(group: &Group, weights: &[f64], floor: f64) -> Mat<f64> {
    let rank = group.rank;
    let mut rows = Mat::<f64>::zeros(rank, weights.len());
    for (i, (shape, weight)) in group.shapes.chunks_exact(rank).zip(weights).enumerate() {
        let weight = weight.max(floor);
        for (cell, s) in rows.col_as_slice_mut(i).iter_mut().zip(shape) {
            *cell = weight * s;
        }
    }
    let mut gram = Mat::<f64>::zeros(rank, rank);
    matmul(gram.as_mut(), Accum::Replace, rows.as_ref(), rows.transpose(), 1.0, Par::Seq);
    gram
}

fn quadratic_form(gram: &Mat<f64>, paths: &[f64], rank: usize, n_alphas: usize, a: usize) -> f64 {
    let path = |k: usize| paths[k * n_alphas + a];
    let row = |k: usize| (0..rank).map(|l| gram[(k, l)] * path(l)).sum::<f64>();
    (0..rank).map(|k| path(k) * row(k)).sum()
}

/// Orthonormal vectors that represent every group's D̂, before the small ones are left out.
#[derive(Default)]
struct Candidates {
    n_alphas: usize,
    vectors: Vec<Candidate>,
    /// `(n_vectors, n_alphas)`.
    coefficients: Vec<f64>,
    /// `(n_alphas)` squared share that no vector holds.
    left_out: Vec<f64>,
}

struct Candidate {
    group: usize,
    /// In coordinates of the group's shapes.
    vector: Vec<f64>,
    /// Largest squared coefficient over alphas.
    size: f64,
}

impl Candidates {
    /// The left singular vectors of a group's D̂ = W P A N⁻¹.
    ///
    /// With W P = O Lᵀ, O orthonormal and L the Cholesky factor of the weighted Gram, they are O
    /// times those of B = Lᵀ A N⁻¹, and in coordinates of P: L⁻ᵀ uⱼ.
    fn add_group(
        &mut self,
        index: usize,
        group: &Group,
        gram: &Mat<f64>,
        norms: &[f64],
    ) -> Result<()> {
        let (rank, n_alphas) = (group.rank, norms.len());
        let lower = cholesky(gram);
        let mut path = Mat::<f64>::zeros(rank, n_alphas);
        for a in 0..n_alphas {
            for k in 0..rank {
                let sum = (k..rank).map(|l| lower[(l, k)] * group.paths[l * n_alphas + a]);
                path[(k, a)] = sum.sum::<f64>() / norms[a];
            }
        }
        let mut square = Mat::<f64>::zeros(rank, rank);
        matmul(square.as_mut(), Accum::Replace, path.as_ref(), path.transpose(), 1.0, Par::Seq);
        let eigen = square.self_adjoint_eigen(Side::Lower).map_err(|e| Error::Numerical {
            what: format!("alpha basis of {} components", group.components.len()),
            problem: format!("{e:?}"),
        })?;
        let mut left: Vec<f64> =
            (0..n_alphas).map(|a| path.col_as_slice(a).iter().map(|x| x * x).sum()).collect();
        for j in (0..rank).rev() {
            let u = |k: usize| eigen.U()[(k, j)];
            let mut size = 0.0_f64;
            for (a, left) in left.iter_mut().enumerate() {
                let c: f64 = (0..rank).map(|k| u(k) * path[(k, a)]).sum();
                self.coefficients.push(c);
                *left = (*left - c * c).max(0.0);
                size = size.max(c * c);
            }
            // L'q = u, from the last row up.
            let mut vector = vec![0.0; rank];
            for k in (0..rank).rev() {
                let above: f64 = (k + 1..rank).map(|l| lower[(l, k)] * vector[l]).sum();
                vector[k] = (u(k) - above) / lower[(k, k)];
            }
            self.vectors.push(Candidate { group: index, vector, size });
        }
        self.left_out.resize(n_alphas, 0.0);
        self.left_out.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
        Ok(())
    }

    fn coefficients(&self, vector: usize) -> &[f64] {
        &self.coefficients[vector * self.n_alphas..(vector + 1) * self.n_alphas]
    }

    /// Without the smallest vectors, as many as leave out at most `tolerance` of any alpha's row;
    /// and the largest share left out. Every group keeps one.
    fn keep(&self, tolerance: f64) -> (Vec<usize>, f64) {
        let mut order: Vec<usize> = (0..self.vectors.len()).collect();
        order.sort_by(|&i, &j| self.vectors[j].size.total_cmp(&self.vectors[i].size));
        let mut in_group: Vec<usize> = Vec::new();
        for vector in &self.vectors {
            in_group.resize(in_group.len().max(vector.group + 1), 0);
            in_group[vector.group] += 1;
        }
        let mut left_out = self.left_out.clone();
        let mut kept = order.len();
        while let Some(&last) = order[..kept].last() {
            let with = || left_out.iter().zip(self.coefficients(last)).map(|(e, c)| e + c * c);
            let group = &mut in_group[self.vectors[last].group];
            if *group == 1 || with().any(|e| e > tolerance * tolerance) {
                break;
            }
            *group -= 1;
            left_out = with().collect();
            kept -= 1;
        }
        order.truncate(kept);
        order.sort_unstable();
        (order, left_out.iter().fold(0.0_f64, |a, &b| a.max(b)).sqrt())
    }
}

/// A few orthonormal vectors over the slots whose combinations are the path of every alpha.
struct Orthonormal {
    /// Each `(n_slots)`.
    vectors: Vec<Vec<f64>>,
    /// For each vector `(n_alphas)`.
    coefficients: Vec<Vec<f64>>,
    /// Largest share of an alpha's path that they leave out.
    left_out: f64,
}

/// Gram-Schmidt over alphas, always the one that is represented worst, until half of `tolerance`
/// is left.
fn orthonormal(slots: &[&[f64]], n_alphas: usize, tolerance: f64) -> Orthonormal {
    // (alpha, slot)
    let mut rest: Vec<Vec<f64>> =
        (0..n_alphas).map(|a| slots.iter().map(|slot| slot[a]).collect()).collect();
    let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
    let mut found = Orthonormal { vectors: vec![], coefficients: vec![], left_out: 0.0 };
    loop {
        let sizes = rest.iter().map(|v| square(v)).enumerate();
        let (worst, size) = sizes.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
        found.left_out = size.sqrt();
        if found.left_out <= 0.5 * tolerance || found.vectors.len() == slots.len() {
            return found;
        }
        let vector: Vec<f64> = rest[worst].iter().map(|x| x / size.sqrt()).collect();
        let project = |v: &mut Vec<f64>| {
            let c: f64 = v.iter().zip(&vector).map(|(x, q)| x * q).sum();
            v.iter_mut().zip(&vector).for_each(|(x, q)| *x -= c * q);
            c
        };
        found.coefficients.push(rest.iter_mut().map(project).collect());
        found.vectors.push(vector);
    }
}

/// L with LLᵀ = `gram` plus 1e-14 of its trace on the diagonal.
fn cholesky(gram: &Mat<f64>) -> Mat<f64> {
    let n = gram.nrows();
    let jitter = 1e-14 * (0..n).map(|i| gram[(i, i)]).sum::<f64>();
    let mut lower = Mat::<f64>::zeros(n, n);
    for j in 0..n {
        let dot =
            |lower: &Mat<f64>, i: usize| (0..j).map(|k| lower[(i, k)] * lower[(j, k)]).sum::<f64>();
        let pivot = (gram[(j, j)] + jitter - dot(&lower, j)).max(jitter);
        lower[(j, j)] = pivot.sqrt();
        for i in j + 1..n {
            lower[(i, j)] = (gram[(i, j)] - dot(&lower, i)) / lower[(j, j)];
        }
    }
    lower
}

/// The shape of 1/(λ + a) over some components.
fn group(eigvals: &[f64], components: Range<usize>, alphas: &[f64]) -> Result<Group> {
    let own = &eigvals[components.clone()];
    let n_alphas = alphas.len();
    let reference = (own[0] * own[own.len() - 1]).sqrt();
    // Entries near 1, so that errors of the decomposition are relative ones.
    let cells =
        Mat::from_fn(own.len(), n_alphas, |i, a| (reference + alphas[a]) / (own[i] + alphas[a]));
    let svd = cells.thin_svd().map_err(|e| Error::Numerical {
        what: format!("shape of the alpha path ({} components, {n_alphas} alphas)", own.len()),
        problem: format!("{e:?}"),
    })?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let least = SHAPE_TOLERANCE;
    let rank = values.iter().position(|&s| s <= least).unwrap_or(values.len()).max(1);
    let shapes =
        (0..own.len()).flat_map(|i| (0..rank).map(move |k| (i, k))).map(|(i, k)| svd.U()[(i, k)]);
    let path = |k: usize, a: usize| values[k] * svd.V()[(a, k)] / (reference + alphas[a]);
    Ok(Group {
        components,
        shapes: shapes.collect(),
        paths: (0..rank * n_alphas).map(|i| path(i / n_alphas, i % n_alphas)).collect(),
        rank,
    })
}

/// Borders of groups, by the cheapest way through pieces of equal size.
///
/// Costs in multiply-adds a voxel: of the group's vectors through the factor, and of their part in
/// the combinations.
fn cut(
    eigvals: &[f64],
    sizes: &[f64],
    factor: FactorShape,
    alphas: &[f64],
    tolerance: f64,
) -> Result<Vec<Range<usize>>> {
    let m = eigvals.len();
    let piece = m.div_ceil(MOST_PIECES).next_multiple_of(factor.layout.strip());
    let borders: Vec<usize> = (0..m).step_by(piece).chain([m]).collect();
    let n_pieces = borders.len() - 1;
    let step = alphas.len().div_ceil(SAMPLED_ALPHAS);
    let mut sampled: Vec<f64> = alphas.iter().copied().step_by(step).collect();
    sampled.extend(alphas.last().filter(|last| sampled.last() != Some(last)).copied());
    let n = sampled.len();
    let largest = sizes.iter().fold(0.0_f64, |a, &b| a.max(b));
    let floor = (largest * WEIGHT_FLOOR).max(f64::MIN_POSITIVE);
    let mut norms = vec![0.0; n];
    for (lambda, size) in eigvals.iter().zip(sizes) {
        for (norm, a) in norms.iter_mut().zip(&sampled) {
            *norm += (size.max(floor) / (lambda + a)).powi(2);
        }
    }
    norms.iter_mut().for_each(|norm: &mut f64| *norm = norm.sqrt());
    // The Gram matrix of D̂ over alphas, piece by piece.
    let grams: Vec<Mat<f64>> = borders
        .windows(2)
        .map(|ends| {
            let own = ends[0]..ends[1];
            let rows = Mat::from_fn(n, own.len(), |a, i| {
                let i = own.start + i;
                sizes[i].max(floor) / (eigvals[i] + sampled[a]) / norms[a]
            });
            let mut gram = Mat::<f64>::zeros(n, n);
            matmul(gram.as_mut(), Accum::Replace, rows.as_ref(), rows.transpose(), 1.0, Par::Seq);
            gram
        })
        .collect();
    const TYPICAL_GROUPS: f64 = 8.0;
    let allowed = tolerance / TYPICAL_GROUPS.sqrt();
    let combined = alphas.len().min(MOST_COMBINED).next_multiple_of(STRIP) as f64;
    // Combinations are made in f32, whatever makes the images.
    let product = if factor.layout == Layout::Chunks { CHUNKS_COST } else { 1.0 };
    // Cheapest cost up to each border, and the border of its last group.
    let mut best = vec![(0.0, 0)];
    for end in 1..=n_pieces {
        let mut sum = Mat::<f64>::zeros(n, n);
        let mut found = (f64::MAX, 0);
        for first in (0..end).rev() {
            sum += &grams[first];
            let rank = rank_of(&sum, allowed)?.max(1) as f64;
            let (low, high) = (borders[first] as f64, borders[end] as f64);
            let (rows, product_rows) = match factor.n_rows {
                Some(rows) => (rows as f64, rows as f64),
                None => (high, (low + high) / 2.0),
            };
            let cost = best[first].0
                + rank * ((high - low) * (product_rows * product + 2.0) + rows * combined);
            if cost < found.0 {
                found = (cost, first);
            }
        }
        best.push(found);
    }
    let mut groups = Vec::new();
    let mut end = n_pieces;
    while end > 0 {
        let first = best[end].1;
        groups.push(borders[first]..borders[end]);
        end = first;
    }
    groups.reverse();
    Ok(groups)
}

/// Vectors needed to leave out at most `allowed` of any alpha, from the Gram matrix over alphas.
fn rank_of(gram: &Mat<f64>, allowed: f64) -> Result<usize> {
    let n = gram.nrows();
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|e| Error::Numerical {
        what: format!("groups of the alpha path ({n} alphas)"),
        problem: format!("{e:?}"),
    })?;
    let mut left_out: Vec<f64> = (0..n).map(|a| gram[(a, a)]).collect();
    for (rank, j) in (0..n).rev().enumerate() {
        if left_out.iter().all(|e| *e <= allowed * allowed) {
            return Ok(rank);
        }
        let value = eigen.S()[j].max(0.0);
        for (a, left_out) in left_out.iter_mut().enumerate() {
            *left_out -= value * eigen.U()[(a, j)].powi(2);
        }
    }
    Ok(n)
}

#[cfg(test)]
mod tests;
