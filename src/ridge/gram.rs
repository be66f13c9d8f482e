//! Gram matrices of delayed designs from un-delayed rows, one a fold.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatMut, MatRef, Par};
use std::ops::Range;
use std::sync::Arc;

use crate::backend::problem::LagProducts;
use crate::backend::{Block, Space};
use crate::matrix::{SparseRows, StoryDesign};

/// Σxᵀx and Σx over one fold's rows, over all delays of a space, delay-major; not centred.
#[derive(Debug, Clone)]
pub struct FoldMoments {
    /// `(n_columns, n_columns)`.
    pub gram: Mat<f64>,
    /// `(n_columns)`.
    pub sums: Vec<f64>,
    /// Rows.
    pub n_rows: usize,
}

/// Moments that are read: all columns of [`FoldMoments`], or a range of them.
#[derive(Debug, Clone, Copy)]
pub struct MomentsView<'a> {
    /// `(n_columns, n_columns)`.
    pub gram: MatRef<'a, f64>,
    /// `(n_columns)`.
    pub sums: &'a [f64],
    /// Rows.
    pub n_rows: usize,
}

impl FoldMoments {
    /// All of them.
    pub fn view(&self) -> MomentsView<'_> {
        self.columns(0..self.sums.len())
    }

    /// Those of some columns.
    pub fn columns(&self, of: Range<usize>) -> MomentsView<'_> {
        let (first, n) = (of.start, of.len());
        let gram = self.gram.submatrix(first, first, n, n);
        MomentsView { gram, sums: &self.sums[of], n_rows: self.n_rows }
    }
}

/// Moments of every fold of a space; f64 products of the f32 designs.
///
/// The Gram of delays a and b is a sum of `x[u + b − a]ᵀ x[u]` over u: it depends on b − a alone,
/// but for a few rows at each block's ends. So one d × d product is made for each *difference* of
/// delays (delays 0–4: 5 products instead of 15) and the end rows are taken off where a pair does
/// not see them. 2·n·d² flops a difference, half of it for difference 0.
pub fn fold_moments(space: &Space, blocks: &[Block], n_folds: usize, par: Par) -> Vec<FoldMoments> {
    (0..n_folds)
        .map(|fold| {
            let of_fold = |i: &usize| blocks[*i].fold == fold;
            let rows: Vec<usize> = (0..blocks.len()).filter(of_fold).collect();
            let designs: Vec<&StoryDesign> = rows.iter().map(|&i| &space.train[i]).collect();
            let known: Vec<&LagProducts> =
                rows.iter().filter_map(|&i| space.products.get(i)).map(Arc::as_ref).collect();
            let columns = space.columns.as_deref();
            moments_from(&designs, (&known, columns), space.n_features, &space.delays, par)
        })
        .collect()
}

/// Moments of some blocks together; one block's rows are f64 at a time.
pub fn moments(designs: &[&StoryDesign], d: usize, delays: &[i64], par: Par) -> FoldMoments {
    moments_from(designs, (&[], None), d, delays, par)
}

/// One block's products of rows at each difference of a space's delays; 2·n·d² flops each.
pub fn lag_products(design: &StoryDesign, d: usize, delays: &[i64], par: Par) -> LagProducts {
    let x = Doubled::new(design);
    let product = |difference: usize| {
        let mut product = Mat::zeros(d, d);
        x.add_product(difference, design.n_trs().saturating_sub(difference), product.as_mut(), par);
        product
    };
    let products = differences(&delay_pairs(delays)).into_iter().map(product).collect();
    LagProducts { products, sums: x.sums(d) }
}

/// Pairs of delays (i, j) with b − a ≥ 0, and that difference.
fn delay_pairs(delays: &[i64]) -> Vec<(usize, usize, usize)> {
    let mut pairs = Vec::new();
    for (i, &a) in delays.iter().enumerate() {
        for (j, &b) in delays.iter().enumerate().filter(|(j, b)| **b > a || *j == i) {
            pairs.push((i, j, (b - a) as usize));
        }
    }
    pairs
}

/// Each difference once, in the order of the pairs.
fn differences(pairs: &[(usize, usize, usize)]) -> Vec<usize> {
    let mut found = Vec::new();
    for &(_, _, difference) in pairs {
        if !found.contains(&difference) {
            found.push(difference);
        }
    }
    found
}

/// The same, where `known` has what [`lag_products`] gives for each design, or nothing at all.
/// `columns`: of what is known, those of the designs, in their order.
fn moments_from(
    designs: &[&StoryDesign],
    (known, columns): (&[&LagProducts], Option<&[usize]>),
    d: usize,
    delays: &[i64],
    par: Par,
) -> FoldMoments {
    let n_columns = d * delays.len();
    let mut gram = Mat::<f64>::zeros(n_columns, n_columns);
    let mut sums = vec![0.0; n_columns];
    let pairs = delay_pairs(delays);
    let n_known = known.first().map_or(d, |known| known.sums.len());
    let zeros = |difference| (difference, Mat::zeros(n_known, n_known));
    let mut wholes: Vec<(usize, Mat<f64>)> = differences(&pairs).into_iter().map(zeros).collect();
    for known in known {
        wholes.iter_mut().zip(&known.products).for_each(|((_, whole), product)| *whole += product);
    }
    if let Some(columns) = columns {
        wholes
            .iter_mut()
            .for_each(|(difference, whole)| *whole = pick(whole, *difference, columns));
    }
    // Rows at a story's ends that some pair of delays does not see, and those they are paired with.
    let n_ends = 2 * delays.iter().map(|delay| delay.unsigned_abs() as usize).max().unwrap_or(0);
    let ends: Vec<Ends> = designs.iter().map(|design| Ends::of(design, n_ends)).collect();
    for &(i, j, difference) in &pairs {
        let block = gram.as_mut().submatrix_mut(i * d, j * d, d, d);
        let (later, rows) = unseen_rows(&ends, d, (delays[i], delays[j]));
        add_outer(block, difference == 0, (later.as_ref(), rows.as_ref()), -1.0, par);
    }
    for (at, (design, ends)) in designs.iter().zip(&ends).enumerate() {
        let known = known.get(at);
        let whole_sums: Vec<f64> = match known {
            Some(known) => (0..d).map(|i| known.sums[columns.map_or(i, |c| c[i])]).collect(),
            None => {
                let x = Doubled::new(design);
                for (difference, whole) in &mut wholes {
                    let shared = ends.n_rows.saturating_sub(*difference);
                    x.add_product(*difference, shared, whole.as_mut(), par);
                }
                x.sums(d)
            }
        };
        for (&delay, sums) in delays.iter().zip(sums.chunks_exact_mut(d.max(1))) {
            let n = ends.n_rows;
            let first = (-delay).clamp(0, n as i64);
            let last = (n as i64 - delay).clamp(0, n as i64).max(first);
            sums.iter_mut().zip(&whole_sums).for_each(|(sum, all)| *sum += all);
            for row in (0..first as usize).chain(last as usize..n) {
                sums.iter_mut().zip(ends.row(row)).for_each(|(sum, value)| *sum -= value);
            }
        }
    }
    for &(i, j, difference) in &pairs {
        let whole = wholes.iter().find(|(have, _)| *have == difference).map(|(_, whole)| whole);
        let whole = whole.expect("a product for every difference");
        let mut block = gram.as_mut().submatrix_mut(i * d, j * d, d, d);
        block += whole;
        if i == j {
            mirror(block);
            continue;
        }
        let above = block.as_ref().transpose().to_owned();
        gram.as_mut().submatrix_mut(j * d, i * d, d, d).copy_from(&above);
    }
    FoldMoments { gram, sums, n_rows: designs.iter().map(|x| x.n_trs()).sum() }
}

/// Some rows and columns of a product; of difference 0 it has its lower triangle alone.
fn pick(product: &Mat<f64>, difference: usize, columns: &[usize]) -> Mat<f64> {
    let cell = |i: usize, j: usize| match (columns[i], columns[j]) {
        (i, j) if difference == 0 && i < j => product[(j, i)],
        (i, j) => product[(i, j)],
    };
    Mat::from_fn(columns.len(), columns.len(), cell)
}

/// Rows u (of the pair u + b − a, u; b ≥ a) that lie inside the block but whose delayed copies do
/// not meet in any row of it.
fn unseen(n: usize, a: i64, b: i64) -> [Range<usize>; 2] {
    let n = n as i64;
    let whole = (n - (b - a)).max(0);
    let low = (-b).clamp(0, whole);
    let high = (n - b + a.min(0)).clamp(low, whole);
    [0..low as usize, high as usize..whole as usize]
}

/// Rows at both ends of a block, as f64.
struct Ends {
    /// `(n_features, n)`: the first rows as columns, then the last ones, or all of them.
    rows: Mat<f64>,
    /// How many of them stand at the block's start.
    n_first: usize,
    /// Rows of the block.
    n_rows: usize,
}

impl Ends {
    /// `n_ends` rows at either end.
    fn of(design: &StoryDesign, n_ends: usize) -> Self {
        let n_rows = design.n_trs();
        let n_first = if n_rows > 2 * n_ends { n_ends } else { n_rows };
        let n = n_rows.min(2 * n_ends);
        let mut rows = Mat::zeros(design.n_features(), n);
        for at in 0..n {
            let t = if at < n_first { at } else { n_rows - n + at };
            let to = rows.col_as_slice_mut(at);
            match design {
                StoryDesign::Dense(x) => {
                    to.iter_mut().zip(x.row(t)).for_each(|(to, &value)| *to = f64::from(value));
                }
                StoryDesign::Sparse { rows, center } => {
                    to.iter_mut().zip(center).for_each(|(to, &c)| *to = -f64::from(c));
                    for e in rows.indptr[t]..rows.indptr[t + 1] {
                        to[rows.indices[e] as usize] += f64::from(rows.values[e]);
                    }
                }
            }
        }
        Self { rows, n_first, n_rows }
    }

    fn row(&self, t: usize) -> &[f64] {
        let n_left_out = self.n_rows - self.rows.ncols();
        self.rows.col_as_slice(if t < self.n_first { t } else { t - n_left_out })
    }
}

/// Of all blocks, the rows u + b − a and u of pairs that no row of the design sees, side by side.
fn unseen_rows(ends: &[Ends], d: usize, (a, b): (i64, i64)) -> (Mat<f64>, Mat<f64>) {
    let of_block = |ends: &'_ Ends| unseen(ends.n_rows, a, b).into_iter().flatten();
    let n = ends.iter().map(|ends| of_block(ends).count()).sum();
    let (mut later, mut rows) = (Mat::zeros(d, n), Mat::zeros(d, n));
    let pairs = ends.iter().flat_map(|ends| of_block(ends).map(move |u| (ends, u)));
    for (at, (ends, u)) in pairs.enumerate() {
        later.col_as_slice_mut(at).copy_from_slice(ends.row(u + (b - a) as usize));
        rows.col_as_slice_mut(at).copy_from_slice(ends.row(u));
    }
    (later, rows)
}

/// out += sign · left rightᵀ; its lower triangle alone if it `is_symmetric`.
fn add_outer(
    out: MatMut<'_, f64>,
    is_symmetric: bool,
    (left, right): (MatRef<'_, f64>, MatRef<'_, f64>),
    sign: f64,
    par: Par,
) {
    let right = right.transpose();
    if is_symmetric {
        let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        triangular::matmul(out, lower, Accum::Add, left, whole, right, whole, sign, par);
    } else {
        matmul(out, Accum::Add, left, right, sign, par);
    }
}

/// One block's rows, as f64 where dense.
enum Doubled<'a> {
    Dense(Mat<f64>),
    Sparse(&'a SparseRows, &'a [f32]),
}

impl<'a> Doubled<'a> {
    fn new(design: &'a StoryDesign) -> Self {
        match design {
            StoryDesign::Dense(x) => {
                // Column-major d × n: each design row is contiguous.
                Self::Dense(Mat::from_fn(x.ncols(), x.nrows(), |f, t| f64::from(x[(t, f)])))
            }
            StoryDesign::Sparse { rows, center } => Self::Sparse(rows, center),
        }
    }

    /// out += Σ x[u + difference]ᵀ x[u] over the first `n` rows u; the lower triangle alone for
    /// difference 0.
    fn add_product(&self, difference: usize, n: usize, out: MatMut<'_, f64>, par: Par) {
        if n == 0 {
            return;
        }
        match self {
            Self::Dense(x) => {
                let (left, right) = (x.as_ref().subcols(difference, n), x.as_ref().subcols(0, n));
                add_outer(out, difference == 0, (left, right), 1.0, par);
            }
            Self::Sparse(rows, center) => add_sparse_product(rows, center, difference, n, out),
        }
    }

    /// Σ of all rows.
    fn sums(&self, d: usize) -> Vec<f64> {
        let mut sums = vec![0.0; d];
        match self {
            Self::Dense(x) => {
                for row in x.col_iter() {
                    sums.iter_mut().zip(row.iter()).for_each(|(sum, &value)| *sum += value);
                }
            }
            Self::Sparse(rows, center) => {
                for (&column, &value) in rows.indices.iter().zip(&rows.values) {
                    sums[column as usize] += f64::from(value);
                }
                let n = rows.n_rows() as f64;
                sums.iter_mut().zip(*center).for_each(|(sum, &c)| *sum -= n * f64::from(c));
            }
        }
        sums
    }
}

/// As `add_product` for x = values − 1·center': Σ sᵀs − (Σ s)ᵀc − cᵀ(Σ s) + n·cᵀc.
fn add_sparse_product(
    x: &SparseRows,
    center: &[f32],
    difference: usize,
    n_pairs: usize,
    mut out: MatMut<'_, f64>,
) {
    let n = n_pairs as f64;
    let mut left_sums = vec![0.0; x.n_cols];
    let mut right_sums = vec![0.0; x.n_cols];
    let entries = |row: usize| x.indptr[row]..x.indptr[row + 1];
    for u in 0..n_pairs {
        for e in entries(u) {
            right_sums[x.indices[e] as usize] += f64::from(x.values[e]);
        }
        for e in entries(u + difference) {
            left_sums[x.indices[e] as usize] += f64::from(x.values[e]);
        }
        for r in entries(u) {
            let (column, right) = (x.indices[r] as usize, f64::from(x.values[r]));
            for l in entries(u + difference) {
                out[(x.indices[l] as usize, column)] += right * f64::from(x.values[l]);
            }
        }
    }
    let used: Vec<usize> = (0..x.n_cols)
        .filter(|&f| center[f] != 0.0 || left_sums[f] != 0.0 || right_sums[f] != 0.0)
        .collect();
    for &j in &used {
        for &i in &used {
            let (ci, cj) = (f64::from(center[i]), f64::from(center[j]));
            out[(i, j)] += n * ci * cj - left_sums[i] * cj - ci * right_sums[j];
        }
    }
}

/// Copies the lower triangle to the upper one.
pub fn mirror(mut square: MatMut<'_, f64>) {
    for j in 0..square.ncols() {
        for i in 0..j {
            square[(i, j)] = square[(j, i)];
        }
    }
}

/// Takes the columns' means off: Σxᵀx − Σxᵀ Σx / n.
pub fn center(mut gram: MatMut<'_, f64>, sums: &[f64], n_rows: usize) {
    let n = n_rows.max(1) as f64;
    for (column, right) in gram.as_mut().col_iter_mut().zip(sums) {
        let values = column.try_as_col_major_mut().map(|column| column.as_slice_mut());
        let values = values.expect("Gram matrices are made column-major");
        values.iter_mut().zip(sums).for_each(|(value, left)| *value -= left * right / n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};

    fn sparse_and_dense(n: usize, d: usize, seed: u64) -> (StoryDesign, StoryDesign) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let center: Vec<f32> = (0..d).map(|_| rng.random_range(-0.5..0.5)).collect();
        let mut rows = SparseRows { n_cols: d, indptr: vec![0], indices: vec![], values: vec![] };
        let mut dense = Array2::<f32>::zeros((n, d));
        for t in 0..n {
            for f in 0..d {
                dense[(t, f)] = -center[f];
                if rng.random_bool(0.3) {
                    let value: f32 = rng.random_range(-1.0..1.0);
                    rows.indices.push(f as u32);
                    rows.values.push(value);
                    dense[(t, f)] = value - center[f];
                }
            }
            rows.indptr.push(rows.indices.len());
        }
        (StoryDesign::Sparse { rows, center }, StoryDesign::Dense(dense))
    }

    #[test]
    fn lag_blocks_equal_the_gram_of_the_delayed_matrix() {
        for (n, d) in [(1, 1), (2, 3), (5, 2), (31, 4), (33, 7), (61, 3)] {
            for delays in
                [vec![0], vec![1, 2, 3, 4], vec![0, 1, 2, 3, 4], vec![3, 1], vec![-2, 0, 5]]
            {
                let pairs: Vec<_> = (0..3).map(|s| sparse_and_dense(n, d, s)).collect();
                let p = d * delays.len();
                let mut gram = Mat::<f64>::zeros(p, p);
                let mut sums = vec![0.0; p];
                for (_, dense) in &pairs {
                    let StoryDesign::Dense(x) = dense else { unreachable!() };
                    for t in 0..n as i64 {
                        let value = |c: usize| {
                            let u = t - delays[c / d];
                            let inside = (0..n as i64).contains(&u);
                            if inside { f64::from(x[(u as usize, c % d)]) } else { 0.0 }
                        };
                        for i in 0..p {
                            sums[i] += value(i);
                            for j in 0..p {
                                gram[(i, j)] += value(i) * value(j);
                            }
                        }
                    }
                }
                for sparse in [false, true] {
                    let designs: Vec<&StoryDesign> =
                        pairs.iter().map(|(s, x)| if sparse { s } else { x }).collect();
                    let known: Vec<LagProducts> =
                        designs.iter().map(|x| lag_products(x, d, &delays, Par::Seq)).collect();
                    let known: Vec<&LagProducts> = known.iter().collect();
                    let all = moments(&designs, d, &delays, Par::Seq);
                    let from_known = moments_from(&designs, (&known, None), d, &delays, Par::Seq);
                    let rounding = 64.0 * 3.0 * n as f64 * f64::EPSILON;
                    assert!((&from_known.gram - &all.gram).norm_max() <= rounding);
                    let found = from_known;
                    // Entries below 1.5; the sparse centre is rounded to f32 once more.
                    let bound = 3.0 * n as f64 * f64::from(f32::EPSILON) * 4.0;
                    for i in 0..p {
                        assert!((found.sums[i] - sums[i]).abs() < bound);
                        for j in 0..p {
                            let difference = (found.gram[(i, j)] - gram[(i, j)]).abs();
                            assert!(difference < bound, "{n} {d} {delays:?} {sparse} {i} {j}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn moments_of_some_columns_come_from_products_of_all() {
        let (d, delays) = (7, [1, 2, 4]);
        let columns = [6, 0, 3, 1];
        let all: Vec<_> = (0..3).map(|seed| sparse_and_dense(33, d, seed).1).collect();
        let some =
            all.iter().map(|x| StoryDesign::Dense(x.to_dense().select(ndarray::Axis(1), &columns)));
        let some: Vec<StoryDesign> = some.collect();
        let designs: Vec<&StoryDesign> = some.iter().collect();
        let known: Vec<LagProducts> =
            all.iter().map(|x| lag_products(x, d, &delays, Par::Seq)).collect();
        let known: Vec<&LagProducts> = known.iter().collect();
        let known = (&known[..], Some(&columns[..]));
        let found = moments_from(&designs, known, columns.len(), &delays, Par::Seq);
        let wanted = moments(&designs, columns.len(), &delays, Par::Seq);
        let rounding = 64.0 * 3.0 * 33.0 * f64::EPSILON;
        assert!((&found.gram - &wanted.gram).norm_max() <= rounding);
        let off = found.sums.iter().zip(&wanted.sums).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f64::max) <= rounding);
    }
}
