//! A symmetric matrix as Q B Qᵀ with B banded: ridge at any alpha in O(n · width) a voxel.
//!
//! Eigenvectors cost about 9·n³ flops, of which reducing to a band is 4/3·n³, all of it in matrix
//! products (a tridiagonal form reads the matrix once a column). Where few voxels are solved, a band
//! is enough: (G + a)⁻¹ = Q (B + a)⁻¹ Qᵀ, and Q stays a product of reflections.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as q_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_q,
    apply_block_householder_sequence_transpose_on_the_left_in_place_scratch as q_transposed_scratch,
    apply_block_householder_sequence_transpose_on_the_left_in_place_with_conj as apply_q_transposed,
};
use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch};
use faer::linalg::triangular_solve::solve_upper_triangular_in_place;
use faer::prelude::IntoConst;
use faer::traits::ComplexField;
use faer::{Accum, Conj, Mat, MatMut, MatRef, Par};

use crate::error::{Error, Result};

/// Entries of B on either side of its diagonal: 16 make the products half as quick, 32 hardly quicker,
/// and a voxel's systems cost as much as this is large.
const WIDTH: usize = 24;

/// Columns of the symmetric matrix whose lower triangle is multiplied at a time.
const BLOCK: usize = 128;

/// Columns that all reflections pass before the next: 1,600 rows of 512 columns stay near the core
/// (turning a whole square of that size takes a fifth longer; 128 to 512 columns are alike).
const COLUMNS: usize = 512;

/// Q B Qᵀ of a symmetric matrix.
#[derive(Debug)]
pub struct BandForm {
    /// Entries beside the diagonal, on either side.
    width: usize,
    /// `(width + 1, n)`: row d holds B[i + d, i], column by column.
    band: Mat<f64>,
    /// `(n, n)`: reflections below the band.
    reflections: Mat<f64>,
    /// `(width, n − width)`: their block factors.
    blocks: Mat<f64>,
}

/// The Cholesky factor of B + a: L Lᵀ, as L's columns below the diagonal over the diagonal.
#[derive(Debug, Default)]
pub struct BandFactor {
    /// Column by column: 1/L[i, i], then L[i + 1, i] … L[i + width, i].
    columns: Vec<f64>,
    width: usize,
}

impl BandForm {
    /// Of a matrix whose lower triangle is read; 4/3·n³ flops.
    /// # Errors
    /// `Error::Numerical` if the matrix is not finite.
    pub fn new(symmetric: Mat<f64>, par: Par) -> Result<Self> {
        Self::of_width(symmetric, WIDTH, par)
    }

    /// As [`BandForm::new`], with `width` entries beside the diagonal, at least one.
    fn of_width(mut a: Mat<f64>, width: usize, par: Par) -> Result<Self> {
        let n = a.nrows();
        let width = width.min(n.saturating_sub(1)).max(1);
        let mut blocks = Mat::zeros(width, n.saturating_sub(width));
        let mut scratch = Scratch::new(n, width, par);
        for first in (0..n.saturating_sub(width)).step_by(width) {
            reduce_panel(a.as_mut(), blocks.as_mut(), first, &mut scratch, par);
        }
        let inside = |i: usize, d: usize| if i + d < n { a[(i + d, i)] } else { 0.0 };
        let band = Mat::from_fn(width + 1, n, |d, i| inside(i, d));
        if band.col_iter().any(|column| column.iter().any(|value| !value.is_finite())) {
            return Err(Error::Numerical {
                what: format!("band form of a Gram matrix ({n} × {n})"),
                problem: "not finite".into(),
            });
        }
        Ok(Self { width, band, reflections: a, blocks })
    }

    /// Rows of the matrix.
    pub fn n(&self) -> usize {
        self.band.ncols()
    }

    fn basis(&self) -> MatRef<'_, f64> {
        let n = self.blocks.ncols();
        self.reflections.submatrix(self.n() - n, 0, n, n)
    }

    /// Qᵀ x in place of x `(n, _)`; 2·n² flops a column.
    pub fn enter(&self, x: MatMut<'_, f64>, par: Par) {
        reflect((self.basis(), self.blocks.as_ref()), x, true, par);
    }

    /// Qᵀ x of x `(n, _)`, all of it in f32: for what is rounded to f32 anyway.
    ///
    /// The reflections of a panel round a column once each: an entry is off by about
    /// ε₃₂ · √(n / width) · ‖column‖ / √n.
    pub fn enter_single(&self, x: MatRef<'_, f64>, par: Par) -> Mat<f32> {
        let mut x = single(x);
        let (basis, blocks) = (single(self.basis()), single(self.blocks.as_ref()));
        reflect((basis.as_ref(), blocks.as_ref()), x.as_mut(), true, par);
        x
    }

    /// Q x in place of x `(n, _)`; 2·n² flops a column.
    pub fn leave(&self, x: MatMut<'_, f64>, par: Par) {
        reflect((self.basis(), self.blocks.as_ref()), x, false, par);
    }

    /// The factor of B + alpha into `factor`, n·width² flops; false where it is not positive
    /// definite.
    #[inline(always)]
    pub fn factor(&self, alpha: f64, factor: &mut BandFactor) -> bool {
        self.cholesky(1.0, alpha, factor)
    }

    /// Whether sign · B + shift is positive definite; its factor.
    #[inline(always)]
    fn cholesky(&self, sign: f64, shift: f64, factor: &mut BandFactor) -> bool {
        let (n, stride) = (self.n(), self.width + 1);
        factor.width = self.width;
        factor.columns.clear();
        factor.columns.extend((0..n).flat_map(|i| self.band.col_as_slice(i)).map(|b| sign * b));
        for i in 0..n {
            factor.columns[i * stride] += shift;
        }
        for i in 0..n {
            let (done, rest) = factor.columns.split_at_mut((i + 1) * stride);
            let column = &mut done[i * stride..];
            if column[0] <= 0.0 || !column[0].is_finite() {
                return false;
            }
            let inverse = 1.0 / column[0].sqrt();
            column[0] = inverse;
            column[1..].iter_mut().for_each(|value| *value *= inverse);
            let below = &column[1..self.width.min(n - 1 - i) + 1];
            for (j, next) in rest.chunks_exact_mut(stride).take(below.len()).enumerate() {
                let scale = below[j];
                next.iter_mut().zip(&below[j..]).for_each(|(to, value)| *to -= scale * value);
            }
        }
        true
    }

    /// The largest eigenvalue, from above and at most 1 % too large.
    pub fn largest(&self) -> f64 {
        let n = self.n();
        let mut sums = vec![0.0; n];
        for i in 0..n {
            let column = self.band.col_as_slice(i);
            sums[i] += column[0].abs();
            for (d, value) in column.iter().enumerate().skip(1).filter(|(d, _)| i + d < n) {
                sums[i] += value.abs();
                sums[i + d] += value.abs();
            }
        }
        let (mut low, mut high) = (0.0, sums.into_iter().fold(0.0, f64::max));
        let mut factor = BandFactor::default();
        while high - low > 0.01 * high {
            let middle = 0.5 * (low + high);
            match self.cholesky(-1.0, middle, &mut factor) {
                true => high = middle,
                false => low = middle,
            }
        }
        high
    }

    /// Whether every eigenvalue is larger than `bound`, to rounding.
    pub fn is_above(&self, bound: f64) -> bool {
        self.cholesky(1.0, -bound, &mut BandFactor::default())
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> usize {
        let cells = |matrix: &Mat<f64>| matrix.nrows() * matrix.ncols();
        (cells(&self.band) + cells(&self.reflections) + cells(&self.blocks)) * size_of::<f64>()
    }
}

fn single(matrix: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] as f32)
}

/// All reflections, or those of the transpose, on [`COLUMNS`] columns after the other. The first rows
/// of x, which no reflection reaches, stay.
fn reflect<T: ComplexField>(
    (basis, blocks): (MatRef<'_, T>, MatRef<'_, T>),
    x: MatMut<'_, T>,
    is_transposed: bool,
    par: Par,
) {
    let (n, width) = (blocks.ncols(), blocks.nrows());
    if n == 0 {
        return;
    }
    let columns = x.ncols().min(COLUMNS);
    let scratch =
        q_scratch::<T>(n, width, columns).or(q_transposed_scratch::<T>(n, width, columns));
    let mut memory = MemBuffer::new(scratch);
    let n_kept = x.nrows() - n;
    let mut rest = x.subrows_mut(n_kept, n);
    while rest.ncols() > 0 {
        let now = rest.ncols().min(COLUMNS);
        let (x, later) = rest.split_at_col_mut(now);
        let stack = MemStack::new(&mut memory);
        match is_transposed {
            true => apply_q_transposed(basis, blocks, Conj::No, x, par, stack),
            false => apply_q(basis, blocks, Conj::No, x, par, stack),
        }
        rest = later;
    }
}

impl BandFactor {
    /// `(B + alpha)⁻¹ z` in place of z, for `W` times eight voxels side by side; 4·n·width flops a
    /// voxel.
    #[inline(always)]
    pub fn solve<const W: usize>(&self, z: &mut [[[f64; 8]; W]]) {
        let (n, stride) = (z.len(), self.width + 1);
        for i in 0..n {
            let (above, row) = z.split_at_mut(i);
            let first = i.saturating_sub(self.width);
            // L[i, first + k] stands one column further and one row higher each time.
            let scales = self.columns[first * stride + i - first..].iter().step_by(self.width);
            eliminate(&mut row[0], &above[first..], scales, self.columns[i * stride]);
        }
        for i in (0..n).rev() {
            let column = &self.columns[i * stride..(i + 1) * stride];
            let (row, below) = z[i..].split_at_mut(1);
            eliminate(&mut row[0], below, column[1..].iter(), column[0]);
        }
    }
}

/// row = (row − Σ scale · other row) · `pivot`, over as many rows as there are of both.
#[inline(always)]
fn eliminate<'a, const W: usize>(
    row: &mut [[f64; 8]; W],
    others: &[[[f64; 8]; W]],
    scales: impl Iterator<Item = &'a f64>,
    pivot: f64,
) {
    // Sums of eight voxels stay in a register each; one array of them all is spilled.
    let mut sums = *row;
    for (other, &scale) in others.iter().zip(scales) {
        for (sum, other) in sums.iter_mut().zip(other) {
            for v in 0..8 {
                sum[v] -= scale * other[v];
            }
        }
    }
    *row = sums.map(|sum| sum.map(|value| value * pivot));
}

/// Buffers of the reduction, made once: pages of fresh ones would cost more than the products.
struct Scratch {
    /// `(n, 2 · width)`: V and W of a panel side by side, and W and V.
    vw: Mat<f64>,
    wv: Mat<f64>,
    /// `(n, width)`: V S.
    vs: Mat<f64>,
    /// `(width, width)`: S, then Sᵀ Vᵀ P.
    small: Mat<f64>,
    memory: MemBuffer,
}

impl Scratch {
    fn new(n: usize, width: usize, par: Par) -> Self {
        let of_qr = qr_in_place_scratch::<f64>(n, width, width, par, Default::default());
        Self {
            vw: Mat::zeros(n, 2 * width),
            wv: Mat::zeros(n, 2 * width),
            vs: Mat::zeros(n, width),
            small: Mat::zeros(width, width),
            memory: MemBuffer::new(of_qr),
        }
    }
}

/// Reflects columns `first..first + width` into the band, and the rest of the matrix from both sides:
/// with the panel's Q = I − V S Vᵀ, QᵀAQ = A − V Wᵀ − W Vᵀ where P = A V S and
/// W = P − ½ V Sᵀ Vᵀ P.
fn reduce_panel(
    a: MatMut<'_, f64>,
    blocks: MatMut<'_, f64>,
    first: usize,
    scratch: &mut Scratch,
    par: Par,
) {
    let (n, width) = (a.nrows(), blocks.nrows());
    let next = first + width;
    let m = n - next;
    let k = m.min(width);
    let (_, _, panel, mut rest) = a.split_at_mut(next, next);
    let mut panel = panel.subcols_mut(first, width);
    let mut block = blocks.subcols_mut(first, k).subrows_mut(0, k);
    let Scratch { vw, wv, vs, small, memory } = scratch;
    let stack = MemStack::new(memory);
    qr_in_place(panel.as_mut(), block.as_mut(), par, stack, Default::default());
    let mut vw = vw.submatrix_mut(0, 0, m, 2 * k);
    let mut wv = wv.submatrix_mut(0, 0, m, 2 * k);
    let (mut v, mut w) = vw.as_mut().split_at_col_mut(k);
    let (mut vs, mut small) = (vs.submatrix_mut(0, 0, m, k), small.submatrix_mut(0, 0, k, k));
    v.copy_from_strict_triangular_lower(panel.as_ref().subcols(0, k));
    for j in 0..k {
        v[(j, j)] = 1.0;
        (0..j).for_each(|i| v[(i, j)] = 0.0);
    }
    // S is the inverse of what faer keeps; a column without a reflection has an infinite pivot.
    small.fill(0.0);
    (0..k).for_each(|j| small[(j, j)] = 1.0);
    solve_upper_triangular_in_place(block.as_ref(), small.as_mut(), par);
    let v = v.into_const();
    matmul(vs.as_mut(), Accum::Replace, v, small.as_ref(), 1.0, par);
    symmetric_product(rest.as_ref(), vs.as_ref(), w.as_mut(), par);
    matmul(small.as_mut(), Accum::Replace, vs.transpose(), w.as_ref(), 1.0, par);
    matmul(w.as_mut(), Accum::Add, v, small.as_ref(), -0.5, par);
    wv.as_mut().subcols_mut(0, k).copy_from(w.as_ref());
    wv.as_mut().subcols_mut(k, k).copy_from(v);
    triangular::matmul(
        rest.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Add,
        vw.as_ref(),
        BlockStructure::Rectangular,
        wv.transpose(),
        BlockStructure::Rectangular,
        -1.0,
        par,
    );
}

/// A · x of a symmetric matrix whose lower triangle is read; 2·m² flops a column of x.
fn symmetric_product(
    a: MatRef<'_, f64>,
    x: MatRef<'_, f64>,
    mut product: MatMut<'_, f64>,
    par: Par,
) {
    let m = x.nrows();
    product.fill(0.0);
    for first in (0..m).step_by(BLOCK) {
        let n = BLOCK.min(m - first);
        let square = a.submatrix(first, first, n, n);
        let rows = product.as_mut().subrows_mut(first, m - first);
        let (mut of_block, mut below) = rows.split_at_row_mut(n);
        let (x_block, x_below) = x.subrows(first, m - first).split_at_row(n);
        let halves = [
            (square, BlockStructure::TriangularLower),
            (square.transpose(), BlockStructure::StrictTriangularUpper),
        ];
        for (half, shape) in halves {
            triangular::matmul(
                of_block.as_mut(),
                BlockStructure::Rectangular,
                Accum::Add,
                half,
                shape,
                x_block,
                BlockStructure::Rectangular,
                1.0,
                par,
            );
        }
        let under = a.submatrix(first + n, first, m - first - n, n);
        matmul(of_block.as_mut(), Accum::Add, under.transpose(), x_below, 1.0, par);
        matmul(below.as_mut(), Accum::Add, under, x_block, 1.0, par);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(n: usize) -> Mat<f64> {
        let wave = |i: usize, k: usize| ((i * 37 + k * 61 + i * k) % 101) as f64 / 50.0 - 1.0;
        let x = Mat::from_fn(n + 40, n, wave);
        x.transpose() * &x
    }

    fn assert_solved(gram: &Mat<f64>, form: &BandForm) {
        let n = gram.nrows();
        let right = Mat::from_fn(n, 2, |i, v| ((i * 7 + v * 3) % 11) as f64 - 4.5);
        let mut x = right.clone();
        form.enter(x.as_mut(), Par::Seq);
        for alpha in [0.5, 300.0] {
            let lanes = |i: usize| [std::array::from_fn(|v| x[(i, v % 2)])];
            let mut z: Vec<[[f64; 8]; 1]> = (0..n).map(lanes).collect();
            let mut factor = BandFactor::default();
            assert!(form.factor(alpha, &mut factor));
            factor.solve(&mut z);
            let mut w = Mat::from_fn(n, 2, |i, v| z[i][0][v]);
            form.leave(w.as_mut(), Par::Seq);
            let size = gram.norm_l2();
            for v in 0..2 {
                for i in 0..n {
                    let product: f64 = (0..n).map(|k| gram[(i, k)] * w[(k, v)]).sum();
                    let residual = product + alpha * w[(i, v)] - right[(i, v)];
                    let bound = 8.0 * n as f64 * f64::EPSILON * (size + alpha) * w.norm_l2();
                    assert!(residual.abs() <= bound, "{n}: {residual} > {bound}");
                }
            }
        }
    }

    #[test]
    fn solutions_leave_no_residual_at_any_width_and_alpha() {
        for n in [1, 2, 3, 31, 32, 33, 64, 65, 130, 300] {
            for width in [1, 2, 5, WIDTH] {
                let gram = gram(n);
                let form = BandForm::of_width(gram.clone(), width, Par::Seq).unwrap();
                assert_solved(&gram, &form);
            }
        }
    }

    #[test]
    fn single_precision_turns_as_double_does() {
        for n in [1, 2, 33, 90, 300] {
            let form = BandForm::new(gram(n), Par::Seq).unwrap();
            let wave = |i: usize, v: usize| ((i * 7 + v * 3) % 11) as f64 - 4.5;
            let mut double = Mat::from_fn(n, 5, wave);
            let single = form.enter_single(double.as_ref(), Par::Seq);
            form.enter(double.as_mut(), Par::Seq);
            let steps = (n as f64 / WIDTH as f64).sqrt() + 1.0;
            for (double, single) in double.col_iter().zip(single.col_iter()) {
                let off: f64 = (0..n).map(|i| (double[i] - f64::from(single[i])).powi(2)).sum();
                let bound = 4.0 * f64::from(f32::EPSILON) * steps * double.norm_l2();
                assert!(off.sqrt() <= bound, "{n}: {} > {bound}", off.sqrt());
            }
        }
    }

    #[test]
    fn columns_of_zeros_and_repeated_columns_are_no_trouble() {
        let n = 90;
        let kept = |i: usize| if i % 7 == 3 { 0 } else { i / 2 + 1 };
        let inner = gram(n);
        let cell = |i: usize, j: usize| match (kept(i), kept(j)) {
            (0, _) | (_, 0) => 0.0,
            (i, j) => inner[(i, j)],
        };
        let singular = Mat::from_fn(n, n, cell);
        let form = BandForm::new(singular.clone(), Par::Seq).unwrap();
        assert_solved(&singular, &form);
        let nothing = Mat::zeros(n, n);
        assert_solved(&nothing, &BandForm::new(nothing.clone(), Par::Seq).unwrap());
    }

    #[test]
    fn bounds_are_those_of_the_eigenvalues() {
        for n in [1, 2, 33, 90] {
            let gram = gram(n);
            let values = gram.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
            let form = BandForm::new(gram, Par::Seq).unwrap();
            let (least, most, found) = (values[0], values[n - 1], form.largest());
            let rounding = 8.0 * n as f64 * f64::EPSILON * most;
            assert!(found >= most - rounding && found <= 1.02 * most, "{n}: {found}, {most}");
            assert!(form.is_above(least - 1e-9 * most) && !form.is_above(least + 1e-9 * most));
        }
    }

    #[test]
    fn a_matrix_that_is_not_finite_is_refused() {
        let bad = Mat::from_fn(3, 3, |_, _| f64::NAN);
        assert_eq!(BandForm::new(bad, Par::Seq).unwrap_err().exit_code(), 1);
    }
}
