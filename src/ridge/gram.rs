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
        let shared = x.n_rows().saturating_sub(difference);
        x.add_product(difference, 0..shared, 1.0, product.as_mut(), par);
        product
    };
    let products = differences(&delay_pairs(delays)).into_iter().map(product).collect();
    let mut sums = vec![0.0; d];
    x.add_sums(0..x.n_rows(), 1.0, &mut sums);
    LagProducts { products, sums }
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
    for (at, design) in designs.iter().enumerate() {
        let known = known.get(at);
        let x = match known {
            Some(_) => Doubled::ends(design, n_ends),
            None => Doubled::new(design),
        };
        let n = x.n_rows();
        for (difference, whole) in wholes.iter_mut().filter(|_| known.is_none()) {
            let shared = n.saturating_sub(*difference);
            x.add_product(*difference, 0..shared, 1.0, whole.as_mut(), par);
        }
        for &(i, j, difference) in &pairs {
            for range in unseen(n, delays[i], delays[j]) {
                let block = gram.as_mut().submatrix_mut(i * d, j * d, d, d);
                x.add_product(difference, range, -1.0, block, Par::Seq);
            }
        }
        for (&delay, sums) in delays.iter().zip(sums.chunks_exact_mut(d.max(1))) {
            let first = (-delay).clamp(0, n as i64);
            let last = (n as i64 - delay).clamp(0, n as i64).max(first);
            let (first, last) = (first as usize, last as usize);
            match known {
                Some(known) => {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum += known.sums[columns.map_or(i, |columns| columns[i])];
                    }
                    x.add_sums(0..first, -1.0, sums);
                    x.add_sums(last..n, -1.0, sums);
                }
                None => x.add_sums(first..last, 1.0, sums),
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

/// One block's rows, as f64 where dense.
enum Doubled<'a> {
    Dense(Mat<f64>),
    /// The first and the last rows alone, and how many there are in all.
    Ends(Mat<f64>, Mat<f64>, usize),
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

    /// Of a dense block no more than `n_ends` rows at either end.
    fn ends(design: &'a StoryDesign, n_ends: usize) -> Self {
        match design {
            StoryDesign::Dense(x) if x.nrows() > 2 * n_ends => {
                let n = x.nrows();
                let part = |first: usize| {
                    Mat::from_fn(x.ncols(), n_ends, |f, t| f64::from(x[(first + t, f)]))
                };
                Self::Ends(part(0), part(n - n_ends), n)
            }
            _ => Self::new(design),
        }
    }

    /// Some rows of a dense block, as columns.
    fn rows(&self, range: Range<usize>) -> Option<MatRef<'_, f64>> {
        match self {
            Self::Dense(x) => Some(x.as_ref().subcols(range.start, range.len())),
            Self::Ends(first, _, _) if range.end <= first.ncols() => {
                Some(first.as_ref().subcols(range.start, range.len()))
            }
            Self::Ends(_, last, n) => {
                Some(last.as_ref().subcols(range.start - (n - last.ncols()), range.len()))
            }
            Self::Sparse(..) => None,
        }
    }

    fn n_rows(&self) -> usize {
        match self {
            Self::Dense(x) => x.ncols(),
            Self::Ends(_, _, n) => *n,
            Self::Sparse(rows, _) => rows.indptr.len() - 1,
        }
    }

    /// out += sign · Σ_{u in range} x[u + difference]ᵀ x[u]; the lower triangle alone for
    /// difference 0.
    fn add_product(
        &self,
        difference: usize,
        range: Range<usize>,
        sign: f64,
        out: MatMut<'_, f64>,
        par: Par,
    ) {
        if range.is_empty() {
            return;
        }
        match self {
            Self::Dense(_) | Self::Ends(..) => {
                let later = range.start + difference..range.end + difference;
                let (Some(left), Some(right)) = (self.rows(later), self.rows(range)) else {
                    return;
                };
                if difference == 0 {
                    triangular::matmul(
                        out,
                        BlockStructure::TriangularLower,
                        Accum::Add,
                        left,
                        BlockStructure::Rectangular,
                        right.transpose(),
                        BlockStructure::Rectangular,
                        sign,
                        par,
                    );
                } else {
                    matmul(out, Accum::Add, left, right.transpose(), sign, par);
                }
            }
            Self::Sparse(rows, center) => {
                add_sparse_product(rows, center, difference, range, sign, out);
            }
        }
    }

    /// sums += sign · Σ of some rows.
    fn add_sums(&self, range: Range<usize>, sign: f64, sums: &mut [f64]) {
        match self {
            Self::Dense(_) | Self::Ends(..) => {
                let Some(rows) = self.rows(range) else { return };
                for row in rows.col_iter() {
                    for (sum, &value) in sums.iter_mut().zip(row.iter()) {
                        *sum += sign * value;
                    }
                }
            }
            Self::Sparse(rows, center) => {
                for e in rows.indptr[range.start]..rows.indptr[range.end] {
                    sums[rows.indices[e] as usize] += sign * f64::from(rows.values[e]);
                }
                for (sum, &c) in sums.iter_mut().zip(*center) {
                    *sum -= sign * range.len() as f64 * f64::from(c);
                }
            }
        }
    }
}

/// As `add_product` for x = values − 1·center': Σ sᵀs − (Σ s)ᵀc − cᵀ(Σ s) + n·cᵀc.
fn add_sparse_product(
    x: &SparseRows,
    center: &[f32],
    difference: usize,
    range: Range<usize>,
    sign: f64,
    mut out: MatMut<'_, f64>,
) {
    let n = range.len() as f64;
    let mut left_sums = vec![0.0; x.n_cols];
    let mut right_sums = vec![0.0; x.n_cols];
    let entries = |row: usize| x.indptr[row]..x.indptr[row + 1];
    for u in range {
        for e in entries(u) {
            right_sums[x.indices[e] as usize] += f64::from(x.values[e]);
        }
        for e in entries(u + difference) {
            left_sums[x.indices[e] as usize] += f64::from(x.values[e]);
        }
        for r in entries(u) {
            let (column, right) = (x.indices[r] as usize, sign * f64::from(x.values[r]));
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
            out[(i, j)] += sign * (n * ci * cj - left_sums[i] * cj - ci * right_sums[j]);
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
